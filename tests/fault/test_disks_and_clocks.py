"""18–20: a slow store, full disks, clocks that jump."""

import errno
import json
import os
import resource
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, Message, Producer

from support import oracle
from support.http_fault_proxy import FaultProxy
from support.process import peak_mb, wait_until
from support.scenario import MAX_SINK_MB, RecordProperty, Scenario, create_scenario
from tickerlake import clock
from tickerlake.errors import StoreUnavailable
from tickerlake.kafka.embedded.broker import EmbeddedBroker, broker_status
from tickerlake.lake.store import open_store
from tickerlake.pipeline.sink import Sink, SinkOptions, SinkProgress
from tickerlake.ports import free_port

NEVER_STOP = threading.Event()


@pytest.mark.full
@pytest.mark.parametrize("megabytes", [20, 300])
def test_a_store_ten_times_slower_than_the_producer(
    cloud: tuple[Scenario, FaultProxy], megabytes: int
) -> None:
    scenario, proxy = cloud
    scenario.padding_chars = 2000
    started_s = time.monotonic()
    scenario.produce(megabytes * 500)
    produce_s = time.monotonic() - started_s
    # two uploads run at a time, each with a fortieth of the records
    proxy.delay_s = 10 * produce_s * 2 / 40
    with scenario.start_sink("--until-end", "--flush-records", megabytes * 500 // 40) as child:
        uploads_before = proxy.uploads
        wait_until(lambda: proxy.uploads > uploads_before, child)
        slow_s = wait_until(lambda: proxy.uploads >= uploads_before + 10, child, 120)
        peak = peak_mb(child.pid)
        proxy.delay_s = 0
        _, err = child.communicate(timeout=120)
    assert child.returncode == 0, err
    assert peak < MAX_SINK_MB
    # of ten uploads, the first pair had started before and the last has not ended
    triggered = int(slow_s / (8 / 40) > 10 * produce_s)
    scenario.assert_survived(
        "18",
        f"store 10× slower, {megabytes} MB of records: {peak:.0f} MB of memory",
        injected=1,
        triggered=triggered,
    )


@contextmanager
def _small_disk(folder: Path, size: str) -> Iterator[Callable[[str], None]]:
    """Mount a file system of a given size; the function it yields enlarges it."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    folder.mkdir(parents=True, exist_ok=True)

    def mount(*options: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", *options, "tmpfs", folder], check=True)

    mount(f"size={size}")
    try:
        yield lambda larger: mount(f"remount,size={larger}")
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_the_disk_under_the_lake_is_full(scenario: Scenario) -> None:
    with _small_disk(Path(scenario.lake), "256k") as enlarge:
        scenario.produce(10_000)
        _, err = scenario.run_sink("--flush-records", 100, exit_code=3)
        assert "No space left to write" in err
        assert "→ Free disk space" in err
        stored_before = scenario.object_keys()
        verdict = oracle.compare_with_kafka(scenario.servers, scenario.topic, scenario.copy_lake())
        assert verdict.stored
        assert not verdict.duplicated + verdict.changed, "stored objects are complete"
        enlarge("32m")
        with scenario.start_sink("--until-end", "--flush-records", 100) as child:
            recovery_s = wait_until(lambda: len(scenario.object_keys()) > len(stored_before), child)
            _, err = child.communicate(timeout=60)
        assert child.returncode == 0, err
        assert set(stored_before) <= set(scenario.object_keys())
        scenario.assert_survived("19", "lake's disk full", injected=1, triggered=1, recovery_s=recovery_s)


@pytest.mark.full
def test_the_file_size_limit_is_reached(scenario: Scenario) -> None:
    scenario.produce(10_000)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        child = scenario.start_sink("--until-end")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    with child:
        _, err = child.communicate(timeout=60)
    assert child.returncode == 3, err
    assert "No space left to write" in err
    scenario.run_sink()
    scenario.assert_survived("19", "file size limited to 4 kB", injected=1, triggered=1)


def test_a_write_error_reported_only_by_close_is_detected(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    # network file systems do this when a quota is exceeded; local ones cannot be made to
    scenario.run_sink()  # stores the topic's metadata, so that the fault hits a segment
    scenario.produce(400)
    store = open_store(scenario.lake)
    close, triggered = os.close, 0

    def fail(descriptor: int) -> None:
        nonlocal triggered
        name = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        close(descriptor)
        if not triggered and name.startswith(f"{scenario.lake}/.tmp/"):
            triggered += 1
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    options = SinkOptions(flush_records=50)
    monkeypatch.setattr(os, "close", fail)
    with pytest.raises(StoreUnavailable, match="No space left to write"):
        Sink(scenario.servers, [scenario.topic], store, scenario.topic, options).run(
            NEVER_STOP, until_end=True
        )
    monkeypatch.undo()
    scenario.run_sink()
    scenario.assert_survived("19", "write error reported only by close", injected=1, triggered=triggered)


@pytest.mark.full
def test_the_disk_under_the_broker_is_full(tmp_path: Path, record_property: RecordProperty) -> None:
    folder, port = tmp_path / "disk", free_port()
    acknowledged: list[int] = []

    def on_delivery(error: KafkaError | None, message: Message) -> None:
        if error is None:
            acknowledged.append(json.loads(message.value() or b"")["id"])

    with _small_disk(folder, "48m") as enlarge, EmbeddedBroker(folder / "broker", port) as broker:
        scenario = create_scenario(broker.bootstrap_servers, tmp_path / "lake", record_property)
        settings = {"bootstrap.servers": scenario.servers, "message.timeout.ms": 5000, "log_level": 0}
        producer = Producer({**settings, "enable.idempotence": True, "queue.buffering.max.messages": 10})
        number = 0
        until_s = time.monotonic() + 90
        while broker_status(folder / "broker") is not None and time.monotonic() < until_s:
            value = {"id": number, "padding": os.urandom(10_000).hex()}
            try:
                producer.produce(
                    scenario.topic, json.dumps(value).encode(), b"%d" % number, on_delivery=on_delivery
                )
                number += 1
            except BufferError:
                pass
            producer.poll(0.01)
        producer.flush(10)
        broker_stopped = broker_status(folder / "broker") is None
        enlarge("400m")
        broker.start()
        scenario.run_sink()
        assert broker_stopped, "the broker must stop itself"
        assert acknowledged
        counts = oracle.count_by_field(scenario.servers, scenario.topic, "id")
        assert not [each for each in acknowledged if counts[each] != 1], (
            "each acknowledged record is stored once"
        )
        scenario.assert_survived("19", "broker's disk full", injected=1, triggered=int(broker_stopped))


@pytest.mark.full
def test_the_clock_steps_back_an_hour_and_forward_a_day(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Python's clock only: librdkafka reads the clock in C, and measures its waits with a monotonic one
    shift_s, steps, steps_done = 0, [-3600, 86_400, -3600, 86_400], 0
    real_time, real_time_ns = time.time, time.time_ns
    stop = threading.Event()

    def step(now: SinkProgress) -> None:
        nonlocal shift_s, steps_done
        if now.lag and steps_done < scenario.sent_count // 250:
            # records are buffered and wait for the flush age
            shift_s += steps[steps_done]
            steps_done += 1
        elif now.records == scenario.sent_count and steps_done < len(steps):
            scenario.produce(250)
        elif now.records == scenario.sent_count:
            stop.set()

    monkeypatch.setattr(time, "time", lambda: real_time() + shift_s)
    monkeypatch.setattr(time, "time_ns", lambda: real_time_ns() + shift_s * 10**9)
    scenario.produce(250)
    options = SinkOptions(flush_age_s=0.5)
    progress = Sink(
        scenario.servers, [scenario.topic], open_store(scenario.lake), scenario.topic, options
    ).run(stop, on_progress=step)
    assert abs(clock.now_ns() - real_time_ns()) > 86_400 * 10**9
    restarted = Sink(scenario.servers, [scenario.topic], open_store(scenario.lake), scenario.topic, options)
    assert restarted.run(NEVER_STOP, until_end=True).records == 0
    monkeypatch.undo()
    assert progress.records == scenario.sent_count
    scenario.assert_survived(
        "20", "clock back an hour, forward a day", injected=len(steps), triggered=steps_done
    )
