"""A row is of the record type that it names itself, whatever else its topic holds."""

import json
from pathlib import Path
from typing import Any

import pytest

from lake.test_compact import FORMATS, assert_no_findings, compact, rows
from lake.test_query import query_lake
from support.lake_builder import LakeTopic, bar, trade, utc_dates
from tickerlake.dashboard.reading.lake_history import LakeTopic as DashboardTopic
from tickerlake.lake import curated
from tickerlake.lake.audit.curated import audit_curated
from tickerlake.lake.formats.columns import Column, encode_columns
from tickerlake.lake.query import LakeDatabase
from tickerlake.lake.segment import columns_key
from tickerlake.lake.store.base import Store
from tickerlake.lake.store.local import LocalStore
from tickerlake.lake.topic import Format
from tickerlake.model.schema import ALERT, FieldType

FOREIGN: dict[str, bytes | None] = {
    "object": b'{"hello":1}',
    "number": b"1",
    "schema is a number": b'{"schema":5}',
    "schema is an object": b'{"schema":{"type":"struct"},"payload":{}}',
    "schema of others": b'{"schema":"order.v1","price":"12","symbol":[1]}',
    "tombstone": None,
    "not a record": b'{"schema":"trade.v1"}',
}


def alert(symbol: str, number: int) -> dict[str, Any]:
    return {
        "schema": ALERT, "alert_id": str(number), "rule_id": "r", "rule_version": 1, "kind": "move",
        "severity": "info", "state": "fired", "instrument_id": symbol, "symbol": symbol,
        "ts_event_ns": 1_704_067_200_000_000_000 + number, "ts_detected_ns": 1, "direction": "up",
        "unit": "pct", "suppressed_count": 0, "dedup_key": "k", "cause": "market", "message": "moved",
    }  # fmt: skip


def mixed() -> list[dict[str, Any] | bytes | None]:
    trades = [trade("A", second, price=f"{second}.5") for second in range(3)]
    odd = {**trade("B", 9), "venue": "XNAS", "odd": [1.10], "extra": {"kept": True}}
    values: list[dict[str, Any] | bytes | None] = []
    for foreign, record in zip(
        FOREIGN.values(),
        [trade("A", 1), bar("A", 0), alert("A", 0), trade("A", 2), bar("B", 1), odd, trade("C", 3)],
        strict=True,
    ):
        values += [foreign, record]
    return [*values, *trades]


def exact(store: Store, record_type: str) -> list[dict[str, Any]]:
    return query_lake(store, f"select * from {record_type} order by kafka_offset").to_dicts()


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("compacted", [False, True])
def test_each_record_is_in_the_table_of_its_type(tmp_path: Path, fmt: Format, compacted: bool) -> None:
    store = LocalStore(tmp_path / "lake")
    LakeTopic(store, "t", fmt).add_segment(mixed())
    if compacted:
        done = compact(store, tmp_path)
        # a price that is a text is none
        assert (done.records, done.rejects_by_topic) == (17, {"t": 10})
        assert_no_findings(store)
    offsets = {
        record_type: [row["kafka_offset"] for row in exact(store, record_type)]
        for record_type in ("trades", "bars", "alerts", "quotes", "indicators")
    }
    assert offsets == {
        "trades": [1, 7, 11, 13], "bars": [3, 9], "alerts": [5], "quotes": [], "indicators": [],
    }  # fmt: skip
    odd = exact(store, "trades")[2]
    assert (odd["venue"], json.loads(odd["extra"])) == ("XNAS", {"kept": True, "odd": [1.10]})


def test_all_formats_give_the_same_records(tmp_path: Path) -> None:
    stores = {fmt: LocalStore(tmp_path / fmt) for fmt in FORMATS}
    for fmt, store in stores.items():
        topic = LakeTopic(store, "t", fmt)
        topic.add_segment(mixed())
        topic.add_segment(list(reversed(mixed())))
    for record_type in ("trades", "bars", "alerts"):
        expected = exact(stores["ndjson"], record_type)
        assert expected
        assert exact(stores["parquet"], record_type) == expected
        assert exact(stores["json"], record_type) == expected


RANGES: dict[str, tuple[dict[str, Any], bool]] = {
    "all": ({"open": 1, "high": 2, "low": 0.5}, True),
    "null": (dict.fromkeys(("open", "high", "low")), True),
    "a high alone": ({"open": None, "high": 2, "low": None}, False),
    "no low": ({"open": 1, "high": 2, "low": None}, False),
    "texts": (dict.fromkeys(("open", "high", "low"), "n/a"), False),
    "a text": ({"open": "1", "high": None, "low": None}, False),
}


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("compacted", [False, True])
def test_a_bar_has_open_high_and_low_or_none_of_them(tmp_path: Path, fmt: Format, compacted: bool) -> None:
    store = LocalStore(tmp_path / "lake")
    absent = bar("ABSENT", 0)
    for name in ("open", "high", "low"):
        del absent[name]
    given = [bar(name.upper().replace(" ", "-"), 0, **fields) for name, (fields, _) in RANGES.items()]
    LakeTopic(store, "t", fmt).add_segment([absent, *given])
    reads = [True, *(is_bar for _, is_bar in RANGES.values())]
    if compacted:
        done = compact(store, tmp_path)
        assert (done.records, done.rejects_by_topic) == (7, {"t": 4})
        assert_no_findings(store)
    stored = exact(store, "bars")
    assert [each["kafka_offset"] for each in stored] == [n for n, is_bar in enumerate(reads) if is_bar]
    assert [each["high"] for each in stored] == [None, 2, None]
    assert {each["close"] for each in stored} == {100.5}
    daily = query_lake(store, "select count(*), count(open) from bars").row(0)
    assert daily == (3, 1)


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("foreign", FOREIGN)
@pytest.mark.parametrize("segments", [1, 2])
def test_a_first_record_of_another_kind_hides_nothing(
    tmp_path: Path, fmt: Format, foreign: str, segments: int
) -> None:
    store = LocalStore(tmp_path / "lake")
    topic = LakeTopic(store, "t", fmt)
    values: list[dict[str, Any] | bytes | None] = [FOREIGN[foreign]]
    trades = [trade("A", second) for second in range(20)]
    if segments == 2:
        topic.add_segment(values)
        values = []
    topic.add_segment([*values, *trades])
    database = LakeDatabase(store, utc_dates)
    assert database.query("select count(*), sum(price) from trades").fetchall() == [
        (20, sum(each["price"] for each in trades))
    ]
    (note,) = database.notes()
    assert note.startswith(("t: 1 of 21 rows are not trades", "t: 1 rejected, the first: "))
    database.close()
    done = compact(store, tmp_path)
    assert (done.records, done.rejects_by_topic) == (21, {"t": 1})
    assert rows(store, "trades").height == 20
    assert_no_findings(store)
    database = LakeDatabase(store, utc_dates)
    assert database.query("select count(*) from trades").fetchall() == [(20,)]
    assert database.notes() == ["t: 1 rejected when compacted; reasons: curated/_rejects/"]
    database.close()


def test_a_lake_without_records_of_a_table_says_so(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    LakeTopic(store, "foreign").add_segment([b"{}", b"[]"])
    LakeTopic(store, "b").add_segment([bar("A", 0)])
    database = LakeDatabase(store, utc_dates)
    assert database.query("select count(*) from trades").fetchall() == [(0,)]
    assert database.notes() == ["none of 3 rows is of trades"]
    database.query("from bars").fetchall()
    assert database.notes() == []
    database.close()


def test_a_table_names_what_it_leaves_out_only_where_its_records_are(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    LakeTopic(store, "my.bars").add_segment([bar("A", 0), trade("A", 1), b'{"hello":1}'])
    LakeTopic(store, "my.trades").add_segment([trade("A", 1)])
    database = LakeDatabase(store, utc_dates)
    assert database.query("select count(*) from bars").fetchall() == [(1,)]
    assert database.notes() == ["my.bars: 2 of 3 rows are not bars"]
    assert database.query("select count(*) from trades").fetchall() == [(2,)]
    assert database.notes() == ["my.bars: 1 of 3 rows are not bars or trades"]
    database.close()


@pytest.mark.parametrize("schema_type", [FieldType.JSON, FieldType.INT, None])
def test_lakes_whose_columns_are_not_those_of_a_schema(tmp_path: Path, schema_type: FieldType | None) -> None:
    store = LocalStore(tmp_path / "lake")
    stored = [Column("schema", schema_type)] if schema_type else []
    stored += [Column("price", FieldType.JSON), Column("symbol", FieldType.STRING)]
    stored += [Column("size", FieldType.FLOAT), Column("extra", FieldType.JSON)]
    topic = LakeTopic(store, "t", "parquet")
    key = columns_key("t")
    store.create(key, encode_columns(stored), metadata={}, content_type="application/json")
    topic.add_segment([b'{"schema":5}', *(trade("A", s, price=s + 0.1) for s in range(1, 20)), bar("A", 1)])
    reference = LocalStore(tmp_path / "reference")
    LakeTopic(reference, "t").add_segment(
        [b'{"schema":5}', *(trade("A", s, price=s + 0.1) for s in range(1, 20)), bar("A", 1)]
    )
    for record_type, count in (("trades", 19), ("bars", 1)):
        expected = exact(reference, record_type)
        assert len(expected) == count
        assert exact(store, record_type) == expected
    compact(store, tmp_path)
    assert rows(store, "trades").height == 19
    assert_no_findings(store)


def test_a_commit_of_format_1_is_continued(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "lake")
    topic = LakeTopic(store, "t")
    topic.add_segment([trade("A", 1), bar("A", 0), trade("A", 2)])
    compact(store, tmp_path)
    # as the version before wrote it: the bar was rejected, since the first record is a trade
    log = tmp_path / "lake" / curated.commit_key(1)
    commit = json.loads(log.read_bytes())
    (partition,) = commit["consumed"]["t"]["partitions"].values()
    assert partition.pop("rows") == {"trades": 2, "bars": 1}
    partition["rejects"] = 1
    commit["consumed"]["t"]["record_type"] = "trades"
    commit["format"] = 1
    commit["added"] = [each for each in commit["added"] if "/trades/" in each["key"]]
    log.write_text(json.dumps(commit))
    assert_no_findings(store)
    topic.add_segment([trade("A", 3), bar("A", 1)])
    assert compact(store, tmp_path).records == 2
    assert exact(store, "trades")[-1]["kafka_offset"] == 3
    assert [row["kafka_offset"] for row in exact(store, "bars")] == [4]
    assert_no_findings(store)
    assert {each.kind: (each.records, each.rejects, each.rows) for each in audit_curated(store)} == {
        "trades": (4, 1, 3),
        "bars": (1, 0, 1),
    }


ODD_INSTRUMENTS = ("", " ", "=cmd|x", "\0", "A\0B", "A" * 300, "ä" * 200, "\U0010ffff", "S048.XXXX", "'", '"')


@pytest.mark.parametrize("file_rows", [1, 3, 100])
def test_instruments_with_odd_names_leave_a_sound_lake(tmp_path: Path, file_rows: int) -> None:
    store = LocalStore(tmp_path / "lake")
    topic = LakeTopic(store, "t")
    names = dict(enumerate(ODD_INSTRUMENTS))
    topic.add_segment([alert(name, number) for number, name in names.items()])
    compact(store, tmp_path, file_rows=file_rows)
    # the same ids again, of the same and of other instruments
    topic.add_segment([alert(name, number % 7) for number, name in names.items()])
    done = compact(store, tmp_path, file_rows=file_rows)
    assert done.superseded == 7
    assert_no_findings(store)
    stored = [(row["instrument_id"], row["alert_id"]) for row in exact(store, "alerts")]
    expected = {(name, str(number)) for number, name in names.items()}
    assert sorted(stored) == sorted(expected | {(name, str(number % 7)) for number, name in names.items()})


@pytest.mark.parametrize("fmt", ["ndjson", "parquet"])
def test_the_dashboard_finds_the_records_of_a_mixed_topic(tmp_path: Path, fmt: Format) -> None:
    store = LocalStore(tmp_path)
    topic = LakeTopic(store, "t", fmt)
    topic.add_segment([trade("A", second) for second in range(5)])
    topic.add_segment(mixed())
    bars = DashboardTopic(store, "t", "bars")
    frames = list(bars.read(bars.newest_segments(100)[0]))
    assert [frame.get_column("instrument").to_list() for frame in frames] == [[], ["A.XXXX", "B.XXXX"]]
    assert bars.skipped == 5 + 15
    alerts = DashboardTopic(store, "t", "alerts")
    _, (found,) = alerts.read(alerts.newest_segments(100)[0])
    assert (found.alert_id, found.instrument_id, found.message) == ("0", "A", "moved")
