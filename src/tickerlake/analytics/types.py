"""What goes into the engine and what comes out: options, instruments, results, and the alerts' interface."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, Protocol

import polars as pl

from tickerlake.analytics.bar_times import Alignment, Day
from tickerlake.analytics.bars import Bars, Floats, Ints
from tickerlake.analytics.defaults import AHEAD, GRACE, IDLE, LATENESS
from tickerlake.analytics.sessions import Hours
from tickerlake.analytics.state_table import StateTable
from tickerlake.model.alert import Alert
from tickerlake.model.duration import parse_duration_ns
from tickerlake.model.split import NO_SPLITS, KnownSplits

TRADES: Final = ""
"""The input interval of an instrument that sends trades; of one that sends bars it is the bars' interval."""

EARLIEST_NS: Final = -(1 << 62)
LATEST_NS: Final = 1 << 62
"""The range of event times, November 1823 to February 2116: int64 with room for what is added to them."""

CLOCK_OFFSET: Final = -1
"""The offset of a result that no record caused: the clock did."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Which bars and indicators to compute, and how long to wait for records.

    Parameters
    ----------
    intervals
        Bars to build, for example ``("1m", "1d")``. For an instrument that sends bars, only intervals longer
        than its own are built.
    indicators
        Indicators of every closed bar, in the syntax of
        :func:`tickerlake.analytics.indicators.registry.parse`.
    grace_ns
        How long a bar waits for records after its end, in event time.
    lateness_ns
        How long after ``grace_ns`` a late record still restates its bar.
    idle_ns
        How long after its end, by the clock, a bar waits for the record that closes it.
    max_ahead_ns
        How far a record's time may be ahead of its Kafka timestamp; None for no limit.
    source_tag
        The ``source`` of the bars that this job writes.
    day, align
        Which trades a daily bar contains, and what long intraday bars are aligned to: see
        :class:`tickerlake.analytics.bar_times.BarTimes`.
    splits
        The splits of the instruments, where they are known.
    conditions
        ``sip``: sale conditions decide what a trade may set, by the rules of the US tapes; ``all``: every
        trade sets everything.
    """

    intervals: tuple[str, ...] = ("1m",)
    indicators: tuple[str, ...] = ()
    grace_ns: int = parse_duration_ns(GRACE)
    lateness_ns: int = parse_duration_ns(LATENESS)
    idle_ns: int = parse_duration_ns(IDLE)
    max_ahead_ns: int | None = parse_duration_ns(AHEAD)
    source_tag: str = "track"
    day: Day = "regular"
    align: Alignment = "session"
    splits: KnownSplits = NO_SPLITS
    conditions: Literal["sip", "all"] = "sip"


class Instrument(NamedTuple):
    """An instrument of a partition.

    Parameters
    ----------
    instrument_id, symbol
        ``AAPL.XNAS`` and ``AAPL``.
    input_interval
        What it sends: `TRADES`, or the interval of its bars.
    partition
        The partition that its records are in.
    """

    instrument_id: str
    symbol: str
    input_interval: str = TRADES
    partition: int = 0


class FiredAlert(NamedTuple):
    """An alert, and the index of what raised it in the arguments of the call: a bar or an instrument."""

    position: int
    alert: Alert


class RaisedAlert(NamedTuple):
    """An alert, and the record that raised it (offset `CLOCK_OFFSET` if none did)."""

    partition: int
    offset: int
    alert: Alert


class Watcher(Protocol):
    """Raises alerts on what the engine computes: see :class:`tickerlake.alerts.engine.AlertEngine`.

    Attributes
    ----------
    required_indicators
        Canonical texts of the indicators it needs, by interval.
    tick_intervals
        Intervals whose forming bars it evaluates.
    counts_rejects
        True if it evaluates rejected records.
    """

    required_indicators: dict[str, frozenset[str]]
    tick_intervals: frozenset[str]
    counts_rejects: bool

    def add_instruments(self, instruments: Sequence[Instrument]) -> None:
        """Add instruments; their rows follow the last one."""
        ...

    def retain(self, rows: Ints) -> None:
        """Keep only these instruments and renumber them in this order."""
        ...

    def on_close(
        self, interval: str, bars: Bars, values: Mapping[str, Floats], detected_ns: Ints
    ) -> Sequence[FiredAlert]:
        """Evaluate closed bars, at most one per instrument."""
        ...

    def on_tick(
        self, interval: str, bars: Bars, values: Mapping[str, Floats], event_ns: Ints, detected_ns: Ints
    ) -> Sequence[FiredAlert]:
        """Evaluate forming bars, one after each trade."""
        ...

    def on_idle(self, rows: Ints, last_event_ns: Ints, now_ns: int, hours: Hours) -> Sequence[FiredAlert]:
        """Evaluate instruments by the clock, each once."""
        ...

    def on_rejects(self, rows: Ints, counts: Ints, event_ns: Ints, detected_ns: Ints) -> Sequence[FiredAlert]:
        """Evaluate how many records of each instrument were rejected."""
        ...

    def tables(self) -> dict[str, StateTable]:
        """Return all per-instrument state, by names that are the same in every run."""
        ...


@dataclass(frozen=True, slots=True)
class Output:
    """The results of a batch, each in the order of the records that caused them.

    Parameters
    ----------
    bars
        Bars that closed or were restated, as ``bar.v1`` records, after the columns partition and offset of
        the record that closed or restated them.
    indicators
        Values of closed bars, as ``indicator.v1`` records, after the same columns.
    alerts
        Alerts.
    rejects
        Records that cannot be used (columns `decode.REJECT_SCHEMA`).
    skipped
        Number of records skipped, by reason.
    rows
        Number of records used.
    left_out
        Number of trades that do not set every price, or do not count, by sale condition.
    unknown_conditions
        Number of trades by unknown code of a sale condition.
    """

    bars: pl.DataFrame
    indicators: pl.DataFrame
    alerts: list[RaisedAlert]
    rejects: pl.DataFrame
    skipped: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    unknown_conditions: Counter[str] = field(default_factory=Counter)
