"""The alert record: what moved, by how much, against what reference, over which window."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Final, Literal
from uuid import UUID, uuid5

import msgspec

from tickerlake.errors import DataError
from tickerlake.model.schema import ALERT, FieldType, fields

Severity = Literal["info", "warning", "critical"]
AlertState = Literal["fired", "cleared", "expired"]
Direction = Literal["up", "down", "none"]
Unit = Literal["pct", "sigma", "price", "x", "bps", "s", "count", "number"]
Cause = Literal["market", "probable_split", "halt", "data_quality", "unknown"]

SEVERITIES: Final[tuple[Severity, ...]] = ("info", "warning", "critical")
"""From the least to the most severe."""

Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]

MAX_ALERT_BYTES: Final = 1 << 16
"""Longer records are not alerts: readers keep thousands in memory, and show each on one line."""

_MAX_EXPONENT: Final = 40
"""Bounds the digits of a number that is written without an exponent; `Decimal` accepts ``1e999999999``."""

_NAMESPACE: Final = UUID("8e1f1c52-6a7b-5d0e-9c77-0b6f1c1f2a10")
_FIELD_NAMES: Final = tuple(field.name for field in fields(ALERT))


class Alert(msgspec.Struct, frozen=True):
    """A record of the schema ``alert.v1``.

    Parameters
    ----------
    alert_id
        The same for the same rule, instrument, interval, event time and state, however often it is computed.
    rule_id, rule_version, kind
        The rule that fired, its version (a number that changes with its definition), and its kind.
    severity, state, direction
        How severe it is; ``fired``, ``cleared`` or ``expired``; and where the price moved.
    instrument_id, symbol
        The instrument.
    ts_event_ns
        The time of the event: the end of the bar, or the time of the trade.
    ts_detected_ns
        When Kafka received the record that triggered it, which a replay does not change.
    latency_ms
        From the event to its detection; None for historical data.
    value, threshold, baseline, unit
        What was measured, the limit that it reached, what is usual, and the unit of all three.
    window
        The period of the measurement: ``1m``, ``5d`` …
    price, reference_price, volume
        The price, the price that it is compared with, and the volume of the bar.
    score
        The value as a multiple of the threshold.
    suppressed_count
        How many alerts of the rule have been suppressed since the last one.
    dedup_key
        The same for a fired alert and the one that clears it.
    cause, message
        The cause, as far as it is known, and one readable line.
    """

    alert_id: str
    rule_id: str
    rule_version: Int64
    kind: str
    severity: Severity
    state: AlertState
    instrument_id: str
    symbol: str
    ts_event_ns: Int64
    ts_detected_ns: Int64
    direction: Direction
    unit: Unit
    suppressed_count: Int64
    dedup_key: str
    cause: Cause
    message: str
    schema: Literal["alert.v1"] = ALERT
    latency_ms: Decimal | None = None
    value: Decimal | None = None
    threshold: Decimal | None = None
    baseline: Decimal | None = None
    window: str | None = None
    price: Decimal | None = None
    reference_price: Decimal | None = None
    volume: Decimal | None = None
    score: Decimal | None = None

    def to_json(self) -> bytes:
        """Return one JSON document, in the order of the fields of the schema."""
        values = msgspec.structs.asdict(self)
        return msgspec.json.encode(
            {name: _encodable(values[name]) for name in _FIELD_NAMES if values[name] is not None}
        )


_DECODER: Final = msgspec.json.Decoder(Alert)
_DECIMAL_NAMES: Final = tuple(each.name for each in fields(ALERT) if each.type is FieldType.DECIMAL)


def decode_alert(value: bytes | None) -> Alert:
    """Return the alert in the value of a Kafka message; None is a tombstone.

    Raises
    ------
    DataError
        If it is not an alert.
    """
    if value is None or len(value) > MAX_ALERT_BYTES:
        raise _not_an_alert()
    try:
        return _with_writable_numbers(_DECODER.decode(value))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _not_an_alert() from error


def alert_from_fields(fields: Mapping[str, Any]) -> Alert:
    """Return the alert with these fields, of which numbers may be texts.

    Raises
    ------
    DataError
        If they are not those of an alert.
    """
    try:
        return _with_writable_numbers(msgspec.convert(fields, Alert, strict=False))
    except (msgspec.MsgspecError, RecursionError) as error:
        raise _not_an_alert() from error


def _not_an_alert() -> DataError:
    return DataError("a record is not an alert", "Is this the topic of alerts?")


def _with_writable_numbers(alert: Alert) -> Alert:
    for name in _DECIMAL_NAMES:
        number: Decimal | None = getattr(alert, name)
        if number is None or not number:
            continue
        exponent = number.as_tuple().exponent
        if not isinstance(exponent, int) or max(-exponent, number.adjusted()) > _MAX_EXPONENT:
            raise _not_an_alert()
    return alert


def _encodable(value: object) -> object:
    # msgspec would write small decimals with an exponent
    return msgspec.Raw(f"{value:f}".encode()) if isinstance(value, Decimal) else value


def alert_id(rule_id: str, instrument_id: str, interval: str, ts_event_ns: int, state: str) -> str:
    """Return the identifier of an alert: a UUIDv5 of the arguments."""
    return str(uuid5(_NAMESPACE, f"{rule_id}\0{instrument_id}\0{interval}\0{ts_event_ns}\0{state}"))


def to_decimal(number: float) -> Decimal | None:
    """Return a number with at most nine decimals and no exponent; None for NaN and infinity."""
    if number != number or number in {float("inf"), float("-inf")}:  # noqa: PLR0124 - NaN is not itself
        return None
    text = f"{number:.9f}".rstrip("0").rstrip(".")
    return Decimal("0" if text in {"-0", ""} else text)
