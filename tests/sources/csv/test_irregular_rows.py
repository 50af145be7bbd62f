"""Bars of events, written in whole minutes, are asked about; bars of time that are often missing are not."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.options import parse_options
from tickerlake.sources.csv.read import CsvSource, open_csv

SEED = 20260702
START = datetime(2026, 7, 2, 9, tzinfo=UTC)


def open_rows(folder: Path, gaps: list[int], interval: str | None = None) -> CsvSource:
    """Open bars that begin some minutes after each other."""
    rows, minute = [], 0
    for k, gap in enumerate(gaps):
        minute += gap
        price = 50 + k % 7
        time = START + timedelta(minutes=minute)
        high = price + 1 + k % 3
        rows.append(f"{time:%Y-%m-%dT%H:%MZ},{price},{high},{price - 1},{price},{900 + 7 * k}")
    path = folder / "QAA.csv"
    path.write_text("\n".join(("Date,Open,High,Low,Close,Volume", *rows, "")))
    return open_csv(path, parse_options(interval=interval), ts_recv_ns=1)


def events(count: int, mean: float, spread: float) -> list[int]:
    generator = random.Random(SEED)
    return [max(1, round(generator.lognormvariate(0, spread) * mean)) for _ in range(count)]


def sparse(count: int, share: float) -> list[int]:
    """Return gaps between minutes of which only a share has a bar."""
    generator = random.Random(SEED)
    gaps: list[int] = []
    gap = 1
    while len(gaps) < count:
        if generator.random() < share:
            gaps.append(gap)
            gap = 1
        else:
            gap += 1
    return gaps


@pytest.mark.parametrize("count", [60, 400])
@pytest.mark.parametrize(("mean", "spread"), [(4, 0.4), (7, 0.5), (20, 0.5), (30, 0.8)])
def test_bars_of_events_are_asked_about(tmp_path: Path, count: int, mean: float, spread: float) -> None:
    with pytest.raises(DataError) as caught:
        open_rows(tmp_path, events(count, mean, spread))
    assert "--interval" in caught.value.hint


@pytest.mark.parametrize("share", [0.15, 0.3, 0.6, 0.95])
@pytest.mark.parametrize("count", [40, 400])
def test_bars_that_are_often_missing_are_read(tmp_path: Path, share: float, count: int) -> None:
    assert open_rows(tmp_path, sparse(count, share)).describe()["interval"] == "1m"


def test_pauses_are_no_events(tmp_path: Path) -> None:
    gaps = [120 if k % 4 == 0 else 5 for k in range(80)]
    assert open_rows(tmp_path, gaps).describe()["interval"] == "5m"


def test_the_interval_is_an_answer(tmp_path: Path) -> None:
    gaps = events(400, 7, 0.5)
    assert open_rows(tmp_path, gaps, interval="1m").describe()["interval"] == "1m"
