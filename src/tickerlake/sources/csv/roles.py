"""The role of each column: by its name, and by what its values allow. Pure, on the first rows of a file."""

import re
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from tickerlake.errors import DataError
from tickerlake.model.instrument import is_symbol
from tickerlake.model.schema import BAR, QUOTE, TRADE
from tickerlake.sources.csv.cells import Cells, counts_shares, full_rows, reads_as_clock, runs
from tickerlake.sources.csv.dates import has_time, has_zone, is_serial
from tickerlake.sources.csv.layout import (
    DATE_PARTS,
    NEEDED,
    NUMBERS,
    PRICES,
    RANKS,
    ROLES_OF,
    Found,
    Layout,
    known_layout,
    normal_name,
    ranks_of,
    side_of,
)
from tickerlake.sources.csv.values import by_value, symbol_by_value, time_by_value, within

_CLEAR: Final = 0.8
_MANY_ROWS: Final = 5
_FEW_ROWS: Final = 3
_NOT_SYMBOLS: Final = frozenset(
    """
    x y left right adj adjusted unadj raw bid ask mid prev previous day daily net avg price trade ohlc
    """.split()
)


class _Best(Protocol):
    """Finds the column that a role's names and a test fit best, if any does."""

    def __call__(
        self, role: str, fits: Callable[[Cells], bool], among: Sequence[int] | None = None
    ) -> int | None: ...


def read_columns(names: Sequence[str], columns: Sequence[Cells], symbols: Sequence[str] = ()) -> Layout:
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
        return _panels(names, columns, list(symbols))
    layout = _by_name(names, columns)
    if layout.kind:
        return layout
    split = split_names(names)
    if split is not None:
        return _panels(split[0], columns, split[1])
    if not set(PRICES) & set(layout.roles):
        return by_value(names, columns, layout)
    return layout


def _by_name(names: Sequence[str], columns: Sequence[Cells]) -> Layout:
    ranks = [ranks_of(name) for name in names]
    found = Found()
    repeats = {i: normal_name(name) for i, name in enumerate(names) if normal_name(name) in DATE_PARTS}
    times = [i for i, each in enumerate(ranks) if {"time", "clock"} & set(each) and columns[i].present]
    _take_time(found, times, ranks, names, columns)

    def best(role: str, fits: Callable[[Cells], bool], among: Sequence[int] | None = None) -> int | None:
        taken = {found.roles.get("time"), found.roles.get("clock")}
        some = [
            (each[role], i)
            for i, each in enumerate(ranks)
            if role in each and i not in taken and (among is None or i in among) and _fits(columns[i], fits)
        ]
        return min(some)[1] if some else None

    price_type = _take_prices(found, best, names, columns)
    kind = BAR if price_type else _kind_of_ticks(found, best, names, columns)
    if kind and not {"time", "clock", "year"} & set(found.roles):
        time_by_value(found, columns, names)
    partial = () if kind else PRICES
    for role in ("symbol", "suffix", "subsecond", *ROLES_OF.get(kind, ()), *partial):
        if role in found.roles:
            continue
        at = best(role, _TESTS.get(role, _says_something))
        if at is not None and at not in found.roles.values():
            found.take(role, at, f"its name, {names[at].strip()}")
    if "suffix" in found.roles and "symbol" not in found.roles:
        del found.roles["suffix"]
    if kind == BAR:
        _volume_by_money(found, ranks, names, columns)
    for i in times:
        if i not in found.roles.values() and i not in repeats and "time" in ranks[i]:
            repeats[i] = "time"
    if kind and "symbol" not in found.roles:
        symbol_by_value(found, names, columns)
    repeats = {i: part for i, part in repeats.items() if i not in found.roles.values()}
    complete = kind and {"time", "clock", "year"} & set(found.roles)
    return Layout(
        kind if complete else "",
        tuple(name.strip() for name in names),
        found.roles,
        repeats,
        price_type=price_type or "last",
        reasons=found.reasons,
        known=known_layout(names),
    )


def _take_prices(found: Found, best: _Best, names: Sequence[str], columns: Sequence[Cells]) -> str:
    """Take open, high, low and close, and return their kind: ``last``, ``bid`` …; nothing if they lack."""
    for side, among in _price_sets(names):
        chosen = {role: best(role, _is_price, among) for role in PRICES}
        if chosen["close"] is None:
            chosen["close"] = best("adj_close", _is_price, among)
        if None in chosen.values():
            chosen = {role: best(f"adj_{role}", _is_price, among) for role in PRICES}
        if None in chosen.values() or len(set(chosen.values())) < len(PRICES):
            continue
        settled = _settled(chosen, names, columns)
        quoted = best("bid_price", _is_price) is not None and best("ask_price", _is_price) is not None
        if quoted and _stands_still(columns[settled["open"]]):
            # open, high and low of the day so far beside each quote
            return ""
        for role, index in settled.items():
            found.take(role, index, f"its name, {names[index].strip()}")
        return side or "last"
    return ""


def _kind_of_ticks(found: Found, best: _Best, names: Sequence[str], columns: Sequence[Cells]) -> str:
    """Tell trades from quotes, by the names of their columns."""
    known = known_layout(names)
    sideless = [i for i, name in enumerate(names) if not side_of(name)]
    price, size = best("price", _is_price, sideless), best("size", _is_number)
    quoted = best("bid_price", _is_price) is not None and best("ask_price", _is_price) is not None
    sized = size is not None and not {"volume", "vol", "v"} & {normal_name(names[size])}
    if quoted and ((known and known.kind == QUOTE) or not (price is not None and sized)):
        return QUOTE
    barred = any(best(role, _is_price) is not None for role in ("open", "high", "low"))
    moments = columns[found.roles["time"]].present[:5] if "time" in found.roles else []
    timed = "clock" in found.roles or any(map(has_time, moments))
    return (
        TRADE if price is not None and not barred and normal_name(names[price]) != "close" and timed else ""
    )


def _is_price(cells: Cells) -> bool:
    return cells.price


def _is_number(cells: Cells) -> bool:
    return cells.numeric


def _says_something(cells: Cells) -> bool:
    return bool(cells.present)


def _stands_still(cells: Cells) -> bool:
    """Tell whether a column has one value on many rows."""
    return len(cells.present) > _MANY_ROWS and len(set(cells.present)) == 1


def _settled(chosen: dict[str, int | None], names: Sequence[str], columns: Sequence[Cells]) -> dict[str, int]:
    """Return the prices' columns; of two with one name and other values, the one within the day's range."""
    sure = {role: index for role, index in chosen.items() if index is not None}
    for role in ("open", "close"):
        name = normal_name(names[sure[role]])
        twins = [i for i, each in enumerate(names) if normal_name(each) == name and columns[i].price]
        if len({tuple(columns[i].texts) for i in twins}) < 2:
            continue
        held = {i: within(columns, i, sure["low"], sure["high"]) for i in twins}
        good = [i for i in twins if held[i] >= 0.99]
        if len(good) != 1:
            raise DataError(
                f"There are {len(twins)} columns called {names[sure[role]].strip()}, with other values.",
                "Name the columns: --columns date,open,high,low,close,volume",
            )
        sure[role] = good[0]
    return sure


def _volume_by_money(
    found: Found, ranks: Sequence[dict[str, int]], names: Sequence[str], columns: Sequence[Cells]
) -> None:
    """Tell the number of shares from the money that they cost: it is the shares times a price of the row."""
    taken = set(found.roles.values())
    free = [i for i, cells in enumerate(columns) if i not in taken and cells.numeric]
    low, high = found.roles["low"], found.roles["high"]
    if "volume" in found.roles:
        money, why = [found.roles["volume"]], "its name, {}; the other volume is money"
        shares = [i for i in free if "volume" in ranks[i]]
    else:
        money, why = free, "its values, {}: another column is they times a price"
        shares = [i for i in free if counts_shares(columns[i])]
    sure = [i for i in shares if any(_is_money(columns, m, i, low, high) for m in money if m != i)]
    if len(sure) == 1:
        found.take("volume", sure[0], why.format(names[sure[0]].strip()))


def _is_money(columns: Sequence[Cells], money: int, shares: int, low: int, high: int) -> bool:
    traded = [row for row in full_rows(columns, (money, shares, low, high)) if row[1] > 0]
    # a column of ones makes money of any price
    if len({row[1] for row in traded}) < _FEW_ROWS:
        return False
    fits = sum(0.99 * least <= m / n <= 1.01 * most for m, n, least, most in traded)
    return fits >= 0.9 * len(traded)


def _may_be_symbol(cells: Cells) -> bool:
    return cells.symbols and cells.temporal != "moment" and not runs(cells)


_TESTS: Final[dict[str, Callable[[Cells], bool]]] = {
    "symbol": _may_be_symbol,
    "sequence": _is_number,
    **{role: _is_number for roles in NUMBERS.values() for role in roles},
}


def _fits(cells: Cells, test: Callable[[Cells], bool]) -> bool:
    # a column of nothing but blanks contradicts no name
    return test(cells) or not cells.present


def _price_sets(names: Sequence[str]) -> list[tuple[str, list[int]]]:
    """Return the columns in which a set of prices may stand: those of no side first."""
    sides = [side_of(name) for name in names]
    return [(side, [i for i, each in enumerate(sides) if each == side]) for side in ("", "mid", "bid", "ask")]


def _take_time(
    found: Found,
    times: list[int],
    ranks: list[dict[str, int]],
    names: Sequence[str],
    columns: Sequence[Cells],
) -> None:
    """Choose the columns of date and time of day among those whose names say time."""

    def first(i: int) -> str:
        return columns[i].present[0]

    moments = [i for i in times if columns[i].temporal == "moment"]
    clocks = [i for i in times if columns[i].temporal == "clock" or _digit_clock(i, ranks, columns)]
    full = [i for i in moments if has_time(first(i)) and i not in clocks]
    dates = [i for i in moments if i not in full and i not in clocks]
    late = RANKS["time"]["sipts"]

    def order(i: int) -> tuple[bool, bool, int, int]:
        rank = ranks[i].get("time", 0)
        return rank >= late, not has_zone(first(i)), rank, i

    if not moments:
        dates = [i for i in times if "time" in ranks[i] and columns[i].share(is_serial) >= _CLEAR]
    best = min(full, key=order, default=None)
    date = min(dates, key=lambda i: (ranks[i].get("time", 0), i), default=None)
    if best is not None and date is not None and _one_a_day(columns[best], columns[date]):
        best = None
    if best is not None:
        found.take("time", best, f"its name, {names[best].strip()}")
    elif date is not None:
        found.take("time", date, f"its name, {names[date].strip()}")
        if clocks:
            found.take("clock", clocks[0], f"its name, {names[clocks[0]].strip()}")
    elif clocks:
        found.take("clock", clocks[0], f"its name, {names[clocks[0]].strip()}")
    if date is None and best is None:
        parts = {normal_name(name): i for i, name in enumerate(names) if normal_name(name) in DATE_PARTS}
        if len(parts) == len(DATE_PARTS):
            for part, i in parts.items():
                found.take(part, i, f"its name, {names[i].strip()}")


def _digit_clock(i: int, ranks: list[dict[str, int]], columns: Sequence[Cells]) -> bool:
    """Tell whether a column holds times of day as digits: 93000, 0935."""
    return "clock" in ranks[i] and columns[i].share(reads_as_clock) >= _CLEAR


def _one_a_day(times: Cells, dates: Cells) -> bool:
    """Tell whether a column of times says no more than the column of dates beside it."""
    pairs = {(t, d) for t, d in zip(times.texts, dates.texts, strict=True)}
    return len({t for t, _ in pairs}) <= 1.2 * len({d for _, d in pairs})


def split_names(names: Sequence[str]) -> tuple[list[str], list[str]] | None:
    """Split names into role and symbol, if they hold both.

    Such are ``AAPL.Open``, ``Open_AAPL`` and ``('Open', 'AAPL')``.
    """
    for split in (_tuple, _front, _back):
        pairs = [split(name) for name in names]
        by_symbol: dict[str, set[str]] = {}
        for role, symbol in pairs:
            if is_symbol(symbol) and symbol.lower() not in _NOT_SYMBOLS:
                by_symbol.setdefault(symbol, set()).update(r for r in PRICES if r in ranks_of(role))
        good = {symbol for symbol, roles in by_symbol.items() if len(roles) == len(PRICES)}
        if good:
            return (
                [role if symbol in good else name for name, (role, symbol) in zip(names, pairs, strict=True)],
                [symbol if symbol in good else "" for _, symbol in pairs],
            )
    return None


def _tuple(name: str) -> tuple[str, str]:
    match = re.fullmatch(r"\(\s*['\"]?(.*?)['\"]?\s*,\s*['\"]?(.*?)['\"]?\s*\)", name.strip())
    if not match:
        return name, ""
    one, two = match[1], match[2]
    return (one, two) if ranks_of(one) else (two, one)


def _front(name: str) -> tuple[str, str]:
    match = re.fullmatch(r"(.+)[._ :|](.+?)", name.strip())
    return (match[2], match[1]) if match else (name, "")


def _back(name: str) -> tuple[str, str]:
    match = re.fullmatch(r"(.+?)[._ :|](.+)", name.strip())
    return (match[1], match[2]) if match else (name, "")


def _panels(names: Sequence[str], columns: Sequence[Cells], symbols: list[str]) -> Layout:
    """Read a table with columns for each symbol."""
    own = [i for i, symbol in enumerate(symbols) if not symbol]
    panels: dict[str, dict[str, int]] = {}
    base: Layout | None = None
    for symbol in dict.fromkeys(filter(None, symbols)):
        among = [*own, *(i for i, each in enumerate(symbols) if each == symbol)]
        # columns of nothing but blanks, as of a symbol that is not listed yet, keep the role of their name
        layout = _by_name([names[i] for i in among], [columns[i] for i in among])
        roles = {role: among[i] for role, i in layout.roles.items()}
        if layout.kind == BAR:
            panels[symbol] = {role: i for role, i in roles.items() if i not in own}
            base = base or Layout(
                BAR, tuple(names), {r: i for r, i in roles.items() if i in own}, reasons=layout.reasons
            )
    if base is None:
        return Layout("", tuple(names), {})
    own_roles = {role: i for role, i in base.roles.items() if role != "symbol"}
    return Layout(BAR, tuple(names), own_roles, {}, panels, reasons=base.reasons)


def missing_roles(layout: Layout) -> list[str]:
    """Return the roles that a file of bars still lacks, in the words of ``--columns``."""
    return ["date" if role == "time" else role for role in NEEDED[BAR] if role not in layout.roles]
