"""Options and manners that the verbs share."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tickerlake.analytics.calendars import SessionDates
    from tickerlake.sources.csv.detect.options import Options
    from tickerlake.sources.merged import MergedSource

BootstrapServers = Annotated[
    str,
    typer.Option(
        "--bootstrap-servers", "-b", help="Kafka's address.", envvar="TICKERLAKE_KAFKA__BOOTSTRAP_SERVERS"
    ),
]
Lake = Annotated[
    str, typer.Option("--lake", help="gs://bucket/prefix or a folder.", envvar="TICKERLAKE_LAKE")
]
Property = Annotated[
    list[str] | None,
    typer.Option("--property", "-X", help="Any librdkafka property, as name=value; may be repeated."),
]
Files = Annotated[
    list[str],
    typer.Argument(help="CSV files (plain, gz, zip, zst, bz2, xz), folders, patterns; - is standard input."),
]
Force = Annotated[bool, typer.Option("--force", help="Replace files that are there.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
LongestWait = Annotated[
    str | None,
    typer.Option(
        help="With --speed: pass over silences, such as nights, after so long: 2s.", show_default=False
    ),
]
Calendar = Annotated[
    str,
    typer.Option(
        help="Exchange of instruments that don't name theirs, such as XNYS (sessions, half days); or 24/7."
    ),
]
Project = Annotated[
    str, typer.Option(help="Project of Google Cloud.", envvar="GOOGLE_CLOUD_PROJECT", show_default=False)
]
Dataset = Annotated[str, typer.Option(help="Dataset of BigQuery.", show_default=False)]
LOCAL_BROKER = "127.0.0.1:9092"


def input_files(names: list[str], folder: Path) -> list[Path]:
    """Return the files that the arguments mean; standard input is laid out in a folder."""
    from tickerlake.errors import UsageError
    from tickerlake.sources.csv.chunks import spool_stdin
    from tickerlake.sources.merged import expand_paths

    if names.count("-") > 1:
        raise UsageError("- stands for standard input, and can be given once.", "Leave one out.")
    return expand_paths([str(spool_stdin(folder)) if name == "-" else name for name in names])


def open_files(
    paths: list[Path], options: "Options", status_line: "StatusLine", *, digest: bool = True
) -> "MergedSource":
    """Open files for reading, and say what is to be known about them."""
    from tickerlake.sources.merged import open_merged_source

    try:
        replay = open_merged_source(paths, options, digest=digest, byte_reporter=status_line.read_progress)
    finally:
        status_line.clear()
    for source in replay.sources:
        for warning in source.warnings:
            print_status(f"warning: {warning}")
    return replay


def librdkafka_properties(context: typer.Context, arguments: list[str] | None) -> dict[str, str]:
    """Return librdkafka's properties: those of the settings, and ``name=value`` pairs over them."""
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


def session_dates(calendar: str) -> "SessionDates":
    """Return what finds exchange days, and warns if for some instruments it can't."""
    from tickerlake.analytics.calendars import SessionDates

    return SessionDates(
        calendar,
        lambda: print_status(
            "warning: some instruments are of an unknown market: the days of their trades and alerts are "
            "those of UTC; --calendar XNYS, for example, gives them the sessions of New York."
        ),
    )


def parse_rate(text: str | None) -> float | None:
    """Return what ``--rate`` says, in rows a second."""
    return None if text is None else _parse_positive("--rate", text, "/s", "rows a second, for example 500/s")


def parse_speed(text: str) -> float | None:
    """Return what ``--speed`` says, in seconds of event time a second; None for the most."""
    return None if text == "max" else _parse_positive("--speed", text, "x", "max, 1x, 60x …")


def parse_longest_wait(text: str | None, speed: float | None) -> float | None:
    """Return what ``--longest-wait`` says, in seconds."""
    from tickerlake.errors import UsageError
    from tickerlake.model.duration import parse_duration_option

    if text is not None and speed is None:
        raise UsageError("--longest-wait is for --speed.", "Give both, or none.")
    return None if text is None else parse_duration_option(text, "--longest-wait") / 1e9


def _parse_positive(option: str, text: str, unit: str, expected: str) -> float:
    from math import isfinite

    from tickerlake.errors import UsageError

    try:
        number = float(text.removesuffix(unit))
    except ValueError:
        number = 0.0
    if not isfinite(number) or number <= 0:
        raise UsageError(f"{option} {text} is not understood.", f"Give {expected}.")
    return number


@contextmanager
def graceful_shutdown(message: str = "finishing what has been read …") -> Iterator[threading.Event]:
    """Give an event that the first SIGINT or SIGTERM sets; a second SIGINT ends at once."""
    stop = threading.Event()

    def request_stop(signum: int, _: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        print_status(f"stopping: {message}")

    previous_handlers = {
        number: signal.signal(number, request_stop) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        for number, handler in previous_handlers.items():
            signal.signal(number, handler)


def print_status(text: str) -> None:
    """One line for people, on stderr."""
    print(text, file=sys.stderr, flush=True)


def print_json(document: Any) -> None:
    """One JSON document for programs, on stdout."""
    import msgspec

    print(msgspec.json.encode(document).decode(), flush=True)


class StatusLine:
    """A status line on a terminal, nothing elsewhere."""

    def __init__(self) -> None:
        from tickerlake.clock import monotonic_s

        self._monotonic_s = monotonic_s
        self._is_terminal = sys.stderr.isatty()
        self._shown = ""
        self._next_update_s = 0.0
        self._samples = [(monotonic_s(), 0)]

    def rate(self, count: int) -> float:
        """Return by how much a running total grew a second, over the last seconds."""
        now_s = self._monotonic_s()
        if count < self._samples[-1][1]:
            self._samples = [(now_s, 0)]
        if now_s - self._samples[-1][0] >= 0.5:
            self._samples = [*self._samples[-10:], (now_s, count)]
        start_s, start_count = self._samples[0]
        return (count - start_count) / (now_s - start_s) if now_s > start_s else 0.0

    def read_progress(self, path: Path) -> Callable[[int], None]:
        """Return what shows how much of a file has been read."""
        size = max(1, path.stat().st_size) if path.is_file() else 1
        return lambda count: self.update(
            f"{path.name}: reading it once to see how, {min(1.0, count / size):.0%}"
        )

    def update(self, text: str) -> None:
        """Replace the line, ten times a second at most."""
        if self._is_terminal and text != self._shown and self._monotonic_s() >= self._next_update_s:
            print(f"\r\x1b[2K{text}", end="", file=sys.stderr, flush=True)
            self._shown, self._next_update_s = text, self._monotonic_s() + 0.1

    def clear(self) -> None:
        """Clear the line."""
        if self._is_terminal and self._shown:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)
            self._shown = ""
