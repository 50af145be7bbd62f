"""A store in this process: for tests and simulation."""

import threading
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from tickerlake.errors import ObjectExists, ObjectMissing
from tickerlake.lake.store.base import ObjectInfo, check_deletable, check_key, crc32c


class _Bucket:
    """The objects of one name, shared by every store opened on it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.objects: dict[str, tuple[bytes, ObjectInfo]] = {}
        self.keys: list[str] = []  # sorted; code points sort like UTF-8 bytes


_buckets: dict[str, _Bucket] = {}
_buckets_lock = threading.Lock()


class MemoryStore:
    """A store in memory.

    Parameters
    ----------
    name
        Stores of the same name share their objects. Empty: not shared.
    before_reply
        Called with the key after an object was stored and before ``create`` returns. It may raise
        ``StoreUnavailable``: the reply was lost, the object is stored.
    """

    def __init__(self, name: str = "", before_reply: Callable[[str], None] | None = None) -> None:
        self._name = name
        self._before_reply = before_reply
        if name:
            with _buckets_lock:
                self._bucket = _buckets.setdefault(name, _Bucket())
        else:
            self._bucket = _Bucket()

    @property
    def uri(self) -> str:
        """``memory://name``."""
        return f"memory://{self._name}"

    @property
    def local_path(self) -> None:
        """None."""

    @property
    def bigquery_uri(self) -> None:
        """None."""

    @property
    def listing_costs(self) -> bool:
        """False."""
        return False

    def service_info(self) -> None:
        """Return None."""

    def create(
        self,
        key: str,
        data: bytes,
        *,
        metadata: Mapping[str, str],
        content_type: str = "application/octet-stream",
    ) -> None:
        """Store an object unless there is one."""
        check_key(key)
        info = ObjectInfo(key, len(data), MappingProxyType(dict(metadata)), crc32c(data))
        with self._bucket.lock:
            if key in self._bucket.objects:
                raise ObjectExists(f"{self.uri}/{key} exists already.")
            self._bucket.objects[key] = (bytes(data), info)
            insort(self._bucket.keys, key)
        if self._before_reply is not None:
            self._before_reply(key)

    def read(self, key: str) -> bytes:
        """Return an object's content."""
        entry = self._bucket.objects.get(key)
        if entry is None:
            raise ObjectMissing(f"{self.uri}/{key} does not exist.")
        return entry[0]

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """Return a range of an object."""
        return self.read(key)[start : start + length]

    def stat(self, key: str) -> ObjectInfo | None:
        """Return an object's properties."""
        entry = self._bucket.objects.get(key)
        return entry[1] if entry else None

    def list(self, prefix: str, start_at: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects under ``prefix`` as they are now, in order."""
        with self._bucket.lock:
            keys = self._bucket.keys[bisect_left(self._bucket.keys, max(prefix, start_at)) :]
        for key in keys:
            if not key.startswith(prefix):
                break
            yield self._bucket.objects[key][1]

    def delete(self, key: str) -> None:
        """Delete an object that can be computed again."""
        check_deletable(key)
        with self._bucket.lock:
            if self._bucket.objects.pop(key, None):
                self._bucket.keys.remove(key)

    def replace_damaged(self, key: str, data: bytes | None, *, metadata: Mapping[str, str]) -> None:
        """Replace a damaged object, or with None delete it."""
        check_key(key)
        with self._bucket.lock:
            if key not in self._bucket.objects:
                raise ObjectMissing(f"{self.uri}/{key} does not exist.")
            if data is None:
                del self._bucket.objects[key]
                self._bucket.keys.remove(key)
                return
            info = ObjectInfo(key, len(data), MappingProxyType(dict(metadata)), crc32c(data))
            self._bucket.objects[key] = (data, info)

    def close(self) -> None:
        """Do nothing: the objects live as long as the process."""
