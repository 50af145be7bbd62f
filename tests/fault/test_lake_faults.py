"""1 and 23: `compact` and `load` killed at each failpoint or without replies: each record is stored once."""

import json
import signal
from pathlib import Path

import pytest

from support.bigquery import PROJECT, FakeBigQuery, fake_bigquery
from support.http_fault_proxy import FaultProxy
from support.lake_builder import LakeTopic, bar, trade
from support.process import run, tickerlake
from support.scenario import RecordProperty, record_result
from tickerlake.failpoints import ENV_VARIABLE, FAILPOINTS
from tickerlake.lake.store.local import LocalStore

__all__ = ["fake_bigquery"]


def record_counts(
    record_property: RecordProperty, fault_id: str, fault: str, triggered: int, records: int, stored: int
) -> None:
    lost, duplicated = max(0, records - stored), max(0, stored - records)
    cells = {"records": records, "stored": stored, "lost": lost, "duplicated": duplicated}
    record_result(record_property, fault_id, fault, triggered, triggered, **cells)


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    topic = LakeTopic(LocalStore(tmp_path / "lake"), "t")
    for day in range(6):
        topic.add_segment([trade("A", n, day=day) for n in range(20)])
    return tmp_path / "lake"


@pytest.mark.parametrize(
    "failpoints",
    [*(f"{point}=kill" for point in FAILPOINTS if point.startswith("compact.")), "compact.written=kill@3"],
)
def test_a_compaction_killed_at_each_failpoint(
    lake: Path, failpoints: str, record_property: RecordProperty
) -> None:
    with tickerlake("compact", "--lake", lake, env={ENV_VARIABLE: failpoints}) as child:
        child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL
    out, _ = run("query", "select count(*) as n from trades", "--lake", lake, "-f", "json")
    assert json.loads(out) == {"n": 120}, "a reader sees each record once at any time"
    LakeTopic(LocalStore(lake), "t").add_segment([trade("B", 1)])
    run("compact", "--lake", lake)
    out, _ = run("audit", "--lake", lake, "--deep", "--json")
    (curated,) = json.loads(out)["curated"]
    assert (curated["records"], curated["rows"]) == (121, 121)
    record_counts(record_property, "1", f"compact killed at {failpoints}", 1, 121, curated["rows"])


LOAD_FAILPOINTS = [point for point in FAILPOINTS if point.startswith("load.")]
PROXY_FAULTS = {
    "stall": "load killed while a job's request is stalled",
    "hold_reply": "load killed while a job's reply is held",
    "lose_reply": "load: reply to a job lost",
}


@pytest.mark.full
@pytest.mark.parametrize(
    "fault",
    [
        "hold_reply",
        "load.loaded",
        *(
            pytest.param(fault, marks=pytest.mark.full)
            for fault in ("stall", "lose_reply", *LOAD_FAILPOINTS)
            if fault != "load.loaded"
        ),
    ],
)
def test_a_load_killed_or_without_a_reply(
    lake: Path, fake_bigquery: FakeBigQuery, fault: str, record_property: RecordProperty
) -> None:
    LakeTopic(LocalStore(lake), "bars").add_segment([bar("A", n) for n in range(4)])
    dataset = f"faults_{fault.replace('.', '_')}"
    load_options = ("--lake", lake, "--project", PROJECT, "--dataset", dataset, "--location", "EU")
    direct_env = {"BIGQUERY_EMULATOR_HOST": fake_bigquery.url}
    with FaultProxy(fake_bigquery.url, f"/upload/bigquery/v2/projects/{PROJECT}/jobs") as proxy:
        proxy_env = {"BIGQUERY_EMULATOR_HOST": proxy.url}
        if fault in LOAD_FAILPOINTS:
            proxy_env[ENV_VARIABLE] = f"{fault}=kill"
        else:
            getattr(proxy, fault)()
        with tickerlake("load", *load_options, env=proxy_env) as child:
            if fault in {"stall", "hold_reply"}:
                assert proxy.blocked.acquire(timeout=60), "the fault must be triggered"
                child.kill()
            _, err = child.communicate(timeout=100)
        assert proxy.pending == 0
    assert child.returncode == (0 if fault == "lose_reply" else -signal.SIGKILL), err
    LakeTopic(LocalStore(lake), "t").add_segment([trade("B", n) for n in range(3)])
    with tickerlake("load", *load_options, env=direct_env) as child:
        _, err = child.communicate(timeout=100)
    assert child.returncode == 0, err
    with tickerlake(
        "audit", "--lake", lake, "--bigquery", f"{PROJECT}.{dataset}", "--json", env=direct_env
    ) as child:
        out, err = child.communicate(timeout=100)
    assert child.returncode == 0, err
    rows = sum(each["rows"] for each in json.loads(out)["bigquery"])
    assert rows == 127
    description = PROXY_FAULTS.get(fault, f"load killed at {fault}")
    record_counts(record_property, "23", description, 1, 127, rows)
