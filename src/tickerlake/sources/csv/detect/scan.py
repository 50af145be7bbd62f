"""What the whole file says: the order of its rows, and the evidence for each way to read its dates."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources.abc import Traversable
from typing import Final

import polars as pl

from tickerlake.errors import DataError
from tickerlake.model.schema import BAR
from tickerlake.parallel import parallel_map, prefetch
from tickerlake.sources.csv.chunks import (
    CHUNK_BYTES,
    Chunk,
    Extent,
    Meter,
    TextFile,
    check_is_file,
    detect_text_file,
    is_utf8,
    stat_signature,
)
from tickerlake.sources.csv.detect.cells import clock_width
from tickerlake.sources.csv.detect.dates import candidate_time_formats
from tickerlake.sources.csv.detect.dialect import Dialect, count_known_names, detect_dialect
from tickerlake.sources.csv.detect.file_name import parse_file_name
from tickerlake.sources.csv.detect.layout import DATE_PARTS, normalize_name
from tickerlake.sources.csv.detect.order import TimeOrder
from tickerlake.sources.csv.detect.rows import BLANK, FIELD_COUNT, ChunkRows, read_rows
from tickerlake.sources.csv.detect.split_lines import HEAD_LINES
from tickerlake.sources.csv.numbers import possible_decimal_separators
from tickerlake.sources.csv.options import Options
from tickerlake.sources.csv.timeform import TimeFormat

_SUBSECOND_UNITS_NS: Final = {"nano": 1, "micro": 1_000, "usec": 1_000, "milli": 1_000_000, "msec": 1_000_000}
_NOON: Final = 12
_MAX_VALUES_CHECKED: Final = 2_000_000


@dataclass(frozen=True)
class FileHead:
    """What the first lines tell.

    Parameters
    ----------
    date
        The date of every row, if only the file's name tells it.
    pad
        To how many digits times of day are filled up, which are written as numbers (93000); 0 if they are
        not.
    """

    text_file: TextFile
    dialect: Dialect
    stat_signature: tuple[int, ...]
    date_from_name: str = ""
    clock_width: int = 0

    def read_rows(
        self, chunk: Chunk, columns: list[str] | None = None, number_columns: Sequence[str] = ()
    ) -> ChunkRows:
        """Return the rows of a chunk, of all columns or of those wanted, see :func:`read_rows`."""
        return read_rows(chunk, self.dialect, columns, number_columns)

    def time_expr(self) -> pl.Expr:
        """Return the text of a row's date, with its time of day if that has a column of its own.

        Blanks may stand around it.
        """
        layout = self.dialect.layout
        if "time" in layout.roles:
            date = pl.col(layout.column_id("time"))
        elif "year" in layout.roles:
            date = pl.concat_str(
                (pl.col(layout.column_id(part)).str.strip_chars() for part in DATE_PARTS), separator="-"
            )
        else:
            date = pl.lit(self.date_from_name)
        if "clock" not in layout.roles:
            return date
        clock = pl.col(layout.column_id("clock")).str.strip_chars()
        clock = clock.str.zfill(self.clock_width) if self.clock_width else clock
        if self.clock_width > len("093000"):
            clock = pl.concat_str(clock.str.slice(0, 6), pl.lit("."), clock.str.slice(6))
        return pl.concat_str(date.str.strip_chars(), pl.lit(" "), clock)

    def symbol_expr(self) -> pl.Expr:
        """Return the text of a row's symbol, with its suffix if that has a column of its own."""
        layout = self.dialect.layout
        symbol = pl.col(layout.column_id("symbol"))
        if "suffix" not in layout.roles:
            return symbol
        suffix = pl.col(layout.column_id("suffix")).str.strip_chars()
        return pl.when(suffix == "").then(symbol).otherwise(symbol.str.strip_chars() + "." + suffix)

    def timestamp_ns(self, time_format: TimeFormat, text: pl.Expr | None = None) -> pl.Expr:
        """Return when rows happened, in nanoseconds, where their dates are written in a form."""
        layout, ns = self.dialect.layout, time_format.to_ns(self.time_expr() if text is None else text)
        if "subsecond" not in layout.roles:
            return ns
        name = normalize_name(layout.names[layout.roles["subsecond"]])
        unit = next((unit for word, unit in _SUBSECOND_UNITS_NS.items() if word in name), 1_000)
        return (
            ns + pl.col(layout.column_id("subsecond")).str.strip_chars().cast(pl.Int64, strict=False) * unit
        )


@dataclass
class DateEvidence:
    """What the whole file says for one way of reading its dates."""

    time_format: TimeFormat
    order: TimeOrder
    exclusive_rows: int = 0
    has_fractions: bool = False
    unparsed_rows: int = 0
    date_duplicates: set[int] = field(default_factory=set)


@dataclass
class FileScan:
    """What one pass over the file found."""

    head: FileHead
    evidence: list[DateEvidence]
    index: list[Extent]
    size: int
    digest: str
    decimal_separator: str


def read_head(file: Traversable, options: Options, *, chunk_bytes: int = CHUNK_BYTES) -> FileHead:
    """Find compression, encoding, delimiter, header, and the roles of the columns.

    Raises
    ------
    DataError
        If the file is no table of prices.
    """
    check_is_file(file)
    signature = stat_signature(file)
    text, data = detect_text_file(file, count_known_names, chunk_bytes=chunk_bytes)
    lines = [line.decode("utf-8", "replace") for line in data.split(b"\n", HEAD_LINES)[:HEAD_LINES]]
    try:
        dialect = detect_dialect(
            file.name, lines, delimiter=options.delimiter, decimal=options.decimal, columns=options.columns
        )
    except DataError as error:
        if file.name in error.message:
            raise
        raise DataError(f"{file.name}: {error.message}", error.hint) from error
    head = FileHead(text, dialect, signature)
    layout = dialect.layout
    date = ""
    if not {"time", "year"} & set(layout.roles):
        date = parse_file_name(text.name).date
        if not date:
            raise DataError(
                f"{file.name} has times of day, but no date: neither a column nor the file's name tells it.",
                "Put the date into the name: AAPL_2024-01-02.csv",
            )
    rows = head.read_rows(Chunk(0, len(data), 1, data, data.count(b"\n"))).frame.head(HEAD_LINES)
    pad = 0
    if "clock" in layout.roles:
        texts = rows.get_column(layout.column_id("clock")).str.strip_chars()
        pad = clock_width([text for text in texts if text])
    head = replace(head, date_from_name=date, clock_width=pad)
    _check_24_hour_clock(head, rows)
    return head


def _check_24_hour_clock(head: FileHead, rows: pl.DataFrame) -> None:
    """Refuse times of a clock of twelve hours that do not say which half of the day they mean."""
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
            f"{head.text_file.file.name}: its times run from 12 to 1 within a day: "
            "a clock of twelve hours without AM or PM.",
            "Export the times with AM and PM, or on a clock of 24 hours.",
        )


def scan_file(
    head: FileHead,
    options: Options,
    *,
    with_fractions: bool = False,
    digest: bool = True,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> FileScan:
    """Read the whole file for its order, the evidence for each way to read its dates, and its digest."""
    meter = Meter(digest=digest)
    index: list[Extent] = []
    evidence: list[DateEvidence] = []
    layout = head.dialect.layout
    roles = [
        layout.roles[role]
        for role in ("time", "clock", "subsecond", *DATE_PARTS, "symbol", "suffix")
        if role in layout.roles
    ]
    numbers = _DecimalSeparatorDetector(head)
    columns = None if numbers.is_ambiguous else [f"c{i}" for i in sorted({*roles, *layout.date_duplicates})]
    panels = max(1, len(layout.panels))

    def read_chunk(chunk: Chunk) -> tuple[Chunk, ChunkRows | None]:
        sound = head.text_file.encoding != "utf-8" or is_utf8(chunk.data)
        return chunk, head.read_rows(chunk, columns) if sound else None

    for chunk, rows in parallel_map(prefetch(head.text_file.chunks(meter=meter)), read_chunk):
        if rows is None:
            return scan_file(
                replace(head, text_file=replace(head.text_file, encoding="cp1252")),
                options,
                digest=digest,
                on_bytes=on_bytes,
            )
        on_bytes(meter.size)
        index.append(Extent(chunk.offset, chunk.length, chunk.first_line, rows.frame.height * panels))
        numbers.add(rows.frame)
        times = _complete_rows(head, rows)
        if times.is_empty():
            continue
        if not evidence:
            sample = times["time"].head(HEAD_LINES).to_list()
            forms = candidate_time_formats(
                sample, options.date_format, file=head.text_file.file.name, with_fractions=with_fractions
            )
            evidence = [
                DateEvidence(
                    form,
                    TimeOrder(strict=layout.record_type == BAR),
                    date_duplicates=set(layout.date_duplicates),
                )
                for form in forms
            ]
        _update_evidence(evidence, times, head)
        if not with_fractions and any(
            e.has_fractions and "%S" in e.time_format.format and "%.f" not in e.time_format.format
            for e in evidence
        ):
            return scan_file(head, options, with_fractions=True, digest=digest, on_bytes=on_bytes)
    return FileScan(head, evidence, index, meter.size, meter.digest, numbers.resolve())


class _DecimalSeparatorDetector:
    """Looks for what tells decimals from thousands, where the first lines don't."""

    def __init__(self, head: FileHead) -> None:
        self._name = head.text_file.file.name
        self._delimiter = head.dialect.delimiter
        self._candidates = set(head.dialect.decimal_separators)
        self._values_checked = 0
        self._columns = [f"c{i}" for i in head.dialect.layout.decimal_columns]

    @property
    def is_ambiguous(self) -> bool:
        """True if the question is open."""
        return len(self._candidates) > 1

    def add(self, rows: pl.DataFrame) -> None:
        """Take the next rows."""
        if not self.is_ambiguous or self._values_checked > _MAX_VALUES_CHECKED:
            return
        for column in self._columns:
            texts = rows.get_column(column).unique().to_list()
            self._values_checked += len(texts)
            possible = possible_decimal_separators(texts, self._delimiter)
            if len(possible) == 1 and any("." in text or "," in text for text in texts):
                self._candidates = possible
                return

    def resolve(self) -> str:
        """Return what stands before decimals."""
        if self.is_ambiguous:
            raise DataError(
                f"{self._name}: numbers such as 1,234 or 1.234 may be a thousand or one and a fraction; "
                "nothing in the file settles it.",
                "Say what stands before decimals: --decimal . or --decimal ,",
            )
        return next(iter(self._candidates))


def _complete_rows(head: FileHead, rows: ChunkRows) -> pl.DataFrame:
    """Return time, symbol and the columns that may repeat the date, of rows of the right length."""
    layout = head.dialect.layout
    symbol = head.symbol_expr().str.strip_chars() if "symbol" in layout.roles else pl.lit("")
    frame = (
        rows.frame
        if rows.uniform
        else rows.frame.filter(~pl.col(BLANK) & (pl.col(FIELD_COUNT) == head.dialect.field_count))
    )
    return frame.select(
        head.time_expr().alias("time"),
        symbol.alias("symbol"),
        *(f"c{i}" for i in layout.date_duplicates),
        *([layout.column_id("subsecond")] if "subsecond" in layout.roles else []),
    )


def _update_evidence(candidates: list[DateEvidence], rows: pl.DataFrame, head: FileHead) -> None:
    layout = head.dialect.layout
    times = rows.select(
        "symbol",
        *(head.timestamp_ns(e.time_format, pl.col("time")).alias(f"t{i}") for i, e in enumerate(candidates)),
    )
    is_parsed = [pl.col(f"t{i}").is_not_null() for i in range(len(candidates))]
    for i, evidence in enumerate(candidates):
        others = [flag for j, flag in enumerate(is_parsed) if j != i]
        if others:
            evidence.exclusive_rows += times.select((is_parsed[i] & ~pl.any_horizontal(others)).sum()).item()
        ts = times.select("symbol", ts=f"t{i}")
        unread = ts["ts"].null_count()
        if unread:
            evidence.unparsed_rows += unread - int((rows["time"].str.strip_chars(" -") == "").sum())
            texts = rows["time"].filter(ts["ts"].is_null())
            evidence.has_fractions = evidence.has_fractions or bool(texts.str.contains(r":\d\d[.,]\d").any())
            ts = ts.drop_nulls("ts")
        evidence.order.add(ts)
        if evidence.date_duplicates:
            joined = rows.with_columns(ts=times[f"t{i}"])
            evidence.date_duplicates = {
                c
                for c in evidence.date_duplicates
                if _is_date_duplicate(joined, c, layout.date_duplicates[c])
            }


def _is_date_duplicate(rows: pl.DataFrame, column: int, part: str) -> bool:
    """Tell whether a column says nothing but the date, or a part of it."""
    text = pl.col(f"c{column}").str.strip_chars()
    if part == "time":
        return bool(rows.select((text == pl.col("time").str.strip_chars()).all()).item())
    day = pl.col("ts").cast(pl.Datetime("ns")).dt
    value = {"year": day.year(), "month": day.month(), "day": day.day()}[part]
    same = text.cast(pl.Int32, strict=False).eq_missing(value.cast(pl.Int32))
    return bool(rows.filter(pl.col("ts").is_not_null()).select(same.all()).item())
