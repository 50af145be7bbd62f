"""The instruments of some partitions, numbered by row from 0, with their watermarks and sessions."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import polars as pl

from tickerlake.analytics.bars import Ints
from tickerlake.analytics.known_splits import InstrumentSplits
from tickerlake.analytics.sessions import InstrumentSessions, Sessions
from tickerlake.analytics.types import EARLIEST_NS, Instrument
from tickerlake.analytics.unscheduled import UnscheduledRecords
from tickerlake.errors import DataError
from tickerlake.model.duration import DAY_NS
from tickerlake.model.instrument import split_instrument_id
from tickerlake.model.split import NO_SPLITS, KnownSplits

_INDEX_SCHEMA: Final = pl.Schema(
    [
        ("partition", pl.Int64()),
        *((name, pl.String()) for name in ("instrument_id", "symbol")),
        ("row", pl.Int64()),
        ("registered_interval", pl.String()),
    ]
)
NO_WATERMARK: Final = EARLIEST_NS
"""The watermark of an instrument without a record."""


class Instruments:
    """Rows of instruments, their watermarks, and their sessions.

    Parameters
    ----------
    sessions_of
        Returns the sessions of a market by its ISO 10383 code.
    known_splits
        Their splits, where they are known.

    Attributes
    ----------
    entries
        The instruments by row.
    watermark_ns
        The latest event time of each, int64 of the shape (n,).
    index
        A data frame of them, with the columns partition, instrument_id, symbol, row and registered_interval.
    """

    def __init__(self, sessions_of: Callable[[str], Sessions], known_splits: KnownSplits = NO_SPLITS) -> None:
        self.entries: list[Instrument] = []
        self.watermark_ns: Ints = np.empty(0, dtype=np.int64)
        self.sessions = InstrumentSessions(sessions_of)
        self.splits = InstrumentSplits(known_splits)
        self.unscheduled = UnscheduledRecords(sessions_of)
        self.index = _INDEX_SCHEMA.to_frame()

    def __len__(self) -> int:
        return len(self.entries)

    def add(self, instruments: Sequence[Instrument], watermark_ns: Ints | None = None) -> None:
        """Add new instruments; their rows follow the last one."""
        first = len(self.entries)
        self.entries += instruments
        new_watermark_ns = np.full(len(instruments), NO_WATERMARK) if watermark_ns is None else watermark_ns
        self.watermark_ns = np.concatenate([self.watermark_ns, new_watermark_ns])
        self.splits.add((each.instrument_id, each.symbol) for each in instruments)
        markets = [split_instrument_id(each.instrument_id)[1] for each in instruments]
        self.sessions.add(markets)
        self.unscheduled.add(markets)
        rows = [
            (each.partition, each.instrument_id, each.symbol, first + n, each.input_interval)
            for n, each in enumerate(instruments)
        ]
        self.index = pl.concat([self.index, pl.DataFrame(rows, schema=_INDEX_SCHEMA, orient="row")])

    def retain(self, rows: Ints) -> None:
        """Keep only these instruments and renumber them in this order."""
        retained, watermark_ns = [self.entries[row] for row in rows], self.watermark_ns[rows]
        self.entries, self.watermark_ns = [], self.watermark_ns[:0]
        self.sessions.clear()
        self.splits.clear()
        self.unscheduled.clear()
        self.index = self.index.clear()
        self.add(retained, watermark_ns)

    def rows_of(self, partition: int) -> Ints:
        """Return the rows of a partition's instruments."""
        return self.index.filter(pl.col("partition") == partition).get_column("row").to_numpy()

    def count_unscheduled(self, frame: pl.DataFrame) -> None:
        """Count the trades, and the bars shorter than a day, that are on a day without a session.

        Parameters
        ----------
        frame
            Rows of instruments with the columns row, start_ns and end_ns.
        """
        is_short = frame["end_ns"] - frame["start_ns"] < DAY_NS
        if not is_short.all():
            frame = frame.filter(is_short)
        self.unscheduled.count(frame["row"].to_numpy(), frame["start_ns"].to_numpy())

    def resolve(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, list[Instrument]]:
        """Add the columns ``row`` and ``registered_interval`` (null for an invalid id); add new instruments.

        Parameters
        ----------
        frame
            Rows with the columns partition, instrument_id and input_interval, in the order of the records.

        Returns
        -------
        DataFrame, list of Instrument
            The frame with the two columns, and the instruments that are new.
        """
        key = ["partition", "instrument_id"]
        numbered = frame.join(self.index.drop("symbol"), on=key, how="left", maintain_order="left")
        if not numbered.get_column("row").null_count():
            return numbered, []
        unknown = numbered.filter(pl.col("row").is_null()).unique(key, keep="first", maintain_order=True)
        new = []
        for partition, instrument_id, input_interval in unknown.select(*key, "input_interval").iter_rows():
            try:
                symbol, _ = split_instrument_id(instrument_id)
            except DataError:
                continue
            new.append(Instrument(instrument_id, symbol, input_interval, partition))
        self.add(new)
        return frame.join(self.index.drop("symbol"), on=key, how="left", maintain_order="left"), new
