"""Terminal lines: the text of an alert is never interpreted as markup or control characters."""

import datetime
import io
from zoneinfo import ZoneInfo

import pytest
from rich.console import Console

from support.receivers import EVENT_NS, make_alert, make_notification
from tickerlake.notify.event_time import format_event
from tickerlake.notify.notification import Notification
from tickerlake.notify.targets.console import ConsoleTarget, console_line

_DAY_NS = 86_400 * 1_000_000_000


def test_an_alert_of_today_has_no_date() -> None:
    line = console_line(make_alert(severity="critical"), now_ns=EVENT_NS)
    assert line.plain == "14:30:00 UTC critical ▼ AAPL fell 3.1 % in a minute"
    assert "bold red" in {str(span.style) for span in line.spans}


def test_an_alert_of_another_day_has_its_date() -> None:
    line = console_line(make_alert(direction="up"), now_ns=EVENT_NS + _DAY_NS)
    assert line.plain == "2024-01-02 14:30:00 UTC warning  ▲ AAPL fell 3.1 % in a minute"


def test_the_date_is_in_the_display_time_zone() -> None:
    tokyo = datetime.timezone(datetime.timedelta(hours=9))
    late = EVENT_NS + 1_200 * 1_000_000_000
    assert console_line(make_alert(), now_ns=late, zone=tokyo).plain.startswith("23:30:00 UTC+09:00 ")
    much_later = EVENT_NS + 2_400 * 1_000_000_000
    assert console_line(make_alert(), now_ns=much_later, zone=tokyo).plain.startswith(
        "2024-01-02 23:30:00 UTC+09:00 "
    )


def test_without_a_reference_time_a_line_has_its_date() -> None:
    assert console_line(make_alert()).plain.startswith("2024-01-02 14:30:00 UTC ")


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("[red]boo[/red]", "AAPL: [red]boo[/red]"),
        (":smile: [link=https://evil.example]x[/link]", "AAPL: :smile: [link=https://evil.example]x[/link]"),
        ("a\x1b]0;evil\x07b\x9b31m", "AAPL: a�]0;evil�b�31m"),
        ("two\nlines\r\n", "AAPL: two lines  "),
        ("right\u202eleft\u200b", "AAPL: right�left�"),
        ("line\u2028end\ud800", "AAPL: line end�"),
        ("AAPL: is here", "AAPL: is here"),
    ],
)
def test_messages_are_shown_literally(message: str, shown: str) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, color_system=None, width=20)
    ConsoleTarget(console, now_ns=lambda: EVENT_NS).deliver(make_notification(message=message))
    assert out.getvalue() == f"14:30:00 UTC warning  ▼ {shown}\n"


def test_a_symbol_is_shown_literally() -> None:
    assert "[red]: boo" in console_line(make_alert("[red]", message="boo"), now_ns=EVENT_NS).plain


def test_a_group_is_one_line() -> None:
    out = io.StringIO()
    note = Notification((make_alert("A"), make_alert("B", severity="critical")))
    ConsoleTarget(Console(file=out), now_ns=lambda: EVENT_NS).deliver(note)
    assert out.getvalue().startswith("14:30:00 UTC critical ▼ 2 symbols fell (pct_change), median")


def test_a_cleared_alert_is_marked() -> None:
    assert " cleared    AAPL" in console_line(make_alert(state="cleared")).plain


def test_the_zone_of_the_time_has_its_abbreviation() -> None:
    new_york, july = ZoneInfo("America/New_York"), EVENT_NS + 180 * _DAY_NS
    assert console_line(make_alert(), zone=new_york).plain.startswith("2024-01-02 09:30:00 EST ")
    assert format_event(july, new_york) == "2024-06-30 10:30:00 EDT"
    assert format_event(EVENT_NS, ZoneInfo("Asia/Tokyo")) == "2024-01-02 23:30:00 JST"
    # a daily bar ends at midnight UTC after its date, wherever the exchange is
    midnight = EVENT_NS // _DAY_NS * _DAY_NS
    assert format_event(midnight, new_york) == format_event(midnight, ZoneInfo("Asia/Tokyo")) == "2024-01-01"
