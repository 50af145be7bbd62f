import hashlib
import os
import threading
from pathlib import Path

import pytest

from tickerlake.errors import SetupError
from tickerlake.kafka.embedded import jars
from tickerlake.kafka.embedded.jars import Jar


def jar_content(name: str) -> bytes:
    return name.encode() * 100


class Repository:
    """A fake Maven repository that counts requests."""

    def __init__(self) -> None:
        self.contents: dict[str, list[bytes]] = {}
        self.requested: list[str] = []
        self.is_down = False
        self._lock = threading.Lock()

    def resolve(self, jar: Jar, temp_dir: Path, _use_local_repo: bool) -> Path:
        with self._lock:
            self.requested.append(jar.artifact)
            if self.is_down:
                raise OSError("no route to host\nand more")
            queue = self.contents.get(jar.artifact, [])
            body = queue.pop(0) if queue else jar_content(jar.artifact)
        path = temp_dir / jar.filename
        path.write_bytes(body)
        return path


NAMES = [f"part{number}" for number in range(12)]


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    lock = tmp_path / "kafka.lock"
    sums = {name: hashlib.sha256(jar_content(name)).hexdigest() for name in [*NAMES, "tool"]}
    lines = ["# written by a test", *(f"org.example:{name}:1.0 {sums[name]}" for name in NAMES)]
    lock.write_text("\n".join([*lines, jars.TOOLS_MARKER, f"org.example:tool:1.0 {sums['tool']}\n"]))
    monkeypatch.setattr(jars, "LOCK_FILE", lock)
    monkeypatch.setenv("TICKERLAKE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / f"kafka-{jars.KAFKA_VERSION}"


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> Repository:
    fake = Repository()
    monkeypatch.setattr(jars, "_resolve", fake.resolve)
    return fake


def test_the_lock_file_is_sound() -> None:
    pinned = jars.pinned_jars(tools=True)
    assert len({jar.filename for jar in pinned}) == len(pinned)
    assert all(len(jar.sha256) == 64 for jar in pinned)
    assert {"kafka_2.13", "kafka-clients", "log4j-slf4j-impl"} <= {jar.artifact for jar in jars.pinned_jars()}
    assert {jar.artifact for jar in pinned} - {jar.artifact for jar in jars.pinned_jars()} == {"kafka-tools"}


def test_fetches_once_and_in_the_order_of_the_lock(folder: Path, repository: Repository) -> None:
    lines: list[str] = []
    first = jars.classpath(progress=lines.append)
    assert first == [folder / f"{name}-1.0.jar" for name in NAMES]
    assert lines[0].endswith("12 jars, once")
    assert jars.classpath(progress=lines.append) == first
    assert sorted(repository.requested) == sorted(NAMES)
    assert not list(folder.glob(".*"))


def test_tools_are_added_to_the_class_path(folder: Path, repository: Repository) -> None:
    jars.classpath()
    assert jars.classpath(tools=True)[-1] == folder / "tool-1.0.jar"
    assert repository.requested[-1] == "tool"


@pytest.mark.parametrize("damage", [b"", b"part3" * 7, b"x" * 500])
def test_a_damaged_jar_recovers(folder: Path, repository: Repository, damage: bytes) -> None:
    jars.classpath()
    repository.requested.clear()
    (folder / "part3-1.0.jar").write_bytes(damage)
    jars.classpath()
    assert repository.requested == ["part3"]
    assert (folder / "part3-1.0.jar").read_bytes() == jar_content("part3")


def test_without_its_stamp_nothing_is_fetched_again(folder: Path, repository: Repository) -> None:
    jars.classpath()
    (folder / "stamp.json").write_text("{half")
    repository.requested.clear()
    jars.classpath()
    assert repository.requested == []


def test_one_wrong_download_is_retried(folder: Path, repository: Repository) -> None:
    repository.contents["part1"] = [b"half"]
    jars.classpath()
    assert repository.requested.count("part1") == 2
    assert (folder / "part1-1.0.jar").read_bytes() == jar_content("part1")


def test_a_wrong_jar_is_rejected_by_name(folder: Path, repository: Repository) -> None:
    repository.contents["part1"] = [b"wrong", b"wrong"]
    expected = hashlib.sha256(jar_content("part1")).hexdigest()
    with pytest.raises(SetupError) as caught:
        jars.classpath()
    for part in (str(folder / "part1-1.0.jar"), expected, hashlib.sha256(b"wrong").hexdigest()):
        assert part in caught.value.message
    assert not (folder / "part1-1.0.jar").exists()


def test_without_a_network_the_error_explains_manual_download(folder: Path, repository: Repository) -> None:
    folder.mkdir(parents=True)
    by_hand = folder / "part0-1.0.jar"
    by_hand.write_bytes(jar_content("part0"))
    repository.is_down = True
    with pytest.raises(SetupError, match=r"11 jars .* cannot be downloaded: no route to host") as caught:
        jars.classpath()
    assert str(folder) in caught.value.hint
    assert caught.value.hint.count("org.example:") == 11
    for name in NAMES:
        (folder / f"{name}-1.0.jar").write_bytes(jar_content(name))
    assert len(jars.classpath()) == 12


def test_an_unusable_cache_folder_is_named(
    folder: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TICKERLAKE_CACHE", str(tmp_path / "file"))
    with pytest.raises(SetupError, match="cannot be used") as caught:
        jars.classpath()
    assert "TICKERLAKE_CACHE" in caught.value.hint


def test_a_jar_that_was_damaged_in_place_is_replaced(folder: Path, repository: Repository) -> None:
    jars.classpath()
    damaged = folder / "part3-1.0.jar"
    times = damaged.stat()
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    os.utime(damaged, ns=(times.st_atime_ns, times.st_mtime_ns))
    repository.requested.clear()
    jars.classpath()
    assert repository.requested == [], "neither its size nor its time has changed"
    assert jars.repair_cache()
    assert repository.requested == ["part3"]
    assert damaged.read_bytes() == jar_content("part3")
    assert not jars.repair_cache()
