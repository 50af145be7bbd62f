"""The audit finds each damage, and says where it is."""

import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lake.test_writer import TOPIC, records
from tickerlake.errors import LakeError
from tickerlake.lake import rows
from tickerlake.lake.audit import audit
from tickerlake.lake.segment import segment_key
from tickerlake.lake.store.local import LocalStore
from tickerlake.lake.writer import PartitionWriter, open_topic

SECOND = segment_key("bars", 0, 4, "ndjson")


def lake(root: Path) -> LocalStore:
    store = LocalStore(root)
    open_topic(store, TOPIC)
    writer = PartitionWriter(store, TOPIC, 0)
    for start in (0, 4, 8):
        writer.put(records(list(range(start, start + 4))))
    return store


def repack(path: Path, change: Callable[[bytes], bytes]) -> None:
    data = path.read_bytes()
    path.write_bytes(rows.pack(change(gzip.decompress(data)), rows.unpack_meta(data, "k")))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)


def double(path: Path) -> None:
    writer = rows.unpack_meta(path.read_bytes(), "k")
    assert writer.position == 4
    path.with_name(path.name.replace("04.", "06.")).write_bytes(path.read_bytes())


DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-12]),
    "flipped": flip,
    "emptied": lambda path: path.write_bytes(b""),
    "doubled": double,
    "row_removed": lambda path: repack(path, lambda lines: b"".join(lines.splitlines(keepends=True)[1:])),
    "row_doubled": lambda path: repack(path, lambda lines: lines + lines.splitlines(keepends=True)[-1]),
    "row_edited": lambda path: repack(path, lambda lines: lines.replace(b'"id":5', b'"id":6')),
    "rows_swapped": lambda path: repack(path, lambda lines: b"".join(lines.splitlines(keepends=True)[::-1])),
}


def test_a_sound_lake_has_no_findings(tmp_path: Path) -> None:
    (result,) = audit(lake(tmp_path), deep=True)
    assert not result.findings
    assert (result.first, result.next, result.records, result.rejects, result.segments) == (0, 12, 10, 2, 3)


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_damage_is_found_and_placed(tmp_path: Path, damage: str) -> None:
    store = lake(tmp_path)
    DAMAGES[damage](tmp_path / SECOND)
    (result,) = audit(store, deep=True)
    assert result.findings
    where = {finding.key for finding in result.findings}
    # a missing segment shows at the one after it, a copy at its own name
    assert where & {SECOND, segment_key("bars", 0, 8, "ndjson"), segment_key("bars", 0, 6, "ndjson")}


def test_a_foreign_segment_is_found(tmp_path: Path) -> None:
    store = lake(tmp_path)
    meta = rows.unpack_meta((tmp_path / SECOND).read_bytes(), SECOND)
    (tmp_path / SECOND).write_bytes(rows.pack(b"", replace(meta, topic_id="other")))
    (result,) = audit(store)
    assert "foreign" in {finding.kind for finding in result.findings}


def test_a_lost_reject_is_found(tmp_path: Path) -> None:
    store = lake(tmp_path)
    next((tmp_path / "rejects").rglob("*.json")).unlink()
    (result,) = audit(store)
    assert [finding.kind for finding in result.findings] == ["reject_missing"]


def test_a_folder_that_is_no_lake_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(LakeError, match="no lake"):
        list(audit(LocalStore(tmp_path)))
    store = lake(tmp_path / "lake")
    with pytest.raises(LakeError, match="no topic trades"):
        list(audit(store, "trades"))
