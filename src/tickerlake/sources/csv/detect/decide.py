"""Decisions about a scanned file: dates, symbol, interval, time zone and price scale.

Where the file leaves a question open, the error names the option that answers it.
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import polars as pl

from tickerlake import clock
from tickerlake.errors import DataError
from tickerlake.model.duration import DAY_NS
from tickerlake.model.instrument import is_symbol, normalize_symbol, slug
from tickerlake.model.interval import DAILY_OR_LONGER
from tickerlake.sources.csv.detect.columns.symbol_column import is_vague_symbol_name
from tickerlake.sources.csv.detect.columns.zone_column import settle_zones
from tickerlake.sources.csv.detect.daily_times import DailyChoice, DailyTimes, choose_daily_times
from tickerlake.sources.csv.detect.decision import Decision
from tickerlake.sources.csv.detect.file_name import infer_symbol, parse_file_name
from tickerlake.sources.csv.detect.instruments import check_one_instrument
from tickerlake.sources.csv.detect.options import Options
from tickerlake.sources.csv.detect.preamble import find_preamble_symbol
from tickerlake.sources.csv.detect.scan import DateEvidence, FileScan
from tickerlake.sources.csv.detect.times.header_zone import (
    FROM_HEADER,
    check_header_zone,
    check_not_local,
    header_zone,
)
from tickerlake.sources.csv.detect.times.order import TimeOrder
from tickerlake.sources.csv.timeform import TimeFormat
from tickerlake.sources.csv.zones import zone_from_file_name, zone_from_symbols

_MAX_EXTRA_UNPARSED_SHARE: Final = 0.05
"""How many more dates a format may leave unread than the best one: typing errors do not settle the order."""

_MAX_AHEAD_NS: Final = 366 * DAY_NS
"""Prices are not from the future; the clock of this machine may be wrong."""

_MIN_UNCLEAR_YEARS: Final = 3
"""One or two such years are typing errors: these rows are rejected."""

_NO_SYMBOL: Final = re.compile(
    r"\d{4}[-/.]\d\d?[-/.]\d\d?|\d\d?[-/.]\d\d?[-/.]\d{4}|\d+\.\d{1,2}|\d{1,3}(?:,\d{3})+"
)
"""Dates and numbers with decimals or thousands."""

_MIN_SWAPPED_DATES: Final = 2
"""One date with day and month exchanged is a typing error: its row is rejected."""

_MIN_UNPARSED_DATES: Final = 5
_MAX_UNPARSED_SHARE: Final = 0.25
"""Some broken dates become rejects; a quarter of them, and at least five, suggest two files in one."""


class SymbolChoice(NamedTuple):
    """The symbol of every row, None if a column or several panels have it; and all symbols of the file."""

    constant: str | None
    symbols: list[str]


class ZoneChoice(NamedTuple):
    """How to read times, and the exchange's time zone, empty if it is not known.

    Daily or longer bars that keep their instant have ``daily_times``; ``cuts_times`` is True if they lose it.
    """

    time_format: TimeFormat
    zone: str
    daily_times: DailyTimes | None = None
    cuts_times: bool = False


def choose_date_format(scan: FileScan, options: Options) -> Decision[DateEvidence]:
    """Choose how to read the dates, by the evidence of the whole file.

    Raises
    ------
    DataError
        If more than one way is possible, or each contradicts some rows; or if years of two digits may be of
        another century.
    """
    name = scan.head.text_file.file_name
    chosen = _choose_date_format(scan, options, name)
    _check_century(chosen.value, name, is_requested=options.date_format is not None)
    swapped = chosen.value.time_format.swapped
    if options.date_format is None and swapped and chosen.value.swapped_rows >= _MIN_SWAPPED_DATES:
        raise DataError(
            f"{name} writes its dates in more than one order: {chosen.value.swapped_rows:,} only as "
            f"{swapped.name}, the others as {chosen.value.time_format.name}.",
            "Write all of them in one order: of days up to 12 the file does not show which one it is.",
        )
    return chosen


def _check_century(chosen: DateEvidence, name: str, *, is_requested: bool) -> None:
    """Raise an error if years of two digits are those of the future, or would be, on several rows.

    A future before 2040 is accepted if the user specifies the format.
    """
    if "%y" not in chosen.time_format.format:
        return
    latest = chosen.order.last_ns
    is_future = not is_requested and latest is not None and latest > clock.now_ns() + _MAX_AHEAD_NS
    if is_future or chosen.unclear_century_rows >= _MIN_UNCLEAR_YEARS:
        what = f"they would end on {_format_day(latest)}" if is_future else "some would be from 2040 on"
        raise DataError(
            f"{name}: the century of its dates is not clear: read as {chosen.time_format.name}, {what}.",
            "Write the years with four digits, such as 1958-01-31. If they are not the years: "
            "--date-format DD-MM-YY",
        )


def _choose_date_format(scan: FileScan, options: Options, name: str) -> Decision[DateEvidence]:
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
        for each in scan.evidence:
            _check_century(each, name, is_requested=options.date_format is not None)
        raise DataError(f"{name}: no date can be read.", "Specify the format: --date-format DD-MM-YYYY")
    if options.date_format is not None:
        return Decision(_match_requested_format(readable, name), "--date-format")
    fewest_unparsed = min(e.unparsed_rows for e in readable)
    readable = [
        e for e in readable if e.unparsed_rows <= fewest_unparsed + _MAX_EXTRA_UNPARSED_SHARE * e.order.rows
    ]
    _check_dates_readable(readable, name)
    if (of_name := scan.head.name_date).text:
        return Decision(readable[0], f"{of_name.text} in {of_name.origin}")
    if len(readable) == 1:
        several = len(scan.evidence) > 1
        return Decision(readable[0], "no other order can be read" if several else "as written in the file")
    if best := _only_candidate([e for e in readable if e.exclusive_rows], readable):
        return Decision(best, f"{best.exclusive_rows:,} dates can be read in no other order")
    if any(e.exclusive_rows for e in readable):
        counts = " and ".join(
            f"{e.exclusive_rows:,} only as {e.time_format.name}" for e in readable if e.exclusive_rows
        )
        raise DataError(
            f"{name} writes its dates in more than one order: {counts}.",
            "Specify one: --date-format DD-MM-YYYY",
        )
    if best := _only_candidate([e for e in readable if e.order.rising or e.order.falling], readable):
        return Decision(best, "in any other order the rows are not sorted by time")
    if best := _only_candidate([e for e in readable if not e.order.is_yearly], readable):
        return Decision(best, "in any other order the days are years apart")
    if best := _only_candidate([e for e in readable if e.order.has_no_weekend_rows], readable):
        return Decision(best, "in any other order some rows fall on a weekend")
    raise _ambiguous_date_error(name, readable)


def _match_requested_format(candidates: list[DateEvidence], name: str) -> DateEvidence:
    best = max(candidates, key=lambda e: e.order.rows)
    if best.unparsed_rows > best.order.rows:
        raise DataError(
            f"{name}: {best.unparsed_rows:,} of {best.unparsed_rows + best.order.rows:,} dates "
            f"cannot be read as {best.time_format.name}.",
            "Omit --date-format, or specify the format of the file.",
        )
    return best


def _ambiguous_date_error(name: str, candidates: list[DateEvidence]) -> DataError:
    options = " or ".join(f"--date-format {shlex.quote(e.time_format.name)}" for e in candidates)
    days = " and ".join(
        f"as {e.time_format.name} from {_format_day(e.order.first_ns)} to {_format_day(e.order.last_ns)}"
        for e in candidates
    )
    return DataError(
        f"{name}: the order of day and month is ambiguous: "
        f"no day is above 12, and {days} the dates make sense.",
        f"Specify it: {options}",
    )


def _check_dates_readable(candidates: list[DateEvidence], name: str) -> None:
    best = max(candidates, key=lambda e: e.order.rows)
    if best.unparsed_rows >= _MIN_UNPARSED_DATES and best.unparsed_rows > _MAX_UNPARSED_SHARE * (
        best.unparsed_rows + best.order.rows
    ):
        raise DataError(
            f"{name}: {best.unparsed_rows:,} of its dates cannot be read as {best.time_format.name}, "
            f"unlike the other {best.order.rows:,}.",
            "Does it combine two files? Split it, or specify the format: --date-format DD-MM-YYYY",
        )


def _only_candidate(remaining: list[DateEvidence], candidates: list[DateEvidence]) -> DateEvidence | None:
    """Return the one candidate that remains, unless rows can be read only as another one."""
    if len(remaining) != 1:
        return None
    (only,) = remaining
    return None if not only.exclusive_rows and any(e.exclusive_rows for e in candidates) else only


def _format_day(ns: int | None) -> str:
    return str(pl.select(pl.lit(ns, pl.Int64).cast(pl.Datetime("ns")).dt.date()).item())


def choose_symbol(
    scan: FileScan, options: Options, order: TimeOrder, name: str, folder: str
) -> Decision[SymbolChoice]:
    """Choose where the symbols come from: the option, the header, a column, the file's name or its folder.

    Raises
    ------
    DataError
        If the option names one symbol and the file has several, or nothing names one.
    """
    layout = scan.head.dialect.layout
    if options.symbol is not None:
        if len(layout.panels) > 1 or ("symbol" in layout.roles and len(order.symbols) > 1):
            examples = list(layout.panels) or order.symbols
            raise DataError(
                f"{name} holds {len(examples):,} symbols ({', '.join(examples[:5])} …), "
                f"not only {options.symbol}.",
                "Omit --symbol.",
            )
        return Decision(SymbolChoice(options.symbol, [options.symbol]), "--symbol")
    if layout.panels:
        symbols = list(layout.panels)
        return Decision(SymbolChoice(symbols[0] if len(symbols) == 1 else None, symbols), "header")
    if "symbol" in layout.roles:
        column = layout.names[layout.roles["symbol"]] or layout.roles["symbol"] + 1
        _check_late_symbols(scan, order.symbols, str(column), name)
        if is_vague_symbol_name(str(column)) and len(order.symbols) == 1 and order.symbols[0].isdigit():
            return _settle_number(scan, str(column), order.symbols[0], name, folder)
        return Decision(SymbolChoice(None, order.symbols), f"column {column}")
    if layout.vendor_layout and layout.vendor_layout.symbol:
        symbol = layout.vendor_layout.symbol
        return Decision(SymbolChoice(symbol, [symbol]), "path")
    _check_one_symbol(scan, name)
    check_one_instrument(scan.head, scan.decimal_separator, name)
    text_file = scan.head.text_file
    above = find_preamble_symbol(scan.head.dialect.preamble)
    try:
        symbol, origin, warning = infer_symbol(text_file.name, text_file.file_name, folder)
    except DataError:
        if not above.symbol:
            raise
        symbol, origin, warning = "", "", above.symbol
    if above.symbol and warning:
        symbol, origin, warning = above.symbol, f"line {above.line}, above the header", ""
    elif above.is_keyed and slug(above.symbol) not in slug(symbol) and slug(symbol) not in slug(above.symbol):
        warning = (
            f"{name}: the symbol is {symbol}, by its {origin}; line {above.line} says {above.symbol}. "
            "Specify the right one with --symbol."
        )
    if warning and (only := _only_passed_over(scan)):
        column, symbol = only
        origin = f"column {column}"
        warning = (
            f"{name}: the symbol is {symbol}, the only value of the column {column}. "
            "If that is not the symbol, specify it with --symbol."
        )
    symbol = options.symbol_map.get(symbol, symbol)
    return Decision(SymbolChoice(symbol, [symbol]), origin, warning)


def _check_late_symbols(scan: FileScan, symbols: Sequence[str], column: str, name: str) -> None:
    """Raise an error if later rows have dates or decimals in a column of symbols, unlike the first ones."""
    others = [each for each in symbols if _NO_SYMBOL.fullmatch(each)]
    if not others or len(others) == len(symbols):
        return
    first = scan.head.first_rows.select(scan.head.symbol_expr().str.strip_chars()).to_series().to_list()
    if any(_NO_SYMBOL.fullmatch(each or "") for each in first):
        return
    raise DataError(
        f"{name}: the column {column} has symbols such as {first[0]} in its first rows, and values such as "
        f"{others[0]} later.",
        "Are these rows of another table? Split the file, or remove them.",
    )


def _settle_number(
    scan: FileScan, column: str, number: str, name: str, folder: str
) -> Decision[SymbolChoice]:
    """Prefer a symbol in the file's name to one number on every row of a column such as ``name``."""
    text_file = scan.head.text_file
    of_name, origin, derived = infer_symbol(text_file.name, text_file.file_name, folder)
    what = f"{name}: the column {column} holds {number} on every row, which may be an internal number"
    if derived or of_name == number:
        warning = "" if of_name == number else f"{what}. If it is not the symbol: --symbol AAPL"
        return Decision(SymbolChoice(None, [number]), f"column {column}", warning)
    warning = f"{what}: the symbol is {of_name}, from the {origin}. If it is the symbol: --symbol {number}"
    return Decision(SymbolChoice(of_name, [of_name]), origin, warning)


def _only_passed_over(scan: FileScan) -> tuple[str, str] | None:
    """Return the only column that was passed over as the symbol, and its one value, if that is a symbol."""
    names = scan.head.dialect.layout.names
    found = [(names[column], value) for column, values in scan.passed_over.items() for value in values]
    if len(found) != 1 or not is_symbol(value := normalize_symbol(found[0][1])):
        return None
    return found[0][0], value


def _check_one_symbol(scan: FileScan, name: str) -> None:
    """Raise an error if a column that was passed over as the symbol distinguishes rows."""
    for column, values in scan.passed_over.items():
        if len(values) > 1:
            examples = " and ".join(sorted(values)[:2])
            raise DataError(
                f"{name}: the column {scan.head.dialect.layout.names[column]} has several values, such as "
                f"{examples}: the rows may be of several symbols.",
                "Name the column with the symbol: --columns symbol,date,open,high,low,close,volume. "
                "If all rows are of one: --symbol AAPL",
            )


def choose_zone(
    scan: FileScan,
    options: Options,
    time_format: TimeFormat,
    interval: str,
    symbols: Sequence[str],
    name: str,
) -> Decision[ZoneChoice]:
    """Choose the time zone of the exchange, and with it how to read times without one."""
    zone, origin = _known_zone(scan, options, symbols)
    if interval in DAILY_OR_LONGER and time_format.date_only:
        # the trading date is the date as written, whatever its offset from UTC
        return Decision(ZoneChoice(time_format.as_written, zone), origin or "not needed: dates only")
    if interval in DAILY_OR_LONGER:
        choice = choose_daily_times(scan, time_format, interval, zone)
        return Decision(
            ZoneChoice(choice.time_format, zone, choice.daily_times, choice.cuts_times),
            f"{origin}; {choice.reason}" if origin else choice.reason,
            "" if zone else _assumed_session_warning(choice, name),
        )
    if not time_format.is_naive:
        has_offsets = time_format.zone == "offset"
        reason = "every time has its offset" if has_offsets else "time since 1970 is UTC"
        return Decision(ZoneChoice(time_format, zone), reason)
    columns = _time_columns(scan)
    if zone:
        warning = ""
        if origin == FROM_HEADER or (len(scan.zones) == 1 and not options.tz):
            texts = columns if origin == FROM_HEADER else sorted(scan.zones)
            warning = check_header_zone(name, texts, zone, scan.evidence[0].order)
        return Decision(ZoneChoice(replace(time_format, zone=zone), zone), origin, warning)
    check_not_local(name, columns)
    return Decision(
        ZoneChoice(time_format, ""),
        "assumed",
        f"{name}: times have no time zone: UTC is assumed. Specify it, for example --tz America/New_York.",
    )


def _known_zone(scan: FileScan, options: Options, symbols: Sequence[str]) -> tuple[str, str]:
    """Return the exchange's time zone and where it comes from; empty if nothing names it."""
    layout = scan.head.dialect.layout
    name_symbol = [parse_file_name(scan.head.text_file.name).symbol]
    venue = zone_from_symbols(list(symbols) or name_symbol)
    candidates = [
        (options.tz or "", "--tz"),
        (layout.vendor_layout.zone if layout.vendor_layout else "", "the vendor's layout"),
        zone_from_file_name(scan.head.text_file.name),
        _zone_of_rows(scan, options),
        *(header_zone(column, venue) for column in _time_columns(scan)),
        (venue, "the venue in the symbol's suffix"),
    ]
    return next(((zone, origin) for zone, origin in candidates if zone), ("", ""))


def _zone_of_rows(scan: FileScan, options: Options) -> tuple[str, str]:
    """Return the time zone that a column has on all rows, and where it comes from."""
    layout = scan.head.dialect.layout
    if options.tz or "zone" not in layout.roles:
        return "", ""
    return settle_zones(scan.head.text_file.file_name, layout.names[layout.roles["zone"]], {*scan.zones})


def _time_columns(scan: FileScan) -> list[str]:
    """Return the names of the columns of dates and times of day."""
    layout = scan.head.dialect.layout
    return [layout.names[layout.roles[role]] for role in ("time", "clock") if role in layout.roles]


def _assumed_session_warning(choice: DailyChoice, name: str) -> str:
    if choice.daily_times is None or choice.is_certain:
        return ""
    if choice.daily_times.clock == "written":
        return (
            f"{name}: its bars begin at {choice.begins}, and no time zone is known: UTC is assumed. "
            "Specify it, for example --tz America/New_York."
        )
    which = "following " if choice.daily_times.shift_days else ""
    return (
        f"{name}: its bars begin at {choice.begins} UTC, and no time zone is known: the {which}date in UTC "
        "is assumed to be that of their session. Specify the exchange's zone, "
        "for example --tz America/New_York."
    )


def choose_volume(scan: FileScan, name: str) -> Decision[FileScan]:
    """Take the tick volume as the volume if the volume itself is 0 on every row, and return the scan with it.

    Vendors of currencies have no volume, and count the changes of the price.
    """
    layout = scan.head.dialect.layout
    tick, shares = layout.tick_volume, layout.roles.get("volume")
    if tick is None or shares in scan.columns_with_values or tick not in scan.columns_with_values:
        return Decision(scan, layout.reasons.get("volume", ""))
    assert shares is not None
    reason = f"{layout.names[shares]} is 0 or empty on every row"
    layout = replace(
        layout,
        roles={**layout.roles, "volume": tick},
        reasons={**layout.reasons, "volume": reason},
        tick_volume=None,
    )
    head = replace(scan.head, dialect=replace(scan.head.dialect, layout=layout))
    return Decision(
        replace(scan, head=head),
        reason,
        f"{name}: {reason}: the volume is {layout.names[tick]}, which counts changes of the price, "
        "not shares. If that is wrong, name the columns without it: --columns",
    )
