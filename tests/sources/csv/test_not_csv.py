"""Files that hold no table: the error names what they are, shows what they say, and helps."""

import gzip
import io
import pickle
import zipfile
from pathlib import Path

import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.read import open_csv

HEADER = "Date,Open,High,Low,Close\n"
PAGE = "<html><head><title>Sign in</title></head><body>Too many requests</body></html>"


def refusal(folder: Path, content: str | bytes, name: str = "AAA.csv") -> DataError:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as caught:
        open_csv(path)
    assert name in caught.value.message
    assert caught.value.hint
    assert "tickerlake inspect" not in caught.value.hint
    return caught.value


def archive(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name in names:
            file.writestr(name, PAGE)
    return stream.getvalue()


@pytest.mark.parametrize("above", ["", "\n\n", "\ufeff", "\ufeff\r\n \t\r\n"], ids=repr)
@pytest.mark.parametrize("end", ["", "\n"], ids=repr)
@pytest.mark.parametrize(
    ("text", "what", "said"),
    [
        (PAGE, "a page (HTML)", "Sign in Too many requests"),
        ("<!-- cached --><!DOCTYPE html><h1>502 Bad Gateway</h1>", "a page (HTML)", "502 Bad Gateway"),
        ('<?xml version="1.0"?><Error><Message>Access Denied</Message></Error>', "XML", "Access Denied"),
        ('{"Error Message": "Invalid API call.", "code": 1}', "a message in JSON", "Invalid API call."),
        ('{"error": {"code": 429, "message": "Slow down"}}', "a message in JSON", "Slow down"),
        ('{"Note": "Thank you for using us!"}', "a message in JSON", "Thank you for using us!"),
        ('[{"date":"2024-01-02","open":1}]', "JSON", "2024-01-02"),
        ('{"results":[{"t":1}],"status":"OK"}', "JSON", "results"),
        ("[]", "without data", "[]"),
        ("Exceeded the daily hits limit", "a message", "Exceeded the daily hits limit"),
        ("Error,Invalid symbol", "a message", "Error,Invalid symbol"),
        ("404: Not Found", "a message", "404: Not Found"),
        ("!NO_DATA!,,\n!ENDMSG!,", "a message", "!NO_DATA!"),
        ("Please come back tomorrow", "a message", "come back tomorrow"),
        ("Date,Open,High,Low,Close,Volume", "only a header", "Date,Open,High"),
        ("timestamp,price,size", "only a header", "timestamp,price,size"),
        ("Warning: timeout on line 7\ntime,price,size", "only a header", "Warning: timeout on line 7"),
    ],
)
def test_text(tmp_path: Path, text: str, what: str, said: str, above: str, end: str) -> None:
    error = refusal(tmp_path, above + text + end)
    assert what in error.message
    assert said in error.message


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (archive("[Content_Types].xml", "xl/workbook.xml"), "an Excel workbook"),
        (archive("[Content_Types].xml", "word/document.xml"), "an Office document"),
        (archive("mimetype", "content.xml"), "(.ods)"),
        (archive("Index/Document.iwa", "Metadata/x.plist"), "Numbers"),
        (archive("prices.npy"), "NumPy"),
        (gzip.compress(archive("[Content_Types].xml", "xl/workbook.xml")), "an Excel workbook"),
        (b"\xd0\xcf\x11\xe0" + bytes(500), "an Excel workbook (.xls)"),
        (
            b'<html xmlns:x="urn:schemas-microsoft-com:office:excel"><table></table></html>',
            "an Excel workbook",
        ),
        (pickle.dumps([1.5, 2.5]), "a Python pickle"),
        (pickle.dumps([1.5, 2.5], protocol=2), "a Python pickle"),
        (b"\n%PDF-1.7\n%\xe2\xe3", "a PDF"),
        (b"SQLite format 3\0" + bytes(100), "an SQLite database"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
        (b"FEA1" + bytes(100), "Feather"),
        (b"ARROW1\0\0" + bytes(100), "Arrow"),
        (b"ORC\x08\x03\x10" + bytes(100), "ORC"),
        (gzip.compress(b"RDX3\nX\n" + bytes(100)), "an R data file"),
        (b"AAPL.csv" + bytes(249) + b"ustar\0" + bytes(300), "a tar archive"),
        (b"\xff\xd8\xff\xe0" + bytes(range(256)), "a picture"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12\n", "Git LFS"),
    ],
    ids=lambda value: value if isinstance(value, str) else "file",  # some files hold the time
)
def test_other_formats(tmp_path: Path, content: bytes, what: str) -> None:
    assert what in refusal(tmp_path, content).message


def test_a_page_in_an_archive(tmp_path: Path) -> None:
    for name, content in (
        ("AAA.csv.gz", gzip.compress(f"\n\n{PAGE}".encode())),
        ("AAA.zip", archive("AAA.csv")),
    ):
        assert "a page (HTML)" in refusal(tmp_path, content, name).message


@pytest.mark.parametrize("first", ["From: <Saved by Blink>", "MIME-Version: 1.0", "Received: by mx"])
def test_a_saved_page_with_its_parts(tmp_path: Path, first: str) -> None:
    text = f"{first}\nDate: Sun, 17 Aug 2025\nMIME-Version: 1.0\nContent-Type: multipart/related\n\n{PAGE}"
    assert "is a saved web page (MHTML) or an e-mail, not CSV" in refusal(tmp_path, text).message


def test_tables_that_begin_like_something_else(tmp_path: Path) -> None:
    """Headers in brackets, symbols such as ORC, and a last line without an end are ordinary CSV."""
    path = tmp_path / "AAA.csv"
    for text in (
        HEADER + "2024-01-02,1,2,1,2",
        "\n\n" + HEADER + "2024-01-02,1,2,1,2",
        "<TICKER>,<DATE>,<OPEN>,<HIGH>,<LOW>,<CLOSE>\nAAA,20240102,1,2,1,2\n",
        "[Date],[Open],[High],[Low],[Close]\n2024-01-02,1,2,1,2\n",
        "Error: the close is preliminary\n" + HEADER + "2024-01-02,1,2,1,2\n",
        "symbol," + HEADER + "ORC,2024-01-02,1,2,1,2\n",
    ):
        path.write_text(text)
        (batch,) = open_csv(path).batches()
        assert batch.records.height == 1, text
    closes = [100 + n * 7 % 5 for n in range(21)]
    rows = "".join(
        f"ORC,2024-01-{n + 10},{closes[n - 1]}.25,{max(closes[n - 1 : n + 1])}.5,"
        f"{min(closes[n - 1 : n + 1]) - 1}.5,{closes[n]},{5000 + n * 37 % 11}\n"
        for n in range(1, 21)
    )
    path.write_text(rows)
    assert open_csv(path).symbols == ["ORC"]
