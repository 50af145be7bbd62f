"""Lists of one day: a row for each symbol, and no column of dates. Pure."""

from collections.abc import Sequence
from dataclasses import replace

from tickerlake.model.schema import BAR
from tickerlake.sources.csv.detect.columns.cells import ColumnSample
from tickerlake.sources.csv.detect.columns.layout import PRICES, Layout, role_ranks


def as_daily_list(layout: Layout, columns: Sequence[ColumnSample]) -> Layout:
    """Return the layout of bars if a table lacks nothing but dates, and has each symbol once; else as it is.

    The file's name must have the date then.
    """
    if layout.record_type or layout.panels or not {"symbol", *PRICES} <= set(layout.roles):
        return layout
    if any({"time", "clock", "year"} & set(role_ranks(name)) for name in layout.names):
        return layout
    symbols = [text for text in columns[layout.roles["symbol"]].strings if text]
    is_list = bool(symbols) and len(set(symbols)) == len(symbols)
    return replace(layout, record_type=BAR) if is_list else layout
