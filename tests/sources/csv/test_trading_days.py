"""Trading days beside times of day: a night session belongs to the next one, and took place before it."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from random import Random

import polars as pl
import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.options import parse_options
from tickerlake.sources.csv.read import CsvSource, open_csv

MONDAY = date(2026, 1, 12)
NIGHT = [time(21, 0), time(21, 1), time(22, 59)]
LATE = [time(21, 0), time(23, 59), time(0, 0), time(2, 29)]
DAY = [time(9, 0), time(9, 1), time(11, 29), time(13, 30), time(14, 59)]


def weekdays(count: int) -> list[date]:
    days = (MONDAY + timedelta(n) for n in range(2 * count + 2))
    return [day for day in days if day.weekday() < 5][:count]


def write(folder: Path, lines: Iterable[str], name: str = "rb2605.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def sessions(days: Sequence[date], clocks: Sequence[time]) -> list[tuple[date, time]]:
    return [(day, clock) for day in days for clock in clocks]


def quotes(rows: Sequence[tuple[date, time]], header: str, form: str = "%Y%m%d") -> list[str]:
    lines = [header]
    for n, (day, clock) in enumerate(rows):
        bid = 3120 + n % 7
        lines.append(f"{day:{form}},rb2605,{clock},{bid},{bid + 1}")
    return lines


def trades(rows: Sequence[tuple[date, time]], header: str, *, volumes: Sequence[int] = ()) -> list[str]:
    lines = [header]
    for n, (day, clock) in enumerate(rows):
        volume = f",{volumes[n]}" if volumes else ""
        lines.append(f"{day},{clock},au2606,{550 + n % 5}.5,{1 + n % 3}{volume}")
    return lines


def bars(rows: Sequence[tuple[date, time]], header: str) -> list[str]:
    return [
        header,
        *(
            f"{day} {clock},{10 + n % 3},{13 + n % 3},{9},{11},{100 + n}"
            for n, (day, clock) in enumerate(rows)
        ),
    ]


def times(source: CsvSource) -> list[str]:
    frame = pl.concat(batch.records for batch in source.batches())
    column = "ts_event_ns" if "ts_event_ns" in frame.columns else "ts_open_ns"
    return [f"{datetime.fromtimestamp(ns // 10**9, UTC):%Y-%m-%d %H:%M}" for ns in frame[column]]


QUOTES = "TradingDay,InstrumentID,UpdateTime,BidPrice1,AskPrice1"


@pytest.mark.parametrize(
    "lines",
    [
        quotes(sessions([MONDAY], NIGHT + DAY), QUOTES),
        quotes(sessions(weekdays(3), LATE + DAY), QUOTES),
        quotes(sessions(weekdays(3), NIGHT + DAY)[::-1], QUOTES),
        quotes(sessions(weekdays(2), NIGHT + DAY), "交易日,合约代码,时间,bid,ask"),
        quotes(sessions([MONDAY], NIGHT + DAY), "date,symbol,time,bid,ask"),
        trades(sessions(weekdays(2), NIGHT + DAY), "trade_date,trade_time,symbol,price,size"),
        trades(sessions(weekdays(2), LATE + DAY), "TradingDay,Time,InstrumentID,LastPrice,Qty"),
        bars(sessions(weekdays(4), NIGHT + DAY), "datetime,open,high,low,close,volume"),
        # the future's session of Chicago, from 17:00 to 16:00
        quotes(sessions(weekdays(2), [time(17, 0), time(23, 0), time(0, 30), *DAY]), QUOTES),
        # sessions without a night, as after a holiday
        quotes(sessions([MONDAY], DAY) + sessions(weekdays(4)[1:], NIGHT + DAY), QUOTES),
    ],
)
def test_times_that_step_back_within_a_date_are_asked_about(tmp_path: Path, lines: list[str]) -> None:
    with pytest.raises(DataError, match="may be trading days") as caught:
        open_csv(write(tmp_path, lines))
    assert "in order otherwise" in caught.value.message
    assert "ActionDay" in (caught.value.hint or "")


def test_the_rows_of_each_symbol_are_looked_at(tmp_path: Path) -> None:
    lines = [QUOTES]
    for clock in NIGHT + DAY:
        lines += [f"20260112,{symbol},{clock},10,11" for symbol in ("rb2605", "au2606")]
    with pytest.raises(DataError, match="step back from 22:59:00 to 09:00:00"):
        open_csv(write(tmp_path, lines))


def test_small_chunks_make_no_difference(tmp_path: Path) -> None:
    path = write(tmp_path, quotes(sessions(weekdays(5), LATE + DAY), QUOTES))
    for size in (64, 200, 1000):
        with pytest.raises(DataError, match="may be trading days"):
            open_csv(path, chunk_bytes=size)


def test_a_date_of_the_name_may_be_a_trading_day(tmp_path: Path) -> None:
    lines = ["symbol,time,bid,ask", *(f"rb2605,{clock},10,11" for clock in NIGHT + DAY)]
    with pytest.raises(DataError, match="the dates may be trading days"):
        open_csv(write(tmp_path, lines, "quotes_20260112.csv"))


def test_the_named_columns_settle_it(tmp_path: Path) -> None:
    path = write(tmp_path, quotes(sessions([MONDAY], NIGHT + DAY), QUOTES))
    with pytest.raises(DataError) as caught:
        open_csv(path)
    assert "--columns date,symbol,time,bid,ask" in (caught.value.hint or "")
    source = open_csv(path, parse_options(columns="date,symbol,time,bid,ask"))
    assert times(source)[-1] == "2026-01-12 22:59"
    with pytest.raises(DataError, match="may be trading days"):
        open_csv(path, parse_options(columns="TradingDay,symbol,time,bid,ask"))


@pytest.mark.parametrize("action", ["ActionDay", "action_day", "自然日", "CalendarDate"])
def test_the_date_of_the_calendar_is_used_if_there_is_one(tmp_path: Path, action: str) -> None:
    lines = [f"TradingDay,InstrumentID,UpdateTime,BidPrice1,AskPrice1,{action}"]
    for clock in NIGHT + DAY:
        actual = date(2026, 1, 9) if clock.hour > 15 else MONDAY
        lines.append(f"{MONDAY:%Y%m%d},rb2605,{clock},10,11,{actual:%Y%m%d}")
    found = times(open_csv(write(tmp_path, lines)))
    assert found[0] == "2026-01-09 21:00"
    assert found[-1] == "2026-01-12 14:59"


def test_a_total_of_the_day_that_falls_is_asked_about(tmp_path: Path) -> None:
    """Rows that someone sorted: the night after the day that it belongs to."""
    rows = sessions([MONDAY], DAY + NIGHT)
    header = "trade_date,time,symbol,last_price,qty,volume"
    totals = [70, 75, 80, 90, 95, 10, 20, 60]
    with pytest.raises(DataError, match="the total in the column volume falls"):
        open_csv(write(tmp_path, trades(rows, header, volumes=totals)))


def test_a_total_that_begins_anew_at_night_does_not_contradict_the_calendar(tmp_path: Path) -> None:
    rows = sessions(weekdays(2), DAY + NIGHT)
    totals = [70, 75, 80, 90, 95, 10, 20, 60, 61, 75, 80, 90, 95, 10, 20, 60]
    lines = trades(rows, "trade_date,time,symbol,last_price,qty,volume", volumes=totals)
    assert times(open_csv(write(tmp_path, lines)))[5] == "2026-01-12 21:00"


def test_nights_of_trading_days_are_asked_about_in_any_order(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has rows at night"):
        open_csv(write(tmp_path, quotes(sessions([MONDAY], NIGHT), QUOTES)))
    with pytest.raises(DataError, match="has rows at night"):
        open_csv(write(tmp_path, quotes(sessions(weekdays(3), DAY + NIGHT), QUOTES)))


@pytest.mark.parametrize(
    "lines",
    [
        quotes(sessions(weekdays(3), DAY), QUOTES),
        quotes(sessions(weekdays(3), DAY)[::-1], QUOTES),
        # dates of the calendar: rows go on after midnight
        quotes(sessions(weekdays(3), [time(0, 0), time(0, 10), *DAY, time(21, 0), time(23, 59)]), QUOTES),
        trades(sessions(weekdays(3), DAY + NIGHT), "trade_date,trade_time,symbol,price,size"),
        trades(sessions(weekdays(2), DAY + NIGHT), "Trade Date,Time,Symbol,Price,Quantity"),
        # a late trade, and times in no order
        trades(
            sessions([MONDAY], [*DAY, time(9, 2), time(15, 0), time(15, 1)]), "date,time,symbol,price,size"
        ),
    ],
)
def test_dates_of_the_calendar_are_not_asked_about(tmp_path: Path, lines: list[str]) -> None:
    source = open_csv(write(tmp_path, lines))
    assert len(times(source)) == len(lines) - 1
    assert times(source) == sorted(times(source))


def test_rows_in_no_order_are_sorted(tmp_path: Path) -> None:
    rows = sessions(weekdays(3), [time(hour, minute) for hour in range(9, 22) for minute in (0, 20, 40)])
    Random(11).shuffle(rows)
    found = times(open_csv(write(tmp_path, trades(rows, "date,time,symbol,price,size"))))
    assert found == sorted(found)
    assert len(found) == len(rows)


def test_blocks_of_instruments_are_no_sessions(tmp_path: Path) -> None:
    clocks = [time(hour, 0) for hour in range(9, 17)]
    rows = [(MONDAY, clock) for _ in range(3) for clock in clocks]
    assert len(times(open_csv(write(tmp_path, trades(rows, "date,time,note,price,size"))))) == len(rows)


def test_days_alone_are_as_written(tmp_path: Path) -> None:
    lines = ["TradingDay,Open,High,Low,Close,Volume"]
    lines += [f"{day:%Y%m%d},10,12,9,11,{100 + n}" for n, day in enumerate(weekdays(8))]
    assert times(open_csv(write(tmp_path, lines)))[0] == "2026-01-12 00:00"
