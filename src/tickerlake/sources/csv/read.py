"""Open a CSV file of prices and read it in batches, oldest record first."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.resources.abc import Traversable
from itertools import zip_longest
from pathlib import Path
from typing import Final

import polars as pl

from tickerlake import clock
from tickerlake.errors import DataError
from tickerlake.model.interval import DAILY_OR_LONGER
from tickerlake.model.reject import Reject
from tickerlake.model.schema import BAR
from tickerlake.parallel import parallel_map
from tickerlake.sources.csv.chunks import CHUNK_BYTES, Chunk, stat_signature
from tickerlake.sources.csv.detect.decide import (
    check_has_records,
    check_single_series,
    choose_date_format,
    choose_interval,
    choose_scale,
    choose_symbol,
    choose_zone,
)
from tickerlake.sources.csv.detect.order import TimeOrder
from tickerlake.sources.csv.detect.scan import FileScan, read_head, scan_file
from tickerlake.sources.csv.numbers import NumberFormat
from tickerlake.sources.csv.options import Options
from tickerlake.sources.csv.parse import (
    EVENT_NS,
    FILE_NUMBER,
    IS_RECORD,
    Parser,
    extract_records,
    extract_rejects,
)
from tickerlake.sources.csv.sort import fill_reject_times, reject_duplicates, sort_rows
from tickerlake.sources.merge import merge, read_run, write_run
from tickerlake.sources.source import Fingerprint

OLDEST_FIRST: Final = "oldest first"
NEWEST_FIRST: Final = "newest first"
SORTED: Final = "sorted"
MAX_IN_MEMORY_SORT_ROWS: Final = 200_000
"""Files that are not in order of time are sorted in memory up to this size, larger ones in runs on disk."""


@dataclass(frozen=True)
class CsvBatch:
    """A batch of one file, or of several that are merged.

    Parameters
    ----------
    rows
        Parsed rows: records, rejects and ignored lines, in the order of the output. If there are several
        files, the column ``_file`` has the number of each row's.
    done
        For each file: rows of its output from its beginning to the end of this batch.
    """

    rows: pl.DataFrame
    position: tuple[int, ...]

    @property
    def records(self) -> pl.DataFrame:
        """Records in canonical columns."""
        return extract_records(self.rows)

    @property
    def rejects(self) -> list[Reject]:
        """Rows that are no records."""
        return extract_rejects(self.rows)

    @property
    def event_ns(self) -> pl.Series:
        """When each record was known, in nanoseconds since the epoch; null where a row is no record."""
        return self.rows.select(pl.when(IS_RECORD).then(EVENT_NS).alias("event_ns")).to_series()

    def slice(self, start: int, length: int) -> "CsvBatch":
        """Return some of its rows as a batch of their own."""
        rows, after = self.rows.slice(start, length), self.rows.slice(start + length)
        if FILE_NUMBER not in self.rows.columns:
            return CsvBatch(rows, (self.position[0] - after.height,))
        remaining = dict(after.get_column(FILE_NUMBER).value_counts().iter_rows())
        return CsvBatch(
            rows, tuple(count - remaining.get(number, 0) for number, count in enumerate(self.position))
        )

    def split(self, max_rows: int) -> Iterator["CsvBatch"]:
        """Yield its rows in batches of so many; of several files, rows of one instant stay together."""
        start, events = 0, self.rows.get_column(EVENT_NS)
        while start < self.rows.height:
            end = min(start + max_rows, self.rows.height)
            if FILE_NUMBER in self.rows.columns:
                end = max(int(events.search_sorted(events[end - 1], side="right")), end)
            yield self.slice(start, end - start)
            start = end


@dataclass(frozen=True)
class CsvSource:
    """An opened CSV file: every decision is taken.

    The output is one sequence of rows (records, rejects and ignored lines), the same on every run; a cursor
    is a position in it. A file in order of time is streamed; a large one that is newest first is streamed
    backwards; any other is sorted by time, symbol and line, and a bar's second row is rejected.
    """

    fingerprint: Fingerprint
    warnings: list[str]
    symbols: list[str]
    order: str
    parser: Parser
    scan: FileScan
    reasons: dict[str, str]
    includes_raw: bool = False

    @property
    def record_type(self) -> str:
        """``bar.v1``, ``trade.v1`` or ``quote.v1``."""
        return self.parser.layout.record_type

    @property
    def rows(self) -> int:
        """How many rows the output has: records, rejects and ignored lines."""
        return sum(extent.rows for extent in self.scan.index)

    def describe(self) -> dict[str, object]:
        """Return every decision, for people and for ``--json``."""
        head, layout = self.scan.head, self.parser.layout
        roles = {**layout.roles, **next(iter(layout.panels.values()), {})}
        return {
            "source": self.fingerprint.name,
            "size": self.fingerprint.size,
            "layout": layout.vendor_layout.name if layout.vendor_layout else "",
            "kind": layout.record_type,
            "compression": head.text_file.compression,
            "encoding": head.text_file.encoding,
            "delimiter": head.dialect.delimiter,
            "header_lines": list(head.dialect.header_lines),
            "preamble": list(head.dialect.preamble),
            "columns": {role: layout.names[index] or f"column {index + 1}" for role, index in roles.items()},
            "column_reasons": {role: why for role, why in layout.reasons.items() if role in roles},
            "extra": list(self.parser.extra_columns.values()),
            "decimal": self.scan.decimal_separator,
            "price_scale": self.parser.number_format.scale,
            "date_format": self.parser.time_format.name,
            "date_from": self.reasons["date"],
            "zone": self.parser.zone or ("" if self.parser.interval in DAILY_OR_LONGER else "UTC"),
            "zone_from": self.reasons["zone"],
            "interval": self.parser.interval,
            "interval_from": self.reasons["interval"],
            "order": self.order,
            "rows_stand": self.reasons["order"],
            "symbols": self.symbols,
            "symbol_from": self.reasons["symbol"],
            "warnings": self.warnings,
        }

    @property
    def fingerprints(self) -> tuple[Fingerprint]:
        """The fingerprint of the one file."""
        return (self.fingerprint,)

    def batches(self, start_position: Sequence[int] = (), batch_rows: int = 50_000) -> Iterator[CsvBatch]:
        """Yield the file's records and rejects from a position on.

        Parameters
        ----------
        done
            That of the last batch which is not wanted again.
        batch_rows
            The most rows in one batch; it has no influence on the sequence.

        Raises
        ------
        DataError
            If the file is not any more what it was when it was opened.
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
        """Yield the output in large pieces: the number of rows, and what parses them."""
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
        # a bar may turn out to be a repeat when it is merged with others
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
        """Yield all rows in the file's order, each reject with the time of the record before it."""
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
    """Open a CSV file of prices and take every decision about it; the whole file is read once.

    Parameters
    ----------
    path
        The file, plain or compressed.
    options
        What the user says about it.
    ts_recv_ns
        What the records say of when they were received; now, if it is left out.
    chunk
        How many bytes to read at once.
    digest
        False if the file's digest is not wanted.
    on_bytes
        Told how many bytes have been read.

    Raises
    ------
    DataError
        If the file is no table of prices, or leaves a question open, which the hint names.
    """
    return open_file(
        path,
        path.name,
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
    """Open a file as :func:`open_csv` does, under a name of its own."""
    options = options or Options()
    scan = scan_file(
        read_head(file, options, chunk_bytes=chunk_bytes), options, digest=digest, on_bytes=on_bytes
    )
    date_evidence, date_from = choose_date_format(scan, options)
    scan = replace(scan, evidence=[date_evidence])
    dialect, layout, order = scan.head.dialect, scan.head.dialect.layout, date_evidence.order
    warnings = list(dialect.warnings)
    reasons = {"date": date_from, "order": _describe_order(order)}
    constant, symbols, reasons["symbol"], warning = choose_symbol(scan, options, order, name, folder)
    warnings += [warning] if warning else []
    interval, reasons["interval"], period_end_dates = "", "", False
    if layout.record_type == BAR:
        interval, reasons["interval"], warning = choose_interval(
            scan, options, date_evidence.time_format, order, name
        )
        warnings += [warning] if warning else []
        if period_end_dates := order.has_period_end_dates(interval):
            reasons["interval"] += "; dates are their last days"
    time_format, zone, reasons["zone"], warning = choose_zone(
        scan, options, date_evidence.time_format, interval, symbols, name
    )
    warnings += [warning] if warning else []
    extra_columns = layout.extra_columns() | {
        f"c{i}": layout.names[i] for i in layout.date_duplicates if i not in date_evidence.date_duplicates
    }
    number_format = NumberFormat(scan.decimal_separator, choose_scale(scan, options))
    parser = Parser(
        name,
        scan.head,
        time_format,
        number_format,
        constant,
        interval,
        zone,
        period_end_dates,
        extra_columns,
        ts_recv_ns or clock.now_ns(),
    )
    # two days may fall into one month
    read_order = SORTED if period_end_dates else _choose_read_order(order)
    check_has_records(scan, parser)
    if layout.record_type == BAR and read_order == SORTED:
        check_single_series(scan, parser, name)
    if options.strict and warnings:
        raise DataError(f"--strict: {warnings[0]}", "Answer it with the option that it names.")
    return CsvSource(
        Fingerprint(name, scan.size, scan.digest), warnings, symbols, read_order, parser, scan, reasons
    )


def _describe_order(order: TimeOrder) -> str:
    if order.rows <= 1:
        return "one row"
    if order.rising:
        return OLDEST_FIRST if order.is_rising_overall else "oldest first within each symbol"
    if order.falling:
        return NEWEST_FIRST if order.is_falling_overall else "newest first within each symbol"
    return "in no order of time"


def _choose_read_order(order: TimeOrder) -> str:
    if order.rising and order.is_rising_overall:
        return OLDEST_FIRST
    return (
        NEWEST_FIRST
        if order.falling and order.is_falling_overall and order.rows > MAX_IN_MEMORY_SORT_ROWS
        else SORTED
    )
