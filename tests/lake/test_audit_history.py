"""The outcomes of the last audits: two per topic; an audit is valid without them."""

from pathlib import Path

import msgspec
import pytest

from lake.test_audit import SECOND, build_lake
from support.process import run
from tickerlake import clock
from tickerlake.errors import StoreError, StoreUnavailable
from tickerlake.lake.audit.history import read_latest, save_audit_records
from tickerlake.lake.audit.segments import Finding, PartitionAudit
from tickerlake.lake.store import open_store
from tickerlake.lake.store.memory import MemoryStore

RESULTS = [
    PartitionAudit("b.bars", 0, records=5),
    PartitionAudit("a.bars", 0, records=3),
    PartitionAudit("b.bars", 1, records=7, findings=[Finding("missing", "k", "m")]),
]


def test_the_newest_of_each_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    assert read_latest(store) == []
    for second in (1, 3, 2, 4):
        monkeypatch.setattr(clock, "now_ns", lambda second=second: second * 10**9)
        assert save_audit_records(store, RESULTS, deep=second == 4, compared=False) == ""
    assert len(list(store.list("state/audits/"))) == 4, "two per topic"
    first, second_ = read_latest(store)
    assert (first.topic, first.ok, first.records, first.findings) == ("a.bars", True, 3, 0)
    assert (second_.topic, second_.ok, second_.records, second_.findings) == ("b.bars", False, 12, 1)
    assert (second_.ts_ms, second_.deep, second_.compared) == (4_000, True, False)


@pytest.mark.parametrize("error", [StoreError("No permission."), StoreUnavailable("no answer")])
def test_a_failed_write_is_reported_and_a_failed_delete_is_ignored(error: Exception) -> None:
    class ReadOnly(MemoryStore):
        def create(self, *_: object, **__: object) -> None:
            raise error

    class CreateOnly(MemoryStore):
        def delete(self, key: str) -> None:
            raise error

    assert str(error) in save_audit_records(ReadOnly(), RESULTS, deep=True, compared=True)
    store = CreateOnly()
    for _ in range(4):
        assert save_audit_records(store, RESULTS, deep=True, compared=True) == ""
    assert len(read_latest(store)) == 2


def test_other_objects_are_skipped() -> None:
    store = MemoryStore()
    save_audit_records(store, RESULTS[1:2], deep=True, compared=True)
    (known,) = read_latest(store)
    record = msgspec.json.encode(known)
    for key, data in {
        "a.bars/99999999999999999999.json": b"{",
        "c.bars/00000000000000000001.json": record,  # its content names another topic
        "a.bars/readme": b"",
        "a.bars/id/partition=0/00000000000000000001": b"",  # a snapshot of a job with this name
    }.items():
        store.create(f"state/audits/{key}", data, metadata={})
    assert read_latest(store) == [known]


def test_the_command_records_its_findings(tmp_path: Path) -> None:
    store = build_lake(tmp_path)
    run("audit", "--lake", tmp_path, "--deep")
    (record,) = read_latest(store)
    assert (record.ok, record.deep, record.compared, record.records) == (True, True, False, 10)
    (tmp_path / SECOND).unlink()
    run("audit", "--lake", tmp_path, exit_code=4)
    (record,) = read_latest(open_store(str(tmp_path)))
    assert (record.ok, record.deep, record.findings) == (False, False, 1)
    (tmp_path / "state").rename(tmp_path / "gone")
    (tmp_path / "state").write_bytes(b"")  # no folder can be created here
    _, err = run("audit", "--lake", tmp_path, exit_code=4)
    assert "could not be stored in the lake" in err
    assert "in no segment" in err
