"""What the first lines of a file determine: encoding, delimiter, header, and the roles of the columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

import polars as pl

from tickerlake.errors import DataError
from tickerlake.model.duration import DAY_NS
from tickerlake.model.instrument import symbol_problem
from tickerlake.sources.csv.chunks import (
    CHUNK_BYTES,
    Chunk,
    TextFile,
    check_is_file,
    detect_text_file,
    stat_signature,
)
from tickerlake.sources.csv.detect.columns.apostrophes import APOSTROPHES
from tickerlake.sources.csv.detect.columns.cells import ColumnSample, clock_width
from tickerlake.sources.csv.detect.columns.layout import (
    DATE_PARTS,
    DATE_RESTS,
    Layout,
    columns_option,
    normalize_name,
)
from tickerlake.sources.csv.detect.lean import find_lean_file
from tickerlake.sources.csv.detect.lines.dialect import Dialect, count_names, detect_dialect
from tickerlake.sources.csv.detect.lines.rows import LINE, SKIPPED, ChunkRows, read_rows
from tickerlake.sources.csv.detect.lines.split_lines import HEAD_LINES
from tickerlake.sources.csv.detect.name_date import NO_DATE, NameDate, find_name_date
from tickerlake.sources.csv.detect.options import Options
from tickerlake.sources.csv.detect.times.dates import is_short_month
from tickerlake.sources.csv.symbols import resolve_symbols
from tickerlake.sources.csv.timeform import TimeFormat

_SUBSECOND_UNITS_NS: Final = {"nano": 1, "micro": 1_000, "usec": 1_000, "milli": 1_000_000, "msec": 1_000_000}
_NOON: Final = 12
_HOUR_WIDTH: Final = 2
_LAST_HOUR: Final = 23
_HOUR_NAMES: Final = frozenset("hour stunde heure hora ora godzina saat".split())
"""Names of columns whose one or two digits are hours: 9 is 09:00, and 00:09 elsewhere."""


@dataclass(frozen=True)
class FileHead:
    """How the lines of a file are read.

    Parameters
    ----------
    text_file
        How its bytes become text.
    dialect
        How its lines become cells, and what the columns mean.
    stat_signature
        Shows whether the file has changed since.
    name_date
        The date of every row, if only the name of the file or of its folder has it.
    clock_width
        The number of digits to which times of day written as numbers (93000) are padded; 0 if they are not
        written as numbers.
    first_rows
        The cells of the first rows, as text.
    symbol_map
        Symbols as written to the symbols to use instead.
    has_apostrophes
        True if symbols have an apostrophe before them, which is not part of them.
    later_lines
        Lines behind the first ones that have values in columns that are empty in those.
    later_blocks
        How many times such lines were added.
    later_line
        The line number of the last ones.
    later_warnings
        What is said of them.
    """

    text_file: TextFile
    dialect: Dialect
    stat_signature: tuple[int, ...]
    name_date: NameDate = NO_DATE
    clock_width: int = 0
    first_rows: pl.DataFrame = field(default_factory=pl.DataFrame, compare=False, repr=False)
    symbol_map: Mapping[str, str] = field(default_factory=dict)
    has_apostrophes: bool = False
    later_lines: tuple[str, ...] = field(default=(), compare=False, repr=False)
    later_blocks: int = 0
    later_line: int = 0
    later_warnings: tuple[str, ...] = ()

    def with_later(self, blocks: int, line: int, warnings: tuple[str, ...]) -> "FileHead":
        """Return the head with what is known of later lines."""
        return replace(self, later_blocks=blocks, later_line=line, later_warnings=warnings)

    def without_empty_column(self, column: int) -> "FileHead":
        """Return the head without a column among those that are watched because they are empty at first."""
        remaining = self.dialect.empty_columns - {column}
        return replace(self, dialect=replace(self.dialect, empty_columns=remaining))

    def read_rows(
        self, chunk: Chunk, columns: list[str] | None = None, number_columns: Sequence[str] = ()
    ) -> ChunkRows:
        """Return the rows of a chunk, see :func:`tickerlake.sources.csv.detect.lines.rows.read_rows`."""
        return read_rows(chunk, self.dialect, columns, number_columns)

    def time_expr(self) -> pl.Expr:
        """Return the text of a row's date, with time of day and offset if these have separate columns.

        It may have spaces around it.
        """
        local, layout = self._local_time_expr(), self.dialect.layout
        if "offset" not in layout.roles:
            return local
        offset = pl.col(layout.column_id("offset")).str.strip_chars()
        return pl.concat_str(local.str.strip_chars(), pl.lit(" "), offset)

    def _local_time_expr(self) -> pl.Expr:
        layout = self.dialect.layout
        if "time" in layout.roles:
            date = pl.col(layout.column_id("time"))
            rests = [pl.col(layout.column_id(role)) for role in DATE_RESTS if role in layout.roles]
            if rests:
                date = pl.concat_str((part.str.strip_chars() for part in (date, *rests)), separator=", ")
        elif "year" in layout.roles:
            date = pl.concat_str(
                (pl.col(layout.column_id(part)).str.strip_chars() for part in DATE_PARTS), separator="-"
            )
        else:
            date = pl.repeat(self.name_date.text, pl.len())
        if "clock" not in layout.roles:
            return date
        clock = pl.col(layout.column_id("clock")).str.strip_chars()
        if layout.clock_in_ms:
            return pl.concat_str(date.str.strip_chars(), pl.lit(" "), _format_clock(clock))
        clock = clock.str.zfill(self.clock_width) if self.clock_width else clock
        if self.clock_width == _HOUR_WIDTH:
            clock += "00"
        if self.clock_width > len("093000"):
            clock = pl.concat_str(clock.str.slice(0, 6), pl.lit("."), clock.str.slice(6))
        return pl.concat_str(date.str.strip_chars(), pl.lit(" "), clock)

    def symbol_expr(self) -> pl.Expr:
        """Return the text of a row's symbol, with its suffix if that has a separate column."""
        layout = self.dialect.layout
        symbol = pl.col(layout.column_id("symbol"))
        if self.has_apostrophes:
            symbol = symbol.str.strip_chars().str.replace(APOSTROPHES, "$1")
        if "suffix" not in layout.roles:
            return symbol
        suffix = pl.col(layout.column_id("suffix")).str.strip_chars()
        return pl.when(suffix == "").then(symbol).otherwise(symbol.str.strip_chars() + "." + suffix)

    def timestamp_ns(self, time_format: TimeFormat, text: pl.Expr | None = None) -> pl.Expr:
        """Return the event times of rows in nanoseconds, read in a time format; null where that fails."""
        layout, ns = self.dialect.layout, time_format.to_ns(self.time_expr() if text is None else text)
        if "subsecond" not in layout.roles:
            return ns
        name = normalize_name(layout.names[layout.roles["subsecond"]])
        unit = next((unit for word, unit in _SUBSECOND_UNITS_NS.items() if word in name), 1_000)
        return (
            ns + pl.col(layout.column_id("subsecond")).str.strip_chars().cast(pl.Int64, strict=False) * unit
        )


def _format_clock(milliseconds: pl.Expr) -> pl.Expr:
    """Write milliseconds since midnight as a time of day; null for others."""
    ns = (milliseconds.cast(pl.Decimal(38, 6), strict=False) * 1_000_000).cast(pl.Int64, strict=False)
    return pl.when(ns.is_between(0, DAY_NS - 1)).then(ns).cast(pl.Time).dt.to_string("%H:%M:%S%.9f")


def read_head(
    file: Traversable,
    options: Options,
    *,
    chunk_bytes: int = CHUNK_BYTES,
    later_lines: Sequence[str] = (),
) -> FileHead:
    """Detect compression, encoding, delimiter, header, and the roles of the columns.

    Parameters
    ----------
    file
        The file.
    options
        What the user specifies about it.
    chunk_bytes
        The number of bytes to read at once.
    later_lines
        Lines behind the first ones from which the columns are detected as well.

    Raises
    ------
    DataError
        If the file is not a table of prices.
    """
    check_is_file(file)
    signature = stat_signature(file)
    text_file, data = detect_text_file(file, count_names, chunk_bytes=chunk_bytes)
    lines = [line.decode("utf-8", "replace") for line in data.split(b"\n", HEAD_LINES)[:HEAD_LINES]]
    lines += later_lines
    path = file.absolute().parts if isinstance(file, Path) else (text_file.file_name,)
    lean = None
    if options.columns is None:
        lean = find_lean_file(text_file.name, path, lines, scale=options.price_scale)
    try:
        dialect = detect_dialect(
            text_file.file_name,
            lines,
            delimiter=options.delimiter,
            decimal=options.decimal,
            columns=lean.columns if lean else options.columns,
        )
    except DataError as error:
        if text_file.file_name in error.message:
            raise
        raise DataError(f"{text_file.file_name}: {error.message}", error.hint) from error
    if lean:
        dialect = replace(dialect, layout=replace(dialect.layout, vendor_layout=lean.layout))
    if dialect.layout.panels:
        dialect = _map_panels(dialect, options.symbol_map)
    head = FileHead(
        text_file, dialect, signature, symbol_map=options.symbol_map, later_lines=tuple(later_lines)
    )
    layout = dialect.layout
    date = NO_DATE
    if not {"time", "year"} & set(layout.roles):
        date = _find_name_date(text_file, dialect, path[:-1])
    rows = head.read_rows(Chunk(0, len(data), 1, data, data.count(b"\n"))).frame
    rows = (rows.filter(~pl.col(SKIPPED)) if dialect.row_prefix else rows).head(HEAD_LINES)
    if "symbol" in layout.roles and rows.select(head.symbol_expr().str.contains("^ *'").any()).item():
        head = replace(head, has_apostrophes=True)
    if "symbol" in layout.roles and options.symbol is None:
        _check_symbols(head, rows)
    width = _clock_width(text_file.file_name, layout, rows)
    head = replace(head, name_date=date, clock_width=width, first_rows=rows)
    _check_24_hour_clock(head, rows)
    return head


def _clock_width(name: str, layout: Layout, rows: pl.DataFrame) -> int:
    """Return how many digits times of day have that are written without separators, else 0.

    Raises
    ------
    DataError
        If numbers of one day may be hours or minutes.
    """
    if "clock" not in layout.roles or layout.clock_in_ms:
        return 0
    texts = rows.get_column(layout.column_id("clock")).str.strip_chars()
    width = clock_width([text for text in texts if text])
    numbers = texts.cast(pl.Int64, strict=False).drop_nulls()
    if not width or not (texts.str.len_chars() <= _HOUR_WIDTH).all() or not numbers.max():
        return width
    column = layout.names[layout.roles["clock"]]
    if normalize_name(column) in _HOUR_NAMES:
        return _HOUR_WIDTH
    if numbers.is_between(0, _LAST_HOUR).all():
        is_date_there = "time" in layout.roles
        dates = rows.get_column(layout.column_id("time")).n_unique() if is_date_there else 1
        if dates > 1:
            return _HOUR_WIDTH
        raise DataError(
            f"{name}: the numbers in the column {column}, such as {texts[0]}, may be hours, or minutes after "
            "midnight.",
            f"Write them as times (09:00), or call the column hour: {_with_hour(layout)}",
        )
    return width


def _with_hour(layout: Layout) -> str:
    words = {
        column: {"time": "date", "clock": "hour"}.get(role, role) for role, column in layout.roles.items()
    }
    return f"--columns {columns_option(words)}"


def _find_name_date(text_file: TextFile, dialect: Dialect, folders: Sequence[str]) -> NameDate:
    """Return the date of every row, which only a name (of the file, its folder) or a title has."""
    names = (text_file.name, text_file.file_name)
    date = find_name_date(names, folders, dialect.preamble, dialect.layout.names)
    if date.text:
        return date
    if "clock" in dialect.layout.roles:
        raise DataError(
            f"{text_file.file_name} has times of day, but no date, neither in a column nor in its name.",
            "Add the date to the name: AAPL_2024-01-02.csv",
        )
    raise DataError(
        f"{text_file.file_name} has a row for each symbol, but no date, neither in a column nor in its name, "
        "nor above the header.",
        "Add the date to the name, prices_2024-01-02.csv, or to the rows, in a column Date.",
    )


def _map_panels(dialect: Dialect, symbol_map: Mapping[str, str]) -> Dialect:
    """Return the dialect of a wide table with the symbols to use."""
    panels: dict[str, dict[str, int]] = {}
    for written, roles in dialect.layout.panels.items():
        symbol = symbol_map.get(written, written)
        if symbol in panels:
            raise DataError(
                f"--symbol-map gives two sets of columns the symbol {symbol}; one of them is {written}.",
                "Map only one of them to it.",
            )
        panels[symbol] = roles
    return replace(dialect, layout=replace(dialect.layout, panels=panels))


def _check_symbols(head: FileHead, rows: pl.DataFrame) -> None:
    """Raise an error if most values of the column of symbols are not symbols."""
    layout = head.dialect.layout
    written = rows.select(LINE, text=head.symbol_expr()).drop_nulls()
    symbols = resolve_symbols(written.get_column("text"), head.symbol_map)
    checked = written.with_columns(
        symbol=symbols.names, valid=pl.lit(value=True) if symbols.is_valid is None else symbols.is_valid
    ).filter(pl.col("symbol") != "")
    invalid = checked.filter(~pl.col("valid"))
    column = layout.names[layout.roles["symbol"]] or layout.roles["symbol"] + 1
    where = f"{head.text_file.file_name}: the column {column}"
    hint = (
        "Map the values to symbols: --symbol-map FILE. If another column has the symbol, name it: "
        "--columns date,symbol,open,high,low,close,volume"
    )
    if 2 * invalid.height > checked.height:
        line, _, value, _ = invalid.row(0)
        raise DataError(
            f"{where} has values that cannot be symbols, such as {value!r} in line {line}: "
            f"{symbol_problem(value)}.",
            hint,
        )
    texts = checked.get_column("symbol").to_list()
    is_dated = bool(texts) and ColumnSample(texts).temporal_kind == "timestamp"
    if is_dated and not all(map(is_short_month, texts)):
        raise DataError(f"{where} has dates instead of symbols, such as {texts[0]!r}.", hint)


def _check_24_hour_clock(head: FileHead, rows: pl.DataFrame) -> None:
    """Raise an error for times on a 12-hour clock without AM or PM."""
    texts = rows.select(text=head.time_expr().str.strip_chars()).get_column("text")
    parts = (
        texts.to_frame()
        .select(
            day=pl.col("text").str.extract(r"^(.*?)[T ]+\d{1,2}:\d\d"),
            hour=pl.col("text").str.extract(r"[T ](\d{1,2}):\d\d(?::\d\d)?$").cast(pl.Int32, strict=False),
        )
        .drop_nulls()
    )
    if parts.is_empty() or not parts.select(pl.col("hour").is_between(1, 12).all()).item():
        return
    hour_drops = (pl.col("day") == pl.col("day").shift(1)) & (pl.col("hour") < pl.col("hour").shift(1) - 6)
    if parts.select(hour_drops.any()).item() and parts.get_column("hour").max() == _NOON:
        raise DataError(
            f"{head.text_file.file_name}: its times run from 12 to 1 within a day: "
            "a 12-hour clock without AM or PM.",
            "Export the times with AM and PM, or on a 24-hour clock.",
        )
