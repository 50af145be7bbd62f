"""Bars as columns: what indicators and detectors process."""

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Phase(IntEnum):
    """The parts of a session, in order of their numbers: these are part of snapshots."""

    PRE_MARKET = 0
    REGULAR = 1
    """With the auctions and the lunch break."""

    AFTER_HOURS = 2
    CLOSED = 3
    """Outside all hours of the market: overnight venues, or a session that the calendar lacks."""


@dataclass(frozen=True, slots=True)
class Bars:
    """One bar of each of k instruments; every array has the shape (k,).

    Parameters
    ----------
    rows
        The instruments' rows: the index of their state.
    ts_open_ns, ts_close_ns
        Start and end, UTC nanoseconds: ``[open, close)``.
    open, high, low, close
        Prices; open, high and low are NaN where only the close is known.
    volume
        Shares; NaN where the source has none.
    vwap
        Volume-weighted price of the bar; where it is unknown the typical price (high + low + close) / 3, or
        the close if that is all.
    session
        The session date, in days since 1970-01-01.
    session_open_ns, session_close_ns
        Open and close of the session; the UTC day where there is no calendar.
    break_start_ns, break_end_ns
        The session's lunch break; both 0 if there is none.
    phase
        The part of the session (`Phase`); that of all bars is regular where there is no calendar.
    first_of_session
        True for an instrument's first bar of its regular session, whatever traded before the open.
    first_of_phase
        True for an instrument's first bar of a phase of its session.
    split_factor
        The new price divided by the old one, for the splits since the instrument's last bar: 1 for none, NaN
        where the instrument's splits are not known.
    """

    rows: Ints
    ts_open_ns: Ints
    ts_close_ns: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    vwap: Floats
    session: Ints
    session_open_ns: Ints
    session_close_ns: Ints
    break_start_ns: Ints
    break_end_ns: Ints
    phase: Ints
    first_of_session: Flags
    first_of_phase: Flags
    split_factor: Floats

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def has_range(self) -> Flags:
        """True for bars of which more than the close is known."""
        return ~np.isnan(self.high)

    @property
    def is_regular(self) -> Flags:
        """True for bars of regular hours."""
        regular: Flags = self.phase == Phase.REGULAR
        return regular

    @property
    def follows_gap(self) -> Flags:
        """True for the first bar before the open and the first of regular hours; after the close, none."""
        follows: Flags = self.first_of_phase & (self.phase != Phase.AFTER_HOURS)
        return follows

    @property
    def is_split(self) -> Flags:
        """True for bars at whose start a known split takes effect."""
        is_split: Flags = (self.split_factor != 1.0) & ~np.isnan(self.split_factor)
        return is_split

    @property
    def has_splits(self) -> bool:
        """True if a known split takes effect in one of the bars."""
        return bool(np.count_nonzero(self.is_split))

    @property
    def first_price(self) -> Floats:
        """The first known price: the open, or the close if that is all."""
        return np.where(self.has_range, self.open, self.close)

    def select(self, selection: Ints | Flags | slice) -> Self:
        """Return some of the bars."""
        return type(self)(*(getattr(self, field.name)[selection] for field in fields(self)))
