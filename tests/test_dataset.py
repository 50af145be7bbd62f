"""The Python API of a lake returns frames with exact or floating-point prices."""

import os
import subprocess
import sys
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


def test_frames_are_joined_by_name_only(lake: str) -> None:
    held = pl.DataFrame({"symbol": ["A"], "shares": [10]})
    sql = "select sum(shares) from (select distinct symbol from bars) join held using (symbol)"
    with tickerlake.open_lake(lake) as opened:
        with pytest.raises(UsageError, match="held does not exist"):
            opened.sql(sql)
        assert opened.sql(sql, frames={"held": held}).item() == 10
        with pytest.raises(UsageError, match="held does not exist"):
            opened.sql(sql)
        for name in ("bars", "latest_prices", "Held", "a b", ""):
            with pytest.raises(UsageError, match="cannot have the name"):
                opened.sql("select 1", frames={name: held})


@pytest.mark.parametrize("sql", ["interval 1 day", "union_value(a := 1)"])
def test_values_that_polars_does_not_have(lake: str, sql: str) -> None:
    with tickerlake.open_lake(lake) as opened:
        with pytest.raises(UsageError, match="Cast the column to varchar"):
            opened.sql(f"select {sql}")
        assert opened.sql(f"select ({sql})::varchar").height == 1


@pytest.mark.parametrize("sql", ["select error('b')", "select 'x'::int from range(3)", "from nowhere"])
def test_queries_that_fail_raise_an_error_of_ours(lake: str, sql: str) -> None:
    with tickerlake.open_lake(lake) as opened:
        with pytest.raises(UsageError, match="The query failed"):
            opened.sql(sql)
        assert opened.sql("select 1").item() == 1


_NOTEBOOK = """
import sys, types
import __main__

class Kernel:
    config = {"IPKernelApp": {}}

ipython = types.ModuleType("IPython")
ipython.get_ipython = Kernel
sys.modules["IPython"] = ipython
if hasattr(__main__, "__file__"):
    del __main__.__file__
import duckdb

assert duckdb.__jupyter__, "DuckDB no longer recognizes a notebook by what is simulated here"
import tickerlake

with tickerlake.open_lake(sys.argv[1]) as lake:
    print(lake.bars().height, lake.sql("select current_setting('enable_progress_bar')").item())
"""


def test_a_notebook_needs_no_widgets(lake: str, tmp_path: Path) -> None:
    """DuckDB rejects settings of the progress bar in a Jupyter kernel without ipywidgets."""
    (tmp_path / "ipywidgets.py").write_text("raise ImportError('not installed')")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", _NOTEBOOK, lake],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.stdout == "14 False\n", done.stderr
