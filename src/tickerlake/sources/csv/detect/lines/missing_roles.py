"""What is said of columns that make no record: what they lack, and the options that may help. Pure."""

from collections.abc import Sequence
from typing import Final

from tickerlake.errors import DataError
from tickerlake.model.schema import BAR, QUOTE, RANGE_PRICES, TRADE
from tickerlake.sources.csv.detect.columns.cells import ColumnSample, is_running_number
from tickerlake.sources.csv.detect.columns.close_names import is_close
from tickerlake.sources.csv.detect.columns.layout import (
    PRICES,
    TIME_ROLES,
    Layout,
    columns_option,
    role_ranks,
)
from tickerlake.sources.csv.detect.columns.trade_roles import guess_record_type, missing_roles
from tickerlake.sources.csv.detect.lines.close_header import (
    close_columns,
    daily_price_columns,
    has_range,
    partial_range_columns,
    series_columns,
    timed_rate_columns,
)
from tickerlake.sources.csv.detect.lines.metadata import names_columns
from tickerlake.sources.csv.detect.lines.own_columns import TO_BE_NAMED
from tickerlake.sources.csv.detect.lines.split_lines import HEADER_SEARCH_LINES, ColumnSplit
from tickerlake.sources.csv.detect.times.dates import has_time

_NEEDS: Final = {
    BAR: "Bars need a date, and open, high, low and close or the close alone; trades a time and a price; "
    "quotes bid and ask.",
    TRADE: "Trades need a date with a time of day, a price and a size.",
    QUOTE: "Quotes need a date with a time of day, a bid and an ask.",
}
_NAME_THEM: Final = f"Name the columns: --columns {TO_BE_NAMED}"
"""The names are filled in where the remedy is tried."""

_SIDES: Final = frozenset(
    "BUY SELL B S BOT SLD LONG SHORT BID ASK COMPRA VENTA KAUF VERKAUF ACHAT VENTE".split()
)


def missing_roles_error(name: str, line: int, layout: Layout, cells: Sequence[ColumnSample]) -> DataError:
    """Return the error for the header in a line of a file whose columns make no record."""
    listed = ", ".join(each for each in layout.names[:12] if each) + (" …" if len(layout.names) > 12 else "")
    record_type = guess_record_type(layout.names)
    undated = next(
        (
            (column, each.non_missing[0])
            for column, each in zip(layout.names, cells, strict=False)
            if "time" in role_ranks(column) and each.non_missing and not each.temporal_kind
        ),
        None,
    )
    if undated is not None and not TIME_ROLES & set(layout.roles):
        column, text = undated
        return DataError(
            f"{name}, line {line}: the column {column} holds no dates, but values such as {text[:40]!r}.",
            f"Write dates like 2024-01-31. {_NAME_THEM}",
        )
    is_dated = any(each.temporal_kind for each in cells) or TIME_ROLES & layout.roles.keys()
    if record_type == BAR and not is_dated and any(map(_is_price_of_bar, layout.names)):
        return DataError(
            f"{name}, line {line}: no column of dates or times among {listed}.",
            "Add a column with the date of each row. If it is a list of one day, with one row for each "
            "symbol, add the date to its name: prices_2024-01-02.csv",
        )
    if record_type == BAR and (template := series_columns(cells, layout)):
        return DataError(
            f"{name}, line {line}: no column is known to be a price among {listed}; each but the dates may "
            "be the closes of a fund, an index or another instrument.",
            f"If these are their closes: --columns {template}",
        )
    if closes := timed_rate_columns(cells, layout):
        return DataError(
            f"{name}, line {line}: rates at times of day among {listed}, which nothing says are trades.",
            f"If they are the closes of bars, a fixed time apart: --columns {closes}. If somebody traded at "
            f"them: --columns {closes.replace('close', 'price')}",
        )
    if not has_range(layout) and (template := daily_price_columns(cells, layout)):
        return DataError(
            f"{name}, line {line}: no columns for open, high and low, and its dates have no time of day, "
            f"as trades have, among {listed}.",
            f"If it has one price for each day, the close: --columns {template}. Trades need a time of day.",
        )
    is_unpriced = record_type == BAR and not set(PRICES) & set(layout.roles)
    template = ""
    if record_type == BAR:
        template = close_columns(cells, layout) or partial_range_columns(cells, layout)
    if template and not has_range(layout):
        problem = "no column is known to be a price"
    else:
        lacking = missing_roles(layout)
        if record_type == BAR:
            lacking += [
                role for role in RANGE_PRICES if role not in lacking and _is_lacking(role, layout, cells)
            ]
        problem = f"no column for {', '.join(lacking) or 'date'}"
    if is_unpriced and not template:
        template = close_columns(cells, layout, of_many=True)
    closes = f"If a column has closes: --columns {template}" if template else _NAME_THEM
    return DataError(f"{name}, line {line}: {problem} among {listed}.", f"{_NEEDS[record_type]} {closes}")


def _is_lacking(role: str, layout: Layout, cells: Sequence[ColumnSample]) -> bool:
    """Return whether no column has a role, or it is empty in the first rows."""
    return role not in layout.roles or not cells[layout.roles[role]].non_missing


def _is_price_of_bar(name: str) -> bool:
    return is_close(name) or not role_ranks(name).keys().isdisjoint(RANGE_PRICES)


def no_header_error(
    name: str, line: int, text: str, layout: Layout, cells: Sequence[ColumnSample]
) -> DataError:
    """Return the error for a file without a header whose values do not show which column is which.

    Parameters
    ----------
    name
        The file's name.
    line, text
        Its first row.
    layout
        The roles that are known.
    cells
        The first cells of each column.
    """
    is_dated = "time" in layout.roles or "clock" in layout.roles
    first = f"line {line} is {text[:80].strip()!r}."
    if not any(each.is_numeric or each.temporal_kind for each in cells):
        return DataError(f"{name} has neither dates nor numbers, so no prices: {first}", "Export prices.")
    problem = "the values do not show which column is which" if is_dated else "no column of dates"
    what = f"{name} has no header, and {problem}: {first}"
    if trades := _trade_columns(layout, cells):
        return DataError(
            what,
            f"If its rows are trades, name the columns: --columns {trades} (call the column of their sizes "
            "size, and that of symbols symbol).",
        )
    names = close_columns(cells, layout)
    return DataError(what, f"Name the columns: --columns {names}" if names else _NAME_THEM)


def _trade_columns(layout: Layout, cells: Sequence[ColumnSample]) -> str:
    """Return the names for ``--columns`` of rows with times and sides, empty if they are none."""
    sides = [
        i
        for i, each in enumerate(cells)
        if (texts := {text.upper() for text in each.non_missing}) and len(texts) > 1 and texts <= _SIDES
    ]
    time = layout.roles.get("time")
    is_timed = "clock" in layout.roles or (time is not None and has_time(cells[time].non_missing[0]))
    prices = [
        i
        for i, each in enumerate(cells)
        if each.is_numeric and not is_running_number(each) and i not in layout.roles.values()
    ]
    if not sides or time is None or not is_timed or not prices:
        return ""
    words = {time: "time", sides[0]: "side", prices[0]: "price"}
    if "clock" in layout.roles:
        words |= {time: "date", layout.roles["clock"]: "time"}
    return columns_option(words)


def check_no_header(name: str, split: ColumnSplit, first_data_row: int) -> None:
    """Raise an error if a line above the rows names the columns in unknown words."""
    lines = range(max(0, first_data_row - HEADER_SEARCH_LINES), first_data_row)
    for i in reversed(lines):
        if names_columns(split.rows[i], split.field_count):
            words = ", ".join(cell for cell in split.rows[i][:8] if cell)
            problem = "the names do not show which columns make a record"
            if not any(map(role_ranks, split.rows[i])):
                problem = "no name of a column is known"
            raise DataError(f"{name}, line {i + 1}: {problem} among {words}.", _NAME_THEM)
