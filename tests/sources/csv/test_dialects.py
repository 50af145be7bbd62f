"""Any table of bars is read back equal from any file format, or is an error; it is never read differently."""

import re
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, note, settings
from hypothesis import strategies as st

from support.close_tables import CloseFile, Closes, as_closes, write_closes, write_something_else
from support.csv_dialects import FAULTS, WrittenFile, write_in_dialect
from support.csv_tables import ROLES, random_table
from support.other_tables import WRITERS, WrittenTable
from support.wide_tables import write_wide
from tickerlake.errors import DataError, UsageError
from tickerlake.model.interval import DAILY_OR_LONGER
from tickerlake.sources.csv.detect.options import Options
from tickerlake.sources.csv.read import CsvSource, open_csv


def examples(count: int) -> settings:
    """Return the settings of a property test: the same examples on each run."""
    return settings(
        max_examples=count,
        derandomize=True,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


ANY_ROWS = (3, 1, 2, 5, 8, 13, 25, 40, 60)
INTERVALS = ("1d", "1m", "5m", "1h", "1mo")


@st.composite
def any_files(draw: st.DrawFn) -> WrittenFile:
    def pick(options: Any) -> Any:
        return draw(st.sampled_from(options))

    return write_in_dialect(
        pick, random_table(pick, rows=ANY_ROWS, symbols=(1, 1, 2, 3), intervals=INTERVALS)
    )


@st.composite
def plain_files(draw: st.DrawFn) -> WrittenFile:
    """Return an unambiguous file: an English header, dates in one order, decimal points."""

    def pick(options: Any) -> Any:
        return draw(st.sampled_from(options))

    made = random_table(pick, rows=(5, 8, 12, 30, 60), symbols=(1, 1, 3), intervals=INTERVALS)
    return write_in_dialect(pick, made, plain=True, header=True)


@st.composite
def broken_files(draw: st.DrawFn) -> WrittenFile:
    def pick(options: Any) -> Any:
        return draw(st.sampled_from(options))

    faults = draw(st.lists(st.sampled_from(FAULTS), min_size=1, max_size=4))
    made = random_table(pick, rows=(30, 45, 60), symbols=(1, 2), intervals=INTERVALS)
    return write_in_dialect(pick, made, plain=True, header=True, faults=faults)


def save(factory: pytest.TempPathFactory, file: WrittenFile) -> Path:
    note(f"{file.name} {file.options}\n{file.choices}\n{file.text[:2000]!r}")
    path = factory.mktemp("t") / file.name
    path.write_bytes(file.data)
    return path


def read_rows(source: CsvSource, *, daily: bool) -> list[tuple[Any, ...]]:
    """Return the values that the property compares, by time and symbol."""
    rows = [row for batch in source.batches() for row in batch.records.iter_rows(named=True)]
    return sorted(
        (
            (
                row.get("ts_open_ns"),
                row["symbol"],
                row.get("session_date") if daily else None,
                *(row.get(role) for role in (*ROLES, "volume")),
            )
            for row in rows
        ),
        key=lambda row: row[:2],
    )


@examples(120)
@given(any_files())
def test_any_file_round_trips_or_is_rejected(
    tmp_path_factory: pytest.TempPathFactory, file: WrittenFile
) -> None:
    refusal: DataError | None = None
    try:
        source = open_csv(save(tmp_path_factory, file), file.options)
    except DataError as error:
        refusal = error
    if refusal is not None:
        assert re.search("--[a-z]", refusal.hint), refusal
        return
    assert source.record_type == "bar.v1", source.describe()
    assert read_rows(source, daily=file.choices["interval"] in DAILY_OR_LONGER) == file.expected, (
        source.describe()
    )


@examples(100)
@given(plain_files())
def test_an_unambiguous_file_is_not_rejected(
    tmp_path_factory: pytest.TempPathFactory, file: WrittenFile
) -> None:
    source = open_csv(save(tmp_path_factory, file), file.options)
    assert read_rows(source, daily=file.choices["interval"] in DAILY_OR_LONGER) == file.expected, (
        source.describe()
    )


@st.composite
def wide_files(draw: st.DrawFn) -> WrittenFile:
    def pick(options: Any) -> Any:
        return draw(st.sampled_from(options))

    return write_wide(pick, random_table(pick, rows=(5, 8, 30), symbols=(2, 3, 5), intervals=INTERVALS))


@examples(80)
@given(wide_files())
def test_a_wide_table_has_all_of_its_symbols(
    tmp_path_factory: pytest.TempPathFactory, file: WrittenFile
) -> None:
    source = open_csv(save(tmp_path_factory, file), file.options)
    assert read_rows(source, daily=file.choices["interval"] in DAILY_OR_LONGER) == file.expected, (
        source.describe()
    )


@examples(40)
@given(plain_files(), st.sampled_from([1000, 1500, 4000]))
def test_the_size_of_chunks_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, file: WrittenFile, chunk: int
) -> None:
    path = save(tmp_path_factory, file)

    def outcome(size: int) -> object:
        source = open_csv(path, file.options, ts_recv_ns=1, chunk_bytes=size)
        tables = list(source.batches())
        records = [row for each in tables for row in each.records.iter_rows(named=True)]
        return records, [reject for each in tables for reject in each.rejects], source.describe()

    assert outcome(chunk) == outcome(1 << 20)


@examples(60)
@given(broken_files())
def test_exactly_the_broken_rows_are_rejected(
    tmp_path_factory: pytest.TempPathFactory, file: WrittenFile
) -> None:
    source = open_csv(save(tmp_path_factory, file), file.options)
    rejects = {r.line: r.reason for each in source.batches() for r in each.rejects}
    assert sorted(rejects) == file.rejected_lines, rejects
    assert read_rows(source, daily=file.choices["interval"] in DAILY_OR_LONGER) == file.expected


@st.composite
def other_tables(draw: st.DrawFn) -> WrittenTable:
    def pick(options: Any) -> Any:
        return draw(st.sampled_from(options))

    return draw(st.sampled_from(WRITERS))(pick)


@examples(120)
@given(other_tables())
def test_of_other_tables_nothing_but_executions_is_read(
    tmp_path_factory: pytest.TempPathFactory, table: WrittenTable
) -> None:
    note(f"{table.kind}\n{table.text}")
    path = tmp_path_factory.mktemp("t") / "QAA.csv"
    path.write_text(table.text)
    refusal: DataError | None = None
    try:
        source = open_csv(path)
    except DataError as error:
        refusal = error
    if refusal is not None:
        assert refusal.hint
        assert not table.must_read, refusal
        return
    assert source.record_type == "trade.v1", source.describe()
    rows = [row for batch in source.batches() for row in batch.records.iter_rows(named=True)]
    found = sorted((row["symbol"], row["price"], row["size"]) for row in rows)
    assert found == sorted(table.executions), source.describe()


CONTRADICTIONS = {
    "interval": Options(interval="7m"),
    "date_format": Options(date_format="DD.MM.YYYY"),
    "date_format too": Options(date_format="%m-%d-%y"),
    "delimiter": Options(delimiter="^"),
    "decimal": Options(decimal=","),
    "columns": Options(columns=("date", "high", "low", "open", "close")),
    "too many columns": Options(columns=tuple("abcdefghijklmnopqrstuvwxyz")),
}


@pytest.mark.parametrize("option", CONTRADICTIONS)
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("interval", ["1d", "1m"])
def test_an_option_that_contradicts_the_file_is_rejected(
    tmp_path: Path, option: str, delimiter: str, interval: str
) -> None:
    moments = [
        date(2024, 1, 2 + k).isoformat() if interval == "1d" else f"2024-01-02 09:{30 + k}:00"
        for k in range(8)
    ]
    lines = [
        ["Date", "Open", "High", "Low", "Close"],
        *([moment, f"1{k}.25", f"1{k}.75", f"1{k}.05", f"1{k}.5"] for k, moment in enumerate(moments)),
    ]
    path = tmp_path / "AAPL.csv"
    path.write_text("".join(delimiter.join(cells) + "\n" for cells in lines))
    assert len(read_rows(open_csv(path), daily=True)) == len(moments)
    with pytest.raises((DataError, UsageError)) as caught:
        open_csv(path, CONTRADICTIONS[option])
    assert caught.value.hint


def test_a_symbol_option_for_a_file_of_several_symbols_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    rows = "".join(f"{day},{name},1,2,1,2\n" for day in ("2024-01-02", "2024-01-03") for name in ("A", "B"))
    path.write_text("Date,Symbol,Open,High,Low,Close\n" + rows)
    with pytest.raises(DataError, match="--symbol"):
        open_csv(path, replace(Options(), symbol="C"))


@st.composite
def close_files(draw: st.DrawFn, *, plain: bool = False) -> CloseFile:
    def pick(options: Any) -> Any:
        return draw(st.sampled_from(options))

    rows = (8, 25, 40) if plain else ANY_ROWS
    made = random_table(pick, rows=rows, symbols=(1, 2, 3, 6), intervals=("1d",))
    return write_closes(pick, made, plain=plain)


def read_closes(factory: pytest.TempPathFactory, file: CloseFile) -> Closes:
    note(f"{file.name} {file.form}\n{file.text[:1500]}")
    path = factory.mktemp("t") / file.name
    path.write_text(file.text, "utf-8")
    source = open_csv(path)
    assert source.record_type == "bar.v1", source.describe()
    rows = [row for each in source.batches() for row in each.records.iter_rows(named=True)]
    assert {row["interval"] for row in rows} == {"1d"}
    closes = as_closes(rows)
    assert len(closes) == len(rows)
    return closes


@examples(150)
@given(close_files())
def test_any_table_of_closes_round_trips_or_is_rejected(
    tmp_path_factory: pytest.TempPathFactory, file: CloseFile
) -> None:
    refusal: DataError | None = None
    closes: Closes = {}
    try:
        closes = read_closes(tmp_path_factory, file)
    except DataError as error:
        refusal = error
    assert re.search("--[a-z]", refusal.hint) if refusal else closes == file.expected, refusal


@examples(80)
@given(close_files(plain=True))
def test_an_unambiguous_table_of_closes_is_not_rejected(
    tmp_path_factory: pytest.TempPathFactory, file: CloseFile
) -> None:
    assume(_is_clear(file))
    assert read_closes(tmp_path_factory, file) == file.expected


def _is_clear(file: CloseFile) -> bool:
    """Return whether the values can only be prices: above 1, and seldom the same or far apart."""
    closes: dict[str, list[float]] = {}
    for (symbol, _), close in sorted(file.expected.items(), key=lambda each: each[0][1]):
        closes.setdefault(symbol, []).append(float(close))
    steps = [abs(b / a - 1) for each in closes.values() for a, b in pairwise(each)]
    changes = sum(step > 0 for step in steps)
    return max(steps) < 0.06 and changes > 0.5 * len(steps) and min(min(each) for each in closes.values()) > 1


@examples(100)
@given(st.data())
def test_tables_of_something_else_are_never_closes(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    def pick(options: Any) -> Any:
        return data.draw(st.sampled_from(options))

    days = [date(2024, 1, 1) + timedelta(n) for n in range(pick((12, 20, 40)))]
    text = write_something_else(pick, Random(pick(range(100))), days)
    note(text[:800])
    path = tmp_path_factory.mktemp("t") / "table.csv"
    path.write_text(text)
    with pytest.raises(DataError):
        open_csv(path)


def test_symbols_with_their_market_do_not_hide_the_tabs(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("Date\tSymbol\tClose\nJan 2, 2024\tNSE:INFY\t100.77\nJan 3, 2024\tNSE:INFY\t101.99\n")
    rows = [row for each in open_csv(path).batches() for row in each.records.iter_rows(named=True)]
    assert [(row["symbol"], row["close"]) for row in rows] == [
        ("NSE:INFY", Decimal("100.77")),
        ("NSE:INFY", Decimal("101.99")),
    ]


def test_numbers_of_twelve_digits_are_dates_only_in_a_plausible_century(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    path.write_text(
        "".join(
            f"2024-01-0{day},{symbol},{100 + day}080000000,{101 + day}330000000,99820000000,"
            f"{100 + day}770000000,543\n"
            for day in (2, 3, 4)
            for symbol in ("AAPL", "MSFT")
        )
    )
    source = open_csv(path)
    assert source.record_type == "bar.v1", source.describe()
    rows = [row for each in source.batches() for row in each.records.iter_rows(named=True)]
    assert [(row["symbol"], str(row["session_date"])) for row in rows[:3]] == [
        ("AAPL", "2024-01-02"),
        ("MSFT", "2024-01-02"),
        ("AAPL", "2024-01-03"),
    ]
