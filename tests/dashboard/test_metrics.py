"""Prometheus metrics: no duplicates, base units, hostile names."""

import copy
import shutil
import subprocess
from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.pipeline_state import PIPELINE_STATUS, SERVER_STATS
from tickerlake.dashboard.health.state import PipelineState
from tickerlake.dashboard.metrics import MAX_SERIES, exposition
from tickerlake.version import VERSION

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def series(pipeline: dict[str, Any], server: dict[str, float] = SERVER_STATS) -> Series:
    values: Series = {}
    for family in text_string_to_metric_families(exposition(pipeline, server).decode()):
        assert family.documentation
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in values
            values[key] = sample.value
    return values


def pipeline_with(**parts: Any) -> dict[str, Any]:
    return copy.deepcopy(PIPELINE_STATUS) | parts


def test_the_example_matches_the_pipeline_state() -> None:
    assert msgspec.to_builtins(msgspec.convert(PIPELINE_STATUS, PipelineState)) == PIPELINE_STATUS


def test_every_metric_uses_base_units() -> None:
    bars = (("topic", "s.bars"),)
    group = (("group", "g"), *bars)
    expected = {
        ("tickerlake_build_info", (("version", VERSION),)): 1,
        ("tickerlake_dashboard_clients", ()): 2,
        ("tickerlake_dashboard_clients_dropped_total", ()): 1,
        ("tickerlake_dashboard_clients_refused_total", ()): 4,
        ("tickerlake_dashboard_frames_sent_total", ()): 100,
        ("tickerlake_dashboard_sent_bytes_total", ()): 5_000,
        ("tickerlake_dashboard_records_read_total", ()): 35,
        ("tickerlake_dashboard_records_skipped_total", ()): 6,
        ("tickerlake_dashboard_instruments", ()): 9,
        ("tickerlake_dashboard_loading_ratio", ()): 0.75,
        ("tickerlake_dashboard_last_record_timestamp_seconds", ()): 1_799_999_999,
        ("tickerlake_dashboard_poll_timestamp_seconds", ()): 1_800_000_000.5,
        ("tickerlake_dashboard_series_omitted", ()): 0,
        ("tickerlake_kafka_up", ()): 1,
        ("tickerlake_topic_retained_records", bars): 30,
        ("tickerlake_topic_records_total", bars): 35,
        ("tickerlake_consumer_committed_records_total", group): 28,
        ("tickerlake_consumer_lag_records", (("group", "g"), ("partition", "0"), *bars)): 5,
        ("tickerlake_consumer_lag_records", (("group", "g"), ("partition", "1"), *bars)): 2,
        ("tickerlake_lake_up", ()): 1,
        ("tickerlake_lake_counting", bars): 0,
        ("tickerlake_lake_chain_broken", bars): 0,
        ("tickerlake_lake_records_total", bars): 26,
        ("tickerlake_lake_rejects_total", bars): 2,
        ("tickerlake_lake_lost_records_total", bars): 1,
        ("tickerlake_lake_segments", bars): 3,
        ("tickerlake_lake_size_bytes", bars): 4_000,
        ("tickerlake_lake_behind_records", bars): 4,
        ("tickerlake_lake_behind_seconds", bars): 12.5,
        ("tickerlake_lake_newest_record_timestamp_seconds", bars): 1_799_999_999.25,
        ("tickerlake_lake_objects", ()): 6,
        ("tickerlake_lake_cost_dollars", ()): 0.25,
        ("tickerlake_lake_storage_dollars_per_month", ()): 0.5,
        ("tickerlake_audit_ok", bars): 0,
        ("tickerlake_audit_findings", bars): 3,
        ("tickerlake_audit_timestamp_seconds", bars): 1_799_999_000,
    }
    assert series(PIPELINE_STATUS) == expected


def test_before_the_first_poll_and_without_a_lake() -> None:
    names = {name for name, _ in series({}, {"clients": 0})}
    assert names == {
        "tickerlake_build_info",
        "tickerlake_dashboard_clients",
        "tickerlake_dashboard_series_omitted",
    }
    names = {
        name for name, _ in series(pipeline_with(lake=None, audits=[], kafka={"ok": False, "error": "x"}))
    }
    assert not any(name.startswith(("tickerlake_lake", "tickerlake_audit")) for name in names)
    assert series(pipeline_with(kafka={"ok": False, "error": "x"}))["tickerlake_kafka_up", ()] == 0


def test_counting_in_progress_does_not_look_like_an_increase() -> None:
    pipeline = pipeline_with()
    pipeline["lake"]["topics"][0] |= {"counting": True, "error": "damaged"}
    metrics = series(pipeline)
    bars = (("topic", "s.bars"),)
    assert metrics["tickerlake_lake_counting", bars] == metrics["tickerlake_lake_chain_broken", bars] == 1
    assert ("tickerlake_lake_rejects_total", bars) not in metrics
    assert ("tickerlake_lake_behind_seconds", bars) not in metrics


def test_hostile_names_are_escaped() -> None:
    name = 'x"} 1\ntickerlake_kafka_up 0\\\u2028\udcff' + "y" * 1_000
    pipeline = pipeline_with()
    pipeline["groups"][0]["group"] = name
    metrics = series(pipeline)
    assert metrics["tickerlake_kafka_up", ()] == 1
    (label,) = {dict(labels)["group"] for _, labels in metrics if "group" in dict(labels)}
    assert label == name[:256].replace("\udcff", "?")


def test_series_are_counted_and_capped() -> None:
    pipeline = pipeline_with()
    lag = {"partition": 0, "committed": 1, "lag": 1}
    parts = [lag | {"partition": number} for number in range(MAX_SERIES + 10)]
    pipeline["groups"][0]["partitions"] = parts
    metrics = series(pipeline)
    assert sum(name == "tickerlake_consumer_lag_records" for name, _ in metrics) == MAX_SERIES
    assert metrics["tickerlake_dashboard_series_omitted", ()] == 10


@pytest.mark.skipif(not shutil.which("promtool"), reason="needs promtool (apt install prometheus)")
def test_promtool_accepts_the_metrics() -> None:
    process = subprocess.run(
        ["promtool", "check", "metrics"],
        input=exposition(PIPELINE_STATUS, SERVER_STATS),
        capture_output=True,
        check=False,
    )
    assert (process.returncode, process.stdout, process.stderr) == (0, b"", b"")
