"""The data set included in tickerlake."""

from importlib import resources
from typing import Final

from tickerlake.sources.csv.read import CsvSource, open_file

STOCKS: Final = "builtin:stocks"
"""The logical name of the built-in data set."""


def stocks(*, ts_recv_ns: int | None = None) -> CsvSource:
    """Open the built-in data set: 12,154 daily bars of five US stocks, 2000 to 2013, by date and symbol.

    Parameters
    ----------
    ts_recv_ns
        When the records were received; default: now.
    """
    file = resources.files("tickerlake") / "data" / "stocks.csv.gz"
    return open_file(file, STOCKS, ts_recv_ns=ts_recv_ns)
