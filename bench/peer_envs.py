"""Separate environments for the peers: Quix Streams needs another version of Kafka's client."""

import hashlib
import re
import subprocess
import venv
from pathlib import Path

from tickerlake.kafka.embedded import jars

REQUIREMENTS = Path(__file__).parent.parent / "requirements"
CACHE_DIR = jars.cache_dir().parent / "bench-peers"
SPARK_JARS = {
    "org.apache.spark:spark-sql-kafka-0-10_2.13:4.2.0": (
        "64539c45e5d39f7ddb747312c239f38f5208d08c1a0ddf7d70beb2fbd9373705"
    ),
    "org.apache.spark:spark-token-provider-kafka-0-10_2.13:4.2.0": (
        "641c7947afc8aa1189e433b7c2d305293993c8691bc1c2062d6d4f513b12518c"
    ),
    "org.apache.commons:commons-pool2:2.12.1": (
        "5273c8bc8c0dca2211175c0d27efbd7228efae99689aac001a8e1ef8e872e9ef"
    ),
    "org.apache.kafka:kafka-clients:3.9.1": (
        "7568b998572d256f0b7bc0afdc1b7a2588b8b08415c62ce314c864a6851ae9d9"
    ),
}


class PeerUnavailable(Exception):
    """The peers cannot be installed."""


def peer_python(name: str = "peers", size_mb: int = 700) -> Path:
    """Return an interpreter with the peers of a requirements file, installed first if needed."""
    requirements, folder = REQUIREMENTS / f"{name}.txt", CACHE_DIR.with_name(f"bench-{name}")
    stamp, digest = folder / "stamp", hashlib.sha256(requirements.read_bytes()).hexdigest()
    binary = folder / "venv" / "bin" / "python"
    if not stamp.is_file() or stamp.read_text() != digest:
        print(f"installing the {name} (once, {size_mb} MB) …", flush=True)
        venv.create(folder / "venv", with_pip=True, clear=True)
        pip = (binary, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes")
        try:
            subprocess.run([*pip, "-r", requirements], check=True)
        except subprocess.CalledProcessError as error:
            raise PeerUnavailable("pip cannot install them") from error
        stamp.write_text(digest)
    return binary


def pinned_version(package: str, name: str) -> str:
    """Return a package's version in a requirements file."""
    match = re.search(rf"^{package}==(\S+)", (REQUIREMENTS / f"{name}.txt").read_text(), re.MULTILINE)
    assert match, f"{name}.txt has no {package}"
    return match[1]


def spark_jars() -> list[Path]:
    """Return Spark's Kafka connector and its dependencies."""
    from jgo.config import GlobalSettings
    from jgo.maven import MavenContext

    context = MavenContext(repo_cache=CACHE_DIR / "maven", timeout=20)
    context.remote_repos = {**GlobalSettings.load().repositories, **context.remote_repos}
    paths = []
    for coordinates, sha256 in SPARK_JARS.items():
        group, artifact, version = coordinates.split(":")
        try:
            path = context.project(group, artifact).at_version(version).artifact().resolve()
        except Exception as error:  # whatever the HTTP client raises
            raise PeerUnavailable(f"{coordinates}: {error}") from error
        assert jars.sha256_of(path) == sha256, f"{path} is not the file that was pinned"
        paths.append(path)
    return paths
