"""Words before the names of columns that say what a row is: ``Kline_Time``, ``Candlestick.Open``. Pure."""

import re
from collections.abc import Sequence
from typing import Final

from tickerlake.sources.csv.detect.columns.layout import PRICES, REQUIRED_ROLES, role_ranks

_TABLE_WORDS: Final = frozenset(
    """
    kline klines candle candles candlestick candlesticks bar bars ohlc ohlcv quote quotes tick ticks trade
    trades price prices chart series row record stock share equity security instrument asset market data
    history
    """.split()
)
_NO_SYMBOLS: Final = frozenset("kline klines candlestick candlesticks ohlc ohlcv".split())
_MIN_ROLES: Final = 3
_VALUE_ROLES: Final = frozenset({*(role for roles in REQUIRED_ROLES.values() for role in roles)} - {"time"})


def strip_table_word(names: Sequence[str]) -> list[str]:
    """Return the names of columns without the word before them that says what a row is.

    Such a word is not a symbol, and a time behind it may be the whole date. Nothing changes if other columns
    are called prices as well: ``Quote Volume`` next to ``Open`` is not the volume.
    """
    parts = [re.fullmatch(r"(\w+?)[._ :|-]+(\S.*)", name.strip()) for name in names]
    words = {part[1].lower() for part in parts if part and _is_table_word(part[1], part[2])} & _TABLE_WORDS
    for word in sorted(words):
        rest = [part[2] if part and part[1].lower() == word else "" for part in parts]
        roles = {role for each in rest if each for role in list(role_ranks(each))[:1]}
        others = {
            role for name, each in zip(names, rest, strict=True) if not each for role in role_ranks(name)
        }
        if (
            len(roles) >= _MIN_ROLES
            and roles & _VALUE_ROLES
            and not others & {*PRICES, "bid_price", "ask_price"}
        ):
            return [each or name for name, each in zip(names, rest, strict=True)]
    return list(names)


def _is_table_word(word: str, rest: str) -> bool:
    """Return whether a word is not in upper case like a symbol: ``DATA.Open``."""
    return not word.isupper() or rest.isupper() or word.lower() in _NO_SYMBOLS
