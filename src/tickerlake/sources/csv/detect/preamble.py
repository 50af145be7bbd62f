"""The symbol in the lines above a header: ``Symbol: AAPL``, ``# Stock data for AAPL``. Pure."""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from tickerlake.model.instrument import is_symbol, normalize_symbol
from tickerlake.sources.csv.detect.file_name import is_generic_word

_SYMBOL: Final = r"[\^$]?[A-Z0-9][A-Z0-9.^=&/:_-]{0,19}"
_KEYED: Final = re.compile(
    r"""[#;/*\s"']*(?i:(?:stock|ticker|instrument|security|trading)?[ _-]?(?:symbol|ticker|code)
    |ric|instrument|s[ií]mbolo|symbole|kürzel|ticker|тикер|股票代码|证券代码|銘柄コード|종목코드)"""
    rf"""["']?\s*[:=,;\t]+\s*["']?(?P<symbol>{_SYMBOL})["']?(?=[\s,;|]|$).*""",
    re.VERBOSE,
)
"""A line that names the symbol as such."""

_PHRASE: Final = re.compile(
    rf"""(?i:\b(?:data|prices?|quotes?|history|ohlcv?|bars|candles|trades|ticks|series|download(?:ed)?))\s+
    (?i:for|of)\s+(?i:(?:the\s+)?(?:symbol|ticker|stock)\s+)?["'(]?(?P<symbol>{_SYMBOL})
    (?![\w'&]|\s\d{{1,4}}(?![\d-])|\s*(?:[,&]|and)\s*[A-Z])""",
    re.VERBOSE,
)
_TITLE: Final = re.compile(
    r"""[#\s"']*(?P<symbol>[\^$]?[A-Z][A-Z0-9.^=-]{0,9})\s+(?:-\s+)?
    (?i:(?:stock|daily|historical|intraday|weekly|monthly)\s+)*(?i:data|prices?|quotes|history|ohlcv?)\b.*""",
    re.VERBOSE,
)
"""Phrases in a comment or a title."""


class PreambleSymbol(NamedTuple):
    """A symbol above the header.

    Parameters
    ----------
    symbol
        As written; empty if there is none, or more than one.
    line
        The number of its line.
    is_keyed
        True if the line calls it symbol, ticker or the like.
    """

    symbol: str = ""
    line: int = 0
    is_keyed: bool = False


def find_preamble_symbol(lines: Sequence[str]) -> PreambleSymbol:
    """Return the symbol that the lines above a header name, and in which line.

    Parameters
    ----------
    lines
        The first lines of the file, up to its header.
    """
    keyed = _find(lines, _KEYED, is_keyed=True)
    found = keyed or [*_find(lines, _PHRASE), *_find(lines, _TITLE)]
    return found[0] if len({each.symbol for each in found}) == 1 else PreambleSymbol()


def _find(lines: Sequence[str], pattern: re.Pattern[str], *, is_keyed: bool = False) -> list[PreambleSymbol]:
    search = pattern.search if pattern is _PHRASE else pattern.fullmatch
    found = []
    for number, line in enumerate(lines, 1):
        match = search(line.strip().rstrip(",;\t"))
        symbol = normalize_symbol(match["symbol"].rstrip(".:-/")) if match else ""
        if (
            symbol
            and is_symbol(symbol)
            and not (is_generic_word(symbol) and not (is_keyed and symbol.isdigit()))
        ):
            found.append(PreambleSymbol(symbol, number, is_keyed))
    return found
