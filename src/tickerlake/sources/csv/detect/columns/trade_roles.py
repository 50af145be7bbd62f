"""Roles of the columns of trades, and what a table lacks to be one of trades, quotes or bars. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from tickerlake.model.schema import BAR, QUOTE, TRADE
from tickerlake.sources.csv.detect.columns.assignment import RoleAssignment
from tickerlake.sources.csv.detect.columns.cells import ColumnSample, is_running_number
from tickerlake.sources.csv.detect.columns.close_names import RATE_NAMES
from tickerlake.sources.csv.detect.columns.executions import Executions
from tickerlake.sources.csv.detect.columns.layout import REQUIRED_ROLES, Layout, normalize_name, role_ranks
from tickerlake.sources.csv.detect.columns.order_fills import settle_rest
from tickerlake.sources.csv.detect.columns.trade_sizes import choose_size, currency_notes
from tickerlake.sources.csv.detect.columns.vocabulary import can_be_size, columns_named

_MIN_SIGNED_SHARE: Final = 0.1
"""Fewer negative sizes of trades are errors."""

_TRADE_SIGNS: Final = frozenset({"price", "size", "aggressor_side", "trade_id"})
_BAR_NAMES: Final = frozenset({"close", "value", "volume", "vol", "v"})


def settle_trade_size(assignment: RoleAssignment, executions: Executions) -> None:
    """Use the price and the size of executions; tell sizes from money, which is size times price."""
    roles, columns, names = assignment.roles, assignment.columns, assignment.names
    for role, index in (("price", executions.price), ("size", executions.size)):
        if index is not None:
            assignment.assign_by_name(role, index)
    if executions.size is not None:
        return
    free = [i for i in assignment.unassigned if columns[i].is_numeric]
    free += [roles["size"]] if "size" in roles else []
    free = [i for i in free if not is_running_number(columns[i])]
    ranks = {i: role_ranks(names[i]) for i in free}
    named = sorted((i for i in free if "size" in ranks[i]), key=lambda i: (ranks[i]["size"], i))
    unknown = [i for i in free if i not in named and can_be_size(names[i])]
    money = [i for i in free if i not in named and i not in unknown]
    choice = choose_size(names, columns, roles["price"], named, unknown, money)
    if choice is not None and choice[0] != roles.get("size"):
        size, reason = choice
        assignment.assign("size", size, reason or f"its name, {names[size].strip()}")
    settle_rest(assignment)


def is_bare_rate(names: Sequence[str], roles: Mapping[str, int]) -> bool:
    """Return whether prices are rates of exchange, and no other column says that somebody traded at them."""
    signs = {"aggressor_side", "buyer_is_maker", "trade_id"}
    if "price" not in roles or "size" in roles or normalize_name(names[roles["price"]]) not in RATE_NAMES:
        return False
    is_signed = any(signs & role_ranks(name).keys() for name in names)
    return not is_signed and not columns_named(names, "fee", "order_id", "row_kind")


def with_executions(layout: Layout, columns: Sequence[ColumnSample], executions: Executions) -> Layout:
    """Return the layout of trades with what tells executions from other rows, and what is assumed."""
    roles, notes, signed = dict(layout.roles), [executions.note], False
    if "size" in roles:
        sizes = [value for value in columns[roles["size"]].numbers if value is not None]
        negative = sum(value < 0 for value in sizes)
        signed = negative > 0 if executions.is_own else negative > _MIN_SIGNED_SHARE * len(sizes)
    else:
        notes.append("no column is known to be the size of a trade: trades have none.")
    if executions.is_own:
        # the side of an account's own execution is not that of the aggressor
        roles = {role: i for role, i in roles.items() if role not in {"aggressor_side", "buyer_is_maker"}}
    return replace(
        layout,
        roles=roles,
        executed=executions.texts,
        events=executions.events,
        has_signed_sizes=signed,
        notes=(*filter(None, notes), *currency_notes(layout.names, columns, roles)),
    )


def guess_record_type(names: Sequence[str]) -> str:
    """Return what a table lacks columns of: trades or quotes if its names are rather theirs, else bars."""
    roles = {role for name in names if len(normalize_name(name)) > 1 for role in role_ranks(name)}
    if roles & {"open", "high", "low"}:
        return BAR
    if roles & {"bid_price", "ask_price"}:
        return QUOTE
    signs = {
        sign
        for name in names
        for sign in _TRADE_SIGNS & set(role_ranks(name))
        if normalize_name(name) not in _BAR_NAMES
    }
    return TRADE if len(signs) > 1 else BAR


def missing_roles(layout: Layout) -> list[str]:
    """Return what a file lacks for its record type, in the words of ``--columns``."""
    record_type = guess_record_type(layout.names)
    if record_type == BAR:
        return [
            "date" if role == "time" else role for role in REQUIRED_ROLES[BAR] if role not in layout.roles
        ]
    named = {role for name in layout.names for role in role_ranks(name)}
    if record_type == QUOTE:
        return [
            word
            for word, role in (("date", "time"), ("bid", "bid_price"), ("ask", "ask_price"))
            if role not in (layout.roles if word == "date" else named)
        ]
    has_price = "price" in named
    has_date = "time" in layout.roles or "clock" in layout.roles
    return [
        *([] if has_date else ["date"]),
        *(["price"] if not has_price else []),
        *(["time (of day)"] if has_price or not has_date else []),
    ]
