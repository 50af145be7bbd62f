"""Lists of exchange rates: many currencies at one time, which are no trades. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

from tickerlake.errors import DataError
from tickerlake.sources.csv.currencies import CURRENCIES
from tickerlake.sources.csv.detect.columns.cells import ColumnSample
from tickerlake.sources.csv.detect.columns.layout import columns_option

_MIN_CURRENCIES: Final = 3
_MIN_SHARE: Final = 0.8
_MAX_TIMES_SHARE: Final = 0.4
"""Of a list, several rows have the same time."""


def is_rate_list(columns: Sequence[ColumnSample], roles: Mapping[str, int]) -> bool:
    """Return whether rows are the rates of currencies: each once at a time, and several at the same one.

    Parameters
    ----------
    columns
        The first cells of each column.
    roles
        Those of a table of trades by its names.
    """
    if not {"symbol", "time", "price"} <= roles.keys():
        return False
    symbols = [text.lower() for text in columns[roles["symbol"]].strings]
    are_currencies = sum(text in CURRENCIES for text in symbols) >= _MIN_SHARE * len(symbols)
    if not are_currencies or len(set(symbols)) < _MIN_CURRENCIES:
        return False
    clocks = columns[roles["clock"]].strings if "clock" in roles else [""] * len(symbols)
    times = list(zip(columns[roles["time"]].strings, clocks, strict=True))
    is_once = len(set(zip(times, symbols, strict=True))) == len(symbols)
    return is_once and len(set(times)) <= _MAX_TIMES_SHARE * len(symbols)


def check_is_no_rate_list(
    names: Sequence[str], columns: Sequence[ColumnSample], roles: Mapping[str, int]
) -> None:
    """Raise an error for rates with a time of day that are neither trades nor closes.

    Raises
    ------
    DataError
        Naming the columns of closes.
    """
    if not is_rate_list(columns, roles):
        return
    words = {"time": "date", "symbol": "symbol", "price": "close"}
    option = columns_option({column: words[role] for role, column in roles.items() if role in words})
    raise DataError(
        "It holds exchange rates, each currency once for each time: "
        f"{names[roles['price']]} is not the price of a trade.",
        "Rates are read as closes: write the dates without a time of day, and call the columns "
        f"{option} with --columns.",
    )
