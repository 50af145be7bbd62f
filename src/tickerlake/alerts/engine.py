"""Rules and closed bars → alerts.

Everything follows from what is given, in its order: a replay gives the same alerts, with the same ids.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tickerlake.alerts.detectors import registry
from tickerlake.alerts.detectors.data_health import DataQuality, Stale
from tickerlake.alerts.evaluator import DetectionContext, RuleEvaluator
from tickerlake.alerts.rules.rule import Rule
from tickerlake.alerts.splits import SplitDetector
from tickerlake.analytics.bars import Bars, Flags, Floats, Ints
from tickerlake.analytics.state_table import StateTable
from tickerlake.analytics.types import TRADES, FiredAlert, Instrument
from tickerlake.errors import UsageError
from tickerlake.model.duration import parse_duration_ns


class _RuleGroup:
    """Rules for the same symbols and hours, in bars of one interval: they are shown the same bars.

    ``feeds`` are what instruments send whose bars of this interval the rules look at; None for any.
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
        """Look at the bars of further instruments."""
        assert self.input_intervals is not None
        self.input_intervals.add(input_interval)
        self._set_matched(self._matched[:0])
        self.add_instruments(instruments)

    def _set_matched(self, matched: Flags) -> None:
        self._matched, self._matches_all = matched, bool(matched.all())

    def positions(self, rows: Ints, regular: Flags | None) -> Ints | None:
        """Return which bars its rules see; None for all."""
        seen = None if self._matches_all else self._matched[rows]
        if self.rule.session == "regular" and regular is not None:
            seen = regular if seen is None else seen & regular
        return None if seen is None else np.flatnonzero(seen)


class _BarBatch(NamedTuple):
    """Bars of a call, and what all rules want to know of them."""

    bars: Bars
    values: Mapping[str, Floats]
    context: DetectionContext
    regular: Flags | None

    def select(self, positions: Ints, indicators: frozenset[str]) -> "_BarBatch":
        at = (
            {int(position): number for number, position in enumerate(positions)}
            if self.context.splits
            else {}
        )
        splits = {at[position]: split for position, split in self.context.splits.items() if position in at}
        context = DetectionContext(
            self.context.event_ns[positions], self.context.detected_ns[positions], splits
        )
        values = {name: self.values[name][positions] for name in indicators}
        return _BarBatch(self.bars.select(positions), values, context, None)


class AlertEngine:
    """Watches instruments by rules.

    Parameters
    ----------
    rules
        What is looked for; their ids differ.
    intervals
        Of the bars that are built. A rule that names none looks at the shortest bars that an instrument has.

    Attributes
    ----------
    needs
        Canonical texts of the indicators that rules want, by interval.
    tick_intervals
        The intervals of rules that look at single trades.
    counts_refused
        True if a rule wants to know of refused records.
    idle
        Rules that see nothing of instruments that send trades, as no interval of theirs is built.
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
            isinstance(watch.detector, DataQuality) for _, watch, _ in self._data_evaluators
        )

    @property
    def rules_without_data(self) -> list[Rule]:
        """Rules that nothing was shown to so far."""
        seen = {
            watch.rule.id
            for group in self._all_groups()
            for _, watch in group.evaluators
            if watch.has_seen_bars
        }
        return [rule for _, rule in self._rules if rule.id not in seen]

    def add_instruments(self, instruments: Sequence[Instrument]) -> None:
        """Take further instruments, numbered on from the last."""
        for input_interval in dict.fromkeys(one.input_interval for one in instruments):
            self._add_input_interval(input_interval)
        self._instruments += instruments
        for group in self._all_groups():
            group.add_instruments(instruments)
        for table in self.tables().values():
            table.grow(len(self._instruments))

    def retain(self, rows: Ints) -> None:
        """Drop all instruments but some, which are numbered anew in the given order."""
        self._instruments[:] = [self._instruments[row] for row in rows.tolist()]
        for group in self._all_groups():
            group.retain(rows)
        for table in self.tables().values():
            table.retain(rows)

    def on_close(
        self, interval: str, bars: Bars, values: Mapping[str, Floats], detected_ns: Ints
    ) -> list[FiredAlert]:
        """Look at closed bars.

        Parameters
        ----------
        interval
            Their width.
        bars
            At most one of each instrument.
        values
            Indicators by their canonical texts: those of ``needs`` at least.
        detected_ns
            When Kafka took the record that closed each.
        """
        if interval not in self._groups or not len(bars):
            return []
        with np.errstate(all="ignore"):
            split_detector = self._split_detectors[interval]
            splits = split_detector.detect(bars)
            found = self._evaluate(
                interval, bars, values, DetectionContext(bars.ts_close_ns, detected_ns, splits), ticks=False
            )
            split_detector.update(bars, splits)
        return found

    def on_tick(
        self, interval: str, bars: Bars, values: Mapping[str, Floats], event_ns: Ints, detected_ns: Ints
    ) -> list[FiredAlert]:
        """Look at forming bars, one after each trade, in order.

        Detectors remember nothing of them, only what was told is remembered.
        """
        if interval not in self.tick_intervals or not len(bars):
            return []
        with np.errstate(all="ignore"):
            splits = self._split_detectors[interval].detect(bars)
            return self._evaluate(
                interval, bars, values, DetectionContext(event_ns, detected_ns, splits), ticks=True
            )

    def on_idle(
        self, rows: Ints, last_event_ns: Ints, now_ns: int, session_open_ns: Ints, session_close_ns: Ints
    ) -> list[FiredAlert]:
        """Look for instruments that send nothing.

        Parameters
        ----------
        rows
            Instruments, each once.
        last_event_ns
            When the last trade or bar of each was.
        now_ns
            The time now.
        session_open_ns, session_close_ns
            Of the session that it is now, or that is nearest.
        """
        found: list[tuple[int, int, FiredAlert]] = []
        for order, watch, group in self._data_evaluators:
            if isinstance(watch.detector, Stale):
                where = _positions(group, rows)
                last_ns, open_ns = last_event_ns[where], session_open_ns[where]
                reading = watch.detector.measure_idle(last_ns, now_ns, open_ns, session_close_ns[where])
                due_ns = np.maximum(last_ns, open_ns) + watch.detector.after_ns
                event_ns = np.where(reading.fire, due_ns, last_ns)
                detected_ns = np.full(len(where), now_ns)
                fired = watch.process_idle_reading(reading, rows[where], event_ns, detected_ns)
                found += _with_positions(fired, where, order)
        return _in_order(found)

    def on_rejects(self, rows: Ints, counts: Ints, event_ns: Ints, detected_ns: Ints) -> list[FiredAlert]:
        """Take how many records of some instruments were refused.

        Parameters
        ----------
        rows, counts
            Instruments, each once, and their records.
        event_ns, detected_ns
            When the last of them was, and when Kafka took it.
        """
        found: list[tuple[int, int, FiredAlert]] = []
        for order, watch, group in self._data_evaluators:
            if isinstance(watch.detector, DataQuality):
                where = _positions(group, rows)
                reading = watch.detector.process_counts(rows[where], counts[where], event_ns[where])
                fired = watch.process_reading(reading, rows[where], event_ns[where], detected_ns[where])
                found += _with_positions(fired, where, order)
        return _in_order(found)

    def tables(self) -> dict[str, StateTable]:
        """Return everything that is kept for each instrument, by names that stay the same."""
        tables: dict[str, StateTable] = {}
        for interval, splits in self._split_detectors.items():
            tables[f"splits@{interval}:closes"] = splits.closes
            tables[f"splits@{interval}:volumes"] = splits.volumes
        for group in self._all_groups():
            for _, watch in group.evaluators:
                tables |= watch.tables()
        return tables

    def _evaluate(
        self,
        interval: str,
        bars: Bars,
        values: Mapping[str, Floats],
        context: DetectionContext,
        *,
        ticks: bool,
    ) -> list[FiredAlert]:
        batch = _BarBatch(bars, values, context, _regular_session(bars))
        found: list[tuple[int, int, FiredAlert]] = []
        for number, group in enumerate(self._groups[interval]):
            watches = [one for one in group.evaluators if not ticks or one[1].rule.when == "tick"]
            if not watches:
                continue
            where = group.positions(bars.rows, batch.regular)
            if where is not None and not len(where):
                continue
            part = (
                batch if where is None else batch.select(where, self._indicators_by_group[interval, number])
            )
            for order, watch in watches:
                evaluate = watch.on_tick if ticks else watch.on_close
                if fired := evaluate(part.bars, part.values, part.context):
                    found += _with_positions(fired, where, order)
        return _in_order(found)

    def _try_add_data_rule(self, rule: Rule, order: int) -> bool:
        if not rule.monitors_data:
            return False
        watch = RuleEvaluator(rule, "", self._instruments, SplitDetector())
        group = _RuleGroup(rule)
        group.evaluators.append((order, watch))
        self._data_evaluators.append((order, watch, group))
        return True

    def _add_input_interval(self, input_interval: str) -> None:
        """Prepare for instruments that send trades, or bars of an interval."""
        if input_interval in self._input_intervals:
            return
        self._input_intervals.add(input_interval)
        longer = [
            text
            for text in self._built_intervals
            if input_interval and parse_duration_ns(text) > parse_duration_ns(input_interval)
        ]
        for order, rule in self._rules:
            for interval in rule.select_intervals(
                [input_interval, *longer] if input_interval else self._built_intervals
            ):
                self._add_evaluator(rule, interval, order, input_interval)
        self.required_indicators = self._collect_required_indicators()
        self.tick_intervals = frozenset(
            interval
            for interval, groups in self._groups.items()
            if any(watch.rule.when == "tick" for group in groups for _, watch in group.evaluators)
        )

    def _add_evaluator(self, rule: Rule, interval: str, order: int, input_interval: str) -> None:
        split_detector = self._split_detectors.setdefault(interval, SplitDetector())
        groups = self._groups.setdefault(interval, [])
        group = next((g for g in groups if any(one.rule is rule for _, one in g.evaluators)), None)
        if group is not None:
            group.add_input_interval(input_interval, self._instruments)
            return
        try:
            watch = RuleEvaluator(rule, interval, self._instruments, split_detector)
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
        group.evaluators.append((order, watch))
        for table in (*watch.tables().values(), split_detector.closes, split_detector.volumes):
            table.grow(len(self._instruments))

    def _collect_required_indicators(self) -> dict[str, frozenset[str]]:
        found: dict[str, frozenset[str]] = {}
        for interval, groups in self._groups.items():
            for number, group in enumerate(groups):
                needs = frozenset[str]().union(
                    *(watch.detector.required_indicators() for _, watch in group.evaluators)
                )
                self._indicators_by_group[interval, number] = needs
                found[interval] = found.get(interval, frozenset()) | needs
        return found

    def _all_groups(self) -> Iterable[_RuleGroup]:
        for groups in self._groups.values():
            yield from groups
        yield from (group for _, _, group in self._data_evaluators)


def _bar_filter_key(rule: Rule) -> tuple[object, ...]:
    """Return what rules have in common that look at the same bars."""
    kind = registry.detector_class(rule.kind)
    return rule.symbols, rule.exclude, rule.session, rule.intervals, kind.intraday_only, kind.max_interval


def _regular_session(bars: Bars) -> Flags | None:
    """Tell which bars are within their sessions, in part at least; None for all."""
    regular = (bars.ts_open_ns < bars.session_close_ns) & (bars.ts_close_ns > bars.session_open_ns)
    return None if np.count_nonzero(regular) == len(bars) else regular


def _positions(group: _RuleGroup, rows: Ints) -> Ints:
    where = group.positions(rows, None)
    return np.arange(len(rows)) if where is None else where


def _with_positions(
    fired: list[FiredAlert], positions: Ints | None, order: int
) -> list[tuple[int, int, FiredAlert]]:
    """Return alerts with their positions among all bars, and the order of their rules."""
    placed = []
    for at, alert in fired:
        position = at if positions is None else int(positions[at])
        placed.append((position, order, FiredAlert(position, alert)))
    return placed


def _in_order(found: list[tuple[int, int, FiredAlert]]) -> list[FiredAlert]:
    return [fired for _, _, fired in sorted(found, key=lambda one: one[:2])]
