"""25: what is no JSON is kept as it came, what is JSON is stored, and the partition moves on."""

import base64
import json
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from fault.conftest import Story
from support import oracle

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
    "large, and cut off": b'{"text":"' + b"x" * (10 << 20),
}
UNUSUAL = {
    "negative": b'{"price":-5,"volume":-0.0}',
    "nested a thousand deep": b'{"a":' * 400 + b"1" + b"}" * 400,
    "ten megabytes": b'{"text":"' + b"x" * (10 << 20) + b'"}',
    "many digits": b'{"price":1234567890123456789.0123456789}',
    "no object": b"[1, 2]",
    "our own names": b'{"kafka_offset":3,"kafka_key":"k"}',
    "several lines": b'{"a":\n1,\r\n"b":2}',
    "tombstone": None,
}


@pytest.mark.parametrize("fmt", ["ndjson", "parquet", "json"])
def test_poison_is_kept_and_the_partition_moves_on(story: Story, fmt: str) -> None:
    allow_large(story)
    story.fill(50)
    # all in the partition of one key: what comes after must get past them
    values = [*POISON.values(), *UNUSUAL.values()]
    story.send((b"\xff\x00key", value) for value in values)
    story.send((key, b'{"id":1}') for key in (b"\xff\x00key", None, b"", "ключ".encode()))
    out, _ = story.store_all("--format", fmt, "--json")
    assert json.loads(out)["rejects"] == len(POISON)
    kept = oracle.rejects(Path(story.lake), story.topic)
    assert sorted(kept.values()) == sorted(POISON.values())
    for file in (Path(story.lake) / "rejects" / story.topic).rglob("*.json"):
        said = json.loads(file.read_bytes())
        assert said["reason"].startswith("not JSON: ")
        assert int(file.stem) == said["offset"]
        assert base64.b64decode(said["key_base64"]) == b"\xff\x00key"
    found = story.survived("25", f"poison messages, {fmt}", injected=len(POISON), struck=len(kept))
    assert found.stored == 50 + len(UNUSUAL) + 4


def allow_large(story: Story) -> None:
    size = ConfigEntry("max.message.bytes", "20000000", incremental_operation=AlterConfigOpType.SET)
    topic = ConfigResource(ResourceType.TOPIC, story.topic, incremental_configs=[size])
    client = AdminClient({"bootstrap.servers": story.servers})
    for changed in client.incremental_alter_configs([topic]).values():
        changed.result()
