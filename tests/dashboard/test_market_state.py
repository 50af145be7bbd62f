"""The state of the market, against a model in plain Python that adds the trades one by one."""

import json
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickerlake.analytics.sessions import ALWAYS_OPEN, Sessions
from tickerlake.dashboard.market.alerts import AlertBuffer
from tickerlake.dashboard.market.decode import decode_bars, decode_indicators
from tickerlake.dashboard.market.latest import (
    AVERAGE_VOLUME,
    HIGH,
    LAST,
    LOW,
    OPEN,
    PREVIOUS_CLOSE,
    TIME_MS,
    VOLUME,
)
from tickerlake.dashboard.market.state import MarketState, nominal_length_ns
from tickerlake.dashboard.market.trades import aggregate_trades
from tickerlake.model.alert import Alert

MINUTE = 60 * 10**9
DAY = 86_400 * 10**9
START = 19_723 * DAY + 14 * 60 * MINUTE + 30 * MINUTE
NO_TIME_LIMIT_NS = 2**62


def trade(symbol: str, at_ns: int, price: float, size: float = 100.0, **more: Any) -> bytes:
    fields = {"schema": "trade.v1", "instrument_id": f"{symbol}.XXXX", "ts_event_ns": at_ns, "price": price}
    return json.dumps({**fields, "size": size, "correction": "none", **more}).encode()


def bar(symbol: str, interval: str, open_ns: int, prices: list[float], **more: Any) -> str:
    length = nominal_length_ns(interval)
    fields = {
        "schema": "bar.v1",
        "instrument_id": f"{symbol}.XXXX",
        "interval": interval,
        "ts_open_ns": open_ns,
        "ts_close_ns": open_ns + length,
        "session_date": str(np.datetime64(open_ns // DAY, "D")),
        **dict(zip(("open", "high", "low", "close", "volume"), prices, strict=True)),
        "is_final": True,
        "revision": 0,
    }
    return json.dumps({**fields, **more})


def bars(*lines: str) -> pl.DataFrame:
    return decode_bars(pl.Series(lines, dtype=pl.String))


def create_market() -> MarketState:
    return MarketState(lambda _: ALWAYS_OPEN)


def latest_values(market: MarketState, symbol: str) -> dict[int, float]:
    number = market.instruments.find(symbol)
    assert number is not None
    return dict(enumerate(market.latest.values[:, number].tolist()))


TRADES = st.lists(
    st.tuples(
        st.sampled_from(["A", "B", "C"]),
        st.integers(0, 3 * 10**9 // 2),  # up to 25 hours, in units of 60 µs
        st.integers(1, 10_000).map(lambda cents: cents / 100),
        st.integers(0, 500).map(float),
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=60)
@given(trades=TRADES, cuts=st.lists(st.integers(0, 60), max_size=5))
def test_trades_update_sessions_and_forming_bars(
    trades: list[tuple[str, int, float, float]], cuts: list[int]
) -> None:
    trades = [(symbol, START + at * 60_000, price, size) for symbol, at, price, size in trades]
    trades.sort(key=lambda each: each[1])
    market = create_market()
    market.add_bars(bars(bar("Z", "5m", START, [1, 1, 1, 1, 1])))
    edges = [0, *sorted(min(cut, len(trades)) for cut in cuts), len(trades)]
    for start, end in pairwise(edges):
        market.add_trades(aggregate_trades([trade(*each) for each in trades[start:end]], NO_TIME_LIMIT_NS))
    for symbol in {each[0] for each in trades}:
        symbol_trades = [each for each in trades if each[0] == symbol]
        day = symbol_trades[-1][1] // DAY
        today = [each for each in symbol_trades if each[1] // DAY == day]
        before = [each for each in symbol_trades if each[1] // DAY < day]
        prices = [each[2] for each in today]
        values = latest_values(market, symbol)
        assert values[LAST] == symbol_trades[-1][2]
        assert values[TIME_MS] == symbol_trades[-1][1] // 1_000_000
        assert (values[OPEN], values[HIGH], values[LOW]) == (prices[0], max(prices), min(prices))
        assert values[VOLUME] == pytest.approx(sum(each[3] for each in today))
        assert values[PREVIOUS_CLOSE] == before[-1][2] if before else np.isnan(values[PREVIOUS_CLOSE])
        for interval, length in (("5m", 5 * MINUTE), ("1d", DAY)):
            number = market.instruments.find(symbol)
            assert number is not None
            forming = market.forming_bars((number, interval))
            buckets = sorted({each[1] // length for each in symbol_trades})[-2:]
            assert [row[0] for row in forming] == [bucket * length / 1e6 for bucket in buckets]
            in_bucket = [each for each in symbol_trades if each[1] // length == buckets[-1]]
            prices = [each[2] for each in in_bucket]
            volume = sum(each[3] for each in in_bucket)
            assert forming[-1][1:5] == [prices[0], max(prices), min(prices), prices[-1]]
            assert forming[-1][5] == pytest.approx(volume)


@settings(max_examples=60)
@given(
    values=st.lists(
        st.one_of(
            st.binary(max_size=20),
            st.none(),
            st.builds(
                trade,
                st.sampled_from(["A", "B"]),
                st.integers(0, 10 * MINUTE),
                st.sampled_from([1.0, 2.5, 0.0, -1.0, 1e300]),
                st.sampled_from([0.0, 5.0, -5.0]),
                correction=st.sampled_from(["none", "cancel", None]),
            ),
        ),
        max_size=30,
    )
)
def test_aggregation_counts_every_value_once(values: list[bytes | None]) -> None:
    aggregated = aggregate_trades(values, 8 * MINUTE)
    assert aggregated.trades + aggregated.skipped == len(values)
    good = []
    for value in values:
        try:
            fields = json.loads(value or b"")
        except ValueError:
            continue
        if isinstance(fields, dict) and "price" in fields:
            is_valid = (
                0 < fields["price"] < 1e18 and fields["size"] >= 0 and fields["ts_event_ns"] <= 8 * MINUTE
            )
            if is_valid and fields["correction"] != "cancel":
                good.append(fields)
    assert aggregated.trades == len(good)
    assert aggregated.prices[4].sum() == pytest.approx(sum(fields["size"] for fields in good))


def test_trades_that_set_no_price_by_their_sale_conditions_only_add_volume() -> None:
    codes: list[Any] = [
        ["@"],
        ["@", "I"],
        [14, 37],
        ["@", "4"],
        ["@", "M"],
        ["@", "F"],
        None,
        "x",
        ["@", "T"],
    ]
    values = [trade("A", n, 10 + n, conditions=each) for n, each in enumerate(codes)]
    aggregated = aggregate_trades(values, NO_TIME_LIMIT_NS)
    assert aggregated.prices[:, 0].tolist() == [10, 18, 10, 18, 800]
    assert (aggregated.trades, aggregated.skipped) == (9, 0)
    # alone they are no price; instruments of other markets have other codes
    assert not aggregate_trades(values[1:5], NO_TIME_LIMIT_NS).instruments
    abroad = [each.replace(b"A.XXXX", b"A.XLON") for each in values[1:5]]
    assert aggregate_trades(abroad, NO_TIME_LIMIT_NS).prices[:, 0].tolist() == [11, 14, 11, 14, 400]


def test_numbers_written_as_text_are_read() -> None:
    aggregated = aggregate_trades(
        [trade("A", 1, 1).replace(b'"price": 1', b'"price": "12.5"')], NO_TIME_LIMIT_NS
    )
    assert aggregated.prices[:, 0].tolist() == [12.5, 12.5, 12.5, 12.5, 100.0]


def test_daily_bars_alone_fill_the_list() -> None:
    market = create_market()
    days = [bar("A", "1d", n * DAY, [10 + n, 12 + n, 9 + n, 11 + n, 100 * (n + 1)]) for n in range(30)]
    for cut in (7, 23):  # for any batches
        market.add_bars(bars(*days[:cut]))
        days = days[cut:]
    market.add_bars(bars(*days))
    values = latest_values(market, "A")
    assert (values[LAST], values[PREVIOUS_CLOSE], values[OPEN], values[HIGH]) == (40, 39, 39, 41)
    assert values[AVERAGE_VOLUME] == pytest.approx(np.mean([100 * (n + 1) for n in range(10, 30)]))
    assert market.latest.sparklines[0][-3:].tolist() == [38, 39, 40]
    assert market.intervals_of(0) == ["1d"]
    assert market.forming_bars((0, "1d")) == []


def test_trades_continue_where_bars_end() -> None:
    market = create_market()
    market.add_bars(
        bars(*(bar("A", "1d", START // DAY * DAY - DAY * n, [5, 6, 4, 5.5, 900]) for n in (2, 1)))
    )
    minutes = [bar("A", "1m", START + n * MINUTE, [10, 11 + n, 9, 10, 50]) for n in range(3)]
    market.add_bars(bars(*minutes, bar("A", "5m", START - 5 * MINUTE, [10, 10, 10, 10, 1])))
    # the trades of these minutes are read again, as reading starts a little earlier
    again = [trade("A", START + n * MINUTE + 5, 10 + n) for n in range(3)]
    market.add_trades(
        aggregate_trades([*again, trade("A", START + 3 * MINUTE + 1, 20.0, 7)], NO_TIME_LIMIT_NS)
    )
    values = latest_values(market, "A")
    assert (values[LAST], values[PREVIOUS_CLOSE], values[HIGH], values[LOW]) == (20, 5.5, 20, 9)
    assert values[VOLUME] == 157
    assert market.forming_bars((0, "5m")) == [[START / 1e6, 10, 20, 9, 20, 157]]
    assert market.forming_bars((0, "1m")) == [[(START + 3 * MINUTE) / 1e6, 20, 20, 20, 20, 7]]
    market.add_bars(bars(bar("A", "1m", START + 3 * MINUTE, [20, 20, 20, 20, 7])))
    assert market.forming_bars((0, "1m")) == [], "the closed bar replaced it"
    assert latest_values(market, "A")[VOLUME] == 157, "bars built from the trades are not counted again"


def test_the_highest_revision_of_a_bar_wins() -> None:
    market = create_market()
    first = bar("A", "1m", START, [1, 2, 1, 2, 10])
    second = bar("A", "1m", START + MINUTE, [2, 3, 2, 3, 10])
    market.add_bars(bars(first, second))
    market.add_bars(bars(bar("A", "1m", START, [1, 5, 1, 2, 30], revision=1)))
    market.add_bars(bars(first))
    rows, more = market.bars((0, "1m"), None, 10)
    assert rows.rows() == [(START, 1, 5, 1, 2, 30), (START + MINUTE, 2, 3, 2, 3, 10)]
    assert not more
    rows, _ = market.bars((0, "1m"), START + MINUTE, 10)
    assert rows.get_column("open_ns").to_list() == [START]
    rows, _ = market.bars((0, "1m"), None, 1)
    assert rows.get_column("open_ns").to_list() == [START + MINUTE]


def test_the_oldest_rows_are_evicted() -> None:
    market = MarketState(lambda _: ALWAYS_OPEN, max_bars=120_000)
    for start in range(0, 200_000, 20_000):
        rows = bars(bar("A", "1m", 0, [1, 1, 1, 1, 1]))
        opens = pl.int_range(start, start + 20_000, eager=True) * MINUTE
        many = pl.concat([rows] * 20_000).with_columns(open_ns=opens, close_ns=opens + MINUTE)
        market.add_bars(many)
    market.add_bars(bars(bar("A", "1d", 0, [1, 1, 1, 1, 1])))
    rows, more = market.bars((0, "1m"), None, 10**6)
    assert more
    assert 60_000 <= rows.height <= 120_000
    assert rows.item(-1, "open_ns") == 199_999 * MINUTE
    assert market.bars((0, "1d"), None, 10)[0].height == 1, "the rows of a small interval remain"


def test_a_subscribed_chart_gets_closed_bars() -> None:
    market = create_market()
    market.add_bars(bars(bar("A", "1m", START, [1, 2, 1, 2, 10]), bar("B", "1m", START, [1, 2, 1, 2, 10])))
    market.watch((0, "1m"))
    tick = market.latest.tick
    market.add_bars(bars(bar("B", "1m", START + MINUTE, [9, 9, 9, 9, 9])))
    market.add_bars(bars(bar("A", "1m", START + MINUTE, [2, 3, 2, 3, 20])))
    line = json.dumps(
        {
            "schema": "indicator.v1",
            "instrument_id": "A.XXXX",
            "interval": "1m",
            "ts_open_ns": START + MINUTE,
            "values": {"SMA(2)": 2.5},
        }
    )
    market.add_indicators(decode_indicators(pl.Series([line])))
    events = market.events((0, "1m"), tick)
    assert [event["t"] for event in events] == ["bar", "values"]
    assert events[0]["bar"] == [(START + MINUTE) / 1e6, 2, 3, 2, 3, 20]
    assert events[1]["values"] == {"SMA(2)": 2.5}
    assert market.events((0, "1m"), market.latest.tick) == []
    market.unwatch((0, "1m"))
    assert market.events((0, "1m"), 0) == []


def test_invalid_instrument_names_are_skipped() -> None:
    market = create_market()
    hostile = ["<img src=x onerror=alert(1)>", "../../etc", "a b", "", "=cmd()", "A" * 65]
    market.add_trades(
        aggregate_trades([trade(name, START, 1.0) for name in [*hostile, "GOOD"]], NO_TIME_LIMIT_NS)
    )
    market.add_bars(bars(*(bar(name, "1m", START, [1, 1, 1, 1, 1]) for name in hostile)))
    assert market.instruments.symbols == ["GOOD"]


def test_a_symbol_is_found_as_it_is_written() -> None:
    market = create_market()
    trades = [trade(name, START, 1.0) for name in ("BTC~2FUSD", "~E6~A0~AA")]
    market.add_trades(aggregate_trades(trades, NO_TIME_LIMIT_NS))
    assert market.instruments.symbols == ["BTC/USD", "株"]
    assert [market.instruments.find(name) for name in ("BTC/USD", "BTC~2FUSD.XXXX", "株")] == [0, 0, 1]


def test_inconsistent_bars_are_skipped() -> None:
    lines = [
        bar("A", "1m", START, [1, 2, 1, 2, 10]),
        bar("A", "1m", START, [1, 1, 2, 2, 10]),
        bar("A", "1m", START, [-1, 2, -1, 2, 10]),
        bar("A", "1m", START, [1, 2, 1, 2, 1]).replace("1m", "x"),
        bar("A", "1m", START, [1, 2, 1, 2, 10], is_final=False),
        bar("A", "1m", START, [1, 2, 1, 2, 10], ts_close_ns=START),
        bar("A", "1m", START, [1, 2, 1, 2, 10], session_date="soon"),
        '{"schema":"trade.v1"}',
        "{",
        "",
    ]
    assert bars(*lines).height == 1


def test_each_indicator_has_a_column() -> None:
    lines = [
        {
            "schema": "indicator.v1",
            "instrument_id": "A.XXXX",
            "interval": "1d",
            "ts_open_ns": n,
            "values": values,
        }
        for n, values in enumerate([{"SMA(2)": 1.5}, {"MACD(12,26,9).hist": -0.25}, {}])
    ]
    decoded = decode_indicators(pl.Series([json.dumps(line) for line in lines]))
    assert decoded.get_column("SMA(2)").to_list() == [1.5, None, None]
    assert decoded.get_column("MACD(12,26,9).hist").to_list() == [None, -0.25, None]
    market = create_market()
    market.add_indicators(decoded)
    assert market.indicators() == ["MACD(12,26,9).hist", "SMA(2)"]
    rows, _ = market.indicator_values((0, "1d"), None, 10)
    assert rows.get_column("open_ns").to_list() == [0, 1, 2]


def alert(number: int, **more: Any) -> Alert:
    fields: dict[str, Any] = {
        "alert_id": str(number),
        "rule_id": "r",
        "rule_version": 1,
        "kind": "pct_change",
        "severity": "warning",
        "state": "fired",
        "instrument_id": "A.XXXX",
        "symbol": "A",
        "ts_event_ns": START + number,
        "ts_detected_ns": START + number,
        "direction": "up",
        "unit": "pct",
        "suppressed_count": 0,
        "dedup_key": "k",
        "cause": "unknown",
        "message": "A rose",
        "value": Decimal("5.25"),
    }
    return Alert(**{**fields, **more})


def test_large_alerts_are_bounded_by_their_size() -> None:
    size = len(alert(10, message="x" * 1_000).to_json())
    buffer = AlertBuffer(max_bytes=5 * size)
    for number in range(10, 30):
        buffer.add(alert(number, message="x" * 1_000), -1)
    kept = [numbered.alert.alert_id for numbered in buffer.since(0, 100)]
    assert kept == ["25", "26", "27", "28", "29"]
    assert [numbered.alert.alert_id for numbered in buffer.since(0, 100, 2 * size)] == ["28", "29"]
    assert buffer.search(None, "info", None, 100)[1], "there were older ones"
    # one that is larger than all may be is not kept, and what is evicted may come again
    buffer.add(alert(99, message="x" * 9_000), -1)
    assert buffer.since(0, 100) == []
    buffer.add(alert(29, message="short"), -1)
    assert [numbered.alert.alert_id for numbered in buffer.since(0, 100)] == ["29"]


def test_alerts_are_found_by_instrument_severity_and_time() -> None:
    market = create_market()
    market.add_alerts(
        [alert(n) for n in range(5)] + [alert(2), alert(9, severity="critical", instrument_id="B.XXXX")]
    )
    assert market.alerts.count == 6, "duplicates count once"
    alerts, more = market.alerts.search(None, "info", None, 3)
    assert [numbered.alert.alert_id for numbered in alerts] == ["9", "4", "3"]
    assert more
    alerts, more = market.alerts.search(market.instruments.find("A"), "warning", START + 2, 10)
    assert [numbered.alert.alert_id for numbered in alerts] == ["1", "0"]
    assert not more
    assert [numbered.alert.alert_id for numbered in market.alerts.search(None, "critical", None, 10)[0]] == [
        "9"
    ]
    document = json.loads(alerts[0].to_json())
    assert (document["id"], document["event_ms"], document["value"]) == (0, (START + 1) / 1e6, 5.25)
    assert [numbered.alert.alert_id for numbered in market.alerts.since(4, 100)] == ["4", "9"]


CLOSES = [10.0, 12.0, 11.0]
NO_RANGE = dict.fromkeys(("open", "high", "low"))


def test_closes_without_a_range_are_shown_as_they_are() -> None:
    market = create_market()
    lines = [
        bar("A", "1d", START // DAY * DAY + n * DAY, [1, 1, 1, close, 7], **NO_RANGE)
        for n, close in enumerate(CLOSES)
    ]
    market.add_bars(bars(*lines))
    rows, _ = market.bars((0, "1d"), None, 10)
    assert rows.get_column("close").to_list() == CLOSES
    assert rows.select("open", "high", "low").null_count().row(0) == (3, 3, 3)
    values = latest_values(market, "A")
    assert (values[LAST], values[PREVIOUS_CLOSE], values[VOLUME]) == (11, 12, 7)
    assert np.isnan([values[OPEN], values[HIGH], values[LOW]]).all()


def test_a_close_leaves_the_range_of_a_forming_bar_unknown() -> None:
    market = create_market()
    market.add_bars(bars(bar("A", "5m", START - 5 * MINUTE, [9, 9, 9, 9, 1])))
    prices = [[10.0, 12, 9, 11, 5], [1.0, 1, 1, 13, 5], [10.0, 12, 9, 10, 5]]
    market.add_bars(
        bars(
            *(
                bar("A", "1m", START + n * MINUTE, each, **({} if n != 1 else NO_RANGE))
                for n, each in enumerate(prices)
            )
        )
    )
    forming = market.forming_bars((0, "5m"))
    assert forming == [[START / 1e6, None, None, None, 10, 15]]
    assert forming == market.forming_bars((0, "5m")), "it is sent once"


@pytest.mark.parametrize(
    "fields", [{"open": None}, {"high": None, "low": None}, dict.fromkeys(NO_RANGE, "n/a"), {"close": None}]
)
def test_bars_with_a_part_of_the_range_are_skipped(fields: dict[str, Any]) -> None:
    assert bars(bar("A", "1d", 0, [1, 1, 1, 1, 1], **fields)).is_empty()


def new_york_market() -> MarketState:
    days = np.array([19_722, 19_723, 19_724])
    opens = days * DAY + (14 * 60 + 30) * MINUTE
    sessions = Sessions(days, opens, opens + 390 * MINUTE)
    return MarketState(lambda _: sessions)


PRE_MARKET_TRADE = trade("A", START - 40 * MINUTE, 9.0, 5)


def test_forming_hours_start_at_the_open_and_the_day_has_regular_trades_only() -> None:
    market = new_york_market()
    market.add_bars(bars(bar("A", "1h", START - DAY, [5, 6, 4, 5.5, 900])))
    made = [
        PRE_MARKET_TRADE,
        trade("A", START + 5 * MINUTE, 10.0, 7),
        trade("A", START + 70 * MINUTE, 12.0, 8),
    ]
    market.add_trades(aggregate_trades(made, NO_TIME_LIMIT_NS))
    forming = market.forming_bars((0, "1h"))
    assert [(row[0], row[5]) for row in forming] == [(START / 1e6, 7), ((START + 60 * MINUTE) / 1e6, 8)]
    assert market.forming_bars((0, "1d"))[-1] == [START // DAY * DAY / 1e6, 10, 12, 10, 12, 15]
    assert latest_values(market, "A")[LAST] == 12


def test_forming_hours_follow_the_alignment_of_closed_ones() -> None:
    market = new_york_market()
    market.add_bars(bars(bar("A", "1h", START - DAY - 30 * MINUTE, [5, 6, 4, 5.5, 900])))
    market.add_trades(aggregate_trades([trade("A", START + 5 * MINUTE, 10.0, 7)], NO_TIME_LIMIT_NS))
    assert market.forming_bars((0, "1h")) == [[(START - 30 * MINUTE) / 1e6, 10, 10, 10, 10, 7]]


def test_forming_hours_of_bars_start_at_the_open() -> None:
    market = new_york_market()
    minutes = [bar("A", "1m", START + n * MINUTE, [10, 11, 9, 10, 50]) for n in (-30, 0, 1)]
    market.add_bars(bars(bar("A", "1h", START - DAY, [5, 6, 4, 5.5, 900]), *minutes))
    assert market.forming_bars((0, "1h"))[-1] == [START / 1e6, 10, 11, 9, 10, 100]
    assert market.forming_bars((0, "1d"))[-1] == [START // DAY * DAY / 1e6, 10, 11, 9, 10, 100]
