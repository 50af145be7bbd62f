"""Headers that say less, more or something else than the name of one column."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.options import Options
from tickerlake.sources.csv.read import CsvSource, open_csv

BARS = ("Open", "High", "Low", "Close", "Volume")
HOURS = [datetime(2024, 1, 2, 9 + n, tzinfo=UTC) for n in range(8)]
DAYS = [date(2024, 1, 29) + timedelta(n) for n in range(10)]


def write_rows(
    folder: Path, header: str, times: list[str], name: str = "XYZ.csv", separator: str = ","
) -> Path:
    closes = [100 + 7 * n % 13 for n in range(len(times) + 1)]
    rows = [
        separator.join(
            (time, f"{a}.5", f"{max(a, b)}.75", f"{min(a, b)}.25", f"{b}.5", f"{800 + 7 * n % 11}")
        )
        for n, (time, a, b) in enumerate(zip(times, closes, closes[1:], strict=False))
    ]
    path = folder / name
    path.write_text("\n".join([header, *rows] if header else rows) + "\n")
    return path


def read_bars(source: CsvSource) -> pl.DataFrame:
    return pl.concat(table.records for table in source.batches())


def opens(source: CsvSource) -> list[datetime]:
    moments = pl.from_epoch(read_bars(source)["ts_open_ns"], "ns").dt.replace_time_zone("UTC")
    return moments.to_list()


# --- words before all names


@pytest.mark.parametrize("word", ["Candlestick.", "Kline_", "bar ", "Quote.", "Stock:", "Ohlc-"])
@pytest.mark.parametrize("case", [str, str.upper, str.lower])
def test_a_time_behind_a_word_is_the_date_as_well(tmp_path: Path, word: str, case: type[str]) -> None:
    header = ",".join(case(word + name) for name in ("Time", *BARS))
    source = open_csv(write_rows(tmp_path, header, [f"{hour:%Y-%m-%d %H:%M}" for hour in HOURS]))
    assert source.symbols == ["XYZ"]
    assert opens(source) == HOURS
    assert source.describe()["columns"] == {
        role: case(word + name)
        for role, name in zip(
            ("time", "open", "high", "low", "close", "volume"), ("Time", *BARS), strict=True
        )
    }


def test_a_symbol_before_all_names_is_the_symbol(tmp_path: Path) -> None:
    header = ",".join(f"AAPL.{name}" for name in ("Time", *BARS))
    source = open_csv(write_rows(tmp_path, header, [f"{hour:%Y-%m-%d %H:%M}" for hour in HOURS]))
    assert source.symbols == ["AAPL"]
    assert opens(source) == HOURS


def test_a_word_before_some_names_stays(tmp_path: Path) -> None:
    """The quote volume is money, and no volume."""
    header = "Open time,Open,High,Low,Close,Quote volume"
    source = open_csv(write_rows(tmp_path, header, [f"{1_704_187_800_000 + 60_000 * n}" for n in range(8)]))
    assert "volume" not in source.describe()["columns"]  # type: ignore[operator]
    path = tmp_path / "XYZ.csv"
    path.write_text("Trade.Time,Trade.Price,Trade.Size\n" + "2024-01-02T09:30:00Z,10,5\n" * 3)
    assert open_csv(path).record_type == "trade.v1"


# --- commas without quotes


@pytest.mark.parametrize(
    "form",
    [
        "{0:%B} {0.day}, {0.year}",
        "{0:%b} {0:%d}, {0.year}",
        "{0:%b} {0.day},{0.year}",
        "{0:%A}, {0:%B} {0.day}, {0.year}",
        "{0:%a}, {0.day} {0:%b} {0.year}",
        "{0.day} {0:%b}, {0.year}",
        "{0:%b} {0.day}, {0.year} 09:30 AM",
    ],
)
def test_a_date_whose_comma_is_not_quoted(tmp_path: Path, form: str) -> None:
    header = ",".join(("Date", *BARS))
    source = open_csv(write_rows(tmp_path, header, [form.format(day) for day in DAYS]), chunk_bytes=300)
    records = read_bars(source)
    assert records["session_date"].to_list() == DAYS
    assert f"{records['open'][1]}" == "107.500000000"
    assert records["volume"].to_list()[0] == 800
    assert any("fields" in warning for warning in source.warnings)
    assert "extra" not in records.columns
    with pytest.raises(DataError, match="fields"):
        open_csv(tmp_path / "XYZ.csv", Options(strict=True))


def test_the_number_of_fields_is_said_where_nothing_fits(tmp_path: Path) -> None:
    header = ",".join(("Date", *BARS))
    for times in (["one, two"] * 6, [f"{day:%b} {day.day}, {day.year}, 1" for day in DAYS]):
        with pytest.raises(DataError, match=r"6 names, the rows have [78] fields"):
            open_csv(write_rows(tmp_path, header, times))


# --- zones by names


@pytest.mark.parametrize(
    ("name", "hours"),
    [
        ("Time (UTC+8)", 8),
        ("GMT-3 Time", -3),
        ("Time (UTC-05:00)", -5),
        ("Time EST (no DST)", -5),
        ("Gmt time", 0),
    ],
)
def test_an_offset_in_the_name_of_a_column(tmp_path: Path, name: str, hours: int) -> None:
    times = [f"2024-07-01 {hour:%H:%M}" for hour in HOURS]
    source = open_csv(write_rows(tmp_path, ",".join((name, *BARS)), times))
    assert opens(source)[0] == datetime(2024, 7, 1, 9, tzinfo=UTC) - timedelta(hours=hours)
    assert source.warnings == []


@pytest.mark.parametrize(
    ("name", "form", "separator"),
    [
        ("DAT_ASCII_EURUSD_M1_2023.csv", "%Y%m%d %H%M%S", ";"),
        ("DAT_MT_XAUUSD_M1_202307.csv", "%Y.%m.%d,%H:%M", ","),
        ("DAT_NT_SPXUSD_M1_2023.csv", "%Y%m%d %H%M%S", ";"),
    ],
)
def test_a_vendor_whose_clocks_never_change(tmp_path: Path, name: str, form: str, separator: str) -> None:
    """17:00 is 22:00 UTC in summer and in winter."""
    for month in (1, 7):
        times = [f"{datetime(2023, month, 3, 17, minute, tzinfo=UTC):{form}}" for minute in range(40)]
        path = write_rows(tmp_path, "", times, name, separator)
        source = open_csv(path)
        assert opens(source)[0] == datetime(2023, month, 3, 22, tzinfo=UTC)
        assert "EST without daylight saving" in f"{source.describe()['zone_from']}"
        assert opens(open_csv(path, Options(tz="UTC")))[0] == datetime(2023, month, 3, 17, tzinfo=UTC)
    named = write_rows(tmp_path, "", times, "EURUSD_M1_2023.csv", separator)
    assert any("--tz" in warning for warning in open_csv(named).warnings)
