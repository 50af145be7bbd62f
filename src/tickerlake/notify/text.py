"""Formatting for notifications: plain text on one line, numbers without exponents."""

import unicodedata
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final
from urllib.parse import quote

from tickerlake.model.alert import Alert, Unit

_SPACE_CATEGORIES: Final = {"Zl", "Zp", "Zs"}
_INVISIBLE_CATEGORIES: Final = {"Cc", "Cf", "Cs", "Cn"}
_SIGNED_UNITS: Final[set[Unit]] = {"pct", "sigma", "bps"}
_UNIT_SUFFIXES: Final[dict[Unit, str]] = {"pct": "%", "sigma": " σ", "bps": " bps", "x": " ×", "s": " s"}
_ARROWS: Final = {"up": "▲", "down": "▼"}
_MAX_LINE: Final = 2_000
"""Far longer than any default message; bounds what a rule's template can produce."""


def sanitize_line(text: str, limit: int = _MAX_LINE) -> str:
    """Return a text on one line without invisible characters.

    Line breaks become spaces; terminal controls, changes of the text direction and other invisible characters
    become U+FFFD.
    """
    return truncate("".join(_printable(character) for character in text), limit)


def truncate(text: str, limit: int) -> str:
    """Return at most ``limit`` characters; the last is ``…`` if the text was longer."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _printable(character: str) -> str:
    if character in "\n\r\t" or (category := unicodedata.category(character)) in _SPACE_CATEGORIES:
        return " "
    return "\N{REPLACEMENT CHARACTER}" if category in _INVISIBLE_CATEGORIES else character


def headline(alert: Alert) -> str:
    """Return the alert's message, preceded by its symbol unless the message begins with it."""
    message = sanitize_line(alert.message)
    symbol = sanitize_line(alert.symbol)
    begins_with_symbol = message.startswith(symbol) and message[len(symbol) :][:1] in {"", " ", ":", ","}
    return message if begins_with_symbol else f"{symbol}: {message}"


def direction_arrow(direction: str) -> str:
    """Return ▲ or ▼; empty for alerts without a direction."""
    return _ARROWS.get(direction, "")


def format_quantity(value: Decimal, unit: Unit) -> str:
    """Return a rounded value with its unit: ``−3.1%``, ``6.2 ×``."""
    rounded = _round(value)
    text = f"{abs(rounded):f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    sign = "−" if rounded < 0 else "+" if rounded > 0 and unit in _SIGNED_UNITS else ""
    return f"{sign}{text}{_UNIT_SUFFIXES.get(unit, '')}"


def _round(value: Decimal) -> Decimal:
    if abs(value) < 1:
        return Decimal(f"{value:.2g}")
    # quantize fails for numbers with more digits than the context
    return value if abs(value) >= 10**15 else value.quantize(Decimal("0.1"), ROUND_HALF_EVEN)


def utc_datetime(ts_ns: int) -> datetime:
    """Return a time in UTC, truncated to microseconds."""
    seconds, rest = divmod(ts_ns, 1_000_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1_000)


def format_iso(ts_ns: int) -> str:
    """Return a time as ``2024-01-02T14:30:00.000000Z``."""
    return utc_datetime(ts_ns).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def dashboard_link(dashboard_url: str | None, alert: Alert) -> str | None:
    """Return a link to the alert in the dashboard; ``t`` is its time in milliseconds since the epoch."""
    if dashboard_url is None:
        return None
    ts_ms = alert.ts_event_ns // 1_000_000
    return f"{dashboard_url.rstrip('/')}/?symbol={quote(alert.symbol, safe='')}&t={ts_ms}"
