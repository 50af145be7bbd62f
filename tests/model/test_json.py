import json
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickerlake.model.json import to_json_lines
from tickerlake.model.schema import DECIMAL

decimals = st.decimals(allow_nan=False, allow_infinity=False, places=9, min_value=-(10**20), max_value=10**20)


def plain(value: Decimal) -> str:
    text = f"{value:.9f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


@given(st.lists(st.one_of(decimals, st.decimals(-9999, 9999, places=2), st.integers(0, 10**9)), min_size=1))
def test_decimals_are_exact_and_shortest(values: list[Decimal | int]) -> None:
    column = pl.Series("x", [Decimal(v) for v in values], DECIMAL)
    lines = to_json_lines(column.to_frame())
    assert lines == [f'{{"x":{plain(Decimal(v))}}}'.encode() for v in values]


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


def test_extra_is_nested_and_nulls_are_left_out() -> None:
    frame = pl.DataFrame({"s": ["a", "b"], "extra": ['{"x": 1}', None], "flag": [True, False]})
    assert to_json_lines(frame) == [b'{"s":"a","extra":{"x": 1},"flag":true}', b'{"s":"b","flag":false}']


def test_no_records_no_lines() -> None:
    assert to_json_lines(pl.DataFrame(schema={"a": pl.String})) == []


def test_floats_are_no_prices() -> None:
    with pytest.raises(TypeError, match="price"):
        to_json_lines(pl.DataFrame({"price": [1.5]}))
