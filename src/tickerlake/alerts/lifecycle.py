"""The life cycle of alerts: armed → fired → cooling down → cleared → armed, per instrument, in event time.

- A rule fires when its detector does, unless it is warming up or has expired.
- A move fires once until it clears. It fires again only if the severity rises, or (for detectors that measure
  a size) if the size has doubled since the last alert or the value has the other sign.
- What is measured from a time after the last alert is another move: it fires after the cooldown.
- It clears when the detector was below its clear threshold for some closed bars in a row, and is armed again.
  The cooldown still counts from the last fired alert.
- ``once_per_move`` is the default; ``once`` fires once per instrument, ever; ``once_per_bar`` and
  ``once_per_bar_close`` fire in every bar after the cooldown, ``every`` each time, if there is no cooldown.
- Suppressed alerts are counted, at most one per bar; the next alert reports the count.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from tickerlake.alerts.detectors.detector import DoublesIn
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
    value
        The signed measure, NaN if unknown.
    begin_ns
        When the measured move began; None for the start of the bar.
    """

    rows: Ints
    bar_open_ns: Ints
    event_ns: Ints
    price: Floats
    reference: Floats | float
    value: Floats
    begin_ns: Floats | None = None


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


class _Candidate(NamedTuple):
    """An event that may fire: as in `Events`, with its severity."""

    event_ns: int
    bar_ns: float
    begin_ns: float
    severity: int
    price: float
    reference: float
    value: float


class _InstrumentState:
    """The alert state of one instrument under one rule."""

    # a float cannot hold a time in nanoseconds exactly, but seconds and nanoseconds fit in two
    field_names: Final = (
        "second nano severity price reference value turned_ns clears suppressed counted_ns bar_ns".split()
    )
    initial_values: Final = (_NAN, 0.0, -1.0, _NAN, _NAN, _NAN, _NAN, 0.0, 0.0, _NAN, _NAN)

    def __init__(self, column: list[float]) -> None:
        second, nano, severity, self.price, self.reference, self.value, self.turned_ns = column[:7]
        self.clear_count, self.suppressed_count, self.suppressed_bar_ns, self.fired_bar_ns = column[7:]
        self.severity = int(severity)
        has_fired = second == second  # noqa: PLR0124 - NaN is not itself
        self.fired_at_ns = int(second) * SECOND_NS + int(nano) if has_fired else None

    def to_column(self) -> list[float]:
        second, nano = (
            (_NAN, 0.0) if self.fired_at_ns is None else map(float, divmod(self.fired_at_ns, SECOND_NS))
        )
        last = (float(self.severity), self.price, self.reference, self.value, self.turned_ns)
        rest = (self.clear_count, self.suppressed_count, self.suppressed_bar_ns, self.fired_bar_ns)
        return [second, nano, *last, *rest]

    def suppress(self, bar_ns: float) -> None:
        if self.suppressed_bar_ns != bar_ns:
            self.suppressed_count += 1
            self.suppressed_bar_ns = bar_ns

    def fire(self, one: _Candidate) -> int:
        suppressed = int(self.suppressed_count)
        if self.fired_at_ns is not None and one.value * self.value < 0:
            self.turned_ns = float(self.fired_at_ns)
        self.fired_at_ns, self.fired_bar_ns, self.severity = one.event_ns, one.bar_ns, one.severity
        self.price, self.reference, self.value = one.price, one.reference, one.value
        self.suppressed_count = 0.0
        # further triggers in the same bar do not count as suppressed
        self.suppressed_bar_ns = one.bar_ns
        return suppressed

    def has_doubled(self, one: _Candidate, doubles_in: DoublesIn) -> bool:
        before, now = self.value, one.value
        if doubles_in == "price":
            before, now = self.price - self.reference, one.price - self.reference
        return abs(now) >= 2 * abs(before) and now * before > 0

    def has_turned(self, one: _Candidate, cooldown_ns: int) -> bool:
        """Return whether it goes the other way, for the first time within a cooldown."""
        is_recent = one.event_ns - self.turned_ns < cooldown_ns
        return one.value * self.value < 0 and not is_recent


class Lifecycle:
    """The alert states of all instruments under one rule.

    Parameters
    ----------
    rule
        The rule, for its cooldown, repetition and expiry.
    warmup, clear_bars
        Numbers of closed bars.
    doubles_in
        What has a size that can double, or turn: then it fires again, even within the cooldown.
    """

    def __init__(self, rule: Rule, warmup: int, clear_bars: int, doubles_in: DoublesIn = "value") -> None:
        self.rule = rule
        self._doubles_in: DoublesIn = doubles_in
        self.warmup, self.clear_bars = warmup, clear_bars
        # read for every bar; the cold table only where the rule fires or is active
        self.hot_table = StateTable(Fields({"bars": 0.0, "active": 0.0}))
        self.cold_table = StateTable(
            Fields(dict(zip(_InstrumentState.field_names, _InstrumentState.initial_values, strict=True)))
        )

    def on_close(
        self, events: Events, fire: Flags, clear: Flags, severity_at: SeverityAt
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
                events, np.flatnonzero(relevant), fire, clear, active, severity_at
            )
        self.hot_table.scatter(events.rows, block)
        return transitions

    def on_tick(self, events: Events, fire: Flags, severity_at: SeverityAt) -> list[Transition]:
        """Process a detector's reading of forming bars, in the order of their trades."""
        if not np.count_nonzero(fire):
            return []
        bars, active = self.hot_table.gather(events.rows)
        fire = fire & (bars + 1.0 > self.warmup)
        if self.rule.expires_ns is not None:
            fire &= events.event_ns < self.rule.expires_ns
        states: dict[int, _InstrumentState] = {}
        fired_rows: set[int] = set()
        transitions = []
        for at in np.flatnonzero(fire).tolist():
            row = int(events.rows[at])
            if row not in states:
                states[row] = _InstrumentState(
                    self.cold_table.gather(events.rows[at : at + 1])[:, 0].tolist()
                )
            is_active = active[at] > 0 or row in fired_rows
            if fired := self._try_fire(states[row], events, at, severity_at, is_active=is_active):
                fired_rows.add(row)
                transitions += fired
        self._save_states(states)
        if fired_rows:
            rows = np.array(sorted(fired_rows))
            block = self.hot_table.gather(rows)
            block[1] = 1.0
            self.hot_table.scatter(rows, block)
        return transitions

    def are_active(self, rows: Ints) -> Flags:
        """Return which instruments have an alert that has not ended."""
        active: Flags = self.hot_table.gather(rows)[1] > 0
        return active

    def deactivate(self, row: int) -> None:
        """End the alert that just fired without a word: another rule tells it, and its end."""
        rows = np.array([row])
        block = self.hot_table.gather(rows)
        block[1] = 0.0
        self.hot_table.scatter(rows, block)

    def adjust_for_split(self, rows: Ints, factor: Floats) -> None:
        """Convert the prices of the last alerts to the new shares."""
        self.cold_table.rescale(rows, factor, ("price", "reference"), ())

    def _transitions(
        self,
        events: Events,
        positions: Ints,
        fire: Flags,
        clear: Flags,
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
                fired = self._try_fire(state, events, at, severity_at, is_active=active[at] > 0)
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
            elif events.value[at] == events.value[at]:
                state.clear_count = 0.0
        self._save_states(states)
        return transitions

    def _try_fire(
        self, state: _InstrumentState, events: Events, at: int, severity_at: SeverityAt, *, is_active: bool
    ) -> list[Transition]:
        # one event raises one alert, however often it is evaluated
        if (event_ns := int(events.event_ns[at])) == state.fired_at_ns:
            return []
        bar_ns = float(events.bar_open_ns[at])
        candidate = _Candidate(
            event_ns,
            bar_ns,
            bar_ns if events.begin_ns is None else float(events.begin_ns[at]),
            severity_at(at),
            float(events.price[at]),
            value_at(events.reference, at),
            float(events.value[at]),
        )
        if not self._should_fire(state, candidate, is_active=is_active):
            state.suppress(bar_ns)
            return []
        if self._is_held_back(state, candidate, is_active=is_active) and self._has_doubled(state, candidate):
            # the next alert of this move is due when it doubles again, from where it began
            candidate = candidate._replace(reference=state.reference)
        suppressed = state.fire(candidate)
        return [Transition(at, "fired", candidate.severity, suppressed, event_ns)]

    def _should_fire(self, state: _InstrumentState, one: _Candidate, *, is_active: bool) -> bool:
        repeat = self.rule.repeat
        if state.fired_at_ns is None:
            return True
        if repeat == "once":
            return False
        if repeat != "every" and one.bar_ns == state.fired_bar_ns:
            return one.severity > state.severity
        if not self._is_held_back(state, one, is_active=is_active) or one.severity > state.severity:
            return True
        has_turned = self._doubles_in != "nothing" and state.has_turned(one, self.rule.cooldown_ns)
        return has_turned or self._has_doubled(state, one)

    def _is_held_back(self, state: _InstrumentState, one: _Candidate, *, is_active: bool) -> bool:
        """Return whether the last alert speaks for this event: within its cooldown, or for the same move."""
        if state.fired_at_ns is None:
            return False
        is_same_move = is_active and one.begin_ns < state.fired_at_ns
        in_cooldown = one.event_ns - state.fired_at_ns < self.rule.cooldown_ns
        return in_cooldown or (self.rule.repeat == "once_per_move" and is_same_move)

    def _has_doubled(self, state: _InstrumentState, one: _Candidate) -> bool:
        return self._doubles_in != "nothing" and state.has_doubled(one, self._doubles_in)

    def _save_states(self, states: dict[int, _InstrumentState]) -> None:
        if states:
            columns = np.array([state.to_column() for state in states.values()]).T
            self.cold_table.scatter(np.fromiter(states, dtype=np.int64), columns)


def value_at(values: Floats | float, at: int) -> float:
    """Return the value at a position; a single number is the same for all."""
    return values if isinstance(values, float) else float(values[at])
