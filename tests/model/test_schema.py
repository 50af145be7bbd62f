import json

import pytest

from tickerlake.model.reject import Reject
from tickerlake.model.schema import SCHEMAS, polars_schema


@pytest.mark.parametrize("kind", SCHEMAS)
def test_every_record_names_its_schema_and_instrument(kind: str) -> None:
    names = polars_schema(kind).names()
    assert names[0] == "schema"
    assert {"instrument_id", "symbol"} <= set(names)
    assert len(set(names)) == len(names)


def test_a_reject_is_one_line_of_json() -> None:
    text = Reject("a.csv", 3, "price_missing", 'x,"y\n').to_json()
    assert "\n" not in text
    assert json.loads(text) == {"file": "a.csv", "line": 3, "reason": "price_missing", "raw": 'x,"y\n'}
