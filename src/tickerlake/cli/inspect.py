"""``tickerlake inspect``: say how a file would be read."""

from typing import TYPE_CHECKING, Any

import typer

from tickerlake.cli.common import DateFormat, Files, Json, Symbol, Ticker, emit, say

if TYPE_CHECKING:
    from tickerlake.sources.csv.read import CsvSource

_EXAMPLES = 5


def inspect(
    files: Files,
    symbol: Symbol = None,
    date_format: DateFormat = None,
    json: Json = False,
) -> None:
    """Say how files would be read, and which of their rows would be refused; nothing is written.

    Exit code 4 if a file can't be read at all.

    Examples: `tickerlake inspect AAPL.csv` · `tickerlake inspect data/*.csv --json`
    """
    from tickerlake.errors import DataError
    from tickerlake.sources.csv.read import open_csv

    ticker, reports, refused = Ticker(), [], 0
    for path in files:
        ticker.show(f"{path.name}: reading …")
        try:
            report = _report(open_csv(path, symbol=symbol, date_format=date_format), ticker)
        except DataError as error:
            refused += 1
            report = {"source": path.name, "error": error.message, "hint": error.hint}
        ticker.end()
        reports.append(report)
        if not json:
            print("\n".join(_lines(report)))
    if json:
        emit({"files": reports})
    if refused:
        say(f"{refused} of {len(files)} files can't be read")
        raise typer.Exit(DataError.exit_code)


def _report(source: "CsvSource", ticker: Ticker) -> dict[str, Any]:
    accepted, rejects = 0, 0
    examples: list[dict[str, object]] = []
    for table in source.batches():
        accepted += table.records.height
        found = table.rejects
        rejects += len(found)
        for reject in found[: _EXAMPLES - len(examples)]:
            examples.append({"line": reject.line, "reason": reject.reason, "raw": reject.raw})
        ticker.show(f"{source.fingerprint.name}: {table.rows_done / max(1, source.rows):.0%}")
    return {
        **source.describe(),
        "rows_accepted": accepted,
        "rows_rejected": rejects,
        "first_rejects": examples,
    }


def _lines(report: dict[str, Any]) -> list[str]:
    if "error" in report:
        return [f"{report['source']}", f"  ✗ {report['error']}", f"  → {report['hint']}", ""]
    symbols = report["symbols"]
    shown = ", ".join(symbols[:8]) + (f" … {len(symbols):,} in all" if len(symbols) > 8 else "")
    delimiter = {"\t": "tab"}.get(report["delimiter"], report["delimiter"])
    columns = ", ".join(f"{role} = {name}" for role, name in report["columns"].items())
    stored = f"{report['size']:,} bytes, compression {report['compression']}, {report['encoding']}"
    zone = "" if report["zone"] == "none" else f", zone {report['zone']}"
    dates = f"{report['date_format']}{zone}, bars of {report['interval']}, {report['order']}"
    lines = [
        f"{report['source']}",
        f"  file      {stored}, delimiter {delimiter}, header in line {report['header_line']}",
        f"  columns   {columns}",
    ]
    if report["extra"]:
        lines.append(f"  kept      {', '.join(report['extra'])} (as extra)")
    lines += [
        f"  dates     {dates}",
        f"  symbols   {shown} (from the {report['symbol_from']})",
        f"  rows      {report['rows_accepted']:,} accepted, {report['rows_rejected']:,} rejected",
    ]
    lines += [f"  warning   {warning}" for warning in report["warnings"]]
    lines += [
        f"  line {each['line']:<5,}{each['reason']}: {each['raw'][:100]}" for each in report["first_rejects"]
    ]
    return [*lines, ""]
