"""Pacing: when each row is due, for any batches."""

from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tickerlake.errors import UsageError
from tickerlake.sources.csv.read import CsvSource, open_csv
from tickerlake.sources.pace import Pace

DAY_S = 86_400.0
HEADER = "Date,Open,High,Low,Close,Volume\n"
ROW = "10,12,9,11,1000\n"


def source(folder: Path, days: list[int], broken: set[int] | None = None) -> CsvSource:
    first = date(2020, 1, 6)
    lines = [
        f"{first + timedelta(days=day)},{'x' * (n in (broken or set()))}{ROW}" for n, day in enumerate(days)
    ]
    path = folder / "ACME.csv"
    path.write_text(HEADER + "".join(lines))
    return open_csv(path)


def due_times(pace: Pace, rows: CsvSource, batch_rows: int) -> list[float]:
    """Return when each row of the output is due, in seconds."""
    seconds: list[float] = []
    for table in rows.batches(batch_rows=batch_rows):
        for due_s, part in pace.parts(table):
            seconds += [due_s] * part.height
            assert part.position == (len(seconds),)
    return seconds


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    gaps=st.lists(st.integers(1, 3), min_size=3, max_size=60),
    batch_rows=st.integers(1, 70),
    speed=st.sampled_from([DAY_S / 7, DAY_S, 40 * DAY_S]),
)
def test_rows_are_due_by_event_time(tmp_path: Path, gaps: list[int], batch_rows: int, speed: float) -> None:
    days = [sum(gaps[:n]) for n in range(len(gaps))]
    seconds = due_times(Pace(speed=speed), source(tmp_path, days), batch_rows)
    assert len(seconds) == len(days)
    for day, second in zip(days, seconds, strict=True):
        exact = (day - days[0]) * DAY_S / speed
        assert exact - 0.1 - 1e-9 <= second <= exact + 1e-9, "a part is due with its first row"
    assert seconds == sorted(seconds)


@pytest.mark.parametrize("batch_rows", [1, 2, 100])
def test_idle_periods_are_skipped(tmp_path: Path, batch_rows: int) -> None:
    rows = source(tmp_path, [0, 1, 2, 60, 61, 400, 401])
    assert due_times(Pace(speed=DAY_S, max_wait_s=2.5), rows, batch_rows) == pytest.approx(
        [0, 1, 2, 4.5, 5.5, 8, 9]
    )


@pytest.mark.parametrize("batch_rows", [1, 2, 100])
def test_earlier_rows_are_due_at_once(tmp_path: Path, batch_rows: int) -> None:
    rows = source(tmp_path, [0, 1, 2, 10, 11, 14])
    from_ns = (date(2020, 1, 6) - date(1970, 1, 1)).days * 86_400 * 10**9 + 9 * 86_400 * 10**9
    seconds = due_times(Pace(speed=DAY_S, max_wait_s=2.0, paced_from_ns=from_ns), rows, batch_rows)
    # a daily bar is due at the end of its day
    assert seconds == pytest.approx([0, 0, 0, 2, 3, 5])


def test_rejected_rows_go_with_the_bar_before_them(tmp_path: Path) -> None:
    seconds = due_times(Pace(speed=DAY_S), source(tmp_path, [0, 1, 2, 3, 4], broken={2}), 2)
    assert seconds == pytest.approx([0, 1, 1, 3, 4])


@pytest.mark.parametrize("batch_rows", [1, 7, 1000])
def test_rows_are_due_by_count(tmp_path: Path, batch_rows: int) -> None:
    seconds = due_times(Pace(rows_per_s=50), source(tmp_path, list(range(100))), batch_rows)
    assert len(seconds) == 100
    for n, second in enumerate(seconds):
        assert n / 50 - 0.1 <= second <= n / 50


def test_without_a_pace_all_is_due_at_once(tmp_path: Path) -> None:
    assert set(due_times(Pace(), source(tmp_path, list(range(10))), 3)) == {0.0}


def test_two_paces_are_rejected() -> None:
    with pytest.raises(UsageError, match="mutually exclusive"):
        Pace(rows_per_s=1, speed=1)
