"""A seeded market → a file, a stream or a Kafka topic, with the truth about it in a file beside."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
import polars as pl

from tickerlake.errors import UsageError
from tickerlake.model.schema import TRADE
from tickerlake.pipeline.files import format_of, refuse_existing, whole, write_records
from tickerlake.pipeline.ingest import Ingest, Ingested
from tickerlake.sources.simulator.events import Label
from tickerlake.sources.simulator.market import Market

TRUTH: Final = ".truth.ndjson"
"""What the name of a file of labels has more than the name of the file of trades."""


class Stopped(Exception):
    """The user asked to stop before the end: nothing is kept."""


@dataclass(slots=True)
class Simulated:
    """How many trades were made so far, and how many labels of each kind."""

    trades: int = 0
    labels: Counter[str] = field(default_factory=Counter)


Show = Callable[[Simulated], None]


def write_file(
    market: Market, path: Path, truth: Path, stop: threading.Event, show: Show, *, force: bool = False
) -> Simulated:
    """Write a market and its labels to two files; none of them is there before both are whole.

    Parameters
    ----------
    path
        The file of trades, whose name says the format: :data:`tickerlake.pipeline.files.FORMATS`.
    truth
        The file of labels, one JSON object a line.
    force
        True to replace files that are there.

    Raises
    ------
    Stopped
        If ``stop`` was set before the end.
    UsageError
        If a file is there, or can't be written.
    """
    kind = format_of(path)
    if path.absolute() == truth.absolute():
        raise UsageError(f"{path} can't hold both the trades and the truth.", "Give --truth another name.")
    if not force:
        refuse_existing(path, truth)
    # the inner one takes its name first: where there are trades there is the truth about them
    with (
        whole(path, force=force) as draft,
        whole(truth, force=force) as told,
        draft.open("wb") as file,
        told.open("wb") as labels,
    ):
        return _write(market, file, kind, labels, stop, show)


def write_stream(
    market: Market, stream: BinaryIO, truth: Path | None, stop: threading.Event, show: Show, *, force: bool
) -> Simulated:
    """Write a market as newline-delimited JSON to a stream, and its labels to a file, if one is named."""
    if truth is None:
        return _write(market, stream, ".ndjson", None, stop, show)
    if not force:
        refuse_existing(truth)
    with whole(truth, force=force) as told, told.open("wb") as labels:
        return _write(market, stream, ".ndjson", labels, stop, show)


def write_truth(market: Market, truth: Path, stop: threading.Event, show: Show, *, force: bool) -> Simulated:
    """Write only the labels of a market; they may be there, from a run that is continued."""
    done = Simulated()
    with whole(truth, force=force) as told, told.open("wb") as file:
        for labels in market.labels():
            if stop.is_set():
                raise Stopped
            _tell(labels, file, done)
            show(done)
    return done


def write_topic(
    market: Market,
    ingest: Ingest,
    stop: threading.Event,
    on_progress: Callable[[Ingested], None] | None = None,
) -> Ingested:
    """Write a market to a topic, each trade once: what an earlier run wrote is not written again.

    A market is told from others by its seed and all else that it is made of.
    """
    identity = f"{market.source} {market.fingerprint.digest}"
    return ingest.run(market, stop, on_progress, [identity])[0]


def _write(
    market: Market,
    file: BinaryIO,
    kind: str,
    labels: BinaryIO | None,
    stop: threading.Event,
    show: Show,
) -> Simulated:
    done = Simulated()

    def records() -> Iterator[pl.DataFrame]:
        for batch in market.batches():
            if stop.is_set():
                raise Stopped
            yield batch.records
            _tell(batch.labels, labels, done)
            done.trades = batch.rows_done
            show(done)

    write_records(records(), file, kind, TRADE)
    return done


def _tell(labels: Iterable[Label], file: BinaryIO | None, done: Simulated) -> None:
    for label in labels:
        done.labels[label.kind] += 1
        if file:
            file.write(msgspec.json.encode(label) + b"\n")
