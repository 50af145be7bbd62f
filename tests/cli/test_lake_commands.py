"""The commands compact, query, load and audit, as a user runs them."""

import csv
import io
import json
import subprocess
from pathlib import Path

import polars as pl
import pytest

from support.bigquery import PROJECT, FakeBigQuery, fake_bigquery
from support.gcs import fake_gcs
from support.lake_builder import LakeTopic, bar, trade
from support.process import tickerlake
from tickerlake.lake.store.local import LocalStore

__all__ = ["fake_bigquery", "fake_gcs"]


def run(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    with tickerlake(*arguments, env=env) as child:
        out, err = child.communicate(timeout=120)
    return subprocess.CompletedProcess(arguments, child.returncode, out, err)


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    store = LocalStore(tmp_path / "lake")
    topic = LakeTopic(store, "t")
    topic.add_segment([bar("A", n, source="=cmd()") for n in range(4)])
    topic.add_segment([bar("A", 0, revision=1), {"schema": "bar.v1", "instrument_id": "A.XXXX"}])
    LakeTopic(store, "x").add_segment([trade("B", n) for n in range(3)])
    return tmp_path / "lake"


def test_compact_query_and_audit(lake: Path) -> None:
    before = run("query", "select count(*) as n from bars", "--lake", str(lake), "-f", "json")
    assert (before.returncode, json.loads(before.stdout)) == (0, {"n": 4})
    assert "note: t: 1 rejected, the first: symbol is missing or invalid; bar.v1 requires it" in before.stderr
    result = run("compact", "--lake", str(lake), "--json")
    assert result.returncode == 0, result.stderr
    assert "compacted 9 records from 3 segments" in result.stderr
    assert "1 superseded by a later revision" in result.stderr
    assert "curated/_rejects/ " not in result.stdout
    assert json.loads(result.stdout)["files"] == 2
    after = run("query", "select count(*) as n from bars", "--lake", str(lake), "-f", "json")
    assert json.loads(after.stdout) == {"n": 4}
    again = run("compact", "--lake", str(lake))
    assert "nothing new" in again.stderr
    audit = run("audit", "--lake", str(lake), "--deep", "--json")
    assert audit.returncode == 0, audit.stderr
    assert {each["kind"]: each["rows"] for each in json.loads(audit.stdout)["curated"]} == {
        "bars": 4,
        "trades": 3,
    }
    shown = run("audit", "--lake", str(lake))
    assert "left over" in shown.stdout
    next((lake / "curated/trades").rglob("*.parquet")).unlink()
    broken = run("audit", "--lake", str(lake))
    assert broken.returncode == 4
    assert "is missing" in broken.stdout


def test_query_writes_files_atomically(lake: Path, tmp_path: Path) -> None:
    sql = "select symbol, close, ts_open, quality, source from bars order by ts_open"
    printed = run("query", sql, "--lake", str(lake))
    rows = list(csv.DictReader(io.StringIO(printed.stdout)))
    assert rows[0] == {
        "symbol": "A", "close": "100.75", "ts_open": "2024-01-01T00:00:00Z", "quality": "", "source": "test",
    }  # fmt: skip
    assert rows[1]["source"] == "'=cmd()"
    target = tmp_path / "out.parquet"
    assert run("query", sql, "--lake", str(lake), "-o", str(target)).returncode == 0
    assert pl.read_parquet(target).schema["close"] == pl.Decimal(38, 9)
    existing = run("query", sql, "--lake", str(lake), "-o", str(target))
    assert existing.returncode == 2
    assert "--force" in existing.stderr
    table = run("query", sql, "--lake", str(lake), "-f", "table")
    assert table.stdout.split()[:5] == ["symbol", "close", "ts_open", "quality", "source"]
    empty = run("query", f"{sql} limit 0", "--lake", str(lake))
    assert empty.stdout == "symbol,close,ts_open,quality,source\n"
    wrong = run("query", "select nope from bars", "--lake", str(lake))
    assert wrong.returncode == 2
    assert "nope" in wrong.stderr
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("compact", "--until", "soon"), "--until soon is not a time"),
        (("compact", "--watch", "often"), "--watch"),
        (("compact", "--topic", "nope"), "nope"),
        (("query", "select 1", "-f", "xml"), "There is no format 'xml'"),
        (("query", "select 1", "-f", "parquet"), "--output"),
        (("load", "--project", "p", "--dataset", "d", "--external"), "from Cloud Storage only"),
        (("load", "--project", "No Project", "--dataset", "d"), "is not a project id"),
        (("audit", "--bigquery", "dataset"), "PROJECT.DATASET"),
    ],
)
def test_errors_are_reported(lake: Path, arguments: tuple[str, ...], expected: str) -> None:
    result = run(*arguments, "--lake", str(lake), env={"BIGQUERY_EMULATOR_HOST": "http://127.0.0.1:1"})
    assert result.returncode in {2, 4}, result.stderr
    assert expected in result.stderr
    assert "Traceback" not in result.stderr


def test_load_and_audit(lake: Path, fake_bigquery: FakeBigQuery) -> None:
    env = {"BIGQUERY_EMULATOR_HOST": fake_bigquery.url}
    options = ("--lake", str(lake), "--project", PROJECT, "--dataset", "cli_commands")
    missing = run("load", *options, env=env)
    assert missing.returncode == 2
    assert "--location" in missing.stderr
    result = run("load", *options, "--location", "EU", "--json", env=env)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["tables"] == {"raw_bars": 5, "raw_trades": 3}
    assert "line 2: symbol is missing or invalid" in result.stderr
    again = run("load", *options, "--no-views", env=env)
    assert "nothing new to load" in again.stderr
    elsewhere = run("load", *options, "--location", "US", env=env)
    assert elsewhere.returncode == 2
    assert "is in EU, not in US" in elsewhere.stderr
    audit = run("audit", "--lake", str(lake), "--bigquery", f"{PROJECT}.cli_commands", env=env)
    assert audit.returncode == 0, audit.stderr
    assert "in bigquery" in audit.stdout


def test_no_space_for_temporary_files(tmp_path: Path) -> None:
    topic = LakeTopic(LocalStore(tmp_path / "lake"), "t")
    topic.add_segment([trade(f"A{n * 7919 % 1000}", n, price=n * 7919 % 65521 / 8) for n in range(100_000)])
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("only root can mount a small disk")
    try:
        full = run("compact", "--lake", str(tmp_path / "lake"), env={"TMPDIR": str(small)})
    finally:
        subprocess.run(["umount", small], check=True)
    assert full.returncode == 3, full.stderr
    assert "A disk is full" in full.stderr
    assert "TMPDIR" in full.stderr
    assert "Traceback" not in full.stderr
    result = run("compact", "--lake", str(tmp_path / "lake"))
    assert "compacted 100,000 records" in result.stderr


def test_a_closed_pipe_is_not_an_error(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "lake")
    LakeTopic(store, "t").add_segment([trade("A", n) for n in range(30_000)])
    with tickerlake("query", "from trades", "--lake", tmp_path / "lake") as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline().startswith("instrument_id,")
        child.stdout.close()
        assert child.stderr.read() == ""
    assert child.returncode == 0
