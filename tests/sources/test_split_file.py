"""Files of known splits, as vendors and people write them."""

import gzip
from importlib import resources
from pathlib import Path

import pytest

from tickerlake.errors import UsageError
from tickerlake.model.dates import from_days
from tickerlake.sources.split_file import read_splits


def read(folder: Path, text: str, name: str = "splits.csv") -> dict[str, list[tuple[str, float]]]:
    """Return dates and price factors by symbol."""
    path = folder / name
    path.write_text(text)
    return by_name([path])


def by_name(paths: list[Path]) -> dict[str, list[tuple[str, float]]]:
    known = read_splits(paths)
    return {
        name: [(from_days(each.session).isoformat(), round(each.price_factor, 6)) for each in splits]
        for name, splits in known.by_name.items()
    }


AAPL = {"AAPL": [("2014-06-09", round(1 / 7, 6)), ("2020-08-31", 0.25)]}


@pytest.mark.parametrize(
    "text",
    [
        "symbol,date,ratio\nAAPL,2020-08-31,4:1\nAAPL,2014-06-09,7:1\n",
        "Ticker;Ex-Date;Split Ratio\nAAPL;2014-06-09;7/1\nAAPL;2020-08-31;4/1\n",
        "date\tsymbol\tratio\n20140609\tAAPL\t7\n20200831\tAAPL\t4\n",
        "symbol,date,ratio\nAAPL,2014/06/09,7-for-1\nAAPL,2020/8/31,4 for 1\n",
        "symbol,date,ratio\nAAPL,2014-06-09,7 to 1\nAAPL,2020-08-31,4.0000/1.0000\n",
        "symbol,date,new,old\nAAPL,2014-06-09,7,1\nAAPL,2020-08-31,8,2\n",
        "execution_date,split_from,split_to,ticker\n2014-06-09,1,7,AAPL\n2020-08-31,1,4,AAPL\n",
        "act_symbol,ex_date,to_factor,for_factor\nAAPL,2014-06-09,7.0,1.0\nAAPL,2020-08-31,4.0,1.0\n",
        "symbol,date,label,numerator,denominator\nAAPL,2014-06-09,June,7,1\nAAPL,2020-08-31,August,4,1\n",
        "\ufeffsymbol,date,ratio\n# note\n\nAAPL,2014-06-09,7:1\nAAPL,2020-08-31,4:1\nAAPL,2020-08-31,4\n",
        "Symbol;Date;Ratio\nAAPL;2014-06-09;7,0\nAAPL;2020-08-31;4,0\n",
    ],
)
def test_spellings(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == AAPL


def test_reverse_splits(tmp_path: Path) -> None:
    text = "symbol,date,ratio\nAIG,2009-07-01,1:20\nUSO,2020-04-29,1-for-8\nGE,2021-08-02,0.125\n"
    assert read(tmp_path, text) == {
        "AIG": [("2009-07-01", 20.0)],
        "USO": [("2020-04-29", 8.0)],
        "GE": [("2021-08-02", 8.0)],
    }


def test_bars_with_ratios_cover_their_symbols(tmp_path: Path) -> None:
    of_many = (
        "ticker,date,open,high,low,close,volume,ex-dividend,split_ratio\n"
        "AAPL,2020-08-28,504,506,498,499.23,46907500,0.0,1.0\n"
        "AAPL,2020-08-31,127.6,131,126,129.04,225702700,0.0,4.0\n"
        "MSFT,2020-08-31,227,228,224,225.53,28774200,0.0,1.0\n"
    )
    assert read(tmp_path, of_many) == {"AAPL": [("2020-08-31", 0.25)], "MSFT": []}
    of_one = (
        "Date,Open,Close,Volume,Dividends,Stock Splits\n"
        "2020-08-28 00:00:00-04:00,126.0,124.8,187630000,0.0,0.0\n"
        "2020-08-31 00:00:00-04:00,127.6,129.0,225702700,0.0,4.0\n"
    )
    assert read(tmp_path, of_one, "AAPL.csv") == {"AAPL": [("2020-08-31", 0.25)]}
    of_one = of_one.replace("Stock Splits", "split_coefficient").replace(",0.0,0.0", ",0.0,1.0")
    assert read(tmp_path, of_one, "AAPL_daily.csv") == {"AAPL": [("2020-08-31", 0.25)]}


ADJUSTED = [
    "2014-06-05,647.35,21.60",
    "2014-06-06,645.57,21.54",
    "2014-06-09,93.70,21.89",
    "2014-08-06,94.96,22.18",
    "2014-08-07,94.48,22.18",
    "2020-08-28,499.23,122.11",
    "2020-08-31,129.04,126.25",
]


@pytest.mark.parametrize("newest_first", [False, True])
def test_adjusted_closes_show_splits_but_no_dividends(tmp_path: Path, *, newest_first: bool) -> None:
    rows = sorted(ADJUSTED, reverse=newest_first)
    text = "date,close,adj_close\n" + "\n".join(rows) + "\n"
    assert read(tmp_path, text, "AAPL.csv") == AAPL
    # prices that are adjusted for splits already have none, and coarse ones show none
    text = "Date,Close,Adj Close\n2020-08-28,124.81,122.1\n2020-08-31,129.04,126.2\n1981-01-02,0.12,0.05\n"
    assert read(tmp_path, text, "AAPL.csv") == {"AAPL": []}


def test_the_built_in_bars_show_their_splits() -> None:
    with resources.as_file(resources.files("tickerlake") / "data" / "stocks.csv.gz") as path:
        assert by_name([path]) == {
            "AAPL": [("2000-06-21", 0.5), ("2005-02-28", 0.5)],
            "MSFT": [("2003-02-18", 0.5)],
            **{symbol: [] for symbol in ("FB", "GOOG", "IBM")},
        }


def test_several_files_and_compression(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("symbol,date,ratio\nAAPL,2014-06-09,7:1\n")
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"symbol,date,ratio\nAAPL,2020-08-31,4:1\n"))
    assert by_name([tmp_path / "a.csv", tmp_path / "b.csv.gz"]) == AAPL


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("AAPL,2020-08-31,four", "line 3: 'four' is not a ratio"),
        ("AAPL,2020-08-31,4:0", "line 3: '4:0' is not a ratio"),
        ("AAPL,2020-08-31,-4", "line 3: '-4' is not a ratio"),
        ("AAPL,2020-08-31,400000:1", "line 3: '400000:1' is not a ratio"),
        ("AAPL,2020-02-31,4:1", "line 3: '2020-02-31' is not a date"),
        ("AAPL,8/31/2020,4:1", "line 3: '8/31/2020' is not a date"),
        ("AAPL,2020-08-31", "line 3: the row has 2 cells"),
        (",2020-08-31,4:1", "line 3: the symbol is missing"),
        ("MSFT,2003-02-18,3:1", "line 3: MSFT has two ratios on the same day"),
    ],
)
def test_an_error_names_file_line_and_value(tmp_path: Path, row: str, problem: str) -> None:
    with pytest.raises(UsageError) as raised:
        read(tmp_path, f"symbol,date,ratio\nMSFT,2003-02-18,2:1\n{row}\n")
    assert f"splits.csv, {problem}" in raised.value.message
    assert raised.value.hint


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no columns of dates and ratios: 'AAPL,4:1'"):
        read(tmp_path, "AAPL,4:1\n")
    with pytest.raises(UsageError, match="names no symbol"):
        read(tmp_path, "date,ratio\n2020-08-31,4:1\n", "2020.csv")
    with pytest.raises(UsageError, match="cannot be read"):
        read_splits([tmp_path / "missing.csv"])
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00symbol")
    with pytest.raises(UsageError, match="cannot be read"):
        read_splits([tmp_path / "binary.csv"])
