"""``tickerlake demo``: run, rerun, interrupted, and started over."""

import json
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
    splits = {line[:10] for line in out.splitlines() if "looks like a 2:1 split, not a crash" in line}
    assert splits == {"2000-06-21", "2003-02-18", "2005-02-28"}
    out, err = run("demo", cwd=tmp_path)
    assert ALL_STORED in err
    assert "already ingested" in err
    assert "already tracked" in err
    assert "AAPL" not in out
    _, err = run("demo", "--fresh", cwd=tmp_path)
    assert ALL_STORED in err
    assert "produced 12,154 records" in err


def _demo_lock(folder: Path) -> dict[str, object]:
    text = (folder / ".tickerlake/broker/demo.json").read_text()
    return dict(json.loads(text)) if text else {}


def _has_page(folder: Path) -> bool:
    return (folder / ".tickerlake/broker/demo.json").exists() and bool(_demo_lock(folder).get("url"))


def test_one_demo_at_a_time_which_tells_where_its_page_is(tmp_path: Path) -> None:
    with tickerlake("demo", "--serve", "--port", 0, "--broker-port", 0, cwd=tmp_path) as child:
        wait_until(partial(_has_page, tmp_path), child)
        assert child.poll() is None
        for options in ((), ("--fresh",), ("--serve",)):
            _, err = run("demo", *options, cwd=tmp_path, exit_code=3)
            url = _demo_lock(tmp_path)["url"]
            assert f"already (process {child.pid}); its page is {url}." in err
        _, err = run("broker", "status", cwd=tmp_path, exit_code=3)
        assert "The broker of a demo runs at" in err
        # whoever asks for the broker keeps it when the demo ends
        out, _ = run("broker", "start", "--data-dir", ".tickerlake/broker", cwd=tmp_path)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert f"Kafka keeps running at {out.strip()}" in err
    run("broker", "stop", "--data-dir", ".tickerlake/broker", cwd=tmp_path)


def test_a_broker_that_runs_already_is_used_and_left_alone(tmp_path: Path) -> None:
    servers, _ = run("broker", "start", "--data-dir", ".tickerlake/broker", "--port", 0, cwd=tmp_path)
    _, err = run("demo", cwd=tmp_path)
    assert f"Kafka answers at {servers.strip()}" in err
    assert ALL_STORED in err
    out, _ = run("broker", "status", "--data-dir", ".tickerlake/broker", cwd=tmp_path)
    assert out.startswith(servers.strip())
    _, err = run("demo", "--fresh", cwd=tmp_path, exit_code=3)
    assert "no demo started it: nothing was deleted" in err
    assert _has_segments(tmp_path / "lake")
    run("broker", "stop", "--data-dir", ".tickerlake/broker", cwd=tmp_path)


def test_a_killed_demo_blocks_nothing(tmp_path: Path) -> None:
    with tickerlake("demo", "--broker-port", 0, cwd=tmp_path) as child:
        wait_until(partial(_has_segments, tmp_path / "lake"), child)
        child.kill()
    _, err = run("demo", cwd=tmp_path)
    assert ALL_STORED in err
    # the broker that the killed demo has left behind was a demo's
    run("broker", "status", "--data-dir", ".tickerlake/broker", cwd=tmp_path, exit_code=3)


def test_fresh_deletes_nothing_but_a_lake(tmp_path: Path) -> None:
    photograph = tmp_path / "lake/raw/photograph.nef"
    photograph.parent.mkdir(parents=True)
    photograph.touch()
    _, err = run("demo", "--fresh", cwd=tmp_path, exit_code=2)
    assert "is not a lake, so it was not deleted" in err
    assert photograph.exists()


@pytest.mark.full
def test_interrupted(tmp_path: Path) -> None:
    with tickerlake("demo", cwd=tmp_path) as child:
        wait_until(partial(_has_segments, tmp_path / "lake"), child)
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=60) in {0, 130}
    _, err = run("demo", cwd=tmp_path)
    assert ALL_STORED in err
