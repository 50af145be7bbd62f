"""The roles of columns whose names don't tell them: by what their values allow. Pure."""

import re
from collections.abc import Sequence
from itertools import combinations, pairwise
from statistics import median
from typing import Final

import polars as pl

from tickerlake.model.schema import BAR, QUOTE, TRADE
from tickerlake.sources.csv.detect.cells import (
    SAMPLE_CELLS,
    ColumnSample,
    complete_rows,
    is_clock_digits,
    is_running_number,
)
from tickerlake.sources.csv.detect.dates import candidate_time_formats, has_time
from tickerlake.sources.csv.detect.layout import PRICES, Layout, RoleAssignment, split_words

_MAX_CHECKED_ROWS: Final = 400
_MIN_EPOCH_S: Final = 1_000_000_000
_MAX_EPOCH_S: Final = 2_300_000_000
"""What counts seconds since 1970 has ten digits before the fraction from 2001 on; 2042 is far enough."""

_MAX_COMBINED_COLUMNS: Final = 14
_MIN_STEPS: Final = 4
_CONFIDENT_STEPS: Final = 10


def infer_roles(names: Sequence[str], columns: Sequence[ColumnSample], layout: Layout) -> Layout:
    """Find the roles of columns whose names don't tell them."""
    assignment = RoleAssignment(
        {r: i for r, i in layout.roles.items() if r in {"time", "clock", "symbol"}}, dict(layout.reasons)
    )
    if "time" not in assignment.roles and "clock" not in assignment.roles:
        infer_time(assignment, columns, names)
    if "symbol" not in assignment.roles:
        infer_symbol_column(assignment, names, columns)
    assigned = set(assignment.roles.values())
    numeric = [
        i
        for i, cells in enumerate(columns)
        if i not in assigned
        and cells.is_numeric
        and cells.temporal_kind != "clock"
        and not is_running_number(cells)
    ]
    kind: str | None = ""
    if "time" in assignment.roles or "clock" in assignment.roles:
        kind = _infer_bar(assignment, columns, numeric, has_header=any(names))
        if kind is None:
            kind = _infer_trade(assignment, columns, numeric) or _infer_quote(assignment, columns, numeric)
    return Layout(
        kind or "",
        tuple(name.strip() for name in names),
        assignment.roles,
        {},
        reasons=assignment.reasons,
        vendor_layout=layout.vendor_layout,
    )


def infer_time(assignment: RoleAssignment, columns: Sequence[ColumnSample], names: Sequence[str]) -> None:
    """Take the column whose values are dates, and one of times of day beside it.

    Digits count as seconds since 1970 only where no header says that they are something else.
    """
    assigned = set(assignment.roles.values())
    timestamps = [
        i
        for i, cells in enumerate(columns)
        if i not in assigned
        and cells.temporal_kind == "moment"
        and _is_plausible_timestamp(cells, has_header=bool(names[i]))
    ]
    clocks = [i for i, cells in enumerate(columns) if i not in assigned and cells.temporal_kind == "clock"]
    if not timestamps:
        return
    date_times = [i for i in timestamps if has_time(columns[i].non_missing[0])]
    time_column = min(date_times or timestamps)
    assignment.assign("time", time_column, "its values are dates")
    digits = [
        i for i in range(time_column + 1, min(time_column + 2, len(columns))) if _is_clock_column(columns[i])
    ]
    if not date_times and (clocks or digits):
        assignment.assign("clock", (clocks or digits)[0], "its values are times of day")


def _is_clock_column(cells: ColumnSample) -> bool:
    """Tell whether digits after a date are times: all of a width, most of them round."""
    texts = cells.non_missing[:SAMPLE_CELLS]
    return (
        bool(texts)
        and all(is_clock_digits(text) for text in texts)
        and len({len(text) for text in texts}) <= 2
        and (all((len(text) >= 4 and text.startswith("0")) or len(text) >= 3 for text in texts))
        and len(set(texts)) > 1
        and (
            all(text.endswith("00") for text in texts if len(text) > 4)
            and all(int(text[-2:]) % 5 == 0 or len(set(texts)) > 10 for text in texts)
        )
    )


def _is_plausible_timestamp(cells: ColumnSample, *, has_header: bool) -> bool:
    """Tell whether digits count from 1970 to a year in which there was a market."""
    texts = cells.non_missing[:SAMPLE_CELLS]
    if not all(re.fullmatch(r"\d+(\.\d*)?", text) for text in texts):
        return True
    texts = [text.partition(".")[0] for text in texts]
    widths = {len(text) for text in texts}
    if len(widths) != 1 or not widths <= ({8, 12, 14} if has_header else {6, 8, 10, 12, 13, 14, 16, 19}):
        return False
    return widths <= {6, 8, 12, 14} or all(_MIN_EPOCH_S <= int(text[:10]) < _MAX_EPOCH_S for text in texts)


def _infer_bar(
    assignment: RoleAssignment, columns: Sequence[ColumnSample], numeric: list[int], *, has_header: bool
) -> str | None:
    """Find open, high, low and close: no price is above the high or below the low of its row.

    Below a header in unknown words nothing but four columns that fit and no other four will do. None means
    that no columns are like that, nothing that it is not clear which.
    """
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
    open_column = _find_open(assignment, columns, first, second)
    if open_column is None:
        return ""
    close_column = second if open_column == first else first
    for role, index in zip(PRICES, (open_column, high, low, close_column), strict=True):
        assignment.assign(
            role, index, "its values: within the day's range, and each open near the close before"
        )
    after = [i for i in numeric if i > max(quad)]
    for i in after:
        share_in_range = share_within(columns, i, low, high)
        if share_in_range >= 0.9:
            assignment.assign(
                "vwap"
                if "vwap" not in assignment.roles
                and share_in_range >= 0.99
                and not _has_same_numbers(columns[i], columns[close_column])
                else "adj_close",
                i,
                "its values lie in the row's range",
            )
            continue
        values = [value for value in columns[i].numbers if value is not None]
        if values and min(values) >= 0:
            assignment.assign("volume", i, "it follows the prices and is never negative")
        break
    if "vwap" in assignment.roles and "volume" not in assignment.roles:
        assignment.roles.pop("vwap")
    return BAR


def _has_same_numbers(one: ColumnSample, other: ColumnSample) -> bool:
    return one.numbers == other.numbers


def _find_high_and_low(columns: Sequence[ColumnSample], quad: Sequence[int]) -> tuple[int, int] | None:
    """Return the highest and the lowest of four columns, if they are the same on 99% of the rows."""
    rows = [row for row in complete_rows(columns, quad) if min(row) > 0 and max(row) < 3 * min(row)]
    rows = rows[:_MAX_CHECKED_ROWS]
    if not rows or len(rows) < 0.5 * min(len(columns[quad[0]].strings), _MAX_CHECKED_ROWS):
        return None
    highs = [k for k in range(4) if sum(row[k] == max(row) for row in rows) >= 0.99 * len(rows)]
    lows = [k for k in range(4) if sum(row[k] == min(row) for row in rows) >= 0.99 * len(rows)]
    if len(highs) != 1 or len(lows) != 1 or highs == lows:
        return None
    return quad[highs[0]], quad[lows[0]]


def _find_open(
    assignment: RoleAssignment, columns: Sequence[ColumnSample], first: int, second: int
) -> int | None:
    """Tell open from close: the open is near the close before it. None if that does not tell."""
    times = columns[assignment.roles["time"]].strings if "time" in assignment.roles else []
    symbols = columns[assignment.roles["symbol"]].strings if "symbol" in assignment.roles else None
    clocks = columns[assignment.roles["clock"]].strings if "clock" in assignment.roles else [""] * len(times)
    rows = list(
        zip(
            times,
            clocks,
            symbols or [""] * len(times),
            columns[first].numbers,
            columns[second].numbers,
            strict=True,
        )
    )
    complete = [row for row in rows if row[3] is not None and row[4] is not None]
    straight = swapped = 0.0
    direction = _time_direction([row[:3] for row in complete])
    if not direction:
        return None
    if direction < 0:
        complete.reverse()
    previous: dict[str, tuple[float, float]] = {}
    steps = 0
    for _, _, symbol, a, b in complete:
        assert a is not None and b is not None  # noqa: PT018
        if symbol in previous:
            before_a, before_b = previous[symbol]
            straight += abs(a - before_b) / b
            swapped += abs(b - before_a) / a
            steps += 1
        previous[symbol] = (a, b)
    max_ratio = 0.7 if steps >= _CONFIDENT_STEPS else 0.2
    if steps < _MIN_STEPS:
        return None
    if straight < max_ratio * swapped:
        return first
    return second if swapped < max_ratio * straight else None


def _time_direction(rows: Sequence[tuple[str, str, str]]) -> int:
    """Return 1 if the rows of every symbol run forward in time, -1 if backward, 0 if that is not sure."""
    frame = pl.DataFrame(
        {"t": [f"{date} {clock}".strip() for date, clock, _ in rows], "symbol": [row[2] for row in rows]}
    )
    directions = set()
    for form in candidate_time_formats(frame["t"].to_list(), None, file=""):
        steps = frame.select(form.to_ns(pl.col("t")).diff().over("symbol")).to_series().drop_nulls()
        if (steps >= 0).all() and (steps > 0).any():
            directions.add(1)
        elif (steps <= 0).all() and (steps < 0).any():
            directions.add(-1)
        elif not steps.is_empty():
            directions.add(0)
    return directions.pop() if len(directions) == 1 else 0


def share_within(columns: Sequence[ColumnSample], column: int, low: int, high: int) -> float:
    """Return on how many of the rows a column lies between two others."""
    rows = complete_rows(columns, (column, low, high))
    return sum(lo <= v <= hi for v, lo, hi in rows) / len(rows) if rows else 0.0


def _infer_quote(assignment: RoleAssignment, columns: Sequence[ColumnSample], numeric: list[int]) -> str:
    """Find bid and ask: two neighbours, a little apart, the first never above the second."""
    for bid, ask in pairwise(numeric):
        rows = [
            (b, a)
            for b, a in zip(columns[bid].numbers, columns[ask].numbers, strict=True)
            if b and a and b > 0
        ]
        if (
            len(rows) >= 5
            and all(b <= a < 1.02 * b for b, a in rows)
            and sum(b < a for b, a in rows) > 0.7 * len(rows)
        ):
            assignment.assign("bid_price", bid, "its values: a little below its neighbour's")
            assignment.assign("ask_price", ask, "its values: a little above its neighbour's")
            after = [i for i in numeric if i > ask]
            if len(after) == 2:
                assignment.assign("bid_size", after[0], "it follows the prices")
                assignment.assign("ask_size", after[1], "it follows the prices")
            return QUOTE
    return ""


def _infer_trade(assignment: RoleAssignment, columns: Sequence[ColumnSample], numeric: list[int]) -> str:
    """Find price and size: the price moves little from row to row, the size does not.

    A bid and an ask may stand beside the price: it lies between them. So may their product, the money.
    """
    products = {c for a, b in combinations(numeric, 2) for c in numeric if _is_product(columns, a, b, c)}
    numeric = [i for i in numeric if i not in products]
    timed = "clock" in assignment.roles or has_time(columns[assignment.roles["time"]].non_missing[0])
    if len(numeric) not in {2, 4} or not timed:
        return ""
    steps = {i: _median_step(columns[i].numbers) for i in numeric}
    smooth, rough = [i for i in numeric if steps[i] < 0.01], [i for i in numeric if steps[i] >= 0.05]
    if len(rough) != 1 or steps[rough[0]] < 10 * max((steps[i] for i in smooth), default=1.0):
        return ""
    if len(smooth) == 3:
        smooth = [i for i in smooth if _is_between(columns, i, [k for k in smooth if k != i])]
    if len(smooth) != 1:
        return ""
    assignment.assign("price", smooth[0], "its values move little from row to row")
    assignment.assign("size", rough[0], "its values jump from row to row")
    return TRADE


def _is_product(columns: Sequence[ColumnSample], one: int, other: int, product: int) -> bool:
    """Tell whether a column is the product of two others, on every row."""
    rows = complete_rows(columns, (one, other, product)) if product not in {one, other} else []
    return len(rows) >= _CONFIDENT_STEPS and all(abs(a * b - c) <= 1e-6 * abs(c) for a, b, c in rows)


def _is_between(columns: Sequence[ColumnSample], middle: int, sides: Sequence[int]) -> bool:
    rows = complete_rows(columns, (*sides, middle))
    return bool(rows) and sum(min(a, b) <= m <= max(a, b) for a, b, m in rows) >= 0.99 * len(rows)


def _median_step(values: Sequence[float | None]) -> float:
    some = [value for value in values if value]
    steps = [abs(b - a) / abs(a) for a, b in pairwise(some)]
    return median(steps) if len(steps) >= 5 else 1.0


def infer_symbol_column(
    assignment: RoleAssignment, names: Sequence[str], columns: Sequence[ColumnSample]
) -> None:
    """Take a column as the symbol if several rows of one time differ in it, or if it is the only text."""
    assigned = set(assignment.roles.values())
    candidates = [
        i
        for i, cells in enumerate(columns)
        if i not in assigned
        and cells.is_symbol_like
        and not cells.temporal_kind
        and not cells.is_numeric
        and not _is_flag_column(cells)
        and not all(len(text) == 1 and text.islower() for text in cells.strings[:SAMPLE_CELLS])
        and not (
            names[i]
            and set(split_words(names[i]))
            & {"id", "exchange", "conditions", "type", "side", "series", "market"}
        )
    ]
    if not any(names) and candidates:
        assignment.assign("symbol", candidates[0], "its values are symbols")
    elif (
        len(candidates) == 1
        and any(cells.strings for cells in columns)
        and _separates_rows(assignment, columns, candidates[0])
    ):
        assignment.assign("symbol", candidates[0], "its values tell rows of one time apart")


def _is_flag_column(cells: ColumnSample) -> bool:
    # `NA` is a symbol as well
    words = {text.upper() for text in cells.strings[:SAMPLE_CELLS] if text}
    return words <= {"D", "EQ", "ADJ", "LAST", "TRADE", "TRUE", "FALSE", "B", "S", "BUY", "SELL", "N", "Y"}


def _separates_rows(assignment: RoleAssignment, columns: Sequence[ColumnSample], index: int) -> bool:
    if "time" not in assignment.roles:
        return False
    times = columns[assignment.roles["time"]].strings
    clocks = columns[assignment.roles["clock"]].strings if "clock" in assignment.roles else [""] * len(times)
    keys = list(zip(times, clocks, strict=True))
    with_symbol = set(zip(times, clocks, columns[index].strings, strict=True))
    return len(set(keys)) < 0.8 * len(keys) and len(with_symbol) > 0.95 * len(keys)
