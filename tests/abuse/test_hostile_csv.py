"""Hostile files produce a named error or their valid rows; memory and time stay bounded."""

import bz2
import gzip
import io
import json
import lzma
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
import zstandard

from support.hostile_files import (
    GOOD,
    HEADER,
    MAX_MB,
    check_rejected,
    check_rejected_by_child,
    read,
    row,
    run_convert,
    write,
)
from tickerlake.errors import DataError
from tickerlake.sources import merged as merged_module
from tickerlake.sources.merged import expand_paths, open_merged_source
from tickerlake.tools.convert import ConvertStats, convert

pytestmark = pytest.mark.timeout(60)


# --- decompression bombs


def zip_archive(*members: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return buffer.getvalue()


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gz": lambda data: gzip.compress(data, 9),
    "bz2": bz2.compress,
    "xz": lambda data: lzma.compress(data, preset=0),
    "zst": lambda data: zstandard.ZstdCompressor().compress(data),
    "zip": lambda data: zip_archive(("AAA.csv", data)),
}


@pytest.mark.parametrize("compression", COMPRESSORS)
def test_a_decompression_bomb_of_empty_lines(tmp_path: Path, compression: str) -> None:
    bomb = COMPRESSORS[compression](HEADER.encode() + row(1).encode() + b"\n" * (70 << 20))
    assert len(bomb) < 1 << 20
    path = write(tmp_path, bomb, f"AAA.csv.{compression}")
    # the sizes in a zip are known before it is read
    check_rejected_by_child(path, "times its size" if compression == "zip" else "lines for each of its bytes")


def test_a_decompression_bomb_of_one_byte(tmp_path: Path) -> None:
    check_rejected_by_child(write(tmp_path, gzip.compress(bytes(300 << 20), 1), "AAA.csv.gz"), "NUL")


def test_a_decompression_bomb_error_suggests_decompressing_first(tmp_path: Path) -> None:
    """Downloading it again would not help: the archive is complete."""
    path = write(tmp_path, zip_archive(("AAA.csv", HEADER.encode() + row(1).encode() * (4 << 20))), "AAA.zip")
    assert "decompress" in check_rejected(path).hint


# --- endless lines, and empty lines


@pytest.mark.parametrize("head", ["", GOOD])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_line_that_does_not_end(tmp_path: Path, head: str, compressed: bool) -> None:
    data = head.encode() + b"a" * (100 << 20)
    path = write(tmp_path, gzip.compress(data, 1) if compressed else data)
    check_rejected_by_child(path, "has a line longer than 1 MiB" if not (compressed and head) else "AAA.csv")


@pytest.mark.parametrize("head", ["", GOOD])
def test_a_sparse_file(tmp_path: Path, head: str) -> None:
    """A gigabyte of NUL bytes in a sparse file."""
    path = write(tmp_path, head)
    os.truncate(path, 1 << 30)
    check_rejected_by_child(path, "NUL" if not head else "has a line longer than 1 MiB")


@pytest.mark.parametrize(
    ("line", "rejects"),
    [(b"\n", 0), (b",,,,,\n", 0), (b"1\n", 1 << 20)],
    ids=["blank lines", "empty cells", "a digit a line"],
)
def test_lines_that_are_not_rows(tmp_path: Path, line: bytes, rejects: int) -> None:
    """Few bytes per line are many lines per chunk."""
    path = write(tmp_path, GOOD.encode() + line * (1 << 20))
    code, err, peak_mb = run_convert(path, tmp_path / "out.ndjson")
    assert code == 0, err
    assert peak_mb < MAX_MB
    assert (tmp_path / "out.ndjson").read_text().count("\n") == 20
    rejects_file = tmp_path / "out.ndjson.rejects.ndjson"
    assert (rejects_file.read_bytes().count(b"\n") if rejects_file.exists() else 0) == rejects


# --- bytes that are not text


def test_nothing_but_nul_bytes(tmp_path: Path) -> None:
    check_rejected(write(tmp_path, bytes(10_000)), "NUL")


@pytest.mark.parametrize(
    ("cell", "broken", "reason"),
    [
        ("1.5,2,1,1.5,7", "1.\x005,2,1,1.5,7", "unparsable_number"),
        ("1.5,2,1,1.5,7", "\x001.5,2,1,1.5,7", "unparsable_number"),
        ("1.5,2,1,1.5,7", "1.5,2,1,1.5,7\x00", "unparsable_number"),
        ("2001-01-08", "2001-\x0001-08", "unparsable_date"),
    ],
)
def test_a_nul_byte_is_not_repaired(tmp_path: Path, cell: str, broken: str, reason: str) -> None:
    good = row(7)
    records, rejects = read(write(tmp_path, GOOD.replace(good, good.replace(cell, broken))))
    assert rejects == {9: reason}
    assert len(records) == 19


def test_a_nul_byte_in_a_symbol(tmp_path: Path) -> None:
    text = f"Symbol,{HEADER}AAA,{row(1)}A\0AA,{row(2)}AAA,{row(3)}"
    records, rejects = read(write(tmp_path, text))
    assert rejects == {3: "symbol_invalid"}
    assert records["symbol"].to_list() == ["AAA", "AAA"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
def test_wide_characters(tmp_path: Path, encoding: str) -> None:
    records, rejects = read(write(tmp_path, GOOD.encode(encoding)))
    assert (len(records), rejects) == (20, {})
    assert records["close"].to_list() == [Decimal("1.5")] * 20


def test_half_a_wide_character_at_the_end(tmp_path: Path) -> None:
    records, rejects = read(write(tmp_path, GOOD.encode("utf-16-le") + b"\n"))
    assert len(records) == 20
    assert len(rejects) <= 1


def minutes(count: int, tail: str = "") -> str:
    begin = datetime(2001, 1, 1, tzinfo=UTC)
    lines = (f"{(begin + timedelta(minutes=n)).isoformat()},1.5,2,1,1.5,{n}{tail}\n" for n in range(count))
    return "".join(lines)


def test_latin_1_after_five_megabytes_of_ascii(tmp_path: Path) -> None:
    text = f"time,open,high,low,close,volume,note\n{minutes(110_000, ',plain')}"
    assert len(text) > 5 << 20
    last = minutes(110_001, ",Café").splitlines()[-1]
    records, rejects = read(write(tmp_path, text.encode() + last.encode("latin-1") + b"\n"))
    assert (len(records), rejects) == (110_001, {})
    assert json.loads(records["extra"][-1]) == {"note": "Café"}
    assert json.loads(records["extra"][0]) == {"note": "plain"}


# --- quotes


def quote_cells(text: str) -> str:
    return "".join('"' + line.replace(",", '","') + '"\n' for line in text.splitlines())


@pytest.mark.parametrize(
    ("text", "good", "broken"),
    [
        (GOOD, row(7), '"' + row(7)),
        (GOOD, row(7), row(7).replace(",7\n", ',"7\n')),
        (quote_cells(GOOD), quote_cells(row(7)), quote_cells(row(7)).replace('"2001-01-08"', '"2001-01-08')),
        (quote_cells(GOOD), quote_cells(row(7)), quote_cells(row(7)).replace('"7"', '"7')),
    ],
    ids=["opened", "opened at the end", "all quoted, first", "all quoted, last"],
)
def test_an_unclosed_quote_costs_one_row(tmp_path: Path, text: str, good: str, broken: str) -> None:
    assert good in text
    records, rejects = read(write(tmp_path, text.replace(good, broken)))
    assert rejects == {9: "field_count"}
    assert records["source_line"].to_list() == [line for line in range(2, 22) if line != 9]


def test_unclosed_quotes_in_every_row(tmp_path: Path) -> None:
    check_rejected(write(tmp_path, "".join('"' + line + "\n" for line in GOOD.splitlines())))


# --- shapes


def test_a_hundred_thousand_columns(tmp_path: Path) -> None:
    more = ",1" * 100_000
    names = "".join(f",x{n}" for n in range(100_000))
    wide = HEADER.strip() + names + "\n" + "".join(row(n).strip() + more + "\n" for n in range(3))
    check_rejected(write(tmp_path, wide), "100,006 columns")


LONG = 900_000


@pytest.mark.parametrize(
    "cell",
    [
        "1" * LONG,
        "1 " * (LONG // 2),
        "1" + " " * LONG + "K",
        "2024-01-10" + " " * LONG + "x",
        "0." + "0" * LONG + "1",
        "1e" + "9" * LONG,
        '"' + "1,111" * (LONG // 5) + '"',
        "(" * LONG,
        "1-" * (LONG // 2),
    ],
    ids=["digits", "numbers", "blanks", "date", "zeros", "exponent", "groups", "parentheses", "signs"],
)
def test_a_cell_of_a_megabyte_costs_one_row(tmp_path: Path, cell: str) -> None:
    """Patterns that try again at each character would take hours."""
    row_above, row_below = row(30), row(31)
    for broken in (f"2010-01-01,1.5,2,1,{cell},7\n", f"{cell},1.5,2,1,1.5,7\n"):
        records, rejects = read(write(tmp_path, GOOD + row_above + broken + row_below))
        assert list(rejects) in ([], [23])
        assert len(records) == 23 - len(rejects)


def test_a_header_of_hundreds_of_thousands_of_numbers(tmp_path: Path) -> None:
    check_rejected(write(tmp_path, GOOD.replace("Open", '"' + "1 " * 400_000 + '"')), "no header")


def test_one_row_of_a_hundred_thousand_cells_far_below(tmp_path: Path) -> None:
    text = (
        HEADER + "".join(row(n) for n in range(3000)) + row(3000).strip() + ",1" * 100_000 + "\n" + row(3001)
    )
    records, rejects = read(write(tmp_path, text))
    assert (len(records), rejects) == (3001, {3002: "field_count"})


def test_missing_and_extra_cells(tmp_path: Path) -> None:
    text = GOOD + "2003-01-01,1,2\n" + row(800) + "2004-01-01,1,2,1,1,1,1,1\n" + row(1200) + "\n" + ",,,,,\n"
    records, rejects = read(write(tmp_path, text))
    assert (len(records), rejects) == (22, {22: "field_count", 24: "field_count"})


def test_mixed_line_ends(tmp_path: Path) -> None:
    text = HEADER.strip() + "\r\n" + row(1) + row(2).strip() + "\r\n" + row(3).strip()
    records, rejects = read(write(tmp_path, text))
    assert (records["source_line"].to_list(), rejects) == ([2, 3, 4], {})


def test_a_lone_carriage_return_loses_no_row_silently(tmp_path: Path) -> None:
    records, rejects = read(write(tmp_path, GOOD.replace(row(7), row(7).strip() + "\r")))
    assert len(records) == 18
    assert rejects == {9: "field_count"}


def test_only_carriage_returns(tmp_path: Path) -> None:
    records, rejects = read(write(tmp_path, GOOD.replace("\n", "\r")))
    assert (records["source_line"].to_list(), rejects) == (list(range(2, 22)), {})


def test_a_byte_order_mark_in_the_middle(tmp_path: Path) -> None:
    """Two files joined by `cat`: the second header is rejected or skipped; no row is lost."""
    other = GOOD.replace("2001-", "2002-")
    records, rejects = read(write(tmp_path, GOOD + "\ufeff" + other))
    assert len(records) == 40
    assert set(rejects) <= {22}


def test_equal_columns_of_one_name(tmp_path: Path) -> None:
    rows = "".join(f"{row(n)[:10]},1,2,1,1.5,1.5,3\n" for n in range(5))
    records, rejects = read(write(tmp_path, "Date,Open,High,Low,Close,Close,Volume\n" + rows))
    assert (records["close"].to_list(), rejects) == ([Decimal("1.5")] * 5, {})


def test_differing_columns_with_one_name_are_both_kept_or_rejected(tmp_path: Path) -> None:
    rows = "".join(f"{row(n)[:10]},1,2,1,1.5,1.2{n},3\n" for n in range(1, 5))
    path = write(tmp_path, "Date,Open,High,Low,Close,Close,Volume\n" + rows)
    caught_error: DataError | None = None
    try:
        records, rejects = read(path)
    except DataError as error:
        caught_error = error
    if caught_error:
        assert "AAA.csv" in caught_error.message
        assert "--columns" in caught_error.hint
        return
    assert rejects == {}
    for n, record in enumerate(records.iter_rows(named=True), start=1):
        others = {Decimal(text) for text in json.loads(record["extra"]).values()}
        assert {record["close"], *others} == {Decimal("1.5"), Decimal(f"1.2{n}")}


# --- other file formats


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (HEADER.encode(), "has no rows"),
        (b"\n\n\r\n  \n", "is empty"),
        (b"\n" * (8 << 20), "is empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "a picture"),
        (b"PAR1" + bytes(range(256)), "a Parquet file"),
        (b"\x7fELF" + bytes(range(256)), "a program"),
        (bytes(range(256)) * 40, None),
        (b"<!DOCTYPE html>\n<html><body><table><tr><td>Date</td></tr></table></body></html>\n", "a page"),
        (b'[{"Date":"2024-01-02","Open":1}]\n', "JSON"),
        (b'{"Date":"2024-01-02","Open":1}\n' * 5, "JSON"),
    ],
    ids=[
        "empty",
        "header",
        "blank",
        "many blank",
        "png",
        "parquet",
        "elf",
        "all bytes",
        "html",
        "json",
        "ndjson",
    ],
)
def test_files_that_are_not_csv(tmp_path: Path, content: bytes, message: str | None) -> None:
    check_rejected(write(tmp_path, content), message)


def test_a_workbook(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        zip_archive(
            ("[Content_Types].xml", b"<x/>"), ("xl/workbook.xml", b"<x/>"), ("xl/worksheets/sheet1.xml", b"")
        ),
        "AAA.xlsx",
    )
    error = check_rejected(path)
    assert "Excel" in error.message
    assert "CSV" in error.hint


def test_an_archive_of_two_files(tmp_path: Path) -> None:
    error = check_rejected(
        write(tmp_path, zip_archive(("A.csv", GOOD.encode()), ("B.csv", GOOD.encode())), "two.zip")
    )
    assert "2 files" in error.message
    assert "Download" not in error.hint, "the archive is complete"


def test_the_name_in_an_archive_is_only_a_name(tmp_path: Path) -> None:
    records, rejects = read(write(tmp_path, zip_archive(("../../etc/AAA.csv", GOOD.encode())), "x.zip"))
    assert (len(records), rejects) == (20, {})
    assert records["symbol"].unique().to_list() == ["AAA"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.zip"]


def test_ignored_archive_members(tmp_path: Path) -> None:
    other_members = [
        ("__MACOSX/._AAA.csv", b"\0"),
        (".hidden.csv", b"\0"),
        ("readme.md", b"Prices."),
        ("data/", b""),
    ]
    records, rejects = read(
        write(tmp_path, zip_archive(*other_members, ("data/AAA.csv", GOOD.encode())), "x.zip")
    )
    assert (len(records), rejects) == (20, {})


@pytest.mark.parametrize("compression", [compression for compression in COMPRESSORS if compression != "zip"])
def test_concatenated_compressed_parts_are_one_file(tmp_path: Path, compression: str) -> None:
    data = GOOD.encode()
    parts = b"".join(COMPRESSORS[compression](part) for part in (data[:100], data[100:150], data[150:]))
    records, rejects = read(write(tmp_path, parts, f"AAA.csv.{compression}"))
    assert (records["source_line"].to_list(), rejects) == (list(range(2, 22)), {})


@pytest.mark.parametrize("lost", [4, 0.5], ids=["the end", "a half"])
@pytest.mark.parametrize("compression", COMPRESSORS)
def test_a_truncated_compressed_file(tmp_path: Path, compression: str, lost: float) -> None:
    """Rows are missing after the end: that must be an error."""
    data = COMPRESSORS[compression](f"time,open,high,low,close,volume\n{minutes(20_000)}".encode())
    length = len(data) - 4 if lost == 4 else len(data) // 2
    check_rejected(write(tmp_path, data[:length], f"AAA.csv.{compression}"))


@pytest.mark.parametrize("compression", COMPRESSORS)
def test_a_compressed_file_with_a_flipped_byte(tmp_path: Path, compression: str) -> None:
    data = bytearray(COMPRESSORS[compression](f"time,open,high,low,close,volume\n{minutes(20_000)}".encode()))
    data[len(data) // 2] ^= 0xFF
    # zstd has no checksum by default: then every row must be a record or a reject
    if compression == "zst":
        path = write(tmp_path, bytes(data), "AAA.csv.zst")
        with suppress(DataError):
            read(path)
        return
    check_rejected(write(tmp_path, bytes(data), f"AAA.csv.{compression}"))


# --- paths that are not files


def test_a_folder_a_device_and_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    for path in (tmp_path, Path("/dev/zero"), pipe):
        check_rejected(path)


def test_a_missing_file(tmp_path: Path) -> None:
    check_rejected(tmp_path / "none.csv", "does not exist")
    (tmp_path / "link.csv").symlink_to(tmp_path / "none.csv")
    check_rejected(tmp_path / "link.csv")


@contextmanager
def unprivileged() -> Iterator[None]:
    """Drop root privileges, if there are any."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("locked", ["file", "folder"])
def test_an_unreadable_file(locked: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "inner").mkdir()
        path = write(folder / "inner", GOOD)
        (path if locked == "file" else path.parent).chmod(0)
        try:
            with unprivileged():
                with suppress(PermissionError):
                    path.read_bytes()
                    pytest.skip("this user may read everything")
                check_rejected(path)
        finally:
            path.parent.chmod(0o700)


@pytest.mark.parametrize("locked", ["AAA", "AAA/inner"])
def test_an_unreadable_folder_is_not_passed_over(locked: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "AAA" / "inner").mkdir(parents=True)
        write(folder / "AAA", GOOD)
        (folder / locked).chmod(0)
        try:
            with unprivileged():
                with suppress(PermissionError):
                    list((folder / locked).iterdir())
                    pytest.skip("this user may read everything")
                with pytest.raises(DataError, match="cannot be read: Permission denied"):
                    expand_paths([str(folder / "AAA")])
        finally:
            (folder / locked).chmod(0o700)


# --- numbers


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e400", None),
        ("1e-400", None),
        ("1" * 40, None),
        ("1" * 19, Decimal("1" * 19)),
        ("9" * 29, Decimal("9" * 29)),
        ("9" * 30, None),
        ("9007199254740993", Decimal("9007199254740993")),
        ("1234567890.123456789", Decimal("1234567890.123456789")),
        ("1e5", Decimal(100_000)),
        ('"1,5"', None),
        ("inf", None),
        ("nan", None),
        ("0x10", None),
        ("1_000", None),
        ("1.2.3", None),
        ("--1", None),
        ("١", None),
    ],
)
def test_a_number_is_exact_or_its_row_rejected(tmp_path: Path, text: str, value: Decimal | None) -> None:
    path = write(tmp_path, f"{GOOD}2010-01-01,1,{'9' * 29},1,{text},3\n{row(3600)}")
    records, rejects = read(path)
    if value is None:
        assert list(rejects) == [22]
        assert len(records) == 21
    else:
        assert rejects == {}
        assert records["close"].to_list()[-2] == value


@pytest.mark.parametrize("text", ["9" * 19, "9" * 29])
def test_a_volume_of_many_digits(tmp_path: Path, text: str) -> None:
    records, rejects = read(write(tmp_path, GOOD + row(30, volume=text)))
    assert rejects == {}
    assert records["volume"][-1] == Decimal(text)


@pytest.mark.parametrize("text", ["9" * 40, "1e400", "-1"])
def test_an_invalid_volume(tmp_path: Path, text: str) -> None:
    records, rejects = read(write(tmp_path, GOOD + row(30, volume=text)))
    assert list(rejects) == [22]
    assert len(records) == 20


# --- symbols


@pytest.mark.parametrize(
    "symbol",
    [
        "a\\b",
        "..",
        "../..",
        "x" * 65,
        "x" * 10_000,
        "A\u200fB",
        "AAPL\u202e",
        "AA\ufe0fPL",
        "A\ufffd",
        "=cmd",
        "+cmd",
        "-rf",
        "<script>",
        "O'Neil",
        "`id`",
    ],
)
def test_an_invalid_symbol(tmp_path: Path, symbol: str) -> None:
    text = f"Symbol,{HEADER}AAA,{row(1)}{symbol},{row(2)}AAA,{row(3)}"
    records, rejects = read(write(tmp_path, text))
    assert rejects == {3: "symbol_invalid"}
    assert records["symbol"].to_list() == ["AAA", "AAA"]


@pytest.mark.parametrize(
    ("symbol", "instrument"),
    [
        ("../../etc", "..~2F..~2Fetc.XXXX"),
        ("%2e%2e", "~252e~252e.XXXX"),
        ("~41", "~7E41.XXXX"),
        ("{x}$(y);z", "~7Bx~7D~24~28y~29~3Bz.XXXX"),
        ("АAPL", "~D0~90APL.XXXX"),
    ],
)
def test_a_symbol_that_looks_dangerous_has_a_safe_identifier(
    tmp_path: Path, symbol: str, instrument: str
) -> None:
    text = f"Symbol,{HEADER}AAA,{row(1)}{symbol},{row(2)}AAA,{row(3)}"
    records, rejects = read(write(tmp_path, text))
    assert rejects == {}
    assert records["symbol"].to_list() == ["AAA", symbol, "AAA"]
    assert records["instrument_id"].to_list() == ["AAA.XXXX", instrument, "AAA.XXXX"]


@pytest.mark.parametrize("symbol", ["CON", "NA", "NULL", "TRUE", "INF", "NAN", "None", "nan", "BRK-B", "123"])
def test_a_symbol_stays_text(tmp_path: Path, symbol: str) -> None:
    text = f"Symbol,{HEADER}AAA,{row(1)}{symbol},{row(2)}AAA,{row(3)}"
    records, rejects = read(write(tmp_path, text))
    assert rejects == {}
    assert records["symbol"].to_list() == ["AAA", symbol, "AAA"]
    only, rejects = read(
        write(tmp_path, f"Symbol,{HEADER}" + "".join(f"{symbol},{row(n)}" for n in range(5)))
    )
    assert (only["symbol"].to_list(), rejects) == ([symbol] * 5, {})


@pytest.mark.parametrize("symbol", ["CON", "NA", "NULL", "TRUE", "INF", "NAN"])
def test_a_file_named_for_such_a_symbol(tmp_path: Path, symbol: str) -> None:
    records, rejects = read(write(tmp_path, GOOD, f"{symbol}.csv"))
    assert (records["symbol"].unique().to_list(), rejects) == ([symbol], {})


# --- files that change while they are read


def append_row(path: Path) -> None:
    with path.open("a") as file:
        file.write(minutes(40_001).splitlines()[-1] + "\n")


def truncate_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def truncate_to_empty(path: Path) -> None:
    os.truncate(path, 0)


def replace_file(path: Path) -> None:
    """Replace it by another file of the same size and time."""
    state = path.stat()
    other = path.with_suffix(".new")
    other.write_bytes(path.read_bytes().replace(b"1.5", b"1.6"))
    os.utime(other, ns=(state.st_atime_ns, state.st_mtime_ns))
    other.replace(path)


def overwrite_in_place(path: Path) -> None:
    """Overwrite it with other prices, in place."""
    data = path.read_bytes().replace(b",1.5,", b",1.6,")
    with path.open("r+b") as file:
        file.write(data)


def remove_file(path: Path) -> None:
    path.unlink()


# a file that must be sorted is read completely before the first batch
@pytest.mark.parametrize(("early", "newest_first"), [(True, False), (True, True), (False, False)])
@pytest.mark.parametrize(
    "change", [append_row, truncate_half, truncate_to_empty, replace_file, overwrite_in_place, remove_file]
)
def test_a_file_that_changes_while_it_is_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], None],
    early: bool,
    newest_first: bool,
) -> None:
    monkeypatch.setattr(merged_module, "CHUNK_BYTES", 1)
    lines = minutes(40_000).splitlines(keepends=True)
    text = "time,open,high,low,close,volume\n" + "".join(reversed(lines) if newest_first else lines)
    path = write(tmp_path, text)
    merged = open_merged_source([path])
    if early:
        change(path)
    changed = early

    def after_the_first_batch(_: ConvertStats) -> None:
        nonlocal changed
        if not changed:
            change(path)
            changed = True

    with pytest.raises(DataError, match="changed") as caught:
        convert(
            merged,
            ".ndjson",
            str(tmp_path / "out.ndjson"),
            tmp_path / "rejects.ndjson",
            on_progress=after_the_first_batch,
        )
    assert "AAA.csv" in caught.value.message
    assert caught.value.hint
    assert {each.name for each in tmp_path.iterdir()} <= {"AAA.csv"}


def test_one_of_several_files_that_changes(tmp_path: Path) -> None:
    paths = [write(tmp_path, f"time,open,high,low,close,volume\n{minutes(50)}", f"{n}A.csv") for n in "BC"]
    merged = open_merged_source(paths)
    append_row(paths[1])
    with pytest.raises(DataError, match=r"CA\.csv changed"):
        convert(merged, ".ndjson", str(tmp_path / "out.ndjson"), tmp_path / "rejects.ndjson")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["BA.csv", "CA.csv"]


# --- memory


@pytest.mark.parametrize("count", [100, 1000, 20_000])
def test_the_interval_of_unordered_bars(tmp_path: Path, count: int) -> None:
    """Gaps between shuffled rows mean nothing: the interval is inferred from sorted rows, or required."""
    lines = pl.Series(minutes(count).splitlines()).shuffle(seed=7).to_list()
    path = write(tmp_path, "\n".join(["time,open,high,low,close,volume", *lines]) + "\n")
    try:
        records, rejects = read(path)
    except DataError as error:
        caught_error = error
    else:
        assert records["interval"].unique().to_list() == ["1m"]
        assert rejects == {}
        return
    assert "--interval" in caught_error.hint


@pytest.mark.parametrize("order", ["newest first", "shuffled"])
def test_two_hundred_megabytes_need_little_memory(tmp_path: Path, order: str) -> None:
    count = 2_300_000
    minute = pl.int_range(count, eager=True)
    minute = minute.reverse() if order == "newest first" else minute.shuffle(seed=7)
    time = pl.from_epoch(minute * 60 + 978_307_200).dt.to_string("%Y-%m-%d %H:%M:%S+00:00")
    price = pl.lit("101.250000000")
    table = pl.DataFrame({"time": time, "volume": minute}).select(
        "time",
        open=price,
        high=pl.lit("102.000000000"),
        low=pl.lit("99.0000000000"),
        close=price,
        volume="volume",
    )
    path = tmp_path / "ACME.csv"
    table.write_csv(path)
    assert path.stat().st_size > 200_000_000
    output = tmp_path / "out.parquet"
    code, err, peak_mb = run_convert(path, output, "--to", "parquet", "--interval", "1m", within_s=55)
    path.unlink()
    assert code == 0, err
    assert 0 < peak_mb < MAX_MB
    read_back = pl.scan_parquet(output).select("ts_open_ns", "volume").collect()
    assert read_back.height == count
    assert read_back["ts_open_ns"].is_sorted()
    assert (read_back["volume"].cast(pl.Int64) == pl.int_range(count, eager=True)).all()
