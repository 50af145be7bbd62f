"""The audit reports each kind of damage, and its object."""

import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lake.test_writer import TOPIC, records
from tickerlake.errors import LakeError
from tickerlake.lake.audit.segments import audit
from tickerlake.lake.formats import ndjson, parquet
from tickerlake.lake.segment import segment_key
from tickerlake.lake.store.local import LocalStore
from tickerlake.lake.topic import open_topic
from tickerlake.lake.writer import SegmentWriter

SECOND = segment_key("bars", 0, 4, "ndjson")


def build_lake(root: Path) -> LocalStore:
    store = LocalStore(root)
    open_topic(store, TOPIC)
    writer = SegmentWriter(store, TOPIC, 0)
    for start in (0, 4, 8):
        writer.put(records(list(range(start, start + 4))))
    return store


def rewrite_rows(path: Path, change: Callable[[bytes], bytes]) -> None:
    data = path.read_bytes()
    path.write_bytes(ndjson.encode_segment(change(gzip.decompress(data)), ndjson.decode_meta(data, "k")))


def flip_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)


def duplicate_segment(path: Path) -> None:
    meta = ndjson.decode_meta(path.read_bytes(), "k")
    assert meta.position == 4
    path.with_name(path.name.replace("04.", "06.")).write_bytes(path.read_bytes())


DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-12]),
    "flipped": flip_bit,
    "emptied": lambda path: path.write_bytes(b""),
    "doubled": duplicate_segment,
    "row_removed": lambda path: rewrite_rows(
        path, lambda lines: b"".join(lines.splitlines(keepends=True)[1:])
    ),
    "row_doubled": lambda path: rewrite_rows(path, lambda lines: lines + lines.splitlines(keepends=True)[-1]),
    "row_edited": lambda path: rewrite_rows(path, lambda lines: lines.replace(b'"id":5', b'"id":6')),
    "rows_swapped": lambda path: rewrite_rows(
        path, lambda lines: b"".join(lines.splitlines(keepends=True)[::-1])
    ),
}


def test_a_sound_lake_has_no_findings(tmp_path: Path) -> None:
    (result,) = audit(build_lake(tmp_path), deep=True)
    assert not result.findings
    assert (result.first, result.next, result.records, result.rejects, result.segments) == (0, 12, 10, 2, 3)


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_kind_of_damage_is_reported_with_its_object(tmp_path: Path, damage: str) -> None:
    store = build_lake(tmp_path)
    DAMAGES[damage](tmp_path / SECOND)
    (result,) = audit(store, deep=True)
    assert result.findings
    keys = {finding.key for finding in result.findings}
    # a missing segment is reported for the next one, a copy for itself
    assert keys & {SECOND, segment_key("bars", 0, 8, "ndjson"), segment_key("bars", 0, 6, "ndjson")}


def test_a_segment_of_another_topic_is_reported(tmp_path: Path) -> None:
    store = build_lake(tmp_path)
    meta = ndjson.decode_meta((tmp_path / SECOND).read_bytes(), SECOND)
    (tmp_path / SECOND).write_bytes(ndjson.encode_segment(b"", replace(meta, topic_id="other")))
    (result,) = audit(store)
    assert "wrong_topic" in {finding.kind for finding in result.findings}


def test_a_missing_reject_is_reported(tmp_path: Path) -> None:
    store = build_lake(tmp_path)
    next((tmp_path / "rejects").rglob("*.ndjson.gz")).unlink()
    (result,) = audit(store)
    assert [finding.kind for finding in result.findings] == ["reject_missing"]


def test_a_folder_that_is_not_a_lake_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(LakeError, match="is not a lake"):
        list(audit(LocalStore(tmp_path)))
    store = build_lake(tmp_path / "lake")
    with pytest.raises(LakeError, match="no topic trades"):
        list(audit(store, "trades"))


PARQUET = segment_key("bars", 0, 4, "parquet")
PARQUET_DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-12]),
    "emptied": lambda path: path.write_bytes(b""),
    "flipped": lambda path: path.write_bytes(with_flipped_bit(path.read_bytes(), 30)),
    "row_removed": lambda path: path.write_bytes(with_rows(path, slice(1, None))),
    "other_rows": lambda path: path.write_bytes(path.with_name(f"{0:020d}.parquet").read_bytes()),
}


def with_flipped_bit(data: bytes, at: int) -> bytes:
    return bytes([*data[:at], data[at] ^ 1, *data[at + 1 :]])


def with_rows(path: Path, rows: slice) -> bytes:
    data = path.read_bytes()
    frame, _ = parquet.decode_rows(data, "k")
    return parquet.encode_segment(frame[rows], parquet.decode_meta(data, "k"))[0]


@pytest.mark.parametrize("damage", [None, *PARQUET_DAMAGES])
def test_damaged_parquet_is_reported(tmp_path: Path, damage: str | None) -> None:
    store = LocalStore(tmp_path)
    topic = open_topic(store, replace(TOPIC, format="parquet"))
    writer = SegmentWriter(store, topic, 0)
    for start in (0, 4, 8):
        writer.put(records(list(range(start, start + 4))))
    if damage:
        PARQUET_DAMAGES[damage](tmp_path / PARQUET)
    (result,) = audit(store, deep=True)
    assert bool(result.findings) == bool(damage)
    if damage:
        assert {finding.key for finding in result.findings} & {PARQUET, segment_key("bars", 0, 8, "parquet")}
