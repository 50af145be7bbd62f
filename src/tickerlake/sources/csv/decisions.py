"""What was decided about a file, and why, as a value: ``inspect`` shows it, in text and as JSON."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from tickerlake.sources.csv.detect.decide import SymbolChoice, ZoneChoice
from tickerlake.sources.csv.detect.decision import Decision
from tickerlake.sources.csv.detect.options import Options
from tickerlake.sources.csv.detect.scan import DateEvidence, FileScan
from tickerlake.sources.csv.parse import Parser

_ENCODING_REASONS: Final = {
    "utf-8": "its bytes are UTF-8",
    "utf-8-sig": "its byte order mark",
    "utf-16": "its byte order mark",
    "utf-16-le": "every second byte is 0",
    "utf-16-be": "every second byte is 0",
}


@dataclass(frozen=True, slots=True)
class FileDecision:
    """One decision about how a file is read.

    Parameters
    ----------
    name
        What was decided: ``delimiter``, ``column close``, ``zone`` …
    value
        The decision: a text, a number, or a list of them.
    reason
        What settled it: an option, a name, the values.
    warning
        What is assumed, and the option that says otherwise; empty if the decision is certain.
    """

    name: str
    value: str | int | list[str] | list[int]
    reason: str
    warning: str = ""

    def __str__(self) -> str:
        value = ", ".join(map(str, self.value)) if isinstance(self.value, list) else self.value
        return f"{self.name}: {value}" + (f" ({self.reason})" if self.reason else "")


class Decided(NamedTuple):
    """The decisions that the whole file settles, in their order."""

    volume: Decision[FileScan]
    date: Decision[DateEvidence]
    symbol: Decision[SymbolChoice]
    interval: Decision[str]
    zone: Decision[ZoneChoice]
    scale: Decision[int]
    negative_prices: Decision[bool]
    encoding: Decision[str]

    @property
    def warnings(self) -> list[str]:
        """What is assumed."""
        return [each.warning for each in self if each.warning]


def list_decisions(
    scan: FileScan, parser: Parser, options: Options, decided: Decided, order: str
) -> tuple[FileDecision, ...]:
    """Return all decisions about a file, in the order in which they are taken.

    Parameters
    ----------
    scan
        The result of reading the whole file once.
    parser
        How its rows are read.
    options
        What the user has specified.
    decided
        What the whole file has settled.
    order
        How its rows are ordered.
    """
    date, scale, negative = decided.date, decided.scale, decided.negative_prices
    separator = "--decimal" if options.decimal else "the numbers can be read in this way"
    return (
        *_format_decisions(scan, options, decided.encoding),
        *_column_decisions(scan, parser, options, decided.volume.warning),
        FileDecision("decimal separator", scan.decimal_separator, separator),
        FileDecision("price scale", parser.number_format.scale, scale.reason, scale.warning),
        FileDecision(
            "prices below 0",
            "accepted" if negative.value else "rejected",
            negative.reason,
            negative.warning,
        ),
        FileDecision("date format", parser.time_format.name, date.reason, date.warning),
        FileDecision("order", order, "the times of the rows"),
        *_series_decisions(parser, decided),
    )


def _format_decisions(scan: FileScan, options: Options, encoding: Decision[str]) -> Iterator[FileDecision]:
    text_file, dialect = scan.head.text_file, scan.head.dialect
    yield FileDecision("compression", text_file.compression, "its first bytes")
    code_page = "it is not UTF-8, and most names of columns are known in this code page"
    yield FileDecision(
        "encoding",
        encoding.value,
        _ENCODING_REASONS.get(encoding.value, code_page),
        encoding.warning,
    )
    yield FileDecision(
        "delimiter",
        dialect.delimiter,
        "--delimiter" if options.delimiter else "it splits the lines into numbers, dates and words",
    )
    header = "--columns" if options.columns is not None else "it names most columns"
    yield FileDecision(
        "header lines",
        list(dialect.header_lines),
        header if dialect.header_lines else "no line names columns",
        " ".join(dialect.warnings),
    )


def _column_decisions(
    scan: FileScan, parser: Parser, options: Options, volume_warning: str
) -> Iterator[FileDecision]:
    layout = scan.head.dialect.layout
    vendor = layout.vendor_layout.name if layout.vendor_layout else ""
    known = "its columns, or its path" if vendor else "detected from names and values"
    yield FileDecision("layout", vendor, known)
    yield FileDecision("record type", layout.record_type, "its columns")
    roles = {**layout.roles, **next(iter(layout.panels.values()), {})}
    for role, index in roles.items():
        yield FileDecision(
            f"column {role}",
            layout.names[index] or f"column {index + 1}",
            "--columns" if options.columns is not None else layout.reasons.get(role, ""),
            volume_warning if role == "volume" else "",
        )
    yield FileDecision("extra columns", list(parser.extra_columns.values()), "they have no role")


def _series_decisions(parser: Parser, decided: Decided) -> Iterator[FileDecision]:
    interval, zone, symbol = decided.interval, decided.zone, decided.symbol
    yield FileDecision("interval", parser.interval, interval.reason, interval.warning)
    shown_zone = parser.zone or ("" if parser.has_dates_only else "UTC")
    yield FileDecision("zone", shown_zone, zone.reason, zone.warning)
    yield FileDecision("symbols", symbol.value.symbols, symbol.reason, symbol.warning)
