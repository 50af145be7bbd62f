"""Lines of metadata above the rows: titles, units and frequencies of series, as of central banks. Pure."""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.columns.layout import normalize_name, role_ranks
from tickerlake.sources.csv.detect.times.dates import is_temporal
from tickerlake.sources.csv.numbers import bare_number, is_missing

_IDENTIFIERS: Final = (
    "seriesid seriesids seriescode seriescodes seriesname seriesidentifier serieskey key timeseriesid "
    "timeseries mnemonic mnemonics ticker tickers symbol symbols identifier code codes id zeitreihe"
).split()
"""What the line with the names of the columns begins with, the likelier ones first."""

_LABELS: Final = frozenset(
    """
    title titles titel name names description descriptions beschreibung bezeichnung label frequency frequenz
    freq periodicity type units unit einheit unitmultiplier multiplier scale currency measure source sources
    quelle publicationdate published lastupdated lastupdate update updated stand adjustment
    seasonaladjustment notes note comment comments country region category dataset datasource startdate
    enddate start end observations decimals collection base baseperiod
    """.split()
)
_MIN_LINES: Final = 2
_MIN_YEARS: Final = 3
_WORD: Final = re.compile(r"[^\W\d]{2}")


def find_metadata_header(
    rows: Sequence[Sequence[str]], above: Sequence[int], field_count: int
) -> tuple[list[int], list[str], list[str]] | None:
    """Return the header of a table below lines that describe each series: that with the series' names.

    Parameters
    ----------
    rows
        The cells of the first lines.
    above
        The numbers of those above the rows.
    field_count
        The number of cells of a row.

    Returns
    -------
    tuple or None
        The numbers of its lines, no symbols, and the names; None if there is no metadata.

    Raises
    ------
    DataError
        If no line has the series' names.
    """
    lines = {i: normalize_name(rows[i][0]) for i in above if len(rows[i]) == field_count and field_count > 1}
    described = [i for i, label in lines.items() if label in _LABELS and any(rows[i][1:])]
    if len(described) < _MIN_LINES or not lines:
        return None
    last = max(lines)
    if "time" in role_ranks(rows[last][0]) and lines[last] not in _LABELS:
        return [last], [], list(rows[last])
    block = [i for i in above if i >= described[0]]
    for label in _IDENTIFIERS:
        for i in reversed(lines):
            if lines[i] == label and _are_names(rows[i][1:]):
                return block, [], ["Date", *rows[i][1:]]
    unlabeled = [i for i, label in lines.items() if not label and _are_names(rows[i][1:])]
    titled = [i for i, label in lines.items() if label in {"title", "titel", "name", "names"}]
    for i in [*unlabeled[:1], *titled]:
        if _are_names(rows[i][1:]):
            return block, [], ["Date", *rows[i][1:]]
    labels = ", ".join(rows[i][0] for i in described[:4])
    raise DataError(
        f"The lines above the rows describe the columns ({labels}), but none has their names.",
        "Name the columns: --columns date,AAPL:close,MSFT:close or --columns date,close",
    )


def _are_names(cells: Sequence[str]) -> bool:
    """Return whether cells are different texts, and no values."""
    names = [cell for cell in cells if cell]
    return (
        bool(names)
        and len(set(names)) == len(names)
        and not any(is_temporal(name) or bare_number(name) == name or is_missing(name) for name in names)
    )


def check_no_year_columns(name: str, row: Sequence[str]) -> None:
    """Raise an error for a table with a column for each year, as those of indicators by country.

    Parameters
    ----------
    name
        The file's name.
    row
        The first line with numbers, which is the header of such a table.

    Raises
    ------
    DataError
        Saying what the table is.
    """
    years = [int(cell) for cell in row if re.fullmatch(r"(?:19|20)\d\d", cell)]
    steps = {b - a for a, b in pairwise(years)}
    words = [cell for cell in row if _WORD.search(cell)]
    if len(years) < _MIN_YEARS or steps not in ({1}, {-1}) or not words:
        return
    raise DataError(
        f"{name} has a column for each year, and a row for each {words[0]}: not a table of prices by date.",
        "Export it with a row for each date, and a column for each series.",
    )


def names_columns(row: Sequence[str], field_count: int) -> bool:
    """Return whether a line has as many cells as the rows, most of them words: a header in unknown words."""
    if len(row) != field_count or field_count < _MIN_LINES or is_temporal(row[0]):
        return False
    words = [cell for cell in row if _WORD.search(cell) and not is_temporal(cell) and not is_missing(cell)]
    return 2 * len(words) > field_count
