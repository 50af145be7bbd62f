"""Columns without values, positions beside executions, steps instead of times, and remedies that work."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tickerlake.errors import DataError, UsageError
from tickerlake.sources.csv.detect.options import Options
from tickerlake.sources.csv.read import open_csv


def write(folder: Path, header: str, rows: list[str], name: str = "QAA.csv") -> Path:
    path = folder / name
    path.write_text(header + "\n" + "\n".join(rows) + "\n", "utf-8")
    return path


def records(path: Path, **options: Any) -> list[dict[str, Any]]:
    return [row for batch in open_csv(path, Options(**options)).batches() for row in batch.records.to_dicts()]


def option_of(hint: str | None, option: str) -> str:
    words = shlex.split(re.sub("[()]", "", re.sub("^.*?--", "--", hint or "")))
    return words[words.index(option) + 1]


@pytest.mark.parametrize("empty", ["", "-"])
def test_prices_that_are_empty_on_all_rows_are_absent(tmp_path: Path, empty: str) -> None:
    rows = [f"QX,1997-09-{day},{day}.5,{empty},{empty},{empty},,RUB" for day in (22, 23, 24, 25, 26)]
    read = records(write(tmp_path, "SECID,TRADEDATE,CLOSE,OPEN,HIGH,LOW,VALUE,CURRENCYID", rows))
    assert (read[0]["symbol"], float(read[0]["close"]), read[0].get("open")) == ("QX", 22.5, None)
    assert len(read) == 5


def test_some_empty_prices_reject_their_rows_only(tmp_path: Path) -> None:
    rows = [f"2024-01-{day:02},{'' if day < 4 else 10},11,9,10.5" for day in (2, 3, 4, 5, 8, 9)]
    assert [float(row["open"]) for row in records(write(tmp_path, "date,open,high,low,close", rows))] == [
        10
    ] * 4


HOLDINGS = "holding_quantity,holding_price_avg,holding_amount"


@pytest.mark.parametrize("after", [HOLDINGS, "Holding Qty,Holding Average,Holdings Value"])
def test_positions_after_executions_are_no_holdings(tmp_path: Path, after: str) -> None:
    rows = [
        f"2021-02-0{d} 11:39:3{d},QTATA,{side},{d * 90}.0,{d}.0,90.0,7{d}.0,90.5,6480.0"
        for d, side in ((1, "BUY"), (2, "BUY"), (3, "SELL"), (4, "BUY"), (5, "SELL"))
    ]
    read = records(write(tmp_path, f"datetime,stock_name,side,amount,quantity,price,{after}", rows))
    assert [(float(row["price"]), float(row["size"])) for row in read] == [(90, d) for d in range(1, 6)]


def test_holdings_without_a_side_are_refused(tmp_path: Path) -> None:
    rows = [f"2021-02-0{d},QTATA,72.0,90.0,6480.0" for d in (1, 2, 3)]
    with pytest.raises(DataError, match="holdings"):
        open_csv(write(tmp_path, f"date,stock_name,{HOLDINGS}", rows))


@pytest.mark.parametrize("name", ["prices.csv", "prices_2024-01-02.csv"])
@pytest.mark.parametrize("hours", [list(range(24)) * 2, list(range(50))])
@pytest.mark.parametrize("column", ["hour", "Time"])
def test_steps_are_no_times_of_day(tmp_path: Path, name: str, hours: list[int], column: str) -> None:
    rows = [f"132.5,130.5,131.5,130.7{k % 10},{k}" for k in hours]
    with pytest.raises(DataError) as caught:
        open_csv(write(tmp_path, f"high,low,open,close,{column}", rows, name))
    assert "has times of day" not in caught.value.message


def test_a_volume_so_far_is_not_suggested_as_a_size(tmp_path: Path) -> None:
    rows = [f"Q{k},16{k}.15,12966849{k},16{k}.9,2026-05-30 14:59:{k * k % 60:02}" for k in range(10, 20)]
    path = write(tmp_path, "ticker,price,volume,day_high,timestamp", rows)
    with pytest.raises(UsageError) as caught:
        open_csv(path, Options(columns=tuple("symbol,close,volume,,date".split(","))))
    assert option_of(caught.value.hint, "--columns") == "symbol,price,,,date"


def test_ticks_that_are_written_as_bars_are_named(tmp_path: Path) -> None:
    times = ["42.146", "46.151", "47.153", "47.403", "48.906", "49.156", "52.412", "53.664", "57.670"]
    rows = [f"2015-09-23T20:57:{each},306{k},306{k},306{k},306{k},{k}0,0" for k, each in enumerate(times, 1)]
    path = write(tmp_path, "Datetime,Open,High,Low,Close,Volume,OpenInterest", rows)
    with pytest.raises(DataError) as caught:
        open_csv(path)
    columns = option_of(caught.value.hint, "--columns").split(",")
    read = records(path, columns=tuple(columns))
    assert [(float(row["price"]), float(row["size"])) for row in read][:2] == [(3061, 10), (3062, 20)]


def test_an_interval_is_suggested_only_if_it_fits(tmp_path: Path) -> None:
    times = [1.137 * each for each in sorted({k * k * k % 1009 for k in range(1, 60)})]
    rows = [f"{1612216270 + 50 + each:.3f},10.{k:02},12,9,11" for k, each in enumerate(times)]
    path = write(tmp_path, "timestamp,open,high,low,close", rows)
    with pytest.raises(DataError) as caught:
        open_csv(path)
    assert "--interval" not in (caught.value.hint or "")


@pytest.mark.parametrize("column", ["hour", "Hora", "Time"])
def test_one_or_two_digits_of_an_hour_are_hours(tmp_path: Path, column: str) -> None:
    rows = [f"2024-01-0{day},{hour},10,11,9,10.5" for day in (2, 3) for hour in range(24)]
    read = records(write(tmp_path, f"date,{column},open,high,low,close", rows))
    assert {row["interval"] for row in read} == {"1h"}
    assert (read[9]["ts_open_ns"] - read[0]["ts_open_ns"]) == 9 * 3600 * 10**9


def test_numbers_of_one_day_may_be_hours_or_minutes(tmp_path: Path) -> None:
    rows = [f"2024-01-02,{hour},10,11,9,10.5" for hour in range(9, 17)]
    path = write(tmp_path, "date,Time,open,high,low,close", rows)
    with pytest.raises(DataError, match="may be hours, or minutes") as caught:
        open_csv(path)
    columns = option_of(caught.value.hint, "--columns").split(",")
    assert {row["interval"] for row in records(path, columns=tuple(columns))} == {"1h"}
    path = write(tmp_path, "date,Time,open,high,low,close", [*rows, "2024-01-02,24,10,11,9,10.5"])
    assert {row["interval"] for row in records(path)} == {"1m"}


def test_columns_of_a_list_of_companies_are_not_suggested(tmp_path: Path) -> None:
    rows = [
        f"KR79{k * k % 97:02}570000{k},99{k}570,{1985 + k * 7 % 30}/08/21,KOSPI,{k}000,452{k}2700"
        for k in range(1, 9)
    ]
    with pytest.raises(DataError) as caught:
        open_csv(write(tmp_path, "std_id,short_id,listed,board_name,par,outstanding", rows))
    assert "--columns close" not in (caught.value.hint or "")


def test_no_example_with_more_columns_than_the_file_has(tmp_path: Path) -> None:
    rows = [f"1789337700,{36 + 40 * k}.7,0.3{k},0.4{k}" for k in range(8)]
    with pytest.raises(DataError) as caught:
        open_csv(write(tmp_path, "window_ts,secs_in,yes_bid,yes_ask", rows))
    assert "--columns date,open" not in (caught.value.hint or "")
