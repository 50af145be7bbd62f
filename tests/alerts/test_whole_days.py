"""The default preset on simulated days with what feeds have: trades outside the session, auctions, lunch."""

from collections import Counter
from datetime import date
from functools import cache

import polars as pl
import pytest

from tickerlake.alerts.engine import AlertEngine
from tickerlake.alerts.rules.ruleset import preset
from tickerlake.analytics.calendars import MarketSessions
from tickerlake.analytics.engine import Engine
from tickerlake.analytics.types import EngineOptions
from tickerlake.model.alert import Alert
from tickerlake.model.json import to_json_lines
from tickerlake.sources.simulator.events import Label
from tickerlake.sources.simulator.market import Market
from tickerlake.sources.simulator.plan import MarketOptions

MINUTE = 60 * 10**9


@cache
def run(options: MarketOptions) -> tuple[list[Alert], list[Label], pl.DataFrame]:
    """Return the fired alerts, the labels, and the daily bars, each in its last revision."""
    watcher = AlertEngine(preset("default").rules, ("1m", "1d"))
    engine = Engine(EngineOptions(("1m", "1d")), MarketSessions("24/7"), watcher)
    alerts, labels, bars, offset = [], [], [], 0
    for batch in Market(options).batches():
        count = batch.records.height
        records = pl.DataFrame(
            {
                "partition": pl.repeat(0, count, dtype=pl.Int64, eager=True),
                "offset": pl.int_range(offset, offset + count, eager=True),
                "timestamp_ms": batch.records["ts_recv_ns"] // 1_000_000,
                "value": to_json_lines(batch.records),
            },
            schema_overrides={"value": pl.Binary},
        )
        offset += count
        output = engine.process(records)
        alerts += [each.alert for each in output.alerts if each.alert.state == "fired"]
        labels += batch.labels
        bars.append(output.bars.filter(pl.col("interval") == "1d"))
    daily = pl.concat(bars).sort("revision").unique(["symbol", "session_date"], keep="last")
    return alerts, labels, daily


def quiet_days(market: str, *, extended: bool = False, gaps: float = 0.0) -> MarketOptions:
    # the second of the days in New York is a half day
    return MarketOptions(
        symbols=4, trades=50_000, start=date(2024, 11, 27), days=4, market=market, extended=extended,
        jumps=0, halts=0, splits=0, gaps=gaps,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("market", "extended"),
    [("XNYS", True), ("XNAS", True), ("XNYS", False), ("XHKG", False), ("XTKS", False)],
)
def test_where_nothing_happens_nothing_is_told(market: str, *, extended: bool) -> None:
    alerts, _, _ = run(quiet_days(market, extended=extended))
    told = Counter(alert.kind for alert in alerts)
    # simulated blocks are 30 times the usual volume at times; one in a million simulated returns has 5 sigmas
    assert told.keys() <= {"volume_spike", "zscore"}
    assert told["zscore"] <= 1


@pytest.mark.parametrize("extended", [True, False])
def test_gaps_are_told_with_and_without_pre_market_trades(*, extended: bool) -> None:
    alerts, labels, _ = run(quiet_days("XNYS", extended=extended, gaps=0.6))
    told = {(alert.symbol, alert.ts_event_ns) for alert in alerts if alert.kind == "gap_open"}
    # well above or below the rule's 10%, as prices move overnight as well
    gaps = {
        (label.symbol, label.ts_event_ns): abs(label.return_ or 0) for label in labels if label.kind == "gap"
    }
    big = {(symbol, ns // MINUTE * MINUTE + MINUTE) for (symbol, ns), size in gaps.items() if size > 0.14}
    small = {(symbol, ns // MINUTE * MINUTE + MINUTE) for (symbol, ns), size in gaps.items() if size < 0.06}
    assert len(big) >= 2
    assert big <= told
    assert not small & told


@pytest.mark.parametrize("market", ["XNYS", "XNAS"])
def test_daily_bars_are_those_of_the_auctions(market: str) -> None:
    _, labels, daily = run(quiet_days(market, extended=True))
    official = {kind: set[str]() for kind in ("opening_auction", "closing_auction")}
    for label in labels:
        if label.price is not None:
            official[label.kind].add(f"{label.symbol} {float(label.price)}")
    assert daily.height == 4 * 3  # the last day closes with a later record
    for column, kind in (("open", "opening_auction"), ("close", "closing_auction")):
        named = pl.format("{} {}", "symbol", pl.col(column).cast(pl.Float64))
        assert set(daily.select(named).to_series()) <= official[kind]
