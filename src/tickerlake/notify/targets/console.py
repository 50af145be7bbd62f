"""Alerts as lines in a terminal."""

from collections.abc import Callable
from datetime import UTC, tzinfo
from typing import Final

from rich.console import Console
from rich.text import Text

from tickerlake import clock
from tickerlake.model.alert import Alert, Severity
from tickerlake.notify.event_time import format_event
from tickerlake.notify.notification import Notification
from tickerlake.notify.text import direction_arrow, utc_datetime

_STYLES: Final[dict[Severity, str]] = {"info": "cyan", "warning": "yellow", "critical": "bold red"}
_SEVERITY_WIDTH: Final = max(len(severity) for severity in _STYLES)


def console_line(alert: Alert, *, now_ns: int | None = None, zone: tzinfo = UTC) -> Text:
    """Return an alert as one line: time, severity, direction, symbol and message.

    Parameters
    ----------
    alert
        The alert.
    now_ns
        The time now, by default the clock's: an event of another day is shown with its date.
    zone
        The time zone of the time.
    """
    return _format_line(Notification((alert,)), clock.now_ns() if now_ns is None else now_ns, zone)


class ConsoleTarget:
    """Writes notifications to a terminal, one line each.

    Parameters
    ----------
    console
        The terminal.
    name
        The name of the target.
    now_ns
        The wall clock.
    zone
        The time zone of times.
    """

    def __init__(
        self,
        console: Console,
        *,
        name: str = "console",
        now_ns: Callable[[], int] = clock.now_ns,
        zone: tzinfo = UTC,
    ) -> None:
        self.name = name
        self._console = console
        self._now_ns = now_ns
        self._zone = zone

    def deliver(self, notification: Notification) -> None:
        """Write one line."""
        self._console.print(
            _format_line(notification, self._now_ns(), self._zone), soft_wrap=True, highlight=False
        )


def _format_line(notification: Notification, now_ns: int, zone: tzinfo) -> Text:
    first = notification.first
    has_ended = first.state != "fired"
    style = "dim" if has_ended else _STYLES[notification.severity]
    word = first.state if has_ended else notification.severity
    # a Text has no markup: `[red]` in a message stays `[red]`
    line = Text(no_wrap=True)
    today = utc_datetime(now_ns).astimezone(zone).date()
    line.append(format_event(notification.ts_event_ns, zone, today), style="dim")
    line.append(f" {word:<{_SEVERITY_WIDTH}} ", style=style)
    # the direction of a cleared alert is that of the last bar, which means nothing
    line.append(f"{(not has_ended and direction_arrow(first.direction)) or ' '} ", style=style)
    line.append(notification.text)
    return line
