import json
from datetime import UTC, datetime

import polars as pl
import pytest

from tickerlake.model.reject import Reject
from tickerlake.model.schema import SCHEMAS, parquet_schema, polars_schema, to_parquet_frame


@pytest.mark.parametrize("kind", SCHEMAS)
def test_every_record_names_its_schema_and_instrument(kind: str) -> None:
    names = polars_schema(kind).names()
    assert names[0] == "schema"
    assert {"instrument_id", "symbol"} <= set(names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("kind", SCHEMAS)
def test_parquet_has_a_timestamp_beside_each_time(kind: str) -> None:
    names = parquet_schema(kind).names()
    for name in polars_schema(kind).names():
        if name.startswith("ts_"):
            assert names[names.index(name) + 1] == name.removesuffix("_ns")
    assert to_parquet_frame(pl.DataFrame({"schema": [kind]}), kind).schema == parquet_schema(kind)


def test_microseconds_are_cut() -> None:
    frame = to_parquet_frame(pl.DataFrame({"ts_open_ns": [1_999, -1]}), "bar.v1")
    assert frame["ts_open"].to_list() == [
        datetime(1970, 1, 1, microsecond=1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    ]


def test_a_reject_is_one_line_of_json() -> None:
    text = Reject("a.csv", 3, "price_missing", 'x,"y\n').to_json()
    assert "\n" not in text
    assert json.loads(text) == {"file": "a.csv", "line": 3, "reason": "price_missing", "raw": 'x,"y\n'}
