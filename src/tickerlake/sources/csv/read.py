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
from tickerlake.model.interval import DAILY
from tickerlake.model.reject import Reject
from tickerlake.model.schema import BAR
from tickerlake.sources.ahead import mapped
from tickerlake.sources.csv.chunks import CHUNK, Chunk, stamp
from tickerlake.sources.csv.decide import (
    choose_dates,
    choose_interval,
    choose_scale,
    choose_symbol,
    choose_zone,
    refuse_if_mixed,
    refuse_if_no_record,
)
from tickerlake.sources.csv.numbers import NumberForm
from tickerlake.sources.csv.options import Options
from tickerlake.sources.csv.order import Order
from tickerlake.sources.csv.parse import EVENT, FILE, IS_RECORD, Parser, records_of, rejects_of
from tickerlake.sources.csv.sort import refuse_repeats, sort_rows, timed
from tickerlake.sources.csv.survey import Survey, read_head, survey
from tickerlake.sources.merge import merge, read_run, write_run
from tickerlake.sources.source import Fingerprint

OLDEST_FIRST: Final = "oldest first"
NEWEST_FIRST: Final = "newest first"
SORTED: Final = "sorted"
SORT_ROWS: Final = 200_000
"""Files that are not in order of time are sorted in memory up to this size, larger ones in runs on disk."""


@dataclass(frozen=True)
class Table:
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
    done: tuple[int, ...]

    @property
    def records(self) -> pl.DataFrame:
        """Records in canonical columns."""
        return records_of(self.rows)

    @property
    def rejects(self) -> list[Reject]:
        """Rows that are no records."""
        return rejects_of(self.rows)

    @property
    def event_ns(self) -> pl.Series:
        """When each record was known, in nanoseconds since the epoch; null where a row is no record."""
        return self.rows.select(pl.when(IS_RECORD).then(EVENT).alias("event_ns")).to_series()

    def cut(self, start: int, length: int) -> "Table":
        """Return some of its rows as a batch of their own."""
        rows, after = self.rows.slice(start, length), self.rows.slice(start + length)
        if FILE not in self.rows.columns:
            return Table(rows, (self.done[0] - after.height,))
        left = dict(after.get_column(FILE).value_counts().iter_rows())
        return Table(rows, tuple(count - left.get(number, 0) for number, count in enumerate(self.done)))

    def split(self, most: int) -> Iterator["Table"]:
        """Yield its rows in batches of so many; of several files, rows of one instant stay together."""
        start, events = 0, self.rows.get_column(EVENT)
        while start < self.rows.height:
            end = min(start + most, self.rows.height)
            if FILE in self.rows.columns:
                end = max(int(events.search_sorted(events[end - 1], side="right")), end)
            yield self.cut(start, end - start)
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
    found: Survey
    reasons: dict[str, str]
    keeps_text: bool = False

    @property
    def kind(self) -> str:
        """``bar.v1``, ``trade.v1`` or ``quote.v1``."""
        return self.parser.layout.kind

    @property
    def rows(self) -> int:
        """How many rows the output has: records, rejects and ignored lines."""
        return sum(extent.rows for extent in self.found.index)

    def describe(self) -> dict[str, object]:
        """Return every decision, for people and for ``--json``."""
        head, layout = self.found.head, self.parser.layout
        roles = {**layout.roles, **next(iter(layout.panels.values()), {})}
        return {
            "source": self.fingerprint.name,
            "size": self.fingerprint.size,
            "layout": layout.known.name if layout.known else "",
            "kind": layout.kind,
            "compression": head.text.compression,
            "encoding": head.text.encoding,
            "delimiter": head.dialect.separator,
            "header_lines": list(head.dialect.header_lines),
            "preamble": list(head.dialect.preamble),
            "columns": {role: layout.names[index] or f"column {index + 1}" for role, index in roles.items()},
            "column_reasons": {role: why for role, why in layout.reasons.items() if role in roles},
            "extra": list(self.parser.extras.values()),
            "decimal": self.found.decimal,
            "price_scale": self.parser.numbers.scale,
            "date_format": self.parser.form.name,
            "date_from": self.reasons["date"],
            "zone": self.parser.zone or ("" if self.parser.interval in DAILY else "UTC"),
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

    def batches(self, done: Sequence[int] = (), batch_rows: int = 50_000) -> Iterator[Table]:
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
        skip, at = sum(done), 0
        self._check_unchanged()
        for count, rows in mapped(self._wanted(skip), _parsed):
            if rows is None:
                at += count
                continue
            for start in range(0, count, batch_rows):
                part = rows.slice(start, batch_rows)
                at += part.height
                if at > skip:
                    yield Table(part.tail(at - skip), (at,))
        self._check_unchanged()

    def _check_unchanged(self) -> None:
        try:
            now = stamp(self.found.head.text.file)
        except DataError as error:
            raise self._changed() from error
        if now != self.found.head.stamp:
            raise self._changed()

    def _changed(self) -> DataError:
        return DataError(f"{self.fingerprint.name} changed while it was read.", "Run the command again.")

    def _wanted(self, skip: int) -> Iterator[tuple[int, Callable[[], pl.DataFrame] | None]]:
        at = 0
        for count, parse in self._pieces():
            at += count
            yield count, parse if at > skip else None

    def _pieces(self) -> Iterator[tuple[int, Callable[[], pl.DataFrame]]]:
        """Yield the output in large pieces: the number of rows, and what parses them."""
        if self.order == SORTED:
            for rows in self._sorted():
                yield rows.height, partial(refuse_repeats, rows)
            return
        text, index = self.found.head.text, self.found.index
        newest_first = self.order == NEWEST_FIRST
        chunks = text.reversed_chunks(index) if newest_first else text.chunks()
        for extent, chunk in zip_longest(reversed(index) if newest_first else index, chunks):
            if extent is None or chunk is None or extent[:3] != chunk[:3]:
                raise self._changed()
            yield extent.rows, partial(self._parse, chunk, reverse=newest_first)

    def _parse(self, chunk: Chunk, *, reverse: bool = False) -> pl.DataFrame:
        # a bar may turn out to be a repeat when it is merged with others
        keep = self.kind == BAR and (self.keeps_text or self.order == SORTED)
        rows = self.parser.parse(chunk, keep_text=keep)
        return rows.reverse() if reverse else rows

    def _sorted(self) -> Iterator[pl.DataFrame]:
        backward = self.found.evidence[0].order.falling and not self.found.evidence[0].order.rising
        sort = partial(sort_rows, newest_first=backward)
        if self.rows <= SORT_ROWS:
            tables = list(self._timed())
            if not tables:
                raise self._changed()
            yield sort(pl.concat(tables))
            return
        with tempfile.TemporaryDirectory(prefix="tickerlake-sort-") as folder:
            runs = [
                write_run([sort(pl.concat(group))], _made(Path(folder) / f"{n}"))
                for n, group in enumerate(_grouped(self._timed()))
            ]
            yield from merge([read_run(run) for run in runs], EVENT, sort)

    def _timed(self) -> Iterator[pl.DataFrame]:
        """Yield all rows in the file's order, each reject with the time of the record before it."""
        return timed(map(self._parse, self.found.head.text.chunks()))


def _parsed(piece: tuple[int, Callable[[], pl.DataFrame] | None]) -> tuple[int, pl.DataFrame | None]:
    count, parse = piece
    return count, parse() if parse is not None else None


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _grouped(tables: Iterator[pl.DataFrame]) -> Iterator[list[pl.DataFrame]]:
    group: list[pl.DataFrame] = []
    for table in tables:
        group.append(table)
        if sum(each.height for each in group) >= SORT_ROWS:
            yield group
            group = []
    if group:
        yield group


def open_csv(
    path: Path,
    options: Options | None = None,
    *,
    ts_recv_ns: int | None = None,
    chunk: int = CHUNK,
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
        chunk=chunk,
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
    chunk: int = CHUNK,
    digest: bool = True,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> CsvSource:
    """Open a file as :func:`open_csv` does, under a name of its own."""
    options = options or Options()
    found = survey(read_head(file, options, chunk=chunk), options, digest=digest, on_bytes=on_bytes)
    best, date_from = choose_dates(found, options)
    found = replace(found, evidence=[best])
    dialect, layout, order = found.head.dialect, found.head.dialect.layout, best.order
    warnings = list(dialect.warnings)
    reasons = {"date": date_from, "order": _stand(order)}
    constant, symbols, reasons["symbol"], warning = choose_symbol(found, options, order, name, folder)
    warnings += [warning] if warning else []
    interval, reasons["interval"], ends = "", "", False
    if layout.kind == BAR:
        interval, reasons["interval"], warning = choose_interval(found, options, best.form, order, name)
        warnings += [warning] if warning else []
        if ends := order.ends(interval):
            reasons["interval"] += "; dates are their last days"
    form, zone, reasons["zone"], warning = choose_zone(found, options, best.form, interval, symbols, name)
    warnings += [warning] if warning else []
    extras = layout.extras() | {f"c{i}": layout.names[i] for i in layout.repeats if i not in best.repeats}
    numbers = NumberForm(found.decimal, choose_scale(found, options))
    parser = Parser(
        name, found.head, form, numbers, constant, interval, zone, ends, extras, ts_recv_ns or clock.now_ns()
    )
    # two days may fall into one month
    how = SORTED if ends else _order_name(order)
    refuse_if_no_record(found, parser)
    if layout.kind == BAR and how == SORTED:
        refuse_if_mixed(found, parser, name)
    if options.strict and warnings:
        raise DataError(f"--strict: {warnings[0]}", "Answer it with the option that it names.")
    return CsvSource(
        Fingerprint(name, found.size, found.digest), warnings, symbols, how, parser, found, reasons
    )


def _stand(order: Order) -> str:
    if order.rows <= 1:
        return "one row"
    if order.rising:
        return OLDEST_FIRST if order.merged else "oldest first within each symbol"
    if order.falling:
        return NEWEST_FIRST if order.merged_falling else "newest first within each symbol"
    return "in no order of time"


def _order_name(order: Order) -> str:
    if order.rising and order.merged:
        return OLDEST_FIRST
    return NEWEST_FIRST if order.falling and order.merged_falling and order.rows > SORT_ROWS else SORTED
