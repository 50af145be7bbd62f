"""A file as a stream of chunks of whole lines, in UTF-8, whatever its compression and encoding."""

import codecs
import hashlib
import io
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import IO, Any, Final, NamedTuple

from isal import igzip

from tickerlake.errors import DataError

CHUNK: Final = 4 << 20
_BOMS: Final = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


class Meter:
    """Counts and digests the bytes of a file as they are stored."""

    def __init__(self) -> None:
        self.size = 0
        self._digest = hashlib.blake2b(digest_size=16)

    def update(self, data: bytes) -> None:
        """Take the next bytes."""
        self.size += len(data)
        self._digest.update(data)

    @property
    def digest(self) -> str:
        """The digest of all bytes so far, in hexadecimal."""
        return self._digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whole lines of a file.

    Parameters
    ----------
    offset
        Where it begins in the decoded stream.
    length
        How many bytes of that stream it covers.
    first_line
        The physical line that it begins with; the file's first is 1.
    data
        UTF-8; every line ends with a single line feed.
    """

    offset: int
    length: int
    first_line: int
    data: bytes


class Extent(NamedTuple):
    """Where a chunk lies, and how many rows below the header it has."""

    offset: int
    length: int
    first_line: int
    rows: int


@dataclass(frozen=True)
class TextFile:
    """A file, and how its bytes become text.

    Parameters
    ----------
    file
        A path, or a file inside a package.
    compression
        ``gzip`` or ``none``.
    encoding
        The name of a Python codec.
    """

    file: Traversable
    compression: str
    encoding: str

    @property
    def plain(self) -> bool:
        """True if the file's own bytes are the decoded stream."""
        return self.compression == "none" and self.encoding == "utf-8"

    def chunks(self, *, meter: Meter | None = None) -> Iterator[Chunk]:
        """Yield the whole file; ``meter`` is told its bytes as they are stored."""
        offset, line = 0, 1
        for data in self._lines(meter):
            text = data.replace(b"\r\n", b"\n") if b"\r" in data else data
            yield Chunk(offset, len(data), line, text)
            offset += len(data)
            line += text.count(b"\n")

    def reversed_chunks(self, index: list[Extent]) -> Iterator[Chunk]:
        """Yield the chunks of an index from the last to the first."""
        with self._seekable() as stream:
            for offset, length, line, _ in reversed(index):
                stream.seek(offset)
                data = stream.read(length).replace(b"\r\n", b"\n")
                yield Chunk(offset, length, line, data if data.endswith(b"\n") else data + b"\n")

    def _seekable(self) -> IO[bytes]:
        if self.plain:
            return self.file.open("rb")
        # A compressed stream can't be read backwards, so it is laid out on disk once.
        spool = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
        for data in self._lines(None):
            spool.write(data)
        return spool

    def _lines(self, meter: Meter | None) -> Iterator[bytes]:
        rest = b""
        for block in self._decoded(meter):
            end = block.rfind(b"\n") + 1
            if end:
                yield rest + block[:end]
                rest = block[end:]
            else:
                rest += block
            if len(rest) > 2 * CHUNK:
                raise DataError(
                    f"{self.file.name} has a line longer than {CHUNK >> 20} MiB.", "Is it a CSV file?"
                )
        if rest:
            yield rest + b"\n"

    def _decoded(self, meter: Meter | None) -> Iterator[bytes]:
        if self.encoding == "utf-8":
            yield from self._blocks(meter)
            return
        decoder = codecs.getincrementaldecoder(self.encoding)("replace")
        for block in self._blocks(meter):
            yield decoder.decode(block).encode()
        yield decoder.decode(b"", True).encode()

    def _blocks(self, meter: Meter | None) -> Iterator[bytes]:
        with self.file.open("rb") as stored:
            tap: Any = _Tap(stored, meter) if meter else stored
            stream: Any = _unpacked(tap) if self.compression == "gzip" else tap
            try:
                while block := stream.read(CHUNK):
                    yield block
            except (EOFError, OSError, zlib.error) as error:
                raise DataError(
                    f"{self.file.name} can't be read: {error}.", "Fetch the file again."
                ) from error


class _Tap(io.RawIOBase):
    """A readable that shows what passes to a meter."""

    def __init__(self, stream: IO[bytes], meter: Meter) -> None:
        self._stream = stream
        self._meter = meter

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._meter.update(data)
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _unpacked(stream: Any) -> Any:
    gzip_file: Any = igzip.GzipFile  # the package has no types
    return gzip_file(fileobj=stream)


def sniff_bytes(file: Traversable) -> TextFile:
    """Tell compression by the file's first bytes and encoding by its byte order mark."""
    with file.open("rb") as stream:
        head = stream.read(4)
    compression = "gzip" if head[:2] == b"\x1f\x8b" else "none"
    if compression == "gzip":
        with file.open("rb") as stream:
            try:
                head = _unpacked(stream).read(4)
            except (EOFError, OSError, zlib.error) as error:
                raise DataError(
                    f"{file.name} can't be unpacked: {error}.", "Fetch the file again."
                ) from error
    for bom, encoding in _BOMS.items():
        if head.startswith(bom):
            return TextFile(file, compression, encoding)
    return TextFile(file, compression, "utf-8")
