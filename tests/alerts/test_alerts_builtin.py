from collections.abc import Iterator
from datetime import date
from functools import cache

import numpy as np
import polars as pl
import pytest

from alerts.alert_builders import DAY
from tickerlake.alerts.engine import AlertEngine
from tickerlake.alerts.rules.ruleset import preset
from tickerlake.analytics.bars import Bars, Phase
from tickerlake.analytics.types import Instrument
from tickerlake.model.alert import Alert
from tickerlake.sources import builtin

SPLITS = {("AAPL", date(2000, 6, 21)), ("AAPL", date(2005, 2, 28)), ("MSFT", date(2003, 2, 18))}
CRASH = ("AAPL", date(2000, 9, 29))


@cache
def stocks() -> pl.DataFrame:
    return pl.concat(table.records for table in builtin.stocks(ts_recv_ns=1).batches())


def daily_sessions(symbols: list[str]) -> Iterator[Bars]:
    number = pl.col("symbol").replace_strict(symbols, range(len(symbols)), return_dtype=pl.Int64)
    for _, frame in stocks().with_columns(row=number).group_by("session_date", maintain_order=True):
        prices = {
            name: frame[name].cast(pl.Float64).to_numpy() for name in "open high low close volume".split()
        }
        start = frame["ts_open_ns"].to_numpy()
        yield Bars(
            rows=frame["row"].to_numpy(),
            ts_open_ns=start,
            ts_close_ns=frame["ts_close_ns"].to_numpy(),
            **prices,
            vwap=(prices["high"] + prices["low"] + prices["close"]) / 3,
            session=start // DAY,
            session_open_ns=start,
            session_close_ns=start + DAY,
            break_start_ns=np.zeros_like(start),
            break_end_ns=np.zeros_like(start),
            phase=np.full_like(start, Phase.REGULAR),
            first_of_session=np.ones(len(frame), dtype=bool),
            first_of_phase=np.ones(len(frame), dtype=bool),
            split_factor=np.full(len(frame), np.nan),
        )


def alerts_of(name: str) -> list[Alert]:
    symbols = ["AAPL", "FB", "GOOG", "IBM", "MSFT"]
    engine = AlertEngine(preset(name).rules, ["1d"])
    engine.add_instruments([Instrument(f"{symbol}.XXXX", symbol) for symbol in symbols])
    return [
        fired.alert
        for bars in daily_sessions(symbols)
        for fired in engine.on_close("1d", bars, {}, bars.ts_close_ns)
    ]


def alert_day(alert: Alert) -> tuple[str, date]:
    return alert.symbol, date.fromordinal(date(1970, 1, 1).toordinal() + alert.ts_event_ns // DAY - 1)


def is_large(alert: Alert) -> bool:
    price, reference = float(alert.price or 0), float(alert.reference_price or 0)
    return abs(price / reference - 1) > 0.25


@pytest.fixture(scope="module")
def default_alerts() -> list[Alert]:
    return [alert for alert in alerts_of("default") if alert.state == "fired"]


def test_three_splits_and_one_crash_are_distinguished(default_alerts: list[Alert]) -> None:
    gaps = {
        alert_day(alert): alert
        for alert in default_alerts
        if "at the open" in alert.message and alert.severity != "info" and is_large(alert)
    }
    assert set(gaps) == {*SPLITS, CRASH}
    assert {day for day, alert in gaps.items() if alert.cause == "probable_split"} == SPLITS
    assert {gaps[day].severity for day in SPLITS} == {"warning"}
    assert (gaps[CRASH].severity, gaps[CRASH].cause, gaps[CRASH].direction) == ("critical", "market", "down")


def test_other_alerts_on_a_split_have_the_split_cause(default_alerts: list[Alert]) -> None:
    big = [
        alert for alert in default_alerts if alert.unit == "sigma" and alert_day(alert) in {*SPLITS, CRASH}
    ]
    assert {(alert_day(alert), alert.cause, alert.severity) for alert in big} == {
        *((day, "probable_split", "warning") for day in SPLITS),
        (CRASH, "market", "critical"),
    }
    assert {alert_day(alert) for alert in default_alerts if alert.cause == "probable_split"} == SPLITS


def test_the_evidence_is_in_the_message(default_alerts: list[Alert]) -> None:
    lines = {alert_day(alert): alert.message for alert in default_alerts if "at the open" in alert.message}
    assert lines[CRASH] == (
        "AAPL fell 51.9% in 1d, 16.7 σ: 25.75 from 53.50, volume 132.5 M, 22 × usual; 47.3% down at the open"
    )
    assert lines["MSFT", date(2003, 2, 18)] == (
        "MSFT fell 48.3% in 1d, 29.0 σ: 24.96 from 48.30, volume 28.7 M, 0.3 × usual"
        "; looks like a 2:1 split, not a crash; 49.0% down at the open"
    )


def test_a_split_does_not_blind_the_detector(default_alerts: list[Alert]) -> None:
    # three months after its split, AAPL has the sigma that it had before
    crash = next(alert for alert in default_alerts if alert_day(alert) == CRASH and alert.kind == "zscore")
    assert crash.value is not None
    assert crash.value < -12


def test_alerts_are_few(default_alerts: list[Alert]) -> None:
    # 12,154 days of five stocks
    assert 10 < sum(alert.kind == "zscore" for alert in default_alerts) < 60
    assert len(default_alerts) < 150


def test_the_other_presets_find_the_crash_too() -> None:
    for name in ("sensitive", "simple"):
        alerts = [alert for alert in alerts_of(name) if alert_day(alert) == CRASH and alert.state == "fired"]
        assert any(alert.severity == "critical" and alert.cause == "market" for alert in alerts)
