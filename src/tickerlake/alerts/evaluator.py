"""One rule on bars of one interval: detector readings → life cycle → alerts."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from tickerlake.alerts.detectors.detector import Detector, Reading
from tickerlake.alerts.lifecycle import Events, Lifecycle, SeverityAt, Transition, value_at
from tickerlake.alerts.message import Facts, format_message
from tickerlake.alerts.rules.rule import Rule
from tickerlake.alerts.splits import SplitCandidate, SplitDetector, split_factors
from tickerlake.analytics.bars import Bars, Floats, Ints
from tickerlake.analytics.state_table import StateTable
from tickerlake.analytics.types import FiredAlert, Instrument
from tickerlake.model.alert import SEVERITIES, Alert, Cause, Direction, alert_id, to_decimal
from tickerlake.model.duration import DAY_NS, MS_NS

_NAN: Final = float("nan")


class DetectionContext(NamedTuple):
    """What evaluators need to know about k bars, in addition to what detectors read.

    Parameters
    ----------
    event_ns, detected_ns
        The time of each event, and the Kafka timestamp of the record that shows it; arrays of shape (k,).
    splits
        Possible splits, by position.
    """

    event_ns: Ints
    detected_ns: Ints
    splits: Mapping[int, SplitCandidate]


class RuleEvaluator:
    """A rule on bars of one interval.

    Parameters
    ----------
    rule
        The rule.
    interval
        The interval of the bars; empty for a rule on the data stream.
    instruments
        All instruments by row; the owner appends to it.
    split_detector
        Has the median volumes.
    """

    def __init__(
        self, rule: Rule, interval: str, instruments: Sequence[Instrument], split_detector: SplitDetector
    ) -> None:
        self.rule, self.interval = rule, interval
        self.detector: Detector = rule.build_detector(interval or "1d")
        warmup = self.detector.warmup if rule.warmup is None else rule.warmup
        clear_bars = self.detector.clear_bars if rule.clear_bars is None else rule.clear_bars
        self.lifecycle = Lifecycle(rule, warmup, clear_bars, self.detector.doubles_in)
        self._instruments, self._split_detector = instruments, split_detector
        self._base_severity = SEVERITIES.index(rule.severity)
        self._level = str(self.detector.arguments.get("level") or "")
        self.has_seen_bars = self.has_seen_range = False

    def on_close(
        self, bars: Bars, values: Mapping[str, Floats], context: DetectionContext
    ) -> list[FiredAlert]:
        """Evaluate closed bars, at most one per instrument."""
        self.has_seen_bars = True
        self.has_seen_range = self.has_seen_range or bool(bars.has_range.any())
        reading = self._update(bars, values, context.splits)
        return self._process_closed(reading, _events(reading, bars, context), context, bars)

    def on_tick(
        self, bars: Bars, values: Mapping[str, Floats], context: DetectionContext
    ) -> list[FiredAlert]:
        """Evaluate forming bars, one after each trade."""
        reading = self.detector.preview(bars, values)
        if not np.count_nonzero(reading.fire):
            return []
        events = _events(reading, bars, context)
        transitions = self.lifecycle.on_tick(events, reading.fire, self._severity_at(reading, context))
        return [self._fired_alert(one, reading, events, context, bars) for one in transitions]

    def process_reading(
        self, reading: Reading, rows: Ints, event_ns: Ints, detected_ns: Ints
    ) -> list[FiredAlert]:
        """Evaluate a reading of the data stream."""
        context = DetectionContext(event_ns, detected_ns, {})
        unknown = np.full(len(rows), _NAN)
        events = Events(rows, event_ns, event_ns, unknown, _NAN, reading.value, reading.begin_ns)
        return self._process_closed(reading, events, context, None)

    def process_idle_reading(
        self, reading: Reading, rows: Ints, event_ns: Ints, detected_ns: Ints
    ) -> list[FiredAlert]:
        """Evaluate a reading at a time of the clock.

        Only instruments with an alert change state: a replay repeats the readings that raised alerts, not the
        others.
        """
        cold, hot = self.lifecycle.cold_table.gather(rows), self.lifecycle.hot_table.gather(rows)
        fired = self.process_reading(reading, rows, event_ns, detected_ns)
        unfired = np.setdiff1d(np.arange(len(rows)), [at for at, _ in fired])
        self.lifecycle.cold_table.scatter(rows[unfired], cold[:, unfired])
        self.lifecycle.hot_table.scatter(rows[unfired], hot[:, unfired])
        return fired

    def adjust_for_split(self, rows: Ints, factor: Floats) -> None:
        """Convert all state to the new shares; the factor is the new price divided by the old one."""
        self.detector.adjust_for_split(rows, factor)
        self.lifecycle.adjust_for_split(rows, factor)

    def tables(self) -> dict[str, StateTable]:
        """Return all state; a name changes when the rule can no longer use the state of that name."""
        name = f"{self.rule.id}@{self.interval or 'data'}:{self.rule.state_version:08x}"
        tables = {
            f"{name}:detector": self.detector.table,
            f"{name}:pulse": self.lifecycle.hot_table,
            f"{name}:life": self.lifecycle.cold_table,
        }
        if self.detector.history is not None:
            tables[f"{name}:past"] = self.detector.history
        within = [table for part in self.detector.parts for table in part.tables()]
        return tables | {f"{name}:part {number}": table for number, table in enumerate(within)}

    def _update(
        self, bars: Bars, values: Mapping[str, Floats], splits: Mapping[int, SplitCandidate]
    ) -> Reading:
        # a rule for all hours has the prices before the open, which are in new shares
        at, factor = split_factors(splits, include_traded=self.rule.session_filter == "regular")
        if not len(at):
            return self.detector.update(bars, values)
        # a move is measured from the prices before the split, a volume in the new shares
        before = self.detector.preview(bars, values)
        self.adjust_for_split(bars.rows[at], factor)
        after = self.detector.update(bars, values)
        return after if self.detector.share_fields and not self.detector.price_fields else before

    def _process_closed(
        self, reading: Reading, events: Events, context: DetectionContext, bars: Bars | None
    ) -> list[FiredAlert]:
        transitions = self.lifecycle.on_close(
            events, reading.fire, reading.clear, self._severity_at(reading, context)
        )
        return [self._fired_alert(one, reading, events, context, bars) for one in transitions]

    def _severity_at(self, reading: Reading, context: DetectionContext) -> SeverityAt:
        return lambda at: self._severity_index(reading, at, context.splits.get(at))

    def _severity_index(self, reading: Reading, at: int, split: SplitCandidate | None) -> int:
        size = abs(float(reading.value[at]))
        severity = self._base_severity
        for name, threshold in (("warning", self.rule.warning), ("critical", self.rule.critical)):
            if threshold is not None and size >= threshold:
                severity = max(severity, SEVERITIES.index(name))
        return max(0, severity - 1) if split and split.certainty == "probable" else severity

    def _fired_alert(
        self,
        transition: Transition,
        reading: Reading,
        events: Events,
        context: DetectionContext,
        bars: Bars | None,
    ) -> FiredAlert:
        at, row = transition.position, int(events.rows[transition.position])
        instrument = self._instruments[row]
        split = context.splits.get(at) if transition.state == "fired" else None
        facts = self._facts(transition, reading, events, bars, split)
        detected_ns = int(context.detected_ns[at])
        latency_ns = detected_ns - transition.event_ns
        key_parts = (self.rule.id, instrument.instrument_id, self.interval)
        value = to_decimal(facts.value)
        threshold = to_decimal(facts.threshold)
        return FiredAlert(
            at,
            Alert(
                alert_id=alert_id(*key_parts, transition.event_ns, transition.state),
                rule_id=self.rule.id,
                rule_version=self.rule.version,
                kind=self.rule.kind,
                severity=facts.severity,
                state=transition.state,
                instrument_id=instrument.instrument_id,
                symbol=instrument.symbol,
                ts_event_ns=transition.event_ns,
                ts_detected_ns=detected_ns,
                direction=facts.direction,
                unit=facts.unit,
                suppressed_count=transition.suppressed_count,
                dedup_key=" ".join(part for part in key_parts if part),
                cause=facts.cause,
                message=format_message(facts, self.rule.message if transition.state == "fired" else None),
                latency_ms=to_decimal(latency_ns / MS_NS) if 0 <= latency_ns < DAY_NS else None,
                value=value,
                threshold=threshold,
                baseline=to_decimal(facts.baseline),
                window=facts.window,
                price=to_decimal(facts.price),
                reference_price=to_decimal(facts.reference),
                volume=to_decimal(facts.volume),
                score=to_decimal(abs(facts.value) / facts.threshold)
                if value is not None and threshold
                else None,
            ),
        )

    def _facts(
        self,
        transition: Transition,
        reading: Reading,
        events: Events,
        bars: Bars | None,
        split: SplitCandidate | None,
    ) -> Facts:
        at, row = transition.position, int(events.rows[transition.position])
        volume = _NAN if bars is None else float(bars.volume[at])
        first = bars is not None and bool(bars.first_of_session[at])
        usual = volume / self._split_detector.median_volume(row) if first else _NAN
        return Facts(
            symbol=self._instruments[row].symbol,
            kind=self.rule.kind,
            rule_id=self.rule.id,
            severity=SEVERITIES[max(0, transition.severity)],
            state=transition.state,
            direction=_direction(reading, at),
            cause=_cause(self.detector.cause, split),
            unit=self.detector.unit,
            value=float(reading.value[at]),
            threshold=value_at(reading.threshold, at),
            baseline=value_at(reading.baseline, at),
            price=float(events.price[at]),
            reference=value_at(events.reference, at),
            volume=volume,
            window=self.detector.window,
            reference_session=value_at(reading.reference_session, at),
            level=self._level,
            split=split,
            volume_multiple=split.volume_ratio if split else usual,
            suppressed_count=transition.suppressed_count,
            detail=reading.detail(at) if reading.detail and transition.state == "fired" else "",
        )


def _events(reading: Reading, bars: Bars, context: DetectionContext) -> Events:
    price = bars.close if reading.price is None else reading.price
    rest = (price, reading.reference, reading.value, reading.begin_ns)
    return Events(bars.rows, bars.ts_open_ns, context.event_ns, *rest)


def _direction(reading: Reading, at: int) -> Direction:
    sign = float((reading.value if reading.direction is None else reading.direction)[at])
    return "up" if sign > 0 else "down" if sign < 0 else "none"


def _cause(default_cause: Cause, split: SplitCandidate | None) -> Cause:
    if split is None or split.certainty == "known":
        return default_cause
    return "probable_split" if split.certainty == "probable" else "unknown"
