"""Columns of trades that are called a price and hold the money paid for the whole row. Pure."""

import math
from collections.abc import Iterator, Sequence
from typing import Final

from tickerlake.errors import DataError
from tickerlake.model.schema import TRADE
from tickerlake.sources.csv.detect.columns.cells import ColumnSample
from tickerlake.sources.csv.detect.columns.layout import Layout, columns_option

_MIN_ROWS: Final = 5
"""On fewer rows, prices and sizes may rise together by chance."""

_MIN_SPREAD: Final = math.log(2)
"""Prices and sizes that differ less than twofold do not show whether one depends on the other."""

_MAX_RATIO_SPREAD: Final = 0.25
"""The price of a unit varies at most this much as widely, on a logarithmic scale, as totals and sizes: by 19%
where they double, by a factor of 3 where they differ by a factor of 100."""

_TRIMMED_SHARE: Final = 0.05
"""Of the smallest and of the largest values, which may be errors."""

_MAX_GROUP_COLUMN_VALUES: Final = 20


def check_prices_are_no_totals(name: str, layout: Layout, columns: Sequence[ColumnSample]) -> None:
    """Raise an error if the prices of trades are proportional to their sizes, and thus the money paid.

    Parameters
    ----------
    name
        The file's name.
    layout
        Its roles.
    columns
        The first cells of each column.

    Raises
    ------
    DataError
        If they are, within one symbol.
    """
    if layout.record_type != TRADE or "size" not in layout.roles:
        return
    price, size = layout.roles["price"], layout.roles["size"]
    pairs = {
        k: (p, abs(s))
        for k, (p, s) in enumerate(zip(columns[price].numbers, columns[size].numbers, strict=True))
        if p and s and p > 0 and _is_executed(layout, columns, k)
    }
    for rows in _groups(layout, columns, list(pairs)):
        trades = [pairs[k] for k in rows]
        if not _are_proportional(trades):
            continue
        units = sorted(p / s for p, s in trades)
        (p1, s1), (p2, s2) = min(trades), max(trades)
        price_name, size_name = layout.names[price], layout.names[size]
        raise DataError(
            f"{name}: the column {price_name} varies with {size_name} ({_text(p1)} for {_text(s1)}, "
            f"{_text(p2)} for {_text(s2)}), as the money paid for each row does: the price of one would be "
            f"{_text(units[0])} to {_text(units[-1])}.",
            f"Write a column with {price_name} ÷ {size_name} and call it price. If {price_name} is the price "
            f"of one: --columns {_columns_option(layout)}",
        )


def _is_executed(layout: Layout, columns: Sequence[ColumnSample], row: int) -> bool:
    return all(columns[i].strings[row].lower() in texts for i, texts in layout.executed.items())


def _groups(layout: Layout, columns: Sequence[ColumnSample], rows: Sequence[int]) -> Iterator[list[int]]:
    """Yield rows that may be of one symbol: by the column of symbols, else all of them, then by each text."""
    if "symbol" in layout.roles:
        by_text = [layout.roles["symbol"]]
    else:
        yield list(rows)
        used = set(layout.roles.values())
        by_text = [
            i
            for i, cells in enumerate(columns)
            if i not in used
            and not cells.is_numeric
            and not cells.temporal_kind
            and 1 < len(set(cells.strings)) <= _MAX_GROUP_COLUMN_VALUES
        ]
    for i in by_text:
        groups: dict[str, list[int]] = {}
        for k in rows:
            groups.setdefault(columns[i].strings[k], []).append(k)
        yield from groups.values()


def _are_proportional(trades: Sequence[tuple[float, float]]) -> bool:
    if len(trades) < _MIN_ROWS:
        return False
    prices, sizes = _spread([p for p, _ in trades]), _spread([s for _, s in trades])
    if min(prices, sizes) < _MIN_SPREAD:
        return False
    return _spread([p / s for p, s in trades]) <= _MAX_RATIO_SPREAD * min(prices, sizes)


def _spread(values: Sequence[float]) -> float:
    """Return how far the smallest and the largest value lie apart, on a logarithmic scale."""
    ordered = sorted(values)
    cut = int(_TRIMMED_SHARE * len(ordered))
    return math.log(ordered[-1 - cut] / ordered[cut])


def _columns_option(layout: Layout) -> str:
    words = {"time": "time", "clock": "time", "symbol": "symbol", "price": "price", "size": "size"}
    if "time" in layout.roles and "clock" in layout.roles:
        words["time"] = "date"
    by_column = {layout.roles[role]: word for role, word in words.items() if role in layout.roles}
    return columns_option(by_column)


def _text(value: float) -> str:
    return f"{value:,.0f}" if value >= 100_000 else f"{value:,.6g}"
