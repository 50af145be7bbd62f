"""Apostrophes before codes, by which spreadsheets keep texts of digits: ``'600000``. Pure."""

import re
from collections.abc import Sequence
from typing import Final

from tickerlake.sources.csv.detect.columns.cells import ColumnSample
from tickerlake.sources.csv.detect.columns.layout import role_ranks

APOSTROPHES: Final = r"^'([^']+)'?$"
"""A text behind an apostrophe, or between two."""


def without_apostrophes(names: Sequence[str], cells: Sequence[ColumnSample]) -> list[ColumnSample]:
    """Return the first cells of each column, those that may be symbols without an apostrophe before them."""
    return [
        ColumnSample([re.sub(APOSTROPHES, r"\1", text) for text in each.strings], each.decimal_separator)
        if i < len(names)
        and "symbol" in role_ranks(names[i])
        and any(text[:1] == "'" for text in each.strings)
        else each
        for i, each in enumerate(cells)
    ]
