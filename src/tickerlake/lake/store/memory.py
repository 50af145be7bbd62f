"""A store that lives in this process: for tests and simulation."""

import base64
import threading
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

import google_crc32c

from tickerlake.errors import ObjectExists, ObjectMissing
from tickerlake.lake.store.base import ObjectInfo, check_deletable, check_key


def crc32c(data: bytes) -> str:
    """Return the checksum of ``data`` as Cloud Storage writes it."""
    return base64.b64encode(int(google_crc32c.value(data)).to_bytes(4, "big")).decode()


class _Shelf:
    """The objects of one name, shared by every store opened on it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.objects: dict[str, tuple[bytes, ObjectInfo]] = {}
        self.keys: list[str] = []  # sorted; code points sort like UTF-8 bytes


_shelves: dict[str, _Shelf] = {}
_shelves_lock = threading.Lock()


class MemoryStore:
    """A store in memory.

    Parameters
    ----------
    name
        Stores of the same name share their objects. Empty: nobody shares.
    before_reply
        Called with the key after an object was stored and before ``create`` returns. It may raise
        ``StoreUnavailable``: the reply was lost, the object is there.
    """

    def __init__(self, name: str = "", before_reply: Callable[[str], None] | None = None) -> None:
        self._name = name
        self._before_reply = before_reply
        if name:
            with _shelves_lock:
                self._shelf = _shelves.setdefault(name, _Shelf())
        else:
            self._shelf = _Shelf()

    @property
    def uri(self) -> str:
        """``memory://name``."""
        return f"memory://{self._name}"

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
        with self._shelf.lock:
            if key in self._shelf.objects:
                raise ObjectExists(f"{self.uri}/{key} exists already.")
            self._shelf.objects[key] = (bytes(data), info)
            insort(self._shelf.keys, key)
        if self._before_reply is not None:
            self._before_reply(key)

    def read(self, key: str) -> bytes:
        """Return an object's content."""
        found = self._shelf.objects.get(key)
        if found is None:
            raise ObjectMissing(f"{self.uri}/{key} does not exist.")
        return found[0]

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """Return a part of an object."""
        return self.read(key)[start : start + length]

    def stat(self, key: str) -> ObjectInfo | None:
        """Return what is known about an object."""
        found = self._shelf.objects.get(key)
        return found[1] if found else None

    def list(self, prefix: str, start_at: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects under ``prefix`` as they are now, in order."""
        with self._shelf.lock:
            keys = self._shelf.keys[bisect_left(self._shelf.keys, max(prefix, start_at)) :]
        for key in keys:
            if not key.startswith(prefix):
                break
            yield self._shelf.objects[key][1]

    def delete(self, key: str) -> None:
        """Delete a snapshot."""
        check_deletable(key)
        with self._shelf.lock:
            if self._shelf.objects.pop(key, None):
                self._shelf.keys.remove(key)

    def mend(self, key: str, data: bytes | None, *, metadata: Mapping[str, str]) -> None:
        """Put other content in the place of a damaged object, or with None delete it."""
        check_key(key)
        with self._shelf.lock:
            if key not in self._shelf.objects:
                raise ObjectMissing(f"{self.uri}/{key} does not exist.")
            if data is None:
                del self._shelf.objects[key]
                self._shelf.keys.remove(key)
                return
            info = ObjectInfo(key, len(data), MappingProxyType(dict(metadata)), crc32c(data))
            self._shelf.objects[key] = (data, info)

    def close(self) -> None:
        """Do nothing: the objects live as long as the process."""
