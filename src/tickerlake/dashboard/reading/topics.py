"""Selects the topics to show, and determines their record types."""

from collections.abc import Collection, Iterable
from typing import Final, Literal

from tickerlake.model.json import find_record_type

RecordType = Literal["trades", "bars", "indicators", "alerts"]

_RECORD_TYPES_BY_SUFFIX: Final[dict[str, RecordType]] = {
    "bars": "bars",
    "indicators": "indicators",
    "alerts": "alerts",
}
_SHOWN_RECORD_TYPES: Final[dict[str, RecordType]] = {**_RECORD_TYPES_BY_SUFFIX, "trades": "trades"}
_REJECTS_SUFFIX: Final = ".rejects"

DEFAULT_PREFIX: Final = "stocks"
"""Shown without a lake and without ``--prefix``; also the prefix of `track`'s results by default."""


def prefix_of(topic: str) -> str:
    """Return a topic's name up to the first dot."""
    return topic.partition(".")[0]


def find_prefixes(topics: Iterable[str]) -> list[str]:
    """Return the prefixes of all topics: ``stocks`` of ``stocks.bars``."""
    return sorted({prefix_of(name) for name in topics if "." in name})


def shown_prefixes(topics: Iterable[str]) -> list[str]:
    """Return the prefixes of all topics whose names say that their records can be shown."""
    return sorted({prefix_of(name) for name in topics if name.partition(".")[2] in _SHOWN_RECORD_TYPES})


def select_topics(topics: Iterable[str], allowed_prefixes: Collection[str]) -> list[str]:
    """Return the topics of some prefixes that can hold records to show."""
    return sorted(
        name
        for name in topics
        if prefix_of(name) in allowed_prefixes and "." in name and not name.endswith(_REJECTS_SUFFIX)
    )


def record_type_by_name(topic: str) -> RecordType | None:
    """Return a topic's record type by its name, or None if the name does not determine it."""
    return _RECORD_TYPES_BY_SUFFIX.get(topic.partition(".")[2])


def suffix_record_type(topic: str) -> RecordType | None:
    """Return the record type that a topic's name suggests: also ``trades``, which can hold bars."""
    return _SHOWN_RECORD_TYPES.get(topic.partition(".")[2])


def record_type_by_record(value: bytes | None) -> RecordType | None:
    """Return a topic's record type by one of its records, or None if it is not shown."""
    return _SHOWN_RECORD_TYPES.get(find_record_type(value or b"") or "")
