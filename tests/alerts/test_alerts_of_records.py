"""Records → alerts: the same ones in the same order, wherever batches are cut and whoever goes on."""

import itertools
from decimal import Decimal

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from support.records import batch, trade
from tickerlake.alerts.engine import AlertEngine
from tickerlake.alerts.rules.ruleset import parse
from tickerlake.analytics import snapshot
from tickerlake.analytics.engine import Engine, EngineOptions, Output
from tickerlake.analytics.sessions import ALWAYS

SECOND = 10**9
START = 1_704_205_800 * SECOND
RULES = parse(
    """
    [[rule]]
    id = "level"
    kind = "cross"
    level = 100
    when = "tick"
    repeat = "once_per_bar"
    cooldown = "1m"

    [[rule]]
    id = "average"
    kind = "cross"
    level = "SMA(2)"
    when = "tick"
    cooldown = "2m"

    [[rule]]
    id = "move"
    kind = "pct_change"
    window = "2m"
    pct = 1
    critical = 4
    when = "tick"
    repeat = "every"
    cooldown = "1m"

    [[rule]]
    id = "closed"
    kind = "pct_change"
    window = "1m"
    pct = 0.5
    cooldown = "1m"
    """,
    "test",
)

steps = st.lists(
    st.tuples(
        st.sampled_from(["AAA.XNAS", "BBB.XNAS"]),
        st.one_of(st.integers(0, 30), st.integers(0, 150), st.integers(-90, 0)),
        st.decimals("95", "105", places=1),
    ),
    min_size=5,
    max_size=60,
)


def engine() -> Engine:
    options = EngineOptions(intervals=("1m", "5m"), lateness_ns=60 * SECOND)
    return Engine(options, lambda _: ALWAYS, AlertEngine(RULES.rules, options.intervals))


def records(made: list[tuple[str, int, Decimal]]) -> pl.DataFrame:
    now, values = START, []
    for name, step, price in made:
        now += step * SECOND
        values.append(trade(name, now, price, Decimal(1)))
    return batch(values)


def told(*outputs: Output) -> list[tuple[int, bytes]]:
    return [(raised.offset, raised.alert.to_json()) for output in outputs for raised in output.alerts]


def cut(frame: pl.DataFrame, places: list[int]) -> list[pl.DataFrame]:
    edges = sorted({0, frame.height, *(place for place in places if place < frame.height)})
    return [frame.slice(a, b - a) for a, b in itertools.pairwise(edges)]


@settings(max_examples=30, derandomize=True)
@given(steps, st.lists(st.integers(0, 60), max_size=8))
def test_alerts_do_not_depend_on_batches(made: list[tuple[str, int, Decimal]], places: list[int]) -> None:
    frame = records(made)
    one_by_one = engine()
    expected = told(*(one_by_one.take(frame.slice(n, 1)) for n in range(frame.height)))
    subject = engine()
    assert told(*(subject.take(part) for part in cut(frame, places))) == expected
    assert told(engine().take(frame)) == expected


@settings(max_examples=40, derandomize=True)
@given(steps, st.integers(0, 60))
def test_alerts_do_not_depend_on_who_goes_on(made: list[tuple[str, int, Decimal]], at: int) -> None:
    frame = records(made)
    whole, before, after = engine(), engine(), engine()
    whole.take(frame.head(at))
    before.take(frame.head(at))
    snapshot.restore(after, 0, snapshot.take(before, 0))
    assert told(after.take(frame.slice(at))) == told(whole.take(frame.slice(at)))


def test_ticks_are_told_at_the_trade() -> None:
    prices = [(0, "99"), (10, "98"), (70, "99"), (130, "99"), (135, "100.5"), (140, "102")]
    values = [trade("AAA.XNAS", START + at * SECOND, Decimal(price), Decimal(1)) for at, price in prices]
    found = [
        (raised.offset, raised.alert.rule_id, raised.alert.ts_event_ns - START)
        for raised in engine().take(batch(values)).alerts
        if raised.alert.rule_id in {"level", "closed"}
    ]
    # the trade that crosses, not the end of its bar; the close of the bar before at the trade that closed it
    assert found == [(3, "closed", 120 * SECOND), (4, "level", 135 * SECOND)]


DATA_RULES = parse(
    """
    [[rule]]
    id = "silent"
    kind = "stale"
    after = "10m"

    [[rule]]
    id = "bad"
    kind = "data_quality"
    count = 3
    window = "10m"
    """,
    "test",
)


def data_engine() -> Engine:
    options = EngineOptions(intervals=("1m",))
    return Engine(options, lambda _: ALWAYS, AlertEngine(DATA_RULES.rules, options.intervals))


def test_a_feed_that_goes_silent_is_told_by_the_clock() -> None:
    subject = data_engine()
    subject.take(batch([trade(name, START, Decimal(5), Decimal(1)) for name in ("AAA.XNAS", "BBB.XNAS")]))
    assert subject.idle(0, START + 9 * 60 * SECOND, 0).alerts == []
    subject.take(batch([trade("BBB.XNAS", START + 540 * SECOND, Decimal(5), Decimal(1))], first=2))
    (raised,) = subject.idle(0, START + 11 * 60 * SECOND, 0).alerts
    assert (raised.alert.rule_id, raised.alert.symbol) == ("silent", "AAA")
    # once is enough
    assert subject.idle(0, START + 12 * 60 * SECOND, 0).alerts == []


def test_the_clock_says_nothing_of_history() -> None:
    subject = data_engine()
    subject.take(batch([trade("AAA.XNAS", START, Decimal(5), Decimal(1))]))
    assert subject.idle(0, START + 400 * 86_400 * SECOND, 0).alerts == []


def test_records_that_are_refused_are_told_of_whatever_the_batches() -> None:
    bad = trade("AAA.XNAS", START, Decimal(-1), Decimal(1))
    values = [trade("AAA.XNAS", START, Decimal(5), Decimal(1)), *[bad] * 5]
    whole = data_engine().take(batch(values))
    assert [(raised.offset, raised.alert.rule_id) for raised in whole.alerts] == [(3, "bad")]
    subject = data_engine()
    parts = [subject.take(batch(values).slice(n, 1)) for n in range(len(values))]
    assert told(*parts) == told(whole)


FEED_RULES = parse(
    """
    [[rule]]
    id = "any"
    kind = "pct_change"
    pct = 1
    cooldown = "1m"

    [[rule]]
    id = "average"
    kind = "cross"
    level = "SMA(2)"
    cooldown = "1m"

    [[rule]]
    id = "ten"
    kind = "pct_change"
    interval = "10m"
    pct = 1
    """,
    "test",
)


def daily(name: str, day: int, price: int) -> bytes:
    start = (19_724 + day) * 86_400 * SECOND
    prices = ",".join(f'"{each}":{price}' for each in ("open", "high", "low", "close"))
    date = f"2024-01-{2 + day:02}"
    return (
        f'{{"schema":"bar.v1","instrument_id":"{name}","interval":"1d","ts_open_ns":{start},'
        f'"ts_close_ns":{start + 86_400 * SECOND},"session_date":"{date}",{prices}}}'
    ).encode()


def test_a_rule_without_an_interval_looks_at_the_shortest_bars_that_there_are() -> None:
    options = EngineOptions(intervals=("1m", "5m", "1d"))
    watcher = AlertEngine(FEED_RULES.rules, options.intervals)
    subject = Engine(options, lambda _: ALWAYS, watcher)
    minutes = [trade("AAA.XNAS", START + n * 60 * SECOND, Decimal(100 + 2 * n), Decimal(1)) for n in range(4)]
    days = [daily("BBB.XNAS", n, price) for n, price in enumerate((100, 110, 121, 90))]
    # the one instrument comes first in one order, and second in the other
    for values in ([*minutes, *days], [*days, *minutes]):
        found = {
            (raised.alert.symbol, raised.alert.rule_id, raised.alert.window)
            for raised in Engine(options, lambda _: ALWAYS, AlertEngine(FEED_RULES.rules, options.intervals))
            .take(batch(values))
            .alerts
            if raised.alert.state == "fired"
        }
        assert found == {("AAA", "any", "1m"), ("BBB", "any", "1d"), ("BBB", "average", "1d")}
    subject.take(batch(minutes))
    assert [rule.id for rule in watcher.unseen] == ["ten"]


def test_who_goes_on_knows_of_feeds_that_are_not_built() -> None:
    options = EngineOptions(intervals=("1m",))
    values = [daily("BBB.XNAS", n, price) for n, price in enumerate((100, 110, 100, 90, 120, 80))]

    def make() -> Engine:
        return Engine(options, lambda _: ALWAYS, AlertEngine(FEED_RULES.rules, options.intervals))

    whole, before, after = make(), make(), make()
    for subject in (whole, before):
        subject.take(batch(values[:3]))
    snapshot.restore(after, 0, snapshot.take(before, 0))
    expected = told(whole.take(batch(values[3:], first=3)))
    assert len(expected) > 2
    assert told(after.take(batch(values[3:], first=3))) == expected


def test_records_are_counted_since_their_instrument_is_known_whatever_the_batches() -> None:
    bad = trade("AAA.XNAS", START, Decimal(-1), Decimal(1))
    values = [*[bad] * 3, trade("AAA.XNAS", START, Decimal(5), Decimal(1)), *[bad] * 3]
    whole = data_engine().take(batch(values))
    assert [(raised.offset, raised.alert.rule_id) for raised in whole.alerts] == [(6, "bad")]
    subject = data_engine()
    parts = [subject.take(batch(values).slice(n, 1)) for n in range(len(values))]
    assert told(*parts) == told(whole)


def test_what_one_record_raises_is_told_in_the_same_order_whatever_the_batches() -> None:
    rules = parse(
        """
        [[rule]]
        id = "tick"
        kind = "pct_change"
        interval = "45s"
        window = "45s"
        pct = 1
        when = "tick"
        repeat = "every"

        [[rule]]
        id = "close"
        kind = "pct_change"
        interval = "1m"
        window = "1m"
        pct = 1
        """,
        "test",
    )

    def subject() -> Engine:
        options = EngineOptions(intervals=("45s", "1m"))
        return Engine(options, lambda _: ALWAYS, AlertEngine(rules.rules, options.intervals))

    # the sixth closes a bar of a minute, and is in the middle of one of 45 seconds
    prices = [(0, 100), (50, 100), (70, 100), (95, 100), (110, 102), (125, 103), (140, 103)]
    values = [trade("AAA.XNAS", START + at * SECOND, price, 1) for at, price in prices]
    one_by_one = subject()
    parts = [one_by_one.take(batch(values).slice(n, 1)) for n in range(len(values))]
    both = [offset for offset, _ in told(*parts)]
    assert len(both) > len(set(both))
    assert told(subject().take(batch(values))) == told(*parts)


def test_a_look_at_the_clock_that_tells_nothing_changes_nothing() -> None:
    subject = data_engine()
    times = [0, 660, 1300]
    for n, at in enumerate(times):
        subject.take(batch([trade("AAA.XNAS", START + at * SECOND, 5, 1)], first=n))
        subject.idle(0, START + (at + 1) * SECOND, 10**15)
        before = snapshot.take(subject, 0)
        # the second silence is within the cooldown of the first
        if not subject.idle(0, START + (at + 601) * SECOND, 10**15).alerts:
            assert snapshot.take(subject, 0) == before
            break
    else:
        raise AssertionError("each silence was told")


def test_alerts_of_bars_and_of_refused_records_are_told_in_the_order_of_the_records() -> None:
    rules = (*DATA_RULES.rules, *(rule for rule in RULES.rules if rule.id == "level"))
    subject = Engine(EngineOptions(), lambda _: ALWAYS, AlertEngine(rules, ("1m",)))
    bad = [trade("AAA.XNAS", START, Decimal(-1), Decimal(1))] * 3
    prices = [(0, 99), (60, 99), (120, 99)]
    good = [trade("AAA.XNAS", START + at * SECOND, Decimal(price), Decimal(1)) for at, price in prices]
    crossing = trade("AAA.XNAS", START + 125 * SECOND, Decimal(101), Decimal(1))
    found = subject.take(batch([*good, *bad, crossing])).alerts
    assert [(raised.offset, raised.alert.rule_id) for raised in found] == [(5, "bad"), (6, "level")]


def test_a_trade_at_the_time_of_the_one_before_is_told() -> None:
    prices = [(0, "99"), (60, "99"), (120, "99"), (125, "99"), (125, "101")]
    values = [trade("AAA.XNAS", START + at * SECOND, Decimal(price), Decimal(1)) for at, price in prices]
    found = engine().take(batch(values)).alerts
    assert [raised.offset for raised in found if raised.alert.rule_id == "level"] == [4]
