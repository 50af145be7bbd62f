"""The child process of the embedded broker: start it, recognise it, end it."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tickerlake.errors import SetupError
from tickerlake.kafka.embedded.files import Layout
from tickerlake.kafka.embedded.java import Java

MAIN_CLASS = "kafka.Kafka"
_POLL_S = 0.02
_PROC = Path("/proc")
# Brokers started here, kept because only the parent can reap a child that has ended.
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class Jvm:
    """What a broker's JVM is started with."""

    java: Java
    classpath: str
    heap: str


def spawn(layout: Layout, jvm: Jvm, archive_options: list[str]) -> int:
    """Start the JVM in a session of its own and return its id."""
    shutil.rmtree(layout.scratch, ignore_errors=True)
    layout.scratch.mkdir()
    command = [
        str(jvm.java.path),
        f"-Xmx{jvm.heap}",
        "-XX:+UseSerialGC",
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:-UsePerfData",
        "-Xlog:disable",  # else it tells of each class that an archive cannot hold
        "-Xlog:all=error:stderr",
        f"-XX:ErrorFile={layout.root / 'crash-%p.log'}",
        *archive_options,
        "-Djava.awt.headless=true",
        "-Djava.net.preferIPv4Stack=true",
        f"-Djava.io.tmpdir={layout.scratch}",
        f"-Dlog4j2.configurationFile={layout.log4j.as_uri()}",
        "-cp",
        jvm.classpath,
        MAIN_CLASS,
        str(layout.config),
    ]
    try:
        with layout.output.open("wb") as output:
            child = subprocess.Popen(
                command,
                cwd=layout.root,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C in the terminal must reach the sink, which then still needs a broker.
                start_new_session=True,
            )
    except OSError as error:
        raise SetupError(
            f"{jvm.java.path} cannot be run: {error}.", "Set JAVA_HOME to a working Java."
        ) from error
    _children[child.pid] = child
    return child.pid


def is_broker(pid: int, layout: Layout) -> bool:
    """Whether this process is the broker of this data folder, and not one that inherited its id."""
    child = _children.get(pid)
    # Not by its command line, which is empty for a moment after the start and before the end.
    return _is_running(child) if child else _is_broker_command(_command_line(pid), layout)


def wait_for_exit(pid: int, layout: Layout, timeout_s: float) -> bool:
    """Wait until the process has ended; false if it has not in time."""
    deadline = time.monotonic() + timeout_s
    while not _has_exited(pid, layout):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def terminate(pid: int, layout: Layout, timeout_s: float) -> bool:
    """End the broker, by force if it must be; whether it ended by itself."""
    if not is_broker(pid, layout):
        return True
    _send_signal(pid, signal.SIGTERM)
    _send_signal(pid, signal.SIGCONT)  # a paused process sees the first signal only when it runs again
    if wait_for_exit(pid, layout, timeout_s):
        return True
    kill(pid, layout)
    return False


def kill(pid: int, layout: Layout) -> None:
    """End the broker as a power cut would, and wait until it is gone."""
    if is_broker(pid, layout):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # its session: the JVM may be writing an archive in a child
        if not wait_for_exit(pid, layout, 10):
            raise SetupError(f"Process {pid} does not end.", "It is stuck in the kernel: look at its disk.")


def pause(pid: int) -> None:
    """Stop the process as a long garbage collection would."""
    os.kill(pid, signal.SIGSTOP)


def resume(pid: int) -> None:
    """Let a paused process go on."""
    os.kill(pid, signal.SIGCONT)


def _is_running(child: subprocess.Popen[bytes]) -> bool:
    if child.poll() is None:
        return True
    _children.pop(child.pid, None)
    return False


def _is_broker_command(command: str, layout: Layout) -> bool:
    return MAIN_CLASS in command and str(layout.config) in command


def _has_exited(pid: int, layout: Layout) -> bool:
    """Whether a process that was the broker has let go of its files and its port."""
    child = _children.get(pid)
    if child:
        return not _is_running(child)
    command = _command_line(pid)
    if command or not (_PROC / "self/cmdline").exists():
        return not _is_broker_command(command, layout)
    try:  # on its way out, or a zombie that nobody reaps: gone when the last thread is
        return len(list((_PROC / str(pid) / "task").iterdir())) <= 1 and _is_zombie(pid)
    except OSError:
        return True


def _is_zombie(pid: int) -> bool:
    stat = (_PROC / str(pid) / "stat").read_text(errors="replace")
    return stat.rpartition(")")[2].split()[0] in {"Z", "X"}


def _command_line(pid: int) -> str:
    """Return a process's command line, empty if there is none or it has ended."""
    if pid <= 0:
        return ""
    if (_PROC / "self/cmdline").exists():
        try:
            return (
                (_PROC / str(pid) / "cmdline")
                .read_bytes()
                .replace(b"\0", b" ")
                .decode(errors="surrogateescape")
            )
        except OSError:
            return ""
    result = subprocess.run(
        ["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return result.stdout


def _send_signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
