"""Which sessions the instruments of a market have, as a user says it."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache

from tickerlake import clock
from tickerlake.analytics.sessions import ALWAYS_OPEN, FIRST_YEAR, Sessions, calendar_of_mic, load_sessions
from tickerlake.model.instrument import UNKNOWN_MIC

ROUND_THE_CLOCK = "24/7"


def sessions_by_market(
    calendar: str, on_unknown_market: Callable[[], None] = lambda: None
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
    final_year = datetime.fromtimestamp(clock.now_ns() / 1e9, UTC).year + 1

    @cache
    def load_once(name: str) -> Sessions:
        return load_sessions(name, FIRST_YEAR, final_year)

    fallback = ALWAYS_OPEN if calendar == ROUND_THE_CLOCK else load_once(calendar)

    @cache
    def sessions_of(mic: str) -> Sessions:
        known = None if mic == UNKNOWN_MIC else calendar_of_mic(mic)
        if known is None and fallback is ALWAYS_OPEN:
            on_unknown_market()
        return load_once(known) if known else fallback

    return sessions_of
