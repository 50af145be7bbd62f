"""Reads alerts from a lake or a topic, and prints their episodes."""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, tzinfo
from typing import TYPE_CHECKING, Final, NamedTuple

from tickerlake.cli.common import print_status

if TYPE_CHECKING:
    from collections.abc import Callable

    from tickerlake.model.alert import Alert
    from tickerlake.tools.episodes import Episode

_HINT: Final = "Write a date (2026-11-27), a time (2026-11-27T14:30Z) or how long ago (7d, 90m)."
_SEVERITY_WIDTH: Final = len("critical")


class Bound(NamedTuple):
    """A bound of a period: a date at the exchange, or an instant in UTC nanoseconds."""

    day: date | None
    ts_ns: int

    def is_at_or_before(self, ts_event_ns: int, zone: tzinfo) -> bool:
        """Return whether an event is on this day or at this instant, or later."""
        from tickerlake.notify.event_time import event_date

        return ts_event_ns >= self.ts_ns if self.day is None else event_date(ts_event_ns, zone) >= self.day


def parse_bound(text: str, option: str, now_ns: int) -> Bound:
    """Parse a bound.

    Raises
    ------
    UsageError
        If it is neither a date nor a time nor a duration.
    """
    from tickerlake.errors import UsageError
    from tickerlake.model.duration import parse_duration_ns

    try:
        if re.fullmatch(r"\d+\s*[smhdw]", text):
            return Bound(None, now_ns - parse_duration_ns(text))
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            return Bound(date.fromisoformat(text), 0)
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{option} {text!r} is neither a date nor a time.", _HINT) from error
    instant = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    return Bound(None, int(instant.timestamp()) * 1_000_000_000 + instant.microsecond * 1_000)


def read_lake_alerts(uri: str, calendar: str) -> "Iterator[Alert]":
    """Yield the alerts of a lake."""
    from tickerlake.dataset import open_lake
    from tickerlake.errors import DataError
    from tickerlake.model.alert import alert_from_fields
    from tickerlake.model.schema import ALERT, fields

    names, skipped = [field.name for field in fields(ALERT) if field.name != "schema"], 0
    with open_lake(uri, calendar=calendar) as lake:
        for row in lake.alerts(exact=True).iter_rows(named=True):
            try:
                yield alert_from_fields({name: row[name] for name in names if row[name] is not None})
            except DataError:
                skipped += 1
    if skipped:
        print_status(f"skipped {skipped:,} records of the lake that are not alerts")


def read_topic_alerts(
    bootstrap_servers: str, kafka_properties: Mapping[str, str], topic: str
) -> "Iterator[Alert]":
    """Yield the alerts of a topic to its current end."""
    from tickerlake.errors import DataError
    from tickerlake.kafka.admin import Admin
    from tickerlake.kafka.reader import read_all
    from tickerlake.model.alert import decode_alert

    admin, skipped = Admin(bootstrap_servers, kafka_properties), 0
    starts = {number: low for number, (low, _) in admin.watermarks(admin.require_topic(topic)).items()}
    for batch in read_all(bootstrap_servers, kafka_properties, topic, starts):
        for value in batch.frame.get_column("value"):
            try:
                yield decode_alert(value)
            except DataError:
                skipped += 1
    if skipped:
        print_status(f"skipped {skipped:,} records of {topic} that are not alerts")


def select_period(
    episodes: "Iterable[Episode]",
    since: Bound | None,
    until: Bound | None,
    zone_of: "Callable[[Alert], tzinfo]",
) -> "list[Episode]":
    """Return the episodes of which an alert fired in a period; ``until`` is exclusive."""

    def is_inside(alert: "Alert") -> bool:
        if since is None and until is None:
            return True
        zone, at_ns = zone_of(alert), alert.ts_event_ns
        is_late = until is not None and until.is_at_or_before(at_ns, zone)
        return not is_late and (since is None or since.is_at_or_before(at_ns, zone))

    return [episode for episode in episodes if any(map(is_inside, episode.fired))]


def episode_line(episode: "Episode", zone: tzinfo) -> str:
    """Return an episode as one line: when it began and ended, severity, rule and message."""
    from tickerlake.notify.event_time import event_date, format_event
    from tickerlake.notify.text import direction_arrow, headline, sanitize_line

    first, ended = episode.first, episode.ended
    began = format_event(first.ts_event_ns, zone)
    end = "open"
    if ended is not None:
        day = event_date(first.ts_event_ns, zone)
        end = format_event(ended.ts_event_ns, zone, day if " " in began else None)
        end = end if ended.state == "cleared" else f"{end} ({ended.state})"
    more = len(episode.fired) - 1
    further = f" (+{more} {'alert' if more == 1 else 'alerts'}, the last: {headline(episode.fired[-1])})"
    arrow = direction_arrow(first.direction) or " "
    text = f"{headline(first)}{further if more else ''}"
    severity = f"{episode.severity:<{_SEVERITY_WIDTH}}"
    return f"{began} – {end:<12} {severity} {sanitize_line(first.rule_id)} {arrow} {text}"
