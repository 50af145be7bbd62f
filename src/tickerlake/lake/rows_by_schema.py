"""Stored rows → typed columns, by the schema that each row names itself."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from tickerlake.lake.formats import StoredRows, columns
from tickerlake.lake.formats.columns import ENVELOPE, Column
from tickerlake.lake.formats.rows import split_members
from tickerlake.model.json import find_schema, parse_schema
from tickerlake.model.schema import SCHEMAS, FieldType, fields, polars_type

_SAMPLE_ROWS: Final = 100
"""Of these first rows, the first of a known schema says which schema to try first."""

_ESCAPE: Final = "\\u"
"""A name can be written with it, so that a search for the name does not find it."""


@dataclass(frozen=True, slots=True)
class DecodedRows:
    """Rows of one schema.

    Parameters
    ----------
    numbers
        Their places among the stored rows, in ascending order.
    frame
        `ENVELOPE`, the fields of the schema, and ``extra``.
    """

    numbers: pl.Series
    frame: pl.DataFrame


@dataclass(slots=True)
class SplitRows:
    """The rows of an object by schema.

    Parameters
    ----------
    decoded
        The rows of the requested schemas.
    others
        How many rows name each other schema of tickerlake.
    foreign
        The numbers of the rows that name no schema of tickerlake.
    """

    decoded: dict[str, DecodedRows] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)
    foreign: list[int] = field(default_factory=list)


def split_rows(
    rows: StoredRows, topic_columns: Sequence[Column], schemas: Collection[str], *, complete: bool
) -> SplitRows:
    """Decode the rows that name some schemas.

    Parameters
    ----------
    topic_columns
        The topic's columns if its format has any.
    complete
        Whether to classify all rows. If not, ``others`` and ``foreign`` are incomplete, and rows of other
        schemas cost little.
    """
    if isinstance(rows, pl.Series):
        return _split_lines(rows, schemas, complete=complete)
    return _split_frame(rows, list(topic_columns), schemas)


def row_texts(rows: StoredRows, numbers: Sequence[int], topic_columns: Sequence[Column]) -> list[str]:
    """Return some rows as JSON."""
    selected = rows[list(numbers)]
    if isinstance(selected, pl.Series):
        return selected.to_list()
    return columns.to_lines(selected, list(topic_columns)).to_list()


def _layout(schema: str) -> list[Column]:
    named = [Column(each.name, each.type) for each in fields(schema) if each.name != "extra"]
    return [*ENVELOPE, *named, Column("extra", FieldType.JSON)]


def _split_lines(lines: pl.Series, schemas: Collection[str], *, complete: bool) -> SplitRows:
    split = SplitRows()
    rest = pl.int_range(len(lines), dtype=pl.Int64(), eager=True)
    first = next((name for name in map(_schema_of, lines.head(_SAMPLE_ROWS)) if name in SCHEMAS), "")
    if first in schemas:
        # most topics hold one schema: its rows are not parsed twice
        frame, numbers = columns.decode_regular(lines, _layout(first))
        is_own = frame.get_column("schema").eq_missing(pl.Series([first]))
        split.decoded[first] = DecodedRows(numbers.filter(is_own), frame.filter(is_own))
        if split.decoded[first].frame.height == len(lines):
            return split
        rest = rest.filter(~rest.is_in(split.decoded[first].numbers.implode()))
    if not complete:
        rest = rest.filter(lines.gather(rest).str.contains_any([*schemas, _ESCAPE]))
    named = pl.Series([_schema_of(line) for line in lines.gather(rest)], dtype=pl.String)
    for schema, numbers in _group(rest, named, schemas, split).items():
        _add(split, schema, DecodedRows(numbers, columns.decode(lines.gather(numbers), _layout(schema))))
    return split


def _schema_of(line: str) -> str:
    """Return the schema that a row names, the last one if there are several; empty if there is none."""
    schema = find_schema(line)
    if schema is None and (_ESCAPE in line or any(name in line for name in SCHEMAS)):
        named = [parse_schema(raw.encode()) for name, _, raw in split_members(line) if name == "schema"]
        schema = next((name for name in reversed(named) if name is not None), None)
    return schema or ""


def _group(
    numbers: pl.Series, named: pl.Series, schemas: Collection[str], split: SplitRows
) -> dict[str, pl.Series]:
    """Return the numbers of the rows of each requested schema; count the others."""
    groups: dict[str, pl.Series] = {}
    for schema in named.unique(maintain_order=True):
        selected = numbers.filter(named.eq_missing(pl.Series([schema], dtype=pl.String)))
        if schema in schemas:
            groups[schema] = selected
        elif schema in SCHEMAS:
            split.others[schema] += len(selected)
        else:
            split.foreign += selected.to_list()
    split.foreign.sort()
    return groups


def _add(split: SplitRows, schema: str, more: DecodedRows) -> None:
    before = split.decoded.get(schema)
    if before is None:
        split.decoded[schema] = more
        return
    numbers = pl.concat([before.numbers, more.numbers])
    order = numbers.arg_sort()
    split.decoded[schema] = DecodedRows(numbers[order], pl.concat([before.frame, more.frame])[order])


def _split_frame(frame: pl.DataFrame, topic_columns: list[Column], schemas: Collection[str]) -> SplitRows:
    split = SplitRows()
    numbers = pl.int_range(frame.height, dtype=pl.Int64(), eager=True)
    named = _schemas_of(frame, topic_columns)
    for schema, selected in _group(numbers, named, schemas, split).items():
        part = frame if len(selected) == frame.height else frame[selected]
        split.decoded[schema] = DecodedRows(selected, _decode_frame(part, topic_columns, schema))
    return split


def _schemas_of(frame: pl.DataFrame, topic_columns: list[Column]) -> pl.Series:
    """Return the schema that each row of a Parquet segment names."""
    column_type = {column.name: column.type for column in topic_columns}.get("schema")
    if column_type is FieldType.STRING:
        return frame.get_column("schema")
    if column_type is FieldType.JSON:
        texts = frame.get_column("schema")
        distinct = texts.unique().drop_nulls()
        return texts.replace_strict(
            distinct,
            pl.Series([parse_schema(text.encode()) for text in distinct], dtype=pl.String),
            default=None,
            return_dtype=pl.String,
        )
    # a column of another type holds no text
    return pl.Series(
        [
            _schema_of(text) if text is not None and ("schema" in text or _ESCAPE in text) else None
            for text in frame.get_column("extra")
        ],
        dtype=pl.String,
    )


def _decode_frame(frame: pl.DataFrame, topic_columns: list[Column], schema: str) -> pl.DataFrame:
    layout = _layout(schema)
    names = {column.name for column in layout}
    others = [column.name for column in topic_columns if column.name not in names]
    has_all = {*layout} - {*ENVELOPE} <= {*topic_columns}
    if has_all and all(frame.get_column(name).null_count() == frame.height for name in others):
        return frame.select(
            pl.col(column.name)
            if column.name in frame.columns
            else pl.lit(None, polars_type(column.type)).alias(column.name)
            for column in layout
        )
    # some fields are in `extra` or in columns of other types, others belong into `extra`
    lines = columns.to_lines(frame, topic_columns, {each.name for each in fields(schema)})
    return columns.decode(lines, layout)
