"""Times as vendors write them: months, units that change, daily bars that do not begin at midnight."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import accumulate
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.options import Options, parse_options
from tickerlake.sources.csv.read import CsvSource, open_csv

NEW_YORK = ZoneInfo("America/New_York")


def write_bars(
    folder: Path, times: Iterable[object], name: str = "AAA.csv", header: str = "Date", volumes: str = "any"
) -> Path:
    """Write bars of a random walk."""
    random, price, lines = Random(7), 100.0, [f"{header},Open,High,Low,Close,Volume"]
    for moment in times:
        close = round(price + random.uniform(-1, 1), 2)
        high, low = max(price, close) + random.random(), min(price, close) - random.random()
        volume = random.randint(100, 9_000) if volumes == "any" else random.randint(5_000, 5_100)
        lines.append(f"{moment},{price},{high:.2f},{low:.2f},{close},{volume}")
        price = close
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def read_bars(source: CsvSource) -> pl.DataFrame:
    return pl.concat(table.records for table in source.batches())


def opens(source: CsvSource) -> list[datetime]:
    moments = pl.from_epoch(read_bars(source)["ts_open_ns"], "ns").dt.replace_time_zone("UTC")
    return moments.to_list()


def sessions(source: CsvSource) -> list[date]:
    return read_bars(source)["session_date"].to_list()


def weekdays(count: int, start: date = date(2024, 1, 2)) -> list[date]:
    days = [start + timedelta(n) for n in range(2 * count + 7)]
    return [day for day in days if day.weekday() < 5][:count]


def zulu(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def epoch_s(moment: datetime) -> str:
    return str(int(moment.timestamp()))


# --- units of time since 1970

EPOCH = 1_704_067_200
HOURS = [datetime.fromtimestamp(EPOCH + 3600 * n, UTC) for n in range(48)]
EPOCH_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


@pytest.mark.parametrize("changed", [1, 3, 24, 46])
@pytest.mark.parametrize(
    ("unit", "later"), [("s", "ms"), ("ms", "us"), ("ms", "s"), ("us", "ns"), ("ns", "s")]
)
@pytest.mark.parametrize("newest_first", [False, True])
def test_each_time_since_1970_has_the_unit_of_its_length(
    tmp_path: Path, unit: str, later: str, changed: int, newest_first: bool
) -> None:
    times = [
        (EPOCH + 3600 * n) * EPOCH_UNITS[later if n >= len(HOURS) - changed else unit]
        for n in range(len(HOURS))
    ]
    path = write_bars(tmp_path, reversed(times) if newest_first else times)
    for chunk in (500, 1 << 20):
        source = open_csv(path, chunk_bytes=chunk)
        assert opens(source) == HOURS
        assert source.describe()["date_format"] == "epoch:mixed"
        assert set(read_bars(source)["interval"]) == {"1h"}


@pytest.mark.parametrize("unit", ["s", "ms"])
def test_a_unit_that_changes_after_the_first_rows(tmp_path: Path, unit: str) -> None:
    other = "ms" if unit == "s" else "s"
    times = [(EPOCH + 60 * n) * EPOCH_UNITS[unit if n < 2_500 else other] for n in range(2_600)]
    source = open_csv(write_bars(tmp_path, times), chunk_bytes=10_000)
    assert opens(source)[-1] == datetime.fromtimestamp(EPOCH + 60 * 2_599, UTC)
    assert len(opens(source)) == 2_600


@pytest.mark.parametrize("missing", ["0", "-1", "-1704067200", "17040672"])
def test_what_is_no_time_since_1970_is_rejected(tmp_path: Path, missing: str) -> None:
    times = [EPOCH + 60 * n for n in range(40)] + [(EPOCH + 60 * n) * 1000 for n in range(40, 50)]
    source = open_csv(write_bars(tmp_path, [*times, missing]))
    rejects = [reject for table in source.batches() for reject in table.rejects]
    assert [(reject.line, reject.reason) for reject in rejects] == [(52, "unparsable_date")]
    assert len(opens(source)) == 50


def test_history_before_1973_keeps_the_unit_of_the_file(tmp_path: Path) -> None:
    """1970-03-01 in milliseconds has ten digits, like seconds of today."""
    days = [date(1965, 1, 1) + timedelta(n) for n in range(6_000)]
    times = [(day - date(1970, 1, 1)).days * 86_400_000 for day in days]
    source = open_csv(write_bars(tmp_path, reversed(times)))
    assert sessions(source) == [day for day in days if day != date(1970, 1, 1)]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (["1704067200.5", "1704067260.5", "1704067320.5"], HOURS[0] + timedelta(seconds=0.5)),
        (["1704067200.0", "1704067260.0"], HOURS[0]),
        (["1.7040672e12", "1.70406726e12", "1.70406732e+12"], HOURS[0]),
        (["1.7040672E+09", "1.70406726E+09"], HOURS[0]),
        (["1704067200000.0", "1704067260000.0"], HOURS[0]),
    ],
)
def test_times_since_1970_as_floats(tmp_path: Path, times: list[str], expected: datetime) -> None:
    source = open_csv(write_bars(tmp_path, times))
    assert opens(source)[0] == expected
    assert set(read_bars(source)["interval"]) == {"1m"}


def test_times_that_a_spreadsheet_rounded_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="rounded"):
        open_csv(write_bars(tmp_path, ["1.70407E+12", "1.70407E+12", "1.70408E+12"]))


# --- dates without a day, and floats

MONTHS = [date(2023 + n // 12, n % 12 + 1, 1) for n in range(14)]


@pytest.mark.parametrize(
    "form",
    ["%Y-%m", "%Y/%m", "%YM%m", "%Ym%m", "%Y-M%m", "%m/%Y", "%m-%Y", "%b-%Y", "%B %Y", "%Y-%b", "%Y%m"],
)
@pytest.mark.parametrize("header", ["Month", "Date"])
def test_months_without_a_day(tmp_path: Path, form: str, header: str) -> None:
    source = open_csv(write_bars(tmp_path, [f"{month:{form}}" for month in MONTHS], header=header))
    records = read_bars(source)
    assert records["session_date"].to_list() == MONTHS
    assert set(records["interval"]) == {"1mo"}
    assert records["ts_close_ns"].to_list()[:-1] == records["ts_open_ns"].to_list()[1:]
    assert source.warnings == []


@pytest.mark.parametrize("form", ["{0}Q{1}", "{0}-Q{1}", "{0} q{1}", "Q{1} {0}", "Q{1}-{0}"])
def test_quarters(tmp_path: Path, form: str) -> None:
    quarters = [(2022 + n // 4, n % 4 + 1) for n in range(7)]
    source = open_csv(write_bars(tmp_path, [form.format(*each) for each in quarters], header="Quarter"))
    assert sessions(source) == [date(year, 3 * quarter - 2, 1) for year, quarter in quarters]
    assert set(read_bars(source)["interval"]) == {"3mo"}


@pytest.mark.parametrize(
    ("times", "interval"),
    [
        (["2024-03"], "1mo"),
        (["2024-01", "2024-02", "2024-05", "2024-09", "2025-01"], "1mo"),
        (["2024-03", "2024-06", "2024-09"], "3mo"),
        (["2024Q1"], "3mo"),
        (["2023Q4", "2024Q4", "2025Q4"], "1y"),
    ],
)
def test_months_are_never_days(tmp_path: Path, times: list[str], interval: str) -> None:
    assert set(read_bars(open_csv(write_bars(tmp_path, times)))["interval"]) == {interval}


def test_six_digits_that_may_be_days_or_months_are_asked_for(tmp_path: Path) -> None:
    path = write_bars(tmp_path, [f"2001{month:02}" for month in range(1, 11)])
    with pytest.raises(DataError, match="--date-format YYYYMM"):
        open_csv(path)
    assert sessions(open_csv(path, Options(date_format="YYYYMM")))[1] == date(2001, 2, 1)
    assert sessions(open_csv(write_bars(tmp_path, ["200113", "200114", "200115"])))[0] == date(2020, 1, 13)


@pytest.mark.parametrize(
    ("times", "opened"),
    [
        (["20240102.0", "20240103.0", "20240104.0"], datetime(2024, 1, 2, tzinfo=UTC)),
        (["20240102.00", "20240103.00"], datetime(2024, 1, 2, tzinfo=UTC)),
        (["20240102.", "20240103."], datetime(2024, 1, 2, tzinfo=UTC)),
        (["20240102", "20240103.0", "20240104"], datetime(2024, 1, 2, tzinfo=UTC)),
        (["20240102093000.0", "20240102093100.0"], datetime(2024, 1, 2, 9, 30, tzinfo=UTC)),
    ],
)
def test_dates_in_a_column_of_floats(tmp_path: Path, times: list[str], opened: datetime) -> None:
    source = open_csv(write_bars(tmp_path, times))
    assert opens(source)[0] == opened
    assert len(opens(source)) == len(times)


# --- daily bars that do not begin at midnight


def local(days: Sequence[date], clock: time, zone: str, *, days_before: int = 0) -> list[datetime]:
    return [datetime.combine(day - timedelta(days_before), clock, ZoneInfo(zone)) for day in days]


DAYS = weekdays(200)
EVERY_DAY = [date(2024, 1, 2) + timedelta(n) for n in range(60)]


@pytest.mark.parametrize("form", [zulu, epoch_s])
@pytest.mark.parametrize(
    ("days", "moments"),
    [
        (DAYS, local(DAYS, time(17), "America/New_York", days_before=1)),
        (DAYS, local(DAYS, time(22), "UTC", days_before=1)),
        (DAYS, local(DAYS, time(17), "America/Chicago", days_before=1)),
        (DAYS, local(DAYS, time(0), "Asia/Tokyo")),
        (DAYS, local(DAYS, time(0), "Europe/London")),
        (DAYS, local(DAYS, time(0), "Pacific/Auckland")),
        (DAYS, local(DAYS, time(0), "America/New_York")),
        (DAYS, local(DAYS, time(9, 30), "America/New_York")),
        (DAYS, local(DAYS, time(16), "America/New_York")),
        (DAYS, local(DAYS, time(10), "America/Sao_Paulo")),
        (DAYS, local(DAYS, time(10), "Australia/Sydney")),
        (EVERY_DAY, local(EVERY_DAY, time(0), "Asia/Singapore")),
        (EVERY_DAY, local(EVERY_DAY, time(0), "Asia/Kolkata")),
        (EVERY_DAY, local(EVERY_DAY, time(8), "UTC")),
    ],
)
def test_a_daily_bar_keeps_its_instant_and_gets_its_trading_date(
    tmp_path: Path, form: Callable[[datetime], str], days: list[date], moments: list[datetime]
) -> None:
    for rows in (moments, moments[::-1]):
        source = open_csv(write_bars(tmp_path, map(form, rows)))
        records = read_bars(source)
        assert opens(source) == moments
        assert records["session_date"].to_list() == days
        assert (records["ts_close_ns"] - records["ts_open_ns"]).unique().to_list() == [86_400 * 10**9]
        assert "session" in f"{source.describe()['zone_from']}"
        assert source.describe()["zone"] == "UTC"


@pytest.mark.parametrize(
    ("clock", "days_later"),
    [(time(21), 1), (time(22), 1), (time(16), 1), (time(15), 1), (time(14, 30), 0), (time(4), 0)],
)
def test_the_session_of_few_days_is_assumed_with_a_warning(
    tmp_path: Path, clock: time, days_later: int
) -> None:
    days = [date(2024, 1, 2), date(2024, 1, 3)]
    source = open_csv(write_bars(tmp_path, map(zulu, local(days, clock, "UTC"))))
    assert sessions(source) == [day + timedelta(days_later) for day in days]
    assert len(source.warnings) == 1
    assert "--tz" in source.warnings[0]
    with pytest.raises(DataError, match="--tz"):
        open_csv(write_bars(tmp_path, map(zulu, local(days, clock, "UTC"))), Options(strict=True))


def test_the_session_is_the_local_date_of_a_known_zone(tmp_path: Path) -> None:
    moments = local(DAYS, time(0), "Asia/Singapore")
    path = write_bars(tmp_path, map(epoch_s, moments))
    source = open_csv(path, Options(tz="Asia/Singapore"))
    assert (sessions(source), opens(source)) == (DAYS, moments)
    assert source.warnings == []
    # the days of currencies begin in New York at 17:00, on the day before
    evenings = local(DAYS[:3], time(17), "America/New_York", days_before=1)
    source = open_csv(write_bars(tmp_path, map(epoch_s, evenings)), Options(tz="America/New_York"))
    assert (sessions(source), opens(source)) == (DAYS[:3], evenings)
    assert source.warnings == []


@pytest.mark.parametrize(
    ("clock", "separator", "session_days_later", "keeps_instant"),
    [
        (time(0), " ", 0, False),
        (time(16), " ", 0, True),
        (time(9, 30), "T", 0, True),
        (time(17), " ", 1, True),
        (time(23, 59, 59), "T", 0, False),
    ],
)
def test_offsets_tell_the_local_date(
    tmp_path: Path, clock: time, separator: str, session_days_later: int, keeps_instant: bool
) -> None:
    days = weekdays(100) if not session_days_later else [day - timedelta(1) for day in weekdays(100)]
    moments = local(days, clock, "America/New_York")
    source = open_csv(write_bars(tmp_path, [moment.isoformat(separator) for moment in moments]))
    assert sessions(source) == [day + timedelta(session_days_later) for day in days]
    midnights = [datetime.combine(day, time(), UTC) for day in days]
    assert opens(source) == (moments if keeps_instant else midnights)
    assert source.warnings == []


@pytest.mark.parametrize("clock", ["16:00:00", "09:30", "4:00 PM", "17:35:00", "23:59:59", "00:00:00"])
def test_a_naive_time_of_a_daily_bar_is_not_used(tmp_path: Path, clock: str) -> None:
    """It is the open or the close of the session; the trading date is as written."""
    for options in (Options(), Options(tz="America/New_York")):
        source = open_csv(
            write_bars(tmp_path, [f"{day.month}/{day.day}/{day.year} {clock}" for day in DAYS[:60]]), options
        )
        assert sessions(source) == DAYS[:60]
        assert opens(source) == [datetime.combine(day, time(), UTC) for day in DAYS[:60]]
        assert source.warnings == []


def test_naive_evenings_without_fridays_begin_the_next_session(tmp_path: Path) -> None:
    evenings = local(DAYS, time(17), "America/New_York", days_before=1)
    path = write_bars(tmp_path, [f"{moment:%Y-%m-%d %H:%M:%S}" for moment in evenings])
    source = open_csv(path, Options(tz="America/New_York"))
    assert (sessions(source), opens(source)) == (DAYS, evenings)
    assert source.warnings == []
    source = open_csv(path)
    assert sessions(source) == DAYS
    assert "--tz" in source.warnings[0]


def test_two_times_on_one_day_are_duplicates_where_the_time_is_not_used(tmp_path: Path) -> None:
    times = [f"{day} 16:00" for day in DAYS[:30]]
    source = open_csv(write_bars(tmp_path, [*times, f"{DAYS[29]} 17:12"]))
    rejects = [reject.reason for table in source.batches() for reject in table.rejects]
    assert rejects == ["conflicting_duplicate"]
    assert sessions(source) == DAYS[:30]


def test_the_time_of_the_last_trade_is_not_used(tmp_path: Path) -> None:
    random = Random(3)
    times = [f"{day} {random.randint(11, 15)}:{random.randint(10, 59)}:07" for day in DAYS[:40]]
    source = open_csv(write_bars(tmp_path, times))
    assert sessions(source) == DAYS[:40]
    assert set(read_bars(source)["interval"]) == {"1d"}


def test_a_file_of_dates_needs_no_zone(tmp_path: Path) -> None:
    source = open_csv(write_bars(tmp_path, DAYS[:5]))
    assert source.describe()["zone_from"] == "not needed: dates only"
    assert source.describe()["zone"] == ""


MONDAYS = [date(2024, 1, 8) + timedelta(weeks=n) for n in range(30)]


def month_ends(count: int) -> list[date]:
    ends = [date(2024 + n // 12, n % 12 + 1, 1) - timedelta(1) for n in range(1, count + 1)]
    return [end - timedelta(max(0, end.weekday() - 4)) for end in ends]


@pytest.mark.parametrize(
    ("moments", "interval", "session_dates", "keeps_instant"),
    [
        (local(MONDAYS, time(9, 30), "America/New_York"), "1w", MONDAYS, True),
        (local(MONDAYS, time(17), "America/New_York", days_before=1), "1w", MONDAYS, True),
        (local(MONDAYS, time(0), "Asia/Singapore"), "1w", MONDAYS, True),
        (local(MONTHS, time(0), "Asia/Singapore"), "1mo", MONTHS, True),
        (local(MONTHS, time(0), "America/New_York"), "1mo", MONTHS, True),
        (local(month_ends(19), time(16), "America/New_York"), "1mo", month_ends(19), False),
    ],
)
def test_weeks_and_months_that_do_not_begin_at_midnight(
    tmp_path: Path, moments: list[datetime], interval: str, session_dates: list[date], keeps_instant: bool
) -> None:
    source = open_csv(write_bars(tmp_path, map(zulu, moments)))
    records = read_bars(source)
    assert set(records["interval"]) == {interval}
    assert records["session_date"].to_list() == session_dates
    if keeps_instant:
        assert opens(source) == moments
    else:
        assert opens(source) == [datetime.combine(day.replace(day=1), time(), UTC) for day in session_dates]
    if not keeps_instant or moments[0].tzinfo != NEW_YORK:
        assert records["ts_close_ns"].to_list()[:-1] == records["ts_open_ns"].to_list()[1:]


# --- bars that are not bars of time


def moments_after(gaps_s: Iterable[float], form: str = "%Y-%m-%dT%H:%M:%SZ") -> list[str]:
    start = datetime(2024, 1, 2, 14, 30, tzinfo=UTC)
    return [f"{start + timedelta(seconds=passed):{form}}" for passed in accumulate(gaps_s, initial=0.0)]


def event_gaps(kind: str, count: int = 80) -> list[float]:
    random = Random(11)
    gaps: dict[str, list[float]] = {
        "seconds": [random.randint(9, 900) for _ in range(count)],
        "milliseconds": [random.uniform(5, 700) for _ in range(count)],
        "fast": [max(1, int(random.gammavariate(5, 1.3))) for _ in range(4 * count)],
        "days": [random.randint(3_600, 200_000) for _ in range(count)],
        "two rows": [24],
        "three rows": [63, 288],
    }
    return gaps[kind]


@pytest.mark.parametrize("kind", ["seconds", "milliseconds", "fast", "days", "two rows", "three rows"])
def test_no_interval_is_invented_for_bars_of_events(tmp_path: Path, kind: str) -> None:
    times = moments_after(event_gaps(kind), "%Y-%m-%dT%H:%M:%S.%fZ")
    with pytest.raises(DataError, match="not bars of a fixed time") as caught:
        open_csv(write_bars(tmp_path, times))
    # of milliseconds, no length is one that all times are multiples of
    assert ("--interval" in str(caught.value)) == (kind != "milliseconds")
    with pytest.raises(DataError, match="not bars of a fixed time"):
        open_csv(write_bars(tmp_path, times), parse_options(interval="5m"))


def test_bars_of_one_volume_are_no_bars_of_minutes(tmp_path: Path) -> None:
    random = Random(5)
    times = moments_after([60 * random.choice([1, 2, 3, 4]) for _ in range(60)])
    assert set(read_bars(open_csv(write_bars(tmp_path, times)))["interval"]) == {"1m"}
    path = write_bars(tmp_path, times, volumes="constant")
    with pytest.raises(DataError, match="not bars of a fixed time"):
        open_csv(path)
    assert len(read_bars(open_csv(path, Options(interval="1m")))) == 61


def test_bars_of_a_price_range_may_begin_together(tmp_path: Path) -> None:
    random = Random(6)
    with pytest.raises(DataError, match="not bars of a fixed time"):
        open_csv(
            write_bars(tmp_path, moments_after([60 * random.choice([0, 1, 2, 3, 4]) for _ in range(60)]))
        )


@pytest.mark.parametrize(
    ("gaps_s", "interval"),
    [
        ([60], "1m"),
        ([420] * 8, "7m"),
        ([7_800] * 5, "130m"),
        ([300.2, 299.8, 300.1, 299.9] * 5, "5m"),
        ([301, 299, 300, 300, 299, 301] * 5, "5m"),
        ([60 * gap for gap in (1, 7, 13, 2, 19, 31, 11, 23, 5, 3, 47, 17) * 6], "1m"),
        ([300 * gap for gap in (1, 7, 13, 2, 19, 31, 11, 23, 5, 3, 47, 17) * 6], "5m"),
        ([1 + gap for gap in (0, 0, 2, 1, 0, 5, 0, 3, 1, 9, 0, 0, 4) * 8], "1s"),
        ([14_400] * 5 + [187_200], "4h"),
    ],
)
def test_bars_of_time_may_have_gaps_and_jitter(tmp_path: Path, gaps_s: list[float], interval: str) -> None:
    times = moments_after(gaps_s, "%Y-%m-%dT%H:%M:%S.%fZ")
    assert set(read_bars(open_csv(write_bars(tmp_path, times)))["interval"]) == {interval}


@pytest.mark.parametrize(
    ("clock", "form"),
    [
        (time(10), "%Y-%m-%dT%H:%M:%S+03:00"),
        (time(7), "%Y-%m-%dT%H:%M:%SZ"),
        (time(15, 10), "%Y-%m-%d %H:%M"),
    ],
)
def test_sundays_are_trading_days_where_fridays_are_none(tmp_path: Path, clock: time, form: str) -> None:
    days = [
        day for day in (date(2024, 1, 7) + timedelta(n) for n in range(60)) if day.weekday() not in {4, 5}
    ]
    moments = [datetime.combine(day, clock, UTC) for day in days]
    assert sessions(open_csv(write_bars(tmp_path, [f"{moment:{form}}" for moment in moments]))) == days
    source = open_csv(write_bars(tmp_path, map(zulu, local(days, time(0), "Asia/Riyadh"))))
    assert sessions(source) == days


@pytest.mark.parametrize("text", ["Monday", "19991110.5", "17", "Q5 2024", "2024-13"])
def test_values_that_are_no_dates_are_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match=f"column Date holds no dates.*'{text}'"):
        open_csv(write_bars(tmp_path, [text] * 6))
