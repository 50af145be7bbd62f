"""The size of trades: told from money by the product with the price, and written with a unit. Pure."""

import re
from collections.abc import Sequence
from typing import Final

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.columns.cells import SAMPLE_CELLS, ColumnSample, complete_rows
from tickerlake.sources.csv.detect.columns.layout import normalize_name, role_ranks
from tickerlake.sources.csv.detect.columns.vocabulary import name_groups

UNIT_PATTERN: Final = r"^([-−]?\d(?:[\d., _']*\d)?) *([^\W\d_][^\W\d_]{1,11})\.?$"
"""A number and its unit: ``0.17 BTC``, ``1,000 shares``."""

FILLED_PATTERN: Final = r"^(\d[\d.,]*) */ *(\d[\d.,]*)$"
"""What was filled of an order, and what was ordered: ``5/10``."""

FILLED: Final = "/"
"""Stands for the unit of such sizes."""

_UNIT_REGEX: Final = re.compile(UNIT_PATTERN[:-1] + r"\Z")
_UNIT_ROLES: Final = frozenset({"price", "size", "volume", "bid_size", "ask_size"})
_MIN_UNIT_SHARE: Final = 0.8
_PRODUCT_TOLERANCE: Final = 0.002
"""Money is rounded, and so are sizes of less than a share."""

_MAX_ROUNDING: Final = 0.01
"""Money without decimals may be this far from the product: half of its last digit, at most."""

_FEE_TOLERANCE: Final = 0.05
"""Money may include fees."""

_MIN_PRODUCT_SHARE: Final = 0.9
_MIN_DISTANCE_FROM_ONE: Final = 0.2
_MONEY_NAMES: Final = frozenset(
    """
    amount total value volume vol v cost funds notional turnover proceeds quoteqty quotequantity quotevolume
    dealfunds dealvalue filledvalue tradingtotal 成交额 成交金额 betrag summe montant importe importo
    """.split()
)
"""Names that are used for money as well as for sizes."""


def find_units(cells: ColumnSample) -> set[str]:
    """Return the units of numbers, in upper case; empty if most cells are not a number with a unit."""
    matches = [_UNIT_REGEX.match(text) for text in cells.non_missing[:SAMPLE_CELLS]]
    units = {match[2].upper() for match in matches if match}
    return units if matches and sum(map(bool, matches)) >= _MIN_UNIT_SHARE * len(matches) else set()


def strip_units(
    names: Sequence[str], columns: Sequence[ColumnSample]
) -> tuple[list[ColumnSample], dict[int, set[str]]]:
    """Return the columns, without units if they are prices, sizes or money by name, and the units of each."""
    stripped, units = list(columns), {}
    for i, cells in enumerate(columns):
        if cells.is_numeric or not (
            _UNIT_ROLES & set(role_ranks(names[i]))
            or normalize_name(names[i]) in _MONEY_NAMES
            or "executed_size" in name_groups(names[i])
        ):
            continue
        if are_filled_sizes(cells):
            stripped[i], units[i] = _without_units(cells, re.compile(FILLED_PATTERN)), {FILLED}
            continue
        found = find_units(cells)
        if found and (len(found) == 1 or "price" not in role_ranks(names[i])):
            stripped[i], units[i] = _without_units(cells), found
    return stripped, units


def are_filled_sizes(cells: ColumnSample) -> bool:
    """Return whether cells are what was filled of what was ordered: ``5/10``, never more."""
    matches = [re.match(FILLED_PATTERN, text) for text in cells.non_missing[:SAMPLE_CELLS]]
    pairs = [ColumnSample(match.groups()).numbers for match in matches if match]
    return (
        bool(matches)
        and sum(map(bool, matches)) >= _MIN_UNIT_SHARE * len(matches)
        and all(filled is not None and total is not None and filled <= total for filled, total in pairs)
    )


def _without_units(cells: ColumnSample, pattern: re.Pattern[str] = _UNIT_REGEX) -> ColumnSample:
    matches = [pattern.match(text) for text in cells.strings]
    return ColumnSample(
        [match[1] if match else text for match, text in zip(matches, cells.strings, strict=True)],
        cells.decimal_separator,
    )


def choose_unit(name: str, texts: Sequence[str], symbols: Sequence[str]) -> str:
    """Return the unit that all sizes of a column must have; empty if it is the base of each row's pair.

    Parameters
    ----------
    name
        The column's name.
    texts
        Its first cells, of rows that are executions.
    symbols
        The symbol of each row; empty texts if no column has it.

    Raises
    ------
    DataError
        If there are several units, and not each that of its row's symbol.
    """
    if are_filled_sizes(ColumnSample(texts)):
        return FILLED
    pairs = [
        (match[2].upper(), re.sub(r"[\W_]", "", symbol).upper())
        for text, symbol in zip(texts, symbols, strict=True)
        if (match := _UNIT_REGEX.match(text)) and symbol
    ]
    if pairs and sum(symbol.startswith(unit) for unit, symbol in pairs) >= _MIN_UNIT_SHARE * len(pairs):
        return ""
    units = {match[2].upper() for text in texts if (match := _UNIT_REGEX.match(text))}
    if len(units) == 1:
        return next(iter(units))
    raise DataError(
        f"The column {name.strip()} has sizes in several units ({', '.join(sorted(units)[:5])}), "
        "which are not those of the row's symbol.",
        "Write a file for each, or name the columns: --columns time,symbol,price,size",
    )


def choose_size(
    names: Sequence[str],
    columns: Sequence[ColumnSample],
    price: int,
    named: Sequence[int],
    unknown: Sequence[int],
    money: Sequence[int],
) -> tuple[int, str] | None:
    """Return the column of sizes and the reason, by the product of price and size; None if it is not known.

    Parameters
    ----------
    price
        The column of prices.
    named
        The columns whose names may be those of sizes, the likeliest first.
    unknown
        The columns whose names say nothing.
    money
        Other columns of numbers.

    Raises
    ------
    DataError
        If two columns may be the size.
    """
    best = named[0] if named else None

    def is_product(size: int, product: int, tolerance: float = _PRODUCT_TOLERANCE) -> bool:
        return share_of_products(columns, price, size, product, tolerance) >= _MIN_PRODUCT_SHARE

    if best is None:
        totals = [*unknown, *money]
        found = [i for i in unknown if any(k != i and is_product(i, k) for k in totals)]
        if len(found) == 1 and len(complete_rows(columns, (price, found[0]))) >= 3:
            return found[0], "its values: times the price is another column"
        return None
    # an unknown word outweighs only names that are used for money as well
    rivals = (*named[1:], *unknown) if normalize_name(names[best]) in _MONEY_NAMES else named[1:]
    factors = [i for i in rivals if is_product(i, best)]
    if len(factors) == 1 and not is_product(best, factors[0]):
        return factors[0], f"its values: times the price is {names[best].strip()}"
    if any(i != best and is_product(best, i) for i in (*named, *unknown, *money)):
        return best, ""
    others = [i for i in named[1:] if columns[i].numbers != columns[best].numbers]
    if not others:
        return best, ""
    if _is_far_from_one(columns, price):
        factors = [i for i in others if is_product(i, best, _FEE_TOLERANCE)]
        if len(factors) == 1:
            return factors[0], f"its values: times the price is about {names[best].strip()}"
        if any(is_product(best, i, _FEE_TOLERANCE) for i in others):
            return best, ""
    plain = [i for i in (best, *others) if normalize_name(names[i]) not in _MONEY_NAMES]
    if plain:
        return plain[0], ""
    raise DataError(
        f"Both {names[best].strip()} and {names[others[0]].strip()} may be the size of a trade: "
        "neither times the price is the other.",
        "Name the columns: --columns time,symbol,price,size (leave the others empty)",
    )


def share_of_products(
    columns: Sequence[ColumnSample],
    price: int,
    size: int,
    product: int,
    tolerance: float = _PRODUCT_TOLERANCE,
) -> float:
    """Return the share of rows on which price times size is a third column, whatever the signs."""
    rows = [row for row in complete_rows(columns, (price, size, product)) if all(row)]
    last_digit = 10.0 ** -max(
        (len(text.partition(columns[product].decimal_separator)[2]) for text in columns[product].strings),
        default=0,
    )
    fits = sum(
        abs(abs(p * s) - abs(m)) <= max(tolerance * abs(m), min(0.51 * last_digit, _MAX_ROUNDING * abs(m)))
        for p, s, m in rows
    )
    return fits / len(rows) if rows else 0.0


def _is_far_from_one(columns: Sequence[ColumnSample], price: int) -> bool:
    values = [value for value in columns[price].numbers if value]
    return bool(values) and all(abs(value - 1) > _MIN_DISTANCE_FROM_ONE for value in values)


def currency_notes(
    names: Sequence[str], columns: Sequence[ColumnSample], roles: dict[str, int]
) -> tuple[str, ...]:
    """Return a note if the prices of one symbol are in several currencies: records of trades have none."""
    length = len(columns[roles["price"]].strings)
    symbols = columns[roles["symbol"]].strings if "symbol" in roles else [""] * length
    by_column = [
        (names[i].strip(), [text.upper() for text in columns[i].strings])
        for i in range(len(names))
        if "currency" in role_ranks(names[i]) and i not in roles.values()
    ]
    units = [
        match[0].upper() if (match := re.search(r"[A-Za-z]{3}$|^[A-Za-z]{3}|[$€£¥]", text.strip())) else ""
        for text in columns[roles["price"]].strings
    ]
    for name, currencies in (*by_column, (names[roles["price"]].strip(), units)):
        seen: dict[str, set[str]] = {}
        for symbol, currency in zip(symbols, currencies, strict=True):
            if currency:
                seen.setdefault(symbol, set()).add(currency)
        mixed = {symbol: each for symbol, each in seen.items() if len(each) > 1}
        if mixed:
            symbol, each = next(iter(mixed.items()))
            note = (
                f"prices{f' of {symbol}' if symbol else ''} are in several currencies "
                f"({', '.join(sorted(each)[:5])}; column {name}), and a trade has no currency."
            )
            return (note,)
    return ()
