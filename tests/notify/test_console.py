"""Lines for a terminal: nothing in an alert is read as markup or as a control."""

import datetime
import io

import pytest
from rich.console import Console

from support.receivers import MOMENT_NS, a_note, an_alert
from tickerlake.notify.notification import Notification
from tickerlake.notify.targets.console import Terminal, console_line

_DAY_NS = 86_400 * 1_000_000_000


def test_an_alert_of_today_has_no_date() -> None:
    line = console_line(an_alert(severity="critical"), now_ns=MOMENT_NS)
    assert line.plain == "14:30:00 critical ▼ AAPL fell 3.1 % in a minute"
    assert "bold red" in {str(span.style) for span in line.spans}


def test_an_alert_of_another_day_has_one() -> None:
    line = console_line(an_alert(direction="up"), now_ns=MOMENT_NS + _DAY_NS)
    assert line.plain == "2024-01-02 14:30:00 warning  ▲ AAPL fell 3.1 % in a minute"


def test_the_day_is_that_of_the_zone() -> None:
    tokyo = datetime.timezone(datetime.timedelta(hours=9))
    late = MOMENT_NS + 1_200 * 1_000_000_000
    assert console_line(an_alert(), now_ns=late, zone=tokyo).plain.startswith("23:30:00 ")
    much_later = MOMENT_NS + 2_400 * 1_000_000_000
    assert console_line(an_alert(), now_ns=much_later, zone=tokyo).plain.startswith("2024-01-02 23:30:00 ")


def test_the_time_of_a_line_without_a_clock_has_its_date() -> None:
    assert console_line(an_alert()).plain.startswith("2024-01-02 14:30:00 ")


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
    Terminal(console, now_ns=lambda: MOMENT_NS).deliver(a_note(message=message))
    assert out.getvalue() == f"14:30:00 warning  ▼ {shown}\n"


def test_a_symbol_is_shown_literally() -> None:
    assert "[red]: boo" in console_line(an_alert("[red]", message="boo"), now_ns=MOMENT_NS).plain


def test_a_group_is_one_line() -> None:
    out = io.StringIO()
    note = Notification((an_alert("A"), an_alert("B", severity="critical")))
    Terminal(Console(file=out), now_ns=lambda: MOMENT_NS).deliver(note)
    assert out.getvalue().startswith("14:30:00 critical ▼ 2 symbols fell (pct_change), median")


def test_a_cleared_alert_says_so() -> None:
    assert " cleared    AAPL" in console_line(an_alert(state="cleared")).plain
