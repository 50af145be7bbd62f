"""The table of `make fault`: hooks for `conftest.py` of all tests, as xdist's controller loads no other."""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from support.scenario import RESULT_PROPERTY
from tickerlake.kafka.embedded.jars import pinned_jars

_TABLE_BEGIN, _TABLE_END = "<!-- faults -->", "<!-- end -->"
COLUMNS = ("#", "fault", "injected", "triggered", "records", "stored", "lost", "duplicated", "recovery")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that updates the table in a page."""
    parser.addoption(
        "--table", metavar="FILE", help="Update the table of faults in this page if all tests pass."
    )


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
