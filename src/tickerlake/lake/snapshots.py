"""Snapshots of who computes on a topic: ``state/<job>/<topic>/partition=<p>/<offset, 20 digits>``.

A snapshot is created only if absent, as everything in the lake; unlike a segment it can be made again from
the topic, so old ones are deleted.
"""

from typing import Final

from tickerlake import failpoints
from tickerlake.lake.store.base import Store, create_if_absent, discard
from tickerlake.lake.topic import check_topic

_RETAINED_SNAPSHOTS: Final = 2


class Snapshots:
    """The snapshots of one job on one topic.

    Parameters
    ----------
    store
        Where they are.
    job, topic, topic_id
        Whose they are; a topic that was created anew has none.
    """

    def __init__(self, store: Store, job: str, topic: str, topic_id: str) -> None:
        self.store = store
        # Kafka writes ids in base64, of which two characters don't go into a name
        key_safe_id = topic_id.replace("/", "_").replace("+", "-")
        self._folder = f"state/{check_topic(job)}/{check_topic(topic)}/{key_safe_id}"

    def read_latest(self, partition: int, max_offset: int) -> tuple[int, bytes] | None:
        """Return offset and content of the last snapshot that lies at an offset or before it."""
        keys = [key for key in self._keys(partition) if _offset(key) <= max_offset]
        return (_offset(keys[-1]), self.store.read(keys[-1])) if keys else None

    def save(self, partition: int, offset: int, data: bytes) -> bool:
        """Store a snapshot, and delete those that are older than the last two; False if there is one."""
        key = f"{self._prefix(partition)}{offset:020d}"
        if not create_if_absent(self.store, key, data):
            return False  # of the same records: the state is the same, but for what the clock has done since
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
