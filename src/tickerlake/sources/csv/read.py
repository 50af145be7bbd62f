"""Open a CSV file of prices and read it in batches, oldest record first.

The file is read in these passes:

1. the first lines (`read_head`): compression, encoding, delimiter, header, columns;
2. the whole file (`scan_file`): order, dates, decimal separator, digest, positions of the chunks; again from
   the start if it turns out not to be UTF-8, to have fractions of seconds, or values in empty columns;
3. the first chunk, for some decisions: a column of intervals, the price scale, and whether any row becomes
   a record (more chunks until one does);
4. the whole file (`CsvSource.batches`), on every call. A file that is newest first is read backward, after a
   copy to disk if it is compressed. A file in no order of time is sorted, in runs on disk if it is large.

``--strict`` adds another whole pass: `tickerlake.sources.merged.MergedSource.check_no_rejects`.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.resources.abc import Traversable
from itertools import zip_longest
from pathlib import Path
from typing import Final

import polars as pl

from tickerlake import clock
from tickerlake.errors import DataError, UsageError
from tickerlake.model.reject import Reject, RejectReason, reject_remedy
from tickerlake.model.schema import BAR
from tickerlake.parallel import parallel_map
from tickerlake.sources.csv.batch import (
    CsvBatch,
    extract_rejects,
    fill_reject_times,
    reject_duplicates,
    sort_rows,
)
from tickerlake.sources.csv.chunks import CHUNK_BYTES, Chunk, printable_name, stat_signature
from tickerlake.sources.csv.code_pages import assumed_encoding_warning
from tickerlake.sources.csv.decisions import Decided, FileDecision, list_decisions
from tickerlake.sources.csv.detect.bar_length import choose_interval
from tickerlake.sources.csv.detect.calendar_dates import check_calendar_dates
from tickerlake.sources.csv.detect.columns.layout import Layout
from tickerlake.sources.csv.detect.decide import (
    choose_date_format,
    choose_symbol,
    choose_volume,
    choose_zone,
)
from tickerlake.sources.csv.detect.decision import Decision
from tickerlake.sources.csv.detect.head import read_head
from tickerlake.sources.csv.detect.lines.rows import LINE
from tickerlake.sources.csv.detect.options import Options
from tickerlake.sources.csv.detect.repeated_hours import find_repeated_hours
from tickerlake.sources.csv.detect.scale import choose_scale
from tickerlake.sources.csv.detect.scan import FileScan, scan_file
from tickerlake.sources.csv.detect.sentinels import (
    choose_negative_prices,
    find_sentinels,
    find_usual_prices,
    parse_first_rows,
)
from tickerlake.sources.csv.detect.times.order import TimeOrder
from tickerlake.sources.csv.numbers import NumberFormat
from tickerlake.sources.csv.parse import EVENT_NS, IS_RECORD, REASON, Parser
from tickerlake.sources.csv.remedies import with_tried_remedy
from tickerlake.sources.merge import merge, read_run, write_run
from tickerlake.sources.source import Fingerprint

OLDEST_FIRST: Final = "oldest first"
NEWEST_FIRST: Final = "newest first"
SORTED: Final = "sorted"
MAX_IN_MEMORY_SORT_ROWS: Final = 200_000
"""Up to this size, files in no order of time are sorted in memory; larger ones in runs of it on disk."""

_PROBE_ROWS: Final = 1000
_NO_PRICE: Final = frozenset({RejectReason.PRICE_MISSING, RejectReason.SENTINEL_VALUE})
_MAX_CONFLICTING_SHARE: Final = 0.3
"""A file of one series has few conflicting bars for one time; with two series it is half of them."""


@dataclass(frozen=True)
class CsvSource:
    """An opened CSV file, with all decisions made.

    The output is one sequence of rows (records, rejects and skipped lines), the same on every run; a position
    counts its rows. A file in order of time is streamed; a large one that is newest first is streamed
    backward; any other is sorted by time, symbol and line, and repeated bars are rejected.

    Parameters
    ----------
    fingerprint
        Identifies the file and its content.
    warnings
        What is assumed.
    symbols
        The symbols of the file, as far as they are known before it is parsed.
    order
        `OLDEST_FIRST`, `NEWEST_FIRST` or `SORTED`: how it is read.
    parser
        Turns its chunks into rows.
    scan
        The result of the first pass.
    decisions
        What was decided, and why, in the order of the decisions.
    includes_raw
        True to keep the raw text of all bars, which may turn out to be duplicates.
    """

    fingerprint: Fingerprint
    warnings: list[str]
    symbols: list[str]
    order: str
    parser: Parser
    scan: FileScan
    decisions: tuple[FileDecision, ...]
    includes_raw: bool = False

    @property
    def record_type(self) -> str:
        """``bar.v1``, ``trade.v1`` or ``quote.v1``."""
        return self.parser.layout.record_type

    @property
    def rows(self) -> int:
        """The number of rows of the output: records, rejects and skipped lines."""
        return sum(extent.rows for extent in self.scan.index)

    def describe(self) -> dict[str, object]:
        """Return every decision, for ``inspect`` and ``--json``."""
        decided = {each.name: each for each in self.decisions}
        columns = {
            name.removeprefix("column "): each for name, each in decided.items() if name.startswith("column ")
        }
        return {
            "source": self.fingerprint.name,
            "size": self.fingerprint.size,
            "layout": decided["layout"].value,
            "kind": decided["record type"].value,
            "compression": decided["compression"].value,
            "encoding": decided["encoding"].value,
            "delimiter": decided["delimiter"].value,
            "header_lines": decided["header lines"].value,
            "preamble": list(self.scan.head.dialect.preamble),
            "columns": {role: each.value for role, each in columns.items()},
            "column_reasons": {role: each.reason for role, each in columns.items() if each.reason},
            "extra": decided["extra columns"].value,
            "decimal": decided["decimal separator"].value,
            "price_scale": decided["price scale"].value,
            "date_format": decided["date format"].value,
            "date_from": decided["date format"].reason,
            "zone": decided["zone"].value,
            "zone_from": decided["zone"].reason,
            "interval": decided["interval"].value,
            "interval_from": decided["interval"].reason,
            "order": self.order,
            "rows_stand": decided["order"].value,
            "symbols": decided["symbols"].value,
            "symbol_from": decided["symbols"].reason,
            "warnings": self.warnings,
            "decisions": [asdict(each) for each in self.decisions],
        }

    @property
    def fingerprints(self) -> tuple[Fingerprint]:
        """The fingerprint of the one file."""
        return (self.fingerprint,)

    def batches(self, start_position: Sequence[int] = (), batch_rows: int = 50_000) -> Iterator[CsvBatch]:
        """Yield the file's rows after a position.

        Parameters
        ----------
        start_position
            The ``position`` of an earlier batch; () is the beginning.
        batch_rows
            The maximum size of a batch; it does not influence the sequence.

        Raises
        ------
        DataError
            If the file has changed since it was opened.
        """
        skip, position = sum(start_position), 0
        self._check_unchanged()
        for count, rows in parallel_map(self._remaining_pieces(skip), _parse_piece):
            if rows is None:
                position += count
                continue
            for start in range(0, count, batch_rows):
                part = rows.slice(start, batch_rows)
                position += part.height
                if position > skip:
                    yield CsvBatch(part.tail(position - skip), (position,))
        self._check_unchanged()

    def _check_unchanged(self) -> None:
        try:
            signature = stat_signature(self.scan.head.text_file.file)
        except DataError as error:
            raise self._changed_error() from error
        if signature != self.scan.head.stat_signature:
            raise self._changed_error()

    def _changed_error(self) -> DataError:
        return DataError(f"{self.fingerprint.name} changed while it was read.", "Run the command again.")

    def _remaining_pieces(self, skip: int) -> Iterator[tuple[int, Callable[[], pl.DataFrame] | None]]:
        position = 0
        for count, parse in self._pieces():
            position += count
            yield count, parse if position > skip else None

    def _pieces(self) -> Iterator[tuple[int, Callable[[], pl.DataFrame]]]:
        """Yield the output in large pieces: the number of rows, and a function that parses them."""
        if self.order == SORTED:
            for rows in self._sorted_tables():
                yield rows.height, partial(reject_duplicates, rows)
            return
        text, index = self.scan.head.text_file, self.scan.index
        newest_first = self.order == NEWEST_FIRST
        chunks = text.reversed_chunks(index) if newest_first else text.chunks()
        for extent, chunk in zip_longest(reversed(index) if newest_first else index, chunks):
            if extent is None or chunk is None or extent[:3] != chunk[:3]:
                raise self._changed_error()
            yield extent.rows, partial(self._parse, chunk, reverse=newest_first)

    def _parse(self, chunk: Chunk, *, reverse: bool = False) -> pl.DataFrame:
        # a bar may turn out to be a duplicate once the rows are sorted or merged
        include_raw = self.record_type == BAR and (self.includes_raw or self.order == SORTED)
        rows = self.parser.parse(chunk, include_raw=include_raw)
        return rows.reverse() if reverse else rows

    def _sorted_tables(self) -> Iterator[pl.DataFrame]:
        newest_first = self.scan.evidence[0].order.falling and not self.scan.evidence[0].order.rising
        sort = partial(sort_rows, newest_first=newest_first)
        if self.rows <= MAX_IN_MEMORY_SORT_ROWS:
            tables = list(self._tables_with_times())
            if not tables:
                raise self._changed_error()
            yield sort(pl.concat(tables))
            return
        with tempfile.TemporaryDirectory(prefix="tickerlake-sort-") as folder:
            runs = [
                write_run([sort(pl.concat(group))], _make_folder(Path(folder) / f"{n}"))
                for n, group in enumerate(_group_tables(self._tables_with_times()))
            ]
            yield from merge([read_run(run) for run in runs], EVENT_NS, sort)

    def _tables_with_times(self) -> Iterator[pl.DataFrame]:
        """Yield all rows in the file's order; each reject has the time of the record before it."""
        return fill_reject_times(map(self._parse, self.scan.head.text_file.chunks()))


def _parse_piece(piece: tuple[int, Callable[[], pl.DataFrame] | None]) -> tuple[int, pl.DataFrame | None]:
    count, parse = piece
    return count, parse() if parse is not None else None


def _make_folder(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _group_tables(tables: Iterator[pl.DataFrame]) -> Iterator[list[pl.DataFrame]]:
    group: list[pl.DataFrame] = []
    for table in tables:
        group.append(table)
        if sum(each.height for each in group) >= MAX_IN_MEMORY_SORT_ROWS:
            yield group
            group = []
    if group:
        yield group


def open_csv(
    path: Path,
    options: Options | None = None,
    *,
    ts_recv_ns: int | None = None,
    chunk_bytes: int = CHUNK_BYTES,
    digest: bool = True,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> CsvSource:
    """Open a CSV file of prices: read it once and make every decision about it.

    Parameters
    ----------
    path
        The file, plain or compressed.
    options
        What the user specifies about it.
    ts_recv_ns
        When the records were received; default: now.
    chunk_bytes
        How many bytes to read at once.
    digest
        False to skip the file's digest.
    on_bytes
        Receives the number of bytes read so far.

    Raises
    ------
    DataError
        If the file is not a table of prices, or leaves a question open; the hint names the option.
    """
    return open_file(
        path,
        printable_name(path),
        options,
        folder=str(path.absolute().parent),
        ts_recv_ns=ts_recv_ns,
        chunk_bytes=chunk_bytes,
        digest=digest,
        on_bytes=on_bytes,
    )


def open_file(
    file: Traversable,
    name: str,
    options: Options | None = None,
    *,
    folder: str = "",
    ts_recv_ns: int | None = None,
    chunk_bytes: int = CHUNK_BYTES,
    digest: bool = True,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> CsvSource:
    """Open a file like :func:`open_csv`, under another name."""
    options = options or Options()
    open_with = partial(_open_file, name=name, folder=folder, ts_recv_ns=ts_recv_ns)
    try:
        return open_with(file, options, chunk_bytes=chunk_bytes, digest=digest, on_bytes=on_bytes)
    except (DataError, UsageError) as error:
        tried = with_tried_remedy(error, file, options, open_with)
        if tried is error:
            raise
        raise tried from error


def _open_file(
    file: Traversable,
    options: Options,
    name: str,
    folder: str,
    ts_recv_ns: int | None,
    *,
    chunk_bytes: int = CHUNK_BYTES,
    digest: bool = False,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> CsvSource:
    scan = scan_file(
        read_head(file, options, chunk_bytes=chunk_bytes), options, digest=digest, on_bytes=on_bytes
    )
    volume = choose_volume(scan, name)
    scan = volume.value
    date = choose_date_format(scan, options)
    check_calendar_dates(scan, date.value, options, name)
    scan = replace(scan, evidence=[date.value])
    dialect, layout, order = scan.head.dialect, scan.head.dialect.layout, date.value.order
    symbol = choose_symbol(scan, options, order, name, folder)
    interval = Decision("", "")
    period_end_dates = False
    if layout.record_type == BAR:
        interval = choose_interval(scan, options, date.value.time_format, order, name)
    zone = choose_zone(scan, options, date.value.time_format, interval.value, symbol.value.symbols, name)
    daily_times = zone.value.daily_times
    if layout.record_type == BAR:
        period_end_dates = (
            daily_times.has_period_ends if daily_times else order.has_period_end_dates(interval.value)
        )
        if period_end_dates:
            interval = replace(interval, reason=f"{interval.reason}; dates are their last days")
    repeated_hours = find_repeated_hours(scan, zone.value.time_format, order, interval.value)
    if repeated_hours is not None:
        zone = replace(zone, reason=f"{zone.reason}; the hour that clocks repeat by the order of rows")
    scale = choose_scale(scan, options, zone.value.zone, symbol.value.symbols)
    number_format = NumberFormat(scan.decimal_separator, scale.value)
    first_rows = parse_first_rows(scan.head, number_format)
    sentinels = find_sentinels(layout.record_type, first_rows, negative_prices=options.negative_prices)
    vendor = layout.vendor_layout.name if layout.vendor_layout else ""
    negative = choose_negative_prices(options, first_rows, sentinels, name, vendor)
    codec = scan.head.text_file.encoding
    encoding = Decision(codec, "", assumed_encoding_warning(name, codec, symbol.value.symbols))
    decided = Decided(volume, date, symbol, interval, zone, scale, negative, encoding)
    warnings = [*dialect.warnings, *scan.warnings, *decided.warnings]
    extra_columns = layout.extra_columns() | {
        f"c{i}": layout.names[i] for i in layout.date_duplicates if i not in date.value.date_duplicates
    }
    parser = Parser(
        name,
        scan.head,
        zone.value.time_format,
        number_format,
        symbol.value.constant,
        interval.value,
        zone.value.zone,
        period_end_dates,
        extra_columns,
        ts_recv_ns or clock.now_ns(),
        negative.value,
        sentinels,
        daily_times,
        repeated_hours,
        find_usual_prices(scan.head, first_rows, scan.decimal_separator),
    )
    # two days may be in one month, and two times on one day
    merges_rows = period_end_dates or zone.value.cuts_times
    read_order = SORTED if merges_rows else _choose_read_order(order)
    _check_has_records(scan, parser)
    if layout.record_type == BAR and read_order == SORTED:
        _check_single_series(scan, parser)
    if options.strict and warnings:
        raise DataError(f"--strict: {warnings[0]}", "Specify the option that it names.")
    return CsvSource(
        Fingerprint(name, scan.size, scan.digest),
        warnings,
        symbol.value.symbols,
        read_order,
        parser,
        scan,
        list_decisions(scan, parser, options, decided, _describe_order(order)),
    )


def _check_has_records(scan: FileScan, parser: Parser) -> None:
    """Raise an error if no row at the beginning becomes a record: the layout is not understood."""
    rejects: list[Reject] = []
    for chunk in scan.head.text_file.chunks():
        rows = parser.parse(chunk)
        if rows.select(IS_RECORD.any()).item():
            return
        rejects += extract_rejects(rows.head(_PROBE_ROWS))
        if len(rejects) >= _PROBE_ROWS and chunk.first_line + chunk.lines > scan.head.later_line:
            break
    example = (
        f", such as line {rejects[0].line} ({rejects[0].reason}): {rejects[0].raw[:80]!r}" if rejects else ""
    )
    reasons = {reject.reason for reject in rejects}
    raise DataError(
        f"{parser.source}: no row can be read{example}.",
        ("Its prices are missing: download the file again." if reasons <= _NO_PRICE else "")
        or reject_remedy(reject.reason for reject in rejects)
        or f"If its columns have other meanings: --columns {_example_columns(parser.layout)}. "
        "If its dates have another form: --date-format DD-MM-YYYY",
    )


def _example_columns(layout: Layout) -> str:
    is_close_only = layout.record_type == BAR and "high" not in layout.price_roles
    return "date,close" if is_close_only else "date,open,high,low,close,volume"


def _check_single_series(scan: FileScan, parser: Parser) -> None:
    """Raise an error for a file of several series that no column distinguishes."""
    rows = parser.parse(next(scan.head.text_file.chunks()))
    checked = reject_duplicates(sort_rows(next(fill_reject_times([rows]))))
    conflicts = checked.filter(pl.col(REASON) == RejectReason.CONFLICTING_DUPLICATE)
    if conflicts.height > _MAX_CONFLICTING_SHARE * checked.height:
        raise DataError(
            f"{parser.source} has several rows for each time, such as line "
            f"{conflicts.get_column(LINE).min()!r}: more than one series, and no column identifies them.",
            f"Name the column with the symbol: --columns symbol,{_example_columns(parser.layout)} "
            "(in the order of the columns, unknown ones empty)",
        )


def _describe_order(order: TimeOrder) -> str:
    if order.rows <= 1:
        return "one row"
    if order.rising:
        return OLDEST_FIRST if order.is_rising_overall else "oldest first within each symbol"
    if order.falling:
        return NEWEST_FIRST if order.is_falling_overall else "newest first within each symbol"
    return "not sorted by time"


def _choose_read_order(order: TimeOrder) -> str:
    if order.rising and order.is_rising_overall:
        return OLDEST_FIRST
    return (
        NEWEST_FIRST
        if order.falling and order.is_falling_overall and order.rows > MAX_IN_MEMORY_SORT_ROWS
        else SORTED
    )
