"""One pass over a whole file: the order of its rows, and the evidence for each way to read its dates."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

import polars as pl

from tickerlake.errors import DataError
from tickerlake.model.schema import BAR
from tickerlake.parallel import parallel_map, prefetch
from tickerlake.sources.csv.chunks import Chunk, Extent, Meter, is_utf8
from tickerlake.sources.csv.code_pages import detect_code_page, non_ascii_lines
from tickerlake.sources.csv.detect.columns.layout import DATE_PARTS, DATE_RESTS, Layout
from tickerlake.sources.csv.detect.columns.trading_days import is_trading_day_name, total_columns
from tickerlake.sources.csv.detect.head import FileHead
from tickerlake.sources.csv.detect.late_columns import LateColumnWatch, LateRows, read_head_again
from tickerlake.sources.csv.detect.lines.broken_cell_watch import BrokenCells, BrokenCellWatch
from tickerlake.sources.csv.detect.lines.dialect import count_names
from tickerlake.sources.csv.detect.lines.header_watch import HeaderWatch
from tickerlake.sources.csv.detect.lines.rows import LINE, SKIPPED, ChunkRows
from tickerlake.sources.csv.detect.lines.split_lines import HEAD_LINES
from tickerlake.sources.csv.detect.options import Options
from tickerlake.sources.csv.detect.times.dates import candidate_time_formats
from tickerlake.sources.csv.detect.times.order import TimeOrder
from tickerlake.sources.csv.detect.times.trading_days import NightSessions
from tickerlake.sources.csv.numbers import is_missing, possible_decimal_separators
from tickerlake.sources.csv.symbols import resolve_symbols
from tickerlake.sources.csv.timeform import EARLIEST_CERTAIN_NS, TimeFormat, count_foreign_epochs

_MAX_VALUES_CHECKED: Final = 2_000_000
"""After this many values, the decimal separator stays ambiguous: it bounds the time for each file."""

_SIGNS_OF_TIMES: Final = (
    (r":\d\d\.\d{1,9}\b", "."),
    (r":\d\d,\d{1,9}\b", ","),
    (r"^\d{4}\.\d\d\.\d\d(?: |$)|^\d{8} \d", "."),
)
_MAX_EXAMPLES: Final = 2
_MAX_ZONES: Final = 10


@dataclass
class DateEvidence:
    """The evidence of the whole file for one way to read its dates.

    Parameters
    ----------
    time_format
        The way to read them.
    order
        The order of the rows that can be read in this way.
    exclusive_rows
        Rows that can be read in no other way.
    has_fractions
        True if a date that cannot be read has fractions of a second.
    unparsed_rows
        Rows whose date cannot be read.
    date_duplicates
        Columns that only repeat the date, so far.
    other_unit_rows
        Numbers since 1970 with the length of another unit.
    early_rows
        Numbers since 1970 that are times before 1973, or have no unit's length.
    unclear_century_rows
        Dates whose year of two digits may be in another century; they are among those that cannot be read.
    swapped_rows
        Dates that can be read only if day and month are exchanged.
    nights
        The night sessions, if the name of the dates is that of trading days.
    """

    time_format: TimeFormat
    order: TimeOrder
    exclusive_rows: int = 0
    has_fractions: bool = False
    unparsed_rows: int = 0
    date_duplicates: set[int] = field(default_factory=set)
    other_unit_rows: int = 0
    early_rows: int = 0
    unclear_century_rows: int = 0
    swapped_rows: int = 0
    nights: NightSessions | None = None

    @property
    def has_mixed_units(self) -> bool:
        """True if numbers since 1970 have two units: not those of a history that begins before 1973."""
        return self.other_unit_rows > self.early_rows


@dataclass
class FileScan:
    """The result of one pass over a file.

    Parameters
    ----------
    head
        How its lines are read.
    evidence
        One entry for each possible way to read its dates.
    index
        Where its chunks are.
    size, digest
        Of its bytes, as stored.
    decimal_separator
        ``.`` or ``,``.
    columns_with_values
        The columns among the volume and the tick volume that are not 0 on every row; only if there are both.
    passed_over
        Some values of the columns that are passed over as the symbol, see `Layout.passed_over`.
    warnings
        What is said of rows behind the first lines.
    zones
        The texts in the column of time zones, if there is one.
    """

    head: FileHead
    evidence: list[DateEvidence]
    index: list[Extent]
    size: int
    digest: str
    decimal_separator: str
    columns_with_values: frozenset[int] = frozenset()
    passed_over: dict[int, set[str]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    zones: frozenset[str] = frozenset()


class _ReadChunk(NamedTuple):
    """The rows of a chunk, the lines that may be headers, and what is new in it."""

    rows: ChunkRows
    candidates: pl.DataFrame
    broken: BrokenCells
    late: LateRows | None


def scan_file(
    head: FileHead,
    options: Options,
    *,
    with_fractions: bool = False,
    mixed_units: bool = False,
    digest: bool = True,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> FileScan:
    """Read the whole file: its order, the evidence for each way to read its dates, and its digest.

    The pass starts again if a byte is not UTF-8, if a later row has fractions of a second, if numbers since
    1970 have several units, or if a column is filled that is empty in the first rows.

    Parameters
    ----------
    with_fractions
        True to read fractions of seconds even if the first rows have none, which is much slower.
    mixed_units
        True to read each number since 1970 in the unit that its length shows.
    digest
        False to skip the digest.
    on_bytes
        Receives the number of bytes read so far.

    Raises
    ------
    DataError
        If the decimal separator is ambiguous.
    """
    meter = Meter(digest=digest)
    index: list[Extent] = []
    evidence: list[DateEvidence] = []
    layout = head.dialect.layout
    roles = [
        layout.roles[role]
        for role in (
            "time",
            *DATE_RESTS,
            "clock",
            "subsecond",
            *DATE_PARTS,
            "symbol",
            "suffix",
            "zone",
            "offset",
        )
        if role in layout.roles
    ]
    separators = _DecimalSeparatorDetector(head)
    headers = HeaderWatch(head.text_file.file_name, head.dialect)
    broken_cells = BrokenCellWatch(head.text_file.file_name, head.dialect)
    late_columns = LateColumnWatch(head)
    volumes = _volume_columns(layout)
    totals = total_columns(layout)
    used = {
        *roles,
        *layout.date_duplicates,
        *layout.passed_over,
        *volumes,
        *headers.columns,
        *late_columns.columns,
        *totals,
    }
    columns = None if separators.is_ambiguous else [f"c{i}" for i in sorted(used)]
    with_values: set[int] = set()
    panels = max(1, len(layout.panels))
    passed_over: dict[int, set[str]] = {column: set() for column in layout.passed_over}
    zones: set[str] = set()

    def read_chunk(chunk: Chunk) -> tuple[Chunk, _ReadChunk | None]:
        if head.text_file.encoding == "utf-8" and not is_utf8(chunk.data):
            return chunk, None
        rows = head.read_rows(chunk, columns)
        late = late_columns.find(rows, head.time_expr())
        return chunk, _ReadChunk(rows, headers.candidates(rows), broken_cells.find(rows), late)

    for chunk, read in parallel_map(prefetch(head.text_file.chunks(meter=meter)), read_chunk):
        if read is None:
            encoding = detect_code_page(non_ascii_lines(chunk.data), count_names)
            return scan_file(
                replace(head, text_file=replace(head.text_file, encoding=encoding)),
                options,
                digest=digest,
                on_bytes=on_bytes,
            )
        rows, candidates, broken, late = read
        if late is not None:
            return scan_file(read_head_again(head, options, late), options, digest=digest, on_bytes=on_bytes)
        on_bytes(meter.size)
        if "zone" in layout.roles:
            zones.update(_find_zones(head, rows))
        index.append(Extent(chunk.offset, chunk.length, chunk.first_line, rows.frame.height * panels))
        separators.add(rows.frame)
        headers.check(candidates)
        broken_cells.add(broken)
        with_values |= {i for i in volumes - with_values if _has_value(rows.frame.get_column(f"c{i}"))}
        times = select_times(head, rows)
        if times.is_empty():
            continue
        if not evidence:
            sample = times["time"].head(HEAD_LINES).to_list()
            time_formats = candidate_time_formats(
                sample,
                options.date_format,
                file=head.text_file.file_name,
                with_fractions=with_fractions,
                mixed_units=mixed_units,
            )
            evidence = [
                DateEvidence(
                    time_format,
                    TimeOrder(strict=layout.record_type == BAR, has_dates=time_format.has_dates),
                    date_duplicates=set(layout.date_duplicates),
                    nights=_watch_nights(layout, totals),
                )
                for time_format in time_formats
            ]
        for column, values in passed_over.items():
            if len(values) < _MAX_EXAMPLES:
                texts = times.get_column(f"c{column}").str.strip_chars().unique(maintain_order=True)
                values.update(texts.drop_nulls().head(_MAX_EXAMPLES + 1))
                values.discard("")
        _update_evidence(evidence, times, head)
        if not with_fractions and any(
            e.has_fractions and "%S" in e.time_format.format and "%.f" not in e.time_format.format
            for e in evidence
        ):
            return scan_file(head, options, with_fractions=True, digest=digest, on_bytes=on_bytes)
    if any(e.has_mixed_units for e in evidence) and not mixed_units:
        return scan_file(head, options, mixed_units=True, digest=digest, on_bytes=on_bytes)
    return FileScan(
        head,
        evidence,
        index,
        meter.size,
        meter.digest,
        separators.resolve(),
        frozenset(with_values),
        passed_over,
        (*head.later_warnings, *broken_cells.warnings),
        frozenset(zones),
    )


def _watch_nights(layout: Layout, totals: tuple[int, ...]) -> NightSessions | None:
    """Return what looks for night sessions, if dates may be trading days by their name."""
    if not {"time", "clock"} <= layout.roles.keys():
        return None
    is_trading_day = is_trading_day_name(layout.names[layout.roles["time"]])
    return NightSessions(is_trading_day=is_trading_day) if is_trading_day or totals else None


def _find_zones(head: FileHead, rows: ChunkRows) -> list[str]:
    """Return the different texts in the column of time zones."""
    frame = rows.frame if rows.uniform else rows.frame.filter(~pl.col(SKIPPED))
    texts = frame.get_column(head.dialect.layout.column_id("zone")).str.strip_chars().unique().drop_nulls()
    return [text for text in texts.head(_MAX_ZONES) if not is_missing(text)]


def _volume_columns(layout: Layout) -> set[int]:
    """Return the columns of volume and tick volume, if there are both."""
    if layout.tick_volume is None or "volume" not in layout.roles:
        return set()
    return {layout.tick_volume, layout.roles["volume"]}


def _has_value(cells: pl.Series) -> bool:
    """Return whether a number is not 0."""
    return bool(cells.str.contains("^[^A-Za-z]*[1-9]").any())


class _DecimalSeparatorDetector:
    """Looks for numbers that settle the decimal separator, if the first lines do not."""

    def __init__(self, head: FileHead) -> None:
        self._name = head.text_file.file_name
        self._delimiter = head.dialect.delimiter
        self._candidates = set(head.dialect.decimal_separators)
        self._values_checked = 0
        self._columns = [f"c{i}" for i in head.dialect.layout.decimal_columns]
        self._sign_of_times = _find_sign_of_times(head) if self.is_ambiguous else ""

    @property
    def is_ambiguous(self) -> bool:
        """True if both separators are possible."""
        return len(self._candidates) > 1

    def add(self, rows: pl.DataFrame) -> None:
        """Examine the next rows."""
        if not self.is_ambiguous or self._values_checked > _MAX_VALUES_CHECKED:
            return
        rows = rows.filter(~pl.col(SKIPPED)) if SKIPPED in rows.columns else rows
        for column in self._columns:
            texts = rows.get_column(column).unique().to_list()
            self._values_checked += len(texts)
            other = {".": ",", ",": "."}.get(self._sign_of_times, "")
            if other and any(other in (text or "") for text in texts):
                self._sign_of_times = ""
            possible = possible_decimal_separators(texts, self._delimiter)
            if len(possible) == 1 and any("." in text or "," in text for text in texts):
                self._candidates = possible
                return

    def resolve(self) -> str:
        """Return the decimal separator."""
        if self.is_ambiguous and self._sign_of_times:
            return self._sign_of_times
        if self.is_ambiguous:
            raise DataError(
                f"{self._name}: the decimal separator is ambiguous: numbers such as 1,234 or 1.234 "
                "may be thousands or fractions.",
                "Specify it: --decimal . or --decimal ,",
            )
        return next(iter(self._candidates))


def _find_sign_of_times(head: FileHead) -> str:
    """Return the decimal separator that the times of the same rows suggest, empty if they suggest none.

    Fractions of seconds have it. Dates such as 2024.09.02 and 20240902 000000 are those of programs that
    write no thousands.
    """
    if head.first_rows.is_empty():
        return ""
    texts = head.first_rows.select(text=head.time_expr().str.strip_chars()).get_column("text").drop_nulls()
    for pattern, sign in _SIGNS_OF_TIMES:
        if not texts.is_empty() and texts.str.contains(pattern).all():
            return sign
    return ""


def select_times(head: FileHead, rows: ChunkRows) -> pl.DataFrame:
    """Return line, time, symbol and the columns that may repeat the date, of rows with all fields."""
    layout = head.dialect.layout
    symbol = head.symbol_expr().str.strip_chars() if "symbol" in layout.roles else pl.lit("")
    frame = rows.frame if rows.uniform else rows.frame.filter(~pl.col(SKIPPED) & head.dialect.is_complete())
    complete = frame.select(
        LINE,
        head.time_expr().alias("time"),
        symbol.alias("symbol"),
        *(f"c{i}" for i in {*layout.date_duplicates, *layout.passed_over, *total_columns(layout)}),
        *([layout.column_id("subsecond")] if "subsecond" in layout.roles else []),
    )
    if "symbol" in layout.roles and (head.symbol_map or not rows.chunk.data.isascii()):
        # two ways to write a symbol are one series
        names = resolve_symbols(complete.get_column("symbol"), head.symbol_map).names
        return complete.with_columns(names.alias("symbol"))
    return complete


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
        unparsed = ts["ts"].null_count()
        if unparsed:
            evidence.unparsed_rows += unparsed - int((rows["time"].str.strip_chars(" -") == "").sum())
            texts = rows["time"].filter(ts["ts"].is_null())
            evidence.has_fractions = evidence.has_fractions or bool(texts.str.contains(r":\d\d[.,]\d").any())
            _count_other_readings(evidence, texts)
            ts = ts.drop_nulls("ts")
        _count_epochs(evidence, rows["time"], times[f"t{i}"])
        evidence.order.add(ts)
        if evidence.nights is not None:
            totals = [f"c{column}" for column in total_columns(layout)]
            evidence.nights.add(rows.select("symbol", *totals, ts=times[f"t{i}"]).drop_nulls("ts"))
        if evidence.date_duplicates:
            joined = rows.with_columns(ts=times[f"t{i}"])
            evidence.date_duplicates = {
                c
                for c in evidence.date_duplicates
                if _is_date_duplicate(joined, c, layout.date_duplicates[c])
            }


def _count_other_readings(evidence: DateEvidence, texts: pl.Series) -> None:
    """Count the unread dates that are those of another century, or have day and month exchanged."""

    def count(time_format: TimeFormat) -> int:
        return len(texts) - time_format.parse(texts).null_count()

    if "%y" in evidence.time_format.format:
        evidence.unclear_century_rows += count(replace(evidence.time_format, any_century=True))
    if (swapped := evidence.time_format.swapped) is not None:
        evidence.swapped_rows += count(swapped)


def _count_epochs(evidence: DateEvidence, texts: pl.Series, ts: pl.Series) -> None:
    """Count the numbers since 1970 that may be in another unit than the first ones."""
    time_format, earliest = evidence.time_format, ts.min()
    if not time_format.is_epoch or time_format.format == "epoch:mixed":
        return
    if isinstance(earliest, int) and earliest >= EARLIEST_CERTAIN_NS and not ts.null_count():
        return
    other_unit, earlier = count_foreign_epochs(texts.str.strip_chars(), time_format)
    evidence.other_unit_rows += other_unit
    evidence.early_rows += earlier


def _is_date_duplicate(rows: pl.DataFrame, column: int, part: str) -> bool:
    """Return whether a column only repeats the date, or a part of it."""
    text = pl.col(f"c{column}").str.strip_chars()
    if part == "time":
        return bool(rows.select((text == pl.col("time").str.strip_chars()).all()).item())
    day = pl.col("ts").cast(pl.Datetime("ns")).dt
    value = {"year": day.year(), "month": day.month(), "day": day.day()}[part]
    same = text.cast(pl.Int32, strict=False).eq_missing(value.cast(pl.Int32))
    return bool(rows.filter(pl.col("ts").is_not_null()).select(same.all()).item())
