"""Which topics are ours, and what they hold."""

from collections.abc import Collection, Iterable
from typing import Final, Literal

import msgspec

from tickerlake.model.json import schema_of
from tickerlake.model.schema import ALERT, BAR, INDICATOR, TRADE

Kind = Literal["trades", "bars", "indicators", "alerts"]

_ENDINGS: Final[dict[str, Kind]] = {"bars": "bars", "indicators": "indicators", "alerts": "alerts"}
_SCHEMAS: Final[dict[str, Kind]] = {TRADE: "trades", BAR: "bars", INDICATOR: "indicators", ALERT: "alerts"}
_NOT_SHOWN: Final = frozenset({"refused"})
_OURS: Final = frozenset({"bars", "trades", "indicators", "alerts"})


def prefix_of(topic: str) -> str:
    """Return what stands before the first dot of a topic's name."""
    return topic.partition(".")[0]


def prefixes(topics: Iterable[str]) -> list[str]:
    """Return the prefixes of all topics that look like ours: ``stocks`` of ``stocks.bars``."""
    return sorted({prefix_of(name) for name in topics if name.partition(".")[2] in _OURS})


def shown(topics: Iterable[str], wanted: Collection[str]) -> list[str]:
    """Return the topics of some prefixes that hold what can be shown."""
    return sorted(
        name
        for name in topics
        if prefix_of(name) in wanted and "." in name and name.partition(".")[2] not in _NOT_SHOWN
    )


def kind_by_name(topic: str) -> Kind | None:
    """Return what a topic holds by its name, None if that does not tell."""
    return _ENDINGS.get(topic.partition(".")[2])


def kind_by_record(value: bytes | None) -> Kind | None:
    """Return what a topic holds by one of its records, None if that is nothing to show."""
    try:
        return _SCHEMAS.get(schema_of(value or b"") or "")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
