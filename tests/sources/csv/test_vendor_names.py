"""Names of columns by vendors, and what must not be taken for a symbol."""

from pathlib import Path
from typing import Any

import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.options import Options
from tickerlake.sources.csv.read import CsvSource, open_csv


def source(
    folder: Path, text: str, name: str = "AAA.csv", encoding: str = "utf-8", **options: Any
) -> CsvSource:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return open_csv(path, Options(**options))


def records(csv: CsvSource) -> list[dict[str, Any]]:
    return [row for batch in csv.batches() for row in batch.records.to_dicts()]


def test_bars_of_upbit(tmp_path: Path) -> None:
    header = (
        "market,candle_date_time_utc,candle_date_time_kst,opening_price,high_price,low_price,trade_price,"
        "timestamp,candle_acc_trade_price,candle_acc_trade_volume,unit\n"
    )
    rows = [
        f"KRW-QTC,2023-01-01T{h:02}:00:00,2023-01-{1 + (h + 9) // 24:02}T{(h + 9) % 24:02}:00:00,"
        f"{100 + h}.0,110.5,90.5,{101 + h}.0,{1672534799324 + 3600000 * h},99999.5,{h + 1}.25,60\n"
        for h in range(5)
    ]
    csv = source(tmp_path, header + "".join(reversed(rows)))
    first = records(csv)[0]
    assert (first["symbol"], first["interval"], first["ts_open_ns"]) == ("KRW-QTC", "1h", 1672531200 * 10**9)
    assert [str(first[role])[:6] for role in ("open", "close", "volume")] == ["100.00", "101.00", "1.2500"]
    assert not csv.warnings


@pytest.mark.parametrize(
    ("name", "codes"),
    [("SecuritiesCode", ["1301", "1332"]), ("Asset_ID", ["0", "14"]), ("證券代號", ["2330", "0050"])],
)
def test_a_column_of_codes(tmp_path: Path, name: str, codes: list[str]) -> None:
    rows = [f"2024-01-0{d},{code},10.5,11,10,10.75,{d}00\n" for d in (2, 3, 4) for code in codes]
    csv = source(tmp_path, f"Date,{name},Open,High,Low,Close,Volume\n" + "".join(rows))
    assert {row["symbol"] for row in records(csv)} == set(codes)


TICKS = "成交日期,商品代號,到期月份(週別),成交時間,成交價格,成交數量(B+S),近月價格,遠月價格\n"


@pytest.mark.parametrize("encoding", ["cp950", "utf-8"])
def test_contracts_of_one_product_are_different_symbols(tmp_path: Path, encoding: str) -> None:
    rows = (
        "20240102,QXF    ,202401     ,084500,2415,150,-,-\n"
        "20240102,QXF    ,202402     ,084501,2500,2,-,-\n"
        "20240102,QXF    ,202401/202402,084502,85,2,-,-\n"
        "20240102,QXF    ,202401W2   ,084503,2416,4,-,-\n"
    )
    csv = source(tmp_path, TICKS + rows, "Daily_2024_01_02.csv", encoding)
    assert csv.scan.head.text_file.encoding == encoding
    prices = {row["symbol"]: str(row["price"]) for row in records(csv)}
    assert len(prices) == 4
    assert prices["QXF.202401"] == "2415.000000000"
    assert prices["QXF.202402"] == "2500.000000000"


def test_bars_of_the_nearest_contract_are_one_series(tmp_path: Path) -> None:
    rows = "".join(f"2024-01-{d:02},QXF,2024{1 + d // 17:02},10.5,11,10,10.75,{d}00\n" for d in range(2, 30))
    csv = source(tmp_path, "Date,Symbol,Contract Month,Open,High,Low,Close,Volume\n" + rows)
    assert {row["symbol"] for row in records(csv)} == {"QXF"}


def test_a_contract_month_is_no_symbol(tmp_path: Path) -> None:
    rows = "".join(
        f"2024-01-{d:02} 23:00:00,{d + 10}.5,20240400,{d + 10}.25,20240300,{d + 10}.75,20240600\n"
        for d in range(2, 20)
    )
    header = "DATETIME,CARRY,CARRY_CONTRACT,PRICE,PRICE_CONTRACT,FORWARD,FORWARD_CONTRACT\n"
    try:
        csv = source(tmp_path, header + rows, "QEX_mini.csv")
    except DataError:
        return  # three prices may also be too many
    assert all("2024" not in symbol for symbol in csv.symbols)


@pytest.mark.parametrize("instrument", ["MQQ SEP25", "QES 03-24", "QZM"])
@pytest.mark.parametrize("labels", [("Entry", "Exit"), ("Stop loss", "Profit target"), ("Stop1", "Target1")])
def test_labels_of_orders_are_no_symbols(tmp_path: Path, instrument: str, labels: tuple[str, str]) -> None:
    rows = "".join(
        f"{instrument},{side},{size},22089.25,2025-06-1{size} 09:08:0{size},x{size},{label},"
        f"{labels[size % 2]}\n"
        for size, side, label in (
            (1, "Buy", "Entry"),
            (2, "Sell", "Exit"),
            (3, "Buy", "Entry"),
            (4, "Sell", "Exit"),
        )
    )
    csv = source(tmp_path, "Instrument,Action,Quantity,Price,Time,ID,E/X,Name\n" + rows, "Grid.csv")
    assert {row["symbol"] for row in records(csv)} == {instrument}


def test_executions_of_ninjatrader(tmp_path: Path) -> None:
    header = (
        "Instrument,Action,Quantity,Price,Time,ID,E/X,Position,Order ID,Name,Commission,Rate,Account,"
        "Connection,"
    )
    rows = [
        "MQQ SEP25,Buy,4,22089.25,6/16/2025 21:08,15a,Entry,4 L,249,Entry,$0.00,1,Sim101,Qpex,",
        "MQQ SEP25,Sell,1,22092,6/16/2025 21:09,15b,Exit,3 L,250,Exit,$0.00,1,Sim101,Qpex,",
        "MQQ SEP25,Sell,3,22093.5,6/16/2025 21:09,15c,Exit,-,251,Exit,$0.00,1,Sim101,Qpex,",
    ]
    csv = source(tmp_path, "\n".join((header, *rows)) + "\n", "Grid.csv")
    assert [(row["symbol"], str(row["price"])[:8], str(row["size"])[:1]) for row in records(csv)] == [
        ("MQQ SEP25", "22089.25", "4"),
        ("MQQ SEP25", "22092.00", "1"),
        ("MQQ SEP25", "22093.50", "3"),
    ]


@pytest.mark.parametrize("fraction", ["0040000", "1234567", "0000000"])
def test_ticks_of_ninjatrader(tmp_path: Path, fraction: str) -> None:
    sizes = (3, 1, 7, 40, 2, 9, 25, 4)
    rows = [
        f"20240102 0930{n:02} {fraction};47{50 + n % 2}.25;47{50 + n % 2}.00;47{50 + n % 2}.50;{size}"
        for n, size in enumerate(sizes)
    ]
    csv = source(tmp_path, "\n".join(rows) + "\n", "QES 03-24.Last.txt", tz="UTC")
    first = records(csv)[0]
    assert first["ts_event_ns"] == 1704187800 * 10**9 + 100 * int(fraction)
    assert (str(first["price"])[:7], str(first["size"])[:2]) == ("4750.25", "3.")
    assert "QES" in first["symbol"]


def test_unknown_names_are_shown_in_their_own_script(tmp_path: Path) -> None:
    text = "最後成交日期,參考價格,漲跌幅度\n" + "".join(f"2024010{d},x{d},y\n" for d in range(2, 9))
    with pytest.raises(DataError) as error:
        source(tmp_path, text, encoding="cp950")
    assert "¦" not in error.value.message


def test_code_page_950_has_characters_that_big5_lacks(tmp_path: Path) -> None:
    rows = "".join(f"2024010{d},宏碁,10.5,11,10,10.75,{d}00\n" for d in range(2, 9))
    csv = source(tmp_path, "日期,名稱,開盤價,最高價,最低價,收盤價,成交量\n" + rows, encoding="cp950")
    assert csv.scan.head.text_file.encoding == "cp950"


BAR = "Date,Open,High,Low,Close\n"


def test_one_row_at_midnight_leaves_its_length_open(tmp_path: Path) -> None:
    row = "2020-04-04 00:00:00,1.0847,1.0847,1.0847,1.0847\n"
    with pytest.raises(DataError, match="do not show the length of a bar"):
        source(tmp_path, BAR + row, "EURQSD.csv")
    assert source(tmp_path, BAR + row, "EURQSD.csv", interval="1h").parser.interval == "1h"
    assert source(tmp_path, BAR + row, "EURQSD_5m.csv").parser.interval == "5m"
    daily = source(tmp_path, BAR + row.replace(" 00:00:00", ""), "EURQSD.csv")
    assert (daily.parser.interval, daily.warnings) == ("1d", [])


def test_one_row_of_each_symbol_at_midnight_is_assumed_to_be_daily(tmp_path: Path) -> None:
    rows = "".join(f"{symbol},2020-04-06 00:00:00,1.5,1.75,1.25,1.5\n" for symbol in ("AAA", "BBB", "CCC"))
    csv = source(tmp_path, "Symbol," + BAR + rows)
    assert csv.parser.interval == "1d"
    assert "bars of 1d are assumed" in csv.warnings[0]
    two_days = rows + rows.replace("04-06", "04-07")
    assert not source(tmp_path, "Symbol," + BAR + two_days).warnings
