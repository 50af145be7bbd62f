"""The OpenAPI 3.1 document of the HTTP API, and the limits that it states."""

from typing import Any, Final

from tickerlake.dashboard.health.rejects import MAX_REJECTS
from tickerlake.dashboard.market.latest import COLUMNS
from tickerlake.model.alert import SEVERITIES
from tickerlake.model.schema import ALERT, FieldType, fields
from tickerlake.version import VERSION

DEFAULT_ROWS: Final = 1_000
MAX_ROWS: Final = 5_000
"""Some 300 KB of JSON; programs that want more rows page with ``end``."""
DEFAULT_ALERTS: Final = 200
MAX_ALERTS: Final = 1_000
"""Alerts are documents of about 1 KB."""
DEFAULT_REJECTS: Final = 100

_NUMBER: Final = {"type": ["number", "null"]}
_TEXT: Final = {"type": "string"}
_TIME: Final = {"type": "number", "description": "milliseconds since 1970, UTC"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_SCHEMAS_BY_TYPE: Final[dict[FieldType, dict[str, Any]]] = {
    FieldType.STRING: _TEXT,
    FieldType.INT: {"type": "integer"},
    FieldType.TIMESTAMP_NS: {"type": "integer", "description": "nanoseconds since 1970, UTC"},
    FieldType.DECIMAL: {"type": "number"},
}


def openapi_document() -> dict[str, Any]:
    """Return the document."""
    chart = [
        _query_parameter("instrument", _TEXT, "identifier or symbol: AAPL.XNAS or AAPL", required=True),
        _query_parameter("interval", _TEXT, "one of the instrument's intervals, such as 1m", required=True),
        _query_parameter("end", {"type": "integer"}, "only bars that open before: milliseconds since 1970"),
        _limit_parameter(DEFAULT_ROWS, MAX_ROWS),
    ]
    columns = ("open", "high", "low", "close", "volume")
    bars = _object(
        instrument=_TEXT,
        interval=_TEXT,
        time=_array(_TIME),
        **{name: _array(_NUMBER) for name in columns},
        forming=_boolean("whether the last bars are not closed yet"),
        more=_boolean("whether there may be older bars"),
    )
    indicators = _object(
        instrument=_TEXT,
        interval=_TEXT,
        time=_array(_TIME),
        values={"type": "object", "additionalProperties": _array(_NUMBER)},
        more=_boolean("whether there may be older bars"),
    )
    instrument = _object(
        id=_COUNT,
        instrument=_TEXT,
        symbol=_TEXT,
        zone=_TEXT,
        **dict.fromkeys(COLUMNS, _NUMBER),
        intervals=_array(_TEXT),
    )
    paths = {
        "/instruments": _get_operation(
            "Instruments with their latest values",
            _object(instruments=_array(instrument)),
            [_query_parameter("instrument", _TEXT, "identifier or symbol; all instruments by default")],
        ),
        "/bars": _get_operation("The newest bars of an instrument, as columns, oldest first", bars, chart),
        "/indicators": _get_operation(
            "Indicators of the newest closed bars of an instrument, as columns, oldest first",
            indicators,
            chart,
        ),
        "/alerts": _get_operation(
            "Alerts, newest event first",
            _object(alerts=_array(_reference("Alert")), more=_boolean("whether there may be older alerts")),
            [
                _query_parameter("instrument", _TEXT, "identifier or symbol"),
                _query_parameter("severity", {"type": "string", "enum": [*SEVERITIES]}, "minimum severity"),
                _query_parameter("end", {"type": "integer"}, "only events before: milliseconds since 1970"),
                _limit_parameter(DEFAULT_ALERTS, MAX_ALERTS),
            ],
        ),
        "/pipeline": _get_operation("Topics, consumer groups, the lake, audits and cost", {"type": "object"}),
        "/rejects": _get_operation(
            "The newest rejects of a topic in the lake",
            {"type": "object"},
            [
                _query_parameter("topic", _TEXT, "the topic", required=True),
                _limit_parameter(DEFAULT_REJECTS, MAX_REJECTS),
            ],
        ),
        "/rejects/{topic}/{partition}/{offset}": _get_operation(
            "One reject, with its key and value",
            {"type": "object"},
            [
                _path_parameter("topic", _TEXT),
                _path_parameter("partition", _COUNT),
                _path_parameter("offset", _COUNT),
            ],
        ),
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "tickerlake", "version": VERSION, "license": {"name": "Apache-2.0"}},
        "servers": [{"url": "/api/v1"}],
        "paths": paths,
        "security": [{}, {"token": []}],
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Alert": _alert_schema(),
                "Error": _object(error=_TEXT, hint=_TEXT),
            },
        },
    }


def _alert_schema() -> dict[str, Any]:
    properties = {field.name: _SCHEMAS_BY_TYPE[field.type] for field in fields(ALERT)}
    required = [field.name for field in fields(ALERT) if not field.nullable]
    added = {"id": {"type": "integer"}, "event_ms": _TIME, "detected_ms": _TIME}
    return {"type": "object", "properties": properties | added, "required": [*required, *added]}


def _get_operation(
    summary: str, schema: dict[str, Any], parameters: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    failure = {"content": {"application/json": {"schema": _reference("Error")}}}
    responses = {
        "200": {"description": "success", "content": {"application/json": {"schema": schema}}},
        "400": {"description": "invalid parameter"} | failure,
        "401": {"description": "authentication required"} | failure,
        "404": {"description": "not found"} | failure,
        "429": {"description": "too many requests"} | failure,
        "503": {"description": "Kafka or the lake is not responding"} | failure,
    }
    return {"get": {"summary": summary, "parameters": parameters or [], "responses": responses}}


def _object(**members: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": members, "required": [*members]}


def _array(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _boolean(description: str) -> dict[str, Any]:
    return {"type": "boolean", "description": description}


def _reference(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _query_parameter(
    name: str, schema: dict[str, Any], description: str, *, required: bool = False
) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": required, "schema": schema, "description": description}


def _limit_parameter(default: int, maximum: int) -> dict[str, Any]:
    schema = {"type": "integer", "minimum": 1, "maximum": maximum, "default": default}
    return _query_parameter("limit", schema, "maximum number of entries; the newest are returned")


def _path_parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": schema}
