"""The jars of the embedded Kafka: pinned in ``kafka.lock``, downloaded once, verified by SHA-256."""

import fcntl
import hashlib
import json
import logging
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from tickerlake.config import CACHE_VARIABLE
from tickerlake.durable import atomic_write_bytes
from tickerlake.errors import SetupError

KAFKA_VERSION = "4.3.1"
LOCK_FILE = Path(__file__).with_name("kafka.lock")
TOOLS_MARKER = "# tools"
_DOWNLOAD_THREADS = 8  # many files, most of them small: hides the latency of each request
_DOWNLOAD_TIMEOUT_S = 20

ProgressCallback = Callable[[str], None]


@dataclass(frozen=True)
class Jar:
    """One pinned artifact.

    Parameters
    ----------
    group, artifact, version
        Its Maven coordinates.
    sha256
        Its checksum in hexadecimal.
    """

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def filename(self) -> str:
        """The file name, the same in every Maven repository."""
        return f"{self.artifact}-{self.version}.jar"

    @property
    def coordinates(self) -> str:
        """``group:artifact:version``."""
        return f"{self.group}:{self.artifact}:{self.version}"


def pinned_jars(tools: bool = False) -> list[Jar]:
    """Read the broker's jars from the lock file, optionally with those of Kafka's command-line tools."""
    jars: list[Jar] = []
    for line in LOCK_FILE.read_text(encoding="utf-8").splitlines():
        if line.startswith(TOOLS_MARKER) and not tools:
            break
        if line and not line.startswith("#"):
            coordinates, sha256, *_license = line.split(maxsplit=2)
            group, artifact, version = coordinates.split(":")
            jars.append(Jar(group, artifact, version, sha256))
    return jars


def cache_dir() -> Path:
    """Return the folder of files that can be downloaded or created again (``TICKERLAKE_CACHE``)."""
    override = os.environ.get(CACHE_VARIABLE)
    root = Path(override).expanduser().absolute() if override else user_cache_path("tickerlake")
    return root / f"kafka-{KAFKA_VERSION}"


def classpath(tools: bool = False, progress: ProgressCallback | None = None) -> list[Path]:
    """Return the verified jars; download those that are missing or damaged.

    Parameters
    ----------
    tools
        Whether to add the jars of Kafka's command-line tools.
    progress
        Called with a line of text during downloads.

    Raises
    ------
    SetupError
        If a jar cannot be downloaded, or does not match its pinned checksum.
    """
    folder = cache_dir()
    jars = pinned_jars(tools)
    if not _unverified(folder, jars):
        return [folder / jar.filename for jar in jars]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with exclusive_lock(folder / "fetch.lock"):
            stamp = _read_stamp(folder)
            missing: list[Jar] = []
            for jar in _unverified(folder, jars):
                path = folder / jar.filename
                if path.is_file() and sha256_of(path) == jar.sha256:
                    stamp[jar.filename] = _file_stamp(jar, path)
                else:
                    path.unlink(missing_ok=True)
                    missing.append(jar)
            if missing:
                _fetch_all(folder, missing, progress or (lambda _line: None))
                stamp |= {jar.filename: _file_stamp(jar, folder / jar.filename) for jar in missing}
            atomic_write_bytes(folder / "stamp.json", json.dumps(stamp, indent=0).encode())
    except OSError as error:
        raise SetupError(
            f"The cache folder {folder} cannot be used: {error}.",
            f"Free disk space, or set {CACHE_VARIABLE} to a writable folder.",
        ) from error
    return [folder / jar.filename for jar in jars]


def repair_cache(progress: ProgressCallback | None = None) -> bool:
    """Replace the jars of the cache whose checksums are wrong; return whether there were any."""
    folder = cache_dir()
    damaged = [jar for jar in pinned_jars() if sha256_of(folder / jar.filename) != jar.sha256]
    for jar in damaged:
        (folder / jar.filename).unlink()
    classpath(progress=progress)
    return bool(damaged)


@contextmanager
def exclusive_lock(path: Path) -> Iterator[None]:
    """Hold an inter-process lock; the system releases it when the process exits, even if it is killed."""
    try:
        # neither through a link out of the folder, nor into a pipe, which would block
        descriptor = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666
        )
    except OSError as error:
        raise SetupError(
            f"{path} cannot be locked: {error.strerror}.", "Remove it if it is not a file of its own."
        ) from error
    with os.fdopen(descriptor, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _file_stamp(jar: Jar, path: Path) -> list[str | int]:
    """Return the properties of a verified file; while they are unchanged, it still counts as verified."""
    stat = path.stat()
    return [jar.sha256, stat.st_size, stat.st_mtime_ns]


def _read_stamp(folder: Path) -> dict[str, list[str | int]]:
    try:
        stamp = json.loads((folder / "stamp.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def _unverified(folder: Path, jars: list[Jar]) -> list[Jar]:
    stamp = _read_stamp(folder)
    unverified = []
    for jar in jars:
        try:
            if stamp.get(jar.filename) == _file_stamp(jar, folder / jar.filename):
                continue
        except OSError:
            pass
        unverified.append(jar)
    return unverified


def _fetch_all(folder: Path, jars: list[Jar], progress: ProgressCallback) -> None:
    progress(f"Downloading Apache Kafka {KAFKA_VERSION}: {len(jars)} jars, once")
    unreachable = threading.Event()
    causes: list[Exception] = []
    missing: list[Jar] = []

    def fetch(jar: Jar) -> None:
        # without a network, do not wait for a timeout per jar
        if unreachable.is_set():
            missing.append(jar)
            return
        try:
            _fetch(folder, jar)
        except SetupError:
            raise
        except Exception as error:  # jgo passes on any error of its HTTP client
            unreachable.set()
            causes.append(error)
            missing.append(jar)

    with ThreadPoolExecutor(_DOWNLOAD_THREADS, thread_name_prefix="jars") as pool:
        for done, _ in enumerate(pool.map(fetch, jars), start=1):
            if done % 10 == 0 or done == len(jars):
                progress(f"Downloading Apache Kafka {KAFKA_VERSION}: {done} of {len(jars)} jars")
    if missing:
        names = "".join(f"\n  {jar.filename}  ({jar.coordinates})" for jar in missing)
        cause = (str(causes[0]).strip() or type(causes[0]).__name__).splitlines()[0]
        raise SetupError(
            f"{len(missing)} jars of Apache Kafka {KAFKA_VERSION} cannot be downloaded: {cause}",
            f"Check the network and run the command again, or put these files into {folder}:{names}",
        ) from causes[0]


def _fetch(folder: Path, jar: Jar) -> None:
    """Download one jar; on a wrong checksum, retry without the local repository, then fail."""
    actual_sha256 = ""
    for use_local_repo in (True, False):
        with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as temp_dir:
            path = _resolve(jar, Path(temp_dir), use_local_repo)
            actual_sha256 = sha256_of(path)
            if actual_sha256 == jar.sha256:
                _install(path, folder / jar.filename, Path(temp_dir))
                return
    raise SetupError(
        f"{folder / jar.filename} ({jar.coordinates}) does not match its pinned checksum: "
        f"expected SHA-256 {jar.sha256}, got {actual_sha256}.",
        "A proxy or mirror may be changing files; put the right file there by hand.",
    )


def _resolve(jar: Jar, temp_dir: Path, use_local_repo: bool) -> Path:
    """Find a jar in the user's local Maven repository, or download it into a private folder."""
    logging.getLogger("jgo").setLevel(logging.CRITICAL + 1)  # `_fetch` verifies the pinned checksums
    from jgo.config import GlobalSettings
    from jgo.maven import MavenContext

    settings = GlobalSettings.load()
    context = MavenContext(
        repo_cache=temp_dir,
        local_repos=[settings.repo_cache] if use_local_repo else [],
        timeout=_DOWNLOAD_TIMEOUT_S,
    )
    # a mirror that the user has configured for jgo comes first
    context.remote_repos = {**settings.repositories, **context.remote_repos}
    component = context.project(jar.group, jar.artifact).at_version(jar.version)
    return component.artifact().resolve()


def _install(source: Path, target: Path, temp_dir: Path) -> None:
    staged = temp_dir / "staged.jar"
    try:
        staged.hardlink_to(source)
    except OSError:
        staged.write_bytes(source.read_bytes())
    staged.replace(target)
