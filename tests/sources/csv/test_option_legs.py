"""Rows of options under the symbol of their underlying are refused; options with their own symbol are not."""

from pathlib import Path

import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.options import parse_options
from tickerlake.sources.csv.read import CsvSource, open_csv

CELLS = {
    "symbol": ["QSPY", "QSPY", "QQQX", "QSPY"],
    "exp": ["19 JAN 24", "19 JAN 24", "16 FEB 24", "16 FEB 24"],
    "strike": ["470", "475", "400", "480"],
    "right": ["CALL", "PUT", "CALL", "PUT"],
    "letter": ["C", "P", "C", "P"],
    "time": ["2024-01-02 15:00:01", "2024-01-02 15:00:02", "2024-01-02 15:00:03", "2024-01-02 15:00:04"],
    "none": ["", "", "", ""],
    "price": ["3.25", "2.75", "11.5", "4.05"],
    "size": ["1", "2", "5", "1"],
    "occ": ["QSPY240119C00470000", "QSPY240119P00475000", "QQQX240216C00400000", "QSPY240216P00480000"],
    "short": ["QSPY24JAN470CE", "QSPY24JAN475PE", "QQQX24FEB400CE", "QSPY24FEB480PE"],
}


def open_columns(
    folder: Path, header: str, columns: str, name: str = "trades.csv", option: str = ""
) -> CsvSource:
    rows = [",".join(row) for row in zip(*(CELLS[each] for each in columns.split(",")), strict=True)]
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n", "utf-8")
    return open_csv(path, parse_options(columns=option or None), ts_recv_ns=1, digest=False)


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("Exec Time,Symbol,Exp,Strike,Type,Price,Qty", "time,symbol,exp,strike,right,price,size"),
        (
            "time,ticker,expiration_date,strike_price,put_call,price,size",
            "time,symbol,exp,strike,letter,price,size",
        ),
        ("Time,Underlying Symbol,Expiry,Strike Rate,Price,Quantity", "time,symbol,exp,strike,price,size"),
        ("timestamp,expiration,strike,right,price,size", "time,exp,strike,letter,price,size"),
        ("Zeit,Symbol,Verfall,Basispreis,Typ,Kurs,Anzahl", "time,symbol,exp,strike,right,price,size"),
        ("time,symbol,strike,type,bid,ask", "time,symbol,strike,right,price,price"),
    ],
)
def test_legs_are_refused(tmp_path: Path, header: str, columns: str) -> None:
    with pytest.raises(DataError, match=r"options, by its columns .*(?:underlying|symbol for each contract)"):
        open_columns(tmp_path, header, columns)


@pytest.mark.parametrize("own", ["occ", "short"])
def test_their_own_symbol(tmp_path: Path, own: str) -> None:
    source = open_columns(
        tmp_path, "time,symbol,exp,strike,type,price,size", f"time,{own},exp,strike,right,price,size"
    )
    assert source.symbols == sorted(CELLS[own])


def test_named_columns_overrule_it(tmp_path: Path) -> None:
    header, columns = "time,symbol,exp,strike,type,price,size", "time,symbol,exp,strike,right,price,size"
    source = open_columns(tmp_path, header, columns, option="time,symbol,,,,price,size")
    assert source.symbols == ["QQQX", "QSPY"]


def test_empty_strikes_are_of_shares(tmp_path: Path) -> None:
    header, columns = "time,symbol,exp,strike,type,price,size", "time,symbol,none,none,none,price,size"
    assert open_columns(tmp_path, header, columns).symbols == ["QQQX", "QSPY"]
