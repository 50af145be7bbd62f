"""Time zones in the names of columns: what they mean, and what they leave open."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.options import Options
from tickerlake.sources.csv.read import CsvSource, open_csv
from tickerlake.sources.csv.zones import normalize_zone


def source(folder: Path, column: str, *days: str, file: str = "AAA.csv", **options: Any) -> CsvSource:
    rows = [f"{day} {hour:02}:00:00,10.5,11,10,10.75,{hour}00\n" for day in days for hour in range(9, 16)]
    path = folder / file
    path.write_text(f"{column},Open,High,Low,Close,Volume\n" + "".join(rows))
    return open_csv(path, Options(**options))


def first_hour(csv: CsvSource) -> int:
    ns = next(csv.batches()).records.get_column("ts_open_ns")[0]
    return datetime.fromtimestamp(ns // 10**9, UTC).hour


WINTER, SUMMER = "2024-01-16", "2024-07-16"


@pytest.mark.parametrize(
    ("column", "winter", "summer"),
    [
        ("Time (EET)", 7, 6),
        ("Time (CET)", 8, 7),
        ("Time (EST)", 14, 13),
        ("time_est", 14, 13),
        ("timestampEST", 14, 13),
        ("Time PST", 17, 16),
    ],
)
def test_local_time_with_daylight_saving(tmp_path: Path, column: str, winter: int, summer: int) -> None:
    csv = source(tmp_path, column, WINTER)
    assert (first_hour(csv), csv.warnings) == (winter, [])
    csv = source(tmp_path, column, SUMMER)
    assert first_hour(csv) == summer
    assert "with daylight saving. If it is " in csv.warnings[0]
    assert source(tmp_path, column, WINTER, SUMMER).warnings
    assert source(tmp_path, column, WINTER, "2025-01-15").warnings
    offset = csv.warnings[0].rpartition("--tz ")[2]
    csv = source(tmp_path, column, SUMMER, tz=normalize_zone(offset))
    assert (first_hour(csv), csv.warnings) == (winter, [])


@pytest.mark.parametrize(
    ("column", "hour"),
    [
        ("Date (GMT)", 9),
        ("TimeUTC", 9),
        ("Time (UTC+2)", 7),
        ("time_utc+3", 6),
        ("Datetime [America/New_York]", 13),
        ("Datetime (America/Argentina/Buenos_Aires)", 12),
        ("Time [Etc/GMT+5]", 14),
        ("Time (New York)", 13),
        ("Date ET", 13),
        ("Time (JST)", 0),
    ],
)
def test_settled(tmp_path: Path, column: str, hour: int) -> None:
    csv = source(tmp_path, column, SUMMER)
    assert (first_hour(csv), csv.warnings) == (hour, [])


def test_cst_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match="CST in the column Time \\(CST\\) may be the time of Chicago"
    ) as error:
        source(tmp_path, "Time (CST)", WINTER)
    assert "--tz America/Chicago or --tz Asia/Shanghai" in error.value.hint
    assert first_hour(source(tmp_path, "Time (CST)", WINTER, tz="Asia/Shanghai")) == 1
    assert first_hour(source(tmp_path, "Time (CST)", WINTER, file="600999.SS.csv")) == 1


def test_ist_is_that_of_india_or_of_the_venue(tmp_path: Path) -> None:
    csv = source(tmp_path, "Time (IST)", WINTER)
    assert first_hour(csv) == 3
    assert "--tz Asia/Jerusalem" in csv.warnings[0]
    assert not source(tmp_path, "Time (IST)", WINTER, file="QINFY.NS.csv").warnings
    assert first_hour(source(tmp_path, "Time (IST)", WINTER, file="QTEVA.TA.csv")) == 7


@pytest.mark.parametrize("column", ["Local time", "local_datetime", "LocalTime"])
def test_local_times_of_no_zone_are_asked_for(tmp_path: Path, column: str) -> None:
    with pytest.raises(DataError, match="nothing says in which time zone"):
        source(tmp_path, column, WINTER)
    assert first_hour(source(tmp_path, column, WINTER, tz="Asia/Tokyo")) == 0
    assert first_hour(source(tmp_path, column, WINTER, file="QSAP.DE.csv")) == 8


def test_words_that_are_no_zones(tmp_path: Path) -> None:
    csv = source(tmp_path, "Date et heure", WINTER)
    assert first_hour(csv) == 9
    assert "UTC is assumed" in csv.warnings[0]
