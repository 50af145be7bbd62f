"""Rows to typed columns: nothing is lost, nothing changes its value, no column changes its type."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tickerlake.errors import LakeError
from tickerlake.lake.formats import columns, parquet, rows
from tickerlake.lake.formats.columns import Column
from tickerlake.lake.segment import SegmentMeta
from tickerlake.model.schema import KAFKA_RECORD_SCHEMA, SCHEMAS, FieldType, with_timestamps

META = SegmentMeta("t", "id", 0, 5, 9, 3, 1, "")
EXTRA = Column("extra", FieldType.JSON)


def batch(*fields: str, start: int = 0, key: bytes | None = None) -> pl.DataFrame:
    records = [(start + at, 1700, key, f"{{{text}}}".encode(), None) for at, text in enumerate(fields)]
    return pl.DataFrame(records, schema=KAFKA_RECORD_SCHEMA, orient="row")


def encode_typed(
    layout: list[Column], *fields: str, start: int = 0, key: bytes | None = None
) -> pl.DataFrame:
    frame, rejects = columns.encode(batch(*fields, start=start, key=key), layout)
    assert not rejects
    return frame


def inferred_from(*fields: str) -> list[Column]:
    return columns.infer_columns(rows.encode(batch(*fields)).lines)


def encode_one(fields: str, *layout: Column, key: bytes | None = None) -> dict[str, Any]:
    frame = encode_typed([*layout, EXTRA], fields, key=key)
    return {name: value for name, value in frame.row(0, named=True).items() if value is not None}


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (FieldType.STRING, '"x\\n\\u00e9"', "x\né"),
        (FieldType.DECIMAL, "56.79", Decimal("56.79")),
        (FieldType.DECIMAL, "0.000000001", Decimal("0.000000001")),
        (FieldType.DECIMAL, "-12", Decimal(-12)),
        (FieldType.DECIMAL, "12345678901234567890.123456789", Decimal("12345678901234567890.123456789")),
        (FieldType.DECIMAL, "1.5e3", Decimal(1500)),
        (FieldType.DECIMAL, "0e99", Decimal(0)),
        (FieldType.DECIMAL, "1.0000000000", Decimal(1)),
        (FieldType.INT, "9223372036854775807", 2**63 - 1),
        (FieldType.INT, "-9223372036854775808", -(2**63)),
        (FieldType.FLOAT, "56.79000091552734", 56.79000091552734),
        (FieldType.FLOAT, "1e-7", 1e-7),
        (FieldType.FLOAT, "3", 3.0),
        (FieldType.DATE, '"2024-02-29"', date(2024, 2, 29)),
        (FieldType.BOOL, "true", True),
        (FieldType.STRING_LIST, '["a", "b"]', ["a", "b"]),
        (FieldType.STRING_LIST, "[]", []),
    ],
)
def test_a_value_that_fits_is_stored_exactly(kind: FieldType, text: str, value: object) -> None:
    row = encode_one(f'"x":{text}', Column("x", kind))
    assert row["x"] == value
    assert "extra" not in row


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (FieldType.STRING, "5"),
        (FieldType.STRING, "true"),
        (FieldType.DECIMAL, '"5"'),
        (FieldType.DECIMAL, "0.0000000001"),
        (FieldType.DECIMAL, "1e40"),
        (FieldType.DECIMAL, "1e999999999"),
        (FieldType.DECIMAL, "false"),
        (FieldType.INT, "9223372036854775808"),
        (FieldType.INT, "1.0"),
        (FieldType.INT, '"1"'),
        (FieldType.FLOAT, "1e999"),
        (FieldType.FLOAT, "0.123456789012345678"),
        (FieldType.DATE, '"2023-02-29"'),
        (FieldType.DATE, '"20240229"'),
        (FieldType.BOOL, "1"),
        (FieldType.STRING_LIST, '["a", 1]'),
        (FieldType.STRING_LIST, '"a"'),
    ],
)
def test_a_value_that_does_not_fit_goes_to_extra_unchanged(kind: FieldType, text: str) -> None:
    row = encode_one(f'"x":{text}', Column("x", kind))
    assert "x" not in row
    assert row["extra"] == f'{{"x":{text}}}'


def test_a_field_without_a_column_is_merged_into_the_messages_extra() -> None:
    assert json.loads(encode_one('"y":[1.10],"extra":{"z":2}')["extra"]) == {"z": 2, "y": [1.10]}
    assert json.loads(encode_one('"extra":3')["extra"]) == {"extra": 3}
    assert json.loads(encode_one('"extra":{"z":2}')["extra"]) == {"z": 2}
    assert "extra" not in encode_one('"y":null,"extra":null')


def test_each_ns_time_has_a_truncated_timestamp_column() -> None:
    column = Column("ts_open_ns", FieldType.TIMESTAMP_NS)
    assert encode_typed([column, EXTRA], '"ts_open_ns":1999', '"ts_open_ns":-1')["ts_open"].to_list() == [
        datetime(1970, 1, 1, microsecond=1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    ]


@pytest.mark.parametrize("kind", SCHEMAS)
def test_known_record_types_have_fixed_columns(kind: str) -> None:
    inferred = inferred_from(f'"schema":"{kind}"', f'"schema":"{kind}","odd":1')
    assert [column.name for column in inferred if column.name != "extra"] == [
        field.name for field in SCHEMAS[kind] if field.name != "extra"
    ]
    assert inferred[-1] == EXTRA


def test_records_of_ours_among_others_decide_the_columns() -> None:
    trade_fields = [Column(field.name, field.type) for field in SCHEMAS["trade.v1"] if field.name != "extra"]
    quote_only = [
        Column(field.name, field.type)
        for field in SCHEMAS["quote.v1"]
        if field.name not in {each.name for each in SCHEMAS["trade.v1"]}
    ]
    odd = '"schema":5', '"schema":"order.v1","a":1', '"a":1', '"schema":{"b":1},"price":"12"'
    of_trades = ['"schema":"trade.v1","price":1'] * 3
    assert inferred_from(*of_trades, *odd[:3]) == [*trade_fields, EXTRA]
    # most records are of other programs: their fields have columns, too
    assert inferred_from(*odd, *of_trades) == [*trade_fields, Column("a", FieldType.INT), EXTRA]
    assert inferred_from('"schema":"quote.v1"', *of_trades) == [*trade_fields, *quote_only, EXTRA]


def test_the_name_of_a_schema_is_text_whatever_else_there_is() -> None:
    assert inferred_from('"schema":5', '"schema":"order.v1"')[0] == Column("schema", FieldType.STRING)
    assert inferred_from('"schema":{"a":1}')[0] == Column("schema", FieldType.JSON)
    assert inferred_from('"schema":5')[0] == Column("schema", FieldType.INT)


def test_other_records_have_columns_of_the_common_type() -> None:
    assert inferred_from(
        '"a":1,"b":1,"c":"x","d":true,"e":{"y":1},"f":1,"g":null',
        '"a":2,"b":1.5,"c":"y","d":false,"e":[],"f":"z","h":"new"',
    ) == [
        Column("a", FieldType.INT),
        Column("b", FieldType.FLOAT),
        Column("c", FieldType.STRING),
        Column("d", FieldType.BOOL),
        Column("e", FieldType.JSON),
        Column("f", FieldType.JSON),
        Column("h", FieldType.STRING),
        EXTRA,
    ]


def test_columns_round_trip() -> None:
    inferred = [Column(kind.name.lower(), kind) for kind in FieldType]
    assert columns.decode_columns(columns.encode_columns(inferred), "k") == inferred
    with pytest.raises(LakeError, match="damaged"):
        columns.decode_columns(b'{"version":1}', "k")


LAYOUT = [*(Column(kind.name.lower(), kind) for kind in FieldType if kind is not FieldType.JSON), EXTRA]
numbers = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=9).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(json.dumps),
    st.sampled_from(
        ["0", "-0", "0.5", "-0.0", "1e5", "123456.123456789", "12345678901.2345", "56.790000915527"]
    ),
)
texts = st.one_of(
    st.text(max_size=6), st.sampled_from(["2024-02-29", "2024-02-30", "0000-01-01", "}", '"x":1', "null"])
).map(json.dumps)
scalars = st.one_of(numbers, texts, st.sampled_from(["true", "false", "null"]))
arrays = st.lists(st.one_of(texts, scalars), max_size=3).map(lambda items: f"[{', '.join(items)}]")
objects = st.dictionaries(st.sampled_from("ab"), st.one_of(scalars, arrays), max_size=2).map(
    lambda items: "{" + ",".join(f'"{name}":{value}' for name, value in items.items()) + "}"
)
fields = st.dictionaries(
    st.sampled_from([*(column.name for column in LAYOUT), "new"]),
    st.one_of(scalars, arrays, objects),
    max_size=5,
)


@settings(max_examples=600, deadline=None)
@example([{"extra": r'{"a":["\\"]}'}])
@example([{"extra": r'{"a":"\u001f"}'}])
@example([{"extra": r'{"\t":1}'}])
@given(st.lists(fields, min_size=1, max_size=6))
def test_batches_and_single_records_encode_identically(records: list[dict[str, str]]) -> None:
    order = [column.name for column in LAYOUT]
    texts_ = [
        ",".join(f'"{n}":{r[n]}' for n in sorted(r, key=lambda n: order.index(n) if n in order else 99))
        for r in records
    ]
    together = encode_typed(LAYOUT, *texts_)
    alone = pl.concat([encode_typed(LAYOUT, text, start=at) for at, text in enumerate(texts_)])
    assert_frame_equal(together, alone, check_exact=True)
    everything = [*columns.ENVELOPE, *LAYOUT]
    times = [column.name for column in everything if column.type is FieldType.TIMESTAMP_NS]
    parsed = with_timestamps(
        columns._parse_individually(rows.encode(batch(*texts_)).lines, everything), times
    )
    # only Polars accepts the year 0: compare rows whose date both accept
    is_common = together.select(pl.col("date").is_null() | (pl.col("date") >= date(1, 1, 1))).to_series()
    assert_frame_equal(
        together.drop("extra").filter(is_common), parsed.drop("extra").filter(is_common), check_exact=True
    )
    for mine, theirs in zip(together["extra"], parsed["extra"], strict=True):
        assert (mine and json.loads(mine)) == (theirs and json.loads(theirs))


@given(fields.map(lambda items: ",".join(f'"{n}":{v}' for n, v in items.items())), st.data())
def test_matching_records_are_valid_json(text: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.integers(0, 2))
    put = data.draw(
        st.sampled_from(["", ",", '"', "0", "-", ".", "e", "{", "}", "[", "\\", "\t", " ", ":1", "a"])
    )
    damaged = "{" + text[:at] + put + text[at + cut :] + "}"
    for start in range(len(LAYOUT)):
        if pl.Series([damaged]).str.contains(columns._pattern(LAYOUT[start:]))[0]:
            json.loads(damaged, strict=True)


OURS = (
    '"schema":"trade.v1","instrument_id":"A.XNAS","ts_event_ns":1600000000000000000,'
    '"price":12.5,"conditions":["a"],"quality":[],"extra":{"a":[1, 2.5, "}"],"b":null}'
)


def test_known_record_types_are_parsed_in_bulk() -> None:
    assert pl.Series([f"{{{OURS}}}"]).str.contains(columns._pattern(inferred_from(OURS)))[0]


@pytest.mark.parametrize(
    ("key", "name"), [(b"A.XNAS", None), (b"B", "kafka_key"), (b"\xff", "kafka_key_base64")]
)
def test_the_key_is_stored_unless_the_record_contains_it(key: bytes, name: str | None) -> None:
    row = encode_one(OURS, *inferred_from(OURS)[:-1], key=key)
    assert {n for n in row if n.startswith("kafka_key")} == ({name} if name else set())


def test_names_of_columns_are_not_patterns() -> None:
    odd = ['a"b', "a.b", "a\\b", "é", "x|y", "("]
    layout = [*(Column(name, FieldType.INT) for name in odd), EXTRA]
    for name in odd:
        assert encode_one(f"{json.dumps(name)}:5", *layout[:-1])[name] == 5
    assert encode_one('"axb":5', *layout[:-1])["extra"] == '{"axb":5}'


def segment() -> tuple[bytes, SegmentMeta]:
    return parquet.encode_segment(encode_typed([Column("a", FieldType.INT), EXTRA], *['"a":1'] * 50), META)


def test_a_parquet_segment_describes_itself() -> None:
    data, meta = segment()
    assert meta.rows_crc32c != ""
    assert parquet.decode_meta(data, "k") == meta
    frame, crc32c = parquet.decode_rows(data, "k")
    assert frame["kafka_offset"].to_list() == list(range(50))
    assert crc32c == meta.rows_crc32c


def test_a_footer_longer_than_the_first_read_is_read_completely() -> None:
    data, meta = segment()
    short = data[-100:]
    more = parquet.missing_footer_bytes(short)
    assert more > 0
    assert parquet.decode_meta(data[-100 - more :], "k") == meta


@pytest.mark.parametrize("cut", [0, 3, 40, -9, -1])
def test_a_truncated_parquet_segment_is_damaged(cut: int) -> None:
    data = segment()[0][:cut]
    with pytest.raises(LakeError):
        parquet.decode_rows(data, "k")
    with pytest.raises(LakeError):
        parquet.decode_meta(data, "k")
