"""Atomic writes: a file appears complete or not at all."""

import errno
import os
from pathlib import Path

import pytest

from tickerlake.durable import atomic_write, atomic_write_bytes


def test_a_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for data in (b"old", b"new"):
        atomic_write_bytes(path, data)
        assert path.read_bytes() == data
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(IsADirectoryError), atomic_write(path) as draft:
        tmp_path.write_bytes(draft.read_bytes())
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("has_hard_links", [True, False])
def test_an_existing_file_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_hard_links: bool
) -> None:
    def fail(path: Path, _: Path) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM), str(path))

    if not has_hard_links:
        monkeypatch.setattr(Path, "hardlink_to", fail)
    path = tmp_path / "file"
    with atomic_write(path, overwrite=False) as draft:
        draft.write_bytes(b"first")
    with pytest.raises(FileExistsError), atomic_write(path, overwrite=False) as draft:
        draft.write_bytes(b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]
