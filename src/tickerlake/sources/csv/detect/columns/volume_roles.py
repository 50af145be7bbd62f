"""Which column is the volume: not the turnover, nor the number of price changes. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

from tickerlake.sources.csv.detect.columns.assignment import RoleAssignment
from tickerlake.sources.csv.detect.columns.cells import ColumnSample, complete_rows, is_share_count
from tickerlake.sources.csv.detect.columns.layout import TICK_VOLUME_NAMES, normalize_name

_TURNOVER_TOLERANCE: Final = 0.01
"""How far turnover ÷ shares, an average price, may lie outside the row's rounded low and high."""

_MIN_TURNOVER_SHARE: Final = 0.9
_MIN_DISTINCT_VOLUMES: Final = 3
"""A column of ones would make a turnover of any price."""

Ranks = Sequence[Mapping[str, int]]


def infer_volume_from_turnover(assignment: RoleAssignment, ranks: Ranks) -> None:
    """Distinguish the number of shares from turnover, which is shares times a price of the row."""
    names, columns = assignment.names, assignment.columns
    roles = assignment.roles
    free = [i for i in assignment.unassigned if columns[i].is_numeric]
    if "volume" in roles:
        turnover_columns, reason = [roles["volume"]], "its name, {}; the other volume is money"
        shares = [i for i in free if "volume" in ranks[i]]
    else:
        turnover_columns, reason = free, "its values, {}: another column is their product with a price"
        shares = [i for i in free if is_share_count(columns[i])]
    matches = [
        i
        for i in shares
        if any(
            _is_turnover(columns, turnover, i, roles["low"], roles["high"])
            for turnover in turnover_columns
            if turnover != i
        )
    ]
    if len(matches) == 1:
        assignment.assign("volume", matches[0], reason.format(names[matches[0]].strip()))


def separate_tick_volume(assignment: RoleAssignment, ranks: Ranks) -> int | None:
    """Prefer a volume of shares to one of price changes, and return the column of the latter."""
    names, columns = assignment.names, assignment.columns
    volumes = [i for i, roles in enumerate(ranks) if "volume" in roles]
    ticks = [i for i, name in enumerate(names) if normalize_name(name) in TICK_VOLUME_NAMES]
    ticks = [i for i in ticks if columns[i].is_numeric]
    shares = [i for i in volumes if i not in ticks and (columns[i].is_numeric or not columns[i].non_missing)]
    assigned = assignment.roles.get("volume")
    if not ticks or not shares:
        return None
    if assigned is None or assigned in ticks:
        best = min(shares, key=lambda i: (ranks[i]["volume"], i))
        if best in assignment.unassigned:
            assignment.assign_by_name("volume", best)
    return next((i for i in ticks if i in assignment.unassigned), None)


def _is_turnover(columns: Sequence[ColumnSample], turnover: int, shares: int, low: int, high: int) -> bool:
    traded = [row for row in complete_rows(columns, (turnover, shares, low, high)) if row[1] > 0]
    if len({row[1] for row in traded}) < _MIN_DISTINCT_VOLUMES:
        return False
    matches = sum(
        (1 - _TURNOVER_TOLERANCE) * lowest <= money / count <= (1 + _TURNOVER_TOLERANCE) * highest
        for money, count, lowest, highest in traded
    )
    return matches >= _MIN_TURNOVER_SHARE * len(traded)
