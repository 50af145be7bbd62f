"""The base class of detectors: a measure of each bar, and whether it is unusual.

A custom detector takes a few lines; see :mod:`tickerlake.alerts.detectors.registry`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, Literal, NamedTuple

import numpy as np

from tickerlake.alerts.detectors.parameter import Parameter
from tickerlake.analytics.bars import Bars, Flags, Floats, Ints
from tickerlake.analytics.state_table import Fields, State, StateTable
from tickerlake.model.alert import Cause, Unit
from tickerlake.model.duration import parse_duration_ns

NAN: Final = float("nan")
IndicatorValues = Mapping[str, Floats]
"""Indicators by canonical text, each of shape (k,)."""

DoublesIn = Literal["price", "value", "nothing"]


class Reading(NamedTuple):
    """What a detector measured in k bars: arrays of shape (k,), or one number if it is the same for all.

    Parameters
    ----------
    value
        The signed measure, in the detector's unit; NaN where it is not known yet.
    fire
        Where the threshold is reached.
    clear
        Where the value is below the clear threshold.
    threshold, baseline
        What the value is compared with, and its usual size.
    reference
        The price that the move is measured from.
    price
        The price to report; None for the close.
    direction
        Its sign is the direction; None for the sign of ``value``.
    reference_session
        The session of the reference price, in days since 1970-01-01; NaN to leave it out of the message.
    begin_ns
        When the measured move began, in nanoseconds: as long as that is before the last alert, it is the same
        move, which is told once until it clears. None for the start of the bar, so that each bar is a move of
        its own; zero for a state that has no beginning.
    detail
        Returns what the message says of the bar at a position; None for the message of the kind.
    """

    value: Floats
    fire: Flags
    clear: Flags
    threshold: Floats | float = NAN
    baseline: Floats | float = NAN
    reference: Floats | float = NAN
    price: Floats | None = None
    direction: Floats | None = None
    reference_session: Floats | float = NAN
    begin_ns: Floats | None = None
    detail: Callable[[int], str] | None = None


class Detector(ABC):
    """Measures how unusual each bar is, given the bars before it.

    A subclass defines ``parameters`` with their defaults, ``unit``, ``fields`` and ``step``. As with an
    indicator, a result must not depend on which other instruments share the step: use element-wise
    arithmetic only, no sums along an axis.

    Parameters
    ----------
    arguments
        Values of the parameters, and the rule's ``direction``, ``clear`` and ``session``.
    interval
        The interval of the bars.
    """

    parameters: ClassVar[Mapping[str, object]] = {"threshold": Parameter.number()}
    """Names and defaults; a :class:`Parameter` where the default does not say what is valid."""

    unit: ClassVar[Unit] = "pct"

    threshold_parameter: ClassVar[str] = "threshold"
    """The name of the parameter that the value is compared with; empty for none."""

    clear_ratio: ClassVar[float] = 0.4
    """The default clear threshold as a share of the threshold.

    With `clear_bars` it is the hysteresis: a value that hovers at the threshold stays one alert.
    """

    clear_bars: ClassVar[int] = 3
    """How many closed bars in a row have to be below the clear threshold, by default."""

    warmup: ClassVar[int] = 0
    """How many closed bars are needed before the first alert, by default."""

    intraday_only: ClassVar[bool] = False
    """True if it cannot use daily bars."""

    max_interval: ClassVar[str] = ""
    """The longest interval of bars that it can use; empty for any."""

    supports_ticks: ClassVar[bool] = True
    """True if it can evaluate forming bars."""

    has_direction: ClassVar[bool] = True
    """True if a rule can restrict it to one direction."""

    doubles_in: ClassVar[DoublesIn] = "value"
    """What tells that a move has doubled or turned, which fires again even within the cooldown: the distance
    of the price from the reference price, or the value. Nothing where the first move can be a cent."""

    has_size: ClassVar[bool] = True
    """True if a rule can name sizes of the value that are more severe."""

    parts: "tuple[Detector, ...]" = ()
    """Detectors within it, with a state of their own."""

    needs_range: ClassVar[bool] = False
    """True if it measures nothing in bars of which only the close is known."""

    has_baseline: ClassVar[bool] = False
    """True if it learns what is usual: separately in regular and in extended hours (`Rule.parts`)."""

    monitors_data: ClassVar[bool] = False
    """True if it evaluates the data stream (gaps, rejected records) instead of bars."""

    cause: ClassVar[Cause] = "market"
    price_fields: ClassVar[tuple[str, ...]] = ()
    """Fields that hold prices: a split multiplies them."""

    share_fields: ClassVar[tuple[str, ...]] = ()
    """Fields that hold numbers of shares: a split divides them."""

    def __init__(self, arguments: Mapping[str, Any] | None = None, interval: str = "1d") -> None:
        self.arguments: dict[str, Any] = {**default_arguments(type(self)), **(arguments or {})}
        self.interval = interval
        self.interval_ns = parse_duration_ns(interval)
        self.is_daily = self.interval_ns >= parse_duration_ns("1d")
        self.direction: str = self.arguments.get("direction", "both")
        self.is_extended = self.arguments.get("session") == "extended"
        threshold = self.arguments.get(self.threshold_parameter)
        self.threshold = NAN if threshold is None else float(threshold)
        clear = self.arguments.get("clear")
        self.clear_threshold = self.threshold * self.clear_ratio if clear is None else float(clear)
        self.table = StateTable(self.fields())
        history_fields = self.history_fields()
        self.history = None if history_fields is None else StateTable(history_fields)

    @classmethod
    def validate(cls, arguments: Mapping[str, Any]) -> list[tuple[str, str, str]]:
        """Return problems of parameters that are valid one by one: (name, message, hint)."""
        return []

    @property
    def window(self) -> str:
        """The period that it measures over, as shown in messages."""
        return self.interval

    def required_indicators(self) -> frozenset[str]:
        """Return the canonical texts of the indicators that ``step`` reads."""
        return frozenset()

    @abstractmethod
    def fields(self) -> Fields:
        """Return the state of each instrument; ``self.arguments`` holds the parameters."""

    @abstractmethod
    def step(self, state: State, bars: Bars, values: IndicatorValues) -> Reading:
        """Measure one bar of each of k instruments, and update their state in place."""

    def history_fields(self) -> Fields | None:
        """Return state that is too large to read at every bar, or None: see ``roll_over``."""
        return None

    def rollover_due(self, state: State, bars: Bars) -> Flags:
        """Return for which bars ``roll_over`` precedes ``step``: by default, the first of each session."""
        return bars.first_of_session

    def roll_over(self, history: State, state: State, bars: Bars) -> None:  # noqa: B027 - most have no history
        """Move values between the history and the state, in place."""

    def compare_to_threshold(self, value: Floats, **rest: Any) -> Reading:
        """Compare values with the threshold, in the rule's direction."""
        size = np.abs(value) if self.direction == "both" else value if self.direction == "up" else -value
        return Reading(value, size >= self.threshold, size < self.clear_threshold, self.threshold, **rest)

    def update(self, bars: Bars, values: IndicatorValues) -> Reading:
        """Measure closed bars, at most one per instrument, and update the state."""
        block = self.table.gather(bars.rows)
        self._roll_over(block, bars, save=True)
        reading = self.step(self.table.fields.view(block), bars, values)
        self.table.scatter(bars.rows, block)
        return reading

    def preview(self, bars: Bars, values: IndicatorValues) -> Reading:
        """Measure bars as if they closed now; the state does not change."""
        block = self.table.gather(bars.rows)
        self._roll_over(block, bars, save=False)
        return self.step(self.table.fields.view(block), bars, values)

    def adjust_for_split(self, rows: Ints, factor: Floats) -> None:
        """Convert the state to the new shares.

        Parameters
        ----------
        rows, factor
            The instruments, and their new price divided by the old one.
        """
        for table in self.tables():
            table.rescale(rows, factor, self.price_fields, self.share_fields)

    def tables(self) -> list[StateTable]:
        """Return the state, and the history if there is one."""
        return [self.table] if self.history is None else [self.table, self.history]

    def _roll_over(self, block: Floats, bars: Bars, *, save: bool) -> None:
        if self.history is None:
            return
        due = self.rollover_due(self.table.fields.view(block), bars)
        if not np.count_nonzero(due):
            return
        positions = np.flatnonzero(due)
        part, rows = block[:, positions], bars.rows[positions]
        history = self.history.gather(rows)
        self.roll_over(
            self.history.fields.view(history), self.table.fields.view(part), bars.select(positions)
        )
        block[:, positions] = part
        if save:
            self.history.scatter(rows, history)


def default_arguments(cls: type[Detector]) -> dict[str, Any]:
    """Return the defaults of a detector's parameters."""
    return {name: Parameter.coerce(default).default for name, default in cls.parameters.items()}
