"""What the whole file says: the order of its rows, and the evidence for each way to read its dates."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources.abc import Traversable
from typing import Final

import polars as pl

from tickerlake.errors import DataError
from tickerlake.model.schema import BAR
from tickerlake.sources.ahead import ahead, mapped
from tickerlake.sources.csv.cells import clock_digits
from tickerlake.sources.csv.chunks import (
    CHUNK,
    Chunk,
    Extent,
    Meter,
    TextFile,
    check_is_file,
    is_utf8,
    sniff_bytes,
    stamp,
)
from tickerlake.sources.csv.cut import HEAD_LINES
from tickerlake.sources.csv.dates import candidates
from tickerlake.sources.csv.dialect import Dialect, known_names, read_dialect
from tickerlake.sources.csv.layout import DATE_PARTS, normal_name
from tickerlake.sources.csv.numbers import decimals_possible
from tickerlake.sources.csv.options import Options
from tickerlake.sources.csv.order import Order
from tickerlake.sources.csv.rows import BLANK, FIELDS, Rows, read_rows
from tickerlake.sources.csv.symbols import told_by_name
from tickerlake.sources.csv.timeform import TimeForm

_SUBSECONDS: Final = {"nano": 1, "micro": 1_000, "usec": 1_000, "milli": 1_000_000, "msec": 1_000_000}
_NOON: Final = 12
_LOOKS_AT_NUMBERS: Final = 2_000_000


@dataclass(frozen=True)
class Head:
    """What the first lines tell.

    Parameters
    ----------
    date
        The date of every row, if only the file's name tells it.
    pad
        To how many digits times of day are filled up, which are written as numbers (93000); 0 if they are
        not.
    """

    text: TextFile
    dialect: Dialect
    stamp: tuple[int, ...]
    date: str = ""
    pad: int = 0

    def rows(self, chunk: Chunk, wanted: list[str] | None = None, plain: Sequence[str] = ()) -> Rows:
        """Return the rows of a chunk, of all columns or of those wanted, see :func:`read_rows`."""
        return read_rows(chunk, self.dialect, wanted, plain)

    def time_text(self) -> pl.Expr:
        """Return the text of a row's date, with its time of day if that has a column of its own.

        Blanks may stand around it.
        """
        layout = self.dialect.layout
        if "time" in layout.roles:
            date = pl.col(layout.column("time"))
        elif "year" in layout.roles:
            date = pl.concat_str(
                (pl.col(layout.column(part)).str.strip_chars() for part in DATE_PARTS), separator="-"
            )
        else:
            date = pl.lit(self.date)
        if "clock" not in layout.roles:
            return date
        clock = pl.col(layout.column("clock")).str.strip_chars()
        clock = clock.str.zfill(self.pad) if self.pad else clock
        if self.pad > len("093000"):
            clock = pl.concat_str(clock.str.slice(0, 6), pl.lit("."), clock.str.slice(6))
        return pl.concat_str(date.str.strip_chars(), pl.lit(" "), clock)

    def symbol_text(self) -> pl.Expr:
        """Return the text of a row's symbol, with its suffix if that has a column of its own."""
        layout = self.dialect.layout
        symbol = pl.col(layout.column("symbol"))
        if "suffix" not in layout.roles:
            return symbol
        suffix = pl.col(layout.column("suffix")).str.strip_chars()
        return pl.when(suffix == "").then(symbol).otherwise(symbol.str.strip_chars() + "." + suffix)

    def moment_ns(self, form: TimeForm, text: pl.Expr | None = None) -> pl.Expr:
        """Return when rows happened, in nanoseconds, where their dates are written in a form."""
        layout, ns = self.dialect.layout, form.ns(self.time_text() if text is None else text)
        if "subsecond" not in layout.roles:
            return ns
        name = normal_name(layout.names[layout.roles["subsecond"]])
        unit = next((unit for word, unit in _SUBSECONDS.items() if word in name), 1_000)
        return ns + pl.col(layout.column("subsecond")).str.strip_chars().cast(pl.Int64, strict=False) * unit


@dataclass
class Evidence:
    """What the whole file says for one way of reading its dates."""

    form: TimeForm
    order: Order
    only_this: int = 0
    fractions: bool = False
    unread: int = 0
    repeats: set[int] = field(default_factory=set)


@dataclass
class Survey:
    """What one pass over the file found."""

    head: Head
    evidence: list[Evidence]
    index: list[Extent]
    size: int
    digest: str
    decimal: str


def read_head(file: Traversable, options: Options, *, chunk: int = CHUNK) -> Head:
    """Find compression, encoding, delimiter, header, and the roles of the columns.

    Raises
    ------
    DataError
        If the file is no table of prices.
    """
    check_is_file(file)
    seen = stamp(file)
    text, data = sniff_bytes(file, known_names, chunk=chunk)
    lines = [line.decode("utf-8", "replace") for line in data.split(b"\n", HEAD_LINES)[:HEAD_LINES]]
    try:
        dialect = read_dialect(
            file.name, lines, delimiter=options.delimiter, decimal=options.decimal, columns=options.columns
        )
    except DataError as error:
        if file.name in error.message:
            raise
        raise DataError(f"{file.name}: {error.message}", error.hint) from error
    head = Head(text, dialect, seen)
    layout = dialect.layout
    date = ""
    if not {"time", "year"} & set(layout.roles):
        date = told_by_name(text.name).date
        if not date:
            raise DataError(
                f"{file.name} has times of day, but no date: neither a column nor the file's name tells it.",
                "Put the date into the name: AAPL_2024-01-02.csv",
            )
    rows = head.rows(Chunk(0, len(data), 1, data, data.count(b"\n"))).frame.head(HEAD_LINES)
    pad = 0
    if "clock" in layout.roles:
        texts = rows.get_column(layout.column("clock")).str.strip_chars()
        pad = clock_digits([text for text in texts if text])
    head = replace(head, date=date, pad=pad)
    _refuse_half_days(head, rows)
    return head


def _refuse_half_days(head: Head, rows: pl.DataFrame) -> None:
    """Refuse times of a clock of twelve hours that do not say which half of the day they mean."""
    texts = rows.select(text=head.time_text().str.strip_chars()).get_column("text")
    parts = (
        texts.to_frame()
        .select(
            day=pl.col("text").str.extract(r"^(.*?)[T ]+\d{1,2}:\d\d"),
            hour=pl.col("text").str.extract(r"[T ](\d{1,2}):\d\d(?::\d\d)?$").cast(pl.Int32, strict=False),
        )
        .drop_nulls()
    )
    if parts.is_empty() or not parts.select(pl.col("hour").is_between(1, 12).all()).item():
        return
    back = (pl.col("day") == pl.col("day").shift(1)) & (pl.col("hour") < pl.col("hour").shift(1) - 6)
    if parts.select(back.any()).item() and parts.get_column("hour").max() == _NOON:
        raise DataError(
            f"{head.text.file.name}: its times run from 12 to 1 within a day: "
            "a clock of twelve hours without AM or PM.",
            "Export the times with AM and PM, or on a clock of 24 hours.",
        )


def survey(
    head: Head,
    options: Options,
    *,
    fractions: bool = False,
    digest: bool = True,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> Survey:
    """Read the whole file for its order, the evidence for each way to read its dates, and its digest."""
    meter = Meter(digest=digest)
    index: list[Extent] = []
    found: list[Evidence] = []
    layout = head.dialect.layout
    roles = [
        layout.roles[role]
        for role in ("time", "clock", "subsecond", *DATE_PARTS, "symbol", "suffix")
        if role in layout.roles
    ]
    numbers = _Numbers(head)
    wanted = None if numbers.open else [f"c{i}" for i in sorted({*roles, *layout.repeats})]
    panels = max(1, len(layout.panels))

    def look(chunk: Chunk) -> tuple[Chunk, Rows | None]:
        sound = head.text.encoding != "utf-8" or is_utf8(chunk.data)
        return chunk, head.rows(chunk, wanted) if sound else None

    for chunk, rows in mapped(ahead(head.text.chunks(meter=meter)), look):
        if rows is None:
            return survey(
                replace(head, text=replace(head.text, encoding="cp1252")),
                options,
                digest=digest,
                on_bytes=on_bytes,
            )
        on_bytes(meter.size)
        index.append(Extent(chunk.offset, chunk.length, chunk.first_line, rows.frame.height * panels))
        numbers.see(rows.frame)
        times = _whole_rows(head, rows)
        if times.is_empty():
            continue
        if not found:
            sample = times["time"].head(HEAD_LINES).to_list()
            forms = candidates(sample, options.date_format, file=head.text.file.name, fractions=fractions)
            found = [
                Evidence(form, Order(strict=layout.kind == BAR), repeats=set(layout.repeats))
                for form in forms
            ]
        _weigh(found, times, head)
        if not fractions and any(
            e.fractions and "%S" in e.form.format and "%.f" not in e.form.format for e in found
        ):
            return survey(head, options, fractions=True, digest=digest, on_bytes=on_bytes)
    return Survey(head, found, index, meter.size, meter.digest, numbers.settled())


class _Numbers:
    """Looks for what tells decimals from thousands, where the first lines don't."""

    def __init__(self, head: Head) -> None:
        self._name = head.text.file.name
        self._separator = head.dialect.separator
        self._left = set(head.dialect.decimals)
        self._seen = 0
        self._columns = [f"c{i}" for i in head.dialect.layout.numbers]

    @property
    def open(self) -> bool:
        """True if the question is open."""
        return len(self._left) > 1

    def see(self, rows: pl.DataFrame) -> None:
        """Take the next rows."""
        if not self.open or self._seen > _LOOKS_AT_NUMBERS:
            return
        for column in self._columns:
            texts = rows.get_column(column).unique().to_list()
            self._seen += len(texts)
            sure = decimals_possible(texts, self._separator)
            if len(sure) == 1 and any("." in text or "," in text for text in texts):
                self._left = sure
                return

    def settled(self) -> str:
        """Return what stands before decimals."""
        if self.open:
            raise DataError(
                f"{self._name}: numbers such as 1,234 or 1.234 may be a thousand or one and a fraction; "
                "nothing in the file settles it.",
                "Say what stands before decimals: --decimal . or --decimal ,",
            )
        return next(iter(self._left))


def _whole_rows(head: Head, rows: Rows) -> pl.DataFrame:
    """Return time, symbol and the columns that may repeat the date, of rows of the right length."""
    layout = head.dialect.layout
    symbol = head.symbol_text().str.strip_chars() if "symbol" in layout.roles else pl.lit("")
    frame = (
        rows.frame
        if rows.even
        else rows.frame.filter(~pl.col(BLANK) & (pl.col(FIELDS) == head.dialect.fields))
    )
    return frame.select(
        head.time_text().alias("time"),
        symbol.alias("symbol"),
        *(f"c{i}" for i in layout.repeats),
        *([layout.column("subsecond")] if "subsecond" in layout.roles else []),
    )


def _weigh(found: list[Evidence], rows: pl.DataFrame, head: Head) -> None:
    layout = head.dialect.layout
    times = rows.select(
        "symbol", *(head.moment_ns(e.form, pl.col("time")).alias(f"t{i}") for i, e in enumerate(found))
    )
    read = [pl.col(f"t{i}").is_not_null() for i in range(len(found))]
    for i, evidence in enumerate(found):
        others = [flag for j, flag in enumerate(read) if j != i]
        if others:
            evidence.only_this += times.select((read[i] & ~pl.any_horizontal(others)).sum()).item()
        ts = times.select("symbol", ts=f"t{i}")
        unread = ts["ts"].null_count()
        if unread:
            evidence.unread += unread - int((rows["time"].str.strip_chars(" -") == "").sum())
            texts = rows["time"].filter(ts["ts"].is_null())
            evidence.fractions = evidence.fractions or bool(texts.str.contains(r":\d\d[.,]\d").any())
            ts = ts.drop_nulls("ts")
        evidence.order.see(ts)
        if evidence.repeats:
            joined = rows.with_columns(ts=times[f"t{i}"])
            evidence.repeats = {c for c in evidence.repeats if _repeats(joined, c, layout.repeats[c])}


def _repeats(rows: pl.DataFrame, column: int, part: str) -> bool:
    """Tell whether a column says nothing but the date, or a part of it."""
    text = pl.col(f"c{column}").str.strip_chars()
    if part == "time":
        return bool(rows.select((text == pl.col("time").str.strip_chars()).all()).item())
    day = pl.col("ts").cast(pl.Datetime("ns")).dt
    value = {"year": day.year(), "month": day.month(), "day": day.day()}[part]
    same = text.cast(pl.Int32, strict=False).eq_missing(value.cast(pl.Int32))
    return bool(rows.filter(pl.col("ts").is_not_null()).select(same.all()).item())
