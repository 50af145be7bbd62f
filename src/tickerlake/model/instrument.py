r"""Symbols and instrument identifiers: ``AAPL`` on ``XNAS`` is ``AAPL.XNAS``.

A symbol is what a vendor writes: ``BTC/USD``, ``BRK B``, ``NSE:INFY``, ``$SPX``, ``トヨタ``. It is shown in
terminals, pages and tables, so it has no invisible characters, quotes, ``\``, backticks, ``<`` or ``>``, and
does not begin with ``-`` (an option), ``=`` or ``+`` (a formula). Case matters: ``BRKb`` and ``BRKB`` are
two instruments.

An identifier is a message key and part of addresses, so it has one small alphabet: ASCII letters and digits,
``. - _ ^ = &``, and ``~`` with two hexadecimal digits for each UTF-8 byte of any other character: ``BTC/USD``
is ``BTC~2FUSD.XXXX``. Each symbol has one identifier on a market, and no two symbols share it.
"""

import re
import unicodedata
from typing import Final

import polars as pl

from tickerlake.errors import DataError

UNKNOWN_MIC: Final = "XXXX"
MAX_SYMBOL_LENGTH: Final = 64
SYMBOL_RULES: Final = (
    f"A symbol has up to {MAX_SYMBOL_LENGTH} printable characters, among them a letter or a digit, "
    "but no quotes, \\ ` < >, and none of - = + at the start."
)

_PLAIN_SYMBOL: Final = r"^[A-Za-z0-9^._][A-Za-z0-9.\-_^=&]{0,63}$"
"""A symbol without characters that its identifier encodes."""

_PLAIN_REGEX: Final = re.compile(_PLAIN_SYMBOL[:-1])
_HAS_PLAIN_LETTER_OR_DIGIT: Final = r"[A-Za-z0-9]"
_PRINTABLE: Final = r"^[\p{L}\p{M}\p{N}\p{P}\p{S} &&[^\p{Default_Ignorable_Code_Point}\x{FFFD}]]*$"
_HAS_LETTER_OR_DIGIT: Final = r"[\p{L}\p{N}]"
_FILLERS: Final = "\u115f\u1160\u3164\uffa0"
"""Letters that nobody sees."""

_FORBIDDEN_SIGNS: Final = "'\"`\\<>"
_FORBIDDEN_STARTS: Final = "-=+"
_SAFE: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_^=&"
_UNSAFE: Final = re.compile(r"^&|[^A-Za-z0-9.\-_^=&]")
_ESCAPES: Final = re.compile(r"(?:~[0-9A-F]{2})+")
_MIC_REGEX: Final = re.compile(r"[A-Z0-9]{4}")
_COLUMN: Final = "symbol"
_MAX_SLUG_LENGTH: Final = 32


def is_plain_symbol(text: str) -> bool:
    """Return whether a text is a symbol that is part of its identifier as it is: ``AAPL``, ``BRK.B``."""
    return (
        _PLAIN_REGEX.fullmatch(text) is not None and re.search(_HAS_PLAIN_LETTER_OR_DIGIT, text) is not None
    )


def is_plain_symbol_expr(column: str) -> pl.Expr:
    """Return whether the values of a column are plain symbols; null for null."""
    text = pl.col(column)
    # in Rust expressions, `$` matches only the end of the text, not before a trailing newline
    return text.str.contains(_PLAIN_SYMBOL) & text.str.contains(_HAS_PLAIN_LETTER_OR_DIGIT)


def is_symbol(text: str) -> bool:
    """Return whether a text is a valid symbol, as `normalize_symbol` writes it."""
    if is_plain_symbol(text):
        return True
    if text.isascii():
        return _is_ascii_symbol(text)
    return _is_word(text) or bool(_evaluate(is_symbol_expr(_COLUMN), text))


def _is_word(text: str) -> bool:
    """Return whether a text surely is a symbol of letters and digits; saves a data frame for most of them."""
    return (
        text.isalnum()
        and len(text) <= MAX_SYMBOL_LENGTH
        and unicodedata.is_normalized("NFC", text)
        and not set(text) & set(_FILLERS)
    )


def _is_ascii_symbol(text: str) -> bool:
    """Return whether an ASCII text is a symbol: the expression's rules, without the cost of a data frame."""
    return (
        0 < len(text) <= MAX_SYMBOL_LENGTH
        and text.isprintable()
        and text == text.strip()
        and text[0] not in _FORBIDDEN_STARTS
        and not set(text) & set(_FORBIDDEN_SIGNS)
        and any(map(str.isalnum, text))
    )


def is_symbol_expr(column: str) -> pl.Expr:
    """Return whether the values of a column are valid symbols, as `normalize_symbol_expr` writes them."""
    text = pl.col(column)
    return (
        text.str.contains(_PRINTABLE)
        & text.str.contains(_HAS_LETTER_OR_DIGIT)
        & ~text.str.contains(f"[{re.escape(_FORBIDDEN_SIGNS)}]|^[{re.escape(_FORBIDDEN_STARTS)}]")
        & (text.str.len_chars() <= MAX_SYMBOL_LENGTH)
        & (normalize_symbol_expr(column) == text)
    )


def normalize_symbol(text: str) -> str:
    """Return a symbol in the form of records: composed characters (NFC), plain spaces, none around it."""
    return text.strip() if text.isascii() else str(_evaluate(normalize_symbol_expr(_COLUMN), text) or text)


def normalize_symbol_expr(column: str) -> pl.Expr:
    """Return the values of a column as `normalize_symbol` does."""
    return pl.col(column).str.normalize("NFC").str.replace_all(r"\p{Zs}", " ").str.strip_chars()


def symbol_problem(text: str) -> str:
    """Return the rule that a text breaks, as in ``it begins with =``; empty if it is a symbol."""
    text = normalize_symbol(text)
    if not text or is_symbol(text):
        return "" if text else "it is empty"
    if len(text) > MAX_SYMBOL_LENGTH:
        return f"it has {len(text):,} characters, more than {MAX_SYMBOL_LENGTH}"
    if text[0] in _FORBIDDEN_STARTS:
        return f"it begins with {text[0]}"
    if sign := next((character for character in text if character in _FORBIDDEN_SIGNS), ""):
        return f"it contains {sign}"
    is_printable = pl.col(_COLUMN).str.contains(_PRINTABLE)
    if odd := next((character for character in text if not _evaluate(is_printable, character)), ""):
        return f"it contains U+{ord(odd):04X}, which is not a printable character"
    return "it has neither a letter nor a digit"


def check_symbol(text: str) -> str:
    """Return a valid symbol in the form of records.

    Raises
    ------
    DataError
        If it is not one.
    """
    if problem := symbol_problem(text):
        raise DataError(f"{text!r} is not a symbol: {problem}.", SYMBOL_RULES)
    return normalize_symbol(text)


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
    return _encode(check_symbol(symbol), mic)


def _encode(symbol: str, mic: str) -> str:
    return f"{_UNSAFE.sub(_escape, symbol)}.{mic}"


def _escape(match: re.Match[str]) -> str:
    return "".join(f"~{byte:02X}" for byte in match[0].encode())


def instrument_id_expr(column: str, mic: str | pl.Expr = UNKNOWN_MIC) -> pl.Expr:
    """Return the identifiers of a column of valid symbols, all on one market, or on that of each row.

    If all of them are plain, `plain_instrument_id_expr` is much faster.
    """
    text = pl.col(column)
    escaped = (
        text.str.encode("hex")
        .str.to_uppercase()
        .str.replace_all("..", "~$0")
        .str.replace_many([f"~{ord(character):02X}" for character in _SAFE], list(_SAFE))
        .str.replace("^&", "~26")
    )
    is_plain = is_plain_symbol_expr(column)
    market = pl.lit(mic) if isinstance(mic, str) else mic
    return pl.concat_str(pl.when(is_plain).then(text).otherwise(escaped), pl.lit("."), market)


def plain_instrument_id_expr(column: str, mic: str = UNKNOWN_MIC) -> pl.Expr:
    """Return the identifiers of a column of plain symbols."""
    return pl.concat_str(pl.col(column), pl.lit(f".{mic}"))


def split_instrument_id(identifier: str) -> tuple[str, str]:
    """Return the symbol and the market of an instrument identifier.

    Raises
    ------
    DataError
        If it is not one, or not the one of its symbol.
    """
    encoded, _, mic = identifier.rpartition(".")
    if _MIC_REGEX.fullmatch(mic):
        if is_plain_symbol(encoded):
            return encoded, mic
        symbol = _ESCAPES.sub(_unescape, encoded)
        if is_symbol(symbol) and _encode(symbol, mic) == identifier:
            return symbol, mic
    raise DataError(
        f"{identifier!r} is not an instrument identifier.", "Use the form AAPL.XNAS, BTC~2FUSD.XXXX."
    )


def mic_of(identifier: str) -> str:
    """Return the market of an instrument; ``XXXX`` for another program's identifier, of another form."""
    try:
        return split_instrument_id(identifier)[1]
    except DataError:
        return UNKNOWN_MIC


def _unescape(match: re.Match[str]) -> str:
    return bytes.fromhex(match[0].replace("~", "")).decode("utf-8", "replace")


def _evaluate(expression: pl.Expr, text: str) -> object:
    """Return an expression's value for a text: one rule for columns and texts; None if it is not Unicode."""
    try:
        return pl.DataFrame({_COLUMN: [text]}).select(expression).item()
    except UnicodeEncodeError:
        return None


def slug(text: str) -> str:
    """Return a symbol derived from any text, empty if nothing is left: ``DATASET-STOCKS``."""
    return (
        re.sub(r"[\W_]+", "-", text.upper())[: _MAX_SLUG_LENGTH + 1].strip("-")[:_MAX_SLUG_LENGTH].strip("-")
    )
