"""Records → alerts: the same alerts in the same order for any batching and any worker that resumes."""

import itertools
from decimal import Decimal

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from support.records import batch, trade
from tickerlake.alerts.engine import AlertEngine
from tickerlake.alerts.rules.ruleset import parse
from tickerlake.analytics import engine_state
from tickerlake.analytics.engine import Engine
from tickerlake.analytics.sessions import ALWAYS_OPEN
from tickerlake.analytics.types import EngineOptions, Output

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


def make_engine() -> Engine:
    options = EngineOptions(intervals=("1m", "5m"), lateness_ns=60 * SECOND)
    return Engine(options, lambda _: ALWAYS_OPEN, AlertEngine(RULES.rules, options.intervals))


def make_records(events: list[tuple[str, int, Decimal]]) -> pl.DataFrame:
    now, values = START, []
    for name, step, price in events:
        now += step * SECOND
        values.append(trade(name, now, price, Decimal(1)))
    return batch(values)


def raised_alerts(*outputs: Output) -> list[tuple[int, bytes]]:
    return [(raised.offset, raised.alert.to_json()) for output in outputs for raised in output.alerts]


def split_frame(frame: pl.DataFrame, cut_points: list[int]) -> list[pl.DataFrame]:
    edges = sorted({0, frame.height, *(offset for offset in cut_points if offset < frame.height)})
    return [frame.slice(a, b - a) for a, b in itertools.pairwise(edges)]


@settings(max_examples=30, derandomize=True)
@given(steps, st.lists(st.integers(0, 60), max_size=8))
def test_alerts_do_not_depend_on_batches(
    events: list[tuple[str, int, Decimal]], cut_points: list[int]
) -> None:
    frame = make_records(events)
    one_by_one = make_engine()
    expected = raised_alerts(*(one_by_one.process(frame.slice(n, 1)) for n in range(frame.height)))
    subject = make_engine()
    assert raised_alerts(*(subject.process(part) for part in split_frame(frame, cut_points))) == expected
    assert raised_alerts(make_engine().process(frame)) == expected


@settings(max_examples=40, derandomize=True)
@given(steps, st.integers(0, 60))
def test_alerts_do_not_depend_on_the_resuming_worker(events: list[tuple[str, int, Decimal]], at: int) -> None:
    frame = make_records(events)
    at_once, before, after = make_engine(), make_engine(), make_engine()
    at_once.process(frame.head(at))
    before.process(frame.head(at))
    engine_state.restore(after, 0, engine_state.snapshot(before, 0))
    assert raised_alerts(after.process(frame.slice(at))) == raised_alerts(at_once.process(frame.slice(at)))


def test_tick_rules_fire_at_the_trade() -> None:
    prices = [(0, "99"), (10, "98"), (70, "99"), (130, "99"), (135, "100.5"), (140, "102")]
    values = [trade("AAA.XNAS", START + at * SECOND, Decimal(price), Decimal(1)) for at, price in prices]
    alerts = [
        (raised.offset, raised.alert.rule_id, raised.alert.ts_event_ns - START)
        for raised in make_engine().process(batch(values)).alerts
        if raised.alert.rule_id in {"level", "closed"}
    ]
    # `level` at the trade that crosses, not at the end of its bar; `closed` at the trade that closed the bar
    assert alerts == [(3, "closed", 120 * SECOND), (4, "level", 135 * SECOND)]


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


def make_data_engine() -> Engine:
    options = EngineOptions(intervals=("1m",))
    return Engine(options, lambda _: ALWAYS_OPEN, AlertEngine(DATA_RULES.rules, options.intervals))


def test_a_stale_instrument_is_reported_by_the_clock() -> None:
    subject = make_data_engine()
    subject.process(batch([trade(name, START, Decimal(5), Decimal(1)) for name in ("AAA.XNAS", "BBB.XNAS")]))
    assert subject.close_idle(0, START + 9 * 60 * SECOND, 0).alerts == []
    subject.process(batch([trade("BBB.XNAS", START + 540 * SECOND, Decimal(5), Decimal(1))], first_offset=2))
    (raised,) = subject.close_idle(0, START + 11 * 60 * SECOND, 0).alerts
    assert (raised.alert.rule_id, raised.alert.symbol) == ("silent", "AAA")
    # it is reported once
    assert subject.close_idle(0, START + 12 * 60 * SECOND, 0).alerts == []


def test_the_clock_reports_nothing_about_history() -> None:
    subject = make_data_engine()
    subject.process(batch([trade("AAA.XNAS", START, Decimal(5), Decimal(1))]))
    assert subject.close_idle(0, START + 400 * 86_400 * SECOND, 0).alerts == []


def test_rejects_are_reported_for_any_batching() -> None:
    bad = trade("AAA.XNAS", START, Decimal(-1), Decimal(1))
    values = [trade("AAA.XNAS", START, Decimal(5), Decimal(1)), *[bad] * 5]
    at_once = make_data_engine().process(batch(values))
    assert [(raised.offset, raised.alert.rule_id) for raised in at_once.alerts] == [(3, "bad")]
    subject = make_data_engine()
    parts = [subject.process(batch(values).slice(n, 1)) for n in range(len(values))]
    assert raised_alerts(*parts) == raised_alerts(at_once)


INPUT_INTERVAL_RULES = parse(
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


def daily_bar(name: str, day: int, price: int) -> bytes:
    start = (19_724 + day) * 86_400 * SECOND
    prices = ",".join(f'"{each}":{price}' for each in ("open", "high", "low", "close"))
    date = f"2024-01-{2 + day:02}"
    return (
        f'{{"schema":"bar.v1","instrument_id":"{name}","interval":"1d","ts_open_ns":{start},'
        f'"ts_close_ns":{start + 86_400 * SECOND},"session_date":"{date}",{prices}}}'
    ).encode()


def test_a_rule_without_an_interval_uses_the_shortest_available_bars() -> None:
    options = EngineOptions(intervals=("1m", "5m", "1d"))
    watcher = AlertEngine(INPUT_INTERVAL_RULES.rules, options.intervals)
    subject = Engine(options, lambda _: ALWAYS_OPEN, watcher)
    minutes = [trade("AAA.XNAS", START + n * 60 * SECOND, Decimal(100 + 2 * n), Decimal(1)) for n in range(4)]
    days = [daily_bar("BBB.XNAS", n, price) for n, price in enumerate((100, 110, 121, 90))]
    # in either order of the instruments
    for values in ([*minutes, *days], [*days, *minutes]):
        alerts = {
            (raised.alert.symbol, raised.alert.rule_id, raised.alert.window)
            for raised in Engine(
                options, lambda _: ALWAYS_OPEN, AlertEngine(INPUT_INTERVAL_RULES.rules, options.intervals)
            )
            .process(batch(values))
            .alerts
            if raised.alert.state == "fired"
        }
        assert alerts == {("AAA", "any", "1m"), ("BBB", "any", "1d"), ("BBB", "average", "1d")}
    subject.process(batch(minutes))
    assert [rule.id for rule in watcher.rules_without_data] == ["ten"]


def test_a_resumed_worker_tracks_input_intervals_that_are_not_built() -> None:
    options = EngineOptions(intervals=("1m",))
    values = [daily_bar("BBB.XNAS", n, price) for n, price in enumerate((100, 110, 100, 90, 120, 80))]

    def make() -> Engine:
        return Engine(
            options, lambda _: ALWAYS_OPEN, AlertEngine(INPUT_INTERVAL_RULES.rules, options.intervals)
        )

    at_once, before, after = make(), make(), make()
    for subject in (at_once, before):
        subject.process(batch(values[:3]))
    engine_state.restore(after, 0, engine_state.snapshot(before, 0))
    expected = raised_alerts(at_once.process(batch(values[3:], first_offset=3)))
    assert len(expected) > 2
    assert raised_alerts(after.process(batch(values[3:], first_offset=3))) == expected


def test_records_are_counted_from_their_instruments_first_for_any_batching() -> None:
    bad = trade("AAA.XNAS", START, Decimal(-1), Decimal(1))
    values = [*[bad] * 3, trade("AAA.XNAS", START, Decimal(5), Decimal(1)), *[bad] * 3]
    at_once = make_data_engine().process(batch(values))
    assert [(raised.offset, raised.alert.rule_id) for raised in at_once.alerts] == [(6, "bad")]
    subject = make_data_engine()
    parts = [subject.process(batch(values).slice(n, 1)) for n in range(len(values))]
    assert raised_alerts(*parts) == raised_alerts(at_once)


def test_alerts_of_one_record_have_the_same_order_for_any_batching() -> None:
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
        return Engine(options, lambda _: ALWAYS_OPEN, AlertEngine(rules.rules, options.intervals))

    # the sixth trade closes a bar of a minute in the middle of a bar of 45 seconds
    prices = [(0, 100), (50, 100), (70, 100), (95, 100), (110, 102), (125, 103), (140, 103)]
    values = [trade("AAA.XNAS", START + at * SECOND, price, 1) for at, price in prices]
    one_by_one = subject()
    parts = [one_by_one.process(batch(values).slice(n, 1)) for n in range(len(values))]
    both = [offset for offset, _ in raised_alerts(*parts)]
    assert len(both) > len(set(both))
    assert raised_alerts(subject().process(batch(values))) == raised_alerts(*parts)


def test_a_clock_check_without_alerts_changes_nothing() -> None:
    subject = make_data_engine()
    times = [0, 660, 1300]
    for n, at in enumerate(times):
        subject.process(batch([trade("AAA.XNAS", START + at * SECOND, 5, 1)], first_offset=n))
        subject.close_idle(0, START + (at + 1) * SECOND, 10**15)
        before = engine_state.snapshot(subject, 0)
        # the second gap is within the cooldown of the first
        if not subject.close_idle(0, START + (at + 601) * SECOND, 10**15).alerts:
            assert engine_state.snapshot(subject, 0) == before
            break
    else:
        raise AssertionError("each gap raised an alert")


def test_alerts_of_bars_and_rejects_follow_record_order() -> None:
    rules = (*DATA_RULES.rules, *(rule for rule in RULES.rules if rule.id == "level"))
    subject = Engine(EngineOptions(), lambda _: ALWAYS_OPEN, AlertEngine(rules, ("1m",)))
    bad = [trade("AAA.XNAS", START, Decimal(-1), Decimal(1))] * 3
    prices = [(0, 99), (60, 99), (120, 99)]
    good = [trade("AAA.XNAS", START + at * SECOND, Decimal(price), Decimal(1)) for at, price in prices]
    crossing = trade("AAA.XNAS", START + 125 * SECOND, Decimal(101), Decimal(1))
    alerts = subject.process(batch([*good, *bad, crossing])).alerts
    assert [(raised.offset, raised.alert.rule_id) for raised in alerts] == [(5, "bad"), (6, "level")]


def test_a_trade_with_an_equal_timestamp_is_evaluated() -> None:
    prices = [(0, "99"), (60, "99"), (120, "99"), (125, "99"), (125, "101")]
    values = [trade("AAA.XNAS", START + at * SECOND, Decimal(price), Decimal(1)) for at, price in prices]
    alerts = make_engine().process(batch(values)).alerts
    assert [raised.offset for raised in alerts if raised.alert.rule_id == "level"] == [4]
