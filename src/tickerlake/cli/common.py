"""What several commands do alike: open files, parse durations and rates, stop, print."""

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tickerlake.cli.interrupt import stoppable

if TYPE_CHECKING:
    from tickerlake.analytics.calendars import SessionDates
    from tickerlake.sources.csv.detect.options import Options
    from tickerlake.sources.merged import MergedSource

DRAIN_MESSAGE = "finishing the records already read …"

_SAMPLE_S = 0.5
_SAMPLES = 10
"""Rates are averaged over the last five seconds: steady enough to read, recent enough to show a change."""

_REDRAW_S = 0.1
"""Ten redraws per second look continuous and cost next to nothing, also over a slow connection."""


def input_files(names: list[str], folder: Path) -> list[Path]:
    """Return the files that the arguments name; ``-`` is standard input, copied into a folder."""
    from tickerlake.errors import UsageError
    from tickerlake.sources.csv.chunks import spool_stdin
    from tickerlake.sources.merged import expand_paths

    if names.count("-") > 1:
        raise UsageError("Standard input (-) is given more than once.", "Give it once.")
    return expand_paths([str(spool_stdin(folder)) if name == "-" else name for name in names])


def open_files(
    paths: list[Path], options: "Options", status_line: "StatusLine", *, digest: bool = True
) -> "MergedSource":
    """Open files as one source merged by time, and print their warnings."""
    from tickerlake.sources.merged import open_merged_source

    try:
        source = open_merged_source(paths, options, digest=digest, byte_reporter=status_line.read_progress)
    finally:
        status_line.clear()
    for each in source.sources:
        for warning in each.warnings:
            print_status(f"warning: {warning}")
    return source


def librdkafka_properties(context: typer.Context, arguments: list[str] | None) -> dict[str, str]:
    """Return the librdkafka properties of the settings, overridden by ``name=value`` arguments."""
    from tickerlake.errors import UsageError

    pairs = {}
    for name, value in context.obj.kafka.properties.items():
        pairs[name] = str(value).lower() if isinstance(value, bool) else str(value)
    for text in arguments or []:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--property {name} has no value.", "Write it as name=value.")
        pairs[name.strip()] = value.strip()
    return pairs


def session_dates(context: typer.Context, calendar: str, *, notes: bool = True) -> "SessionDates":
    """Return the session dates of a calendar; with ``notes`` they print what the user should know of them."""
    from tickerlake.analytics.calendars import SessionDates

    on_note = (lambda note: print_status(f"note: {note}")) if notes else None
    return SessionDates(calendar, context.obj.calendar, on_note)


def print_unscheduled(totals: Mapping[str, tuple[int, int]]) -> None:
    """Print how many records were on how many days without a session, by market."""
    for mic, (records, days) in sorted(totals.items()):
        on = "1 day" if days == 1 else f"{days:,} days"
        print_status(f"  without a session: {records:,} records of {mic} on {on}")


def parse_rate(text: str | None) -> float | None:
    """Return ``--rate`` in rows per second."""
    return None if text is None else _parse_positive("--rate", text, "/s", "rows per second, such as 500/s")


def parse_speed(text: str) -> float | None:
    """Return ``--speed`` in seconds of event time per second; None for no limit."""
    return (
        None
        if text == "max"
        else _parse_positive("--speed", text, "x", "a factor, such as 1x or 60x, or max")
    )


def parse_longest_wait(text: str | None, speed: float | None) -> float | None:
    """Return ``--longest-wait`` in seconds."""
    from tickerlake.errors import UsageError
    from tickerlake.model.duration import parse_duration_option

    if text is not None and speed is None:
        raise UsageError("--longest-wait needs --speed.", "Use both or neither.")
    return None if text is None else parse_duration_option(text, "--longest-wait") / 1e9


def _parse_positive(option: str, text: str, unit: str, expected: str) -> float:
    from math import isfinite

    from tickerlake.errors import UsageError

    try:
        number = float(text.removesuffix(unit))
    except ValueError:
        number = 0.0
    if not isfinite(number) or number <= 0:
        raise UsageError(f"{option} {text} is not valid.", f"Use {expected}.")
    return number


@contextmanager
def graceful_shutdown(message: str = DRAIN_MESSAGE, *, is_service: bool = False) -> Iterator[threading.Event]:
    """Yield an event that the first SIGINT or SIGTERM sets; the second one interrupts at once.

    A service, which runs until it is stopped, ends with 0 if SIGTERM has stopped it.
    """
    stop = threading.Event()
    with stoppable(stop.set, message, is_service=is_service):
        yield stop


def print_status(text: str) -> None:
    """Print a human-readable line to stderr."""
    print(text, file=sys.stderr, flush=True)


def print_json(document: Any) -> None:
    """Print a JSON document to stdout."""
    import msgspec

    print(msgspec.json.encode(document).decode(), flush=True)


class StatusLine:
    """A status line that is redrawn in place; without a terminal it prints nothing."""

    def __init__(self) -> None:
        from tickerlake.clock import monotonic_s

        self._monotonic_s = monotonic_s
        self._is_terminal = sys.stderr.isatty()
        self._shown = ""
        self._next_update_s = 0.0
        self._samples = [(monotonic_s(), 0)]

    def rate(self, count: int) -> float:
        """Return the growth per second of a running total, averaged over about five seconds."""
        now_s = self._monotonic_s()
        if count < self._samples[-1][1]:
            self._samples = [(now_s, 0)]
        if now_s - self._samples[-1][0] >= _SAMPLE_S:
            self._samples = [*self._samples[-_SAMPLES:], (now_s, count)]
        start_s, start_count = self._samples[0]
        return (count - start_count) / (now_s - start_s) if now_s > start_s else 0.0

    def read_progress(self, path: Path) -> Callable[[int], None]:
        """Return a callback that shows how much of a file has been scanned."""
        size = max(1, path.stat().st_size) if path.is_file() else 1
        return lambda count: self.update(f"{path.name}: detecting the format, {min(1.0, count / size):.0%}")

    def update(self, text: str) -> None:
        """Replace the line, at most ten times per second."""
        if self._is_terminal and text != self._shown and self._monotonic_s() >= self._next_update_s:
            print(f"\r\x1b[2K{text}", end="", file=sys.stderr, flush=True)
            self._shown, self._next_update_s = text, self._monotonic_s() + _REDRAW_S

    def clear(self) -> None:
        """Clear the line."""
        if self._is_terminal and self._shown:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)
            self._shown = ""
