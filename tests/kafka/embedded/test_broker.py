import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from tickerlake.errors import SetupError, UsageError
from tickerlake.kafka.embedded import jars, launch
from tickerlake.kafka.embedded.broker import EmbeddedBroker, broker_status, start_broker, stop_broker
from tickerlake.kafka.embedded.files import BrokerState, Layout, free_port
from tickerlake.kafka.embedded.java import Java

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
        with pytest.raises(UsageError, match=f"Port {port} is in use") as caught:
            start_broker(tmp_path, port)
    assert "--port" in caught.value.hint


def test_an_occupied_port_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        monkeypatch.setattr("tickerlake.kafka.embedded.broker._choose_port", lambda *_: port)
        with EmbeddedBroker(tmp_path / "broker", heap="256m") as broker:
            assert broker.info.port != port
            produce(broker.bootstrap_servers, b"x")


def test_an_unusable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match="cannot be used"):
        start_broker(tmp_path / "file")


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
