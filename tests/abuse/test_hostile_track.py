"""Whatever a topic holds, `track` uses or rejects each record, and its good ones have the same results."""

import json
import random
import secrets
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support import hostile
from support.hostile import MINUTE_NS, Message
from support.records import KAFKA_TIMESTAMP_MS
from support.tracker import TrackResults, make_tracker, read_results
from tickerlake.alerts.engine import AlertEngine
from tickerlake.alerts.rules.ruleset import parse
from tickerlake.analytics.calendars import MarketSessions
from tickerlake.analytics.decode import decode
from tickerlake.analytics.engine import Engine
from tickerlake.analytics.types import EngineOptions, Output
from tickerlake.cli.engine_options import engine_options
from tickerlake.errors import UsageError
from tickerlake.kafka.admin import Admin
from tickerlake.model.schema import BAR, TRADE

INTERVALS = ("1s", "1m", "5m", "1h", "1d")
RULES = """
[[rule]]
id = "tick"
kind = "pct_change"
pct = 0.5
when = "tick"

[[rule]]
id = "cross"
kind = "cross"
level = "VWAP"

[[rule]]
id = "channel"
kind = "channel"
upper = "BBANDS(5).upper"

[[rule]]
id = "volume"
kind = "volume_spike"
times = 2

[[rule]]
id = "zscore"
kind = "zscore"
threshold = 2

[[rule]]
id = "day"
kind = "zscore"
interval = "1d"
threshold = 2

[[rule]]
id = "jump"
kind = "jump"
alpha = 0.3

[[rule]]
id = "gap"
kind = "gap_open"
pct = 1

[[rule]]
id = "high"
kind = "new_high"
window = 5

[[rule]]
id = "range"
kind = "range_expansion"
k = 1

[[rule]]
id = "halt"
kind = "halt"
minutes = 1

[[rule]]
id = "band"
kind = "limit_band"

[[rule]]
id = "stale"
kind = "stale"
after = "1m"

[[rule]]
id = "data"
kind = "data_quality"
count = 2
window = "1m"
"""


def new_engine() -> Engine:
    options = EngineOptions(INTERVALS, ("EMA(5)", "RSI(3)", "VWAP"), lateness_ns=MINUTE_NS)
    watcher = AlertEngine(parse(RULES, "rules.toml").rules, INTERVALS)
    return Engine(options, MarketSessions("24/7"), watcher)


def good_messages(count: int) -> list[Message]:
    """Trades of one instrument and bars of another, with prices that raise alerts."""
    rng = random.Random(count)
    messages = []
    for number in range(count):
        price = str(rng.choice((10, 10, 10, 10.1, 14)))
        fields = {"price": price, "open": price, "high": "15", "low": "9", "close": price, "vwap": price}
        for schema, symbol in ((TRADE, "GOODT"), (BAR, "GOODB")):
            members = [(name, fields.get(name, text)) for name, text in hostile.sound(schema, number, symbol)]
            messages.append(Message("", f"{symbol}.XXXX".encode(), hostile.encode(members)))
    return messages


def to_batch(messages: Sequence[Message]) -> pl.DataFrame:
    columns = {
        "partition": [0] * len(messages),
        "offset": range(len(messages)),
        "timestamp_ms": [message.timestamp_ms for message in messages],
        "value": [message.value for message in messages],
    }
    schema = dict.fromkeys(("partition", "offset", "timestamp_ms"), pl.Int64) | {"value": pl.Binary}
    return pl.DataFrame(columns, schema=schema)


def process(messages: Sequence[Message], rng: random.Random, max_batch: int) -> Iterator[Output]:
    engine, rest = new_engine(), to_batch(messages)
    while rest.height:
        size = rng.randrange(1, max_batch)
        yield engine.process(rest.head(size))
        rest = rest.slice(size)
        # the clock closes bars, too: the good ones are recent enough not to be closed
        engine.close_idle(0, KAFKA_TIMESTAMP_MS * 10**6, 10**9)


def results_of_good_ones(outputs: Sequence[Output]) -> dict[str, list[Any]]:
    results: dict[str, list[Any]] = defaultdict(list)
    is_good = pl.col("instrument_id").str.starts_with("GOOD")
    for output in outputs:
        for name in ("bars", "indicators"):
            frame: pl.DataFrame = getattr(output, name)
            # the offset is another one
            results[name] += frame.filter(is_good).drop("partition", "offset").rows()
        results["alerts"] += [one.alert for one in output.alerts if one.alert.symbol.startswith("GOOD")]
    return results


def assert_same_results(good: Sequence[Message], mixed: Sequence[Message], seed: int, max_batch: int) -> None:
    alone = results_of_good_ones(list(process(good, random.Random(seed), max_batch)))
    among = results_of_good_ones(list(process(mixed, random.Random(seed), max_batch)))
    assert len(alone["bars"]) > len(good) // 2
    assert among["bars"] == alone["bars"]
    assert among["indicators"] == alone["indicators"]
    assert among["alerts"] == alone["alerts"]


@pytest.mark.parametrize(
    ("seed", "count", "max_batch"),
    [
        (1, 1_500, 300),
        *(pytest.param(seed, 10_000, 2_000, marks=pytest.mark.full) for seed in (2, 3, 4)),
        pytest.param(5, 3_000, 2, marks=pytest.mark.full),
    ],
)
def test_good_records_have_the_same_results_among_hostile_ones(seed: int, count: int, max_batch: int) -> None:
    good = good_messages(100)
    assert_same_results(good, hostile.mixed(good, seed, count), seed, max_batch)


@settings(max_examples=10, derandomize=True, suppress_health_check=list(HealthCheck))
@given(hostile.messages(), st.integers(0, 40))
def test_any_few_messages_change_nothing(messages: list[Message], at: int) -> None:
    good = good_messages(20)
    assert_same_results(good, [*good[:at], *messages, *good[at:]], seed=1, max_batch=50)


@pytest.mark.parametrize("count", [2_000, pytest.param(20_000, marks=pytest.mark.full)])
def test_each_message_is_used_rejected_or_skipped_once(count: int) -> None:
    messages = hostile.hostile(6, count)
    decoded = decode(to_batch(messages), max_ahead_ns=MINUTE_NS)
    offsets = [*decoded.rows["offset"], *decoded.rejects["offset"]]
    assert len(set(offsets)) == len(offsets)
    assert len(offsets) + decoded.skipped.total() == count
    # however many schemas there are, few names are counted
    assert len(decoded.skipped) < 15


def test_a_rejected_record_of_the_year_9999_is_counted_like_any_other() -> None:
    good = good_messages(3)
    members = dict(hostile.sound(TRADE, 9, "GOODT")) | {"price": '"much"'}
    value = hostile.encode(list(members.items()))
    for timestamp_ms in hostile.ODD_TIMESTAMPS_MS:
        rejected = Message("odd price", b"GOODT.XXXX", value, timestamp_ms=timestamp_ms)
        output = new_engine().process(to_batch([*good, rejected, rejected]))
        # a message without a timestamp has -1, and some clients send 0
        is_ahead = 0 < timestamp_ms < hostile.EVENT_NS // 10**6
        reason = "future_timestamp" if is_ahead else "price_missing"
        assert output.rejects["reason"].to_list() == [reason] * 2
        # the reject is the record as it arrived
        assert output.rejects["timestamp_ms"].to_list() == [timestamp_ms] * 2
        assert [one.alert.rule_id for one in output.alerts].count("data") == 1


LONG = {
    "long and not UTF-8": b"\xff" * 1_000_000,
    "long in escapes": b"\0" * 1_000_000,
    "long instrument": hostile.encode([("schema", '"trade.v1"'), ("instrument_id", f'"{"A" * 1_200_000}"')]),
    "longer than a topic accepts": b'{"schema":"trade.v1","x":"' + b"x" * 5_000_000,
}


def good_results(results: TrackResults) -> TrackResults:
    return {
        (topic, key): values
        for (topic, key), values in results.items()
        if topic != "rejects" and (key or b"").startswith(b"GOOD")
    }


@pytest.mark.parametrize("count", [600, pytest.param(10_000, marks=pytest.mark.full)])
def test_hostile_records_in_a_topic_are_rejected_and_the_next_ones_tracked(
    kafka: str, tmp_path: Path, count: int
) -> None:
    name = f"t{secrets.token_hex(4)}"
    good = good_messages(60)
    mixed = hostile.mixed(good, 7, count)
    mixed[1:1] = [Message(kind, b"GOODT.XXXX", value) for kind, value in LONG.items()]
    results = {}
    for topic, messages in ((f"{name}.good", good), (f"{name}.mixed", mixed)):
        Admin(kafka).create_topic(topic, 1, hostile.TOPIC_CONFIG)
        # the second half arrives after a restart, which restores a snapshot
        for part in (messages[: len(messages) // 2], messages[len(messages) // 2 :]):
            assert not hostile.send(kafka, topic, part)
            progress = make_tracker(kafka, topic, topic, topic, tmp_path).run(
                threading.Event(), until_end=True
            )
            assert progress.records == len(part)
        results[topic] = read_results(kafka, topic)
    alone, among = (good_results(each) for each in results.values())
    assert sum(map(len, alone.values())) > len(good)
    assert among == alone
    rejects = [json.loads(value or b"") for value in results[f"{name}.mixed"]["rejects", None]]
    assert all(reject["reason"] for reject in rejects)
    assert len({reject["offset"] for reject in rejects}) == len(rejects) > count / 5
    cut = [reject for reject in rejects if "value_bytes" in reject][: len(LONG)]
    assert [reject["value_bytes"] for reject in cut] == [len(value) for value in LONG.values()]
    assert [reject["offset"] for reject in cut] == [1, 2, 3, 4]


@pytest.mark.full
def test_topics_of_one_group_follow_each_other(kafka: str, tmp_path: Path) -> None:
    group = f"g{secrets.token_hex(4)}"
    for number, topic in enumerate((f"{group}.trades", f"{group}.{'long' * 50}", f"{group}.trades")):
        Admin(kafka).create_topic(topic, 1, hostile.TOPIC_CONFIG)
        assert not hostile.send(kafka, topic, good_messages(5)[::2])
        tracker = make_tracker(kafka, topic, group, f"{group}.results{number}", tmp_path)
        assert tracker.run(threading.Event(), until_end=True).records == 5


@pytest.mark.parametrize(
    ("interval", "seconds"), [("1s", 1), ("7m", 420), ("24h", 86_400), ("399d", 34_473_600)]
)
def test_bars_of_any_interval_suit_any_rule(interval: str, seconds: int) -> None:
    """A window of half a day is too many bars of a second, so the next longer bars are evaluated."""
    rules = """
    [[rule]]
    id = "rise"
    kind = "pct_change"
    pct = 5
    window = "12h"
    """
    watcher = AlertEngine(parse(rules, "r").rules, INTERVALS[1:])
    engine = Engine(EngineOptions(INTERVALS[1:]), MarketSessions("24/7"), watcher)
    messages = []
    for number, price in enumerate((10, 11, 12, 13)):
        open_ns = MINUTE_NS * number
        fields = {"interval": f'"{interval}"', "ts_open_ns": f"{open_ns}", "session_date": '"1970-01-01"'}
        fields["ts_close_ns"] = f"{open_ns + seconds * 10**9}"
        fields |= dict.fromkeys(("open", "high", "low", "close", "vwap"), f"{price}")
        messages.append(
            Message(
                "", None, hostile.encode([(n, fields.get(n, v)) for n, v in hostile.sound(BAR, 0, "GOOD")])
            )
        )
    output = engine.process(to_batch(messages))
    assert "instrument_invalid" not in output.rejects["reason"].to_list()
    assert watcher.rules_without_data == []


def test_durations_that_no_time_can_be_added_to_are_too_long() -> None:
    for option in ("grace", "lateness", "idle", "ahead"):
        durations = dict.fromkeys(("grace", "lateness", "idle", "ahead"), "520w") | {option: "521w"}
        with pytest.raises(UsageError, match=f"--{option} 521w is too long"):
            engine_options("1m", "none", group="g", **durations)  # type: ignore[arg-type]
