"""How Ctrl-C (SIGINT) and SIGTERM end a command: with one line and 130 or 143, whatever it is doing.

A service that SIGTERM has stopped ends with 0 instead: supervisors consider everything else a failure.

- Before the command runs, nothing has to be cleaned up: the process ends at once.
- While it runs, a signal raises KeyboardInterrupt, or asks the command to finish what it holds (`stoppable`).
- After it, its exit code is settled: exit handlers and the interpreter's shutdown no longer change it.

The module only imports what is there within milliseconds, since until `run` is called Python itself handles
signals: with a traceback, or not at all.
"""

import _thread
import atexit
import os
import signal
import sys

TYPE_CHECKING = False  # importing `typing` takes longer than the rest of this module
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_WORDS = {signal.SIGINT: "Interrupted", signal.SIGTERM: "Terminated"}
_RETRY_S = 0.001
"""How soon an interruption is tried again that cannot be raised now: not noticeable, and no load."""


class _State:
    """What the handlers know about the process."""

    def __init__(self) -> None:
        self.running = False
        self.exit_code: int | None = None  # None until it is settled
        self.received = 0  # the first signal
        self.raised = False  # whether KeyboardInterrupt was raised
        self.reported = False  # whether a line about it was printed
        self.end_reported = False  # whether that was the last one
        self.block: stoppable | None = None
        self.is_service = False


_state = _State()


def run(command: "Callable[[], int]") -> None:
    """Run a command and end the process with its exit code, or with 130 or 143 if a signal ended it.

    Parameters
    ----------
    command
        Runs the command, prints its errors and returns its exit code.
    """
    # first, so that it is called last: what follows are only the destructors of the interpreter
    atexit.register(_exit)
    _install()
    sys.excepthook = _on_uncaught
    sys.unraisablehook = _on_unraisable
    _state.exit_code = _exit_code_of(command)
    sys.exit(_state.exit_code)


def _exit_code_of(command: "Callable[[], int]") -> int:
    try:
        try:
            code = command()
        except SystemExit as ending:
            code = ending.code if isinstance(ending.code, int) else 0 if ending.code is None else 1
        except BaseException:
            # libraries turn the KeyboardInterrupt raised within them into errors of their own
            if not _state.raised:
                raise
            code = 1
        if not _state.received or (_state.received == signal.SIGTERM and _state.is_service):
            return code
        _report_end()
    except KeyboardInterrupt:
        _report_end()
    return 128 + _state.received


def _install() -> None:
    for number in (*_SIGNALS, signal.SIGALRM):
        signal.signal(number, _on_signal)


def started() -> None:
    """From now on a signal raises KeyboardInterrupt in the main thread, so that the command cleans up."""
    _state.running = True


def was_raised() -> bool:
    """Whether KeyboardInterrupt was raised: then an error is a consequence of it."""
    return _state.raised


class stoppable:  # noqa: N801 - used like a function in a `with` statement
    """In this block, the first signal prints a line and calls a function; the second one interrupts.

    Parameters
    ----------
    request_stop
        Called in another thread: the main thread may hold a lock that it needs.
    message
        What the command does before it ends.
    is_service
        Whether the command runs until it is stopped.
    """

    def __init__(self, request_stop: "Callable[[], None]", message: str, *, is_service: bool) -> None:
        self.request_stop = request_stop
        self.message = message
        self.is_service = is_service

    def __enter__(self) -> None:
        # Polars has put its own handler in front of these, which would raise KeyboardInterrupt in this block
        _install()
        _state.block = self

    def __exit__(self, *_: object) -> None:
        _state.block = None


def _on_signal(number: int, frame: "FrameType | None") -> None:
    if _state.exit_code is not None:
        os._exit(_state.exit_code)
    if number in _SIGNALS:
        _state.received = _state.received or number
    if not _state.running:
        _report_end()
        os._exit(128 + _state.received)
    if _state.block:
        block, _state.block = _state.block, None
        _state.is_service = block.is_service
        _report(f"stopping: {block.message}")
        # not a `Thread`, whose start takes locks, too
        _thread.start_new_thread(block.request_stop, ())
    elif _is_indivisible(frame):
        signal.setitimer(signal.ITIMER_REAL, _RETRY_S)
    elif not _state.raised and isinstance(sys.exc_info()[1], KeyboardInterrupt):
        _state.raised = True  # by Polars, which handles signals, too: once more would interrupt the clean-up
    else:
        _state.raised = True
        raise KeyboardInterrupt


def _is_indivisible(frame: "FrameType | None") -> bool:
    """Whether an exception here would do harm that nothing can repair.

    Modules must not be left half imported: some suppress the exception, or turn it into an ImportError. A
    temporary folder or file must be either unmade or known to what deletes it, and a process to what stops
    it. Polars calls the constructor of a named tuple, such as that of a decimal's digits, and panics if it
    fails.
    """
    if frame is not None and (frame.f_code.co_filename, frame.f_code.co_name) == ("<string>", "<lambda>"):
        return True
    while frame is not None:
        file_name = frame.f_code.co_filename
        if file_name.startswith("<frozen importlib") or file_name.endswith("/tempfile.py"):
            return True
        if frame.f_code.co_name == "_execute_child" and file_name.endswith("/subprocess.py"):
            return True
        frame = frame.f_back
    return False


def _on_uncaught(kind: type[BaseException], error: BaseException, trace: "Any") -> None:
    if _state.received and issubclass(kind, KeyboardInterrupt):
        _report_end()
        os._exit(128 + _state.received)
    sys.__excepthook__(kind, error, trace)


def _on_unraisable(unraisable: "Any") -> None:
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        # raised in a destructor or callback, which cannot pass it on
        signal.setitimer(signal.ITIMER_REAL, _RETRY_S)
    else:
        sys.__unraisablehook__(unraisable)


def _report_end() -> None:
    # a retry can interrupt what follows the line, too
    if not _state.end_reported and (_state.raised or not _state.reported):
        _state.end_reported = True
        _report(
            f"tickerlake: {_WORDS[signal.Signals(_state.received)]}. Run the same command again to continue."
        )


def _report(line: str) -> None:
    # not `print`: the signal may have arrived in the middle of one, which cannot be entered twice
    _state.reported = True
    status_line_end = "\r\x1b[2K" if os.isatty(2) else ""
    try:
        os.write(2, f"{status_line_end}{line}\n".encode())
    except OSError:
        return  # the terminal is gone


def _exit() -> None:
    """End the process without the interpreter's shutdown, in which signals would kill it."""
    if _state.exit_code is None:
        return
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            continue  # it is closed
    os._exit(_state.exit_code)
