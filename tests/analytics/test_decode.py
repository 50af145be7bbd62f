"""Records that cannot be used are rejected with a reason, without affecting others."""

from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.records import KAFKA_TIMESTAMP_MS, batch, trade
from tickerlake.analytics.decode import ROW_SCHEMA, decode

VALID_TRADE = trade("AAA.XNAS", 5, "10.5", "3")
HOUR_NS = 3600 * 10**9

BROKEN: dict[str, bytes] = {
    "truncated": VALID_TRADE[:-9],
    "not UTF-8": b'{"schema":"trade.v1","symbol":"\xff"}',
    "not a number": trade("AAA.XNAS", 5, "NaN", "3"),
    "deep": b'{"schema":"trade.v1","a":' + b"[" * 2000 + b"]" * 2000 + b"}",
    "two documents": VALID_TRADE + VALID_TRADE,
    "two documents on two lines": VALID_TRADE + b"\n" + VALID_TRADE,
    "nothing": b"",
    "text": b"hello",
}


@pytest.mark.parametrize("name", BROKEN)
def test_invalid_json_is_rejected_without_affecting_its_neighbors(name: str) -> None:
    decoded = decode(batch([VALID_TRADE, BROKEN[name], VALID_TRADE]))
    assert decoded.rows["offset"].to_list() == [0, 2]
    assert decoded.rejects.select("offset", "reason").rows() == [(1, "not_json")]
    assert decoded.rejects["value"].to_list() == [BROKEN[name]]


def test_lines_within_a_record_do_not_shift_the_others() -> None:
    spread = VALID_TRADE.replace(b",", b",\n")
    decoded = decode(batch([spread, VALID_TRADE, VALID_TRADE + b"\n", b"\n" + VALID_TRADE]))
    assert decoded.rows["offset"].to_list() == [0, 1, 2, 3]
    assert decoded.rows["start_ns"].to_list() == [5, 5, 5, 5]
    assert decoded.rejects.is_empty()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (trade("AAA.XNAS", 5, "-1", "3"), "price_nonpositive"),
        (trade("AAA.XNAS", 5, "0", "3"), "price_nonpositive"),
        (trade("AAA.XNAS", 5, "null", "3"), "price_missing"),
        (trade("AAA.XNAS", 5, '"abc"', "3"), "price_missing"),
        (trade("AAA.XNAS", 5, "1e400", "3"), "not_json"),
        (trade("AAA.XNAS", 5, "20000000000", "3"), "out_of_range"),
        (trade("AAA.XNAS", 5, "9000000000", "9000000000"), "out_of_range"),
        (trade("AAA.XNAS", 5, "0.000000001", "2000000000000000000"), "out_of_range"),
        (trade("AAA.XNAS", 5, "1", "null"), "size_missing"),
        (trade("AAA.XNAS", 5, "1", "-2"), "volume_negative"),
        (trade("AAA.XNAS", 5, "1", "2", correction='"cancel"'), "correction"),
        (VALID_TRADE.replace(b":5,", b":null,"), "time_missing"),
        (VALID_TRADE.replace(b'"instrument_id":"AAA.XNAS",', b""), "instrument_invalid"),
        (trade("AAA.XNAS", (KAFKA_TIMESTAMP_MS * 1_000_000) + HOUR_NS + 1, "1", "2"), "future_timestamp"),
    ],
)
def test_invalid_trades(value: bytes, reason: str) -> None:
    decoded = decode(batch([VALID_TRADE, value]), max_ahead_ns=HOUR_NS)
    assert decoded.rows["offset"].to_list() == [0]
    assert decoded.rejects["reason"].to_list() == [reason]


def bar(**overrides: Any) -> bytes:
    return msgspec.json.encode(
        {
            "schema": "bar.v1",
            "instrument_id": "AAA.XNAS",
            "interval": "1m",
            "ts_open_ns": 0,
            "ts_close_ns": 60 * 10**9,
            "session_date": "1970-01-01",
            "open": 10,
            "high": 12,
            "low": 9,
            "close": 11,
            "volume": 5,
            **overrides,
        }
    )


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ({"interval": "soon"}, "interval_unknown"),
        ({"interval": None}, "interval_unknown"),
        ({"ts_close_ns": 0}, "time_missing"),
        ({"ts_close_ns": 121 * 10**9}, "timestamp_off_grid"),
        ({"ts_open_ns": -9 * 10**18, "ts_close_ns": 9 * 10**18}, "timestamp_off_grid"),
        ({"vwap": -1}, "out_of_range"),
        ({"vwap": 10**11}, "out_of_range"),
        ({"vwap": 10**10, "volume": 10**8}, "out_of_range"),
        ({"high": 10**11}, "out_of_range"),
        ({"volume": 2 * 10**18}, "out_of_range"),
        ({"session_date": "1.2.70"}, "time_missing"),
        ({"session_date": "9999-01-01"}, "out_of_range"),
        ({"ts_open_ns": -(2**62) - 1, "ts_close_ns": -(2**62) + 9}, "out_of_range"),
        ({"ts_open_ns": 2**62 - 9, "ts_close_ns": 2**62 + 1}, "out_of_range"),
        ({"interval": "401d"}, "interval_unknown"),
        ({"open": None}, "price_missing"),
        ({"low": -1}, "price_nonpositive"),
        ({"high": 8}, "ohlc_high_lt_low"),
        ({"close": 13}, "ohlc_open_close_outside_range"),
        ({"low": 10.5}, "ohlc_open_close_outside_range"),
        ({"volume": -1}, "volume_negative"),
    ],
)
def test_invalid_bars(overrides: dict[str, Any], reason: str) -> None:
    decoded = decode(batch([bar(), bar(**overrides)]))
    assert decoded.rows["offset"].to_list() == [0]
    assert decoded.rejects["reason"].to_list() == [reason]


def test_values_at_a_limit_are_accepted() -> None:
    limit_ns = KAFKA_TIMESTAMP_MS * 1_000_000 + HOUR_NS
    trades = [trade("AAA.XNAS", limit_ns + beyond, "1", "2") for beyond in (0, 1)]
    bars = [bar(ts_open_ns=limit_ns + beyond, ts_close_ns=limit_ns + 120 * 10**9) for beyond in (0, 1)]
    decoded = decode(batch([*trades, *bars]), max_ahead_ns=HOUR_NS)
    assert decoded.rows["offset"].to_list() == [0, 2]
    assert decoded.rejects["reason"].to_list() == ["future_timestamp"] * 2


@pytest.mark.parametrize("timestamp_ms", [-(2**63), -1, 0, 253_402_300_799_000, 2**63 - 1])
def test_records_with_any_kafka_timestamp_are_used(timestamp_ms: int) -> None:
    decoded = decode(batch([VALID_TRADE, bar()], timestamp_ms=timestamp_ms), max_ahead_ns=HOUR_NS)
    assert decoded.rejects.is_empty()
    closes_ms = decoded.rows["end_ns"] // 10**6
    # without a timestamp, a record's own time is the best guess
    expected = closes_ms if timestamp_ms <= 0 else [2**62 // 10**6] * 2
    assert decoded.rows["timestamp_ms"].to_list() == list(expected)


@pytest.mark.parametrize("time_ns", [-(2**63), -(2**62) - 1, 2**62 + 1, 2**63 - 1])
def test_times_beyond_int64_arithmetic_are_out_of_range(time_ns: int) -> None:
    decoded = decode(batch([trade("AAA.XNAS", time_ns, 1, 1)], timestamp_ms=2**63 - 1))
    assert decoded.rejects["reason"].to_list() == ["out_of_range"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (VALID_TRADE.replace(b'{"schema"', b'{ "schema" '), "trade"),
        (VALID_TRADE.replace(b'"schema":"trade.v1",', b"")[:-1] + b',"schema":"trade.v1"}', "trade"),
        (VALID_TRADE.replace(b"trade.v1", b"trade\\u002ev1"), "trade"),
        (bar(source="trade.v1"), "bar"),
        (bar(extra={"schema": "trade.v1"}), "bar"),
        (b'{"schema":"quote.v1","extra":{"schema":"trade.v1"}}', "quote.v1"),
        (b'{"schema":"quote.v1","symbol":"bar.v1"}', "quote.v1"),
        (b'{"schema":"%s"}' % (b"x" * 100_000), "unknown schema"),
    ],
)
def test_the_schema_alone_decides_how_a_record_is_used(value: bytes, expected: str) -> None:
    decoded = decode(batch([VALID_TRADE, value, bar()]))
    assert decoded.rejects.is_empty()
    used = decoded.rows.filter(pl.col("offset") == 1)["input_interval"].to_list()
    kinds = {(): None, ("",): "trade", ("1m",): "bar"}
    assert kinds[tuple(used)] == expected or +decoded.skipped == {expected: 1}


def test_other_record_types_are_counted_as_skipped() -> None:
    values = [b'{"schema":"quote.v1"}', b'{"a":1}', b"3", None, b'{"schema":"alert.v1"}']
    decoded = decode(batch([*values, VALID_TRADE]))
    assert decoded.rows["offset"].to_list() == [5]
    assert decoded.rejects.is_empty()
    assert decoded.skipped == {
        "quote.v1": 1,
        "alert.v1": 1,
        "unknown schema": 2,
        "tombstones": 1,
    }


def test_a_trade_is_exact() -> None:
    (row,) = decode(batch([trade("AAA.XNAS", 7, "123456.123456789", "0.000000001")])).rows.iter_rows(
        named=True
    )
    assert str(row["open"]) == "123456.123456789"
    assert row["notional"] == 123456123456789


@settings(max_examples=100, derandomize=True)
@given(
    st.lists(st.sampled_from([VALID_TRADE, bar(), *BROKEN.values(), b"{}", None]), max_size=12),
    st.integers(0, 12),
)
def test_every_record_is_decoded_rejected_or_skipped_for_any_batching(
    values: list[bytes | None], at: int
) -> None:
    frame = batch(values)
    at_once = decode(frame)
    assert at_once.rows.height + at_once.rejects.height + at_once.skipped.total() == len(values)
    parts = [decode(frame.head(at)), decode(frame.slice(at))]
    key = ["partition", "offset"]
    assert at_once.rows.sort(key).equals(pl.concat([part.rows for part in parts]).sort(key))
    assert at_once.rejects.equals(pl.concat([part.rejects for part in parts]))
    assert at_once.rows.schema == ROW_SCHEMA
