"""Files → Kafka, each row exactly once.

Rows and the note of how far the file has been read are written in one Kafka transaction; the note
lives in the compacted topic `PROGRESS_TOPIC`. Killed at any moment and run again on the same file,
the topic (read committed) holds each row once.
"""

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import polars as pl

from tickerlake import clock, failpoints
from tickerlake.errors import DataError, KafkaError
from tickerlake.kafka.admin import Admin
from tickerlake.kafka.producer import Producer
from tickerlake.kafka.reader import read_all
from tickerlake.lake.topic import check_topic
from tickerlake.model.json import to_json_lines
from tickerlake.parallel import prefetch
from tickerlake.pipeline.locks import hold_locks
from tickerlake.sources.csv.parse import FILE_NUMBER, IS_RECORD, IS_REJECT
from tickerlake.sources.pace import Pace
from tickerlake.sources.source import Batch, Source

PROGRESS_TOPIC = "tickerlake.progress"
_PREFETCH_BATCHES = 2
_UNLIMITED_RETENTION = {"retention.ms": "-1"}


class Checkpoint(msgspec.Struct, frozen=True):
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
    it is as fast as possible. ``longest_s`` is how long a silence of the event time is kept, and what is
    before ``paced_from_ns`` is sent at once. A transaction is committed at ``transaction_rows`` rows, after
    ``commit_s`` seconds, or when the next row is not due yet. ``batch_rows`` are read and encoded at once.
    ``partitions`` and ``create`` say what happens if the topic is missing.
    """

    rows_per_s: float | None = None
    speed: float | None = None
    max_wait_s: float | None = None
    paced_from_ns: int | None = None
    batch_rows: int = 50_000
    transaction_rows: int = 200_000
    commit_interval_s: float = 1.0
    partitions: int = 4
    create_topic: bool = True


@dataclass(frozen=True, slots=True)
class IngestProgress:
    """What became of one part of a source so far, or of all of them.

    ``records`` and ``rejects`` are in the topics, ``new_records`` of them written by this run;
    ``rows_done`` of the source's ``rows`` are read. ``next_s`` says in how many seconds the next row is due.
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
class _MessageBatch:
    """Rows as messages, and when they are due; records and rejects are counted for each part."""

    due_s: float
    keys: list[bytes]
    values: list[bytes]
    rejects: list[bytes]
    cursor: tuple[int, ...]
    records_by_part: dict[int, int]
    rejects_by_part: dict[int, int]


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
        self._has_rejects_topic = False

    def prepare(self) -> bool:
        """Create the topics that are missing; True if the topic itself was."""
        created = self.admin.describe_topic(self.topic) is None
        if created:
            if not self.options.create_topic:
                raise KafkaError(
                    f"{self.bootstrap_servers} has no topic {self.topic}.",
                    "Create it, or leave out --no-create.",
                )
            self.admin.create_topic(self.topic, self.options.partitions)
        if self.admin.describe_topic(PROGRESS_TOPIC) is None:
            self.admin.create_topic(PROGRESS_TOPIC, 1, {"cleanup.policy": "compact"})
        return created

    def run(
        self,
        source: Source,
        stop: threading.Event,
        on_progress: Callable[[IngestProgress], None] | None = None,
        identities: Sequence[str] | None = None,
    ) -> list[IngestProgress]:
        """Write what is not yet written of a source; returns early if ``stop`` is set.

        Parameters
        ----------
        on_progress
            Told of all parts together.
        identities
            What each part's progress is kept under: a file's full path, since many folders may hold an
            ``AAPL.csv``. Default: the parts' own names.

        Returns
        -------
        list of Ingested
            What became of each part.

        Raises
        ------
        DataError
            A file changed since a part of it was written.
        Fenced
            Another process writes one of the files to the same topic.
        """
        topic = self.admin.require_topic(self.topic)
        fingerprints = source.fingerprints
        names = identities or [fingerprint.name for fingerprint in fingerprints]
        # the topic's id is part of the key: a topic created anew holds none of the file
        keys = [f"{topic.topic_id} {name}".encode() for name in names]
        work_id = hashlib.blake2b(b"\0".join(sorted(keys)), digest_size=8).hexdigest()
        with hold_locks([hashlib.blake2b(key, digest_size=16).hexdigest() for key in keys]):
            producer = Producer(self.bootstrap_servers, f"tickerlake-{self.topic}-{work_id}", self.properties)
            checkpoints = self._load_checkpoints(keys)
            for number, (each, note) in enumerate(zip(fingerprints, list(checkpoints), strict=True)):
                content = f"{each.size} {each.digest}"
                if note and note.fingerprint != content:
                    raise DataError(
                        f"{each.name} changed since {note.rows_done} of its rows "
                        f"were written to {self.topic}.",
                        "Restore it, or give the new content another file name: "
                        "it will be written as a file of its own.",
                    )
                checkpoints[number] = note or Checkpoint(content, 0, 0, 0, finished=False)
            run = _Run(
                self,
                source,
                keys,
                [checkpoint for checkpoint in checkpoints if checkpoint],
                producer,
                on_progress or (lambda _: None),
            )
            try:
                return run.write(stop)
            except DataError:
                producer.abort()
                raise

    def send(self, producer: Producer, batch: _MessageBatch) -> None:
        """Send rows in the open transaction."""
        producer.send(self.topic, batch.keys, batch.values)
        if batch.rejects:
            if not self._has_rejects_topic:
                self.admin.create_topic(f"{self.topic}.rejects", 1, _UNLIMITED_RETENTION)
                self._has_rejects_topic = True
            producer.send(f"{self.topic}.rejects", [None] * len(batch.rejects), batch.rejects)

    def _load_checkpoints(self, keys: Sequence[bytes]) -> list[Checkpoint | None]:
        last: dict[bytes, bytes] = {}
        for batch in read_all(self.bootstrap_servers, self.properties, PROGRESS_TOPIC, {0: 0}):
            for record_key, value in batch.frame.select("key", "value").iter_rows():
                if record_key in keys and value is not None:
                    last[record_key] = value
        return [msgspec.json.decode(last[key], type=Checkpoint) if key in last else None for key in keys]


class _Run:
    """One run over a source: transactions of rows and of the notes of how far each part has been written."""

    def __init__(
        self,
        ingest: Ingest,
        source: Source,
        keys: Sequence[bytes],
        checkpoints: list[Checkpoint],
        producer: Producer,
        on_progress: Callable[[IngestProgress], None],
    ) -> None:
        self._ingest = ingest
        self._source = source
        self._keys = keys
        self._initial = list(checkpoints)
        self._checkpoints = checkpoints
        self._committed = list(checkpoints)
        self._producer = producer
        self._on_progress = on_progress

    def write(self, stop: threading.Event) -> list[IngestProgress]:
        options, transaction_start_s, run_start_s = self._ingest.options, 0.0, clock.monotonic_s()
        if all(note.finished for note in self._checkpoints):
            return self._progress()
        cursor = [note.rows_done for note in self._checkpoints]
        for batch in prefetch(_message_batches(self._source, cursor, options), _PREFETCH_BATCHES):
            wait_s = batch.due_s - (clock.monotonic_s() - run_start_s)
            if wait_s > 0:
                self._commit(wait_s)
                stop.wait(wait_s)
            if stop.is_set():
                break
            if not self._is_transaction_open:
                self._producer.begin()
                transaction_start_s = clock.monotonic_s()
            self._ingest.send(self._producer, batch)
            failpoints.reach("ingest.sent")
            self._advance(batch)
            if (
                self._uncommitted_rows >= options.transaction_rows
                or clock.monotonic_s() - transaction_start_s >= options.commit_interval_s
            ):
                self._commit()
        if not stop.is_set():
            if not self._is_transaction_open:
                self._producer.begin()
            self._checkpoints = [msgspec.structs.replace(note, finished=True) for note in self._checkpoints]
        self._commit()
        return self._progress()

    @property
    def _is_transaction_open(self) -> bool:
        return self._checkpoints != self._committed

    @property
    def _uncommitted_rows(self) -> int:
        return sum(checkpoint.rows_done for checkpoint in self._checkpoints) - sum(
            note.rows_done for note in self._committed
        )

    def _advance(self, batch: _MessageBatch) -> None:
        self._checkpoints = [
            msgspec.structs.replace(
                checkpoint,
                rows_done=batch.cursor[number],
                records=checkpoint.records + batch.records_by_part.get(number, 0),
                rejects=checkpoint.rejects + batch.rejects_by_part.get(number, 0),
            )
            for number, checkpoint in enumerate(self._checkpoints)
        ]

    def _commit(self, next_s: float = 0.0) -> None:
        changed = [n for n, note in enumerate(self._checkpoints) if note != self._committed[n]]
        if not changed:
            return
        values = [msgspec.json.encode(self._checkpoints[n]) for n in changed]
        self._producer.send(PROGRESS_TOPIC, [self._keys[n] for n in changed], values)
        failpoints.reach("ingest.checkpointed")
        self._producer.commit()
        failpoints.reach("ingest.committed")
        self._committed = list(self._checkpoints)
        self._on_progress(_total(self._progress(), self._source.rows, next_s))

    def _progress(self) -> list[IngestProgress]:
        return [
            IngestProgress(
                fingerprint.name,
                checkpoint.records,
                checkpoint.rejects,
                checkpoint.records - initial.records,
                checkpoint.finished,
                checkpoint.rows_done,
                checkpoint.rows_done
                if checkpoint.finished
                else self._source.rows
                if len(self._checkpoints) == 1
                else 0,
            )
            for fingerprint, checkpoint, initial in zip(
                self._source.fingerprints, self._committed, self._initial, strict=True
            )
        ]


def _total(parts: Sequence[IngestProgress], rows: int, next_s: float) -> IngestProgress:
    return IngestProgress(
        parts[0].source if len(parts) == 1 else f"{len(parts):,} files",
        sum(part.records for part in parts),
        sum(part.rejects for part in parts),
        sum(part.new_records for part in parts),
        all(part.finished for part in parts),
        sum(part.rows_done for part in parts),
        rows,
        next_s,
    )


def _message_batches(
    source: Source, cursor: Sequence[int], options: IngestOptions
) -> Iterator[_MessageBatch]:
    pace = Pace(options.rows_per_s, options.speed, options.max_wait_s, options.paced_from_ns)
    for batch in source.batches(cursor, options.batch_rows):
        for due_s, part in pace.parts(batch):
            frame, rejects = part.records, part.rejects
            yield _MessageBatch(
                due_s,
                frame.get_column("instrument_id").cast(pl.Binary).to_list(),
                to_json_lines(frame),
                [reject.to_json().encode() for reject in rejects],
                part.position,
                _count_by_part(part, frame.height, records=True),
                _count_by_part(part, len(rejects), records=False),
            )


def _count_by_part(part: Batch, total: int, *, records: bool) -> dict[int, int]:
    """Count records or rejects for each part of the source."""
    if len(part.position) == 1 or not total:
        return {0: total} if total else {}
    predicate = IS_RECORD if records else IS_REJECT
    counts = part.rows.filter(predicate).get_column(FILE_NUMBER).value_counts()
    return dict(counts.iter_rows())
