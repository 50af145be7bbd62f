"""Evaluates rules on bars, gaps and rejected records, and returns the alerts.

Alerts depend only on the input and its order: a replay raises the same alerts with the same ids.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from tickerlake.alerts.detectors import registry
from tickerlake.alerts.detectors.data_health import DataQuality, Stale
from tickerlake.alerts.evaluator import DetectionContext, RuleEvaluator
from tickerlake.alerts.opening_gaps import GAP_KIND, find_move, include_gap
from tickerlake.alerts.rules.rule import Rule, SessionFilter
from tickerlake.alerts.splits import SplitDetector
from tickerlake.analytics.bars import Bars, Flags, Floats, Ints
from tickerlake.analytics.known_splits import AdjustForSplit, after_splits
from tickerlake.analytics.sessions import Hours
from tickerlake.analytics.state_table import StateTable
from tickerlake.analytics.types import TRADES, FiredAlert, Instrument
from tickerlake.errors import UsageError
from tickerlake.model.alert import Alert
from tickerlake.model.duration import parse_duration_ns


class _RuleGroup:
    """Rules that evaluate the same bars: same interval, symbols and session filter.

    Parameters
    ----------
    rule
        One of the rules, for what they have in common.
    input_intervals
        The input intervals of the instruments whose bars the rules evaluate; None for any.
    """

    def __init__(self, rule: Rule, input_intervals: set[str] | None = None) -> None:
        self.rule = rule
        self.input_intervals = input_intervals
        self.evaluators: list[tuple[int, RuleEvaluator]] = []
        self._matched: Flags = np.zeros(0, dtype=bool)
        self._matches_all = True

    def add_instruments(self, instruments: Sequence[Instrument]) -> None:
        more = [
            (self.input_intervals is None or one.input_interval in self.input_intervals)
            and self.rule.matches(one.symbol)
            for one in instruments
        ]
        self._set_matched(np.concatenate([self._matched, np.array(more, dtype=bool)]))

    def retain(self, rows: Ints) -> None:
        self._set_matched(self._matched[rows])

    def add_input_interval(self, input_interval: str, instruments: Sequence[Instrument]) -> None:
        """Also evaluate the bars of instruments with this input interval."""
        assert self.input_intervals is not None
        self.input_intervals.add(input_interval)
        self._set_matched(self._matched[:0])
        self.add_instruments(instruments)

    def _set_matched(self, matched: Flags) -> None:
        self._matched, self._matches_all = matched, bool(matched.all())

    def positions(self, rows: Ints, regular: Flags | None) -> Ints | None:
        """Return the positions of the bars that the rules evaluate; None for all."""
        in_session = _in_session(self.rule.session_filter, len(rows), regular)
        if self._matches_all:
            return None if in_session is None else np.flatnonzero(in_session)
        matched = self._matched[rows]
        return np.flatnonzero(matched if in_session is None else matched & in_session)

    def matching(self, rows: Ints) -> Ints:
        """Return the positions of the instruments that the rules apply to."""
        return np.flatnonzero(self._matched[rows])


class _BarBatch(NamedTuple):
    """The bars of a call, their indicators, and what all rules need to know about them."""

    bars: Bars
    values: Mapping[str, Floats]
    context: DetectionContext
    regular: Flags | None

    def select(self, positions: Ints, indicators: frozenset[str]) -> "_BarBatch":
        splits = {}
        if self.context.splits:
            index = {int(position): number for number, position in enumerate(positions)}
            splits = {index[at]: split for at, split in self.context.splits.items() if at in index}
        context = DetectionContext(
            self.context.event_ns[positions], self.context.detected_ns[positions], splits
        )
        values = {name: self.values[name][positions] for name in indicators}
        return _BarBatch(self.bars.select(positions), values, context, None)


class AlertEngine:
    """Evaluates rules for all instruments of a partition.

    Parameters
    ----------
    rules
        Rules with distinct ids.
    intervals
        The intervals of the bars that are built. A rule without an interval evaluates an instrument's
        shortest bars.

    Attributes
    ----------
    required_indicators
        Canonical texts of the indicators that the rules read, by interval.
    tick_intervals
        The intervals of rules that evaluate single trades.
    counts_rejects
        True if a rule evaluates rejected records.
    rules_without_interval
        Rules that cannot evaluate instruments that send trades, because none of their intervals is built.
    """

    def __init__(self, rules: Sequence[Rule], intervals: Sequence[str]) -> None:
        self._instruments: list[Instrument] = []
        self._groups: dict[str, list[_RuleGroup]] = {}
        self._indicators_by_group: dict[tuple[str, int], frozenset[str]] = {}
        self._split_detectors: dict[str, SplitDetector] = {}
        self._data_evaluators: list[tuple[int, RuleEvaluator, _RuleGroup]] = []
        self._input_intervals: set[str] = set()
        self._built_intervals = list(intervals)
        self._rules = [(n, rule) for n, rule in enumerate(rules) if not self._try_add_data_rule(rule, n)]
        self.required_indicators: dict[str, frozenset[str]] = {}
        self.tick_intervals: frozenset[str] = frozenset()
        self._add_input_interval(TRADES)
        self.rules_without_interval = [
            rule for _, rule in self._rules if not rule.select_intervals(self._built_intervals)
        ]
        self.counts_rejects = any(
            isinstance(evaluator.detector, DataQuality) for _, evaluator, _ in self._data_evaluators
        )

    @property
    def rules_without_data(self) -> list[Rule]:
        """Rules that have evaluated no bar so far."""
        with_data = {
            evaluator.rule.id
            for group in self._all_groups()
            for _, evaluator in group.evaluators
            if evaluator.has_seen_bars
        }
        return [rule for _, rule in self._rules if rule.id not in with_data]

    @property
    def rules_without_range(self) -> list[Rule]:
        """Rules that have evaluated bars, but need more of them than the close, which was all."""
        evaluators = [one for group in self._all_groups() for _, one in group.evaluators if one.has_seen_bars]
        evaluated = {one.rule.id for one in evaluators if one.detector.needs_range}
        with_range = {one.rule.id for one in evaluators if one.has_seen_range}
        return [rule for _, rule in self._rules if rule.id in evaluated - with_range]

    def add_instruments(self, instruments: Sequence[Instrument]) -> None:
        """Add instruments; their rows follow the last one."""
        for input_interval in dict.fromkeys(one.input_interval for one in instruments):
            self._add_input_interval(input_interval)
        self._instruments += instruments
        for group in self._all_groups():
            group.add_instruments(instruments)
        for table in self.tables().values():
            table.grow(len(self._instruments))

    def retain(self, rows: Ints) -> None:
        """Keep only these instruments, and renumber them in this order."""
        self._instruments[:] = [self._instruments[row] for row in rows.tolist()]
        for group in self._all_groups():
            group.retain(rows)
        for table in self.tables().values():
            table.retain(rows)

    def on_close(
        self, interval: str, bars: Bars, values: Mapping[str, Floats], detected_ns: Ints
    ) -> list[FiredAlert]:
        """Evaluate closed bars.

        Parameters
        ----------
        interval
            Their interval.
        bars
            At most one per instrument.
        values
            Indicators by canonical text, at least those of ``required_indicators``.
        detected_ns
            The Kafka timestamp of the record that closed each bar.
        """
        if interval not in self._groups or not len(bars):
            return []
        with np.errstate(all="ignore"):
            split_detector = self._split_detectors[interval]
            if bars.has_splits:
                self._adjust_for_splits(interval, bars.rows[bars.is_split], bars.split_factor[bars.is_split])
            splits = split_detector.detect(bars)
            fired = self._evaluate(
                interval, bars, values, DetectionContext(bars.ts_close_ns, detected_ns, splits), ticks=False
            )
            split_detector.update(bars, splits)
        return fired

    def on_tick(
        self, interval: str, bars: Bars, values: Mapping[str, Floats], event_ns: Ints, detected_ns: Ints
    ) -> list[FiredAlert]:
        """Evaluate forming bars, one after each trade, in order.

        They do not change the state of detectors, only that of the alerts' life cycles.
        """
        if interval not in self.tick_intervals or not len(bars):
            return []
        split_detector = self._split_detectors[interval]
        components = self._split_components(interval) if bars.has_splits else []
        with np.errstate(all="ignore"), after_splits(bars, components):
            splits = split_detector.detect(bars, forming=True)
            return self._evaluate(
                interval, bars, values, DetectionContext(event_ns, detected_ns, splits), ticks=True
            )

    def on_idle(self, rows: Ints, last_event_ns: Ints, now_ns: int, hours: Hours) -> list[FiredAlert]:
        """Evaluate rules for idle instruments.

        Parameters
        ----------
        rows
            Instruments, each once.
        last_event_ns
            The time of each one's last trade or bar.
        now_ns
            The time now.
        hours
            The current or nearest session of each.
        """
        alerts: list[_OrderedAlert] = []
        for order, evaluator, group in self._data_evaluators:
            if isinstance(evaluator.detector, Stale):
                at = group.matching(rows)
                last_ns = last_event_ns[at]
                selected_hours = Hours(*(times_ns[at] for times_ns in hours))
                reading, due_ns = evaluator.detector.measure_idle(last_ns, now_ns, selected_hours)
                event_ns = np.where(reading.fire, due_ns, last_ns)
                detected_ns = np.full(len(at), now_ns)
                fired = evaluator.process_idle_reading(reading, rows[at], event_ns, detected_ns)
                alerts += _with_order(fired, at, order)
        return _sorted_alerts(alerts)

    def on_rejects(self, rows: Ints, counts: Ints, event_ns: Ints, detected_ns: Ints) -> list[FiredAlert]:
        """Evaluate rules for rejected records.

        Parameters
        ----------
        rows, counts
            Instruments, each once, and how many of their records were rejected.
        event_ns, detected_ns
            The time of the last of these records, and its Kafka timestamp.
        """
        alerts: list[_OrderedAlert] = []
        for order, evaluator, group in self._data_evaluators:
            if isinstance(evaluator.detector, DataQuality):
                at = group.matching(rows)
                reading = evaluator.detector.process_counts(rows[at], counts[at], event_ns[at])
                fired = evaluator.process_reading(reading, rows[at], event_ns[at], detected_ns[at])
                alerts += _with_order(fired, at, order)
        return _sorted_alerts(alerts)

    def tables(self) -> dict[str, StateTable]:
        """Return all per-instrument state, by names that are the same in every run."""
        tables: dict[str, StateTable] = {}
        for interval, detector in self._split_detectors.items():
            tables |= {f"splits@{interval}:{name}": table for name, table in detector.tables().items()}
        for group in self._all_groups():
            for _, evaluator in group.evaluators:
                tables |= evaluator.tables()
        return tables

    def _split_components(self, interval: str) -> list[tuple[AdjustForSplit, list[StateTable]]]:
        """Return what converts the state that forming bars are compared with, and its tables."""
        split_detector = self._split_detectors[interval]
        detectors = [one.detector for group in self._groups[interval] for _, one in group.evaluators]
        return [
            (split_detector.adjust_for_split, list(split_detector.tables().values())),
            *((each.adjust_for_split, each.tables()) for each in detectors),
        ]

    def _adjust_for_splits(self, interval: str, rows: Ints, factor: Floats) -> None:
        """Convert all state to the new shares, also that of rules that do not evaluate these bars."""
        self._split_detectors[interval].adjust_for_split(rows, factor)
        for group in self._groups[interval]:
            for _, evaluator in group.evaluators:
                evaluator.adjust_for_split(rows, factor)

    def _evaluate(
        self,
        interval: str,
        bars: Bars,
        values: Mapping[str, Floats],
        context: DetectionContext,
        *,
        ticks: bool,
    ) -> list[FiredAlert]:
        batch = _BarBatch(bars, values, context, _regular_bars(bars))
        alerts: list[_OrderedAlert] = []
        gaps: list[_Gap] = []
        for number, group in enumerate(self._groups[interval]):
            evaluators = [one for one in group.evaluators if not ticks or one[1].rule.when == "tick"]
            if not evaluators:
                continue
            at = group.positions(bars.rows, batch.regular)
            if at is not None and not len(at):
                continue
            part = batch if at is None else batch.select(at, self._indicators_by_group[interval, number])
            for order, evaluator in evaluators:
                is_gap = evaluator.rule.kind == GAP_KIND and bool(part.bars.first_of_session.any())
                was_active = evaluator.lifecycle.are_active(part.bars.rows) if is_gap else _NO_FLAGS
                evaluate = evaluator.on_tick if ticks else evaluator.on_close
                if fired := evaluate(part.bars, part.values, part.context):
                    ordered = _with_order(fired, at, order)
                    if is_gap:
                        fresh = [not was_active[one.position] for one in fired]
                        gaps += map(_Gap, ordered, [evaluator] * len(fired), fresh)
                    else:
                        alerts += ordered
        return _sorted_alerts(_tell_gaps(alerts, gaps, bars.rows) if gaps else alerts)

    def _try_add_data_rule(self, rule: Rule, order: int) -> bool:
        if not rule.monitors_data:
            return False
        evaluator = RuleEvaluator(rule, "", self._instruments, SplitDetector())
        group = _RuleGroup(rule)
        group.evaluators.append((order, evaluator))
        self._data_evaluators.append((order, evaluator, group))
        return True

    def _add_input_interval(self, input_interval: str) -> None:
        """Add evaluators for instruments that send trades, or bars of an interval."""
        if input_interval in self._input_intervals:
            return
        self._input_intervals.add(input_interval)
        longer = [
            text
            for text in self._built_intervals
            if input_interval and parse_duration_ns(text) > parse_duration_ns(input_interval)
        ]
        for order, rule in self._rules:
            for interval in (
                _evaluable_intervals(rule, [input_interval, *longer])
                if input_interval
                else rule.select_intervals(self._built_intervals)
            ):
                for part in rule.parts:
                    self._add_evaluator(part, interval, order, input_interval)
        self.required_indicators = self._collect_required_indicators()
        self.tick_intervals = frozenset(
            interval
            for interval, groups in self._groups.items()
            if any(evaluator.rule.when == "tick" for group in groups for _, evaluator in group.evaluators)
        )

    def _add_evaluator(self, rule: Rule, interval: str, order: int, input_interval: str) -> None:
        split_detector = self._split_detectors.setdefault(interval, SplitDetector())
        groups = self._groups.setdefault(interval, [])
        group = next((g for g in groups if any(one.rule is rule for _, one in g.evaluators)), None)
        if group is not None:
            group.add_input_interval(input_interval, self._instruments)
            return
        try:
            evaluator = RuleEvaluator(rule, interval, self._instruments, split_detector)
        except UsageError as error:
            raise UsageError(f"Rule {rule.id}: {error.message}", error.hint) from error
        key = _bar_filter_key(rule)
        group = next(
            (g for g in groups if _bar_filter_key(g.rule) == key and g.input_intervals == {input_interval}),
            None,
        )
        if group is None:
            group = _RuleGroup(rule, {input_interval})
            group.add_instruments(self._instruments)
            groups.append(group)
        group.evaluators.append((order, evaluator))
        for table in (*evaluator.tables().values(), *split_detector.tables().values()):
            table.grow(len(self._instruments))

    def _collect_required_indicators(self) -> dict[str, frozenset[str]]:
        by_interval: dict[str, frozenset[str]] = {}
        for interval, groups in self._groups.items():
            for number, group in enumerate(groups):
                required = frozenset[str]().union(
                    *(evaluator.detector.required_indicators() for _, evaluator in group.evaluators)
                )
                self._indicators_by_group[interval, number] = required
                by_interval[interval] = by_interval.get(interval, frozenset()) | required
        return by_interval

    def _all_groups(self) -> Iterable[_RuleGroup]:
        for groups in self._groups.values():
            yield from groups
        yield from (group for _, _, group in self._data_evaluators)


_NO_FLAGS: Final[Flags] = np.zeros(0, dtype=bool)


def _evaluable_intervals(rule: Rule, intervals: list[str]) -> list[str]:
    """Return the intervals that a rule evaluates, except those that would put too many bars in its window.

    A producer decides which bars it sends, so they must not be an error of the rule.
    """
    selected = rule.select_intervals(intervals)
    for interval in selected:
        try:
            rule.build_detector(interval)
        except UsageError:
            return _evaluable_intervals(rule, [each for each in intervals if each != interval])
    return selected


def _bar_filter_key(rule: Rule) -> tuple[object, ...]:
    """Return what determines the bars that a rule evaluates."""
    kind = registry.detector_class(rule.kind)
    return (
        rule.symbols,
        rule.exclude,
        rule.session_filter,
        rule.intervals,
        kind.intraday_only,
        kind.max_interval,
    )


def _regular_bars(bars: Bars) -> Flags | None:
    """Return which bars are of regular hours; None for all."""
    regular = bars.is_regular
    return None if np.count_nonzero(regular) == len(bars) else regular


def _in_session(session: SessionFilter, count: int, regular: Flags | None) -> Flags | None:
    """Return which of some bars a session filter selects; None for all."""
    if session == "all" or (session == "regular" and regular is None):
        return None
    if regular is None:
        return np.zeros(count, dtype=np.bool_)
    return regular if session == "regular" else ~regular


class _OrderedAlert(NamedTuple):
    """An alert, its position among all bars of the call, and the number of its rule."""

    position: int
    order: int
    alert: Alert


class _Gap(NamedTuple):
    """An alert of a rule on gaps at the open; ``is_fresh`` if it began an episode."""

    ordered: _OrderedAlert
    evaluator: RuleEvaluator
    is_fresh: bool


def _tell_gaps(moves: list[_OrderedAlert], gaps: list[_Gap], rows: Ints) -> list[_OrderedAlert]:
    """Return all alerts of a call: a gap with which a move began is told by the alert on the move."""
    result = list(moves)
    for gap in gaps:
        position, alert = gap.ordered.position, gap.ordered.alert
        at_bar = [n for n, one in enumerate(moves) if one.position == position]
        number = find_move(alert, [moves[n].alert for n in at_bar])
        if number is None:
            result.append(gap.ordered)
            continue
        move = result[at_bar[number]]
        result[at_bar[number]] = move._replace(alert=include_gap(move.alert, alert))
        if gap.is_fresh:
            gap.evaluator.lifecycle.deactivate(int(rows[position]))
    return result


def _with_order(fired: list[FiredAlert], positions: Ints | None, order: int) -> list[_OrderedAlert]:
    return [
        _OrderedAlert(one.position if positions is None else int(positions[one.position]), order, one.alert)
        for one in fired
    ]


def _sorted_alerts(alerts: list[_OrderedAlert]) -> list[FiredAlert]:
    return [FiredAlert(one.position, one.alert) for one in sorted(alerts, key=lambda one: one[:2])]
