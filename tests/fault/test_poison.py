"""25: messages that are not JSON become rejects, unusual JSON is stored, and the partition continues."""

import base64
import json
from pathlib import Path

import pytest

from support import oracle
from support.scenario import Scenario
from tickerlake.kafka.admin import Admin

POISON = {
    "empty": b"",
    "truncated": b'{"price": 1',
    "NaN": b'{"price": NaN}',
    "infinity": b"-Infinity",
    "not UTF-8": b"\xff\xfe",
    "not UTF-8 in a string": b'{"name":"\xe9"}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "two documents": b"{}{}",
    "deep and unclosed": b"[" * 5000,
    "1000 levels deep": b'{"a":' * 1000 + b"1" + b"}" * 1000,
    "large and truncated": b'{"text":"' + b"x" * (10 << 20),
}
UNUSUAL = {
    "negative": b'{"price":-5,"volume":-0.0}',
    "500 levels deep": b'{"a":' * 500 + b"1" + b"}" * 500,
    "ten megabytes": b'{"text":"' + b"x" * (10 << 20) + b'"}',
    "many digits": b'{"price":1234567890123456789.0123456789}',
    "not an object": b"[1, 2]",
    "names of the lake's columns": b'{"kafka_offset":3,"kafka_key":"k"}',
    "several lines": b'{"a":\n1,\r\n"b":2}',
    "tombstone": None,
}


@pytest.mark.parametrize(
    "fmt", ["ndjson", *(pytest.param(fmt, marks=pytest.mark.full) for fmt in ("parquet", "json"))]
)
def test_poison_messages_are_rejected_and_the_partition_continues(scenario: Scenario, fmt: str) -> None:
    scenario.topic += ".large"
    Admin(scenario.servers).create_topic(scenario.topic, 4, {"max.message.bytes": "20000000"})
    scenario.produce(50)
    # all in the partition of one key: records behind them must still be stored
    values = [*POISON.values(), *UNUSUAL.values()]
    scenario.produce_raw((b"\xff\x00key", value) for value in values)
    scenario.produce_raw((key, b'{"id":1}') for key in (b"\xff\x00key", None, b"", "ключ".encode()))
    out, _ = scenario.run_sink("--format", fmt, "--json")
    rejects = oracle.read_rejects(Path(scenario.lake), scenario.topic)
    assert json.loads(out)["rejects"] == len(rejects)
    assert sorted(rejects.values()) == sorted(POISON.values())
    for reject in oracle.read_reject_documents(Path(scenario.lake), scenario.topic).values():
        assert reject["reason"].startswith("not JSON: ")
        assert base64.b64decode(reject["key_base64"]) == b"\xff\x00key"
    verdict = scenario.assert_survived(
        "25", f"poison messages, {fmt}", injected=len(POISON), triggered=len(rejects)
    )
    assert verdict.stored + verdict.rejected == 50 + len(values) + 4
