"""Topics and partitions are listed by their folders, however many segments they contain."""

import re
import secrets
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickerlake.lake.reader import partitions, topics
from tickerlake.lake.store import Store, open_store
from tickerlake.lake.topic import topic_key

NAMES = ["a", "a-b", "a.b", "a0", "a.bars", "ab", "b"]


def create_empty_objects(store: Store, keys: list[str]) -> None:
    for key in keys:
        store.create(key, b"", metadata={})


@settings(max_examples=100)
@given(
    complete=st.sets(st.sampled_from(NAMES)),
    parts=st.dictionaries(st.sampled_from(NAMES), st.sets(st.sampled_from([0, 1, 2, 10, 11, 100]))),
    prefix=st.sampled_from(["", "a", "a.", "a-", "c"]),
)
def test_topics_and_partitions_are_listed(
    complete: set[str], parts: dict[str, set[int]], prefix: str
) -> None:
    store = open_store(f"memory://{secrets.token_hex(8)}")
    create_empty_objects(store, [topic_key(name) for name in complete])
    for name, numbers in parts.items():
        create_empty_objects(
            store, [f"raw/{name}/partition={n}/{k:020d}.ndjson.gz" for n in numbers for k in range(3)]
        )
    listed = [info.key for info in store.list("raw/")]
    described = {match[1] for key in listed if (match := re.fullmatch(r"raw/([^/]+)/_topic\.json", key))}
    assert topics(store) == sorted(described)
    assert topics(store, prefix) == sorted(name for name in described if name.startswith(prefix))
    for name in NAMES:
        assert partitions(store, name) == sorted(parts.get(name, set()))


@pytest.mark.parametrize("kind", ["memory", "folder"])
def test_foreign_objects_hide_nothing(kind: str, tmp_path: Path) -> None:
    store = open_store(str(tmp_path) if kind == "folder" else f"memory://{secrets.token_hex(8)}")
    create_empty_objects(
        store, ["raw/b", "raw/b-c/_topic.json", "raw/b0/_topic.json", "raw/x/partition=1x/o"]
    )
    create_empty_objects(store, ["raw/b0/partition=1", "raw/b0/partition=1-2/o", "raw/b0/partition=10/o"])
    assert topics(store) == ["b-c", "b0"]
    assert partitions(store, "b0") == [10]
    assert partitions(store, "x") == []


def test_their_segments_are_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(f"memory://{secrets.token_hex(8)}")
    create_empty_objects(
        store, [topic_key("a"), *(f"raw/a/partition=0/{k:020d}.ndjson.gz" for k in range(500))]
    )
    seen = []
    original_list = type(store).list

    def counted(self: Store, prefix: str, start_at: str = "") -> object:
        for info in original_list(self, prefix, start_at):
            seen.append(info.key)
            yield info

    monkeypatch.setattr(type(store), "list", counted)
    assert (topics(store), partitions(store, "a")) == (["a"], [0])
    assert len(seen) <= 4
