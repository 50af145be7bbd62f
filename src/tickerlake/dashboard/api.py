"""The HTTP API: the data of the page as JSON."""

import asyncio
import re
from collections.abc import Callable
from typing import Any, Final

import msgspec
import polars as pl
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tickerlake.dashboard.health.rejects import MAX_REJECTS, newest_rejects, read_reject
from tickerlake.dashboard.load_limits import Busy, LoadLimits
from tickerlake.dashboard.market.latest import COLUMNS
from tickerlake.dashboard.market.state import ChartKey
from tickerlake.dashboard.openapi import (
    DEFAULT_ALERTS,
    DEFAULT_REJECTS,
    DEFAULT_ROWS,
    MAX_ALERTS,
    MAX_ROWS,
    openapi_document,
)
from tickerlake.dashboard.reading.reader import DashboardReader
from tickerlake.dashboard.reading.topics import RecordType
from tickerlake.errors import ObjectMissing, TickerlakeError, UsageError
from tickerlake.lake.store.base import ReadableStore
from tickerlake.model.alert import SEVERITIES, Severity

_MAX_LARGE_READS: Final = 2
"""Of all instruments, or of many objects of the lake."""
_MAX_READS: Final = 4
"""Of charts and alerts, which can include segments of the lake."""
_MAX_ALERT_BYTES: Final = 8 << 20
"""Of a response: alerts have about 1 KB, but their texts are as long as whoever wrote them liked."""
_INTEGER: Final = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_MAX_TIME_MS: Final = 9_000_000_000_000
"""In the year 2255: its nanoseconds still fit int64."""


class NotFound(TickerlakeError):
    """The requested resource does not exist."""


class Api:
    """Answers API requests from the reader's market and the lake.

    Parameters
    ----------
    reader
        Provides the market and the older history.
    store
        The lake, for rejects; None if there is none.
    pipeline_json
        Returns the pipeline's state as JSON; empty before the first poll.
    """

    def __init__(
        self, reader: DashboardReader, store: ReadableStore | None, pipeline_json: Callable[[], bytes]
    ) -> None:
        self._reader = reader
        self._store = store
        self._pipeline_json = pipeline_json
        self._limits = LoadLimits()

    def routes(self) -> list[Route]:
        """Return the routes under ``/api/v1``."""
        reads, large_reads = asyncio.Semaphore(_MAX_READS), asyncio.Semaphore(_MAX_LARGE_READS)
        handlers: dict[str, tuple[Callable[[Request], Any], asyncio.Semaphore]] = {
            "/instruments": (self._instruments, large_reads),
            "/bars": (self._bars, reads),
            "/indicators": (self._indicators, reads),
            "/alerts": (self._alerts, reads),
            "/rejects": (self._rejects, large_reads),
            "/rejects/{topic}/{partition}/{offset}": (self._reject, large_reads),
            "/openapi.json": (lambda _: openapi_document(), reads),
            "/pipeline": (lambda _: msgspec.Raw(self._pipeline_json() or b"{}"), reads),
        }
        return [
            Route(path, self._endpoint(handler, turns), methods=["GET"])
            for path, (handler, turns) in handlers.items()
        ]

    def _endpoint(
        self, handler: Callable[[Request], Any], turns: asyncio.Semaphore
    ) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            try:
                return await self._limits.respond(turns, handler, request)
            except (NotFound, ObjectMissing) as error:
                return error_response(404, error)
            except UsageError as error:
                return error_response(400, error)
            except Busy as error:
                return error_response(503, error, {"retry-after": "1"})
            except TickerlakeError as error:
                return error_response(503, error)

        return endpoint

    def _instruments(self, request: Request) -> dict[str, Any]:
        market = self._reader.market
        name = request.query_params.get("instrument")
        numbers = range(market.ready_count) if name is None else [self._find_instrument_number(name)]
        with market.lock:
            names, columns = market.instruments, market.latest.values[:, list(numbers)].T.tolist()
            rows = [
                {
                    "id": number,
                    "instrument": names.instrument_ids[number],
                    "symbol": names.symbols[number],
                    "zone": market.zone(names.markets[number]),
                    **{name: _null_if_nan(value) for name, value in zip(COLUMNS, values, strict=True)},
                    "intervals": market.intervals_of(number),
                }
                for number, values in zip(numbers, columns, strict=True)
            ]
        return {"instruments": rows}

    def _bars(self, request: Request) -> dict[str, Any]:
        chart, name, end_ns, limit = self._parse_chart_query(request)
        market = self._reader.market
        rows, dropped = market.bars(chart, end_ns, limit)
        rows, more = self._add_older_rows("bars", rows, name, chart[1], end_ns, limit, dropped=dropped)
        columns: dict[str, list[float | None]] = {
            column: rows.get_column(column).to_list() for column in ("open", "high", "low", "close", "volume")
        }
        forming = market.forming_bars(chart) if end_ns is None else []
        times = [*_times_ms(rows), *(bar[0] for bar in forming)]
        for bar in forming:
            for column, value in zip(columns.values(), bar[1:], strict=True):
                column.append(value)
        return {
            "instrument": name,
            "interval": chart[1],
            "time": times,
            **columns,
            "forming": bool(forming),
            "more": rows.height > 0 and (more or dropped),
        }

    def _indicators(self, request: Request) -> dict[str, Any]:
        chart, name, end_ns, limit = self._parse_chart_query(request)
        rows, dropped = self._reader.market.indicator_values(chart, end_ns, limit)
        rows, more = self._add_older_rows("indicators", rows, name, chart[1], end_ns, limit, dropped=dropped)
        non_empty = [column for column in rows.columns if rows.get_column(column).null_count() < rows.height]
        return {
            "instrument": name,
            "interval": chart[1],
            "time": _times_ms(rows),
            "values": {
                column: rows.get_column(column).to_list() for column in non_empty if column != "open_ns"
            },
            "more": rows.height > 0 and (more or dropped),
        }

    def _add_older_rows(
        self,
        record_type: RecordType,
        rows: pl.DataFrame,
        name: str,
        interval: str,
        end_ns: int | None,
        limit: int,
        *,
        dropped: bool,
    ) -> tuple[pl.DataFrame, bool]:
        """Add older rows from the lake if memory holds fewer than the limit."""
        if rows.height >= limit:
            return rows, True
        if rows.height:
            end_ns = int(rows.item(0, "open_ns"))
        more = False
        parts = [rows]
        for topic in list(self._reader.lake_history.values()):
            if topic.record_type == record_type:
                older, has_more = topic.older_rows(
                    name, interval, end_ns, limit - rows.height, include_loaded=dropped
                )
                more |= has_more
                if older.height:
                    older = older.sort("open_ns", *(["revision"] if record_type == "bars" else []))
                    parts.append(
                        older.select(rows.columns)
                        if record_type == "bars"
                        else older.drop("instrument", "interval")
                    )
        if len(parts) == 1:
            return rows, more
        joined = pl.concat(parts, how="diagonal").unique("open_ns", keep="last", maintain_order=True)
        joined = joined.sort("open_ns")
        return joined.tail(limit), more or joined.height > limit

    def _alerts(self, request: Request) -> dict[str, Any]:
        limit, end_ns = _parse_int(request, "limit", DEFAULT_ALERTS, 1, MAX_ALERTS), _parse_end_ns(request)
        severity = _parse_severity(request)
        name = request.query_params.get("instrument")
        number = self._find_instrument_number(name) if name else None
        market = self._reader.market
        with market.lock:
            alerts, more = market.alerts.search(number, severity, end_ns, limit)
        documents: list[msgspec.Raw] = []
        size = 0
        for each in alerts:
            document = each.to_json()
            size += len(document)
            if documents and size > _MAX_ALERT_BYTES:
                return {"alerts": documents, "more": True}
            documents.append(msgspec.Raw(document))
        return {"alerts": documents, "more": more}

    def _rejects(self, request: Request) -> Any:
        limit = _parse_int(request, "limit", DEFAULT_REJECTS, 1, MAX_REJECTS)
        topic = request.query_params.get("topic", "")
        return newest_rejects(self._require_store(), topic, limit)

    def _reject(self, request: Request) -> Any:
        parameters = request.path_params
        partition = _check_int("partition", parameters["partition"], 0, (1 << 31) - 1)
        offset = _check_int("offset", parameters["offset"], 0, (1 << 63) - 1)
        return read_reject(self._require_store(), parameters["topic"], partition, offset)

    def _require_store(self) -> ReadableStore:
        if self._store is None:
            raise NotFound("No lake is configured.", "Start the server with --lake.")
        return self._store

    def _find_instrument_number(self, name: str) -> int:
        market = self._reader.market
        number = market.instruments.find(name)
        if number is None or number >= market.ready_count:
            raise NotFound(f"There is no instrument {name[:64]!r}.", "/api/v1/instruments lists them all.")
        return number

    def _parse_chart_query(self, request: Request) -> tuple[ChartKey, str, int | None, int]:
        limit, end_ns = _parse_int(request, "limit", DEFAULT_ROWS, 1, MAX_ROWS), _parse_end_ns(request)
        name = request.query_params.get("instrument", "")
        number = self._find_instrument_number(name)
        market = self._reader.market
        interval = request.query_params.get("interval", "")
        intervals = market.intervals_of(number)
        if interval not in intervals:
            raise NotFound(
                f"{name[:64]} has no {interval[:16]} bars.",
                f"Its intervals are: {', '.join(intervals) or 'none yet'}.",
            )
        return (number, interval), market.instruments.instrument_ids[number], end_ns, limit


def error_response(status: int, error: TickerlakeError, headers: dict[str, str] | None = None) -> Response:
    """Return an error as a JSON response."""
    content = msgspec.json.encode({"error": error.message, "hint": error.hint})
    return Response(content, status, headers, media_type="application/json")


def _times_ms(rows: pl.DataFrame) -> list[float]:
    return (rows.get_column("open_ns") / 1e6).to_list()


def _null_if_nan(value: float) -> float | None:
    return value if value == value else None  # noqa: PLR0124 - NaN does not equal itself


def _parse_int(request: Request, name: str, default: int, minimum: int, maximum: int) -> int:
    text = request.query_params.get(name)
    return default if text is None else _check_int(name, text, minimum, maximum)


def _check_int(name: str, text: str, minimum: int, maximum: int) -> int:
    number = int(text) if _INTEGER.fullmatch(text) else None
    if number is None or not minimum <= number <= maximum:
        raise UsageError(
            f"{name}={text[:32]} is invalid.", f"Use an integer from {minimum:,} to {maximum:,}."
        )
    return number


def _parse_end_ns(request: Request) -> int | None:
    if request.query_params.get("end") is None:
        return None
    return _parse_int(request, "end", 0, -_MAX_TIME_MS, _MAX_TIME_MS) * 1_000_000


def _parse_severity(request: Request) -> Severity:
    text = request.query_params.get("severity", SEVERITIES[0])
    for severity in SEVERITIES:
        if text == severity:
            return severity
    raise UsageError(f"severity={text[:32]} is invalid.", f"Use one of {', '.join(SEVERITIES)}.")
