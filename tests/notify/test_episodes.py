"""Episodes of alerts, and the list of them."""

import json
from datetime import UTC, date
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from support.lake_builder import LakeTopic
from support.process import run
from support.receivers import EVENT_NS, make_alert
from tickerlake.cli.alert_list import Bound, episode_line, parse_bound, select_period
from tickerlake.errors import UsageError
from tickerlake.lake.store.local import LocalStore
from tickerlake.model.alert import Alert
from tickerlake.tools.episodes import EpisodeFilter, find_episodes

MINUTE = 60 * 10**9
HOUR = 60 * MINUTE
DAY = 24 * HOUR
NEW_YORK = ZoneInfo("America/New_York")
AAPL_LINE = "2024-01-02 09:30:00 EST – 10:00:00 EST critical fast-move ▼ AAPL fell 3.1 % in a minute"


def alerts() -> list[Alert]:
    """Return alerts of three symbols, not in order."""
    return [
        make_alert("AAPL", state="cleared", ts_event_ns=EVENT_NS + 30 * MINUTE, suppressed_count=2),
        make_alert("AAPL", ts_event_ns=EVENT_NS),
        make_alert("AAPL", ts_event_ns=EVENT_NS + 10 * MINUTE, severity="critical", message="AAPL fell 7 %"),
        make_alert("AAPL", ts_event_ns=EVENT_NS + DAY, severity="info"),
        make_alert("MSFT", state="cleared", ts_event_ns=EVENT_NS - HOUR),
        make_alert("MSFT", ts_event_ns=EVENT_NS + MINUTE, rule_id="gap", dedup_key="gap/MSFT"),
        make_alert("IBM", ts_event_ns=EVENT_NS + 2 * MINUTE),
        make_alert("IBM", state="expired", ts_event_ns=EVENT_NS + 2 * DAY),
    ]


def test_an_episode_is_from_firing_to_clearing() -> None:
    episodes = find_episodes([*alerts(), *alerts()])
    assert [
        (one.first.symbol, len(one.fired), one.severity, one.ended and one.ended.state) for one in episodes
    ] == [
        ("AAPL", 2, "critical", "cleared"),
        ("MSFT", 1, "warning", None),
        ("IBM", 1, "warning", "expired"),
        ("AAPL", 1, "info", None),
    ]
    expired = "2024-01-04 09:30:00 EST (expired)"
    assert [episode_line(one, NEW_YORK) for one in episodes] == [
        f"{AAPL_LINE} (+1 alert, the last: AAPL fell 7 %)",
        "2024-01-02 09:31:00 EST – open         warning  gap ▼ MSFT fell 3.1 % in a minute",
        f"2024-01-02 09:32:00 EST – {expired} warning  fast-move ▼ IBM fell 3.1 % in a minute",
        "2024-01-03 09:30:00 EST – open         info     fast-move ▼ AAPL fell 3.1 % in a minute",
    ]
    fields = episodes[0].to_fields()
    assert (fields["state"], fields["alerts"], fields["suppressed_count"]) == ("cleared", 2, 2)
    assert fields["ts_ended_ns"] - fields["ts_fired_ns"] == 30 * MINUTE


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (EpisodeFilter(), 4),
        (EpisodeFilter(("AAPL",)), 2),
        (EpisodeFilter(("*.XNAS",)), 4),
        (EpisodeFilter(("A*", "IBM"), severity="warning"), 2),
        (EpisodeFilter(rules=("ga?",)), 1),
        (EpisodeFilter(severity="critical"), 1),
        (EpisodeFilter(("aapl",)), 0),
    ],
)
def test_episodes_are_selected(wanted: EpisodeFilter, expected: int) -> None:
    assert sum(map(wanted.matches, find_episodes(alerts()))) == expected


def test_a_pattern_that_matches_nothing_is_named() -> None:
    problems = EpisodeFilter(("AAPLE", "MS*"), ("gaps",)).unmatched(find_episodes(alerts()))
    assert list(problems) == [
        "no alert is of the symbol AAPLE. Did you mean AAPL?",
        "no alert is of the rule gaps. Did you mean gap?",
    ]


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        (None, None, 4),
        ("2024-01-03", None, 1),
        (None, "2024-01-03", 3),
        ("2024-01-02T14:31Z", "2024-01-02T14:32:00+00:00", 1),
        # an escalation counts
        ("2024-01-02T09:35-05:00", "2024-01-03", 1),
        ("1h", None, 0),
    ],
)
def test_a_period_has_dates_of_the_exchange(since: str | None, until: str | None, expected: int) -> None:
    now_ns = EVENT_NS + 30 * DAY
    first, last = (parse_bound(text, "--since", now_ns) if text else None for text in (since, until))
    assert len(select_period(find_episodes(alerts()), first, last, lambda _: NEW_YORK)) == expected


def test_a_date_is_that_of_the_exchange() -> None:
    day, late_ns = Bound(date(2024, 1, 3), 0), EVENT_NS + 10 * HOUR
    assert day.is_at_or_before(late_ns, UTC)
    assert not day.is_at_or_before(late_ns, NEW_YORK)


@pytest.mark.parametrize("text", ["yesterday", "2024-13-01", "2024-1-2", "7 days ago", ""])
def test_a_bound_that_is_neither_date_nor_time(text: str) -> None:
    with pytest.raises(UsageError, match=r"--since .* is neither a date nor a time"):
        parse_bound(text, "--since", EVENT_NS)


def test_alerts_of_a_lake_are_listed(tmp_path: Path) -> None:
    topic = LakeTopic(LocalStore(tmp_path / "lake"), "stocks.alerts")
    topic.add_segment([alert.to_json() for alert in alerts()])
    lake = ("--lake", tmp_path / "lake")
    out, err = run("alerts", "list", *lake, "--symbol", "AAPL", "--severity", "critical")
    assert out == f"{AAPL_LINE} (+1 alert, the last: AAPL fell 7 %)\n"
    assert "1 episode, 3 others do not match" in err
    out, _ = run("alerts", "list", *lake, "--rule", "gap", "--json")
    assert json.loads(out)["symbol"] == "MSFT"
    assert "ts_ended_ns" not in json.loads(out)
