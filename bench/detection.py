"""Detection quality: jumps injected into simulated trades, and the built-in daily bars."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from random import Random
from typing import Protocol

import numpy as np
import polars as pl

from tickerlake.alerts.engine import AlertEngine
from tickerlake.alerts.rules.rule import Rule
from tickerlake.alerts.rules.ruleset import preset
from tickerlake.analytics.calendars import MarketSessions
from tickerlake.analytics.engine import Engine
from tickerlake.analytics.types import EngineOptions
from tickerlake.model.alert import Alert
from tickerlake.model.duration import MINUTE_NS
from tickerlake.model.json import to_json_lines
from tickerlake.model.schema import DECIMAL
from tickerlake.sources import builtin
from tickerlake.sources.simulator import plan
from tickerlake.sources.simulator.hours import SESSION_MINUTES
from tickerlake.sources.simulator.market import Market
from tickerlake.sources.simulator.plan import MarketOptions

SIZES = (6.0, 8.0, 12.0)
SYMBOLS = 20
SEED = 11
_START = date(2024, 1, 16)
"""The first of ten weekdays without a holiday."""

_JUMPS_A_DAY = 2
_WARMUP_MINUTES = 30
_BATCH = 50_000
DEFAULT_PRESET = "the default preset's, with its cooldown of 15 minutes"
KNOWN_EVENTS = {
    ("AAPL", date(2000, 6, 21)): "probable_split",
    ("AAPL", date(2005, 2, 28)): "probable_split",
    ("MSFT", date(2003, 2, 18)): "probable_split",
    ("AAPL", date(2000, 9, 29)): "market",
}


@dataclass(frozen=True)
class Score:
    """Score of one rule: jumps, how many it found (and how many of them one bar late), false alarms."""

    jumps: int
    found: int
    late: int
    false_alarms: int
    days: int

    @property
    def precision(self) -> float:
        """Found jumps among all alerts; several alerts of one jump count once."""
        return self.found / max(1, self.found + self.false_alarms)

    @property
    def recall(self) -> float:
        return self.found / self.jumps

    @property
    def false_alarms_per_day(self) -> float:
        """False alarms per symbol and day."""
        return self.false_alarms / self.days


@dataclass(frozen=True)
class Quality:
    """Scores by rule and jump size; alerts of the preset with jumps of 8 σ and on the daily bars."""

    scores: dict[str, dict[float, Score]]
    preset: Counter[str]
    days: int
    daily: list[Alert]
    daily_years: float


class InjectedJump(Protocol):
    """A change of a symbol's price before the first trade of a minute; ``sigma`` is its unit."""

    @property
    def symbol(self) -> str: ...
    @property
    def minute(self) -> int: ...
    @property
    def sign(self) -> int: ...
    @property
    def sigma(self) -> float: ...


@dataclass(frozen=True)
class Jump:
    """A jump before a minute's first trade, and the symbol's next bar, which may also report it."""

    symbol: str
    minute: int
    after: int
    sign: int
    sigma: float


def measure(days: int) -> Quality:
    """Inject two jumps into each symbol-day, one size after another, and score the alerts."""
    options = MarketOptions(
        symbols=SYMBOLS,
        trades=SYMBOLS * days * 4_000,
        start=_START,
        days=days,
        seed=SEED,
        jumps=0,
        halts=0,
        splits=0,
    )
    trades = pl.concat(batch.records for batch in Market(options).batches())
    jumps = _choose_jumps(options, trades)
    preset_rules = preset("default").rules
    rules = [*_rules_under_test(preset_rules), *preset_rules]
    scores: dict[str, dict[float, Score]] = {rule.id: {} for rule in rules}
    fired = {
        size: fired_alerts(with_jumps(trades, jumps, size), rules, ("1m", "1d"), "XNYS") for size in SIZES
    }
    for size, alerts in fired.items():
        for rule in rules:
            rule_alerts = [alert for alert in alerts if alert.rule_id == rule.id]
            scores[rule.id][size] = _score(rule_alerts, jumps, SYMBOLS * days)
    scores[DEFAULT_PRESET] = scores["big-move"]
    preset_rule_ids = {rule.id for rule in preset_rules}
    bars = pl.concat(batch.records for batch in builtin.stocks().batches())
    return Quality(
        {name: score for name, score in scores.items() if name not in preset_rule_ids},
        Counter(alert.rule_id for alert in fired[8] if alert.rule_id in preset_rule_ids),
        SYMBOLS * days,
        fired_alerts(bars, preset_rules, ("1d",), "24/7"),
        bars.height / 252,
    )


def misclassified(daily: Iterable[Alert]) -> list[tuple[str, date]]:
    """Return the known events that are not classified correctly."""
    causes = {
        (alert.symbol, datetime.fromtimestamp(alert.ts_event_ns / 1e9 - 1, UTC).date()): alert.cause
        for alert in daily
        if "at the open" in alert.message
    }
    return [event for event, cause in KNOWN_EVENTS.items() if causes.get(event) != cause]


def _rules_under_test(preset_rules: Iterable[Rule]) -> list[Rule]:
    """Return detectors without cooldown, by label."""
    default = next(rule for rule in preset_rules if rule.id == "big-move")
    kinds: dict[str, tuple[str, dict[str, object]]] = {
        "fixed 0.5%": ("pct_change", {"window": 1, "pct": 0.5}),
        "fixed 0.25%": ("pct_change", {"window": 1, "pct": 0.25}),
        "z-score": ("zscore", {**default.arguments, "time_of_day": False}),
        "**z-score, time of day** (default)": ("zscore", dict(default.arguments)),
        "Lee–Mykland": ("jump", {"alpha": 0.01, "time_of_day": False}),
        "Lee–Mykland, time of day (sensitive)": ("jump", {"alpha": 0.01, "time_of_day": True}),
    }
    return [
        Rule(name, kind, given, intervals=("1m",), repeat="every", cooldown_ns=0)
        for name, (kind, given) in kinds.items()
    ]


def _choose_jumps(options: MarketOptions, trades: pl.DataFrame) -> list[Jump]:
    """Choose minutes in which a symbol trades, but not the first or last of its day.

    A jump of size n is n times the symbol's true sigma in that minute: the simulator's, plus what rounding
    both prices to a tick adds.
    """
    sigmas = {row["symbol"]: row["sigma"] for row in plan.instruments(options).iter_rows(named=True)}
    sessions = list(plan.sessions(options))
    shape = sessions[0].shape
    shares = np.sqrt(np.array(shape.variance) / shape.session_variance)
    opens = [session.open_ns // MINUTE_NS for session in sessions]
    bars = trades.group_by("symbol", minute=pl.col("ts_event_ns") // MINUTE_NS).agg(pl.last("price"))
    rng, jumps = Random(SEED), []
    for (symbol,), frame in bars.sort("symbol", "minute").group_by("symbol", maintain_order=True):
        for opened in opens:
            day = frame.filter(pl.col("minute").is_between(opened, opened + SESSION_MINUTES - 1))
            earliest = _WARMUP_MINUTES if opened == opens[0] else 1
            candidates = [
                at for at in range(1, day.height - 1) if day.item(at, "minute") - opened >= earliest
            ]
            for at in _pick_apart(rng, candidates):
                minute, price = day.item(at, "minute"), float(day.item(at, "price"))
                tick = 0.01 if price >= 1 else 0.0001
                sigma = np.hypot(sigmas[symbol] * shares[minute - opened], tick / price * np.sqrt(2 / 3))
                after, sign = day.item(at + 1, "minute"), rng.choice((-1, 1))
                jumps.append(Jump(str(symbol), minute, after, sign, float(sigma)))
    return jumps


def _pick_apart(rng: Random, candidates: list[int]) -> list[int]:
    while True:
        first, second = sorted(rng.sample(candidates, _JUMPS_A_DAY))
        if second - first > 2:
            return [first, second]


def with_jumps(trades: pl.DataFrame, jumps: Sequence[InjectedJump], size: float) -> pl.DataFrame:
    """Return trades whose prices have jumped permanently."""
    steps = pl.DataFrame(
        [(jump.symbol, jump.minute * MINUTE_NS, jump.sign * jump.sigma * size) for jump in jumps],
        schema=["symbol", "ts_event_ns", "step"],
        orient="row",
    ).sort("ts_event_ns")
    levels = steps.with_columns(level=pl.col("step").cum_sum().over("symbol")).drop("step")
    joined = trades.join_asof(levels, on="ts_event_ns", by="symbol", check_sortedness=False)
    price = pl.col("price").cast(pl.Float64) * pl.col("level").fill_null(0.0).exp()
    rounded = pl.when(price < 1).then(price.round(4)).otherwise(price.round(2))
    return joined.with_columns(price=rounded.clip(0.0001, None).cast(DECIMAL)).select(trades.columns)


def fired_alerts(
    records: pl.DataFrame, rules: Iterable[Rule], intervals: tuple[str, ...], calendar: str
) -> list[Alert]:
    """Return the alerts that fire when the engines process the records, as in `tickerlake track`."""
    options = EngineOptions(intervals)
    engine = Engine(options, MarketSessions(calendar), AlertEngine(list(rules), intervals))
    raised = [raised for batch in record_batches(records) for raised in engine.process(batch).alerts]
    return [one.alert for one in raised if one.alert.state == "fired"]


def record_batches(records: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Yield records as a topic has them."""
    offset = 0
    for part in records.iter_slices(_BATCH):
        yield pl.DataFrame(
            {
                "partition": pl.repeat(0, part.height, dtype=pl.Int64, eager=True),
                "offset": pl.int_range(offset, offset + part.height, eager=True),
                "timestamp_ms": part.get_column("ts_recv_ns") // 1_000_000,
                "value": to_json_lines(part),
            },
            schema_overrides={"value": pl.Binary},
        )
        offset += part.height


def _score(fired: list[Alert], jumps: list[Jump], days: int) -> Score:
    alert_counts = Counter((alert.symbol, alert.ts_event_ns // MINUTE_NS - 1) for alert in fired)
    on_time = [jump for jump in jumps if (jump.symbol, jump.minute) in alert_counts]
    late = [jump for jump in jumps if jump not in on_time and (jump.symbol, jump.after) in alert_counts]
    jump_bars = {(jump.symbol, minute) for jump in jumps for minute in (jump.minute, jump.after)}
    false_alarms = sum(count for bar, count in alert_counts.items() if bar not in jump_bars)
    return Score(len(jumps), len(on_time) + len(late), len(late), false_alarms, days)
