"""Records that can't be used are refused with a reason, and the others go through."""

from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.records import NOON_MS, batch, trade
from tickerlake.analytics.decode import ROWS, decode

GOOD = trade("AAA.XNAS", 5, "10.5", "3")
HOUR_NS = 3600 * 10**9

BROKEN: dict[str, bytes] = {
    "truncated": GOOD[:-9],
    "not UTF-8": b'{"schema":"trade.v1","symbol":"\xff"}',
    "a number that is none": trade("AAA.XNAS", 5, "NaN", "3"),
    "deep": b'{"schema":"trade.v1","a":' + b"[" * 2000 + b"]" * 2000 + b"}",
    "two documents": GOOD + GOOD,
    "two documents on two lines": GOOD + b"\n" + GOOD,
    "nothing": b"",
    "text": b"hello",
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_json_is_refused_and_its_neighbours_go_through(name: str) -> None:
    found = decode(batch([GOOD, BROKEN[name], GOOD]))
    assert found.rows["offset"].to_list() == [0, 2]
    assert found.refused.select("offset", "reason").rows() == [(1, "not_json")]
    assert found.refused["value"].to_list() == [BROKEN[name]]


def test_lines_within_a_record_do_not_shift_the_others() -> None:
    spread = GOOD.replace(b",", b",\n")
    found = decode(batch([spread, GOOD, GOOD + b"\n", b"\n" + GOOD]))
    assert found.rows["offset"].to_list() == [0, 1, 2, 3]
    assert found.rows["start_ns"].to_list() == [5, 5, 5, 5]
    assert found.refused.is_empty()


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
        (GOOD.replace(b":5,", b":null,"), "time_missing"),
        (GOOD.replace(b'"instrument_id":"AAA.XNAS",', b""), "instrument_invalid"),
        (trade("AAA.XNAS", (NOON_MS * 1_000_000) + HOUR_NS + 1, "1", "2"), "future_timestamp"),
    ],
)
def test_trades_that_can_not_be(value: bytes, reason: str) -> None:
    found = decode(batch([GOOD, value]), ahead_ns=HOUR_NS)
    assert found.rows["offset"].to_list() == [0]
    assert found.refused["reason"].to_list() == [reason]


def bar(**more: Any) -> bytes:
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
            **more,
        }
    )


@pytest.mark.parametrize(
    ("more", "reason"),
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
        ({"open": None}, "price_missing"),
        ({"low": -1}, "price_nonpositive"),
        ({"high": 8}, "ohlc_high_lt_low"),
        ({"close": 13}, "ohlc_open_close_outside_range"),
        ({"low": 10.5}, "ohlc_open_close_outside_range"),
        ({"volume": -1}, "volume_negative"),
    ],
)
def test_bars_that_can_not_be(more: dict[str, Any], reason: str) -> None:
    found = decode(batch([bar(), bar(**more)]))
    assert found.rows["offset"].to_list() == [0]
    assert found.refused["reason"].to_list() == [reason]


def test_what_is_at_a_limit_is_used() -> None:
    latest_ns = NOON_MS * 1_000_000 + HOUR_NS
    trades = [trade("AAA.XNAS", latest_ns + late, "1", "2") for late in (0, 1)]
    bars = [bar(ts_open_ns=latest_ns + late, ts_close_ns=latest_ns + 120 * 10**9) for late in (0, 1)]
    found = decode(batch([*trades, *bars]), ahead_ns=HOUR_NS)
    assert found.rows["offset"].to_list() == [0, 2]
    assert found.refused["reason"].to_list() == ["future_timestamp"] * 2


def test_what_is_none_of_our_business_is_counted() -> None:
    values = [b'{"schema":"quote.v1"}', b'{"a":1}', b"3", None, b'{"schema":"alert.v1"}']
    found = decode(batch([*values, GOOD]))
    assert found.rows["offset"].to_list() == [5]
    assert found.refused.is_empty()
    assert found.ignored == {
        "quote.v1": 1,
        "alert.v1": 1,
        "records of no known schema": 2,
        "deleted keys": 1,
    }


def test_a_trade_is_exact() -> None:
    (row,) = decode(batch([trade("AAA.XNAS", 7, "123456.123456789", "0.000000001")])).rows.iter_rows(
        named=True
    )
    assert str(row["open"]) == "123456.123456789"
    assert row["notional"] == 123456123456789


@settings(max_examples=100, derandomize=True)
@given(
    st.lists(st.sampled_from([GOOD, bar(), *BROKEN.values(), b"{}", None]), max_size=12), st.integers(0, 12)
)
def test_every_record_is_a_row_or_refused_or_counted_however_it_is_cut(
    values: list[bytes | None], at: int
) -> None:
    frame = batch(values)
    whole = decode(frame)
    assert whole.rows.height + whole.refused.height + whole.ignored.total() == len(values)
    parts = [decode(frame.head(at)), decode(frame.slice(at))]
    key = ["partition", "offset"]
    assert whole.rows.sort(key).equals(pl.concat([part.rows for part in parts]).sort(key))
    assert whole.refused.equals(pl.concat([part.refused for part in parts]))
    assert whole.rows.schema == ROWS
