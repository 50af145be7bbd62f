"""Prices that are written as whole numbers of a fraction of the currency: 1234500 for 123.45."""

from collections.abc import Sequence
from typing import Final

import polars as pl

from tickerlake.sources.csv.detect.columns.layout import split_words
from tickerlake.sources.csv.detect.decision import Decision
from tickerlake.sources.csv.detect.options import Options
from tickerlake.sources.csv.detect.scan import FileScan
from tickerlake.sources.csv.detect.sentinels import PRICE_ROLES
from tickerlake.sources.csv.numbers import NumberFormat

_MIN_ROWS: Final = 5
_MIN_DISTINCT: Final = 3
_MIN_PRICE: Final = 10_000
"""In units of 1/10,000, a price of 1.00."""

_STEP: Final = 100
"""Prices in cents, in units of 1/10,000."""

_NANO_STEP: Final = 10**5
_NANO_PRICE: Final = 10**9
_LARGE_CURRENCIES: Final = frozenset(
    "KRW JPY VND IDR IRR LBP CLP COP HUF UZS LAK KHR MMK PYG GNF TZS UGX IQD".split()
)
_LARGE_ZONES: Final = frozenset(
    "Asia/Seoul Asia/Tokyo Asia/Ho_Chi_Minh Asia/Jakarta Asia/Tehran Asia/Beirut America/Santiago "
    "America/Bogota Europe/Budapest".split()
)
"""Of currencies whose prices have five digits, and often end in zeros."""

_REAL_SYMBOLS: Final = r"^A?\d{6}$|BTC|XBT|ETH|USDT|USDC"
"""Codes of Korea, and coins."""


def choose_scale(scan: FileScan, options: Options, zone: str, symbols: Sequence[str]) -> Decision[int]:
    """Return the number of decimals that prices written as whole numbers have.

    If every price of the first rows looks like one, but nothing shows the number, a warning says so.
    """
    layout = scan.head.dialect.layout
    if options.price_scale is not None:
        return Decision(options.price_scale, "--price-scale")
    vendor = layout.vendor_layout
    if vendor and vendor.scale:
        cells = _first_prices(scan)
        is_raw = not vendor.columns or bool(
            (cells.str.contains(r"^-?\d+$") & (cells.str.len_chars() >= vendor.scale)).all()
        )
        if is_raw:
            return Decision(vendor.scale, "the vendor's layout")
    return Decision(0, "as written", _scale_warning(scan, zone, symbols))


def _first_prices(scan: FileScan) -> pl.Series:
    """Return the texts of the prices in the first rows."""
    layout, rows = scan.head.dialect.layout, scan.head.first_rows
    columns = layout.columns_by_role()
    wanted = [c for role in PRICE_ROLES[layout.record_type] for c in columns.get(role, []) if role != "vwap"]
    texts = pl.concat([rows.get_column(f"c{c}").cast(pl.String).alias("price") for c in wanted])
    return texts.str.strip_chars().filter(texts.str.strip_chars() != "")


def _scale_warning(scan: FileScan, zone: str, symbols: Sequence[str]) -> str:
    if zone in _LARGE_ZONES or _has_large_currency(scan):
        return ""
    if symbols and bool(pl.Series(list(symbols), dtype=pl.String).str.contains(_REAL_SYMBOLS).all()):
        return ""
    if _has_fractional_sizes(scan):
        return ""
    texts = _first_prices(scan)
    number = NumberFormat(scan.decimal_separator)
    values = texts.to_frame().select(number.parse_plain(pl.col("price"))).to_series().drop_nulls()
    values = values.filter(values != 0)
    rows = len(scan.head.first_rows)
    if rows < _MIN_ROWS or len(values) < rows or values.n_unique() < _MIN_DISTINCT:
        return ""
    if not bool(((values % _STEP == 0) & (values.abs() >= _MIN_PRICE)).all()):
        return ""
    is_nano = bool(((values % _NANO_STEP == 0) & (values.abs() >= _NANO_PRICE)).all())
    return (
        f"{scan.head.text_file.file_name}: every price is a multiple of {_STEP}, such as {values[0]:.0f}. "
        f"If they count fractions of the currency, specify --price-scale {9 if is_nano else 4}; "
        "if they are real (won, rupiah), --price-scale 0."
    )


def _has_fractional_sizes(scan: FileScan) -> bool:
    """Return whether volumes have fractions, as those of coins and currencies; those of stocks do not."""
    columns = scan.head.dialect.layout.columns_by_role()
    sizes = [c for role in ("volume", "size", "bid_size", "ask_size") for c in columns.get(role, [])]
    pattern = rf"\d\{scan.decimal_separator}\d*[1-9]"
    return any(bool(scan.head.first_rows.get_column(f"c{c}").str.contains(pattern).any()) for c in sizes)


def _has_large_currency(scan: FileScan) -> bool:
    """Return whether a column or the words of the header name a currency of large numbers."""
    layout = scan.head.dialect.layout
    if any(not name.isascii() for name in layout.names):
        return True
    words = {word.upper() for name in layout.names for word in split_words(name)}
    if "currency" in layout.roles:
        words |= set(
            scan.head.first_rows.get_column(layout.column_id("currency")).str.to_uppercase().unique()
        )
    return bool(words & _LARGE_CURRENCIES)
