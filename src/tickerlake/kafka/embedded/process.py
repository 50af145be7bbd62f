"""The child process of the embedded broker: start, identify and stop it."""

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
from tickerlake.kafka.embedded.java import Java, child_environment

MAIN_CLASS = "kafka.Kafka"
_POLL_S = 0.02
_KILL_TIMEOUT_S = 10
_PROC = Path("/proc")
# brokers started by this process: only the parent can reap a child that has exited
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class Jvm:
    """The Java runtime, class path and heap size of a broker."""

    java: Java
    classpath: str
    heap: str


def spawn(layout: Layout, jvm: Jvm, archive_options: list[str]) -> int:
    """Start the JVM in a new session and return its process id."""
    shutil.rmtree(layout.scratch, ignore_errors=True)
    layout.scratch.mkdir()
    command = [
        str(jvm.java.path),
        f"-Xmx{jvm.heap}",
        "-XX:+UseSerialGC",
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:-UsePerfData",
        "-Xlog:disable",  # else it prints each class that an archive cannot hold
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
                # Ctrl-C in the terminal must not stop the broker, which the commands still need to finish
                start_new_session=True,
                env=child_environment(),
                umask=0o077,
            )
    except OSError as error:
        raise SetupError(
            f"{jvm.java.path} cannot be run: {error}.", "Set JAVA_HOME to a working Java."
        ) from error
    _children[child.pid] = child
    return child.pid


def is_broker(pid: int, layout: Layout) -> bool:
    """Whether a process is the broker of this data folder, and not another one that reuses its id."""
    child = _children.get(pid)
    # not by the command line, which is empty just after the start and just before the exit
    return _is_running(child) if child else _is_broker_command(_command_line(pid), layout)


def wait_for_exit(pid: int, layout: Layout, timeout_s: float) -> bool:
    """Wait until the process has exited; return whether it has in time."""
    deadline = time.monotonic() + timeout_s
    while not _has_exited(pid, layout):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def terminate(pid: int, layout: Layout, timeout_s: float) -> bool:
    """Stop the broker, and kill it after the timeout; return whether it exited by itself."""
    if not is_broker(pid, layout):
        return True
    _send_signal(pid, signal.SIGTERM)
    _send_signal(pid, signal.SIGCONT)  # a paused process handles SIGTERM only once it runs again
    if wait_for_exit(pid, layout, timeout_s):
        return True
    kill(pid, layout)
    return False


def kill(pid: int, layout: Layout) -> None:
    """Kill the broker without warning (SIGKILL) and wait until it has exited."""
    if is_broker(pid, layout):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # the whole group: a child may be writing the class archive
        if not wait_for_exit(pid, layout, _KILL_TIMEOUT_S):
            raise SetupError(f"Process {pid} does not exit.", "It is stuck in the kernel: check its disk.")


def kill_strays(layout: Layout) -> None:
    """Kill brokers of this folder that its state does not name: the command that started them was killed."""
    for pid in _process_ids():
        if _is_broker_command(_command_line(pid), layout):
            kill(pid, layout)


def pause(pid: int) -> None:
    """Suspend the process (SIGSTOP), as a long garbage collection would."""
    os.kill(pid, signal.SIGSTOP)


def resume(pid: int) -> None:
    """Continue a paused process (SIGCONT)."""
    os.kill(pid, signal.SIGCONT)


def _is_running(child: subprocess.Popen[bytes]) -> bool:
    if child.poll() is None:
        return True
    _children.pop(child.pid, None)
    return False


def _is_broker_command(command: str, layout: Layout) -> bool:
    return MAIN_CLASS in command and str(layout.config) in command


def _has_exited(pid: int, layout: Layout) -> bool:
    """Whether a process that was the broker has released its files and its port."""
    child = _children.get(pid)
    if child:
        return not _is_running(child)
    command = _command_line(pid)
    if command or not (_PROC / "self/cmdline").exists():
        return not _is_broker_command(command, layout)
    try:  # exiting, or a zombie that is not reaped: its files are closed when only one thread is left
        return len(list((_PROC / str(pid) / "task").iterdir())) <= 1 and _is_zombie(pid)
    except OSError:
        return True


def _is_zombie(pid: int) -> bool:
    stat = (_PROC / str(pid) / "stat").read_text(errors="replace")
    return stat.rpartition(")")[2].split()[0] in {"Z", "X"}


def _process_ids() -> list[int]:
    if (_PROC / "self/cmdline").exists():
        return [int(path.name) for path in _PROC.glob("[0-9]*")]
    result = subprocess.run(["ps", "-ax", "-o", "pid="], capture_output=True, text=True, check=False)
    return [int(pid) for pid in result.stdout.split()]


def _command_line(pid: int) -> str:
    """Return the command line of a process; empty if it does not exist or has exited."""
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
