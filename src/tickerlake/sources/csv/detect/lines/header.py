"""The header of a file: which lines it has, and how its names match the rows below. Pure."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from tickerlake.errors import DataError
from tickerlake.model.instrument import is_plain_symbol, normalize_symbol
from tickerlake.model.schema import BAR
from tickerlake.sources.csv.detect.columns.cells import ColumnSample, complete_rows
from tickerlake.sources.csv.detect.columns.close_names import may_be_symbols, quoted_amount
from tickerlake.sources.csv.detect.columns.layout import (
    DATE_RESTS,
    PRICES,
    Layout,
    count_named_roles,
    normalize_name,
    role_ranks,
)
from tickerlake.sources.csv.detect.columns.roles import detect_roles
from tickerlake.sources.csv.detect.columns.wide import complete_symbols, split_panel_names
from tickerlake.sources.csv.detect.lines.close_header import find_close_header
from tickerlake.sources.csv.detect.lines.metadata import find_metadata_header
from tickerlake.sources.csv.detect.lines.split_lines import HEADER_SEARCH_LINES, ColumnSplit, forward_fill
from tickerlake.sources.csv.detect.times.dates import is_short_month, is_temporal, is_timestamp
from tickerlake.sources.csv.numbers import bare_number, is_missing

_UNIT_NAMES: Final = frozenset(
    "USD EUR GBP GBX CHF JPY INR CAD AUD HKD CNY SEK NOK DKK PLN KRW VND TWD SGD NZD THB MYR PHP MXN ZAR CZK "
    "HUF ILS CLP PKR STK PCS KPL".split()
)
_MIN_CHECKED_ROWS: Final = 5
"""On fewer rows, one broken row could make a correct header look wrong."""

_PRICE_TOLERANCE: Final = 0.02
"""Open and close may leave the range this far: rounded or adjusted prices often do."""


def find_header(split: ColumnSplit, first_data_row: int) -> tuple[list[int], list[str], list[str]] | None:
    """Return the header's lines, the symbol of each column if a line has them, and the columns' names."""
    above = [
        i for i in range(max(0, first_data_row - HEADER_SEARCH_LINES), first_data_row) if any(split.rows[i])
    ]
    if not above:
        return None
    if closes := find_close_header(split.rows, above, split.field_count):
        return closes
    if described := find_metadata_header(split.rows, above, split.field_count):
        return described
    role_counts = {i: count_named_roles(split.rows[i]) for i in above}
    best = max(above, key=lambda i: (role_counts[i], i))
    if role_counts[best] < 2:
        # a row without a value, such as `2024-01-01,.`, does not count as one
        names = [i for i in above if not is_temporal(split.rows[i][0]) or not _is_missing_row(split.rows[i])]
        # lines of one cell may name groups of rows below
        wide = [i for i in names if sum(map(bool, split.rows[i])) > 1]
        last = (wide or names or above)[-1]
        if rates := _rates_header(split, names):
            return rates
        if split_panel_names(split.rows[last]) is not None:
            return [last], [], list(split.rows[last])
        # a header in unknown words: as wide as the rows, and without values
        row = split.rows[last]
        is_wide = len(row) == split.field_count and (
            sum(map(bool, row)) > 0.5 * split.field_count or all(row[1:])
        )
        # `7203.T` looks like 7,203 trillion
        has_values = any(bare_number(cell) or is_temporal(cell) for cell in row)
        if is_wide and (not has_values or may_be_symbols(row[1:])):
            return [last], [], list(split.rows[last])
        return None
    multi_line = _multi_level_header(split, above, best) or _index_header(split, above, best)
    return multi_line or ([best], [], list(split.rows[best]))


def _rates_header(split: ColumnSplit, above: list[int]) -> tuple[list[int], list[str], list[str]] | None:
    """Read a header of currencies with their amounts (``1USD``, ``100JPY``), and the lines below it."""
    for i in above:
        row = split.rows[i]
        if len(row) == split.field_count and sum(map(bool, map(quoted_amount, row))) > 1:
            return list(range(i, above[-1] + 1)), [], list(row)
    return None


def _is_missing_row(row: Sequence[str]) -> bool:
    """Return whether a row has a date and no value."""
    return len(row) > 1 and all(map(is_missing, row[1:]))


def _multi_level_header(
    split: ColumnSplit, above: list[int], best: int
) -> tuple[list[int], list[str], list[str]] | None:
    """Read a header of two or three lines: names of the prices, symbols, and the name of the time."""
    near = [i for i in (best - 1, best + 1) if i in above and len(split.rows[i]) == len(split.rows[best])]
    for other in near:
        if split.rows[other][0].startswith("#"):
            continue
        names = forward_fill(split.rows[best])
        symbols = [normalize_symbol(cell) for cell in forward_fill(split.rows[other])]
        prices = _panel_columns(names, symbols) or _single_panel_columns(names, symbols)
        if not prices:
            continue
        header_rows = sorted((best, other))
        third = header_rows[-1] + 1
        names = list(names)
        if (
            third in above
            and sum(bool(cell) for cell in split.rows[third]) == 1
            and len(split.rows[third]) == len(names)
        ):
            k = next(k for k, cell in enumerate(split.rows[third]) if cell)
            names[k] = split.rows[third][k]
            header_rows.append(third)
        panel_symbols = [symbols[k] if k in prices else "" for k in range(len(names))]
        for k in range(len(names)):
            if k not in prices and k < min(prices) and not set(role_ranks(names[k])) & {"time"}:
                names[k] = "Date" if k == 0 else names[k]
        return header_rows, panel_symbols, names
    return None


def _panel_columns(names: Sequence[str], symbols: Sequence[str]) -> list[int]:
    """Return the columns of the symbols, if two or more have all prices: then any word is a symbol."""
    complete = complete_symbols(names, symbols)
    if len(complete) < 2:
        return []
    return [k for k, name in enumerate(names) if symbols[k] in complete and _is_panel_role(name)]


def _single_panel_columns(names: Sequence[str], symbols: Sequence[str]) -> list[int]:
    """Return the columns with prices and the one symbol above or below them, which must not be a unit."""
    columns = [
        k
        for k, name in enumerate(names)
        if _is_panel_role(name)
        and not set(role_ranks(symbols[k])) & {"symbol", "price"}
        and (symbols[k].upper().strip(".") not in _UNIT_NAMES or _is_symbol_label(symbols[0]))
    ]
    if all(len(symbols[k]) > 1 and role_ranks(symbols[k]) for k in columns):
        return []
    is_named = all(
        is_plain_symbol(symbols[k]) and not set(role_ranks(symbols[k])) & set(PRICES) for k in columns
    )
    return columns if len(columns) >= len(PRICES) and is_named else []


def _is_panel_role(name: str) -> bool:
    return bool(set(role_ranks(name)) & {*PRICES, "adj_close", "volume"})


def _is_symbol_label(cell: str) -> bool:
    return normalize_name(cell) in {"ticker", "tickers", "symbol", "symbols"}


def _index_header(
    split: ColumnSplit, above: list[int], best: int
) -> tuple[list[int], list[str], list[str]] | None:
    """Read a header whose last line names only the first columns, as pandas writes a grouped table."""
    row, below = split.rows[best], best + 1
    if below not in above or len(split.rows[below]) != len(row):
        return None
    index = [k for k, cell in enumerate(split.rows[below]) if cell]
    if not index or index != list(range(len(index))) or any(row[k] for k in index):
        return None
    names = [split.rows[below][k] if k in index else cell for k, cell in enumerate(row)]
    header_rows = [best, below]
    if best - 1 in above and len(split.rows[best - 1]) == len(row):
        upper = forward_fill(split.rows[best - 1])
        names = [
            name if k in index or set(role_ranks(name)) & set(PRICES) else f"{upper[k]} {name}"
            for k, name in enumerate(names)
        ]
        header_rows = [best - 1, *header_rows]
    return header_rows, [], names


def align_header(
    name: str, names: list[str], cells: list[ColumnSample], symbols: list[str]
) -> tuple[Layout, tuple[str, ...]]:
    """Match a header to rows that may have more or fewer cells than it has names."""
    fields = len(cells)
    while len(names) > fields and not names[-1]:
        names = names[:-1]
    if len(names) == fields - 1 and not any(cells[-1].strings):
        names = [*names, ""]
    symbols = symbols[: len(names)] + [""] * (fields - len(symbols)) if symbols else []
    if len(names) == fields:
        layout = detect_roles(names, cells, symbols, name)
        if (
            layout.record_type != BAR
            or len(cells[0].strings) < _MIN_CHECKED_ROWS
            or has_consistent_prices(layout, cells)
        ):
            return layout, ()
        raise contradiction_error(name, layout)
    if joined := _join_split_dates(name, names, cells):
        return joined
    if len(names) < fields and len(names) >= 2:
        extra = fields - len(names)
        alignments = [
            [*names[:at], *[""] * extra, *names[at:]] for at in (len(names), *range(len(names) - 1, -1, -1))
        ]
        layouts = [detect_roles(each, cells) for each in alignments]
        valid = [
            each
            for each in layouts
            if each.record_type
            and _has_date_column(each, cells)
            and (each.record_type != BAR or has_consistent_prices(each, cells))
        ]
        if valid:
            best = _with_clock_column(valid[0], cells)
            others = [each for each in valid if each.roles != valid[0].roles]
            if others and any(_price_columns(each) != _price_columns(valid[0]) for each in others):
                raise DataError(
                    f"{name}: the header has {len(names)} names, the rows have {fields} fields, "
                    "and it is not clear which name is missing.",
                    "Name the columns: --columns date,open,high,low,close,volume",
                )
            warning = (
                f"{name}: the header has {len(names)} names, the rows have {fields} fields; "
                f"read as {format_roles(best)}."
            )
            return best, (warning,)
    if len(names) > fields:
        layout = detect_roles(names[:fields], cells)
        if layout.record_type and (layout.record_type != BAR or has_consistent_prices(layout, cells)):
            warning = (
                f"{name}: the header has {len(names)} names, the rows have {fields} fields; "
                "the last names are ignored."
            )
            return layout, (warning,)
    layout = detect_roles(names[:fields] + [""] * (fields - len(names)), cells)
    if len(names) < fields and len(names) >= len(PRICES) and not layout.record_type:
        raise DataError(
            f"{name}: the header has {len(names)} names, the rows have {fields} fields, "
            f"such as {', '.join(each.strings[0] for each in cells[:fields])}.",
            "If a date or a number has a comma, put quotes around it. Else name the columns: "
            "--columns date,open,high,low,close,volume",
        )
    return replace(layout, record_type="", names=tuple(names)), ()


def _join_split_dates(
    name: str, names: list[str], cells: list[ColumnSample]
) -> tuple[Layout, tuple[str, ...]] | None:
    """Match a header to rows whose dates have commas without quotes; None if no column is such a date."""
    extra = len(cells) - len(names)
    if not 1 <= extra <= len(DATE_RESTS):
        return None
    for at, column in enumerate(names):
        parts = cells[at : at + extra + 1]
        texts = [", ".join(row) for row in zip(*(part.strings for part in parts), strict=True)]
        # `Jan 29` of `Jan 29, 2024` alone would be a month
        is_whole = parts[0].temporal_kind and not all(map(is_short_month, filter(None, parts[0].strings)))
        if "time" not in role_ranks(column) or is_whole:
            continue
        if not all(map(is_timestamp, texts)):
            continue
        joined = [*cells[:at], ColumnSample(texts, cells[at].decimal_separator), *cells[at + extra + 1 :]]
        layout = detect_roles(names, joined)
        if layout.record_type and (layout.record_type != BAR or has_consistent_prices(layout, joined)):
            layout = layout.with_columns_after(at, extra)
            rests = {role: at + 1 + k for k, role in enumerate(DATE_RESTS[:extra])}
            warning = (
                f"{name}: the header has {len(names)} names, the rows have {len(cells)} fields: "
                f"the commas of its dates are not quoted, and {texts[0]} is read as one date."
            )
            return replace(layout, roles={**layout.roles, **rests}), (warning,)
    return None


def _price_columns(layout: Layout) -> list[int | None]:
    return [layout.roles.get(role) for role in (*PRICES, "price", "bid_price", "time")]


def _with_clock_column(layout: Layout, cells: list[ColumnSample]) -> Layout:
    """Return the layout with the unnamed column after the date as the time of day, if it is one."""
    if "clock" in layout.roles or "time" not in layout.roles:
        return layout
    after = layout.roles["time"] + 1
    if after < len(cells) and not layout.names[after] and cells[after].temporal_kind == "clock":
        reasons = {**layout.reasons, "clock": "its values are times of day"}
        return replace(layout, roles={**layout.roles, "clock": after}, reasons=reasons)
    return layout


def _has_date_column(layout: Layout, cells: list[ColumnSample]) -> bool:
    return "time" in layout.roles and cells[layout.roles["time"]].temporal_kind == "timestamp"


def has_consistent_prices(layout: Layout, cells: list[ColumnSample]) -> bool:
    """Return whether high and low are the extremes of most rows, or there are no rows."""
    roles = {**layout.roles, **next(iter(layout.panels.values()), {})}
    if "high" not in roles:
        return True  # only closes
    rows = complete_rows(cells, [roles[role] for role in PRICES])
    consistent = sum(
        h >= max(o, c) - _PRICE_TOLERANCE * abs(max(o, c))
        and lo <= min(o, c) + _PRICE_TOLERANCE * abs(min(o, c))
        and h >= lo
        for o, h, lo, c in rows
    )
    return not rows or consistent >= 0.5 * len(rows)


def contradiction_error(name: str, layout: Layout, *, is_named: bool = False) -> DataError:
    """Return the error for a header, or for names that the user gives, that the prices contradict."""
    roles = {**layout.roles, **next(iter(layout.panels.values()), {})}
    assignments = ", ".join(f"{role} = {layout.names[roles[role]]}" for role in PRICES)
    return DataError(
        f"{name}: on most rows the high is not the highest or the low not the lowest price ({assignments}).",
        "Write the names in the order of the columns, and leave those without a meaning empty. "
        "Does it have prices of bars at all?"
        if is_named
        else "Does the header belong to these columns? Name them: --columns date,open,high,low,close,volume",
    )


def format_roles(layout: Layout) -> str:
    """Return the roles of the columns from the left, in the words of ``--columns``."""
    role_by_column = {index: role for role, index in layout.roles.items()}
    return ", ".join(
        {"time": "date", "clock": "time"}.get(role_by_column[i], role_by_column[i])
        if i in role_by_column
        else layout.names[i] or "?"
        for i in range(len(layout.names))
    )
