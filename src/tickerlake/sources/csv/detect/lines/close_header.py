"""Headers of tables of closes: their lines, and how the user would name their columns. Pure."""

import re
import shlex
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from tickerlake.errors import DataError
from tickerlake.model.instrument import is_symbol
from tickerlake.model.schema import RANGE_PRICES
from tickerlake.sources.csv.detect.columns.cells import (
    MIN_SHARE,
    ColumnSample,
    is_running_number,
    is_share_count,
)
from tickerlake.sources.csv.detect.columns.close_names import (
    RATE_NAMES,
    are_panel_symbols,
    is_named,
    is_symbol_name,
    is_volume,
)
from tickerlake.sources.csv.detect.columns.close_values import check_prices, is_price
from tickerlake.sources.csv.detect.columns.layout import (
    Layout,
    columns_option,
    normalize_name,
    role_ranks,
    split_words,
)
from tickerlake.sources.csv.detect.columns.vocabulary import can_be_price, name_groups
from tickerlake.sources.csv.detect.columns.wide import may_be_panel_symbols
from tickerlake.sources.csv.detect.lines.split_lines import forward_fill
from tickerlake.sources.csv.detect.times.dates import has_time

_ROLE_LEVELS: Final = frozenset({"", "price", "prices", "attributes", "field"})
"""What the line with the names of prices begins with."""

_LEVEL_ROLES: Final = ("close", "adj_close", "volume")
_MIN_BAR_COLUMNS: Final = 4
_MIN_SERIES: Final = 2
_MIN_ROWS: Final = 3
_SHELL: Final = re.compile(r'["$`\\!%]')
"""What double quotes do not keep from a shell."""

_SIZE_ROLES: Final = frozenset({"volume", "size", "unfilled"})
_ACCOUNT_GROUPS: Final = frozenset("fee account executed_size order_id execution_id balance profit".split())
_OTHER_GROUPS: Final = _ACCOUNT_GROUPS | {"other_numbers"}
_ISIN: Final = re.compile(r"[A-Z]{2}[A-Z0-9]{9}\d")


def has_range(layout: Layout) -> bool:
    """Return whether a column is called open, high or low."""
    return any(role in layout.roles for role in RANGE_PRICES)


def partial_range_columns(columns: Sequence[ColumnSample], layout: Layout) -> str:
    """Return the names for ``--columns`` that leave out a range of which a price is missing, else empty."""
    if not {"time", "close"} <= layout.roles.keys() or not has_range(layout):
        return ""
    names = {layout.roles["time"]: "date", layout.roles["close"]: "close"}
    if "clock" in layout.roles:
        names[layout.roles["clock"]] = "time"
    if "symbol" in layout.roles:
        names[layout.roles["symbol"]] = "symbol"
    volumes = [
        i
        for i, each in enumerate(layout.names)
        if i not in names and is_volume(each, layout.names) and columns[i].is_numeric
    ]
    if len(volumes) == 1:
        names[volumes[0]] = "volume"
    return columns_option(names)


def close_columns(columns: Sequence[ColumnSample], layout: Layout, *, of_many: bool = False) -> str:
    """Return the names for ``--columns`` of a table with too few numbers for complete bars, else empty.

    The likeliest price by name stands for the close, else the first column of numbers that can be one.

    Parameters
    ----------
    columns
        The first cells of each column.
    layout
        The roles by name.
    of_many
        True for a table with enough numbers, none of which is called a price.
    """
    numeric = [i for i, cells in enumerate(columns) if cells.is_numeric and not is_running_number(cells)]
    # a constant is no price
    varying = [i for i in numeric if len(set(columns[i].strings)) > 1]
    numeric = varying or numeric
    dates = [i for i, cells in enumerate(columns) if cells.temporal_kind == "timestamp" and i not in numeric]
    if of_many:
        numeric = [
            i
            for i in numeric
            if not {"time", "symbol"} & set(role_ranks(layout.names[i]))
            and columns[i].share_where(_ISIN.fullmatch) < MIN_SHARE
        ]
        dates = [i for i in dates if _are_in_order(columns[i])]
    if not dates or not numeric or (len(numeric) >= _MIN_BAR_COLUMNS and not of_many):
        return ""
    if has_range(layout) and "close" not in layout.roles and len(numeric) > 1:
        return ""
    prices = [i for i in numeric if not _is_no_price(layout.names[i])]
    close = layout.roles.get("close", min(prices, key=lambda i: _price_order(layout.names[i]), default=None))
    if close is None:
        return ""
    roles = {dates[0]: "date", close: "close"}
    symbol = _distinguishing_column(columns, dates[0])
    if symbol is not None:
        roles[symbol] = "symbol"
    return columns_option(roles)


def series_columns(columns: Sequence[ColumnSample], layout: Layout) -> str:
    """Return the names for ``--columns`` of a table with a series of prices in each column, else empty.

    The names are words, so that only the user knows that they are symbols: ``G Fund``, ``L Income``.
    """
    names = [name.strip() for name in layout.names]
    dates = [i for i, cells in enumerate(columns) if cells.temporal_kind == "timestamp"]
    values = [i for i, cells in enumerate(columns) if i not in dates and (names[i] or any(cells.strings))]
    if len(dates) != 1 or len(values) < _MIN_SERIES or len({names[i] for i in values}) < len(values):
        return ""
    if has_time(columns[dates[0]].non_missing[0]) or not all(_may_be_series(names[i]) for i in values):
        return ""
    # a fund may begin behind the first rows
    series = [i for i in values if columns[i].non_missing]
    if not all(_are_prices(columns[i]) for i in series):
        return ""
    if sum(len(columns[i].non_missing) >= _MIN_ROWS for i in series) < _MIN_SERIES:
        return ""
    try:
        check_prices([names[i] for i in series], [columns[i] for i in series])
    except DataError:
        return ""
    option = columns_option({dates[0]: "date", **{i: f"{names[i]}:close" for i in values}})
    return shlex.quote(option) if _SHELL.search(option) else f'"{option}"'


def _are_prices(cells: ColumnSample) -> bool:
    return (
        cells.is_price_like and is_price(cells) and not is_running_number(cells) and not is_share_count(cells)
    )


def _may_be_series(name: str) -> bool:
    """Return whether a name may be that of a fund or an index, and can be written in ``--columns``."""
    if not is_symbol(name) or set(name) & set(",:") or role_ranks(name):
        return False
    groups = name_groups(name)
    # `Global Equity Fund`, but not `Equity`
    return not groups or (len(split_words(name)) > 1 and not _ACCOUNT_GROUPS & groups)


def _is_no_price(name: str) -> bool:
    """Return whether a name is that of a size, a fee or a number of something, and not of a price."""
    ranks = role_ranks(name)
    if {"close", "price"} & ranks.keys():
        return False
    return bool(_SIZE_ROLES & ranks.keys() or _OTHER_GROUPS & name_groups(name))


def _price_order(name: str) -> tuple[bool, bool, int]:
    """Return a sort key: names of prices, then those that say nothing, then others."""
    ranks = role_ranks(name)
    found = [ranks[role] for role in ("close", "price") if role in ranks]
    return not found, not can_be_price(name), min(found, default=0)


def _are_in_order(cells: ColumnSample) -> bool:
    """Return whether dates are those of rows: of a list of companies, those of their listing are unsorted."""
    texts = cells.non_missing
    if not all(text[:4].isdigit() for text in texts) or len(set(texts)) < len(texts):
        return True
    return texts in (sorted(texts), sorted(texts, reverse=True))


def daily_price_columns(columns: Sequence[ColumnSample], layout: Layout) -> str:
    """Return the names for ``--columns`` of a table with dates and a price for each, else empty."""
    if "time" not in layout.roles or "clock" in layout.roles:
        return ""
    prices = [
        (ranks["price"], i)
        for i, name in enumerate(layout.names)
        if "price" in (ranks := role_ranks(name)) and i < len(columns) and columns[i].is_price_like
    ]
    if not prices:
        return ""
    words = {layout.roles["time"]: "date", min(prices)[1]: "close"}
    if "symbol" in layout.roles:
        words[layout.roles["symbol"]] = "symbol"
    return columns_option(words)


def timed_rate_columns(columns: Sequence[ColumnSample], layout: Layout) -> str:
    """Return the names for ``--columns`` of a table with times of day and a rate of exchange, else empty."""
    time = layout.roles.get("time")
    rates = [i for i, name in enumerate(layout.names) if normalize_name(name) in RATE_NAMES]
    if time is None or len(rates) != 1 or has_range(layout) or not columns[time].non_missing:
        return ""
    if "clock" not in layout.roles and not has_time(columns[time].non_missing[0]):
        return ""
    words = {time: "date", rates[0]: "close"}
    if "clock" in layout.roles:
        words[layout.roles["clock"]] = "time"
    if "symbol" in layout.roles:
        words[layout.roles["symbol"]] = "symbol"
    return columns_option(words)


def _distinguishing_column(columns: Sequence[ColumnSample], date: int) -> int | None:
    """Return the first column of texts that tells rows of one date apart; None if no date is repeated."""
    dates = columns[date].strings
    if len(set(dates)) == len(dates):
        return None
    for i, cells in enumerate(columns):
        is_text = cells.is_symbol_like and not cells.is_numeric and not cells.temporal_kind
        if is_text and len(set(zip(dates, cells.strings, strict=True))) == len(dates):
            return i
    return None


def find_close_header(
    rows: Sequence[Sequence[str]], above: Sequence[int], field_count: int
) -> tuple[list[int], list[str], list[str]] | None:
    """Return a header of two or three lines above closes: ``Price,Close,Close`` and ``Ticker,AAPL,MSFT``.

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
        The numbers of its lines, the symbol of each column and its name.
    """
    lines = [i for i in above if len(rows[i]) == field_count]
    for first, second in pairwise(lines):
        if second != first + 1:
            continue
        for roles, symbols in ((rows[first], rows[second]), (rows[second], rows[first])):
            named, filled = forward_fill(roles), forward_fill(symbols)
            if normalize_name(roles[0]) not in _ROLE_LEVELS and "time" not in role_ranks(roles[0]):
                continue
            if symbols[0] and "symbol" not in role_ranks(symbols[0].removesuffix("s")):
                continue
            is_priced = all(any(is_named(name, role) for role in _LEVEL_ROLES) for name in named[1:])
            index = [i for i in lines if i == second + 1 and rows[i][0] and sum(map(bool, rows[i])) == 1]
            is_sure = bool(symbols[0] or index) and all(map(is_symbol_name, filled[1:]))
            is_sure = is_sure or bool(symbols[0] and may_be_panel_symbols(filled[1:]))
            if not is_priced or not (is_sure or are_panel_symbols(set(filled[1:]))):
                continue
            names = [rows[index[0]][0] if index else "Date", *named[1:]]
            return [first, second, *index], ["", *filled[1:]], names
    return None
