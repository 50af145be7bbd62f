"""``tickerlake inspect``: say how a file would be read."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tickerlake.cli.common import Files, Json, StatusLine, input_files, print_json, print_status
from tickerlake.cli.options import with_file_options

if TYPE_CHECKING:
    from tickerlake.sources.csv.detect.options import Options
    from tickerlake.sources.csv.read import CsvSource

_MAX_EXAMPLES = 5
_DELIMITER_NAMES = {"\t": "tab", " ": "blanks"}


@with_file_options(strict=False)
def inspect(files: Files, *, options: "Options", json: Json = False) -> None:
    """Say how files would be read and why, and which of their rows would be refused; nothing is written.

    Exit code 4 if a file can't be read without guessing: the report names the option that settles it.

    Examples: `tickerlake inspect AAPL.csv` · `tickerlake inspect data/ --json`
    """
    import tempfile

    from tickerlake.errors import DataError
    from tickerlake.sources.csv.read import open_csv

    ticker, reports, failed = StatusLine(), [], 0
    with tempfile.TemporaryDirectory(prefix="tickerlake-") as folder:
        for path in input_files(files, Path(folder)):
            try:
                source = open_csv(path, options, digest=False, on_bytes=ticker.read_progress(path))
                report = _report(source, ticker)
            except DataError as error:
                failed += 1
                report = {"source": path.name, "error": error.message, "hint": error.hint}
            ticker.clear()
            reports.append(report)
            if not json:
                print("\n".join(_format_report(report)))
    if json:
        print_json({"files": reports})
    if failed:
        print_status(f"{failed} of {len(reports)} files can't be read")
        raise typer.Exit(DataError.exit_code)


def _report(source: "CsvSource", ticker: StatusLine) -> dict[str, Any]:
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
        ticker.update(f"{source.fingerprint.name}: counting, {batch.position[0] / max(1, source.rows):.0%}")
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
        header_text += f" below {preamble} other line{'s' if preamble > 1 else ''}"
    delimiter = _DELIMITER_NAMES.get(report["delimiter"], report["delimiter"])
    compression = "" if report["compression"] == "none" else f"{report['compression']}, "
    numbers = f"decimals after {report['decimal']}"
    if report["price_scale"]:
        numbers += f", prices in units of 10^-{report['price_scale']}"
    dates = f"{report['date_format']} ({report['date_from']})"
    zone = f"{report['zone']} ({report['zone_from']})" if report["zone"] else report["zone_from"]
    kind = report["kind"].replace(".v1", "s")
    if report["interval"]:
        kind += f" of {report['interval']} ({report['interval_from']})"
    lines = [
        report["source"],
        f"  file      {compression}{report['encoding']}, {report['size']:,} bytes, delimiter {delimiter}, {header_text}",
        f"  layout    {report['layout'] or 'by names and values'}",
        f"  records   {kind}",
        f"  columns   {_format_columns(report)}",
    ]
    if report["extra"]:
        lines.append(f"  kept      {', '.join(report['extra'])} (as extra)")
    lines += [
        f"  numbers   {numbers}",
        f"  dates     {dates}",
        f"  zone      {zone}",
        f"  order     {report['rows_stand']}",
        f"  symbols   {_format_symbols(report['symbols'])} (from the {report['symbol_from']})",
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
    return [*lines, ""]


def _format_columns(report: dict[str, Any]) -> str:
    return ", ".join(f"{role} = {name}" for role, name in report["columns"].items())


def _format_symbols(symbols: list[str]) -> str:
    return ", ".join(symbols[:8]) + (f" … {len(symbols):,} in all" if len(symbols) > 8 else "")


def _format_counts(counts: dict[str, int]) -> str:
    return "".join(f", {count:,} {name}" for name, count in sorted(counts.items(), key=lambda pair: -pair[1]))
