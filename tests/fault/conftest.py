"""What the stories of faults share: a topic, a lake, an independent judge, the table of what was survived."""

import json
import os
import platform
import secrets
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from support import oracle
from support.faultproxy import FaultProxy
from support.gcs import FakeGcs, fake_gcs
from support.process import Child, tickerlake
from tickerlake.failpoints import ENV_VARIABLE
from tickerlake.kafka.admin import Admin
from tickerlake.kafka.embedded.broker import EmbeddedBroker
from tickerlake.kafka.embedded.files import free_port
from tickerlake.kafka.embedded.jars import pinned_jars

__all__ = ["fake_gcs"]

RESULT_PROPERTY = "fault"
"""Name of the property that a story tells its row by."""
_TABLE_BEGIN, _TABLE_END = "<!-- faults -->", "<!-- end -->"
COLUMNS = ("no", "fault", "injected", "struck", "records", "stored", "lost", "doubled", "back after")


@dataclass
class Scenario:
    """One topic and one lake, sinks that store the one in the other, and how it ended.

    Parameters
    ----------
    servers
        The broker.
    lake
        A folder, or ``gs://bucket``.
    topic
        Of four partitions.
    copy
        Lays out the lake as files in a folder, by plain calls, and returns that; a folder itself.
    record
        Takes the row of the table.
    variables, options
        Given to every sink.
    padding
        Characters that each record has in addition, which no packer makes smaller than half.
    """

    servers: str
    lake: str
    topic: str
    copy_lake: Callable[[], Path]
    record_property: Callable[[str, object], None]
    env: dict[str, str] = field(default_factory=dict)
    sink_options: tuple[object, ...] = ()
    sent_count: int = 0
    padding_chars: int = 0

    def produce(self, count: int, key: Callable[[int], str] = lambda n: f"K{n % 50}") -> None:
        """Write so many records to the topic; their ids ascend."""
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
        """Write records of any key and value to the topic."""
        producer = Producer({"bootstrap.servers": self.servers, "message.max.bytes": 20_000_000})
        for key, value in records:
            producer.produce(self.topic, value, key)
        assert producer.flush(60) == 0

    def committed_offsets(self) -> dict[int, int]:
        """Return the offsets that the sinks' group has committed; they must name it: ``--group topic``."""
        client = Consumer({"bootstrap.servers": self.servers, "group.id": self.topic})
        numbers = client.list_topics(self.topic, timeout=10).topics[self.topic].partitions
        committed = client.committed([TopicPartition(self.topic, number) for number in numbers], timeout=10)
        client.close()
        return {place.partition: place.offset for place in committed}

    @contextmanager
    def continuous_load(self, per_second: int) -> Iterator[None]:
        """Let records come all the time, whatever happens to the broker."""
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
        """Return how many records the lake has."""
        return len(oracle.read_rows(self.copy_lake(), self.topic))

    def has_stored_all(self) -> bool:
        """Tell whether the lake has as many records as were sent."""
        return self.stored_count() >= self.sent_count

    def start_sink(self, *options: object, failpoints: str = "", stderr: int = subprocess.PIPE) -> Child:
        """Start a sink; ``at`` arms failpoints: ``segment.stored=kill@3``."""
        return tickerlake(
            *("sink", "-t", self.topic, "--lake", self.lake, "-b", self.servers),
            *("-X", "session.timeout.ms=6000", *self.sink_options, *options),
            env={**self.env, **({ENV_VARIABLE: failpoints} if failpoints else {})},
            stderr=stderr,
        )

    def run_sink(self, *options: object, exit_code: int = 0, failpoints: str = "") -> tuple[str, str]:
        """Run a sink until all is stored (or to another exit code), and return what it printed."""
        with self.start_sink("--until-end", *options, failpoints=failpoints) as child:
            out, err = child.communicate(timeout=150)
        assert child.returncode == exit_code, f"exit {child.returncode}\n{out}\n{err}"
        return out, err

    def object_keys(self) -> list[str]:
        """Return the names of the objects that hold the topic's records."""
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
        """Judge, let `tickerlake audit --deep` agree, and add the story to the table.

        Parameters
        ----------
        no, fault
            Its number in the list of faults, and a few words.
        injected, struck
            How often it was asked for, and how often it really happened.
        back_s
            How long it took until records were stored again.
        """
        assert 0 < triggered >= injected, (
            f"the fault was to strike {injected} times, and did {triggered} times"
        )
        verdict = oracle.compare_with_kafka(self.servers, self.topic, self.copy_lake())
        self.record_result(fault_id, fault, injected, triggered, verdict, recovery_s)
        assert verdict.is_sound, verdict
        with tickerlake(
            *("audit", "--lake", self.lake, "-t", self.topic, "--deep", "-b", self.servers),
            env=self.env,
        ) as child:
            out, err = child.communicate(timeout=120)
        assert child.returncode == 0, out + err
        return verdict

    def record_result(
        self,
        fault_id: str,
        fault: str,
        injected: int,
        triggered: int,
        verdict: oracle.Verdict | None = None,
        recovery_s: float | None = None,
        expected: "Counter[Any] | None" = None,
        actual: "Counter[Any] | None" = None,
    ) -> None:
        """Add a row to the table; without a verdict of what was due and what is there."""
        row: dict[str, Any] = {"no": fault_id, "fault": fault, "injected": injected, "struck": triggered}
        if verdict:
            row |= {
                "records": verdict.sent,
                "stored": verdict.stored + verdict.rejected,
                "lost": len(verdict.lost),
                "doubled": len(verdict.duplicated),
            }
        if expected is not None and actual is not None:
            row |= {"records": expected.total(), "stored": actual.total()}
            row |= {"lost": (expected - actual).total(), "doubled": (actual - expected).total()}
        if recovery_s is not None:
            row["back after"] = f"{recovery_s:.1f} s"
        self.record_property(RESULT_PROPERTY, row)

    def assert_produced_once(
        self, fault_id: str, fault: str, injected: int, triggered: int, row_count: int
    ) -> None:
        """Judge that each row of a file is in the topic once, and add the story to the table."""
        counts = oracle.count_by_field(self.servers, self.topic, "source_line")
        assert len(counts) == row_count
        assert set(counts.values()) == {1}
        self.record_result(fault_id, fault, injected, triggered, expected=Counter(set(counts)), actual=counts)


def unique_topic() -> str:
    """Return a name that nobody has used."""
    return f"t.{secrets.token_hex(6)}"


@pytest.fixture
def scenario(kafka: str, tmp_path: Path, record_property: Callable[[str, object], None]) -> Scenario:
    """A topic on the broker that all tests share, and a lake in a folder."""
    return create_scenario(kafka, tmp_path / "lake", record_property)


def create_scenario(servers: str, folder: Path, record_property: Callable[[str, object], None]) -> Scenario:
    """Begin a story on some broker, with a lake in a folder."""
    topic = unique_topic()
    Admin(servers).create_topic(topic, 4)
    return Scenario(servers, str(folder), topic, lambda: folder, record_property)


def write_daily_csv(folder: Path, rows: int) -> Path:
    """Write a file of daily bars."""
    first = date(1990, 1, 1)
    lines = (f"{first + timedelta(days=n)},10.5,12.25,9.75,11,11,{1000 + n}" for n in range(rows))
    path = folder / "ACME.csv"
    path.write_text("\n".join(["Date,Open,High,Low,Close,Adj Close,Volume", *lines]) + "\n")
    return path


@pytest.fixture
def cloud(
    scenario: Scenario,
    fake_gcs: FakeGcs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[tuple[Scenario, FaultProxy]]:
    """A story with a lake in a bucket, behind a proxy that spoils uploads of records.

    Its parameter is the format.
    """
    scenario.sink_options = ("--format", getattr(request, "param", "ndjson"))
    bucket = f"b-{secrets.token_hex(6)}"
    fake_gcs.create_bucket(bucket)

    def copy() -> Path:
        folder = tmp_path / secrets.token_hex(4)
        fake_gcs.download(bucket, folder)
        return folder

    with FaultProxy(fake_gcs.url) as proxy:
        proxy.body_marker = b"/partition="
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.url)
        scenario.env["STORAGE_EMULATOR_HOST"] = proxy.url
        scenario.lake, scenario.copy_lake = f"gs://{bucket}/", copy
        yield scenario, proxy


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    """A broker of one's own, to be killed, paused and restarted."""
    # not the usual port, which another one may take while this one is away
    with EmbeddedBroker(tmp_path / "broker", free_port()) as embedded:
        yield embedded


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let `make fault` know all of these."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.fault)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--table", metavar="FILE", help="Put the table of faults into this page, if all pass.")


def pytest_terminal_summary(terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:
    """Print the table of all stories that told theirs."""
    results = [
        value
        for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
        for key, value in report.user_properties
        if key == RESULT_PROPERTY and report.when == "call"
    ]
    if not results:
        return
    results.sort(key=lambda row: (row["no"].zfill(3) if row["no"].isdecimal() else row["no"], row["fault"]))
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---|---|" + "--:|" * (len(COLUMNS) - 2)]
    for row in results:
        cells = [row.get(column, "") for column in COLUMNS]
        lines.append(
            "| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else cell for cell in cells) + " |"
        )
    terminalreporter.section("faults survived")
    for line in lines:
        terminalreporter.write_line(line)
    # each worker of the tests ends, too, and knows of its own part only
    is_controller = not hasattr(config, "workerinput")
    if is_controller and (target := config.getoption("--table", None)):
        if exitstatus:
            terminalreporter.write_line(f"The table is not put into {target}: not all passed.")
        else:
            _update_table(Path(target), lines)


def _update_table(page: Path, lines: list[str]) -> None:
    """Put the table between the page's marks."""
    content = page.read_text()
    before, _, rest = content.partition(_TABLE_BEGIN)
    _, _, after = rest.partition(_TABLE_END)
    count = len(lines) - 2
    kafka = next(jar.version for jar in pinned_jars() if jar.artifact == "kafka-clients")
    summary = (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, Apache Kafka {kafka}: {count} stories."
    )
    page.write_text("\n".join([f"{before}{_TABLE_BEGIN}", summary, "", *lines, f"{_TABLE_END}{after}"]))
