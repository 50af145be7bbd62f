"""The roles of columns that do not follow from their names, inferred from their values. Pure."""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, pairwise
from statistics import median
from typing import Final

import polars as pl

from tickerlake.model.schema import BAR, QUOTE, TRADE
from tickerlake.sources.csv.detect.columns.assignment import RoleAssignment
from tickerlake.sources.csv.detect.columns.bar_extras import is_mean_of_prices
from tickerlake.sources.csv.detect.columns.cells import (
    SAMPLE_CELLS,
    ColumnSample,
    complete_rows,
    counts_rows,
    is_clock_digits,
    is_running_number,
)
from tickerlake.sources.csv.detect.columns.layout import PRICES, Layout, is_other_date
from tickerlake.sources.csv.detect.columns.symbol_column import infer_symbol_column
from tickerlake.sources.csv.detect.columns.vocabulary import can_be_price, can_be_size
from tickerlake.sources.csv.detect.times.dates import candidate_time_formats, has_time

_MAX_CHECKED_ROWS: Final = 400
"""Rows on which four columns are compared: it bounds the time for many combinations of columns."""

_MAX_COMBINED_COLUMNS: Final = 14
"""Up to this many columns, all combinations of four are tried: 1,001."""

_CENTURIES: Final = ("19", "20")
"""Of twelve or fourteen digits that begin with the year."""

_MIN_EPOCH_S: Final = 1_000_000_000
_MAX_EPOCH_S: Final = 2_300_000_000
"""Seconds since 1970 have ten digits before the fraction from 2001 on; 2042 is far enough."""

_EPOCH_WIDTHS: Final = frozenset({10, 13, 16, 19})
_MAX_CONSTANT_ROWS: Final = 5
"""On more rows, a price or a size is not constant."""

_MIN_CONSISTENT_SHARE: Final = 0.99
"""Of the rows on which a rule for prices must hold: it tolerates a broken row in a hundred."""

_MIN_STEPS: Final = 4
_CONFIDENT_STEPS: Final = 10
_MAX_STEP_RATIO: Final = 0.2
_MAX_CONFIDENT_STEP_RATIO: Final = 0.7
"""Open is near the close before it. On few steps it must be much nearer than the other way round."""

_MAX_PRICE_STEP: Final = 0.01
_MIN_SIZE_STEP: Final = 0.05
_MIN_STEP_FACTOR: Final = 10
"""From trade to trade a price moves less than 1%; a size more than 5%, and ten times as much as prices."""

_MIN_TRADED_SHARE: Final = 0.8
"""Of the rows that have a price and a size: on fewer, the columns are something else."""

_MAX_SPREAD_FACTOR: Final = 1.02


def infer_roles(names: Sequence[str], columns: Sequence[ColumnSample], layout: Layout) -> Layout:
    """Infer the roles of columns that do not follow from their names.

    Parameters
    ----------
    names, columns
        The columns.
    layout
        The roles by name, of which those of time and symbol are used.
    """
    by_name = {role: i for role, i in layout.roles.items() if role in {"time", "clock", "symbol"}}
    assignment = RoleAssignment(names, columns, by_name, dict(layout.reasons))
    if "time" not in assignment.roles and "clock" not in assignment.roles:
        infer_time(assignment)
    if "symbol" not in assignment.roles:
        infer_symbol_column(assignment)
    numeric = [
        i
        for i in assignment.unassigned
        if columns[i].is_numeric
        and columns[i].temporal_kind != "clock"
        and not is_running_number(columns[i])
        and not counts_rows(columns[i])
    ]
    # a name that says what a column is outweighs its values
    named = [i for i in numeric if can_be_price(names[i])]
    numeric = [i for i in numeric if i in named or can_be_size(names[i])]
    prices = [i for i in named if not _is_constant(columns[i])]
    record_type: str | None = ""
    if "time" in assignment.roles or "clock" in assignment.roles:
        record_type = _infer_bar(assignment, prices if any(names) else named, numeric)
        if record_type is None:
            record_type = _infer_trade(assignment, prices, numeric) or _infer_quote(assignment, prices)
    layout = assignment.to_layout(record_type or "", vendor_layout=layout.vendor_layout)
    if any(names) and record_type in {TRADE, QUOTE}:
        return replace(layout, notes=(_inferred_note(layout),))
    return layout


def _inferred_note(layout: Layout) -> str:
    parts = ", ".join(
        f"{layout.names[i]} = {role}" for role, i in layout.roles.items() if "price" in role or "size" in role
    )
    return (
        f"no name says which column is the price; by their values, {parts}. "
        "If that is wrong, name the columns with --columns."
    )


def _is_constant(cells: ColumnSample) -> bool:
    """Return whether a column has one value on many rows."""
    return len(cells.non_missing) > _MAX_CONSTANT_ROWS and len(set(cells.non_missing)) == 1


def infer_time(assignment: RoleAssignment) -> None:
    """Assign the time to the column whose values are dates, and the clock to times of day next to it.

    Digits count as seconds since 1970 only if no header contradicts it.
    """
    columns, unassigned = assignment.columns, assignment.unassigned
    timestamps = [
        i
        for i in unassigned
        if columns[i].temporal_kind == "timestamp"
        and not is_other_date(assignment.names[i])
        and _is_plausible_timestamp(columns[i], has_header=bool(assignment.names[i]))
    ]
    clocks = [i for i in unassigned if columns[i].temporal_kind == "clock"]
    if not timestamps:
        return
    date_times = [i for i in timestamps if has_time(columns[i].non_missing[0])]
    time_column = min(date_times or timestamps)
    assignment.assign("time", time_column, "its values are dates")
    after = time_column + 1
    digits = [after] if after < len(columns) and _is_clock_column(columns[after]) else []
    if not date_times and (clocks or digits):
        assignment.assign("clock", (clocks or digits)[0], "its values are times of day")


def _is_clock_column(cells: ColumnSample) -> bool:
    """Return whether digits after a date are times of day: of one width, and most of them round."""
    texts = cells.non_missing[:SAMPLE_CELLS]
    distinct = set(texts)
    return (
        len(distinct) > 1
        and all(is_clock_digits(text) for text in texts)
        and len({len(text) for text in texts}) <= 2
        and all((len(text) >= 4 and text.startswith("0")) or len(text) >= 3 for text in texts)
        and all(text.endswith("00") for text in texts if len(text) > 4)
        and all(int(text[-2:]) % 5 == 0 or len(distinct) > 10 for text in texts)
    )


def _is_plausible_timestamp(cells: ColumnSample, *, has_header: bool) -> bool:
    """Return whether digits, if the cells are digits, are a date or count from 1970 to a plausible year."""
    texts = cells.non_missing[:SAMPLE_CELLS]
    if not all(re.fullmatch(r"\d+(\.\d*)?", text) for text in texts):
        return True
    texts = [text.partition(".")[0] for text in texts]
    widths = {len(text) for text in texts}
    possible = {8, 12, 14} if has_header else {6, 8, 10, 12, 13, 14, 16, 19}
    # the unit of times since 1970 may change within a file
    if not widths <= possible or (len(widths) > 1 and not widths <= _EPOCH_WIDTHS):
        return False
    if widths <= {6, 8, 12, 14}:
        return all(len(text) < 12 or text[:2] in _CENTURIES for text in texts)
    return all(_MIN_EPOCH_S <= int(text[:10]) < _MAX_EPOCH_S for text in texts)


def _infer_bar(assignment: RoleAssignment, numeric: list[int], others: Sequence[int]) -> str | None:
    """Find open, high, low and close: no price is above the high or below the low of its row.

    If there is a header, in unknown words, exactly one set of four columns must fit.

    Parameters
    ----------
    numeric
        The columns that can be prices.
    others
        The columns that can be prices or volumes.

    Returns
    -------
    str or None
        `BAR`; None if no four columns fit, empty if it is not clear which.
    """
    columns, has_header = assignment.columns, any(assignment.names)
    quads = [numeric[k : k + 4] for k in range(len(numeric) - 3)]
    quads = [quad for quad in quads if _find_high_and_low(columns, quad)]
    if (has_header or not quads) and len(numeric) <= _MAX_COMBINED_COLUMNS:
        quads = [list(quad) for quad in combinations(numeric, 4) if _find_high_and_low(columns, quad)]
    if not quads:
        return None
    if len(quads) > 1 and (has_header or len(numeric) > _MAX_COMBINED_COLUMNS):
        return ""
    quad = quads[0]
    extremes = _find_high_and_low(columns, quad)
    assert extremes is not None
    high, low = extremes
    first, second = (i for i in quad if i not in (high, low))
    open_column = _find_open(assignment, first, second)
    if open_column is None:
        return ""
    close_column = second if open_column == first else first
    for role, index in zip(PRICES, (open_column, high, low, close_column), strict=True):
        assignment.assign(
            role, index, "its values: within the row's range, and each open near the previous close"
        )
    _assign_after_prices(assignment, [i for i in others if i > max(quad)])
    return BAR


def _assign_after_prices(assignment: RoleAssignment, after: Sequence[int]) -> None:
    """Assign VWAP, adjusted close and volume to the columns that follow the prices."""
    columns, roles = assignment.columns, assignment.roles
    for i in after:
        if is_mean_of_prices(assignment, i):
            continue
        share_in_range = share_within(columns, i, roles["low"], roles["high"])
        if share_in_range >= 0.9:
            is_vwap = (
                "vwap" not in roles
                and share_in_range >= _MIN_CONSISTENT_SHARE
                and columns[i].numbers != columns[roles["close"]].numbers
            )
            assignment.assign("vwap" if is_vwap else "adj_close", i, "its values are in the row's range")
            continue
        values = [value for value in columns[i].numbers if value is not None]
        if values and min(values) >= 0 and can_be_size(assignment.names[i]):
            assignment.assign("volume", i, "it follows the prices and is never negative")
        break
    if "vwap" in roles and "volume" not in roles:
        # an average by volume, without a volume, is an adjusted price or the like
        roles.pop("vwap")


def _find_high_and_low(columns: Sequence[ColumnSample], quad: Sequence[int]) -> tuple[int, int] | None:
    """Return the highest and the lowest of four columns, if they are the same on nearly all rows."""
    rows = [row for row in complete_rows(columns, quad) if min(row) > 0 and max(row) < 3 * min(row)]
    rows = rows[:_MAX_CHECKED_ROWS]
    if not rows or len(rows) < 0.5 * min(len(columns[quad[0]].strings), _MAX_CHECKED_ROWS):
        return None
    min_rows = _MIN_CONSISTENT_SHARE * len(rows)
    highs = [k for k in range(4) if sum(row[k] == max(row) for row in rows) >= min_rows]
    lows = [k for k in range(4) if sum(row[k] == min(row) for row in rows) >= min_rows]
    if len(highs) != 1 or len(lows) != 1 or highs == lows:
        return None
    return quad[highs[0]], quad[lows[0]]


def _find_open(assignment: RoleAssignment, first: int, second: int) -> int | None:
    """Return which of two columns is the open, which is near the previous close; None if it is not clear."""
    rows = zip(
        assignment.strings("time"),
        assignment.strings("clock"),
        assignment.strings("symbol"),
        assignment.columns[first].numbers,
        assignment.columns[second].numbers,
        strict=True,
    )
    complete = [row for row in rows if row[3] is not None and row[4] is not None]
    direction = _time_direction([row[:3] for row in complete])
    if not direction:
        return None
    if direction < 0:
        complete.reverse()
    straight = swapped = 0.0
    orders: set[bool] = set()
    previous: dict[str, tuple[float, float]] = {}
    steps = 0
    for _, _, symbol, a, b in complete:
        assert a is not None and b is not None  # noqa: PT018
        orders |= {a < b} if a != b else set()
        if symbol in previous:
            previous_a, previous_b = previous[symbol]
            straight += abs(a - previous_b) / b
            swapped += abs(b - previous_a) / a
            steps += 1
        previous[symbol] = (a, b)
    if steps < _MIN_STEPS:
        return None
    # series of unlike levels keep their order; prices rise and fall from open to close
    is_confident = steps >= _CONFIDENT_STEPS and len(orders) > 1
    max_ratio = _MAX_CONFIDENT_STEP_RATIO if is_confident else _MAX_STEP_RATIO
    if straight < max_ratio * swapped:
        return first
    return second if swapped < max_ratio * straight else None


def _time_direction(rows: Sequence[tuple[str, str, str]]) -> int:
    """Return 1 if the rows of every symbol run forward in time, -1 if backward, 0 if it is not clear."""
    frame = pl.DataFrame(
        {"t": [f"{date} {clock}".strip() for date, clock, _ in rows], "symbol": [row[2] for row in rows]}
    )
    directions = set()
    for time_format in candidate_time_formats(frame["t"].to_list(), None, file=""):
        steps = frame.select(time_format.to_ns(pl.col("t")).diff().over("symbol")).to_series().drop_nulls()
        if (steps >= 0).all() and (steps > 0).any():
            directions.add(1)
        elif (steps <= 0).all() and (steps < 0).any():
            directions.add(-1)
        elif not steps.is_empty():
            directions.add(0)
    return directions.pop() if len(directions) == 1 else 0


def share_within(columns: Sequence[ColumnSample], column: int, low: int, high: int) -> float:
    """Return the share of rows on which a column lies between two others."""
    rows = complete_rows(columns, (column, low, high))
    return sum(lo <= v <= hi for v, lo, hi in rows) / len(rows) if rows else 0.0


def _infer_quote(assignment: RoleAssignment, numeric: list[int]) -> str:
    """Find bid and ask: adjacent columns, a little apart, the first never above the second."""
    columns = assignment.columns
    for bid, ask in pairwise(numeric):
        rows = [
            (b, a)
            for b, a in zip(columns[bid].numbers, columns[ask].numbers, strict=True)
            if b and a and b > 0
        ]
        if (
            len(rows) >= 5
            and all(b <= a < _MAX_SPREAD_FACTOR * b for b, a in rows)
            and sum(b < a for b, a in rows) > 0.7 * len(rows)
        ):
            assignment.assign("bid_price", bid, "its values: a little below those of the next column")
            assignment.assign("ask_price", ask, "its values: a little above those of the column before")
            after = [i for i in numeric if i > ask]
            if len(after) == 2:
                assignment.assign("bid_size", after[0], "it follows the prices")
                assignment.assign("ask_size", after[1], "it follows the prices")
            return QUOTE
    return ""


def _infer_trade(assignment: RoleAssignment, prices: Sequence[int], numeric: list[int]) -> str:
    """Find price and size: the price moves little from row to row, the size does not.

    There may also be a bid and an ask, between which the price lies, and the product of price and size.
    """
    columns = assignment.columns
    products = {c for a, b in combinations(numeric, 2) for c in numeric if _is_product(columns, a, b, c)}
    numeric = [i for i in numeric if i not in products]
    is_timed = "clock" in assignment.roles or has_time(columns[assignment.roles["time"]].non_missing[0])
    if len(numeric) not in {2, 4} or not is_timed:
        return ""
    steps = {i: _median_step(columns[i].numbers) for i in numeric}
    smooth = [i for i in numeric if i in prices and steps[i] < _MAX_PRICE_STEP]
    rough = [i for i in numeric if can_be_size(assignment.names[i]) and steps[i] >= _MIN_SIZE_STEP]
    largest_price_step = max((steps[i] for i in smooth), default=1.0)
    if len(rough) != 1 or steps[rough[0]] < _MIN_STEP_FACTOR * largest_price_step:
        return ""
    if len(smooth) == 3:
        smooth = [i for i in smooth if _is_between(columns, i, [k for k in smooth if k != i])]
    if len(smooth) != 1:
        return ""
    rows = complete_rows(columns, (smooth[0], rough[0]))
    traded = sum(price > 0 and size > 0 for price, size in rows)
    if traded < _MIN_TRADED_SHARE * len(columns[smooth[0]].strings):
        return ""  # most rows would be rejected
    assignment.assign("price", smooth[0], "its values move little from row to row")
    assignment.assign("size", rough[0], "its values jump from row to row")
    return TRADE


def _is_product(columns: Sequence[ColumnSample], one: int, other: int, product: int) -> bool:
    """Return whether a column is the product of two others, on every row."""
    rows = complete_rows(columns, (one, other, product)) if product not in {one, other} else []
    return len(rows) >= _CONFIDENT_STEPS and all(abs(a * b - c) <= 1e-6 * abs(c) for a, b, c in rows)


def _is_between(columns: Sequence[ColumnSample], middle: int, sides: Sequence[int]) -> bool:
    rows = complete_rows(columns, (*sides, middle))
    inside = sum(min(a, b) <= m <= max(a, b) for a, b, m in rows)
    return bool(rows) and inside >= _MIN_CONSISTENT_SHARE * len(rows)


def _median_step(values: Sequence[float | None]) -> float:
    """Return the median relative change from row to row; 1 if there are too few rows."""
    nonzero = [value for value in values if value]
    steps = [abs(b - a) / abs(a) for a, b in pairwise(nonzero)]
    return median(steps) if len(steps) >= 5 else 1.0
