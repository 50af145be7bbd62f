import csv as stdlib_csv
import gzip
import io
import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickerlake.errors import DataError
from tickerlake.model.schema import polars_schema
from tickerlake.sources.csv import read
from tickerlake.sources.csv.detect.options import Options
from tickerlake.sources.csv.read import CsvSource, open_csv

DATA = Path(__file__).parents[2] / "data"


def read_bars(source: CsvSource) -> pl.DataFrame:
    return pl.concat(table.records for table in source.batches())


def write(folder: Path, text: str, name: str = "AAA.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def reasons_by_line(source: CsvSource) -> dict[int, str]:
    return {r.line: r.reason for table in source.batches() for r in table.rejects}


def test_day_first_dates_and_a_repeated_date_column() -> None:
    source = open_csv(DATA / "day_first_duplicate_date.csv", ts_recv_ns=7)
    records = read_bars(source)
    assert len(records) == 20
    assert records["session_date"].to_list()[:2] == [date(2022, 1, 3), date(2022, 1, 4)]
    assert records["close"].sum() == Decimal("233.354322")
    assert source.symbols == ["DAY-FIRST-DUPLICATE-DATE"]
    assert "--symbol" in source.warnings[0]
    assert "extra" not in records.columns
    schema = polars_schema("bar.v1")
    assert all(schema[name] == dtype for name, dtype in records.schema.items())


def test_broken_rows_are_rejected_with_line_and_reason() -> None:
    source = open_csv(DATA / "broken_rows.csv")
    assert reasons_by_line(source) == {
        3: "field_count",
        4: "price_missing",
        5: "ohlc_high_lt_low",
        6: "price_nonpositive",
        7: "unparsable_number",
        9: "unparsable_date",
        10: "symbol_missing",
        11: "symbol_invalid",
        12: "volume_negative",
        13: "field_count",
        17: "field_count",
    }
    records = read_bars(source)
    assert records["source_line"].to_list() == [2, 14, 15, 18]
    assert records["open"].to_list()[1] == Decimal("1010.25")
    assert records["quality"].to_list() == [[], [], ["ohlc_open_close_outside_range"], []]
    assert records["volume"].to_list()[-1] is None
    raw = [r.raw for table in source.batches() for r in table.rejects]
    assert raw[0] == "# a note"


@pytest.mark.parametrize("limit", [0, 2_000_000])
@pytest.mark.parametrize("packed", [False, True])
def test_newest_first_comes_out_oldest_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, packed: bool
) -> None:
    monkeypatch.setattr(read, "MAX_IN_MEMORY_SORT_ROWS", limit)
    data = (DATA / "newest_first.csv").read_bytes()
    path = tmp_path / "AAA.csv"
    path.write_bytes(gzip.compress(data) if packed else data)
    source = open_csv(path, chunk_bytes=40)
    assert source.order == ("sorted" if limit else "newest first")
    assert read_bars(source)["source_line"].to_list() == [4, 3, 2]


@pytest.mark.parametrize("chunk", [60, 1 << 20])
@pytest.mark.parametrize("name", ["broken_rows.csv", "day_first_duplicate_date.csv", "newest_first.csv"])
def test_a_cursor_resumes_exactly(name: str, chunk: int) -> None:
    source = open_csv(DATA / name, ts_recv_ns=1, chunk_bytes=chunk)
    tables = list(source.batches(batch_rows=3))
    for i, table in enumerate(tables):
        rest = list(source.batches(table.position, batch_rows=2))
        lines = [n for t in tables[i + 1 :] for n in t.records["source_line"]]
        assert [n for t in rest for n in t.records["source_line"]] == lines
        assert [r for t in rest for r in t.rejects] == [r for t in tables[i + 1 :] for r in t.rejects]


def test_duplicates_are_distinguished(tmp_path: Path) -> None:
    head = "Date,Open,High,Low,Close,Volume\n"
    first, second = "2024-01-02,1,2,1,2,5\n", "2024-01-03,1,2,1,2,5\n"
    path = write(tmp_path, head + second + first + first + "2024-01-03,1,2,1,1,5\n")
    source = open_csv(path)
    assert reasons_by_line(source) == {4: "duplicate_key", 5: "conflicting_duplicate"}
    raw = [r.raw for table in source.batches() for r in table.rejects]
    assert raw == [first.strip(), "2024-01-03,1,2,1,1,5"]
    assert read_bars(source)["source_line"].to_list() == [3, 2]


def test_unknown_columns_go_to_extra(tmp_path: Path) -> None:
    path = write(tmp_path, 'Date,Open,High,Low,Close,Note,Year\n2024-01-02,1,2,1,2,"a ""b""",1999\n')
    assert read_bars(open_csv(path))["extra"].to_list() == ['{"Note":"a \\"b\\"","Year":"1999"}']


@pytest.mark.parametrize(
    ("times", "interval", "opens"),
    [
        (["2024-01-02 09:30:00", "2024-01-02 09:31:00"], "1m", 1704187800),
        (["2024-01-02T09:30:00Z", "2024-01-02T09:35:00.5Z"], "", 1704187800),
        (["2024-01-02 09:30:00-05:00", "2024-01-02 10:30:00-05:00"], "1h", 1704205800),
        (["2024-01-02 00:00:00-05:00", "2024-01-03 00:00:00-05:00"], "1d", 1704153600),
        (["1704187800", "1704188100"], "5m", 1704187800),
        (["1704187800000000000", "1704188100000000000"], "5m", 1704187800),
        (["02-Jan-2024", "03-Jan-2024"], "1d", 1704153600),
        (["20240102", "20240109"], "1w", 1704153600),
    ],
)
def test_times(tmp_path: Path, times: list[str], interval: str, opens: int) -> None:
    rows = "".join(f"{time},1,2,1,2\n" for time in times)
    source = open_csv(write(tmp_path, "time,open,high,low,close\n" + rows))
    records = read_bars(source)
    assert len(records) == 2
    assert records["ts_open_ns"][0] == opens * 10**9
    if interval:
        assert records["interval"][0] == interval
    assert any("--tz" in w for w in source.warnings) == (times[0] == "2024-01-02 09:30:00")


def test_a_year_beyond_the_nanosecond_range_is_rejected(tmp_path: Path) -> None:
    rows = "".join(
        f"{day},1,2,1,2\n" for day in ("2024-01-02 09:30:00", "9999-12-31 00:00:00", "2024-01-02 09:31:00")
    )
    source = open_csv(write(tmp_path, "time,open,high,low,close\n" + rows))
    assert reasons_by_line(source) == {3: "unparsable_date"}


def test_day_month_order_is_inferred_or_must_be_given(tmp_path: Path) -> None:
    head = "Date,Open,High,Low,Close\n"

    def of(*days: str) -> Path:
        return write(tmp_path, head + "".join(f"{day},1,2,1,2\n" for day in days))

    assert read_bars(open_csv(of("12/30/2024", "12/31/2024")))["session_date"][0] == date(2024, 12, 30)
    assert read_bars(open_csv(of("01/02/2024", "02/02/2024", "01/03/2024")))["session_date"][0] == date(
        2024, 2, 1
    )
    with pytest.raises(DataError, match="--date-format"):
        open_csv(of("01/02/2012", "02/03/2012"))
    for option in ("MM/DD/YYYY", "%m/%d/%Y"):
        records = read_bars(open_csv(of("01/02/2012", "02/03/2012"), Options(date_format=option)))
        assert records["session_date"].to_list() == [date(2012, 1, 2), date(2012, 2, 3)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b'{"error": 1}\n', "not CSV"),
        (b"a,b\n1,2\n", "no column for date, open, high, low, close among a, b"),
        (b"Date,Open,High,Low\n2024-01-02,1,2,1\n", "no column for close"),
        (b"Date,Open,High,Low,Close\n", "has no rows"),
        (b"Date,Open,High,Low,Close\n2024-01-02,a,b,c,d\n", "no rows of dates and numbers"),
        (b"\x1f\x8b\x08\x00junk", "cannot be read"),
    ],
)
def test_a_file_without_prices_is_rejected(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "AAA.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        open_csv(path)
    assert "AAA.csv" in caught.value.message
    assert caught.value.hint


def test_a_folder_or_a_missing_file_is_rejected(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.csv"):
        with pytest.raises(DataError):
            open_csv(path)


def test_a_file_that_changes_while_it_is_read_is_detected(tmp_path: Path) -> None:
    path = write(tmp_path, "Date,Open,High,Low,Close\n2024-01-02,1,2,1,2\n")
    source = open_csv(path)
    path.write_text("Date,Open,High,Low,Close\n2024-01-02,1,2,1,2.5\n")
    with pytest.raises(DataError, match="changed"):
        read_bars(source)
    assert open_csv(path).fingerprint != source.fingerprint


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "AAA.csv"
    path.write_bytes("Date;Eröffnung;Hoch;Tief;Schluss\r\n2024-01-02;1;2;1;2\r\n".encode(encoding))
    assert read_bars(open_csv(path))["close"].to_list() == [2]


prices = st.decimals(Decimal("0.000000001"), 10**9, places=9)
volumes = st.integers(0, 10**12).filter(
    lambda n: n not in {2**31 - 1, 2**31, 2**32 - 1} and n % 10**6 != 999_999
)
"""Others may stand for no value: see test_sentinels.py."""


@given(st.lists(st.tuples(prices, prices, st.none() | volumes), min_size=1, max_size=30))
def test_any_table_of_bars_survives(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Decimal, ...]]
) -> None:
    text = io.StringIO()
    writer = stdlib_csv.writer(text)
    writer.writerow(["Date", "Open", "High", "Low", "Close", "Volume"])
    for i, (a, b, volume) in enumerate(rows):
        day = date(2020, 1, 1) + timedelta(i)
        writer.writerow(
            [day, *(f"{x:f}" for x in (a, max(a, b), min(a, b), b)), "" if volume is None else volume]
        )
    records = read_bars(open_csv(write(tmp_path_factory.mktemp("t"), text.getvalue())))
    assert records["open"].to_list() == [row[0] for row in rows]
    assert records["close"].to_list() == [row[1] for row in rows]
    assert records["volume"].to_list() == [row[2] for row in rows]


@given(st.lists(st.decimals(Decimal("0.001"), 10**6, places=14), min_size=1))
def test_more_than_nine_decimals_round_half_even(values: list[Decimal]) -> None:
    column = pl.Series([f"{v:f}" for v in values]).cast(pl.Decimal(38, 9))
    assert column.to_list() == [v.quantize(Decimal("1e-9"), "ROUND_HALF_EVEN") for v in values]


# --- columns other than prices


TRADES = "timestamp,symbol,price,size"
BARS = "Date,Open,High,Low,Close"


def at(second: int) -> str:
    return f"2024-01-02T12:00:{second:02}Z"


def ns(moment: datetime) -> int:
    return int(moment.timestamp()) * 10**9


def test_trade_attributes(tmp_path: Path) -> None:
    rows = [
        ("B", "00", '"14,37"', "7"),
        ("sell", "12", "@ F", ""),
        ("A", "10", "", "9"),
        ("?", "1", "\"['R', 'I']\"", "9"),
        ("BUY", "", "", "t5"),
        ("B", "0", "@", "1"),
        ("B", "0", "@FTI", "1"),
        ("B", "0", "ET XT", "1"),
        ("B", "0", "\"['@', 'Odd Lot']\"", "1"),
    ]
    text = "".join(f"{at(n)},AAA,10,1,{','.join(row)}\n" for n, row in enumerate(rows))
    records = read_bars(open_csv(write(tmp_path, f"{TRADES},side,correction,conditions,trade_id\n{text}")))
    assert records["aggressor_side"].to_list()[:5] == ["buy", "sell", "sell", "none", "buy"]
    assert records["correction"].to_list()[:5] == ["new", "cancel", "cancel", "new", "new"]
    assert records["conditions"].to_list() == [
        *(["14", "37"], ["@", "F"], [], ["R", "I"], []),
        *(["@"], ["@", "F", "T", "I"], ["ET", "XT"], ["@", "Odd Lot"]),
    ]
    assert records["trade_id"].to_list()[:5] == ["7", None, "9", "9", "t5"]


@pytest.mark.parametrize("zero", ["", "0"])
def test_corrections_of_taq(tmp_path: Path, zero: str) -> None:
    # the original and its cancellation are void; of a correction the first record has the corrected data
    expected = {f"{zero}0": "new", f"{zero}1": "new", f"{zero}7": "cancel", f"{zero}8": "cancel"}
    expected |= {"10": "cancel", "11": "cancel", "12": "cancel"}
    text = "".join(f"{at(n)},AAA,10,1,{code}\n" for n, code in enumerate(expected))
    records = read_bars(open_csv(write(tmp_path, f"{TRADES},TR_CORR\n{text}")))
    assert records["correction"].to_list() == list(expected.values())


def test_qualifiers_of_refinitiv_keep_their_fields(tmp_path: Path) -> None:
    cells = [
        "@F I[GV4_TEXT]",
        " 4 W[LSTSALCOND];ODD[IRGCOND]",
        "  T   [GV4_TEXT];131[IRGCOND]; [PRC_QL2]",
        "",
    ]
    text = "".join(f'{at(n)},AAA,10,1,"{cell}"\n' for n, cell in enumerate(cells))
    records = read_bars(open_csv(write(tmp_path, f"{TRADES},Qualifiers\n{text}")))
    assert records["conditions"].to_list() == [cell.strip().split(";") if cell else [] for cell in cells]


def test_the_aggressor_is_the_opposite_of_the_passive_side(tmp_path: Path) -> None:
    rows = "".join(f"{at(n)},AAA,10,1,{maker}\n" for n, maker in enumerate(["True", "false", "1", "0", ""]))
    records = read_bars(open_csv(write(tmp_path, f"{TRADES},is_buyer_maker\n{rows}")))
    assert records["aggressor_side"].to_list() == ["sell", "buy", "sell", "buy", "none"]


def test_quotes_that_cross_or_have_one_side(tmp_path: Path) -> None:
    prices = ["10,11", "12,11", "0,11", "9,"]
    rows = "".join(f"{at(n)},AAA,{pair},1,2\n" for n, pair in enumerate(prices))
    records = read_bars(open_csv(write(tmp_path, f"timestamp,symbol,bid,ask,bid_size,ask_size\n{rows}")))
    assert records["bid_price"].to_list() == [10, 12, None, 9]
    assert records["ask_price"].to_list() == [11, 11, 11, None]
    assert records["quality"].to_list() == [[], ["crossed_quote"], ["sentinel_value"], []]


def test_bars_of_bids_and_their_currency(tmp_path: Path) -> None:
    head = "Date,Bid Open,Bid High,Bid Low,Bid Close,Currency\n"
    records = read_bars(open_csv(write(tmp_path, head + "2024-01-02,1,2,1,2,usd\n2024-01-03,1,2,1,2,\n")))
    assert records["price_type"].to_list() == ["bid", "bid"]
    assert records["currency"].to_list() == ["USD", None]


@pytest.mark.parametrize("cell", ["C:\\new", "a\tb", "{}", 'say "x"'])
def test_extra_is_valid_json_for_any_cell_or_name(tmp_path: Path, cell: str) -> None:
    quoted = cell.replace('"', '""')
    path = write(tmp_path, f'{BARS},Path,"A {{b}}"\n2024-01-02,1,2,1,2,"{quoted}",x\n')
    assert json.loads(read_bars(open_csv(path))["extra"][0]) == {"Path": cell, "A {b}": "x"}


def test_a_symbol_without_prices_on_a_day_is_not_rejected(tmp_path: Path) -> None:
    head = "Date," + ",".join(
        f"{symbol}.{role}" for symbol in "AB" for role in ("Open", "High", "Low", "Close")
    )
    rows = "2024-01-02,1,2,1,2,3,4,3,4\n2024-01-03,1,2,1,2,,,,\n2024-01-04,1,2,1,2,3,4,3,\n"
    path = write(tmp_path, f"{head}\n{rows}")
    source = open_csv(path)
    assert read_bars(source).select("source_line", "symbol").rows() == [
        (2, "A"),
        (2, "B"),
        (3, "A"),
        (4, "A"),
    ]
    assert reasons_by_line(source) == {4: "price_missing"}
    with pytest.raises(DataError, match="2 symbols"):
        open_csv(path, Options(symbol="A"))


def test_magnitude_suffixes(tmp_path: Path) -> None:
    volumes = ["3K", "1.25M", "2B", "2 Lakh", "1.5Cr"]
    rows = "".join(f"2024-01-{2 + n:02},1,2,1,2,{volume}\n" for n, volume in enumerate(volumes))
    records = read_bars(open_csv(write(tmp_path, f"{BARS},Volume\n{rows}")))
    assert records["volume"].to_list() == [3_000, 1_250_000, 2 * 10**9, 200_000, 15_000_000]


def test_a_price_scale_is_exact_and_for_every_price(tmp_path: Path) -> None:
    rows = "2024-01-02,100000000000000001,200000000000000000,100000000000000001,150000000000000000,7,12,11\n"
    path = write(tmp_path, f"{BARS},Volume,VWAP,Adj Close\n{rows}")
    record = read_bars(open_csv(path, Options(price_scale=9))).row(0, named=True)
    assert record["open"] == Decimal("100000000.000000001")
    assert record["close"] == 150_000_000
    assert (record["vwap"], record["adj_close"]) == (Decimal("0.000000012"), Decimal("0.000000011"))
    assert record["volume"] == 7


# --- times


@pytest.mark.parametrize(
    ("opens", "interval", "closes"),
    [
        (["2024-01-02T09:30Z", "2024-01-02T09:35Z"], "5m", "2024-01-02T09:35"),
        (["2024-01-02", "2024-01-03"], "1d", "2024-01-03"),
        (["2024-01-05", "2024-01-12"], "1w", "2024-01-12"),
        (["2024-02-01", "2024-03-01"], "1mo", "2024-03-01"),
        (["2024-01-01", "2024-04-01"], "3mo", "2024-04-01"),
        (["2024-01-01", "2025-01-01"], "1y", "2025-01-01"),
        (["2024-01-02 16:00", "2024-01-03 16:00", "2024-01-04 16:30"], "1d", "2024-01-03"),
    ],
)
def test_a_bar_closes_when_its_interval_ends(
    tmp_path: Path, opens: list[str], interval: str, closes: str
) -> None:
    rows = "".join(f"{day},1,2,1,2\n" for day in opens)
    first = read_bars(open_csv(write(tmp_path, f"{BARS}\n{rows}"))).row(0, named=True)
    assert first["interval"] == interval
    assert first["ts_close_ns"] == ns(datetime.fromisoformat(f"{closes}+00:00"))
    if interval == "1d":
        assert first["ts_open_ns"] == ns(datetime(2024, 1, 2, tzinfo=UTC))


@pytest.mark.parametrize(
    ("days", "opens"),
    [
        (["2024-01-31", "2024-02-29", "2024-03-28", "2024-04-30"], [date(2024, n, 1) for n in (1, 2, 3, 4)]),
        (["2024-01-05", "2024-01-12", "2024-01-18"], [date(2024, 1, n) for n in (1, 8, 15)]),
        (["2023-06-30", "2023-09-29", "2023-12-29"], [date(2023, n, 1) for n in (4, 7, 10)]),
        (["2024-01-01", "2024-02-01", "2024-03-01"], [date(2024, n, 1) for n in (1, 2, 3)]),
        (["2024-01-08", "2024-01-15", "2024-01-22"], [date(2024, 1, n) for n in (8, 15, 22)]),
        (["2024-01-04", "2024-01-11", "2024-01-18"], [date(2024, 1, n) for n in (4, 11, 18)]),
    ],
)
def test_bars_labeled_by_their_last_day(tmp_path: Path, days: list[str], opens: list[date]) -> None:
    rows = "".join(f"{day},1,2,1,2\n" for day in days)
    records = read_bars(open_csv(write(tmp_path, f"{BARS}\n{rows}")))
    assert [moment.date() for moment in pl.from_epoch(records["ts_open_ns"], "ns")] == opens
    assert [f"{day}" for day in records["session_date"]] == days
    assert records["ts_close_ns"].to_list()[:-1] == records["ts_open_ns"].to_list()[1:]


@pytest.mark.parametrize("symbol", ["NA", "NULL", "NAN"])
def test_a_symbol_that_looks_like_a_missing_value_without_a_header(tmp_path: Path, symbol: str) -> None:
    walk = [100 + day * 7 % 11 for day in range(32)]
    rows = "".join(
        f"{symbol},2024-01-{day:02},{walk[day]}.5,115,95,{walk[day + 1]}.5,5000\n" for day in range(1, 31)
    )
    source = open_csv(write(tmp_path, rows, "prices.csv"))
    assert source.symbols == [symbol]


def test_an_unlabeled_volume_is_inferred_from_turnover_or_warned_about(tmp_path: Path) -> None:
    rows = [(f"2024-01-{day:02},10,12,9,11", 1000 + day) for day in range(1, 9)]
    text = "".join(f"{bar},{shares},{shares * 11}\n" for bar, shares in rows)
    records = read_bars(open_csv(write(tmp_path, f"{BARS},Foo,Bar\n{text}")))
    assert records["volume"].to_list() == [shares for _, shares in rows]
    text = "".join(f"{bar},{shares}\n" for bar, shares in rows)
    ones = "".join(f"{bar},1,10.5\n" for bar, _ in rows)
    assert "volume" not in read_bars(open_csv(write(tmp_path, f"{BARS},Foo,Bar\n{ones}"))).columns
    source = open_csv(write(tmp_path, f"{BARS},Foo\n{text}"))
    assert "Foo may be" in source.warnings[0]
    assert json.loads(read_bars(source)["extra"][0]) == {"Foo": "1001"}


def test_trades_may_have_no_size(tmp_path: Path) -> None:
    source = open_csv(write(tmp_path, f"timestamp,symbol,price\n{at(1)},A,10\n{at(2)},A,-1\n"))
    assert read_bars(source)["price"].to_list() == [10]
    assert reasons_by_line(source) == {3: "price_nonpositive"}


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("an order book", f"timestamp,symbol,is_snapshot,side,price,amount\n{at(1)},A,true,bid,10,1\n"),
        (
            "an option chain",
            "Date,Calls,Last,Bid,Ask,Strike,Puts,Last,Bid,Ask\n2024-01-19 10:00Z,C1,1,1,2,30,P1,1,1,2\n",
        ),
    ],
)
def test_other_tables_with_prices_are_rejected(tmp_path: Path, kind: str, text: str) -> None:
    with pytest.raises(DataError, match=rf"holds {kind}.*, by its columns? "):
        open_csv(write(tmp_path, text))


def test_the_interval_of_sparse_bars(tmp_path: Path) -> None:
    """The median gap is two minutes, the most common three; all are multiples of one."""
    minutes = (0, 1, 3, 6, 8, 11, 12, 15, 17, 20)
    rows = "".join(f"2024-01-02T12:{minute:02}:00Z,1,2,1,2\n" for minute in minutes)
    assert set(read_bars(open_csv(write(tmp_path, f"{BARS}\n{rows}")))["interval"]) == {"1m"}


def test_times_that_many_symbols_share(tmp_path: Path) -> None:
    """Each is read once, in any order of the rows."""
    moments = [datetime(2024, 1, 2, 9, tzinfo=UTC) + timedelta(minutes=7 * n) for n in range(300)]
    rows = "".join(f"S{n},{moment:%d-%b-%Y %H:%M},1,2,1,2\n" for moment in moments for n in range(5))
    path = write(tmp_path, f"Symbol,{BARS}\n{rows}")
    records = read_bars(open_csv(path, Options(tz="UTC")))
    assert records["source_line"].to_list() == list(range(2, 1502))
    assert records["ts_open_ns"].to_list() == [ns(moment) for moment in moments for _ in range(5)]


@pytest.mark.parametrize(
    ("zone", "written"), [("America/New_York", "2024-01-02 19:59"), ("Asia/Tokyo", "2024-01-02 08:59")]
)
def test_the_session_date_is_the_exchanges_date(tmp_path: Path, zone: str, written: str) -> None:
    path = write(tmp_path, f"{BARS}\n{written},1,2,1,2\n")
    records = read_bars(open_csv(path, Options(tz=zone, interval="1m")))
    assert records["session_date"].to_list() == [date(2024, 1, 2)]


def test_an_explicit_zone_overrides_the_layouts_zone(tmp_path: Path) -> None:
    rows = "".join(f"T,SBER,1,2,1,2,2024-01-02 10:0{minute}:00\n" for minute in range(3))
    path = write(tmp_path, f"BOARDID,SECID,OPEN,HIGH,LOW,CLOSE,BEGIN\n{rows}")
    for options, hour in ((None, 7), (Options(tz="UTC"), 10)):
        first = read_bars(open_csv(path, options))["ts_open_ns"][0]
        assert first == ns(datetime(2024, 1, 2, hour, tzinfo=UTC))


def test_ambiguous_and_nonexistent_local_times_are_rejected(tmp_path: Path) -> None:
    def of(day: str, *hours: int) -> CsvSource:
        rows = "".join(f"{day} {hour:02}:{minute},1,2,1,2\n" for hour in hours for minute in ("00", "30"))
        return open_csv(write(tmp_path, f"{BARS}\n{rows}"), Options(tz="America/New_York"))

    assert reasons_by_line(of("2024-11-03", 0, 1, 2)) == dict.fromkeys((4, 5), "no_local_time")
    assert reasons_by_line(of("2024-03-10", 1, 2, 3)) == dict.fromkeys((4, 5), "no_local_time")


def test_a_zone_in_three_letters(tmp_path: Path) -> None:
    zones = {"EST": 14, "EDT": 13, "UTC": 9, "CET": 8, "JST": 0}
    for zone, hour in zones.items():
        rows = "".join(f"2024-07-01 09:30:0{second} {zone},AAA,1,1\n" for second in range(3))
        first = read_bars(open_csv(write(tmp_path, f"{TRADES}\n{rows}")))["ts_event_ns"][0]
        assert first == ns(datetime(2024, 7, 1, hour, 30, tzinfo=UTC))


def test_daily_epoch_seconds_starting_on_sundays_suggest_tz(tmp_path: Path) -> None:
    """A day in Tokyo begins at 15:00 UTC on the previous day."""
    days = [date(2024, 1, 8) + timedelta(n) for n in range(12) if n % 7 < 5]
    begin = [int(datetime.combine(day, time(), ZoneInfo("Asia/Tokyo")).timestamp()) for day in days]
    path = write(tmp_path, f"{BARS}\n" + "".join(f"{seconds},1,2,1,2\n" for seconds in begin))
    assert "--tz" in open_csv(path).warnings[0]
    source = open_csv(path, Options(tz="Asia/Tokyo"))
    assert source.warnings == []
    assert read_bars(source)["session_date"].to_list() == days


# --- order of the rows


def test_trades_of_one_time_keep_their_order(tmp_path: Path) -> None:
    newest_first = [3, 2, 2, 2, 1, 1]
    rows = "".join(f"{at(second)},AAA,10,1\n" for second in newest_first)
    source = open_csv(write(tmp_path, f"{TRADES}\n{rows}"))
    assert read_bars(source)["source_line"].to_list() == [7, 6, 5, 4, 3, 2]
    numbered = [(2, 3), (1, 9), (2, 1), (2, 2)]
    rows = "".join(f"{at(second)},AAA,10,1,{number}\n" for second, number in numbered)
    source = open_csv(write(tmp_path, f"{TRADES},sequence\n{rows}"))
    assert read_bars(source)["sequence"].to_list() == [9, 1, 2, 3]


# --- open questions


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        # only weekdays as MM/DD, a Sunday as DD/MM: on so few days, it is chance
        (f"{BARS}\n01/03/2024,1,2,1,2\n02/06/2024,1,2,1,2\n", Options(), "ambiguous"),
        (
            f"{BARS}\n" + "".join(f"01/{day}/2024,1,2,1,2\n" for day in (11, 12, 16, 17, 18)),
            Options(date_format="DD/MM/YYYY"),
            "3 of 5 dates cannot be read as DD/MM/YYYY",
        ),
        (
            f"ticker,per,{BARS}\n" + "".join(f"A,5,2024-01-02T09:{30 + n}Z,1,2,1,2\n" for n in range(9)),
            Options(),
            "column per specifies bars of 5m",
        ),
        (
            f"{BARS}\n" + "".join(f"2024-01-02 {hour}:00,1,2,1,2\n" for hour in (9, 10, 11, 12, 1, 2, 3)),
            Options(tz="UTC"),
            "12-hour clock without AM or PM",
        ),
        (
            "Date,Open,Low,High,Close\n" + "".join(f"2024-01-0{day},2,3,1,2\n" for day in range(1, 7)),
            Options(),
            "the high is not the highest",
        ),
        (
            "symbol,"
            + BARS
            + "\n"
            + "".join(f"A,2024-01-0{n % 5 + 1},{n},{n},{n},{n}\n" for n in range(1, 26)),
            Options(),
            "several rows for each time",
        ),
    ],
    ids=["weekends on few days", "--date-format", "column of intervals", "twelve hours", "header", "series"],
)
def test_contradictory_options_are_rejected(
    tmp_path: Path, text: str, options: Options, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        open_csv(write(tmp_path, text), options)
    assert caught.value.hint
