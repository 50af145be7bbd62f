"""21: trades out of order, late, repeated and of the future, in the nights that have another length."""

import json
import random
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from confluent_kafka import Producer

from fault.conftest import Story
from support import oracle
from support.process import run
from support.records import trade

NEW_YORK = ZoneInfo("America/New_York")
# a leap day, and the days around the nights in which New York's clocks are changed
DAYS = ("2024-02-28", "2024-02-29", "2024-03-01", "2024-03-08", "2024-03-11", "2024-11-01", "2024-11-04")
SYMBOLS = ("AAA", "BBB", "CCC")


def at(day: str, minute: float) -> int:
    opens = datetime.fromisoformat(f"{day}T09:30").replace(tzinfo=NEW_YORK)
    return int((opens + timedelta(minutes=minute)).timestamp()) * 10**9


@pytest.mark.full
def test_each_trade_is_in_the_bar_of_its_day_or_refused(story: Story, tmp_path: Path) -> None:
    seed = 21
    dice = random.Random(seed)
    producer = Producer({"bootstrap.servers": story.servers})
    due: Counter[tuple[str, str]] = Counter()
    sent = mishaps = 0

    def send(symbol: str, ts_ns: int, counts: str | None) -> None:
        nonlocal sent
        sent += 1
        producer.produce(story.topic, trade(f"{symbol}.XNYS", ts_ns, 10, 1), symbol.encode())
        if counts:
            due[symbol, counts] += 1

    for day in DAYS:
        for symbol in SYMBOLS:
            # within half a minute out of order, some of them twice
            # the last of them after the close, when in UTC it is the next day in winter, and not in summer
            times = [at(day, minute / 4) for minute in range(38)] + [at(day, 575), at(day, 575.25)]
            for n in range(0, 40, 2):
                times[n], times[n + 1] = times[n + 1], times[n]
            for ts_ns in times:
                for _ in range(1 + (dice.random() < 0.1)):
                    send(symbol, ts_ns, day)
        for symbol in SYMBOLS:
            # one of a year from now that is far beyond its Kafka's time, one of long ago
            send(symbol, 4_000_000_000 * 10**9, None)
            send(symbol, at("2024-01-02", 5), None)
            mishaps += 2
    for symbol in SYMBOLS:
        send(symbol, at("2024-11-05", 0), None)  # closes the last day's bar
    assert producer.flush(30) == 0
    results = []
    for prefix in (f"{story.topic}.a", f"{story.topic}.b"):
        where = ("-t", story.topic, "-b", story.servers, "--state", tmp_path / prefix)
        own = ("--prefix", prefix, "--group", prefix)
        run("track", *where, *own, "--calendar", "XNYS", "--bars", "1d", "--until-end")
        bars: dict[tuple[str, str], int] = {}
        for message in oracle.messages(story.servers, f"{prefix}.bars"):
            bar = json.loads(message.value() or b"")
            bars[bar["symbol"], bar["session_date"]] = int(bar["volume"])
        refused = [json.loads(m.value() or b"") for m in oracle.messages(story.servers, f"{prefix}.refused")]
        results.append((bars, Counter(each["reason"] for each in refused)))
    assert results[0] == results[1]
    bars, reasons = results[0]
    print(f"seed {seed}", reasons)
    found = Counter({place: volume for place, volume in bars.items() if place[1] in DAYS})
    struck = reasons.total()
    assert struck == mishaps
    story.tell("21", "trades out of order, late, of the future; leap day, changed clocks", mishaps, struck,
               wanted=due, there=found)  # fmt: skip
    assert found == due
