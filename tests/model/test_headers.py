"""Headers as JSON: names, order, nulls, bytes and repetitions are kept."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickerlake.model.headers import encode_headers


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (b"abc", {"value": "abc"}),
        (b"", {"value": ""}),
        (None, {"value": None}),
        (b"\xff\x00", {"value_base64": "/wA="}),
        ("é".encode(), {"value": "é"}),
        ("text", {"value": "text"}),
    ],
)
def test_a_value_is_text_null_or_base64(value: bytes | str | None, encoded: dict[str, str | None]) -> None:
    assert json.loads(encode_headers([("k", value)])) == [{"key": "k", **encoded}]


def decode(header: dict[str, str | None]) -> tuple[str | None, bytes | None]:
    if (in_base64 := header.get("value_base64")) is not None:
        return header["key"], base64.b64decode(in_base64)
    value = header["value"]
    return header["key"], None if value is None else value.encode()


@given(st.lists(st.tuples(st.text(), st.none() | st.binary()), max_size=5))
def test_headers_round_trip_in_their_order(headers: list[tuple[str, bytes | None]]) -> None:
    assert [decode(each) for each in json.loads(encode_headers(headers))] == headers
