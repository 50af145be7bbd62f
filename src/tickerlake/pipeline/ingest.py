"""Files → Kafka, each row exactly once.

Rows and the note of how far the file has been read are written in one Kafka transaction; the note
lives in the compacted topic `PROGRESS_TOPIC`. Killed at any moment and run again on the same file,
the topic (read committed) holds each row once.
"""

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import msgspec
import polars as pl

from tickerlake import clock
from tickerlake.errors import DataError, KafkaError
from tickerlake.kafka.admin import Admin
from tickerlake.kafka.consumer import read_all
from tickerlake.kafka.producer import Producer
from tickerlake.lake.segment import check_topic
from tickerlake.model.json import to_json_lines
from tickerlake.pipeline.pace import Pace
from tickerlake.sources.ahead import ahead
from tickerlake.sources.csv.read import CsvSource

PROGRESS_TOPIC = "tickerlake.progress"
_LOADS_AHEAD = 2
_FOREVER = {"retention.ms": "-1"}


class Note(msgspec.Struct, frozen=True):
    """How far one file has been written to one topic."""

    fingerprint: str
    rows_done: int
    records: int
    rejects: int
    finished: bool


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """How rows are sent.

    ``rate_s`` (rows a second) or ``speed`` (seconds of event time in a second) limit the pace; without them
    it is as fast as possible. A transaction is committed at ``transaction_rows`` rows, after ``commit_s``
    seconds, or when the next row is not due yet. ``batch_rows`` are read and encoded at once.
    ``partitions`` and ``create`` say what happens if the topic is missing.
    """

    rate_s: float | None = None
    speed: float | None = None
    batch_rows: int = 50_000
    transaction_rows: int = 200_000
    commit_s: float = 1.0
    partitions: int = 4
    create: bool = True


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of one file so far.

    ``records`` and ``rejects`` are in the topics, ``new_records`` of them written by this run;
    ``rows_done`` of the file's ``rows`` are read. ``next_s`` says in how many seconds the next row is due.
    """

    source: str
    records: int
    rejects: int
    new_records: int
    finished: bool
    rows_done: int
    rows: int
    next_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Load:
    """Rows of a file as messages, and when they are due."""

    due_s: float
    keys: list[bytes]
    values: list[bytes]
    rejects: list[bytes]
    rows_done: int


class Ingest:
    """Writes files to one topic.

    Parameters
    ----------
    bootstrap_servers, properties
        How to reach the cluster.
    topic
        Where the records go; rejected rows go to ``<topic>.rejects``.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        topic: str,
        options: IngestOptions | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.topic = check_topic(topic)
        self.options = options or IngestOptions()
        self.properties = dict(properties or {})
        self.admin = Admin(bootstrap_servers, self.properties)
        self._rejects_kept = False

    def prepare(self) -> bool:
        """Create the topics that are missing; True if the topic itself was."""
        created = self.admin.describe(self.topic) is None
        if created:
            if not self.options.create:
                raise KafkaError(
                    f"{self.bootstrap_servers} has no topic {self.topic}.",
                    "Create it, or leave out --no-create.",
                )
            self.admin.create(self.topic, self.options.partitions)
        if self.admin.describe(PROGRESS_TOPIC) is None:
            self.admin.create(PROGRESS_TOPIC, 1, {"cleanup.policy": "compact"})
        return created

    def run(
        self,
        source: CsvSource,
        stop: threading.Event,
        on_progress: Callable[[Ingested], None] | None = None,
        identity: str | None = None,
    ) -> Ingested:
        """Write what is not yet written of one file; returns early if ``stop`` is set.

        Parameters
        ----------
        identity
            What the file's progress is kept under: its full path, since many folders may hold an
            ``AAPL.csv``. Default: the source's own name.

        Raises
        ------
        DataError
            The file changed since a part of it was written.
        Fenced
            Another process writes the same file to the same topic.
        """
        about = self.admin.require(self.topic)
        # the topic's id is part of the key: a topic created anew holds none of the file
        name, content = source.fingerprint.name, f"{source.fingerprint.size} {source.fingerprint.digest}"
        key = f"{about.topic_id} {identity or name}".encode()
        work = hashlib.blake2b(key, digest_size=8).hexdigest()
        producer = Producer(self.bootstrap_servers, f"tickerlake-{self.topic}-{work}", self.properties)
        note = self._last_note(key)
        if note and note.fingerprint != content:
            raise DataError(
                f"{name} changed since {note.rows_done} of its rows were written to {self.topic}.",
                "Restore it, or give the new content another file name: "
                "it will be written as a file of its own.",
            )
        note = note or Note(content, 0, 0, 0, finished=False)
        if note.finished:
            return _ingested(source, note, 0)
        try:
            return self._write(source, key, note, producer, stop, on_progress or (lambda _: None))
        except DataError:
            producer.abort()
            raise

    def _write(
        self,
        source: CsvSource,
        key: bytes,
        note: Note,
        producer: Producer,
        stop: threading.Event,
        on_progress: Callable[[Ingested], None],
    ) -> Ingested:
        options, before = self.options, note.records
        committed, opened_s, began_s = note, 0.0, clock.monotonic_s()

        def commit(note: Note, next_s: float = 0.0) -> Ingested:
            producer.send(PROGRESS_TOPIC, [key], [msgspec.json.encode(note)])
            producer.commit()
            now = _ingested(source, note, note.records - before, next_s)
            on_progress(now)
            return now

        for load in ahead(_loads(source, note.rows_done, options), _LOADS_AHEAD):
            early_s = load.due_s - (clock.monotonic_s() - began_s)
            if early_s > 0:
                if note is not committed:
                    commit(note, early_s)
                    committed = note
                stop.wait(early_s)
            if stop.is_set():
                break
            if note is committed:
                producer.begin()
                opened_s = clock.monotonic_s()
            self._send(producer, load)
            note = Note(
                note.fingerprint,
                load.rows_done,
                note.records + len(load.values),
                note.rejects + len(load.rejects),
                finished=False,
            )
            rows, age_s = note.rows_done - committed.rows_done, clock.monotonic_s() - opened_s
            if rows >= options.transaction_rows or age_s >= options.commit_s:
                commit(note)
                committed = note
        if stop.is_set():
            return commit(note) if note is not committed else _ingested(source, note, note.records - before)
        if note is committed:
            producer.begin()
        return commit(msgspec.structs.replace(note, finished=True))

    def _send(self, producer: Producer, load: _Load) -> None:
        producer.send(self.topic, load.keys, load.values)
        if load.rejects:
            if not self._rejects_kept:
                self.admin.create(f"{self.topic}.rejects", 1, _FOREVER)
                self._rejects_kept = True
            producer.send(f"{self.topic}.rejects", [None] * len(load.rejects), load.rejects)

    def _last_note(self, key: bytes) -> Note | None:
        last = None
        for batch in read_all(self.bootstrap_servers, self.properties, PROGRESS_TOPIC, {0: 0}):
            for noted, value in batch.frame.select("key", "value").iter_rows():
                if noted == key and value is not None:
                    last = value
        return msgspec.json.decode(last, type=Note) if last is not None else None


def _loads(source: CsvSource, skip_rows: int, options: IngestOptions) -> Iterator[_Load]:
    pace = Pace(options.rate_s, options.speed)
    for table in source.batches(skip_rows, options.batch_rows):
        for due_s, part in pace.parts(table):
            frame = part.records
            yield _Load(
                due_s,
                frame.get_column("instrument_id").cast(pl.Binary).to_list(),
                to_json_lines(frame),
                [reject.to_json().encode() for reject in part.rejects],
                part.rows_done,
            )


def _ingested(source: CsvSource, note: Note, new_records: int, next_s: float = 0.0) -> Ingested:
    return Ingested(
        source.fingerprint.name,
        note.records,
        note.rejects,
        new_records,
        note.finished,
        note.rows_done,
        source.rows,
        next_s,
    )
