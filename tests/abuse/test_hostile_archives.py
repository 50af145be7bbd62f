"""Compressed files that claim, hide or repeat something: one sentence, and bounded memory."""

import bz2
import gzip
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from support.hostile_files import GOOD, HEADER, check_rejected, check_rejected_by_child, read, row, write
from tickerlake.errors import DataError

MANY_ROWS = HEADER + "".join(row(n, volume=n) for n in range(1200))
"""More rows than the format is detected from."""


def zip_of(data: bytes, method: int = zipfile.ZIP_DEFLATED, name: str = "AAA.csv") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr(name, data)
    return buffer.getvalue()


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "zip": zip_of,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: zstandard.ZstdCompressor().compress(data),
}


def set_fields(archive: bytes, *, local: dict[int, bytes], central: dict[int, bytes]) -> bytes:
    """Overwrite fields of the local header and of the directory's entry, by their offsets."""
    changed = bytearray(archive)
    for begin, fields in ((changed.find(b"PK\3\4"), local), (changed.find(b"PK\1\2"), central)):
        for offset, value in fields.items():
            changed[begin + offset : begin + offset + len(value)] = value
    return bytes(changed)


def with_sizes(archive: bytes, *, compressed: int, size: int) -> bytes:
    sizes = struct.pack("<II", compressed, size)
    return set_fields(archive, local={18: sizes}, central={20: sizes})


def zstd_bomb(content: bytes, frames: int, size: int) -> bytes:
    """Return a frame of rows, then frames of equal rows, each of them of `size` bytes decompressed."""
    compressor = zstandard.ZstdCompressor()
    equal = b"0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,\n"
    return compressor.compress(content) + compressor.compress(equal * (size // len(equal))) * frames


# --- bombs


@pytest.mark.parametrize("frames", [1, 40])
def test_a_bomb_of_zstandard_needs_no_memory(tmp_path: Path, frames: int) -> None:
    """One frame of 800 MiB, or 40 of 20 MiB behind one another, in less than 100 kB."""
    bomb = zstd_bomb(MANY_ROWS.encode(), frames, (800 << 20) // frames)
    assert len(bomb) < 100_000
    check_rejected_by_child(write(tmp_path, bomb, "AAA.csv.zst"), "times its size")


def test_a_bomb_of_zstandard_behind_megabytes_of_prices(tmp_path: Path) -> None:
    """The rows before it allow it a ratio: its size at once must not depend on that."""
    rows = HEADER + "".join(f"{row(n % 9000, volume=n * 7919 % 1_000_003)}" for n in range(20_000))
    path = write(tmp_path, zstd_bomb(rows.encode(), 1, 800 << 20), "AAA.csv.zst")
    check_rejected_by_child(path, "times its size")


def test_a_window_that_needs_gigabytes(tmp_path: Path) -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=30, compression_level=1, write_content_size=0)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    path = write(tmp_path, compressor.compress(GOOD.encode()) + compressor.flush(), "AAA.csv.zst")
    assert "a window of more than 128 MiB" in check_rejected(path).message


@pytest.mark.parametrize("container", ["xz", "zip"])
def test_a_dictionary_that_needs_gigabytes(tmp_path: Path, container: str) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 30}]
    if container == "xz":
        path = write(tmp_path, lzma.compress(GOOD.encode(), filters=filters), "AAA.csv.xz")
    else:
        archive = zip_of(GOOD.encode(), zipfile.ZIP_LZMA)
        begin = archive.find(b"PK\3\4") + 30 + len("AAA.csv") + 4
        path = write(
            tmp_path, archive[: begin + 1] + struct.pack("<I", 1 << 30) + archive[begin + 5 :], "AAA.zip"
        )
    check_rejected(path, "memory|128 MiB|Memory")


def test_a_hundred_million_line_ends_in_a_few_bytes(tmp_path: Path) -> None:
    path = write(tmp_path, bz2.compress(GOOD.encode()) + bz2.compress(b"\n" * (40 << 20)) * 3, "AAA.csv.bz2")
    assert path.stat().st_size < 1000
    check_rejected_by_child(path, "lines for each of its bytes")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_that_lies_about_its_sizes(tmp_path: Path, method: int) -> None:
    """The directory promises little, the data are gigabytes: only what it promises is decompressed."""
    bomb = zip_of(GOOD.encode() + b"\n" * (70 << 20), method)
    path = write(tmp_path, with_sizes(bomb, compressed=len(bomb) - 150, size=len(GOOD)), "AAA.zip")
    check_rejected_by_child(path, "AAA.zip cannot be read")
    path = write(tmp_path, with_sizes(bomb, compressed=1 << 30, size=1 << 30), "AAA.zip")
    check_rejected_by_child(path, "times its size")


def test_an_archive_with_a_directory_of_megabytes(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for n in range(100):
            archive.writestr(f"{n:050000}.csv", "")
    check_rejected(write(tmp_path, buffer.getvalue(), "AAA.zip"), "too many files")


@pytest.mark.parametrize(
    ("extension", "empty"),
    [
        ("gz", gzip.compress(b"")),
        ("bz2", bz2.compress(b"")),
        ("xz", lzma.compress(b"")),
        ("zst", zstandard.ZstdCompressor().compress(b"")),
        ("zst", b"\x50\x2a\x4d\x18\0\0\0\0"),
    ],
    ids=["gz", "bz2", "xz", "zst", "skippable"],
)
def test_many_empty_streams_before_and_after_the_rows(tmp_path: Path, extension: str, empty: bytes) -> None:
    compress = COMPRESSORS[extension]
    many = empty * (200_000 // len(empty))
    half = len(GOOD) // 2
    data = many + compress(GOOD[:half].encode()) + many + compress(GOOD[half:].encode()) + many
    records, rejects = read(write(tmp_path, data, f"AAA.csv.{extension}"))
    assert (records["source_line"].to_list(), rejects) == (list(range(2, 22)), {})


# --- what an archive holds


@pytest.mark.parametrize(
    "inner",
    [
        zip_of(GOOD.encode()),
        gzip.compress(GOOD.encode()),
        bz2.compress(GOOD.encode()),
        lzma.compress(GOOD.encode()),
    ],
    ids=["zip", "gz", "bz2", "xz"],
)
@pytest.mark.parametrize("outer", ["zip", "gz"])
def test_an_archive_in_an_archive_is_not_a_table(tmp_path: Path, inner: bytes, outer: str) -> None:
    data = zip_of(inner, name="inner.csv") if outer == "zip" else gzip.compress(inner)
    error = check_rejected(write(tmp_path, data, f"AAA.csv.{outer}"), "holds another compressed file")
    assert "Decompress it once" in error.hint


def test_random_bytes_in_an_archive_are_not_a_table(tmp_path: Path) -> None:
    noise = b"".join(zlib.compress(str(n).encode() * 7) for n in range(3000))
    check_rejected(write(tmp_path, zip_of(noise, name="prices.csv"), "AAA.zip"), "is not text")


@pytest.mark.parametrize(
    ("flags", "method", "message"),
    [
        (1, None, "is encrypted"),
        (0x41, None, "is encrypted"),
        (1, 99, "is encrypted"),
        (0, 99, "AES encryption"),
        (0, 9, "Deflate64"),
        (0, 93, "Zstandard"),
        (0, 97, "WavPack"),
        (0, 98, "PPMd"),
        (0, 1234, "an unknown method"),
    ],
)
def test_what_an_archive_needs(tmp_path: Path, flags: int, method: int | None, message: str) -> None:
    fields = struct.pack("<HH", flags, zipfile.ZIP_DEFLATED if method is None else method)
    path = write(
        tmp_path, set_fields(zip_of(GOOD.encode()), local={6: fields}, central={8: fields}), "AAA.zip"
    )
    error = check_rejected(path, message)
    assert "AAA.csv" in error.message
    assert "Extract it" in error.hint


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_every_method_of_the_standard_library_is_read(tmp_path: Path, method: int) -> None:
    records, rejects = read(write(tmp_path, zip_of(GOOD.encode(), method), "AAA.zip"))
    assert (records["source_line"].to_list(), rejects) == (list(range(2, 22)), {})


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_wrong_checksum_in_an_archive(tmp_path: Path, method: int) -> None:
    crc = b"\0\0\0\0"
    path = write(
        tmp_path, set_fields(zip_of(GOOD.encode(), method), local={14: crc}, central={16: crc}), "AAA.zip"
    )
    check_rejected(path, "checksum")


@pytest.mark.parametrize("extension", ["gz", "zip", "bz2", "xz", "zst"])
def test_damaged_bytes_are_one_sentence(tmp_path: Path, extension: str) -> None:
    """Decompressors raise errors of all kinds."""
    compress = COMPRESSORS[extension]
    whole = compress((HEADER + "".join(row(n, volume=n * n) for n in range(60))).encode())
    refused = 0
    for position in range(8, len(whole) - 3, 5):
        data = bytearray(whole)
        for n in range(3):
            data[position + n] ^= 0x55
        try:
            read(write(tmp_path, bytes(data), f"AAA.csv.{extension}"))
        except DataError as error:
            refused += "AAA.csv" in error.message and bool(error.hint)
    assert refused > 50
