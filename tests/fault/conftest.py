"""Fixtures of the fault scenarios, and the table of their results."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.gcs import FakeGcs, fake_gcs
from support.http_fault_proxy import FaultProxy
from support.scenario import RecordProperty, Scenario, create_scenario
from tickerlake.kafka.embedded.broker import EmbeddedBroker
from tickerlake.ports import free_port

__all__ = ["fake_gcs"]


@pytest.fixture
def scenario(kafka: str, tmp_path: Path, record_property: RecordProperty) -> Scenario:
    """A topic on the shared broker, and a lake in a folder."""
    return create_scenario(kafka, tmp_path / "lake", record_property)


@pytest.fixture
def cloud(
    scenario: Scenario,
    fake_gcs: FakeGcs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[tuple[Scenario, FaultProxy]]:
    """A scenario with a lake in a bucket, and the proxy in front of it that injects faults into uploads.

    Its parameter is the lake's format.
    """
    scenario.sink_options = ("--format", getattr(request, "param", "ndjson"))
    bucket = f"b-{secrets.token_hex(6)}"
    fake_gcs.create_bucket(bucket)

    def copy() -> Path:
        folder = tmp_path / secrets.token_hex(4)
        fake_gcs.download(bucket, folder)
        return folder

    with FaultProxy(fake_gcs.url) as proxy:
        proxy.body_marker = b"/partition="
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.url)
        scenario.env["STORAGE_EMULATOR_HOST"] = proxy.url
        scenario.lake, scenario.copy_lake = f"gs://{bucket}/", copy
        yield scenario, proxy


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    """A dedicated broker, to be killed, paused and restarted."""
    # not the default port: another broker could take it while this one is down
    with EmbeddedBroker(tmp_path / "broker", free_port()) as embedded:
        yield embedded


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests of this folder, for `make fault`."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.fault)
