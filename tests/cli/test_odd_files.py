"""Paths that are not readable files: each command names the path and a remedy."""

import os
import socket
from pathlib import Path

import pytest

from support.hostile_files import GOOD
from support.process import run, tickerlake


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with one path of each kind."""
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    (tmp_path / "nowhere.csv").symlink_to("none.csv")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(tmp_path / "socket.csv"))
    return tmp_path


@pytest.mark.parametrize(
    "command", [["inspect"], ["convert", "-o", "out.ndjson"]], ids=["inspect", "convert"]
)
def test_paths_that_are_not_files(folder: Path, command: list[str]) -> None:
    before = sorted(folder.iterdir())
    for name, message in {
        "loop.csv": "leads back to itself",
        "nowhere.csv": "No such file",
        "loop.csv/x.csv": "does not exist",
        "folder": "has no CSV files",
        "pipe.csv": "a device or a pipe",
        "socket.csv": "a device or a pipe",
        "/dev/null": "a device or a pipe",
        "x" * 300: "File name too long",
        "": "The name of a file is empty",
        "**x.csv": "is not a pattern",
        "https://me:secret@example.com/prices.csv?key=secret": "example.com/prices.csv is an address",
        "gs://bucket/prices.csv": "is an address, not a file",
    }.items():
        out, err = run(*command, name, exit_code=4, cwd=folder)
        assert message in out + err
        assert "→" in out + err
        assert "Traceback" not in err
        assert "secret" not in out + err
    assert sorted(folder.iterdir()) == before


def test_an_output_that_is_a_folder(folder: Path) -> None:
    (folder / "AAA.csv").write_text(GOOD)
    (folder / "loop.ndjson").symlink_to("loop.ndjson")
    for output in ("folder", ".", "folder/", "none/out.ndjson", "loop.csv", "loop.ndjson"):
        _, err = run("convert", "AAA.csv", "-o", output, "--force", exit_code=2, cwd=folder)
        assert "Traceback" not in err


def test_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/A\xff.csv"))
    path.write_text(GOOD)
    out, _ = run("inspect", path, "--json")
    assert '"source":"A\\\\xff.csv"' in out
    out, _ = run("convert", path, "--symbol", "AAA")
    assert '"source":"A\\\\xff.csv"' in out


def test_closed_streams(tmp_path: Path) -> None:
    (tmp_path / "AAA.csv").write_text(GOOD)
    for words, stream, code in (
        (["inspect", "-"], 0, 4),
        (["convert", "AAA.csv"], 1, 2),
        (["inspect", "AAA.csv"], 1, 0),
    ):
        child = tickerlake(*words, cwd=tmp_path, closed_stream=stream)
        _, err = child.communicate(timeout=60)
        assert child.returncode == code, err
        assert "Traceback" not in err


def test_inspect_does_not_advise_inspect(tmp_path: Path) -> None:
    path = tmp_path / "AAA.csv"
    path.write_text(GOOD.replace("2001-", "2001-99-"))
    out, _ = run("inspect", path, exit_code=4)
    assert "tickerlake inspect" not in out
    assert "--" in out
