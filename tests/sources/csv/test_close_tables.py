"""Tables of closes: a date and one price, or a price for each symbol; and tables that only look like them."""

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tickerlake.errors import DataError, UsageError
from tickerlake.sources.csv.detect.options import parse_options
from tickerlake.sources.csv.read import CsvSource, open_csv

RANDOM = Random(11)
DAYS = [str(day) for n in range(42) if (day := date(2024, 1, 2) + timedelta(n)).weekday() < 5]
COUNT = len(DAYS)
MINUTES = [f"2024-01-02 {9 + n // 60:02}:{n % 60:02}:00" for n in range(30, 30 + COUNT)]


def walk(level: float, step: float = 0.01, places: int = 2) -> list[str]:
    """Return prices that change a little from row to row."""
    prices = []
    for _ in DAYS:
        level *= 1 + RANDOM.gauss(0, step)
        prices.append(f"{level:.{places}f}")
    return prices


def noise(mean: float, deviation: float, places: int = 2) -> list[str]:
    return [f"{RANDOM.gauss(mean, deviation):.{places}f}" for _ in DAYS]


def table(header: str, *columns: list[str], delimiter: str = ",") -> str:
    return header + "\n" + "".join(delimiter.join(row) + "\n" for row in zip(*columns, strict=True))


def read(folder: Path, name: str, text: str, **options: Any) -> CsvSource:
    path = folder / name
    path.write_text(text, "utf-8")
    return open_csv(path, parse_options(**options))


def records(source: CsvSource) -> list[dict[str, Any]]:
    return [row for batch in source.batches() for row in batch.records.iter_rows(named=True)]


def closes(source: CsvSource) -> dict[tuple[str, str], Decimal]:
    """Return the closes by symbol and date; check that these are bars of nothing else."""
    rows = records(source)
    assert source.record_type == "bar.v1"
    assert not {"open", "high", "low"} & set(rows[0])
    found = {(row["symbol"], str(row["session_date"])): row["close"] for row in rows}
    assert len(found) == len(rows)
    return found


def expected(symbol: str, prices: list[str]) -> dict[tuple[str, str], Decimal]:
    return {
        (symbol, day): Decimal(price.replace(",", "."))
        for day, price in zip(DAYS, prices, strict=True)
        if price not in {"", ".", "NaN", "N/A"}
    }


PRICES = walk(190)
GAPS = ["." if n % 7 == 0 else price for n, price in enumerate(PRICES)]
GERMAN_DAYS = [f"{day[8:]}.{day[5:7]}.{day[:4]}" for day in DAYS]
GERMAN = [price.replace(".", ",") for price in PRICES]
SERIES: dict[str, tuple[str, str, list[str], str]] = {
    "close": ("QAA.csv", table("Date,Close", DAYS, PRICES), PRICES, "QAA"),
    "close of many languages": (
        "QAA.csv",
        table("Datum;Schlusskurs", GERMAN_DAYS, GERMAN, delimiter=";"),
        PRICES,
        "QAA",
    ),
    "kurs": ("QAA.csv", table("Datum;Kurs", GERMAN_DAYS, GERMAN, delimiter=";"), PRICES, "QAA"),
    "net asset value": ("QFND.csv", table("As Of,NAV per Share", DAYS, PRICES), PRICES, "QFND"),
    "fund, other figures": (
        "QFND.csv",
        table(
            "As Of,NAV per Share,Ex-Dividends,Shares Outstanding",
            DAYS,
            PRICES,
            ["--"] * COUNT,
            walk(5e7, 0.001, 0),
        ),
        PRICES,
        "QFND",
    ),
    "unit value in Chinese": (
        "QFND.csv",
        table("净值日期,单位净值,累计净值,日增长率", DAYS, PRICES, walk(260), ["0.1%"] * COUNT),
        PRICES,
        "QFND",
    ),
    "rate": ("EURQSD.csv", table("Date,Rate", DAYS, PRICES), PRICES, "EURQSD"),
    "value": ("QIDX.csv", table("date,value", DAYS, PRICES), PRICES, "QIDX"),
    "settlement": (
        "QCL.csv",
        table("Date,Settle,Open Interest", DAYS, PRICES, walk(1e5, 0.1, 0)),
        PRICES,
        "QCL",
    ),
    "change": (
        "QAA.csv",
        table("Date,Close,Change %", DAYS, PRICES, [f"{x}%" for x in noise(0, 1)]),
        PRICES,
        "QAA",
    ),
    "the close before": ("QAA.csv", table("DATE,CLOSE,PREV_CLOSE", DAYS, PRICES, PRICES), PRICES, "QAA"),
    "index without a name": ("QAA.csv", table(",Close", DAYS, PRICES), PRICES, "QAA"),
    "running number": (
        "QAA.csv",
        table("Unnamed: 0,Date,Close", [str(n) for n in range(COUNT)], DAYS, PRICES),
        PRICES,
        "QAA",
    ),
    "midnight": ("QAA.csv", table("Date,Price", [f"{day} 00:00:00" for day in DAYS], PRICES), PRICES, "QAA"),
    "midnight with an offset": (
        "QAA.csv",
        table("Date,Close", [f"{day} 00:00:00-05:00" for day in DAYS], PRICES),
        PRICES,
        "QAA",
    ),
    "coins": (
        "QTC.csv",
        table(
            "snapped_at,price,market_cap,total_volume",
            [f"{day} 00:00:00 UTC" for day in DAYS],
            PRICES,
            walk(8e11, 0.02, 1),
            walk(2e10, 0.3, 1),
        ),
        PRICES,
        "QTC",
    ),
    "series": ("QGS10.csv", table("DATE,QGS10", DAYS, PRICES), PRICES, "QGS10"),
    "series of another file name": (
        "fredgraph.csv",
        table("observation_date,DEXQSEU", DAYS, PRICES),
        PRICES,
        "DEXQSEU",
    ),
    "series with gaps": ("QGS10.csv", table("DATE,QGS10", DAYS, GAPS), GAPS, "QGS10"),
    "series called like the file": ("sq500.csv", table("date,sq500", DAYS, PRICES), PRICES, "sq500"),
    "ticker above": ("x.csv", "Symbol,QAA\n" + table("Date,Close", DAYS, PRICES), PRICES, "QAA"),
    "levels": ("x.csv", "Price,Close\nTicker,QAA\n" + table("Date,", DAYS, PRICES), PRICES, "QAA"),
}


@pytest.mark.parametrize("name", SERIES)
def test_a_series_is_read(tmp_path: Path, name: str) -> None:
    file, text, prices, symbol = SERIES[name]
    source = read(tmp_path, file, text)
    assert closes(source) == expected(symbol, prices)
    assert {row["interval"] for row in records(source)} == {"1d"}
    assert not [each for each in source.warnings if "--symbol" not in each]
    # a file and its records are the same whatever the size of its chunks
    small = open_csv(tmp_path / file, chunk_bytes=200)
    assert closes(small) == closes(source)


ONE, TWO, THREE = walk(190), walk(380), walk(0.7, 0.01, 4)
LATE = [""] * 9 + THREE[9:]
WIDE: dict[str, tuple[str, dict[str, list[str]]]] = {
    "symbols": (table("Date,QAA,QMS,QOG", DAYS, ONE, TWO, LATE), {"QAA": ONE, "QMS": TWO, "QOG": LATE}),
    "words for missing values": (
        table("Date,QAA,QMS,QOG", DAYS, ONE, TWO, ["NaN"] * 9 + THREE[9:]),
        {"QAA": ONE, "QMS": TWO, "QOG": LATE},
    ),
    "nothing in the first rows": (
        table("Date,QAA,QMS", DAYS, [""] * 5 + ONE[5:], [""] * 9 + TWO[9:]),
        {"QAA": [""] * 5 + ONE[5:], "QMS": [""] * 9 + TWO[9:]},
    ),
    "tickers of all kinds": (
        table(",QRK.B,^QSPC,EURQSD=X,600999.SH,7299.T,QTC-USD", DAYS, ONE, TWO, THREE, ONE, TWO, ONE),
        {"QRK.B": ONE, "^QSPC": TWO, "EURQSD=X": THREE, "600999.SH": ONE, "7299.T": TWO, "QTC-USD": ONE},
    ),
    "tickers of digits": (table("Date,7299.T,6799.T", DAYS, ONE, TWO), {"7299.T": ONE, "6799.T": TWO}),
    "currencies": (
        table("Date,USD,JPY,CYP,", DAYS[::-1], THREE[::-1], TWO[::-1], ["N/A"] * COUNT, [""] * COUNT),
        {"USD": THREE, "JPY": TWO},
    ),
    "two classes of a company": (
        table("Date,QOOGL,QOOG", DAYS, ONE, [f"{float(x) + 1:.2f}" for x in ONE]),
        {"QOOGL": ONE, "QOOG": [f"{float(x) + 1:.2f}" for x in ONE]},
    ),
    "role and symbol": (table("Date,QAA_Close,QMS_Close", DAYS, ONE, TWO), {"QAA": ONE, "QMS": TWO}),
    "symbol and role": (table("Date,Close QAA,Close QMS", DAYS, ONE, TWO), {"QAA": ONE, "QMS": TWO}),
    "tuples": (
        table("Date,\"('Close', 'QAA')\",\"('Close', 'QMS')\"", DAYS, ONE, TWO),
        {"QAA": ONE, "QMS": TWO},
    ),
    "levels": (
        "Price,Close,Close\nTicker,QAA,QMS\n" + table("Date,,", DAYS, ONE, TWO),
        {"QAA": ONE, "QMS": TWO},
    ),
    "levels, symbols first": (
        "Ticker,QAA,QMS\nPrice,Close,Close\n" + table("Date,,", DAYS, ONE, TWO),
        {"QAA": ONE, "QMS": TWO},
    ),
    "merged levels": (",Close,\n,QAA,QMS\n" + table("Date,,", DAYS, ONE, TWO), {"QAA": ONE, "QMS": TWO}),
    "levels with volumes": (
        "Price,Close,Close,Volume,Volume\nTicker,QAA,QMS,QAA,QMS\n"
        + table("Date,,,,", DAYS, ONE, TWO, ["1200"] * COUNT, ["3400"] * COUNT),
        {"QAA": ONE, "QMS": TWO},
    ),
    "long": (
        table("date,symbol,close", DAYS * 2, ["QAA"] * COUNT + ["QMS"] * COUNT, ONE + TWO),
        {"QAA": ONE, "QMS": TWO},
    ),
    "long, a price and a volume": (
        table(
            "date,ticker,price,volume",
            DAYS * 2,
            ["QAA"] * COUNT + ["QMS"] * COUNT,
            ONE + TWO,
            ["7"] * 2 * COUNT,
        ),
        {"QAA": ONE, "QMS": TWO},
    ),
}


@pytest.mark.parametrize("name", WIDE)
def test_several_symbols_are_read(tmp_path: Path, name: str) -> None:
    text, prices = WIDE[name]
    source = read(tmp_path, "table.csv", text)
    assert closes(source) == {
        key: value for symbol, each in prices.items() for key, value in expected(symbol, each).items()
    }
    assert not [reject for batch in source.batches() for reject in batch.rejects]
    assert source.warnings == []


def test_symbols_that_are_also_names_are_read_among_many(tmp_path: Path) -> None:
    symbols = ["A", "C", "F", "H", "L", "O", "T", "V", "LOW", "7299.T"] + [
        f"Q{n}{c}" for n in (2, 3) for c in "ABCDEFGHIJKLM"
    ]
    prices = {symbol: walk(50 + 20 * n) for n, symbol in enumerate(symbols)}
    source = read(tmp_path, "sp.csv", table("Date," + ",".join(symbols), DAYS, *prices.values()))
    assert closes(source) == {
        key: value for symbol, each in prices.items() for key, value in expected(symbol, each).items()
    }


def test_columns_that_may_be_of_one_instrument_are_asked_for(tmp_path: Path) -> None:
    near = [f"{float(price) * 1.01:.2f}" for price in ONE]
    text = table("Date,QAA,XMS", DAYS, ONE, near)
    with pytest.raises(DataError, match="--columns date,QAA:close,XMS:close"):
        read(tmp_path, "x.csv", text)
    source = read(tmp_path, "x.csv", text, columns="date,QAA:close,XMS:close")
    assert closes(source) == expected("QAA", ONE) | expected("XMS", near)


def test_codes_of_digits_and_pairs_next_to_names_of_prices(tmp_path: Path) -> None:
    for header in ("Date,7299_Close,QTC-USD_Close", "Date,Close 7299,Close QTC-USD"):
        source = read(tmp_path, "x.csv", table(header, DAYS, ONE, TWO))
        assert closes(source) == expected("7299", ONE) | expected("QTC-USD", TWO)
    source = read(tmp_path, "x.csv", "Price,Close\n,7299\n" + table("Date,", DAYS, ONE))
    assert closes(source) == expected("7299", ONE)


def test_adjusted_closes_alone_are_said_to_be_the_price(tmp_path: Path) -> None:
    for text in (
        table("Date,Adj Close", DAYS, ONE),
        "Price,Adj Close\nTicker,QAA\n" + table("Date,", DAYS, ONE),
    ):
        source = read(tmp_path, "QAA.csv", text)
        assert closes(source) == expected("QAA", ONE)
        (warning,) = source.warnings
        assert "adjusted closes" in warning
        with pytest.raises(DataError, match="--columns date,close"):
            read(tmp_path, "QAA.csv", text, strict=True)
    source = read(tmp_path, "QAA.csv", table("Date,Adj Close", DAYS, ONE), columns="date,close", strict=True)
    assert closes(source) == expected("QAA", ONE)


def test_other_columns_of_a_close(tmp_path: Path) -> None:
    text = table("Date,Close,Adj Close,Volume,Currency", DAYS, ONE, TWO, ["1200"] * COUNT, ["EUR"] * COUNT)
    source = read(tmp_path, "QAA.csv", text)
    row = records(source)[0]
    assert (row["close"], row["adj_close"], row["volume"], row["currency"]) == (
        Decimal(ONE[0]),
        Decimal(TWO[0]),
        1200,
        "EUR",
    )


def test_months_are_dated_by_their_last_days(tmp_path: Path) -> None:
    days = [str(date(2023 + n // 12, n % 12 + 1, 1) - timedelta(1)) for n in range(1, 30)]
    prices = walk(1400)[: len(days)]
    rows = records(read(tmp_path, "QIDX.csv", table("Date,Close", days, (prices * 2)[: len(days)])))
    assert {row["interval"] for row in rows} == {"1mo"}
    assert str(rows[0]["session_date"]) == days[0]


def test_closes_within_the_day(tmp_path: Path) -> None:
    prices = walk(190, 0.001)
    source = read(tmp_path, "QAA.csv", table("datetime,close", MINUTES, prices), tz="America/New_York")
    rows = records(source)
    assert (rows[0]["interval"], len(rows), rows[-1]["close"]) == ("1m", COUNT, Decimal(prices[-1]))
    irregular = [f"2024-01-02 09:{n * n % 50 // 10 + n:02}:{n * n % 60:02}" for n in range(COUNT)]
    with pytest.raises(DataError):
        read(tmp_path, "QAA.csv", table("datetime,close", irregular, prices))
    trades = read(tmp_path, "QAA.csv", table("datetime,price", MINUTES, prices), tz="UTC")
    assert trades.record_type == "trade.v1"


def test_closes_on_the_hour(tmp_path: Path) -> None:
    hours = [f"2024-01-{2 + n // 24:02} {n % 24:02}:00:00" for n in range(10, 10 + COUNT)]
    wide = table("time,BTC,ETH", hours, walk(42_000, 0.003), walk(2_200, 0.003))
    assert {row["interval"] for row in records(read(tmp_path, "closes.csv", wide, tz="UTC"))} == {"1h"}
    with pytest.raises(DataError):
        read(tmp_path, "closes.csv", wide.replace("BTC,ETH", "QAA,QMS"), tz="UTC")
    irregular = [f"2024-{1 + n // 28:02}-{n % 28 + 1:02} {n * n % 24:02}:00:00" for n in range(COUNT)]
    trades = read(tmp_path, "QAA.csv", table("time,price", irregular, walk(190, 0.001)), tz="UTC")
    assert trades.record_type == "trade.v1"


def test_prices_at_the_same_time_each_day_are_of_days(tmp_path: Path) -> None:
    for clock in ("23:00:00", "17:00:00", "16:35:00"):
        text = table("DATETIME,CARRY,PRICE", [f"{day} {clock}" for day in DAYS], walk(262), walk(261))
        rows = records(read(tmp_path, "QAA.csv", text, tz="UTC"))
        assert {row["interval"] for row in rows} == {"1d"}
        assert [str(row["session_date"]) for row in rows] == DAYS


WEIGHT = [f"{0.3 + RANDOM.random() * 0.4:.4f}" for _ in DAYS]
REFUSED: dict[str, tuple[str, str]] = {
    "returns": (table("Date,QAA,QMS", DAYS, noise(0, 0.01, 5), noise(0, 0.01, 5)), "values of 0 and below"),
    "returns in percent": (table("Date,QAA,QMS", DAYS, *[[f"{x}%" for x in noise(0, 1)]] * 2), "percentages"),
    "weights": (table("Date,QAA,QMS", DAYS, WEIGHT, [f"{1 - float(x):.4f}" for x in WEIGHT]), "add up to 1"),
    "weights in percent": (
        table(
            "Date,QAA,QMS",
            DAYS,
            [f"{100 * float(x):.2f}" for x in WEIGHT],
            [f"{100 - 100 * float(x):.2f}" for x in WEIGHT],
        ),
        "add up to 100",
    ),
    "probabilities": (
        table("Date,QAA,QMS,QOG", DAYS, walk(0.2, 0.01, 4), walk(0.4, 0.01, 4), walk(0.1, 0.01, 4)),
        "above 1",
    ),
    "volumes": (
        table("Date,QAA,QMS", DAYS, *[[str(RANDOM.randint(10**5, 10**6)) for _ in DAYS] for _ in range(2)]),
        "change by",
    ),
    "volumes with fractions": (
        table("Date,QAA,QMS", DAYS, *[[f"{RANDOM.uniform(10, 900):.3f}" for _ in DAYS] for _ in range(2)]),
        "change by",
    ),
    "values of companies": (
        table("Date,QAA,QMS", DAYS, walk(3e12, 0.01, 0), walk(2e12, 0.01, 0)),
        "sums of money",
    ),
    "holdings": (
        table("Date,QAA,QMS", DAYS, ["100"] * 12 + ["150"] * (COUNT - 12), ["70"] * COUNT),
        "holdings",
    ),
    "differences": (table("DATE,Q10Y2Y", DAYS, noise(0, 0.2)), "--allow-negative-prices"),
    "factors": (
        table("Date,Mkt-RF,SMB,HML,RF", DAYS, noise(0, 1), noise(0, 1), noise(0, 1), ["0.01"] * COUNT),
        "",
    ),
    "figures of a company": (
        table("Date,Revenue,Net Income", DAYS, walk(1e9, 0.01, 0), walk(1e8, 0.01, 0)),
        "",
    ),
    "ratios": (table("DATE,PE,PB", DAYS, walk(20), walk(3)), ""),
    "indicators": (table("DATE,RSI,MACD,SMA", DAYS, walk(50), walk(2), walk(190)), ""),
    "a statement": (
        table("Date,Description,Amount,Balance", DAYS, ["x"] * COUNT, noise(0, 90), walk(900)),
        "",
    ),
    "a ledger of values": (table("Date,Type,Value", DAYS, ["fee"] * COUNT, noise(50, 5)), ""),
    "amounts": (table("Date,Amount", DAYS, walk(190)), ""),
    "sales called values": (table("Date,Value", DAYS, [f"{RANDOM.uniform(5, 900):.2f}" for _ in DAYS]), ""),
    "positions": (
        table("date,ticker,quantity,price,market value", DAYS, ["QAA"] * COUNT, ["5"] * COUNT, ONE, TWO),
        "",
    ),
    "options": (table("Date,Strike,Price,Type", DAYS, ["190"] * COUNT, walk(5), ["C"] * COUNT), ""),
    "an open without a high": (table("Date,Open,Close", DAYS, ONE, ONE), "--columns date,,close"),
    "two prices": (table("Date,Last,Settle", DAYS, ONE, TWO), ""),
    "an unknown word": (table("Day,Foo", DAYS, ONE), "--columns date,close"),
    "a volume among symbols": (
        table("Date,QAA,QV", DAYS, ONE, [str(RANDOM.randint(10**5, 10**6)) for _ in DAYS]),
        "QV change by",
    ),
    "a part of the names": (table("Date,QAA_Close,QAA_High", DAYS, ONE, ONE), ""),
    "an open alone": (table("date,open_price", DAYS, ONE), "--columns date,close"),
    "temperatures": (table("DATE,TMAX,TMIN", DAYS, walk(30), walk(20)), ""),
    "sales, the name of the file": (table("date,table", DAYS, noise(90, 40)), ""),
    "an identifier that is a word": (table("DATE,LEVELS_TOTAL,YIELD", DAYS, ONE, TWO), ""),
    "not all are symbols": (table("Date,QAA,Total return", DAYS, ONE, TWO), ""),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_may_be_something_else_is_refused(tmp_path: Path, name: str) -> None:
    text, reason = REFUSED[name]
    with pytest.raises(DataError) as refused:
        read(tmp_path, "table.csv", text)
    assert reason in f"{refused.value} {refused.value.hint}"
    # what cannot help is not advised
    assert "open,high,low" not in refused.value.hint or text.partition("\n")[0].count(",") >= 4


def test_a_column_of_another_symbol_than_the_file_is_asked_for(tmp_path: Path) -> None:
    text = table("Date,QPRC", DAYS, ONE)
    with pytest.raises(DataError, match="--columns date,close"):
        read(tmp_path, "QAA.csv", text)
    assert closes(read(tmp_path, "QAA.csv", text, columns="date,close")) == expected("QAA", ONE)


def test_columns_that_the_user_names(tmp_path: Path) -> None:
    text = (
        table("a,b,c,d", ["QAA", "QMS"] * (COUNT // 2), DAYS[: COUNT // 2 * 2], ONE, ["12"] * COUNT)
        if COUNT % 2 == 0
        else ""
    )
    assert text
    source = read(tmp_path, "x.csv", text, columns="symbol,date,close,volume")
    assert [(row["symbol"], row["close"], row["volume"]) for row in records(source)][:2] == [
        ("QAA", Decimal(ONE[0]), 12),
        ("QMS", Decimal(ONE[1]), 12),
    ]
    with pytest.raises(UsageError, match="does not name close"):
        read(tmp_path, "x.csv", text, columns="symbol,date")
    with pytest.raises(UsageError, match="does not name high, low"):
        read(tmp_path, "x.csv", text, columns="symbol,date,close,open")


def test_differences_are_read_if_the_user_says_so(tmp_path: Path) -> None:
    prices = noise(0, 0.2)
    source = read(
        tmp_path, "Q10Y2Y.csv", table("DATE,Q10Y2Y", DAYS, prices), columns="date,close", negative_prices=True
    )
    assert closes(source) == expected("Q10Y2Y", prices)


def test_a_row_with_nothing_but_a_close_is_rejected_where_the_table_has_the_other_prices(
    tmp_path: Path,
) -> None:
    rows = [f"{day},{price},{price},{price},{price},5" for day, price in zip(DAYS, ONE, strict=True)]
    rows[3] = f"{DAYS[3]},,-,NaN,12.5,"
    rows[4] = f"{DAYS[4]},,12.5,12.5,12.5,5"
    rows[5] = f"{DAYS[5]},12.5,12.5,12.5,,5"
    source = read(tmp_path, "QAA.csv", "Date,Open,High,Low,Close,Volume\n" + "\n".join(rows) + "\n")
    rejects = [(each.line, each.reason) for batch in source.batches() for each in batch.rejects]
    assert rejects == [(5, "price_missing"), (6, "price_missing"), (7, "price_missing")]
    assert len(records(source)) == len(DAYS) - 3
