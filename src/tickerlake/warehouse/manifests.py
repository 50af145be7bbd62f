"""What is to be loaded by which job: create-only manifests in the lake. Pure, but for the store.

``loads/<project>.<dataset>/<kind>/<number, 20 digits>.json`` says which offsets a load takes, and how its
jobs are called. The next one begins where it ends. ``….done.json`` beside it says that it is in the table.
"""

import re
from typing import Final, TypeVar

import msgspec

from tickerlake import clock
from tickerlake.errors import LakeError, ObjectMissing, UsageError
from tickerlake.lake.store.base import Store, create_if_absent

_PROJECT: Final = re.compile(r"(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{0,62}")
_DATASET: Final = re.compile(r"[A-Za-z0-9_]{1,1024}")
_Document = TypeVar("_Document", bound=msgspec.Struct)
_DAMAGED_HINT: Final = "Restore it from a copy."


class Range(msgspec.Struct, frozen=True):
    """The offsets ``[start, end)`` of a partition: whole objects of the lake, with so many records."""

    topic: str
    partition: int
    start: int
    end: int
    records: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """One load.

    Parameters
    ----------
    nonce
        Makes the names of its jobs its own.
    next_offsets
        Up to where each partition is loaded when it is done, by topic and partition (as text).
    """

    number: int
    created_ms: int
    nonce: str
    record_type: str
    ranges: list[Range]
    next_offsets: dict[str, dict[str, int]]
    format: int = 1

    def job_id(self, table: str, attempt: int) -> str:
        """Return the name of the job that loads its part of a table."""
        return f"tickerlake_{table}_{self.number}_{self.nonce}_{attempt}"


class LoadResult(msgspec.Struct, frozen=True, kw_only=True):
    """How a load ended: rows of each range (as the manifest lists them), and the jobs that did it."""

    rows: list[int]
    rejects: int
    jobs: list[str]
    done_ms: int


class Manifests:
    """The manifests of one kind and dataset.

    Parameters
    ----------
    store
        The lake.
    project, dataset, kind
        What is loaded, and where to.
    """

    def __init__(self, store: Store, project: str, dataset: str, record_type: str) -> None:
        self._store = store
        self.record_type = record_type
        self._latest_number = 0
        self._prefix = (
            f"loads/{check_project(project).replace(':', '_')}.{check_dataset(dataset)}/{record_type}/"
        )

    def key(self, number: int, suffix: str) -> str:
        """Return the key of a manifest, or of what lies beside it."""
        return f"{self._prefix}{number:020d}.{suffix}"

    def find_latest(self) -> Manifest | None:
        """Return the newest manifest, None if there is none.

        They are numbered without a gap from 1 on, so a few lookups find it among any number.
        """
        step = 1
        while self._exists(self._latest_number + step):
            self._latest_number += step
            step *= 2
        while step > 1:
            step //= 2
            if self._exists(self._latest_number + step):
                self._latest_number += step
        return self.read(self._latest_number) if self._latest_number else None

    def _exists(self, number: int) -> bool:
        return self._store.stat(self.key(number, "json")) is not None

    def read(self, number: int) -> Manifest:
        """Read one; ObjectMissing if it is not there."""
        return self._read(self.key(number, "json"), Manifest)

    def find_result(self, number: int) -> LoadResult | None:
        """Return how a load ended, None if it has not yet."""
        try:
            return self._read(self.key(number, "done.json"), LoadResult)
        except ObjectMissing:
            return None

    def _read(self, key: str, document_type: type[_Document]) -> _Document:
        try:
            return msgspec.json.decode(self._store.read(key), type=document_type)
        except msgspec.MsgspecError as error:
            raise LakeError(f"{self._store.uri}/{key} is damaged: {error}.", _DAMAGED_HINT) from error

    def create_next(self, previous: Manifest | None, ranges: list[Range]) -> Manifest:
        """Create the next manifest, or return the one that somebody else created first."""
        through = {topic: dict(parts) for topic, parts in (previous.next_offsets if previous else {}).items()}
        for each in ranges:
            through.setdefault(each.topic, {})[str(each.partition)] = each.end
        manifest = Manifest(
            number=previous.number + 1 if previous else 1,
            created_ms=clock.now_ns() // 1_000_000,
            nonce=clock.nonce(),
            record_type=self.record_type,
            ranges=ranges,
            next_offsets=through,
        )
        key = self.key(manifest.number, "json")
        return manifest if self._create(key, manifest) else self.read(manifest.number)

    def record_result(self, manifest: Manifest, result: LoadResult) -> None:
        """Note that a load is in the table."""
        self._create(self.key(manifest.number, "done.json"), result)  # no-op if another loader was first

    def _create(self, key: str, document: msgspec.Struct) -> bool:
        data = msgspec.json.encode(document)
        return create_if_absent(self._store, key, data, content_type="application/json")


def check_project(project: str) -> str:
    """Return a project's id if it is one; names of objects are made of it."""
    if not _PROJECT.fullmatch(project):
        raise UsageError(f"{project!r} is no project id.", "Look it up with `gcloud projects list`.")
    return project


def check_dataset(dataset: str) -> str:
    """Return a dataset's name if it is one."""
    if not _DATASET.fullmatch(dataset):
        raise UsageError(f"{dataset!r} is no name of a dataset.", "Use letters, digits and _.")
    return dataset
