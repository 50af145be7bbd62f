"""Fixtures of the fault scenarios, and the table of their results."""

import os
import platform
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from support.gcs import FakeGcs, fake_gcs
from support.http_fault_proxy import FaultProxy
from support.scenario import RESULT_PROPERTY, RecordProperty, Scenario, create_scenario
from tickerlake.kafka.embedded.broker import EmbeddedBroker
from tickerlake.kafka.embedded.jars import pinned_jars
from tickerlake.ports import free_port

__all__ = ["fake_gcs"]

_TABLE_BEGIN, _TABLE_END = "<!-- faults -->", "<!-- end -->"
COLUMNS = ("#", "fault", "injected", "triggered", "records", "stored", "lost", "duplicated", "recovery")


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


def pytest_terminal_summary(terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:
    """Print the results of all scenarios as a table."""
    results = [
        value
        for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
        for key, value in report.user_properties
        if key == RESULT_PROPERTY and report.when == "call"
    ]
    if not results:
        return
    results.sort(key=lambda row: (row["#"].zfill(3) if row["#"].isdecimal() else row["#"], row["fault"]))
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---|---|" + "--:|" * (len(COLUMNS) - 2)]
    for row in results:
        cells = [row.get(column, "") for column in COLUMNS]
        lines.append(
            "| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else cell for cell in cells) + " |"
        )
    terminalreporter.section("faults")
    for line in lines:
        terminalreporter.write_line(line)
    # xdist's workers call this too, with their own results only
    is_controller = not hasattr(config, "workerinput")
    if is_controller and (target := config.getoption("--table", None)):
        if exitstatus:
            terminalreporter.write_line(f"{target} is not updated: not all tests passed.")
        else:
            _update_table(Path(target), lines)


def _update_table(page: Path, lines: list[str]) -> None:
    """Replace what is between the page's markers by the table."""
    content = page.read_text()
    before, _, rest = content.partition(_TABLE_BEGIN)
    _, _, after = rest.partition(_TABLE_END)
    count = len(lines) - 2
    kafka = next(jar.version for jar in pinned_jars() if jar.artifact == "kafka-clients")
    summary = (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, Apache Kafka {kafka}: {count} scenarios."
    )
    page.write_text("\n".join([f"{before}{_TABLE_BEGIN}", summary, "", *lines, f"{_TABLE_END}{after}"]))
