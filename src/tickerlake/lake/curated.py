"""The curated part of a lake: Parquet files, and a log of create-only commits that names them.

``curated/_log/<version, 20 digits>.json`` lists the files that were added, the earlier files that they
replace, and the next offset of each partition's chain. A file that no commit names does not count,
so a compaction that is killed leaves nothing that a reader could see. If two run at once, the commit of
one fails and it restarts. Every `FULL_COMMIT_EVERY` versions a commit lists all files, so that readers can
ignore earlier ones.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Final

import msgspec
import polars as pl

from tickerlake import clock
from tickerlake.errors import LakeError, ObjectMissing
from tickerlake.lake.reader import partitions
from tickerlake.lake.store.base import ReadableStore, Store, discard
from tickerlake.lake.topic import TopicMeta
from tickerlake.lake.typed_records import Chunk, chunks

ROOT: Final = "curated/"
LOG: Final = f"{ROOT}_log/"
REJECTS: Final = f"{ROOT}_rejects/"
FULL_COMMIT_EVERY: Final = 32
"""A trade-off: readers read up to this many commits; a full commit repeats the list of all files."""

_FILE_KEY: Final = re.compile(
    rf"{ROOT}(?P<record_type>[a-z]+)(?:/interval=(?P<interval>[0-9a-z]+))?/date=(?P<date>\d{{4}}-\d\d-\d\d)/"
    r"(?P<version>\d{10})-[0-9a-f]{16}\.parquet"
)
_COMMIT_KEY: Final = re.compile(rf"{LOG}(\d{{20}})\.json")
_COMMIT_FORMAT: Final = 2
_MAX_READ_ATTEMPTS: Final = 3
"""An attempt fails only if a cleanup deletes a commit between listing and reading, which is rare."""


@dataclass(frozen=True, slots=True, order=True)
class CuratedFolder:
    """A folder of curated files.

    Parameters
    ----------
    record_type
        ``bars``, ``trades`` …
    interval
        The interval of bars and indicators; empty for other types.
    date
        First of the session dates that share the folder, from `folder_date`.
    """

    record_type: str
    interval: str
    date: date

    @property
    def prefix(self) -> str:
        """The beginning of its files' keys."""
        interval = f"interval={self.interval}/" if self.interval else ""
        return f"{ROOT}{self.record_type}/{interval}date={self.date.isoformat()}/"


class CuratedFile(msgspec.Struct, frozen=True):
    """One file; ``first`` and ``last`` are the bounds of its instruments in alphabetical order."""

    key: str
    rows: int
    bytes: int
    crc32c: str
    first: str
    last: str

    @property
    def folder(self) -> CuratedFolder:
        """The folder of the file."""
        return parse_folder(self.key)


class ConsumedRange(msgspec.Struct, frozen=True, omit_defaults=True):
    """The offsets ``[first_offset, next_offset)`` of a partition that were compacted, with their counts.

    ``records`` less ``rejects`` are the sum of ``rows``, which is by record type.
    """

    first_offset: int
    next_offset: int
    records: int = 0
    rejects: int = 0
    rows: dict[str, int] = {}


class ConsumedTopic(msgspec.Struct, frozen=True, omit_defaults=True):
    """A topic's compacted offsets by partition number (as text)."""

    partitions: dict[str, ConsumedRange]
    record_type: str = ""
    """Of all rows, in commits of format 1."""

    @property
    def rows(self) -> Counter[str]:
        """Number of rows by record type, of all partitions."""
        return sum((Counter(each.rows) for each in self.partitions.values()), Counter[str]())

    @property
    def rejects(self) -> int:
        """Number of rejected rows, of all partitions."""
        return sum(each.rejects for each in self.partitions.values())

    def with_rows(self) -> "ConsumedTopic":
        """Return the topic as the current format writes it."""
        if not self.record_type:
            return self
        partitions = {
            number: msgspec.structs.replace(each, rows={self.record_type: each.records - each.rejects})
            for number, each in self.partitions.items()
        }
        return ConsumedTopic(partitions)


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the log.

    ``consumed`` and ``superseded`` are totals since the first commit. ``added`` lists all current files if
    the commit is ``full``. Until format 2, all records of a topic had one record type.
    """

    version: int
    created_ms: int
    consumed: dict[str, ConsumedTopic]
    superseded: dict[str, int]
    added: list[CuratedFile]
    removed: list[str]
    full: bool
    format: int = _COMMIT_FORMAT


@dataclass(frozen=True, slots=True)
class CuratedState:
    """The state after a number of commits.

    Parameters
    ----------
    version
        Number of the last commit; 0 before the first.
    consumed
        Compacted offsets by topic.
    superseded
        By record type: the number of rows superseded by a later revision.
    files
        The current files by key.
    """

    version: int = 0
    consumed: dict[str, ConsumedTopic] = field(default_factory=dict)
    superseded: dict[str, int] = field(default_factory=dict)
    files: dict[str, CuratedFile] = field(default_factory=dict)

    def next_offsets(self, topic: str) -> dict[str, int]:
        """Return the first offset of each partition that is not compacted, by its number as text."""
        consumed = self.consumed.get(topic)
        return (
            {number: consumed_range.next_offset for number, consumed_range in consumed.partitions.items()}
            if consumed
            else {}
        )

    def files_of(self, record_type: str) -> list[CuratedFile]:
        """Return the files of a record type in the order of their keys."""
        prefix = f"{ROOT}{record_type}/"
        return [self.files[key] for key in sorted(self.files) if key.startswith(prefix)]

    def apply(self, commit: Commit) -> "CuratedState":
        """Return the state after one more commit."""
        removed = self.files if commit.full else set(commit.removed)
        remaining = {key: file for key, file in self.files.items() if key not in removed}
        added = {each.key: each for each in commit.added}
        return CuratedState(commit.version, commit.consumed, commit.superseded, {**remaining, **added})


def parse_folder(key: str) -> CuratedFolder:
    """Return the folder of a curated file's key.

    Raises
    ------
    LakeError
        If it is not such a key.
    """
    match = _FILE_KEY.fullmatch(key)
    if not match:
        raise LakeError(
            f"{key} is not the name of a curated file.",
            "The file, or the commit that names it, was not written by tickerlake.",
        )
    return CuratedFolder(match["record_type"], match["interval"] or "", date.fromisoformat(match["date"]))


def parse_version(key: str) -> int | None:
    """Return the version for which a curated file was written; None if the key is not that of a file."""
    match = _FILE_KEY.fullmatch(key)
    return int(match["version"]) if match else None


def folder_date(record_type: str) -> pl.Expr:
    """Return the date of a row's folder: the first of the session dates that share it.

    Each session date has a folder. Only daily bars and indicators share one per year, and alerts one per
    month, since a single day would fill only a tiny file.
    """
    day = pl.col("session_date")
    if record_type == "alerts":
        return day.dt.truncate("1mo")
    if record_type not in {"bars", "indicators"}:
        return day
    return pl.when(pl.col("interval") == "1d").then(day.dt.truncate("1y")).otherwise(day)


def pending_chunks(
    store: ReadableStore, topic: TopicMeta, next_offsets: Mapping[str, int]
) -> Iterator[Chunk]:
    """Yield the chunks of a topic that are not consumed yet, partition by partition.

    Parameters
    ----------
    next_offsets
        From `CuratedState.next_offsets`.
    """
    for partition in partitions(store, topic.topic):
        start = next_offsets.get(str(partition), topic.first_position(partition))
        yield from chunks(store, topic, partition, start)


def commit_key(version: int) -> str:
    """Return the key of a commit."""
    return f"{LOG}{version:020d}.json"


def read_commit(store: ReadableStore, version: int) -> Commit:
    """Read one commit.

    Raises
    ------
    ObjectMissing
        There is no such commit.
    LakeError
        It is damaged, or of a newer format.
    """
    key = commit_key(version)
    try:
        decoded = msgspec.json.decode(store.read(key), type=Commit)
    except msgspec.MsgspecError as error:
        raise LakeError(f"{store.uri}/{key} is damaged: {error}.", REBUILD_HINT) from error
    if not 1 <= decoded.format <= _COMMIT_FORMAT:
        raise LakeError(
            f"{store.uri}/{key} has format {decoded.format}, which is newer than this version supports.",
            "Update tickerlake.",
        )
    consumed = {topic: each.with_rows() for topic, each in decoded.consumed.items()}
    return msgspec.structs.replace(decoded, consumed=consumed)


REBUILD_HINT: Final = "Restore it, or delete all of curated/: `tickerlake compact` rebuilds it from raw/."


def commit_versions(store: ReadableStore) -> list[int]:
    """Return the numbers of the stored commits in ascending order."""
    matches = (_COMMIT_KEY.fullmatch(info.key) for info in store.list(LOG))
    return sorted(int(match[1]) for match in matches if match)


def read_state(store: ReadableStore) -> CuratedState:
    """Return the current state of a lake's curated part.

    Raises
    ------
    LakeError
        If a commit is missing or damaged.
    """
    for _ in range(_MAX_READ_ATTEMPTS):
        try:
            return _apply_commits(store, commit_versions(store))
        except ObjectMissing:
            continue  # a cleanup deleted an old commit after it was listed
    raise LakeError(f"A commit in the middle of {store.uri}/{LOG} is missing.", REBUILD_HINT)


def _apply_commits(store: ReadableStore, stored_versions: list[int]) -> CuratedState:
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
        Another compaction's commit was first, or the reply to this one was lost: read the state again.
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
    """Delete files and commits that no recent reader can need, and yield each key.

    The base is the newest full commit older than ``retention_ms``: commits before it are deleted, and files
    up to its version that it does not list. Stops at the first key that the account may not delete.
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
    # commits are deleted last, so that no file outlives the commits that name it
    for key in [
        *(key for key in files if key not in needed),
        *(commit_key(v) for v in stored_versions if v < base_version),
    ]:
        if not discard(store, key):
            return
        yield key
