"""Which topics are ours, and what they hold."""

from collections.abc import Collection, Iterable
from typing import Final, Literal

import msgspec

from tickerlake.model.json import find_schema
from tickerlake.model.schema import ALERT, BAR, INDICATOR, TRADE

RecordType = Literal["trades", "bars", "indicators", "alerts"]

_RECORD_TYPES_BY_SUFFIX: Final[dict[str, RecordType]] = {
    "bars": "bars",
    "indicators": "indicators",
    "alerts": "alerts",
}
_RECORD_TYPES_BY_SCHEMA: Final[dict[str, RecordType]] = {
    TRADE: "trades",
    BAR: "bars",
    INDICATOR: "indicators",
    ALERT: "alerts",
}
_HIDDEN_SUFFIXES: Final = frozenset({"refused"})
_KNOWN_SUFFIXES: Final = frozenset({"bars", "trades", "indicators", "alerts"})


def prefix_of(topic: str) -> str:
    """Return what stands before the first dot of a topic's name."""
    return topic.partition(".")[0]


def find_prefixes(topics: Iterable[str]) -> list[str]:
    """Return the prefixes of all topics that look like ours: ``stocks`` of ``stocks.bars``."""
    return sorted({prefix_of(name) for name in topics if name.partition(".")[2] in _KNOWN_SUFFIXES})


def select_topics(topics: Iterable[str], allowed_prefixes: Collection[str]) -> list[str]:
    """Return the topics of some prefixes that hold what can be shown."""
    return sorted(
        name
        for name in topics
        if prefix_of(name) in allowed_prefixes
        and "." in name
        and name.partition(".")[2] not in _HIDDEN_SUFFIXES
    )


def record_type_by_name(topic: str) -> RecordType | None:
    """Return what a topic holds by its name, None if that does not tell."""
    return _RECORD_TYPES_BY_SUFFIX.get(topic.partition(".")[2])


def record_type_by_record(value: bytes | None) -> RecordType | None:
    """Return what a topic holds by one of its records, None if that is nothing to show."""
    try:
        return _RECORD_TYPES_BY_SCHEMA.get(find_schema(value or b"") or "")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
