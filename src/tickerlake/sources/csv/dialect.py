"""Where a file's table begins and how its lines are cut into cells. Pure, on the first lines of a file."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from tickerlake.errors import DataError, UsageError
from tickerlake.model.schema import BAR
from tickerlake.sources.csv.cells import Cells, counts_shares
from tickerlake.sources.csv.cut import (
    BLANKS,
    HEADER_WITHIN,
    SEPARATORS,
    Cut,
    choose_cut,
    columns_of,
    cut_line,
    numbers_of,
)
from tickerlake.sources.csv.header import aligned, contradicted, find_header, holds, readable
from tickerlake.sources.csv.layout import Layout, is_header, normal_name
from tickerlake.sources.csv.numbers import decimals_possible
from tickerlake.sources.csv.roles import missing_roles, read_columns

MOST_COLUMNS: Final = 2000
_WORDS: Final = {
    "comma": ",",
    "semicolon": ";",
    "tab": "\t",
    "\\t": "\t",
    "pipe": "|",
    "space": BLANKS,
    "blanks": BLANKS,
}


_OTHER_TABLES: Final = {
    frozenset({"issnapshot", "side"}): "changes of an order book",
    frozenset({"calls", "puts", "strike"}): "a chain of options",
}


@dataclass(frozen=True)
class Dialect:
    """How the lines of a file are read.

    Parameters
    ----------
    separator
        What stands between cells; :data:`BLANKS` for any number of blanks.
    header_lines
        The lines of the header, from 1; none if there is no header.
    first_line
        The first line below the header, or of the table.
    fields
        How many cells a row has.
    decimals
        The signs that may stand before decimals, as far as the first lines tell.
    layout
        What the columns mean.
    headers
        The header's lines as they are written: where they occur again they are no rows.
    preamble
        Lines above the header.
    warnings
        What was assumed.
    closed
        True if every line ends with a separator: then the last cell is always empty.
    """

    separator: str
    header_lines: tuple[int, ...]
    first_line: int
    fields: int
    decimals: frozenset[str]
    layout: Layout
    headers: tuple[str, ...] = ()
    preamble: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    closed: bool = False


def delimiter_option(text: str) -> str:
    """Return the delimiter that an option names: a character, or ``tab``, ``comma``, ``space`` and so on."""
    found = _WORDS.get(text.lower(), text)
    if len(found) != 1 or found.isalnum() or found in {'"', "\n", "\r"}:
        raise UsageError(
            f"--delimiter {text!r} is no delimiter.",
            "Give one character, or tab, comma, semicolon, pipe, space.",
        )
    return found


def read_dialect(
    name: str,
    lines: Sequence[str],
    *,
    delimiter: str | None = None,
    decimal: str | None = None,
    columns: Sequence[str] | None = None,
) -> Dialect:
    """Find delimiter, header and the roles of the columns.

    Parameters
    ----------
    name
        The file's, for errors.
    lines
        The first lines of the file, without line ends.
    delimiter, decimal
        What the user says.
    columns
        The columns' names, where the user gives them.

    Raises
    ------
    DataError
        If the file is no table of prices, or leaves a question open.
    """
    _refuse_documents(name, lines)
    widest = max((line.count(sign) for line in lines[:HEADER_WITHIN] for sign in SEPARATORS), default=0)
    if widest >= MOST_COLUMNS:
        raise DataError(
            f"{name} has {widest + 1:,} columns, more than {MOST_COLUMNS:,}.", "Is it a table of prices?"
        )
    cut = choose_cut(name, lines, delimiter)
    cells = columns_of(cut)
    decimals = frozenset(decimal or decimals_possible(numbers_of(cells), cut.separator))
    found = _read(name, lines, cut, cells, decimals, columns)
    used = [cells[i] for i in found.layout.numbers]
    found = replace(found, closed=all(not text for text in cells[-1].texts))
    sure = frozenset(decimal or decimals_possible(numbers_of(used), cut.separator))
    # the columns that are no numbers of ours may have commas of their own
    if sure == decimals:
        return found
    return replace(_read(name, lines, cut, cells, sure, columns), closed=found.closed)


def _read(
    name: str,
    lines: Sequence[str],
    cut: Cut,
    cells: list[Cells],
    decimals: frozenset[str],
    columns: Sequence[str] | None,
) -> Dialect:
    cells = [Cells(each.texts, min(decimals, key=".,".index)) for each in cells]
    first = cut.data[0]
    if columns is not None:
        return _with_names(name, lines, cut, cells, decimals, list(columns))
    header = find_header(cut, first)
    if header is None:
        layout = read_columns([""] * cut.fields, cells)
        if not layout.kind:
            raise _no_header(name, lines, first, layout)
        return Dialect(
            cut.separator,
            (),
            first + 1,
            cut.fields,
            decimals,
            layout,
            (),
            tuple(lines[:first]),
            (_said(name, layout),),
        )
    top, symbols, names = header
    _refuse_others(name, names)
    layout, warnings = aligned(name, names, cells, symbols)
    if not layout.kind:
        raise _lacking(name, top[0] + 1, layout)
    _refuse_blank_symbols(name, layout, cells)
    headers = tuple(lines[i] for i in top)
    warnings += _maybe_volume(name, layout, cells)
    return Dialect(
        cut.separator,
        tuple(i + 1 for i in top),
        top[-1] + 2,
        cut.fields,
        decimals,
        layout,
        headers,
        tuple(lines[: top[0]]),
        warnings,
    )


def known_names(text: str) -> int:
    """Return how many roles the first lines name, at most: how much sense an encoding makes."""
    lines = text.splitlines()[:HEADER_WITHIN]
    return max(
        (is_header(cut_line(line, sign)) for line in lines for sign in SEPARATORS if sign in line), default=0
    )


def _refuse_documents(name: str, lines: Sequence[str]) -> None:
    text = "\n".join(lines[:20]).lstrip("\ufeff \n\t")
    what = {"{": "JSON", "[": "JSON", "<": "a page or XML"}.get(text[:1], "")
    # <TICKER>,<PER>,… is a header
    if what and not (text.startswith("<") and re.match(r"<[A-Za-z_ ]+>\s*[,;\t|]", text)):
        if re.match(r"\[[^\]\"'{]*\]?\s*[,;\t|]", text):
            return
        said = " ".join(text.split())[:160]
        raise DataError(
            f"{name} is {what}, not CSV: {said}", "A vendor's message instead of data? Fetch it again."
        )
    nuls = sum(line.count("\0") for line in lines[:50])
    if nuls > 0.1 * sum(map(len, lines[:50])) + 10:
        raise DataError(f"{name} is not text: it is full of NUL bytes.", "Export it as CSV.")


def _refuse_blank_symbols(name: str, layout: Layout, cells: list[Cells]) -> None:
    if "symbol" not in layout.roles:
        return
    texts = cells[layout.roles["symbol"]].texts
    if sum(not text for text in texts) > 0.5 * len(texts):
        raise DataError(
            f"{name}: the column {layout.names[layout.roles['symbol']]} is blank on most rows: "
            "are its cells merged?",
            "Write the symbol on every row, or name the columns without it: "
            "--columns ,date,open,high,low,close",
        )


def _maybe_volume(name: str, layout: Layout, cells: Sequence[Cells]) -> tuple[str, ...]:
    """Warn of bars without a volume, if a column looks like one."""
    if layout.kind != BAR or layout.panels or "volume" in layout.roles:
        return ()
    used = {*layout.roles.values(), *layout.repeats}
    like = [layout.names[i] for i, each in enumerate(cells) if i not in used and counts_shares(each)]
    if not like:
        return ()
    warning = (
        f"{name}: no column is known to be the volume; {', '.join(like)} may be. Kept as extra: "
        "name the columns with --columns if one is."
    )
    return (warning,)


def _refuse_others(name: str, names: Sequence[str]) -> None:
    """Refuse tables with prices that are none of bars, trades or quotes."""
    plain = {normal_name(each) for each in names}
    what = next((what for columns, what in _OTHER_TABLES.items() if columns <= plain), "")
    if what:
        raise DataError(
            f"{name} holds {what}, by its header.", "Bars, trades and quotes of one price a row are read."
        )


def _with_names(
    name: str, lines: Sequence[str], cut: Cut, cells: list[Cells], decimals: frozenset[str], names: list[str]
) -> Dialect:
    """Read a file with the names that the user gives its columns."""
    if len(names) > cut.fields:
        raise UsageError(
            f"--columns has {len(names)} names, the rows of {name} have {cut.fields} fields.",
            "Name each column; leave unknown ones blank.",
        )
    names = names + [""] * (cut.fields - len(names))
    layout = read_columns(names, cells)
    if not layout.kind:
        lacks = ", ".join(missing_roles(layout))
        raise UsageError(
            f"--columns: {name} would lack {lacks}.",
            "Name them as date, time, open, high, low, close, volume, symbol, price, size, bid, ask.",
        )
    if layout.kind == BAR and not holds(layout, cells):
        raise contradicted(name, layout)
    above = [i for i in range(cut.data[0]) if any(cut.rows[i])]
    header = above[-1:] if above and is_header(cut.rows[above[-1]]) >= 2 else []
    headers = tuple(lines[i] for i in header)
    start = header[-1] + 1 if header else cut.data[0]
    return Dialect(
        cut.separator,
        tuple(i + 1 for i in header),
        start + 1,
        cut.fields,
        decimals,
        layout,
        headers,
        tuple(lines[: start - len(header)]),
    )


def _said(name: str, layout: Layout) -> str:
    return (
        f"{name} has no header; by their values its columns are {readable(layout)}. "
        "Name them with --columns if that is wrong."
    )


def _no_header(name: str, lines: Sequence[str], first: int, layout: Layout) -> DataError:
    what = (
        "no column of dates"
        if "time" not in layout.roles and "clock" not in layout.roles
        else "the values don't tell which column is what"
    )
    return DataError(
        f"{name} has no header, and {what}: line {first + 1} is {lines[first][:80].strip()!r}.",
        "Name the columns: --columns date,open,high,low,close,volume",
    )


def _lacking(name: str, line: int, layout: Layout) -> DataError:
    lacks = ", ".join(missing_roles(layout)) or "date"
    names = ", ".join(each for each in layout.names[:12] if each) + (" …" if len(layout.names) > 12 else "")
    return DataError(
        f"{name}, line {line}: no column for {lacks} among {names}.",
        "Bars need date, open, high, low and close; trades a time and a price; quotes a bid and an ask. "
        "If the columns have other names: --columns date,open,high,low,close,volume",
    )
