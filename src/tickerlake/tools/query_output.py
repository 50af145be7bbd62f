"""Write the result of a query: as CSV, JSON or Parquet, or as a table or records to read.

DuckDB itself turns values into text, whatever their type: not every one of its types and values has an
equivalent in Arrow and Polars.
"""

import io
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, Final

import polars as pl

from tickerlake.lake.duckdb_sql import sql_literal
from tickerlake.lake.sandbox import query_errors
from tickerlake.model.json import format_decimals, to_ndjson

FORMATS: Final = ("table", "csv", "json", "parquet")
FORMAT_OF: Final = {".csv": "csv", ".json": "json", ".ndjson": "json", ".parquet": "parquet"}
"""Formats by the extension of the output file."""

MAX_TABLE_ROWS: Final = 100
"""Rows of a table on the terminal: more scroll away, and laying a table out takes memory per row."""

_BATCH_ROWS: Final = 100_000
_FORMULA_PATTERN: Final = r"^[=+\-@\t\r]"
_NUMBERS: Final = frozenset(
    {"tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger", "ubigint"}
    | {"float", "double", "decimal"}
)
_WIDE_NUMBERS: Final = frozenset({"hugeint", "uhugeint", "bignum"})
_TIMESTAMPS: Final = frozenset({"timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns"})
_ZONED_TIMESTAMP: Final = "timestamp with time zone"
_PLAIN: Final = _NUMBERS | _TIMESTAMPS | {_ZONED_TIMESTAMP, "boolean", "varchar", "date"}
"""Types whose values Polars writes as JSON, which takes half the time of DuckDB."""

_NO_FORMULAS: Final = _WIDE_NUMBERS | _TIMESTAMPS | {_ZONED_TIMESTAMP, "date", "time", "interval", "uuid"}
"""Types whose text is never a formula, although it may begin with a minus."""


def write_csv(result: Any, file: BinaryIO) -> int:
    """Write a result as CSV with a header; return its number of rows."""
    names, types = _unique(result.columns), [each.id for each in result.types]
    texts = [
        name
        for name, kind in zip(names, types, strict=True)
        if kind not in _NUMBERS | _NO_FORMULAS | {"boolean"}
    ]
    decimals = [name for name, kind in zip(names, types, strict=True) if kind == "decimal"]

    def encode(frame: pl.DataFrame, *, first: bool) -> bytes:
        # a spreadsheet would execute a string that begins like a formula
        guarded = [
            pl.when(pl.col(name).str.contains(_FORMULA_PATTERN))
            .then("'" + pl.col(name))
            .otherwise(name)
            .alias(name)
            for name in texts
        ]
        exact = [format_decimals(frame.get_column(name)).alias(name) for name in decimals]
        buffer = io.BytesIO()
        frame.with_columns(*guarded, *exact).write_csv(buffer, include_header=first)
        return buffer.getvalue()

    return _write(_project(result, names, _csv_sql), encode, file)


def write_json(result: Any, file: BinaryIO) -> int:
    """Write a result as one JSON document per line, numbers as doubles; return its number of rows."""
    names, types = _unique(result.columns), result.types
    if all((each.id in _PLAIN and str(each) != "JSON") or str(each) == "VARCHAR[]" for each in types):
        return _write(_project(result, names, _plain_json_sql), _encode_plain_json, file)
    members = ", ".join(
        f"{sql_literal(name)}, {_json_sql(f'#{number}', each)}"
        for number, (name, each) in enumerate(zip(names, types, strict=True), 1)
    )
    return _write(result.project(f'json_object({members})::varchar as "line"'), _encode_json_lines, file)


def _encode_plain_json(frame: pl.DataFrame, *, first: bool) -> bytes:
    del first
    decimals = [column for column in frame.get_columns() if isinstance(column.dtype, pl.Decimal)]
    doubles = (format_decimals(column).cast(pl.Float64).alias(column.name) for column in decimals)
    buffer = io.BytesIO()
    frame.with_columns(doubles).write_ndjson(buffer)
    return buffer.getvalue()


def _encode_json_lines(frame: pl.DataFrame, *, first: bool) -> bytes:
    del first
    data = to_ndjson(frame.get_column("line"))
    return _valid_json(data) if b"NaN" in data or b"Infinity" in data else data


def write_parquet(result: Any, path: Path) -> int:
    """Write a result as Parquet; return its number of rows."""
    renamed = _project(result, _unique(result.columns), lambda reference, _: reference)
    options = "format parquet, compression zstd, use_tmp_file false"
    with query_errors():
        sql = f"copy (from tickerlake_result) to {sql_literal(str(path.absolute()))} ({options})"
        return int(renamed.query("tickerlake_result", sql).fetchall()[0][0])


def print_result(result: Any) -> tuple[int, bool]:
    """Print a result as a table, or if it is wider than the terminal as records, one member a line.

    Returns
    -------
    tuple[int, bool]
        The number of rows printed, and whether there are more.
    """
    from rich.console import Console

    names = _unique(result.columns)
    with query_errors():
        rows = _project(result, names, _table_sql).limit(MAX_TABLE_ROWS + 1).fetchall()
    cells = [[_format_cell(value) for value in row] for row in rows[:MAX_TABLE_ROWS]]
    console = Console()
    is_number = [each.id in _NUMBERS | _WIDE_NUMBERS for each in result.types]
    if _table_width(names, cells) <= console.width:
        _print_table(console, names, cells, is_number)
    else:
        _print_records(console, names, cells)
    return len(cells), len(rows) > MAX_TABLE_ROWS


def _write(result: Any, encode: Callable[..., bytes], file: BinaryIO) -> int:
    rows = 0
    with query_errors():
        reader = result.to_arrow_reader(_BATCH_ROWS)
    for number, frame in enumerate(_frames(reader)):
        with query_errors():
            data = encode(frame, first=number == 0)
        file.write(data)
        rows += frame.height
    return rows


def _frames(reader: Any) -> Iterator[pl.DataFrame]:
    empty = True
    while True:
        with query_errors():
            batch = next(reader, None)
            frame = None if batch is None else pl.DataFrame(batch)
        if frame is None:
            break
        empty = False
        yield frame
    if empty:
        yield pl.DataFrame(reader.schema.empty_table())


def _project(result: Any, names: list[str], convert: Callable[[str, Any], str]) -> Any:
    """Convert each column, which is referenced by number: names need not be unique."""
    columns = (
        f"{convert(f'#{number}', each)} as {_quote(name)}"
        for number, (name, each) in enumerate(zip(names, result.types, strict=True), 1)
    )
    return result.project(", ".join(columns))


def _csv_sql(reference: str, kind: Any) -> str:
    # Polars writes booleans and texts as they are
    return reference if kind.id in {"boolean", "varchar"} else _text_sql(reference, kind, "T", "Z")


def _table_sql(reference: str, kind: Any) -> str:
    return _text_sql(reference, kind, " ", "Z" if kind.id == _ZONED_TIMESTAMP else "")


def _text_sql(reference: str, kind: Any, separator: str, zone: str) -> str:
    """Return a number as it is, another value as text."""
    if kind.id in _NUMBERS:
        return reference
    if kind.id in _TIMESTAMPS | {_ZONED_TIMESTAMP}:
        return _timestamp_sql(reference, kind, separator, "(000)+", zone)
    if str(kind) == "VARCHAR[]":
        return f"array_to_string({reference}, ' ')"
    return f"{reference}::varchar"


def _plain_json_sql(reference: str, kind: Any) -> str:
    return _json_sql(reference, kind) if kind.id in _TIMESTAMPS | {_ZONED_TIMESTAMP, "date"} else reference


def _json_sql(reference: str, kind: Any) -> str:
    if kind.id == "decimal":
        return f"{reference}::varchar::double"  # casting a decimal directly is off by one ulp for some values
    if kind.id in {"float", "double"}:
        # the text of a float is shorter than the double nearest to it
        return f"case when isfinite({reference}) then {reference}::varchar::double end"
    if kind.id in _TIMESTAMPS:
        return _timestamp_sql(reference, kind, " ", "0+", "")
    if kind.id == _ZONED_TIMESTAMP:
        return _timestamp_sql(reference, kind, "T", "0+", "+00:00")
    return f"{reference}::varchar" if kind.id == "date" else reference


def _timestamp_sql(reference: str, kind: Any, separator: str, zeros: str, zone: str) -> str:
    """Return the text of a timestamp in UTC, without the zeros at its end that match a pattern."""
    if kind.id in {"timestamp_s", "timestamp_ms"}:
        reference = f"{reference}::timestamp"  # DuckDB would cast them to nanoseconds, which hold fewer years
    layout = f"%Y-%m-%d{separator}%H:%M:%S"
    fraction = f"regexp_replace(strftime({reference}, '{layout}.%n'), '\\.?{zeros}$', '')"
    return (
        f"case when not isfinite({reference}) then {reference}::varchar "
        f"when epoch_us({reference}) % 1000000 = 0 then strftime({reference}, '{layout}{zone}') "
        f"else {fraction} || '{zone}' end"
    )


def _valid_json(lines: bytes) -> bytes:
    """Replace numbers inside nested values that are not finite; those of columns are null already."""
    documents = (json.loads(line, parse_constant=lambda _: None) for line in lines.splitlines())
    return b"".join(
        json.dumps(each, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" for each in documents
    )


def _unique(names: list[str]) -> list[str]:
    unique_names: list[str] = []
    for name in names:
        unique, number = name, 0
        while unique in unique_names:
            number += 1
            unique = f"{name}_{number}"
        unique_names.append(unique)
    return unique_names


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _print_table(console: Any, names: list[str], cells: list[list[str]], is_number: list[bool]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name, right in zip(names, is_number, strict=True):
        table.add_column(Text(_printable(name)), justify="right" if right else "left", no_wrap=True)
    for row in cells:
        table.add_row(*map(Text, row))
    console.print(table)


def _print_records(console: Any, names: list[str], cells: list[list[str]]) -> None:
    from rich.text import Text

    labels = [_printable(name) for name in names]
    width = max(map(_cell_width, labels))
    for number, row in enumerate(cells, 1):
        console.print(Text(f"[ {number} ]", style="dim"))
        for label, cell in zip(labels, row, strict=True):
            indented = f"\n{' ' * (width + 2)}".join(cell.split("\n"))
            padding = " " * (width - _cell_width(label) + 2)
            # a long line is left to the terminal, so that it can be copied in one piece
            console.print(Text(f"{label}{padding}{indented}".rstrip()), soft_wrap=True)


def _table_width(names: list[str], cells: list[list[str]]) -> int:
    columns = zip(map(_printable, names), *cells, strict=True)
    return (
        sum(max(_cell_width(line) for cell in column for line in cell.split("\n")) + 2 for column in columns)
        - 2
    )


def _cell_width(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)


def _format_cell(value: object) -> str:
    match value:
        case None:
            return ""
        case Decimal():
            text = f"{value:f}"
            return text.rstrip("0").rstrip(".") if "." in text else text
        case float():
            return f"{value:.10g}"
        case _:
            return "\n".join(map(_printable, str(value).rstrip("\n").split("\n")))


def _printable(text: str) -> str:
    """Return a line without characters that would control the terminal."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
