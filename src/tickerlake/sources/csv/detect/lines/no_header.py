"""What a file without a header is, where its columns are not those of bars, trades or quotes. Pure."""

import re
from collections.abc import Sequence
from typing import Final

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.columns.cells import MIN_SHARE, ColumnSample, is_running_number
from tickerlake.sources.csv.detect.columns.layout import Layout, columns_option
from tickerlake.sources.csv.detect.lines.close_header import close_columns
from tickerlake.sources.csv.detect.lines.metadata import names_columns
from tickerlake.sources.csv.detect.lines.split_lines import HEADER_SEARCH_LINES, ColumnSplit
from tickerlake.sources.csv.detect.times.dates import has_time

_HASH: Final = re.compile(r"0x[0-9a-fA-F]{40,64}")
_SIDES: Final = frozenset(
    "BUY SELL B S BOT SLD LONG SHORT BID ASK COMPRA VENTA KAUF VERKAUF ACHAT VENTE".split()
)
_SECONDS_PER_DAY: Final = 86_400
_MESSAGE_TYPES: Final = frozenset(range(1, 8))
_MESSAGE_FIELDS: Final = 6
_LEVEL_FIELDS: Final = 4
_NOT_SUPPORTED: Final = "Order books are not supported: export trades, or quotes with bid and ask in one row."


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
    if (kind := _find_kind(name, cells))[0]:
        return DataError(f"{name} holds {kind[0]}, and has no header.", kind[1])
    is_dated = "time" in layout.roles or "clock" in layout.roles
    problem = "the values do not show which column is which" if is_dated else "no column of dates"
    what = f"{name} has no header, and {problem}: line {line} is {text[:80].strip()!r}."
    if trades := _trade_columns(layout, cells):
        return DataError(
            what,
            f"If its rows are trades, name the columns: --columns {trades} (call the column of their sizes "
            "size, and that of symbols symbol).",
        )
    names = close_columns(cells, layout) or "date,open,high,low,close,volume"
    if not is_dated and not any(each.temporal_kind for each in cells):
        return DataError(
            what, f"Each row needs its date or time: add it. Then, if necessary: --columns {names}"
        )
    return DataError(what, f"Name the columns: --columns {names}")


def _find_kind(name: str, cells: Sequence[ColumnSample]) -> tuple[str, str]:
    """Return what a file holds that is no market data of this kind, and what to do; empty if not known."""
    if any(each.share_where(_HASH.fullmatch) >= MIN_SHARE for each in cells):
        return (
            "transactions of a blockchain, with addresses and hashes",
            "Export executed trades with their time, symbol, price and size.",
        )
    if _are_book_messages(cells):
        return (
            "messages of an order book (seconds after midnight, kind of message, order, size, price, side)",
            _NOT_SUPPORTED,
        )
    if re.search(r"(?i)order_?book", name) and _are_levels(cells):
        return f"levels of an order book, {len(cells) // _LEVEL_FIELDS} on each side", _NOT_SUPPORTED
    return "", ""


def _are_book_messages(cells: Sequence[ColumnSample]) -> bool:
    if len(cells) < _MESSAGE_FIELDS or not all(each.is_numeric for each in cells[:_MESSAGE_FIELDS]):
        return False
    seconds = [value for value in cells[0].numbers if value is not None]
    kinds, sides = ({*cells[i].numbers} - {None} for i in (1, 5))
    return (
        all(0 <= value < _SECONDS_PER_DAY for value in seconds)
        and seconds == sorted(seconds)
        and kinds <= _MESSAGE_TYPES
        and sides <= {1, -1}
    )


def _are_levels(cells: Sequence[ColumnSample]) -> bool:
    return len(cells) % _LEVEL_FIELDS == 0 and all(each.is_numeric for each in cells)


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
            raise DataError(
                f"{name}, line {i + 1}: no name of a column is known among {words}.",
                "Name the columns: --columns date,open,high,low,close,volume, or those of closes: "
                "--columns date,close",
            )
