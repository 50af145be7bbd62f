"""How a file writes its numbers, and how they become exact decimals."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import polars as pl

from tickerlake.model.schema import DECIMAL

MISSING: Final = (
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
    "1.7976931348623157e+308",
    "n.d.",
    r"\n",
    r"\\n",
)
"""Texts that say that there is no number, in lower case."""

_SPACES: Final = " \u00a0\u2009\u202f'’"
_GROUPS: Final = {".": f",{_SPACES}", ",": f".{_SPACES}"}
_MONEY: Final = "$€£¥₹₩₽₺₪฿¢"
_CODES: Final = (
    "USD|EUR|GBP|GBX|CHF|JPY|INR|CAD|AUD|HKD|CNY|SEK|NOK|DKK|PLN|TRY|BRL|ZAR|KRW|RUB|Rs\\.?|R\\$|kr|zł|TL"
)
_DRESS: Final = rf"(?i)^(?:{_CODES}|[{_MONEY}])\s*|\s*(?:{_CODES}|[{_MONEY}%*])$|\+"
_SCALES: Final = {
    "K": 1_000,
    "M": 1_000_000,
    "B": 1_000_000_000,
    "T": 1_000_000_000_000,
    "L": 100_000,
    "LAKH": 100_000,
    "CR": 10_000_000,
}
_SUFFIX: Final = r"(?i)\s*(K|M|B|T|lakh|L|Cr)(?:ln|io|rd|n)?\.?$"
_BARE: Final = re.compile(r"[-−]?(?:\d[\d.,_ \u00a0\u2009\u202f'’]*|[.,]\d+)(?:[eE][+-]?\d{1,3})?")
_READINGS: Final = {
    ".": re.compile(r"(?:\d+|[1-9]\d{0,2}(?:,\d{2,3})*,\d{3})?(?:\.\d*)?"),
    ",": re.compile(r"(?:\d+|[1-9]\d{0,2}(?:\.\d{2,3})*\.\d{3})?(?:,\d*)?"),
}


@dataclass(frozen=True, slots=True)
class NumberForm:
    """One way to write numbers.

    Parameters
    ----------
    decimal
        The sign before the decimals: ``.`` or ``,``.
    scale
        Prices are whole numbers of ``10 ** -scale``.
    """

    decimal: str = "."
    scale: int = 0

    @property
    def _pattern(self) -> str:
        group = "".join(rf"\x{{{ord(c):x}}}" for c in _GROUPS[self.decimal])
        whole = rf"\d+|\d{{1,3}}(?:[{group}]\d{{2,3}})*[{group}]\d{{3}}"
        return rf"^-?(?:{whole})?(?:[{self.decimal}]\d*)?(?:[eE][+-]?\d{{1,2}})?$"

    def direct(self, text: pl.Expr) -> pl.Expr:
        """Read plain numbers; null where a closer look is needed."""
        if self.decimal == ".":
            return text.cast(DECIMAL, strict=False)
        # a point may stand between thousands: only what has none is plain
        return pl.when(~text.str.contains(".", literal=True)).then(
            text.str.replace(",", ".", literal=True).cast(DECIMAL, strict=False)
        )

    def closely(self, text: pl.Expr) -> pl.Expr:
        """Read numbers with blanks, thousands, money signs, parentheses and suffixes; null for the rest."""
        bare = text.str.strip_chars().str.replace_all("−", "-", literal=True)
        losses = (bare.str.starts_with("(") & bare.str.ends_with(")")) | bare.str.contains(r"\d-$")
        bare = pl.when(losses).then("-" + bare.str.strip_chars("()-")).otherwise(bare)
        bare = bare.str.replace_all(_DRESS, "").str.replace(rf"^-\s*[{_MONEY}]\s*", "-")
        suffix = bare.str.extract(_SUFFIX).str.to_uppercase()
        bare = bare.str.replace(_SUFFIX, "")
        fits = bare.str.contains(self._pattern) & bare.str.contains(r"\d")
        group = "".join(rf"\x{{{ord(c):x}}}" for c in _GROUPS[self.decimal])
        plain = bare.str.replace_all(f"[{group}]", "").str.replace(",", ".", literal=True)
        number = pl.when(fits).then(plain).str.strip_suffix(".").cast(DECIMAL, strict=False)
        factor = suffix.replace_strict(
            list(_SCALES), list(_SCALES.values()), default=None, return_dtype=pl.Int64
        )
        return pl.when(suffix.is_null()).then(number).otherwise(number * factor.cast(pl.Decimal(38, 0)))

    def scaled(self, number: pl.Expr) -> pl.Expr:
        """Return prices in units of the currency; null where a scaled price is no whole number."""
        if not self.scale:
            return number
        # Decimal(38, 9) divided by a power of ten stays exact as long as nine decimals hold it.
        return number / pl.lit(Decimal(10) ** self.scale, pl.Decimal(38, 0))


def bare(text: str) -> str:
    """Return a number without money signs, percent and suffix, empty if the text is no number."""
    text = text.strip()
    if text.startswith("(") and text.endswith(")"):
        text = text[1:-1]
    if re.search(r"\d-$", text):
        text = text[:-1]
    text = re.sub(_DRESS, "", text).strip()
    text = re.sub(rf"^-\s*[{_MONEY}]\s*", "-", text)
    text = re.sub(_SUFFIX, "", text)
    return text if _BARE.fullmatch(text) else ""


def is_missing(text: str) -> bool:
    """Tell whether a text says that there is no number."""
    return text.strip().lower() in MISSING


def decimals_possible(cells: Iterable[str], separator: str) -> set[str]:
    """Return which signs may stand before the decimals: one if anything tells, both if nothing does.

    Most numbers can be read in one way only: 1.014,184 and 12,5 and 1,860,779. What is left are numbers such
    as 1.234 and 1,234.

    Parameters
    ----------
    cells
        Texts of number columns.
    separator
        What stands between the file's columns: a comma there makes a bare comma inside a number less likely.
    """
    seen = {".": 0, ",": 0}
    open_question = {".": False, ",": False}
    ungrouped = False
    for cell in cells:
        text = re.sub(f"[{_SPACES}_−-]", "", re.split("[eE]", bare(cell))[0])
        fits = [sign for sign, pattern in _READINGS.items() if text and pattern.fullmatch(text)]
        if len(fits) == 1:
            seen[fits[0]] += 1
        elif fits and text.isdigit():
            ungrouped = ungrouped or len(text) > 3
        elif fits:
            open_question["." if "." in text else ","] = True
    if any(seen.values()):
        most, fewest = sorted(seen, key=lambda sign: -seen[sign])
        return {most} if seen[fewest] <= 0.05 * seen[most] else {".", ","}
    if open_question[","]:
        # 1,234 with 34821 beside it may still be a thousand: columns may be formatted one by one
        return {".", ","}
    # numbers above 999 without a sign between thousands: then a point stands before decimals
    return {"."} if not open_question["."] or ungrouped or separator == "," else {".", ","}
