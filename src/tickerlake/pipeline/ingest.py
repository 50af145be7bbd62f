"""Files → Kafka, each row exactly once.

Rows and the checkpoint of each file are written in one Kafka transaction; checkpoints live in the compacted
topic `PROGRESS_TOPIC`. If the process is killed at any time and run again on the same file, the topic (read
committed) holds each row once.
"""

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import polars as pl

from tickerlake import clock, failpoints
from tickerlake.errors import DataError, KafkaError
from tickerlake.kafka.admin import Admin, Topic
from tickerlake.kafka.probe import newest_records
from tickerlake.kafka.producer import Producer
from tickerlake.kafka.reader import read_all
from tickerlake.lake.topic import check_topic
from tickerlake.model.json import find_known_schema, to_json_lines
from tickerlake.parallel import prefetch
from tickerlake.pipeline.defaults import PARTITIONS
from tickerlake.pipeline.locks import hold_locks
from tickerlake.sources.pace import Pace
from tickerlake.sources.source import Counts, Fingerprint, Source

PROGRESS_TOPIC = "tickerlake.progress"
_PREFETCH_BATCHES = 2
"""The next batches are read and encoded while one is sent; more would only cost memory."""

_SCHEMA_TIMEOUT_S = 10.0
"""Bounds the search for the schema of a topic that holds few records of tickerlake."""

_UNLIMITED_RETENTION = {"retention.ms": "-1"}


class Checkpoint(msgspec.Struct, frozen=True):
    """How far one part of a source (a file) has been written to one topic.

    Parameters
    ----------
    fingerprint
        Size and digest of the part: it must not change between runs.
    rows_done
        The position in the part, from which the next run resumes.
    records, rejects
        How many have been written.
    finished
        True if the part has no more rows.
    """

    fingerprint: str
    rows_done: int
    records: int
    rejects: int
    finished: bool


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """How rows are sent.

    Parameters
    ----------
    rows_per_s, speed, max_wait_s, paced_from_ns
        The pace, see :class:`tickerlake.sources.pace.Pace`; by default as fast as possible.
    batch_rows
        Rows that are read and encoded at once.
    transaction_rows, commit_interval_s
        A transaction is committed after this many rows or seconds, or when the next row is not due yet. Long
        transactions cost less; short ones let readers of committed records see rows sooner.
    partitions
        Of the topic, if it is created.
    create_topic
        False to raise an error if the topic is missing.
    schema
        The schema of the records, such as ``bar.v1``: a topic whose newest records name another schema of
        tickerlake is refused. Default: any topic is accepted.
    """

    rows_per_s: float | None = None
    speed: float | None = None
    max_wait_s: float | None = None
    paced_from_ns: int | None = None
    batch_rows: int = 50_000
    transaction_rows: int = 200_000
    commit_interval_s: float = 1.0
    partitions: int = PARTITIONS
    create_topic: bool = True
    schema: str = ""


@dataclass(frozen=True, slots=True)
class IngestProgress:
    """Progress of one part of a source, or of all parts together.

    ``records`` and ``rejects`` are in the topics, ``new_records`` of them written by this run;
    ``rows_done`` of ``rows`` have been read. The next row is due in ``next_s`` seconds.
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
    """Rows as messages, when they are due, and the position after them."""

    due_s: float
    keys: list[bytes]
    values: list[bytes]
    rejects: list[bytes]
    position: tuple[int, ...]
    counts: Mapping[int, Counts]


class Ingest:
    """Writes sources to one topic.

    Parameters
    ----------
    bootstrap_servers, properties
        How to reach the cluster.
    topic
        The topic for records; rejects go to ``<topic>.rejects``.
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
        self._is_checked = False

    def prepare(self) -> bool:
        """Create missing topics; return whether the topic itself was missing."""
        created = self.admin.describe_topic(self.topic) is None
        if created:
            if not self.options.create_topic:
                raise KafkaError(
                    f"{self.bootstrap_servers} has no topic {self.topic}.",
                    "Create it, or omit --no-create.",
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
        """Write the rows of a source that have not been written yet.

        Parameters
        ----------
        source
            The source. A live feed is written until ``stop`` is set.
        stop
            Ends the run early; what has been read is committed.
        on_progress
            Receives the progress of all parts together after each commit.
        identities
            The key of each part's checkpoint: a file's full path, since many folders may have an
            ``AAPL.csv``. Default: the names of the parts.

        Returns
        -------
        list of IngestProgress
            The progress of each part.

        Raises
        ------
        DataError
            A file has changed since a part of it was written, or the topic holds records of another schema.
        Fenced
            Another process writes one of the files to the same topic.
        """
        topic = self.admin.require_topic(self.topic)
        fingerprints = source.fingerprints
        names = identities or [fingerprint.name for fingerprint in fingerprints]
        # the topic's id is part of the key: a recreated topic has no rows of the file
        keys = [f"{topic.topic_id} {name}".encode() for name in names]
        work_id = hashlib.blake2b(b"\0".join(sorted(keys)), digest_size=8).hexdigest()
        with hold_locks([hashlib.blake2b(key, digest_size=16).hexdigest() for key in keys]):
            name = f"tickerlake-{self.topic}-{work_id}"
            producer = Producer(self.bootstrap_servers, name, self.properties, stop=stop)
            checkpoints = self._load_checkpoints(keys)
            resumed = [
                self._check_unchanged(fingerprint, checkpoint)
                for fingerprint, checkpoint in zip(fingerprints, checkpoints, strict=True)
            ]
            if not all(checkpoint.finished for checkpoint in resumed):
                self._check_schema(topic)
            run = _Run(self, source, keys, resumed, producer, on_progress or (lambda _: None))
            try:
                return run.write(stop)
            except DataError:
                producer.abort()
                raise

    def _check_schema(self, topic: Topic) -> None:
        """Raise an error if the newest records of the topic name another schema; once."""
        schema = self.options.schema
        if not schema or self._is_checked:
            return
        self._is_checked = True
        newest = newest_records(
            self.bootstrap_servers,
            self.properties,
            topic.name,
            topic.partitions,
            find_known_schema,
            _SCHEMA_TIMEOUT_S,
        )
        for number, (offset, name) in sorted(newest.items()):
            if name != schema:
                raise DataError(
                    f"{topic.name} holds {name} (read offset {offset} of partition {number}); "
                    f"these records are {schema}.",
                    "Use another --topic, or --mix.",
                )

    def _check_unchanged(self, fingerprint: Fingerprint, checkpoint: Checkpoint | None) -> Checkpoint:
        """Return the checkpoint of a part, a new one for a part that has none."""
        content = f"{fingerprint.size} {fingerprint.digest}"
        if checkpoint and checkpoint.fingerprint != content:
            raise DataError(
                f"{fingerprint.name} has changed since {checkpoint.rows_done} of its rows "
                f"were written to {self.topic}.",
                "Restore it, or give the new content another file name: it is then written as another file.",
            )
        return checkpoint or Checkpoint(content, 0, 0, 0, finished=False)

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
        return [_decode_checkpoint(last[key]) if key in last else None for key in keys]


def _decode_checkpoint(value: bytes) -> Checkpoint:
    try:
        return msgspec.json.decode(value, type=Checkpoint)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        # not the one before it: what it does not count would be written twice
        raise DataError(
            f"The last checkpoint of this file in the topic {PROGRESS_TOPIC} cannot be read: "
            "another program or a later release wrote it.",
            "Use the release that wrote it, or rename the file: it is then written as another one.",
        ) from error


class _Run:
    """One run over a source: transactions of rows and checkpoints."""

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
        if all(checkpoint.finished for checkpoint in self._checkpoints):
            return self._progress()
        for batch in prefetch(_message_batches(self._source, self._position, options), _PREFETCH_BATCHES):
            wait_s = batch.due_s - (clock.monotonic_s() - run_start_s)
            if wait_s > 0:
                self._commit(wait_s)
                stop.wait(wait_s)
            if stop.is_set():
                break
            # a live feed yields batches without rows while nothing arrives
            if batch.position != self._position:
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
            self._checkpoints = [msgspec.structs.replace(each, finished=True) for each in self._checkpoints]
        self._commit()
        return self._progress()

    @property
    def _is_transaction_open(self) -> bool:
        return self._checkpoints != self._committed

    @property
    def _position(self) -> tuple[int, ...]:
        return tuple(checkpoint.rows_done for checkpoint in self._checkpoints)

    @property
    def _uncommitted_rows(self) -> int:
        return sum(self._position) - sum(checkpoint.rows_done for checkpoint in self._committed)

    def _advance(self, batch: _MessageBatch) -> None:
        for number, checkpoint in enumerate(self._checkpoints):
            counts = batch.counts.get(number, Counts(0, 0))
            self._checkpoints[number] = msgspec.structs.replace(
                checkpoint,
                rows_done=batch.position[number],
                records=checkpoint.records + counts.records,
                rejects=checkpoint.rejects + counts.rejects,
            )

    def _commit(self, next_s: float = 0.0) -> None:
        changed = [n for n, each in enumerate(self._checkpoints) if each != self._committed[n]]
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
    source: Source, start_position: Sequence[int], options: IngestOptions
) -> Iterator[_MessageBatch]:
    pace = Pace(options.rows_per_s, options.speed, options.max_wait_s, options.paced_from_ns)
    for batch in source.batches(start_position, options.batch_rows):
        for due_s, part in pace.parts(batch):
            records = part.records
            yield _MessageBatch(
                due_s,
                records.get_column("instrument_id").cast(pl.Binary).to_list(),
                to_json_lines(records),
                [reject.to_json().encode() for reject in part.rejects],
                part.position,
                part.counts(),
            )
