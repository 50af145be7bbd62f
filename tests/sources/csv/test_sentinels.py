"""Numbers and texts by which vendors mean that there is no value never become one."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.options import Options
from tickerlake.sources.csv.read import open_csv

NUMBERS = (
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775807.0",
    "9.223372036854776e+18",
    "9223372036.854775807",
    "18446744073709551615",
    "2147483647",
    "-2147483648",
    "214748.3647",
    "999999999",
    "9999999",
    "999999.99",
    "-999",
    "-99999",
)
TEXTS = (
    "#N/A N/A",
    "#N/A",
    "#N/A Field Not Applicable",
    "#VALUE!",
    "#DIV/0!",
    "NaN",
    "nan",
    "-nan",
    "-",
    "--",
    "n.a.",
    "null",
    "None",
    "inf",
    "-Infinity",
    "∞",
    "1.#INF",
    "-1.#IND",
    "1.7976931348623157e308",
    "1.79769313486232E+308",
    "-1.7976931348623157e+308",
    "3.4028235e+38",
    "",
)
HEADER = "Date,Open,High,Low,Close,Volume,VWAP\n"


def bar_rows(*last: str, count: int = 20) -> str:
    rows = [
        f"2024-01-{n + 1:02},{10 + n % 3}.5,13.5,9.5,{11 + n % 2},{1000 + n * 7},11.25" for n in range(count)
    ]
    return "\n".join([*rows, *last]) + "\n"


def read(folder: Path, text: str, **options: Any) -> tuple[list[dict[str, Any]], dict[int, str]]:
    path = folder / "AAA.csv"
    path.write_text(text)
    batches = list(open_csv(path, Options(**options)).batches())
    rejects = {each.line: each.reason for batch in batches for each in batch.rejects}
    return [row for batch in batches for row in batch.records.to_dicts()], rejects


@pytest.mark.parametrize("role", ["open", "high", "low", "close"])
@pytest.mark.parametrize("number", NUMBERS)
def test_in_a_price(tmp_path: Path, number: str, role: str) -> None:
    cells = {
        "date": "2024-01-30",
        "open": "11",
        "high": "13",
        "low": "10",
        "close": "12",
        "volume": "5",
        "vwap": "",
    }
    rows, rejects = read(tmp_path, HEADER + bar_rows(",".join((cells | {role: number}).values())))
    assert len(rows) == 20
    assert rejects == {22: "sentinel_value"}


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_in_a_price(tmp_path: Path, text: str) -> None:
    rows, rejects = read(tmp_path, HEADER + bar_rows(f"2024-01-30,11,13,10,{text},5,11"))
    assert len(rows) == 20
    assert rejects == {22: "price_missing"}


@pytest.mark.parametrize(
    "text", [*TEXTS, "9223372036854775807", "18446744073709551615", "-2147483648", "4294967295"]
)
def test_in_an_optional_field(tmp_path: Path, text: str) -> None:
    """The row stays, without this value."""
    for cells in (f"{text},11.5", f"55,{text}", f"{text},{text}"):
        rows, rejects = read(tmp_path, HEADER + bar_rows(f"2024-01-30,11,13,10,12,{cells}"))
        assert not rejects
        volume, vwap = cells.split(",")
        assert rows[-1]["volume"] == (None if volume == text else Decimal(55))
        assert rows[-1]["vwap"] == (None if vwap == text else Decimal("11.5"))


@pytest.mark.parametrize("number", ["999999999", "9999999", "-1", "-999"])
def test_a_volume_that_repeats(tmp_path: Path, number: str) -> None:
    """Once, it may be real, or a typing error."""
    rows, rejects = read(tmp_path, HEADER + bar_rows(f"2024-01-30,11,13,10,12,{number},"))
    assert rejects == ({22: "volume_negative"} if number.startswith("-") else {})
    assert rows[-1]["volume"] == Decimal(1133 if rejects else number)
    last = [f"2024-02-{day:02},11,13,10,12,{number}," for day in range(1, 5)]
    rows, rejects = read(tmp_path, HEADER + bar_rows(*last))
    assert not rejects
    assert [row["volume"] for row in rows[-5:]] == [1133, None, None, None, None]
    rows, rejects = read(tmp_path, HEADER + last[0] + "\n")
    assert not rejects
    assert rows[0]["volume"] is None


def test_numbers_that_can_be_prices(tmp_path: Path) -> None:
    """Yen for a bitcoin; a spread of -1; an index without its volume."""
    yen = "".join(f"2024-03-{n:02},9999999,10000500,9999000,99995{n},1\n" for n in range(10, 30))
    rows, rejects = read(tmp_path, "Date,Open,High,Low,Close,Volume\n" + yen)
    assert not rejects
    assert {row["open"] for row in rows} == {9999999}
    spread = "Date,Open,High,Low,Close,Volume\n2024-01-02,-1,0.5,-1.5,-1,\n2024-01-03,-1,0.25,-999,-1.25,7\n"
    rows, rejects = read(tmp_path, spread, negative_prices=True)
    assert [row["open"] for row in rows] == [-1]
    assert rejects == {3: "sentinel_value"}


def test_a_price_with_nine_decimals_is_one(tmp_path: Path) -> None:
    rows = [f"2024-01-{n:02},0.05,0.06,0.04,0.05" for n in range(2, 25)]
    text = "\n".join(["Date,Open,High,Low,Close", *rows, "2024-01-25,0.05,2.147483647,0.04,0.05\n"])
    records, rejects = read(tmp_path, text)
    assert (records[-1]["high"], rejects) == (Decimal("2.147483647"), {})


def test_a_scaled_price(tmp_path: Path) -> None:
    text = "Date,Open,High,Low,Close\n" + "".join(
        f"2024-01-{n:02},115000000000,120000000000,110000000000,11{n}00000000\n" for n in range(10, 20)
    )
    text += "2024-01-22,9223372036854775807,9223372036854775807,9223372036854775807,9223372036854775807\n"
    rows, rejects = read(tmp_path, text, price_scale=9)
    assert rows[0]["close"] == Decimal("111.000000000")
    assert rejects == {12: "sentinel_value"}


def test_quotes(tmp_path: Path) -> None:
    """A quote may lack one side, and says so; one without both is no quote."""
    rows = [f"2024-01-02T14:30:{s}Z,10{s % 5},{110 + s % 5},{s},7" for s in range(10, 40)]
    rows += [
        "2024-01-02T14:31:00Z,-1,112,-1,7",
        "2024-01-02T14:31:01Z,101,9223372036854775807,5,4294967295",
        "2024-01-02T14:31:02Z,-1,-1,0,0",
        "2024-01-02T14:31:03Z,nan,nan,0,0",
    ]
    records, rejects = read(tmp_path, "time,bid,ask,bid_size,ask_size\n" + "\n".join(rows) + "\n")
    one, other = records[-2:]
    assert (one["bid_price"], one["bid_size"], one["ask_price"]) == (None, None, 112)
    assert (other["bid_price"], other["ask_price"], other["ask_size"]) == (101, None, None)
    assert one["quality"] == other["quality"] == ["sentinel_value"]
    assert rejects == {34: "sentinel_value", 35: "price_missing"}


def test_trades(tmp_path: Path) -> None:
    rows = [f"2024-01-02T14:30:{s}Z,10{s % 5}.5,{s % 7 + 1}" for s in range(10, 40)]
    last = ("100.5,0", "2147483647,5", "100.5,2147483647", "100.5,nan", "100.5,0.000")
    rows += [f"2024-01-02T14:31:0{k}Z,{cells}" for k, cells in enumerate(last)]
    records, rejects = read(tmp_path, "time,price,size\n" + "\n".join(rows) + "\n")
    assert len(records) == 30
    assert list(rejects.values()) == [
        "size_zero",
        "sentinel_value",
        "sentinel_value",
        "size_missing",
        "size_zero",
    ]


def test_trades_that_have_no_sizes(tmp_path: Path) -> None:
    text = "time,price,size\n" + "".join(f"2024-01-02T14:30:{s}Z,10{s % 5}.5,0\n" for s in range(10, 40))
    with pytest.raises(DataError, match="size_zero") as caught:
        read(tmp_path, text)
    assert "--columns time,price" in caught.value.hint
    records, _ = read(tmp_path, text, columns=("time", "price"))
    assert len(records) == 30
    assert "size" not in records[0]


def test_numbers_beyond_all_prices(tmp_path: Path) -> None:
    _, rejects = read(
        tmp_path, HEADER + bar_rows("2024-01-30,11,1e400,10,12,5,11", "2024-01-31,11,13,10,12,1e400,11")
    )
    assert rejects == {22: "unparsable_number", 23: "unparsable_number"}


def test_a_file_without_prices(tmp_path: Path) -> None:
    for number in ("NaN", "9223372036854775807"):
        text = HEADER + "".join(
            f"2024-01-{n},{number},{number},{number},{number},0,\n" for n in range(10, 20)
        )
        with pytest.raises(DataError, match=r"price_missing|sentinel_value") as caught:
            read(tmp_path, text)
        assert "prices are missing" in caught.value.hint


def test_rows_without_a_header(tmp_path: Path) -> None:
    """A number that is none does not hide what the columns are."""
    closes = [Decimal(100 + n * 7 % 5) for n in range(31)]
    rows = [
        f"2024-01-{n:02},{closes[n - 1]},{max(closes[n - 1 : n + 1]) + 1},{min(closes[n - 1 : n + 1]) - 1},"
        f"{closes[n]},{100 + n * 7 % 13}"
        for n in range(1, 31)
    ]
    rows[7] = "2024-01-08" + ",9223372036854775807" * 4 + ",100"
    records, rejects = read(tmp_path, "\n".join(rows) + "\n")
    assert rejects == {8: "sentinel_value"}
    assert [row["close"] for row in records] == [*closes[1:8], *closes[9:31]]
