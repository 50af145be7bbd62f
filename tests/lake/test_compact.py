"""Curated files hold each record once, whatever crashes, repeats, restates or comes late."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.lakes import Topic, bar, trade, utc_dates
from tickerlake.errors import LakeError, ObjectExists, StoreUnavailable
from tickerlake.lake import curated
from tickerlake.lake.audit_curated import audit_curated
from tickerlake.lake.compact import Compactor, Progress, _Step
from tickerlake.lake.rows import checksum
from tickerlake.lake.segment import Format
from tickerlake.lake.store.base import Store
from tickerlake.lake.store.local import LocalStore
from tickerlake.lake.store.memory import MemoryStore
from tickerlake.lake.typed import Chunk, Records, frame_schema, read_chunk

FORMATS: list[Format] = ["ndjson", "parquet", "json"]


def compact(store: Store, folder: Path, **options: Any) -> Progress:
    return Compactor(store, utc_dates, folder / "spool", **options).run()


def rows(store: Store, kind: str) -> pl.DataFrame:
    """Read curated files without the code under test."""
    frames = []
    for file in curated.read_state(store).of(kind):
        frame = pl.read_parquet(store.read(file.key))
        interval = file.key.partition("interval=")[2].partition("/")[0]
        frames.append(frame.with_columns(interval=pl.lit(interval)) if interval else frame)
    return pl.concat(frames) if frames else frame_schema(kind).to_frame()


def tree(store: Store) -> dict[str, int]:
    return {info.key: info.size for info in store.list("curated/")}


def sound(store: Store) -> None:
    for result in audit_curated(store, deep=True):
        assert not result.findings, result.findings


@pytest.mark.parametrize("fmt", FORMATS)
def test_each_record_is_there_once_in_order(tmp_path: Path, fmt: Format) -> None:
    store = LocalStore(tmp_path / "lake")
    topic = Topic(store, "t", fmt)
    for minute in range(0, 60, 20):
        topic.add([bar(symbol, m) for m in range(minute, minute + 20) for symbol in ("B", "A")])
    done = compact(store, tmp_path)
    assert (done.records, done.files, done.misfits, done.superseded) == (120, 1, 0, 0)
    (key,) = curated.read_state(store).files
    assert key.startswith("curated/bars/interval=1m/date=2024-01-01/")
    found = rows(store, "bars")
    assert found.get_column("kafka_offset").n_unique() == found.height == 120
    assert found.select("instrument_id", "ts_open_ns").equals(
        found.select("instrument_id", "ts_open_ns").sort("instrument_id", "ts_open_ns")
    )
    assert found.schema["open"] == pl.Decimal(38, 9)
    assert compact(store, tmp_path).steps == 0
    sound(store)


def test_folders_are_days_but_years_of_daily_bars_and_months_of_alerts(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "lake")
    days = [bar("A", 0, day=day, interval="1d") for day in (0, 1, 40, 400)]
    Topic(store, "t").add([*days, bar("A", 0, day=1)])
    Topic(store, "x").add([trade("A", 0, day=day) for day in (0, 1)])
    compact(store, tmp_path)
    assert [str(file.place.date) for file in curated.read_state(store).of("trades")] == [
        "2024-01-01",
        "2024-01-02",
    ]
    bars = {(f.place.interval, str(f.place.date)): f.rows for f in curated.read_state(store).of("bars")}
    assert bars == {("1d", "2024-01-01"): 3, ("1d", "2025-01-01"): 1, ("1m", "2024-01-02"): 1}


def test_late_records_join_their_date_without_crumbs(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "lake")
    topics = [Topic(store, "b"), Topic(store, "t")]
    for minute in range(5):
        topics[0].add([bar("A", minute), bar("C", minute)])
        topics[1].add([trade("A", minute)])
        compact(store, tmp_path)
    files = curated.read_state(store).files
    assert len(files) == 2
    assert sorted(file.rows for file in files.values()) == [5, 10]
    sound(store)


def test_full_files_are_written_anew_only_for_their_own_instruments(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "lake")
    topic = Topic(store, "t")
    topic.add([bar(symbol, m) for symbol in "ABCD" for m in range(10)])
    compact(store, tmp_path, file_rows=20)
    before = curated.read_state(store).files
    assert [(f.first, f.last, f.rows) for f in before.values()] == [
        ("A.XXXX", "B.XXXX", 20),
        ("C.XXXX", "D.XXXX", 20),
    ] or len(before) == 2
    topic.add([bar("D", 3, revision=1)])
    compact(store, tmp_path, file_rows=20)
    after = curated.read_state(store).files
    assert len(before.keys() & after.keys()) == 1
    assert rows(store, "bars").height == 40
    sound(store)


def test_the_highest_revision_wins_whatever_its_order(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "lake")
    topic = Topic(store, "t")
    topic.add([bar("A", 0), bar("A", 1, revision=3)])
    compact(store, tmp_path)
    topic.add([bar("A", 0, revision=2), bar("A", 1, revision=2), bar("A", 0, revision=1)])
    done = compact(store, tmp_path)
    assert done.superseded == 3
    assert rows(store, "bars").sort("ts_open_ns").get_column("revision").to_list() == [2, 3]
    sound(store)


def test_trades_that_are_equal_all_count(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "lake")
    Topic(store, "t").add([trade("A", 1)] * 5)
    compact(store, tmp_path)
    assert rows(store, "trades").height == 5


@pytest.mark.parametrize("fmt", FORMATS)
def test_misfits_are_kept_with_reasons(tmp_path: Path, fmt: Format) -> None:
    store = LocalStore(tmp_path / "lake")
    topic = Topic(store, "t", fmt)
    good = trade("A", 1)
    priced = {**good, "price": "dear"}
    unpriced = {name: value for name, value in good.items() if name != "price"}
    topic.add([good, priced, unpriced, bar("A", 0), None, {**good, "size": 2}])
    done = compact(store, tmp_path)
    assert (done.records, done.misfits) == (6, 4)
    (kept,) = [info.key for info in store.list(curated.MISFITS)]
    lines = pl.read_ndjson(store.read(kept))
    assert lines.get_column("kafka_offset").to_list() == [1, 2, 3, 4]
    reasons = lines.get_column("reason").to_list()
    assert "no price" in reasons[0]
    assert "no price" in reasons[1]
    assert "bar.v1" in reasons[2]
    assert "tombstone" in reasons[3]
    assert all("raw/t/partition=0/" in key for key in lines.get_column("object"))
    assert rows(store, "trades").height == 2
    sound(store)


def test_an_interval_that_can_be_no_folder_is_a_misfit(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "lake")
    names = ["1m", "1W", "../../up", "a/b", "", "1m\n"]
    Topic(store, "t").add([bar("A", 0, interval=name) for name in names])
    done = compact(store, tmp_path)
    assert (done.misfits, done.files) == (5, 1)
    (kept,) = [info.key for info in store.list(curated.MISFITS)]
    assert "its interval '1W' is none" in pl.read_ndjson(store.read(kept)).get_column("reason")[0]
    assert compact(store, tmp_path).steps == 0
    sound(store)


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "lake")
    Topic(store, "other").add([b'{"hello":1}', b"[1]"])
    done = compact(store, tmp_path)
    assert (done.steps, done.skipped) == (0, ["other"])


def test_until_leaves_what_came_later(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "lake")
    topic = Topic(store, "t")
    for when in (10, 20, 30):
        topic.add([bar("A", when)], timestamp_ms=when)
    assert compact(store, tmp_path, until_ms=20).records == 1
    assert compact(store, tmp_path, until_ms=20).records == 0
    assert compact(store, tmp_path).records == 2
    sound(store)


def test_many_steps_give_the_same_rows(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "lake")
    topic = Topic(store, "t")
    for minute in range(12):
        topic.add([bar(symbol, minute, day=minute % 2) for symbol in "ABC"])
    done = compact(store, tmp_path, step_rows=7, file_rows=10)
    assert done.steps > 3
    assert rows(store, "bars").get_column("kafka_offset").sort().to_list() == list(range(36))
    sound(store)


class Crash(Exception):
    """The process ends here."""


class Fragile(MemoryStore):
    """A store that ends the process at a given write, before or after it was stored."""

    def __init__(self, name: str, at: int, *, after: bool) -> None:
        super().__init__(name)
        self._left = at
        self._after = after

    def create(self, key: str, data: bytes, **more: Any) -> None:
        self._left -= 1
        if self._left < 0 and not self._after:
            raise Crash
        super().create(key, data, **more)
        if self._left < 0:
            raise Crash


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(6))
def test_killed_anywhere_and_run_again_gives_the_same_set(tmp_path: Path, at: int, after: bool) -> None:
    def filled(name: str) -> MemoryStore:
        store = MemoryStore(name)
        topic = Topic(store, "t")
        topic.add([bar("A", 0), bar("B", 1, day=1), b'{"schema":"bar.v1"}'])
        topic.add([bar("A", 2, day=2), bar("A", 0, revision=1)])
        return store

    name = f"killed-{at}-{after}"
    calm, store = filled(f"calm-{name}"), filled(name)
    compact(calm, tmp_path)
    assert len(tree(calm)) == 5
    crashed = False
    try:
        compact(Fragile(name, at, after=after), tmp_path / "killed")
    except Crash:
        crashed = True
    assert crashed == (at < 5), "the fault must happen"
    before = curated.read_state(store)
    # a reader sees all of it, or nothing
    assert before.files == ({} if not before.version else curated.read_state(calm).files)
    compact(store, tmp_path)
    assert tree(store) == tree(calm)
    sound(store)


def test_of_two_at_once_one_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(tmp_path / "lake")
    topic = Topic(store, "t")
    topic.add([bar("A", 0), bar("A", 1)])
    mine = Compactor(store, utc_dates, tmp_path / "mine")
    others: list[Progress] = []

    def late(*given: Any) -> Records:
        if not others:
            others.append(Progress())
            others[0] = compact(store, tmp_path / "theirs")
        return read_chunk(*given)

    monkeypatch.setattr("tickerlake.lake.typed.read_chunk", late)
    done = mine.run()
    assert (others[0].records, done.records) == (2, 0)
    assert rows(store, "bars").height == 2
    sound(store)


def test_a_lost_reply_to_a_commit_doubles_nothing(tmp_path: Path) -> None:
    lost: list[str] = []

    def before_reply(key: str) -> None:
        if key.startswith(curated.LOG) and not lost:
            lost.append(key)
            raise ObjectExists(key)  # as a client says that sent it again

    store = MemoryStore("lost-commit", before_reply)
    Topic(store, "t").add([bar("A", 0)])
    compact(store, tmp_path)
    assert lost
    assert rows(store, "bars").height == 1
    sound(store)


def test_a_stopped_step_is_given_up(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "lake")
    Topic(store, "t").add([bar("A", 0)])
    asked = iter([False, False, True, True])
    assert compact(store, tmp_path, stop=lambda: next(asked)).steps == 0
    assert curated.read_state(store).version == 0
    assert not list((tmp_path / "spool").iterdir())
    assert compact(store, tmp_path).records == 1


def test_the_log_is_read_from_its_last_full_commit(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "lake")
    topic = Topic(store, "t")
    for minute in range(curated.FULL_EVERY + 3):
        topic.add([trade("A", minute)])
        compact(store, tmp_path)
    assert curated.read_commit(store, curated.FULL_EVERY).full
    state = curated.read_state(store)
    deleted = list(curated.clean(store, -1000))
    assert sum(key.startswith(curated.LOG) for key in deleted) == curated.FULL_EVERY - 1
    assert sum(key.endswith(".parquet") for key in deleted) == curated.FULL_EVERY - 1
    assert curated.read_state(store) == state
    assert rows(store, "trades").height == curated.FULL_EVERY + 3
    assert not list(curated.clean(store, 3_600_000))
    sound(store)


def _remove(store: LocalStore, key: str) -> None:
    (Path(store.uri) / key).unlink()


def _shorten(store: LocalStore, key: str) -> None:
    path = Path(store.uri) / key
    path.write_bytes(path.read_bytes()[:-1])


def _flip(store: LocalStore, key: str) -> None:
    path = Path(store.uri) / key
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(data)


def _remove_segment(store: LocalStore, _: str) -> None:
    next((Path(store.uri) / "raw/t/partition=0").glob("*.gz")).unlink()


def _edit_commit(store: LocalStore, _: str) -> None:
    path = Path(store.uri) / curated.commit_key(1)
    path.write_bytes(path.read_bytes().replace(b'"records":4', b'"records":5'))


@pytest.mark.parametrize("damage", [_remove, _shorten, _flip, _remove_segment, _edit_commit])
def test_the_audit_finds_damage(tmp_path: Path, damage: Callable[[LocalStore, str], None]) -> None:
    store = LocalStore(tmp_path / "lake")
    topic = Topic(store, "t")
    topic.add([bar("A", 0), bar("B", 0)])
    topic.add([bar("A", 1), bar("B", 1)])
    compact(store, tmp_path)
    sound(store)
    (key,) = curated.read_state(store).files
    damage(store, key)
    findings = [finding for result in audit_curated(store, deep=True) for finding in result.findings]
    assert findings


def test_a_file_out_of_order_is_found(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "lake")
    Topic(store, "t").add([bar("A", minute) for minute in range(4)])
    compact(store, tmp_path)
    (file,) = curated.read_state(store).files.values()
    path, log = tmp_path / "lake" / file.key, tmp_path / "lake" / curated.commit_key(1)
    pl.read_parquet(path).reverse().write_parquet(path)
    data = path.read_bytes()
    said = log.read_text().replace(f'"bytes":{file.bytes}', f'"bytes":{len(data)}')
    log.write_text(said.replace(file.crc32c, checksum(data)))
    findings = [finding for result in audit_curated(store, deep=True) for finding in result.findings]
    assert [finding.kind for finding in findings] == ["curated_order"]


def test_a_row_that_is_there_twice_is_found(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "lake")
    topic = Topic(store, "t")
    topic.add([trade("A", 0), trade("A", 1)])
    # what a writer would do that takes the same chunk twice, and loses another
    chunk = Chunk("t", 0, 0, 2, (next(i.key for i in store.list("raw/t/partition=0/")),), 2, 1)
    records = read_chunk(store, chunk, "trades", utc_dates)
    records.frame = pl.concat([records.frame.head(1)] * 2)
    step = _Step(store, curated.State(), tmp_path / "step", "1GB", 10)
    with step:
        step.take("trades", chunk, records)
        for place in step.places():
            step.write(place)
        step.commit(Progress())
    findings = [finding for result in audit_curated(store, deep=True) for finding in result.findings]
    assert [finding.kind for finding in findings] == ["curated_double"]


def test_a_broken_chain_stops_it(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "lake")
    topic = Topic(store, "t")
    for minute in range(3):
        topic.add([bar("A", minute)])
    (tmp_path / "lake/raw/t/partition=0" / f"{1:020d}.ndjson.gz").unlink()
    with pytest.raises(LakeError, match="has come to 1"):
        compact(store, tmp_path)


def test_an_unreachable_store_is_said(tmp_path: Path) -> None:
    class Away(MemoryStore):
        def read(self, key: str) -> bytes:
            raise StoreUnavailable("away")

    Topic(MemoryStore("away"), "t").add([bar("A", 0)])
    with pytest.raises(StoreUnavailable):
        compact(Away("away"), tmp_path)


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


def play(topic: Topic, history: list[Any], compacts: Callable[[], object]) -> list[int]:
    """Store bars and compact, as a history says; return the offsets of those that count at its end."""
    best: dict[tuple[str, int, int], tuple[int, int]] = {}
    offset = 0
    for action in history:
        if action == "compact":
            compacts()
            continue
        topic.add(
            [bar(symbol, minute, day=day, revision=revision) for symbol, minute, day, revision in action]
        )
        for symbol, minute, day, revision in action:
            key = (symbol, minute, day)
            best[key] = max(best.get(key, (-1, -1)), (revision, offset))
            offset += 1
    return sorted(number for _, number in best.values())


@settings(max_examples=40)
@given(ACTIONS, st.integers(1, 8), st.integers(1, 8))
def test_any_history_gives_each_bar_its_latest_revision(
    tmp_path_factory: pytest.TempPathFactory, history: list[Any], step_rows: int, file_rows: int
) -> None:
    folder = tmp_path_factory.mktemp("history")
    store = MemoryStore()
    topic = Topic(store, "t")
    due = play(
        topic,
        [*history, "compact"],
        lambda: compact(store, folder, step_rows=step_rows, file_rows=file_rows),
    )
    found = rows(store, "bars").get_column("kafka_offset").sort().to_list()
    assert found == due
    sound(store)
