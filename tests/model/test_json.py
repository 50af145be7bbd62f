import json
from datetime import date
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickerlake.model.json import find_record_type, to_json_lines
from tickerlake.model.schema import DECIMAL

REPEATS = 40
decimals = st.decimals(allow_nan=False, allow_infinity=False, places=9, min_value=-(10**20), max_value=10**20)


def shortest_decimal(value: Decimal) -> str:
    text = f"{value:.9f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


@given(st.lists(st.one_of(decimals, st.decimals(-9999, 9999, places=2), st.integers(0, 10**9)), min_size=1))
def test_decimals_are_exact_and_shortest(values: list[Decimal | int]) -> None:
    column = pl.Series("x", [Decimal(v) for v in values], DECIMAL)
    expected = [f'{{"x":{shortest_decimal(Decimal(v))}}}'.encode() for v in values]
    assert to_json_lines(column.to_frame()) == expected
    assert to_json_lines(repeat(column.to_frame())) == expected * REPEATS


@given(
    st.lists(
        st.tuples(st.text(), st.none() | st.text(), st.none() | decimals, st.lists(st.text())), min_size=1
    )
)
def test_any_text_survives(rows: list[tuple[str, str | None, Decimal | None, list[str]]]) -> None:
    schema: dict[str, pl.DataType | type[pl.DataType]] = {
        "a": pl.String,
        "b": pl.String,
        "n": DECIMAL,
        "l": pl.List(pl.String),
    }
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    for line, (a, b, n, texts) in zip(to_json_lines(frame), rows, strict=True):
        expected = {"a": a, "b": b, "n": n, "l": texts}
        got = json.loads(line, parse_float=Decimal, parse_int=Decimal)
        assert got == {k: v for k, v in expected.items() if v is not None}
    # many records are encoded by column, few in a loop
    assert to_json_lines(repeat(frame)) == to_json_lines(frame) * REPEATS


def repeat(frame: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([frame] * REPEATS)


def test_few_and_many_records_are_written_alike() -> None:
    frame = pl.DataFrame(
        {
            "a": ["x", "y"],
            "n": [-5, None],
            "d": pl.Series([Decimal("-0.5"), Decimal(1200)], dtype=DECIMAL),
            "b": [None, True],
            "day": [date(2024, 2, 29), None],
            "l": [[], []],
            "extra": [None, '{"k": [1]}'],
        }
    )
    lines = to_json_lines(frame)
    assert lines == [
        b'{"a":"x","n":-5,"d":-0.5,"day":"2024-02-29","l":[]}',
        b'{"a":"y","d":1200,"b":true,"l":[],"extra":{"k": [1]}}',
    ]
    assert to_json_lines(repeat(frame)) == lines * REPEATS


def test_extra_is_nested_and_nulls_are_omitted() -> None:
    frame = pl.DataFrame({"s": ["a", "b"], "extra": ['{"x": 1}', None], "flag": [True, False]})
    assert to_json_lines(frame) == [b'{"s":"a","extra":{"x": 1},"flag":true}', b'{"s":"b","flag":false}']


def test_no_records_no_lines() -> None:
    assert to_json_lines(pl.DataFrame(schema={"a": pl.String})) == []


def test_float_prices_are_rejected() -> None:
    with pytest.raises(TypeError, match="price"):
        to_json_lines(pl.DataFrame({"price": [1.5]}))


@pytest.mark.parametrize(
    ("document", "record_type"),
    [
        (b'{"schema":"bar.v1"}', "bars"),
        ('{"price":1,"schema":"trade.v1"}', "trades"),
        (b'{"schema":"bar.v9"}', None),
        (b'{"schema":7}', None),
        (b"[1]", None),
        (b"not JSON", None),
        (b'{"schema":"\xff"}', None),
        (b"[" * 100_000, None),
    ],
)
def test_the_record_type_follows_from_the_schema(document: bytes | str, record_type: str | None) -> None:
    assert find_record_type(document) == record_type
