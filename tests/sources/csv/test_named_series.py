"""Tables whose symbols are words, lists whose rows are in groups, and rates that a bank buys and sells at."""

import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.options import parse_options
from tickerlake.sources.csv.read import CsvSource, open_csv

DAYS = [f"2024-01-{day:02}" for day in (15, 16, 17, 18, 19, 22, 23)]


def write(folder: Path, header: str, rows: Sequence[str], name: str = "share-price-history.csv") -> Path:
    path = folder / name
    path.write_text("\n".join((header, *rows, "")), "utf-8")
    return path


def records(source: CsvSource) -> pl.DataFrame:
    return pl.concat(batch.records for batch in source.batches())


def series(*starts: float, days: Sequence[str] = DAYS, sign: str = ",") -> list[str]:
    return [
        sign.join((day, *(f"{start * (1 + 0.004 * ((n + k) % 3)):.4f}" for k, start in enumerate(starts))))
        for n, day in enumerate(days)
    ]


# ------------------------------------------------------------------------------------- words as symbols


@pytest.mark.parametrize(
    "names",
    [
        ["L Income", "L 2030", "G Fund", "C Fund"],
        ["Growth", "Balanced", "Conservative"],
        ["Global Equity Fund A", "World Bond Fund B"],
        ["G", "F"],
        ["Croissance", "Équilibre"],
        ["国内株式", "外国債券"],
    ],
)
def test_words_above_series_of_prices_are_asked_about(tmp_path: Path, names: list[str]) -> None:
    path = write(
        tmp_path, f"Date,{','.join(names)}", [*series(*range(20, 20 + 9 * len(names), 9)), "," * len(names)]
    )
    with pytest.raises(DataError, match="no column is known to be a price") as caught:
        open_csv(path)
    option = f'--columns "date,{",".join(f"{name}:close" for name in names)}"'
    assert option in (caught.value.hint or "")
    found = records(open_csv(path, parse_options(columns=option.split('"')[1])))
    assert found["symbol"].unique().sort().to_list() == sorted(names)
    assert found.height == len(names) * len(DAYS)


def test_a_series_may_begin_later(tmp_path: Path) -> None:
    rows = [row + ("," if n < 4 else ",10.5") for n, row in enumerate(series(20, 30))]
    with pytest.raises(DataError, match="no column is known") as caught:
        open_csv(write(tmp_path, "Date,L Income,G Fund,L 2075", rows))
    assert '"date,L Income:close,G Fund:close,L 2075:close"' in (caught.value.hint or "")


def test_the_date_may_be_elsewhere(tmp_path: Path) -> None:
    rows = [",".join(row.split(",")[1:] + row.split(",")[:1]) for row in series(20, 30)]
    with pytest.raises(DataError, match="no column is known") as caught:
        open_csv(write(tmp_path, "G Fund,F Fund,Date", rows))
    assert '"G Fund:close,F Fund:close,date"' in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        (
            "Date,North Sales,South Sales",
            [f"{day},{n * 731 % 97 + 3}.5,{n * 577 % 89 + 2}.1" for n, day in enumerate(DAYS)],
        ),
        (
            "Date,Fund A,Fund B",
            [f"{day},{0.01 * (n % 3 - 1):.3f},{0.02 * (n % 2) - 0.01:.3f}" for n, day in enumerate(DAYS)],
        ),
        (
            "Date,Fund A,Fund B",
            [f"{day},{1000 + 17 * n % 23},{2000 + 13 * n % 29}" for n, day in enumerate(DAYS)],
        ),
        ("Date,Balance,Fees", series(100, 20)),
    ],
)
def test_other_values_are_not_called_closes(tmp_path: Path, header: str, rows: Sequence[str]) -> None:
    with pytest.raises(DataError) as caught:
        open_csv(write(tmp_path, header, rows))
    assert not re.search(r"(Sales|Fund|Balance|Fees)[ AB]*:close", caught.value.hint or "")


# ------------------------------------------------------------------------------------- groups of rows


def funds(header: str, codes: Sequence[str], groups: Sequence[str], sign: str = ";") -> list[str]:
    rows = [header.replace(";", sign), *groups]
    for n, code in enumerate(codes):
        isin = f"INF{n}00K01CD6" if n % 3 else "-"
        rows.append(sign.join((code, isin, "-", f"Fund {n} of Growth", f"{100 + n}.25", "27-Mar-2026")))
        if n == 2:
            rows += ["", "Another House"]
    return rows


CODES = ["920551", "120552", "320272", "420438", "220446", "520503"]
HEADER = "Scheme Code;ISIN Growth;ISIN Reinvestment;Scheme Name;Net Asset Value;Date"


@pytest.mark.parametrize("sign", [";", "|", "\t"])
@pytest.mark.parametrize(
    "groups", [[], [" ", "Open Ended Schemes(Debt)", "", "A House"], ["Equity"], ["Group: A", "House B"]]
)
def test_lines_of_one_field_below_the_header_do_not_hide_it(
    tmp_path: Path, groups: list[str], sign: str
) -> None:
    lines = funds(HEADER, CODES, groups, sign)
    source = open_csv(write(tmp_path, lines[0], lines[1:], "NAVAll.txt"))
    assert records(source)["symbol"].sort().to_list() == sorted(CODES)
    rejects = [reject.raw for batch in source.batches() for reject in batch.rejects]
    assert rejects == [*filter(str.strip, groups), "Another House"]


@pytest.mark.parametrize("name", ["Scheme Code", "Plan code", "Fund Code", "Código", "Kod"])
def test_a_code_with_empty_marks_gives_way(tmp_path: Path, name: str) -> None:
    lines = funds(HEADER.replace("Scheme Code", name), CODES, [])
    source = open_csv(write(tmp_path, lines[0], lines[1:], "NAVAll.txt"))
    assert records(source)["symbol"].sort().to_list() == sorted(CODES)


def test_a_code_without_empty_marks_stays(tmp_path: Path) -> None:
    rows = [f"Q{n}A,{n}5,{10 + n}.5,2024-01-02" for n in range(6)]
    source = open_csv(write(tmp_path, "Code,Sector code,Close,Date", rows))
    assert records(source)["symbol"].to_list() == [f"Q{n}A" for n in range(6)]


# ------------------------------------------------------------------------------------- buying and selling


@pytest.mark.parametrize(
    ("header", "symbols"),
    [
        ("Time,Currency,Buying Rate,Selling Rate", ["EUR", "USD"]),
        ("Pub Time,Currency Name,Buying Rate,Cash Selling Rate,Selling Rate", ["EUR", "USD"]),
        ("发布时间,货币名称,现汇买入价,现钞买入价,现汇卖出价", ["EUR", "USD"]),
        ("日時,通貨,TTB,仲値,TTS", ["EUR", "USD"]),
        ("时间,证券代码,买一价,最新价,卖一价", ["EUR", "USD"]),
        ("time,symbol,bid1_price,last_price,ask1_price", ["EUR", "USD"]),
        ("time,symbol,BuyPrice01,x,SellPrice01", ["EUR", "USD"]),
    ],
)
def test_what_a_bank_buys_and_sells_at_is_bid_and_ask(
    tmp_path: Path, header: str, symbols: Sequence[str]
) -> None:
    is_wide = header.count(",") > 3
    rows = [
        f"2024-01-15 10:0{n}:0{n},{symbol},7.1{n},{f'7.2{n},' if is_wide else ''}7.3{n}"
        for n in range(4)
        for symbol in ("USD", "EUR")
    ]
    source = open_csv(write(tmp_path, header, rows, "rates.csv"))
    found = records(source)
    assert source.record_type == "quote.v1"
    assert found["symbol"].unique().sort().to_list() == symbols
    assert [float(found[0][name].item()) for name in ("bid_price", "ask_price")] == [7.1, 7.3]


def test_one_currency_of_a_bank_is_the_symbol(tmp_path: Path) -> None:
    rows = ["USD\t7.31\t7.34\t2025.04.10 17:51:58\t2025-04-10 12:55:36"]
    header = "Currency Name\tBuying Rate\tSelling Rate\tPub Time\tTimestamp"
    found = records(open_csv(write(tmp_path, header, rows, "exchange_rates.csv")))
    assert found.select("symbol", "ts_event_ns").row(0) == ("USD", 1_744_307_518_000_000_000)


def test_the_currency_of_prices_is_no_symbol(tmp_path: Path) -> None:
    rows = [f"2024-01-15 10:00:0{n},USD,7.1{n},7.3{n}" for n in range(4)]
    source = open_csv(write(tmp_path, "Time,Currency,Bid,Ask", rows, "QAA.csv"))
    assert records(source)["symbol"].unique().to_list() == ["QAA"]


def test_sizes_of_levels_in_lots_are_not_read_as_shares(tmp_path: Path) -> None:
    rows = [f"sz,000001,2022-12-30 09:30:0{n},13.0{n},585414,449,13.03,13.04,3049,7259" for n in range(4)]
    header = "市场代码,证券代码,时间,最新价,成交额,成交量,买一价,卖一价,买一量,卖一量"
    found = records(open_csv(write(tmp_path, header, rows, "tick_data.csv")))
    assert "bid_size" not in found.columns or found["bid_size"].null_count() == found.height
    assert '"买一量":"3049"' in found["extra"][0].encode().decode("unicode_escape")


@pytest.mark.parametrize("name", ["rate", "Exchange Rate", "中间价"])
def test_rates_alone_never_become_trades(tmp_path: Path, name: str) -> None:
    rows = [f"2024-01-15 10:{n * n:02}:0{n},7.1{n}" for n in range(5)]
    path = write(tmp_path, f"timestamp,{name}", rows, "rates.csv")
    with pytest.raises(DataError, match="nothing says are trades") as caught:
        open_csv(path)
    hint = caught.value.hint or ""
    # the rows are not a fixed time apart, so that `date,close` would be refused
    assert "--columns date,price" in hint
    assert "--columns date,close" not in hint
    assert "--columns date,…" in hint
    assert records(open_csv(path, parse_options(columns="date,price"))).height == len(rows)


def test_rates_at_which_somebody_traded_are_trades(tmp_path: Path) -> None:
    rows = [f"2024-01-15 10:{n * n:02}:0{n},buy,7.1{n},{n + 1}" for n in range(5)]
    source = open_csv(write(tmp_path, "timestamp,side,rate,amount", rows, "fills.csv"))
    assert source.record_type == "trade.v1"
