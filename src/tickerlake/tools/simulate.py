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
from tickerlake.pipeline.ingest import Ingest, IngestProgress
from tickerlake.sources.simulator.events import Label
from tickerlake.sources.simulator.market import Market
from tickerlake.tools.files import check_absent, output_extension, output_file, write_records

TRUTH_SUFFIX: Final = ".truth.ndjson"
"""What the name of a file of labels has more than the name of the file of trades."""


class Stopped(Exception):
    """The user asked to stop before the end: nothing is kept."""


@dataclass(slots=True)
class SimulateStats:
    """How many trades were made so far, and how many labels of each kind."""

    trades: int = 0
    labels: Counter[str] = field(default_factory=Counter)


OnProgress = Callable[[SimulateStats], None]


def write_file(
    market: Market,
    path: Path,
    truth: Path,
    stop: threading.Event,
    on_progress: OnProgress,
    *,
    force: bool = False,
) -> SimulateStats:
    """Write a market and its labels to two files; none of them is there before both are whole.

    Parameters
    ----------
    path
        The file of trades, whose name says the format: :data:`tickerlake.tools.files.FORMATS`.
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
    file_format = output_extension(path)
    if path.absolute() == truth.absolute():
        raise UsageError(f"{path} can't hold both the trades and the truth.", "Give --truth another name.")
    if not force:
        check_absent(path, truth)
    # the inner one takes its name first: where there are trades there is the truth about them
    with (
        output_file(path, force=force) as draft,
        output_file(truth, force=force) as truth_draft,
        draft.open("wb") as file,
        truth_draft.open("wb") as labels,
    ):
        return _write_records(market, file, file_format, labels, stop, on_progress)


def write_stream(
    market: Market,
    stream: BinaryIO,
    truth: Path | None,
    stop: threading.Event,
    on_progress: OnProgress,
    *,
    force: bool,
) -> SimulateStats:
    """Write a market as newline-delimited JSON to a stream, and its labels to a file, if one is named."""
    if truth is None:
        return _write_records(market, stream, ".ndjson", None, stop, on_progress)
    if not force:
        check_absent(truth)
    with output_file(truth, force=force) as truth_draft, truth_draft.open("wb") as labels:
        return _write_records(market, stream, ".ndjson", labels, stop, on_progress)


def write_truth(
    market: Market, truth: Path, stop: threading.Event, on_progress: OnProgress, *, force: bool
) -> SimulateStats:
    """Write only the labels of a market; they may be there, from a run that is continued."""
    stats = SimulateStats()
    with output_file(truth, force=force) as truth_draft, truth_draft.open("wb") as file:
        for labels in market.labels():
            if stop.is_set():
                raise Stopped
            _write_labels(labels, file, stats)
            on_progress(stats)
    return stats


def write_topic(
    market: Market,
    ingest: Ingest,
    stop: threading.Event,
    on_progress: Callable[[IngestProgress], None] | None = None,
) -> IngestProgress:
    """Write a market to a topic, each trade once: what an earlier run wrote is not written again.

    A market is told from others by its seed and all else that it is made of.
    """
    identity = f"{market.source} {market.fingerprint.digest}"
    return ingest.run(market, stop, on_progress, [identity])[0]


def _write_records(
    market: Market,
    file: BinaryIO,
    file_format: str,
    labels_file: BinaryIO | None,
    stop: threading.Event,
    on_progress: OnProgress,
) -> SimulateStats:
    stats = SimulateStats()

    def records() -> Iterator[pl.DataFrame]:
        for batch in market.batches():
            if stop.is_set():
                raise Stopped
            yield batch.records
            _write_labels(batch.labels, labels_file, stats)
            stats.trades = batch.rows_done
            on_progress(stats)

    write_records(records(), file, file_format, TRADE)
    return stats


def _write_labels(labels: Iterable[Label], file: BinaryIO | None, stats: SimulateStats) -> None:
    for label in labels:
        stats.labels[label.kind] += 1
        if file:
            file.write(msgspec.json.encode(label) + b"\n")
