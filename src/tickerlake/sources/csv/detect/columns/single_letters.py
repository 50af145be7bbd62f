"""Names of one letter, as interfaces of exchanges give them: ``o,h,l,c,v``, ``a,p,q,f,l,T,m``. Pure.

So are signs of Chinese, Japanese and Korean: ``开,高,低,收,量``.
"""

import re
from collections.abc import Sequence
from typing import Final

from tickerlake.sources.csv.detect.columns.cells import MIN_SHARE, ColumnSample
from tickerlake.sources.csv.detect.columns.layout import PRICES, ROLE_RANKS

_CODE: Final = re.compile(r"[A-Z0-9]*[A-Z]{2}[A-Z0-9]*(?:[._/:-][A-Z0-9]+)*")
_NOT_CODES: Final = frozenset("BUY SELL BID ASK LONG SHORT TRUE FALSE TRADE QUOTE OPEN CLOSE".split())
_SYMBOL_LETTERS: Final = frozenset("stST")
_SIGNS: Final = {
    role: frozenset(signs)
    for role, signs in {
        "open": "开開始시",
        "high": "高고",
        "low": "低安저",
        "close": "收終终종",
        "volume": "量량",
    }.items()
}
"""Signs that are prices and a volume only among others."""

_SIZES: Final = {"B": "bid_size", "A": "ask_size"}


def settle_single_letters(
    names: Sequence[str], columns: Sequence[ColumnSample], ranks: Sequence[dict[str, int]]
) -> list[dict[str, int]]:
    """Return the roles that names may mean, without those that a single letter has only among others.

    A letter is a price only if all four prices are there. Of a letter in both cases, the lower one is the
    price, the volume or the time of its bar. A letter above codes is the symbol.

    Parameters
    ----------
    names, columns
        The columns.
    ranks
        The roles that each name may mean, with their ranks.
    """
    settled = _settle_signs(names, [dict(each) for each in ranks])
    letters = {name.strip(): i for i, name in enumerate(names) if re.fullmatch(r"\s*[A-Za-z]\s*", name)}
    if not letters:
        return settled
    is_bar = set(PRICES) <= {role for each in ranks for role in each}
    for letter, i in letters.items():
        lower = letters.get(letter.lower(), i)
        if letter in _SYMBOL_LETTERS and _has_codes(columns[i]):
            settled[i] = {"symbol": 0}
        elif lower != i and _kind(columns[i]) == _kind(columns[lower]):
            role = _SIZES.get(letter, "")
            settled[i] = {role: ROLE_RANKS[role][f"{role[:3]}size"]} if role else {}
        elif not is_bar:
            settled[i] = {role: rank for role, rank in settled[i].items() if role not in PRICES}
    if not is_bar and {"p", "q"} <= letters.keys():
        _settle_trade_id(letters, columns, settled)
    return settled


def _settle_signs(names: Sequence[str], ranks: list[dict[str, int]]) -> list[dict[str, int]]:
    """Return the roles with those of single signs, if all four prices are then there, each once."""
    signs = {i: role for i, name in enumerate(names) for role, each in _SIGNS.items() if name.strip() in each}
    found = list(signs.values())
    named = {role for i, each in enumerate(ranks) if i not in signs for role in each}
    if len(set(found)) != len(found) or not set(PRICES) <= named | set(found):
        return ranks
    return [
        {signs[i]: ROLE_RANKS[signs[i]][signs[i][0]]} if i in signs else each for i, each in enumerate(ranks)
    ]


def _settle_trade_id(
    letters: dict[str, int], columns: Sequence[ColumnSample], settled: list[dict[str, int]]
) -> None:
    """Take the number of a trade for what it is, and the numbers of both orders for no quotes."""
    is_timed = "T" in letters and columns[letters["T"]].temporal_kind == "timestamp"
    trade = letters.get("t") if "t" in letters else letters.get("a")
    for letter in ("a", "b"):
        if letter in letters:
            settled[letters[letter]] = {}
    if trade is not None and is_timed and columns[trade].is_numeric:
        settled[trade] = {"trade_id": 0}


def _kind(cells: ColumnSample) -> str:
    return cells.temporal_kind or ("number" if cells.is_numeric else "text")


def _has_codes(cells: ColumnSample) -> bool:
    return cells.share_where(_CODE.fullmatch) >= MIN_SHARE and not set(cells.non_missing) <= _NOT_CODES
