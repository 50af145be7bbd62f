"""Faults of a local folder: full disks, killed writers, missing permissions."""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tickerlake import clock
from tickerlake.errors import LinkedObject, ObjectExists, StoreError, StoreUnavailable, Transient
from tickerlake.lake.store import LocalStore, local

_KEY = "raw/t/partition=0/00000000000000000000"
_CONTENT = b"segment " * 50_000
_ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

_STOP_AT = f"""
import os, sys
from pathlib import Path
from tickerlake.lake.store import LocalStore

root, name, when = sys.argv[1:]
store = LocalStore(Path(root))
original = getattr(os, name)

def stopping(*arguments, **options):
    if when == "after":
        original(*arguments, **options)
    print("reached", flush=True)
    sys.stdin.read()

setattr(os, name, stopping)
store.create({_KEY!r}, b"segment " * 50_000, metadata={{}})
"""

_CREATE_FOR_EVER = """
import itertools, sys
from pathlib import Path
from tickerlake.lake.store import LocalStore

store = LocalStore(Path(sys.argv[1]))
for number in itertools.count():
    store.create(f"raw/{number:06d}", bytes([number % 256]) * 262_144, metadata={})
    print(number, flush=True)
"""

_LIMITED = """
import resource, sys
from pathlib import Path
from tickerlake.errors import StoreUnavailable
from tickerlake.lake.store import LocalStore

store = LocalStore(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    store.create("raw/large", b"x" * 100_000, metadata={})
except StoreUnavailable as error:
    print(error)
store.create("raw/small", b"x" * 4096, metadata={})
"""


def _temps(root: Path) -> list[str]:
    return [path.name for path in (root / ".tmp").iterdir()]


def _kill_when_reached(root: Path, name: str, when: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _STOP_AT, str(root), name, when],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=_ENVIRONMENT,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"reached\n"
        child.kill()


@pytest.mark.parametrize(
    ("name", "when", "is_stored"),
    [
        ("mkdir", "after", False),
        ("write", "before", False),
        ("write", "after", False),
        ("fsync", "after", False),
        ("link", "before", False),
        ("link", "after", True),
        ("unlink", "before", True),
    ],
)
def test_a_killed_writer_leaves_all_or_nothing(tmp_path: Path, name: str, when: str, is_stored: bool) -> None:
    _kill_when_reached(tmp_path, name, when)
    store = LocalStore(tmp_path)
    assert _temps(tmp_path) == []
    if is_stored:
        assert store.read(_KEY) == _CONTENT
        with pytest.raises(ObjectExists):
            store.create(_KEY, b"other", metadata={})
    else:
        assert list(store.list("")) == []
        store.create(_KEY, b"other", metadata={})


def test_every_object_of_a_killed_writer_is_complete(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _CREATE_FOR_EVER, str(tmp_path)], stdout=subprocess.PIPE, env=_ENVIRONMENT
    ) as child:
        assert child.stdout is not None
        for _ in range(20):
            acknowledged = int(child.stdout.readline())
        child.kill()
        acknowledged = max([acknowledged, *map(int, child.stdout.read().split())])
    store = LocalStore(tmp_path)
    infos = list(store.list("raw/"))
    assert len(infos) in (acknowledged + 1, acknowledged + 2)
    for number, info in enumerate(infos):
        assert store.read(info.key) == bytes([number % 256]) * 262_144


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(tmp_path)],
        capture_output=True,
        text=True,
        env=_ENVIRONMENT,
        check=True,
    )
    assert "No space left to write" in done.stdout
    assert "Free disk space" in done.stdout
    assert _temps(tmp_path) == []
    assert [info.key for info in LocalStore(tmp_path).list("")] == ["raw/small"]


def _failing_once(original: Callable[..., Any], code: int, *, first: bool) -> Callable[..., Any]:
    calls = iter([True])

    def call(*arguments: Any) -> Any:
        if not next(calls, False):
            return original(*arguments)
        if first:
            original(*arguments)
        raise OSError(code, os.strerror(code))

    return call


@pytest.mark.parametrize(
    ("name", "code", "kind"),
    [
        ("write", errno.ENOSPC, StoreUnavailable),
        ("fsync", errno.ENOSPC, StoreUnavailable),
        ("fsync", errno.EIO, StoreError),
        ("close", errno.EDQUOT, StoreUnavailable),
        ("open", errno.EMFILE, StoreUnavailable),
        ("open", errno.EACCES, StoreError),
        ("open", errno.EROFS, StoreError),
        ("link", errno.EACCES, StoreError),
        ("link", errno.ENOENT, StoreUnavailable),
    ],
)
def test_errors_of_every_step_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int, kind: type[Exception]
) -> None:
    store = LocalStore(tmp_path)
    store.create("raw/other", b"", metadata={})
    with monkeypatch.context() as patch:
        # a descriptor is closed even if closing it failed
        patch.setattr(os, name, _failing_once(getattr(os, name), code, first=name == "close"))
        with pytest.raises(kind) as caught:
            store.create("raw/a", b"content", metadata={})
    assert isinstance(caught.value, Transient) == (kind is StoreUnavailable)
    assert store.stat("raw/a") is None
    assert _temps(tmp_path) == []
    store.create("raw/a", b"content", metadata={})


def test_short_writes_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, bytes(data[:7])))
    store = LocalStore(tmp_path)
    store.create("a", b"0123456789" * 10, metadata={})
    assert store.read("a") == b"0123456789" * 10


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP])
def test_a_file_system_without_hard_links_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(os, "link", _failing_once(os.link, code, first=False))
    with pytest.raises(StoreError, match="hard links"):
        LocalStore(tmp_path).create("a", b"", metadata={})


def test_an_entry_created_by_another_writer_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path)
    store.create("raw/a", b"", metadata={})
    synced: list[str] = []
    fsync = os.fsync

    def recording(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs /proc to tell what a descriptor is")
    monkeypatch.setattr(os, "fsync", recording)
    with pytest.raises(ObjectExists):
        store.create("raw/a", b"", metadata={})
    assert synced[-1] == "raw"


def test_only_dead_writers_leftovers_are_removed(tmp_path: Path) -> None:
    LocalStore(tmp_path).create("a", b"", metadata={})
    host = local._HOST
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    nonce = clock.nonce()
    foreign = ["thesis.docx", f"{host}.{dead.pid}.x", f"{host}.{dead.pid}.{nonce}.docx", f"{host}.x.{nonce}"]
    remaining = [f"{host}.{os.getpid()}.{nonce}", f"elsewhere.1.{nonce}", *foreign]
    for name in (*remaining, f"{host}.{dead.pid}.{nonce}", f"elsewhere.2.{nonce}"):
        (tmp_path / ".tmp" / name).write_text("half")
    for name in (*foreign, f"elsewhere.2.{nonce}"):
        os.utime(tmp_path / ".tmp" / name, (0, 0))
    store = LocalStore(tmp_path)
    assert sorted(_temps(tmp_path)) == sorted(remaining)
    assert [info.key for info in store.list("")] == ["a"]


def test_only_files_of_ours_in_a_folder_of_ours_are_removed(tmp_path: Path) -> None:
    elsewhere, lake = tmp_path / "elsewhere", tmp_path / "lake"
    LocalStore(lake).create("a", b"", metadata={})
    elsewhere.mkdir()
    name = f"elsewhere.1.{clock.nonce()}"
    (elsewhere / name).write_text("x")
    os.utime(elsewhere / name, (0, 0))
    (lake / ".tmp" / name).symlink_to(elsewhere / name)
    (lake / ".tmp" / f"elsewhere.2.{clock.nonce()}").mkdir()
    os.utime(lake / ".tmp" / name, (0, 0), follow_symlinks=False)
    LocalStore(lake)
    assert len(_temps(lake)) == 2
    shutil.rmtree(lake / ".tmp")
    (lake / ".tmp").symlink_to(elsewhere)
    with pytest.raises(LinkedObject, match=r"\.tmp is a symbolic link"):
        LocalStore(lake)
    assert (elsewhere / name).read_text() == "x"


def test_an_unmounted_lake_is_not_an_empty_one(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "lake")
    (tmp_path / "lake" / ".tmp").rmdir()
    for call in (
        lambda: list(store.list("")),
        lambda: store.stat("a"),
        lambda: store.create("a", b"", metadata={}),
    ):
        with pytest.raises(StoreUnavailable, match="mounted"):
            call()


def test_a_concurrently_removed_folder_is_recreated(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.create("raw/t/a", b"", metadata={})
    (tmp_path / "raw/t/a").unlink()
    (tmp_path / "raw/t").rmdir()
    with pytest.raises(StoreUnavailable):
        store.create("raw/t/b", b"", metadata={})
    store.create("raw/t/b", b"", metadata={})
