"""The average price and the number of trades of a bar, told from columns that only resemble them. Pure."""

import re
from collections.abc import Callable, Sequence
from typing import Final

import polars as pl

from tickerlake.model.duration import SECOND_NS
from tickerlake.sources.csv.detect.columns.assignment import RoleAssignment
from tickerlake.sources.csv.detect.columns.cells import ColumnSample
from tickerlake.sources.csv.detect.columns.layout import PRICES, role_ranks, split_words
from tickerlake.sources.csv.detect.times.dates import candidate_time_formats

_NAME_OF_MEAN: Final = re.compile(r"(?:[ohlc]{2,4}|typical|median|mid|middle)\d?")
"""A word for a mean of a bar's prices: ``HLC3``, ``OHLC Avg``, ``Typical Price``."""

_WEIGHTED_WORDS: Final = frozenset("vwap vw wap weighted weight volume".split())
_MEANS: Final[tuple[Callable[[float, float, float, float], float], ...]] = (
    lambda o, h, lo, c: (o + h + lo + c) / 4,
    lambda o, h, lo, c: (h + lo + c) / 3,
    lambda o, h, lo, c: (h + lo) / 2,
    lambda o, h, lo, c: (o + c) / 2,
    lambda o, h, lo, c: (h + lo + 2 * c) / 4,
)
_MIN_RANGE: Final = 20
"""In units of the last digit: in a narrower range, an average by volume may equal a mean by chance."""

_MIN_ROWS: Final = 5
_MIN_ROWS_OF_VAGUE_NAMES: Final = 2
_MIN_SHARE: Final = 0.99


def settle_average(assignment: RoleAssignment) -> None:
    """Take the VWAP away from a mean of the bar's prices, and give it to the next column with such a name."""
    named = [(role_ranks(name).get("vwap"), i) for i, name in enumerate(assignment.names)]
    current = assignment.roles.pop("vwap", None)
    free = {*assignment.unassigned} | ({current} if current is not None else set())
    for _, i in sorted((rank, i) for rank, i in named if rank is not None and i in free):
        if assignment.columns[i].is_numeric and not is_mean_of_prices(assignment, i):
            if i == current:
                assignment.roles["vwap"] = i
            else:
                assignment.assign_by_name("vwap", i)
            return


def is_mean_of_prices(assignment: RoleAssignment, index: int) -> bool:
    """Return whether a column is a mean of the open, high, low and close of its row, whatever was traded."""
    words = split_words(assignment.names[index])
    is_weighted = bool(_WEIGHTED_WORDS & set(words))
    if not is_weighted and any(map(_NAME_OF_MEAN.fullmatch, words)):
        return True
    if not set(PRICES) <= set(assignment.roles):
        return False
    cells = assignment.columns[index]
    unit = 10.0 ** -_decimals(cells)
    prices = (assignment.columns[assignment.roles[role]].numbers for role in PRICES)
    rows = [
        (o, h, lo, c, value)
        for o, h, lo, c, value in zip(*prices, cells.numbers, strict=True)
        if None not in (o, h, lo, c, value) and h - lo >= _MIN_RANGE * unit
    ]
    if len(rows) < (_MIN_ROWS if is_weighted else _MIN_ROWS_OF_VAGUE_NAMES):
        return False
    return any(
        sum(abs(mean(*row[:4]) - row[4]) <= unit * 1.01 for row in rows) >= _MIN_SHARE * len(rows)
        for mean in _MEANS
    )


def _decimals(cells: ColumnSample) -> int:
    """Return the largest number of decimals of a column."""
    fractions = (text.partition(cells.decimal_separator)[2] for text in cells.non_missing)
    return max((len(re.match(r"\d*", each)[0]) for each in fractions), default=0)  # type: ignore[index]


def drop_constant_count(assignment: RoleAssignment) -> None:
    """Drop a number of trades that is the same on every row, and counts the seconds of a bar or no trade."""
    roles, columns = assignment.roles, assignment.columns
    if "trade_count" not in roles:
        return
    counts = {value for value in columns[roles["trade_count"]].numbers if value is not None}
    if len(counts) != 1 or len(columns[roles["trade_count"]].non_missing) < _MIN_ROWS or counts == {0}:
        return
    has_volume = "volume" not in roles or any(columns[roles["volume"]].numbers)
    if not has_volume or counts & _seconds_between_rows(assignment):
        del roles["trade_count"]


def _seconds_between_rows(assignment: RoleAssignment) -> set[float]:
    """Return the usual time between the rows of a symbol, for each way to read the dates."""
    texts = [
        f"{date} {clock}".strip()
        for date, clock in zip(assignment.strings("time"), assignment.strings("clock"), strict=True)
    ]
    if not any(texts):
        return set()
    frame = pl.DataFrame({"t": texts, "symbol": assignment.strings("symbol")})
    found: set[float] = set()
    for time_format in candidate_time_formats(texts, None, file=""):
        gaps = frame.select(time_format.to_ns(pl.col("t")).diff().over("symbol")).to_series().drop_nulls()
        usual: Sequence[int] = gaps.abs().mode().to_list()
        found.update(gap / SECOND_NS for gap in usual)
    return found
