"""Closes without open, high and low: from a file to Kafka, the lake, curated tables, and to alerts."""

import json
import secrets
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from support import oracle
from support.process import run
from tickerlake.dataset import open_lake

DAYS = [day for n in range(60) if (day := date(2024, 1, 2) + timedelta(n)).weekday() < 5]
RULES = """
[[rule]]
id = "move"
kind = "pct_change"
pct = 5

[[rule]]
id = "gap"
kind = "gap_open"
pct = 1
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A column for each symbol; QMS is listed later, and falls by a tenth once."""
    rows = [
        f"{day},{100 + n / 4},{'' if n < 9 else 300 - n if n < 30 else 240 - n}" for n, day in enumerate(DAYS)
    ]
    path = tmp_path / "closes.csv"
    path.write_text("Date,QAA,QMS\n" + "\n".join(rows) + "\n")
    return path


def expected() -> dict[tuple[str, date], Decimal]:
    aa = {("QAA", day): Decimal(400 + n) / 4 for n, day in enumerate(DAYS)}
    ms = {("QMS", day): Decimal(300 - n if n < 30 else 240 - n) for n, day in enumerate(DAYS) if n >= 9}
    return aa | ms


def closes(frame: pl.DataFrame) -> dict[tuple[str, date], Decimal]:
    assert frame.select(pl.col("open", "high", "low").null_count()).row(0) == (frame.height,) * 3
    return {
        (symbol, day): close for symbol, day, close in frame.select("symbol", "session_date", "close").rows()
    }


def test_convert_writes_them(table: Path, tmp_path: Path) -> None:
    run("convert", table, "-o", tmp_path / "a.ndjson")
    records = [json.loads(line) for line in (tmp_path / "a.ndjson").read_text().splitlines()]
    assert len(records) == len(expected())
    assert not any({"open", "high", "low"} & set(record) for record in records)
    run("convert", table, "-o", tmp_path / "a.parquet", "--to", "parquet")
    assert closes(pl.read_parquet(tmp_path / "a.parquet")) == expected()


@pytest.mark.parametrize("form", ["ndjson", "parquet"])
def test_they_pass_the_pipeline(kafka: str, table: Path, tmp_path: Path, form: str) -> None:
    prefix = f"c{secrets.token_hex(4)}"
    topic, lake = f"{prefix}.input", tmp_path / "lake"
    (tmp_path / "rules.toml").write_text(RULES)
    run("produce", table, "-t", topic, "-b", kafka)
    run("sink", "-t", topic, "-b", kafka, "--lake", lake, "--format", form, "--until-end")
    with open_lake(lake) as opened:
        assert closes(opened.bars(exact=True)) == expected()
    run("compact", "--lake", lake)
    with open_lake(lake) as opened:
        assert closes(opened.bars(exact=True)) == expected()
        returns = opened.sql("select count(*) from returns").item()
        assert returns == len(expected()) - 2
    run("audit", "--lake", lake, "-b", kafka, "--deep")
    out, _ = run(
        "query",
        "select symbol, open, close from daily_bars order by ts_open_ns limit 1",
        "--lake",
        lake,
        "-o",
        "-",
    )
    assert "QAA" in out
    _, err = run(
        "track", "-t", topic, "-b", kafka, "--state", tmp_path / "state", "--rules", tmp_path / "rules.toml",
        "--indicators", "SMA(5),ATR(5)", "--until-end",
    )  # fmt: skip
    assert "rule gap (gap_open) measured nothing" in err
    indicators = [
        json.loads(message.value() or b"")["values"]
        for message in oracle.read_messages(kafka, f"{prefix}.indicators")
    ]
    assert len(indicators) == len(expected()) - 2 * 4
    assert all(set(values) == {"SMA(5)"} for values in indicators)
    alerts = [
        json.loads(message.value() or b"") for message in oracle.read_messages(kafka, f"{prefix}.alerts")
    ]
    fired = [alert for alert in alerts if alert["state"] == "fired"]
    assert [(alert["symbol"], alert["rule_id"]) for alert in fired] == [("QMS", "move")]
