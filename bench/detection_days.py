"""Detection on whole trading days: auctions, late prints, trades outside the session, gaps, splits, lunch."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import pairwise
from math import sqrt
from random import Random
from statistics import median

import numpy as np
import polars as pl

from bench.detection import SEED, SIZES, fired_alerts, record_batches, with_jumps
from tickerlake.alerts.rules.rule import Rule
from tickerlake.alerts.rules.ruleset import preset
from tickerlake.analytics.calendars import MarketSessions
from tickerlake.analytics.engine import Engine
from tickerlake.analytics.types import EngineOptions
from tickerlake.model.alert import Alert
from tickerlake.model.duration import DAY_NS, MINUTE_NS, SECOND_NS
from tickerlake.sources.simulator import plan, prints
from tickerlake.sources.simulator.events import Label
from tickerlake.sources.simulator.market import Market
from tickerlake.sources.simulator.plan import MarketOptions, Session

PRESETS = ("default", "sensitive")
PHASES = ("regular", "extended")
FEEDS = ("full", "regular only")
EVENT_SYMBOLS, EVENT_DAYS = 60, 30
_HISTORY_SESSIONS = 6
"""Splits count from then on: before, no detector knows what is usual."""

LUNCH_MARKETS = ("XTKS", "XHKG")
_START = date(2024, 11, 19)
"""Ten sessions with a holiday and a half day; also in Tokyo and Hong Kong, without holidays there but one."""

_WARMUP_MINUTES = 30
_REGULAR_JUMPS, _EXTENDED_JUMPS = 2, 1
_LEAST_EXTENDED = 1_000
"""Jumps outside the session are in minutes with this many shares: the presets take fewer for no move."""

_MIN_APART = 3
_REVERSAL_MINUTES = 5
"""A jump back counts as told within this many minutes: thin stocks have no price in each."""

_BIG_GAP, _CRASH = 0.1, -0.15
_TRUE_VOLUME_SHARE = 0.5
"""A volume alert is right if the minute has half of the multiple of the volume that the simulator expects."""

_TICK_NOISE, _SPREAD_NOISE = sqrt(2 / 3), 0.05 * sqrt(2 / 5)


@dataclass(frozen=True)
class Jump:
    """A jump before a symbol's first trade of a minute."""

    symbol: str
    minute: int
    after: int
    sign: int
    sigma: float
    is_regular: bool


@dataclass
class Score:
    """Jumps of a phase, how many were found, when, and the alerts that nothing explains, by rule."""

    jumps: int = 0
    delays_s: list[float] = field(default_factory=list)
    false_alarms: Counter[str] = field(default_factory=Counter)

    @property
    def precision(self) -> float:
        """Found jumps among all alerts; several alerts of one jump count once."""
        return len(self.delays_s) / max(1, len(self.delays_s) + self.false_alarms.total())

    @property
    def recall(self) -> float:
        return len(self.delays_s) / max(1, self.jumps)

    @property
    def delay_s(self) -> float:
        """The median time from the first trade after a jump to the alert's bar end."""
        return median(self.delays_s) if self.delays_s else float("nan")


@dataclass(frozen=True)
class Days:
    """Simulated trades, their labels and sessions, and the feed without what is outside the sessions."""

    options: MarketOptions
    trades: pl.DataFrame
    labels: list[Label]
    sessions: list[Session]

    @classmethod
    def simulate(cls, options: MarketOptions) -> "Days":
        batches = list(Market(options).batches())
        return cls(
            options,
            pl.concat(batch.records for batch in batches),
            [label for batch in batches for label in batch.labels],
            list(plan.sessions(options)),
        )

    @property
    def count(self) -> int:
        """The number of symbol-days."""
        return self.options.symbols * len(self.sessions)

    def feed(self, name: str, trades: pl.DataFrame | None = None) -> pl.DataFrame:
        """Return the trades of a feed, one of `FEEDS`."""
        trades = self.trades if trades is None else trades
        if name == "full":
            return trades
        opens = pl.DataFrame(
            {
                "open": [each.open_ns for each in self.sessions],
                "close": [each.close_ns for each in self.sessions],
            }
        )
        joined = trades.join_asof(opens, left_on="ts_event_ns", right_on="open")
        inside = pl.col("ts_event_ns") < pl.col("close")
        auction = pl.col("conditions").list.contains("6")
        return joined.filter(inside | (auction & pl.col("open").is_not_null())).select(trades.columns)


def market_days(symbols: int, days: int, trades_per_day: int, **rates: float) -> Days:
    """Simulate days of New York with everything outside the session, and the given rates of events."""
    quiet = {"jumps": 0.0, "halts": 0.0, "splits": 0.0}
    options = MarketOptions(
        symbols=symbols,
        trades=symbols * days * trades_per_day,
        seed=SEED,
        start=_START,
        days=days,
        market="XNYS",
        extended=True,
        **{**quiet, **rates},
    )
    return Days.simulate(options)


def jump_scores(days: Days) -> dict[tuple[str, str, str, float], Score]:
    """Return scores by preset, feed, phase and jump size."""
    jumps = _choose_jumps(days)
    expected = _expected_volumes(days)
    scores: dict[tuple[str, str, str, float], Score] = {}
    for size in SIZES:
        moved = with_jumps(days.trades, jumps, size)
        for feed in FEEDS:
            alerts = fired_alerts(days.feed(feed, moved), _rules(PRESETS), ("1m", "1d"), "XNYS")
            for name in PRESETS:
                own = [each for each in alerts if each.rule_id.startswith(f"{name}:")]
                for phase, score in _score(days, jumps, own, expected, feed).items():
                    scores[name, feed, phase, size] = score
    return scores


@dataclass(frozen=True)
class EventQuality:
    """What is told of gaps, splits, crashes and reversals, by feed."""

    gaps: dict[str, tuple[int, int, int]]
    """Gaps of 10% or more, how many were told, and gaps that were told of smaller ones."""

    splits: dict[str, tuple[int, int]]
    """Of the full feed, by ratio: splits, and those called so."""

    crashes: tuple[int, int]
    """Falls of 15% or more, and those called splits."""

    reversals: tuple[int, int]
    """Jumps back whose first jump was told, and how many of them were told."""


def event_quality(days: Days) -> EventQuality:
    """Return what the default preset tells of the events of days."""
    gaps: dict[str, tuple[int, int, int]] = {}
    alerts: list[Alert] = []
    for feed in reversed(FEEDS):
        alerts = fired_alerts(days.feed(feed), preset("default").rules, ("1m", "1d"), "XNYS")
        gaps[feed] = _gaps_told(days, alerts)
    told = defaultdict(list)
    for alert in alerts:
        if alert.kind == "gap_open":
            told[alert.symbol].append(alert)
    splits: defaultdict[str, list[bool]] = defaultdict(list)
    crashes = []
    opens = _next_opens(days)
    for label in days.labels:
        if label.ts_event_ns < days.sessions[_HISTORY_SESSIONS].start_ns:
            continue
        if label.kind == "split" or (label.kind == "gap" and (label.return_ or 0) <= _CRASH):
            open_ns = opens(label.ts_event_ns)
            causes = [
                one.cause for one in told[label.symbol] if 0 < one.ts_event_ns - open_ns <= 30 * MINUTE_NS
            ]
            called = "probable_split" in causes
            if label.kind == "split":
                splits[label.ratio or ""].append(called)
            else:
                crashes.append(called)
    return EventQuality(
        gaps,
        {ratio: (len(called), sum(called)) for ratio, called in splits.items()},
        (len(crashes), sum(crashes)),
        _reversals_told(days, alerts),
    )


def official_prices(days: Days) -> tuple[int, int, int]:
    """Return the number of daily bars, and how many of them open and close at the prices of the auctions."""
    engine = Engine(EngineOptions(("1d",)), MarketSessions("XNYS"))
    bars = pl.concat(engine.process(batch).bars for batch in record_batches(days.trades))
    latest = bars.sort("revision").unique(["symbol", "session_date"], keep="last", maintain_order=True)
    auctions: dict[str, dict[tuple[str, date], float]] = {"opening_auction": {}, "closing_auction": {}}
    dates = [day.date for day in plan.days(days.options)]
    for label in days.labels:
        if label.price is not None:
            at = _session_of(days.sessions, label.ts_event_ns).day
            auctions[label.kind][label.symbol, dates[at]] = float(label.price)
    opens, closes = auctions.values()
    rows = list(latest.select("symbol", "session_date", "open", "close").iter_rows())
    return (
        len(rows),
        sum(float(opened) == opens[symbol, day] for symbol, day, opened, _ in rows),
        sum(float(closed) == closes[symbol, day] for symbol, day, _, closed in rows),
    )


def halts_at_lunch(symbols: int, days: int) -> dict[str, int]:
    """Return how many halts the default preset tells in markets with lunch breaks, in which nothing halts."""
    told = {}
    for market in LUNCH_MARKETS:
        options = MarketOptions(
            symbols=symbols, trades=symbols * days * 4_000, seed=SEED, start=date(2024, 2, 5), days=days,
            market=market, jumps=0, halts=0, splits=0,
        )  # fmt: skip
        trades = Days.simulate(options).trades
        alerts = fired_alerts(trades, preset("default").rules, ("1m", "1d"), "24/7")
        told[market] = sum(alert.kind == "halt" for alert in alerts)
    return told


def _rules(presets: Iterable[str]) -> list[Rule]:
    """Return the rules of presets with their names in the ids."""
    return [replace(rule, id=f"{name}:{rule.id}") for name in presets for rule in preset(name).rules]


def _choose_jumps(days: Days) -> list[Jump]:
    """Choose minutes in which a symbol trades, in the session and outside, but not the first or last of each.

    The sigma is the true standard deviation of the change since the symbol's last minute with trades: the
    simulator's, plus what ticks and spreads add.
    """
    sigmas = {row["symbol"]: row["sigma"] for row in plan.instruments(days.options).iter_rows(named=True)}
    # odd lots and prints off the market set no price
    on_market = ~pl.col("conditions").list.eval(pl.element().is_in(["U", "Z", "B", "4", "I"])).list.any()
    bars = (
        days.trades.filter(on_market)
        .group_by("symbol", minute=pl.col("ts_event_ns") // MINUTE_NS)
        .agg(pl.last("price").cast(pl.Float64), pl.col("size").sum().cast(pl.Float64))
        .sort("symbol", "minute")
    )
    rng, jumps = Random(SEED), []
    for (symbol,), frame in bars.group_by("symbol", maintain_order=True):
        minutes, prices = frame["minute"].to_numpy(), frame["price"].to_numpy()
        is_traded = frame["size"].to_numpy() >= _LEAST_EXTENDED
        for session in days.sessions:
            start, shape = session.start_ns // MINUTE_NS, session.shape
            variance = np.concatenate([[0], np.cumsum(shape.variance)]) / shape.session_variance
            regular = (shape.open, shape.close)
            spans = [(True, *regular, _REGULAR_JUMPS)]
            if session.day:
                outside = rng.choice([(0, shape.open), (shape.close + 1, shape.minutes)])
                spans += [(False, *outside, _EXTENDED_JUMPS)]
            for is_regular, begin, end, count in spans:
                earliest = begin + (_WARMUP_MINUTES if not session.day else 1)
                inside = np.flatnonzero((minutes >= start + begin) & (minutes < start + end))[1:-1]
                candidates = [
                    at for at in inside if minutes[at] - start >= earliest and (is_regular or is_traded[at])
                ]
                for at in _pick_apart(rng, candidates, count):
                    minute = int(minutes[at] - start)
                    last = max(begin, int(minutes[at - 1] - start) + 1)
                    price = prices[at]
                    tick = 0.01 if price >= 1 else 0.0001
                    noise = tick / price * _TICK_NOISE
                    walk = sigmas[symbol] * sqrt(variance[minute + 1] - variance[last])
                    spread = 0.0 if is_regular else _SPREAD_NOISE * sigmas[symbol]
                    jumps.append(
                        Jump(
                            str(symbol),
                            int(minutes[at]),
                            int(minutes[at + 1]),
                            rng.choice((-1, 1)),
                            float(np.sqrt(noise**2 + walk**2 + spread**2)),
                            is_regular,
                        )
                    )
    return jumps


def _pick_apart(rng: Random, candidates: Sequence[int], count: int) -> list[int]:
    if len(candidates) < count:
        return []
    while True:
        chosen = sorted(rng.sample(candidates, count))
        if all(after - before >= _MIN_APART for before, after in pairwise(chosen)):
            return chosen


def _expected_volumes(days: Days) -> dict[tuple[str, int], float]:
    """Return, by symbol and session, what 1 of volume weight trades in shares."""
    mean = prints.mean_size()
    slots = plan.instruments(days.options).select("symbol", pl.col("slots") / (1 << 20))
    return {
        (symbol, session.day): share * sum(session.counts) * mean / sum(session.shape.volume)
        for symbol, share in slots.iter_rows()
        for session in days.sessions
    }


def _score(
    days: Days,
    jumps: Sequence[Jump],
    alerts: Sequence[Alert],
    expected: dict[tuple[str, int], float],
    feed: str,
) -> dict[str, Score]:
    scores = {phase: Score() for phase in PHASES}
    alert_ns: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    explained = {(jump.symbol, minute) for jump in jumps for minute in (jump.minute, jump.after)}
    for alert in alerts:
        minute = alert.ts_event_ns // MINUTE_NS - 1
        alert_ns[alert.symbol, minute].append(alert.ts_event_ns)
        session = _session_of(days.sessions, minute * MINUTE_NS)
        is_regular = session.open_ns <= minute * MINUTE_NS <= session.close_ns
        if (alert.symbol, minute) in explained or _is_true_volume(alert, session, minute, expected):
            continue
        rule = alert.rule_id.partition(":")[2]
        scores["regular" if is_regular or alert.ts_event_ns % DAY_NS == 0 else "extended"].false_alarms[
            rule
        ] += 1
    for jump in jumps:
        if feed != "full" and not jump.is_regular:
            continue
        score = scores["regular" if jump.is_regular else "extended"]
        score.jumps += 1
        if at := alert_ns.get((jump.symbol, jump.minute)) or alert_ns.get((jump.symbol, jump.after)):
            score.delays_s.append((min(at) - jump.minute * MINUTE_NS) / SECOND_NS)
    return scores


def _session_of(sessions: Sequence[Session], ts_ns: int) -> Session:
    return next((each for each in reversed(sessions) if each.start_ns <= ts_ns), sessions[0])


def _is_true_volume(
    alert: Alert, session: Session, minute: int, expected: dict[tuple[str, int], float]
) -> bool:
    """Return whether as much was traded as a volume alert says, by what the simulator expects."""
    at = minute - session.start_ns // MINUTE_NS
    if alert.kind != "volume_spike" or not 0 <= at < session.shape.minutes or alert.volume is None:
        return False
    usual = expected[alert.symbol, session.day] * session.shape.volume[at]
    return float(alert.volume) >= _TRUE_VOLUME_SHARE * float(alert.threshold or 0) * usual


def _gaps_told(days: Days, alerts: Iterable[Alert]) -> tuple[int, int, int]:
    """Compare the gaps between official closes and opens, splits aside, with what was told."""
    told = {
        (one.symbol, _session_of(days.sessions, one.ts_event_ns - 1).day)
        for one in alerts
        if one.kind == "gap_open"
    }
    prices: defaultdict[tuple[str, int], dict[str, float]] = defaultdict(dict)
    splits = set()
    for label in days.labels:
        if label.price is not None:
            day = _session_of(days.sessions, label.ts_event_ns).day
            prices[label.symbol, day][label.kind] = float(label.price)
        elif label.kind == "split":
            splits.add((label.symbol, _session_of(days.sessions, label.ts_event_ns).day))
    big = found = small = 0
    for symbol, day in prices.keys() - splits:
        if day == 0:
            continue
        gap = abs(prices[symbol, day]["opening_auction"] / prices[symbol, day - 1]["closing_auction"] - 1)
        big += gap >= _BIG_GAP
        found += gap >= _BIG_GAP and (symbol, day) in told
        small += gap < _BIG_GAP and (symbol, day) in told
    return big, found, small


def _next_opens(days: Days) -> Callable[[int], int]:
    opens = [each.open_ns for each in days.sessions]
    return lambda ts_ns: next((at for at in opens if at + MINUTE_NS > ts_ns), opens[-1])


def _reversals_told(days: Days, alerts: Iterable[Alert]) -> tuple[int, int]:
    minutes = {(one.symbol, one.ts_event_ns // MINUTE_NS - 1) for one in alerts if one.kind == "zscore"}
    firsts: dict[str, Label] = {}
    pairs = told = 0
    for label in days.labels:
        if label.kind == "jump":
            firsts[label.symbol] = label
            continue
        first = firsts.get(label.symbol)
        if label.kind == "reversal" and first and (first.symbol, first.ts_event_ns // MINUTE_NS) in minutes:
            pairs += 1
            at = label.ts_event_ns // MINUTE_NS
            told += any((label.symbol, minute) in minutes for minute in range(at, at + _REVERSAL_MINUTES))
    return pairs, told
