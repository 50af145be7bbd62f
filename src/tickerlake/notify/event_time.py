"""When an alert happened, as its exchange's clock shows it."""

from datetime import UTC, date, datetime, time, timedelta, tzinfo

from tickerlake.notify.text import utc_datetime


def is_end_of_day(ts_event_ns: int) -> bool:
    """Return whether it is the end of a daily bar, which is named by its date."""
    return utc_datetime(ts_event_ns).time() == time()


def event_date(ts_event_ns: int, zone: tzinfo) -> date:
    """Return the date of an event at its exchange; of a daily bar the date of its session."""
    event = utc_datetime(ts_event_ns)
    return (event - timedelta(days=1)).date() if is_end_of_day(ts_event_ns) else event.astimezone(zone).date()


def format_event(ts_event_ns: int, zone: tzinfo, today: date | None = None) -> str:
    """Return ``2024-01-02 09:35:00 EST``; without the date if it is today, the date alone for a daily bar."""
    day = event_date(ts_event_ns, zone)
    if is_end_of_day(ts_event_ns):
        return f"{day}"
    local = utc_datetime(ts_event_ns).astimezone(zone)
    clock_time = f"{local:%H:%M:%S} {_abbreviation(local)}"
    return clock_time if day == today else f"{day} {clock_time}"


def _abbreviation(local: datetime) -> str:
    return "UTC" if local.tzinfo is UTC else local.tzname() or f"{local:%z}"
