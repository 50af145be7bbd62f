"""25: what is no JSON is kept as it came, what is JSON is stored, and the partition moves on."""

import base64
import json
from pathlib import Path

import pytest

from fault.conftest import Story
from support import oracle
from tickerlake.kafka.admin import Admin

POISON = {
    "empty": b"",
    "truncated": b'{"price": 1',
    "NaN": b'{"price": NaN}',
    "infinity": b"-Infinity",
    "no UTF-8": b"\xff\xfe",
    "no UTF-8 inside": b'{"name":"\xe9"}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "two documents": b"{}{}",
    "deep, and never closed": b"[" * 5000,
    "nested a thousand deep": b'{"a":' * 1000 + b"1" + b"}" * 1000,
    "large, and cut off": b'{"text":"' + b"x" * (10 << 20),
}
UNUSUAL = {
    "negative": b'{"price":-5,"volume":-0.0}',
    "nested five hundred deep": b'{"a":' * 500 + b"1" + b"}" * 500,
    "ten megabytes": b'{"text":"' + b"x" * (10 << 20) + b'"}',
    "many digits": b'{"price":1234567890123456789.0123456789}',
    "no object": b"[1, 2]",
    "our own names": b'{"kafka_offset":3,"kafka_key":"k"}',
    "several lines": b'{"a":\n1,\r\n"b":2}',
    "tombstone": None,
}


@pytest.mark.parametrize(
    "fmt", ["ndjson", *(pytest.param(fmt, marks=pytest.mark.full) for fmt in ("parquet", "json"))]
)
def test_poison_is_kept_and_the_partition_moves_on(story: Story, fmt: str) -> None:
    story.topic += ".large"
    Admin(story.servers).create(story.topic, 4, {"max.message.bytes": "20000000"})
    story.fill(50)
    # all in the partition of one key: what comes after must get past them
    values = [*POISON.values(), *UNUSUAL.values()]
    story.send((b"\xff\x00key", value) for value in values)
    story.send((key, b'{"id":1}') for key in (b"\xff\x00key", None, b"", "ключ".encode()))
    out, _ = story.store_all("--format", fmt, "--json")
    kept = oracle.rejects(Path(story.lake), story.topic)
    assert json.loads(out)["rejects"] == len(kept)
    assert sorted(kept.values()) == sorted(POISON.values())
    for file in (Path(story.lake) / "rejects" / story.topic).rglob("*.json"):
        said = json.loads(file.read_bytes())
        assert said["reason"].startswith("not JSON: ")
        assert int(file.stem) == said["offset"]
        assert base64.b64decode(said["key_base64"]) == b"\xff\x00key"
    found = story.survived("25", f"poison messages, {fmt}", injected=len(POISON), struck=len(kept))
    assert found.stored + found.rejected == 50 + len(values) + 4
