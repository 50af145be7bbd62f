"""Orders filled in part: what was filled is what was ordered less the rest; and when it was filled. Pure."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import polars as pl

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.columns.assignment import RoleAssignment
from tickerlake.sources.csv.detect.columns.cells import ColumnSample, complete_rows
from tickerlake.sources.csv.detect.columns.layout import columns_option, normalize_name, role_ranks
from tickerlake.sources.csv.detect.columns.vocabulary import classify_cell, columns_named
from tickerlake.sources.csv.detect.times.dates import candidate_time_formats, has_time

_ORDERED_NAMES: Final = frozenset(
    """
    orderqty orderquantity ordersize orderamount ordervolume orderedqty orderedquantity orderedamount ordered
    origqty origquantity originalqty originalquantity initialqty initialquantity qtyordered quantityordered
    委托数量 委托量 委託數量 注文数量 주문수량 bestellmenge ordermenge
    """.split()
)
_CLOSED_NAMES: Final = frozenset(
    """
    closed closedat closedtime closeddate closedon closetime closedate closetm timeclosed dateclosed
    completed completedat completedtime completiontime timecompleted donetime doneat finished finishedat
    finishtime finishedtime filledat datefilled timefilled executed executedon dateexecuted timeexecuted
    """.split()
)
"""Names of the time at which an order was executed, beside that at which it was placed."""

_TOLERANCE: Final = 0.002
_MIN_SHARE: Final = 0.9


def find_rest(assignment: RoleAssignment) -> int | None:
    """Return the column with what was not filled of an order, None if there is none."""
    found = sorted(
        (role_ranks(assignment.names[i])["unfilled"], i)
        for i in assignment.unassigned
        if "unfilled" in role_ranks(assignment.names[i]) and assignment.columns[i].is_numeric
    )
    return found[0][1] if found else None


def settle_rest(assignment: RoleAssignment) -> None:
    """Assign what was not filled, if the size is what was ordered.

    Raises
    ------
    DataError
        If the size may be what was ordered or what was filled.
    """
    rest = find_rest(assignment)
    if rest is None:
        return
    names, columns, roles = assignment.names, assignment.columns, assignment.roles
    if "size" not in roles:
        ordered = [i for i in assignment.unassigned if normalize_name(names[i]) in _ORDERED_NAMES]
        if len(ordered) != 1 or not columns[ordered[0]].is_numeric:
            return
        assignment.assign("size", ordered[0], f"{names[ordered[0]].strip()} less {names[rest].strip()}")
    size = roles["size"]
    rows = complete_rows(columns, (size, rest))
    if any(unfilled > abs(ordered) or unfilled < 0 for ordered, unfilled in rows):
        return  # each row's own size, and what remains of its order or of a position
    if _is_product_of(assignment, size, rest, filled=False):
        return
    is_order = (
        normalize_name(names[size]) in _ORDERED_NAMES
        or all(unfilled == 0 for _, unfilled in rows)
        or "unfilled" in map(normalize_name, names)
        or _has_order_terms(assignment, rest)
        or _is_product_of(assignment, size, rest, filled=True)
    )
    if not is_order or _continues(assignment, size, rest):
        words = {column: _word(role) for role, column in roles.items()}
        raise DataError(
            f"It is not clear whether the column {names[size].strip()} is what was ordered or what was "
            f"filled, beside {names[rest].strip()}.",
            f"If it was ordered: --columns {columns_option({**words, rest: 'unfilled'})}; "
            f"if it was filled: --columns {columns_option(words)}",
        )
    assignment.assign_by_name("unfilled", rest)


def _word(role: str) -> str:
    return {"time": "date", "clock": "time", "aggressor_side": "side"}.get(role, role)


def _has_order_terms(assignment: RoleAssignment, rest: int) -> bool:
    """Return whether other columns are those of orders: limits, validity, or a state that is not filled."""
    names, columns = assignment.names, assignment.columns
    if set(columns_named(names, "order_terms")) - {rest}:
        return True
    return any(
        classify_cell("states", text) in {"partial", "unfilled"}
        for i in columns_named(names, "state")
        for text in set(columns[i].non_missing)
    )


def _is_product_of(assignment: RoleAssignment, size: int, rest: int, *, filled: bool) -> bool:
    """Return whether price times size, or what was filled of it, is another column, where they differ."""
    price, columns = assignment.roles["price"], assignment.columns
    for i, cells in enumerate(columns):
        if i in {price, size, rest} or not cells.is_numeric:
            continue
        rows = [row for row in complete_rows(columns, (price, size, rest, i)) if row[2] > 0 and row[3]]
        fits = sum(abs(p * (abs(s) - filled * r) - abs(m)) <= _TOLERANCE * abs(m) for p, s, r, m in rows)
        if rows and fits >= _MIN_SHARE * len(rows):
            return True
    return False


def _continues(assignment: RoleAssignment, size: int, rest: int) -> bool:
    """Return whether rows are fills of one order: each leaves less of it, by the size of the next row."""
    rows = complete_rows(assignment.columns, (size, rest))
    return any(
        abs(one[1] - other[1] - other[0]) <= _TOLERANCE * other[0]
        for rows_in_order in (rows, rows[::-1])
        for one, other in pairwise(rows_in_order)
        if one[1] > 0
    ) and not _is_product_of(assignment, size, rest, filled=True)


def prefer_execution_time(assignment: RoleAssignment) -> None:
    """Use the time at which orders were executed, if that at which they were placed has another column."""
    columns, roles = assignment.columns, assignment.roles
    if "time" not in roles or "clock" in roles:
        return
    placed = columns[roles["time"]]
    for i in assignment.unassigned:
        if (
            normalize_name(assignment.names[i]) not in _CLOSED_NAMES
            or columns[i].temporal_kind != "timestamp"
        ):
            continue
        if has_time(columns[i].non_missing[0]) and _is_later(placed, columns[i]):
            assignment.assign_by_name("time", i)
            return


def _is_later(placed: ColumnSample, closed: ColumnSample) -> bool:
    """Return whether all times of one column are those of another one or later."""
    pairs = [(a, b) for a, b in zip(placed.strings, closed.strings, strict=True) if a]
    if not pairs or not all(b for _, b in pairs):
        return False
    frame = pl.DataFrame(pairs, schema=["placed", "closed"], orient="row")
    times = []
    for name in frame.columns:
        formats = candidate_time_formats(frame[name].to_list(), None, file="")
        times.append(formats[0].to_ns(pl.col(name)).alias(name))
    is_later = pl.col("closed") >= pl.col("placed")
    return bool(frame.select(*times).select(is_later.fill_null(value=True).all()).item())


def has_rest(names: Sequence[str], columns: Sequence[ColumnSample]) -> bool:
    """Return whether a column has what was not filled of an order."""
    return find_rest(RoleAssignment(names, columns)) is not None
