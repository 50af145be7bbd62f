"""The role of each column: by its name, and by what its values allow. Pure, on the first rows of a file."""

import re
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from tickerlake.errors import DataError
from tickerlake.model.instrument import is_symbol
from tickerlake.model.schema import BAR, QUOTE, TRADE
from tickerlake.sources.csv.detect.cells import (
    ColumnSample,
    complete_rows,
    is_clock_digits,
    is_running_number,
    is_share_count,
)
from tickerlake.sources.csv.detect.dates import has_time, has_zone, is_excel_serial
from tickerlake.sources.csv.detect.layout import (
    DATE_PARTS,
    DECIMAL_ROLES,
    PRICES,
    REQUIRED_ROLES,
    ROLE_RANKS,
    ROLES_BY_TYPE,
    Layout,
    RoleAssignment,
    find_vendor_layout,
    normalize_name,
    price_side,
    role_ranks,
)
from tickerlake.sources.csv.detect.values import infer_roles, infer_symbol_column, infer_time, share_within

_MIN_SHARE: Final = 0.8
_MIN_CONSTANT_ROWS: Final = 5
_MIN_DISTINCT_VOLUMES: Final = 3
_NOT_SYMBOLS: Final = frozenset(
    """
    x y left right adj adjusted unadj raw bid ask mid prev previous day daily net avg price trade ohlc
    """.split()
)


class _FindColumn(Protocol):
    """Finds the column that a role's names and a test fit best, if any does."""

    def __call__(
        self, role: str, fits: Callable[[ColumnSample], bool], among: Sequence[int] | None = None
    ) -> int | None: ...


def detect_roles(
    names: Sequence[str], columns: Sequence[ColumnSample], symbols: Sequence[str] = ()
) -> Layout:
    """Give the columns of a file their roles.

    Parameters
    ----------
    names
        As the header has them; all empty if there is none.
    columns
        The first cells of each.
    symbols
        Where a second header row names the symbol of each column.
    """
    if symbols:
        return _detect_panels(names, columns, list(symbols))
    layout = _detect_by_name(names, columns)
    if layout.record_type:
        return layout
    split = split_panel_names(names)
    if split is not None:
        return _detect_panels(split[0], columns, split[1])
    if not set(PRICES) & set(layout.roles):
        return infer_roles(names, columns, layout)
    return layout


def _detect_by_name(names: Sequence[str], columns: Sequence[ColumnSample]) -> Layout:
    ranks = [role_ranks(name) for name in names]
    assignment = RoleAssignment()
    date_duplicates = {
        i: normalize_name(name) for i, name in enumerate(names) if normalize_name(name) in DATE_PARTS
    }
    times = [i for i, each in enumerate(ranks) if {"time", "clock"} & set(each) and columns[i].non_missing]
    _assign_time(assignment, times, ranks, names, columns)

    def find_column(
        role: str, fits: Callable[[ColumnSample], bool], among: Sequence[int] | None = None
    ) -> int | None:
        taken = {assignment.roles.get("time"), assignment.roles.get("clock")}
        some = [
            (each[role], i)
            for i, each in enumerate(ranks)
            if role in each
            and i not in taken
            and (among is None or i in among)
            and _fits_or_empty(columns[i], fits)
        ]
        return min(some)[1] if some else None

    price_type = _assign_prices(assignment, find_column, names, columns)
    kind = BAR if price_type else _detect_tick_type(assignment, find_column, names, columns)
    if kind and not {"time", "clock", "year"} & set(assignment.roles):
        infer_time(assignment, columns, names)
    partial = () if kind else PRICES
    for role in ("symbol", "suffix", "subsecond", *ROLES_BY_TYPE.get(kind, ()), *partial):
        if role in assignment.roles:
            continue
        at = find_column(role, _TESTS.get(role, _has_values))
        if at is not None and at not in assignment.roles.values():
            assignment.assign(role, at, f"its name, {names[at].strip()}")
    if "suffix" in assignment.roles and "symbol" not in assignment.roles:
        del assignment.roles["suffix"]
    if kind == BAR:
        _infer_volume_from_turnover(assignment, ranks, names, columns)
    for i in times:
        if i not in assignment.roles.values() and i not in date_duplicates and "time" in ranks[i]:
            date_duplicates[i] = "time"
    if kind and "symbol" not in assignment.roles:
        infer_symbol_column(assignment, names, columns)
    date_duplicates = {i: part for i, part in date_duplicates.items() if i not in assignment.roles.values()}
    complete = kind and {"time", "clock", "year"} & set(assignment.roles)
    return Layout(
        kind if complete else "",
        tuple(name.strip() for name in names),
        assignment.roles,
        date_duplicates,
        price_type=price_type or "last",
        reasons=assignment.reasons,
        vendor_layout=find_vendor_layout(names),
    )


def _assign_prices(
    assignment: RoleAssignment,
    find_column: _FindColumn,
    names: Sequence[str],
    columns: Sequence[ColumnSample],
) -> str:
    """Take open, high, low and close, and return their kind: ``last``, ``bid`` …; nothing if they lack."""
    for side, among in _columns_by_side(names):
        matches = {role: find_column(role, _is_price, among) for role in PRICES}
        if matches["close"] is None:
            matches["close"] = find_column("adj_close", _is_price, among)
        if None in matches.values():
            matches = {role: find_column(f"adj_{role}", _is_price, among) for role in PRICES}
        if None in matches.values() or len(set(matches.values())) < len(PRICES):
            continue
        price_columns = _resolve_duplicates(matches, names, columns)
        quoted = (
            find_column("bid_price", _is_price) is not None
            and find_column("ask_price", _is_price) is not None
        )
        if quoted and _is_constant(columns[price_columns["open"]]):
            # open, high and low of the day so far beside each quote
            return ""
        for role, index in price_columns.items():
            assignment.assign(role, index, f"its name, {names[index].strip()}")
        return side or "last"
    return ""


def _detect_tick_type(
    assignment: RoleAssignment,
    find_column: _FindColumn,
    names: Sequence[str],
    columns: Sequence[ColumnSample],
) -> str:
    """Tell trades from quotes, by the names of their columns."""
    vendor_layout = find_vendor_layout(names)
    sideless = [i for i, name in enumerate(names) if not price_side(name)]
    price, size = find_column("price", _is_price, sideless), find_column("size", _is_number)
    quoted = (
        find_column("bid_price", _is_price) is not None and find_column("ask_price", _is_price) is not None
    )
    sized = size is not None and not {"volume", "vol", "v"} & {normalize_name(names[size])}
    if quoted and (
        (vendor_layout and vendor_layout.record_type == QUOTE) or not (price is not None and sized)
    ):
        return QUOTE
    has_bar_prices = any(find_column(role, _is_price) is not None for role in ("open", "high", "low"))
    timestamps = columns[assignment.roles["time"]].non_missing[:5] if "time" in assignment.roles else []
    timed = "clock" in assignment.roles or any(map(has_time, timestamps))
    return (
        TRADE
        if price is not None and not has_bar_prices and normalize_name(names[price]) != "close" and timed
        else ""
    )


def _is_price(cells: ColumnSample) -> bool:
    return cells.is_price_like


def _is_number(cells: ColumnSample) -> bool:
    return cells.is_numeric


def _has_values(cells: ColumnSample) -> bool:
    return bool(cells.non_missing)


def _is_constant(cells: ColumnSample) -> bool:
    """Tell whether a column has one value on many rows."""
    return len(cells.non_missing) > _MIN_CONSTANT_ROWS and len(set(cells.non_missing)) == 1


def _resolve_duplicates(
    matches: dict[str, int | None], names: Sequence[str], columns: Sequence[ColumnSample]
) -> dict[str, int]:
    """Return the prices' columns; of two with one name and other values, the one within the day's range."""
    resolved = {role: index for role, index in matches.items() if index is not None}
    for role in ("open", "close"):
        name = normalize_name(names[resolved[role]])
        twins = [
            i for i, each in enumerate(names) if normalize_name(each) == name and columns[i].is_price_like
        ]
        if len({tuple(columns[i].strings) for i in twins}) < 2:
            continue
        shares = {i: share_within(columns, i, resolved["low"], resolved["high"]) for i in twins}
        consistent = [i for i in twins if shares[i] >= 0.99]
        if len(consistent) != 1:
            raise DataError(
                f"There are {len(twins)} columns called {names[resolved[role]].strip()}, with other values.",
                "Name the columns: --columns date,open,high,low,close,volume",
            )
        resolved[role] = consistent[0]
    return resolved


def _infer_volume_from_turnover(
    assignment: RoleAssignment,
    ranks: Sequence[dict[str, int]],
    names: Sequence[str],
    columns: Sequence[ColumnSample],
) -> None:
    """Tell the number of shares from the money that they cost: it is the shares times a price of the row."""
    assigned = set(assignment.roles.values())
    free = [i for i, cells in enumerate(columns) if i not in assigned and cells.is_numeric]
    low, high = assignment.roles["low"], assignment.roles["high"]
    if "volume" in assignment.roles:
        turnover_columns, reason = [assignment.roles["volume"]], "its name, {}; the other volume is money"
        shares = [i for i in free if "volume" in ranks[i]]
    else:
        turnover_columns, reason = free, "its values, {}: another column is they times a price"
        shares = [i for i in free if is_share_count(columns[i])]
    matches = [
        i for i in shares if any(_is_turnover(columns, m, i, low, high) for m in turnover_columns if m != i)
    ]
    if len(matches) == 1:
        assignment.assign("volume", matches[0], reason.format(names[matches[0]].strip()))


def _is_turnover(columns: Sequence[ColumnSample], turnover: int, shares: int, low: int, high: int) -> bool:
    traded = [row for row in complete_rows(columns, (turnover, shares, low, high)) if row[1] > 0]
    # a column of ones makes money of any price
    if len({row[1] for row in traded}) < _MIN_DISTINCT_VOLUMES:
        return False
    fits = sum(0.99 * least <= m / n <= 1.01 * most for m, n, least, most in traded)
    return fits >= 0.9 * len(traded)


def _can_be_symbol(cells: ColumnSample) -> bool:
    return cells.is_symbol_like and cells.temporal_kind != "moment" and not is_running_number(cells)


_TESTS: Final[dict[str, Callable[[ColumnSample], bool]]] = {
    "symbol": _can_be_symbol,
    "sequence": _is_number,
    **{role: _is_number for roles in DECIMAL_ROLES.values() for role in roles},
}


def _fits_or_empty(cells: ColumnSample, test: Callable[[ColumnSample], bool]) -> bool:
    # a column of nothing but blanks contradicts no name
    return test(cells) or not cells.non_missing


def _columns_by_side(names: Sequence[str]) -> list[tuple[str, list[int]]]:
    """Return the columns in which a set of prices may stand: those of no side first."""
    sides = [price_side(name) for name in names]
    return [(side, [i for i, each in enumerate(sides) if each == side]) for side in ("", "mid", "bid", "ask")]


def _assign_time(
    assignment: RoleAssignment,
    times: list[int],
    ranks: list[dict[str, int]],
    names: Sequence[str],
    columns: Sequence[ColumnSample],
) -> None:
    """Choose the columns of date and time of day among those whose names say time."""

    def first(i: int) -> str:
        return columns[i].non_missing[0]

    timestamps = [i for i in times if columns[i].temporal_kind == "moment"]
    clocks = [i for i in times if columns[i].temporal_kind == "clock" or _is_digit_clock(i, ranks, columns)]
    date_times = [i for i in timestamps if has_time(first(i)) and i not in clocks]
    dates = [i for i in timestamps if i not in date_times and i not in clocks]
    late_rank = ROLE_RANKS["time"]["sipts"]

    def order(i: int) -> tuple[bool, bool, int, int]:
        rank = ranks[i].get("time", 0)
        return rank >= late_rank, not has_zone(first(i)), rank, i

    if not timestamps:
        dates = [
            i for i in times if "time" in ranks[i] and columns[i].share_where(is_excel_serial) >= _MIN_SHARE
        ]
    best = min(date_times, key=order, default=None)
    date = min(dates, key=lambda i: (ranks[i].get("time", 0), i), default=None)
    if best is not None and date is not None and _is_one_per_day(columns[best], columns[date]):
        best = None
    if best is not None:
        assignment.assign("time", best, f"its name, {names[best].strip()}")
    elif date is not None:
        assignment.assign("time", date, f"its name, {names[date].strip()}")
        if clocks:
            assignment.assign("clock", clocks[0], f"its name, {names[clocks[0]].strip()}")
    elif clocks:
        assignment.assign("clock", clocks[0], f"its name, {names[clocks[0]].strip()}")
    if date is None and best is None:
        parts = {
            normalize_name(name): i for i, name in enumerate(names) if normalize_name(name) in DATE_PARTS
        }
        if len(parts) == len(DATE_PARTS):
            for part, i in parts.items():
                assignment.assign(part, i, f"its name, {names[i].strip()}")


def _is_digit_clock(i: int, ranks: list[dict[str, int]], columns: Sequence[ColumnSample]) -> bool:
    """Tell whether a column holds times of day as digits: 93000, 0935."""
    return "clock" in ranks[i] and columns[i].share_where(is_clock_digits) >= _MIN_SHARE


def _is_one_per_day(times: ColumnSample, dates: ColumnSample) -> bool:
    """Tell whether a column of times says no more than the column of dates beside it."""
    pairs = {(t, d) for t, d in zip(times.strings, dates.strings, strict=True)}
    return len({t for t, _ in pairs}) <= 1.2 * len({d for _, d in pairs})


def split_panel_names(names: Sequence[str]) -> tuple[list[str], list[str]] | None:
    """Split names into role and symbol, if they hold both.

    Such are ``AAPL.Open``, ``Open_AAPL`` and ``('Open', 'AAPL')``.
    """
    for split in (_split_tuple, _split_symbol_first, _split_symbol_last):
        pairs = [split(name) for name in names]
        by_symbol: dict[str, set[str]] = {}
        for role, symbol in pairs:
            if is_symbol(symbol) and symbol.lower() not in _NOT_SYMBOLS:
                by_symbol.setdefault(symbol, set()).update(r for r in PRICES if r in role_ranks(role))
        complete = {symbol for symbol, roles in by_symbol.items() if len(roles) == len(PRICES)}
        if complete:
            return (
                [
                    role if symbol in complete else name
                    for name, (role, symbol) in zip(names, pairs, strict=True)
                ],
                [symbol if symbol in complete else "" for _, symbol in pairs],
            )
    return None


def _split_tuple(name: str) -> tuple[str, str]:
    match = re.fullmatch(r"\(\s*['\"]?(.*?)['\"]?\s*,\s*['\"]?(.*?)['\"]?\s*\)", name.strip())
    if not match:
        return name, ""
    one, two = match[1], match[2]
    return (one, two) if role_ranks(one) else (two, one)


def _split_symbol_first(name: str) -> tuple[str, str]:
    match = re.fullmatch(r"(.+)[._ :|](.+?)", name.strip())
    return (match[2], match[1]) if match else (name, "")


def _split_symbol_last(name: str) -> tuple[str, str]:
    match = re.fullmatch(r"(.+?)[._ :|](.+)", name.strip())
    return (match[1], match[2]) if match else (name, "")


def _detect_panels(names: Sequence[str], columns: Sequence[ColumnSample], symbols: list[str]) -> Layout:
    """Read a table with columns for each symbol."""
    shared = [i for i, symbol in enumerate(symbols) if not symbol]
    panels: dict[str, dict[str, int]] = {}
    base: Layout | None = None
    for symbol in dict.fromkeys(filter(None, symbols)):
        among = [*shared, *(i for i, each in enumerate(symbols) if each == symbol)]
        # columns of nothing but blanks, as of a symbol that is not listed yet, keep the role of their name
        layout = _detect_by_name([names[i] for i in among], [columns[i] for i in among])
        roles = {role: among[i] for role, i in layout.roles.items()}
        if layout.record_type == BAR:
            panels[symbol] = {role: i for role, i in roles.items() if i not in shared}
            base = base or Layout(
                BAR, tuple(names), {r: i for r, i in roles.items() if i in shared}, reasons=layout.reasons
            )
    if base is None:
        return Layout("", tuple(names), {})
    shared_roles = {role: i for role, i in base.roles.items() if role != "symbol"}
    return Layout(BAR, tuple(names), shared_roles, {}, panels, reasons=base.reasons)


def missing_roles(layout: Layout) -> list[str]:
    """Return the roles that a file of bars still lacks, in the words of ``--columns``."""
    return ["date" if role == "time" else role for role in REQUIRED_ROLES[BAR] if role not in layout.roles]
