"""Builders of bars, and helpers that evaluate them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tickerlake.alerts.engine import AlertEngine
from tickerlake.alerts.rules.ruleset import parse
from tickerlake.analytics.bars import Bars, Floats, Phase
from tickerlake.analytics.types import FiredAlert, Instrument
from tickerlake.model.alert import Alert

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
DAY = 86_400 * SECOND
FIRST_DAY = 20_000
"""Days since 1970: in 2024."""

OPEN = 14 * 60 + 30
MINUTES = 390


def bars(
    closes: Sequence[float] | Floats,
    *,
    minute: int = 0,
    day: int = 0,
    width: int = 1,
    rows: Sequence[int] | None = None,
    **overrides: Any,
) -> Bars:
    """Return one bar per instrument, of ``width`` minutes of a session of 390; fields can be overridden."""
    close = np.array(closes, dtype=np.float64)
    k = len(close)
    ones = np.ones(k, dtype=np.int64)
    start = (FIRST_DAY + day) * DAY + OPEN * MINUTE
    opened = np.array(overrides.pop("open", close), dtype=np.float64)
    fields = {
        "rows": np.arange(k) if rows is None else np.array(rows, dtype=np.int64),
        "ts_open_ns": ones * (start + minute * MINUTE),
        "ts_close_ns": ones * (start + (minute + width) * MINUTE),
        "open": opened,
        "high": np.maximum(opened, close),
        "low": np.minimum(opened, close),
        "close": close,
        "volume": np.full(k, 1000.0),
        "vwap": close,
        "session": ones * (FIRST_DAY + day),
        "session_open_ns": ones * start,
        "session_close_ns": ones * (start + MINUTES * MINUTE),
        "break_start_ns": ones * 0,
        "break_end_ns": ones * 0,
        "phase": ones * Phase.REGULAR,
        "first_of_session": np.full(k, minute == 0),
        "split_factor": np.full(k, np.nan),
    }
    if not 0 <= minute < MINUTES:
        fields["phase"][:] = Phase.PRE_MARKET if minute < 0 else Phase.AFTER_HOURS
    for name, value in overrides.items():
        fields[name] = np.broadcast_to(np.array(value, dtype=fields[name].dtype), k).copy()
    fields.setdefault("first_of_phase", fields["first_of_session"].copy())
    return Bars(**fields)


def daily_bars(closes: Sequence[float], *, day: int = 0, **overrides: Any) -> Bars:
    """Return one daily (UTC) bar per instrument."""
    start = np.full(len(closes), (FIRST_DAY + day) * DAY)
    day_fields = {
        "ts_open_ns": start,
        "ts_close_ns": start + DAY,
        "session_open_ns": start,
        "session_close_ns": start + DAY,
        "first_of_session": True,
    }
    return bars(closes, day=day, **{**day_fields, **overrides})


def make_engine(
    rules_toml: str, symbols: Sequence[str] = ("AAPL",), intervals: Sequence[str] = ("1m", "1d")
) -> AlertEngine:
    """Return an engine with the rules of a TOML document."""
    alert_engine = AlertEngine(parse(rules_toml, "test").rules, intervals)
    alert_engine.add_instruments([Instrument(f"{symbol}.XNAS", symbol) for symbol in symbols])
    return alert_engine


def close_bars(
    alert_engine: AlertEngine, interval: str, closed_bars: Bars, values: Mapping[str, Floats] | None = None
) -> list[Alert]:
    """Return the alerts of closed bars."""
    fired = alert_engine.on_close(interval, closed_bars, values or {}, closed_bars.ts_close_ns + 5_000_000)
    return [one.alert for one in fired]


def encoded_alerts(fired_alerts: Sequence[FiredAlert]) -> list[tuple[int, bytes]]:
    """Return alerts as JSON, with their positions."""
    return [(fired.position, fired.alert.to_json()) for fired in fired_alerts]


def transitions_per_bar(
    alert_engine: AlertEngine, interval: str, closes: Sequence[float], **overrides: Any
) -> list[str]:
    """Return the alerts of each bar of one instrument, as a string per bar."""
    lines = []
    for number, price in enumerate(closes):
        bar_fields = {
            name: value[number] if isinstance(value, list) else value for name, value in overrides.items()
        }
        one = (
            bars([price], minute=number, **bar_fields)
            if interval == "1m"
            else daily_bars([price], day=number, **bar_fields)
        )
        lines.append(
            " ".join(f"{alert.state} {alert.severity}" for alert in close_bars(alert_engine, interval, one))
        )
    return lines
