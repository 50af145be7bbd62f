"""What a detector is: one number of each bar, and whether it is out of the ordinary.

A detector of your own takes few lines; see :func:`tickerlake.alerts.detectors.registry.register`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np

from tickerlake.alerts.detectors.parameter import Parameter
from tickerlake.analytics.bars import Bars, Flags, Floats, Ints
from tickerlake.analytics.state_table import Fields, State, StateTable
from tickerlake.model.alert import Cause, Unit
from tickerlake.model.duration import parse_duration_ns

NAN: Final = float("nan")
IndicatorValues = Mapping[str, Floats]
"""Indicators by their canonical texts, each of the shape (k,)."""


class Reading(NamedTuple):
    """What a detector says of k bars; arrays of the shape (k,), a number where it is the same for all.

    Parameters
    ----------
    value
        The signed measure, in the detector's unit; NaN where there is none yet.
    fire
        Where the threshold is reached.
    clear
        Where the value is below the clear threshold.
    threshold, baseline
        What the value is compared with, and what is usual.
    reference
        The price that the move is told against.
    price
        The price that is told; None for the close.
    direction
        Its sign is the direction; None for that of ``value``.
    since
        The session of the reference price, in days since 1970-01-01.
    """

    value: Floats
    fire: Flags
    clear: Flags
    threshold: Floats | float = NAN
    baseline: Floats | float = NAN
    reference: Floats | float = NAN
    price: Floats | None = None
    direction: Floats | None = None
    since: Floats | float = NAN


class Detector(ABC):
    """Says of each bar how unusual it is, knowing the bars before it.

    A subclass gives ``parameters`` with their defaults, ``unit``, ``fields`` and ``step``; the rest follows.
    As with an indicator, the result must not depend on which other instruments share a step: only
    element-wise arithmetic, no sums along an axis.

    Parameters
    ----------
    given
        Values of the parameters, and ``direction`` and ``clear`` of the rule.
    interval
        The width of the bars.
    """

    parameters: ClassVar[Mapping[str, object]] = {"threshold": Parameter.number()}
    """Names and defaults; a :class:`Parameter` where more is to be said about what is allowed."""

    unit: ClassVar[Unit] = "pct"

    threshold_parameter: ClassVar[str] = "threshold"
    """The name of the parameter that the value is compared with; empty for none."""

    clear_ratio: ClassVar[float] = 0.4
    """The clear threshold in parts of the threshold, where a rule says nothing."""

    warmup: ClassVar[int] = 0
    """How many bars are looked at before the first alert, where a rule says nothing."""

    clear_bars: ClassVar[int] = 3
    intraday_only: ClassVar[bool] = False
    """True if bars of days tell it nothing."""

    max_interval: ClassVar[str] = ""
    """The widest bars that tell it something; empty for any."""

    supports_ticks: ClassVar[bool] = True
    """True if it can look at bars that are not closed."""

    has_direction: ClassVar[bool] = True
    """True if a rule can ask for one direction only."""

    refires_on_double: ClassVar[bool] = True
    """True if twice the move is news: not where the price is compared with what it has just passed."""

    monitors_data: ClassVar[bool] = False
    """True if it is shown what comes and what does not, rather than bars."""

    cause: ClassVar[Cause] = "market"
    price_fields: ClassVar[tuple[str, ...]] = ()
    """The fields that hold prices, which a split changes …"""

    share_fields: ClassVar[tuple[str, ...]] = ()
    """… and those that hold numbers of shares."""

    def __init__(self, arguments: Mapping[str, Any] | None = None, interval: str = "1d") -> None:
        self.arguments: dict[str, Any] = {**default_arguments(type(self)), **(arguments or {})}
        self.interval = interval
        self.interval_ns = parse_duration_ns(interval)
        self.is_daily = self.interval_ns >= parse_duration_ns("1d")
        self.direction: str = self.arguments.get("direction", "both")
        limit = self.arguments.get(self.threshold_parameter)
        self.threshold = NAN if limit is None else float(limit)
        clear = self.arguments.get("clear")
        self.clear_threshold = self.threshold * self.clear_ratio if clear is None else float(clear)
        self.table = StateTable(self.fields())
        past = self.history_fields()
        self.history = None if past is None else StateTable(past)

    @classmethod
    def validate(cls, arguments: Mapping[str, Any]) -> list[tuple[str, str, str]]:
        """Return what is wrong with parameters that are right one by one: name, message, hint."""
        return []

    @property
    def window(self) -> str:
        """Over how long it looks, for a person."""
        return self.interval

    def required_indicators(self) -> frozenset[str]:
        """Return the canonical texts of the indicators that ``step`` wants."""
        return frozenset()

    @abstractmethod
    def fields(self) -> Fields:
        """Return what is kept for each instrument; ``self.arguments`` holds the parameters."""

    @abstractmethod
    def step(self, state: State, bars: Bars, values: IndicatorValues) -> Reading:
        """Take one bar of each of some instruments into their state, in place, and judge it."""

    def history_fields(self) -> Fields | None:
        """Return what is kept besides, and is only wanted when ``due`` says so: for long memories."""
        return None

    def rollover_due(self, state: State, bars: Bars) -> Flags:
        """Tell for which bars ``turn`` comes before ``step``: by default, for the first of a session."""
        return bars.first_of_session

    def roll_over(self, history: State, state: State, bars: Bars) -> None:  # noqa: B027 - most have no long memory
        """Move between the long memory and the state, in place."""

    def compare_to_threshold(self, value: Floats, **rest: Any) -> Reading:
        """Compare values with the threshold, in the direction of the rule."""
        size = np.abs(value) if self.direction == "both" else value if self.direction == "up" else -value
        return Reading(value, size >= self.threshold, size < self.clear_threshold, self.threshold, **rest)

    def update(self, bars: Bars, values: IndicatorValues) -> Reading:
        """Take closed bars, at most one of each instrument, and judge them."""
        block = self.table.gather(bars.rows)
        self._roll_over(block, bars, save=True)
        reading = self.step(self.table.fields.view(block), bars, values)
        self.table.scatter(bars.rows, block)
        return reading

    def preview(self, bars: Bars, values: IndicatorValues) -> Reading:
        """Judge bars as if they closed now; nothing changes."""
        block = self.table.gather(bars.rows)
        self._roll_over(block, bars, save=False)
        return self.step(self.table.fields.view(block), bars, values)

    def adjust_for_split(self, rows: Ints, factor: Floats) -> None:
        """Bring what is remembered to the scale of the new shares.

        Parameters
        ----------
        rows, factor
            Which instruments, and their new price in parts of the old one.
        """
        for table in (self.table, self.history):
            if table is not None:
                block = table.gather(rows)
                state = table.fields.view(block)
                for name in state.keys() & set(self.price_fields):
                    state[name] *= factor
                for name in state.keys() & set(self.share_fields):
                    state[name] /= factor
                table.scatter(rows, block)

    def _roll_over(self, block: Floats, bars: Bars, *, save: bool) -> None:
        if self.history is None:
            return
        due = self.rollover_due(self.table.fields.view(block), bars)
        if not np.count_nonzero(due):
            return
        which = np.flatnonzero(due)
        part, rows = block[:, which], bars.rows[which]
        past = self.history.gather(rows)
        self.roll_over(self.history.fields.view(past), self.table.fields.view(part), bars.select(which))
        block[:, which] = part
        if save:
            self.history.scatter(rows, past)


def default_arguments(cls: type[Detector]) -> dict[str, Any]:
    """Return the defaults of a detector's parameters."""
    return {name: Parameter.coerce(told).default for name, told in cls.parameters.items()}
