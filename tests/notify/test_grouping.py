"""Every alert is sent exactly once, alone or in a group, and never late."""

from collections import Counter
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.receivers import EVENT_NS, make_alert
from tickerlake.model.alert import Alert
from tickerlake.notify.grouping import Grouper
from tickerlake.notify.notification import Notification

_SECOND_NS = 1_000_000_000


def _symbols(notes: list[Notification]) -> list[list[str]]:
    return [[alert.symbol for alert in note.alerts] for note in notes]


def _add_falls(*symbols: str, grouper: Grouper, now_s: float = 0.0, ts_event_ns: int = EVENT_NS) -> None:
    for symbol in symbols:
        grouper.add(make_alert(symbol, ts_event_ns=ts_event_ns), now_s)


def test_many_symbols_that_fall_together_are_one_notification() -> None:
    grouper = Grouper(min_group_size=3)
    for symbol, value in (("A", "-1"), ("B", "-9"), ("C", "-3.1")):
        grouper.add(make_alert(symbol, value=Decimal(value)), 0.0)
    assert grouper.pop_due(1.9) == []
    (note,) = grouper.pop_due(2.0, tracked_count=4)
    assert _symbols([note]) == [["B", "C", "A"]]
    assert note.type == "alert.group"
    assert note.text == (
        "market-wide: 3 of 4 symbols fell (pct_change), median −3.1%, worst B −9%, best A −1%"
    )


def test_a_few_of_many_symbols_are_not_market_wide() -> None:
    grouper = Grouper(min_group_size=2)
    _add_falls("A", "B", grouper=grouper)
    (note,) = grouper.flush(tracked_count=500)
    assert note.text.startswith("2 of 500 symbols fell (pct_change), median −3.1%")


def test_fewer_alerts_are_sent_individually() -> None:
    grouper = Grouper(min_group_size=3)
    _add_falls("A", "B", grouper=grouper)
    assert _symbols(grouper.pop_due(2.0)) == [["A"], ["B"]]


def test_repeated_alerts_of_one_symbol_are_not_a_group() -> None:
    grouper = Grouper(min_group_size=2)
    _add_falls("A", "A", "A", grouper=grouper)
    assert _symbols(grouper.flush()) == [["A"], ["A"], ["A"]]


@pytest.mark.parametrize(
    "other",
    [
        {"rule_id": "other"},
        {"kind": "zscore"},
        {"direction": "up"},
        {"state": "cleared"},
        {"ts_event_ns": EVENT_NS + 60 * _SECOND_NS},
    ],
)
def test_different_events_are_not_grouped(other: dict[str, object]) -> None:
    grouper = Grouper(min_group_size=2)
    grouper.add(make_alert("A"), 0.0)
    grouper.add(make_alert("B", **other), 0.0)
    assert _symbols(grouper.flush()) == [["A"], ["B"]]


def test_events_of_one_minute_are_grouped_by_event_time() -> None:
    grouper = Grouper(min_group_size=2)
    _add_falls("A", grouper=grouper, ts_event_ns=EVENT_NS - 1)
    _add_falls("B", grouper=grouper, ts_event_ns=EVENT_NS)
    assert _symbols(grouper.flush()) == [["A", "B"]]


def test_alerts_after_the_window_start_another_group() -> None:
    grouper = Grouper(min_group_size=2)
    _add_falls("A", "B", grouper=grouper, now_s=0.0)
    _add_falls("C", "D", grouper=grouper, now_s=2.0)
    assert _symbols(grouper.pop_due(2.0)) == [["A", "B"]]
    assert grouper.due_s == 4.0
    assert _symbols(grouper.pop_due(4.0)) == [["C", "D"]]


def test_cleared_is_not_sent_before_fired() -> None:
    grouper = Grouper()
    grouper.add(make_alert("B", state="cleared"), 0.0)
    grouper.add(make_alert("A"), 1.0)
    grouper.add(make_alert("A", state="cleared"), 1.5)
    states = [(a.symbol, a.state) for note in grouper.pop_due(2.0) for a in note.alerts]
    assert states == [("A", "fired"), ("B", "cleared"), ("A", "cleared")]


def test_prices_have_no_median() -> None:
    grouper = Grouper(min_group_size=2)
    for symbol in "AB":
        grouper.add(make_alert(symbol, unit="price", direction="none", kind="new_high"), 0.0)
    (note,) = grouper.flush()
    assert note.text == "2 symbols alerted (new_high)"


def test_a_group_has_the_same_id_in_any_order() -> None:
    first, second = make_alert("A"), make_alert("B")
    assert Notification((first, second)).id == Notification((second, first)).id
    assert Notification((first,)).id == first.alert_id


_STEPS = st.lists(
    st.tuples(
        st.sampled_from("ABCDEFG"),
        st.sampled_from(["fired", "cleared"]),
        st.sampled_from(["up", "down"]),
        st.integers(-90, 90),
        st.floats(0, 1.5),
    ),
    max_size=60,
)


@given(_STEPS, st.integers(2, 5))
def test_every_alert_is_sent_once_and_in_time(
    steps: list[tuple[str, str, str, int, float]], min_group_size: int
) -> None:
    grouper = Grouper(window_s=2.0, min_group_size=min_group_size)
    now_s = 0.0
    arrived_s: dict[str, float] = {}
    sent: list[tuple[float, Notification]] = []
    for number, (symbol, state, direction, second, pause_s) in enumerate(steps):
        now_s = _advance_to(now_s + pause_s, grouper, sent)
        alert = make_alert(
            symbol,
            alert_id=str(number),
            state=state,
            direction=direction,
            ts_event_ns=EVENT_NS + second * _SECOND_NS,
        )
        arrived_s[alert.alert_id] = now_s
        grouper.add(alert, now_s)
    _advance_to(now_s + 10, grouper, sent)
    assert grouper.pending_count == 0
    assert grouper.due_s is None
    assert Counter(a.alert_id for _, note in sent for a in note.alerts) == Counter(arrived_s.keys())
    for at_s, note in sent:
        assert all(at_s - arrived_s[alert.alert_id] <= 2.0 + 1e-9 for alert in note.alerts)
        assert not note.is_group or len({a.instrument_id for a in note.alerts}) >= min_group_size
        assert len({(a.rule_id, a.direction, a.state) for a in note.alerts}) == 1
    _check_order([alert for _, note in sent for alert in note.alerts])


def _advance_to(end_s: float, grouper: Grouper, delivered: list[tuple[float, Notification]]) -> float:
    while (due_s := grouper.due_s) is not None and due_s <= end_s:
        delivered += [(due_s, note) for note in grouper.pop_due(due_s)]
    return end_s


def _check_order(alerts: list[Alert]) -> None:
    states: dict[str, list[tuple[int, str]]] = {}
    for alert in alerts:
        states.setdefault(alert.dedup_key, []).append((int(alert.alert_id), alert.state))
    for sent in states.values():
        assert [state for _, state in sent] == [state for _, state in sorted(sent)]
