"""What the user can specify about a file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tickerlake.errors import UsageError
from tickerlake.model.instrument import check_symbol
from tickerlake.sources.csv.detect.lines.dialect import parse_delimiter
from tickerlake.sources.csv.detect.times.interval import parse_interval
from tickerlake.sources.csv.symbols import read_symbol_map
from tickerlake.sources.csv.zones import normalize_zone

_MAX_PRICE_SCALE = 9
"""Prices have nine decimals."""


@dataclass(frozen=True)
class Options:
    """Answers to the questions that a file may leave open; None to detect them.

    Parameters
    ----------
    symbol
        The symbol of every row.
    tz
        The time zone of times without one: ``America/New_York``.
    date_format
        The order of day and month: ``DD-MM-YYYY`` or ``%d-%m-%Y``.
    decimal
        The decimal separator: ``.`` or ``,``.
    delimiter
        The delimiter: a character, or ``tab``, ``space`` …
    interval
        The length of the bars: ``1m``, ``1d`` …
    price_scale
        Prices are whole numbers in units of ``10 ** -price_scale``.
    columns
        The names of the columns, from the left.
    strict
        True to raise an error instead of a warning.
    negative_prices
        True to accept prices of 0 and below.
    symbol_map
        Symbols as files write them, each with the symbol to use instead.
    """

    symbol: str | None = None
    tz: str | None = None
    date_format: str | None = None
    decimal: str | None = None
    delimiter: str | None = None
    interval: str | None = None
    price_scale: int | None = None
    columns: tuple[str, ...] | None = None
    strict: bool = False
    negative_prices: bool = False
    symbol_map: Mapping[str, str] = field(default_factory=dict)


def parse_options(
    *,
    symbol: str | None = None,
    tz: str | None = None,
    date_format: str | None = None,
    decimal: str | None = None,
    delimiter: str | None = None,
    interval: str | None = None,
    price_scale: int | None = None,
    columns: str | None = None,
    strict: bool = False,
    negative_prices: bool = False,
    symbol_map: str | None = None,
) -> Options:
    """Validate options as typed.

    Raises
    ------
    UsageError, DataError
        If one of them is invalid.
    """
    if decimal not in {None, ".", ","}:
        raise UsageError(f"--decimal {decimal!r} is not a decimal separator.", "Specify . or ,")
    if price_scale is not None and not 0 <= price_scale <= _MAX_PRICE_SCALE:
        raise UsageError(
            f"--price-scale {price_scale} is out of range.",
            f"Specify 0 to {_MAX_PRICE_SCALE}: 4 for prices in 1/10,000.",
        )
    length = parse_interval(interval) if interval is not None else None
    if length == "":
        raise UsageError(
            f"--interval {interval!r} is not an interval.", "Specify 1s, 1m, 5m, 1h, 1d, 1w, 1mo …"
        )
    return Options(
        symbol=check_symbol(symbol) if symbol is not None else None,
        tz=normalize_zone(tz) if tz is not None else None,
        date_format=date_format,
        decimal=decimal,
        delimiter=parse_delimiter(delimiter) if delimiter is not None else None,
        interval=length,
        price_scale=price_scale,
        columns=tuple(name.strip() for name in columns.split(",")) if columns is not None else None,
        strict=strict,
        negative_prices=negative_prices,
        symbol_map=read_symbol_map(Path(symbol_map)) if symbol_map is not None else {},
    )
