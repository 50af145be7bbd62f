"""Write ``src/tickerlake/kafka/embedded/kafka.lock`` from what Maven resolves now.

Run by hand after changing ``KAFKA_VERSION`` in ``tickerlake.kafka.embedded.jars``::

    PYTHONPATH=src python scripts/lock_kafka.py

The broker's section contains ``kafka_2.13`` with its dependencies, and the logging bridge. The tools'
section contains the one additional jar that the benchmarks need; its other dependencies (Kafka Connect,
Jetty) are for commands that are not used here. Review the diff before committing it.
"""

import sys
import tempfile
from pathlib import Path

import jgo
from jgo.maven import MavenContext

from tickerlake.kafka.embedded.jars import KAFKA_VERSION, LOCK_FILE, TOOLS_MARKER, sha256_of

BROKER = (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4")
TOOLS = (f"org.apache.kafka:kafka-tools:{KAFKA_VERSION}",)


def main() -> None:
    """Resolve the artifacts, download them, and write their checksums."""
    broker: dict[str, str] = {}
    for endpoint in BROKER:
        for artifact in jgo.resolve(endpoint):
            broker.setdefault(f"{artifact.groupId}:{artifact.artifactId}", artifact.version)
    lines = [
        f"# Apache Kafka {KAFKA_VERSION}; written by scripts/lock_kafka.py",
        *lock_lines([f"{name}:{version}" for name, version in broker.items()]),
        TOOLS_MARKER,
        *lock_lines(list(TOOLS)),
    ]
    LOCK_FILE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def lock_lines(coordinates: list[str]) -> list[str]:
    """Return a lock line for each artifact, downloaded into an empty folder."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        context = MavenContext(repo_cache=Path(folder))
        for name in coordinates:
            group, artifact, version = name.split(":")
            path = context.project(group, artifact).at_version(version).artifact().resolve()
            lines.append(f"{name} {sha256_of(path)}")
            print(lines[-1], file=sys.stderr)
    return lines


if __name__ == "__main__":
    main()
