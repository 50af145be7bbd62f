"""``tickerlake doctor`` on real services, working and broken."""

import json
from pathlib import Path
from uuid import uuid4

import pytest

from support.bigquery import PROJECT, FakeBigQuery, fake_bigquery
from support.gcs import FakeGcs, fake_gcs
from support.http_fault_proxy import FaultProxy
from support.process import tickerlake
from tickerlake import clock
from tickerlake.kafka.admin import Admin, TopicHealth
from tickerlake.tools import doctor
from tickerlake.tools.doctor import Check, check_lake, check_locations, check_warehouse
from tickerlake.warehouse.bigquery import Warehouse

__all__ = ["fake_bigquery", "fake_gcs"]

HEALTHY = TopicHealth(4, 3, 3, 2, -1, False, frozenset({"READ", "WRITE", "DESCRIBE"}))


@pytest.fixture
def bucket(fake_gcs: FakeGcs, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"doctor-{uuid4().hex}"
    fake_gcs.create_bucket(name)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", fake_gcs.url)
    return name


def test_all_is_well(kafka: str, bucket: str, fake_gcs: FakeGcs, fake_bigquery: FakeBigQuery) -> None:
    topic, dataset = f"doctor.{uuid4().hex}", f"d{uuid4().hex}"
    Admin(kafka).create_topic(topic, 2, {"cleanup.policy": "compact"})
    env = {"STORAGE_EMULATOR_HOST": fake_gcs.url, "BIGQUERY_EMULATOR_HOST": fake_bigquery.url}
    arguments = ["--lake", f"gs://{bucket}/lake", "-b", kafka, "-t", topic, "-t", "nowhere"]
    arguments += ["--project", PROJECT, "--dataset", dataset]
    with tickerlake("doctor", *arguments, env=env) as child:
        out, err = child.communicate(timeout=120)
    assert child.returncode == 2, err
    assert "does not exist" in out
    assert "1 of" in err
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BIGQUERY_EMULATOR_HOST", fake_bigquery.url)
        warehouse = Warehouse(PROJECT, dataset)
        warehouse.open("US")
        warehouse.close()
    with tickerlake("doctor", *arguments, "--json", env=env) as child:
        out, err = child.communicate(timeout=120)
    assert child.returncode == 0, out + err
    checks = [Check(**each) for each in json.loads(out)]
    assert {each.part: each.state for each in checks if each.state != "ok"} == {
        f"topic {topic}": "warning",
        "topic nowhere": "warning",
    }
    assert any("compacted" in each.found for each in checks)
    assert {"python", "java", "cache", "kafka", "clock", "bucket", "lake", "locations", "bigquery"} <= {
        each.part for each in checks
    }
    assert f"gs://{bucket}/lake: objects can be created, read and listed" in {each.found for each in checks}


def test_problems_are_reported_with_a_remedy(bucket: str, fake_gcs: FakeGcs, tmp_path: Path) -> None:
    (missing,) = [each for each in check_lake("gs://nobody-has-this/lake") if each.state == "failed"]
    assert "does not exist" in missing.found
    assert "gcloud storage buckets create" in missing.remedy
    with FaultProxy(fake_gcs.url) as proxy, pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", proxy.url)
        proxy.reply_with_status(403)
        (denied,) = [each for each in check_lake(f"gs://{bucket}") if each.state == "failed"]
        assert "roles/storage.objectCreator" in denied.remedy
        assert proxy.pending == 0
    (tmp_path / "file").write_text("")
    (check,) = check_lake(str(tmp_path / "file" / "lake"))
    assert check.state == "failed"


def test_missing_bigquery_permissions(
    bucket: str, fake_bigquery: FakeBigQuery, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = f"d{uuid4().hex}"
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", fake_bigquery.url)
    warehouse = Warehouse(PROJECT, dataset)
    warehouse.open("US")
    warehouse.close()
    with FaultProxy(fake_bigquery.url, path=f"/bigquery/v2/projects/{PROJECT}/jobs") as proxy:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", proxy.url)
        proxy.reply_with_status(403, times=2)
        checks = list(check_warehouse(PROJECT, dataset, f"gs://{bucket}/lake"))
        assert proxy.pending == 0
    failed = [each for each in checks if each.state == "failed"]
    assert [each.part for each in failed] == ["bigquery", "bigquery"]
    assert all("roles/bigquery.jobUser" in each.remedy for each in failed)


@pytest.mark.parametrize(
    ("bucket_location", "dataset", "state"),
    [
        ("EU", "EU", "ok"),
        ("europe-west1", "EU", "ok"),
        ("EUR4", "EU", "ok"),
        ("ASIA", "us", "ok"),
        ("us-central1", "US", "ok"),
        ("us-central1", "us-central1", "ok"),
        ("US", "us-central1", "failed"),
        ("EU", "europe-west1", "failed"),
        ("us-east1", "EU", "failed"),
        ("NAM4", "us-central1", "warning"),
    ],
)
def test_locations(bucket_location: str, dataset: str, state: str) -> None:
    assert check_locations(bucket_location, dataset).state == state


@pytest.mark.parametrize(
    ("health", "brokers", "warning"),
    [
        (HEALTHY, 3, ""),
        (TopicHealth(4, 1, 1, 1, None, None, None), 1, ""),
        (TopicHealth(4, 1, 1, 1, -1, False, None), 3, "one broker only"),
        (TopicHealth(4, 3, 2, 2, 1, False, None), 3, "2 of 3 replicas"),
        (TopicHealth(4, 3, 3, 1, 1, False, None), 3, "min.insync.replicas"),
        (TopicHealth(4, 3, 3, 2, 1, True, None), 3, "compacted"),
        (TopicHealth(4, 3, 3, 2, 1, False, frozenset({"READ", "DESCRIBE"})), 3, "not allowed to WRITE"),
    ],
)
def test_topics(health: TopicHealth, brokers: int, warning: str) -> None:
    checks = list(doctor._check_topic("t", health, brokers, None))
    warnings = [each.found for each in checks if each.state == "warning"]
    assert checks[0].state == "ok"
    assert (len(warnings) == 1 and warning in warnings[0]) if warning else not warnings


def test_a_topic_without_create_permission() -> None:
    (check,) = doctor._check_topic("t", None, 3, frozenset({"DESCRIBE"}))
    assert check.state == "failed"
    (check,) = doctor._check_topic("t", None, 3, frozenset({"CREATE"}))
    assert check.state == "warning"


def test_clock_and_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = clock.now_ns() / 1e9
    assert doctor._check_clock(now_s - 2).state == "ok"
    late = doctor._check_clock(now_s + 90)
    assert (late.state, "90 s behind" in late.found) == ("failed", True)
    assert doctor._check_disk("x", tmp_path / "not" / "there").state == "ok"
    monkeypatch.setattr(doctor, "LOW_DISK_BYTES", 1 << 62)
    assert doctor._check_disk("x", tmp_path).state == "warning"
