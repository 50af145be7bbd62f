"""The setup of a fault scenario: one topic, one lake, sinks between them, and the row of its result."""

import json
import secrets
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from support import oracle
from support.process import Child, tickerlake
from tickerlake.failpoints import ENV_VARIABLE
from tickerlake.kafka.admin import Admin

RESULT_PROPERTY = "fault"
"""Name of the test property that holds a scenario's row of the table of faults."""
RecordProperty = Callable[[str, object], None]
MAX_SINK_MB = 400
"""Peak memory of a sink: 140 MB for code, 32 MB of buffered records, the rest for encoding two segments."""


@dataclass
class Scenario:
    """One topic, one lake, and the sinks that store the topic in the lake.

    Parameters
    ----------
    servers
        Bootstrap servers of the broker.
    lake
        A folder, or ``gs://bucket``.
    topic
        Name of a topic with four partitions.
    copy_lake
        Returns a folder with the lake's objects as files, copied without the code under test; a lake in a
        folder is returned itself.
    record_property
        Pytest's fixture; receives the row of the table of faults.
    env, sink_options
        Environment variables and options of every sink.
    sent_count
        Records produced so far.
    padding_chars
        Length of a random field added to each record, which compresses by half at most.
    """

    servers: str
    lake: str
    topic: str
    copy_lake: Callable[[], Path]
    record_property: RecordProperty
    env: dict[str, str] = field(default_factory=dict)
    sink_options: tuple[object, ...] = ()
    sent_count: int = 0
    padding_chars: int = 0

    def produce(self, count: int, key: Callable[[int], str] = lambda n: f"K{n % 50}") -> None:
        """Write records with ascending ids to the topic."""
        producer = self._new_producer()
        self._enqueue(producer, count, key)
        assert producer.flush(60) == 0

    def _new_producer(self) -> Producer:
        queue = {"queue.buffering.max.messages": 1_000_000, "queue.buffering.max.kbytes": 1 << 20}
        settings = {"linger.ms": 20, "enable.idempotence": True, "log_level": 0}
        return Producer({"bootstrap.servers": self.servers, **queue, **settings})

    def _enqueue(self, producer: Producer, count: int, key: Callable[[int], str]) -> None:
        for number in range(self.sent_count, self.sent_count + count):
            value: dict[str, object] = {"id": number, "price": number / 8}
            if self.padding_chars:
                value["padding"] = secrets.token_hex(self.padding_chars // 2)
            producer.produce(self.topic, json.dumps(value).encode(), key(number).encode())
        self.sent_count += count

    def produce_raw(self, records: Iterable[tuple[bytes | None, bytes | None]]) -> None:
        """Write records with arbitrary keys and values to the topic."""
        producer = Producer({"bootstrap.servers": self.servers, "message.max.bytes": 20_000_000})
        for key, value in records:
            producer.produce(self.topic, value, key)
        assert producer.flush(60) == 0

    def committed_offsets(self) -> dict[int, int]:
        """Return the offsets committed by the group named like the topic: sinks need ``--group topic``."""
        client = Consumer({"bootstrap.servers": self.servers, "group.id": self.topic})
        numbers = client.list_topics(self.topic, timeout=10).topics[self.topic].partitions
        committed = client.committed([TopicPartition(self.topic, number) for number in numbers], timeout=10)
        client.close()
        return {each.partition: each.offset for each in committed}

    @contextmanager
    def continuous_load(self, per_second: int) -> Iterator[None]:
        """Produce records continuously within the block, also while the broker is down."""
        producer, stopped = self._new_producer(), threading.Event()

        def produce_steadily() -> None:
            while not stopped.wait(0.05):
                self._enqueue(producer, per_second // 20, lambda n: f"K{n % 50}")

        thread = threading.Thread(target=produce_steadily)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()
            undelivered = producer.flush(60)
        assert undelivered == 0, f"{undelivered} records did not reach Kafka"

    def stored_count(self) -> int:
        """Return the number of offsets with a row in the lake."""
        return len(oracle.read_rows(self.copy_lake(), self.topic))

    def has_stored_all(self) -> bool:
        """Return whether the lake has as many records as were sent."""
        return self.stored_count() >= self.sent_count

    def start_sink(self, *options: object, failpoints: str = "", stderr: int = subprocess.PIPE) -> Child:
        """Start a sink; ``failpoints`` are armed in it: ``segment.stored=kill@3``."""
        return tickerlake(
            *("sink", "-t", self.topic, "--lake", self.lake, "-b", self.servers),
            *("-X", "session.timeout.ms=6000", *self.sink_options, *options),
            env={**self.env, **({ENV_VARIABLE: failpoints} if failpoints else {})},
            stderr=stderr,
        )

    def run_sink(self, *options: object, exit_code: int = 0, failpoints: str = "") -> tuple[str, str]:
        """Run a sink until everything is stored (or to another exit code); return its stdout and stderr."""
        with self.start_sink("--until-end", *options, failpoints=failpoints) as child:
            out, err = child.communicate(timeout=150)
        assert child.returncode == exit_code, f"exit {child.returncode}\n{out}\n{err}"
        return out, err

    def object_keys(self) -> list[str]:
        """Return the sorted keys of the topic's segments."""
        root = self.copy_lake()
        return sorted(str(file.relative_to(root)) for file in (root / "raw" / self.topic).glob("*/*"))

    def assert_survived(
        self,
        fault_id: str,
        fault: str,
        *,
        injected: int,
        triggered: int,
        recovery_s: float | None = None,
    ) -> oracle.Verdict:
        """Assert that each record is stored once, also by `tickerlake audit --deep`, and record the result.

        Parameters
        ----------
        fault_id, fault
            Number of the group in docs/reliability.md, and a short description.
        injected, triggered
            How often the fault was injected, and how often it occurred.
        recovery_s
            Time until records were stored again.
        """
        assert 0 < triggered >= injected, f"injected {injected} times, triggered {triggered} times"
        verdict = oracle.compare_with_kafka(self.servers, self.topic, self.copy_lake())
        self.record_verdict(fault_id, fault, injected, triggered, verdict, recovery_s)
        assert verdict.is_sound, verdict
        with tickerlake(
            *("audit", "--lake", self.lake, "-t", self.topic, "--deep", "-b", self.servers),
            env=self.env,
        ) as child:
            out, err = child.communicate(timeout=120)
        assert child.returncode == 0, out + err
        return verdict

    def record_verdict(
        self,
        fault_id: str,
        fault: str,
        injected: int,
        triggered: int,
        verdict: oracle.Verdict,
        recovery_s: float | None = None,
    ) -> None:
        """Add a row with the oracle's verdict to the table of faults."""
        cells: dict[str, object] = {
            "records": verdict.sent,
            "stored": verdict.stored + verdict.rejected,
            "lost": len(verdict.lost),
            "duplicated": len(verdict.duplicated),
        }
        if recovery_s is not None:
            cells["recovery"] = f"{recovery_s:.1f} s"
        record_result(self.record_property, fault_id, fault, injected, triggered, **cells)

    def assert_produced_once(
        self, fault_id: str, fault: str, injected: int, triggered: int, row_count: int
    ) -> None:
        """Assert that each row of a file is in the topic once, and record the result."""
        counts = oracle.count_by_field(self.servers, self.topic, "source_line")
        assert len(counts) == row_count
        assert set(counts.values()) == {1}
        cells = count_differences(Counter(set(counts)), counts)
        record_result(self.record_property, fault_id, fault, injected, triggered, **cells)


def unique_topic() -> str:
    """Return a topic name that is not in use."""
    return f"t.{secrets.token_hex(6)}"


def create_scenario(servers: str, folder: Path, record_property: RecordProperty) -> Scenario:
    """Create a topic on a broker, for a scenario with a lake in a folder."""
    topic = unique_topic()
    Admin(servers).create_topic(topic, 4)
    return Scenario(servers, str(folder), topic, lambda: folder, record_property)


def record_result(
    record_property: RecordProperty, fault_id: str, fault: str, injected: int, triggered: int, **cells: object
) -> None:
    """Add a row to the table of faults; ``cells`` are values of further columns."""
    row = {"#": fault_id, "fault": fault, "injected": injected, "triggered": triggered, **cells}
    record_property(RESULT_PROPERTY, row)


def count_differences(expected: "Counter[Any]", actual: "Counter[Any]") -> dict[str, int]:
    """Return the cells of the table that compare what a topic should hold with what it holds."""
    return {
        "records": expected.total(),
        "stored": actual.total(),
        "lost": (expected - actual).total(),
        "duplicated": (actual - expected).total(),
    }
