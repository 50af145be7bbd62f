"""Headers of Kafka messages as JSON."""

import base64
from collections.abc import Sequence
from typing import Final

import msgspec

MessageHeaders = Sequence[tuple[str, bytes | str | None]] | None
"""The headers of one message as the Kafka client returns them; None if it has none."""

UNREADABLE_HEADERS: Final = (("tickerlake.error", "the name of a header is not UTF-8"),)
"""Stand for headers that the Kafka client cannot read."""


def encode_headers(headers: Sequence[tuple[str, bytes | str | None]]) -> str:
    """Return the headers of a message, in their order, as a JSON array of objects.

    Each object has a ``key`` and a ``value``, which is text or null; for a value that is not UTF-8, it has
    a ``value_base64`` instead. Kafka allows several headers with the same key.
    """
    return msgspec.json.encode([_as_object(key, value) for key, value in headers]).decode()


def _as_object(key: str, value: bytes | str | None) -> dict[str, str | None]:
    if not isinstance(value, bytes):
        return {"key": key, "value": value}
    try:
        return {"key": key, "value": value.decode()}
    except UnicodeDecodeError:
        return {"key": key, "value_base64": base64.b64encode(value).decode()}
