"""Units in the names of columns: of shares, of money, and amounts of a currency."""

from pathlib import Path

import polars as pl
import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.columns.close_names import quoted_amount
from tickerlake.sources.csv.detect.columns.layout import bare_unit, role_ranks
from tickerlake.sources.csv.detect.options import parse_options
from tickerlake.sources.csv.read import open_csv

DAYS = [f"2024-01-{day:02}" for day in (2, 3, 4, 5, 8, 15)]


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "tradehistory(JP)_20260915.csv"
    path.write_bytes(text.encode(encoding))
    return path


def error_of(folder: Path, text: str, encoding: str = "utf-8") -> DataError:
    with pytest.raises(DataError) as caught:
        open_csv(write(folder, text, encoding))
    return caught.value


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("数量［株］", "size"),
        ("約定数量【株】", "size"),
        ("単価［円］", "price"),
        ("約定単価(円)", "price"),
        ("単価［USドル］", "price"),
        ("出来高（株）", "volume"),
        ("終値[円]", "close"),
        ("成交量（股）", "volume"),
        ("거래량(주)", "volume"),
        ("Volume [shares]", "volume"),
        ("Quantity (pcs)", "size"),
        ("Anzahl (Stk.)", "size"),
    ],
)
def test_a_unit_is_no_part_of_a_name(name: str, role: str) -> None:
    assert role in role_ranks(name)


@pytest.mark.parametrize("name", ["Close (ETH)", "Price (24h)", "成交量(手)", "数量[口座]", "Change (%)"])
def test_other_words_in_brackets_stay(name: str) -> None:
    assert bare_unit(name) == name


def test_thousands_of_shares_are_counted(tmp_path: Path) -> None:
    rows = "".join(f"{day},100,103,99,10{n},{12 + n}\n" for n, day in enumerate(DAYS, 1))
    source = open_csv(
        write(
            tmp_path, "日付,始値[円],高値[円],安値[円],終値[円],出来高(千株)\n" + rows.replace("103", "109")
        )
    )
    volumes = pl.concat(batch.records for batch in source.batches())["volume"]
    assert [int(volume) for volume in volumes[:2]] == [13_000, 14_000]


JAPANESE = {
    "約定日,受渡日,銘柄コード,銘柄名,売買区分,数量［株］,単価［円］,手数料［円］,受渡金額［円］": [
        "2026/7/22,2026/7/24,9976,架空誘電,買付,100,2600.0,0,260000",
        "2026/7/23,2026/7/27,9967,架空技研,売付,300,1602.5,0,480750",
    ],
    "約定日,銘柄,銘柄コード,取引,約定数量,約定単価,手数料/諸経費等,受渡日,受渡金額/決済損益": [
        "2024/01/10,架空自動車,9903,株式現物買,100,2500,99,2024/01/12,250108",
        "2024/01/11,架空商事,9934,株式現物売,300,2510,99,2024/01/15,752892",
    ],
    "国内約定日,ティッカー,売買,数量［株］,単価［USドル］,為替レート,手数料［USドル］,受渡金額［円］": [
        "2024/1/10,QAA,買付,10,150.25,145.2,4.95,218900",
        "2024/1/11,QBB,売付,20,80.5,145.3,4.95,233000",
        "2024/1/12,QAA,売付,10,151.25,145.1,4.95,218000",
    ],
}


@pytest.mark.parametrize("encoding", ["utf-8", "cp932"])
@pytest.mark.parametrize("header", JAPANESE)
def test_transactions_of_japanese_brokers_are_named(tmp_path: Path, header: str, encoding: str) -> None:
    error = error_of(tmp_path, "\n".join([header, *JAPANESE[header], ""]), encoding)
    assert "account's statement" in error.message
    assert "no time of day" in error.message


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("約定日,銘柄コード,銘柄名,数量［株］,建値［円］", "--columns date,,,,close"),
        ("Date,Fund,Note,Shares,Level Now", "--columns date,,,,close"),
        ("Date,Fund,Note,Qty,Unit cost", "--columns date,,,,close"),
        ("Date,Ticker,Note,Number of shares,Paid", ""),
    ],
)
def test_sizes_are_never_suggested_as_the_close(tmp_path: Path, header: str, expected: str) -> None:
    rows = [f"{day},Q{n},架空,{100 + n},{20 + n}.5" for n, day in enumerate(DAYS)]
    hint = error_of(tmp_path, "\n".join([header, *rows, ""])).hint or ""
    assert ",,,close" not in hint.replace("--columns date,,,,close", "")
    assert expected in hint


@pytest.mark.parametrize(
    ("name", "units"),
    [
        ("1 XDR", 1),
        ("1 XAU", 1),
        ("10 XAG", 10),
        ("100XPT", 100),
        ("1 XPD", 1),
        ("100 KMF", 100),
        ("1000 LBP", 1000),
        ("JPY (100)", 100),
        ("HUF 1000", 1000),
        ("1 XEU", 1),
        ("1 THE", 0),
        ("100 DAY", 0),
        ("USD 10", 0),
        ("5 USD", 0),
    ],
)
def test_amounts_of_a_currency(name: str, units: int) -> None:
    assert quoted_amount(name) == units


@pytest.mark.parametrize(
    "names",
    [
        "1 AUD|100 HUF|1 XDR|1 ZAR",
        "1 USD|1 XAU|10 XAG|1 XPT",
        "AUD (1)|HUF (100)|XDR (1)|JPY (100)",
        "1AUD|100KMF|1XPF|1XDR",
    ],
)
def test_rates_of_several_units(tmp_path: Path, names: str) -> None:
    rows = [f"{day[8:]}.01.2024|15,22{n}|6,51{n}|29,94{n}|1,22{n}" for n, day in enumerate(DAYS)]
    path = tmp_path / "rok.txt"
    path.write_text("\n".join([f"Datum|{names}", *rows, ""]))
    with pytest.raises(DataError, match="decimal separator"):
        open_csv(path)
    records = pl.concat(batch.records for batch in open_csv(path, parse_options(decimal=",")).batches())
    assert records["symbol"].unique().sort().to_list() == sorted(names.split("|"))
    assert records.height == 4 * len(DAYS)
