"""Names what a file holds instead of a table: another format, a page, or a message of the vendor."""

import json
import re
from collections.abc import Collection, Sequence
from typing import Any, Final

from tickerlake.errors import DataError

_SAVE_AS_CSV: Final = "Open it in the program that it is for, and save the table as CSV."
_EXPORT: Final = "Export the table as CSV, and name that file."
_EXTRACT: Final = "Extract it, and name the file that it holds."
_DO_WHAT_IT_SAYS: Final = "Do what it says, then download the file again."

_BINARY_FORMATS: Final[dict[bytes, tuple[str, str]]] = {
    b"%PDF": ("a PDF document", "Download the data as CSV instead."),
    b"\xd0\xcf\x11\xe0": ("an Excel workbook (.xls)", _SAVE_AS_CSV),
    b"\t\x08\x10\0": ("an Excel workbook (.xls)", _SAVE_AS_CSV),
    b"\t\x08\x08\0": ("an Excel workbook (.xls)", _SAVE_AS_CSV),
    b"PAR1": ("a Parquet file", _EXPORT),
    b"ARROW1": ("an Arrow file", _EXPORT),
    b"\xff\xff\xff\xff": ("an Arrow stream", _EXPORT),
    b"FEA1": ("a Feather file", _EXPORT),
    b"\x89HDF": ("an HDF5 file", _EXPORT),
    b"\x93NUMPY": ("a NumPy array", _EXPORT),
    b"SQLite format 3\0": ("an SQLite database", _EXPORT),
    b"Obj\x01": ("an Avro file", _EXPORT),
    b"MATLAB 5.0 MAT-file": ("a MATLAB file", _EXPORT),
    b"RDX2\n": ("an R data file", _EXPORT),
    b"RDX3\n": ("an R data file", _EXPORT),
    b"X\n\0\0\0": ("an R data file", _EXPORT),
    b"\x7fELF": ("a program", "Is it the file that you meant?"),
    b"\x89PNG": ("a picture", "Download the data as CSV instead."),
    b"\xff\xd8\xff": ("a picture", "Download the data as CSV instead."),
    b"GIF8": ("a picture", "Download the data as CSV instead."),
    b"{\\rtf": ("a text document (RTF)", _SAVE_AS_CSV),
    b"Rar!": ("a RAR archive", _EXTRACT),
    b"7z\xbc\xaf": ("a 7-Zip archive", _EXTRACT),
    b"\x04\x22\x4d\x18": ("an LZ4 file", "Decompress it, and name what it holds."),
    b"PK\x05\x06": ("an empty zip archive", "Download the file again."),
    b"version https://git-lfs.": ("a pointer of Git LFS to the file", "Fetch the file itself: git lfs pull"),
}
"""By their first bytes: what files are, and what to do about it."""

_PICKLE: Final = re.compile(rb"\x80[\x02-\x05][\x00-\xff]")
_ORC: Final = re.compile(rb"ORC[\x00-\x08\x0e-\x1f\x80-\xff]")
"""Not the letters alone: ORC is a symbol as well."""

_TAR_OFFSET: Final = 257
_HTML: Final = re.compile(
    r"<(!doctype\s+html|html|head|body|title|div|span|p|h[1-6]|table|script|meta|br|center|pre)\b",
    re.IGNORECASE,
)
_OFFICE_PAGE: Final = re.compile(r"urn:schemas-microsoft-com:office|progid=\"Excel\.Sheet\"")
_MIME: Final = re.compile(
    r"^(MIME-Version:|Snapshot-Content-Location:|Content-Type:\s*multipart/)", re.IGNORECASE | re.MULTILINE
)
_TAG: Final = re.compile(r"<[^<>]*>")
_HEADER_IN_BRACKETS: Final = re.compile(r"<[A-Za-z_ ]+>\s*[,;\t|]|\[[^\]\"'{]*\]?\s*[,;\t|]")
"""``<TICKER>,<PER>,…`` and ``[Date],[Open],…`` are headers."""

_LINES: Final = 40
_CHARACTERS: Final = 8000
"""Of the beginning of a file, which is looked at for pages and messages."""

_MAX_EXCERPT: Final = 200
_MIN_QUOTED_SHARE: Final = 0.8
_MAX_MESSAGE_LINES: Final = 8
_ERROR_WORDS: Final = re.compile(
    r"\b(error|invalid|exceeded|limit|denied|unauthori[sz]ed|forbidden|not found|too many|expired|"
    r"unknown|failed|failure|unavailable|missing|required|premium|subscription|thank you|quota|upgrade|"
    r"delisted|does not exist|not supported|bad request|timed? ?out|api[ _]?key)\b|\bno[ _]data",
    re.IGNORECASE,
)
_MESSAGE_KEYS: Final = re.compile(
    r"error|message|msg|detail|information|note|reason|description|status|warning", re.IGNORECASE
)


def check_is_not_binary(name: str, head: bytes) -> None:
    """Raise an error for the first bytes of a known format that is not text."""
    text = head.lstrip(b"\r\n \t\xef\xbb\xbf") if b"%PDF" in head[:64] else head
    for sign, (what, remedy) in _BINARY_FORMATS.items():
        if text.startswith(sign):
            raise DataError(f"{name} is {what}, not CSV.", remedy)
    if head[_TAR_OFFSET : _TAR_OFFSET + 5] == b"ustar":
        raise DataError(f"{name} is a tar archive, not CSV.", _EXTRACT)
    if _PICKLE.match(head):
        raise DataError(f"{name} is a Python pickle, not CSV.", _EXPORT)
    if _ORC.match(head):
        raise DataError(f"{name} is an ORC file, not CSV.", _EXPORT)
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        raise DataError(f"{name} is a picture, not CSV.", "Download the data as CSV instead.")


def check_is_no_document(name: str, members: Collection[str]) -> None:
    """Raise an error for the files in a zip archive that make it a document of another program."""
    what = ""
    if "[Content_Types].xml" in members:
        what = "an Office document"
        if any(each.startswith("xl/") for each in members):
            what = "an Excel workbook"
    elif {"mimetype", "content.xml"} <= set(members):
        what = "an OpenDocument file (.ods)"
    elif any(each.endswith(".iwa") for each in members):
        what = "a document of Numbers or Pages"
    if what:
        raise DataError(f"{name} is {what}, not CSV.", _SAVE_AS_CSV)
    if members and all(each.endswith(".npy") for each in members):
        raise DataError(f"{name} is a NumPy archive (.npz), not CSV.", _EXPORT)


def check_is_table(name: str, lines: Sequence[str]) -> None:
    """Raise an error for lines that begin a page, an e-mail, XML or JSON."""
    text = "\n".join(line[:_CHARACTERS] for line in lines[:_LINES]).lstrip("\ufeff \n\t\r")[:_CHARACTERS]
    if _HEADER_IN_BRACKETS.match(text):
        return
    if text.startswith("<"):
        raise _page_error(name, text)
    if text.startswith(("{", "[")):
        raise _json_error(name, lines)
    if _MIME.search(text):
        raise DataError(
            f"{name} is a saved web page (MHTML) or an e-mail, not CSV: {_shorten(text)}",
            "Open it in a browser, and export its table as CSV.",
        )


def no_rows_error(name: str, lines: Sequence[str], header_line: int) -> DataError:
    """Return the error for text without rows of dates and numbers.

    Parameters
    ----------
    header_line
        The index of the line that looks like a header, -1 if none does.
    """
    texts = [line.strip() for line in lines if line.strip()]
    first = texts[0] if texts else ""
    if header_line >= 0 and not any(map(str.strip, lines[header_line + 1 :])):
        above = next((line for line in texts[:-1] if _ERROR_WORDS.search(line)), "")
        said = f" Above it stands: {_shorten(above)}" if above else ""
        return DataError(
            f"{name} has no rows, only a header: {_shorten(lines[header_line])}.{said}",
            "Download the file again; the vendor may have no data for this symbol and period.",
        )
    is_short = len(texts) <= _MAX_MESSAGE_LINES
    is_sentence = header_line < 0 and re.search(r"[^\W\d_]{2,} [^\W\d_]{2,}", first) is not None
    if is_short and (_ERROR_WORDS.search(" ".join(texts)) or (is_sentence and len(texts) == 1)):
        return DataError(f"{name} is a message, not a table: {_shorten(' '.join(texts))}", _DO_WHAT_IT_SAYS)
    rows = texts[1:]
    if rows and sum(map(_is_quoted_as_a_whole, rows)) >= _MIN_QUOTED_SHARE * len(rows):
        return DataError(
            f"{name}: its rows are quoted as a whole, each as a single cell: {_shorten(rows[0])}.",
            "Remove the quotes around each row and halve those inside it; or export the file again, and do "
            "not save it in a spreadsheet.",
        )
    return DataError(
        f"{name} has no rows of dates and numbers: it begins with {first[:80]!r}.",
        "A table needs rows with a date or a time, and at least one price.",
    )


def _is_quoted_as_a_whole(line: str) -> bool:
    """Return whether a line is one cell in quotes, in which there are several cells."""
    inner = re.fullmatch(r'"((?:[^"]|"")+)"[,;\t]*', line)
    return inner is not None and max(inner[1].count(sign) for sign in ",;\t") > 1


def _page_error(name: str, text: str) -> DataError:
    if _OFFICE_PAGE.search(text):
        return DataError(f"{name} is an Excel workbook saved as a page or XML, not CSV.", _SAVE_AS_CSV)
    is_page = _HTML.search(text) is not None
    said = _shorten(_TAG.sub(" ", text)) or _shorten(text)
    return DataError(
        f"{name} is {'a page (HTML)' if is_page else 'XML'}, not CSV: {said}",
        "If that is a message of the vendor, do what it says; then download the file again."
        if not is_page
        else "Open its address in a browser: it may ask for a login. Then download the file again.",
    )


def _json_error(name: str, lines: Sequence[str]) -> DataError:
    text = "\n".join(lines).strip("\ufeff \n\t\r")
    value = _decode(text)
    said = _message_in(value)
    if said:
        return DataError(f"{name} is a message in JSON, not CSV: {_shorten(said)}", _DO_WHAT_IT_SAYS)
    if value in ([], {}):
        return DataError(
            f"{name} is JSON without data, not CSV: {text}",
            "The vendor may have no data for this symbol and period.",
        )
    return DataError(
        f"{name} is JSON, not CSV: {_shorten(text)}",
        "Request CSV from the vendor, or convert it to CSV.",
    )


def _decode(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _message_in(value: Any) -> str:
    """Return what a decoded object says, if it is a message: texts under the usual keys, and no lists."""
    if not isinstance(value, dict) or any(isinstance(each, list) and each for each in value.values()):
        return ""
    texts = []
    for key, each in value.items():
        if isinstance(each, dict):
            texts.append(_message_in(each))
        elif isinstance(each, str) and (_MESSAGE_KEYS.search(str(key)) or _ERROR_WORDS.search(each)):
            texts.append(each)
    return " ".join(filter(None, texts))


def _shorten(text: str) -> str:
    """Return a text in one line, shortened."""
    line = " ".join(text.split())
    return line if len(line) <= _MAX_EXCERPT else line[: _MAX_EXCERPT - 2] + " …"
