"""Open a CSV file of prices and read it in batches, oldest bar first."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.resources.abc import Traversable
from itertools import zip_longest
from pathlib import Path
from typing import Final

import polars as pl

from tickerlake import clock
from tickerlake.errors import DataError
from tickerlake.model.instrument import check_symbol
from tickerlake.model.reject import Reject
from tickerlake.sources.csv.chunks import Chunk
from tickerlake.sources.csv.interval import DAILY, interval_of
from tickerlake.sources.csv.order import Order
from tickerlake.sources.csv.parse import IS_BAR, Parser, records_of, rejects_of
from tickerlake.sources.csv.sniff import Survey, choose, read_head, survey
from tickerlake.sources.csv.sort import sort_rows
from tickerlake.sources.csv.symbols import symbol_from_name

OLDEST_FIRST: Final = "oldest first"
NEWEST_FIRST: Final = "newest first"
BY_SYMBOL: Final = "oldest first within each symbol"
SORTED: Final = "sorted"
_PROBE_ROWS: Final = 1000
SORT_ROWS: Final = 2_000_000
"""Files of several symbols up to this size are merged by time in memory; larger ones keep their order."""


@dataclass(frozen=True)
class Fingerprint:
    """What tells a file from another, or from itself after a change.

    Parameters
    ----------
    name
        The name that its records carry as ``source``.
    size
        Its size in bytes, as stored.
    digest
        BLAKE2b-128 of its bytes, as stored.
    """

    name: str
    size: int
    digest: str


@dataclass(frozen=True)
class Table:
    """A batch of a file.

    Parameters
    ----------
    rows
        Parsed rows: bars, rejects and ignored lines, in the order of the output.
    source
        The name that its records carry.
    rows_done
        Rows of the output from its beginning to the end of this batch: pass it as ``skip_rows`` to go on.
    """

    rows: pl.DataFrame
    source: str
    rows_done: int

    @property
    def records(self) -> pl.DataFrame:
        """Bars in canonical columns."""
        return records_of(self.rows)

    @property
    def rejects(self) -> list[Reject]:
        """Rows that are no bars."""
        return rejects_of(self.rows, self.source)

    @property
    def event_ns(self) -> pl.Series:
        """When each row's bar closed, in nanoseconds since the epoch; null where a row is no bar."""
        return self.rows.select(pl.when(IS_BAR).then("ts_close_ns").alias("event_ns")).to_series()

    def cut(self, start: int, length: int) -> "Table":
        """Return some of its rows as a batch of their own."""
        rows = self.rows.slice(start, length)
        return Table(rows, self.source, self.rows_done - len(self.rows) + start + len(rows))


@dataclass(frozen=True)
class CsvSource:
    """An opened CSV file: every decision is taken.

    The output is one sequence of rows (bars, rejects and ignored lines), the same on every run; a cursor is a
    position in it. A file in order of time is streamed; one that is newest first is streamed backwards; any
    other is sorted by time, symbol and line in memory, rejects first, and a key's second row is rejected.
    """

    fingerprint: Fingerprint
    warnings: list[str]
    symbols: list[str]
    order: str
    parser: Parser
    found: Survey

    @property
    def rows(self) -> int:
        """How many rows the output has: bars, rejects and ignored lines."""
        return sum(extent.rows for extent in self.found.index)

    def describe(self) -> dict[str, object]:
        """Return every decision, for people and for ``--json``."""
        head, layout = self.found.head, self.parser.layout
        return {
            "source": self.fingerprint.name,
            "size": self.fingerprint.size,
            "digest": self.fingerprint.digest,
            "compression": head.text.compression,
            "encoding": head.text.encoding,
            "delimiter": head.separator,
            "header_line": head.header_line,
            "columns": {role: layout.names[index] for role, index in layout.roles.items()},
            "extra": list(self.parser.extras.values()),
            "date_format": self.parser.form.name,
            "zone": "UTC" if self.parser.form.naive else self.parser.form.zone,
            "interval": self.parser.interval,
            "order": self.order,
            "symbols": self.symbols,
            "symbol_from": "column" if self.parser.symbol is None else "name or option",
            "warnings": self.warnings,
        }

    def batches(self, skip_rows: int = 0, batch_rows: int = 50_000) -> Iterator[Table]:
        """Yield the file's bars and rejects from a position on.

        Parameters
        ----------
        skip_rows
            The ``rows_done`` of the last batch that is not wanted again.
        batch_rows
            The most rows in one batch; it has no influence on the sequence.
        """
        done = 0
        for count, parse in self._pieces():
            if done + count <= skip_rows:
                done += count
                continue
            rows = parse()
            for start in range(0, count, batch_rows):
                part = rows.slice(start, batch_rows)
                done += len(part)
                if done > skip_rows:
                    part = part.tail(done - skip_rows)
                    yield Table(part, self.parser.source, done)

    def _pieces(self) -> Iterator[tuple[int, Callable[[], pl.DataFrame]]]:
        """Yield the output in large pieces: the number of rows, and what parses them."""
        if self.order == SORTED:
            rows = self._sorted()
            yield len(rows), lambda: rows
            return
        text, index = self.found.head.text, self.found.index
        newest_first = self.order == NEWEST_FIRST
        chunks = text.reversed_chunks(index) if newest_first else text.chunks()
        for extent, chunk in zip_longest(reversed(index) if newest_first else index, chunks):
            if (
                extent is None
                or chunk is None
                or extent[:3] != (chunk.offset, chunk.length, chunk.first_line)
            ):
                raise DataError(
                    f"{self.fingerprint.name} changed while it was read.", "Run the command again."
                )
            yield extent.rows, partial(self._parse, chunk, reverse=newest_first)

    def _parse(self, chunk: Chunk, *, reverse: bool = False) -> pl.DataFrame:
        rows = self.parser.parse(self.found.head.rows(chunk))
        return rows.reverse() if reverse else rows

    def _sorted(self) -> pl.DataFrame:
        return sort_rows(pl.concat([self._parse(chunk) for chunk in self.found.head.text.chunks()]))


def open_csv(
    path: Path,
    *,
    symbol: str | None = None,
    date_format: str | None = None,
    ts_recv_ns: int | None = None,
) -> CsvSource:
    """Open a CSV file of prices and take every decision about it; the whole file is read once.

    Parameters
    ----------
    path
        The file, plain or compressed with gzip.
    symbol
        The symbol of its rows, if no column has it.
    date_format
        The order of day and month, if the file leaves it open: ``DD-MM-YYYY`` or ``%d-%m-%Y``.
    ts_recv_ns
        What the records say of when they were received; now, if it is left out.

    Raises
    ------
    DataError
        If the file is no CSV file of prices, or leaves a question open, which the hint names.
    """
    return open_file(path, path.name, symbol=symbol, date_format=date_format, ts_recv_ns=ts_recv_ns)


def open_file(
    file: Traversable,
    name: str,
    *,
    symbol: str | None = None,
    date_format: str | None = None,
    ts_recv_ns: int | None = None,
) -> CsvSource:
    """Open a file as :func:`open_csv` does, under a name of its own."""
    found = survey(read_head(file), date_format)
    best = choose(found, date_format)
    layout, order = found.head.layout, best.order
    warnings = []
    if "symbol" in layout.roles and symbol is None:
        constant = None
    elif symbol is not None:
        constant = check_symbol(symbol)
    else:
        constant, warning = symbol_from_name(file.name)
        warnings += [warning] if warning else []
    interval = interval_of(order.median_gap, daily=best.form.daily)
    if not interval:
        interval = "1m"
        warnings.append(f"{name}: one row does not tell its interval: 1m is assumed.")
    daily = interval in DAILY
    if best.form.naive and not daily:
        warnings.append(f"{name}: times have no zone: UTC is assumed. Name it with --tz.")
    how = _order_name(order)
    if how == BY_SYMBOL:
        warnings.append(f"{name} is too large to merge by time: each symbol is oldest first.")
    extras = layout.extras() | {f"c{i}": layout.names[i] for i in layout.repeats if i not in best.repeats}
    parser = Parser(name, layout, best.form, constant, interval, extras, ts_recv_ns or clock.now_ns())
    _refuse_if_no_bar(found, parser)
    symbols = order.symbols if constant is None else [constant]
    return CsvSource(Fingerprint(name, found.size, found.digest), warnings, symbols, how, parser, found)


def _refuse_if_no_bar(found: Survey, parser: Parser) -> None:
    """Refuse a file of whose beginning no row is a bar: its layout is not understood."""
    rejects: list[Reject] = []
    for chunk in found.head.text.chunks():
        rows = parser.parse(found.head.rows(chunk))
        if not records_of(rows).is_empty():
            return
        rejects += rejects_of(rows.head(_PROBE_ROWS), parser.source)
        if len(rejects) >= _PROBE_ROWS:
            break
    example = f"line {rejects[0].line} ({rejects[0].reason}): {rejects[0].raw[:80]!r}"
    raise DataError(f"{parser.source}: no row can be read as a bar, such as {example}.", "Check the layout.")


def _order_name(order: Order) -> str:
    if order.rising and order.merged:
        return OLDEST_FIRST
    if order.rows <= SORT_ROWS:
        return SORTED
    if order.rising:
        return BY_SYMBOL
    return NEWEST_FIRST if order.falling else SORTED
