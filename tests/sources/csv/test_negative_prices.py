"""Prices of 0 and below: rejected by default, with the option that accepts them."""

from decimal import Decimal
from pathlib import Path

import pytest

from support.process import run
from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.options import Options
from tickerlake.sources.csv.read import open_csv

SPREAD = """Date,Open,High,Low,Close,Volume
2024-01-02,0.20,0.35,-0.10,0.15,1000
2024-01-03,0,0.20,-0.30,-0.25,1100
2024-01-04,-0.25,-0.25,-0.60,-0.45,1200
2024-01-05,-0.45,-0.60,-0.50,-0.55,900
"""
NEGATIVE = Options(negative_prices=True)


def write(folder: Path, text: str) -> Path:
    path = folder / "SPREAD.csv"
    path.write_text(text)
    return path


def test_bars(tmp_path: Path) -> None:
    (batch,) = open_csv(write(tmp_path, SPREAD), NEGATIVE).batches()
    assert batch.records["close"].to_list() == [Decimal("0.15"), Decimal("-0.25"), Decimal("-0.45")]
    assert [(each.line, each.reason) for each in batch.rejects] == [(5, "ohlc_high_lt_low")]


def test_trades_and_quotes(tmp_path: Path) -> None:
    trades = "time,price,size\n2020-04-20T14:30:00Z,-37.63,5\n2020-04-20T14:31:00Z,0,5\n"
    (batch,) = open_csv(write(tmp_path, trades), NEGATIVE).batches()
    assert batch.records["price"].to_list() == [Decimal("-37.63"), Decimal(0)]
    quotes = "time,bid,ask\n2020-04-20T14:30:00Z,-1.5,-1.25\n2020-04-20T14:31:00Z,-1,1\n"
    (batch,) = open_csv(write(tmp_path, quotes), NEGATIVE).batches()
    assert batch.records["bid_price"].to_list() == [Decimal("-1.5"), Decimal(-1)]


def test_the_error_names_the_option(tmp_path: Path) -> None:
    below = SPREAD.replace("0.15", "-0.05")
    with pytest.raises(DataError, match="price_nonpositive") as caught:
        open_csv(write(tmp_path, below))
    assert "--allow-negative-prices" in caught.value.hint


def test_the_report_names_the_option(tmp_path: Path) -> None:
    path = write(tmp_path, SPREAD + "2024-01-08,1,2,0.5,1,5\n")
    out, _ = run("inspect", path)
    assert "→ If prices of 0 and below are real (spreads, futures): --allow-negative-prices" in out
    _, err = run("convert", path, "-o", tmp_path / "out.ndjson")
    assert "--allow-negative-prices" in err
    out, _ = run("inspect", path, "--allow-negative-prices")
    assert "4 accepted, 1 rejected" in out
    assert "→" not in out


def test_a_backtest_rejects_and_counts_them(tmp_path: Path) -> None:
    """Returns of such prices mean nothing."""
    path = write(tmp_path, SPREAD + "2024-01-08,1,2,0.5,1,5\n")
    _, err = run("rules", "test", "default", "--data", path, "--bars", "1d", "--allow-negative-prices")
    assert "rejected: 3 price_nonpositive" in err


@pytest.mark.parametrize("style", ["-{}", "({})", "{}-", "-${}", "−{}"])
def test_ways_to_write_them(tmp_path: Path, style: str) -> None:
    rows = [f"2024-01-{n},{n},{n - 0.25},{n + 0.5},{n + 0.25}" for n in range(10, 30)]
    cells = [[day, *map(style.format, prices)] for day, *prices in (row.split(",") for row in rows)]
    path = write(
        tmp_path, "\n".join(map(",".join, [["Date", "Open", "High", "Low", "Close"], *cells])) + "\n"
    )
    (batch,) = open_csv(path, NEGATIVE).batches()
    assert batch.records["low"].to_list() == [-(n + Decimal("0.5")) for n in range(10, 30)]
    assert not batch.rejects
    with pytest.raises(DataError) as caught:
        open_csv(path)
    assert "--allow-negative-prices" in caught.value.hint


def test_a_warning_names_the_option(tmp_path: Path) -> None:
    """Every command shows warnings; one typing error is none."""
    path = write(tmp_path, SPREAD + "2024-01-08,1,2,0.5,1,5\n2024-01-09,1,2,0.5,1,5\n")
    (warning,) = open_csv(path).warnings
    assert "4 of its first 6 rows" in warning
    assert "--allow-negative-prices" in warning
    assert not open_csv(path, NEGATIVE).warnings
    good = "".join(f"2024-01-{n},1,2,0.5,1.5,7\n" for n in range(10, 30))
    header = SPREAD.splitlines()[0]
    for bad in ("2024-02-01,1,2,-0.5,1.5,7\n", "2024-02-01,1,-999,-999,-999,7\n" * 4):
        assert not open_csv(write(tmp_path, f"{header}\n{good}{bad}")).warnings
