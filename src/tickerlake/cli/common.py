"""Options and manners that the verbs share."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

Bootstrap = Annotated[
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
Files = Annotated[list[Path], typer.Argument(help="CSV files, plain or gzip.")]
Symbol = Annotated[str | None, typer.Option(help="Symbol, where neither a column nor the name tells.")]
DateFormat = Annotated[str | None, typer.Option(help="Date order, for example %d-%m-%Y.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
LOCAL_BROKER = "127.0.0.1:9092"


def properties(context: typer.Context, given: list[str] | None) -> dict[str, str]:
    """Return librdkafka's properties: those of the settings, and ``name=value`` pairs over them."""
    from tickerlake.errors import UsageError

    pairs = {}
    for name, value in context.obj.kafka.properties.items():
        pairs[name] = str(value).lower() if isinstance(value, bool) else str(value)
    for text in given or []:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--property {name} has no value.", "Write it as name=value.")
        pairs[name.strip()] = value.strip()
    return pairs


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """Give an event that the first SIGINT or SIGTERM sets; a second SIGINT ends at once."""
    stop = threading.Event()

    def ask(signum: int, _: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        say("stopping: finishing what has been read …")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def say(text: str) -> None:
    """One line for people, on stderr."""
    print(text, file=sys.stderr, flush=True)


def emit(document: Any) -> None:
    """One JSON document for programs, on stdout."""
    import msgspec

    print(msgspec.json.encode(document).decode(), flush=True)


class Ticker:
    """A status line on a terminal, nothing elsewhere."""

    def __init__(self) -> None:
        from tickerlake.clock import monotonic_s

        self._now_s = monotonic_s
        self._live = sys.stderr.isatty()
        self._shown = ""
        self._next_s = 0.0
        self._marks = [(monotonic_s(), 0)]

    def rate(self, count: int) -> float:
        """Return by how much a running total grew a second, over the last seconds."""
        now_s = self._now_s()
        if count < self._marks[-1][1]:
            self._marks = [(now_s, 0)]
        if now_s - self._marks[-1][0] >= 0.5:
            self._marks = [*self._marks[-10:], (now_s, count)]
        since_s, before = self._marks[0]
        return (count - before) / (now_s - since_s) if now_s > since_s else 0.0

    def show(self, text: str) -> None:
        """Replace the line, ten times a second at most."""
        if self._live and text != self._shown and self._now_s() >= self._next_s:
            print(f"\r\x1b[2K{text}", end="", file=sys.stderr, flush=True)
            self._shown, self._next_s = text, self._now_s() + 0.1

    def end(self) -> None:
        """Clear the line."""
        if self._live and self._shown:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)
            self._shown = ""
