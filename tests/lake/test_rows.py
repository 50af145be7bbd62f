"""Records to rows and back: the values of a message are stored byte for byte."""

import base64
import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickerlake.errors import LakeError
from tickerlake.lake.formats import ndjson, rows
from tickerlake.lake.segment import SegmentMeta
from tickerlake.model.schema import KAFKA_RECORD_SCHEMA

META = SegmentMeta("t", "id", 0, 5, 9, 3, 1, "00000000")


def frame(*records: tuple[int, int, bytes | None, bytes | None]) -> pl.DataFrame:
    rows_ = [(*record, None)[:5] for record in records]
    return pl.DataFrame(rows_, schema=KAFKA_RECORD_SCHEMA, orient="row")


def encode_one(value: bytes | None, key: bytes | None = None) -> Any:
    encoded = rows.encode(frame((7, 1700, key, value)))
    assert not encoded.rejects
    (line,) = encoded.lines
    assert "\n" not in line
    return json.loads(line)


def test_a_row_is_the_message_and_its_offset() -> None:
    assert encode_one(b'{"a": 1}') == {"kafka_offset": 7, "kafka_timestamp_ms": 1700, "a": 1}


def test_numbers_keep_every_digit() -> None:
    encoded = rows.encode(frame((0, 0, None, b'{"p":1.10,"n":123456789012345678901234567890}')))
    assert '"p":1.10,"n":123456789012345678901234567890' in encoded.lines[0]


@pytest.mark.parametrize(
    ("key", "value", "field", "expected"),
    [
        (b"AAPL.XNAS", b'{"instrument_id":"AAPL.XNAS"}', "kafka_key", None),
        (b"MSFT.XNAS", b'{"instrument_id":"AAPL.XNAS"}', "kafka_key", "MSFT.XNAS"),
        (b"k", b'{"a":1}', "kafka_key", "k"),
        (b"\xff\x00", b'{"a":1}', "kafka_key_base64", base64.b64encode(b"\xff\x00").decode()),
        (b"k", None, "kafka_tombstone", True),
        (b"k", None, "kafka_key", "k"),
        (None, b"[1, 2]", "value", [1, 2]),
        (None, b'"text"', "value", "text"),
        (None, b"{}", "kafka_offset", 7),
        (None, b'{"kafka_offset": 99}', "extra", {"kafka_offset": 99}),
        (None, b'{"kafka_x": 1, "extra": {"y": 2}}', "extra", {"y": 2, "kafka_x": 1}),
        (None, b'{"kafka_x": 1, "extra": 3}', "extra", {"kafka_x": 1, "extra": 3}),
        (None, b'{"\\u006bafka_x": 1}', "extra", {"kafka_x": 1}),
        (None, b'{\n "a": "x",\r\n "b": 2\n}\n', "b", 2),
        (None, b"  [1,\n2] ", "value", [1, 2]),
        (b'A","x":"B', b'{"instrument_id":"A","x":"B"}', "kafka_key", 'A","x":"B'),
        (b"\\u0041", b'{"instrument_id":"\\u0041"}', "kafka_key", "\\u0041"),
        (b"A", b'{"instrument_id":"\\u0041"}', "kafka_key", "A"),
        ("é".encode(), '{"instrument_id":"é"}'.encode(), "kafka_key", None),
        (b"A", b'{"instrument_id":"A","instrument_id":"B"}', "kafka_key", "A"),
        (b"A", b'{"x":{"instrument_id":"A"}}', "kafka_key", "A"),
    ],
)
def test_mapping_of_fields(key: bytes | None, value: bytes | None, field: str, expected: object) -> None:
    assert encode_one(value, key).get(field) == expected


@pytest.mark.parametrize(
    ("value", "row"),
    [
        (b'{"a":1,"a":2}', '"a":1,"a":2}'),
        (b'{"a":1,\n"a":2}', '"a":1, "a":2}'),
        (b'{\r\n"a":1,"a":2 }', '"a":1,"a":2 }'),
        (b'{"a":1,"kafka_x":1,"a":2,"kafka_x":2}', '"a":1,"a":2,"extra":{"kafka_x":1,"kafka_x":2}}'),
        (
            b'{"extra":{"y":1},"extra":3,"kafka_x":{"a":1,"a":2},"extra":{}}',
            '"extra":{"y":1,"extra":3,"kafka_x":{"a":1,"a":2}}}',
        ),
        (b'{"a":{"b":1,"b":2}}', '"a":{"b":1,"b":2}}'),
    ],
)
def test_duplicate_members_are_all_kept(value: bytes, row: str) -> None:
    (line,) = rows.encode(frame((7, 1700, None, value))).lines
    assert line.removeprefix('{"kafka_offset":7,"kafka_timestamp_ms":1700').lstrip(", ") == row


@pytest.mark.parametrize("value", [b'{"a":1}', b'{"a":\n1}', b"[1]", None, b'{"kafka_x":1}'])
def test_headers_are_in_the_row(value: bytes | None) -> None:
    headers = '[{"key":"h","value":"1"},{"key":"h","value_base64":"/w=="}]'
    batch = pl.DataFrame(
        [(0, 5, b"k", value, headers), (1, 5, b"k", value, None)], schema=KAFKA_RECORD_SCHEMA, orient="row"
    )
    first, second = (json.loads(line) for line in rows.encode(batch).lines)
    assert first["kafka_headers"] == json.loads(headers)
    assert "kafka_headers" not in second
    assert {k: v for k, v in first.items() if k != "kafka_headers"} | {"kafka_offset": 1} == second


def test_headers_are_in_the_reject() -> None:
    batch = pl.DataFrame(
        [(0, 5, b"k", b"{", '[{"key":"h","value":"1"}]')], schema=KAFKA_RECORD_SCHEMA, orient="row"
    )
    (reject,) = rows.encode(batch).rejects
    assert json.loads(reject.to_json())["headers"] == [{"key": "h", "value": "1"}]


@pytest.mark.parametrize(
    "value",
    [b"", b"{", b'{"a":NaN}', b'{"a":"\xff"}', b"not json", b'{"a":1}{"b":2}', b'{"a":' + b"[" * 5000 + b"}"],
)
def test_undecodable_bytes_are_rejected_unchanged(value: bytes) -> None:
    encoded = rows.encode(frame((1, 10, b"k", b'{"a":1}'), (2, 20, b"k", value), (3, 30, b"k", b'{"a":3}')))
    assert len(encoded.lines) == 2
    (reject,) = encoded.rejects
    stored = json.loads(reject.to_json())
    assert base64.b64decode(stored["value_base64"]) == value
    assert (stored["offset"], stored["timestamp_ms"]) == (2, 20)
    assert stored["reason"].startswith("not JSON")


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("shape", [b"[%b]", b'{"a":%b}', b'["[[[]{{", %b]'])
def test_the_nesting_limit_is_fixed(shape: bytes) -> None:
    def nested(depth: int) -> bytes:
        value = b"1"
        for _ in range(depth):
            value = shape % value
        return value

    assert encode_one(nested(rows.MAX_NESTING_DEPTH))
    (reject,) = rows.encode(frame((7, 1700, None, nested(rows.MAX_NESTING_DEPTH + 1)))).rejects
    assert "deep" in reject.reason
    # brackets within strings do not nest
    assert encode_one(b'["' + b"[{" * 2000 + rb"\"[" + b'"]')


@given(
    st.lists(
        st.one_of(st.binary(max_size=40), json_values.map(lambda v: json.dumps(v).encode())), max_size=12
    ),
    st.data(),
)
def test_no_record_depends_on_its_neighbors(values: list[bytes], data: st.DataObject) -> None:
    records = [(n, n, None, value) for n, value in enumerate(values)]
    cut = data.draw(st.integers(0, len(records)))
    together, left, right = (rows.encode(frame(*part)) for part in (records, records[:cut], records[cut:]))
    assert together.lines.to_list() == left.lines.to_list() + right.lines.to_list()
    assert together.rejects == left.rejects + right.rejects


@given(st.dictionaries(st.text().filter(lambda name: not name.startswith("kafka_")), json_values, max_size=6))
def test_any_object_round_trips(document: dict[str, Any]) -> None:
    for indent in (None, 2):
        row = encode_one(json.dumps(document, indent=indent).encode())
        assert {k: v for k, v in row.items() if not k.startswith("kafka_")} == document


names = st.sampled_from(["a", "instrument_id", "kafka_x", "extra", "é", 'q"', "b c"])
plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from([0.5, 1e300, -0.0]) | st.text(max_size=5)
    | st.sampled_from(["AAPL", '"instrument_id":"AAPL"', "{", "\ud7ff"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
keys = st.none() | st.sampled_from([b"AAPL", b"", b'q"', b"\xff", "é".encode(), b'","x":"'])


@settings(max_examples=500)
@given(
    st.lists(
        st.tuples(keys, st.dictionaries(names, plain_values, max_size=4), st.booleans(), st.booleans()),
        min_size=1,
        max_size=8,
    )
)
def test_fast_and_slow_paths_give_the_same_bytes(
    given_: list[tuple[bytes | None, dict[str, Any], bool, bool]],
) -> None:
    batch = [
        (n, n, key, json.dumps(doc, ensure_ascii=ascii_, separators=None if spaced else (",", ":")).encode())
        for n, (key, doc, ascii_, spaced) in enumerate(given_)
    ]
    assert [line.encode() for line in rows.encode(frame(*batch)).lines] == [
        rows.encode_record(*one) for one in batch
    ]


@given(json_values.map(json.dumps), st.data())
def test_what_counts_as_plain_is_json(text: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.integers(0, 2))
    put = data.draw(st.sampled_from(["", ",", '"', "0", "-", ".", "e", "{", "}", "\\", "\t", " ", ":1", "a"]))
    damaged = '{"a":' + text[:at] + put + text[at + cut :] + "}"
    if pl.Series([damaged]).str.contains(rows.PLAIN_OBJECT_PATTERN)[0]:
        json.loads(damaged, strict=True)
        assert rows.encode_record(0, 0, None, damaged.encode())


def test_common_records_are_plain() -> None:
    for text in ('{"a":1}', '{"a": 1.5, "b": "x\\n\\u00e9é", "c": [], "d": {"x": [1, "y"], "z": null}}'):
        assert pl.Series([text]).str.contains(rows.PLAIN_OBJECT_PATTERN)[0]


@given(st.binary())
def test_a_segment_describes_itself(lines: bytes) -> None:
    data = ndjson.encode_segment(lines, META)
    assert ndjson.decode_rows(data, "k") == lines
    assert ndjson.decode_meta(data[:4096], "k") == META


@pytest.mark.parametrize("cut", [0, 3, 11, 15, 40, -9, -1])
def test_a_truncated_segment_is_damaged(cut: int) -> None:
    data = ndjson.encode_segment(b'{"kafka_offset":1}\n' * 100, META)[:cut]
    with pytest.raises(LakeError):
        ndjson.decode_rows(data, "k")


def test_other_files_are_not_segments() -> None:
    for data in (b"", b"PAR1", b"\x1f\x8b\x08\x00" + b"\0" * 20, b"\x1f\x8b\x08\x04" + b"\0" * 20):
        with pytest.raises(LakeError, match="not a segment"):
            ndjson.decode_meta(data, "k")


def test_metadata_survives_a_text_store() -> None:
    assert SegmentMeta.from_metadata(META.to_metadata(), "k") == META
    with pytest.raises(LakeError):
        SegmentMeta.from_metadata({**META.to_metadata(), "next_position": "x"}, "k")
