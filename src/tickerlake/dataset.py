"""A lake for Python: its records as Polars frames, each once, whether compacted or not."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import polars as pl

from tickerlake.analytics.calendars import SessionDates
from tickerlake.errors import UsageError
from tickerlake.lake.duckdb_sql import column_list
from tickerlake.lake.query import LakeDatabase
from tickerlake.lake.store import open_store
from tickerlake.lake.typed_records import event_time_column, frame_schema

TimeLike = str | date | datetime | None
_PRICES: Final = ("open", "high", "low", "close", "vwap")


class Lake:
    """A lake that is read; from `open_lake`.

    Every method returns a frame with the columns of the kind (see `docs/lake.md`), sorted by
    instrument and time.
    ``.to_pandas()`` and ``.to_arrow()`` make other libraries' frames of it.

    Common parameters:

    ``symbols``
        One or some of them: ``AAPL``, or with their market ``AAPL.XNAS``. All by default.
    ``start``, ``end``
        From ``start`` on and before ``end``. A date (also as text, ``2026-11-27``) is an exchange day, a time
        (``2026-11-27T14:30Z``) is an instant, of UTC unless it says otherwise.
    ``exact``
        False: prices and sizes are float64. True: they are decimals with nine places.
    ``topic``
        Only what came through this topic.
    """

    def __init__(self, uri: str, *, calendar: str = "24/7", memory: str = "2GB") -> None:
        self._store = open_store(uri)
        self._database = LakeDatabase(self._store, SessionDates(calendar), memory=memory)

    def __enter__(self) -> "Lake":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release files and connections."""
        self._database.close()
        self._store.close()

    def refresh(self) -> None:
        """Show the lake as it is now, not as it was when each kind was first read."""
        self._database.refresh()

    def sql(self, query: str, parameters: Iterable[Any] = ()) -> pl.DataFrame:
        """Run a query over ``bars``, ``trades``, ``quotes``, ``alerts``, ``indicators`` and the views.

        Parameters
        ----------
        parameters
            What the question marks in it stand for.

        Raises
        ------
        UsageError
            The query is wrong, or does something else than read.
        """
        frame: pl.DataFrame = self._database.query(query, parameters).pl()
        return frame

    def bars(
        self,
        symbols: str | Sequence[str] | None = None,
        interval: str | None = None,
        start: TimeLike = None,
        end: TimeLike = None,
        *,
        topic: str | None = None,
        exact: bool = False,
        adjusted: bool = False,
    ) -> pl.DataFrame:
        """Return bars; of each its highest revision.

        Parameters
        ----------
        interval
            ``1m``, ``1d`` …; all by default.
        adjusted
            Multiply prices by the factor for later splits and dividends that the source tells:
            ``adj_factor``, else ``adj_close`` / ``close``. Volumes stay.

        Raises
        ------
        UsageError
            ``adjusted`` is asked of bars of which no factor is known, or together with ``exact``.
        """
        if adjusted and exact:
            raise UsageError("Adjusted prices are quotients, and never exact.", "Leave out one of the two.")
        frame = self._read("bars", symbols, start, end, topic, exact=exact or adjusted, interval=interval)
        return _to_floats(_adjust_prices(frame)) if adjusted else frame

    def indicators(
        self,
        symbols: str | Sequence[str] | None = None,
        interval: str | None = None,
        start: TimeLike = None,
        end: TimeLike = None,
        *,
        topic: str | None = None,
        exact: bool = False,
    ) -> pl.DataFrame:
        """Return indicators; ``values`` holds them as JSON text."""
        return self._read("indicators", symbols, start, end, topic, exact=exact, interval=interval)

    def trades(
        self,
        symbols: str | Sequence[str] | None = None,
        start: TimeLike = None,
        end: TimeLike = None,
        *,
        topic: str | None = None,
        exact: bool = False,
    ) -> pl.DataFrame:
        """Return trades, cancels and corrections among them."""
        return self._read("trades", symbols, start, end, topic, exact=exact)

    def quotes(
        self,
        symbols: str | Sequence[str] | None = None,
        start: TimeLike = None,
        end: TimeLike = None,
        *,
        topic: str | None = None,
        exact: bool = False,
    ) -> pl.DataFrame:
        """Return quotes."""
        return self._read("quotes", symbols, start, end, topic, exact=exact)

    def alerts(
        self,
        symbols: str | Sequence[str] | None = None,
        start: TimeLike = None,
        end: TimeLike = None,
        *,
        topic: str | None = None,
        exact: bool = False,
    ) -> pl.DataFrame:
        """Return alerts: fired, cleared and expired."""
        return self._read("alerts", symbols, start, end, topic, exact=exact)

    def _read(
        self,
        record_type: str,
        symbols: str | Sequence[str] | None,
        start: TimeLike,
        end: TimeLike,
        topic: str | None,
        *,
        exact: bool,
        interval: str | None = None,
    ) -> pl.DataFrame:
        self._database.prepare([record_type])
        conditions: list[str] = []
        values: list[Any] = []
        if symbols is not None:
            symbol_list = [symbols] if isinstance(symbols, str) else list(symbols)
            conditions.append("(list_contains(?, symbol) or list_contains(?, instrument_id))")
            values += [symbol_list, symbol_list]
        if interval is not None:
            conditions.append("interval = ?")
            values.append(interval)
        if topic is not None:
            conditions.append("kafka_topic = ?")
            values.append(topic)
        for bound, comparison, name in ((start, ">=", "start"), (end, "<", "end")):
            if bound is not None:
                condition, value = _bound_condition(record_type, _parse_bound(bound, name), comparison)
                conditions.append(condition)
                values += value
        columns = column_list(frame_schema(record_type).names())
        where = f"where {' and '.join(conditions)}" if conditions else ""
        query = f"select {columns} from lake._{record_type}_all {where} order by instrument_id, {event_time_column(record_type)}, "
        frame: pl.DataFrame = self._database.query(
            f"{query} kafka_topic, kafka_partition, kafka_offset", values
        ).pl()
        frame = frame.cast(
            {name: dtype for name, dtype in frame_schema(record_type).items() if dtype == _UTC_TIMESTAMP}
        )
        return frame if exact else _to_floats(frame)


_UTC_TIMESTAMP: Final = pl.Datetime("us", "UTC")


def open_lake(uri: str, *, calendar: str = "24/7", memory: str = "2GB") -> Lake:
    """Open a lake for reading.

    Parameters
    ----------
    uri
        A folder, or ``gs://bucket/prefix``.
    calendar
        The sessions of instruments of an unknown market: ``XNYS``, or ``24/7``.
    memory
        How much a query may use before it spills to disk.

    Examples
    --------
    >>> lake = tickerlake.open_lake("./lake")  # doctest: +SKIP
    >>> lake.bars(["AAPL", "MSFT"], "1d", start="2012-01-01").to_pandas()  # doctest: +SKIP
    """
    return Lake(uri, calendar=calendar, memory=memory)


def _parse_bound(value: str | date | datetime, name: str) -> date | datetime:
    if isinstance(value, str):
        try:
            value = (
                date.fromisoformat(value)
                if len(value) == len("2026-11-27")
                else datetime.fromisoformat(value)
            )
        except ValueError as error:
            raise UsageError(
                f"{name}={value!r} is no date and no time.", "Write 2026-11-27, or 2026-11-27T14:30Z."
            ) from error
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return value


def _bound_condition(record_type: str, bound: date | datetime, comparison: str) -> tuple[str, list[Any]]:
    """Return a condition; its part on ``date``, the folder's name, lets files be passed over.

    Sessions may open the day before and end the day after, and folders may hold a year.
    """
    value: list[Any]
    if not isinstance(bound, datetime):
        day, condition, value = bound, f"session_date {comparison} ?", [bound]
    else:
        day = bound.date()
        ns = int((bound - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1)) * 1000
        condition, value = f"{event_time_column(record_type)} {comparison} ?", [ns]
    if comparison == ">=":
        return f"{condition} and date >= ?", [*value, day - timedelta(days=368)]
    return f"{condition} and date <= ?", [*value, day + timedelta(days=2)]


def _to_floats(frame: pl.DataFrame) -> pl.DataFrame:
    # through the scaled integer: a cast of decimals is one unit in the last place off for some
    return frame.with_columns(
        (pl.col(name).to_physical().cast(pl.Float64) / 10**9).alias(name)
        for name, dtype in frame.schema.items()
        if isinstance(dtype, pl.Decimal)
    )


def _adjust_prices(frame: pl.DataFrame) -> pl.DataFrame:
    unadjusted = _to_floats(frame)
    factor = pl.coalesce("adj_factor", pl.col("adj_close") / pl.col("close"))
    without_factor = unadjusted.filter(factor.is_null())
    if without_factor.height:
        raise UsageError(
            f"Of {without_factor.height:,} of {unadjusted.height:,} bars no factor is known, the first of them of "
            f"{without_factor.get_column('instrument_id')[0]} on {without_factor.get_column('session_date')[0]}.",
            "Their source tells neither adj_factor nor adj_close; leave out `adjusted`, or name others.",
        )
    return unadjusted.with_columns(pl.col(name) * factor for name in _PRICES)
