"""Symbols of files: columns, wide tables and maps of symbols."""

import json
from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from support.process import run
from tickerlake.errors import DataError, TickerlakeError, UsageError
from tickerlake.sources.csv.detect.options import parse_options
from tickerlake.sources.csv.read import open_csv

WRITTEN = [
    "BTC/USD",
    "BRK B",
    "NSE:INFY",
    "$SPX",
    "NIFTY 50",
    "@ES#",
    "ГАЗПРОМ",
    "株価",
    "ES=F",
    "^GSPC",
    "A" * 64,
]


def bars_text(symbols: list[str], *, days: int = 6, column: str = "symbol", by_symbol: bool = False) -> str:
    """Return daily bars; prices of the n-th symbol are near 10 × (n + 1)."""
    rows = []
    for day in range(days):
        for number, symbol in enumerate(symbols):
            price = 10 * (number + 1) + day / 10
            cells = f"{date(2020, 1, 1) + timedelta(day)},{symbol},{price:.2f},{price + 0.3:.2f}"
            rows.append((number, f"{cells},{price - 0.2:.2f},{price + 0.1:.2f},{1000 + 7 * day}\n"))
    if by_symbol:
        rows.sort(key=lambda row: row[0])
    return f"date,{column},open,high,low,close,volume\n" + "".join(text for _, text in rows)


def read(path: Path, **options: Any) -> tuple[pl.DataFrame, dict[int, str]]:
    source = open_csv(path, parse_options(**options), ts_recv_ns=1)
    tables = list(source.batches())
    rejects = {reject.line: reject.reason for table in tables for reject in table.rejects}
    records = pl.concat([table.records for table in tables], how="diagonal")
    assert set(records["symbol"].unique()) <= set(source.symbols)
    return records, rejects


def write(folder: Path, text: str, name: str = "prices.csv") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def opens_by_symbol(records: pl.DataFrame) -> dict[str, list[float]]:
    first = (
        records.sort("ts_open_ns")
        .group_by("symbol", maintain_order=True)
        .agg(pl.col("open").cast(pl.Float64))
    )
    return {symbol: list(opens) for symbol, opens in first.iter_rows()}


# --- columns


@pytest.mark.parametrize(
    "column", ["symbol", "Ticker", "pair", "trading pair", "SYM", "Symbol Name", "Stock Ticker"]
)
@pytest.mark.parametrize("by_symbol", [False, True])
def test_a_column_that_is_called_a_symbol_is_the_symbol(
    tmp_path: Path, column: str, *, by_symbol: bool
) -> None:
    records, rejects = read(
        write(tmp_path, bars_text(WRITTEN, column=column, by_symbol=by_symbol), "AAPL.csv")
    )
    assert rejects == {}
    assert Counter(records["symbol"]) == dict.fromkeys(WRITTEN, 6)
    opens = opens_by_symbol(records)
    assert [opens[symbol][0] for symbol in WRITTEN] == [10 * (n + 1) for n in range(len(WRITTEN))]
    identifiers = dict(records.select("symbol", "instrument_id").iter_rows())
    assert len(set(identifiers.values())) == len(WRITTEN)
    assert identifiers["BTC/USD"] == "BTC~2FUSD.XXXX"


@pytest.mark.parametrize("options", [{}, {"columns": "date,symbol,open,high,low,close,volume"}])
@pytest.mark.parametrize("symbol", WRITTEN)
def test_one_symbol_alone_is_not_replaced_by_the_name_of_the_file(
    tmp_path: Path, symbol: str, options: dict[str, str]
) -> None:
    records, _ = read(write(tmp_path, bars_text([symbol]), "AAPL.csv"), **options)
    assert records["symbol"].unique().to_list() == [symbol]


def test_rows_with_values_that_are_no_symbols_are_rejected(tmp_path: Path) -> None:
    records, rejects = read(write(tmp_path, bars_text(["AAPL", "BTC/USD", "=X", "MSFT"])))
    assert rejects == dict.fromkeys(range(4, 26, 4), "symbol_invalid")
    assert set(records["symbol"]) == {"AAPL", "BTC/USD", "MSFT"}


@pytest.mark.parametrize(
    ("symbols", "value", "rule"),
    [
        (["=A", "=B", "C"], "'=A'", "begins with ="),
        (["<A>"], "'<A>'", "contains <"),
        (["A'B", "C'D"], '"A\'B"', "contains '"),
        (["a" * 65], "a" * 65, "has 65 characters"),
        (["??", "!!"], "'??'", "neither a letter nor a digit"),
        (["A\u200bB"], "A", r"U\+200B"),
        (["2024-01-02"], "2024-01-02", "dates instead of symbols"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"columns": "date,symbol,open,high,low,close,volume"}])
def test_a_column_without_symbols_is_refused_by_name_value_and_rule(
    tmp_path: Path, symbols: list[str], value: str, rule: str, options: dict[str, str]
) -> None:
    with pytest.raises(DataError, match=rule) as error:
        read(write(tmp_path, bars_text(symbols, column="Ticker"), "AAPL.csv"), **options)
    assert "column" in error.value.message
    assert value in error.value.message


def test_an_empty_column_names_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, bars_text([""]), "AAPL.csv")
    assert read(path)[0]["symbol"].unique().to_list() == ["AAPL"]
    with pytest.raises(UsageError, match="empty"):
        read(path, columns="date,symbol,open,high,low,close,volume")


def test_a_symbol_that_only_later_rows_have_is_not_passed_over(tmp_path: Path) -> None:
    text = bars_text(["", "MSFT", "IBM"], days=1100, by_symbol=True)
    with pytest.raises(DataError, match="symbol has several values"):
        read(write(tmp_path, text, "AAPL.csv"))


def test_names_of_companies_are_symbols_if_they_distinguish_rows(tmp_path: Path) -> None:
    path = write(tmp_path, bars_text(["Koç Holding", "L’Oréal S.A."], column="name"), "AAPL.csv")
    assert set(read(path)[0]["symbol"]) == {"Koç Holding", "L’Oréal S.A."}


def test_the_name_of_one_company_is_not_its_symbol(tmp_path: Path) -> None:
    records, _ = read(write(tmp_path, bars_text(["Koç Holding"], column="name"), "KCHOL.csv"))
    assert records["symbol"].unique().to_list() == ["KCHOL"]


def test_the_name_of_one_company_is_better_than_a_symbol_that_is_made_up(tmp_path: Path) -> None:
    path = write(tmp_path, bars_text(["ГАЗПРОМ"], column="Instrument"), "my prices.csv")
    source = open_csv(path, ts_recv_ns=1)
    assert source.symbols == ["ГАЗПРОМ"]
    assert "--symbol" in source.warnings[0]


@pytest.mark.parametrize("symbol", ["BTC/USD", "NSE:INFY", "BRK B", "NIFTY 50", "$SPX"])
@pytest.mark.parametrize("column", ["Instrument", "market", "code", "asset"])
def test_a_column_with_a_vague_name_is_the_symbol_by_its_values(
    tmp_path: Path, symbol: str, column: str
) -> None:
    source = open_csv(write(tmp_path, bars_text([symbol], column=column), "AAPL.csv"), ts_recv_ns=1)
    assert (source.symbols, source.warnings) == ([symbol], [])


@pytest.mark.parametrize("value", ["COMMON STOCK", "NASDAQ GS", "@F I", "Spot Market", "ordinary share"])
def test_other_values_of_such_a_column_are_no_symbol(tmp_path: Path, value: str) -> None:
    records, _ = read(write(tmp_path, bars_text([value], column="issue"), "AAPL.csv"))
    assert records["symbol"].unique().to_list() == ["AAPL"]


def test_names_that_change_after_the_first_rows_are_a_question(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        bars_text(["Koç Holding", "Akbank T.A.Ş."], days=1100, column="name", by_symbol=True),
        "XU.csv",
    )
    with pytest.raises(DataError, match="name has several values") as error:
        read(path)
    assert "--symbol" in error.value.hint
    with pytest.raises(DataError):
        read(path, symbol="XU")  # two series of one symbol


@pytest.mark.parametrize(
    "symbols", [["BTC/USD", "ETH/USD"], ["NIFTY 50", "NIFTY BANK"], ["NSE:A", "NSE:B"], ["$A", "$B"]]
)
def test_a_file_without_a_header(tmp_path: Path, symbols: list[str]) -> None:
    text = bars_text(symbols).split("\n", 1)[1]
    assert set(read(write(tmp_path, text))[0]["symbol"]) == set(symbols)


def test_an_option_names_a_symbol_with_other_characters(tmp_path: Path) -> None:
    records, _ = read(write(tmp_path, bars_text([""])), symbol=" BTC/USD ")
    assert records.select("symbol", "instrument_id").unique().rows() == [("BTC/USD", "BTC~2FUSD.XXXX")]


def test_two_encodings_of_a_symbol_are_one_series(tmp_path: Path) -> None:
    text = bars_text(["E\u0301X"]) + bars_text(["\u00c9X"]).split("\n", 1)[1]
    records, rejects = read(write(tmp_path, text))
    assert records["symbol"].unique().to_list() == ["ÉX"]
    assert Counter(rejects.values()) == {"duplicate_key": 6}


# --- maps


def test_a_map_of_symbols(tmp_path: Path) -> None:
    symbol_map = write(tmp_path, "written,symbol\nBTC/USD,BTC-USD\n=X,X\n\n$SPX,^SPX\n", "map.csv")
    records, rejects = read(
        write(tmp_path, bars_text(["BTC/USD", "=X", "ETH/USD"])), symbol_map=str(symbol_map)
    )
    assert rejects == {}
    assert set(records["symbol"]) == {"BTC-USD", "X", "ETH/USD"}


@pytest.mark.parametrize("text", ["=X;X\n", "\ufeff=X\tX\n", '"=X", "X"\n'])
def test_spellings_of_a_map(tmp_path: Path, text: str) -> None:
    symbol_map = write(tmp_path, text, "map.csv")
    records, _ = read(write(tmp_path, bars_text(["=X"])), symbol_map=str(symbol_map))
    assert records["symbol"].unique().to_list() == ["X"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A,B\nC\n", "line 2: 'C' is not a pair"),
        ("A,B\nC,\n", "line 2"),
        ("A,B\nC,D,E\n", "line 2"),
        ("A,B\n\nC,=D\n", "line 3: '=D' is not a symbol: it begins with ="),
        ("A,B\nA,C\n", "line 2: 'A' is mapped to 'C'"),
        ("\n", "is empty"),
    ],
)
def test_a_wrong_map_is_refused_by_line_and_value(tmp_path: Path, text: str, message: str) -> None:
    symbol_map = write(tmp_path, text, "map.csv")
    with pytest.raises(DataError, match=r"map\.csv") as error:
        parse_options(symbol_map=str(symbol_map))
    assert message in error.value.message


def test_a_map_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"map\.csv cannot be read"):
        parse_options(symbol_map=str(tmp_path / "map.csv"))


def test_symbols_that_become_one_show_their_conflicts(tmp_path: Path) -> None:
    symbol_map = str(write(tmp_path, "XBT,BTC\n", "map.csv"))
    one_after_another = (
        bars_text(["BTC"], days=6) + "2020-02-01,XBT,10,11,9,10,1\n2020-02-02,XBT,10,11,9,10,1\n"
    )
    records, rejects = read(write(tmp_path, one_after_another), symbol_map=symbol_map)
    assert (records["symbol"].unique().to_list(), records.height, rejects) == (["BTC"], 8, {})
    same_days = bars_text(["BTC"], days=6) + "2020-01-02,XBT,10,11,9,10,1\n"
    _, rejects = read(write(tmp_path, same_days), symbol_map=symbol_map)
    assert rejects == {8: "conflicting_duplicate"}


def test_a_map_applies_to_wide_tables_and_names_of_files(tmp_path: Path) -> None:
    symbol_map = str(write(tmp_path, "BTC,BTC/USD\nAAPL,AAPL.US\nXBT,BTC/USD\n", "map.csv"))
    wide = write(tmp_path, wide_text("{symbol}:{role}", ["BTC", "ETH"]))
    assert set(read(wide, symbol_map=symbol_map)[0]["symbol"]) == {"BTC/USD", "ETH"}
    alone = write(tmp_path, bars_text([""]), "AAPL.csv")
    assert set(read(alone, symbol_map=symbol_map)[0]["symbol"]) == {"AAPL.US"}
    both = write(tmp_path, wide_text("{symbol}:{role}", ["BTC", "XBT"]))
    with pytest.raises(DataError, match="two sets of columns"):
        read(both, symbol_map=symbol_map)


def test_the_command_line_takes_a_map(tmp_path: Path) -> None:
    write(tmp_path, "BTC/USD,BTC-USD\n", "map.csv")
    write(tmp_path, bars_text(["BTC/USD"]))
    out, _ = run("convert", "prices.csv", "--symbol-map", "map.csv", cwd=tmp_path)
    assert {json.loads(line)["symbol"] for line in out.splitlines()} == {"BTC-USD"}


# --- wide tables

ROLES = ("open", "high", "low", "close", "volume")
WORDS = [
    "BTC",
    "ETH",
    "EUR",
    "GBP",
    "USD",
    "DE",
    "ET",
    "CT",
    "RS",
    "DB",
    "IN",
    "STK",
    "C",
    "V",
    "LOW",
    "NET",
    "AAPL",
]


def wide_rows(symbols: list[str]) -> list[str]:
    rows = []
    for day in range(8):
        cells = []
        for number, _ in enumerate(symbols):
            price = 10 * (number + 1) + day / 10
            cells.append(
                f"{price:.2f},{price + 0.3:.2f},{price - 0.2:.2f},{price + 0.1:.2f},{1000 + 7 * day}"
            )
        rows.append(f"2024-01-{day + 1:02},{','.join(cells)}\n")
    return rows


def wide_text(form: str, symbols: list[str]) -> str:
    names = [form.format(symbol=symbol, role=role) for symbol in symbols for role in ROLES]
    quoted = [f'"{name}"' if "," in name else name for name in names]
    return f"date,{','.join(quoted)}\n{''.join(wide_rows(symbols))}"


def check_wide(records: pl.DataFrame, symbols: list[str]) -> None:
    opens = opens_by_symbol(records)
    expected = {s: [round(10 * (n + 1) + day / 10, 2) for day in range(8)] for n, s in enumerate(symbols)}
    assert opens == expected


@pytest.mark.parametrize(
    "form",
    [
        "{symbol}:{role}",
        "{symbol}_{role}",
        "{symbol}.{role}",
        "('{role}', '{symbol}')",
        "('{symbol}', '{role}')",
    ],
)
@pytest.mark.parametrize("first", WORDS)
def test_words_are_symbols_in_a_wide_table(tmp_path: Path, form: str, first: str) -> None:
    symbols = [first, *(word for word in ("DE", "QAA", "BTC") if word != first)]
    check_wide(read(write(tmp_path, wide_text(form, symbols)))[0], symbols)


@pytest.mark.parametrize(
    "form", ["{role}_{symbol}", "{role} ({symbol})", "{role} {symbol}", "{role}|{symbol}"]
)
@pytest.mark.parametrize(
    "symbols", [["BTC", "ETH"], ["DE", "ET"], ["USD", "AAPL"], ["BRK.B", "BRK A"], ["日経 225", "Ä"]]
)
def test_a_symbol_may_follow_the_name(tmp_path: Path, form: str, symbols: list[str]) -> None:
    check_wide(read(write(tmp_path, wide_text(form, symbols)))[0], symbols)


@pytest.mark.parametrize(
    "symbols",
    [["DE", "EUR"], ["BTC", "ETH"], ["C", "V"], ["LOW", "OP"], ["BTC/USD", "BRK B"], ["USD", "STK"]],
)
@pytest.mark.parametrize("labels", [("", ""), ("Price", "Ticker"), ("Date", "")])
def test_a_header_of_two_lines(tmp_path: Path, symbols: list[str], labels: tuple[str, str]) -> None:
    names = [role.title() for _ in symbols for role in ROLES]
    tickers = [symbol for symbol in symbols for _ in ROLES]
    top = f"{labels[0]},{','.join(names)}\n{labels[1]},{','.join(tickers)}\n"
    third = f"Date{',' * len(names)}\n" if labels[0] != "Date" else ""
    check_wide(read(write(tmp_path, top + third + "".join(wide_rows(symbols))))[0], symbols)


@pytest.mark.parametrize("form", ["{role}_{symbol}", "{role} ({symbol})", "{role} {symbol}"])
@pytest.mark.parametrize("symbol", ["USD", "EUR", "BTC", "Rs", "INR"])
def test_one_set_of_prices_has_a_unit(tmp_path: Path, form: str, symbol: str) -> None:
    records, _ = read(write(tmp_path, wide_text(form, [symbol]), "AAPL.csv"))
    check_wide(records, ["AAPL"])
    assert records["volume"].null_count() == 0


@pytest.mark.parametrize("form", ["{role}_{symbol}", "{role} ({symbol})", "{role} {symbol}"])
@pytest.mark.parametrize("symbols", [["USD", "EUR"], ["usd", "btc"], ["USD", "BTC"], ["INR", "USDT", "EUR"]])
def test_sets_of_prices_in_several_currencies_are_a_question(
    tmp_path: Path, form: str, symbols: list[str]
) -> None:
    path = write(tmp_path, wide_text(form, symbols), "AAPL.csv")
    with pytest.raises(DataError, match="several currencies") as error:
        read(path)
    assert "--columns" in error.value.hint
    records, _ = read(path, columns=f"date,open,high,low,close,volume{',' * 5 * (len(symbols) - 1)}")
    check_wide(records, ["AAPL"])
    named = ",".join(f"{symbol.upper()}:{role}" for symbol in symbols for role in ROLES)
    check_wide(read(path, columns=f"date,{named}")[0], [symbol.upper() for symbol in symbols])


@pytest.mark.parametrize(
    "symbols", [["DE", "C"], ["BTC/USD", "NIFTY 50"], ["EUR", "STK"], ["日経 225", "ET"]]
)
@pytest.mark.parametrize(
    "form", ["('Close', '{symbol}')", "{symbol}_Close", "{symbol}:close", "Price\nTicker"]
)
def test_words_are_symbols_of_closes(tmp_path: Path, form: str, symbols: list[str]) -> None:
    names = [form.format(symbol=symbol) for symbol in symbols]
    header = "date," + ",".join(f'"{name}"' if "," in name else name for name in names)
    if "\n" in form:
        header = f"Price{',Close' * len(symbols)}\nTicker,{','.join(symbols)}\nDate{',' * len(symbols)}"
    rows = [f"2024-01-{day + 1:02},{10 + day / 10},{20 + day / 10}" for day in range(8)]
    records, rejects = read(write(tmp_path, "\n".join([header, *rows]) + "\n", "AAPL.csv"))
    assert rejects == {}
    closes = {s: records.filter(pl.col("symbol") == s)["close"].cast(pl.Float64).to_list() for s in symbols}
    assert closes == {s: [10 * (n + 1) + day / 10 for day in range(8)] for n, s in enumerate(symbols)}


def test_a_letter_is_no_close_next_to_a_symbol(tmp_path: Path) -> None:
    rows = "".join(f"2024-01-{day + 1:02},{10 + day / 10},{20 + day / 10}\n" for day in range(8))
    with pytest.raises(DataError, match="DE, C"):
        read(write(tmp_path, f"Date,DE,C\n{rows}", "AAPL.csv"))


def test_the_close_of_another_symbol_is_not_mixed_in(tmp_path: Path) -> None:
    header, *rows = wide_text("{symbol}:{role}", ["BTC"]).splitlines()
    lines = [f"{header},ETH:close", *(f"{row},{2000 + n}" for n, row in enumerate(rows))]
    check_wide(read(write(tmp_path, "\n".join(lines) + "\n", "AAPL.csv"))[0], ["BTC"])


def test_prices_of_a_wide_table_that_contradict_its_header(tmp_path: Path) -> None:
    text = wide_text("{symbol}:{role}", ["BTC", "ETH"])
    with pytest.raises(DataError, match="low = low"):
        read(write(tmp_path, text.replace("high", "l0w").replace("low", "high").replace("l0w", "low")))


@pytest.mark.parametrize("form", ["{symbol} {role}", "{role} {symbol}", "{symbol}_{role}"])
@pytest.mark.parametrize("pair", [("Bid", "Ask"), ("adj", "raw"), ("5m", "1h"), ("prev", "unadjusted")])
def test_other_sets_of_prices_are_no_symbols(tmp_path: Path, form: str, pair: tuple[str, str]) -> None:
    path = write(tmp_path, wide_text(form, list(pair)), "AAPL.csv")
    try:
        assert set(read(path)[0]["symbol"]) == {"AAPL"}
    except TickerlakeError as error:
        assert "no column for" in error.message  # noqa: PT017


NAMES = ["Orion Foods A.S.", "Delta Glass Holding", "Vega Steel Corp.", "Lyra Cement plc"]
CODES = ["ORFO.E", "DLTG.E", "VEGA.E", "LYRC.E"]


def named_bars(columns: dict[str, list[str]], *, days: int = 1) -> str:
    """Return daily bars of four instruments, with columns that describe them."""
    lines = [";".join(["date", *columns, "open", "high", "low", "close", "volume"])]
    for day in range(1, days + 1):
        for number in range(4):
            price = 10 * (number + 1) + day / 10
            prices = f"{price:.2f};{price + 0.3:.2f};{price - 0.2:.2f};{price + 0.1:.2f};{1000 + 7 * day}"
            lines.append(f"2024-05-{day:02};{';'.join(each[number] for each in columns.values())};{prices}")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("days", [1, 5])
@pytest.mark.parametrize(
    ("columns", "symbols"),
    [
        ({"SERIES CODE": CODES, "INSTRUMENT NAME": NAMES}, CODES),
        ({"Company": NAMES, "Paper código": ["ORFO3", "DLTG4", "VEGA11", "LYRC3"]}, None),
        ({"Security": NAMES, "İşlem kodu": CODES}, CODES),
        # the name of the column says nothing, its letters do
        ({"Stock Name": NAMES, "Short": ["ORFO", "DLTG", "VEGA", "LYRC"]}, None),
        ({"Company": NAMES, "Listing No code": ["500112", "500113", "532540", "590001"]}, None),
        ({"ISIN": [f"US00000000{n}0" for n in range(4)], "Local sym code": CODES}, CODES),
        ({"ISIN": [f"US00000000{n}0" for n in range(4)], "Name": NAMES, "Kod akcji ticker": CODES}, CODES),
    ],
)
def test_code_beside_a_name_is_the_symbol(
    columns: dict[str, list[str]], symbols: list[str] | None, days: int, tmp_path: Path
) -> None:
    records, rejects = read(write(tmp_path, named_bars(columns, days=days)))
    assert not rejects
    assert records["symbol"].unique().sort().to_list() == sorted(symbols or list(columns.values())[1])


@pytest.mark.parametrize(
    "columns",
    [
        {"Company": NAMES, "Venue code": ["XIST", "XNYS", "XNAS", "XLON"]},
        {"Company": NAMES, "Listing code": ["AA", "AA", "BB", "BB"]},
        {"Company": NAMES, "Currency": ["TRY", "USD", "EUR", "GBP"]},
        {"Company": NAMES, "Order code": ["A1", "A2", "A3", "A4"]},
        {"Company": NAMES, "Internal": ["4711", "4712", "4713", "4714"]},
        {"Stock": CODES, "Internal code": ["4711", "4712", "4713", "4714"]},
        {"Stock": CODES, "ISIN code": [f"US00000000{n}0" for n in range(4)]},
    ],
)
def test_codes_of_something_else_are_no_symbols(columns: dict[str, list[str]], tmp_path: Path) -> None:
    records, _ = read(write(tmp_path, named_bars(columns, days=3)))
    expected = next(iter(columns.values()))
    assert len(records) == 12
    assert {each.split()[0].upper() for each in records["symbol"]} == {
        each.split()[0].upper() for each in expected
    }


def test_endings_give_the_market_of_each_symbol(tmp_path: Path) -> None:
    symbols = ["0700.HK", "7203.T", "BRK.B", "AAPL", "M&M.NS", "トヨタ"]
    records, rejects = read(write(tmp_path, bars_text(symbols)))
    assert not rejects
    ids = dict(records.select("symbol", "instrument_id").iter_rows())
    assert ids == {
        "0700.HK": "0700.HK.XHKG",
        "7203.T": "7203.T.XTKS",
        "BRK.B": "BRK.B.XXXX",
        "AAPL": "AAPL.XXXX",
        "M&M.NS": "M&M.NS.XNSE",
        "トヨタ": "~E3~83~88~E3~83~A8~E3~82~BF.XXXX",
    }


@pytest.mark.parametrize(("symbol", "identifier"), [("VOD.L", "VOD.L.XLON"), ("BRK.B", "BRK.B.XXXX")])
def test_a_symbol_has_the_same_identifier_wherever_it_stands(
    tmp_path: Path, symbol: str, identifier: str
) -> None:
    rows = "".join(f"2024-01-{day:02},1,2,0.5,1.5,10\n" for day in range(1, 9))
    header = "date,open,high,low,close,volume\n"
    wide = f"date,{symbol}:open,{symbol}:high,{symbol}:low,{symbol}:close,{symbol}:volume\n"
    file_map = write(tmp_path, f"X,{symbol}\n", "map.csv")
    for records, _ in (
        read(write(tmp_path, header + rows, f"{symbol}.csv")),
        read(write(tmp_path, header + rows), symbol=symbol),
        read(write(tmp_path, wide + rows)),
        read(write(tmp_path, bars_text(["X", "AAPL"])), symbol_map=file_map),
    ):
        assert records.filter(symbol=symbol)["instrument_id"].unique().to_list() == [identifier]
