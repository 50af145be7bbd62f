"""SQL over pending and curated records: each record once, whatever has been compacted."""

import math
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.test_compact import ACTIONS, FORMATS, apply_history, compact
from support.lake_builder import LakeTopic, bar, trade, utc_dates
from tickerlake.errors import UsageError
from tickerlake.lake.query import RECORD_TYPES, LakeDatabase
from tickerlake.lake.store.base import Store
from tickerlake.lake.store.local import LocalStore
from tickerlake.lake.store.memory import MemoryStore
from tickerlake.lake.topic import Format
from tickerlake.lake.typed_records import frame_schema
from tickerlake.lake.views import views
from tickerlake.model.schema import ALERT


def query_lake(store: Store, sql: str) -> pl.DataFrame:
    database = LakeDatabase(store, utc_dates)
    try:
        frame: pl.DataFrame = database.query(sql).pl()
        return frame
    finally:
        database.close()


@settings(max_examples=30)
@given(ACTIONS, st.sampled_from(FORMATS))
def test_any_history_shows_each_bar_at_its_latest_revision(
    tmp_path_factory: pytest.TempPathFactory, history: list[Any], fmt: Format
) -> None:
    folder = tmp_path_factory.mktemp("history")
    store = LocalStore(folder / "lake")
    expected = apply_history(LakeTopic(store, "t", fmt), history, lambda: compact(store, folder))
    assert query_lake(store, "select kafka_offset from bars order by 1").to_series().to_list() == expected


def test_all_record_types_have_columns_in_an_empty_lake(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    for record_type in RECORD_TYPES:
        assert query_lake(store, f"select * from {record_type}").columns == frame_schema(record_type).names()
    for name in views():
        assert query_lake(store, f"select * from {name}").height == 0


@pytest.mark.parametrize("compacted", [False, True])
def test_trades_have_types_and_session_dates(tmp_path: Path, compacted: bool) -> None:
    store = LocalStore(tmp_path / "lake")
    LakeTopic(store, "t").add_segment([trade("A", 1, price=1.25), trade("B", 2, day=1)])
    if compacted:
        compact(store, tmp_path)
    trades = query_lake(store, "select * from trades order by ts_event")
    assert dict(trades.schema) == dict(frame_schema("trades"))
    assert trades.get_column("session_date").cast(str).to_list() == ["2024-01-01", "2024-01-02"]
    assert str(trades.get_column("price")[0]) == "1.250000000"


def test_a_remote_store_is_read_by_ranges(tmp_path: Path) -> None:
    store = MemoryStore("elsewhere")
    topic = LakeTopic(store, "t")
    topic.add_segment([bar(symbol, minute) for symbol in "AB" for minute in range(50)])
    compact(store, tmp_path)
    topic.add_segment([bar("A", 3, revision=1)])
    counts = query_lake(store, "select count(*) as n, sum(revision) as r, min(interval) as i from bars")
    assert counts.rows() == [(100, 1, "1m")]


def test_rejects_are_counted_not_shown(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    LakeTopic(store, "t").add_segment([bar("A", 0), b'{"schema":"bar.v1"}'])
    database = LakeDatabase(store, utc_dates)
    assert database.query("select count(*) from bars").fetchall() == [(1,)]
    assert database.not_curated == 1
    assert database.notes() == [
        "t: 1 rejected, the first: instrument_id is missing or invalid; bar.v1 requires it"
    ]
    database.close()


@pytest.mark.parametrize(
    "sql",
    [
        "create table x (a int)",
        "copy (select 1) to 'x.csv'",
        "select 1; select 2",
        "selec 1",
        "select nope from bars",
    ],
)
def test_statements_that_do_not_read_are_rejected(tmp_path: Path, sql: str) -> None:
    with pytest.raises(UsageError):
        query_lake(LocalStore(tmp_path), sql)
    assert not Path("x.csv").exists()


def closes(count: int) -> list[dict[str, Any]]:
    """Daily bars of one symbol over many sessions."""
    rng = np.random.default_rng(7)
    prices = np.round(100 * np.exp(np.cumsum(rng.normal(0, 0.02, count))), 2)
    return [
        bar("A", 0, day=day, interval="1d", open=p, high=p + 1, low=p - 1, close=p, volume=1000 + 10 * day)
        for day, p in enumerate(prices.tolist())
    ]


def test_moving_averages_and_bands_match_ta_lib(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "lake")
    LakeTopic(store, "t").add_segment(closes(120))
    compact(store, tmp_path)
    view = query_lake(store, "select * from moving_averages order by ts_open")
    close = view.get_column("close").cast(pl.Float64).to_numpy()
    upper, middle, lower = talib.BBANDS(close, 20, 2, 2)
    for name, expected in (("sma_20", middle), ("upper_band", upper), ("lower_band", lower)):
        actual = view.get_column(name).fill_null(float("nan")).to_numpy()
        np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=0, equal_nan=True)


def test_returns_and_volatility_and_volume(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    bars = closes(40)
    LakeTopic(store, "t").add_segment(bars)
    close = np.array([each["close"] for each in bars])
    logs = np.diff(np.log(close))
    returns = query_lake(store, "select * from returns order by session_date")
    np.testing.assert_allclose(returns.get_column("log_return").to_numpy(), logs, rtol=1e-12)
    volatility = query_lake(store, "select volatility_20 from volatility order by session_date").to_series()
    assert volatility.null_count() == 19
    assert math.isclose(volatility[-1], np.std(logs[-20:], ddof=1) * math.sqrt(252), rel_tol=1e-12)
    volume = query_lake(store, "select * from relative_volume order by session_date")
    before = np.mean([each["volume"] for each in bars[19:39]])
    assert volume.get_column("relative_volume").null_count() == 20
    assert math.isclose(volume.get_column("relative_volume")[-1], bars[-1]["volume"] / before)


def test_vwap_latest_quality_freshness(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    LakeTopic(store, "t").add_segment(
        [
            trade("A", 1, price=10, size=1),
            trade("A", 2, price=20, size=3),
            trade("A", 3, price=99, size=9, correction="cancel", quality=["late", "out_of_order"]),
        ]
    )
    LakeTopic(store, "b").add_segment([bar("A", 0), bar("B", 5)])
    (vwap,) = query_lake(store, "select vwap, trades from session_vwap").rows()
    assert vwap == (17.5, 2)
    latest = query_lake(store, "select symbol, price, origin from latest_prices order by 1").rows()
    assert [(symbol, float(price), origin) for symbol, price, origin in latest] == [
        ("A", 100.5, "bar"),
        ("B", 105.5, "bar"),
    ]
    quality = query_lake(store, "select kind, codes, row_count from data_quality order by 1, 2").rows()
    assert quality == [("bars", "", 2), ("trades", "", 2), ("trades", "late,out_of_order", 1)]
    fresh = query_lake(store, "select kind, kafka_topic, row_count from freshness order by 1").rows()
    assert fresh == [("bars", "b", 2), ("trades", "t", 3)]


def test_alerts_are_joined_with_their_session(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    bars = closes(3)
    LakeTopic(store, "b").add_segment(bars)
    alert = {
        "schema": ALERT, "alert_id": "1", "rule_id": "r", "rule_version": 1, "kind": "move",
        "severity": "info", "state": "fired", "instrument_id": "A.XXXX", "symbol": "A",
        "ts_event_ns": bars[1]["ts_close_ns"],
        "ts_detected_ns": 1, "direction": "up", "unit": "pct", "suppressed_count": 0, "dedup_key": "k",
        "cause": "market", "message": "A rose",
    }  # fmt: skip
    LakeTopic(store, "a").add_segment([alert, alert, {**alert, "alert_id": "2", "state": "cleared"}])
    (row,) = query_lake(store, "select alert_id, session_close, session_return from alerts_in_context").rows()
    close = [each["close"] for each in bars]
    assert row[0] == "1"
    assert float(row[1]) == close[1]
    assert math.isclose(row[2], close[1] / close[0] - 1)


def test_views_are_documented_and_ordered() -> None:
    defined: set[str] = set(RECORD_TYPES)
    for view in views().values():
        assert view.description
        assert set(view.dependencies) <= defined
        defined.add(view.name)
        assert "`p.d`." in view.sql_for_dataset("p.d")
        assert "lake." not in view.sql_for_dataset("p.d")
        assert duckdb.extract_statements(view.sql)
