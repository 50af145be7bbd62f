"""Prices written as whole numbers of a fraction: recognized by path and shape, else asked or said."""

import zipfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.options import Options
from tickerlake.sources.csv.read import CsvSource, open_csv

ROWS = 30
HEADER = "Date,Open,High,Low,Close,Volume"


def zipped(folder: Path, path: str, member: str, rows: list[str]) -> Path:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(member, "\n".join(rows) + "\n")
    return file


def prices(n: int) -> list[Decimal]:
    """Return open, high, low and close of a bar; each open is the close before it."""
    first, last = (Decimal(100 + k * 7 % 5) for k in (n, n + 1))
    return [first, max(first, last) + Decimal("0.25"), min(first, last) - Decimal("0.5"), last]


def bar(n: int, scale: int, *, time: str) -> str:
    values = [f"{each * 10**scale:.0f}" if scale else f"{each:.2f}" for each in prices(n)]
    return ",".join([time, *values, str(100 + n * 37 % 11)])


def at_minute(n: int) -> str:
    return str(34_200_000 + n * 60_000)


def at_day(n: int) -> str:
    return f"202401{n + 1:02} 00:00"


def at_hour(n: int) -> str:
    return f"202401{2 + n // 7:02} {9 + n % 7:02}:00"


def read(source: CsvSource) -> list[dict[str, Any]]:
    batches = list(source.batches())
    assert not [each for batch in batches for each in batch.rejects]
    return [row for batch in batches for row in batch.records.to_dicts()]


def ohlc(row: dict[str, Any]) -> list[Decimal]:
    return [row[name] for name in ("open", "high", "low", "close")]


def ns(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp()) * 10**9  # type: ignore[misc, arg-type]


LEAN_BARS = {
    "equity/usa/minute/qaa/20240102_trade.zip": (
        "20240102_qaa_minute_trade.csv", at_minute, 4, "QAA", "1m", ns(2024, 1, 2, 14, 30),
    ),
    "equity/usa/minute/brk.b/20240702_trade.zip": (
        "20240702_brk.b_minute_trade.csv", at_minute, 4, "BRK.B", "1m", ns(2024, 7, 2, 13, 30),
    ),
    "equity/usa/daily/qaa.zip": ("qaa.csv", at_day, 4, "QAA", "1d", ns(2024, 1, 1)),
    "equity/usa/hour/qaa.zip": ("qaa.csv", at_hour, 4, "QAA", "1h", ns(2024, 1, 2, 14)),
    "equity/india/daily/qaa.zip": ("qaa.csv", at_day, 4, "QAA", "1d", ns(2024, 1, 1)),
    "crypto/coinbase/minute/qbtusd/20240102_trade.zip": (
        "20240102_qbtusd_minute_trade.csv", at_minute, 0, "QBTUSD", "1m", ns(2024, 1, 2, 9, 30),
    ),
    "crypto/coinbase/daily/qbtusd_trade.zip": ("qbtusd.csv", at_day, 0, "QBTUSD", "1d", ns(2024, 1, 1)),
    "cfd/oanda/hour/qauusd.zip": ("qauusd.csv", at_hour, 0, "QAUUSD", "1h", ns(2024, 1, 2, 9)),
}  # fmt: skip


@pytest.mark.parametrize("path", LEAN_BARS)
def test_bars_of_lean(tmp_path: Path, path: str) -> None:
    member, time, scale, symbol, interval, first = LEAN_BARS[path]
    rows = [bar(n, scale, time=time(n)) for n in range(ROWS)]
    source = open_csv(zipped(tmp_path, f"Data/{path}", member, rows), Options(strict=True))
    records = read(source)
    assert [ohlc(row) for row in records] == [prices(n) for n in range(ROWS)]
    assert {(row["symbol"], row["interval"]) for row in records} == {(symbol, interval)}
    assert records[0]["ts_open_ns"] == first
    assert [row["volume"] for row in records] == [100 + n * 37 % 11 for n in range(ROWS)]
    assert source.describe()["layout"] == "QuantConnect Lean"


def test_cheap_stocks_of_lean(tmp_path: Path) -> None:
    """A price of 0.05 is 500, without the zeros of dearer ones."""
    rows = [
        f"{at_day(n)},{500 + n % 3},{510 + n % 3},{490 + n % 2},{500 + (n + 1) % 3},700" for n in range(ROWS)
    ]
    records = read(open_csv(zipped(tmp_path, "equity/usa/daily/qaa.zip", "qaa.csv", rows)))
    assert ohlc(records[0]) == [Decimal(text) for text in ("0.05", "0.051", "0.049", "0.0501")]


@pytest.mark.parametrize("scale", [4, 0])
def test_quote_bars_of_lean(tmp_path: Path, scale: int) -> None:
    """They become bars of the bid; the ask stays as it is written, under a name that says how."""
    folder = "equity/usa/minute/qaa" if scale else "forex/oanda/minute/qaa"
    rows = []
    for n in range(ROWS):
        bid = bar(n, scale, time=at_minute(n))
        ask = bid.split(",")[1:]
        rows.append(f"{bid},{','.join(ask)}")
    path = zipped(tmp_path, f"{folder}/20240102_quote.zip", "20240102_qaa_minute_quote.csv", rows)
    records = read(open_csv(path))
    assert [ohlc(row) for row in records] == [prices(n) for n in range(ROWS)]
    assert {row["price_type"] for row in records} == {"bid"}
    assert ('"ask_close_deci_cents":"1020000"' if scale else '"ask_close":"102.00"') in records[0]["extra"]


def test_ticks_of_lean(tmp_path: Path) -> None:
    rows = [f"{14_400_009 + n * 997}.367,{1_374_500 + n % 3 * 100},{n + 1},D,1,0" for n in range(ROWS)]
    folder = "equity/usa/tick/qaa"
    path = zipped(tmp_path, f"{folder}/20240102_trade.zip", "20240102_qaa_Trade_Tick.csv", rows)
    trades = read(open_csv(path))
    assert (trades[1]["price"], trades[1]["size"], trades[1]["symbol"]) == (Decimal("137.46"), 2, "QAA")
    assert trades[0]["ts_event_ns"] == ns(2024, 1, 2, 9) + 9_367_000
    rows = [
        f"{14_400_000 + n},{1_374_500 if n % 2 else 0},{n % 2},{0 if n % 2 else 1_375_000},{1 - n % 2},P,1,0"
        for n in range(ROWS)
    ]
    path = zipped(tmp_path, f"{folder}/20240102_quote.zip", "20240102_qaa_Quote_Tick.csv", rows)
    quotes = read(open_csv(path))
    assert [(row["bid_price"], row["ask_price"]) for row in quotes[:2]] == [
        (None, Decimal("137.5")),
        (Decimal("137.45"), None),
    ]
    rows = [f"{n * 1000},1.2{n % 5}01,1.2{n % 5}03" for n in range(ROWS)]
    path = zipped(tmp_path, "forex/fxcm/tick/qaa/20240102_quote.zip", "20240102_qaa_tick_quote.csv", rows)
    quotes = read(open_csv(path))
    assert (quotes[0]["bid_price"], quotes[0]["ts_event_ns"]) == (Decimal("1.2001"), ns(2024, 1, 2, 5))


@pytest.mark.parametrize(
    ("name", "member", "time"),
    [
        ("20240102_trade.zip", "20240102_qaa_minute_trade.csv", at_minute),
        ("qaa.zip", "qaa.csv", at_day),
        ("hourly/qaa.zip", "qaa.csv", at_hour),
    ],
)
def test_lean_without_its_folders(tmp_path: Path, name: str, member: str, time: Any) -> None:
    """The shape alone does not show whether prices are scaled: that is asked."""
    path = zipped(tmp_path, name, member, [bar(n, 4, time=time(n)) for n in range(ROWS)])
    with pytest.raises(DataError, match="QuantConnect Lean") as caught:
        open_csv(path)
    assert "--price-scale 4 or --price-scale 0" in caught.value.hint
    for scale, factor in ((4, 1), (0, 10_000)):
        records = read(open_csv(path, Options(price_scale=scale, tz="America/New_York")))
        assert ohlc(records[3]) == [each * factor for each in prices(3)]
        assert records[3]["symbol"] == "QAA"
    plain = zipped(tmp_path, f"plain/{name}", member, [bar(n, 0, time=time(n)) for n in range(ROWS)])
    assert ohlc(read(open_csv(plain))[3]) == prices(3)


def test_files_in_such_folders_that_are_not_of_lean(tmp_path: Path) -> None:
    """A header, other columns or other times: the folder alone shows nothing."""
    rows = ["Date,Open,High,Low,Close,Volume"] + [bar(n, 0, time=at_day(n)) for n in range(ROWS)]
    path = zipped(tmp_path, "equity/usa/daily/qaa.zip", "qaa.csv", rows)
    source = open_csv(path)
    assert ohlc(read(source)[0]) == prices(0)
    assert source.describe()["layout"] == ""
    rows = [bar(n, 0, time=f"2024-01-{n + 1:02}") for n in range(ROWS)]
    assert ohlc(read(open_csv(zipped(tmp_path, "equity/usa/daily/qbb.zip", "qbb.csv", rows)))[0]) == prices(0)


def test_milliseconds_of_the_day_in_a_column(tmp_path: Path) -> None:
    path = tmp_path / "QAA.csv"
    rows = [f"{at_minute(n)},{','.join(map(str, prices(n)))},7,20240102" for n in range(ROWS)]
    path.write_text("ms_of_day,open,high,low,close,volume,date\n" + "\n".join(rows) + "\n")
    records = read(open_csv(path, Options(tz="America/New_York")))
    assert records[0]["ts_open_ns"] == ns(2024, 1, 2, 14, 30)
    assert records[0]["interval"] == "1m"


def daily(folder: Path, *, scale: int, header: str = HEADER, name: str = "QAA.csv") -> Path:
    path = folder / name
    rows = [bar(n, scale, time=f"2024-01-{n + 1:02}") for n in range(ROWS)]
    tail = ",KRW" if "Currency" in header else ""
    path.write_text(header + "\n" + "".join(f"{row}{tail}\n" for row in rows))
    return path


@pytest.mark.parametrize(("scale", "advice"), [(4, 4), (5, 4), (9, 9)])
def test_suspicious_prices(tmp_path: Path, scale: int, advice: int) -> None:
    """Prices of nothing but hundreds are said, and refused by --strict; the option settles it either way."""
    path = daily(tmp_path, scale=scale)
    (warning,) = open_csv(path).warnings
    assert f"--price-scale {advice};" in warning
    assert "--price-scale 0" in warning
    with pytest.raises(DataError, match="--price-scale"):
        open_csv(path, Options(strict=True))
    for chosen in (scale, 0):
        source = open_csv(path, Options(strict=True, price_scale=chosen))
        assert read(source)[0]["close"] == 102 * Decimal(10) ** (scale - chosen)


@pytest.mark.parametrize(
    ("scale", "header", "name"),
    [
        (4, "Date,Open,High,Low,Close,Volume,Currency", "QAA.csv"),
        (4, "Date,Open (KRW),High (KRW),Low (KRW),Close (KRW),Volume", "QAA.csv"),
        (4, "날짜,시가,고가,저가,종가,거래량", "QAA.csv"),
        (4, HEADER, "005999.csv"),
        (4, HEADER, "QAA.KS.csv"),
        (4, HEADER, "BTC-USD.csv"),
        (4, HEADER, "QAA.JK.csv"),
        (2, HEADER, "QAA.csv"),
        (0, HEADER, "QAA.csv"),
    ],
)
def test_large_prices_that_are_real(tmp_path: Path, scale: int, header: str, name: str) -> None:
    """Won and rupiah have such prices, and other files have smaller steps."""
    source = open_csv(daily(tmp_path, scale=scale, header=header, name=name))
    assert not source.warnings
    assert read(source)[0]["close"] == 102 * Decimal(10) ** scale


def test_large_prices_with_fractional_volumes(tmp_path: Path) -> None:
    """Coins are traded in fractions, stocks are not."""
    path = daily(tmp_path, scale=4)
    path.write_text(path.read_text().replace("\n", ".25\n").replace(".25", "", 1))
    assert not open_csv(path).warnings


@pytest.mark.parametrize("form", ["{} (KRW)", "{}_VND", "{} TWD", "{} in CLP"])
def test_a_currency_in_names_is_no_symbol(tmp_path: Path, form: str) -> None:
    names = [form.format(name) for name in ("Open", "High", "Low", "Close")]
    path = daily(tmp_path, scale=2, header=",".join(["Date", *names, "Volume"]))
    assert open_csv(path).symbols == ["QAA"]
