"""Merging by time, rejecting duplicates, and positions in several files, for any cut into tables."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickerlake.sources import merge as module
from tickerlake.sources.csv.batch import CsvBatch, fill_reject_times, reject_duplicates
from tickerlake.sources.csv.detect.options import Options
from tickerlake.sources.merge import FAN_IN, merge, read_run, write_run
from tickerlake.sources.merged import (
    MergedSource,
    expand_paths,
    open_merged_source,
    repeat_period_ns,
)
from tickerlake.sources.pace import Pace
from tickerlake.sources.source import Batch, TimeShiftedSource

SCHEMA = {"t": pl.Int64, "n": pl.Int64}


def by_time_and_number(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.sort("t", "n")


def streams_of(
    times: Sequence[int], stream_of: Sequence[int], cuts: Sequence[bool]
) -> list[list[pl.DataFrame]]:
    """Sorted rows, distributed over streams, which are cut into tables at ``cuts``."""
    rows = [(t, n) for n, t in enumerate(sorted(times))]
    streams: list[list[pl.DataFrame]] = []
    for number in range(max(stream_of, default=0) + 1):
        tables: list[list[tuple[int, int]]] = [[]]
        for row, stream, cut in zip(rows, stream_of, cuts, strict=True):
            if stream == number:
                tables[-1].append(row)
                if cut:
                    tables.append([])
        streams.append([pl.DataFrame(table, SCHEMA, orient="row") for table in tables])
    return streams


@st.composite
def row_streams(draw: st.DrawFn, max_streams: int = 6) -> list[list[pl.DataFrame]]:
    times = draw(st.lists(st.integers(-5, 12) | st.integers(-(2**62), 2**62), max_size=60))
    size = len(times)
    return streams_of(
        times,
        draw(st.lists(st.integers(0, max_streams - 1), min_size=size, max_size=size)),
        draw(st.lists(st.booleans(), min_size=size, max_size=size)),
    )


def check_merged(streams: list[list[pl.DataFrame]]) -> None:
    tables = list(merge([iter(stream) for stream in streams], "t", by_time_and_number))
    rows = [row for table in tables for row in table.iter_rows()]
    assert rows == sorted(row for stream in streams for table in stream for row in table.iter_rows())
    assert all(table.height for table in tables)
    for before, after in pairwise(tables):
        assert before["t"][-1] < after["t"][0], "an instant is in two tables"


@given(row_streams())
def test_any_split_merges_sorted_and_complete(streams: list[list[pl.DataFrame]]) -> None:
    check_merged(streams)


@given(row_streams(max_streams=20))
@settings(max_examples=50)
def test_more_streams_than_are_merged_at_once(streams: list[list[pl.DataFrame]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "FAN_IN", 2)
        check_merged(streams)


def test_one_stream_more_than_are_merged_at_once() -> None:
    size = 5 * (FAN_IN + 1)
    check_merged(streams_of(list(range(size)), [n % (FAN_IN + 1) for n in range(size)], [True] * size))


def test_an_instant_that_never_ends_is_still_one_table() -> None:
    """All rows of two streams have one time."""
    streams = streams_of([7] * 30, [n % 2 for n in range(30)], [True] * 30)
    check_merged(streams)
    assert len(list(merge([iter(stream) for stream in streams], "t", by_time_and_number))) == 1


def test_no_stream_and_empty_streams() -> None:
    assert list(merge([], "t", by_time_and_number)) == []
    empty = pl.DataFrame(schema=SCHEMA)
    assert list(merge([iter([empty, empty]), iter([])], "t", by_time_and_number)) == []


def test_only_the_next_table_of_each_stream_is_read() -> None:
    pulled = [0, 0]

    def counted(number: int) -> Iterator[pl.DataFrame]:
        for start in range(100):
            pulled[number] += 1
            yield pl.DataFrame([(10 * start + number, start)], SCHEMA, orient="row")

    merged = merge([counted(0), counted(1)], "t", by_time_and_number)
    for yielded in range(1, 50):
        next(merged)
        assert max(pulled) <= yielded + 2


def test_a_spilled_run_is_read_once_and_removed(tmp_path: Path) -> None:
    tables = [pl.DataFrame([(n, n)], SCHEMA, orient="row") for n in range(3)]
    assert [table["t"][0] for table in read_run(write_run(tables, tmp_path))] == [0, 1, 2]
    assert list(tmp_path.iterdir()) == []


# --- reject_duplicates

Bar = tuple[int, str, int, bool]
bars = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from("AB"), st.integers(1, 2), st.booleans()), max_size=25
)


def bar_rows(bar_specs: list[Bar]) -> pl.DataFrame:
    """Bars by time and symbol; some are already rejected, and keep their reason."""
    sorted_bars = sorted(bar_specs, key=lambda bar: bar[:2])
    return pl.DataFrame(
        {
            "ts_open_ns": [bar[0] for bar in sorted_bars],
            "symbol": [bar[1] for bar in sorted_bars],
            "interval": ["1d"] * len(sorted_bars),
            "price_type": ["trade"] * len(sorted_bars),
            **{name: [bar[2] for bar in sorted_bars] for name in ("open", "high", "low", "close")},
            "volume": [None if bar[2] == 2 else 1 for bar in sorted_bars],
            "_reason": ["field_count" if bar[3] and bar[2] == 2 else None for bar in sorted_bars],
            "_skipped": [False] * len(sorted_bars),
        },
        {
            "ts_open_ns": pl.Int64,
            "symbol": pl.String,
            "interval": pl.String,
            "price_type": pl.String,
            **dict.fromkeys(("open", "high", "low", "close", "volume"), pl.Int64),
            "_reason": pl.String,
            "_skipped": pl.Boolean,
        },
    )


def expected_reasons(rows: pl.DataFrame) -> list[str | None]:
    first: dict[tuple[object, ...], tuple[object, ...]] = {}
    reasons: list[str | None] = []
    for row in rows.iter_rows(named=True):
        if row["_reason"] is not None:
            reasons.append(row["_reason"])
            continue
        key = (row["ts_open_ns"], row["symbol"])
        values = tuple(row[name] for name in ("open", "high", "low", "close", "volume"))
        if key not in first:
            first[key] = values
            reasons.append(None)
        else:
            reasons.append("duplicate_key" if first[key] == values else "conflicting_duplicate")
    return reasons


@given(bars, st.data())
def test_any_batching_rejects_the_same_duplicates(given_: list[Bar], data: st.DataObject) -> None:
    rows = bar_rows(given_)
    times = rows["ts_open_ns"].to_list()
    # a table has all rows of an instant: cut only where the time changes
    boundaries = [n for n in range(1, rows.height) if times[n] != times[n - 1]]
    cuts = sorted(set(data.draw(st.lists(st.sampled_from(boundaries), max_size=6)))) if boundaries else []
    tables = [
        rows.slice(start, end - start)
        for start, end in zip([0, *cuts], [*cuts, rows.height], strict=True)
        if end > start
    ]
    out = [reject_duplicates(table) for table in tables]
    assert [table.height for table in out] == [table.height for table in tables]
    assert [reason for table in out for reason in table["_reason"]] == expected_reasons(rows)


def test_rows_that_are_not_bars_pass_through() -> None:
    trades = pl.DataFrame({"ts_event_ns": [1, 1], "_reason": [None, None]})
    assert reject_duplicates(trades).equals(trades)


# --- positions in merged files

HEADER = "time,symbol,open,high,low,close,volume\n"
NOON = datetime(2024, 1, 2, 12, tzinfo=UTC)


def bar(minute: int, symbol: str, volume: object = 5) -> str:
    return f"{(NOON + timedelta(minutes=minute)).isoformat()},{symbol},1,2,1,1.5,{volume}\n"


def rows_of(batch: Batch) -> list[tuple[object, ...]]:
    records = [
        (row["source"], row["source_line"], row["symbol"], row["ts_open_ns"], row["volume"])
        for row in batch.records.iter_rows(named=True)
    ]
    return records + [(reject.file, reject.line, reject.reason, reject.raw) for reject in batch.rejects]


def open_texts(folder: Path, *files: str) -> MergedSource:
    paths = []
    for number, text in enumerate(files):
        path = folder / f"part{number}.csv"
        path.write_text(HEADER + text)
        paths.append(path)
    return open_merged_source(paths, Options(interval="1m"), ts_recv_ns=1)


def open_mixed_files(folder: Path) -> MergedSource:
    """Three files: newest first, invalid rows, duplicates across files, unsorted symbols in an instant."""
    first = "".join(bar(n, symbol) for n in range(40) for symbol in ("ZED", "ACME"))
    second = "".join(bar(n, symbol) for n in reversed(range(30)) for symbol in ("MID", "BETA"))
    third = "".join(bar(n, "ACME", 5 + n % 2) + ("broken\n" if n % 3 == 0 else "") for n in range(10, 45))
    return open_texts(folder, first, second, third)


def check_resumes(replay: MergedSource, batches: Sequence[Batch]) -> None:
    everything = [rows_of(batch) for batch in batches]
    assert batches[-1].position == tuple(source.rows for source in replay.sources)
    for number, batch in enumerate(batches):
        expected = sorted(map(repr, (row for rows in everything[number + 1 :] for row in rows)))
        rest = sorted(repr(row) for table in replay.batches(batch.position) for row in rows_of(table))
        assert rest == expected, f"resumed after batch {number}, done {batch.position}"


@pytest.mark.parametrize("batch_rows", [1, 7, 50_000])
def test_a_replay_resumes_after_any_batch(tmp_path: Path, batch_rows: int) -> None:
    replay = open_mixed_files(tmp_path)
    check_resumes(replay, list(replay.batches(batch_rows=batch_rows)))


def test_batches_contain_whole_instants_in_time_order(tmp_path: Path) -> None:
    tables = list(open_mixed_files(tmp_path).batches(batch_rows=3))
    events = [table.rows["_event_ns"].to_list() for table in tables]
    together = [event for some in events for event in some]
    assert together == sorted(together)
    assert all(before[-1] < after[0] for before, after in pairwise(events))


@pytest.mark.parametrize("rate_s", [10, 30])
def test_a_replay_resumes_after_any_part_of_a_pace(tmp_path: Path, rate_s: int) -> None:
    """``--rate`` cuts batches anywhere, and a run may be killed after any commit."""
    replay = open_mixed_files(tmp_path)
    parts = [part for table in replay.batches() for _, part in Pace(rows_per_s=rate_s).parts(table)]
    assert len(parts) > 10
    check_resumes(replay, parts)


def test_two_files_split_within_an_instant_lose_and_duplicate_nothing(tmp_path: Path) -> None:
    replay = open_texts(
        tmp_path,
        "".join(bar(n, symbol) for n in range(3) for symbol in ("ZED", "ACME")),
        "".join(bar(n, "MID") for n in range(3)),
    )
    everything = [row for table in replay.batches() for row in rows_of(table)]
    first: CsvBatch = next(next(iter(replay.batches())).split(1))
    assert first.rows.height == 3, "rows of one instant stay together"
    rest = [row for each in replay.batches(first.position) for row in rows_of(each)]
    assert sorted(map(repr, rows_of(first) + rest)) == sorted(map(repr, everything))


def test_a_duplicate_is_found_at_any_distance(tmp_path: Path) -> None:
    """Every five minutes, a 5-minute bar ends between the 1-minute bars of two files."""
    minutes = "".join(bar(n, "ACME") for n in range(20))
    fives = "".join(bar(n, "ACME") for n in range(0, 20, 5))
    paths = []
    for name, text in (("A.csv", minutes), ("B.csv", fives), ("C.csv", minutes)):
        paths.append(tmp_path / name)
        paths[-1].write_text(HEADER + text)
    replay = open_merged_source(paths)
    rejects = [reject for table in replay.batches() for reject in table.rejects]
    assert [(reject.file, reject.line, reject.reason) for reject in rejects] == [
        ("C.csv", 2 + n, "duplicate_key") for n in range(20)
    ]


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 6), st.sampled_from(["A", "B", "C"])), min_size=1),
        min_size=2,
        max_size=4,
    ),
    st.integers(1, 9),
)
@settings(max_examples=40)
def test_any_files_give_each_key_once_and_resume(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[tuple[int, str]]], batch_rows: int
) -> None:
    folder = tmp_path_factory.mktemp("files")
    # the rows of a file must be a minute apart, with distinct keys
    files = [
        list(dict.fromkeys([*file, (0, f"OWN{number}"), (1, f"OWN{number}")]))
        for number, file in enumerate(files)
    ]
    texts = ["".join(bar(*pair) for pair in file) for file in files]
    replay = open_texts(folder, *texts)
    batches = list(replay.batches(batch_rows=batch_rows))
    keys = [key for batch in batches for key in batch.records.select("ts_open_ns", "symbol").iter_rows()]
    assert len(keys) == len(set(keys))
    assert len(keys) == len({pair for file in files for pair in file})
    assert sum(len(batch.rejects) for batch in batches) == sum(len(set(file)) for file in files) - len(keys)
    check_resumes(replay, batches)


def test_a_reject_names_its_file_and_row(tmp_path: Path) -> None:
    replay = open_texts(tmp_path, bar(0, "ACME") + bar(1, "ACME"), bar(2, "ACME") + bar(1, "ACME", 9))
    rejects = [reject for table in replay.batches() for reject in table.rejects]
    assert [json.loads(reject.to_json()) for reject in rejects] == [
        {"file": "part1.csv", "line": 3, "reason": "conflicting_duplicate", "raw": bar(1, "ACME", 9).strip()}
    ]


def test_a_reject_has_the_time_of_the_preceding_record_across_tables() -> None:
    times = [[None, 5, None], [None, 7], [None]]
    tables = [pl.DataFrame({"_event_ns": each}, {"_event_ns": pl.Int64}) for each in times]
    assert [table["_event_ns"].to_list() for table in fill_reject_times(tables)] == [[0, 5, 5], [5, 7], [7]]


def test_rows_of_one_instant_are_ordered_by_symbol_file_and_line(tmp_path: Path) -> None:
    symbols = [["MID", "ZED", "ACME"], ["ZOO", "BETA"]]
    replay = open_texts(tmp_path, *("".join(bar(0, symbol) for symbol in each) for each in symbols))
    (table,) = replay.batches()
    assert table.records["symbol"].to_list() == ["ACME", "BETA", "MID", "ZED", "ZOO"]
    trades = [tmp_path / "b.csv", tmp_path / "a.csv"]
    for path in trades:
        path.write_text("timestamp,symbol,price,size\n" + "2024-01-02T12:00:00Z,A,1,1\n" * 2)
    (table,) = open_merged_source(trades).batches()
    assert table.records.select("source", "source_line").rows() == [
        (name, line) for name in ("b.csv", "a.csv") for line in (2, 3)
    ]


# --- a replay in a loop


def test_a_later_cycle_has_later_days_and_distinct_ids(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("timestamp,symbol,price,size,trade_id\n2024-01-02T12:00:00Z,A,1,1,x\n")
    trades = open_merged_source([path])
    (batch,) = TimeShiftedSource(trades, 2, repeat_period_ns(trades)).batches()
    assert batch.records["trade_id"].to_list() == ["x#2"]
    bars_ = open_texts(tmp_path, bar(0, "A") + bar(1, "A") + bar(8 * 24 * 60, "A"))
    (batch,) = TimeShiftedSource(bars_, 3, repeat_period_ns(bars_)).batches()
    # eight days are repeated after two weeks, to keep weekdays
    later = timedelta(weeks=6)
    assert batch.records["session_date"].to_list() == [
        (NOON + timedelta(days) + later).date() for days in (0, 0, 8)
    ]
    assert batch.records["ts_close_ns"][0] == int((NOON + timedelta(minutes=1) + later).timestamp()) * 10**9


# --- names, folders and patterns


def test_a_folder_selects_its_files_by_case_insensitive_suffix(tmp_path: Path) -> None:
    names = ["B.CSV", "a.csv", "c.txt.gz", "d.Zip", "deep/e.csv", "f.tsv", "no.md", "z.csv"]
    (tmp_path / "deep").mkdir()
    for name in reversed(names):
        (tmp_path / name).touch()
    paths = expand_paths([str(tmp_path / "z.csv"), str(tmp_path), str(tmp_path / "deep" / ".." / "a.csv")])
    assert [str(path.relative_to(tmp_path)) for path in paths] == [
        "z.csv", "B.CSV", "a.csv", "c.txt.gz", "d.Zip", "deep/e.csv", "f.tsv",
    ]  # fmt: skip
