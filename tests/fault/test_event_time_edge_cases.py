"""21: trades that are out of order, late, repeated or in the future, on a leap day and around DST changes."""

import json
import random
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from confluent_kafka import Producer

from support import oracle
from support.process import run
from support.records import trade
from support.scenario import Scenario, count_differences, record_result

NEW_YORK = ZoneInfo("America/New_York")
# a leap day, and the trading days around New York's DST changes
DAYS = ("2024-02-28", "2024-02-29", "2024-03-01", "2024-03-08", "2024-03-11", "2024-11-01", "2024-11-04")
SYMBOLS = ("AAA", "BBB", "CCC")


def timestamp_ns(day: str, minute: float) -> int:
    opens = datetime.fromisoformat(f"{day}T09:30").replace(tzinfo=NEW_YORK)
    return int((opens + timedelta(minutes=minute)).timestamp()) * 10**9


@pytest.mark.full
def test_each_trade_is_in_the_bar_of_its_session_or_rejected(scenario: Scenario, tmp_path: Path) -> None:
    seed = 21
    rng = random.Random(seed)
    producer = Producer({"bootstrap.servers": scenario.servers})
    expected: Counter[tuple[str, str]] = Counter()
    sent = injected = 0

    def send(symbol: str, ts_ns: int, session_date: str | None) -> None:
        nonlocal sent
        sent += 1
        producer.produce(scenario.topic, trade(f"{symbol}.XNYS", ts_ns, 10, 1), symbol.encode())
        if session_date:
            expected[symbol, session_date] += 1

    for day in DAYS:
        for symbol in SYMBOLS:
            # out of order by up to half a minute, some repeated; the last two after the close, when it is
            # already the next day in UTC in winter, but not in summer
            times = [timestamp_ns(day, minute / 4) for minute in range(38)] + [
                timestamp_ns(day, 575),
                timestamp_ns(day, 575.25),
            ]
            for n in range(0, 40, 2):
                times[n], times[n + 1] = times[n + 1], times[n]
            for ts_ns in times:
                for _ in range(1 + (rng.random() < 0.1)):
                    send(symbol, ts_ns, day)
        for symbol in SYMBOLS:
            # one far later than its Kafka timestamp, one long past
            send(symbol, 4_000_000_000 * 10**9, None)
            send(symbol, timestamp_ns("2024-01-02", 5), None)
            injected += 2
    for symbol in SYMBOLS:
        send(symbol, timestamp_ns("2024-11-05", 0), None)  # closes the last day's bar
    assert producer.flush(30) == 0
    results = []
    for prefix in (f"{scenario.topic}.a", f"{scenario.topic}.b"):
        input_options = ("-t", scenario.topic, "-b", scenario.servers, "--state", tmp_path / prefix)
        output_options = ("--prefix", prefix, "--group", prefix)
        run("track", *input_options, *output_options, "--calendar", "XNYS", "--bars", "1d", "--until-end")
        bars: dict[tuple[str, str], int] = {}
        for message in oracle.read_messages(scenario.servers, f"{prefix}.bars"):
            bar = json.loads(message.value() or b"")
            bars[bar["symbol"], bar["session_date"]] = int(bar["volume"])
        rejects = [
            json.loads(m.value() or b"") for m in oracle.read_messages(scenario.servers, f"{prefix}.rejects")
        ]
        results.append((bars, Counter(each["reason"] for each in rejects)))
    assert results[0] == results[1]
    bars, reasons = results[0]
    print(f"seed {seed}", reasons)
    actual = Counter({key: volume for key, volume in bars.items() if key[1] in DAYS})
    triggered = reasons.total()
    assert triggered == injected
    fault = "trades out of order, late, in the future; leap day, DST changes"
    differences = count_differences(expected, actual)
    record_result(scenario.record_property, "21", fault, injected, triggered, **differences)
    assert actual == expected
