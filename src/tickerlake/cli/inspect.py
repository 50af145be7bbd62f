"""``tickerlake inspect``: report how files would be read."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tickerlake.cli.common import StatusLine, input_files, print_json, print_status
from tickerlake.cli.file_options import with_file_options
from tickerlake.cli.options import Files, Json

if TYPE_CHECKING:
    from tickerlake.sources.csv.detect.options import Options
    from tickerlake.sources.csv.read import CsvSource

_MAX_EXAMPLES = 5
"""Rejected rows that a report shows: enough to see a pattern, and several reports still fit on a screen."""

_DELIMITER_NAMES = {"\t": "tab", " ": "spaces"}


@with_file_options(strict=False)
def inspect(files: Files, *, options: "Options", json: Json = False) -> None:
    """Show how CSV files would be read and why; write nothing.

    The report covers format, columns, symbols, time zone, and the rows that would be rejected.

    Exits with 4 if a file cannot be read without guessing; the report names the option that decides.

    Examples
    --------
    tickerlake inspect AAPL.csv
    tickerlake inspect data/ --json
    """
    import tempfile

    from tickerlake.errors import DataError
    from tickerlake.sources.csv.chunks import printable_name
    from tickerlake.sources.csv.read import open_csv

    status_line, reports, failed = StatusLine(), [], 0
    with tempfile.TemporaryDirectory(prefix="tickerlake-") as folder:
        for path in input_files(files, Path(folder)):
            try:
                source = open_csv(path, options, digest=False, on_bytes=status_line.read_progress(path))
                report = _report(source, status_line)
            except DataError as error:
                failed += 1
                report = {"source": printable_name(path), "error": error.message, "hint": error.hint}
            status_line.clear()
            reports.append(report)
            if not json:
                print("\n".join(_format_report(report)))
    if json:
        print_json({"files": reports})
    if failed:
        print_status(f"{failed} of {len(reports)} files cannot be read")
        raise typer.Exit(DataError.exit_code)


def _report(source: "CsvSource", status_line: StatusLine) -> dict[str, Any]:
    accepted, reasons = 0, dict[str, int]()
    examples: list[dict[str, object]] = []
    flags: dict[str, int] = {}
    for batch in source.batches():
        records = batch.records
        accepted += records.height
        rejects = batch.rejects
        for reject in rejects:
            reasons[reject.reason] = reasons.get(reject.reason, 0) + 1
        for reject in rejects[: _MAX_EXAMPLES - len(examples)]:
            examples.append({"line": reject.line, "reason": reject.reason, "raw": reject.raw})
        for flag, count in records.get_column("quality").explode().drop_nulls().value_counts().iter_rows():
            flags[flag] = flags.get(flag, 0) + count
        status_line.update(
            f"{source.fingerprint.name}: counting, {batch.position[0] / max(1, source.rows):.0%}"
        )
    return {
        **source.describe(),
        "rows_accepted": accepted,
        "rows_rejected": sum(reasons.values()),
        "reject_reasons": reasons,
        "quality": flags,
        "first_rejects": examples,
    }


def _format_report(report: dict[str, Any]) -> list[str]:
    if "error" in report:
        return [f"{report['source']}", f"  ✗ {report['error']}", f"  → {report['hint']}", ""]
    header = report["header_lines"]
    header_text = f"header in line {', '.join(map(str, header))}" if header else "no header"
    if preamble := len([line for line in report["preamble"] if line.strip()]):
        header_text += f", after {preamble} other line{'s' if preamble > 1 else ''}"
    delimiter = _DELIMITER_NAMES.get(report["delimiter"], report["delimiter"])
    compression = "" if report["compression"] == "none" else f"{report['compression']}, "
    numbers = f"decimal separator {report['decimal']}"
    if report["price_scale"]:
        numbers += f", prices in units of 10^-{report['price_scale']}"
    dates = f"{report['date_format']} ({report['date_from']})"
    zone = f"{report['zone']} ({report['zone_from']})" if report["zone"] else report["zone_from"]
    records = report["kind"].replace(".v1", "s")
    if report["interval"]:
        records += f" of {report['interval']} ({report['interval_from']})"
    lines = [
        report["source"],
        (
            f"  file      {compression}{report['encoding']}, {report['size']:,} bytes, "
            f"delimiter {delimiter}, {header_text}"
        ),
        f"  layout    {report['layout'] or 'detected from names and values'}",
        f"  records   {records}",
        f"  columns   {_format_columns(report)}",
    ]
    if report["extra"]:
        lines.append(f"  extra     {', '.join(report['extra'])} (kept in the field extra)")
    lines += [
        f"  numbers   {numbers}",
        f"  dates     {dates}",
        f"  zone      {zone}",
        f"  order     {report['rows_stand']}",
        f"  symbols   {_format_symbols(report['symbols'])} (from the {report['symbol_from']})",
        *_format_markets(report["symbols"]),
        (
            f"  rows      {report['rows_accepted']:,} accepted, "
            f"{report['rows_rejected']:,} rejected{_format_counts(report['reject_reasons'])}"
        ),
    ]
    if report["quality"]:
        lines.append(f"  flagged   {_format_counts(report['quality'])[2:]}")
    lines += [f"  warning   {warning}" for warning in report["warnings"]]
    lines += [
        f"  line {each['line']:<5,}{each['reason']}: {each['raw'][:100]}" for each in report["first_rejects"]
    ]
    from tickerlake.model.reject import reject_remedy

    if remedy := reject_remedy(report["reject_reasons"]):
        lines.append(f"  → {remedy}")
    return [*lines, ""]


def _format_columns(report: dict[str, Any]) -> str:
    return ", ".join(f"{role} = {name}" for role, name in report["columns"].items())


def _format_markets(symbols: list[str]) -> list[str]:
    from tickerlake.model.instrument import UNKNOWN_MIC
    from tickerlake.model.markets import mic_of_symbol

    markets = sorted({mic_of_symbol(symbol) for symbol in symbols} - {UNKNOWN_MIC})
    return [f"  markets   {_format_symbols(markets)} (from the endings of symbols)"] if markets else []


def _format_symbols(symbols: list[str]) -> str:
    return ", ".join(symbols[:8]) + (f" … {len(symbols):,} in all" if len(symbols) > 8 else "")


def _format_counts(counts: dict[str, int]) -> str:
    return "".join(f", {count:,} {name}" for name, count in sorted(counts.items(), key=lambda pair: -pair[1]))
