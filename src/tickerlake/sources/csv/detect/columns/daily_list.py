"""Lists of one day: a row for each symbol, and no column of dates. Pure."""

from collections.abc import Sequence
from dataclasses import replace

from tickerlake.model.schema import BAR, RANGE_PRICES
from tickerlake.sources.csv.detect.columns.cells import ColumnSample
from tickerlake.sources.csv.detect.columns.close_names import has_other_meaning, is_definite_close
from tickerlake.sources.csv.detect.columns.layout import PRICES, TIME_ROLES, Layout, role_ranks
from tickerlake.sources.csv.detect.columns.partial_range import (
    choose_close,
    find_range,
    find_volume,
    has_market_words,
    may_be_complete,
    with_close_alone,
)


def as_daily_list(layout: Layout, columns: Sequence[ColumnSample]) -> Layout:
    """Return the layout of bars if a table lacks nothing but dates, and has each symbol once; else as it is.

    The name of the file, or a title above the header, must have the date then. Where open, high or low is
    missing, the bars have the close alone.
    """
    if layout.record_type or layout.panels or "symbol" not in layout.roles:
        return layout
    if any(TIME_ROLES & set(role_ranks(name)) for name in layout.names):
        return layout
    symbols = [text for text in columns[layout.roles["symbol"]].strings if text]
    if not symbols or len(set(symbols)) < len(symbols):
        return layout
    if set(PRICES) <= set(layout.roles):
        return replace(layout, record_type=BAR)
    names = layout.names
    prices = find_range(names, columns)
    close = choose_close(names, columns, prices)
    if close is not None and set(RANGE_PRICES) <= set(prices):
        roles = {**layout.roles, **prices, "close": close, **find_volume(names, columns)}
        return replace(layout, record_type=BAR, roles=roles)
    if (
        close is None
        or has_other_meaning(names)
        or not (prices or is_definite_close(names[close]) or has_market_words(names, close))
    ):
        return layout
    if prices and may_be_complete(names, columns, {**prices, "close": close}):
        return layout
    layout = replace(layout, record_type=BAR, roles={**layout.roles, **prices})
    return with_close_alone(layout, columns, close)
