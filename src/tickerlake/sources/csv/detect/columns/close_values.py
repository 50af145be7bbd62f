"""Whether numbers can be closes, by their signs, sums and changes. Pure."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Final, NamedTuple

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.columns.cells import ColumnSample, complete_rows, is_share_count
from tickerlake.sources.csv.detect.columns.close_names import is_currency_or_coin, quoted_amount

_MAX_NONPOSITIVE_SHARE: Final = 0.05
"""More values of 0 and below than errors and a futures contract below zero: returns, differences, yields."""

_MAX_STEP: Final = 0.15
_MAX_WHOLE_STEP: Final = 0.08
"""From row to row, prices of most symbols change by less than 15%, also over a month; volumes and amounts,
which are whole numbers, by more than 8%."""

_MAX_STEP_OF_ONE: Final = 0.25
"""No symbol among others changes by more than 25%: it is a volume, or something else."""

_MAX_UNCHANGED_SHARE: Final = 0.8
"""More values that equal the one before: holdings, or settings."""

_MAX_COLUMNS_OF_ONE: Final = 6
_MAX_SPREAD: Final = 1.04
"""Prices of one instrument at a time are usually within 4%, those of two seldom."""

_COMMON_PREFIX: Final = 2
_MIN_STEPS: Final = 2
_MIN_STEPS_UNCHANGED: Final = 10
_MAX_WHOLE_PRICE: Final = 10_000_000
"""Larger whole numbers in most columns are volumes or sums of money."""

_SUMS_OF_WEIGHTS: Final = (1.0, 100.0)
_SAMPLE_ROWS: Final = 200
CLOSE_HINT: Final = "If a column is the close of each row: --columns date,close"


class _Movement(NamedTuple):
    """How a column changes from row to row.

    Parameters
    ----------
    step
        The median relative change, without those that are 0.
    unchanged, steps
        The number of changes that are 0, and of all.
    """

    step: float
    unchanged: int
    steps: int


def is_price(cells: ColumnSample, *, of_symbols: bool = False) -> bool:
    """Return whether values are positive and change little from row to row, unless rows are of any symbol."""
    values = _numbers(cells)
    is_positive = sum(value <= 0 for value in values) <= _MAX_NONPOSITIVE_SHARE * len(values)
    return is_positive and (of_symbols or _movement(values).step <= _MAX_STEP)


def check_prices(names: Sequence[str], columns: Sequence[ColumnSample]) -> None:
    """Raise an error if the values of columns are not those of prices.

    Parameters
    ----------
    names, columns
        Of the columns that may have closes.
    """
    series = {name: values for name, cells in zip(names, columns, strict=True) if (values := _numbers(cells))}
    if not series:
        raise DataError("No column has a value in the first rows.", CLOSE_HINT)
    for name, cells in zip(names, columns, strict=True):
        if cells.share_where(_is_percent) >= 0.5:
            raise DataError(f"The column {name} has percentages, not prices.", _hint(names))
    for name, values in series.items():
        nonpositive = [value for value in values if value <= 0]
        if len(nonpositive) > _MAX_NONPOSITIVE_SHARE * len(values):
            raise DataError(
                f"The column {name} has values of 0 and below, such as {nonpositive[0]:g}: "
                "returns, differences or yields, not prices.",
                f"{_hint(names)} --allow-negative-prices",
            )
    if len(names) > 1:
        _check_no_weights(names, columns, series)
    movements = [_movement(values) for values in series.values()]
    _check_movement(series, movements)


def _check_no_weights(
    names: Sequence[str], columns: Sequence[ColumnSample], series: Mapping[str, Sequence[float]]
) -> None:
    rows = [
        [value for value in row if value is not None]
        for row in zip(*(cells.numbers[:_SAMPLE_ROWS] for cells in columns), strict=True)
    ]
    sums = [sum(row) for row in rows if row]
    for total in _SUMS_OF_WEIGHTS:
        if sums and sum(abs(each - total) <= 0.01 * total for each in sums) >= 0.9 * len(sums):
            raise DataError(
                f"The values of each row ({_first(series)}) add up to {total:g}: weights, not prices.",
                _hint(names),
            )
    largest = max(max(values) for values in series.values())
    if largest <= 1 and not all(is_currency_or_coin(name) for name in names):
        raise DataError(
            f"No value of {_first(series)} is above 1: weights or shares rather than prices.",
            _hint(names),
        )


def _check_movement(series: Mapping[str, Sequence[float]], movements: Sequence[_Movement]) -> None:
    steps = sum(each.steps for each in movements)
    if steps < _MIN_STEPS:
        return
    values = [value for each in series.values() for value in each]
    is_whole = all(value == int(value) for value in values)
    unchanged = sum(each.unchanged for each in movements)
    hint = _hint(list(series))
    if steps >= _MIN_STEPS_UNCHANGED and unchanged > _MAX_UNCHANGED_SHARE * steps:
        raise DataError(
            f"Of the values of {_first(series)}, {unchanged / steps:.0%} equal the one before: "
            "holdings rather than prices.",
            hint,
        )
    if is_whole and median(map(median, series.values())) >= _MAX_WHOLE_PRICE:
        raise DataError(
            f"The values of {_first(series)} are whole numbers such as {values[0]:,.0f}: "
            "volumes or sums of money rather than prices.",
            hint,
        )
    for name, each in zip(series, movements, strict=True):
        if each.steps >= _MIN_STEPS_UNCHANGED and each.step > _MAX_STEP_OF_ONE:
            raise DataError(
                f"The values of {name} change by {each.step:.0%} from row to row, which prices seldom do.",
                hint,
            )
    moving = [each.step for each in movements if each.steps > each.unchanged]
    step = median(moving) if moving else 0.0
    if step > (_MAX_WHOLE_STEP if is_whole else _MAX_STEP):
        raise DataError(
            f"The values of {_first(series)} change by {step:.0%} from row to row, which prices seldom do.",
            hint,
        )


def check_several_instruments(names: Sequence[str], columns: Sequence[ColumnSample]) -> None:
    """Raise an error if columns may be prices of one instrument: open to close, or buying and selling."""
    if len(names) > _MAX_COLUMNS_OF_ONE:
        return
    # of open to close in unknown words, the volume is far away
    prices = [each for each in columns if not is_share_count(each)]
    rows = complete_rows(prices, range(len(prices)))[:_SAMPLE_ROWS] if len(prices) > 1 else []
    if not rows or median(max(row) / min(row) if min(row) > 0 else 2.0 for row in rows) > _MAX_SPREAD:
        return
    # GOOG and GOOGL are two symbols of one company
    if len({name[:_COMMON_PREFIX] for name in names}) == 1 or all(map(is_currency_or_coin, names)):
        return
    raise DataError(
        f"The values of {', '.join(names)} are so close that they may be prices of one instrument.",
        f"Name them: {name_closes(names)} if these are symbols, else --columns date,bid,ask or the like",
    )


def growth_note(columns: Sequence[ColumnSample]) -> str:
    """Return a note if all columns begin at 1 or 100, as the growth of an investment does."""
    firsts = {values[0] for cells in columns if (values := _numbers(cells))}
    if len(firsts) != 1 or (first := firsts.pop()) not in {1, 100, 1_000, 10_000}:
        return ""
    return f"every column begins at {first:g}: its values may be growth, not prices."


def amounts_note(names: Sequence[str]) -> str:
    """Return a note if rates are of several units of their currency: 100 yen."""
    several = [name for name in names if quoted_amount(name) > 1]
    if not several:
        return ""
    return (
        f"{', '.join(several[:3])}: the rates are of as many units of the currency as the name says; "
        "they are not divided."
    )


def _numbers(cells: ColumnSample) -> list[float]:
    sample = ColumnSample(cells.strings[:_SAMPLE_ROWS], cells.decimal_separator)
    return [value for value in sample.numbers if value is not None]


def _hint(names: Sequence[str]) -> str:
    return CLOSE_HINT if len(names) == 1 else f"If these are prices: {name_closes(names)}"


def name_closes(names: Sequence[str]) -> str:
    """Return the option that names these columns as the closes of symbols."""
    return f"--columns date,{','.join(f'{name}:close' for name in names[:2])}{',…' if len(names) > 2 else ''}"


def _first(series: Mapping[str, Sequence[float]]) -> str:
    names = list(series)
    return ", ".join(names[:4]) + (" …" if len(names) > 4 else "")


def _is_percent(text: str) -> bool:
    return text.endswith("%")


def _movement(values: Sequence[float]) -> _Movement:
    changes = [abs(b - a) / abs(a) for a, b in pairwise(values) if a]
    moves = [change for change in changes if change]
    return _Movement(median(moves) if moves else 0.0, len(changes) - len(moves), len(changes))
