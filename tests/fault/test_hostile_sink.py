"""Any bytes in any message: a sink stores or rejects each record, and an audit that compares them agrees."""

import json
from pathlib import Path

import pytest

from support import oracle
from support.hostile import TOPIC_CONFIG, good, mixed, send
from support.process import run
from support.raw_kafka import produce_raw
from support.scenario import Scenario
from tickerlake.kafka.admin import Admin

SEED = 23
FORMATS = ["ndjson", "parquet", "json"]


def audit_deep(scenario: Scenario, *options: object) -> None:
    run("audit", "--deep", "--lake", scenario.lake, "-b", scenario.servers, *options)


@pytest.mark.parametrize(
    ("fmt", "count"),
    [
        *((fmt, 400) for fmt in FORMATS),
        *(pytest.param(fmt, 10_000, marks=pytest.mark.full) for fmt in FORMATS),
    ],
)
def test_good_records_between_hostile_ones_are_stored_as_alone(
    scenario: Scenario, fmt: str, count: int
) -> None:
    scenario.topic += ".hostile"
    Admin(scenario.servers).create_topic(scenario.topic, 1, TOPIC_CONFIG)
    good_messages = [good("trade.v1", number) for number in range(count // 20)]
    messages = mixed(good_messages, SEED, count)
    assert not send(scenario.servers, scenario.topic, messages)
    out, _ = scenario.run_sink("--format", fmt, "--json")
    totals = json.loads(out)
    assert totals["records"] + totals["rejects"] == len(messages)
    assert totals["rejects"] > count / 20
    rejected = oracle.read_rejects(Path(scenario.lake), scenario.topic)
    verdict = scenario.assert_survived(
        "25", f"hostile records, {fmt}", injected=totals["rejects"], triggered=len(rejected)
    )
    assert verdict.stored == totals["records"]
    assert verdict.rejected == totals["rejects"]
    audit_deep(scenario)

    stored = oracle.read_rows(Path(scenario.lake), scenario.topic)
    rows = [rows[0] for _, rows in sorted(stored.items())]
    # of a Parquet topic whose records have several schemas, columns may hold JSON
    good_rows = [row for row in rows if str(row.get("instrument_id")).strip('"') == "GOOD.XXXX"]
    expected = [f"trade_id {number}" for number in range(len(good_messages))]
    assert [row["trade_id"].strip('"') for row in good_rows] == expected
    assert {str(row["price"]).rstrip("0") for row in good_rows} == {"10.5"}


def test_headers_of_any_kind_are_in_the_rows_and_rejects(scenario: Scenario) -> None:
    Admin(scenario.servers).create_topic(scenario.topic + ".h", 1, {})
    scenario.topic += ".h"
    produce_raw(
        scenario.servers,
        scenario.topic,
        [
            (b"k", b'{"a":1}', [(b"text", b"x"), (b"text", None), (b"bytes", b"\xff")]),
            (b"k", b"no json", [(b"text", b"x")]),
            (b"k", b'{"a":2}', [(b"\xff\xfe", b"x")]),
            (b"k", b'{"a":3}', []),
        ],
    )
    scenario.run_sink()
    audit_deep(scenario)
    stored = oracle.read_rows(Path(scenario.lake), scenario.topic)
    assert [rows[0].get("kafka_headers") for _, rows in sorted(stored.items())] == [
        [
            {"key": "text", "value": "x"},
            {"key": "text", "value": None},
            {"key": "bytes", "value_base64": "/w=="},
        ],
        [{"key": "tickerlake.error", "value": "the name of a header is not UTF-8"}],
        None,
    ]
    ((_, reject),) = oracle.read_reject_documents(Path(scenario.lake), scenario.topic).items()
    assert reject["headers"] == [{"key": "text", "value": "x"}]


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_topic_of_another_format_is_said_and_kept(scenario: Scenario, fmt: str) -> None:
    count = 3_000
    framed = [(b"k", b"\0\0\0\0\x2a" + bytes([n % 256]) * 20) for n in range(count)]
    scenario.produce_raw(framed)
    _, err = scenario.run_sink("--format", fmt, "--flush-records", "1000", exit_code=4)
    assert "warning: each of the first" in err
    assert f"All {count:,} records of {scenario.topic} were rejected" in err
    assert "Confluent wire format, schema id 42" in err
    rejects = oracle.read_rejects(Path(scenario.lake), scenario.topic)
    assert sorted(rejects.values()) == sorted(value for _, value in framed)
    objects = [path for path in (Path(scenario.lake) / "rejects").rglob("*") if path.is_file()]
    assert len(objects) <= (count if fmt == "json" else 8)
    audit_deep(scenario)
    out, err = scenario.run_sink("--format", fmt, "--json")
    assert json.loads(out)["rejects"] == 0, "nothing new is not an error"
