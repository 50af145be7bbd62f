"""Tables that are not bars, trades or quotes: what they are called, and what to do. Pure.

Their kinds are in other_tables.toml, in the order in which they are looked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.columns.cells import ColumnSample
from tickerlake.sources.csv.detect.columns.layout import Layout
from tickerlake.sources.csv.detect.columns.shapes import SHAPES
from tickerlake.sources.csv.detect.columns.table import Table, trade_columns
from tickerlake.sources.csv.detect.columns.vocabulary import other_tables, remedy


@dataclass(frozen=True)
class _Kind:
    """A kind of table, see other_tables.toml."""

    what: str
    remedy: str
    names: str = ""
    at_least: int = 1
    also: str = ""
    shape: str = ""
    without: str = ""
    stage: str = "header"

    def find_in(self, table: Table) -> str:
        """Return what shows that a table is of this kind, empty if nothing does."""
        if self.without and table.facts & set(self.without.split()):
            return ""
        if self.shape:
            return SHAPES[self.shape](table)
        found = table.named(self.names)
        if len(found) < self.at_least or (self.also and not table.named(self.also)):
            return ""
        return table.columns(found)


@cache
def _kinds(stage: str) -> tuple[_Kind, ...]:
    kinds = (_Kind(**each) for each in other_tables()["tables"])
    return tuple(kind for kind in kinds if stage in kind.stage.split())


def check_market_data(
    name: str, names: Sequence[str], columns: Sequence[ColumnSample], layout: Layout | None = None
) -> None:
    """Raise an error for a table that is not bars, trades or quotes.

    Parameters
    ----------
    name
        The file's name.
    names
        As in the header; all empty if there is none.
    columns
        The first cells of each column; there may be more or fewer than names.
    layout
        Its roles, once they have been looked for.
    """
    cells = columns if len(columns) == len(names) else [ColumnSample([])] * len(names)
    table = Table(name, names, cells, layout)
    stage = "header" if layout is None else "read" if layout.record_type else "unread"
    for kind in _kinds(stage):
        if evidence := kind.find_in(table):
            advice = remedy(kind.remedy).format(trade_columns=trade_columns(names))
            raise DataError(f"{name} holds {kind.what}, by its {evidence}.", advice)
