"""The BigQuery emulator as a child process."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.gcs import FakeGcs
from tickerlake.ports import free_port

PROJECT = "test-project"
_PYTHON = Path(sys.prefix) / "emulator" / "bin" / "python"
_LAUNCHER = Path(__file__).with_name("bigquery_emulator.py")


class FakeBigQuery:
    """A running emulator; ``url`` is the value for BIGQUERY_EMULATOR_HOST."""

    def __init__(self, storage: str, folder: Path) -> None:
        assert _PYTHON.exists(), f"the BigQuery emulator is missing ({_PYTHON}): `make test` installs it"
        self.log = folder / "bigquery.log"
        for _attempt in range(5):
            ports = [free_port(), free_port()]
            self.url = f"http://127.0.0.1:{ports[0]}"
            with self.log.open("wb") as log:
                self._process = subprocess.Popen(
                    [
                        *(
                            str(_PYTHON),
                            str(_LAUNCHER),
                            "start",
                            "--project",
                            PROJECT,
                            "--log-level",
                            "error",
                        ),
                        *("--rest-port", str(ports[0]), "--grpc-port", str(ports[1])),
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, "STORAGE_EMULATOR_HOST": storage},
                )
            if self._wait_until_ready():
                return
            self.stop()  # another process took one of the ports
        raise RuntimeError(f"the emulator does not start: {self.log.read_text()[-2000:]}")

    def _wait_until_ready(self) -> bool:
        deadline_s = time.monotonic() + 60
        while self._process.poll() is None and time.monotonic() < deadline_s:
            try:
                with urllib.request.urlopen(f"{self.url}/bigquery/v2/projects", timeout=5):  # noqa: S310
                    return True
            except urllib.error.HTTPError:
                return True
            except OSError:
                time.sleep(0.05)
        return False

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="session")
def fake_bigquery(fake_gcs: FakeGcs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeBigQuery]:
    """One emulator for the whole test run; each test creates its own dataset."""
    server = FakeBigQuery(fake_gcs.url, tmp_path_factory.mktemp("bigquery"))
    yield server
    server.stop()
