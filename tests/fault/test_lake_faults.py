"""1 and 23: `compact` and `load`, killed at each place, with replies lost: each record is there once."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from fault.conftest import ROW
from support.bigquery import PROJECT, FakeBigQuery, fake_bigquery
from support.faultproxy import FaultProxy
from support.lakes import Topic, bar, trade
from support.process import run, tickerlake
from tickerlake.failpoints import POINTS, VARIABLE
from tickerlake.lake.store.local import LocalStore

__all__ = ["fake_bigquery"]

Record = Callable[[str, object], None]


def tell(record: Record, no: str, fault: str, struck: int, records: int, stored: int) -> None:
    row = {"no": no, "fault": fault, "injected": struck, "struck": struck, "records": records}
    record(
        ROW, row | {"stored": stored, "lost": max(0, records - stored), "doubled": max(0, stored - records)}
    )


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    topic = Topic(LocalStore(tmp_path / "lake"), "t")
    for day in range(6):
        topic.add([trade("A", n, day=day) for n in range(20)])
    return tmp_path / "lake"


@pytest.mark.parametrize(
    "at", [*(f"{point}=kill" for point in POINTS if point.startswith("compact.")), "compact.written=kill@3"]
)
def test_a_compaction_killed_at_a_place(lake: Path, at: str, record_property: Record) -> None:
    with tickerlake("compact", "--lake", lake, variables={VARIABLE: at}) as child:
        child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL
    out, _ = run("query", "select count(*) as n from trades", "--lake", lake, "-f", "json")
    assert json.loads(out) == {"n": 120}, "a reader sees each record once, whenever it looks"
    Topic(LocalStore(lake), "t").add([trade("B", 1)])
    run("compact", "--lake", lake)
    out, _ = run("audit", "--lake", lake, "--deep", "--json")
    (curated,) = json.loads(out)["curated"]
    assert (curated["records"], curated["rows"]) == (121, 121)
    tell(record_property, "1", f"compact killed at {at}", 1, 121, curated["rows"])


LOAD_POINTS = [point for point in POINTS if point.startswith("load.")]


@pytest.mark.full
@pytest.mark.parametrize(
    "fault",
    [
        "hold_reply",
        "load.loaded",
        *(
            pytest.param(fault, marks=pytest.mark.full)
            for fault in ("stall", "lose_reply", *LOAD_POINTS)
            if fault != "load.loaded"
        ),
    ],
)
def test_a_load_killed_or_without_a_reply(
    lake: Path, fake_bigquery: FakeBigQuery, fault: str, record_property: Record
) -> None:
    Topic(LocalStore(lake), "bars").add([bar("A", n) for n in range(4)])
    dataset = f"faults_{fault.replace('.', '_')}"
    place = ("--lake", lake, "--project", PROJECT, "--dataset", dataset, "--location", "EU")
    direct = {"BIGQUERY_EMULATOR_HOST": fake_bigquery.url}
    with FaultProxy(fake_bigquery.url, f"/upload/bigquery/v2/projects/{PROJECT}/jobs") as proxy:
        variables = {"BIGQUERY_EMULATOR_HOST": proxy.url}
        if fault in LOAD_POINTS:
            variables[VARIABLE] = f"{fault}=kill"
        else:
            getattr(proxy, fault)()
        with tickerlake("load", *place, variables=variables) as child:
            if fault in {"stall", "hold_reply"}:
                assert proxy.held.acquire(timeout=60), "the fault must happen"
                child.kill()
            _, err = child.communicate(timeout=100)
        assert proxy.pending == 0
    assert child.returncode == (0 if fault == "lose_reply" else -signal.SIGKILL), err
    Topic(LocalStore(lake), "t").add([trade("B", n) for n in range(3)])
    with tickerlake("load", *place, variables=direct) as child:
        _, err = child.communicate(timeout=100)
    assert child.returncode == 0, err
    with tickerlake(
        "audit", "--lake", lake, "--bigquery", f"{PROJECT}.{dataset}", "--json", variables=direct
    ) as child:
        out, err = child.communicate(timeout=100)
    assert child.returncode == 0, err
    rows = sum(each["rows"] for each in json.loads(out)["bigquery"])
    assert rows == 127
    what = f"load killed at {fault}" if fault in LOAD_POINTS else f"load: {fault.replace('_', ' ')} of a job"
    tell(record_property, "23", what, 1, 127, rows)
