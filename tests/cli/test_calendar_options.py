"""Commands on markets whose calendar is missing, cannot be computed, or lacks a session."""

from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

import tickerlake
from support.lake_builder import LakeTopic, trade
from support.process import run
from tickerlake.lake.store.local import LocalStore

SETTINGS = '[calendar.XBOM]\nextra = [{ date = 2025-02-01, open = "09:15", close = "15:30" }]\n'


def write_minutes(path: Path, *symbols: str) -> Path:
    """Write bars of a Friday, of a Saturday with a session that no calendar has, and of the Monday after."""
    rows = ["date,symbol,open,high,low,close,volume"]
    for day in ("2025-01-31", "2025-02-01", "2025-02-03"):
        first = datetime.fromisoformat(f"{day}T09:15")
        for minute in range(0, 375, 5):
            at = first + timedelta(minutes=minute)
            rows += [f"{at}+05:30,{symbol},100,101,99,100.5,10" for symbol in symbols]
    path.write_text("\n".join(rows) + "\n")
    return path


def test_a_session_that_the_calendar_lacks_is_said_until_the_settings_have_it(tmp_path: Path) -> None:
    data = write_minutes(tmp_path / "minutes.csv", "INFY.NS", "AAPL")
    arguments = ("rules", "test", "default", "--data", data, "--bars", "5m,1d")
    _, err = run(*arguments, cwd=tmp_path)
    out, _ = run("inspect", data)
    assert "  markets   XNSE (from the endings of symbols)\n" in out
    notes = [line for line in err.splitlines() if line.startswith("note: ")]
    assert [note[:42] for note in notes] == [
        "note: the exchange of some symbols is unkn",
        "note: XNSE has records from 09:15 on Satur",
    ]
    assert "  without a session: 75 records of XNSE on 1 day\n" in err
    (tmp_path / "tickerlake.toml").write_text(SETTINGS)
    _, err = run(*arguments, cwd=tmp_path)
    assert "note: XNSE" not in err
    assert "without a session" not in err


def test_a_calendar_that_cannot_be_computed_stops_nobody_and_is_a_short_error(tmp_path: Path) -> None:
    data = write_minutes(tmp_path / "minutes.csv", "INFY.NS", "TEVA.TA", "ALPHA.AT", "TLV.RO")
    _, err = run("rules", "test", "default", "--data", data, "--calendar", "XNYS", cwd=tmp_path)
    assert err.count("cannot compute") <= 1
    assert len(err) < 3_000
    assert "900 records of 4 symbols" in err
    for code in ("ASEX", "XTAE"):
        if f"{code}" in err:
            _, short = run("rules", "test", "default", "--data", data, "--calendar", code, exit_code=2)
            assert f"cannot compute its calendar {code}." in short
            assert len(short) < 300


def test_a_code_without_a_calendar_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "tickerlake.toml").write_text(SETTINGS.replace("XBOM", "XBMO"))
    data = write_minutes(tmp_path / "minutes.csv", "INFY.NS")
    _, err = run("rules", "test", "default", "--data", data, exit_code=2, cwd=tmp_path)
    assert "calendar.XBMO in the settings: there is no calendar of the market XBMO." in err


@pytest.mark.parametrize("is_compacted", [False, True])
def test_trades_in_a_lake_have_the_dates_of_extra_sessions(tmp_path: Path, is_compacted: bool) -> None:
    first_ns = int(datetime.fromisoformat("2025-02-01T09:15+05:30").timestamp()) * 10**9
    trades = [
        trade("INFY", n, instrument_id="INFY.NS.XNSE", ts_event_ns=first_ns + n * 60 * 10**9)
        for n in range(60)
    ]
    LakeTopic(LocalStore(tmp_path / "lake"), "t").add_segment(trades)
    (tmp_path / "tickerlake.toml").write_text(SETTINGS)
    query = ("query", "select distinct session_date from trades", "--lake", "lake", "--format", "csv")
    if is_compacted:
        _, err = run("compact", "--lake", "lake", cwd=tmp_path)
        assert "note:" not in err
    out, _ = run(*query, cwd=tmp_path)
    assert out.split() == ["session_date", "2025-02-01"]
    with tickerlake.open_lake(tmp_path / "lake", sessions=tmp_path / "tickerlake.toml") as opened:
        assert opened.trades()["session_date"].cast(pl.String).unique().to_list() == ["2025-02-01"]
    (tmp_path / "tickerlake.toml").unlink()
    if not is_compacted:
        out, _ = run(*query, cwd=tmp_path)
        assert out.split() == ["session_date", "2025-01-31"]
        _, err = run("compact", "--lake", "lake", cwd=tmp_path)
        assert "note: XNSE has records from 09:15 on Saturday, 2025-02-01" in err
