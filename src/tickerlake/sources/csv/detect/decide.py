"""What a survey of a file decides: dates, symbol, interval, zone, scale; or the question that it leaves."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import polars as pl

from tickerlake.errors import DataError
from tickerlake.model.interval import DAILY_OR_LONGER, interval_ns
from tickerlake.model.reject import Reject, RejectReason
from tickerlake.sources.csv.detect.file_name import infer_symbol, parse_file_name
from tickerlake.sources.csv.detect.interval import infer_interval, parse_interval, share_true
from tickerlake.sources.csv.detect.order import TimeOrder
from tickerlake.sources.csv.detect.rows import LINE
from tickerlake.sources.csv.detect.scan import DateEvidence, FileScan
from tickerlake.sources.csv.options import Options
from tickerlake.sources.csv.parse import IS_RECORD, REASON, Parser, extract_rejects
from tickerlake.sources.csv.sort import fill_reject_times, reject_duplicates, sort_rows
from tickerlake.sources.csv.timeform import TimeFormat
from tickerlake.sources.csv.zones import zone_from_header, zone_from_symbols

_PROBE_ROWS: Final = 1000
_MAX_CONFLICTING_SHARE: Final = 0.3
_MIN_UNPARSED_DATES: Final = 5
_MAX_UNPARSED_SHARE: Final = 0.25


def choose_date_format(scan: FileScan, options: Options) -> tuple[DateEvidence, str]:
    """Return the one way to read the dates that the evidence leaves, and what settled it.

    Raises
    ------
    DataError
        If more than one is left, or each contradicts some rows.
    """
    name = scan.head.text_file.file.name
    if not scan.evidence:
        dialect = scan.head.dialect
        where = (
            f"its header in line {dialect.header_lines[0]} has"
            if dialect.header_lines
            else "its first row has"
        )
        raise DataError(
            f"{name} has no rows of {dialect.field_count} fields, as {where}.",
            "Make the header name every column.",
        )
    readable = [e for e in scan.evidence if e.order.rows]
    if not readable:
        raise DataError(f"{name}: no date is readable.", "Name the format: --date-format DD-MM-YYYY")
    if options.date_format is not None:
        best_match = max(readable, key=lambda e: e.order.rows)
        if best_match.unparsed_rows > best_match.order.rows:
            raise DataError(
                f"{name}: {best_match.unparsed_rows:,} of {best_match.unparsed_rows + best_match.order.rows:,} dates "
                f"do not read as {best_match.time_format.name}.",
                "Leave --date-format out, or name the one that the file has.",
            )
        return best_match, "--date-format"
    fewest_unparsed = min(e.unparsed_rows for e in readable)
    readable = [e for e in readable if e.unparsed_rows <= fewest_unparsed + 0.05 * e.order.rows]
    _check_dates_readable(readable, name)
    if len(readable) == 1:
        return readable[0], "no other order can be read" if len(
            scan.evidence
        ) > 1 else "the way it is written"
    if best := _only_candidate([e for e in readable if e.exclusive_rows], readable):
        return best, f"{best.exclusive_rows:,} dates can be read in no other order"
    if any(e.exclusive_rows for e in readable):
        alternatives = " and ".join(
            f"{e.exclusive_rows:,} only as {e.time_format.name}" for e in readable if e.exclusive_rows
        )
        raise DataError(
            f"{name} writes its dates in more than one order: {alternatives}.",
            "Name one: --date-format DD-MM-YYYY",
        )
    if best := _only_candidate([e for e in readable if e.order.rising or e.order.falling], readable):
        return best, "only so the rows stand in order of time"
    if best := _only_candidate([e for e in readable if not e.order.is_yearly], readable):
        return best, "in any other order the days are years apart"
    if best := _only_candidate([e for e in readable if e.order.has_no_weekend_rows], readable):
        return best, "in any other order some rows fall on a weekend"
    alternatives = " or ".join(f"--date-format {e.time_format.name}" for e in readable)
    days = " and ".join(
        f"as {e.time_format.name} from {_format_day(e.order.first_ns)} to {_format_day(e.order.last_ns)}"
        for e in readable
    )
    raise DataError(
        f"{name}: the order of day and month is ambiguous: "
        f"no day is above 12, and {days} the dates make sense.",
        f"Name it: {alternatives}",
    )


def _check_dates_readable(candidates: list[DateEvidence], name: str) -> None:
    best = max(candidates, key=lambda e: e.order.rows)
    if best.unparsed_rows >= _MIN_UNPARSED_DATES and best.unparsed_rows > _MAX_UNPARSED_SHARE * (
        best.unparsed_rows + best.order.rows
    ):
        raise DataError(
            f"{name}: {best.unparsed_rows:,} of its dates do not read as {best.time_format.name}, "
            f"as {best.order.rows:,} others do.",
            "Is it two files in one? Split it, or name the format: --date-format DD-MM-YYYY",
        )


def _only_candidate(remaining: list[DateEvidence], candidates: list[DateEvidence]) -> DateEvidence | None:
    return (
        remaining[0]
        if len(remaining) == 1
        and not (remaining[0].exclusive_rows == 0 and any(e.exclusive_rows for e in candidates))
        else None
    )


def _format_day(ns: int | None) -> str:
    return str(pl.select(pl.lit(ns, pl.Int64).cast(pl.Datetime("ns")).dt.date()).item())


def choose_symbol(
    scan: FileScan, options: Options, order: TimeOrder, name: str, folder: str
) -> tuple[str | None, list[str], str, str]:
    """Return the symbol of every row or None, the file's symbols, where they come from, and a warning."""
    layout = scan.head.dialect.layout
    if options.symbol is not None:
        if len(layout.panels) > 1 or ("symbol" in layout.roles and len(order.symbols) > 1):
            examples = list(layout.panels) or order.symbols
            raise DataError(
                f"{name} holds {len(examples):,} symbols ({', '.join(examples[:5])} …), "
                f"not only {options.symbol}.",
                "Leave --symbol out.",
            )
        return options.symbol, [options.symbol], "--symbol", ""
    if layout.panels:
        symbols = list(layout.panels)
        return (symbols[0] if len(symbols) == 1 else None), symbols, "header", ""
    if "symbol" in layout.roles:
        return (
            None,
            order.symbols,
            f"column {layout.names[layout.roles['symbol']] or layout.roles['symbol'] + 1}",
            "",
        )
    symbol, origin, warning = infer_symbol(scan.head.text_file.name, scan.head.text_file.file.name, folder)
    return symbol, [symbol], origin, warning


def choose_interval(
    scan: FileScan, options: Options, time_format: TimeFormat, order: TimeOrder, name: str
) -> tuple[str, str, str]:
    """Return the length of the bars, where it comes from, and a warning.

    Raises
    ------
    DataError
        If what is declared contradicts the rows, or nothing tells it.
    """
    gaps = order.gaps_ns
    inferred = infer_interval(gaps, daily=time_format.date_only)
    layout = scan.head.dialect.layout
    declared, origin = options.interval or "", "--interval"
    if not declared and "interval" in layout.roles:
        declared, origin = (
            _declared_interval(scan, layout.roles["interval"]),
            f"column {layout.names[layout.roles['interval']]}",
        )
    name_interval = parse_file_name(scan.head.text_file.name).interval
    if declared:
        if gaps.len() and not _intervals_agree(declared, inferred, gaps):
            raise DataError(
                f"{name}: {origin} says bars of {declared}, but the rows "
                f"are {inferred or 'less than a second'} apart.",
                "Leave --interval out, or give the one that the rows have."
                if origin == "--interval"
                else f"Say which is right: --interval {inferred or declared}",
            )
        return declared, origin, ""
    if gaps.is_empty() and name_interval and not time_format.date_only:
        return name_interval, "file name", ""
    if not inferred:
        raise DataError(f"{name}: its rows don't tell how long a bar is.", "Say it: --interval 1m")
    warning = ""
    if name_interval and gaps.len() and not _intervals_agree(name_interval, inferred, gaps):
        warning = f"{name} is called {name_interval}, but its rows are {inferred} apart: read as bars of {inferred}."
    elif name_interval and name_interval not in DAILY_OR_LONGER and inferred not in DAILY_OR_LONGER:
        return name_interval, "file name and the time between rows", ""
    return inferred, "the time between rows" if gaps.len() else "dates without a time", warning


def _declared_interval(scan: FileScan, column: int) -> str:
    """Return the interval that a column of the file declares on its first rows; empty if none, or several."""
    intervals = {parse_interval(text) for text in _first_cells(scan, column).unique() if text}
    return intervals.pop() if len(intervals) == 1 else ""


def _first_cells(scan: FileScan, column: int) -> pl.Series:
    """Return the texts of a column on the file's first rows."""
    rows = scan.head.read_rows(next(scan.head.text_file.chunks()), [f"c{column}"]).frame
    return rows.get_column(f"c{column}").head(_PROBE_ROWS)


def _intervals_agree(declared: str, inferred: str, gaps: pl.Series) -> bool:
    if declared == inferred:
        return True
    if declared in DAILY_OR_LONGER or inferred in DAILY_OR_LONGER:
        return False
    length = interval_ns(declared)
    # bars may be missing: then the gaps are multiples of the length, and some are the length itself
    return share_true(gaps % length == 0) >= 0.95 and share_true(gaps == length) >= 0.01


def choose_zone(
    scan: FileScan,
    options: Options,
    time_format: TimeFormat,
    interval: str,
    symbols: Sequence[str],
    name: str,
) -> tuple[TimeFormat, str, str, str]:
    """Return how to read times, the exchange's zone if it is known, where it comes from, and a warning."""
    layout = scan.head.dialect.layout
    name_symbol = [parse_file_name(scan.head.text_file.name).symbol]
    candidates = [
        (options.tz or "", "--tz"),
        (layout.vendor_layout.zone if layout.vendor_layout else "", "the layout"),
        *(
            (zone_from_header(layout.names[layout.roles[role]]), "the column's name")
            for role in ("time", "clock")
            if role in layout.roles
        ),
        (zone_from_symbols(list(symbols) or name_symbol), "the venue that the symbol's ending names"),
    ]
    zone, origin = next(((zone, where) for zone, where in candidates if zone), ("", ""))
    if interval in DAILY_OR_LONGER:
        if time_format.is_epoch:
            time_format, warning = replace(time_format, zone=zone or "UTC"), ""
            order = scan.evidence[0].order
            if not zone and 0.15 * order.rows < order.weekend_rows < 0.25 * order.rows:
                warning = (
                    f"{name}: some of its days are Sundays in UTC: the exchange's zone may shift them. "
                    "Name it with --tz."
                )
            return time_format, zone, origin or "UTC: seconds since 1970", warning
        # the trading date is the one that is written
        time_format = replace(
            time_format,
            format=time_format.format.removesuffix("%z"),
            ignore_offset=time_format.zone == "offset",
        )
        return time_format, zone, origin or "not needed: dates only", ""
    if time_format.is_naive:
        if zone:
            return replace(time_format, zone=zone), zone, origin, ""
        warning = (
            f"{name}: times have no zone: UTC is assumed. Name it with --tz America/New_York or another."
        )
        return time_format, "", "assumed", warning
    return (
        time_format,
        zone,
        "every time says its offset" if time_format.zone == "offset" else "time since 1970 is UTC",
        "",
    )


def choose_scale(scan: FileScan, options: Options) -> int:
    """Return how many decimals are left out of prices that are whole numbers."""
    layout = scan.head.dialect.layout
    vendor_scale = layout.vendor_layout.scale if layout.vendor_layout else 0
    if options.price_scale is not None or not vendor_scale:
        return options.price_scale or 0
    role = next(role for role in ("close", "price", "bid_price") if role in layout.roles)
    cells = _first_cells(scan, layout.roles[role])
    whole = cells.str.contains(r"^-?\d+$")
    return vendor_scale if bool(whole.all()) and bool((cells.str.len_chars() >= vendor_scale).all()) else 0


def check_has_records(scan: FileScan, parser: Parser) -> None:
    """Refuse a file of whose beginning no row is a record: its layout is not understood."""
    rejects: list[Reject] = []
    for chunk in scan.head.text_file.chunks():
        rows = parser.parse(chunk)
        if rows.select(IS_RECORD.any()).item():
            return
        rejects += extract_rejects(rows.head(_PROBE_ROWS))
        if len(rejects) >= _PROBE_ROWS:
            break
    example = (
        f", such as line {rejects[0].line} ({rejects[0].reason}): {rejects[0].raw[:80]!r}" if rejects else ""
    )
    raise DataError(
        f"{parser.source}: no row can be read{example}.", "Check the layout with tickerlake inspect."
    )


def check_single_series(scan: FileScan, parser: Parser, name: str) -> None:
    """Refuse a file of several series that no column tells apart."""
    rows = parser.parse(next(scan.head.text_file.chunks()))
    checked = reject_duplicates(sort_rows(next(fill_reject_times([rows]))))
    conflicts = checked.filter(pl.col(REASON) == RejectReason.CONFLICTING_DUPLICATE)
    if conflicts.height > _MAX_CONFLICTING_SHARE * checked.height:
        raise DataError(
            f"{name} has several rows for each time, such as line {conflicts.get_column(LINE).min()!r}: "
            "more than one series, and no column tells which.",
            "Name the column with the symbol: --columns symbol,date,open,high,low,close,volume",
        )
