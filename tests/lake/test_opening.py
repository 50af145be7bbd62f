"""Reading a lake changes nothing in it, follows no link, and tells a lake from a folder that is none."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import tickerlake
from lake.test_compact import compact
from support.gcs import fake_gcs
from support.lake_builder import LakeTopic, bar, trade
from support.process import run
from tickerlake.errors import LinkedObject, ObjectMissing, StoreUnavailable, TickerlakeError, UsageError
from tickerlake.lake.audit.segments import audit
from tickerlake.lake.opening import open_lake_for_reading, open_lake_for_writing, require_lake
from tickerlake.lake.store import LocalReader, LocalStore, MemoryStore, ObjectInfo, open_store

__all__ = ["fake_gcs"]

SEGMENT = "raw/t/partition=0/00000000000000000000.ndjson.gz"
CHANGING = (
    "mkdir", "rmdir", "unlink", "remove", "rename", "replace", "link", "symlink", "fsync", "fdatasync",
    "utime", "truncate", "chmod",
)  # fmt: skip


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    store = LocalStore(tmp_path / "lake")
    topic = LakeTopic(store, "t")
    topic.add_segment([bar("A", minute) for minute in range(3)])
    compact(store, tmp_path)
    topic.add_segment([bar("B", 0)])
    LakeTopic(store, "x").add_segment([trade("A", 1)])
    return tmp_path / "lake"


@pytest.fixture
def read_only_lake(lake: Path, tmp_path: Path) -> Iterator[Path]:
    """The lake on a read-only mount."""
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    done = subprocess.run(["mount", "--bind", lake, mounted], check=False, capture_output=True)
    if done.returncode:
        pytest.skip("only root can mount")
    subprocess.run(["mount", "-o", "remount,bind,ro", mounted], check=True)
    try:
        yield mounted
    finally:
        subprocess.run(["umount", mounted], check=True)


def tree(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Return size, modification time and inode of everything in a folder."""
    stats = {str(path.relative_to(folder)): path.lstat() for path in (folder, *folder.rglob("*"))}
    return {name: (each.st_size, each.st_mtime_ns, each.st_ino) for name, each in stats.items()}


def test_reading_calls_nothing_that_changes_files(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def recorded(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *arguments: Any, **options: Any) -> Any:
            is_path = isinstance(path, str | os.PathLike)
            where = str(path if is_path else Path(f"/proc/self/fd/{path}").readlink())
            if where.startswith(str(lake)):
                calls.append(f"{name} {path}")
            return original(path, *arguments, **options)

        return call

    before = tree(lake)
    for name in CHANGING:
        monkeypatch.setattr(os, name, recorded(name, getattr(os, name)))
    with tickerlake.open_lake(str(lake)) as opened:
        assert opened.bars().height == 4
        assert opened.sql("select count(*) from trades").item() == 1
    assert [result.findings for result in audit(open_lake_for_reading(str(lake)), deep=True)] == [[], []]
    assert calls == []
    assert tree(lake) == before
    # the recording works
    LocalStore(lake)
    assert calls


@pytest.mark.parametrize("without_temp", [False, True])
def test_commands_that_read_work_on_a_read_only_mount(
    lake: Path, read_only_lake: Path, without_temp: bool
) -> None:
    if without_temp:
        shutil.rmtree(lake / ".tmp")
    before = tree(lake)
    out, err = run("query", "select count(*) from bars", "--lake", read_only_lake, "-f", "json")
    assert (out, err) == ('{"count_star()":4}\n', "")
    out, err = run("audit", "--lake", read_only_lake, "--deep", "--no-record")
    assert err == "every record is in the lake exactly once\n"
    out, err = run("audit", "--lake", read_only_lake)
    assert "warning: the outcome of the audit could not be stored" in err
    out, err = run("compact", "--lake", read_only_lake, exit_code=2)
    assert "Read-only file system" in err
    out, err = run("doctor", "--lake", read_only_lake, exit_code=2)
    assert "Read-only file system" in out
    assert tree(lake) == before


NO_LAKE = [
    ("query", "select 1"),
    ("compact",),
    ("audit",),
    ("audit", "--repair", "-b", "127.0.0.1:1"),
    ("serve", "--port", "0"),
    ("load", "--project", "p", "--dataset", "d"),
    ("load", "--project", "p", "--dataset", "d", "--external"),
]


@pytest.mark.parametrize("arguments", NO_LAKE, ids=" ".join)
def test_every_command_says_that_there_is_no_lake(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "file").write_text("x")
    for name in ("nowhere", "file", "file/lake"):
        _, err = run(*arguments, "--lake", name, exit_code=2, cwd=tmp_path)
        assert err == (
            f"tickerlake: There is no lake at {tmp_path}/{name}.\n"
            "  → Check --lake; `tickerlake sink` creates a lake.\n"
        )
    assert sorted(tree(tmp_path)) == [".", "file"]


def test_sink_leaves_other_folders_alone(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/1.jpg").write_text("x")
    _, err = run("sink", "-t", "t", "--lake", "photos", "-b", "127.0.0.1:1", exit_code=2, cwd=tmp_path)
    assert f"{tmp_path}/photos is not a lake: it holds 1.jpg." in err
    assert sorted(tree(tmp_path)) == [".", "photos", "photos/1.jpg"]


def test_doctor_creates_no_lake(tmp_path: Path) -> None:
    out, _ = run("doctor", "--lake", "nowhere", cwd=tmp_path)
    assert f"there is no lake at {tmp_path}/nowhere yet" in out
    assert sorted(tree(tmp_path)) == ["."]


@pytest.mark.parametrize("name", ["lake/raw", "lake/raw/t/deep/er", "lak", "."])
def test_a_lake_nearby_is_named(
    lake: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for opening in (open_lake_for_reading, open_lake_for_writing, tickerlake.open_lake):
        with pytest.raises(UsageError) as caught:
            opening(name)
        assert caught.value.message == f"There is no lake at {tmp_path / name}."
        assert caught.value.hint == f"There is one at {lake}."
    assert not (tmp_path / "lak").exists()


def test_a_lake_of_a_bucket_is_named(fake_gcs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", fake_gcs.url)
    fake_gcs.create_bucket("near-by")
    LakeTopic(open_store("gs://near-by/team/lake"), "t").add_segment([bar("A", 0)])
    open_lake_for_reading("gs://near-by/team/lake").close()
    for wrong in ("gs://near-by/team", "gs://near-by/team/lake/raw/t"):
        with pytest.raises(UsageError) as caught:
            open_lake_for_reading(wrong)
        assert caught.value.hint == "There is one at gs://near-by/team/lake."
    with pytest.raises(UsageError, match="creates a lake"):
        open_lake_for_reading("gs://near-by")


class RecordingStore(MemoryStore):
    """A store that notes how it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def read(self, key: str) -> bytes:
        self.calls.append(f"read {key}")
        return super().read(key)

    def list(self, prefix: str, start_at: str = "") -> Iterator[ObjectInfo]:
        self.calls.append(f"list {prefix}")
        return super().list(prefix, start_at)


def test_opening_takes_one_read() -> None:
    store = RecordingStore()
    with pytest.raises(UsageError):
        require_lake(store)
    assert store.calls == ["read _lake.json", "list raw/"]
    LakeTopic(store, "t").add_segment([bar("A", 0)])
    store.calls.clear()
    require_lake(store)
    assert store.calls == ["read _lake.json"]


def move_out(path: Path, elsewhere: Path) -> None:
    """Move a file or folder out of the lake, and leave a link to it."""
    elsewhere.mkdir(exist_ok=True)
    path.symlink_to(shutil.move(path, elsewhere / path.name))


@pytest.mark.parametrize("deep", [False, True])
def test_a_segment_that_is_a_link_is_a_finding(lake: Path, tmp_path: Path, deep: bool) -> None:
    move_out(lake / SEGMENT, tmp_path / "elsewhere")
    results = {result.topic: result for result in audit(open_lake_for_reading(str(lake)), deep=deep)}
    finding = results["t"].findings[0]
    assert (finding.kind, finding.key) == ("unreadable", SEGMENT)
    assert "is a symbolic link, which is not followed" in finding.message
    assert results["x"].findings == []
    _, err = run("audit", "--lake", lake, exit_code=4)
    assert "is a symbolic link" in err


@pytest.mark.parametrize(
    "name", ["raw/t/partition=0", "raw/t", "curated/bars", "curated", "raw", "_lake.json"]
)
def test_links_out_of_the_lake_are_not_followed(lake: Path, tmp_path: Path, name: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    move_out(lake / name, elsewhere)
    before = tree(elsewhere)
    out, err = run("audit", "--lake", lake, exit_code=4)
    assert re.search(rf"{name}:? is a symbolic link", out + err)
    with suppress(TickerlakeError), tickerlake.open_lake(str(lake)) as opened:
        assert opened.bars().height == 3  # those that are compacted
    if name.startswith("curated"):
        run("compact", "--lake", lake, exit_code=4)
    else:
        with pytest.raises(LinkedObject):
            LakeTopic(LocalStore(lake), "t").add_segment([bar("A", 9)])
    assert tree(elsewhere) == before


def test_what_is_not_a_file_does_not_stop_a_reader(lake: Path) -> None:
    (lake / "raw/pipe").unlink(missing_ok=True)
    os.mkfifo(lake / "raw/pipe")
    (lake / "raw/loop").symlink_to("loop")
    reader = LocalReader(lake)
    with pytest.raises(ObjectMissing):
        reader.read("raw/pipe")
    with pytest.raises(LinkedObject):
        reader.read_range("raw/loop", 0, 1)
    with pytest.raises(LinkedObject):
        reader.stat("raw/loop")
    assert "raw/pipe" not in [info.key for info in reader.list("raw/")]
    with tickerlake.open_lake(str(lake)) as opened:
        assert opened.bars().height == 4


def test_a_lake_behind_a_link_is_read(lake: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(lake)
    with tickerlake.open_lake(tmp_path / "link") as opened:
        assert opened.bars().height == 4


def test_a_lake_that_is_unmounted_while_it_is_read(lake: Path) -> None:
    for missing in (".tmp", "_lake.json"):
        reader = LocalReader(lake)
        shutil.move(lake / missing, lake.parent / missing)
        with pytest.raises(StoreUnavailable, match="mounted"):
            list(reader.list(""))
