"""Rules and closed bars → alerts.

Everything follows from what is given, in its order: a replay gives the same alerts, with the same ids.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from tickerlake.alerts.cause import Splits
from tickerlake.alerts.detectors import kinds
from tickerlake.alerts.detectors.silence import DataQuality, Stale
from tickerlake.alerts.duration import nanoseconds
from tickerlake.alerts.rules.rule import Rule
from tickerlake.alerts.watch import Context, Fired, Instrument, Watch
from tickerlake.analytics.bars import Bars, Flags, Floats, Ints
from tickerlake.analytics.columnar import Table
from tickerlake.errors import UsageError

__all__ = ["AlertEngine", "Fired", "Instrument"]


class Named(Protocol):
    """What is wanted of an instrument."""

    @property
    def instrument_id(self) -> str:
        """``AAPL.XNAS``."""
        ...

    @property
    def symbol(self) -> str:
        """``AAPL``."""
        ...

    @property
    def feed(self) -> str:
        """What it sends: trades (empty), or bars of an interval."""
        ...


class _Group:
    """Rules for the same symbols and hours, in bars of one interval: they are shown the same bars.

    ``feeds`` are what instruments send whose bars of this interval the rules look at; None for any.
    """

    def __init__(self, rule: Rule, feeds: set[str] | None = None) -> None:
        self.rule = rule
        self.feeds = feeds
        self.watches: list[tuple[int, Watch]] = []
        self._matched: Flags = np.zeros(0, dtype=bool)
        self._all = True

    def grow(self, instruments: Sequence[Instrument]) -> None:
        more = [
            (self.feeds is None or one.feed in self.feeds) and self.rule.matches(one.symbol)
            for one in instruments
        ]
        self._set(np.concatenate([self._matched, np.array(more, dtype=bool)]))

    def keep(self, rows: Ints) -> None:
        self._set(self._matched[rows])

    def watch_feed(self, feed: str, instruments: Sequence[Instrument]) -> None:
        """Look at the bars of further instruments."""
        assert self.feeds is not None
        self.feeds.add(feed)
        self._set(self._matched[:0])
        self.grow(instruments)

    def _set(self, matched: Flags) -> None:
        self._matched, self._all = matched, bool(matched.all())

    def positions(self, rows: Ints, regular: Flags | None) -> Ints | None:
        """Return which bars its rules see; None for all."""
        seen = None if self._all else self._matched[rows]
        if self.rule.session == "regular" and regular is not None:
            seen = regular if seen is None else seen & regular
        return None if seen is None else np.flatnonzero(seen)


class _Bars(NamedTuple):
    """Bars of a call, and what all rules want to know of them."""

    bars: Bars
    values: Mapping[str, Floats]
    context: Context
    regular: Flags | None

    def part(self, where: Ints, needs: frozenset[str]) -> "_Bars":
        at = {int(position): number for number, position in enumerate(where)} if self.context.splits else {}
        splits = {at[position]: split for position, split in self.context.splits.items() if position in at}
        context = Context(self.context.event_ns[where], self.context.detected_ns[where], splits)
        values = {name: self.values[name][where] for name in needs}
        return _Bars(self.bars.take(where), values, context, None)


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
        self._groups: dict[str, list[_Group]] = {}
        self._needs: dict[tuple[str, int], frozenset[str]] = {}
        self._splits: dict[str, Splits] = {}
        self._data: list[tuple[int, Watch, _Group]] = []
        self._feeds: set[str] = set()
        self._tracked = list(intervals)
        self._rules = [(n, rule) for n, rule in enumerate(rules) if not self._is_about_data(rule, n)]
        self.needs: dict[str, frozenset[str]] = {}
        self.tick_intervals: frozenset[str] = frozenset()
        self._meet("")
        self.idle = [rule for _, rule in self._rules if not rule.intervals_of(self._tracked)]
        self.counts_refused = any(isinstance(watch.detector, DataQuality) for _, watch, _ in self._data)

    @property
    def unseen(self) -> list[Rule]:
        """Rules that nothing was shown to so far."""
        seen = {watch.rule.id for group in self._all_groups() for _, watch in group.watches if watch.has_seen}
        return [rule for _, rule in self._rules if rule.id not in seen]

    def grow(self, instruments: Sequence[Named]) -> None:
        """Take further instruments, numbered on from the last."""
        found = [Instrument(one.instrument_id, one.symbol, one.feed) for one in instruments]
        for feed in dict.fromkeys(one.feed for one in found):
            self._meet(feed)
        self._instruments += found
        for group in self._all_groups():
            group.grow(found)
        for table in self.components().values():
            table.grow(len(self._instruments))

    def keep(self, rows: Ints) -> None:
        """Drop all instruments but some, which are numbered anew in the given order."""
        self._instruments[:] = [self._instruments[row] for row in rows.tolist()]
        for group in self._all_groups():
            group.keep(rows)
        for table in self.components().values():
            table.keep(rows)

    def on_close(
        self, interval: str, bars: Bars, values: Mapping[str, Floats], detected_ns: Ints
    ) -> list[Fired]:
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
            usual = self._splits[interval]
            splits = usual.look(bars)
            found = self._show(
                interval, bars, values, Context(bars.ts_close_ns, detected_ns, splits), ticks=False
            )
            usual.take(bars, splits)
        return found

    def on_tick(
        self, interval: str, bars: Bars, values: Mapping[str, Floats], event_ns: Ints, detected_ns: Ints
    ) -> list[Fired]:
        """Look at forming bars, one after each trade, in order.

        Detectors remember nothing of them, only what was told is remembered.
        """
        if interval not in self.tick_intervals or not len(bars):
            return []
        with np.errstate(all="ignore"):
            splits = self._splits[interval].look(bars)
            return self._show(interval, bars, values, Context(event_ns, detected_ns, splits), ticks=True)

    def on_silence(
        self, rows: Ints, last_event_ns: Ints, now_ns: int, session_open_ns: Ints, session_close_ns: Ints
    ) -> list[Fired]:
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
        found: list[tuple[int, int, Fired]] = []
        for order, watch, group in self._data:
            if isinstance(watch.detector, Stale):
                where = _where(group, rows)
                last_ns, open_ns = last_event_ns[where], session_open_ns[where]
                reading = watch.detector.silence(last_ns, now_ns, open_ns, session_close_ns[where])
                due_ns = np.maximum(last_ns, open_ns) + watch.detector.after_ns
                event_ns = np.where(reading.fire, due_ns, last_ns)
                detected_ns = np.full(len(where), now_ns)
                fired = watch.look(reading, rows[where], event_ns, detected_ns)
                found += _placed(fired, where, order)
        return _sorted(found)

    def on_quality(self, rows: Ints, counts: Ints, event_ns: Ints, detected_ns: Ints) -> list[Fired]:
        """Take how many records of some instruments were refused.

        Parameters
        ----------
        rows, counts
            Instruments, each once, and their records.
        event_ns, detected_ns
            When the last of them was, and when Kafka took it.
        """
        found: list[tuple[int, int, Fired]] = []
        for order, watch, group in self._data:
            if isinstance(watch.detector, DataQuality):
                where = _where(group, rows)
                reading = watch.detector.quality(rows[where], counts[where], event_ns[where])
                fired = watch.judge(reading, rows[where], event_ns[where], detected_ns[where])
                found += _placed(fired, where, order)
        return _sorted(found)

    def components(self) -> dict[str, Table]:
        """Return everything that is kept for each instrument, by names that stay the same."""
        tables: dict[str, Table] = {}
        for interval, splits in self._splits.items():
            tables[f"splits@{interval}:closes"] = splits.closes
            tables[f"splits@{interval}:volumes"] = splits.volumes
        for group in self._all_groups():
            for _, watch in group.watches:
                tables |= watch.tables()
        return tables

    def _show(
        self, interval: str, bars: Bars, values: Mapping[str, Floats], context: Context, *, ticks: bool
    ) -> list[Fired]:
        given = _Bars(bars, values, context, _regular(bars))
        found: list[tuple[int, int, Fired]] = []
        for number, group in enumerate(self._groups[interval]):
            watches = [one for one in group.watches if not ticks or one[1].rule.when == "tick"]
            if not watches:
                continue
            where = group.positions(bars.rows, given.regular)
            if where is not None and not len(where):
                continue
            part = given if where is None else given.part(where, self._needs[interval, number])
            for order, watch in watches:
                look = watch.tick if ticks else watch.close
                if fired := look(part.bars, part.values, part.context):
                    found += _placed(fired, where, order)
        return _sorted(found)

    def _is_about_data(self, rule: Rule, order: int) -> bool:
        if not rule.about_data:
            return False
        watch = Watch(rule, "", self._instruments, Splits())
        group = _Group(rule)
        group.watches.append((order, watch))
        self._data.append((order, watch, group))
        return True

    def _meet(self, feed: str) -> None:
        """Prepare for instruments that send trades, or bars of an interval."""
        if feed in self._feeds:
            return
        self._feeds.add(feed)
        longer = [text for text in self._tracked if feed and nanoseconds(text) > nanoseconds(feed)]
        for order, rule in self._rules:
            for interval in rule.intervals_of([feed, *longer] if feed else self._tracked):
                self._watch(rule, interval, order, feed)
        self.needs = self._all_needs()
        self.tick_intervals = frozenset(
            interval
            for interval, groups in self._groups.items()
            if any(watch.rule.when == "tick" for group in groups for _, watch in group.watches)
        )

    def _watch(self, rule: Rule, interval: str, order: int, feed: str) -> None:
        usual = self._splits.setdefault(interval, Splits())
        groups = self._groups.setdefault(interval, [])
        group = next((g for g in groups if any(one.rule is rule for _, one in g.watches)), None)
        if group is not None:
            group.watch_feed(feed, self._instruments)
            return
        try:
            watch = Watch(rule, interval, self._instruments, usual)
        except UsageError as error:
            raise UsageError(f"Rule {rule.id}: {error.message}", error.hint) from error
        key = _same_bars(rule)
        group = next((g for g in groups if _same_bars(g.rule) == key and g.feeds == {feed}), None)
        if group is None:
            group = _Group(rule, {feed})
            group.grow(self._instruments)
            groups.append(group)
        group.watches.append((order, watch))
        for table in (*watch.tables().values(), usual.closes, usual.volumes):
            table.grow(len(self._instruments))

    def _all_needs(self) -> dict[str, frozenset[str]]:
        found: dict[str, frozenset[str]] = {}
        for interval, groups in self._groups.items():
            for number, group in enumerate(groups):
                needs = frozenset[str]().union(*(watch.detector.needs() for _, watch in group.watches))
                self._needs[interval, number] = needs
                found[interval] = found.get(interval, frozenset()) | needs
        return found

    def _all_groups(self) -> Iterable[_Group]:
        for groups in self._groups.values():
            yield from groups
        yield from (group for _, _, group in self._data)


def _same_bars(rule: Rule) -> tuple[object, ...]:
    """Return what rules have in common that look at the same bars."""
    kind = kinds.find(rule.kind)
    return rule.symbols, rule.exclude, rule.session, rule.intervals, kind.intraday, kind.widest


def _regular(bars: Bars) -> Flags | None:
    """Tell which bars are within their sessions, in part at least; None for all."""
    regular = (bars.ts_open_ns < bars.session_close_ns) & (bars.ts_close_ns > bars.session_open_ns)
    return None if np.count_nonzero(regular) == len(bars) else regular


def _where(group: _Group, rows: Ints) -> Ints:
    where = group.positions(rows, None)
    return np.arange(len(rows)) if where is None else where


def _placed(fired: list[Fired], where: Ints | None, order: int) -> list[tuple[int, int, Fired]]:
    """Return alerts with their positions among all bars, and the order of their rules."""
    placed = []
    for at, alert in fired:
        position = at if where is None else int(where[at])
        placed.append((position, order, Fired(position, alert)))
    return placed


def _sorted(found: list[tuple[int, int, Fired]]) -> list[Fired]:
    return [fired for _, _, fired in sorted(found, key=lambda one: one[:2])]
