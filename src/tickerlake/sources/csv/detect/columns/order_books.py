"""What shows that rows are levels of an order book, or changes of one. Pure."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from tickerlake.sources.csv.detect.columns.cells import ColumnSample
from tickerlake.sources.csv.detect.columns.layout import normalize_name
from tickerlake.sources.csv.detect.columns.table import BUY_SIDES, Table, find_sides
from tickerlake.sources.csv.detect.columns.vocabulary import name_groups

_MIN_SHARE: Final = 0.9
_MIN_ROWS: Final = 4
_MAX_LEVEL: Final = 1000
_QUOTE_SIDES: Final = frozenset("bid bids ask asks a offer offers b".split())
_QUOTE_WORDS: Final = frozenset("bid bids ask asks".split())
_ACTION_NAMES: Final = frozenset("action messagetype msgtype eventtype updateaction".split())
_ACTION_LETTERS: Final = frozenset("ACMRTFNDEXUP")
_ACTION_WORDS: Final = frozenset("ADD MODIFY DELETE CANCEL TRADE".split())
_CHANGE_CODES: Final = frozenset("A C M D X ADD DELETE".split())

_Row = tuple[tuple[str, ...], bool, float]
"""The times of a row, whether it is of a buyer, and its price."""


def find_book(table: Table) -> str:
    """Return what shows that rows are levels of an order book, empty if nothing does."""
    lists = [i for i, each in enumerate(table.names) if normalize_name(each) in {"bids", "asks"}]
    if len(lists) == 2 and any(
        text.startswith("[") for i in lists for text in table.cells[i].non_missing[:3]
    ):
        return table.columns(lists)
    if "price" not in table.facts or table.facts & {"bars", "quotes"}:
        return ""
    found = table.named("book")
    if table.named("order_id"):
        found = [i for i in found if "state" not in name_groups(table.names[i])]
    if found:
        return table.columns(found)
    if codes := _find_message_codes(table):
        return codes
    sides = find_sides(table.names, table.cells)
    if sides is None:
        return ""
    levels = [i for i in table.named("level") if _is_level(table.cells[i])]
    # the position of an account, after each of its executions, is not a level
    if levels and not table.named("fee", "account"):
        return table.columns(levels[:1])
    if "executions" in table.facts or _has_only_trades(table):
        return ""
    return _find_spreads(table, sides)


def _is_level(cells: ColumnSample) -> bool:
    values = {value for value in cells.numbers if value is not None}
    return len(values) > 1 and all(value == int(value) and 0 <= value < _MAX_LEVEL for value in values)


def _find_message_codes(table: Table) -> str:
    """Return the column whose codes are messages of an order book: A (add), C (cancel), T (trade)."""
    for name, cells in zip(table.names, table.cells, strict=True):
        codes = {text.upper() for text in cells.non_missing}
        is_message = codes <= _ACTION_LETTERS or codes <= _ACTION_WORDS
        if normalize_name(name) in _ACTION_NAMES and is_message and codes & _CHANGE_CODES:
            return f"column {name.strip()} with {', '.join(sorted(codes)[:5])}"
    return ""


def _has_only_trades(table: Table) -> bool:
    return any(
        normalize_name(name) == "action" and bool(cells.non_missing) and set(cells.non_missing) <= {"T", "F"}
        for name, cells in zip(table.names, table.cells, strict=True)
    )


def _find_spreads(table: Table, sides: int) -> str:
    """Return what shows that bids are below asks, as in a book: of trades, the buyer pays as much or more."""
    rows = _sided_rows(table, sides)
    name = table.names[sides].strip()
    if _are_books(rows):
        return f"prices: at each time, those of one {name} are all below those of the other"
    texts = {text.lower() for text in table.cells[sides].non_missing}
    if table.with_role("trade_id") or not texts <= _QUOTE_SIDES:
        return ""
    steps = [
        (one[2], other[2]) if one[1] else (other[2], one[2])
        for one, other in pairwise(rows)
        if one[1] != other[1]
    ]
    below = sum(bid < ask for bid, ask in steps)
    has_words = bool(texts & _QUOTE_WORDS)
    # of trades, a buyer pays as much as a seller or more
    if below < (0.5 if has_words else _MIN_SHARE) * len(steps) or (not has_words and len(steps) < _MIN_ROWS):
        return ""
    return f"column {name} with bid and ask"


def _sided_rows(table: Table, sides: int) -> list[_Row]:
    price = min((table.ranks[i]["price"], i) for i in table.with_role("price"))[1]
    times = [i for i, each in enumerate(table.cells) if each.temporal_kind or "time" in table.ranks[i]]
    texts = table.cells[sides].strings
    return [
        (tuple(table.cells[i].strings[k] for i in times), texts[k].lower() in BUY_SIDES, value)
        for k, value in enumerate(table.cells[price].numbers)
        if value is not None and texts[k]
    ]


def _are_books(rows: Sequence[_Row]) -> bool:
    """Return whether buyers pay less than sellers at the times of most rows."""
    by_time: dict[tuple[str, ...], list[tuple[bool, float]]] = {}
    for time, is_buy, price in rows:
        by_time.setdefault(time, []).append((is_buy, price))
    two_sided = [group for group in by_time.values() if len({is_buy for is_buy, _ in group}) == 2]
    apart = [
        group
        for group in two_sided
        if max(p for buy, p in group if buy) < min(p for buy, p in group if not buy)
    ]
    return (
        sum(map(len, apart)) >= max(_MIN_ROWS, 0.5 * len(rows))
        and len(apart) >= _MIN_SHARE * len(two_sided)
        and len(two_sided) >= 0.5 * len(by_time)
    )
