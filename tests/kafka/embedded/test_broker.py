import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from tickerlake.errors import SetupError, UsageError
from tickerlake.kafka.embedded import jars, launch
from tickerlake.kafka.embedded.broker import (
    EmbeddedBroker,
    broker_status,
    start_broker,
    stop_broker,
    stop_temporary_broker,
)
from tickerlake.kafka.embedded.files import BrokerState, Layout
from tickerlake.kafka.embedded.java import Java
from tickerlake.ports import free_port

TOPIC = "written"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(tmp_path / "broker", free_port(), heap="256m") as running:
        yield running


def produce(servers: str, value: bytes) -> None:
    admin = AdminClient({"bootstrap.servers": servers})
    admin.create_topics([NewTopic(TOPIC, 1, 1)])[TOPIC].result(30)
    errors: list[object] = []
    producer = Producer({"bootstrap.servers": servers, "enable.idempotence": True})
    producer.produce(TOPIC, value, on_delivery=lambda error, _message: errors.append(error))
    producer.flush(30)
    assert errors == [None]


def consume(servers: str) -> bytes | None:
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "test", "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition(TOPIC, 0, 0)])
        message = consumer.poll(30)
        assert message is not None
        assert message.error() is None
        return message.value()
    finally:
        consumer.close()


def test_survives_a_crash_on_the_same_port(broker: EmbeddedBroker) -> None:
    before = broker.info
    produce(broker.bootstrap_servers, b"still there")
    broker.kill()
    assert broker_status(before.data_dir) is None
    after = broker.start()
    assert (after.port, after.data_dir) == (before.port, before.data_dir)
    assert after.pid != before.pid
    assert consume(broker.bootstrap_servers) == b"still there"


def test_a_second_start_returns_the_same_broker(broker: EmbeddedBroker) -> None:
    folder = broker.info.data_dir
    assert start_broker(folder) == broker.info
    assert start_broker(folder, broker.info.port) == broker.info
    assert broker_status(folder) == broker.info
    with pytest.raises(UsageError, match="already runs on port"):
        start_broker(folder, free_port())


def test_stop_leaves_nothing_running(broker: EmbeddedBroker) -> None:
    info = broker.info
    assert stop_broker(info.data_dir)
    with pytest.raises(ProcessLookupError):
        os.kill(info.pid, 0)
    assert broker_status(info.data_dir) is None
    assert not stop_broker(info.data_dir)


def test_a_paused_broker_can_be_resumed_and_stopped(broker: EmbeddedBroker) -> None:
    broker.pause()
    assert broker_status(broker.info.data_dir) == broker.info
    broker.resume()
    produce(broker.bootstrap_servers, b"after a pause")
    broker.pause()
    assert stop_broker(broker.info.data_dir)
    assert broker_status(broker.info.data_dir) is None


def test_another_process_sees_and_stops_it(broker: EmbeddedBroker) -> None:
    code = (
        "import sys, pathlib, tickerlake.kafka.embedded.broker as broker;"
        "print(broker.stop_broker(pathlib.Path(sys.argv[1])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(broker.info.data_dir)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "True"
    assert broker_status(broker.info.data_dir) is None


def test_a_broken_archive_does_not_break_a_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "classes.jsa"
    broken.write_bytes(b"\xff" * 100_000)
    original = launch.ClassArchive.__init__

    def init(self: launch.ClassArchive, java: Java) -> None:
        original(self, java)
        self.path = broken

    monkeypatch.setattr(launch.ClassArchive, "__init__", init)
    with EmbeddedBroker(tmp_path / "broker", free_port()) as running:
        produce(running.bootstrap_servers, b"x")


def test_a_broker_that_dies_shows_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"exited during startup[\s\S]*process\.roles") as caught:
        start_broker(tmp_path, free_port(), properties={"process.roles": "nonsense"})
    assert str(tmp_path / "broker.log") in caught.value.hint
    assert broker_status(tmp_path) is None


def test_a_port_in_use_is_rejected(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(UsageError, match=rf"Port {port} is in use by process {os.getpid()} \(") as caught:
            start_broker(tmp_path, port)
    assert "--port" in caught.value.hint


def test_port_0_is_any_free_port(tmp_path: Path) -> None:
    with EmbeddedBroker(tmp_path / "broker", 0, heap="256m") as broker:
        assert broker.info.port > 1024
        produce(broker.bootstrap_servers, b"x")
        assert start_broker(tmp_path / "broker", 0) == broker.info


def test_an_occupied_port_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        monkeypatch.setattr("tickerlake.kafka.embedded.broker._choose_port", lambda *_: port)
        with EmbeddedBroker(tmp_path / "broker", heap="256m") as broker:
            assert broker.info.port != port
            produce(broker.bootstrap_servers, b"x")


def test_the_port_of_the_controller_is_replaced_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ports = iter([listener.getsockname()[1]])
        monkeypatch.setattr(
            "tickerlake.kafka.embedded.files.free_port", lambda: next(ports, None) or free_port()
        )
        with EmbeddedBroker(tmp_path / "broker", chosen := free_port(), heap="256m") as broker:
            assert broker.info.port == chosen


def test_a_named_port_that_is_lost_before_the_start_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        monkeypatch.setattr("tickerlake.kafka.embedded.broker._choose_port", lambda *_: port)
        with pytest.raises(UsageError, match=f"Port {port} is in use by process"):
            start_broker(tmp_path / "broker", port, heap="256m")


def test_only_temporary_brokers_are_stopped_as_such(tmp_path: Path) -> None:
    try:
        first = start_broker(tmp_path, free_port(), heap="256m", temporary=True)
        assert start_broker(tmp_path, temporary=True) == first
        assert stop_temporary_broker(tmp_path)
        assert broker_status(tmp_path) is None
        kept = start_broker(tmp_path, heap="256m", temporary=True)
        assert start_broker(tmp_path) == kept, "who asks for a broker keeps it"
        assert not stop_temporary_broker(tmp_path)
        assert broker_status(tmp_path) == kept
    finally:
        assert stop_broker(tmp_path)


def test_a_broker_whose_starter_was_killed_is_replaced(broker: EmbeddedBroker) -> None:
    before = broker.info
    Layout(before.data_dir).state.unlink()
    assert broker.start().pid != before.pid
    with pytest.raises(ProcessLookupError):
        os.kill(before.pid, 0)


def test_java_options_of_other_programs_are_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"):
        monkeypatch.setenv(name, "-XX:+NoSuchOption")
    with EmbeddedBroker(tmp_path / "broker", free_port(), heap="256m") as running:
        produce(running.bootstrap_servers, b"x")


# --- neighbours on the same machine


def modes(folder: Path) -> dict[str, int]:
    """Return what groups and others may do with the entries of a folder, if anything."""
    accessible = {path: path.lstat().st_mode & 0o077 for path in (folder, *folder.rglob("*"))}
    return {str(path.relative_to(folder)): mode for path, mode in accessible.items() if mode}


def test_other_users_cannot_read_the_data(tmp_path: Path) -> None:
    folder = tmp_path / "broker"
    with EmbeddedBroker(folder, free_port(), heap="256m") as running:
        produce(running.bootstrap_servers, b"private")
        assert modes(folder) == {}
        running.stop()
        # as earlier versions have left it
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        running.start()
        assert modes(folder) == {}
        assert consume(running.bootstrap_servers) == b"private"


def test_a_folder_with_other_files_stays_accessible(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    tmp_path.chmod(0o755)
    (tmp_path / "thesis.txt").chmod(0o644)
    with EmbeddedBroker(tmp_path, free_port(), heap="256m"):
        assert set(modes(tmp_path)) == {".", "thesis.txt"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with pytest.raises(SetupError, match=r"belongs to another user \(uid 0\)"):
        start_broker(tmp_path)


@pytest.mark.parametrize("topic_config", [{}, {"message.timestamp.after.max.ms": str(2**63 - 1)}])
def test_times_far_in_the_future_are_rejected(broker: EmbeddedBroker, topic_config: dict[str, str]) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    admin.create_topics([NewTopic(TOPIC, 1, 1, config=topic_config)])[TOPIC].result(30)
    errors: list[object] = []
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    now_ms = time.time_ns() // 10**6
    for timestamp_ms in (now_ms - 10**12, now_ms + 3_600_000, 253_402_300_799_000):
        producer.produce(
            TOPIC, b"x", timestamp=timestamp_ms, on_delivery=lambda error, _: errors.append(error)
        )
        producer.flush(30)
    assert [error is None for error in errors] == [True, True, bool(topic_config)]


def test_a_start_waits_for_leaders() -> None:
    def metadata(*leaders: int) -> SimpleNamespace:
        partitions = {number: SimpleNamespace(leader=leader) for number, leader in enumerate(leaders)}
        return SimpleNamespace(topics={TOPIC: SimpleNamespace(partitions=partitions)})

    assert launch._all_have_leaders(metadata(1, 1))
    assert not launch._all_have_leaders(metadata(1, -1))


@pytest.mark.parametrize(
    ("logged", "cause"),
    [
        ("java.io.IOException: No space left on device", "its disk is full"),
        ("java.nio.file.AccessDeniedException: /x/logs", "it may not write its files"),
        ("java.nio.file.FileSystemException: /x/logs: Read-only file system", "its disk is read-only"),
        ("Could not reserve enough space for 524288KB object heap", "there is not enough memory"),
    ],
)
def test_a_start_that_failed_names_the_cause_in_a_sentence(tmp_path: Path, logged: str, cause: str) -> None:
    layout = Layout(tmp_path)
    layout.log.write_text("Permission denied, in the log of an earlier start\n")
    start = layout.log.stat().st_size
    with layout.log.open("a") as log:
        log.write(f"[2026-01-01] ERROR Exiting Kafka.\n{logged}\n\tat kafka.Kafka.main\n")
    error = launch._exit_error(layout, start)
    assert error.message == f"The broker exited during startup: {cause} ({tmp_path})."
    assert error.has_known_cause
    assert not error.port_taken


def test_an_unusable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match="cannot be used"):
        start_broker(tmp_path / "file")


def test_a_folder_behind_a_loop_of_links_is_named(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    folder = tmp_path / "loop" / "broker"
    with pytest.raises(SetupError, match=r"cannot be used: .*symbolic links"):
        start_broker(folder, 0)
    assert broker_status(folder) is None
    assert not stop_broker(folder)


def test_the_pid_of_another_process_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        BrokerState(free_port(), other.pid).save(Layout(tmp_path))
        assert broker_status(tmp_path) is None
        assert not stop_broker(tmp_path)
        assert other.poll() is None
        other.communicate(b"\n")
        assert other.returncode == 0


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"pid": "x", "port": null, "training": ""}',
        b'{"pid": true, "port": 9092, "training": ""}',
        b'{"pid": -1, "port": 9092, "training": ""}',
        b'{"pid": 1, "port": 70000, "training": ""}',
        b'{"pid": 1, "port": 9092, "training": ["x"]}',
        b'{"pid": 1' + b"0" * 9000 + b', "port": 9092, "training": ""}',
        b'{"a":' * 700 + b"1" + b"}" * 700,
        b"[" * 100_000,
        b'{"pid": 1, "port": 9092, "training": "' + b"x" * 100_000 + b'"}',
    ],
)
def test_a_damaged_state_file_means_not_running(tmp_path: Path, content: bytes) -> None:
    Layout(tmp_path).state.write_bytes(content)
    assert broker_status(tmp_path) is None
    assert not stop_broker(tmp_path)


def test_a_state_that_is_no_file_means_not_running(tmp_path: Path) -> None:
    os.mkfifo(Layout(tmp_path).state)
    assert broker_status(tmp_path) is None


@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe"])
def test_the_lock_is_a_file_of_the_folder(tmp_path: Path, kind: str) -> None:
    lock, other = Layout(tmp_path).lock, tmp_path / "other"
    if kind == "pipe":
        os.mkfifo(lock)
    else:
        lock.symlink_to(other)
    if kind == "link":
        other.write_bytes(b"mine")
    with pytest.raises(SetupError, match=r"start\.lock cannot be locked"):
        stop_broker(tmp_path)
    assert other.exists() == (kind == "link")


ARCHIVE = "classes-0123456789abcdef.jsa"


def archive_of(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Layout, Path]:
    """Return a data folder whose JVM has written an archive, and an empty cache."""
    layout, cache = Layout(folder / "data"), folder / "cache"
    layout.scratch.mkdir(parents=True)
    cache.mkdir()
    (layout.scratch / "classes.jsa").write_bytes(b"classes")
    monkeypatch.setattr(jars, "cache_dir", lambda: cache)
    return layout, cache


@pytest.mark.parametrize(("exited_cleanly", "expected"), [(True, b"classes"), (False, b"")])
def test_an_archive_is_saved_only_if_the_jvm_finished_it(
    tmp_path: Path, exited_cleanly: bool, expected: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, cache = archive_of(tmp_path, monkeypatch)
    launch.save_archive(layout, ARCHIVE, exited_cleanly)
    launch.save_archive(layout, "", True)
    assert [each.name for each in cache.iterdir()] == [ARCHIVE]
    assert (cache / ARCHIVE).read_bytes() == expected


@pytest.mark.parametrize(
    "training",
    ["/etc/passwd\n{target}", "{target}", "../x.jsa", "classes-0.jsa", f"{ARCHIVE}\n", f"x/{ARCHIVE}"],
)
def test_a_state_cannot_name_files_to_copy(
    tmp_path: Path, training: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, cache = archive_of(tmp_path, monkeypatch)
    before = sorted(tmp_path.rglob("*"))
    launch.save_archive(layout, training.format(target=cache / ARCHIVE), True)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("part", ["file", "folder"])
def test_an_archive_is_not_read_through_a_link(
    tmp_path: Path, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, cache = archive_of(tmp_path, monkeypatch)
    moved = tmp_path / "moved"
    target = layout.scratch / "classes.jsa" if part == "file" else layout.scratch
    target.rename(moved)
    target.symlink_to(moved)
    launch.save_archive(layout, ARCHIVE, True)
    assert list(cache.iterdir()) == []
