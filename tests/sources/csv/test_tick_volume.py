"""A volume that is 0 on every row beside a tick volume that is not: the tick volume, with a word about it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.options import Options
from tickerlake.sources.csv.read import CsvSource, open_csv

MT5 = ("<DATE>", "<TIME>", "<OPEN>", "<HIGH>", "<LOW>", "<CLOSE>", "<TICKVOL>", "<VOL>", "<SPREAD>")
LAYOUTS = {
    "MetaTrader 5": (MT5, "\t"),
    "without brackets": (tuple(name.strip("<>") for name in MT5), "\t"),
    "Python": (
        ("time", "clock", "open", "high", "low", "close", "tick_volume", "real_volume", "spread"),
        ",",
    ),
    "words": (("Date", "Time", "Open", "High", "Low", "Close", "Tick Volume", "Volume", "Spread"), ";"),
    "counts": (("Date", "Time", "Open", "High", "Low", "Close", "Ticks", "Volume", "Spread"), ","),
}


def write(folder: Path, layout: str, volumes: list[str], ticks: list[str]) -> Path:
    names, delimiter = LAYOUTS[layout]
    start, prices = datetime(2024, 1, 2, 9, tzinfo=UTC), ("1.10", "1.12", "1.09", "1.11")
    rows = [
        (*f"{start + timedelta(minutes=n):%Y.%m.%d,%H:%M:%S}".split(","), *prices, tick, volume, "7")
        for n, (tick, volume) in enumerate(zip(ticks, volumes, strict=True))
    ]
    path = folder / "EURXXX_M1.csv"
    path.write_text("\n".join(delimiter.join(row) for row in (names, *rows)) + "\n")
    return path


def volumes(source: CsvSource) -> list[int | None]:
    (batch,) = source.batches()
    assert not batch.rejects
    return [None if each is None else int(each) for each in batch.records["volume"]]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("zero", ["0", "0.00", ""])
def test_a_volume_of_zeros(tmp_path: Path, layout: str, zero: str) -> None:
    ticks = [str(100 + n) for n in range(30)]
    path = write(tmp_path, layout, [zero] * 30, ticks)
    source = open_csv(path, Options(tz="UTC"))
    assert volumes(source) == list(map(int, ticks))
    (warning,) = source.warnings
    assert "on every row" in warning
    assert "--columns" in warning
    (batch,) = source.batches()
    assert LAYOUTS[layout][0][7] in str(batch.records["extra"][0])
    with pytest.raises(DataError, match="on every row"):
        open_csv(path, Options(tz="UTC", strict=True))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_volume_that_is_not_always_zero(tmp_path: Path, layout: str) -> None:
    """One volume far below the first rows is enough: the column is a volume, and its zeros are real."""
    shares = ["0"] * 5000
    shares[4321] = "75"
    path = write(tmp_path, layout, shares, ["3"] * 5000)
    source = open_csv(path, Options(tz="UTC"), chunk_bytes=1 << 14)
    found = [int(each) for batch in source.batches() for each in batch.records["volume"]]
    assert found == list(map(int, shares))
    assert not source.warnings


def test_other_columns_decide(tmp_path: Path) -> None:
    """A tick volume of zeros replaces nothing, one alone is the volume, and names of the user count."""
    path = write(tmp_path, "words", ["0"] * 30, ["0"] * 30)
    assert volumes(open_csv(path, Options(tz="UTC"))) == [0] * 30
    alone = tmp_path / "B.csv"
    alone.write_text(path.read_text().replace("Volume;Spread", "Points;Spread"))
    assert open_csv(alone, Options(tz="UTC")).describe()["columns"]["volume"] == "Tick Volume"  # type: ignore[index]
    path = write(tmp_path, "words", ["0"] * 30, ["8"] * 30)
    columns = ("date", "time", "open", "high", "low", "close", "", "volume")
    source = open_csv(path, Options(tz="UTC", columns=columns))
    assert volumes(source) == [0] * 30
    assert not source.warnings


@pytest.mark.parametrize(
    ("base", "money"), [("QSOL", "USDT"), ("SOL", "USD"), ("BTC", "KRW"), ("DOGE", "BUSD")]
)
@pytest.mark.parametrize("swapped", [False, True])
def test_a_volume_in_units_of_the_instrument_comes_before_one_in_money(
    tmp_path: Path, base: str, money: str, swapped: bool
) -> None:
    # money that is not the product with a price of the row, as where a vendor adds it up from trades
    columns = {f"Volume {base}": "10.5", f"Volume {money}": "304000"}
    names = sorted(columns, reverse=swapped)
    rows = "".join(
        f"{1609459200 + 3600 * hour},28900,28940,28865,28910,{','.join(columns[name] for name in names)}\n"
        for hour in range(8)
    )
    path = tmp_path / "QTCUSD_1h.csv"
    path.write_text(f"unix,open,high,low,close,{','.join(names)}\n{rows}")
    (batch,) = open_csv(path).batches()
    assert batch.records["volume"].unique().to_list() == [Decimal("10.5")]
