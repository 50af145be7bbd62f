"""What the curated part of a lake consists of: a log of create-only commits. Pure, but for the store.

``curated/_log/<version, 20 digits>.json`` says which files were added, which of the earlier ones they
replace, and up to where each partition's chain has been taken. A file that no commit names does not count,
so a compaction that is killed leaves nothing that a reader could see; of two that run at once, the commit
of one fails and it begins anew. Every `FULL_EVERY` commits one lists all files, so that older ones
need not be read.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Final

import msgspec
import polars as pl

from tickerlake import clock
from tickerlake.errors import LakeError, ObjectMissing
from tickerlake.lake.reader import partitions
from tickerlake.lake.store.base import Store, discard
from tickerlake.lake.topic import TopicMeta
from tickerlake.lake.typed_records import Chunk, chunks, detect_record_type

ROOT: Final = "curated/"
LOG: Final = f"{ROOT}_log/"
REJECTS: Final = f"{ROOT}_rejects/"
FULL_COMMIT_EVERY: Final = 32
_FILE_KEY: Final = re.compile(
    rf"{ROOT}(?P<record_type>[a-z]+)(?:/interval=(?P<interval>[0-9a-z]+))?/date=(?P<date>\d{{4}}-\d\d-\d\d)/"
    r"(?P<version>\d{10})-[0-9a-f]{16}\.parquet"
)
_COMMIT_KEY: Final = re.compile(rf"{LOG}(\d{{20}})\.json")
_MAX_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True, order=True)
class CuratedFolder:
    """A folder of curated files.

    Parameters
    ----------
    kind
        ``bars``, ``trades`` …
    interval
        Of bars and indicators, else empty.
    date
        The first of the exchange days of its rows, from `period`.
    """

    record_type: str
    interval: str
    date: date

    @property
    def prefix(self) -> str:
        """What its keys begin with."""
        interval = f"interval={self.interval}/" if self.interval else ""
        return f"{ROOT}{self.record_type}/{interval}date={self.date.isoformat()}/"


class CuratedFile(msgspec.Struct, frozen=True):
    """One file: where it is, and which instruments (from the first to the last, by name) it holds."""

    key: str
    rows: int
    bytes: int
    crc32c: str
    first: str
    last: str

    @property
    def folder(self) -> CuratedFolder:
        """The folder in which it lies."""
        return parse_folder(self.key)


class ConsumedRange(msgspec.Struct, frozen=True):
    """How much of one partition has been taken: its offsets ``[first_offset, next_offset)``, and what they held."""

    first_offset: int
    next_offset: int
    records: int = 0
    rejects: int = 0


class ConsumedTopic(msgspec.Struct, frozen=True):
    """How much of a topic has been taken, by partition (as text)."""

    record_type: str
    partitions: dict[str, ConsumedRange]


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """One step. ``consumed`` and ``superseded`` are totals; ``added`` lists all files if it is ``full``."""

    version: int
    created_ms: int
    consumed: dict[str, ConsumedTopic]
    superseded: dict[str, int]
    added: list[CuratedFile]
    removed: list[str]
    full: bool
    format: int = 1


@dataclass(frozen=True, slots=True)
class CuratedState:
    """What there is after a number of commits.

    Parameters
    ----------
    version
        How many commits there were.
    taken
        Topics, and how much of each has been taken.
    superseded
        By kind: how many rows gave way to a later revision.
    files
        Those that count, by key.
    """

    version: int = 0
    consumed: dict[str, ConsumedTopic] = field(default_factory=dict)
    superseded: dict[str, int] = field(default_factory=dict)
    files: dict[str, CuratedFile] = field(default_factory=dict)

    def next_offsets(self, topic: str) -> dict[str, int]:
        """Return up to which offset each partition of a topic has been taken, by its number as text."""
        consumed = self.consumed.get(topic)
        return (
            {number: consumed_range.next_offset for number, consumed_range in consumed.partitions.items()}
            if consumed
            else {}
        )

    def files_of(self, record_type: str) -> list[CuratedFile]:
        """Return the files of a kind, by key."""
        prefix = f"{ROOT}{record_type}/"
        return [self.files[key] for key in sorted(self.files) if key.startswith(prefix)]

    def apply(self, commit: Commit) -> "CuratedState":
        """Return what there is after one commit more."""
        removed = self.files if commit.full else set(commit.removed)
        remaining = {key: file for key, file in self.files.items() if key not in removed}
        added = {each.key: each for each in commit.added}
        return CuratedState(commit.version, commit.consumed, commit.superseded, {**remaining, **added})


def parse_folder(key: str) -> CuratedFolder:
    """Return the folder of a curated file's key.

    Raises
    ------
    LakeError
        If it is no such key.
    """
    match = _FILE_KEY.fullmatch(key)
    if not match:
        raise LakeError(
            f"{key} is not the name of a curated file.", "Something else wrote it, or its commit."
        )
    return CuratedFolder(match["record_type"], match["interval"] or "", date.fromisoformat(match["date"]))


def parse_version(key: str) -> int | None:
    """Return for which commit a curated file was written; None if the key is none of a file."""
    match = _FILE_KEY.fullmatch(key)
    return int(match["version"]) if match else None


def folder_date(record_type: str) -> pl.Expr:
    """Return the first of the exchange days that share a folder with that of a row.

    A day has its own, but daily bars and indicators, of which a day has few, share it with their year, and
    alerts with their month.
    """
    day = pl.col("session_date")
    if record_type == "alerts":
        return day.dt.truncate("1mo")
    if record_type not in {"bars", "indicators"}:
        return day
    return pl.when(pl.col("interval") == "1d").then(day.dt.truncate("1y")).otherwise(day)


def pending_chunks(store: Store, topic: TopicMeta, next_offsets: Mapping[str, int]) -> Iterator[Chunk]:
    """Yield what a topic's chains hold beyond what was taken, a partition after the other.

    Parameters
    ----------
    through
        As `State.through` returns it.
    """
    for partition in partitions(store, topic.topic):
        start = next_offsets.get(str(partition), topic.first_position(partition))
        yield from chunks(store, topic, partition, start)


class TopicRecordTypes:
    """What the topics of a lake hold; at each is looked once, for that reads a whole segment."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._cached: dict[str, str | None] = {}

    def find(self, topic: TopicMeta, state: CuratedState | None = None) -> str | None:
        """Return the kind of a topic's records; None if they are none of ours, or there were none yet."""
        name = topic.topic
        if name not in self._cached:
            consumed = state.consumed.get(name) if state else None
            self._cached[name] = consumed.record_type if consumed else detect_record_type(self._store, topic)
        return self._cached[name]

    def refresh(self) -> None:
        """Forget of which topics the kind is not known: they may have records now."""
        self._cached = {name: kind for name, kind in self._cached.items() if kind is not None}


def commit_key(version: int) -> str:
    """Key of a commit."""
    return f"{LOG}{version:020d}.json"


def read_commit(store: Store, version: int) -> Commit:
    """Read one commit; ObjectMissing if there is none."""
    key = commit_key(version)
    try:
        decoded = msgspec.json.decode(store.read(key), type=Commit)
    except msgspec.MsgspecError as error:
        raise LakeError(f"{store.uri}/{key} is damaged: {error}.", REBUILD_HINT) from error
    if decoded.format != 1:
        raise LakeError(
            f"{store.uri}/{key} has the format {decoded.format}, which a newer version wrote.",
            "Update tickerlake.",
        )
    return decoded


REBUILD_HINT: Final = (
    "Restore it, or remove curated/ as a whole: `tickerlake compact` makes it again from raw/."
)


def commit_versions(store: Store) -> list[int]:
    """Return the numbers of the commits that are kept, in order."""
    matches = (_COMMIT_KEY.fullmatch(info.key) for info in store.list(LOG))
    return sorted(int(match[1]) for match in matches if match)


def read_state(store: Store) -> CuratedState:
    """Return what the curated part of a lake consists of now.

    Raises
    ------
    LakeError
        If a commit is missing or damaged.
    """
    for _ in range(_MAX_ATTEMPTS):
        try:
            return _apply_commits(store, commit_versions(store))
        except ObjectMissing:
            continue  # an old commit was cleaned away between the listing and the reading
    raise LakeError(f"{store.uri}/{LOG} lacks a commit in the middle.", REBUILD_HINT)


def _apply_commits(store: Store, stored_versions: list[int]) -> CuratedState:
    if not stored_versions:
        return CuratedState()
    newer: list[Commit] = []
    for version in range(stored_versions[-1], 0, -1):
        newer.append(read_commit(store, version))
        if newer[-1].full:
            break
    state = CuratedState()
    for commit in reversed(newer):
        state = state.apply(commit)
    return state


def commit(
    store: Store,
    state: CuratedState,
    consumed: dict[str, ConsumedTopic],
    superseded: dict[str, int],
    added: Iterable[CuratedFile],
    removed: Iterable[str],
) -> CuratedState:
    """Add a commit to the log.

    Raises
    ------
    ObjectExists
        Somebody else's was first, or the reply to our own was lost: read the state anew.
    """
    change = Commit(
        version=state.version + 1,
        created_ms=clock.now_ns() // 1_000_000,
        consumed=consumed,
        superseded=superseded,
        added=sorted(added, key=lambda each: each.key),
        removed=sorted(removed),
        full=False,
    )
    new_state = state.apply(change)
    if change.version % FULL_COMMIT_EVERY == 0:
        change = msgspec.structs.replace(
            change, added=[new_state.files[k] for k in sorted(new_state.files)], full=True
        )
    data = msgspec.json.encode(change)
    store.create(commit_key(change.version), data, metadata={}, content_type="application/json")
    return new_state


def delete_obsolete(store: Store, retention_ms: int) -> Iterator[str]:
    """Delete what no reader of the last while can need, and yield each key.

    These are files that were replaced or left behind before the newest full commit that is older than
    ``keep_ms``, and the commits before that one. Where nothing may be deleted, all stays.
    """
    before_ms = clock.now_ns() // 1_000_000 - retention_ms
    stored_versions = commit_versions(store)
    full_versions = [v for v in stored_versions if v % FULL_COMMIT_EVERY == 0]
    base_version = next(
        (v for v in reversed(full_versions) if read_commit(store, v).created_ms < before_ms), None
    )
    if base_version is None:
        return
    needed = {each.key for each in read_commit(store, base_version).added}
    versioned = ((info.key, parse_version(info.key)) for info in list(store.list(ROOT)))
    files = [key for key, version in versioned if version is not None and version <= base_version]
    # commits go last: as long as one is there, so is what tells of its files
    for key in [
        *(key for key in files if key not in needed),
        *(commit_key(v) for v in stored_versions if v < base_version),
    ]:
        if not discard(store, key):
            return
        yield key
