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
from tickerlake.analytics.columnar import Fields, Table
from tickerlake.model.alert import AlertState

_NAN: Final = float("nan")
_SECOND_NS: Final = 1_000_000_000
Grade = Callable[[int], int]
"""The severity of what is at a position: its place in ``SEVERITIES``."""


class Moments(NamedTuple):
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
    bar_ns: Ints
    event_ns: Ints
    price: Floats
    reference: Floats | float


class Told(NamedTuple):
    """An alert to be told: of which position, which state and severity, and how many were kept back."""

    at: int
    state: AlertState
    severity: int
    suppressed: int
    event_ns: int


class _Life:
    """What one instrument has been told by one rule."""

    # two numbers hold a time in nanoseconds exactly
    names: Final = "second nano severity price reference clears suppressed counted_ns bar_ns".split()
    initial: Final = (_NAN, 0.0, -1.0, _NAN, _NAN, 0.0, 0.0, _NAN, _NAN)

    def __init__(self, column: list[float]) -> None:
        second, nano, severity, self.price, self.reference = column[:5]
        self.clears, self.suppressed, self.counted_ns, self.bar_ns = column[5:]
        self.severity = int(severity)
        known = second == second  # noqa: PLR0124 - NaN is not itself
        self.at_ns = int(second) * _SECOND_NS + int(nano) if known else None

    def column(self) -> list[float]:
        second, nano = (_NAN, 0.0) if self.at_ns is None else map(float, divmod(self.at_ns, _SECOND_NS))
        rest = (self.clears, self.suppressed, self.counted_ns, self.bar_ns)
        return [second, nano, float(self.severity), self.price, self.reference, *rest]

    def keep_back(self, bar_ns: float) -> None:
        if self.counted_ns != bar_ns:
            self.suppressed += 1
            self.counted_ns = bar_ns

    def speak(self, event_ns: int, bar_ns: float, severity: int, price: float, reference: float) -> int:
        suppressed = int(self.suppressed)
        self.at_ns, self.bar_ns, self.severity = event_ns, bar_ns, severity
        self.price, self.reference = price, reference
        self.suppressed = 0.0
        # the rest of the bar in which it spoke is no news
        self.counted_ns = bar_ns
        return suppressed

    def doubled(self, price: float) -> bool:
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

    def __init__(self, rule: Rule, warmup: int, clear_bars: int, *, doubles: bool = True) -> None:
        self.rule = rule
        self._doubles = doubles
        self.warmup, self.clear_bars = warmup, clear_bars
        # looked at in each round; the rest only where something happens
        self.pulse = Table(Fields({"bars": 0.0, "active": 0.0}))
        self.life = Table(Fields(dict(zip(_Life.names, _Life.initial, strict=True))))

    def close(self, moments: Moments, fire: Flags, clear: Flags, value: Floats, grade: Grade) -> list[Told]:
        """Take what a detector says of closed bars, at most one of each instrument."""
        block = self.pulse.gather(moments.rows)
        bars, active = block
        bars += 1.0
        fire = fire & (bars > self.warmup)
        if self.rule.expires_ns is not None:
            fire &= moments.event_ns < self.rule.expires_ns
        busy = fire | (active > 0)
        told: list[Told] = []
        if np.count_nonzero(busy):
            told = self._closed(moments, np.flatnonzero(busy), fire, clear, value, active, grade)
        self.pulse.scatter(moments.rows, block)
        return told

    def tick(self, moments: Moments, fire: Flags, grade: Grade) -> list[Told]:
        """Take what a detector says of bars that are still forming, in the order of their trades."""
        if not np.count_nonzero(fire):
            return []
        fire = fire & (self.pulse.gather(moments.rows)[0] + 1.0 > self.warmup)
        if self.rule.expires_ns is not None:
            fire &= moments.event_ns < self.rule.expires_ns
        lives: dict[int, _Life] = {}
        told = []
        for at in np.flatnonzero(fire).tolist():
            row = int(moments.rows[at])
            if row not in lives:
                lives[row] = _Life(self.life.gather(moments.rows[at : at + 1])[:, 0].tolist())
            told += self._fired(lives[row], moments, at, grade)
        self._write(lives)
        if spoken := sorted({int(moments.rows[one.at]) for one in told}):
            rows = np.array(spoken)
            block = self.pulse.gather(rows)
            block[1] = 1.0
            self.pulse.scatter(rows, block)
        return told

    def _closed(
        self,
        moments: Moments,
        where: Ints,
        fire: Flags,
        clear: Flags,
        value: Floats,
        active: Floats,
        grade: Grade,
    ) -> list[Told]:
        rows = moments.rows[where]
        lives = dict(zip(rows.tolist(), map(_Life, self.life.gather(rows).T.tolist()), strict=True))
        told = []
        for at, life in zip(where.tolist(), lives.values(), strict=True):
            event_ns = int(moments.event_ns[at])
            expires_ns = self.rule.expires_ns
            if active[at] and expires_ns is not None and event_ns >= expires_ns:
                active[at] = 0.0
                told.append(Told(at, "expired", life.severity, int(life.suppressed), expires_ns))
            elif fire[at]:
                life.clears = 0.0
                spoken = self._fired(life, moments, at, grade)
                active[at] = 1.0 if spoken else active[at]
                told += spoken
            elif clear[at]:
                life.clears += 1
                if life.clears >= self.clear_bars:
                    active[at] = life.clears = 0.0
                    told.append(Told(at, "cleared", life.severity, int(life.suppressed), event_ns))
                    life.suppressed = 0.0
            elif value[at] == value[at]:
                life.clears = 0.0
        self._write(lives)
        return told

    def _fired(self, life: _Life, moments: Moments, at: int, grade: Grade) -> list[Told]:
        event_ns, bar_ns = int(moments.event_ns[at]), float(moments.bar_ns[at])
        # one event is one alert, however often it is looked at
        if event_ns == life.at_ns:
            return []
        severity, price = grade(at), float(moments.price[at])
        if not self._speaks(life, event_ns, bar_ns, severity, price):
            life.keep_back(bar_ns)
            return []
        suppressed = life.speak(event_ns, bar_ns, severity, price, number_at(moments.reference, at))
        return [Told(at, "fired", severity, suppressed, event_ns)]

    def _speaks(self, life: _Life, event_ns: int, bar_ns: float, severity: int, price: float) -> bool:
        repeat = self.rule.repeat
        if life.at_ns is None:
            return True
        if repeat == "once":
            return False
        if repeat != "every" and bar_ns == life.bar_ns:
            return severity > life.severity
        if event_ns - life.at_ns < self.rule.cooldown_ns:
            return severity > life.severity or (self._doubles and life.doubled(price))
        return True

    def _write(self, lives: dict[int, _Life]) -> None:
        if lives:
            columns = np.array([life.column() for life in lives.values()]).T
            self.life.scatter(np.fromiter(lives, dtype=np.int64), columns)


def number_at(values: Floats | float, at: int) -> float:
    """Return the value at a position, or the one that is the same for all."""
    return values if isinstance(values, float) else float(values[at])
