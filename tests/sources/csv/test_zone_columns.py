"""Columns with the time zone of each row, or with its offset from UTC; other words between date and time."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.options import Options, parse_options
from tickerlake.sources.csv.read import CsvSource, open_csv


def open_rows(folder: Path, header: str, rows: list[str], options: Options | None = None) -> CsvSource:
    path = folder / "QBT.csv"
    path.write_text("\n".join([header, *rows]) + "\n", "utf-8")
    return open_csv(path, options, ts_recv_ns=1, digest=False)


def times(source: CsvSource) -> list[str]:
    stamps = next(iter(source.batches())).records["ts_event_ns"].to_list()
    return [f"{datetime.fromtimestamp(ns / 1e9, UTC):%m-%d %H:%M}" for ns in stamps]


def trades(zones: list[str], dates: list[str]) -> list[str]:
    return [
        f"{zone},{day},10:00:00,180.{n}5,{n + 1}"
        for n, (zone, day) in enumerate(zip(zones, dates, strict=True))
    ]


DAYS = ["2024-01-17", "2024-01-18", "2024-07-17", "2024-07-18"]
NEW_YORK = ["01-17 15:00", "01-18 15:00", "07-17 14:00", "07-18 14:00"]


@pytest.mark.parametrize("name", ["Timezone", "Time Zone", "tz", "Zeitzone", "Часовой пояс", "zona horaria"])
def test_one_zone_settles_it(tmp_path: Path, name: str) -> None:
    source = open_rows(tmp_path, f"{name},Date,Time,Price,Size", trades(["America/New_York"] * 4, DAYS))
    assert times(source) == NEW_YORK
    assert not source.warnings
    assert source.describe()["zone_from"] == f"column {name}"


@pytest.mark.parametrize(
    ("zones", "expected"),
    [
        (["UTC"] * 4, [f"{day[5:]} 10:00" for day in DAYS]),
        (["UTC+2"] * 4, [f"{day[5:]} 08:00" for day in DAYS]),
        (["EST", "EST", "EDT", "EDT"], NEW_YORK),
        (["-05:00", "-05:00", "-04:00", "-04:00"], NEW_YORK),
        (["-0500", "-0500", "-0400", "-0400"], NEW_YORK),
        (["-05", "-05", "-04", "-04"], NEW_YORK),
    ],
)
def test_other_spellings(tmp_path: Path, zones: list[str], expected: list[str]) -> None:
    source = open_rows(tmp_path, "Timezone,Date,Time,Price,Size", trades(zones, DAYS))
    assert times(source) == expected
    assert not source.warnings


def test_an_abbreviation_of_the_other_season_warns(tmp_path: Path) -> None:
    source = open_rows(tmp_path, "Timezone,Date,Time,Price,Size", trades(["EST"] * 4, DAYS))
    assert "EST in the column EST" in source.warnings[0] or "daylight saving" in source.warnings[0]


def test_several_zones_are_asked_about(tmp_path: Path) -> None:
    rows = trades(["America/New_York", "Europe/Berlin"] * 2, DAYS)
    with pytest.raises(DataError, match=r"several \(America/New_York, Europe/Berlin\)") as caught:
        open_rows(tmp_path, "Timezone,Date,Time,Price,Size", rows)
    assert "--tz" in caught.value.hint
    source = open_rows(tmp_path, "Timezone,Date,Time,Price,Size", rows, parse_options(tz="UTC"))
    assert times(source) == [f"{day[5:]} 10:00" for day in DAYS]


def test_a_later_row_of_another_zone(tmp_path: Path) -> None:
    days = [f"2024-0{1 + n // 28}-{1 + n % 28:02}" for n in range(250)]
    with pytest.raises(DataError, match="several"):
        open_rows(
            tmp_path,
            "Timezone,Date,Time,Price,Size",
            trades(["America/New_York"] * 249 + ["Europe/Berlin"], days),
        )


@pytest.mark.parametrize(
    ("header", "zone"), [("Zone", "North"), ("Timezone", "unknown"), ("offset", "17"), ("tz", "")]
)
def test_other_columns_are_no_zones(tmp_path: Path, header: str, zone: str) -> None:
    source = open_rows(tmp_path, f"{header},Date,Time,Price,Size", trades([zone] * 4, DAYS))
    assert times(source) == [f"{day[5:]} 10:00" for day in DAYS]
    assert any("UTC is assumed" in each for each in source.warnings)


def test_times_with_their_own_offset_outweigh_the_column(tmp_path: Path) -> None:
    rows = [f"Europe/Berlin,{day}T10:00:00-05:00,180.{n}5,1" for n, day in enumerate(DAYS)]
    assert times(open_rows(tmp_path, "Timezone,Date,Price,Size", rows))[0] == "01-17 15:00"


@pytest.mark.parametrize(
    "template",
    [
        "{d}/{m}/2024 - {t}",
        "{d}/{m}/2024 – {t}",
        "{d}.{m}.2024 | {t}",
        "{d}.{m}.2024 um {t}",
        "{d}/{m}/2024 às {t}",
        "2024-{m}-{d} at {t}",
        "2024-{m}-{d} / {t}",
        "2024-{m}-{d}@{t}",
        "{d}-{m}-2024 ~ {t}.250",
    ],
)
def test_separators_between_date_and_time(tmp_path: Path, template: str) -> None:
    texts = [template.format(d=day[8:], m=day[5:7], t="10:00:00") for day in DAYS]
    source = open_rows(tmp_path, "Time,Price,Size", [f"{each},180.{n}5,1" for n, each in enumerate(texts)])
    assert times(source) == [f"{day[5:]} 10:00" for day in DAYS]


@pytest.mark.parametrize("option", ["MM/DD/YYYY", "MM/DD/YYYY - hh:mm:ss", "%m/%d/%Y - %H:%M:%S"])
def test_the_option_can_say_it(tmp_path: Path, option: str) -> None:
    rows = [f"08/0{n}/2024 - 09:51:49,180.{n}5,1" for n in (7, 8, 9)]
    source = open_rows(tmp_path, "Time,Price,Size", rows, parse_options(date_format=option))
    assert times(source) == ["08-07 09:51", "08-08 09:51", "08-09 09:51"]
