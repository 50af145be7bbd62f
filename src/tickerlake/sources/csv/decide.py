"""What a survey of a file decides: dates, symbol, interval, zone, scale; or the question that it leaves."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import polars as pl

from tickerlake.errors import DataError
from tickerlake.model import quality
from tickerlake.model.interval import DAILY, length_ns
from tickerlake.model.reject import Reject
from tickerlake.sources.csv.interval import interval_of, parse_interval, share
from tickerlake.sources.csv.options import Options
from tickerlake.sources.csv.order import Order
from tickerlake.sources.csv.parse import IS_RECORD, REASON, Parser, rejects_of
from tickerlake.sources.csv.rows import LINE
from tickerlake.sources.csv.sort import refuse_repeats, sort_rows, timed
from tickerlake.sources.csv.survey import Evidence, Survey
from tickerlake.sources.csv.symbols import symbol_of, told_by_name
from tickerlake.sources.csv.timeform import TimeForm
from tickerlake.sources.csv.zones import zone_of_header, zone_of_symbols

_PROBE_ROWS: Final = 1000
_MIXED_SHARE: Final = 0.3
_MANY_UNREAD: Final = 5
_MOST_UNREAD: Final = 0.25


def choose_dates(survey: Survey, options: Options) -> tuple[Evidence, str]:
    """Return the one way to read the dates that the evidence leaves, and what settled it.

    Raises
    ------
    DataError
        If more than one is left, or each contradicts some rows.
    """
    name = survey.head.text.file.name
    if not survey.evidence:
        dialect = survey.head.dialect
        where = (
            f"its header in line {dialect.header_lines[0]} has"
            if dialect.header_lines
            else "its first row has"
        )
        raise DataError(
            f"{name} has no rows of {dialect.fields} fields, as {where}.",
            "Make the header name every column.",
        )
    found = [e for e in survey.evidence if e.order.rows]
    if not found:
        raise DataError(f"{name}: no date is readable.", "Name the format: --date-format DD-MM-YYYY")
    if options.date_format is not None:
        most = max(found, key=lambda e: e.order.rows)
        if most.unread > most.order.rows:
            raise DataError(
                f"{name}: {most.unread:,} of {most.unread + most.order.rows:,} dates "
                f"do not read as {most.form.name}.",
                "Leave --date-format out, or name the one that the file has.",
            )
        return most, "--date-format"
    least = min(e.unread for e in found)
    found = [e for e in found if e.unread <= least + 0.05 * e.order.rows]
    _refuse_unread(found, name)
    if len(found) == 1:
        return found[0], "no other order can be read" if len(survey.evidence) > 1 else "the way it is written"
    if best := _one([e for e in found if e.only_this], found):
        return best, f"{best.only_this:,} dates can be read in no other order"
    if any(e.only_this for e in found):
        ways = " and ".join(f"{e.only_this:,} only as {e.form.name}" for e in found if e.only_this)
        raise DataError(
            f"{name} writes its dates in more than one order: {ways}.", "Name one: --date-format DD-MM-YYYY"
        )
    if best := _one([e for e in found if e.order.rising or e.order.falling], found):
        return best, "only so the rows stand in order of time"
    if best := _one([e for e in found if not e.order.yearly], found):
        return best, "in any other order the days are years apart"
    if best := _one([e for e in found if e.order.keeps_weekends], found):
        return best, "in any other order some rows fall on a weekend"
    ways = " or ".join(f"--date-format {e.form.name}" for e in found)
    days = " and ".join(
        f"as {e.form.name} from {_day(e.order.first_ns)} to {_day(e.order.last_ns)}" for e in found
    )
    raise DataError(
        f"{name}: the order of day and month is ambiguous: "
        f"no day is above 12, and {days} the dates make sense.",
        f"Name it: {ways}",
    )


def _refuse_unread(found: list[Evidence], name: str) -> None:
    best = max(found, key=lambda e: e.order.rows)
    if best.unread >= _MANY_UNREAD and best.unread > _MOST_UNREAD * (best.unread + best.order.rows):
        raise DataError(
            f"{name}: {best.unread:,} of its dates do not read as {best.form.name}, "
            f"as {best.order.rows:,} others do.",
            "Is it two files in one? Split it, or name the format: --date-format DD-MM-YYYY",
        )


def _one(left: list[Evidence], found: list[Evidence]) -> Evidence | None:
    return (
        left[0]
        if len(left) == 1 and not (left[0].only_this == 0 and any(e.only_this for e in found))
        else None
    )


def _day(ns: int | None) -> str:
    return str(pl.select(pl.lit(ns, pl.Int64).cast(pl.Datetime("ns")).dt.date()).item())


def choose_symbol(
    found: Survey, options: Options, order: Order, name: str, folder: str
) -> tuple[str | None, list[str], str, str]:
    """Return the symbol of every row or None, the file's symbols, where they come from, and a warning."""
    layout = found.head.dialect.layout
    if options.symbol is not None:
        if len(layout.panels) > 1 or ("symbol" in layout.roles and len(order.symbols) > 1):
            several = list(layout.panels) or order.symbols
            raise DataError(
                f"{name} holds {len(several):,} symbols ({', '.join(several[:5])} …), "
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
    symbol, where, warning = symbol_of(found.head.text.name, found.head.text.file.name, folder)
    return symbol, [symbol], where, warning


def choose_interval(
    found: Survey, options: Options, form: TimeForm, order: Order, name: str
) -> tuple[str, str, str]:
    """Return the length of the bars, where it comes from, and a warning.

    Raises
    ------
    DataError
        If what is declared contradicts the rows, or nothing tells it.
    """
    gaps = order.gaps_ns
    seen = interval_of(gaps, daily=form.daily)
    layout = found.head.dialect.layout
    declared, where = options.interval or "", "--interval"
    if not declared and "interval" in layout.roles:
        declared, where = (
            _declared_by_column(found, layout.roles["interval"]),
            f"column {layout.names[layout.roles['interval']]}",
        )
    told = told_by_name(found.head.text.name).interval
    if declared:
        if gaps.len() and not _agrees(declared, seen, gaps):
            raise DataError(
                f"{name}: {where} says bars of {declared}, but the rows "
                f"are {seen or 'less than a second'} apart.",
                "Leave --interval out, or give the one that the rows have."
                if where == "--interval"
                else f"Say which is right: --interval {seen or declared}",
            )
        return declared, where, ""
    if gaps.is_empty() and told and not form.daily:
        return told, "file name", ""
    if not seen:
        raise DataError(f"{name}: its rows don't tell how long a bar is.", "Say it: --interval 1m")
    warning = ""
    if told and gaps.len() and not _agrees(told, seen, gaps):
        warning = f"{name} is called {told}, but its rows are {seen} apart: read as bars of {seen}."
    elif told and told not in DAILY and seen not in DAILY:
        return told, "file name and the time between rows", ""
    return seen, "the time between rows" if gaps.len() else "dates without a time", warning


def _declared_by_column(found: Survey, column: int) -> str:
    """Return the interval that a column of the file declares on its first rows; empty if none, or several."""
    said = {parse_interval(text) for text in _first_texts(found, column).unique() if text}
    return said.pop() if len(said) == 1 else ""


def _first_texts(found: Survey, column: int) -> pl.Series:
    """Return the texts of a column on the file's first rows."""
    rows = found.head.rows(next(found.head.text.chunks()), [f"c{column}"]).frame
    return rows.get_column(f"c{column}").head(_PROBE_ROWS)


def _agrees(declared: str, seen: str, gaps: pl.Series) -> bool:
    if declared == seen:
        return True
    if declared in DAILY or seen in DAILY:
        return False
    length = length_ns(declared)
    # bars may be missing: then the gaps are multiples of the length, and some are the length itself
    return share(gaps % length == 0) >= 0.95 and share(gaps == length) >= 0.01


def choose_zone(
    found: Survey, options: Options, form: TimeForm, interval: str, symbols: Sequence[str], name: str
) -> tuple[TimeForm, str, str, str]:
    """Return how to read times, the exchange's zone if it is known, where it comes from, and a warning."""
    layout = found.head.dialect.layout
    stem = [told_by_name(found.head.text.name).symbol]
    told = [
        (options.tz or "", "--tz"),
        (layout.known.zone if layout.known else "", "the layout"),
        *(
            (zone_of_header(layout.names[layout.roles[role]]), "the column's name")
            for role in ("time", "clock")
            if role in layout.roles
        ),
        (zone_of_symbols(list(symbols) or stem), "the venue that the symbol's ending names"),
    ]
    zone, where = next(((zone, where) for zone, where in told if zone), ("", ""))
    if interval in DAILY:
        if form.epoch:
            form, warning = replace(form, zone=zone or "UTC"), ""
            order = found.evidence[0].order
            if not zone and 0.15 * order.rows < order.weekend_rows < 0.25 * order.rows:
                warning = (
                    f"{name}: some of its days are Sundays in UTC: the exchange's zone may shift them. "
                    "Name it with --tz."
                )
            return form, zone, where or "UTC: seconds since 1970", warning
        # the trading date is the one that is written
        form = replace(form, format=form.format.removesuffix("%z"), written=form.zone == "offset")
        return form, zone, where or "not needed: dates only", ""
    if form.naive:
        if zone:
            return replace(form, zone=zone), zone, where, ""
        warning = (
            f"{name}: times have no zone: UTC is assumed. Name it with --tz America/New_York or another."
        )
        return form, "", "assumed", warning
    return form, zone, "every time says its offset" if form.zone == "offset" else "time since 1970 is UTC", ""


def choose_scale(found: Survey, options: Options) -> int:
    """Return how many decimals are left out of prices that are whole numbers."""
    layout = found.head.dialect.layout
    known = layout.known.scale if layout.known else 0
    if options.price_scale is not None or not known:
        return options.price_scale or 0
    role = next(role for role in ("close", "price", "bid_price") if role in layout.roles)
    texts = _first_texts(found, layout.roles[role])
    whole = texts.str.contains(r"^-?\d+$")
    return known if bool(whole.all()) and bool((texts.str.len_chars() >= known).all()) else 0


def refuse_if_no_record(found: Survey, parser: Parser) -> None:
    """Refuse a file of whose beginning no row is a record: its layout is not understood."""
    rejects: list[Reject] = []
    for chunk in found.head.text.chunks():
        rows = parser.parse(chunk)
        if rows.select(IS_RECORD.any()).item():
            return
        rejects += rejects_of(rows.head(_PROBE_ROWS))
        if len(rejects) >= _PROBE_ROWS:
            break
    example = (
        f", such as line {rejects[0].line} ({rejects[0].reason}): {rejects[0].raw[:80]!r}" if rejects else ""
    )
    raise DataError(
        f"{parser.source}: no row can be read{example}.", "Check the layout with tickerlake inspect."
    )


def refuse_if_mixed(found: Survey, parser: Parser, name: str) -> None:
    """Refuse a file of several series that no column tells apart."""
    rows = parser.parse(next(found.head.text.chunks()))
    checked = refuse_repeats(sort_rows(next(timed([rows]))))
    mixed = checked.filter(pl.col(REASON) == quality.CONFLICTING_DUPLICATE)
    if mixed.height > _MIXED_SHARE * checked.height:
        raise DataError(
            f"{name} has several rows for each time, such as line {mixed.get_column(LINE).min()!r}: "
            "more than one series, and no column tells which.",
            "Name the column with the symbol: --columns symbol,date,open,high,low,close,volume",
        )
