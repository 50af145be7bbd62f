"""18–20: a slow consumer, disks that are full, a clock that jumps."""

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

from fault.conftest import Story, begin
from support import oracle
from support.faultproxy import FaultProxy
from support.process import peak_mb, wait_until
from tickerlake import clock
from tickerlake.errors import StoreUnavailable
from tickerlake.kafka import embedded
from tickerlake.kafka.embedded import EmbeddedBroker
from tickerlake.kafka.embedded_files import free_port
from tickerlake.lake.store import open_store
from tickerlake.pipeline.sink import Sink, SinkOptions, SinkProgress

# 140 MB of interpreter and libraries, 32 MB of records, what encodes two segments
MOST_MB = 400
NEVER = threading.Event()


@pytest.mark.full
@pytest.mark.parametrize("megabytes", [20, 300])
def test_a_store_ten_times_slower_than_the_producer(cloud: tuple[Story, FaultProxy], megabytes: int) -> None:
    story, proxy = cloud
    story.padding = 2000
    began_s = time.monotonic()
    story.fill(megabytes * 500)
    filled_s = time.monotonic() - began_s
    # two uploads at once, each a fortieth
    proxy.delay_s = 10 * filled_s * 2 / 40
    with story.sink("--until-end", "--flush-records", megabytes * 500 // 40) as child:
        first = proxy.uploads
        wait_until(lambda: proxy.uploads > first, child)
        slow_s = wait_until(lambda: proxy.uploads >= first + 10, child, 120)
        peak = peak_mb(child.pid)
        proxy.delay_s = 0
        _, err = child.communicate(timeout=120)
    assert child.returncode == 0, err
    assert peak < MOST_MB
    # the first pair had begun before, the last has not ended
    struck = int(slow_s / (8 / 40) > 10 * filled_s)
    story.survived(
        "18", f"{megabytes} MB, a store 10× slower: {peak:.0f} MB of memory", injected=1, struck=struck
    )


@contextmanager
def _small_disk(folder: Path, size: str) -> Iterator[Callable[[str], None]]:
    """Mount a file system of that size; what it gives makes it larger."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    folder.mkdir(parents=True, exist_ok=True)

    def mount(*options: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", *options, "tmpfs", folder], check=True)

    mount(f"size={size}")
    try:
        yield lambda larger: mount(f"remount,size={larger}")
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_the_disk_under_the_lake_is_full(story: Story) -> None:
    with _small_disk(Path(story.lake), "256k") as enlarge:
        story.fill(10_000)
        _, err = story.store_all("--flush-records", 100, code=3)
        assert "No room to write" in err
        assert "→ Free some space" in err
        before = story.objects()
        found = oracle.verdict(story.servers, story.topic, story.copy())
        assert found.stored
        assert not found.doubled + found.changed, "what can be seen is whole"
        enlarge("32m")
        with story.sink("--until-end", "--flush-records", 100) as child:
            back_s = wait_until(lambda: len(story.objects()) > len(before), child)
            _, err = child.communicate(timeout=60)
        assert child.returncode == 0, err
        assert set(before) <= set(story.objects())
        story.survived("19", "disk under the lake full", injected=1, struck=1, back_s=back_s)


@pytest.mark.full
def test_files_may_not_be_as_large(story: Story) -> None:
    story.fill(10_000)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        child = story.sink("--until-end")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    with child:
        _, err = child.communicate(timeout=60)
    assert child.returncode == 3, err
    assert "No room to write" in err
    story.store_all()
    story.survived("19", "files may not be larger than 4 kB", injected=1, struck=1)


def test_a_write_error_that_only_closing_tells_is_seen(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    # network file systems do so when a quota is used up; no file system of this machine can be made to
    story.store_all()  # what a topic has once is there: the fault hits a segment
    story.fill(400)
    store = open_store(story.lake)
    close, struck = os.close, 0

    def fail(descriptor: int) -> None:
        nonlocal struck
        name = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        close(descriptor)
        if not struck and name.startswith(f"{story.lake}/.tmp/"):
            struck += 1
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    options = SinkOptions(flush_records=50)
    monkeypatch.setattr(os, "close", fail)
    with pytest.raises(StoreUnavailable, match="No room to write"):
        Sink(story.servers, [story.topic], store, story.topic, options).run(NEVER, until_end=True)
    monkeypatch.undo()
    story.store_all()
    story.survived("19", "a write error told by close only", injected=1, struck=struck)


@pytest.mark.full
def test_the_disk_under_the_broker_is_full(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    folder, port = tmp_path / "disk", free_port()
    taken: list[int] = []

    def told(error: KafkaError | None, message: Message) -> None:
        if error is None:
            taken.append(json.loads(message.value() or b"")["id"])

    with _small_disk(folder, "48m") as enlarge, EmbeddedBroker(folder / "broker", port) as broker:
        story = begin(broker.bootstrap_servers, tmp_path / "lake", record_property)
        own = {"bootstrap.servers": story.servers, "message.timeout.ms": 5000, "log_level": 0}
        producer = Producer({**own, "enable.idempotence": True, "queue.buffering.max.messages": 10})
        number = 0
        until_s = time.monotonic() + 90
        while embedded.status(folder / "broker") is not None and time.monotonic() < until_s:
            value = {"id": number, "padding": os.urandom(10_000).hex()}
            try:
                producer.produce(story.topic, json.dumps(value).encode(), b"%d" % number, on_delivery=told)
                number += 1
            except BufferError:
                pass
            producer.poll(0.01)
        producer.flush(10)
        ended = embedded.status(folder / "broker") is None
        enlarge("400m")
        broker.start()
        story.store_all()
        assert ended, "the broker must have stopped itself"
        assert taken
        held = oracle.each_once(story.servers, story.topic, "id")
        assert not [each for each in taken if held[each] != 1], "what was acknowledged is there once"
        story.survived("19", "disk under the broker full", injected=1, struck=int(ended))


@pytest.mark.full
def test_the_clock_steps_back_an_hour_and_forward_a_day(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the clock of Python, that is: librdkafka's own is read in C, and measures waits by a steady one
    shift_s, steps, times = 0, [-3600, 86_400, -3600, 86_400], 0
    real, real_ns = time.time, time.time_ns
    stop = threading.Event()

    def step(now: SinkProgress) -> None:
        nonlocal shift_s, times
        if now.lag and times < story.sent // 250:
            # records are read and wait for their age
            shift_s += steps[times]
            times += 1
        elif now.records == story.sent and times < len(steps):
            story.fill(250)
        elif now.records == story.sent:
            stop.set()

    monkeypatch.setattr(time, "time", lambda: real() + shift_s)
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() + shift_s * 10**9)
    story.fill(250)
    options = SinkOptions(flush_age_s=0.5)
    done = Sink(story.servers, [story.topic], open_store(story.lake), story.topic, options).run(
        stop, on_progress=step
    )
    assert abs(clock.now_ns() - real_ns()) > 86_400 * 10**9
    again = Sink(story.servers, [story.topic], open_store(story.lake), story.topic, options)
    assert again.run(NEVER, until_end=True).records == 0
    monkeypatch.undo()
    assert done.records == story.sent
    story.survived("20", "clock back an hour, forward a day", injected=len(steps), struck=times)
