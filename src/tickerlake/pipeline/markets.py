"""Which sessions the instruments of a market have, as a user says it."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache

from tickerlake import clock
from tickerlake.analytics.sessions import ALWAYS, FIRST_YEAR, Sessions, calendar_of_mic, load
from tickerlake.model.instrument import UNKNOWN_MIC

ROUND_THE_CLOCK = "24/7"


def sessions_by_market(
    calendar: str, on_unknown: Callable[[], None] = lambda: None
) -> Callable[[str], Sessions]:
    """Return the sessions of markets by their ISO 10383 code.

    Parameters
    ----------
    calendar
        Of instruments whose market is not known: a code such as ``XNYS``, or ``24/7``.
    on_unknown
        Called once if there are such instruments and ``calendar`` says nothing of them.

    Raises
    ------
    UsageError
        If there is no such calendar.
    """
    last_year = datetime.fromtimestamp(clock.now_ns() / 1e9, UTC).year + 1

    @cache
    def loaded(name: str) -> Sessions:
        return load(name, FIRST_YEAR, last_year)

    other = ALWAYS if calendar == ROUND_THE_CLOCK else loaded(calendar)

    @cache
    def of(mic: str) -> Sessions:
        known = None if mic == UNKNOWN_MIC else calendar_of_mic(mic)
        if known is None and other is ALWAYS:
            on_unknown()
        return loaded(known) if known else other

    return of
