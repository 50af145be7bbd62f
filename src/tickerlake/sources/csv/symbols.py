"""The symbol of a file that has no column for it: from the file's name."""

import re
from typing import Final

from tickerlake.errors import DataError
from tickerlake.model.instrument import is_symbol, slug

_SUFFIXES: Final = re.compile(r"\.(csv|txt|tsv|gz|zst|bz2|zip)$", re.IGNORECASE)
_INTERVAL: Final = re.compile(r"[_ -](\d+ ?(s|sec|m|min|h|hour|d|day)|daily|hourly|minute)$", re.IGNORECASE)
_TICKER: Final = re.compile(r"[\^.]?[A-Z0-9][A-Z0-9&^=.-]{0,14}")


def stem(name: str) -> str:
    """Return a file's name without its endings."""
    while shorter := _SUFFIXES.sub("", name):
        if shorter == name:
            break
        name = shorter
    return name


def symbol_from_name(name: str) -> tuple[str, str]:
    """Return a symbol and a warning, which is empty if the name looks like a ticker.

    Parameters
    ----------
    name
        The name of a file: ``AAPL.csv``, ``BRK-B_1min.csv.gz``, ``Dataset Stocks.csv``.
    """
    text = _INTERVAL.sub("", stem(name))
    if _TICKER.fullmatch(text) and re.search("[A-Z]", text) and is_symbol(text):
        return text, ""
    symbol = slug(stem(name))
    if not symbol:
        raise DataError(f"{name} has no column with the symbol.", "Name it: --symbol AAPL")
    return (
        symbol,
        f"{name} has no column with the symbol: {symbol} is made from its name. Name it with --symbol.",
    )
