"""Shared fixtures: one real Kafka for the whole test run."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from support.fault_table import pytest_addoption, pytest_terminal_summary
from tickerlake.kafka.embedded.broker import EmbeddedBroker

__all__ = ["pytest_addoption", "pytest_terminal_summary"]

settings.register_profile("ci", print_blob=True, deadline=None)
settings.load_profile("ci")
for name in [name for name in os.environ if name.startswith("TICKERLAKE_") and name != "TICKERLAKE_CACHE"]:
    del os.environ[name]


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the bootstrap servers of a real single-node Kafka."""
    folder: Path = tmp_path_factory.mktemp("kafka")
    with EmbeddedBroker(folder) as broker:
        yield broker.bootstrap_servers
