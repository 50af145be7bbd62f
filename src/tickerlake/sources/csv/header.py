"""The header of a file: its lines, and how its names match the rows below it. Pure."""

from collections.abc import Sequence
from typing import Final

from tickerlake.errors import DataError
from tickerlake.model.instrument import is_symbol
from tickerlake.model.schema import BAR
from tickerlake.sources.csv.cells import Cells, full_rows
from tickerlake.sources.csv.cut import HEADER_WITHIN, Cut
from tickerlake.sources.csv.dates import is_temporal
from tickerlake.sources.csv.layout import PRICES, Layout, is_header, ranks_of
from tickerlake.sources.csv.numbers import bare
from tickerlake.sources.csv.roles import read_columns, split_names

_UNITS: Final = frozenset("USD EUR GBP GBX CHF JPY INR CAD AUD HKD CNY SEK NOK DKK PLN STK PCS KPL".split())
_FEW_ROWS: Final = 5


def find_header(cut: Cut, first: int) -> tuple[list[int], list[str], list[str]] | None:
    """Return the header's lines, the symbol of each column if a line tells it, and the columns' names."""
    above = [i for i in range(max(0, first - HEADER_WITHIN), first) if any(cut.rows[i])]
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


def _levels(cut: Cut, above: list[int], best: int) -> tuple[list[int], list[str], list[str]] | None:
    """Read a header of two or three lines: the prices' names, the symbols, and the time's name."""
    near = [i for i in (best - 1, best + 1) if i in above and len(cut.rows[i]) == len(cut.rows[best])]
    for other in near:
        if cut.rows[other][0].startswith("#"):
            continue
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


def _stacked(cut: Cut, above: list[int], best: int) -> tuple[list[int], list[str], list[str]] | None:
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


def aligned(
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
        if layout.kind != BAR or len(cells[0].texts) < _FEW_ROWS or holds(layout, cells):
            return layout, ()
        raise contradicted(name, layout)
    if len(names) < fields and len(names) >= 2:
        extra = fields - len(names)
        tries = [
            [*names[:at], *[""] * extra, *names[at:]] for at in (len(names), *range(len(names) - 1, -1, -1))
        ]
        layouts = [read_columns(each, cells) for each in tries]
        good = [
            each
            for each in layouts
            if each.kind and _time_holds(each, cells) and (each.kind != BAR or holds(each, cells))
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
                f"read as {readable(best)}."
            )
            return best, (warning,)
    if len(names) > fields:
        layout = read_columns(names[:fields], cells)
        if layout.kind and (layout.kind != BAR or holds(layout, cells)):
            warning = (
                f"{name}: the header has {len(names)} names, the rows have {fields} fields; "
                "the last names are left out."
            )
            return layout, (warning,)
    return Layout(
        "", tuple(names), read_columns(names[:fields] + [""] * (fields - len(names)), cells).roles
    ), ()


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


def holds(layout: Layout, cells: list[Cells]) -> bool:
    """Tell whether the values agree with the names of the prices on most rows."""
    roles = {**layout.roles, **next(iter(layout.panels.values()), {})}
    full = full_rows(cells, [roles[role] for role in PRICES])
    good = sum(h >= max(o, c) * 0.98 and lo <= min(o, c) * 1.02 and h >= lo for o, h, lo, c in full)
    return not full or good >= 0.5 * len(full)


def contradicted(name: str, layout: Layout) -> DataError:
    """Return the error of a header that the prices below it contradict."""
    said = ", ".join(f"{role} = {layout.names[layout.roles[role]]}" for role in PRICES)
    return DataError(
        f"{name}: on most rows the high is not the highest or the low not the lowest price ({said}).",
        "Does the header name the columns it stands over? "
        "Name them: --columns date,open,high,low,close,volume",
    )


def readable(layout: Layout) -> str:
    """Return the roles of columns from the left, in the words of ``--columns``."""
    at = {index: role for role, index in layout.roles.items()}
    return ", ".join(
        {"time": "date", "clock": "time"}.get(at[i], at[i]) if i in at else layout.names[i] or "?"
        for i in range(len(layout.names))
    )
