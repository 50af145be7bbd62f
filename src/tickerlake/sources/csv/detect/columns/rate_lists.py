"""Lists of exchange rates: many currencies at one time, which are no trades. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

from tickerlake.sources.csv.currencies import CURRENCIES
from tickerlake.sources.csv.detect.columns.cells import ColumnSample

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
