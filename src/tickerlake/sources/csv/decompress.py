"""Compressed files as streams of bounded reads: what an archive claims about itself never costs memory."""

import bz2
import copy
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Final

from isal import igzip, igzip_lib

from tickerlake.errors import DataError
from tickerlake.sources.csv.not_csv import check_is_no_document

COMPRESSION_MAGIC: Final = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"\x28\xb5\x2f\xfd": "zstd",
    # a skippable frame, with which files of pzstd begin
    **{bytes([n]) + b"\x2a\x4d\x18": "zstd" for n in range(0x50, 0x60)},
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
}
"""How files begin, by their compression."""

MAX_WINDOW_BYTES: Final = 128 << 20
"""How far back compressed data may refer: as much as ``zstd --long`` and ``xz -9`` need, held in memory."""

MAX_COMPRESSION_RATIO: Final = 200
"""Decompressed to stored size, beyond `BOMB_MIN_BYTES`: prices compress much less than this."""

BOMB_MIN_BYTES: Final = 64 << 20

_READ_BYTES: Final = 8 << 10
"""Copied once per stream that ends in it, and there may be a stream in every 14 bytes."""

_ZSTD_FEED_BYTES: Final = 512
"""The library returns all output of what it is fed: 4 bytes become 128 KiB at most, so these 16 MiB."""

_MAX_DIRECTORY_BYTES: Final = 4 << 20
"""The directory of an archive: about 50,000 files, each of which costs 1 kB of memory."""

_ENCRYPTED: Final = 0x1 | 0x40
_ZIP_METHODS: Final = {
    9: "Deflate64",
    93: "Zstandard",
    95: "XZ",
    96: "JPEG",
    97: "WavPack",
    98: "PPMd",
    99: "AES encryption",
}
_ZIP_MEMBER_EXTENSIONS: Final = (".csv", ".txt", ".tsv")


def compression_of(magic: bytes) -> str:
    """Return the compression of a file by its first bytes; ``none`` if it is not compressed."""
    return next((name for sign, name in COMPRESSION_MAGIC.items() if magic.startswith(sign)), "none")


def open_decompressed(stored: Any, compression: str, name: str) -> Any:
    """Return a stream of the decompressed bytes, which returns at most 16 MiB more than it is asked for.

    Parameters
    ----------
    stored
        The file as it is stored; a zip archive must be seekable.
    compression
        ``none``, ``gzip``, ``zip``, ``zstd``, ``bzip2`` or ``xz``.
    name
        The file's name, for errors.
    """
    if compression == "gzip":
        gzip_file: Any = igzip.GzipFile  # the package has no types
        return gzip_file(fileobj=stored)
    if compression == "zip":
        return _ZipMember(*_open_archive(stored, name))
    if compression == "zstd":
        return _ZstdReader(stored)
    if compression == "bzip2":
        return _StreamReader(stored, bz2.BZ2Decompressor)
    return _StreamReader(stored, _new_xz) if compression == "xz" else stored


def zip_member_name(stored: IO[bytes], name: str) -> str:
    """Return the name of the one table in a zip archive."""
    return Path(_open_archive(stored, name)[1].filename).name


def bomb_error(name: str) -> DataError:
    """Return the error for a file that decompresses to much more than prices do."""
    return DataError(
        f"{name} decompresses to more than {MAX_COMPRESSION_RATIO} times its size.",
        "If that is correct, decompress it first.",
    )


def _new_xz() -> lzma.LZMADecompressor:
    # the decoder needs about 100 kB besides its window
    return lzma.LZMADecompressor(memlimit=MAX_WINDOW_BYTES + (1 << 20))


class _StreamReader:
    """Decompresses streams that follow one another; a truncated one is an error."""

    def __init__(self, stored: Any, new_decompressor: Callable[[], Any]) -> None:
        self._stored = stored
        self._new_decompressor = new_decompressor
        self._decompressor = new_decompressor()

    def read(self, size: int) -> bytes:
        parts, missing = [], size
        while missing:
            compressed = b""
            if self._decompressor.eof:
                compressed = self._next_stream()
                if not compressed:
                    break
                self._decompressor = self._new_decompressor()
            elif self._decompressor.needs_input:
                compressed = self._stored.read(_READ_BYTES)
                if not compressed:
                    raise EOFError("it ends in the middle of a compressed stream")
            part = self._decompressor.decompress(compressed, missing)
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _next_stream(self) -> bytes:
        """Return the beginning of the next stream, behind any padding; empty at the end of the file."""
        begin: bytes = self._decompressor.unused_data.lstrip(b"\0")
        while not begin and (block := self._stored.read(_READ_BYTES)):
            begin = block.lstrip(b"\0")
        return begin


class _ZstdReader:
    """Decompresses Zstandard frames; a truncated frame is an error (the library's reader hides it)."""

    def __init__(self, stored: Any) -> None:
        import zstandard

        self._zstandard = zstandard
        self._stored = stored
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES)
        self._frame = self._decompressor.decompressobj()
        self._compressed = memoryview(b"")
        self._buffer = b""
        self._in_frame = False

    def read(self, size: int) -> bytes:
        parts, have = [self._buffer], len(self._buffer)
        while have < size:
            if not self._compressed:
                self._compressed = memoryview(self._stored.read(_READ_BYTES))
                if not self._compressed:
                    if self._in_frame:
                        raise EOFError("it ends in the middle of a frame")
                    break
            part = self._decompress(bytes(self._compressed[:_ZSTD_FEED_BYTES]))
            self._compressed = self._compressed[_ZSTD_FEED_BYTES:]
            parts.append(part)
            have += len(part)
        data = b"".join(parts)
        self._buffer = data[size:]
        return data[:size]

    def _decompress(self, compressed: bytes) -> bytes:
        parts = []
        try:
            while compressed:
                if self._frame.eof:
                    self._frame = self._decompressor.decompressobj()
                parts.append(self._frame.decompress(compressed))
                self._in_frame = not self._frame.eof
                compressed = self._frame.unused_data if self._frame.eof else b""
        except self._zstandard.ZstdError as error:
            if "too much memory" in str(error):
                raise ValueError(_window_text()) from error
            raise ValueError(str(error)) from error
        return b"".join(parts)


def _window_text() -> str:
    return f"it needs a window of more than {MAX_WINDOW_BYTES >> 20} MiB to decompress"


class _BoundedFile:
    """A file for `zipfile`, which reads the directory of an archive at once, as long as it claims to be."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        self._name = name
        self.seek = file.seek
        self.tell = file.tell
        self.seekable = file.seekable

    def read(self, size: int = -1) -> bytes:
        if size > _MAX_DIRECTORY_BYTES:
            raise DataError(f"{self._name} holds too many files.", "Extract it and name the files.")
        return self._file.read(size)


def _open_archive(stored: IO[bytes], name: str) -> tuple[zipfile.ZipFile, zipfile.ZipInfo]:
    """Return a zip archive and its only table."""
    stored_bytes = stored.seek(0, io.SEEK_END)
    bounded: Any = _BoundedFile(stored, name)
    archive = zipfile.ZipFile(bounded)
    member = _only_table(archive.infolist(), name)
    inside = f"{name}: {member.filename}"
    if member.flag_bits & _ENCRYPTED:
        raise DataError(f"{inside} is encrypted.", "Extract it with its password, and name the file.")
    if member.compress_type not in _ZIP_DECOMPRESSORS:
        method = member.compress_type
        raise DataError(
            f"{inside} is compressed with {_ZIP_METHODS.get(method, 'an unknown method')} "
            f"(zip method {method}).",
            "Extract it, and name the file.",
        )
    # an archive can claim any size for what it holds
    if member.file_size > max(
        BOMB_MIN_BYTES, MAX_COMPRESSION_RATIO * min(member.compress_size, stored_bytes)
    ):
        raise bomb_error(name)
    return archive, member


def _only_table(members: list[zipfile.ZipInfo], name: str) -> zipfile.ZipInfo:
    check_is_no_document(name, [each.filename for each in members])
    files = [each for each in members if not each.is_dir() and not each.filename.startswith("__MACOSX")]
    files = [each for each in files if not Path(each.filename).name.startswith(".")]
    tables = [each for each in files if each.filename.lower().endswith(_ZIP_MEMBER_EXTENSIONS)] or files
    if len(tables) != 1:
        raise DataError(f"{name} holds {len(tables):,} files, not one.", "Extract it and name the files.")
    return tables[0]


class _ZipMember:
    """Decompresses a file of a zip archive; `zipfile` does that too, but not always in bounded memory."""

    def __init__(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
        as_stored: Any = copy.copy(member)
        as_stored.compress_type, as_stored.file_size = zipfile.ZIP_STORED, member.compress_size
        as_stored.CRC = None  # that of the decompressed bytes is checked here
        self._stream = _ZIP_DECOMPRESSORS[member.compress_type](archive.open(as_stored))
        self._left = member.file_size
        self._expected_crc = member.CRC
        self._crc = 0

    def read(self, size: int) -> bytes:
        data: bytes = self._stream.read(min(size, self._left))
        self._left -= len(data)
        self._crc = zlib.crc32(data, self._crc)
        if self._left and len(data) < size:
            raise EOFError("it is shorter than its archive says")
        if not self._left and self._crc != self._expected_crc:
            raise zipfile.BadZipFile("its checksum is wrong")
        return data


def _zip_lzma_reader(stored: Any) -> _StreamReader:
    """Return a reader of zip's own form of LZMA: the encoder's version, then the properties of the filter."""
    _, _, length = struct.unpack("<BBH", stored.read(4))
    properties = stored.read(length)
    coding, window = struct.unpack("<BI", properties[:5])
    if window > MAX_WINDOW_BYTES:
        raise ValueError(_window_text())
    settings = {"lc": coding % 9, "lp": coding // 9 % 5, "pb": coding // 45}
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": max(window, 4096), **settings}]
    return _StreamReader(stored, lambda: lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters))


_ZIP_DECOMPRESSORS: Final[dict[int, Callable[[Any], Any]]] = {
    zipfile.ZIP_STORED: lambda stored: stored,
    zipfile.ZIP_DEFLATED: lambda stored: _StreamReader(
        stored, lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_DEFLATE)
    ),
    zipfile.ZIP_BZIP2: lambda stored: _StreamReader(stored, bz2.BZ2Decompressor),
    zipfile.ZIP_LZMA: _zip_lzma_reader,
}
