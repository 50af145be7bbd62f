"""The decisions about a file: taken once, from the whole file, before any row is emitted."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.resources.abc import Traversable
from typing import Final

import polars as pl

from tickerlake.errors import DataError
from tickerlake.sources.ahead import ahead
from tickerlake.sources.csv.chunks import Chunk, Extent, Meter, TextFile, sniff_bytes
from tickerlake.sources.csv.dates import TimeForm, candidates
from tickerlake.sources.csv.layout import Layout, missing_roles, read_header
from tickerlake.sources.csv.order import Order
from tickerlake.sources.csv.rows import BLANK, FIELDS, read_rows, time_text

_SEPARATORS: Final = ",;\t|"
_HEAD_LINES: Final = 1000
_HEADER_WITHIN: Final = 30


@dataclass(frozen=True)
class Head:
    """What the first lines tell."""

    text: TextFile
    separator: str
    layout: Layout
    header_line: int
    header: str

    def rows(self, chunk: Chunk, wanted: Sequence[str] | None = None) -> pl.DataFrame:
        """Return the rows of a chunk as text, of all columns or of those wanted."""
        return read_rows(chunk, self.layout, self.separator, self.header_line, self.header, wanted)


@dataclass
class Evidence:
    """What the whole file says for one way of reading its dates."""

    form: TimeForm
    order: Order = field(default_factory=Order)
    only_this: int = 0
    fractions: bool = False
    repeats: set[int] = field(default_factory=set)


@dataclass
class Survey:
    """What one pass over the file found."""

    head: Head
    evidence: list[Evidence]
    index: list[Extent]
    size: int
    digest: str


def read_head(file: Traversable) -> Head:
    """Find delimiter and header.

    Raises
    ------
    DataError
        If the file is no CSV file of prices.
    """
    if file.is_dir():
        raise DataError(f"{file.name} is a folder.", "Name a CSV file.")
    if not file.is_file():
        raise DataError(f"{file.name} does not exist.", "Check the path.")
    text = sniff_bytes(file)
    chunk = next(text.chunks(), None)
    if chunk is None or not chunk.data.strip():
        raise DataError(f"{file.name} is empty.", "Fetch the file again.")
    if text.encoding == "utf-8" and not _is_utf8(chunk.data):
        text = TextFile(file, text.compression, "cp1252")
        chunk = next(text.chunks())
    lines = [line.decode("utf-8", "replace") for line in chunk.data.split(b"\n", _HEAD_LINES)[:_HEAD_LINES]]
    return _find_header(text, lines)


def _find_header(text: TextFile, lines: list[str]) -> Head:
    best: tuple[int, Layout] | None = None
    for number, line in enumerate(lines[:_HEADER_WITHIN], 1):
        separator = max(_SEPARATORS, key=line.count)
        names = [name.strip() for name in next(csv.reader([line], delimiter=separator), [])]
        layout = read_header(names)
        missing = missing_roles(layout)
        if not missing:
            return Head(text, separator, layout, number, line)
        if best is None or len(layout.roles) > len(best[1].roles):
            best = (number, layout)
    name, first = text.file.name, lines[0][:60].strip()
    if first[:1] in ("{", "[", "<"):
        raise DataError(
            f"{name} is not CSV: it begins with {first!r}.", "A vendor's error message? Fetch it again."
        )
    if best is None or len(best[1].roles) < 2:
        raise DataError(f"{name} has no header with price columns: it begins with {first!r}.", _WANTED)
    number, layout = best
    lacks = ", ".join("date" if role == "time" else role for role in missing_roles(layout))
    raise DataError(f"{name}, line {number}: no column for {lacks} among {', '.join(layout.names)}.", _WANTED)


_WANTED: Final = "A header with at least Date, Open, High, Low, Close is needed."


def _is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def survey(head: Head, date_format: str | None, *, fractions: bool = False) -> Survey:
    """Read the whole file for its digest, its order, and the evidence for each way to read its dates."""
    meter = Meter()
    index: list[Extent] = []
    found: list[Evidence] = []
    layout = head.layout
    used = {
        *(layout.roles[role] for role in ("time", "clock", "symbol") if role in layout.roles),
        *layout.repeats,
    }
    wanted = [f"c{index}" for index in sorted(used)]
    for chunk in ahead(head.text.chunks(meter=meter)):
        if head.text.encoding == "utf-8" and not _is_utf8(chunk.data):
            return survey(replace(head, text=replace(head.text, encoding="cp1252")), date_format)
        rows = head.rows(chunk, wanted)
        index.append(Extent(chunk.offset, chunk.length, chunk.first_line, len(rows)))
        rows = _whole_rows(head, rows)
        if rows.is_empty():
            continue
        if not found:
            sample = rows["time"].head(_HEAD_LINES).to_list()
            forms = candidates(sample, date_format, file=head.text.file.name, fractions=fractions)
            found = [Evidence(form, repeats=set(head.layout.repeats)) for form in forms]
        _weigh(found, rows, head.layout)
        if not fractions and any(e.fractions and e.form.format.endswith((":%S", ":%S%z")) for e in found):
            return survey(head, date_format, fractions=True)
    return Survey(head, found, index, meter.size, meter.digest)


def _whole_rows(head: Head, rows: pl.DataFrame) -> pl.DataFrame:
    """Return time, symbol and the columns that may repeat the date, of rows of the right length."""
    layout = head.layout
    symbol = pl.col(layout.column("symbol")) if "symbol" in layout.roles else pl.lit("")
    rows = rows.filter(~pl.col(BLANK) & (pl.col(FIELDS) == len(layout.names)))
    return rows.select(
        time_text(layout).alias("time"),
        symbol.str.strip_chars().alias("symbol"),
        *(f"c{i}" for i in layout.repeats),
    )


def _weigh(found: list[Evidence], rows: pl.DataFrame, layout: Layout) -> None:
    times = rows.select("symbol", *(e.form.ns(pl.col("time")).alias(f"t{i}") for i, e in enumerate(found)))
    read = [pl.col(f"t{i}").is_not_null() for i in range(len(found))]
    for i, evidence in enumerate(found):
        others = [flag for j, flag in enumerate(read) if j != i]
        if others:
            evidence.only_this += times.select((read[i] & ~pl.any_horizontal(others)).sum()).item()
        ts = times.select("symbol", ts=f"t{i}")
        if ts["ts"].null_count():
            unread = rows["time"].filter(ts["ts"].is_null())
            evidence.fractions = evidence.fractions or bool(unread.str.contains(r":\d\d\.\d").any())
        evidence.order.see(ts.drop_nulls("ts"))
        joined = rows.with_columns(ts=ts["ts"])
        evidence.repeats = {c for c in evidence.repeats if _repeats(joined, c, layout.repeats[c])}


def _repeats(rows: pl.DataFrame, column: int, part: str) -> bool:
    """Tell whether a column says nothing but the date, or a part of it."""
    text = pl.col(f"c{column}").str.strip_chars()
    if part == "time":
        return bool(rows.select((text == pl.col("time")).all()).item())
    day = pl.col("ts").cast(pl.Datetime("ns")).dt
    value = {"year": day.year(), "month": day.month(), "day": day.day()}[part]
    same = text.cast(pl.Int32, strict=False).eq_missing(value.cast(pl.Int32))
    return bool(rows.filter(pl.col("ts").is_not_null()).select(same.all()).item())


def choose(survey: Survey, date_format: str | None) -> Evidence:
    """Return the one way to read the dates that the evidence leaves.

    Raises
    ------
    DataError
        If more than one is left, or each contradicts some rows.
    """
    name = survey.head.text.file.name
    if not survey.evidence:
        layout, line = survey.head.layout, survey.head.header_line
        raise DataError(
            f"{name} has no rows of {len(layout.names)} fields, as its header in line {line} has.",
            "Make the header name every column.",
        )
    found = [e for e in survey.evidence if e.order.rows]
    if not found:
        raise DataError(f"{name}: no date is readable.", "Name the format: --date-format DD-MM-YYYY")
    if len(found) == 1 or date_format is not None:
        return found[0]
    for left in (
        [e for e in found if e.only_this],
        [e for e in found if e.order.rising or e.order.falling],
        [e for e in found if not e.order.weekend_rows],
    ):
        if len(left) == 1 and not (left[0].only_this == 0 and any(e.only_this for e in found)):
            return left[0]
    ways = " or ".join(f"--date-format {e.form.name}" for e in found)
    raise DataError(f"{name}: the order of day and month is ambiguous.", f"Name it: {ways}")
