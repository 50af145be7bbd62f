"""The HTTP API: the data of the page as JSON."""

from collections.abc import Callable
from typing import Any, Final

import msgspec
import polars as pl
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tickerlake.dashboard.health.rejects import MAX_REJECTS, newest_rejects, read_reject
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
from tickerlake.lake.store.base import Store
from tickerlake.model.alert import SEVERITIES, Severity

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
        self, reader: DashboardReader, store: Store | None, pipeline_json: Callable[[], bytes]
    ) -> None:
        self._reader = reader
        self._store = store
        self._pipeline_json = pipeline_json

    def routes(self) -> list[Route]:
        """Return the routes under ``/api/v1``."""
        handlers: dict[str, Callable[[Request], Any]] = {
            "/instruments": self._instruments,
            "/bars": self._bars,
            "/indicators": self._indicators,
            "/alerts": self._alerts,
            "/rejects": self._rejects,
            "/rejects/{topic}/{partition}/{offset}": self._reject,
            "/openapi.json": lambda _: openapi_document(),
            "/pipeline": lambda _: msgspec.Raw(self._pipeline_json() or b"{}"),
        }
        return [Route(path, _endpoint(handler), methods=["GET"]) for path, handler in handlers.items()]

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
        columns = {
            column: rows.get_column(column).to_list() for column in ("open", "high", "low", "close", "volume")
        }
        times = _times_ms(rows)
        forming = market.forming_bars(chart) if end_ns is None else []
        for bar in forming:
            times.append(bar[0])
            for column, value in zip(columns.values(), bar[1:], strict=True):
                column.append(_null_if_nan(value))
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
        name = request.query_params.get("instrument")
        number = self._find_instrument_number(name) if name else None
        end_ns = _parse_end_ns(request)
        market = self._reader.market
        with market.lock:
            alerts, more = market.alerts.search(
                number,
                _parse_severity(request),
                end_ns,
                _parse_int(request, "limit", DEFAULT_ALERTS, 1, MAX_ALERTS),
            )
        return {"alerts": [msgspec.Raw(each.to_json()) for each in alerts], "more": more}

    def _rejects(self, request: Request) -> Any:
        if self._store is None:
            raise NotFound("No lake is configured.", "Start the server with --lake.")
        topic = request.query_params.get("topic", "")
        return newest_rejects(
            self._store, topic, _parse_int(request, "limit", DEFAULT_REJECTS, 1, MAX_REJECTS)
        )

    def _reject(self, request: Request) -> Any:
        if self._store is None:
            raise NotFound("No lake is configured.", "Start the server with --lake.")
        parameters = request.path_params
        try:
            partition, offset = int(parameters["partition"]), int(parameters["offset"])
        except ValueError as error:
            raise UsageError("Partition and offset must be integers.") from error
        return read_reject(self._store, parameters["topic"], partition, offset)

    def _find_instrument_number(self, name: str) -> int:
        market = self._reader.market
        number = market.instruments.find(name)
        if number is None or number >= market.ready_count:
            raise NotFound(f"There is no instrument {name[:64]!r}.", "/api/v1/instruments lists them all.")
        return number

    def _parse_chart_query(self, request: Request) -> tuple[ChartKey, str, int | None, int]:
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
        limit = _parse_int(request, "limit", DEFAULT_ROWS, 1, MAX_ROWS)
        return (number, interval), market.instruments.instrument_ids[number], _parse_end_ns(request), limit


def _endpoint(handler: Callable[[Request], Any]) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        try:
            content = await to_thread.run_sync(handler, request)
        except (NotFound, ObjectMissing) as error:
            return error_response(404, error)
        except UsageError as error:
            return error_response(400, error)
        except TickerlakeError as error:
            return error_response(503, error)
        return Response(msgspec.json.encode(content), media_type="application/json")

    return endpoint


def error_response(status: int, error: TickerlakeError) -> Response:
    """Return an error as a JSON response."""
    content = msgspec.json.encode({"error": error.message, "hint": error.hint})
    return Response(content, status, media_type="application/json")


def _times_ms(rows: pl.DataFrame) -> list[float]:
    return (rows.get_column("open_ns") / 1e6).to_list()


def _null_if_nan(value: float) -> float | None:
    return value if value == value else None  # noqa: PLR0124 - NaN does not equal itself


def _parse_int(request: Request, name: str, default: int, minimum: int, maximum: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (
        text.isascii()
        and text.lstrip("-").isdecimal()
        and len(text) <= 20
        and minimum <= int(text) <= maximum
    ):
        raise UsageError(
            f"{name}={text[:32]} is invalid.", f"Use an integer from {minimum:,} to {maximum:,}."
        )
    return int(text)


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
