"""The audit's comparison of rows with records: it agrees with sound rows and sees each kind of change."""

import json
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from support.hostile import Message, hostile
from tickerlake.lake.audit.match import find_column_mismatches, find_line_mismatches, find_reject_mismatch
from tickerlake.lake.formats import columns, rows
from tickerlake.lake.formats.columns import Column
from tickerlake.model.headers import encode_headers
from tickerlake.model.schema import KAFKA_RECORD_SCHEMA, SCHEMAS, TRADE, FieldType

TRADE_COLUMNS = [Column(each.name, each.type) for each in SCHEMAS[TRADE] if each.name != "extra"]
LAYOUT = [*TRADE_COLUMNS, Column("extra", FieldType.JSON)]


def batch(messages: list[Message]) -> pl.DataFrame:
    records = [
        (
            offset,
            each.timestamp_ms,
            each.key,
            each.value,
            encode_headers(each.headers) if each.headers else None,
        )
        for offset, each in enumerate(messages)
    ]
    return pl.DataFrame(records, schema=KAFKA_RECORD_SCHEMA, orient="row")


@pytest.mark.parametrize("count", [600, pytest.param(10_000, marks=pytest.mark.full)])
def test_rows_and_rejects_of_hostile_records_match(count: int) -> None:
    seed = 23
    records = batch(hostile(seed, count))
    encoded = rows.encode(records)
    rejects = {reject.offset: reject for reject in encoded.rejects}
    assert len(encoded.lines) + len(rejects) == count
    stored = records.filter(pl.col("offset").is_in(encoded.offsets.implode()))
    assert not find_line_mismatches(stored, encoded.lines).any()
    rejected = records.filter(pl.col("offset").is_in(list(rejects)))
    assert not [record for record in rejected.iter_rows() if find_reject_mismatch(record, rejects[record[0]])]
    for layout in (columns.infer_columns(encoded.lines.head(1_000)), LAYOUT):
        frame, column_rejects = columns.encode(records, layout)
        assert column_rejects == encoded.rejects
        assert not find_column_mismatches(stored, frame, layout).any()


def record(value: bytes | None, key: bytes | None = b"k", *headers: tuple[str, bytes | None]) -> pl.DataFrame:
    return batch([Message("", key, value, headers, 5)])


DOCUMENT = b'{"schema":"trade.v1","instrument_id":"A.X","price":1.10,"size":3,"note":"x","quality":["a"]}'
HEAD = b'{"kafka_offset":0,"kafka_timestamp_ms":5,'


@pytest.mark.parametrize(
    ("value", "key", "headers", "line"),
    [
        (DOCUMENT, b"A.X", (), HEAD + DOCUMENT[1:].replace(b"1.10", b"1.1")),
        (DOCUMENT, b"A.X", (), HEAD + DOCUMENT[1:].replace(b"3", b'"3"')),
        (DOCUMENT, b"A.X", (), b'{"kafka_offset":0,"kafka_timestamp_ms":6,' + DOCUMENT[1:]),
        (DOCUMENT, b"A.X", (), HEAD.replace(b"0", b"1") + DOCUMENT[1:]),
        (DOCUMENT, b"B.X", (), HEAD + DOCUMENT[1:]),
        (DOCUMENT, b"\xff", (), HEAD + DOCUMENT[1:]),
        (DOCUMENT, None, (), HEAD + b'"kafka_key":"k",' + DOCUMENT[1:]),
        (DOCUMENT, b"", (), HEAD + b'"kafka_key":"k",' + DOCUMENT[1:]),
        (DOCUMENT, b"A.X", (("h", b"1"),), HEAD + DOCUMENT[1:]),
        (
            b'{"instrument_id":"A","x":"B"}', b'A","x":"B', (),
            HEAD + b'"instrument_id":"A","x":"B"}',
        ),
        (
            b'{"instrument_id":"\\u0041"}', b"\\u0041", (),
            HEAD + b'"instrument_id":"\\u0041"}',
        ),
        (
            b'{"x":{"instrument_id":"A"}}', b"A", (),
            HEAD + b'"x":{"instrument_id":"A"}}',
        ),
        (
            b'{"instrument_id":"A","instrument_id":"B"}', b"A", (),
            HEAD + b'"instrument_id":"A","instrument_id":"B"}',
        ),
        (b'{"a":1,\n"a":2}', None, (), HEAD + b'"a":2}'),
        (b'{"a":1,"a":2}', None, (), HEAD + b'"a":2,"a":1}'),
        (b'{"a":1}', None, (), HEAD + b'"a":1,"b":2}'),
        (b'{"kafka_x":1}', None, (), HEAD + b'"kafka_x":1}'),
        (b'{"kafka_key":"k"}', b"k", (), HEAD + b'"kafka_key":"k"}'),
        (b'{"\\u006bafka_key":1}', None, (), HEAD + b'"\\u006bafka_key":1}'),
        (b"[1]", None, (), HEAD + b'"value":[1,2]}'),
        (b"true", None, (), HEAD + b'"value":1}'),
        (None, None, (), HEAD[:-1] + b"}"),
        (b"{}", None, (), HEAD + b'"kafka_tombstone":true}'),
    ],
)  # fmt: skip
def test_a_changed_row_differs(
    value: bytes | None, key: bytes | None, headers: tuple[tuple[str, bytes | None], ...], line: bytes
) -> None:
    records = record(value, key, *headers)
    assert find_line_mismatches(records, pl.Series([line.decode()])).to_list() == [True]
    encoded = rows.encode(records)
    if encoded.lines.len():
        assert find_line_mismatches(records, encoded.lines).to_list() == [False]
        assert encoded.lines[0] != line.decode()


def set_column(name: str, value: Any) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda frame: frame.with_columns(pl.lit(value, frame.schema[name]).alias(name))


@pytest.mark.parametrize(
    "change",
    [
        set_column("kafka_offset", 1),
        set_column("kafka_timestamp_ms", 6),
        set_column("kafka_key", None),
        set_column("kafka_headers", None),
        set_column("kafka_headers", '[{"key":"h","value":"2"}]'),
        set_column("kafka_tombstone", True),
        set_column("price", "1.2"),
        set_column("size", None),
        set_column("symbol", "A"),
        set_column("quality", ["b"]),
        set_column("quality", None),
        set_column("ts_event", None),
        set_column("ts_event", 9),
        set_column("ts_event_ns", 9_000),
        set_column("extra", None),
        set_column("extra", '{"note":"y"}'),
        set_column("extra", '{"note":"x","note":"x"}'),
        set_column("extra", '{"note":"x","size":3}'),
    ],
)
def test_a_changed_column_differs(change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    records = record(DOCUMENT.replace(b'"note"', b'"ts_event_ns":5000,"note"'), b"k", ("h", b"1"))
    frame, _ = columns.encode(records, LAYOUT)
    assert find_column_mismatches(records, frame, LAYOUT).to_list() == [False]
    assert find_column_mismatches(records, change(frame), LAYOUT).to_list() == [True]


def test_a_reject_must_hold_the_record_and_not_be_json() -> None:
    ((_, *rest),) = record(b"{", b"key", ("h", b"1")).iter_rows()
    (reject,) = rows.encode(record(b"{", b"key", ("h", b"1"))).rejects
    assert find_reject_mismatch((0, *rest), reject) is None
    timestamp_ms, key, value, headers = rest
    for changed in (
        (1, timestamp_ms, key, value, headers),
        (0, 6, key, value, headers),
        (0, timestamp_ms, None, value, headers),
        (0, timestamp_ms, key, b"[", headers),
        (0, timestamp_ms, key, value, None),
    ):
        assert find_reject_mismatch(changed, reject) == "does not hold the bytes that Kafka has"
    ((offset, ms, key, value, _),) = record(b"{}").iter_rows()
    wrong = rows.RejectedRecord(offset, ms, "not JSON", "aw==", "e30=")
    assert find_reject_mismatch((offset, ms, key, value, None), wrong) == "is JSON, and should be a row"


def test_json_is_deep_only_beyond_the_limit() -> None:
    for depth, is_row in ((500, True), (501, False)):
        value = b"[" * depth + b"]" * depth
        assert len(rows.encode(record(value)).lines) == is_row
        line = json.dumps({"kafka_offset": 0, "kafka_timestamp_ms": 5, "kafka_key": "k"})[:-1]
        row = pl.Series([f'{line},"value":{value.decode()}}}'])
        assert find_line_mismatches(record(value), row).to_list() == [not is_row]
