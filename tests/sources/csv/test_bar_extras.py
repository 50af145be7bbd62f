"""A mean of a bar's own prices is no VWAP, and a count of seconds no number of trades."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tickerlake.sources.csv.detect.options import Options
from tickerlake.sources.csv.read import CsvSource, open_csv

Mean = Callable[[float, float, float, float], float]
MEANS: dict[str, Mean] = {
    "hl": lambda o, h, lo, c: (h + lo) / 2,
    "hlc": lambda o, h, lo, c: (h + lo + c) / 3,
    "ohlc": lambda o, h, lo, c: (o + h + lo + c) / 4,
}


def weighted(o: float, h: float, lo: float, c: float) -> float:
    return lo + (h - lo) * random.Random(o).random()


def write_bars(folder: Path, header: str, *averages: Mean, count: str = "", volume: str = "{n}") -> Path:
    """Write rows of a minute: date, open, high, low, close, volume, the averages and a count."""
    rng = random.Random(5)
    rows = []
    close = 4163.0
    for n in range(12):
        opened, close = close, close + rng.choice([-4.5, -2.0, 3.25, 5.0])
        high, low = max(opened, close) + 1.75, min(opened, close) - 2.25
        values = [f"{mean(opened, high, low, close):.2f}" for mean in averages]
        cells = [f"2024-01-02 09:{30 + n}", *(f"{x:.2f}" for x in (opened, high, low, close))]
        rows.append(
            ",".join([*cells, volume.format(n=905 + 37 * n % 53), *values, *([count] if count else [])])
        )
    path = folder / "QES.csv"
    path.write_text("\n".join([header, *rows]) + "\n", "utf-8")
    return path


def role_columns(source: CsvSource) -> dict[str, object]:
    columns = source.describe()["columns"]
    assert isinstance(columns, dict)
    return columns


PRICES = "Time,Open,High,Low,Close,Volume"


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("name", ["Average", "Avg Price", "Average Price", "vwap", "WAP", "均价"])
def test_a_mean_by_its_values(tmp_path: Path, name: str, mean: str) -> None:
    assert "vwap" not in role_columns(open_csv(write_bars(tmp_path, f"{PRICES},{name}", MEANS[mean])))


@pytest.mark.parametrize(
    "name", ["OHLC Avg", "HLC3", "HLC Avg", "OHLC4", "HL2", "Typical Price", "OHLC/4", "Avg Price (HLC)"]
)
def test_a_mean_by_its_name(tmp_path: Path, name: str) -> None:
    source = open_csv(write_bars(tmp_path, f"{PRICES},{name}", weighted))
    assert "vwap" not in role_columns(source)
    assert name in str(source.describe()["extra"])


@pytest.mark.parametrize("name", ["VWAP", "Average", "avg price", "Weighted Average", "vw"])
def test_an_average_by_volume_stays(tmp_path: Path, name: str) -> None:
    source = open_csv(write_bars(tmp_path, f"{PRICES},{name}", weighted))
    assert role_columns(source)["vwap"] == name


def test_the_average_by_volume_beside_a_mean(tmp_path: Path) -> None:
    path = write_bars(tmp_path, f"{PRICES},Average,Avg Price", MEANS["ohlc"], weighted)
    assert role_columns(open_csv(path))["vwap"] == "Avg Price"


def test_a_mean_without_a_header(tmp_path: Path) -> None:
    path = write_bars(tmp_path, "", MEANS["hlc"])
    path.write_text(path.read_text("utf-8").strip() + "\n", "utf-8")
    rows = [line.split(",") for line in path.read_text("utf-8").splitlines()]
    path.write_text("\n".join(",".join([*row[:5], row[6], row[5]]) for row in rows) + "\n", "utf-8")
    roles = open_csv(path).parser.layout.roles
    assert roles["volume"] == 6
    assert "vwap" not in roles
    assert "adj_close" not in roles


@pytest.mark.parametrize("volume", ["{n}", "0"])
@pytest.mark.parametrize("name", ["count", "n", "Number of trades"])
def test_seconds_are_no_trades(tmp_path: Path, name: str, volume: str) -> None:
    path = write_bars(tmp_path, f"{PRICES},{name}", count="60", volume=volume)
    assert "trade_count" not in role_columns(open_csv(path))


def test_trades_without_a_volume_are_none(tmp_path: Path) -> None:
    path = write_bars(tmp_path, f"{PRICES},count", count="7", volume="0")
    assert "trade_count" not in role_columns(open_csv(path))


@pytest.mark.parametrize("count", ["61", "5"])
def test_another_constant_count_stays(tmp_path: Path, count: str) -> None:
    source = open_csv(write_bars(tmp_path, f"{PRICES},count", count=count))
    assert role_columns(source)["trade_count"] == "count"


def test_named_columns_are_checked_as_well(tmp_path: Path) -> None:
    path = write_bars(tmp_path, f"{PRICES},x", MEANS["ohlc"])
    options = Options(columns=("date", "open", "high", "low", "close", "volume", "average"))
    assert "vwap" not in role_columns(open_csv(path, options))
