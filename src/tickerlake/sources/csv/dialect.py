"""Where a file's table begins and how its lines are cut into cells. Pure, on the first lines of a file."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from tickerlake.errors import DataError, UsageError
from tickerlake.model.instrument import is_symbol
from tickerlake.model.schema import BAR
from tickerlake.sources.csv.cells import Cells, full_rows
from tickerlake.sources.csv.dates import is_temporal
from tickerlake.sources.csv.layout import NUMBERS, PRICES, Layout, is_header, ranks_of
from tickerlake.sources.csv.numbers import bare, decimals_possible, is_missing
from tickerlake.sources.csv.roles import missing_roles, read_columns, split_names

BLANKS: Final = " "
"""The delimiter of tables whose columns are set apart by any number of blanks."""

MOST_COLUMNS: Final = 2000
HEAD_LINES: Final = 1000
_SEPARATORS: Final = ",;\t|"
_OTHERS: Final = ("^", "~", BLANKS)
_SCORED_LINES: Final = 120
_HEADER_WITHIN: Final = 60
_UNITS: Final = frozenset("USD EUR GBP GBX CHF JPY INR CAD AUD HKD CNY SEK NOK DKK PLN STK PCS KPL".split())
_FEW_ROWS: Final = 5
_WORDS: Final = {
    "comma": ",",
    "semicolon": ";",
    "tab": "\t",
    "\\t": "\t",
    "pipe": "|",
    "space": BLANKS,
    "blanks": BLANKS,
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


@dataclass(frozen=True)
class _Cut:
    """The first lines cut at one separator."""

    separator: str
    rows: list[list[str]]
    fields: int
    data: list[int]
    score: tuple[float, int, int]


def delimiter_option(text: str) -> str:
    """Return the delimiter that an option names: a character, or ``tab``, ``comma``, ``space`` and so on."""
    found = _WORDS.get(text.lower(), text)
    if len(found) != 1 or found.isalnum() or found in {'"', "\n", "\r"}:
        raise UsageError(
            f"--delimiter {text!r} is no delimiter.",
            "Give one character, or tab, comma, semicolon, pipe, space.",
        )
    return found


def cut_line(line: str, separator: str) -> list[str]:
    """Return the cells of one line, without blanks around them."""
    if separator == BLANKS:
        return [cell.strip('"') for cell in re.findall(r'"[^"]*"|\S+', line)]
    if '"' not in line:
        return [cell.strip() for cell in line.split(separator)]
    try:
        return [
            cell.strip() for cell in next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
        ]
    except csv.Error:
        return [line]


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
    widest = max((line.count(sign) for line in lines[:_HEADER_WITHIN] for sign in _SEPARATORS), default=0)
    if widest >= MOST_COLUMNS:
        raise DataError(
            f"{name} has {widest + 1:,} columns, more than {MOST_COLUMNS:,}.", "Is it a table of prices?"
        )
    cut = _choose_cut(name, lines, delimiter)
    cells = _columns(cut)
    decimals = frozenset(decimal or decimals_possible(_numbers(cells), cut.separator))
    found = _read(name, lines, cut, cells, decimals, columns)
    used = [
        cells[i]
        for roles in (found.layout.roles, *found.layout.panels.values())
        for role, i in roles.items()
        if role in NUMBERS[found.layout.kind]
    ]
    found = replace(found, closed=all(not text for text in cells[-1].texts))
    sure = frozenset(decimal or decimals_possible(_numbers(used), cut.separator))
    # the columns that are no numbers of ours may have commas of their own
    if sure == decimals:
        return found
    return replace(_read(name, lines, cut, cells, sure, columns), closed=found.closed)


def _read(
    name: str,
    lines: Sequence[str],
    cut: _Cut,
    cells: list[Cells],
    decimals: frozenset[str],
    columns: Sequence[str] | None,
) -> Dialect:
    cells = [Cells(each.texts, min(decimals, key=".,".index)) for each in cells]
    first = cut.data[0]
    if columns is not None:
        return _with_names(name, lines, cut, cells, decimals, list(columns))
    header = _header(cut, first)
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
    layout, warnings = _aligned(name, names, cells, symbols)
    if not layout.kind:
        raise _lacking(name, top[0] + 1, layout)
    _refuse_blank_symbols(name, layout, cells)
    headers = tuple(lines[i] for i in top)
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
    lines = text.splitlines()[:_HEADER_WITHIN]
    return max(
        (is_header(cut_line(line, sign)) for line in lines for sign in _SEPARATORS if sign in line), default=0
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


def _choose_cut(name: str, lines: Sequence[str], delimiter: str | None) -> _Cut:
    if delimiter is not None:
        cut = _cut(lines, delimiter)
        if not cut.data:
            raise DataError(
                f"{name} has no rows with the delimiter {delimiter!r}.",
                "Leave --delimiter out, or name another.",
            )
        return cut
    cuts = [_cut(lines, separator) for separator in _SEPARATORS]
    best = max(cuts, key=lambda cut: cut.score)
    if best.score[0] < 0.9:
        best = max([best, *(_cut(lines, separator) for separator in _OTHERS)], key=lambda cut: cut.score)
    if not best.data:
        raise DataError(
            f"{name} has no rows of dates and numbers: it begins with "
            f"{next((x for x in lines if x.strip()), '')[:80].strip()!r}.",
            "A table with at least date, open, high, low and close is needed.",
        )
    return best


def _cut(lines: Sequence[str], separator: str) -> _Cut:
    """Cut lines at a separator, and say how well its cells look like dates, numbers and words."""
    # a header may be a comment to others
    rows = [cut_line(line.lstrip("# "), separator) for line in lines]
    scored = [i for i in range(len(rows)) if any(rows[i])][: _SCORED_LINES + _HEADER_WITHIN]
    data = [i for i in scored if _is_data(rows[i])]
    if not data:
        return _Cut(separator, rows, 0, [], (0.0, 0, 0))
    fields = Counter(len(rows[i]) for i in data).most_common(1)[0][0]
    data = [i for i in range(len(rows)) if len(rows[i]) == fields and _is_data(rows[i])]
    looked = data[:_SCORED_LINES]
    cells = [cell for i in looked for cell in rows[i]]
    clean = sum(_clean(cell) for cell in cells) / len(cells)
    share = len(looked) / max(1, len(scored[:_SCORED_LINES]))
    # blanks stand inside dates and names as well
    worth = clean * min(1.0, share * 1.5) * (0.9 if separator == BLANKS else 1.0)
    return _Cut(separator, rows, fields, data, (round(worth, 2), len(looked), fields))


def _is_data(row: Sequence[str]) -> bool:
    """Tell whether a line holds at least two numbers or dates, one of which is long enough to be a time."""
    values = 0
    for cell in row:
        if (cell and cell[0] in "0123456789-+.($€£¥₹(−" and (bare(cell) or is_temporal(cell))) or (
            cell and is_temporal(cell)
        ):
            values += 1
    return values >= 2


def _clean(cell: str) -> bool:
    """Tell whether a cell is one thing: a number, a date, a word or nothing."""
    return (
        is_missing(cell)
        or bool(bare(cell))
        or is_temporal(cell)
        or re.fullmatch(r"[^\W\d][\w.&^=\- /()']*|[A-Za-z0-9.^_&=-]{1,32}|\[.*\]|[\d,]+", cell) is not None
    )


def _columns(cut: _Cut) -> list[Cells]:
    return [Cells([cut.rows[i][k] for i in cut.data]) for k in range(cut.fields)]


def _numbers(columns: Sequence[Cells]) -> list[str]:
    return [
        text
        for cells in columns
        if cells.share(bare) >= 0.5 and not cells.share(is_temporal) > 0.5
        for text in cells.texts
    ]


def _header(cut: _Cut, first: int) -> tuple[list[int], list[str], list[str]] | None:
    """Return the header's lines, the symbol of each column if a line tells it, and the columns' names."""
    above = [i for i in range(max(0, first - _HEADER_WITHIN), first) if any(cut.rows[i])]
    if not above:
        return None
    named = {i: is_header(cut.rows[i]) for i in above}
    best = max(above, key=lambda i: (named[i], i))
    if named[best] < 2:
        last = above[-1]
        if split_names(cut.rows[last]) is not None:
            return [last], [], list(cut.rows[last])
        # a header in words that are not known: as wide as the rows, and no value in it
        wide = (
            len(cut.rows[last]) == cut.fields
            and sum(bool(cell) for cell in cut.rows[last]) > 0.5 * cut.fields
        )
        if wide and not any(bare(cell) or is_temporal(cell) for cell in cut.rows[last]):
            return [last], [], list(cut.rows[last])
        return None
    levels = _levels(cut, above, best)
    if levels is not None:
        return levels
    stacked = _stacked(cut, above, best)
    if stacked is not None:
        return stacked
    return [best], [], list(cut.rows[best])


def _levels(cut: _Cut, above: list[int], best: int) -> tuple[list[int], list[str], list[str]] | None:
    """Read a header of two or three lines: the prices' names, the symbols, and the time's name."""
    near = [i for i in (best - 1, best + 1) if i in above and len(cut.rows[i]) == len(cut.rows[best])]
    for other in near:
        names, symbols = _filled(cut.rows[best]), _filled(cut.rows[other])
        prices = [
            k
            for k, name in enumerate(names)
            if set(ranks_of(name)) & {*PRICES, "adj_close", "volume"}
            and not set(ranks_of(symbols[k])) & {"symbol", "price"}
            and symbols[k].upper().strip(".") not in _UNITS
        ]
        if all(len(symbols[k]) > 1 and ranks_of(symbols[k]) for k in prices):
            continue
        if len(prices) < 4 or not all(
            is_symbol(symbols[k]) and not set(ranks_of(symbols[k])) & set(PRICES) for k in prices
        ):
            continue
        top = sorted((best, other))
        third = top[-1] + 1
        names = list(names)
        if (
            third in above
            and sum(bool(cell) for cell in cut.rows[third]) == 1
            and len(cut.rows[third]) == len(names)
        ):
            k = next(k for k, cell in enumerate(cut.rows[third]) if cell)
            names[k] = cut.rows[third][k]
            top.append(third)
        keep = [symbols[k] if k in prices else "" for k in range(len(names))]
        for k in range(len(names)):
            if k not in prices and k < min(prices) and not set(ranks_of(names[k])) & {"time"}:
                names[k] = "Date" if k == 0 else names[k]
        return top, keep, names
    return None


def _stacked(cut: _Cut, above: list[int], best: int) -> tuple[list[int], list[str], list[str]] | None:
    """Read a header whose last line names the first columns only, as pandas writes a grouped table."""
    row, below = cut.rows[best], best + 1
    if below not in above or len(cut.rows[below]) != len(row):
        return None
    index = [k for k, cell in enumerate(cut.rows[below]) if cell]
    if not index or index != list(range(len(index))) or any(row[k] for k in index):
        return None
    names = [cut.rows[below][k] if k in index else cell for k, cell in enumerate(row)]
    top = [best, below]
    if best - 1 in above and len(cut.rows[best - 1]) == len(row):
        upper = _filled(cut.rows[best - 1])
        names = [
            name if k in index or set(ranks_of(name)) & set(PRICES) else f"{upper[k]} {name}"
            for k, name in enumerate(names)
        ]
        top = [best - 1, *top]
    return top, [], names


def _filled(cells: Sequence[str]) -> list[str]:
    """Fill blanks with the cell before them: merged cells leave them."""
    filled, last = [], ""
    for k, cell in enumerate(cells):
        last = cell or (last if k > 1 else "")
        filled.append(last)
    return filled


def _aligned(
    name: str, names: list[str], cells: list[Cells], symbols: list[str]
) -> tuple[Layout, tuple[str, ...]]:
    """Match a header to rows that may have more cells, or fewer, than it has names."""
    fields = len(cells)
    while len(names) > fields and not names[-1]:
        names = names[:-1]
    if len(names) == fields - 1 and not any(cells[-1].texts):
        names = [*names, ""]
    symbols = symbols[: len(names)] + [""] * (fields - len(symbols)) if symbols else []
    if len(names) == fields:
        layout = read_columns(names, cells, symbols)
        if layout.kind != BAR or len(cells[0].texts) < _FEW_ROWS or _holds(layout, cells):
            return layout, ()
        return _contradicted(name, layout)
    if len(names) < fields and len(names) >= 2:
        extra = fields - len(names)
        tries = [
            [*names[:at], *[""] * extra, *names[at:]] for at in (len(names), *range(len(names) - 1, -1, -1))
        ]
        layouts = [read_columns(each, cells) for each in tries]
        good = [
            each
            for each in layouts
            if each.kind and _time_holds(each, cells) and (each.kind != BAR or _holds(each, cells))
        ]
        if good:
            best = _with_clock(good[0], cells)
            others = [each for each in good if each.roles != good[0].roles]
            if others and any(_prices_of(each) != _prices_of(good[0]) for each in others):
                raise DataError(
                    f"{name}: the header has {len(names)} names, the rows have {fields} fields, "
                    "and it is not clear which name is missing.",
                    "Name the columns: --columns date,open,high,low,close,volume",
                )
            warning = (
                f"{name}: the header has {len(names)} names, the rows have {fields} fields; "
                f"read as {_readable(best)}."
            )
            return best, (warning,)
    if len(names) > fields:
        layout = read_columns(names[:fields], cells)
        if layout.kind and (layout.kind != BAR or _holds(layout, cells)):
            warning = (
                f"{name}: the header has {len(names)} names, the rows have {fields} fields; "
                "the last names are left out."
            )
            return layout, (warning,)
    return Layout(
        "", tuple(names), read_columns(names[:fields] + [""] * (fields - len(names)), cells).roles
    ), ()


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


def _prices_of(layout: Layout) -> list[int | None]:
    return [layout.roles.get(role) for role in (*PRICES, "price", "bid_price", "time")]


def _with_clock(layout: Layout, cells: list[Cells]) -> Layout:
    """Take the unnamed column beside a date as its time of day, if it is one."""
    if "clock" in layout.roles or "time" not in layout.roles:
        return layout
    at = layout.roles["time"] + 1
    if at < len(cells) and not layout.names[at] and cells[at].temporal == "clock":
        reasons = {**layout.reasons, "clock": "its values are times of day"}
        return Layout(
            layout.kind,
            layout.names,
            {**layout.roles, "clock": at},
            layout.repeats,
            reasons=reasons,
            known=layout.known,
        )
    return layout


def _time_holds(layout: Layout, cells: list[Cells]) -> bool:
    return "time" in layout.roles and cells[layout.roles["time"]].temporal == "moment"


def _holds(layout: Layout, cells: list[Cells]) -> bool:
    """Tell whether the values agree with the names of the prices on most rows."""
    roles = {**layout.roles, **next(iter(layout.panels.values()), {})}
    full = full_rows(cells, [roles[role] for role in PRICES])
    good = sum(h >= max(o, c) * 0.98 and lo <= min(o, c) * 1.02 and h >= lo for o, h, lo, c in full)
    return not full or good >= 0.5 * len(full)


def _contradicted(name: str, layout: Layout) -> tuple[Layout, tuple[str, ...]]:
    said = ", ".join(f"{role} = {layout.names[layout.roles[role]]}" for role in PRICES)
    raise DataError(
        f"{name}: on most rows the high is not the highest or the low not the lowest price ({said}).",
        "Does the header name the columns it stands over? "
        "Name them: --columns date,open,high,low,close,volume",
    )


def _with_names(
    name: str, lines: Sequence[str], cut: _Cut, cells: list[Cells], decimals: frozenset[str], names: list[str]
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
        lacks = ", ".join("date" if role == "time" else role for role in missing_roles(layout))
        raise UsageError(
            f"--columns: {name} would lack {lacks}.",
            "Name them as date, time, open, high, low, close, volume, symbol, price, size, bid, ask.",
        )
    if layout.kind == BAR and not _holds(layout, cells):
        _contradicted(name, layout)
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
        f"{name} has no header; by their values its columns are {_readable(layout)}. "
        "Name them with --columns if that is wrong."
    )


def _readable(layout: Layout) -> str:
    at = {index: role for role, index in layout.roles.items()}
    return ", ".join(
        {"time": "date", "clock": "time"}.get(at[i], at[i]) if i in at else layout.names[i] or "?"
        for i in range(len(layout.names))
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
    lacks = ", ".join("date" if role == "time" else role for role in missing_roles(layout)) or "date"
    names = ", ".join(each for each in layout.names[:12] if each) + (" …" if len(layout.names) > 12 else "")
    return DataError(
        f"{name}, line {line}: no column for {lacks} among {names}.",
        "Bars need date, open, high, low and close; trades a time and a price; quotes a bid and an ask. "
        "If the columns have other names: --columns date,open,high,low,close,volume",
    )
