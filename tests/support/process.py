"""The command line as a child process, as a user runs it."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType


class Child(subprocess.Popen[str]):
    """A command that is killed if its test fails."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.kill()
        super().__exit__(kind, error, trace)


def tickerlake(
    *arguments: object,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdout: int = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
    closed_stream: int | None = None,
) -> Child:
    """Start a command, with additional environment variables, or with one of its streams closed."""
    child_env = {name: value for name, value in os.environ.items() if not name.startswith("COV_")}
    child_env |= env or {}
    return Child(
        [sys.executable, "-c", "from tickerlake.cli.app import main; main()", *map(str, arguments)],
        stdout=stdout,
        stderr=stderr,
        text=True,
        cwd=cwd,
        env=child_env,
        preexec_fn=None if closed_stream is None else lambda: os.close(closed_stream),
    )


def run(*arguments: object, exit_code: int = 0, cwd: Path | None = None) -> tuple[str, str]:
    """Run a command to its end, check its exit code, and return its stdout and stderr."""
    with tickerlake(*arguments, cwd=cwd) as child:
        out, err = child.communicate(timeout=120)
    assert child.returncode == exit_code, f"exit {child.returncode}\n{out}\n{err}"
    return out, err


def wait_until(
    condition: Callable[[], bool], child: "subprocess.Popen[str] | None" = None, timeout_s: float = 60
) -> float:
    """Wait until ``condition()`` holds or the child exits; return the time that took, in seconds."""
    sleeper = threading.Event()
    started_s = time.monotonic()
    while not condition():
        if child is not None and child.poll() is not None:
            break
        assert time.monotonic() - started_s < timeout_s, (
            f"the condition did not hold within {timeout_s:.0f} s"
        )
        sleeper.wait(0.01)
    return time.monotonic() - started_s


def is_halted(pid: int) -> bool:
    """Return whether a process is stopped by SIGSTOP."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def peak_mb(pid: int) -> float:
    """Return the peak memory of a running process."""
    return proc_status(pid, "VmHWM") / 1024


def proc_status(pid: int, name: str) -> int:
    """Return a value of ``/proc/<pid>/status``; memory is in kB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
