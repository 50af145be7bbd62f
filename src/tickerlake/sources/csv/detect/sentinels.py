"""Numbers by which vendors mean that there is no value: the largest integers, rows of nines, -1, -999."""

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Context, Decimal
from itertools import chain
from typing import Final

import polars as pl

from tickerlake.errors import DataError
from tickerlake.model.schema import BAR, DECIMAL, QUOTE, TRADE
from tickerlake.sources.csv.detect.columns.layout import CRSP, PRICES
from tickerlake.sources.csv.detect.decision import Decision
from tickerlake.sources.csv.detect.head import FileHead
from tickerlake.sources.csv.detect.options import Options
from tickerlake.sources.csv.numbers import NumberFormat

PRICE_ROLES: Final[dict[str, tuple[str, ...]]] = {
    BAR: (*PRICES, "vwap", "adj_close"),
    TRADE: ("price",),
    QUOTE: ("bid_price", "ask_price"),
}
"""The roles of each record type that are prices; the other decimals are quantities."""

_NINE_DECIMALS: Final = Decimal("1e-9")
_CONTEXT: Final = Context(prec=38, rounding=ROUND_HALF_EVEN)
_MIN_FACTOR: Final = 20
"""A price this many times the usual one is none; yen for a bitcoin may be 9,999,999."""

_MIN_REPEATED: Final = 3
"""Once, a volume of 999,999,999 may be real, and one of -1 a typing error, which is rejected."""


def _written_forms(limit: int, decimals: Iterable[int]) -> list[Decimal]:
    """Return a number in units of powers of ten, exact and as a float is written."""
    exact = [Decimal(limit).scaleb(-n) for n in decimals]
    floats = [Decimal(repr(float(each))) for each in exact]
    return [_CONTEXT.quantize(each, _NINE_DECIMALS) for each in (*exact, *floats)]


_SHORT_LIMITS: Final = (2**31 - 1, 2**31, 2**32 - 1)
_LONG_LIMITS: Final = (2**63 - 1, 2**63, 2**64 - 1)
_DECIMALS: Final = (0, 2, 3, 4, 5, 6)
_QUANTITY_LIMITS: Final = {
    each for limit in (*_SHORT_LIMITS, *_LONG_LIMITS) for each in _written_forms(limit, [0])
}
_PRICE_LIMITS: Final = {each for limit in _SHORT_LIMITS for each in _written_forms(limit, _DECIMALS)} | {
    each for limit in _LONG_LIMITS for each in _written_forms(limit, (*_DECIMALS, 8, 9))
}
"""In 32 bits, nobody writes prices with more than six decimals: 2.147483647 is one."""

_NINES: Final = {Decimal(10) ** n - 1 for n in range(6, 19)} | {
    Decimal(10) ** n - Decimal(fraction) for n in range(6, 10) for fraction in ("0.01", "0.0001")
}
_NEGATIVE_NINES: Final = {Decimal(10) ** n - 1 for n in range(3, 19)}
"""999 and more, below 0."""

_NONE: Final = Decimal(-1)


_CRSP_SIGN: Final = "a negative PRC of CRSP is the mean of bid and ask of a day without a trade"
_CRSP_REMEDY: Final = "To read these means as closes, remove the minus signs from the column PRC."


def parse_first_rows(head: FileHead, numbers: NumberFormat) -> dict[str, list[pl.Series]]:
    """Return the decimals in the first rows, by role; several columns have one role in a wide table."""
    layout = head.dialect.layout
    columns = {
        role: [f"c{column}" for column in columns]
        for role, columns in layout.columns_by_role().items()
        if role in layout.decimal_roles
    }
    texts = head.first_rows.select(
        pl.col(cell).cast(pl.String) for cell in dict.fromkeys(chain(*columns.values()))
    )
    parsed = texts.select(numbers.parse_plain(pl.col(cell)).alias(cell) for cell in texts.columns)
    unparsed = [cell for cell in texts.columns if (parsed[cell].is_null() & (texts[cell] != "")).any()]
    lenient = texts.select(numbers.parse_lenient(pl.col(cell)).alias(cell) for cell in unparsed)
    parsed = parsed.with_columns(parsed[cell].fill_null(lenient[cell]) for cell in unparsed)
    return {role: [parsed[cell] for cell in cells] for role, cells in columns.items()}


def find_sentinels(
    record_type: str, first_rows: dict[str, list[pl.Series]], *, negative_prices: bool
) -> dict[str, tuple[Decimal, ...]]:
    """Return the numbers that stand for no value in a file, by role, by what its first rows hold.

    A number is one only where it cannot be a value:

    - as a price, if it is more than 20 times the median of the prices; a negative one also if no
      other price is negative. -1 stands for no bid, no ask and no average price;
    - as a quantity, if it is a limit of an integer type; -1, -999 and rows of nines, if they repeat.

    Parameters
    ----------
    record_type
        That of the file.
    first_rows
        The decimals in its first rows, in the units of the file, before any scale; so is the result.
    negative_prices
        True if prices below 0 are real.
    """
    values = {role: pl.concat(columns).drop_nulls() for role, columns in first_rows.items()}
    price_roles = PRICE_ROLES[record_type]
    prices = pl.concat([values[role] for role in price_roles if role in values])
    suspects = pl.Series(
        [*_PRICE_LIMITS, *_NINES, *(-each for each in _PRICE_LIMITS | _NEGATIVE_NINES), _NONE],
        dtype=prices.dtype,
    )
    usual = prices.filter(~prices.is_in(suspects.implode()))
    median = usual.filter(usual != 0).abs().median()
    bound = _MIN_FACTOR * Decimal(str(median)) if median is not None else Decimal(0)
    has_negative = negative_prices or bool((usual < 0).any())
    prices_of_none = {each for each in _PRICE_LIMITS | _NINES if each > bound} | {
        -each for each in _PRICE_LIMITS | _NEGATIVE_NINES if not has_negative or each > bound
    }
    found = {}
    for role, numbers_of_role in values.items():
        none = _quantity_sentinels(role, numbers_of_role)
        if role in price_roles:
            none = prices_of_none
            if role in {"vwap", "bid_price", "ask_price"} and not has_negative:
                none = none | {_NONE}
        found[role] = tuple(sorted(none))
    return found


def find_usual_prices(
    head: FileHead, first_rows: dict[str, list[pl.Series]], decimal_separator: str
) -> dict[str, Decimal]:
    """Return the median of the first prices of each role of which none separates thousands.

    Parameters
    ----------
    head
        How the lines of the file are read.
    first_rows
        The decimals in its first rows, by role.
    decimal_separator
        ``.`` or ``,``.
    """
    layout, group = head.dialect.layout, "," if decimal_separator == "." else "."
    columns = layout.columns_by_role()
    usual = {}
    for role in PRICE_ROLES[layout.record_type]:
        values = (
            pl.concat(first_rows[role]).drop_nulls().abs()
            if role in first_rows
            else pl.Series([], dtype=DECIMAL)
        )
        median = values.filter(values != 0).median()
        texts = [head.first_rows.get_column(f"c{column}").cast(pl.String) for column in columns.get(role, [])]
        is_grouped = any(each.str.contains(rf"\d[{group}]\d").any() for each in texts)
        if median is not None and not is_grouped:
            usual[role] = Decimal(str(median))
    return usual


def choose_negative_prices(
    options: Options,
    first_rows: dict[str, list[pl.Series]],
    sentinels: dict[str, tuple[Decimal, ...]],
    name: str,
    vendor: str = "",
) -> Decision[bool]:
    """Return whether prices of 0 and below are accepted; a warning if several of the first rows have some.

    Raises
    ------
    DataError
        If the sign means something else in the vendor's layout, and the user specifies that it is real.
    """
    if vendor == CRSP and options.negative_prices:
        raise DataError(
            f"{name}: {_CRSP_SIGN}, not a price below 0.", f"Omit --allow-negative-prices. {_CRSP_REMEDY}"
        )
    if options.negative_prices:
        return Decision(value=True, reason="--allow-negative-prices")
    is_negative = [
        (values < 0) & ~values.is_in(pl.Series(sentinels[role], dtype=DECIMAL).implode())
        for role in (*PRICES, "price", "bid_price", "ask_price")
        for values in first_rows.get(role, ())
    ]
    rows = len(is_negative[0])
    count = int(pl.select(pl.any_horizontal(is_negative).sum()).item())
    warning = (
        f"{name}: {count:,} of its first {rows:,} rows have prices below 0, which are rejected. "
        "If they are real (spreads, futures): --allow-negative-prices"
    )
    if vendor == CRSP:
        warning = (
            f"{name}: {_CRSP_SIGN}; {count:,} of its first {rows:,} rows are rejected for it. {_CRSP_REMEDY}"
        )
    is_frequent = count >= min(_MIN_REPEATED, rows)
    return Decision(value=False, reason="unless specified", warning=warning if is_frequent else "")


def _quantity_sentinels(role: str, values: pl.Series) -> set[Decimal]:
    none = _QUANTITY_LIMITS | {-limit for limit in _QUANTITY_LIMITS}
    suspects = set(_NINES)
    if role != "size":
        # the size of a trade is negative for a sale
        suspects |= {-each for each in _NEGATIVE_NINES} | {_NONE}
    if role in {"bid_size", "ask_size"}:
        none = none | {_NONE}
    found = values.filter(values.is_in(pl.Series(list(suspects), dtype=values.dtype).implode()))
    counts = found.value_counts().iter_rows()
    return none | {each for each, n in counts if n >= _MIN_REPEATED or n == len(values)}


def clear_sentinels(
    rows: pl.DataFrame, roles: Iterable[str], sentinels: dict[str, tuple[Decimal, ...]]
) -> tuple[pl.DataFrame, list[str]]:
    """Replace numbers that stand for no value by nulls; the column ``_sentinel_…`` of a role marks them.

    Parameters
    ----------
    rows
        Rows with a column of decimals for each role.
    roles
        The roles of these columns.
    sentinels
        The result of :func:`find_sentinels`.

    Returns
    -------
    rows, cleared
        The rows and the roles that had such numbers.
    """
    cleared = []
    for role in roles:
        values = rows.get_column(role)
        if not (role in sentinels and _may_hold(values, sentinels[role])):
            continue
        is_sentinel = values.is_in(pl.Series(sentinels[role], dtype=DECIMAL).implode()).fill_null(value=False)
        if is_sentinel.any():
            rows = rows.with_columns(
                pl.when(~is_sentinel).then(values).alias(role), is_sentinel.alias(f"_sentinel_{role}")
            )
            cleared.append(role)
    return rows, cleared


def _may_hold(values: pl.Series, sentinels: tuple[Decimal, ...]) -> bool:
    """Return whether values reach a sentinel, by a fast test."""
    highest, lowest = values.max(), values.min()
    if not (isinstance(highest, Decimal) and isinstance(lowest, Decimal)):
        return False
    positive = [each for each in sentinels if each > 0]
    negative = [each for each in sentinels if each < 0]
    return bool((positive and highest >= min(positive)) or (negative and lowest <= max(negative)))
