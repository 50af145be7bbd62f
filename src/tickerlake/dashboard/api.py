"""The same data over HTTP, as JSON."""

from collections.abc import Callable
from typing import Any, Final

import msgspec
import polars as pl
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tickerlake.dashboard.health.rejects import MOST, newest_rejects, read_reject
from tickerlake.dashboard.market.latest import COLUMNS
from tickerlake.dashboard.market.market import Chart
from tickerlake.dashboard.openapi import document
from tickerlake.dashboard.reading.feed import Feed
from tickerlake.dashboard.reading.topics import Kind
from tickerlake.errors import ObjectMissing, TickerlakeError, UsageError
from tickerlake.lake.store.base import Store
from tickerlake.model.alert import SEVERITIES, Severity

MOST_ROWS: Final = 5_000
MOST_ALERTS: Final = 1_000
_LATEST_MS: Final = 9_000_000_000_000


class NotFound(TickerlakeError):
    """What was asked for is not there."""


class Api:
    """Answers requests from what a feed knows.

    Parameters
    ----------
    feed
        The market and the older history.
    store
        The lake, for rejects; None if there is none.
    pipeline
        Returns the pipeline's state as JSON, empty if it is not known yet.
    """

    def __init__(self, feed: Feed, store: Store | None, pipeline: Callable[[], bytes]) -> None:
        self._feed = feed
        self._store = store
        self._pipeline = pipeline

    def routes(self) -> list[Route]:
        """Return the routes below ``/api/v1``."""
        answers: dict[str, Callable[[Request], Any]] = {
            "/instruments": self._instruments,
            "/bars": self._bars,
            "/indicators": self._indicators,
            "/alerts": self._alerts,
            "/rejects": self._rejects,
            "/rejects/{topic}/{partition}/{offset}": self._reject,
            "/openapi.json": lambda _: document(),
            "/pipeline": lambda _: msgspec.Raw(self._pipeline() or b"{}"),
        }
        return [Route(path, _endpoint(answer), methods=["GET"]) for path, answer in answers.items()]

    def _instruments(self, request: Request) -> dict[str, Any]:
        market = self._feed.market
        name = request.query_params.get("instrument")
        wanted = range(market.ready) if name is None else [self._number(name)]
        with market.lock:
            names, columns = market.names, market.latest.values[:, list(wanted)].T.tolist()
            rows = [
                {
                    "id": number,
                    "instrument": names.instruments[number],
                    "symbol": names.symbols[number],
                    "zone": market.zone(names.markets[number]),
                    **{name: _number(value) for name, value in zip(COLUMNS, values, strict=True)},
                    "intervals": market.intervals_of(number),
                }
                for number, values in zip(wanted, columns, strict=True)
            ]
        return {"instruments": rows}

    def _bars(self, request: Request) -> dict[str, Any]:
        chart, name, end_ns, limit = self._chart(request)
        market = self._feed.market
        rows, dropped = market.bars(chart, end_ns, limit)
        rows, more = self._older("bars", rows, name, chart[1], end_ns, limit, dropped=dropped)
        columns = {
            column: rows.get_column(column).to_list() for column in ("open", "high", "low", "close", "volume")
        }
        times = _times(rows)
        forming = market.forming(chart) if end_ns is None else []
        for bar in forming:
            times.append(bar[0])
            for column, value in zip(columns.values(), bar[1:], strict=True):
                column.append(_number(value))
        return {
            "instrument": name,
            "interval": chart[1],
            "time": times,
            **columns,
            "forming": bool(forming),
            "more": rows.height > 0 and (more or dropped),
        }

    def _indicators(self, request: Request) -> dict[str, Any]:
        chart, name, end_ns, limit = self._chart(request)
        rows, dropped = self._feed.market.values(chart, end_ns, limit)
        rows, more = self._older("indicators", rows, name, chart[1], end_ns, limit, dropped=dropped)
        wanted = [column for column in rows.columns if rows.get_column(column).null_count() < rows.height]
        return {
            "instrument": name,
            "interval": chart[1],
            "time": _times(rows),
            "values": {column: rows.get_column(column).to_list() for column in wanted if column != "open_ns"},
            "more": rows.height > 0 and (more or dropped),
        }

    def _older(
        self,
        kind: Kind,
        rows: pl.DataFrame,
        name: str,
        interval: str,
        end_ns: int | None,
        limit: int,
        *,
        dropped: bool,
    ) -> tuple[pl.DataFrame, bool]:
        """Add what only the lake has, where memory has too little."""
        if rows.height >= limit:
            return rows, True
        if rows.height:
            end_ns = int(rows.item(0, "open_ns"))
        more = False
        parts = [rows]
        for topic in list(self._feed.older.values()):
            if topic.kind == kind:
                found, rest = topic.older(name, interval, end_ns, limit - rows.height, all_=dropped)
                more |= rest
                if found.height:
                    found = found.sort("open_ns", *(["revision"] if kind == "bars" else []))
                    parts.append(
                        found.select(rows.columns) if kind == "bars" else found.drop("instrument", "interval")
                    )
        if len(parts) == 1:
            return rows, more
        joined = pl.concat(parts, how="diagonal").unique("open_ns", keep="last", maintain_order=True)
        joined = joined.sort("open_ns")
        return joined.tail(limit), more or joined.height > limit

    def _alerts(self, request: Request) -> dict[str, Any]:
        name = request.query_params.get("instrument")
        number = self._number(name) if name else None
        end_ns = _end_ns(request)
        market = self._feed.market
        with market.lock:
            told, more = market.alerts.find(
                number, _severity(request), end_ns, _int(request, "limit", 200, 1, MOST_ALERTS)
            )
        return {"alerts": [msgspec.Raw(each.to_json()) for each in told], "more": more}

    def _rejects(self, request: Request) -> Any:
        if self._store is None:
            raise NotFound("There is no lake.", "Start with --lake.")
        topic = request.query_params.get("topic", "")
        return newest_rejects(self._store, topic, _int(request, "limit", 100, 1, MOST))

    def _reject(self, request: Request) -> Any:
        if self._store is None:
            raise NotFound("There is no lake.", "Start with --lake.")
        given = request.path_params
        try:
            partition, offset = int(given["partition"]), int(given["offset"])
        except ValueError as error:
            raise UsageError("Partition and offset are numbers.") from error
        return read_reject(self._store, given["topic"], partition, offset)

    def _number(self, name: str) -> int:
        market = self._feed.market
        number = market.names.find(name)
        if number is None or number >= market.ready:
            raise NotFound(f"There is no instrument {name[:64]!r}.", "/api/v1/instruments lists them.")
        return number

    def _chart(self, request: Request) -> tuple[Chart, str, int | None, int]:
        name = request.query_params.get("instrument", "")
        number = self._number(name)
        market = self._feed.market
        interval = request.query_params.get("interval", "")
        known = market.intervals_of(number)
        if interval not in known:
            raise NotFound(
                f"{name[:64]} has no bars of the interval {interval[:16]}.",
                f"It has {', '.join(known) or 'none yet'}.",
            )
        limit = _int(request, "limit", 1_000, 1, MOST_ROWS)
        return (number, interval), market.names.instruments[number], _end_ns(request), limit


def _endpoint(answer: Callable[[Request], Any]) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        try:
            content = await to_thread.run_sync(answer, request)
        except (NotFound, ObjectMissing) as error:
            return failure(404, error)
        except UsageError as error:
            return failure(400, error)
        except TickerlakeError as error:
            return failure(503, error)
        return Response(msgspec.json.encode(content), media_type="application/json")

    return endpoint


def failure(status: int, error: TickerlakeError) -> Response:
    """Return an error as JSON."""
    content = msgspec.json.encode({"error": error.message, "hint": error.hint})
    return Response(content, status, media_type="application/json")


def _times(rows: pl.DataFrame) -> list[float]:
    return (rows.get_column("open_ns") / 1e6).to_list()


def _number(value: float) -> float | None:
    return value if value == value else None  # noqa: PLR0124 - NaN is not itself


def _int(request: Request, name: str, default: int, least: int, most: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (
        text.isascii() and text.lstrip("-").isdecimal() and len(text) <= 20 and least <= int(text) <= most
    ):
        raise UsageError(f"{name}={text[:32]} can't be.", f"Give a whole number from {least:,} to {most:,}.")
    return int(text)


def _end_ns(request: Request) -> int | None:
    if request.query_params.get("end") is None:
        return None
    return _int(request, "end", 0, -_LATEST_MS, _LATEST_MS) * 1_000_000


def _severity(request: Request) -> Severity:
    text = request.query_params.get("severity", SEVERITIES[0])
    for known in SEVERITIES:
        if text == known:
            return known
    raise UsageError(f"severity={text[:32]} can't be.", f"Give one of {', '.join(SEVERITIES)}.")
