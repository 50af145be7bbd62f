"""4–9, 17: a store that loses replies, denies requests, is busy, damages objects, or never answers."""

import json
import shutil
import signal
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from confluent_kafka.admin import AdminClient

from support import oracle
from support.gcs import FakeGcs
from support.http_fault_proxy import FaultProxy
from support.process import Child, is_halted, tickerlake, wait_until
from support.scenario import Scenario, create_scenario

FULL_ONLY = pytest.mark.full
CloudScenario = tuple[Scenario, FaultProxy]


@pytest.mark.parametrize(
    "cloud",
    ["ndjson", pytest.param("parquet", marks=FULL_ONLY), pytest.param("json", marks=FULL_ONLY)],
    indirect=True,
)
def test_the_reply_is_lost_and_there_is_one_object(cloud: CloudScenario) -> None:
    scenario, proxy = cloud
    scenario.produce(20)
    scenario.run_sink()
    scenario.produce(100)
    before, uploads = len(scenario.object_keys()), proxy.uploads
    proxy.lose_reply(3)
    out, _ = scenario.run_sink("--json", "--flush-records", 20)
    summary = json.loads(out)
    added = len(scenario.object_keys()) - before
    assert proxy.uploads == uploads + added + 3
    # the reply to a retry of the same upload can be the lost one
    adopted_count = added - summary["segments"]
    assert 0 < adopted_count <= 3
    assert summary["adopted"] == (0 if "json" in scenario.sink_options else adopted_count)
    fault = f"reply to an upload lost, {scenario.sink_options[-1]}"
    scenario.assert_survived("4", fault, injected=3, triggered=3 - proxy.pending)


@pytest.mark.full
@pytest.mark.parametrize("timing", ["before a sink starts", "while a sink runs"])
def test_another_topics_segment_at_the_same_position(scenario: Scenario, tmp_path: Path, timing: str) -> None:
    other = create_scenario(scenario.servers, tmp_path / "other", scenario.record_property)
    other.produce(100)
    other.run_sink()
    foreign_segment = Path(other.lake, other.object_keys()[0])
    scenario.produce(400)
    scenario.sink_options = ("--group", scenario.topic)
    scenario.run_sink()
    scenario.produce(400)
    failpoints = "sink.segment_cut=stop" if timing == "while a sink runs" else ""
    with scenario.start_sink("--until-end", failpoints=failpoints) as child:
        if failpoints:
            wait_until(lambda: is_halted(child.pid), child)
        committed = scenario.committed_offsets()
        foreign_copies = []
        for number, end in committed.items():
            segment_path = Path(
                scenario.lake, "raw", scenario.topic, f"partition={number}", f"{end:020d}.ndjson.gz"
            )
            shutil.copy(foreign_segment, segment_path)
            foreign_copies.append(segment_path)
        lake_contents = file_contents(Path(scenario.lake))
        child.send_signal(signal.SIGCONT)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 4, err
    assert "it is not part of this chain" in err
    assert "→" in err
    assert file_contents(Path(scenario.lake)) == lake_contents, "the lake is unchanged"
    assert scenario.committed_offsets() == committed
    for segment_path in foreign_copies:
        segment_path.unlink()
    scenario.run_sink()
    scenario.assert_survived(
        "5", f"another topic's segment at the same position, {timing}", injected=1, triggered=1
    )


def file_contents(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@FULL_ONLY
def test_a_busy_store_is_retried(cloud: CloudScenario) -> None:
    scenario, proxy = cloud
    # one partition: one upload at a time
    scenario.produce(2000, lambda number: "one partition")
    proxy.reply_with_status(503, times=2)
    proxy.pass_through()
    proxy.reply_with_status(429, retry_after=2)
    proxy.pass_through()
    proxy.reply_with_status(408)
    proxy.pass_through()
    proxy.reset_mid_body()
    with scenario.start_sink("--until-end", "--flush-records", 300, "--json") as child:
        wait_until(lambda: proxy.uploads > 0, child)
        recovery_s = wait_until(lambda: proxy.uploads > 8, child)
        out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert json.loads(out)["retries"] == 5, "the summary counts retries"
    assert proxy.uploads == len(scenario.object_keys()) + 5
    assert proxy.upload_times_s[4] - proxy.upload_times_s[3] >= 2, "Retry-After is respected"
    fault = "503 twice, 429 with Retry-After, 408, reset during an upload"
    scenario.assert_survived("6", fault, injected=5, triggered=5 - proxy.pending, recovery_s=recovery_s)


@pytest.mark.full
@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        pytest.param(400, "A retry would not help", marks=FULL_ONLY),
        pytest.param(401, "gcloud auth application-default login", marks=FULL_ONLY),
        (403, "roles/storage.objectCreator"),
    ],
)
def test_a_permanent_error_stops_the_sink_at_once(cloud: CloudScenario, status: int, remedy: str) -> None:
    scenario, proxy = cloud
    scenario.sink_options = ("--group", scenario.topic)
    scenario.produce(200)
    scenario.run_sink()
    committed, stored_before, uploads_before = (
        scenario.committed_offsets(),
        scenario.object_keys(),
        proxy.uploads,
    )
    scenario.produce(2000)
    proxy.reply_with_status(status, times=1000)
    _, err = scenario.run_sink("--flush-records", 50, exit_code=2)
    triggered = 1000 - proxy.pending
    assert remedy in err
    assert triggered == proxy.uploads - uploads_before
    assert triggered <= 2, "only the uploads in flight fail, without a retry"
    assert (scenario.committed_offsets(), scenario.object_keys()) == (committed, stored_before)
    proxy.clear_faults()
    scenario.run_sink()
    scenario.assert_survived("7", f"{status}: the sink stops at once", injected=1, triggered=triggered)


Corruption = Callable[[Path], None]


def truncate_to_half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def truncate_to_head(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:40])


def truncate_to_zero(file: Path) -> None:
    file.write_bytes(b"")


def flip_bit(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-20] ^= 0x10
    file.write_bytes(data)


@pytest.mark.parametrize(
    ("fmt", "corrupt"),
    [
        ("ndjson", truncate_to_half),
        pytest.param("ndjson", truncate_to_head, marks=FULL_ONLY),
        pytest.param("ndjson", flip_bit, marks=FULL_ONLY),
        pytest.param("parquet", truncate_to_half, marks=FULL_ONLY),
        pytest.param("parquet", truncate_to_zero, marks=FULL_ONLY),
    ],
)
def test_a_damaged_segment_is_never_extended(scenario: Scenario, fmt: str, corrupt: Corruption) -> None:
    scenario.sink_options = ("--format", fmt)
    scenario.produce(400)
    scenario.run_sink()
    last = Path(scenario.lake) / scenario.object_keys()[-1]
    original = last.read_bytes()
    corrupt(last)
    lake_contents = file_contents(Path(scenario.lake))
    scenario.produce(400)
    # each partition continues after its last segment, and one of these is damaged
    _, err = scenario.run_sink(exit_code=4)
    assert last.name in err
    assert "→" in err
    assert file_contents(Path(scenario.lake)) == lake_contents, "the lake is unchanged"
    assert last.name in run_audit(scenario, exit_code=4)
    last.write_bytes(original)
    scenario.run_sink()
    scenario.assert_survived("8", f"last segment damaged: {corrupt.__name__}, {fmt}", injected=1, triggered=1)


def run_audit(scenario: Scenario, exit_code: int) -> str:
    options = ("audit", "--lake", scenario.lake, "-t", scenario.topic, "--deep", "-b", scenario.servers)
    with tickerlake(*options, env=scenario.env) as child:
        out, err = child.communicate(timeout=60)
    assert child.returncode == exit_code, out + err
    return out + err


@FULL_ONLY
def test_an_object_without_metadata_stops_the_sink(cloud: CloudScenario, fake_gcs: FakeGcs) -> None:
    scenario, _ = cloud
    scenario.sink_options = ("--group", scenario.topic)
    scenario.produce(400)
    scenario.run_sink()
    number, end = next((number, end) for number, end in scenario.committed_offsets().items() if end > 0)
    name = f"raw/{scenario.topic}/partition={number}/{end:020d}.ndjson.gz"
    bucket = scenario.lake.removeprefix("gs://").strip("/")
    url = f"{fake_gcs.url}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={name}"
    urllib.request.urlopen(urllib.request.Request(url, b"something"), timeout=10).close()  # noqa: S310
    scenario.produce(400)
    committed = scenario.committed_offsets()
    _, err = scenario.run_sink(exit_code=4)
    assert f"{name} does not have the object metadata of a segment" in err
    assert "→" in err
    assert committed[number] == scenario.committed_offsets()[number]
    assert name in run_audit(scenario, exit_code=4)
    url = f"{fake_gcs.url}/storage/v1/b/{bucket}/o/{quote(name, safe='')}"
    urllib.request.urlopen(urllib.request.Request(url, method="DELETE"), timeout=10).close()  # noqa: S310
    scenario.run_sink()
    scenario.assert_survived("8", "object without metadata in the chain", injected=1, triggered=1)


@FULL_ONLY
def test_corrupt_or_truncated_downloads(cloud: CloudScenario) -> None:
    scenario, proxy = cloud
    scenario.produce(400)
    scenario.run_sink()
    scenario.produce(400)
    stored_before = scenario.object_keys()
    proxy.corrupt_download()
    _, err = scenario.run_sink(exit_code=2)
    assert "damaged in transit" in err
    assert scenario.object_keys() == stored_before
    proxy.truncate_download(2)
    scenario.run_sink()
    triggered = 3 - proxy.pending
    proxy.corrupt_download()
    assert "damaged in transit" in run_audit(scenario, exit_code=2)
    scenario.assert_survived(
        "8", "downloads corrupted and truncated", injected=4, triggered=triggered + 1 - proxy.pending
    )


@FULL_ONLY
@pytest.mark.timeout(300)
def test_a_store_that_never_answers(cloud: CloudScenario) -> None:
    """The session timeout is 6 s; an upload waits 30 s for its reply, and is retried for 90 s."""
    scenario, proxy = cloud
    scenario.sink_options = ("--group", scenario.topic)
    scenario.produce(500)
    proxy.stall(1000)
    client = AdminClient({"bootstrap.servers": scenario.servers})
    members_by_attempt: dict[int, int] = {}

    def sink_has_ended() -> bool:
        attempt = proxy.uploads
        if attempt not in members_by_attempt:
            description = client.describe_consumer_groups([scenario.topic])[scenario.topic].result(10)
            members_by_attempt[attempt] = len(description.members)
        return child.poll() is not None

    with scenario.start_sink("--until-end") as child:
        wait_until(lambda: proxy.uploads > 1, child)
        took_s = wait_until(sink_has_ended, timeout_s=250)
        _, err = child.communicate(timeout=10)
    assert child.returncode == 3, err
    assert "3 attempts in " in err
    assert "→" in err
    assert 80 < took_s < 110
    assert len(members_by_attempt) >= 3
    assert set(members_by_attempt.values()) == {1}, "the sink stays in its group"
    assert max(scenario.committed_offsets().values()) < 0, "nothing is committed"
    triggered = 1000 - proxy.pending
    proxy.clear_faults()
    scenario.run_sink()
    scenario.assert_survived(
        "9", f"store never answers: the sink stops after {took_s:.0f} s", injected=1, triggered=triggered
    )


def stop_during_errors(scenario: Scenario, proxy: FaultProxy) -> Child:
    before = proxy.uploads
    child = scenario.start_sink("--flush-records", 100, "--flush-age", 0.5)
    wait_until(lambda: proxy.uploads > before + 1, child)
    child.terminate()
    return child


@FULL_ONLY
def test_stopped_while_the_store_is_throttled_temporarily(cloud: CloudScenario) -> None:
    scenario, proxy = cloud
    scenario.sink_options = ("--group", scenario.topic)
    scenario.produce(1000)
    proxy.reply_with_status(429, times=6)
    with stop_during_errors(scenario, proxy) as child:
        _, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert "stopping" in err
    stored = sum(map(len, oracle.read_rows(scenario.copy_lake(), scenario.topic).values()))
    assert f"stored {stored:,} records" in err
    assert stored == sum(end for end in scenario.committed_offsets().values() if end > 0), (
        "the summary counts the committed records"
    )
    assert stored > 0
    scenario.run_sink()
    scenario.assert_survived("17", "SIGTERM during temporary 429s", injected=6, triggered=6 - proxy.pending)


@FULL_ONLY
def test_stopped_while_the_store_is_throttled_permanently(cloud: CloudScenario) -> None:
    scenario, proxy = cloud
    scenario.sink_options = ("--group", scenario.topic)
    scenario.produce(400)
    scenario.run_sink()
    committed, stored_before = scenario.committed_offsets(), scenario.object_keys()
    scenario.produce(1000)
    proxy.reply_with_status(429, times=1000)
    with stop_during_errors(scenario, proxy) as child:
        # longer than a process manager waits before it kills
        triggered = 1000 - proxy.pending
        proxy.clear_faults()
        proxy.reply_with_status(429, times=1000, retry_after=3600)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 3, err
    assert "stopping" in err
    assert (scenario.committed_offsets(), scenario.object_keys()) == (committed, stored_before)
    triggered += 1000 - proxy.pending
    proxy.clear_faults()
    scenario.run_sink()
    scenario.assert_survived("17", "SIGTERM during permanent 429s", injected=1, triggered=triggered)
