"""Tables with a close, in which the open, the high or the low is missing: bars have the close alone. Pure."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from tickerlake.model.schema import RANGE_PRICES
from tickerlake.sources.csv.detect.columns.cells import ColumnSample, complete_rows
from tickerlake.sources.csv.detect.columns.close_names import is_close, is_definite_close, is_volume
from tickerlake.sources.csv.detect.columns.layout import (
    ROLE_RANKS,
    Layout,
    has_unrelated_word,
    normalize_name,
    price_side,
    role_ranks,
    split_words,
)

_LAST_NAMES: Final = frozenset(
    name
    for name, rank in ROLE_RANKS["close"].items()
    if rank < ROLE_RANKS["close"]["price"] or name in {"ltp", "lastpric", "lasttradedprice"}
)
_OTHER_PRICES: Final = frozenset(
    """
    year yearly yr annual week weeks month months 12m 6m 3m 1m 52 ytd all ath atl bid ask offer last avg mean
    average vwap adj adjust adjusted limit upper lower circuit settle settlement ref reference base nominal
    par issue value turnover volume vol shares trades count quantity qty id code isin no time date cap weight
    index eps pe dividend yield
    """.split()
)
_MARKET_WORDS: Final = frozenset(
    """
    change chg pct percent prev previous volume vol turnover bid ask 52w 52wk trades traded
    漲跌 涨跌 成交量 成交股數 出来高 거래량
    """.split()
)
"""Words of market data beside a last price, which may be that of a holding otherwise."""

_MIN_INSIDE_SHARE: Final = 0.95


def find_range(names: Sequence[str], columns: Sequence[ColumnSample]) -> dict[str, int]:
    """Return the columns that are called open, high and low."""
    found: dict[str, int] = {}
    for role in RANGE_PRICES:
        ranked = [
            (ranks[role], i)
            for i, name in enumerate(names)
            if columns[i].is_price_like and role in (ranks := role_ranks(name)) and not price_side(name)
        ]
        if ranked:
            found[role] = min(ranked)[1]
    return found


def find_volume(names: Sequence[str], columns: Sequence[ColumnSample]) -> dict[str, int]:
    """Return the role and the only column that is called a volume; empty if none or several are."""
    volumes = [i for i, name in enumerate(names) if is_volume(name, names) and columns[i].is_numeric]
    return {"volume": volumes[0]} if len(volumes) == 1 else {}


def choose_close(names: Sequence[str], columns: Sequence[ColumnSample], roles: dict[str, int]) -> int | None:
    """Return the column of closes, or of last prices, which must lie between high and low; None if unclear.

    Parameters
    ----------
    names
        As in the header.
    columns
        The first cells of each column.
    roles
        Those of open, high and low, as far as they are known.
    """
    priced = [i for i, name in enumerate(names) if columns[i].is_price_like and is_close(name)]
    priced = [i for i in priced if _is_positive(columns[i]) and _is_inside(columns, i, roles)]
    # `Closing Bid Price` is a quote
    priced = [i for i in priced if not price_side(names[i])]
    definite = [i for i in priced if is_definite_close(names[i])]
    last = [i for i in priced if set(role_ranks(names[i])) & {"close"} and _is_last(names[i])]
    for found in (definite, last):
        if len(found) == 1:
            return found[0]
        if found:
            return None
    return priced[0] if len(priced) == 1 and {"high", "low"} <= roles.keys() else None


def may_be_complete(names: Sequence[str], columns: Sequence[ColumnSample], roles: dict[str, int]) -> bool:
    """Return whether a column whose name is not known may be the missing open, high or low, by its values."""
    missing = [role for role in RANGE_PRICES if role not in roles]
    unknown = [
        i
        for i, name in enumerate(names)
        if i not in roles.values()
        and columns[i].is_price_like
        and not role_ranks(name)
        and not has_unrelated_word(name)
        and not _OTHER_PRICES & set(split_words(name))
    ]
    return any(_may_be(columns, i, role, roles) for i in unknown for role in missing)


def has_market_words(names: Sequence[str], close: int) -> bool:
    """Return whether another column's name is that of a volume, a change or a price of the market."""
    return any(_MARKET_WORDS & set(split_words(name)) for i, name in enumerate(names) if i != close)


def close_note(names: Sequence[str], roles: dict[str, int]) -> str:
    """Return what is said of closes beside some other prices of the day; empty if there are none."""
    known = [names[roles[role]].strip() for role in RANGE_PRICES if role in roles]
    if not known:
        return ""
    missing = " and ".join(role for role in RANGE_PRICES if role not in roles)
    return f"no column has the {missing}: bars have the close alone (stored as extra: {', '.join(known)})."


def with_close_alone(layout: Layout, columns: Sequence[ColumnSample], close: int) -> Layout:
    """Return a layout in which the close is the only price."""
    names = layout.names
    roles = {role: i for role, i in layout.roles.items() if role not in {*RANGE_PRICES, "close", "volume"}}
    roles["close"] = close
    roles |= find_volume(names, columns)
    reasons = {
        role: f"its name, {names[i].strip()}" for role, i in roles.items() if role in {"close", "volume"}
    }
    note = close_note(names, layout.roles)
    return replace(
        layout,
        roles=roles,
        reasons={**layout.reasons, **reasons},
        notes=(*layout.notes, *filter(None, [note])),
    )


def _is_last(name: str) -> bool:
    words = [word for word in split_words(name) if word not in {"price", "px"}]
    return normalize_name(name) in _LAST_NAMES or "".join(words) in _LAST_NAMES


def _is_positive(cells: ColumnSample) -> bool:
    values = [value for value in cells.numbers if value is not None]
    return sum(value <= 0 for value in values) <= (1 - _MIN_INSIDE_SHARE) * len(values)


def _is_inside(columns: Sequence[ColumnSample], index: int, roles: dict[str, int]) -> bool:
    high = complete_rows(columns, [index, roles["high"]]) if "high" in roles else []
    low = complete_rows(columns, [index, roles["low"]]) if "low" in roles else []
    above = sum(close > most for close, most in high)
    below = sum(close < least for close, least in low)
    allowed = (1 - _MIN_INSIDE_SHARE) * max(len(high), len(low))
    return above <= allowed and below <= allowed


def _may_be(columns: Sequence[ColumnSample], index: int, role: str, roles: dict[str, int]) -> bool:
    """Return whether the values of a column allow it to be the open, the high or the low of each row."""
    known = [roles[each] for each in ("open", "high", "low", "close") if each in roles]
    rows = complete_rows(columns, [index, *known])
    if not rows or not known:
        return bool(rows)
    fits = {
        "open": [min(others) <= value <= max(others) for value, *others in rows],
        "high": [value >= max(others) for value, *others in rows],
        "low": [value <= min(others) for value, *others in rows],
    }[role]
    near = [others[-1] != 0 and 0.5 < value / others[-1] < 2 for value, *others in rows]
    return sum(fits) >= _MIN_INSIDE_SHARE * len(rows) and sum(near) >= _MIN_INSIDE_SHARE * len(rows)
