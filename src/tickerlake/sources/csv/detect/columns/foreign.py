"""Tables that are not bars, trades or quotes: recognized by names and values together, and refused. Pure."""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.columns.cells import ColumnSample
from tickerlake.sources.csv.detect.columns.close_names import is_definite_close
from tickerlake.sources.csv.detect.columns.layout import (
    PRICES,
    TIME_ROLES,
    columns_option,
    normalize_name,
    role_ranks,
    split_words,
)
from tickerlake.sources.csv.detect.columns.vocabulary import (
    classify_cell,
    columns_named,
    name_groups,
    refused_tables,
)
from tickerlake.sources.csv.detect.times.dates import are_midnights, has_time

_MIN_STATEMENT_EVIDENCE: Final = 2
_MIN_BOOK_SHARE: Final = 0.9
_MIN_BOOK_ROWS: Final = 4
_BUY_SIDES: Final = frozenset("b bid bids buy buyer".split())
_SELL_SIDES: Final = frozenset("a ask asks s sell seller offer offers".split())
_QUOTE_SIDES: Final = frozenset("bid bids ask asks a offer offers".split())
_VOLUME_WORDS: Final = frozenset({"volume", "vol", "v"})
_RELATIVE_CHANGE: Final = re.compile(
    r"(?i)ch(?:an)?ge?\.? *[(\[]?(?:%|pct|percent)|(?:%|pct|percent(?:age)?)[ _]*ch(?:an)?g"
)
_ONLY_TRADES: Final = "Only bars, trades and quotes are supported."
EXECUTIONS_HINT: Final = (
    "Export the executions (fills) with their times, or prices from a vendor of market data."
)
_POSITION_WORDS: Final = frozenset("holding holdings position positions".split())
_UNSUPPORTED_TABLES: Final = {frozenset({"calls", "puts", "strike"}): "an option chain"}


def check_market_data(name: str, names: Sequence[str], columns: Sequence[ColumnSample]) -> None:
    """Raise an error for a table that is not bars, trades or quotes.

    Parameters
    ----------
    name
        The file's name.
    names
        As in the header.
    columns
        The first cells of each column; there may be more or fewer than names.
    """
    normalized = {normalize_name(each) for each in names}
    unsupported = next((what for known, what in _UNSUPPORTED_TABLES.items() if known <= normalized), "")
    if unsupported:
        raise DataError(f"{name} holds {unsupported}, by its header.", _ONLY_TRADES)
    cells = list(columns) if len(columns) == len(names) else [ColumnSample([])] * len(names)
    roles = _find_roles(names, cells)
    if evidence := _find_book(names, cells, roles):
        raise DataError(
            f"{name} holds an order book, one row for each level or change, by its {evidence}.",
            "Order books are not supported: export trades, or quotes with bid and ask in one row. "
            f"If its rows are trades: --columns {trade_columns(names)}",
        )
    _check_options(name, names, cells)
    for kind in refused_tables():
        found = columns_named(names, kind.names)
        if kind.names == "holding":
            # `Position size (qty)` in a list of trades
            found = [i for i in found if "size" not in role_ranks(names[i])]
            if _are_executions(names, cells, roles):
                # the position after each execution
                found = [i for i in found if split_words(names[i])[0] not in _POSITION_WORDS]
        if len(found) < kind.at_least or kind.without & roles:
            continue
        if kind.also and not columns_named(names, kind.also):
            continue
        raise DataError(f"{name} holds {kind.what}, by its columns {_list(names, found)}.", kind.instead)
    if not roles & {"bars", "quotes"}:
        _check_statement(name, names, cells, roles)


def _are_executions(names: Sequence[str], cells: Sequence[ColumnSample], roles: set[str]) -> bool:
    """Return whether rows have a time of day, a side, a price and a size."""
    sides = [
        i
        for i, each in enumerate(names)
        if "aggressor_side" in role_ranks(each) or "row_kind" in name_groups(each)
    ]
    is_sided = any(
        cells[i].share_where(lambda text: text.lower() in _BUY_SIDES | _SELL_SIDES) >= _MIN_BOOK_SHARE
        for i in sides
    )
    return is_sided and {"price", "size"} <= roles and _has_time_of_day(names, cells)


def if_executions(names: Sequence[str]) -> str:
    """Return how to read rows that the user knows to be executions."""
    return f"If its rows are executions: --columns {trade_columns(names)}"


def trade_columns(names: Sequence[str]) -> str:
    """Return how ``--columns`` names the columns of trades, by their positions if names show them."""
    by_column: dict[int, str] = {}
    for word, role, group in (
        ("time", "time", ""),
        ("symbol", "symbol", ""),
        ("price", "price", "executed_price"),
        ("size", "size", "executed_size"),
    ):
        ranked = [
            (ranks[role], i)
            for i, each in enumerate(names)
            if role in (ranks := role_ranks(each)) and i not in by_column
        ]
        found = [i for _, i in sorted(ranked)] or [
            i for i in columns_named(names, group) if i not in by_column
        ]
        if not found and word in {"time", "price"}:
            return "time,symbol,price,size"
        if found:
            by_column[found[0]] = word
    return columns_option(by_column)


def _find_roles(names: Sequence[str], cells: Sequence[ColumnSample]) -> set[str]:
    """Return what the names of the columns of numbers make of a table: bars, quotes, price, close, size."""
    by_role: dict[str, set[int]] = {}
    for i, each in enumerate(names):
        if cells[i].non_missing and not cells[i].is_numeric and not _has_digits(cells[i]):
            continue
        for role in role_ranks(each):
            by_role.setdefault(role, set()).add(i)
    found = set()
    if all(by_role.get(role) or by_role.get(f"adj_{role}") for role in PRICES):
        found.add("bars")
    if by_role.get("bid_price") and by_role.get("ask_price"):
        found.add("quotes")
    if by_role.get("price"):
        found.add("price")
    is_close = any(normalize_name(names[i]) != "value" for i in by_role.get("close", ()))
    if is_close or any(map(is_definite_close, names)):
        found.add("close")
    if any(not _VOLUME_WORDS & set(split_words(names[i])) for i in by_role.get("size", ())):
        found.add("size")
    if columns_named(names, "execution_id"):
        found.add("executions")
    if columns_named(names, "executed_price", "executed_size"):
        found.add("executed")
    return found


def _has_digits(cells: ColumnSample) -> bool:
    return cells.share_where(lambda text: text[:1].isdigit() or text[:2].strip("-$€£").isdigit()) >= 0.5


def _list(names: Sequence[str], indexes: Sequence[int]) -> str:
    return ", ".join(names[i].strip() for i in indexes[:6])


def _check_options(name: str, names: Sequence[str], cells: Sequence[ColumnSample]) -> None:
    """Raise an error for options without a time, or with no column that tells contracts apart."""
    strikes = [i for i in columns_named(names, "strike") if cells[i].is_numeric]
    terms = [*strikes, *columns_named(names, "expiry", "right")]
    if not strikes or len(terms) == 1:
        return
    others = [i for i in range(len(names)) if i not in terms]
    if not any(cells[i].temporal_kind or TIME_ROLES & set(role_ranks(names[i])) for i in others):
        raise DataError(
            f"{name} holds an option chain, by its columns {_list(names, terms)}: its rows have no time.",
            "Export trades or bars of each contract, with their times.",
        )
    contracts = set(zip(*(cells[i].strings for i in terms), strict=True))
    identified = any(
        "symbol" in role_ranks(names[i]) and len(set(cells[i].strings)) >= len(contracts) for i in others
    )
    if len(contracts) > 1 and not identified:
        raise DataError(
            f"{name} holds options, by its columns {_list(names, terms)}, "
            "and no column has a symbol for each contract.",
            "Add a column symbol to it, such as QAA-20260717-C-100.",
        )


# ---------------------------------------------------------------------------------------------- order books


def _find_book(names: Sequence[str], cells: Sequence[ColumnSample], roles: set[str]) -> str:
    """Return what shows that rows are levels of an order book, empty if nothing does."""
    normalized = [normalize_name(each) for each in names]
    lists = [i for i, each in enumerate(normalized) if each in {"bids", "asks"}]
    if len(lists) == 2 and any(text.startswith("[") for i in lists for text in cells[i].non_missing[:3]):
        return f"header ({_list(names, lists)})"
    if "price" not in roles or roles & {"bars", "quotes"}:
        return ""
    sides = find_sides(names, cells)
    found = columns_named(names, "book")
    if columns_named(names, "order_id"):
        found = [i for i in found if "state" not in name_groups(names[i])]
    if found:
        return f"header ({_list(names, found)})"
    if codes := _find_message_codes(names, cells):
        return codes
    if sides is None:
        return ""
    levels = [i for i in columns_named(names, "level") if _is_level(cells[i])]
    # the position of an account, after each of its executions, is not a level
    if levels and not columns_named(names, "fee", "account"):
        return f"column {names[levels[0]].strip()}"
    if "executions" in roles or _has_only_trade_messages(names, cells):
        return ""
    return _find_book_by_prices(names, cells, sides)


def _is_level(cells: ColumnSample) -> bool:
    values = {value for value in cells.numbers if value is not None}
    return len(values) > 1 and all(value == int(value) and 0 <= value < 1000 for value in values)


def _find_message_codes(names: Sequence[str], cells: Sequence[ColumnSample]) -> str:
    """Return the column whose codes are messages of an order book: A (add), C (cancel), T (trade)."""
    for i, each in enumerate(names):
        if normalize_name(each) not in {"action", "messagetype", "msgtype", "eventtype", "updateaction"}:
            continue
        codes = {text.upper() for text in cells[i].non_missing}
        is_message = codes <= set("ACMRTFNDEXUP") or codes <= {"ADD", "MODIFY", "DELETE", "CANCEL", "TRADE"}
        if is_message and codes - set("TFNP") and codes & {"A", "C", "M", "D", "X", "ADD", "DELETE"}:
            return f"column {each.strip()} with {', '.join(sorted(codes)[:5])}"
    return ""


def _has_only_trade_messages(names: Sequence[str], cells: Sequence[ColumnSample]) -> bool:
    return any(
        normalize_name(each) == "action" and set(cells[i].non_missing) <= {"T", "F"}
        for i, each in enumerate(names)
        if cells[i].non_missing
    )


def find_sides(names: Sequence[str], cells: Sequence[ColumnSample]) -> int | None:
    """Return the column whose cells are both sides, buy and sell or bid and ask."""
    for i, each in enumerate(names):
        texts = {text.lower() for text in cells[i].non_missing}
        if (
            texts
            and texts <= _BUY_SIDES | _SELL_SIDES
            and texts & _BUY_SIDES
            and texts & _SELL_SIDES
            and ("aggressor_side" in role_ranks(each) or name_groups(each) & {"row_kind", "book"})
        ):
            return i
    return None


def _find_book_by_prices(names: Sequence[str], cells: Sequence[ColumnSample], sides: int) -> str:
    """Return what shows that bids are below asks, as in a book: of trades, the buyer pays as much or more."""
    ranked = [(role_ranks(each)["price"], i) for i, each in enumerate(names) if "price" in role_ranks(each)]
    times = [i for i, each in enumerate(cells) if each.temporal_kind or "time" in role_ranks(names[i])]
    rows = [
        (tuple(cells[i].strings[k] for i in times), cells[sides].strings[k].lower() in _BUY_SIDES, price)
        for k, price in enumerate(cells[min(ranked)[1]].numbers)
        if price is not None and cells[sides].strings[k]
    ]
    by_time: dict[tuple[str, ...], list[tuple[bool, float]]] = {}
    for time, is_buy, price in rows:
        by_time.setdefault(time, []).append((is_buy, price))
    two_sided = [group for group in by_time.values() if len({is_buy for is_buy, _ in group}) == 2]
    apart = [
        group
        for group in two_sided
        if max(p for buy, p in group if buy) < min(p for buy, p in group if not buy)
    ]
    in_book = sum(map(len, apart))
    name = names[sides].strip()
    if (
        in_book >= max(_MIN_BOOK_ROWS, 0.5 * len(rows))
        and len(apart) >= _MIN_BOOK_SHARE * len(two_sided)
        and len(two_sided) >= 0.5 * len(by_time)
    ):
        return f"prices: at each time, those of one {name} are all below those of the other"
    texts = {text.lower() for text in cells[sides].non_missing}
    is_id = any("trade_id" in role_ranks(each) for each in names)
    if is_id or not texts <= _QUOTE_SIDES | {"b"}:
        return ""
    steps = [
        (one[2], other[2]) if one[1] else (other[2], one[2])
        for one, other in pairwise(rows)
        if one[1] != other[1]
    ]
    below = sum(bid < ask for bid, ask in steps)
    has_words = bool(texts & {"bid", "bids", "ask", "asks"})
    # of trades, a buyer pays as much as a seller or more
    if below < (0.5 if has_words else _MIN_BOOK_SHARE) * len(steps) or (not has_words and len(steps) < 4):
        return ""
    return f"column {name} with bid and ask"


# ----------------------------------------------------------------------------------------------- statements


def _ledger_columns(names: Sequence[str]) -> list[int]:
    """Return the columns of an account's changes, not of a price's (beside its high, volume or `Change%`)."""
    found = columns_named(names, "ledger")
    is_market = any(
        {"open", "high", "low"} & set(role_ranks(each))
        or _VOLUME_WORDS & set(split_words(each))
        or _RELATIVE_CHANGE.search(each)
        for each in names
    )
    return [i for i in found if not (is_market and "change" in split_words(names[i]))]


def _check_statement(name: str, names: Sequence[str], cells: Sequence[ColumnSample], roles: set[str]) -> None:
    """Raise an error for an account's statement: without prices, or by date without a time of day."""
    kinds = {
        i: {classify_cell("row_kinds", text) for text in set(cells[i].non_missing)}
        for i in columns_named(names, "row_kind")
    }
    ledgers = [i for i, groups in kinds.items() if "not_executed" in groups]
    if not roles & {"price", "close"} and not columns_named(names, "executed_price"):
        balances = columns_named(names, "balance")
        found = sorted(
            {*balances, *ledgers, *columns_named(names, "fee", "account"), *_ledger_columns(names)}
        )
        if len(found) + len(balances) + len(ledgers) >= _MIN_STATEMENT_EVIDENCE:
            raise DataError(
                f"{name} holds an account's statement, by its columns {_list(names, found)}: "
                "no column is a price.",
                EXECUTIONS_HINT,
            )
        return
    sided = [
        i for i, groups in kinds.items() if "executed" in groups and groups <= {"executed", "not_executed"}
    ]
    found = sorted({*ledgers, *sided, *columns_named(names, "fee", "account", "balance", "order_id")})
    if found and not _has_time_of_day(names, cells) and _has_dates(cells):
        raise DataError(
            f"{name} lists transactions (columns {_list(names, found)}), "
            "whose dates have no time of day: trades need one.",
            EXECUTIONS_HINT,
        )


def _has_dates(cells: Sequence[ColumnSample]) -> bool:
    return any(each.temporal_kind == "timestamp" for each in cells)


def _has_time_of_day(names: Sequence[str], cells: Sequence[ColumnSample]) -> bool:
    """Return whether a column has times of day, other than midnight on all rows."""
    for i, each in enumerate(cells):
        texts = each.non_missing
        if each.temporal_kind == "clock" or (each.is_numeric and "clock" in role_ranks(names[i])):
            return True
        is_named = {"time", "clock"} & set(role_ranks(names[i]))
        if each.temporal_kind == "timestamp" and has_time(texts[0]) and (is_named or not texts[0].isdigit()):
            if not are_midnights(texts):
                return True
        elif not each.temporal_kind and texts and is_named:
            return True  # a format that is not recognized here
    return False
