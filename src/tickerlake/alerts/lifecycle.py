"""When a rule speaks: armed → fired → cooling → cleared → armed, for each instrument, in event time.

- It fires when the detector does, if it is neither in its warm-up nor expired.
- Then it cools: until the cooldown is over it speaks again only if the severity rises, or (where moves are
  measured) if the price is twice as far from the reference price as when it last spoke.
- It clears when the detector was below its clear threshold for some closed bars in a row. That is told, and
  it is armed again; the cooldown still counts from when it last spoke.
- ``once`` speaks once and never again; ``once_per_bar`` and ``once_per_bar_close`` once in a bar, unless the
  severity rises; ``every`` each time, if it has no cooldown.
- What it kept to itself is counted, at most once in a bar, and told with the next alert.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from tickerlake.alerts.rules.rule import Rule
from tickerlake.analytics.bars import Flags, Floats, Ints
from tickerlake.analytics.state_table import Fields, StateTable
from tickerlake.model.alert import AlertState

_NAN: Final = float("nan")
_SECOND_NS: Final = 1_000_000_000
SeverityAt = Callable[[int], int]
"""The severity of what is at a position: its place in ``SEVERITIES``."""


class Events(NamedTuple):
    """Where and when something is judged; arrays of the shape (k,).

    Parameters
    ----------
    rows
        The instruments.
    bar_ns
        The beginning of the bar.
    event_ns
        The end of the closed bar, or the time of the trade.
    price, reference
        The price, and the one that it is compared with; a number where it is the same for all.
    """

    rows: Ints
    bar_open_ns: Ints
    event_ns: Ints
    price: Floats
    reference: Floats | float


class Transition(NamedTuple):
    """An alert to be told: of which position, which state and severity, and how many were kept back."""

    position: int
    state: AlertState
    severity: int
    suppressed_count: int
    event_ns: int


class _InstrumentState:
    """What one instrument has been told by one rule."""

    # two numbers hold a time in nanoseconds exactly
    field_names: Final = "second nano severity price reference clears suppressed counted_ns bar_ns".split()
    initial_values: Final = (_NAN, 0.0, -1.0, _NAN, _NAN, 0.0, 0.0, _NAN, _NAN)

    def __init__(self, column: list[float]) -> None:
        second, nano, severity, self.price, self.reference = column[:5]
        self.clear_count, self.suppressed_count, self.suppressed_bar_ns, self.fired_bar_ns = column[5:]
        self.severity = int(severity)
        known = second == second  # noqa: PLR0124 - NaN is not itself
        self.fired_at_ns = int(second) * _SECOND_NS + int(nano) if known else None

    def to_column(self) -> list[float]:
        second, nano = (
            (_NAN, 0.0) if self.fired_at_ns is None else map(float, divmod(self.fired_at_ns, _SECOND_NS))
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
        # the rest of the bar in which it spoke is no news
        self.suppressed_bar_ns = bar_ns
        return suppressed

    def has_doubled(self, price: float) -> bool:
        move = self.price - self.reference
        now = price - self.reference
        return abs(now) >= 2 * abs(move) and now * move > 0


class Lifecycle:
    """The state of a rule for all instruments.

    Parameters
    ----------
    rule
        What it asks for.
    warmup, clear_bars
        In closed bars.
    doubles
        True if it speaks within the cooldown when the move has doubled.
    """

    def __init__(self, rule: Rule, warmup: int, clear_bars: int, *, refires_on_double: bool = True) -> None:
        self.rule = rule
        self._refires_on_double = refires_on_double
        self.warmup, self.clear_bars = warmup, clear_bars
        # looked at in each round; the rest only where something happens
        self.hot_table = StateTable(Fields({"bars": 0.0, "active": 0.0}))
        self.cold_table = StateTable(
            Fields(dict(zip(_InstrumentState.field_names, _InstrumentState.initial_values, strict=True)))
        )

    def on_close(
        self, events: Events, fire: Flags, clear: Flags, value: Floats, severity_at: SeverityAt
    ) -> list[Transition]:
        """Take what a detector says of closed bars, at most one of each instrument."""
        block = self.hot_table.gather(events.rows)
        bars, active = block
        bars += 1.0
        fire = fire & (bars > self.warmup)
        if self.rule.expires_ns is not None:
            fire &= events.event_ns < self.rule.expires_ns
        busy = fire | (active > 0)
        transitions: list[Transition] = []
        if np.count_nonzero(busy):
            transitions = self._transitions(
                events, np.flatnonzero(busy), fire, clear, value, active, severity_at
            )
        self.hot_table.scatter(events.rows, block)
        return transitions

    def on_tick(self, events: Events, fire: Flags, severity_at: SeverityAt) -> list[Transition]:
        """Take what a detector says of bars that are still forming, in the order of their trades."""
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
        # one event is one alert, however often it is looked at
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
            columns = np.array([life.to_column() for life in states.values()]).T
            self.cold_table.scatter(np.fromiter(states, dtype=np.int64), columns)


def value_at(values: Floats | float, at: int) -> float:
    """Return the value at a position, or the one that is the same for all."""
    return values if isinstance(values, float) else float(values[at])
