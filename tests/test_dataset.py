"""The Python API of a lake returns frames with exact or floating-point prices."""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tickerlake
from lake.test_compact import compact
from support.lake_builder import LakeTopic, bar, trade
from tickerlake.dataset import _to_floats
from tickerlake.errors import UsageError
from tickerlake.lake.store.local import LocalStore


@pytest.fixture
def lake(tmp_path: Path) -> str:
    store = LocalStore(tmp_path / "lake")
    topic = LakeTopic(store, "t")
    days = [bar(s, m, day=day) for s in ("A", "B") for day in range(3) for m in (600, 601)]
    topic.add_segment([*days, bar("A", 0, day=1, interval="1d", adj_close=50.25)])
    compact(store, tmp_path)
    topic.add_segment([bar("C", 600, day=2), bar("A", 600, day=2, revision=1, close=107.5)])
    LakeTopic(store, "x").add_segment([trade("A", 5), trade("B", 6, day=1)])
    return str(tmp_path / "lake")


def test_symbols_intervals_and_times(lake: str) -> None:
    with tickerlake.open_lake(lake) as opened:
        assert opened.bars().height == 14
        assert opened.bars("A").height == 7
        assert opened.bars(["A.XXXX", "C"], "1m").height == 7
        assert opened.bars(start="2024-01-02", interval="1m").height == 9
        assert opened.bars(start=date(2024, 1, 2), end="2024-01-03", interval="1m").height == 4
        bound = datetime(2024, 1, 2, 10, 1, tzinfo=UTC)
        assert opened.bars("A", "1m", start=bound).height == 3
        assert opened.bars("A", "1m", end=bound).height == 3
        assert opened.bars("A", "1m", start="2024-01-02T11:01+01:00").height == 3
        assert opened.trades(topic="x").height == 2
        assert opened.trades(topic="y").is_empty()
        assert opened.quotes().is_empty()
        assert opened.alerts().is_empty()
        assert opened.indicators("A", "1m").is_empty()
        assert opened.sql("select count(*) as n from bars where symbol = ?", ["A"]).item() == 7
        with pytest.raises(UsageError, match="start='soon'"):
            opened.bars(start="soon")


def test_frames_are_sorted_typed_and_convertible(lake: str) -> None:
    with tickerlake.open_lake(lake) as opened:
        frame = opened.bars(interval="1m")
        assert frame.equals(frame.sort("instrument_id", "ts_open_ns"))
        assert frame.schema["close"] == pl.Float64
        assert frame.schema["ts_open"] == pl.Datetime("us", "UTC")
        last = frame.filter((pl.col("symbol") == "A") & (pl.col("revision") == 1))
        assert last.get_column("close").to_list() == [107.5]
        assert frame.to_pandas().shape == frame.shape
        assert frame.to_arrow().num_rows == frame.height
        exact = opened.bars(interval="1m", exact=True)
        assert exact.schema["close"] == pl.Decimal(38, 9)
        assert exact.get_column("close").to_list() == [Decimal(str(value)) for value in frame["close"]]


def test_adjusted_prices_need_a_factor(lake: str) -> None:
    with tickerlake.open_lake(lake) as opened:
        (plain,) = opened.bars("A", "1d").to_dicts()
        (row,) = opened.bars("A", "1d", adjusted=True).to_dicts()
        factor = 50.25 / plain["close"]
        assert row["close"] == plain["close"] * factor
        assert row["high"] == plain["high"] * factor
        assert row["volume"] == plain["volume"]
        with pytest.raises(UsageError, match="have no adjustment factor"):
            opened.bars(adjusted=True)
        with pytest.raises(UsageError, match="quotients and never exact"):
            opened.bars(adjusted=True, exact=True)


def test_refresh_shows_new_records(lake: str) -> None:
    with tickerlake.open_lake(lake) as opened:
        before = opened.trades().height
        topic = LakeTopic(LocalStore(Path(lake)), "x")
        topic.add_segment([trade("A", 7)])
        assert opened.trades().height == before
        opened.refresh()
        assert opened.trades().height == before + 1


@given(st.integers(-(2**52), 2**52))
def test_doubles_are_correctly_rounded(units: int) -> None:
    value = Decimal(units).scaleb(-9)
    frame = pl.DataFrame({"price": pl.Series([value], dtype=pl.Decimal(38, 9))})
    assert _to_floats(frame).item() == float(value)
