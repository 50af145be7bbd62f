"""``tickerlake demo``: run, rerun, interrupted, and started over."""

import re
import signal
from functools import partial
from pathlib import Path

import pytest

from support.process import run, tickerlake, wait_until

ALL_STORED = "all 12,154 records are in the lake exactly once"


def _has_segments(lake: Path) -> bool:
    return any(lake.glob("raw/stocks.bars/partition=*/*.ndjson.gz"))


def test_demo_runs_reruns_and_starts_fresh(tmp_path: Path) -> None:
    out, err = run("demo", cwd=tmp_path)
    assert ALL_STORED in err
    assert "produced 12,154 records" in err
    assert re.search(r"2000-09-29 critical ▼ AAPL fell 51\.9%", out)
    splits = {line[:10] for line in out.splitlines() if line.endswith("looks like a 2:1 split, not a crash")}
    assert splits == {"2000-06-21", "2003-02-18", "2005-02-28"}
    out, err = run("demo", cwd=tmp_path)
    assert ALL_STORED in err
    assert "already ingested" in err
    assert "already tracked" in err
    assert "AAPL" not in out
    _, err = run("demo", "--fresh", cwd=tmp_path)
    assert ALL_STORED in err
    assert "produced 12,154 records" in err


@pytest.mark.full
def test_interrupted(tmp_path: Path) -> None:
    with tickerlake("demo", cwd=tmp_path) as child:
        wait_until(partial(_has_segments, tmp_path / "lake"), child)
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=60) in {0, 130}
    _, err = run("demo", cwd=tmp_path)
    assert ALL_STORED in err
