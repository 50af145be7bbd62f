"""Logs of orders and of an account's transactions: which rows are executions. Pure, on the first rows."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.columns.cells import ColumnSample
from tickerlake.sources.csv.detect.columns.layout import normalize_name, price_side, role_ranks, split_words
from tickerlake.sources.csv.detect.columns.order_fills import has_rest
from tickerlake.sources.csv.detect.columns.repeated_executions import find_order_rows
from tickerlake.sources.csv.detect.columns.table import EXECUTIONS_HINT, find_sides, if_executions
from tickerlake.sources.csv.detect.columns.trade_sizes import share_of_products
from tickerlake.sources.csv.detect.columns.vocabulary import (
    SECTION_HEADER,
    classify_cell,
    columns_named,
    find_preferred,
    name_groups,
)

_ORDER_WORDS: Final = frozenset("order ord exec execution fill".split())
_TRADE_WORDS: Final = frozenset("trade trades order fill filled traded".split())
_SIZE_WORDS: Final = frozenset("qty quantity volume vol size shares amount value total".split())
_NOT_SIZE_WORDS: Final = frozenset(
    "price px avg average value total time date cost funds notional turnover fee rate pct percent".split()
)
_FILL_WORDS: Final = frozenset("trade trades fill filled".split())
_NO_SIDES: Final = _TRADE_WORDS | {"market", "limit", "stop", "instant"}
_MARKET_STATES: Final = {"open", "active", "inactive", "live", "new"}
"""States of instruments and markets as well as of orders."""

_MAX_NAMED_STATES: Final = 4


@dataclass(frozen=True)
class Executions:
    """What makes a row an execution, and which columns have its price and its size.

    Parameters
    ----------
    texts
        Column to its cells, in lower case, on rows that are executions; other rows are rejected.
    price, size
        The columns of what was executed, if their names tell them from what was ordered.
    is_own
        True for the executions of an account: a side is then not that of the aggressor.
    note
        What is assumed.
    events
        Those of the columns of ``texts`` whose other cells are quotes and the like, not orders.
    """

    texts: dict[int, frozenset[str]] = field(default_factory=dict)
    price: int | None = None
    size: int | None = None
    is_own: bool = False
    note: str = ""
    events: frozenset[int] = frozenset()


def find_executions(names: Sequence[str], columns: Sequence[ColumnSample]) -> Executions:
    """Find the columns that distinguish executions from other rows.

    Raises
    ------
    DataError
        If rows may be orders that were not executed, or the same execution several times.
    """
    kinds = _find_section(names) | _find_row_kinds(names, columns) | find_order_rows(names, columns)
    rows = [
        k
        for k in range(len(columns[0].strings) if columns else 0)
        if all(columns[i].strings[k].lower() in texts for i, texts in kinds.items())
    ]
    numeric = [i for i, each in enumerate(columns) if each.is_numeric and not price_side(names[i])]
    repeated = _find_repeated_order(names, columns, rows)
    # with several rows for an order, what was executed and its average may be those of the order so far
    groups = ("last_fill_price", "last_fill_size") if repeated else ("executed_price", "executed_size")
    price = find_preferred(names, groups[0], [i for i in numeric if not _has_word(names[i], _SIZE_WORDS)])
    size = find_preferred(names, groups[1], [i for i in numeric if not _has_word(names[i], _NOT_SIZE_WORDS)])
    has_filled = size is not None or has_rest(names, columns)
    states = _find_states(names, columns, rows, has_executed_size=has_filled)
    terms = columns_named(names, "order_terms")
    is_fill = any(texts <= _FILL_WORDS for texts in kinds.values())
    is_executed = is_fill or has_filled or _has_execution_id(names) or columns_named(names, "fee")
    if not states and terms and not is_executed:
        raise DataError(
            f"Its rows are orders, by the columns {', '.join(names[i].strip() for i in terms[:4])}, "
            "and no column says which were executed.",
            f"{EXECUTIONS_HINT} {if_executions(names)}",
        )
    if states and repeated and size is None and not _are_fills(names, columns, states):
        raise DataError(
            f"It is a log of orders with several rows for one order, such as {repeated}: "
            "it is not clear which of them is an execution, and of what size.",
            f"{EXECUTIONS_HINT} {if_executions(names)}",
        )
    is_order_log = bool(states or (terms and size is not None))
    own_columns = columns_named(names, "fee", "account", "profit", "balance", "order_terms")
    # with the order of the buyer and that of the seller, it is a list of all trades
    is_own = len(columns_named(names, "order_id")) == 1 or bool(kinds or states or own_columns)
    is_only_price = not any("price" in role_ranks(each) for each in names) and bool(
        columns_named(names, "fee", "order_id", "execution_id")
    )
    note = ""
    if price is None and not is_fill and (terms or any(_is_order_state(names, columns, i) for i in states)):
        note = (
            "its rows are orders, and no column is known to be the average price of their execution: "
            "the price of the order is used."
        )
    return Executions(
        {**kinds, **states},
        price if is_order_log or is_only_price else None,
        size if is_order_log else None,
        is_own,
        note,
    )


def _has_word(name: str, words: frozenset[str]) -> bool:
    return bool(words & set(split_words(name)))


def _find_repeated_order(names: Sequence[str], columns: Sequence[ColumnSample], rows: Sequence[int]) -> str:
    """Return the identifier of an order that has several rows, empty if there is none."""
    for i in columns_named(names, "order_id"):
        if normalize_name(names[i]).startswith("parent"):
            continue
        seen: set[str] = set()
        for k in rows:
            order = columns[i].strings[k]
            if order and order in seen:
                return order
            seen.add(order)
    return ""


def _are_fills(
    names: Sequence[str], columns: Sequence[ColumnSample], states: dict[int, frozenset[str]]
) -> bool:
    """Return whether all rows are executions, each with its own identifier."""
    return _has_execution_id(names) and all(
        text.lower() in texts for i, texts in states.items() for text in columns[i].non_missing
    )


def _has_execution_id(names: Sequence[str]) -> bool:
    return any(
        name_groups(each) & {"execution_id"} and not set(split_words(each)) & {"last", "order"}
        for each in names
    )


def _find_section(names: Sequence[str]) -> dict[int, frozenset[str]]:
    """Return the columns with the section of each row, in files of sections: ``Trades,Data,Order``."""
    if len(names) < 3 or names[1].strip().casefold() != SECTION_HEADER:
        return {}
    return {0: frozenset({names[0].strip().lower()}), 1: frozenset({"data"})}


def _find_row_kinds(names: Sequence[str], columns: Sequence[ColumnSample]) -> dict[int, frozenset[str]]:
    """Return the columns that say what a row is: buy, sell, deposit, fee …, and their texts of executions."""
    found = {}
    for i in columns_named(names, "row_kind"):
        groups: dict[str, set[str]] = {}
        for text in set(columns[i].non_missing):
            groups.setdefault(classify_cell("row_kinds", text), set()).add(text.lower())
        executed = groups.get("executed", set())
        is_only_trades = executed and groups.keys() == {"executed"} and executed <= _TRADE_WORDS
        if not is_only_trades and "not_executed" not in groups:
            continue
        if ("" in groups or not executed) and _are_all_trades(names, columns, i):
            continue
        if unknown := groups.get(""):
            raise DataError(
                f"Its column {names[i].strip()} says what a row is, and it is not clear whether "
                f"{_join(unknown)} is an execution.",
                f"Keep only the rows of executions. {if_executions(names)}",
            )
        if not executed:
            raise DataError(
                f"No row is an execution: the column {names[i].strip()} holds "
                f"{_join(groups['not_executed'])}.",
                f"{EXECUTIONS_HINT} {if_executions(names)}",
            )
        found[i] = frozenset(executed)
    return found


def _are_all_trades(names: Sequence[str], columns: Sequence[ColumnSample], vague: int) -> bool:
    """Return whether every row is bought or sold by a column, and has a price, a size and their product.

    Then another column, which is called category or the like, does not decide what a row is.
    """
    sides = [
        i
        for i, each in enumerate(columns)
        if i != vague
        and not each.is_numeric
        and len(texts := {text.lower() for text in each.strings}) > 1
        and not texts & _NO_SIDES
        and all(classify_cell("row_kinds", text) == "executed" for text in texts)
    ]
    numeric = [i for i, each in enumerate(columns) if each.is_numeric and None not in each.numbers]
    prices = [i for i in numeric if "price" in role_ranks(names[i])]
    sizes = [i for i in numeric if "size" in role_ranks(names[i]) and i not in prices]
    return bool(sides) and any(
        share_of_products(columns, price, size, product) == 1.0
        for price in prices
        for size in sizes
        for product in numeric
        if product not in {price, size}
    )


def _find_states(
    names: Sequence[str], columns: Sequence[ColumnSample], rows: Sequence[int], *, has_executed_size: bool
) -> dict[int, frozenset[str]]:
    """Return the columns of an order's state, and their texts of executed orders."""
    has_orders = bool(columns_named(names, "order_id", "order_terms"))
    has_sides = find_sides(names, columns) is not None
    found = {}
    states = columns_named(names, "state")
    has_ids = bool(columns_named(names, "order_id"))
    events = [i for i in columns_named(names, "row_kind") if _has_order_events(columns[i], has_ids=has_ids)]
    for i in dict.fromkeys((*states, *events)):
        texts = {columns[i].strings[k].lower() for k in rows} - {""}
        groups: dict[str, set[str]] = {}
        for text in texts:
            groups.setdefault(classify_cell("states", text), set()).add(text)
        is_order_state = has_orders or i in events or bool(_ORDER_WORDS & set(split_words(names[i])))
        # with sides, words that are not known may be states of orders in another language
        has_unknown = has_sides and i in states and len(texts) > 1
        if not texts or not (is_order_state or has_unknown or groups.keys() - {""}):
            continue
        column = names[i].strip()
        if unknown := groups.get(""):
            raise DataError(
                f"Its rows are orders, and it is not clear whether {_join(unknown)} in the column {column} "
                "means executed.",
                f"Keep only the rows that were executed. {if_executions(names)}",
            )
        executed = groups.get("filled", set()) | (
            groups.get("partial", set()) if has_executed_size else set()
        )
        if not has_executed_size and groups.get("partial"):
            raise DataError(
                f"Its rows are orders, some of them {_join(groups['partial'])} (column {column}), "
                "and no column is known to be the executed quantity.",
                f"{EXECUTIONS_HINT} {if_executions(names)}",
            )
        if executed:
            found[i] = frozenset(executed)
        elif groups.get("unfilled", set()) - (set() if is_order_state else _MARKET_STATES):
            raise DataError(
                f"Its rows are orders, none of them executed: the column {column} holds "
                f"{_join(groups['unfilled'])}.",
                f"{EXECUTIONS_HINT} {if_executions(names)}",
            )
    return found


def _has_order_events(cells: ColumnSample, *, has_ids: bool) -> bool:
    """Return whether the cells of a column are nothing but events of orders: new, fill, cancel."""
    texts = set(cells.non_missing)
    groups = {classify_cell("states", text, whole=True) for text in texts}
    is_one_event = has_ids and not {text.lower() for text in texts} & _MARKET_STATES
    return "unfilled" in groups and "" not in groups and (len(texts) > 1 or is_one_event)


def _is_order_state(names: Sequence[str], columns: Sequence[ColumnSample], index: int) -> bool:
    """Return whether a column has the states of orders, and not of other things that are completed."""
    return bool(
        columns_named(names, "order_id")
        or _ORDER_WORDS & set(split_words(names[index]))
        or any(classify_cell("states", text) == "unfilled" for text in set(columns[index].non_missing))
    )


def _join(texts: set[str]) -> str:
    shown = sorted(texts)
    return ", ".join(shown[:_MAX_NAMED_STATES]) + (" …" if len(shown) > _MAX_NAMED_STATES else "")
