"""Write ``src/tickerlake/kafka/embedded/kafka.lock`` from what Maven resolves now.

Run by hand after changing ``KAFKA_VERSION`` in ``tickerlake.kafka.embedded.jars``::

    PYTHONPATH=src python scripts/lock_kafka.py

The broker's section contains ``kafka_2.13`` with its dependencies, and the logging bridge. The tools'
section contains the one additional jar that the benchmarks need; its other dependencies (Kafka Connect,
Jetty) are for commands that are not used here. A line holds coordinates, SHA-256 and the license that the
artifact's POM names. Review the diff before committing it, and run ``scripts/notices.py``.
"""

import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

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
            lines.append(f"{name} {sha256_of(path)} {read_license(context, group, artifact, version)}")
            print(lines[-1], file=sys.stderr)
    return lines


def read_license(context: MavenContext, group: str, artifact: str, version: str) -> str:
    """Return the licenses that a POM names, or the nearest of its parents that names any."""
    while True:
        pom = context.project(group, artifact).at_version(version).artifact(packaging="pom").resolve()
        root = ElementTree.parse(pom).getroot()  # noqa: S314 - of Maven Central, by https
        namespace = root.tag.partition("}")[0] + "}" if "}" in root.tag else ""
        licenses = root.findall(f"{namespace}licenses/{namespace}license/{namespace}name")
        if licenses:
            return " OR ".join(" ".join((each.text or "").split()) for each in licenses)
        parent = root.find(f"{namespace}parent")
        if parent is None:
            raise SystemExit(f"{group}:{artifact}:{version} names no license.")
        names = ("groupId", "artifactId", "version")
        group, artifact, version = (parent.findtext(f"{namespace}{name}", "") for name in names)


if __name__ == "__main__":
    main()
