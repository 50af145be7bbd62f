"""Executions that stand in a file twice: as an order and as its fills, or in both currencies. Pure."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.columns.cells import ColumnSample
from tickerlake.sources.csv.detect.columns.table import EXECUTIONS_HINT, if_executions
from tickerlake.sources.csv.detect.columns.vocabulary import columns_named

_ORDERS: Final = frozenset({"order", "orders", "parent"})
_FILLS: Final = frozenset(
    "trade trades fill fills execution executions exec partialfill transaction child deal deals".split()
)
_OTHER_ROWS: Final = frozenset("closedlot lot subtotal total summary header".split())
_MAX_KINDS: Final = 6

_PRODUCT_TOLERANCE: Final = 0.005
"""Of money that was rounded, or of which a fee was deducted."""

_MIN_DISTANCE_FROM_ONE: Final = 0.05
"""At a price near one, size and money are about the same: two rows of one time may be two executions."""

_MIN_LEG_SHARE: Final = 0.6
_MIN_FILLS: Final = 2
_SUM_TOLERANCE: Final = 1e-6
_MEAN_TOLERANCE: Final = 0.0005
"""Means are rounded."""


def find_order_rows(names: Sequence[str], columns: Sequence[ColumnSample]) -> dict[int, frozenset[str]]:
    """Return the columns that tell rows of orders from those of their fills, and the texts of executions.

    Such as ``Order``, ``Trade`` and ``ClosedLot``: where orders have rows of fills, only these count.
    """
    found = {}
    for i in range(len(names)):
        texts = {text.lower() for text in set(columns[i].non_missing)}
        kinds = {text: "".join(filter(str.isalpha, text)) for text in texts}
        words = set(kinds.values())
        if not 2 <= len(texts) <= _MAX_KINDS or not words <= _ORDERS | _FILLS | _OTHER_ROWS:
            continue
        if not words & _ORDERS:
            continue
        executed = words & _FILLS or words & _ORDERS
        found[i] = frozenset(text for text, word in kinds.items() if word in executed)
    return found


def check_executions_once(
    names: Sequence[str],
    columns: Sequence[ColumnSample],
    roles: Mapping[str, int],
    executed: Mapping[int, frozenset[str]],
) -> None:
    """Raise an error if executions have two rows each, and nothing tells which of them counts.

    Parameters
    ----------
    names
        As in the header.
    columns
        The first cells of each column.
    roles
        Those of a table of trades.
    executed
        Column to its texts, in lower case, on rows that are executions.

    Raises
    ------
    DataError
        If most rows have a partner whose size is the price times their own, in the other currency of a pair;
        or if orders have a row with the sum of those below it.
    """
    if not {"time", "price", "size"} <= roles.keys():
        return
    rows = [
        k
        for k in range(len(columns[0].strings))
        if all(columns[i].strings[k].lower() in texts for i, texts in executed.items())
    ]
    prices, sizes = columns[roles["price"]].numbers, columns[roles["size"]].numbers
    values = {
        k: (price, abs(size))
        for k in rows
        if (price := prices[k]) is not None and (size := sizes[k]) is not None and size
    }
    if legs := _find_legs(columns, roles, values):
        first, second = legs
        raise DataError(
            "Each execution has two rows, one for each currency of its pair, such as the sizes "
            f"{columns[roles['size']].strings[first]} and {columns[roles['size']].strings[second]} at "
            f"{columns[roles['price']].strings[first]}.",
            "Keep only the rows whose size is in the instrument itself, not those of the money paid.",
        )
    if order := _find_totals(names, columns, values):
        raise DataError(
            f"Orders stand above their executions: of {order}, the first size is the sum of the others.",
            f"{EXECUTIONS_HINT} {if_executions(names)}",
        )


def _find_legs(
    columns: Sequence[ColumnSample], roles: Mapping[str, int], values: Mapping[int, tuple[float, float]]
) -> tuple[int, int] | None:
    """Return two rows of one execution, if most rows have such a partner."""
    groups: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    keys = [roles[role] for role in ("time", "clock", "symbol", "price") if role in roles]
    for k in values:
        groups[tuple(columns[i].strings[k] for i in keys)].append(k)
    paired: set[int] = set()
    example = None
    for group in groups.values():
        for one, other in _partners(group, values):
            paired |= {one, other}
            example = example or (one, other)
    return example if example and len(paired) >= _MIN_LEG_SHARE * len(values) else None


def _partners(group: Sequence[int], values: Mapping[int, tuple[float, float]]) -> list[tuple[int, int]]:
    """Return the neighboring rows of a group of which one's size is the money of the other."""
    found = []
    for one, other in pairwise(group):
        price = values[one][0]
        small, large = sorted((values[one][1], values[other][1]))
        expected = small * max(price, 1 / price) if price > 0 else 0.0
        if abs(price - 1) > _MIN_DISTANCE_FROM_ONE and abs(expected - large) <= _PRODUCT_TOLERANCE * large:
            found.append((one, other))
    return found


def _find_totals(
    names: Sequence[str], columns: Sequence[ColumnSample], values: Mapping[int, tuple[float, float]]
) -> str:
    """Return an order whose first row has the sum of its others, if all orders of several rows are so.

    Of one order, this may be a coincidence (100, 50, 50), unless the first row also has the mean price.
    """
    for i in columns_named(names, "order_id"):
        rows: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
        for k, each in values.items():
            if text := columns[i].strings[k]:
                rows[text].append(each)
        several = {order: each for order, each in rows.items() if len(each) > _MIN_FILLS}
        if not several or not all(map(_is_sum, several.values())):
            continue
        if len(several) > 1 or any(map(_is_mean, several.values())):
            return next(iter(several))
    return ""


def _is_sum(rows: Sequence[tuple[float, float]]) -> bool:
    (_, total), *others = rows
    return abs(total - sum(size for _, size in others)) <= _SUM_TOLERANCE * total


def _is_mean(rows: Sequence[tuple[float, float]]) -> bool:
    """Return whether the first price is the mean of the others, which differ."""
    (mean, total), *others = rows
    money = sum(price * size for price, size in others)
    return len({price for price, _ in others}) > 1 and abs(mean * total - money) <= _MEAN_TOLERANCE * money
