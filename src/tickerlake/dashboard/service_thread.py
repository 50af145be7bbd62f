"""A thread that must live as long as the server: if it ends, it is restarted, and the page says so."""

import logging
import threading
from collections.abc import Callable
from typing import Final

from tickerlake import clock
from tickerlake.model.duration import SECOND_NS, format_duration

_log: Final = logging.getLogger(__name__)
_FIRST_BACKOFF_S: Final = 1.0
_MAX_BACKOFF_S: Final = 60.0
_RECOVERED_AFTER_S: Final = 30.0
"""Until then a restarted thread may end again for the same reason, so the problem is still reported."""


class ServiceThread:
    """Runs a function in a thread, and again with backoff whenever it raises an error.

    Parameters
    ----------
    name
        What it does, for messages: ``reading of records``.
    run
        Runs until the event is set.
    on_change
        Called in the thread when `problem` changes.
    first_backoff_s
        The pause before the first restart; it doubles with each further one.

    Attributes
    ----------
    restarts
        How often the function ended with an error.
    """

    def __init__(
        self,
        name: str,
        run: Callable[[threading.Event], None],
        on_change: Callable[[], None] = lambda: None,
        first_backoff_s: float = _FIRST_BACKOFF_S,
    ) -> None:
        self.name = name
        self.restarts = 0
        self._run = run
        self._on_change = on_change
        self._first_backoff_s = first_backoff_s
        self._failure = ""
        self._failed_s = 0.0
        self._is_running = False
        self._thread: threading.Thread | None = None

    def start(self, stop: threading.Event) -> None:
        """Start the thread; it ends when ``stop`` is set."""
        self._is_running = True
        self._thread = threading.Thread(target=self._run_until_stopped, args=[stop], name=self.name)
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait until the thread has ended."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    @property
    def problem(self) -> str:
        """What is wrong, in one sentence; empty if nothing is."""
        age_s = clock.monotonic_s() - self._failed_s
        if not self._failure or (self._is_running and age_s > _RECOVERED_AFTER_S):
            return ""
        ago = format_duration(age_s * SECOND_NS)
        state = "and was restarted" if self._is_running else "and will be restarted"
        return f"The {self.name} stopped {ago} ago ({self._failure}) {state}."

    def _run_until_stopped(self, stop: threading.Event) -> None:
        backoff_s = self._first_backoff_s
        while not stop.is_set():
            started_s = clock.monotonic_s()
            self._is_running = True
            try:
                self._run(stop)
            except BaseException as error:  # a Polars panic is not an `Exception`
                _log.exception("The %s stopped and will be restarted.", self.name)
                self._failure = f"{type(error).__name__}: {error}"[:300]
                self._failed_s, self._is_running = clock.monotonic_s(), False
                self.restarts += 1
                self._on_change()
                if self._failed_s - started_s > _MAX_BACKOFF_S:
                    backoff_s = self._first_backoff_s
                stop.wait(backoff_s)
                backoff_s = min(_MAX_BACKOFF_S, 2 * backoff_s)
