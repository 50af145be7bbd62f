"""The life cycle of alerts: armed → fired → cooling down → cleared → armed, per instrument, in event time.

- A rule fires when its detector does, unless it is warming up or has expired.
- During the cooldown it fires again only if the severity rises or (for detectors that measure moves) if the
  price is twice as far from the reference price as at the last alert.
- It clears when the detector was below its clear threshold for some closed bars in a row, and is armed again.
  The cooldown still counts from the last fired alert.
- ``once`` fires once per instrument, ever; ``once_per_bar`` and ``once_per_bar_close`` once per bar, unless
  the severity rises; ``every`` each time, if there is no cooldown.
- Suppressed alerts are counted, at most one per bar; the next alert reports the count.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from tickerlake.alerts.rules.rule import Rule
from tickerlake.analytics.bars import Flags, Floats, Ints
from tickerlake.analytics.state_table import Fields, StateTable
from tickerlake.model.alert import AlertState
from tickerlake.model.duration import SECOND_NS

_NAN: Final = float("nan")
SeverityAt = Callable[[int], int]
"""Returns the severity at a position, as an index of ``SEVERITIES``."""


class Events(NamedTuple):
    """The k events that are evaluated; arrays of shape (k,).

    Parameters
    ----------
    rows
        The instruments.
    bar_open_ns
        The start of the bar.
    event_ns
        The end of the closed bar, or the time of the trade.
    price, reference
        The price, and the price that it is compared with (one number if it is the same for all).
    """

    rows: Ints
    bar_open_ns: Ints
    event_ns: Ints
    price: Floats
    reference: Floats | float


class Transition(NamedTuple):
    """An alert to raise.

    Parameters
    ----------
    position
        The index of its event.
    state, severity
        The new state; the severity is an index of ``SEVERITIES``.
    suppressed_count
        How many alerts were suppressed since the last one.
    event_ns
        The time of the event, or of the rule's expiry.
    """

    position: int
    state: AlertState
    severity: int
    suppressed_count: int
    event_ns: int


class _InstrumentState:
    """The alert state of one instrument under one rule."""

    # a float cannot hold a time in nanoseconds exactly, but seconds and nanoseconds fit in two
    field_names: Final = "second nano severity price reference clears suppressed counted_ns bar_ns".split()
    initial_values: Final = (_NAN, 0.0, -1.0, _NAN, _NAN, 0.0, 0.0, _NAN, _NAN)

    def __init__(self, column: list[float]) -> None:
        second, nano, severity, self.price, self.reference = column[:5]
        self.clear_count, self.suppressed_count, self.suppressed_bar_ns, self.fired_bar_ns = column[5:]
        self.severity = int(severity)
        has_fired = second == second  # noqa: PLR0124 - NaN is not itself
        self.fired_at_ns = int(second) * SECOND_NS + int(nano) if has_fired else None

    def to_column(self) -> list[float]:
        second, nano = (
            (_NAN, 0.0) if self.fired_at_ns is None else map(float, divmod(self.fired_at_ns, SECOND_NS))
        )
        rest = (self.clear_count, self.suppressed_count, self.suppressed_bar_ns, self.fired_bar_ns)
        return [second, nano, float(self.severity), self.price, self.reference, *rest]

    def suppress(self, bar_ns: float) -> None:
        if self.suppressed_bar_ns != bar_ns:
            self.suppressed_count += 1
            self.suppressed_bar_ns = bar_ns

    def fire(self, event_ns: int, bar_ns: float, severity: int, price: float, reference: float) -> int:
        suppressed = int(self.suppressed_count)
        self.fired_at_ns, self.fired_bar_ns, self.severity = event_ns, bar_ns, severity
        self.price, self.reference = price, reference
        self.suppressed_count = 0.0
        # further triggers in the same bar do not count as suppressed
        self.suppressed_bar_ns = bar_ns
        return suppressed

    def has_doubled(self, price: float) -> bool:
        old_move, move = self.price - self.reference, price - self.reference
        return abs(move) >= 2 * abs(old_move) and move * old_move > 0


class Lifecycle:
    """The alert states of all instruments under one rule.

    Parameters
    ----------
    rule
        The rule, for its cooldown, repetition and expiry.
    warmup, clear_bars
        Numbers of closed bars.
    refires_on_double
        True if it fires within the cooldown when the move has doubled.
    """

    def __init__(self, rule: Rule, warmup: int, clear_bars: int, *, refires_on_double: bool = True) -> None:
        self.rule = rule
        self._refires_on_double = refires_on_double
        self.warmup, self.clear_bars = warmup, clear_bars
        # read for every bar; the cold table only where the rule fires or is active
        self.hot_table = StateTable(Fields({"bars": 0.0, "active": 0.0}))
        self.cold_table = StateTable(
            Fields(dict(zip(_InstrumentState.field_names, _InstrumentState.initial_values, strict=True)))
        )

    def on_close(
        self, events: Events, fire: Flags, clear: Flags, value: Floats, severity_at: SeverityAt
    ) -> list[Transition]:
        """Process a detector's reading of closed bars, at most one per instrument."""
        block = self.hot_table.gather(events.rows)
        bars, active = block
        bars += 1.0
        fire = fire & (bars > self.warmup)
        if self.rule.expires_ns is not None:
            fire &= events.event_ns < self.rule.expires_ns
        relevant = fire | (active > 0)
        transitions: list[Transition] = []
        if np.count_nonzero(relevant):
            transitions = self._transitions(
                events, np.flatnonzero(relevant), fire, clear, value, active, severity_at
            )
        self.hot_table.scatter(events.rows, block)
        return transitions

    def on_tick(self, events: Events, fire: Flags, severity_at: SeverityAt) -> list[Transition]:
        """Process a detector's reading of forming bars, in the order of their trades."""
        if not np.count_nonzero(fire):
            return []
        fire = fire & (self.hot_table.gather(events.rows)[0] + 1.0 > self.warmup)
        if self.rule.expires_ns is not None:
            fire &= events.event_ns < self.rule.expires_ns
        states: dict[int, _InstrumentState] = {}
        transitions = []
        for at in np.flatnonzero(fire).tolist():
            row = int(events.rows[at])
            if row not in states:
                states[row] = _InstrumentState(
                    self.cold_table.gather(events.rows[at : at + 1])[:, 0].tolist()
                )
            transitions += self._try_fire(states[row], events, at, severity_at)
        self._save_states(states)
        if fired_rows := sorted({int(events.rows[one.position]) for one in transitions}):
            rows = np.array(fired_rows)
            block = self.hot_table.gather(rows)
            block[1] = 1.0
            self.hot_table.scatter(rows, block)
        return transitions

    def _transitions(
        self,
        events: Events,
        positions: Ints,
        fire: Flags,
        clear: Flags,
        value: Floats,
        active: Floats,
        severity_at: SeverityAt,
    ) -> list[Transition]:
        rows = events.rows[positions]
        states = dict(
            zip(rows.tolist(), map(_InstrumentState, self.cold_table.gather(rows).T.tolist()), strict=True)
        )
        transitions = []
        for at, state in zip(positions.tolist(), states.values(), strict=True):
            event_ns = int(events.event_ns[at])
            expires_ns = self.rule.expires_ns
            if active[at] and expires_ns is not None and event_ns >= expires_ns:
                active[at] = 0.0
                transitions.append(
                    Transition(at, "expired", state.severity, int(state.suppressed_count), expires_ns)
                )
            elif fire[at]:
                state.clear_count = 0.0
                fired = self._try_fire(state, events, at, severity_at)
                active[at] = 1.0 if fired else active[at]
                transitions += fired
            elif clear[at]:
                state.clear_count += 1
                if state.clear_count >= self.clear_bars:
                    active[at] = state.clear_count = 0.0
                    transitions.append(
                        Transition(at, "cleared", state.severity, int(state.suppressed_count), event_ns)
                    )
                    state.suppressed_count = 0.0
            elif value[at] == value[at]:
                state.clear_count = 0.0
        self._save_states(states)
        return transitions

    def _try_fire(
        self, state: _InstrumentState, events: Events, at: int, severity_at: SeverityAt
    ) -> list[Transition]:
        event_ns, bar_ns = int(events.event_ns[at]), float(events.bar_open_ns[at])
        # one event raises one alert, however often it is evaluated
        if event_ns == state.fired_at_ns:
            return []
        severity, price = severity_at(at), float(events.price[at])
        if not self._should_fire(state, event_ns, bar_ns, severity, price):
            state.suppress(bar_ns)
            return []
        suppressed = state.fire(event_ns, bar_ns, severity, price, value_at(events.reference, at))
        return [Transition(at, "fired", severity, suppressed, event_ns)]

    def _should_fire(
        self, state: _InstrumentState, event_ns: int, bar_ns: float, severity: int, price: float
    ) -> bool:
        repeat = self.rule.repeat
        if state.fired_at_ns is None:
            return True
        if repeat == "once":
            return False
        if repeat != "every" and bar_ns == state.fired_bar_ns:
            return severity > state.severity
        if event_ns - state.fired_at_ns < self.rule.cooldown_ns:
            return severity > state.severity or (self._refires_on_double and state.has_doubled(price))
        return True

    def _save_states(self, states: dict[int, _InstrumentState]) -> None:
        if states:
            columns = np.array([state.to_column() for state in states.values()]).T
            self.cold_table.scatter(np.fromiter(states, dtype=np.int64), columns)


def value_at(values: Floats | float, at: int) -> float:
    """Return the value at a position; a single number is the same for all."""
    return values if isinstance(values, float) else float(values[at])
