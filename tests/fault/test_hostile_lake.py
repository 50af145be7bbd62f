"""Hostile records in a lake: the others come out of `query`, `compact` and `load` as if they were alone."""

import io
import json
from collections.abc import Sequence
from decimal import Context, Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from support import hostile
from support.lake_builder import LakeTopic
from tickerlake.analytics.calendars import SessionDates
from tickerlake.lake import curated
from tickerlake.lake.audit.curated import audit_curated
from tickerlake.lake.compact import Compactor
from tickerlake.lake.query import LakeDatabase
from tickerlake.lake.store.base import Store
from tickerlake.lake.store.local import LocalStore
from tickerlake.lake.topic import Format
from tickerlake.model.schema import ALERT, BAR, INDICATOR, QUOTE, SCHEMA_OF, SCHEMAS, TRADE
from tickerlake.warehouse.load import Loader

FORMATS: tuple[Format, ...] = ("ndjson", "parquet")
SEGMENT_RECORDS = 2_000
FIRST = 1_000
"""Hostile alerts have lower numbers: one with the id of a good one would rightly replace it."""


class RecordingWarehouse:
    """Keeps what is loaded: a stand-in for BigQuery."""

    project, dataset, name = "project", "dataset", "project.dataset"

    def __init__(self) -> None:
        self.frames: dict[str, list[pl.DataFrame]] = {}

    def ensure_table(self, spec: Any) -> None:
        self.frames.setdefault(spec.record_type, [])

    def load(self, spec: Any, job_id: str, source: bytes) -> int:
        frame = pl.read_parquet(io.BytesIO(source))
        self.frames[spec.record_type].append(frame)
        return frame.height

    def rows(self, record_type: str) -> pl.DataFrame:
        return pl.concat(self.frames[record_type])


def good_messages(count: int) -> list[hostile.Message]:
    return [
        hostile.good(schema, FIRST + number, f"GOOD{number % 3}")
        for number in range(count)
        for schema in SCHEMAS
    ]


def store_messages(store: Store, fmt: Format, messages: Sequence[hostile.Message]) -> None:
    topic = LakeTopic(store, "t", fmt)
    for start in range(0, len(messages), SEGMENT_RECORDS):
        topic.add_messages(
            [(each.timestamp_ms, each.key, each.value) for each in messages[start : start + SEGMENT_RECORDS]]
        )


def tables(store: Store) -> dict[str, pl.DataFrame]:
    database = LakeDatabase(store, SessionDates("24/7"))
    try:
        return {
            record_type: normalized(database.query(f"from {record_type} order by kafka_offset").pl())
            for record_type in SCHEMA_OF
        }
    finally:
        database.close()


def loaded(store: Store) -> dict[str, pl.DataFrame]:
    warehouse: Any = RecordingWarehouse()
    Loader(store, warehouse, SessionDates("24/7"), wait=lambda _: False).run(with_views=False)
    return {
        record_type: normalized(warehouse.rows(record_type).sort("kafka_offset"))
        for record_type in warehouse.frames
    }


def normalized(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame whose columns of JSON text have one form: Polars adds spaces where it parses them."""
    names = [name for name in ("extra", "values") if name in frame.columns]
    texts = {
        name: [None if text is None else normalized_json(text) for text in frame.get_column(name)]
        for name in names
    }
    return frame.with_columns(pl.Series(name, values, dtype=pl.String) for name, values in texts.items())


def normalized_json(text: str) -> str:
    def number(digits: str) -> str:
        value = Decimal(digits)
        return "0" if value.is_zero() else str(value.normalize(Context(prec=1_000)))

    return json.dumps(
        json.loads(text, parse_float=number, parse_int=number, parse_constant=str), sort_keys=True
    )


def good_rows(frames: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    return {
        record_type: frame.filter(pl.col("symbol").str.starts_with("GOOD")).drop(
            "kafka_offset", "kafka_timestamp_ms"
        )
        for record_type, frame in frames.items()
    }


def assert_good_records_come_out(
    folder: Path,
    good: Sequence[hostile.Message],
    messages: Sequence[hostile.Message],
    formats: Sequence[Format],
) -> int:
    """Compare what the commands return, with and without hostile messages; return the number of rejects."""
    alone = LocalStore(folder / "alone")
    store_messages(alone, "ndjson", good)
    expected = good_rows(tables(alone))
    assert sum(frame.height for frame in expected.values()) == len(good)
    before: dict[str, pl.DataFrame] = {}
    rejects = 0
    for fmt in formats:
        store = LocalStore(folder / fmt)
        store_messages(store, fmt, messages)
        pending = tables(store)
        for record_type, frame in good_rows(pending).items():
            assert_frame_equal(frame, expected[record_type])
        for record_type, frame in before.items():
            assert_frame_equal(pending[record_type], frame)
        before = pending
        in_warehouse = loaded(store)
        for record_type, frame in good_rows(in_warehouse).items():
            assert_frame_equal(frame.select(expected[record_type].columns), expected[record_type])
        done = Compactor(store, SessionDates("24/7"), folder / f"{fmt}-spool").run()
        for record_type, frame in tables(store).items():
            assert_frame_equal(frame, pending[record_type])
        for result in audit_curated(store, deep=True):
            assert not result.findings, result.findings
        rejects = done.rejects
        counted = sum(frame.height for frame in pending.values())
        assert counted + done.superseded + rejects == done.records
        assert sum(frame.height for frame in in_warehouse.values()) + rejects == done.records
        assert curated.read_state(store).next_offsets("t") == {"0": len(messages)}
    return rejects


@pytest.mark.parametrize(("seed", "count"), [(1, 1_500), pytest.param(2, 12_000, marks=pytest.mark.full)])
def test_good_records_come_out_as_without_hostile_ones(tmp_path: Path, seed: int, count: int) -> None:
    good = good_messages(40)
    formats: tuple[Format, ...] = (*FORMATS, "json") if count < SEGMENT_RECORDS else FORMATS
    messages = hostile.mixed(good, seed, count)
    rejects = assert_good_records_come_out(tmp_path, good, messages, formats)
    assert count / 4 < rejects < count


DIGITS = "123456789" * 100_000
EXTREMES: dict[str, dict[str, tuple[str, ...]]] = {
    TRADE: {
        "price": (
            DIGITS, f"-{DIGITS}", f"0.{DIGITS}", f"1.{'0' * 900_000}", "1e400", "1e-400",
            "1e9999999999999999999", "99999999999999999999999999999.999999999",
            "100000000000000000000000000000", "0.0000000001", "NaN",
        ),
        "ts_event_ns": ("0", "-1", str(2**63 - 1), str(-(2**63)), str(2**63), "253402300799000000000"),
        "instrument_id": tuple(json.dumps(name) for name in hostile.ODD_IDS),
        "schema": (
            '"bar.v1"', '"trade.v1\\u0000"', '"trade\\u002ev1"', '""', "5", "{}", "[]", "null", f'"{DIGITS}"',
        ),
        "extra": (
            "[" * 400 + "]" * 400, '{"price":1}', '{"schema":"bar.v1"}', '{"extra":{"extra":1}}', '"x"', "[]",
        ),
    },
    BAR: {
        "session_date": (
            '"0000-01-01"', '"0001-01-01"', '"9999-12-31"', '"10000-01-01"', '"-0001-01-01"', '"2024-02-30"',
            '"0000-02-29"', '"2024-01-01T00:00:00Z"',
        ),
        "interval": (
            '"../x"', '"a/b"', '"."', '""', '"1m\\n"', '"null"', '"1m\\u0000"', f'"{"1" * 300}"', '"1d"',
        ),
        "revision": (str(2**63 - 1), str(-(2**63)), "-1", "1e3", "0.0"),
    },
    INDICATOR: {"values": ("[]", "{}", '"x"', "5", "null", '{"values":{}}', '{"a":1,"a":2}')},
    ALERT: {"alert_id": ('""', '"\\u0000"', f'"{DIGITS}"')},
    QUOTE: {"bid_price": ("-0.0", "0e99", "1E+2", "true", '"1"')},
}  # fmt: skip


def test_extreme_values_come_out_the_same_in_all_formats(tmp_path: Path) -> None:
    good = good_messages(5)
    extremes = [
        hostile.Message(
            f"{schema} {name}",
            b"k",
            hostile.encode(
                [
                    (member, value if member == name else text)
                    for member, text in hostile.sound(schema, number, "HOSTILE")
                ]
            ),
            timestamp_ms=hostile.ODD_TIMESTAMPS_MS[number % len(hostile.ODD_TIMESTAMPS_MS)],
        )
        for schema, odd_fields in EXTREMES.items()
        for name, values in odd_fields.items()
        for number, value in enumerate(values)
    ]
    twice = [
        hostile.Message(f"{name} twice", b"k", hostile.encode([*hostile.sound(schema, 1_000), (name, value)]))
        for schema in SCHEMAS
        for name, value in (
            ("schema", "5"),
            ("schema", "null"),
            ("schema", '"order.v1"'),
            ("kafka_headers", "1"),
        )
    ]
    messages = [extremes[0], *good[:10], *extremes[1:], *twice, *good[10:]]
    assert assert_good_records_come_out(tmp_path, good, messages, (*FORMATS, "json")) > 30
