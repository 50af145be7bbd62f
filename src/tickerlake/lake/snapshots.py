"""Snapshots of jobs that compute on a topic: ``state/<job>/<topic>/<topic id>/partition=<p>/<offset>``.

Snapshots are create-only, like everything in the lake; unlike segments they can be computed again from the
topic, so old ones are deleted.
"""

from typing import Final

from tickerlake import failpoints
from tickerlake.lake.format_version import check_format_version
from tickerlake.lake.store.base import Store, create_if_absent, discard
from tickerlake.lake.topic import check_topic

_RETAINED_SNAPSHOTS: Final = 2
"""One is needed; the one before it stays for a worker that has listed it and is about to read it."""


class Snapshots:
    """The snapshots of one job on one topic.

    Parameters
    ----------
    store
        The lake.
    job, topic, topic_id
        Name of the job, and its input; a recreated topic has no snapshots.
    """

    def __init__(self, store: Store, job: str, topic: str, topic_id: str) -> None:
        self.store = store
        # topic ids are base64, two characters of which are not allowed in a key
        key_safe_id = topic_id.replace("/", "_").replace("+", "-")
        self._is_checked = False
        self._folder = f"state/{check_topic(job)}/{check_topic(topic)}/{key_safe_id}"

    def read_latest(self, partition: int, max_offset: int) -> tuple[int, bytes] | None:
        """Return offset and content of the newest snapshot whose offset is at most ``max_offset``.

        Raises
        ------
        LakeError
            This version cannot read the lake.
        """
        if not self._is_checked:
            check_format_version(self.store)
            self._is_checked = True
        keys = [key for key in self._keys(partition) if _offset(key) <= max_offset]
        return (_offset(keys[-1]), self.store.read(keys[-1])) if keys else None

    def save(self, partition: int, offset: int, data: bytes) -> bool:
        """Store a snapshot and delete all but the newest two; return False if it exists already."""
        key = f"{self._prefix(partition)}{offset:020d}"
        if not create_if_absent(self.store, key, data):
            return False  # of the same records: the states differ at most by what the clock caused
        failpoints.reach("track.snapshot")
        for old_key in [each for each in self._keys(partition) if _offset(each) <= offset][
            :-_RETAINED_SNAPSHOTS
        ]:
            if not discard(self.store, old_key):
                break
        return True

    def _prefix(self, partition: int) -> str:
        return f"{self._folder}/partition={partition}/"

    def _keys(self, partition: int) -> list[str]:
        keys = [info.key for info in self.store.list(self._prefix(partition))]
        return [key for key in keys if key.rpartition("/")[2].isdecimal()]


def _offset(key: str) -> int:
    return int(key.rpartition("/")[2])
