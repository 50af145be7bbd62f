"""The instruments of some partitions, numbered from 0, and what is known of each."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from tickerlake.analytics.bars import Ints
from tickerlake.analytics.sessions import Sessions, SessionsByRow
from tickerlake.errors import DataError
from tickerlake.model.instrument import split_instrument_id

_NAMES: Final = pl.Schema(
    [
        ("partition", pl.Int64()),
        *((name, pl.String()) for name in ("instrument_id", "symbol")),
        ("row", pl.Int64()),
        ("own_feed", pl.String()),
    ]
)
NEVER: Final = -(1 << 62)
"""The watermark of an instrument without a record."""


class Instrument(NamedTuple):
    """An instrument of a partition, and what it sends: trades (``""``) or bars of an interval."""

    partition: int
    instrument_id: str
    symbol: str
    feed: str


class Instruments:
    """Numbers of instruments, their watermarks, and their sessions.

    Parameters
    ----------
    sessions_of
        The sessions of a market, by its ISO 10383 code.
    """

    def __init__(self, sessions_of: Callable[[str], Sessions]) -> None:
        self.known: list[Instrument] = []
        self.mark_ns: Ints = np.empty(0, dtype=np.int64)
        self.sessions = SessionsByRow(sessions_of)
        self.names = _NAMES.to_frame()

    def __len__(self) -> int:
        return len(self.known)

    def add(self, found: Sequence[Instrument], mark_ns: Ints | None = None) -> None:
        """Give numbers to further instruments, which are all new."""
        first = len(self.known)
        self.known += found
        fresh = np.full(len(found), NEVER) if mark_ns is None else mark_ns
        self.mark_ns = np.concatenate([self.mark_ns, fresh])
        self.sessions.add(split_instrument_id(each.instrument_id)[1] for each in found)
        rows = [
            (each.partition, each.instrument_id, each.symbol, first + n, each.feed)
            for n, each in enumerate(found)
        ]
        self.names = pl.concat([self.names, pl.DataFrame(rows, schema=_NAMES, orient="row")])

    def keep(self, rows: Ints) -> None:
        """Drop all instruments but some, which are numbered anew in the given order."""
        kept, mark_ns = [self.known[row] for row in rows], self.mark_ns[rows]
        self.known, self.mark_ns = [], self.mark_ns[:0]
        self.sessions.clear()
        self.names = self.names.clear()
        self.add(kept, mark_ns)

    def of(self, partition: int) -> Ints:
        """Return the numbers of a partition's instruments."""
        return self.names.filter(pl.col("partition") == partition).get_column("row").to_numpy()

    def number(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, list[Instrument]]:
        """Add the columns ``row`` and ``own_feed``, null for what is no instrument; also return the new ones.

        Parameters
        ----------
        frame
            Rows with the columns partition, instrument_id and feed, in the order of the records.
        """
        key = ["partition", "instrument_id"]
        numbered = frame.join(self.names.drop("symbol"), on=key, how="left", maintain_order="left")
        if not numbered.get_column("row").null_count():
            return numbered, []
        unknown = numbered.filter(pl.col("row").is_null()).unique(key, keep="first", maintain_order=True)
        found = []
        for partition, instrument_id, feed in unknown.select(*key, "feed").iter_rows():
            try:
                symbol, _ = split_instrument_id(instrument_id)
            except DataError:
                continue
            found.append(Instrument(partition, instrument_id, symbol, feed))
        self.add(found)
        return frame.join(self.names.drop("symbol"), on=key, how="left", maintain_order="left"), found
