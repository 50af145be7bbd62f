import csv as stdlib_csv
import gzip
import io
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickerlake.errors import DataError
from tickerlake.model.schema import polars_schema
from tickerlake.sources.csv import read
from tickerlake.sources.csv.options import Options
from tickerlake.sources.csv.read import CsvSource, open_csv

DATA = Path(__file__).parents[2] / "data"


def bars(source: CsvSource) -> pl.DataFrame:
    return pl.concat(table.records for table in source.batches())


def write(folder: Path, text: str, name: str = "AAA.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def rejected(source: CsvSource) -> dict[int, str]:
    return {r.line: r.reason for table in source.batches() for r in table.rejects}


def test_day_first_dates_and_a_repeated_date_column() -> None:
    source = open_csv(DATA / "day_first_duplicate_date.csv", ts_recv_ns=7)
    records = bars(source)
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
    assert rejected(source) == {
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
    records = bars(source)
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
    monkeypatch.setattr(read, "SORT_ROWS", limit)
    data = (DATA / "newest_first.csv").read_bytes()
    path = tmp_path / "AAA.csv"
    path.write_bytes(gzip.compress(data) if packed else data)
    source = open_csv(path, chunk=40)
    assert source.order == ("sorted" if limit else "newest first")
    assert bars(source)["source_line"].to_list() == [4, 3, 2]


@pytest.mark.parametrize("chunk", [60, 1 << 20])
@pytest.mark.parametrize("name", ["broken_rows.csv", "day_first_duplicate_date.csv", "newest_first.csv"])
def test_a_cursor_resumes_exactly(name: str, chunk: int) -> None:
    source = open_csv(DATA / name, ts_recv_ns=1, chunk=chunk)
    tables = list(source.batches(batch_rows=3))
    for i, table in enumerate(tables):
        rest = list(source.batches(table.done, batch_rows=2))
        lines = [n for t in tables[i + 1 :] for n in t.records["source_line"]]
        assert [n for t in rest for n in t.records["source_line"]] == lines
        assert [r for t in rest for r in t.rejects] == [r for t in tables[i + 1 :] for r in t.rejects]


def test_duplicates_are_told_apart(tmp_path: Path) -> None:
    head = "Date,Open,High,Low,Close,Volume\n"
    first, second = "2024-01-02,1,2,1,2,5\n", "2024-01-03,1,2,1,2,5\n"
    path = write(tmp_path, head + second + first + first + "2024-01-03,1,2,1,1,5\n")
    source = open_csv(path)
    assert rejected(source) == {4: "duplicate_key", 5: "conflicting_duplicate"}
    assert bars(source)["source_line"].to_list() == [3, 2]


def test_unknown_columns_go_to_extra(tmp_path: Path) -> None:
    path = write(tmp_path, 'Date,Open,High,Low,Close,Note,Year\n2024-01-02,1,2,1,2,"a ""b""",1999\n')
    assert bars(open_csv(path))["extra"].to_list() == ['{"Note":"a \\"b\\"","Year":"1999"}']


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
    records = bars(source)
    assert len(records) == 2
    assert records["ts_open_ns"][0] == opens * 10**9
    if interval:
        assert records["interval"][0] == interval
    assert any("--tz" in w for w in source.warnings) == (times[0] == "2024-01-02 09:30:00")


def test_a_year_that_nanoseconds_cannot_hold_is_no_date(tmp_path: Path) -> None:
    rows = "".join(
        f"{day},1,2,1,2\n" for day in ("2024-01-02 09:30:00", "9999-12-31 00:00:00", "2024-01-02 09:31:00")
    )
    source = open_csv(write(tmp_path, "time,open,high,low,close\n" + rows))
    assert rejected(source) == {3: "unparsable_date"}


def test_the_order_of_day_and_month_is_settled_or_asked(tmp_path: Path) -> None:
    head = "Date,Open,High,Low,Close\n"

    def of(*days: str) -> Path:
        return write(tmp_path, head + "".join(f"{day},1,2,1,2\n" for day in days))

    assert bars(open_csv(of("12/30/2024", "12/31/2024")))["session_date"][0] == date(2024, 12, 30)
    assert bars(open_csv(of("01/02/2024", "02/02/2024", "01/03/2024")))["session_date"][0] == date(2024, 2, 1)
    with pytest.raises(DataError, match="--date-format"):
        open_csv(of("01/02/2012", "02/03/2012"))
    for option in ("MM/DD/YYYY", "%m/%d/%Y"):
        records = bars(open_csv(of("01/02/2012", "02/03/2012"), Options(date_format=option)))
        assert records["session_date"].to_list() == [date(2012, 1, 2), date(2012, 2, 3)]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b'{"error": 1}\n', "not CSV"),
        (b"a,b\n1,2\n", "no column for date, open, high, low, close among a, b"),
        (b"Date,Open,High,Low\n2024-01-02,1,2,1\n", "no column for close"),
        (b"Date,Open,High,Low,Close\n", "has no rows"),
        (b"Date,Open,High,Low,Close\n2024-01-02,a,b,c,d\n", "no rows of dates and numbers"),
        (b"\x1f\x8b\x08\x00junk", "can't be read"),
    ],
)
def test_what_is_no_price_file_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "AAA.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=says) as caught:
        open_csv(path)
    assert "AAA.csv" in caught.value.message
    assert caught.value.hint


def test_a_folder_or_nothing_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.csv"):
        with pytest.raises(DataError):
            open_csv(path)


def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path, "Date,Open,High,Low,Close\n2024-01-02,1,2,1,2\n")
    source = open_csv(path)
    path.write_text("Date,Open,High,Low,Close\n2024-01-02,1,2,1,2.5\n")
    with pytest.raises(DataError, match="changed"):
        bars(source)
    assert open_csv(path).fingerprint != source.fingerprint


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "AAA.csv"
    path.write_bytes("Date;Eröffnung;Hoch;Tief;Schluss\r\n2024-01-02;1;2;1;2\r\n".encode(encoding))
    assert bars(open_csv(path))["close"].to_list() == [2]


prices = st.decimals(Decimal("0.000000001"), 10**9, places=9)


@given(st.lists(st.tuples(prices, prices, st.none() | st.integers(0, 10**12)), min_size=1, max_size=30))
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
    records = bars(open_csv(write(tmp_path_factory.mktemp("t"), text.getvalue())))
    assert records["open"].to_list() == [row[0] for row in rows]
    assert records["close"].to_list() == [row[1] for row in rows]
    assert records["volume"].to_list() == [row[2] for row in rows]


@given(st.lists(st.decimals(Decimal("0.001"), 10**6, places=14), min_size=1))
def test_more_than_nine_decimals_round_half_even(values: list[Decimal]) -> None:
    column = pl.Series([f"{v:f}" for v in values]).cast(pl.Decimal(38, 9))
    assert column.to_list() == [v.quantize(Decimal("1e-9"), "ROUND_HALF_EVEN") for v in values]
