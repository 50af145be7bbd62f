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
from tickerlake.failpoints import VARIABLE
from tickerlake.kafka.admin import Admin
from tickerlake.kafka.embedded import EmbeddedBroker
from tickerlake.kafka.embedded_files import free_port
from tickerlake.kafka.jars import pinned

__all__ = ["fake_gcs"]

ROW = "fault"
"""Name of the property that a story tells its row by."""
_BEGIN, _END = "<!-- faults -->", "<!-- end -->"
COLUMNS = ("no", "fault", "injected", "struck", "records", "stored", "lost", "doubled", "back after")


@dataclass
class Story:
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
    copy: Callable[[], Path]
    record: Callable[[str, object], None]
    variables: dict[str, str] = field(default_factory=dict)
    options: tuple[object, ...] = ()
    sent: int = 0
    padding: int = 0

    def fill(self, count: int, key: Callable[[int], str] = lambda n: f"K{n % 50}") -> None:
        """Write so many records to the topic; their ids ascend."""
        producer = self._producer()
        self._send(producer, count, key)
        assert producer.flush(60) == 0

    def _producer(self) -> Producer:
        queue = {"queue.buffering.max.messages": 1_000_000, "queue.buffering.max.kbytes": 1 << 20}
        own = {"linger.ms": 20, "enable.idempotence": True, "log_level": 0}
        return Producer({"bootstrap.servers": self.servers, **queue, **own})

    def _send(self, producer: Producer, count: int, key: Callable[[int], str]) -> None:
        for number in range(self.sent, self.sent + count):
            value: dict[str, object] = {"id": number, "price": number / 8}
            if self.padding:
                value["padding"] = secrets.token_hex(self.padding // 2)
            producer.produce(self.topic, json.dumps(value).encode(), key(number).encode())
        self.sent += count

    def send(self, records: Iterable[tuple[bytes | None, bytes | None]]) -> None:
        """Write records of any key and value to the topic."""
        producer = Producer({"bootstrap.servers": self.servers, "message.max.bytes": 20_000_000})
        for key, value in records:
            producer.produce(self.topic, value, key)
        assert producer.flush(60) == 0

    def committed(self) -> dict[int, int]:
        """Return the offsets that the sinks' group has committed; they must name it: ``--group topic``."""
        client = Consumer({"bootstrap.servers": self.servers, "group.id": self.topic})
        numbers = client.list_topics(self.topic, timeout=10).topics[self.topic].partitions
        found = client.committed([TopicPartition(self.topic, number) for number in numbers], timeout=10)
        client.close()
        return {place.partition: place.offset for place in found}

    @contextmanager
    def coming(self, per_second: int) -> Iterator[None]:
        """Let records come all the time, whatever happens to the broker."""
        producer, enough = self._producer(), threading.Event()

        def send() -> None:
            while not enough.wait(0.05):
                self._send(producer, per_second // 20, lambda n: f"K{n % 50}")

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield
        finally:
            enough.set()
            thread.join()
            left = producer.flush(60)
        assert left == 0, f"{left} records did not reach Kafka"

    def rows(self) -> int:
        """Return how many records the lake has."""
        return len(oracle.rows(self.copy(), self.topic))

    def has_all(self) -> bool:
        """Tell whether the lake has as many records as were sent."""
        return self.rows() >= self.sent

    def sink(self, *options: object, at: str = "", stderr: int = subprocess.PIPE) -> Child:
        """Start a sink; ``at`` arms failpoints: ``segment.stored=kill@3``."""
        return tickerlake(
            *("sink", "-t", self.topic, "--lake", self.lake, "-b", self.servers),
            *("-X", "session.timeout.ms=6000", *self.options, *options),
            variables={**self.variables, **({VARIABLE: at} if at else {})},
            stderr=stderr,
        )

    def store_all(self, *options: object, code: int = 0, at: str = "") -> tuple[str, str]:
        """Run a sink until all is stored (or to another exit code), and return what it printed."""
        with self.sink("--until-end", *options, at=at) as child:
            out, err = child.communicate(timeout=150)
        assert child.returncode == code, f"exit {child.returncode}\n{out}\n{err}"
        return out, err

    def objects(self) -> list[str]:
        """Return the names of the objects that hold the topic's records."""
        top = self.copy()
        return sorted(str(file.relative_to(top)) for file in (top / "raw" / self.topic).glob("*/*"))

    def survived(
        self,
        no: str,
        fault: str,
        *,
        injected: int,
        struck: int,
        back_s: float | None = None,
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
        assert 0 < struck >= injected, f"the fault was to strike {injected} times, and did {struck} times"
        found = oracle.verdict(self.servers, self.topic, self.copy())
        self.tell(no, fault, injected, struck, found, back_s)
        assert found.is_sound, found
        with tickerlake(
            *("audit", "--lake", self.lake, "-t", self.topic, "--deep", "-b", self.servers),
            variables=self.variables,
        ) as child:
            out, err = child.communicate(timeout=120)
        assert child.returncode == 0, out + err
        return found

    def tell(
        self,
        no: str,
        fault: str,
        injected: int,
        struck: int,
        found: oracle.Verdict | None = None,
        back_s: float | None = None,
        wanted: "Counter[Any] | None" = None,
        there: "Counter[Any] | None" = None,
    ) -> None:
        """Add a row to the table; without a verdict of what was due and what is there."""
        row: dict[str, Any] = {"no": no, "fault": fault, "injected": injected, "struck": struck}
        if found:
            row |= {
                "records": found.sent,
                "stored": found.stored + found.rejected,
                "lost": len(found.lost),
                "doubled": len(found.doubled),
            }
        if wanted is not None and there is not None:
            row |= {"records": wanted.total(), "stored": there.total()}
            row |= {"lost": (wanted - there).total(), "doubled": (there - wanted).total()}
        if back_s is not None:
            row["back after"] = f"{back_s:.1f} s"
        self.record(ROW, row)

    def produced(self, no: str, fault: str, times: int, struck: int, rows: int) -> None:
        """Judge that each row of a file is in the topic once, and add the story to the table."""
        counts = oracle.each_once(self.servers, self.topic, "source_line")
        assert len(counts) == rows
        assert set(counts.values()) == {1}
        self.tell(no, fault, times, struck, wanted=Counter(set(counts)), there=counts)


def name() -> str:
    """Return a name that nobody has used."""
    return f"t.{secrets.token_hex(6)}"


@pytest.fixture
def story(kafka: str, tmp_path: Path, record_property: Callable[[str, object], None]) -> Story:
    """A topic on the broker that all tests share, and a lake in a folder."""
    return begin(kafka, tmp_path / "lake", record_property)


def begin(servers: str, folder: Path, record: Callable[[str, object], None]) -> Story:
    """Begin a story on some broker, with a lake in a folder."""
    topic = name()
    Admin(servers).create(topic, 4)
    return Story(servers, str(folder), topic, lambda: folder, record)


def daily_csv(folder: Path, rows: int) -> Path:
    """Write a file of daily bars."""
    first = date(1990, 1, 1)
    lines = (f"{first + timedelta(days=n)},10.5,12.25,9.75,11,11,{1000 + n}" for n in range(rows))
    path = folder / "ACME.csv"
    path.write_text("\n".join(["Date,Open,High,Low,Close,Adj Close,Volume", *lines]) + "\n")
    return path


@pytest.fixture
def cloud(
    story: Story,
    fake_gcs: FakeGcs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[tuple[Story, FaultProxy]]:
    """A story with a lake in a bucket, behind a proxy that spoils uploads of records.

    Its parameter is the format.
    """
    story.options = ("--format", getattr(request, "param", "ndjson"))
    bucket = f"b-{secrets.token_hex(6)}"
    fake_gcs.create_bucket(bucket)

    def copy() -> Path:
        folder = tmp_path / secrets.token_hex(4)
        fake_gcs.download(bucket, folder)
        return folder

    with FaultProxy(fake_gcs.url) as proxy:
        proxy.only = b"/partition="
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.url)
        story.variables["STORAGE_EMULATOR_HOST"] = proxy.url
        story.lake, story.copy = f"gs://{bucket}/", copy
        yield story, proxy


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    """A broker of one's own, to be killed, paused and restarted."""
    # not the usual port, which another one may take while this one is away
    with EmbeddedBroker(tmp_path / "broker", free_port()) as own:
        yield own


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let `make fault` know all of these."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.fault)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--table", metavar="FILE", help="Put the table of faults into this page, if all pass.")


def pytest_terminal_summary(terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:
    """Print the table of all stories that told theirs."""
    told = [
        value
        for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
        for key, value in report.user_properties
        if key == ROW and report.when == "call"
    ]
    if not told:
        return
    told.sort(key=lambda row: (row["no"].zfill(3) if row["no"].isdecimal() else row["no"], row["fault"]))
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---|---|" + "--:|" * (len(COLUMNS) - 2)]
    for row in told:
        cells = [row.get(column, "") for column in COLUMNS]
        lines.append(
            "| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else cell for cell in cells) + " |"
        )
    terminalreporter.section("faults survived")
    for line in lines:
        terminalreporter.write_line(line)
    # each worker of the tests ends, too, and knows of its own part only
    is_whole = not hasattr(config, "workerinput")
    if is_whole and (target := config.getoption("--table", None)):
        if exitstatus:
            terminalreporter.write_line(f"The table is not put into {target}: not all passed.")
        else:
            _write(Path(target), lines)


def _write(page: Path, lines: list[str]) -> None:
    """Put the table between the page's marks."""
    text = page.read_text()
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    count = len(lines) - 2
    kafka = next(jar.version for jar in pinned() if jar.artifact == "kafka-clients")
    head = (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, Apache Kafka {kafka}: {count} stories."
    )
    page.write_text("\n".join([f"{before}{_BEGIN}", head, "", *lines, f"{_END}{after}"]))
