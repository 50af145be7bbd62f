"""What is said of a header that lacks columns: which ones, and the options that may help. Pure."""

from collections.abc import Sequence
from typing import Final

from tickerlake.errors import DataError
from tickerlake.model.schema import BAR, QUOTE, RANGE_PRICES, TRADE
from tickerlake.sources.csv.detect.columns.cells import ColumnSample
from tickerlake.sources.csv.detect.columns.layout import PRICES, TIME_ROLES, Layout, role_ranks
from tickerlake.sources.csv.detect.columns.trade_roles import guess_record_type, missing_roles
from tickerlake.sources.csv.detect.lines.close_header import (
    close_columns,
    daily_price_columns,
    has_range,
    partial_range_columns,
)
from tickerlake.sources.csv.detect.lines.undated import undated_error

_NEEDS: Final = {
    BAR: (
        "Bars need a date, and open to close or the close alone; trades time and price; quotes bid and ask.",
        "date,open,high,low,close,volume",
    ),
    TRADE: ("Trades need a date with a time of day, a price and a size.", "date,time,symbol,price,size"),
    QUOTE: ("Quotes need a date with a time of day, a bid and an ask.", "date,time,symbol,bid,ask"),
}
"""What each record type needs, and an example of ``--columns``."""


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
            "Write dates like 2024-01-31, or name the column that has them: "
            "--columns date,open,high,low,close,volume",
        )
    if not any(each.temporal_kind for each in cells) and not TIME_ROLES & set(layout.roles):
        undated_problem = undated_error(name, line, record_type, layout.names, cells)
        if undated_problem is not None:
            return undated_problem
    if not has_range(layout) and (template := daily_price_columns(cells, layout)):
        return DataError(
            f"{name}, line {line}: no columns for open, high and low, and its dates have no time of day, "
            f"as trades have, among {listed}.",
            f"If it has one price for each day, the close: --columns {template}. Trades need a time of day.",
        )
    if record_type == BAR and (template := close_columns(cells, layout)):
        lacking = ", ".join(role for role in RANGE_PRICES if role not in layout.roles)
        problem = f"no column for {lacking}" if has_range(layout) else "no column is known to be a price"
        return DataError(
            f"{name}, line {line}: {problem} among {listed}.",
            "Bars need a date, and open, high, low and close or the close alone; trades a time and a price. "
            f"If a column has closes: --columns {template}",
        )
    if record_type == BAR and (template := partial_range_columns(cells, layout)):
        lacking = ", ".join(role for role in RANGE_PRICES if role not in layout.roles)
        return DataError(
            f"{name}, line {line}: no column for {lacking} among {listed}.",
            f"Bars need open, high, low and close, or the close alone. For the closes: --columns {template} "
            f"(if a column is the {lacking.partition(',')[0]}, name all four)",
        )
    needs, example = _NEEDS[record_type]
    problem = (
        f"{name}, line {line}: no column for {', '.join(missing_roles(layout)) or 'date'} among {listed}."
    )
    is_unpriced = record_type == BAR and not set(PRICES) & set(layout.roles)
    template = close_columns(cells, layout, of_many=True) if is_unpriced else ""
    if template:
        return DataError(problem, f"{needs} If the columns have other names: --columns {template}")
    return DataError(
        problem,
        f"{needs} If the columns have other names, call the file's {len(layout.names)} columns, in their "
        f"order, {', '.join(example.split(','))} with --columns, and leave the others empty.",
    )
