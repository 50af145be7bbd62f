"""Start the JVM on a formatted folder and wait for the broker; class archives speed this up."""

import contextlib
import hashlib
import os
import re
import shutil
import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from tickerlake.errors import SetupError
from tickerlake.kafka.embedded import jars, process
from tickerlake.kafka.embedded.files import BrokerState, Layout, read_cluster_id
from tickerlake.kafka.embedded.java import Java
from tickerlake.ports import LOOPBACK

_POLL_S = 0.02  # delay of the start against CPU load
_LEADERS_TIMEOUT_S = 30.0  # a partition whose files are damaged never has one
_PORT_TAKEN = "Address already in use"
_CAUSES = (
    (_PORT_TAKEN, "another program took its port", "Run the command again."),
    ("No space left on device|Disk quota exceeded", "its disk is full", "Free disk space."),
    ("Permission denied|AccessDenied", "it may not write its files", "Check their permissions and owner."),
    ("Read-only file system", "its disk is read-only", "Choose another folder with --data-dir."),
    (
        "Could not reserve enough space|insufficient memory|Cannot allocate memory",
        "there is not enough memory",
        "Stop other programs.",
    ),
)
"""What the log says of causes that users can remove, and what to tell them."""
_LOG_LINES = 12  # per log, enough for the causes of an exception
_ARCHIVE_NAME = re.compile(r"classes-[0-9a-f]{16}\.jsa")


def launch(
    layout: Layout, jvm: process.Jvm, port: int, timeout_s: float, *, temporary: bool = False
) -> BrokerState:
    """Start the JVM and wait until the broker answers; kill a broker that does not."""
    initial_state = BrokerState(port, 0, temporary=temporary)
    archive = ClassArchive(jvm.java)
    read_options = archive.read_options()
    if read_options is not None:
        try:
            return _attempt(layout, jvm, initial_state, read_options, timeout_s)
        except BrokerExitedError as error:
            if not read_options or error.has_known_cause:
                raise
            # The archive may be to blame: retry without it, and replace it if that succeeds.
    initial_state = replace(initial_state, training=archive.path.name)
    state = _attempt(layout, jvm, initial_state, archive.write_options(layout), timeout_s)
    archive.path.unlink(missing_ok=True)
    return state


def wait_ready(layout: Layout, pid: int, port: int, timeout_s: float, log_start: int = 0) -> None:
    """Wait until the broker of this folder answers on the port and its partitions have leaders.

    Parameters
    ----------
    layout, pid, port
        The broker.
    timeout_s
        How long it may take.
    log_start
        Where in its log this start began.

    Raises
    ------
    BrokerExitedError
        If its process has exited.
    SetupError
        If it does not answer in time.
    """
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    expected = read_cluster_id(layout)
    started = time.monotonic()
    deadline = started + timeout_s
    # "log_level" 0: refused connections are expected at first and not worth a line on stderr
    settings: dict[str, Any] = {
        "bootstrap.servers": f"{LOOPBACK}:{port}",
        "log_level": 0,
        "error_cb": lambda _error: None,
    }
    while process.is_broker(pid, layout):
        if time.monotonic() > deadline:
            raise SetupError(
                f"The broker did not answer within {timeout_s:.0f} s.{_log_excerpt(layout)}",
                _log_hint(layout),
            )
        if _accepts_connections(port):
            with contextlib.suppress(KafkaException):
                answer = AdminClient(settings).list_topics(timeout=2)
                if (
                    str(answer.cluster_id) == expected
                    and answer.brokers
                    and (_all_have_leaders(answer) or time.monotonic() > started + _LEADERS_TIMEOUT_S)
                ):
                    return
        time.sleep(_POLL_S)
    raise _exit_error(layout, log_start)


class ClassArchive:
    """An archive of loaded classes (AppCDS, or an AOT cache) that makes the next start faster.

    The JVM writes it at the first clean shutdown, which then takes some seconds longer. It is optional: the
    JVM ignores an archive that does not match, and `launch` removes one that a start has failed with.

    Parameters
    ----------
    java
        The Java runtime that reads and writes it.
    """

    def __init__(self, java: Java) -> None:
        key = f"{java.path.resolve()}\n{jars.LOCK_FILE.read_text(encoding='utf-8')}\n"
        with contextlib.suppress(OSError):
            key += (java.path.resolve().parent.parent / "release").read_text(encoding="utf-8")
        # Java 24 has AOT caches too, but needs two runs to create one: -XX:AOTCacheOutput came with 25
        self._is_aot_cache = java.major >= 25
        self.path = jars.cache_dir() / f"classes-{hashlib.sha256(key.encode()).hexdigest()[:16]}.jsa"

    def read_options(self) -> list[str] | None:
        """Return the JVM options to read the archive; None if there is none yet."""
        try:
            if self.path.stat().st_size == 0:
                return []  # this machine takes too long to write one, see `save_archive`
        except OSError:
            return None
        return [f"-XX:AOTCache={self.path}"] if self._is_aot_cache else [f"-XX:SharedArchiveFile={self.path}"]

    def write_options(self, layout: Layout) -> list[str]:
        """Return the JVM options to write the archive at exit."""
        option = "AOTCacheOutput" if self._is_aot_cache else "ArchiveClassesAtExit"
        return [f"-XX:{option}={_new_archive(layout)}"]


def _new_archive(layout: Layout) -> Path:
    return layout.scratch / "classes.jsa"


def save_archive(layout: Layout, training: str, exited_cleanly: bool) -> None:
    """Move the archive of a training run into the cache, or an empty file, which prevents further attempts.

    Parameters
    ----------
    layout
        The broker's files.
    training
        `BrokerState.training`.
    exited_cleanly
        Whether the JVM had the time to finish the archive.
    """
    if not _ARCHIVE_NAME.fullmatch(training):
        return
    source, target = _new_archive(layout), jars.cache_dir() / training
    with contextlib.suppress(OSError):
        if not target.exists():
            staged = target.with_suffix(f".{os.getpid()}")
            if exited_cleanly:
                if source.is_symlink() or source.parent.is_symlink() or not source.is_file():
                    return
                shutil.copyfile(source, staged)
            else:
                staged.touch()
            staged.replace(target)


class BrokerExitedError(SetupError):
    """The process exited before the broker answered.

    Attributes
    ----------
    has_known_cause
        Whether the message names the cause, instead of the end of the log.
    port_taken
        Whether one of its ports was in use.
    """

    def __init__(self, message: str, hint: str, *, has_known_cause: bool, port_taken: bool) -> None:
        super().__init__(message, hint)
        self.has_known_cause = has_known_cause
        self.port_taken = port_taken


def _attempt(
    layout: Layout, jvm: process.Jvm, state: BrokerState, options: list[str], timeout_s: float
) -> BrokerState:
    log_start = layout.log.stat().st_size if layout.log.exists() else 0
    pid = process.spawn(layout, jvm, options)
    try:
        state = replace(state, pid=pid)
        state.save(layout)
        wait_ready(layout, pid, state.port, timeout_s, log_start)
    except BaseException:
        process.kill(pid, layout)
        raise
    return state


def _all_have_leaders(metadata: Any) -> bool:
    # a broker that has just restarted elects them one after the other
    return all(
        partition.leader >= 0 for topic in metadata.topics.values() for partition in topic.partitions.values()
    )


def _exit_error(layout: Layout, log_start: int) -> BrokerExitedError:
    text = _log_text(layout.output, 0) + _log_text(layout.log, log_start)
    for pattern, cause, remedy in _CAUSES:
        if re.search(pattern, text):
            return BrokerExitedError(
                f"The broker exited during startup: {cause} ({layout.root}).",
                f"{remedy} {_log_hint(layout)}",
                has_known_cause=True,
                port_taken=pattern == _PORT_TAKEN,
            )
    return BrokerExitedError(
        f"The broker exited during startup.{_log_excerpt(layout)}",
        _log_hint(layout),
        has_known_cause=False,
        port_taken=False,
    )


def _log_text(path: Path, start: int) -> str:
    try:
        logged = path.read_bytes()
    except OSError:
        return ""
    # the log starts anew when it has become too long
    return logged[start if start <= len(logged) else 0 :].decode(errors="replace")


def _accepts_connections(port: int) -> bool:
    # connect, do not bind: a trial bind could take the port just when the broker needs it
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True


def _log_excerpt(layout: Layout) -> str:
    excerpt: list[str] = []
    for path in (layout.output, layout.log):
        if path.exists():
            logged = path.read_text(encoding="utf-8", errors="replace").splitlines()
            # causes only, without the forty stack frames below each
            excerpt += [line for line in logged if not line.startswith("\tat ")][-_LOG_LINES:]
    return "".join(f"\n  {line}" for line in excerpt) + "\n"


def _log_hint(layout: Layout) -> str:
    return f"See the full log in {layout.log} and {layout.output}."
