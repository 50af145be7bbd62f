"""What is said of tables in which no column has dates or times. Pure."""

from collections.abc import Sequence
from typing import Final

from tickerlake.errors import DataError
from tickerlake.model.schema import BAR
from tickerlake.sources.csv.detect.columns.cells import ColumnSample
from tickerlake.sources.csv.detect.columns.close_names import is_close
from tickerlake.sources.csv.detect.columns.foreign import EXECUTIONS_HINT
from tickerlake.sources.csv.detect.columns.layout import role_ranks, split_words

_HELD_WORDS: Final = frozenset(
    split_words(
        """
        qty quantity units shares position holding holdings anzahl stück stueck menge bestand aantal antal
        cantidad quantité quantità quantidade ilość adet количество 数量 保有数量 수량
        """
    )
)
_MAX_LISTED: Final = 12
_VOLUME_WORDS: Final = frozenset("volume vol traded trade trades total ttl tot turnover outstanding".split())


def undated_error(
    name: str, line: int, record_type: str, names: Sequence[str], cells: Sequence[ColumnSample]
) -> DataError | None:
    """Return the error for a table without dates: holdings, a list of symbols, or rows that lost their dates.

    Parameters
    ----------
    name
        The file's name.
    line
        The number of its header's line.
    record_type
        What its names rather are than not.
    names, cells
        Of each column.
    """
    listed = ", ".join([each for each in names if each][:_MAX_LISTED])
    held = [
        i
        for i, each in enumerate(names)
        if cells[i].is_numeric and _HELD_WORDS & set(split_words(each)) and not _is_volume(each)
    ]
    ranges = [each for each in names if {"open", "high", "low"} & set(role_ranks(each))]
    if held and not ranges and any("symbol" in role_ranks(each) for each in names):
        return DataError(
            f"{name} lists holdings (columns {listed}), or trades without their times: no column has dates.",
            EXECUTIONS_HINT,
        )
    if record_type != BAR or not (ranges or any(map(is_close, names))):
        return None
    return DataError(
        f"{name}, line {line}: no column of dates or times among {listed}.",
        "Add a column with the date of each row. If it is a list of one day, with one row for each symbol, "
        "add the date to its name: prices_2024-01-02.csv",
    )


def _is_volume(name: str) -> bool:
    return bool(_VOLUME_WORDS & set(split_words(name)))
