"""Wide tables, which have a set of columns for each symbol: ``AAPL.Open``, ``Open_AAPL``. Pure."""

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from tickerlake.errors import DataError
from tickerlake.model.instrument import is_symbol, normalize_symbol
from tickerlake.sources.csv.currencies import COINS, MAJOR_CURRENCIES, STABLECOINS
from tickerlake.sources.csv.detect.columns.layout import (
    PRICES,
    ROLE_RANKS,
    normalize_name,
    role_ranks,
    split_words,
)

_MAX_SHOWN_SYMBOLS: Final = 5
_SEPARATORS: Final = "._ :|-"
_FEATURES: Final = frozenset(
    """
    left right adj adjusted unadj unadjusted raw bid ask mid offer prev previous ohlc ha log norm scaled
    """.split()
)
"""Words for another set of prices of the same symbol."""

_QUALIFIERS: Final = frozenset(
    """
    x y day daily net avg price trade spot mark index future futures fut perp premium rth session regular
    extended week weekly month monthly year today last current pre post after hours market
    """.split()
)
"""The same, but next to other symbols they are symbols: ``NET``, ``X``."""

_UNITS: Final = MAJOR_CURRENCIES | STABLECOINS
_UNITS_OR_COINS: Final = _UNITS | COINS
_INTERVAL_WORD: Final = re.compile(r"\d+[a-z]{1,3}|[mhd]\d+", re.IGNORECASE)


class PanelNames(NamedTuple):
    """The names of a wide table's columns.

    Parameters
    ----------
    roles
        Each column's name without the symbol.
    symbols
        The symbol of each column; empty for the columns of all symbols.

    has_others
        True if other columns have prices of another symbol, but not all.
    """

    roles: list[str]
    symbols: list[str]
    has_others: bool = False

    @property
    def is_wide(self) -> bool:
        """True if there is more than one symbol."""
        return self.has_others or len(set(self.symbols) - {""}) > 1


def split_panel_names(names: Sequence[str]) -> PanelNames | None:
    """Split names into role and symbol, if they hold both; None if they do not.

    Examples are ``AAPL.Open``, ``Open_AAPL``, ``Open (AAPL)`` and ``('Open', 'AAPL')``.

    Raises
    ------
    DataError
        If the sets of columns may be of symbols or of currencies: ``Open_USD``, ``Open_EUR``.
    """
    best: PanelNames | None = None
    for split in (_split_tuple, _split_tuple_symbol_first, _split_symbol_first, _split_symbol_last):
        pairs = [split(name) for name in names]
        complete = complete_symbols(*zip(*pairs, strict=True)) if pairs else set()
        if not complete or (best and len(set(best.symbols) - {""}) >= len(complete)):
            continue
        if split is _split_symbol_last or all(map(str.islower, complete)):
            _check_no_currencies(complete)
        best = PanelNames(
            [role if symbol in complete else name for name, (role, symbol) in zip(names, pairs, strict=True)],
            [symbol if symbol in complete else "" for _, symbol in pairs],
            split is not _split_symbol_last and _has_other_symbols(pairs, complete),
        )
    return best


def split_close_names(names: Sequence[str], is_close: Callable[[str], bool]) -> list[tuple[str, str]] | None:
    """Split the names of several closes and volumes into role and symbol; None if they do not hold both.

    Parameters
    ----------
    is_close
        Returns whether a role is a close, an adjusted close or a volume.
    """
    for split in (_split_tuple, _split_tuple_symbol_first, _split_symbol_first, _split_symbol_last):
        pairs = [split(name) for name in names]
        symbols = [symbol for _, symbol in pairs]
        if all(is_close(role) for role, _ in pairs) and may_be_panel_symbols(symbols):
            is_currency = split is _split_symbol_last and {s.lower() for s in symbols} <= _UNITS_OR_COINS
            return None if is_currency else pairs
    return None


def may_be_panel_symbols(symbols: Sequence[str]) -> bool:
    """Return whether the words next to the names of prices are two or more symbols."""
    return len(set(symbols)) > 1 and all(
        is_symbol(symbol)
        and symbol == symbol.upper()
        and not set(split_words(symbol)) <= _FEATURES | _QUALIFIERS
        and not _INTERVAL_WORD.fullmatch(symbol)
        for symbol in symbols
    )


def complete_symbols(roles: Sequence[str], symbols: Sequence[str]) -> set[str]:
    """Return the symbols that have an open, a high, a low and a close.

    Words such as ``bid`` or ``prev`` are not symbols; ``NET`` is one next to other symbols.
    """
    roles_of: dict[str, set[str]] = {}
    for role, symbol in zip(roles, symbols, strict=True):
        if symbol and is_symbol(symbol):
            roles_of.setdefault(symbol, set()).update(each for each in PRICES if each in role_ranks(role))
    complete = {
        symbol
        for symbol, found in roles_of.items()
        if len(found) == len(PRICES)
        and not set(split_words(symbol)) <= _FEATURES
        and not _INTERVAL_WORD.fullmatch(symbol)
    }
    clear = {symbol for symbol in complete if not set(split_words(symbol)) <= _FEATURES | _QUALIFIERS}
    return clear | {symbol for symbol in complete - clear if clear and symbol.isupper()}


def _has_other_symbols(pairs: Sequence[tuple[str, str]], complete: set[str]) -> bool:
    """Return whether a column next to the complete set is a price of another symbol."""
    others = {symbol for role, symbol in pairs if _is_role(role) and set(PRICES) & set(role_ranks(role))} - {
        ""
    }
    return may_be_panel_symbols(sorted(others | complete)) and others != complete


def _check_no_currencies(symbols: set[str]) -> None:
    words = {symbol.lower() for symbol in symbols}
    if len(words) < 2 or not words <= _UNITS_OR_COINS or not words & _UNITS:
        return
    examples = sorted(symbols)
    named = examples[0].upper()
    raise DataError(
        f"It has a set of prices for each of {', '.join(examples)}: one instrument in several currencies, "
        "or several instruments.",
        "Name the columns of one currency and leave the others empty: "
        "--columns date,open,high,low,close,,,, "
        f"or name the symbol and the price of each: --columns date,{named}:open,{named}:high,…",
    )


def _split_tuple(name: str) -> tuple[str, str]:
    match = re.fullmatch(r"\(\s*['\"]?(.*?)['\"]?\s*,\s*['\"]?(.*?)['\"]?\s*\)", name.strip())
    return (match[1], normalize_symbol(match[2])) if match else (name, "")


def _split_tuple_symbol_first(name: str) -> tuple[str, str]:
    match = re.fullmatch(r"\(\s*['\"]?(.*?)['\"]?\s*,\s*['\"]?(.*?)['\"]?\s*\)", name.strip())
    return (match[2], normalize_symbol(match[1])) if match else (name, "")


def _split_symbol_first(name: str) -> tuple[str, str]:
    text = name.strip()
    ends = [k for k, sign in enumerate(text) if sign in _SEPARATORS and 0 < k < len(text) - 1]
    if not ends:
        return name, ""
    # the longest role: `AAPL_Adj Close`
    at = next((k for k in ends if _is_role(text[k + 1 :])), ends[-1])
    return text[at + 1 :], _clean_symbol(text[:at])


def _split_symbol_last(name: str) -> tuple[str, str]:
    text = name.strip()
    starts = [k for k, sign in enumerate(text) if sign in _SEPARATORS and 0 < k < len(text) - 1]
    if not starts:
        return name, ""
    at = next((k for k in reversed(starts) if _is_role(text[:k])), starts[0])
    return text[:at], _clean_symbol(text[at + 1 :])


def _clean_symbol(text: str) -> str:
    text = text.strip()
    if text[:1] + text[-1:] in {"()", "[]", "{}"}:
        text = text[1:-1]
    return normalize_symbol(text)


def _is_role(text: str) -> bool:
    name = normalize_name(text)
    return any(name in names for names in ROLE_RANKS.values())


def incomplete_note(symbols: Sequence[str]) -> str:
    """Return what is said of the symbols of a wide table that do not have all prices; empty without any."""
    if not symbols:
        return ""
    shown = ", ".join(symbols[:_MAX_SHOWN_SYMBOLS]) + (" …" if len(symbols) > _MAX_SHOWN_SYMBOLS else "")
    return (
        f"open, high, low and close are not all there for {shown}: these columns are stored as extra. "
        "To read closes only, of all symbols: --columns date,AAPL:close,MSFT:close (others empty)"
    )
