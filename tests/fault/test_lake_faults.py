"""1 and 23: `compact` and `load`, killed at each place, with replies lost: each record is there once."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from fault.conftest import RESULT_PROPERTY
from support.bigquery import PROJECT, FakeBigQuery, fake_bigquery
from support.faultproxy import FaultProxy
from support.lakes import LakeTopic, bar, trade
from support.process import run, tickerlake
from tickerlake.failpoints import ENV_VARIABLE, FAILPOINTS
from tickerlake.lake.store.local import LocalStore

__all__ = ["fake_bigquery"]

RecordProperty = Callable[[str, object], None]


def record_result(
    record_property: RecordProperty, fault_id: str, fault: str, triggered: int, records: int, stored: int
) -> None:
    row = {"no": fault_id, "fault": fault, "injected": triggered, "struck": triggered, "records": records}
    record_property(
        RESULT_PROPERTY,
        row | {"stored": stored, "lost": max(0, records - stored), "doubled": max(0, stored - records)},
    )


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
    assert json.loads(out) == {"n": 120}, "a reader sees each record once, whenever it looks"
    LakeTopic(LocalStore(lake), "t").add_segment([trade("B", 1)])
    run("compact", "--lake", lake)
    out, _ = run("audit", "--lake", lake, "--deep", "--json")
    (curated,) = json.loads(out)["curated"]
    assert (curated["records"], curated["rows"]) == (121, 121)
    record_result(record_property, "1", f"compact killed at {failpoints}", 1, 121, curated["rows"])


LOAD_FAILPOINTS = [point for point in FAILPOINTS if point.startswith("load.")]


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
                assert proxy.blocked.acquire(timeout=60), "the fault must happen"
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
    description = (
        f"load killed at {fault}" if fault in LOAD_FAILPOINTS else f"load: {fault.replace('_', ' ')} of a job"
    )
    record_result(record_property, "23", description, 1, 127, rows)
