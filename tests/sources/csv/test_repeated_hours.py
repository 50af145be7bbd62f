"""The hour that clocks repeat in autumn: told apart by the order of rows, or rejected."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from tickerlake.sources.csv.detect.options import Options
from tickerlake.sources.csv.detect.repeated_hours import list_repeated_hours
from tickerlake.sources.csv.read import CsvSource, open_csv

NEW_YORK_CHANGE = datetime(2024, 11, 3, 6, tzinfo=UTC)


def local_text(moment: datetime, zone: str) -> str:
    return moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None).isoformat(" ")


def write_bars(
    folder: Path,
    moments: Sequence[datetime],
    zone: str,
    symbols: Sequence[str] = ("AAA",),
    newest_first: bool = False,
) -> Path:
    rows = [
        f"{local_text(moment, zone)},{symbol},{10 + n % 7},{12 + n % 7},{9 + n % 7},{11 + n % 7}"
        for n, moment in enumerate(moments)
        for symbol in symbols
    ]
    path = folder / "bars.csv"
    path.write_text(
        "\n".join(["Time,Symbol,Open,High,Low,Close", *(reversed(rows) if newest_first else rows)]) + "\n"
    )
    return path


def write_trades(folder: Path, times: Sequence[str]) -> Path:
    path = folder / "trades.csv"
    path.write_text(
        "Time,Price,Size\n" + "".join(f"{text},{10 + n % 5},{n + 1}\n" for n, text in enumerate(times))
    )
    return path


def read_times(source: CsvSource, column: str = "ts_open_ns") -> list[datetime]:
    records = pl.concat(table.records for table in source.batches())
    return pl.from_epoch(records[column], "ns").dt.replace_time_zone("UTC").to_list()


def rejected(source: CsvSource) -> dict[int, str]:
    return {reject.line: reject.reason for table in source.batches() for reject in table.rejects}


@pytest.mark.parametrize(
    ("symbols", "newest_first", "chunk"),
    [
        (["AAA"], False, 1 << 20),
        (["AAA"], True, 120),
        (["AAA", "BBB", "CCC"], False, 120),
        (["AAA", "BBB", "CCC"], True, 1 << 20),
    ],
)
@pytest.mark.parametrize(
    ("zone", "change", "minutes"),
    [
        ("America/New_York", NEW_YORK_CHANGE, 1),
        ("America/New_York", NEW_YORK_CHANGE, 5),
        ("America/New_York", NEW_YORK_CHANGE, 30),
        ("America/New_York", NEW_YORK_CHANGE, 60),
        ("Europe/Berlin", datetime(2023, 10, 29, 1, tzinfo=UTC), 60),
        ("Europe/London", datetime(2023, 10, 29, 1, tzinfo=UTC), 15),
        ("Australia/Lord_Howe", datetime(2024, 4, 6, 15, tzinfo=UTC), 10),
    ],
)
def test_bars_in_order(
    tmp_path: Path,
    zone: str,
    change: datetime,
    minutes: int,
    symbols: Sequence[str],
    newest_first: bool,
    chunk: int,
) -> None:
    moments = [change + timedelta(minutes=minutes * n) for n in range(-300 // minutes, 300 // minutes)]
    source = open_csv(
        write_bars(tmp_path, moments, zone, symbols, newest_first), Options(tz=zone), chunk_bytes=chunk
    )
    assert rejected(source) == {}
    assert read_times(source) == [moment for moment in moments for _ in symbols]
    assert "by the order of rows" in f"{source.describe()['zone_from']}"


def test_years_of_bars_and_hours_that_are_skipped(tmp_path: Path) -> None:
    moments = [datetime(2019, 1, 1, tzinfo=UTC) + timedelta(hours=n) for n in range(5 * 365 * 24)]
    path = write_bars(tmp_path, moments, "America/New_York")
    path.write_text(path.read_text() + "2024-03-10 02:30:00,AAA,10,12,9,11\n")
    source = open_csv(path, Options(tz="America/New_York", interval="1h"))
    assert rejected(source) == {len(moments) + 2: "no_local_time"}
    assert read_times(source) == moments


@pytest.mark.parametrize(
    "hours",
    [
        # once only, before or after the change
        "00:00 00:30 01:00 01:30 02:00 02:30",
        # out of order elsewhere
        "00:00 01:00 01:30 01:00 01:30 00:30 02:00",
        "01:00 02:00 01:30 01:00 00:30 01:30 02:30",
        # steps back twice
        "00:30 01:00 01:30 01:00 01:30 01:00 02:00",
        # twice forward
        "00:30 01:00 01:30 01:00 02:00 00:30 01:00 01:30 02:00",
    ],
)
def test_what_the_order_does_not_tell_is_rejected(tmp_path: Path, hours: str) -> None:
    times = hours.split()
    path = tmp_path / "AAA.csv"
    path.write_text(
        "Time,Open,High,Low,Close\n"
        + "".join(f"2024-11-03 {time},{10 + n},{12 + n},9,{11 + n}\n" for n, time in enumerate(times))
    )
    source = open_csv(path, Options(tz="America/New_York", interval="30m"))
    repeated = [n + 2 for n, time in enumerate(times) if time.startswith("01")]
    lines = [line for line, reason in rejected(source).items() if reason == "no_local_time"]
    assert sorted(lines) == repeated


def test_a_symbol_with_two_rows_does_not_tell_its_direction(tmp_path: Path) -> None:
    times = ("00:30", "01:00", "01:30", "01:00", "01:30", "02:00")
    rows = [f"2024-11-03 {time},AAA,10,12,9,11\n" for time in times]
    rows[3:3] = [f"2024-11-03 {time},BBB,10,12,9,11\n" for time in ("01:30", "01:00")]
    path = tmp_path / "bars.csv"
    path.write_text("Time,Symbol,Open,High,Low,Close\n" + "".join(rows))
    source = open_csv(path, Options(tz="America/New_York", interval="30m"))
    assert [line for line, reason in rejected(source).items() if reason == "no_local_time"] == [5, 6]


def test_a_misplaced_row_is_not_the_change(tmp_path: Path) -> None:
    """The second hour is missing, and one minute is late."""
    minutes = [f"01:{minute:02}" for minute in range(60)]
    minutes[30], minutes[31] = minutes[31], minutes[30]
    path = tmp_path / "AAA.csv"
    path.write_text(
        "Time,Open,High,Low,Close\n"
        + "".join(
            f"2024-11-03 {time},10,12,9,11\n" for time in ["00:58", "00:59", *minutes, "02:00", "02:01"]
        )
    )
    source = open_csv(path, Options(tz="America/New_York"))
    assert list(rejected(source).values()) == ["no_local_time"] * 60


@pytest.mark.parametrize("chunk", [200, 5_000, 1 << 20])
@pytest.mark.parametrize("newest_first", [False, True])
def test_trades_in_order(tmp_path: Path, newest_first: bool, chunk: int) -> None:
    random = Random(8)
    moments = sorted(NEW_YORK_CHANGE + timedelta(seconds=random.randint(-7_000, 7_000)) for _ in range(800))
    times = [local_text(moment, "America/New_York") for moment in moments]
    source = open_csv(
        write_trades(tmp_path, times[::-1] if newest_first else times),
        Options(tz="America/New_York", symbol="AAA"),
        chunk_bytes=chunk,
    )
    assert rejected(source) == {}
    assert read_times(source, "ts_event_ns") == moments


def test_trades_that_are_a_little_out_of_order(tmp_path: Path) -> None:
    moments = [NEW_YORK_CHANGE + timedelta(seconds=10 * n) for n in range(-500, 500)]
    late = [*moments]
    for n in range(5, 995, 7):
        late[n], late[n + 1] = late[n + 1], late[n]
    path = write_trades(tmp_path, [local_text(moment, "America/New_York") for moment in late])
    source = open_csv(path, Options(tz="America/New_York", symbol="AAA"))
    assert rejected(source) == {}
    assert read_times(source, "ts_event_ns") == moments


def test_fractions_of_seconds_stay_exact(tmp_path: Path) -> None:
    times = ["00:59:59.123456789", "01:10:00.000000001", "01:50:00.5", "01:10:00.25", "02:00:00.000000007"]
    path = write_trades(tmp_path, [f"2024-11-03 {time}" for time in times])
    source = open_csv(path, Options(tz="America/New_York", symbol="AAA"))
    records = pl.concat(table.records for table in source.batches())
    first = int(datetime(2024, 11, 3, 5, 10, tzinfo=UTC).timestamp()) * 10**9 + 1
    assert records["ts_event_ns"].to_list()[1] == first
    assert records["ts_event_ns"].to_list()[3] == first - 1 + 3_600 * 10**9 + 250_000_000


def test_the_repeated_hours_of_a_zone() -> None:
    def list_hours(zone: str, year: int) -> list[tuple[str, str]]:
        first, last = (int(datetime(y, 1, 1, tzinfo=UTC).timestamp()) * 10**9 for y in (year, year + 1))
        return [
            tuple(f"{pl.select(pl.lit(ns).cast(pl.Datetime('ns'))).item():%m-%d %H:%M}" for ns in hour[:2])  # type: ignore[misc]
            for hour in list_repeated_hours(zone, first, last)
        ]

    assert list_hours("America/New_York", 2024) == [("11-03 01:00", "11-03 02:00")]
    assert list_hours("Europe/Berlin", 2023) == [("10-29 02:00", "10-29 03:00")]
    assert list_hours("Australia/Lord_Howe", 2024) == [("04-07 01:30", "04-07 02:00")]
    assert list_hours("Asia/Tokyo", 2024) == []
