"""Write a seeded market to a file, a stream or a Kafka topic, and its labels to another file."""

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
"""Suffix of the name of a file of labels, after the name of the file of trades."""


class Stopped(Exception):
    """The user stopped it before the end: no file is left behind."""


@dataclass(slots=True)
class SimulateStats:
    """Progress: trades, and labels of each kind."""

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
    """Write a market and its labels to two files; neither appears before both are complete.

    Parameters
    ----------
    path
        The file of trades, whose extension is the format: :data:`tickerlake.tools.files.EXTENSIONS`.
    truth
        The file of labels, one JSON object per line.
    force
        True to replace existing files.

    Raises
    ------
    Stopped
        If ``stop`` was set before the end.
    UsageError
        If a file exists, or cannot be written.
    """
    file_format = output_extension(path)
    if path.absolute() == truth.absolute():
        raise UsageError(f"{path} cannot hold both trades and labels.", "Specify another name for --truth.")
    if not force:
        check_absent(path, truth)
    # the inner file gets its name first: a file of trades is never without its labels
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
    """Write a market as newline-delimited JSON to a stream, and its labels to a file, if there is one."""
    if truth is None:
        return _write_records(market, stream, ".ndjson", None, stop, on_progress)
    if not force:
        check_absent(truth)
    with output_file(truth, force=force) as truth_draft, truth_draft.open("wb") as labels:
        return _write_records(market, stream, ".ndjson", labels, stop, on_progress)


def write_truth(
    market: Market, truth: Path, stop: threading.Event, on_progress: OnProgress, *, force: bool
) -> SimulateStats:
    """Write only the labels of a market; the file may exist, from a run that is resumed."""
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
    """Write a market to a topic, each trade once; a run that was interrupted is resumed.

    A market is identified by all its options, including the seed.
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

    write_records(records(), file, file_format, TRADE, with_conditions=market.has_conditions)
    return stats


def _write_labels(labels: Iterable[Label], file: BinaryIO | None, stats: SimulateStats) -> None:
    for label in labels:
        stats.labels[label.kind] += 1
        if file:
            file.write(msgspec.json.encode(label) + b"\n")
