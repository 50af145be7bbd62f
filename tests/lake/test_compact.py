"""Curated files hold each record once, despite crashes, retries, revisions and late records."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.lake_builder import LakeTopic, bar, trade, utc_dates
from tickerlake.errors import LakeError, ObjectExists, StoreUnavailable
from tickerlake.lake import curated
from tickerlake.lake.audit.curated import audit_curated
from tickerlake.lake.compact import CompactionProgress, CompactionStep, Compactor
from tickerlake.lake.formats.rows import checksum
from tickerlake.lake.store.base import Store
from tickerlake.lake.store.local import LocalStore
from tickerlake.lake.store.memory import MemoryStore
from tickerlake.lake.topic import Format
from tickerlake.lake.typed_records import Chunk, Records, frame_schema, read_chunk

FORMATS: list[Format] = ["ndjson", "parquet", "json"]


def compact(store: Store, folder: Path, **options: Any) -> CompactionProgress:
    return Compactor(store, utc_dates, folder / "spool", **options).run()


def rows(store: Store, record_type: str) -> pl.DataFrame:
    """Read the curated files without the code under test."""
    frames = []
    for file in curated.read_state(store).files_of(record_type):
        frame = pl.read_parquet(store.read(file.key))
        interval = file.key.partition("interval=")[2].partition("/")[0]
        frames.append(frame.with_columns(interval=pl.lit(interval)) if interval else frame)
    return pl.concat(frames) if frames else frame_schema(record_type).to_frame()


def curated_sizes(store: Store) -> dict[str, int]:
    return {info.key: info.size for info in store.list("curated/")}


def assert_no_findings(store: Store) -> None:
    for result in audit_curated(store, deep=True):
        assert not result.findings, result.findings


@pytest.mark.parametrize("fmt", FORMATS)
def test_each_record_is_stored_once_in_order(tmp_path: Path, fmt: Format) -> None:
    store = LocalStore(tmp_path / "lake")
    topic = LakeTopic(store, "t", fmt)
    for minute in range(0, 60, 20):
        topic.add_segment([bar(symbol, m) for m in range(minute, minute + 20) for symbol in ("B", "A")])
    done = compact(store, tmp_path)
    assert (done.records, done.files, done.rejects, done.superseded) == (120, 1, 0, 0)
    (key,) = curated.read_state(store).files
    assert key.startswith("curated/bars/interval=1m/date=2024-01-01/")
    bars = rows(store, "bars")
    assert bars.get_column("kafka_offset").n_unique() == bars.height == 120
    assert bars.select("instrument_id", "ts_open_ns").equals(
        bars.select("instrument_id", "ts_open_ns").sort("instrument_id", "ts_open_ns")
    )
    assert bars.schema["open"] == pl.Decimal(38, 9)
    assert compact(store, tmp_path).steps == 0
    assert_no_findings(store)


def test_partitioning_by_day_with_years_for_daily_bars_and_months_for_alerts(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "lake")
    days = [bar("A", 0, day=day, interval="1d") for day in (0, 1, 40, 400)]
    LakeTopic(store, "t").add_segment([*days, bar("A", 0, day=1)])
    LakeTopic(store, "x").add_segment([trade("A", 0, day=day) for day in (0, 1)])
    compact(store, tmp_path)
    assert [str(file.folder.date) for file in curated.read_state(store).files_of("trades")] == [
        "2024-01-01",
        "2024-01-02",
    ]
    bars = {
        (f.folder.interval, str(f.folder.date)): f.rows for f in curated.read_state(store).files_of("bars")
    }
    assert bars == {("1d", "2024-01-01"): 3, ("1d", "2025-01-01"): 1, ("1m", "2024-01-02"): 1}


def test_late_records_join_their_date_without_tiny_files(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "lake")
    topics = [LakeTopic(store, "b"), LakeTopic(store, "t")]
    for minute in range(5):
        topics[0].add_segment([bar("A", minute), bar("C", minute)])
        topics[1].add_segment([trade("A", minute)])
        compact(store, tmp_path)
    files = curated.read_state(store).files
    assert len(files) == 2
    assert sorted(file.rows for file in files.values()) == [5, 10]
    assert_no_findings(store)


def test_full_files_are_rewritten_only_for_affected_instruments(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "lake")
    topic = LakeTopic(store, "t")
    topic.add_segment([bar(symbol, m) for symbol in "ABCD" for m in range(10)])
    compact(store, tmp_path, file_rows=20)
    before = curated.read_state(store).files
    assert [(f.first, f.last, f.rows) for f in before.values()] == [
        ("A.XXXX", "B.XXXX", 20),
        ("C.XXXX", "D.XXXX", 20),
    ] or len(before) == 2
    topic.add_segment([bar("D", 3, revision=1)])
    compact(store, tmp_path, file_rows=20)
    after = curated.read_state(store).files
    assert len(before.keys() & after.keys()) == 1
    assert rows(store, "bars").height == 40
    assert_no_findings(store)


def test_the_highest_revision_wins_whatever_its_order(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "lake")
    topic = LakeTopic(store, "t")
    topic.add_segment([bar("A", 0), bar("A", 1, revision=3)])
    compact(store, tmp_path)
    topic.add_segment([bar("A", 0, revision=2), bar("A", 1, revision=2), bar("A", 0, revision=1)])
    done = compact(store, tmp_path)
    assert done.superseded == 3
    assert rows(store, "bars").sort("ts_open_ns").get_column("revision").to_list() == [2, 3]
    assert_no_findings(store)


def test_equal_trades_all_count(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "lake")
    LakeTopic(store, "t").add_segment([trade("A", 1)] * 5)
    compact(store, tmp_path)
    assert rows(store, "trades").height == 5


@pytest.mark.parametrize("fmt", FORMATS)
def test_rejects_are_stored_with_reasons(tmp_path: Path, fmt: Format) -> None:
    store = LocalStore(tmp_path / "lake")
    topic = LakeTopic(store, "t", fmt)
    valid = trade("A", 1)
    invalid_price = {**valid, "price": "dear"}
    without_price = {name: value for name, value in valid.items() if name != "price"}
    foreign = {**valid, "schema": "order.v1"}
    topic.add_segment([valid, invalid_price, without_price, foreign, None, {**valid, "size": 2}])
    done = compact(store, tmp_path)
    assert (done.records, done.rejects) == (6, 4)
    (key,) = [info.key for info in store.list(curated.REJECTS)]
    lines = pl.read_ndjson(store.read(key))
    assert lines.get_column("kafka_offset").to_list() == [1, 2, 3, 4]
    reasons = lines.get_column("reason").to_list()
    assert reasons[0].startswith("price is missing or invalid")
    assert reasons[1].startswith("price is missing or invalid")
    assert reasons[2] == "schema 'order.v1' is not one of tickerlake"
    assert "tombstone" in reasons[3]
    assert all("raw/t/partition=0/" in key for key in lines.get_column("object"))
    assert rows(store, "trades").height == 2
    assert_no_findings(store)


def test_an_interval_that_is_not_a_valid_folder_name_is_rejected(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "lake")
    names = ["1m", "1W", "../../up", "a/b", "", "1m\n"]
    LakeTopic(store, "t").add_segment([bar("A", 0, interval=name) for name in names])
    done = compact(store, tmp_path)
    assert (done.rejects, done.files) == (5, 1)
    (key,) = [info.key for info in store.list(curated.REJECTS)]
    assert "interval '1W' is not one such" in pl.read_ndjson(store.read(key)).get_column("reason")[0]
    assert compact(store, tmp_path).steps == 0
    assert_no_findings(store)


@pytest.mark.parametrize("fmt", FORMATS)
def test_objects_without_records_are_rejected_as_a_whole(tmp_path: Path, fmt: Format) -> None:
    store = LocalStore(tmp_path / "lake")
    LakeTopic(store, "other", fmt).add_segment([b'{"hello":1}', b"[1]"])
    done = compact(store, tmp_path)
    assert (done.records, done.files, done.rejects_by_topic) == (2, 0, {"other": 2})
    (key,) = [info.key for info in store.list(curated.REJECTS)]
    (reject,) = pl.read_ndjson(store.read(key)).to_dicts()
    assert (reject["kafka_offset"], reject["line"], reject["rows"]) == (0, 1, 2)
    assert reject["reason"] == ("none of 2 rows names a schema of tickerlake; the first: schema is missing")
    assert compact(store, tmp_path).steps == 0
    assert_no_findings(store)


def test_until_excludes_later_records(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "lake")
    topic = LakeTopic(store, "t")
    for when in (10, 20, 30):
        topic.add_segment([bar("A", when)], timestamp_ms=when)
    assert compact(store, tmp_path, until_ms=20).records == 1
    assert compact(store, tmp_path, until_ms=20).records == 0
    assert compact(store, tmp_path).records == 2
    assert_no_findings(store)


def test_many_steps_give_the_same_rows(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "lake")
    topic = LakeTopic(store, "t")
    for minute in range(12):
        topic.add_segment([bar(symbol, minute, day=minute % 2) for symbol in "ABC"])
    done = compact(store, tmp_path, step_rows=7, file_rows=10)
    assert done.steps > 3
    assert rows(store, "bars").get_column("kafka_offset").sort().to_list() == list(range(36))
    assert_no_findings(store)


class Crash(Exception):
    """Stands for the end of the process."""


class CrashingStore(MemoryStore):
    """A store that crashes at the n-th write, before or after the object is stored."""

    def __init__(self, name: str, writes: int, *, after: bool) -> None:
        super().__init__(name)
        self._writes_left = writes
        self._after = after

    def create(self, key: str, data: bytes, **more: Any) -> None:
        self._writes_left -= 1
        if self._writes_left < 0 and not self._after:
            raise Crash
        super().create(key, data, **more)
        if self._writes_left < 0:
            raise Crash


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(6))
def test_a_compaction_killed_anywhere_and_rerun_gives_the_same_files(
    tmp_path: Path, at: int, after: bool
) -> None:
    def fill(name: str) -> MemoryStore:
        store = MemoryStore(name)
        topic = LakeTopic(store, "t")
        topic.add_segment([bar("A", 0), bar("B", 1, day=1), b'{"schema":"bar.v1"}'])
        topic.add_segment([bar("A", 2, day=2), bar("A", 0, revision=1)])
        return store

    name = f"killed-{at}-{after}"
    baseline, store = fill(f"baseline-{name}"), fill(name)
    compact(baseline, tmp_path)
    assert len(curated_sizes(baseline)) == 5
    crashed = False
    try:
        compact(CrashingStore(name, at, after=after), tmp_path / "killed")
    except Crash:
        crashed = True
    assert crashed == (at < 5), "the fault must occur"
    before = curated.read_state(store)
    # a reader sees either everything or nothing
    assert before.files == ({} if not before.version else curated.read_state(baseline).files)
    compact(store, tmp_path)
    assert curated_sizes(store) == curated_sizes(baseline)
    assert_no_findings(store)


def test_the_loser_of_two_concurrent_compactions_restarts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path / "lake")
    topic = LakeTopic(store, "t")
    topic.add_segment([bar("A", 0), bar("A", 1)])
    loser = Compactor(store, utc_dates, tmp_path / "loser")
    winners: list[CompactionProgress] = []

    def compact_first(*args: Any, **options: Any) -> Records:
        if not winners:
            winners.append(CompactionProgress())
            winners[0] = compact(store, tmp_path / "winner")
        return read_chunk(*args, **options)

    monkeypatch.setattr("tickerlake.lake.typed_records.read_chunk", compact_first)
    done = loser.run()
    assert (winners[0].records, done.records) == (2, 0)
    assert rows(store, "bars").height == 2
    assert_no_findings(store)


def test_a_lost_commit_reply_duplicates_nothing(tmp_path: Path) -> None:
    lost: list[str] = []

    def before_reply(key: str) -> None:
        if key.startswith(curated.LOG) and not lost:
            lost.append(key)
            raise ObjectExists(key)  # the client has sent the request again

    store = MemoryStore("lost-commit", before_reply)
    LakeTopic(store, "t").add_segment([bar("A", 0)])
    compact(store, tmp_path)
    assert lost
    assert rows(store, "bars").height == 1
    assert_no_findings(store)


def test_a_stopped_step_is_discarded(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "lake")
    LakeTopic(store, "t").add_segment([bar("A", 0)])
    answers = iter([False, False, True, True])
    assert compact(store, tmp_path, should_stop=lambda: next(answers)).steps == 0
    assert curated.read_state(store).version == 0
    assert not list((tmp_path / "spool").iterdir())
    assert compact(store, tmp_path).records == 1


def test_the_log_is_read_from_its_last_full_commit(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "lake")
    topic = LakeTopic(store, "t")
    for minute in range(curated.FULL_COMMIT_EVERY + 3):
        topic.add_segment([trade("A", minute)])
        compact(store, tmp_path)
    assert curated.read_commit(store, curated.FULL_COMMIT_EVERY).full
    state = curated.read_state(store)
    deleted = list(curated.delete_obsolete(store, -1000))
    assert sum(key.startswith(curated.LOG) for key in deleted) == curated.FULL_COMMIT_EVERY - 1
    assert sum(key.endswith(".parquet") for key in deleted) == curated.FULL_COMMIT_EVERY - 1
    assert curated.read_state(store) == state
    assert rows(store, "trades").height == curated.FULL_COMMIT_EVERY + 3
    assert not list(curated.delete_obsolete(store, 3_600_000))
    assert_no_findings(store)


def _remove(store: LocalStore, key: str) -> None:
    (Path(store.uri) / key).unlink()


def _truncate(store: LocalStore, key: str) -> None:
    path = Path(store.uri) / key
    path.write_bytes(path.read_bytes()[:-1])


def _flip_bit(store: LocalStore, key: str) -> None:
    path = Path(store.uri) / key
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(data)


def _remove_segment(store: LocalStore, _: str) -> None:
    next((Path(store.uri) / "raw/t/partition=0").glob("*.gz")).unlink()


def _edit_commit(store: LocalStore, _: str) -> None:
    path = Path(store.uri) / curated.commit_key(1)
    path.write_bytes(path.read_bytes().replace(b'"records":4', b'"records":5'))


@pytest.mark.parametrize("damage", [_remove, _truncate, _flip_bit, _remove_segment, _edit_commit])
def test_the_audit_finds_damage(tmp_path: Path, damage: Callable[[LocalStore, str], None]) -> None:
    store = LocalStore(tmp_path / "lake")
    topic = LakeTopic(store, "t")
    topic.add_segment([bar("A", 0), bar("B", 0)])
    topic.add_segment([bar("A", 1), bar("B", 1)])
    compact(store, tmp_path)
    assert_no_findings(store)
    (key,) = curated.read_state(store).files
    damage(store, key)
    findings = [finding for result in audit_curated(store, deep=True) for finding in result.findings]
    assert findings


def test_a_file_out_of_order_is_found(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "lake")
    LakeTopic(store, "t").add_segment([bar("A", minute) for minute in range(4)])
    compact(store, tmp_path)
    (file,) = curated.read_state(store).files.values()
    path, log = tmp_path / "lake" / file.key, tmp_path / "lake" / curated.commit_key(1)
    pl.read_parquet(path).reverse().write_parquet(path)
    data = path.read_bytes()
    commit = log.read_text().replace(f'"bytes":{file.bytes}', f'"bytes":{len(data)}')
    log.write_text(commit.replace(file.crc32c, checksum(data)))
    findings = [finding for result in audit_curated(store, deep=True) for finding in result.findings]
    assert [finding.kind for finding in findings] == ["curated_order"]


def test_a_duplicate_row_is_found(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "lake")
    topic = LakeTopic(store, "t")
    topic.add_segment([trade("A", 0), trade("A", 1)])
    # simulates a writer that adds one row twice and loses another
    chunk = Chunk("t", 0, 0, 2, (next(i.key for i in store.list("raw/t/partition=0/")),), 2, 1)
    records = read_chunk(store, chunk, ["trades"], utc_dates)
    records.frames["trades"] = pl.concat([records.frame("trades").head(1)] * 2)
    step = CompactionStep(store, curated.CuratedState(), tmp_path / "step", "1GB", 10)
    with step:
        step.add(chunk, records)
        for folder, staged in step.staged_folders().items():
            step.write(folder, staged)
        step.commit(CompactionProgress())
    findings = [finding for result in audit_curated(store, deep=True) for finding in result.findings]
    assert [finding.kind for finding in findings] == ["curated_duplicate"]


def test_a_broken_chain_stops_compaction(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "lake")
    topic = LakeTopic(store, "t")
    for minute in range(3):
        topic.add_segment([bar("A", minute)])
    (tmp_path / "lake/raw/t/partition=0" / f"{1:020d}.ndjson.gz").unlink()
    with pytest.raises(LakeError, match="the chain continues at 1"):
        compact(store, tmp_path)


def test_an_unreachable_store_is_reported(tmp_path: Path) -> None:
    class UnreachableStore(MemoryStore):
        def read(self, key: str) -> bytes:
            raise StoreUnavailable("unreachable")

    LakeTopic(MemoryStore("unreachable"), "t").add_segment([bar("A", 0)])
    with pytest.raises(StoreUnavailable):
        compact(UnreachableStore("unreachable"), tmp_path)


ACTIONS = st.lists(
    st.one_of(
        st.lists(
            st.tuples(st.sampled_from("AB"), st.integers(0, 3), st.integers(0, 2), st.integers(0, 3)),
            min_size=1,
            max_size=6,
        ),
        st.just("compact"),
    ),
    max_size=8,
)


def apply_history(topic: LakeTopic, history: list[Any], run_compaction: Callable[[], object]) -> list[int]:
    """Replay a history of segments and compactions; return the offsets of the bars that count at its end."""
    latest: dict[tuple[str, int, int], tuple[int, int]] = {}
    offset = 0
    for action in history:
        if action == "compact":
            run_compaction()
            continue
        topic.add_segment(
            [bar(symbol, minute, day=day, revision=revision) for symbol, minute, day, revision in action]
        )
        for symbol, minute, day, revision in action:
            key = (symbol, minute, day)
            latest[key] = max(latest.get(key, (-1, -1)), (revision, offset))
            offset += 1
    return sorted(number for _, number in latest.values())


@settings(max_examples=40)
@given(ACTIONS, st.integers(1, 8), st.integers(1, 8))
def test_any_history_gives_each_bar_its_latest_revision(
    tmp_path_factory: pytest.TempPathFactory, history: list[Any], step_rows: int, file_rows: int
) -> None:
    folder = tmp_path_factory.mktemp("history")
    store = MemoryStore()
    topic = LakeTopic(store, "t")
    expected = apply_history(
        topic,
        [*history, "compact"],
        lambda: compact(store, folder, step_rows=step_rows, file_rows=file_rows),
    )
    assert rows(store, "bars").get_column("kafka_offset").sort().to_list() == expected
    assert_no_findings(store)
