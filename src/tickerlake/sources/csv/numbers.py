"""The number format of a file, and how its numbers become exact decimals."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Final

import polars as pl

from tickerlake.model.schema import DECIMAL

MISSING_VALUES: Final = (
    "",
    "-",
    "--",
    "---",
    "–",
    "—",
    ".",
    "null",
    "none",
    "nan",
    "n/a",
    "na",
    "n.a.",
    "#n/a",
    "nil",
    "<na>",
    "nat",
    "n.a",
    "n/t",
    "not available",
    "no data",
    "∞",
    "n.d.",
    r"\n",
    r"\\n",
)
"""Texts that stand for a missing number, in lower case and without a sign."""

_MISSING_PATTERN: Final = (
    r"^[-+]?(?:inf(?:inity)?|nan|1\.#(?:inf|ind|qnan|snan)\d*|1\.79769\d*e\+?308|3\.402[78]\d*e\+?38"
    r"|#(?:n/a|value|ref|div/0|num|name|null|error|calc)\b.*)$"
)
"""Other such texts: infinities, the largest floats, and errors of spreadsheets and terminals."""

_GROUP_SPACES: Final = " \u00a0\u2009\u202f'’"
_GROUP_SEPARATORS: Final = {".": f",{_GROUP_SPACES}", ",": f".{_GROUP_SPACES}"}
_CURRENCY_SIGNS: Final = "$€£¥₹₩₽₺₪฿¢"
_CURRENCY_CODES: Final = (
    "USD|EUR|GBP|GBX|CHF|JPY|INR|CAD|AUD|HKD|CNY|SEK|NOK|DKK|PLN|TRY|BRL|ZAR|KRW|RUB|Rs\\.?|R\\$|kr|zł|TL"
)
_AFFIXES: Final = (
    rf"(?i)^(?:{_CURRENCY_CODES}|[{_CURRENCY_SIGNS}])\s*|\s*(?:{_CURRENCY_CODES}|[{_CURRENCY_SIGNS}%*])$|\+"
)
_SUFFIX_FACTORS: Final = {
    "K": 1_000,
    "M": 1_000_000,
    "B": 1_000_000_000,
    "T": 1_000_000_000_000,
    "L": 100_000,
    "LAKH": 100_000,
    "CR": 10_000_000,
}
_SUFFIX_PATTERN: Final = r"(?i)\s*(K|M|B|T|lakh|L|Cr)(?:ln|io|rd|n)?\.?$"
_MAX_CONTRADICTING_SHARE: Final = 0.05
"""Typing errors must not make a clear decimal separator ambiguous."""

CACHED_CELLS: Final = 10_000
"""Cells of the first rows whose form is remembered: each is looked at several times, for each delimiter."""

_MAX_NUMBER_LENGTH: Final = 100
"""No longer text is a number: it bounds the time for texts that are not."""

_MAX_TIMES_USUAL: Final = 100
"""Prices of one column seldom differ by more; decimals read as thousands make them 1,000 times as high."""

_BARE_NUMBER: Final = re.compile(r"[-−]?(?:\d[\d.,_ \u00a0\u2009\u202f'’]*|[.,]\d+)(?:[eE][+-]?\d{1,3})?")
_NUMBER_PATTERNS: Final = {
    ".": re.compile(r"(?:\d+|[1-9]\d{0,2}(?:,\d{2,3})*,\d{3})?(?:\.\d*)?"),
    ",": re.compile(r"(?:\d+|[1-9]\d{0,2}(?:\.\d{2,3})*\.\d{3})?(?:,\d*)?"),
}


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """A format of numbers.

    Parameters
    ----------
    decimal_separator
        ``.`` or ``,``.
    scale
        Prices are whole numbers in units of ``10 ** -scale``.
    """

    decimal_separator: str = "."
    scale: int = 0

    @property
    def _pattern(self) -> str:
        group = "".join(rf"\x{{{ord(c):x}}}" for c in _GROUP_SEPARATORS[self.decimal_separator])
        whole = rf"\d+|\d{{1,3}}(?:[{group}]\d{{2,3}})*[{group}]\d{{3}}"
        return rf"^-?(?:{whole})?(?:[{self.decimal_separator}]\d*)?(?:[eE][+-]?\d{{1,2}})?$"

    def parse_plain(self, text: pl.Expr) -> pl.Expr:
        """Parse plain numbers; null where :meth:`parse_lenient` is needed."""
        if self.decimal_separator == ".":
            return text.cast(DECIMAL, strict=False)
        # a point may separate thousands: only numbers without one are plain
        return pl.when(~text.str.contains(".", literal=True)).then(
            text.str.replace(",", ".", literal=True).cast(DECIMAL, strict=False)
        )

    def parse_lenient(self, text: pl.Expr) -> pl.Expr:
        """Parse numbers with spaces, thousands, currencies, parentheses and suffixes; null for the rest."""
        bare = text.str.strip_chars().str.replace_all("−", "-", literal=True)
        is_negative = (bare.str.starts_with("(") & bare.str.ends_with(")")) | bare.str.contains(r"\d-$")
        bare = pl.when(is_negative).then("-" + bare.str.strip_chars("()-")).otherwise(bare)
        bare = bare.str.replace_all(_AFFIXES, "").str.replace(rf"^-\s*[{_CURRENCY_SIGNS}]\s*", "-")
        suffix = bare.str.extract(_SUFFIX_PATTERN).str.to_uppercase()
        bare = bare.str.replace(_SUFFIX_PATTERN, "")
        fits = bare.str.contains(self._pattern) & bare.str.contains(r"\d")
        group = "".join(rf"\x{{{ord(c):x}}}" for c in _GROUP_SEPARATORS[self.decimal_separator])
        plain = bare.str.replace_all(f"[{group}]", "").str.replace(",", ".", literal=True)
        number = pl.when(fits).then(plain).str.strip_suffix(".").cast(DECIMAL, strict=False)
        factor = suffix.replace_strict(
            list(_SUFFIX_FACTORS), list(_SUFFIX_FACTORS.values()), default=None, return_dtype=pl.Int64
        )
        return pl.when(suffix.is_null()).then(number).otherwise(number * factor.cast(pl.Decimal(38, 0)))

    def is_doubtful_price(self, text: pl.Expr, number: pl.Expr, usual: Decimal | None) -> pl.Expr:
        """Return whether texts read by :meth:`parse_lenient` are no such prices.

        Percentages are none, nor are numbers far above the usual price whose separator of thousands may be
        that of decimals (``50,130``).

        Parameters
        ----------
        text
            The texts.
        number
            The numbers that they were read as.
        usual
            The median of the first prices; None if some of them separate thousands in this way.
        """
        bare = text.str.strip_chars()
        is_percentage = bare.str.ends_with("%")
        if usual is None:
            return is_percentage
        group = "," if self.decimal_separator == "." else "."
        is_ambiguous = bare.str.replace_all(_AFFIXES, "").str.contains(rf"^-?\d{{1,3}}[{group}]\d{{3}}$")
        return is_percentage | (is_ambiguous & (number.abs() > _MAX_TIMES_USUAL * usual))

    def apply_scale(self, number: pl.Expr) -> pl.Expr:
        """Return prices in units of the currency."""
        if not self.scale:
            return number
        # Decimal(38, 9) divided by a power of ten is exact as long as nine decimals suffice
        return number / pl.lit(Decimal(10) ** self.scale, pl.Decimal(38, 0))


def bare_number(text: str) -> str:
    """Return a number without currency, percent sign and suffix; empty if the text is not a number.

    Numbers in parentheses, or with a minus at the end, are negative.
    """
    text = text.strip()
    return _bare_short(text) if len(text) <= _MAX_NUMBER_LENGTH else ""


@lru_cache(maxsize=CACHED_CELLS)
def _bare_short(text: str) -> str:
    if (text.startswith("(") and text.endswith(")")) or re.search(r"\d-$", text):
        text = "-" + text.strip("()-")
    text = re.sub(_AFFIXES, "", text).strip()
    text = re.sub(rf"^-\s*[{_CURRENCY_SIGNS}]\s*", "-", text)
    text = re.sub(_SUFFIX_PATTERN, "", text)
    return text if _BARE_NUMBER.fullmatch(text) else ""


def is_missing(text: str) -> bool:
    """Return whether a text stands for a missing number."""
    text = text.strip().lower()
    return text in MISSING_VALUES or (
        # most numbers have none of these
        any(sign in text for sign in "#ne") and re.match(_MISSING_PATTERN, text) is not None
    )


def is_missing_expr(text: pl.Expr) -> pl.Expr:
    """Return whether texts stand for a missing number, see :func:`is_missing`."""
    lower = text.str.strip_chars().str.to_lowercase()
    return lower.is_in(list(MISSING_VALUES)) | lower.str.contains(_MISSING_PATTERN)


def possible_decimal_separators(cells: Iterable[str], delimiter: str) -> set[str]:
    """Return the possible decimal separators: one if any number settles it, else both.

    Most numbers can be read in one way only: 1.014,184 and 12,5 and 1,860,779. Numbers such as 1.234 and
    1,234 are ambiguous.

    Parameters
    ----------
    cells
        Texts of number columns.
    delimiter
        Between the file's columns: if it is a comma, a decimal comma is less likely.
    """
    counts = {".": 0, ",": 0}
    ambiguous = {".": False, ",": False}
    ungrouped = False
    for cell in cells:
        text = re.sub(f"[{_GROUP_SPACES}_−-]", "", re.split("[eE]", bare_number(cell))[0])
        matches = [sign for sign, pattern in _NUMBER_PATTERNS.items() if text and pattern.fullmatch(text)]
        if len(matches) == 1:
            counts[matches[0]] += 1
        elif matches and text.isdigit():
            ungrouped = ungrouped or len(text) > 3
        elif matches:
            ambiguous["." if "." in text else ","] = True
    if any(counts.values()):
        likely, unlikely = sorted(counts, key=lambda sign: -counts[sign])
        is_settled = counts[unlikely] <= _MAX_CONTRADICTING_SHARE * counts[likely]
        return {likely} if is_settled else {".", ","}
    if ambiguous[","]:
        # 1,234 next to 34821 may still be a thousand: columns may be formatted differently
        return {".", ","}
    # numbers above 999 without a thousands separator: then a point is the decimal separator
    return {"."} if not ambiguous["."] or ungrouped or delimiter == "," else {".", ","}
