"""One rule in bars of one interval: its detector, its life-cycle, and the alerts that come of them."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from tickerlake.alerts.cause import Split, Splits, factors
from tickerlake.alerts.detectors.detector import Detector, Reading
from tickerlake.alerts.lifecycle import Lifecycle, Moments, Told, number_at
from tickerlake.alerts.message import Facts, compose
from tickerlake.alerts.rules.rule import Rule
from tickerlake.analytics.bars import Bars, Floats, Ints
from tickerlake.analytics.columnar import Table
from tickerlake.model.alert import SEVERITIES, Alert, Cause, Direction, alert_id, plain

_DAY_NS: Final = 86_400_000_000_000
_MS_NS: Final = 1_000_000
_NAN: Final = float("nan")


class Instrument(NamedTuple):
    """What alerts say of an instrument, and what it sends: trades (empty), or bars of an interval."""

    instrument_id: str
    symbol: str
    feed: str = ""


class Fired(NamedTuple):
    """An alert, and the index of what raised it among what was given."""

    at: int
    alert: Alert


class Context(NamedTuple):
    """What is known of the bars besides what detectors want.

    Parameters
    ----------
    event_ns, detected_ns
        When each happened, and when Kafka took the record that shows it; arrays of the shape (k,).
    splits
        What looks like a split, by position.
    """

    event_ns: Ints
    detected_ns: Ints
    splits: Mapping[int, Split]


class Watch:
    """A rule in bars of one interval.

    Parameters
    ----------
    rule
        What is looked for.
    interval
        Of the bars; empty where it is not about bars.
    instruments
        All instruments by number; they become more.
    usual
        What knows the usual volumes.
    """

    def __init__(self, rule: Rule, interval: str, instruments: Sequence[Instrument], usual: Splits) -> None:
        self.rule, self.interval = rule, interval
        self.detector: Detector = rule.detector(interval or "1d")
        warmup = self.detector.warmup if rule.warmup is None else rule.warmup
        clear_bars = self.detector.clear_bars if rule.clear_bars is None else rule.clear_bars
        self.lifecycle = Lifecycle(rule, warmup, clear_bars, doubles=self.detector.doubles)
        self._instruments, self._usual = instruments, usual
        self._severity = SEVERITIES.index(rule.severity)
        self._level = str(self.detector.given.get("level") or "")
        self.has_seen = False

    def close(self, bars: Bars, values: Mapping[str, Floats], context: Context) -> list[Fired]:
        """Take closed bars, at most one of each instrument."""
        self.has_seen = True
        reading = self._update(bars, values, context.splits)
        moments = _moments(reading, bars, context)

        def grade(at: int) -> int:
            return self._graded(reading, at, context.splits.get(at))

        told = self.lifecycle.close(moments, reading.fire, reading.clear, reading.value, grade)
        return [self._alert(one, reading, moments, context, bars) for one in told] if told else []

    def tick(self, bars: Bars, values: Mapping[str, Floats], context: Context) -> list[Fired]:
        """Take forming bars, one after each trade."""
        reading = self.detector.peek(bars, values)
        if not np.count_nonzero(reading.fire):
            return []
        moments = _moments(reading, bars, context)

        def grade(at: int) -> int:
            return self._graded(reading, at, context.splits.get(at))

        told = self.lifecycle.tick(moments, reading.fire, grade)
        return [self._alert(one, reading, moments, context, bars) for one in told]

    def judge(self, reading: Reading, rows: Ints, event_ns: Ints, detected_ns: Ints) -> list[Fired]:
        """Take what is said of something else than bars."""
        context = Context(event_ns, detected_ns, {})
        moments = Moments(rows, event_ns, event_ns, np.full(len(rows), _NAN), _NAN)

        def grade(at: int) -> int:
            return self._graded(reading, at, None)

        told = self.lifecycle.close(moments, reading.fire, reading.clear, reading.value, grade)
        return [self._alert(one, reading, moments, context, None) for one in told]

    def look(self, reading: Reading, rows: Ints, event_ns: Ints, detected_ns: Ints) -> list[Fired]:
        """Take what the clock says; where nothing is told nothing changes, as that look is not repeated."""
        life, pulse = self.lifecycle.life.gather(rows), self.lifecycle.pulse.gather(rows)
        fired = self.judge(reading, rows, event_ns, detected_ns)
        quiet = np.setdiff1d(np.arange(len(rows)), [at for at, _ in fired])
        self.lifecycle.life.scatter(rows[quiet], life[:, quiet])
        self.lifecycle.pulse.scatter(rows[quiet], pulse[:, quiet])
        return fired

    def tables(self) -> dict[str, Table]:
        """Return what is kept, by names that stay the same as long as it can be used."""
        name = f"{self.rule.id}@{self.interval or 'data'}:{self.rule.state_version:08x}"
        tables = {
            f"{name}:detector": self.detector.table,
            f"{name}:pulse": self.lifecycle.pulse,
            f"{name}:life": self.lifecycle.life,
        }
        return tables if self.detector.past is None else {**tables, f"{name}:past": self.detector.past}

    def _update(self, bars: Bars, values: Mapping[str, Floats], splits: Mapping[int, Split]) -> Reading:
        if not any(split.probable for split in splits.values()):
            return self.detector.update(bars, values)
        # judged by the old prices, but remembered as if they had always been the new ones
        reading = self.detector.peek(bars, values)
        where, factor = factors(splits)
        self.detector.split(bars.rows[where], factor)
        self.detector.update(bars, values)
        return reading

    def _graded(self, reading: Reading, at: int, split: Split | None) -> int:
        size = abs(float(reading.value[at]))
        grade = self._severity
        for name, threshold in (("warning", self.rule.warning), ("critical", self.rule.critical)):
            if threshold is not None and size >= threshold:
                grade = max(grade, SEVERITIES.index(name))
        return max(0, grade - 1) if split and split.probable else grade

    def _alert(
        self, told: Told, reading: Reading, moments: Moments, context: Context, bars: Bars | None
    ) -> Fired:
        at, row = told.at, int(moments.rows[told.at])
        instrument = self._instruments[row]
        split = context.splits.get(at) if told.state == "fired" else None
        facts = self._facts(told, reading, moments, bars, split)
        detected_ns = int(context.detected_ns[at])
        late_ns = detected_ns - told.event_ns
        kept = (self.rule.id, instrument.instrument_id, self.interval)
        value = plain(facts.value)
        threshold = plain(facts.threshold)
        return Fired(
            at,
            Alert(
                alert_id=alert_id(*kept, told.event_ns, told.state),
                rule_id=self.rule.id,
                rule_version=self.rule.version,
                kind=self.rule.kind,
                severity=facts.severity,
                state=told.state,
                instrument_id=instrument.instrument_id,
                symbol=instrument.symbol,
                ts_event_ns=told.event_ns,
                ts_detected_ns=detected_ns,
                direction=facts.direction,
                unit=facts.unit,
                suppressed_count=told.suppressed,
                dedup_key=" ".join(part for part in kept if part),
                cause=facts.cause,
                message=compose(facts, self.rule.message if told.state == "fired" else None),
                latency_ms=plain(late_ns / _MS_NS) if 0 <= late_ns < _DAY_NS else None,
                value=value,
                threshold=threshold,
                baseline=plain(facts.baseline),
                window=facts.window,
                price=plain(facts.price),
                reference_price=plain(facts.reference),
                volume=plain(facts.volume),
                score=plain(abs(facts.value) / facts.threshold) if value is not None and threshold else None,
            ),
        )

    def _facts(
        self, told: Told, reading: Reading, moments: Moments, bars: Bars | None, split: Split | None
    ) -> Facts:
        at, row = told.at, int(moments.rows[told.at])
        volume = _NAN if bars is None else float(bars.volume[at])
        first = bars is not None and bool(bars.first_of_session[at])
        return Facts(
            symbol=self._instruments[row].symbol,
            kind=self.rule.kind,
            rule_id=self.rule.id,
            severity=SEVERITIES[max(0, told.severity)],
            state=told.state,
            direction=_direction(reading, at),
            cause=_cause(self.detector.cause, split),
            unit=self.detector.unit,
            value=float(reading.value[at]),
            threshold=number_at(reading.threshold, at),
            baseline=number_at(reading.baseline, at),
            price=float(moments.price[at]),
            reference=number_at(moments.reference, at),
            volume=volume,
            window=self.detector.window,
            interval=self.interval,
            since=number_at(reading.since, at),
            level=self._level,
            split=split,
            times_usual=volume / self._usual.usual(row) if first else _NAN,
            suppressed=told.suppressed,
        )


def _moments(reading: Reading, bars: Bars, context: Context) -> Moments:
    price = bars.close if reading.price is None else reading.price
    return Moments(bars.rows, bars.ts_open_ns, context.event_ns, price, reading.reference)


def _direction(reading: Reading, at: int) -> Direction:
    sign = float((reading.value if reading.direction is None else reading.direction)[at])
    return "up" if sign > 0 else "down" if sign < 0 else "none"


def _cause(usual: Cause, split: Split | None) -> Cause:
    if split is None:
        return usual
    if split.probable:
        return "probable_split"
    known = split.volume_ratio == split.volume_ratio
    return usual if known else "unknown"
