from pathlib import Path

import pytest

from tickerlake.errors import StoreError, StoreUnavailable, UsageError
from tickerlake.lake.store import LocalStore, MemoryStore, open_store


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "s3://bucket/x",
        "gs://",
        "gs:///x",
        "gs://UPPER",
        "gs://a b",
        "gs://b?x",
        "file://host/x",
        "file://x",
    ],
)
def test_unsupported_uris_are_rejected(uri: str) -> None:
    with pytest.raises(UsageError):
        open_store(uri)


def test_a_file_uri_is_a_folder(tmp_path: Path) -> None:
    store = open_store(f"{tmp_path.as_uri()}/with%20space")
    assert isinstance(store, LocalStore)
    assert store.uri == str(tmp_path / "with space")


def test_a_file_is_not_a_lake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError):
        open_store(str(tmp_path / "file"))


def test_an_object_is_not_a_folder(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.create("a", b"", metadata={})
    with pytest.raises(StoreError):
        store.create("a/b", b"", metadata={})


def test_a_lost_reply_leaves_the_object() -> None:
    def lose(key: str) -> None:
        raise StoreUnavailable(f"the reply about {key} was lost")

    store = MemoryStore(before_reply=lose)
    with pytest.raises(StoreUnavailable):
        store.create("a", b"x", metadata={})
    assert store.read("a") == b"x"


def test_unnamed_memory_stores_are_separate() -> None:
    MemoryStore().create("a", b"x", metadata={})
    assert list(MemoryStore().list("")) == []
