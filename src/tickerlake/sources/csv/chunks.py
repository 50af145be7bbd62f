"""A file as a stream of chunks of whole lines, in UTF-8, whatever its compression and encoding."""

import codecs
import errno
import hashlib
import io
import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from tickerlake.errors import DataError, TickerlakeError
from tickerlake.sources.csv.code_pages import detect_code_page
from tickerlake.sources.csv.decompress import (
    BOMB_MIN_BYTES,
    MAX_COMPRESSION_RATIO,
    bomb_error,
    compression_of,
    open_decompressed,
    zip_member_name,
)
from tickerlake.sources.csv.not_csv import check_is_no_document, check_is_not_binary

CHUNK_BYTES: Final = 4 << 20
"""Trades throughput against memory, as several chunks are in flight."""

MAX_LINE_BYTES: Final = 1 << 20
"""A longer line is not a row of prices: it bounds memory for files without line ends."""

_MAX_CHUNK_LINES: Final = 200_000
"""Each line costs memory when parsed, however short it is."""

_BOMB_MIN_LINES: Final = 2_000_000
_MAX_LINES_PER_STORED_BYTE: Final = 5
"""Beyond `_BOMB_MIN_LINES`: the shortest lines cost the most time per byte."""

_MIN_UTF16_NUL_SHARE: Final = 0.35
"""Half of the bytes of UTF-16 are zero if the text is mostly ASCII."""

_PROBED_TEXT_BYTES: Final = 4096
_MIN_HEAD_LINES: Final = 1000
"""The lines that detection looks at."""

_CONTROL_CHARACTERS: Final = bytes(each for each in range(1, 32) if each not in b"\t\n\v\f\r\x1a\x1b")
_MIN_CONTROLS: Final = 8
_MAX_CONTROL_SHARE: Final = 0.02
"""A tenth of random bytes are control characters, and none of a text."""

_BOMS: Final = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


class Meter:
    """Counts and digests the bytes of a file as they are stored."""

    def __init__(self, *, digest: bool = True) -> None:
        self.size = 0
        self._digest = hashlib.blake2b(digest_size=16) if digest else None

    def update(self, data: bytes) -> None:
        """Add the next bytes."""
        self.size += len(data)
        if self._digest is not None:
            self._digest.update(data)

    @property
    def digest(self) -> str:
        """The digest of all bytes so far, in hexadecimal; empty if it is disabled."""
        return self._digest.hexdigest() if self._digest is not None else ""


class Chunk(NamedTuple):
    """Whole lines of a file.

    Parameters
    ----------
    offset
        Where it begins in the decoded stream, in bytes.
    length
        The number of bytes of that stream that it covers.
    first_line
        The number of its first physical line; that of the file is 1.
    data
        UTF-8; every line ends with a single line feed.
    lines
        The number of lines.
    """

    offset: int
    length: int
    first_line: int
    data: bytes
    lines: int


class Extent(NamedTuple):
    """Position of a chunk in the decoded stream, and the number of rows of its output."""

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
        ``none``, ``gzip``, ``zip``, ``zstd``, ``bzip2`` or ``xz``.
    encoding
        The name of a Python codec.
    newline
        The end of a line: a line feed (maybe after a carriage return), or a carriage return alone.
    chunk_bytes
        The number of bytes to read at once.
    member
        The name of the file inside an archive.
    """

    file: Traversable
    compression: str
    encoding: str
    newline: bytes = b"\n"
    chunk_bytes: int = CHUNK_BYTES
    member: str = ""

    @property
    def name(self) -> str:
        """The name that may contain the symbol: that of the file inside an archive, or the file's own."""
        return self.member or self.file_name

    @property
    def file_name(self) -> str:
        """The file's own name, as text."""
        return printable_name(self.file)

    @property
    def is_plain(self) -> bool:
        """True if the file's own bytes are the decoded stream."""
        return self.compression == "none" and self.encoding == "utf-8"

    def chunks(self, *, meter: Meter | None = None) -> Iterator[Chunk]:
        """Yield the whole file; ``meter`` receives its bytes as they are stored."""
        offset, line = 0, 1
        max_lines = self._max_lines()
        for data, count in self._line_blocks(meter):
            if line + count > max_lines:
                raise DataError(
                    f"{self.file.name} decompresses to more than {_MAX_LINES_PER_STORED_BYTE} lines "
                    "for each of its bytes.",
                    "If that is correct, decompress it first.",
                )
            text = self._normalize_newlines(data)
            # there may be line feeds among carriage returns
            lines = count if self.newline == b"\n" else text.count(b"\n")
            yield Chunk(offset, len(data), line, text, lines)
            offset += len(data)
            line += lines

    def reversed_chunks(self, index: list[Extent]) -> Iterator[Chunk]:
        """Yield the chunks of an index from the last to the first."""
        with self._open_seekable() as stream:
            for offset, length, line, _ in reversed(index):
                stream.seek(offset)
                data = stream.read(length)
                text = self._normalize_newlines(data)
                text = text if text.endswith(b"\n") else text + b"\n"
                yield Chunk(offset, length, line, text, text.count(b"\n"))

    def _max_lines(self) -> float:
        if self.compression == "none" or not isinstance(self.file, Path):
            return math.inf
        with wrap_read_errors(self.file.name):
            return max(_BOMB_MIN_LINES, _MAX_LINES_PER_STORED_BYTE * self.file.stat().st_size)

    def _normalize_newlines(self, data: bytes) -> bytes:
        if self.newline == b"\r":
            return data.replace(b"\r", b"\n")
        return data.replace(b"\r\n", b"\n") if b"\r" in data else data

    def _open_seekable(self) -> IO[bytes]:
        if self.is_plain:
            with wrap_read_errors(self.file.name):
                return self.file.open("rb")
        # a compressed stream cannot be read backward: decompress it to disk once
        spool = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
        for data, _ in self._line_blocks(None):
            spool.write(data)
        return spool

    def _line_blocks(self, meter: Meter | None) -> Iterator[tuple[bytes, int]]:
        """Yield blocks of whole lines, and their number of lines."""
        rest: list[bytes] = []
        pending_bytes = 0
        for block in self._decoded_blocks(meter):
            end = block.rfind(self.newline) + 1
            if end:
                yield from self._split_block(b"".join([*rest, memoryview(block)[:end]]))
                rest, pending_bytes = [block[end:]], len(block) - end
            else:
                rest.append(block)
                pending_bytes += len(block)
            if pending_bytes > MAX_LINE_BYTES:
                raise DataError(
                    f"{self.file.name} has a line longer than {MAX_LINE_BYTES >> 20} MiB.",
                    "Is it a CSV file?",
                )
        if pending_bytes:
            yield b"".join([*rest, self.newline]), 1

    def _split_block(self, lines: bytes) -> Iterator[tuple[bytes, int]]:
        """Yield whole lines in blocks of at most about `_MAX_CHUNK_LINES`."""
        count = lines.count(self.newline)
        if count <= _MAX_CHUNK_LINES:
            yield lines, count
            return
        step, start = max(1, len(lines) * _MAX_CHUNK_LINES // count), 0
        while start < len(lines):
            end = lines.find(self.newline, min(start + step, len(lines)) - 1) + 1 or len(lines)
            yield lines[start:end], lines.count(self.newline, start, end)
            start = end

    def _decoded_blocks(self, meter: Meter | None) -> Iterator[bytes]:
        if self.encoding == "utf-8":
            yield from self._decompressed_blocks(meter)
            return
        decoder = codecs.getincrementaldecoder(self.encoding)("replace")
        for block in self._decompressed_blocks(meter):
            yield decoder.decode(block).encode()
        yield decoder.decode(b"", True).encode()

    def _decompressed_blocks(self, meter: Meter | None) -> Iterator[bytes]:
        meter = meter or Meter(digest=False)
        decompressed_bytes = 0
        with wrap_read_errors(self.file.name), self.file.open("rb") as stored:
            source = _MeteredReader(stored, meter) if self.compression != "zip" else stored
            stream = open_decompressed(source, self.compression, self.file.name)
            while block := stream.read(self.chunk_bytes):
                decompressed_bytes += len(block)
                if self.compression == "zip":
                    meter.update(block)
                elif decompressed_bytes > max(BOMB_MIN_BYTES, MAX_COMPRESSION_RATIO * meter.size):
                    raise bomb_error(self.file.name)
                yield block


_REMEDIES: Final = {
    errno.EACCES: "Change its permissions.",
    errno.EPERM: "Change its permissions.",
    errno.ELOOP: "It is a link that leads back to itself: name the file.",
    errno.ENAMETOOLONG: "Check the path.",
    errno.ENOTDIR: "Check the path.",
    errno.ENOENT: "Check the path, and that no other program removes the file.",
}


@contextmanager
def wrap_read_errors(name: str) -> Iterator[None]:
    """Translate errors of reading a file to a `DataError` with a remedy."""
    try:
        yield
    except (TickerlakeError, MemoryError):
        raise
    except OSError as error:
        # errors of decompressors have no number
        hint = _REMEDIES.get(error.errno, "Check its disk.") if error.errno else "Download the file again."
        raise DataError(f"{name} cannot be read: {error.strerror or error}.", hint) from error
    except Exception as error:
        # decompressors raise errors of all kinds for damaged bytes, which are never the user's mistake
        raise DataError(f"{name} cannot be read: {error}.", "Download the file again.") from error


class _MeteredReader(io.RawIOBase):
    """A stream that passes what is read to a meter."""

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


def detect_text_file(
    file: Traversable, count_names: Callable[[str], float] = len, *, chunk_bytes: int = CHUNK_BYTES
) -> tuple[TextFile, bytes]:
    """Detect compression by the file's first bytes, encoding and line ends by its beginning.

    Parameters
    ----------
    file
        The file.
    count_names
        Returns how many columns a decoded text names: it chooses the code page if the file is not UTF-8.
    chunk_bytes
        The number of bytes to read at once.

    Returns
    -------
    TextFile
        How to read it.
    bytes
        Its first lines.

    Raises
    ------
    DataError
        If it is not text.
    """
    with wrap_read_errors(file.name), file.open("rb") as stream:
        magic = stream.read(8)
    compression = compression_of(magic)
    with wrap_read_errors(file.name), file.open("rb") as stored:
        head = open_decompressed(stored, compression, file.name).read(MAX_LINE_BYTES)
    if compression != "none" and (inner := compression_of(head)) != "none":
        if b"[Content_Types].xml" in head:
            check_is_no_document(file.name, ["[Content_Types].xml", *(["xl/"] if b"xl/" in head else [])])
        raise DataError(
            f"{file.name} holds another compressed file ({inner}).",
            "Decompress it once, and name what it holds.",
        )
    check_is_not_binary(file.name, head)
    if not head.strip(b"\0 \t\r\n"):
        if head.strip():
            raise DataError(f"{file.name} has nothing but NUL bytes.", "Download the file again.")
        if not head:
            raise DataError(f"{file.name} is empty.", "Download the file again.")
    text_file = TextFile(
        file,
        compression,
        _detect_encoding(head),
        chunk_bytes=chunk_bytes,
        member=_member_name(file, compression),
    )
    begin = codecs.getincrementaldecoder(text_file.encoding)("replace").decode(head[: 1 << 16]).encode()
    if b"\n" not in begin and b"\r" in begin:
        text_file = replace(text_file, newline=b"\r")
    # the chunk size must not influence how the file is read
    beginning = replace(text_file, chunk_bytes=MAX_LINE_BYTES)
    data = _first_lines(beginning)
    if text_file.encoding == "utf-8" and not is_utf8(data):
        text_file = replace(text_file, encoding=detect_code_page(data, count_names))
        data = _first_lines(replace(text_file, chunk_bytes=MAX_LINE_BYTES))
    if not data.strip():
        raise DataError(f"{file.name} is empty.", "Download the file again.")
    _check_is_text(file.name, data)
    return text_file, data


def _first_lines(text_file: TextFile) -> bytes:
    """Return the first lines of a file; of a short file, also a last line without an end."""
    data, lines = b"", 0
    for chunk in text_file.chunks():
        data, lines = data + chunk.data, lines + chunk.lines
        if lines >= _MIN_HEAD_LINES:
            break
    return data


def _member_name(file: Traversable, compression: str) -> str:
    if compression != "zip":
        return ""
    with wrap_read_errors(file.name), file.open("rb") as stored:
        return zip_member_name(stored, file.name)


def _check_is_text(name: str, data: bytes) -> None:
    """Raise an error if the beginning of a file has too many control characters for a text."""
    begin = data[:_PROBED_TEXT_BYTES]
    controls = len(begin) - len(begin.translate(None, _CONTROL_CHARACTERS))
    if controls > max(_MIN_CONTROLS, _MAX_CONTROL_SHARE * len(begin)):
        raise DataError(f"{name} is not text.", "Is it a CSV file?")


def _detect_encoding(head: bytes) -> str:
    for bom, encoding in _BOMS.items():
        if head.startswith(bom):
            return encoding
    start = head[:1000]
    if len(start) >= 8 and start.count(0) > len(start) * _MIN_UTF16_NUL_SHARE:
        return "utf-16-le" if start[1::2].count(0) > start[::2].count(0) else "utf-16-be"
    return "utf-8"


def is_utf8(data: bytes) -> bool:
    """Return whether bytes are UTF-8."""
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def printable_name(file: Traversable) -> str:
    """Return a file's name as text: it may hold bytes that are not UTF-8."""
    return os.fsencode(file.name).decode("utf-8", "backslashreplace")


def check_is_file(file: Traversable) -> None:
    """Raise an error for a folder, a device, and a file that does not exist."""
    with wrap_read_errors(file.name):
        folder = file.is_dir()
    if folder:
        raise DataError(f"{file.name} is a folder.", "Name a CSV file.")
    if not file.is_file():
        if isinstance(file, Path) and file.is_symlink():
            # a link to nothing, or back to itself
            with wrap_read_errors(file.name):
                file.stat()
        if isinstance(file, Path) and file.exists():
            raise DataError(
                f"{file.name} is a device or a pipe, not a file.",
                "Pipe it to standard input, and name the file `-`.",
            )
        raise DataError(f"{file.name} does not exist.", "Check the path.")


def stat_signature(file: Traversable) -> tuple[int, ...]:
    """Return values that change when a file on disk is changed."""
    if not isinstance(file, Path):
        return ()
    with wrap_read_errors(file.name):
        state = file.stat()
    return (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)


def spool_stdin(folder: Path) -> Path:
    """Write standard input to a file, which can be read more than once."""
    if sys.stdin is None:
        raise DataError("Standard input is closed.", "Pipe a file to it, or name one.")
    path = folder / "stdin"
    with wrap_read_errors("Standard input"), path.open("wb") as file:
        while block := sys.stdin.buffer.read(CHUNK_BYTES):
            file.write(block)
    return path
