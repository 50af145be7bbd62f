"""The roles of columns whose names don't tell them: by what their values allow. Pure."""

import re
from collections.abc import Sequence
from itertools import combinations, pairwise
from statistics import median
from typing import Final

import polars as pl

from tickerlake.model.schema import BAR, QUOTE, TRADE
from tickerlake.sources.csv.cells import MOST_CELLS, Cells, full_rows, reads_as_clock, runs
from tickerlake.sources.csv.dates import candidates, has_time
from tickerlake.sources.csv.layout import PRICES, Found, Layout, words_of

_MOST_LOOKED_AT: Final = 400
_FIRST_S: Final = 1_000_000_000
_LAST_S: Final = 2_300_000_000
"""What counts seconds since 1970 has ten digits before the fraction from 2001 on; 2042 is far enough."""

_MOST_COMBINED: Final = 14
_FEW_STEPS: Final = 4
_MANY_STEPS: Final = 10


def by_value(names: Sequence[str], columns: Sequence[Cells], named: Layout) -> Layout:
    """Find the roles of columns whose names don't tell them."""
    found = Found(
        {r: i for r, i in named.roles.items() if r in {"time", "clock", "symbol"}}, dict(named.reasons)
    )
    if "time" not in found.roles and "clock" not in found.roles:
        time_by_value(found, columns, names)
    if "symbol" not in found.roles:
        symbol_by_value(found, names, columns)
    taken = set(found.roles.values())
    numeric = [
        i
        for i, cells in enumerate(columns)
        if i not in taken and cells.numeric and cells.temporal != "clock" and not runs(cells)
    ]
    kind: str | None = ""
    if "time" in found.roles or "clock" in found.roles:
        kind = _bar_by_value(found, columns, numeric, headed=any(names))
        if kind is None:
            kind = _trade_by_value(found, columns, numeric) or _quote_by_value(found, columns, numeric)
    return Layout(
        kind or "",
        tuple(name.strip() for name in names),
        found.roles,
        {},
        reasons=found.reasons,
        known=named.known,
    )


def time_by_value(found: Found, columns: Sequence[Cells], names: Sequence[str]) -> None:
    """Take the column whose values are dates, and one of times of day beside it.

    Digits count as seconds since 1970 only where no header says that they are something else.
    """
    taken = set(found.roles.values())
    moments = [
        i
        for i, cells in enumerate(columns)
        if i not in taken and cells.temporal == "moment" and _near_today(cells, headed=bool(names[i]))
    ]
    clocks = [i for i, cells in enumerate(columns) if i not in taken and cells.temporal == "clock"]
    if not moments:
        return
    full = [i for i in moments if has_time(columns[i].present[0])]
    chosen = min(full or moments)
    found.take("time", chosen, "its values are dates")
    digits = [i for i in range(chosen + 1, min(chosen + 2, len(columns))) if _clock_digits(columns[i])]
    if not full and (clocks or digits):
        found.take("clock", (clocks or digits)[0], "its values are times of day")


def _clock_digits(cells: Cells) -> bool:
    """Tell whether digits after a date are times: all of a width, most of them round."""
    texts = cells.present[:MOST_CELLS]
    return (
        bool(texts)
        and all(reads_as_clock(text) for text in texts)
        and len({len(text) for text in texts}) <= 2
        and (all((len(text) >= 4 and text.startswith("0")) or len(text) >= 3 for text in texts))
        and len(set(texts)) > 1
        and (
            all(text.endswith("00") for text in texts if len(text) > 4)
            and all(int(text[-2:]) % 5 == 0 or len(set(texts)) > 10 for text in texts)
        )
    )


def _near_today(cells: Cells, *, headed: bool) -> bool:
    """Tell whether digits count from 1970 to a year in which there was a market."""
    texts = cells.present[:MOST_CELLS]
    if not all(re.fullmatch(r"\d+(\.\d*)?", text) for text in texts):
        return True
    texts = [text.partition(".")[0] for text in texts]
    widths = {len(text) for text in texts}
    if len(widths) != 1 or not widths <= ({8, 12, 14} if headed else {6, 8, 10, 12, 13, 14, 16, 19}):
        return False
    return widths <= {6, 8, 12, 14} or all(_FIRST_S <= int(text[:10]) < _LAST_S for text in texts)


def _bar_by_value(found: Found, columns: Sequence[Cells], numeric: list[int], *, headed: bool) -> str | None:
    """Find open, high, low and close: no price is above the high or below the low of its row.

    Below a header in unknown words nothing but four columns that fit and no other four will do. None means
    that no columns are like that, nothing that it is not clear which.
    """
    quads = [numeric[k : k + 4] for k in range(len(numeric) - 3)]
    quads = [quad for quad in quads if _extremes(columns, quad)]
    if (headed or not quads) and len(numeric) <= _MOST_COMBINED:
        quads = [list(quad) for quad in combinations(numeric, 4) if _extremes(columns, quad)]
    if not quads:
        return None
    if len(quads) > 1 and (headed or len(numeric) > _MOST_COMBINED):
        return ""
    quad = quads[0]
    extremes = _extremes(columns, quad)
    assert extremes is not None
    high, low = extremes
    first, second = (i for i in quad if i not in (high, low))
    opens = _which_opens(found, columns, first, second)
    if opens is None:
        return ""
    closes = second if opens == first else first
    for role, index in zip(PRICES, (opens, high, low, closes), strict=True):
        found.take(role, index, "its values: within the day's range, and each open near the close before")
    after = [i for i in numeric if i > max(quad)]
    for i in after:
        band = within(columns, i, low, high)
        if band >= 0.9:
            found.take(
                "vwap"
                if "vwap" not in found.roles and band >= 0.99 and not _same(columns[i], columns[closes])
                else "adj_close",
                i,
                "its values lie in the row's range",
            )
            continue
        values = [value for value in columns[i].values if value is not None]
        if values and min(values) >= 0:
            found.take("volume", i, "it follows the prices and is never negative")
        break
    if "vwap" in found.roles and "volume" not in found.roles:
        found.roles.pop("vwap")
    return BAR


def _same(one: Cells, other: Cells) -> bool:
    return one.values == other.values


def _extremes(columns: Sequence[Cells], quad: Sequence[int]) -> tuple[int, int] | None:
    """Return the highest and the lowest of four columns, if they are the same on 99% of the rows."""
    rows = [row for row in full_rows(columns, quad) if min(row) > 0 and max(row) < 3 * min(row)]
    rows = rows[:_MOST_LOOKED_AT]
    if not rows or len(rows) < 0.5 * min(len(columns[quad[0]].texts), _MOST_LOOKED_AT):
        return None
    highs = [k for k in range(4) if sum(row[k] == max(row) for row in rows) >= 0.99 * len(rows)]
    lows = [k for k in range(4) if sum(row[k] == min(row) for row in rows) >= 0.99 * len(rows)]
    if len(highs) != 1 or len(lows) != 1 or highs == lows:
        return None
    return quad[highs[0]], quad[lows[0]]


def _which_opens(found: Found, columns: Sequence[Cells], first: int, second: int) -> int | None:
    """Tell open from close: the open is near the close before it. None if that does not tell."""
    times = columns[found.roles["time"]].texts if "time" in found.roles else []
    symbols = columns[found.roles["symbol"]].texts if "symbol" in found.roles else None
    clocks = columns[found.roles["clock"]].texts if "clock" in found.roles else [""] * len(times)
    rows = list(
        zip(
            times,
            clocks,
            symbols or [""] * len(times),
            columns[first].values,
            columns[second].values,
            strict=True,
        )
    )
    good = [row for row in rows if row[3] is not None and row[4] is not None]
    straight = swapped = 0.0
    direction = _direction([row[:3] for row in good])
    if not direction:
        return None
    if direction < 0:
        good.reverse()
    last: dict[str, tuple[float, float]] = {}
    steps = 0
    for _, _, symbol, a, b in good:
        assert a is not None and b is not None  # noqa: PT018
        if symbol in last:
            before_a, before_b = last[symbol]
            straight += abs(a - before_b) / b
            swapped += abs(b - before_a) / a
            steps += 1
        last[symbol] = (a, b)
    clear = 0.7 if steps >= _MANY_STEPS else 0.2
    if steps < _FEW_STEPS:
        return None
    if straight < clear * swapped:
        return first
    return second if swapped < clear * straight else None


def _direction(rows: Sequence[tuple[str, str, str]]) -> int:
    """Return 1 if the rows of every symbol run forward in time, -1 if backward, 0 if that is not sure."""
    frame = pl.DataFrame(
        {"t": [f"{date} {clock}".strip() for date, clock, _ in rows], "symbol": [row[2] for row in rows]}
    )
    ways = set()
    for form in candidates(frame["t"].to_list(), None, file=""):
        steps = frame.select(form.ns(pl.col("t")).diff().over("symbol")).to_series().drop_nulls()
        if (steps >= 0).all() and (steps > 0).any():
            ways.add(1)
        elif (steps <= 0).all() and (steps < 0).any():
            ways.add(-1)
        elif not steps.is_empty():
            ways.add(0)
    return ways.pop() if len(ways) == 1 else 0


def within(columns: Sequence[Cells], column: int, low: int, high: int) -> float:
    """Return on how many of the rows a column lies between two others."""
    rows = full_rows(columns, (column, low, high))
    return sum(lo <= v <= hi for v, lo, hi in rows) / len(rows) if rows else 0.0


def _quote_by_value(found: Found, columns: Sequence[Cells], numeric: list[int]) -> str:
    """Find bid and ask: two neighbours, a little apart, the first never above the second."""
    for bid, ask in pairwise(numeric):
        rows = [
            (b, a) for b, a in zip(columns[bid].values, columns[ask].values, strict=True) if b and a and b > 0
        ]
        if (
            len(rows) >= 5
            and all(b <= a < 1.02 * b for b, a in rows)
            and sum(b < a for b, a in rows) > 0.7 * len(rows)
        ):
            found.take("bid_price", bid, "its values: a little below its neighbour's")
            found.take("ask_price", ask, "its values: a little above its neighbour's")
            after = [i for i in numeric if i > ask]
            if len(after) == 2:
                found.take("bid_size", after[0], "it follows the prices")
                found.take("ask_size", after[1], "it follows the prices")
            return QUOTE
    return ""


def _trade_by_value(found: Found, columns: Sequence[Cells], numeric: list[int]) -> str:
    """Find price and size: the price moves little from row to row, the size does not.

    A bid and an ask may stand beside the price: it lies between them. So may their product, the money.
    """
    products = {c for a, b in combinations(numeric, 2) for c in numeric if _is_product(columns, a, b, c)}
    numeric = [i for i in numeric if i not in products]
    timed = "clock" in found.roles or has_time(columns[found.roles["time"]].present[0])
    if len(numeric) not in {2, 4} or not timed:
        return ""
    steps = {i: _median_step(columns[i].values) for i in numeric}
    smooth, rough = [i for i in numeric if steps[i] < 0.01], [i for i in numeric if steps[i] >= 0.05]
    if len(rough) != 1 or steps[rough[0]] < 10 * max((steps[i] for i in smooth), default=1.0):
        return ""
    if len(smooth) == 3:
        smooth = [i for i in smooth if _between(columns, i, [k for k in smooth if k != i])]
    if len(smooth) != 1:
        return ""
    found.take("price", smooth[0], "its values move little from row to row")
    found.take("size", rough[0], "its values jump from row to row")
    return TRADE


def _is_product(columns: Sequence[Cells], one: int, other: int, product: int) -> bool:
    """Tell whether a column is the product of two others, on every row."""
    rows = full_rows(columns, (one, other, product)) if product not in {one, other} else []
    return len(rows) >= _MANY_STEPS and all(abs(a * b - c) <= 1e-6 * abs(c) for a, b, c in rows)


def _between(columns: Sequence[Cells], middle: int, sides: Sequence[int]) -> bool:
    rows = full_rows(columns, (*sides, middle))
    return bool(rows) and sum(min(a, b) <= m <= max(a, b) for a, b, m in rows) >= 0.99 * len(rows)


def _median_step(values: Sequence[float | None]) -> float:
    some = [value for value in values if value]
    steps = [abs(b - a) / abs(a) for a, b in pairwise(some)]
    return median(steps) if len(steps) >= 5 else 1.0


def symbol_by_value(found: Found, names: Sequence[str], columns: Sequence[Cells]) -> None:
    """Take a column as the symbol if several rows of one time differ in it, or if it is the only text."""
    taken = set(found.roles.values())
    texts = [
        i
        for i, cells in enumerate(columns)
        if i not in taken
        and cells.symbols
        and not cells.temporal
        and not cells.numeric
        and not _is_constant_word(cells)
        and not all(len(text) == 1 and text.islower() for text in cells.texts[:MOST_CELLS])
        and not (
            names[i]
            and set(words_of(names[i])) & {"id", "exchange", "conditions", "type", "side", "series", "market"}
        )
    ]
    if not any(names) and texts:
        found.take("symbol", texts[0], "its values are symbols")
    elif len(texts) == 1 and any(cells.texts for cells in columns) and _separates(found, columns, texts[0]):
        found.take("symbol", texts[0], "its values tell rows of one time apart")


def _is_constant_word(cells: Cells) -> bool:
    # `NA` is a symbol as well
    words = {text.upper() for text in cells.texts[:MOST_CELLS] if text}
    return words <= {"D", "EQ", "ADJ", "LAST", "TRADE", "TRUE", "FALSE", "B", "S", "BUY", "SELL", "N", "Y"}


def _separates(found: Found, columns: Sequence[Cells], index: int) -> bool:
    if "time" not in found.roles:
        return False
    times = columns[found.roles["time"]].texts
    clocks = columns[found.roles["clock"]].texts if "clock" in found.roles else [""] * len(times)
    keys = list(zip(times, clocks, strict=True))
    with_text = set(zip(times, clocks, columns[index].texts, strict=True))
    return len(set(keys)) < 0.8 * len(keys) and len(with_text) > 0.95 * len(keys)
