"""Columns in capital letters of which some are tickers as well as roles: ``BP``, ``LOW``, ``PX``. Pure.

One such name alone says little. The whole header and the levels of the values decide.
"""

from collections.abc import Sequence
from statistics import median
from typing import Final

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.columns.cells import (
    ColumnSample,
    complete_rows,
    is_running_number,
    is_share_count,
)
from tickerlake.sources.csv.detect.columns.close_names import is_symbol_name, is_word
from tickerlake.sources.csv.detect.columns.layout import PRICES, ROLE_RANKS, normalize_name

_MAX_LENGTH: Final = 4
"""Tickers that are also names of roles are short, but for `_LONGER`."""

_LONGER: Final = frozenset({"close"})
_QUANTITIES: Final = frozenset("ma cost snow cma bb roc next".split())
"""Tickers that are also names of quantities, and so rare as those that many of others outweigh them."""

_CLOSE_ROLES: Final = frozenset({"close", "price"})
_VOLUME_ROLES: Final = frozenset({"volume", "size"})
_SIDES: Final = ("bid_price", "ask_price")
_MIN_CLEAR: Final = 4
"""So many clear tickers outweigh a name that may be a close or a volume."""

_MAX_LETTER_SHARE: Final = 1 / 3
_MIN_DISTANCE: Final = 0.15
"""Prices that are further apart are not of one instrument."""

_MAX_SPREAD: Final = 1.1


def _roles(name: str) -> set[str]:
    normalized = normalize_name(name)
    return {role for role, ranks in ROLE_RANKS.items() if normalized in ranks}


def _is_indicator(name: str) -> bool:
    """Return whether a name is a quantity with a number: ``MA50``."""
    bare = name.rstrip("0123456789")
    return bare != name and bool(bare) and is_word(bare)


def split_tickers(names: Sequence[str]) -> tuple[list[str], list[str]] | None:
    """Return names that can only be symbols, and those that are roles as well; None if they are not such.

    Parameters
    ----------
    names
        The names of all columns but that of the date.
    """
    if len(set(names)) < len(names) or not all(map(is_symbol_name, names)):
        return None
    letters = [name for name in names if len(name) == 1]
    doubtful = [name for name in names if len(name) > 1 and is_word(name)]
    clear = [name for name in names if name not in letters and name not in doubtful]
    if not doubtful or len(letters) > _MAX_LETTER_SHARE * len(names) or any(map(_is_indicator, clear)):
        return None
    if not all(map(_may_be_ticker, doubtful)):
        return None
    roles = set[str]().union(*map(_roles, doubtful))
    if len(roles & set(PRICES)) > 1 and len(doubtful) > 1:
        return None
    is_pair = len(names) == len(doubtful) == len(_SIDES) and set(_SIDES) <= roles
    return (clear, doubtful) if is_pair or len(doubtful) <= max(1, len(clear) / 2) * bool(clear) else None


def _may_be_ticker(name: str) -> bool:
    normalized = normalize_name(name)
    is_short = len(normalized) <= _MAX_LENGTH or normalized in _LONGER
    return normalized in _QUANTITIES or (is_short and bool(_roles(name)))


def check_tickers(names: Sequence[str], columns: Sequence[ColumnSample]) -> str | None:
    """Return what is assumed if columns are those of tickers, empty if nothing is; None if they are not.

    Parameters
    ----------
    names, columns
        All columns but that of the date.

    Raises
    ------
    DataError
        If a name may be a role as well.
    """
    if (split := split_tickers(names)) is None or not all(each.is_price_like for each in columns):
        return None
    clear, doubtful = split
    by_name = dict(zip(names, columns, strict=True))
    if any(is_share_count(by_name[name]) for name in clear) or _are_sides(by_name, doubtful):
        return None
    for name in doubtful:
        cells = by_name[name]
        if is_running_number(cells) or (_roles(name) & _VOLUME_ROLES and is_share_count(cells)):
            return None
    if not clear:
        raise _question(names, doubtful[0])
    if len(clear) < _MIN_CLEAR:
        for name in doubtful:
            is_role = _roles(name) & (_CLOSE_ROLES | _VOLUME_ROLES) or not _roles(name)
            if is_role or not all(_are_unrelated(by_name[name], by_name[each]) for each in clear):
                raise _question(names, name)
        return ""
    closes = [name for name in doubtful if _roles(name) & _CLOSE_ROLES]
    if names[0] in closes:
        raise _question(names, names[0])
    noted = [name for name in doubtful if _roles(name) & (_CLOSE_ROLES | _VOLUME_ROLES)]
    if not noted:
        return ""
    return f"the column {', '.join(noted)} is read as a symbol, like those beside it: {', '.join(clear[:4])}."


def _are_sides(columns: dict[str, ColumnSample], doubtful: Sequence[str]) -> bool:
    """Return whether two columns are the bid and the ask of one instrument."""
    bids, asks = ([name for name in doubtful if side in _roles(name)] for side in _SIDES)
    if len(bids) != 1 or len(asks) != 1:
        return False
    rows = complete_rows([columns[bids[0]], columns[asks[0]]], (0, 1))
    ratios = [ask / bid for bid, ask in rows if bid > 0]
    return not ratios or 1 <= median(ratios) <= _MAX_SPREAD


def _are_unrelated(one: ColumnSample, other: ColumnSample) -> bool:
    rows = complete_rows([one, other], (0, 1))
    distances = [abs(a / b - 1) for a, b in rows if b]
    return not distances or median(distances) >= _MIN_DISTANCE


def _question(names: Sequence[str], name: str) -> DataError:
    others = [each for each in names if each != name]
    closes = ",".join(f"{each}:close" for each in names[:6]) + (",…" if len(names) > 6 else "")
    return DataError(
        f"{name} may be a symbol, like {', '.join(others[:3])}, or say what its column holds.",
        f"If all are symbols: --columns date,{closes}. "
        f"If {name} is the close of each row: --columns date,{',' * names.index(name)}close",
    )
