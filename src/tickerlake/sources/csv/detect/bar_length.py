"""Decides how long bars are: by option, column, name or the time between rows. Pure."""

from typing import Final

import polars as pl

from tickerlake.errors import DataError
from tickerlake.model.duration import DAY_NS, SECOND_NS
from tickerlake.model.interval import DAILY_OR_LONGER, interval_ns
from tickerlake.sources.csv.detect.columns.layout import PRICES, ROLE_WORDS, columns_option
from tickerlake.sources.csv.detect.decision import Decision
from tickerlake.sources.csv.detect.file_name import parse_file_name
from tickerlake.sources.csv.detect.options import Options
from tickerlake.sources.csv.detect.scan import FileScan
from tickerlake.sources.csv.detect.times.interval import (
    are_irregular,
    infer_interval,
    parse_interval,
    share_true,
)
from tickerlake.sources.csv.detect.times.order import TimeOrder
from tickerlake.sources.csv.timeform import TimeFormat

_SAMPLE_ROWS: Final = 1000
_USUAL_LENGTHS: Final = ("1h", "15m", "5m", "1m", "1s")
_MIN_MULTIPLE_SHARE: Final = 0.95
_MIN_EXACT_SHARE: Final = 0.01
"""Where bars are often missing, nearly all gaps are multiples of the interval, and a few are just as long."""

_MAX_EVENT_BARS_SHARE: Final = 0.5
_MIN_EVENT_BARS: Final = 10
_MAX_EVENT_BARS_RATIO: Final = 1.05
"""Bars of a fixed volume exceed it a little, by their last trade."""

_MIN_TIES_SHARE: Final = 0.05
"""Bars of a price range may begin at the same time; bars of time are hardly ever repeated."""


def choose_interval(
    scan: FileScan, options: Options, time_format: TimeFormat, order: TimeOrder, name: str
) -> Decision[str]:
    """Choose the length of the bars, for example ``1d`` or ``1m``.

    Raises
    ------
    DataError
        If the declared interval contradicts the rows, or nothing shows it.
    """
    gaps = order.gaps_ns
    inferred = infer_interval(gaps, daily=time_format.date_only, period=time_format.period)
    layout = scan.head.dialect.layout
    declared, origin = options.interval or "", "--interval"
    if not declared and "interval" in layout.roles:
        declared = _declared_interval(scan, layout.roles["interval"])
        origin = f"column {layout.names[layout.roles['interval']]}"
    if declared:
        is_stated = origin == "--interval"
        if gaps.len() and not _intervals_agree(declared, inferred, gaps, is_stated=is_stated):
            if not inferred:
                raise _not_time_bars_error(scan, gaps)
            raise DataError(
                f"{name}: {origin} specifies bars of {declared}, but the rows are {inferred} apart.",
                "Omit --interval, or specify that of the rows."
                if is_stated
                else f"Specify the right one: --interval {inferred}",
            )
        return Decision(declared, origin)
    name_interval = parse_file_name(scan.head.text_file.name).interval
    has_times = time_format.is_midnight or not time_format.date_only
    if scan.head.name_date.text and not has_times and name_interval not in {"", "1d"}:
        raise DataError(
            f"{name} is called {name_interval}, but its only date is that of its name.",
            f"Specify the length of its bars: --interval 1d or --interval {name_interval}",
        )
    if gaps.is_empty() and name_interval and has_times:
        return Decision(name_interval, "file name")
    if not inferred and name_interval and _intervals_agree(name_interval, inferred, gaps):
        return Decision(name_interval, "file name and the time between rows")
    if gaps.len() and (not inferred or _are_event_bars(scan, inferred, order)):
        raise _not_time_bars_error(scan, gaps)
    if not name_interval and are_irregular(gaps, inferred):
        raise _irregular_rows_error(name, gaps)
    if not inferred or (has_times and order.rows == 1):
        raise DataError(f"{name}: its rows do not show the length of a bar.", "Specify it: --interval 1m")
    warning = ""
    if name_interval and gaps.len() and not _intervals_agree(name_interval, inferred, gaps):
        warning = (
            f"{name} is called {name_interval}, but its rows are {inferred} apart: "
            f"read as bars of {inferred}."
        )
    elif gaps.is_empty() and has_times:
        warning = (
            f"{name}: each symbol has one row, at midnight: bars of {inferred} are assumed. "
            "Specify their length with --interval."
        )
    elif name_interval and name_interval not in DAILY_OR_LONGER and inferred not in DAILY_OR_LONGER:
        return Decision(name_interval, "file name and the time between rows")
    return Decision(inferred, "the time between rows" if gaps.len() else "dates without a time", warning)


def _irregular_rows_error(name: str, gaps: pl.Series) -> DataError:
    low, high = (_format_minutes(gaps.quantile(share, "nearest")) for share in (0.1, 0.9))
    return DataError(
        f"{name}: its rows do not show the length of a bar: most are {low} to {high} apart.",
        "If bars are only missing, specify their length: --interval 1m. "
        "Bars of ticks, volume, dollars or a price range are not supported.",
    )


def _format_minutes(ns: float | None) -> str:
    seconds = round((ns or 0) / SECOND_NS)
    return f"{seconds / 60:.4g} min" if seconds >= 60 else f"{seconds} s"


def _are_event_bars(scan: FileScan, inferred: str, order: TimeOrder) -> bool:
    """Return whether bars of any length have something else in common: their volume, trades or range.

    Their times may all be whole seconds or minutes, and thus multiples of a common length.
    """
    gaps, roles = order.gaps_ns, scan.head.dialect.layout.roles
    if inferred in DAILY_OR_LONGER or share_true(gaps == interval_ns(inferred)) > _MAX_EVENT_BARS_SHARE:
        return False
    if order.ties >= _MIN_TIES_SHARE * (gaps.len() + order.ties):
        return True
    numbers: dict[str, pl.Series] = {
        role: _first_cells(scan, roles[role]).cast(pl.Float64, strict=False)
        for role in ("volume", "trade_count", "high", "low")
        if role in roles
    }
    if "high" in numbers and "low" in numbers:
        high, low = numbers.pop("high"), numbers.pop("low")
        if 2 * high.n_unique() > len(high):
            numbers["range"] = high - low
    return any(_is_about_constant(values) for values in numbers.values())


def _is_about_constant(values: pl.Series) -> bool:
    low, high = values.quantile(0.05), values.quantile(0.95)
    is_known = len(values) >= _MIN_EVENT_BARS and not values.null_count()
    return is_known and low is not None and high is not None and 0 < high <= _MAX_EVENT_BARS_RATIO * low


def _not_time_bars_error(scan: FileScan, gaps: pl.Series) -> DataError:
    """Return the error for bars of ticks, volume, money or a price range, which are not bars of time."""
    examples = ", ".join(f"{gap / SECOND_NS:,.3f}".rstrip("0").rstrip(".") for gap in gaps.head(3))
    lengths = [each for each in _USUAL_LENGTHS if _intervals_agree(each, "", gaps, is_stated=True)]
    if _are_ticks(scan):
        remedy = f"If each row is a trade: --columns {_tick_columns(scan)}"
    elif lengths:
        remedy = f"If bars are only missing, specify their length: --interval {lengths[0]}"
    else:
        remedy = "No length fits these times: export bars of a fixed time, or trades."
    return DataError(
        f"{scan.head.text_file.file_name}: its rows are not bars of a fixed time: the first are {examples} "
        "seconds apart. Bars of ticks, volume, dollars or a price range are not supported.",
        remedy,
    )


def _are_ticks(scan: FileScan) -> bool:
    """Return whether open, high, low and close are the same on each of the first rows."""
    roles = scan.head.dialect.layout.roles
    prices = [_first_cells(scan, roles[role]) for role in PRICES if role in roles]
    return len(prices) == len(PRICES) and all((each == prices[0]).all() for each in prices)


def _tick_columns(scan: FileScan) -> str:
    """Return how ``--columns`` names the columns of ticks that are written as bars."""
    words = {**ROLE_WORDS, "symbol": "symbol", "close": "price", "volume": "size"}
    roles = scan.head.dialect.layout.roles
    by_column = {roles[role]: word for role, word in words.items() if role in roles}
    return columns_option(by_column)


def _declared_interval(scan: FileScan, column: int) -> str:
    """Return the interval in a column of the file's first rows; empty if there is none, or several."""
    intervals = {parse_interval(text) for text in _first_cells(scan, column).unique() if text}
    return intervals.pop() if len(intervals) == 1 else ""


def _first_cells(scan: FileScan, column: int) -> pl.Series:
    """Return the cells of a column in the file's first rows."""
    rows = scan.head.read_rows(next(scan.head.text_file.chunks()), [f"c{column}"]).frame
    return rows.get_column(f"c{column}").head(_SAMPLE_ROWS)


def _intervals_agree(declared: str, inferred: str, gaps: pl.Series, *, is_stated: bool = False) -> bool:
    """Return whether rows can be bars of a length: some may be missing; if the user states it, most."""
    if declared == inferred:
        return True
    if gaps.is_empty():
        return False
    if declared in DAILY_OR_LONGER or inferred in DAILY_OR_LONGER:
        return declared == "1d" and not inferred and share_true(gaps >= DAY_NS // 2) >= _MIN_MULTIPLE_SHARE
    length = interval_ns(declared)
    return share_true(gaps % length == 0) >= _MIN_MULTIPLE_SHARE and (
        is_stated or share_true(gaps == length) >= _MIN_EXACT_SHARE
    )
