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
from tickerlake.kafka.consumer import read_all
from tickerlake.kafka.producer import Producer
from tickerlake.lake.segment import check_topic
from tickerlake.model.json import to_json_lines
from tickerlake.pipeline.locks import held
from tickerlake.pipeline.pace import Pace
from tickerlake.sources.ahead import ahead
from tickerlake.sources.csv.parse import FILE, IS_RECORD, IS_REJECT
from tickerlake.sources.source import Batch, Source

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
    it is as fast as possible. ``longest_s`` is how long a silence of the event time is kept, and what is
    before ``paced_from_ns`` is sent at once. A transaction is committed at ``transaction_rows`` rows, after
    ``commit_s`` seconds, or when the next row is not due yet. ``batch_rows`` are read and encoded at once.
    ``partitions`` and ``create`` say what happens if the topic is missing.
    """

    rate_s: float | None = None
    speed: float | None = None
    longest_s: float | None = None
    paced_from_ns: int | None = None
    batch_rows: int = 50_000
    transaction_rows: int = 200_000
    commit_s: float = 1.0
    partitions: int = 4
    create: bool = True


@dataclass(frozen=True, slots=True)
class Ingested:
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
class _Load:
    """Rows as messages, and when they are due; records and rejects are counted for each part."""

    due_s: float
    keys: list[bytes]
    values: list[bytes]
    rejects: list[bytes]
    done: tuple[int, ...]
    records_of: dict[int, int]
    rejects_of: dict[int, int]


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
        source: Source,
        stop: threading.Event,
        on_progress: Callable[[Ingested], None] | None = None,
        identities: Sequence[str] | None = None,
    ) -> list[Ingested]:
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
        about = self.admin.require(self.topic)
        prints = source.fingerprints
        names = identities or [each.name for each in prints]
        # the topic's id is part of the key: a topic created anew holds none of the file
        keys = [f"{about.topic_id} {name}".encode() for name in names]
        work = hashlib.blake2b(b"\0".join(sorted(keys)), digest_size=8).hexdigest()
        with held([hashlib.blake2b(key, digest_size=16).hexdigest() for key in keys]):
            producer = Producer(self.bootstrap_servers, f"tickerlake-{self.topic}-{work}", self.properties)
            notes = self._last_notes(keys)
            for number, (each, note) in enumerate(zip(prints, list(notes), strict=True)):
                content = f"{each.size} {each.digest}"
                if note and note.fingerprint != content:
                    raise DataError(
                        f"{each.name} changed since {note.rows_done} of its rows "
                        f"were written to {self.topic}.",
                        "Restore it, or give the new content another file name: "
                        "it will be written as a file of its own.",
                    )
                notes[number] = note or Note(content, 0, 0, 0, finished=False)
            run = _Run(
                self,
                source,
                keys,
                [note for note in notes if note],
                producer,
                on_progress or (lambda _: None),
            )
            try:
                return run.write(stop)
            except DataError:
                producer.abort()
                raise

    def send(self, producer: Producer, load: _Load) -> None:
        """Send rows in the open transaction."""
        producer.send(self.topic, load.keys, load.values)
        if load.rejects:
            if not self._rejects_kept:
                self.admin.create(f"{self.topic}.rejects", 1, _FOREVER)
                self._rejects_kept = True
            producer.send(f"{self.topic}.rejects", [None] * len(load.rejects), load.rejects)

    def _last_notes(self, keys: Sequence[bytes]) -> list[Note | None]:
        last: dict[bytes, bytes] = {}
        for batch in read_all(self.bootstrap_servers, self.properties, PROGRESS_TOPIC, {0: 0}):
            for noted, value in batch.frame.select("key", "value").iter_rows():
                if noted in keys and value is not None:
                    last[noted] = value
        return [msgspec.json.decode(last[key], type=Note) if key in last else None for key in keys]


class _Run:
    """One run over a source: transactions of rows and of the notes of how far each part has been written."""

    def __init__(
        self,
        ingest: Ingest,
        source: Source,
        keys: Sequence[bytes],
        notes: list[Note],
        producer: Producer,
        on_progress: Callable[[Ingested], None],
    ) -> None:
        self._ingest = ingest
        self._source = source
        self._keys = keys
        self._before = list(notes)
        self._notes = notes
        self._committed = list(notes)
        self._producer = producer
        self._on_progress = on_progress

    def write(self, stop: threading.Event) -> list[Ingested]:
        options, opened_s, began_s = self._ingest.options, 0.0, clock.monotonic_s()
        if all(note.finished for note in self._notes):
            return self._outcome()
        start = [note.rows_done for note in self._notes]
        for load in ahead(_loads(self._source, start, options), _LOADS_AHEAD):
            early_s = load.due_s - (clock.monotonic_s() - began_s)
            if early_s > 0:
                self._commit(early_s)
                stop.wait(early_s)
            if stop.is_set():
                break
            if not self._open:
                self._producer.begin()
                opened_s = clock.monotonic_s()
            self._ingest.send(self._producer, load)
            failpoints.reach("ingest.sent")
            self._note(load)
            if self._rows >= options.transaction_rows or clock.monotonic_s() - opened_s >= options.commit_s:
                self._commit()
        if not stop.is_set():
            if not self._open:
                self._producer.begin()
            self._notes = [msgspec.structs.replace(note, finished=True) for note in self._notes]
        self._commit()
        return self._outcome()

    @property
    def _open(self) -> bool:
        return self._notes != self._committed

    @property
    def _rows(self) -> int:
        return sum(note.rows_done for note in self._notes) - sum(note.rows_done for note in self._committed)

    def _note(self, load: _Load) -> None:
        self._notes = [
            msgspec.structs.replace(
                note,
                rows_done=load.done[number],
                records=note.records + load.records_of.get(number, 0),
                rejects=note.rejects + load.rejects_of.get(number, 0),
            )
            for number, note in enumerate(self._notes)
        ]

    def _commit(self, next_s: float = 0.0) -> None:
        changed = [n for n, note in enumerate(self._notes) if note != self._committed[n]]
        if not changed:
            return
        notes = [msgspec.json.encode(self._notes[n]) for n in changed]
        self._producer.send(PROGRESS_TOPIC, [self._keys[n] for n in changed], notes)
        failpoints.reach("ingest.noted")
        self._producer.commit()
        failpoints.reach("ingest.committed")
        self._committed = list(self._notes)
        self._on_progress(_sum(self._outcome(), self._source.rows, next_s))

    def _outcome(self) -> list[Ingested]:
        return [
            Ingested(
                print_.name,
                note.records,
                note.rejects,
                note.records - before.records,
                note.finished,
                note.rows_done,
                note.rows_done if note.finished else self._source.rows if len(self._notes) == 1 else 0,
            )
            for print_, note, before in zip(
                self._source.fingerprints, self._committed, self._before, strict=True
            )
        ]


def _sum(parts: Sequence[Ingested], rows: int, next_s: float) -> Ingested:
    return Ingested(
        parts[0].source if len(parts) == 1 else f"{len(parts):,} files",
        sum(part.records for part in parts),
        sum(part.rejects for part in parts),
        sum(part.new_records for part in parts),
        all(part.finished for part in parts),
        sum(part.rows_done for part in parts),
        rows,
        next_s,
    )


def _loads(source: Source, done: Sequence[int], options: IngestOptions) -> Iterator[_Load]:
    pace = Pace(options.rate_s, options.speed, options.longest_s, options.paced_from_ns)
    for batch in source.batches(done, options.batch_rows):
        for due_s, part in pace.parts(batch):
            frame, rejects = part.records, part.rejects
            yield _Load(
                due_s,
                frame.get_column("instrument_id").cast(pl.Binary).to_list(),
                to_json_lines(frame),
                [reject.to_json().encode() for reject in rejects],
                part.done,
                _counted(part, frame.height, records=True),
                _counted(part, len(rejects), records=False),
            )


def _counted(part: Batch, total: int, *, records: bool) -> dict[int, int]:
    """Count records or rejects for each part of the source."""
    if len(part.done) == 1 or not total:
        return {0: total} if total else {}
    wanted = IS_RECORD if records else IS_REJECT
    counts = part.rows.filter(wanted).get_column(FILE).value_counts()
    return dict(counts.iter_rows())
