"""Files → Kafka, each row exactly once.

Rows and the note of how far the file has been read are written in one Kafka transaction; the note
lives in the compacted topic `PROGRESS_TOPIC`. Killed at any moment and run again on the same file,
the topic (read committed) holds each row once.
"""

import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from tickerlake import clock
from tickerlake.errors import DataError, KafkaError, UsageError
from tickerlake.kafka.admin import Admin
from tickerlake.kafka.consumer import read_all
from tickerlake.kafka.producer import Producer
from tickerlake.lake.segment import check_topic
from tickerlake.model.json import to_json_lines
from tickerlake.sources.csv.read import CsvSource, Table

PROGRESS_TOPIC = "tickerlake.progress"
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

    ``rate_s`` limits rows a second (None: as fast as possible), ``batch_rows`` is the size of a
    transaction, ``partitions`` and ``create`` say what happens if the topic is missing.
    """

    rate_s: float | None = None
    batch_rows: int = 50_000
    partitions: int = 4
    create: bool = True


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of one file; ``new_records`` were written by this run."""

    source: str
    records: int
    rejects: int
    new_records: int
    finished: bool


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
        done, began_s = _ingested(source, note, 0), clock.monotonic_s()
        if note.finished:
            return done
        for table in source.batches(skip_rows=note.rows_done, batch_rows=self._batch_rows()):
            note = Note(
                note.fingerprint,
                table.rows_done,
                note.records + table.records.height,
                note.rejects + len(table.rejects),
                finished=False,
            )
            self._send(producer, table, key, note)
            done = _ingested(source, note, done.new_records + table.records.height)
            if on_progress:
                on_progress(done)
            if self.options.rate_s:
                stop.wait(max(0.0, began_s + done.new_records / self.options.rate_s - clock.monotonic_s()))
            if stop.is_set():
                return done
        note = msgspec.structs.replace(note, finished=True)
        self._send(producer, None, key, note)
        return _ingested(source, note, done.new_records)

    def _batch_rows(self) -> int:
        rate = self.options.rate_s
        if rate is not None and rate <= 0:
            raise UsageError(
                f"--rate {rate:g} is not a rate.", "Give rows a second, for example --rate 500/s."
            )
        return (
            self.options.batch_rows if rate is None else max(1, min(self.options.batch_rows, int(rate / 5)))
        )

    def _send(self, producer: Producer, table: Table | None, key: bytes, note: Note) -> None:
        if table and table.rejects:
            self.admin.create(f"{self.topic}.rejects", 1, _FOREVER)
        producer.begin()
        if table:
            frame = table.records
            keys = [text.encode() for text in frame.get_column("instrument_id").to_list()]
            producer.send(self.topic, keys, to_json_lines(frame))
            values = [reject.to_json().encode() for reject in table.rejects]
            producer.send(f"{self.topic}.rejects", [None] * len(values), values)
        producer.send(PROGRESS_TOPIC, [key], [msgspec.json.encode(note)])
        producer.commit()

    def _last_note(self, key: bytes) -> Note | None:
        last = None
        for batch in read_all(self.bootstrap_servers, self.properties, PROGRESS_TOPIC, {0: 0}):
            for noted, value in batch.frame.select("key", "value").iter_rows():
                if noted == key and value is not None:
                    last = value
        return msgspec.json.decode(last, type=Note) if last is not None else None


def _ingested(source: CsvSource, note: Note, new_records: int) -> Ingested:
    return Ingested(source.fingerprint.name, note.records, note.rejects, new_records, note.finished)
