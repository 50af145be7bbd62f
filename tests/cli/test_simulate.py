"""``tickerlake simulate`` into files: complete or not at all, the same on every run."""

import csv
import gzip
import json
import signal
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from support.process import run, tickerlake, wait_until

COMMAND = ("simulate", "--symbols", 5, "--trades", 20_000, "--days", 2, "--seed", 3, "--jumps", 2)
EXTENSIONS = (".csv", ".csv.gz", ".ndjson", ".ndjson.gz", ".parquet")


def read_text(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One market in every format."""
    folder = tmp_path_factory.mktemp("market")
    for ending in EXTENSIONS:
        run(*COMMAND, "-o", folder / f"t{ending}")
    return {ending: folder / f"t{ending}" for ending in EXTENSIONS}


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line, parse_float=Decimal) for line in read_text(path).splitlines()]


def test_the_human_readable_table(files: dict[str, Path]) -> None:
    rows = list(csv.DictReader(read_text(files[".csv"]).splitlines()))
    decoded = records(files[".ndjson"])
    assert list(rows[0]) == ["symbol", "timestamp", "price", "size", "trade_id", "sequence"]
    assert len(rows) == len(decoded) == 20_000
    for row, record in zip(rows, decoded, strict=True):
        assert row["symbol"] == record["symbol"]
        assert Decimal(row["price"]) == record["price"]
        assert Decimal(row["size"]) == record["size"]
        assert (row["trade_id"], row["sequence"]) == (record["trade_id"], str(record["sequence"]))
        assert row["timestamp"].startswith("2024-01-0")
        assert row["timestamp"].endswith(f"{record['ts_event_ns'] % 10**9:09}Z")
    assert {len(row["price"].partition(".")[2]) for row in rows} == {2}


def test_all_formats_have_the_same_records(files: dict[str, Path]) -> None:
    assert read_text(files[".csv"]) == read_text(files[".csv.gz"])
    assert read_text(files[".ndjson"]) == read_text(files[".ndjson.gz"])
    decoded = records(files[".ndjson"])
    query = duckdb.execute(
        "select symbol, ts_event_ns, epoch_us(ts_event), price, trade_id from read_parquet(?)",
        [str(files[".parquet"])],
    )
    for row, record in zip(query.fetchall(), decoded, strict=True):
        ns = record["ts_event_ns"]
        assert row == (record["symbol"], ns, ns // 1000, record["price"], record["trade_id"])


@pytest.mark.parametrize("ending", EXTENSIONS)
def test_the_same_seed_gives_the_same_bytes(files: dict[str, Path], tmp_path: Path, ending: str) -> None:
    run(*COMMAND, "-o", tmp_path / f"t{ending}")
    assert (tmp_path / f"t{ending}").read_bytes() == files[ending].read_bytes()
    truth = f"t{ending}.truth.ndjson"
    assert (tmp_path / truth).read_bytes() == (files[ending].parent / truth).read_bytes()


def test_the_truth_and_the_summary(tmp_path: Path) -> None:
    out, err = run(*COMMAND, "-o", tmp_path / "t.csv", "--truth", tmp_path / "truth", "--json")
    summary = json.loads(out)
    labels = [json.loads(line) for line in read_text(tmp_path / "truth").splitlines()]
    jumps = [label for label in labels if label["kind"] == "jump"]
    assert summary["labels"]["jump"] == len(jumps) > 0
    assert all(jump["instrument_id"] == f"{jump['symbol']}.XXXX" for jump in jumps)
    assert all(jump["sigmas"] >= 8 and (jump["return"] > 0) == (jump["direction"] == "up") for jump in jumps)
    assert {jump["ts_event_ns"] for jump in jumps} <= {
        record["ts_event_ns"] for record in _simulated_records(tmp_path)
    }
    described = {name: summary[name] for name in ("seed", "symbols", "trades", "days", "finished")}
    assert described == {"seed": 3, "symbols": 5, "trades": 20_000, "days": 2, "finished": True}
    assert "20,000 trades of 5 symbols, 2024-01-02 to 2024-01-03, seed 3" in err


def _simulated_records(folder: Path) -> list[dict[str, Any]]:
    run(*COMMAND, "-o", folder / "t.ndjson")
    return records(folder / "t.ndjson")


def test_to_stdout(files: dict[str, Path], tmp_path: Path) -> None:
    out, _ = run(*COMMAND, "-o", "-", "--truth", tmp_path / "truth")
    assert out == read_text(files[".ndjson"])
    assert read_text(tmp_path / "truth") == read_text(files[".csv"].parent / "t.csv.truth.ndjson")


def test_a_closed_pipe_ends_quietly(tmp_path: Path) -> None:
    with tickerlake(*COMMAND, "-o", "-", cwd=tmp_path) as child:
        assert child.stdout
        assert child.stderr
        child.stdout.readline()
        child.stdout.close()
        assert child.stderr.read() == ""
        assert child.wait(timeout=60) == 0


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "t.csv"
    target.write_text("mine")
    _, err = run(*COMMAND, "-o", target, exit_code=2)
    assert "already exists" in err
    assert "--force" in err
    assert target.read_text() == "mine"
    other = tmp_path / "u.csv.truth.ndjson"
    other.write_text("mine")
    run(*COMMAND, "-o", tmp_path / "u.csv", exit_code=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.csv", "u.csv.truth.ndjson"]
    run(*COMMAND, "-o", target, "--force")
    assert target.read_text().startswith("symbol,")


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_an_interrupt_leaves_no_file(tmp_path: Path, ending: str) -> None:
    options = ("simulate", "--trades", 1_000_000_000, "-o", f"t{ending}")
    with tickerlake(*options, cwd=tmp_path) as child:
        wait_until(lambda: any(path.stat().st_size > 0 for path in tmp_path.iterdir()), child)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert "no file was written" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "to either a file or a topic"),
        (("-o", "t.csv", "-t", "a"), "to either a file or a topic"),
        (("-o", "-", "--json"), "would mix with the trades"),
        (("-o", "t.csv", "--speed", "60x"), "--rate and --speed need --topic"),
        (("-o", "t.xlsx"), "does not specify a format"),
        (("-o", "t.csv", "--truth", "t.csv"), "cannot hold both"),
        (("-o", "nowhere/t.csv"), "cannot be written"),
        (("-o", "t.csv", "--start", "01/02/2024"), "is not a date"),
        (("-o", "t.csv", "--symbols", "0"), "cannot have 0 symbols"),
    ],
)
def test_invalid_options(tmp_path: Path, arguments: tuple[str, ...], expected: str) -> None:
    _, err = run("simulate", *arguments, exit_code=2, cwd=tmp_path)
    assert expected in err
    assert "→" in err
    assert list(tmp_path.iterdir()) == []


def test_help_has_examples() -> None:
    out, _ = run("simulate", "--help")
    assert "tickerlake simulate -o trades.csv" in " ".join(out.split())
