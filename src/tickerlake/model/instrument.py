"""Symbols and instrument identifiers: ``AAPL`` on ``XNAS`` is ``AAPL.XNAS``.

A symbol becomes an object name, a table cell and a message key, so it has one small alphabet: ASCII
letters and digits, and ``. - _ ^ = &``. It begins with a letter, a digit, ``^``, ``.`` or ``_``: a leading
``-`` reads as an option and a leading ``=`` as a formula. No slash, colon, percent, quote, space, control
character or other alphabet. Case matters: ``BRKb`` and ``BRKB`` are two instruments.
"""

import re
from typing import Final

import polars as pl

from tickerlake.errors import DataError

UNKNOWN_MIC: Final = "XXXX"
MAX_SYMBOL_LENGTH: Final = 32
SYMBOL_PATTERN: Final = r"^[A-Za-z0-9^._][A-Za-z0-9.\-_^=&]{0,31}$"
"""At most `MAX_SYMBOL_LENGTH` characters."""

_SYMBOL_REGEX: Final = re.compile(SYMBOL_PATTERN[:-1])
_HAS_LETTER_OR_DIGIT: Final = r"[A-Za-z0-9]"
_MIC_REGEX: Final = re.compile(r"[A-Z0-9]{4}")


def is_symbol(text: str) -> bool:
    """Return whether a text is a valid symbol."""
    return _SYMBOL_REGEX.fullmatch(text) is not None and re.search(_HAS_LETTER_OR_DIGIT, text) is not None


def is_symbol_expr(column: str) -> pl.Expr:
    """Return whether the values of a column are valid symbols; null for null."""
    text = pl.col(column)
    # in Rust expressions, `$` matches only the end of the text, not before a trailing newline
    return text.str.contains(SYMBOL_PATTERN) & text.str.contains(_HAS_LETTER_OR_DIGIT)


def check_symbol(text: str) -> str:
    """Return a valid symbol unchanged.

    Raises
    ------
    DataError
        If it is not one.
    """
    if not is_symbol(text):
        raise DataError(
            f"{text!r} is not a symbol.",
            f"Use at most {MAX_SYMBOL_LENGTH} of the characters A-Z a-z 0-9 . - _ ^ = & (no leading - = &).",
        )
    return text


def instrument_id(symbol: str, mic: str = UNKNOWN_MIC) -> str:
    """Return the identifier of a symbol on a market.

    Parameters
    ----------
    symbol
        For example ``AAPL``.
    mic
        The market's ISO 10383 code; ``XXXX`` if it is not known.
    """
    if not _MIC_REGEX.fullmatch(mic):
        raise DataError(
            f"{mic!r} is not a market identifier code.", "Use a code of ISO 10383, four characters."
        )
    return f"{check_symbol(symbol)}.{mic}"


def instrument_id_expr(column: str, mic: str = UNKNOWN_MIC) -> pl.Expr:
    """Return the identifiers of a column of valid symbols."""
    return pl.concat_str(pl.col(column), pl.lit(f".{mic}"))


def split_instrument_id(identifier: str) -> tuple[str, str]:
    """Return the symbol and the market of an instrument identifier."""
    symbol, _, mic = identifier.rpartition(".")
    if not _MIC_REGEX.fullmatch(mic) or not is_symbol(symbol):
        raise DataError(f"{identifier!r} is not an instrument identifier.", "Use the form AAPL.XNAS.")
    return symbol, mic


def slug(text: str) -> str:
    """Return a symbol derived from any text, empty if nothing is left: ``DATASET-STOCKS``."""
    return (
        re.sub(r"[^A-Z0-9]+", "-", text.upper())[: MAX_SYMBOL_LENGTH + 1]
        .strip("-")[:MAX_SYMBOL_LENGTH]
        .strip("-")
    )
