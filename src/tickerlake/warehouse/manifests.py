"""Plans of loads: create-only manifests in the lake.

``loads/<project>.<dataset>/<record type>/<number, 20 digits>.json`` lists the offsets of a load and
determines the names of its jobs. The next load starts at its end. ``….done.json`` next to it records that
the load is complete.
"""

import re
from typing import Final, TypeVar

import msgspec

from tickerlake import clock
from tickerlake.errors import LakeError, ObjectMissing, UsageError
from tickerlake.lake.store.base import ReadableStore, Store, create_if_absent

_PROJECT: Final = re.compile(r"(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{0,62}")
_DATASET: Final = re.compile(r"[A-Za-z0-9_]{1,1024}")
_Document = TypeVar("_Document", bound=msgspec.Struct)
_DAMAGED_HINT: Final = "Restore it from a copy."


class Range(msgspec.Struct, frozen=True):
    """The offsets ``[start, end)`` of a partition, which are complete objects of the lake."""

    topic: str
    partition: int
    start: int
    end: int
    records: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The plan of one load.

    Parameters
    ----------
    nonce
        Makes the names of its jobs unique.
    next_offsets
        The first offset of each partition after this load, by topic and partition number (as text).
    """

    number: int
    created_ms: int
    nonce: str
    record_type: str
    ranges: list[Range]
    next_offsets: dict[str, dict[str, int]]
    format: int = 1

    def job_id(self, table: str, attempt: int) -> str:
        """Return the name of the job that loads its rows into a table."""
        return f"tickerlake_{table}_{self.number}_{self.nonce}_{attempt}"


class LoadResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a load.

    Parameters
    ----------
    rows, rejected
        Loaded and rejected rows per range, in the order of the manifest. Loads of earlier versions have no
        ``rejected``: all records that were not loaded were rejected.
    jobs
        The jobs that loaded them.
    """

    rows: list[int]
    rejects: int
    jobs: list[str]
    done_ms: int
    rejected: list[int] | None = None


class Manifests:
    """The manifests of one record type and dataset, for reading.

    Parameters
    ----------
    store
        The lake.
    project, dataset
        The dataset that is loaded.
    record_type
        ``bars`` …
    """

    def __init__(self, store: ReadableStore, project: str, dataset: str, record_type: str) -> None:
        self._store = store
        self.record_type = record_type
        self._latest_number = 0
        self._prefix = (
            f"loads/{check_project(project).replace(':', '_')}.{check_dataset(dataset)}/{record_type}/"
        )

    def key(self, number: int, suffix: str) -> str:
        """Return the key of a manifest (suffix ``json``), or of an object that belongs to it."""
        return f"{self._prefix}{number:020d}.{suffix}"

    def find_latest(self) -> Manifest | None:
        """Return the newest manifest; None if there is none.

        Manifests are numbered from 1 without gaps, so an exponential search finds the newest one.
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
        """Read a manifest; raises ``ObjectMissing`` if it does not exist."""
        return self._read(self.key(number, "json"), Manifest)

    def find_result(self, number: int) -> LoadResult | None:
        """Return the result of a load; None if it is not complete."""
        try:
            return self._read(self.key(number, "done.json"), LoadResult)
        except ObjectMissing:
            return None

    def _read(self, key: str, document_type: type[_Document]) -> _Document:
        try:
            return msgspec.json.decode(self._store.read(key), type=document_type)
        except msgspec.MsgspecError as error:
            raise LakeError(f"{self._store.uri}/{key} is damaged: {error}.", _DAMAGED_HINT) from error


class ManifestLog(Manifests):
    """The manifests of one record type and dataset, to which a loader adds; parameters as `Manifests`."""

    def __init__(self, store: Store, project: str, dataset: str, record_type: str) -> None:
        super().__init__(store, project, dataset, record_type)
        self._writable_store = store

    def create_next(self, previous: Manifest | None, ranges: list[Range]) -> Manifest:
        """Create the next manifest, or return the one that another loader created first."""
        next_offsets = {
            topic: dict(offsets) for topic, offsets in (previous.next_offsets if previous else {}).items()
        }
        for each in ranges:
            next_offsets.setdefault(each.topic, {})[str(each.partition)] = each.end
        manifest = Manifest(
            number=previous.number + 1 if previous else 1,
            created_ms=clock.now_ns() // 1_000_000,
            nonce=clock.nonce(),
            record_type=self.record_type,
            ranges=ranges,
            next_offsets=next_offsets,
        )
        key = self.key(manifest.number, "json")
        return manifest if self._create(key, manifest) else self.read(manifest.number)

    def record_result(self, manifest: Manifest, result: LoadResult) -> None:
        """Record that a load is complete; a result that another loader recorded first stays."""
        self._create(self.key(manifest.number, "done.json"), result)

    def _create(self, key: str, document: msgspec.Struct) -> bool:
        data = msgspec.json.encode(document)
        return create_if_absent(self._writable_store, key, data, content_type="application/json")


def check_project(project: str) -> str:
    """Return a project id if it is valid; keys of manifests contain it."""
    if not _PROJECT.fullmatch(project):
        raise UsageError(f"{project!r} is not a project id.", "Look it up with `gcloud projects list`.")
    return project


def check_dataset(dataset: str) -> str:
    """Return a dataset's name if it is valid."""
    if not _DATASET.fullmatch(dataset):
        raise UsageError(f"{dataset!r} is not a dataset name.", "Use letters, digits and _.")
    return dataset
