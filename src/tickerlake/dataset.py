"""The Python API of a lake: its records as Polars frames, each once, whether compacted or not."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

import polars as pl

from tickerlake.analytics.calendars import SessionDates
from tickerlake.config import load_settings
from tickerlake.errors import UsageError
from tickerlake.lake.duckdb_sql import column_list
from tickerlake.lake.opening import open_lake_for_reading
from tickerlake.lake.query import LakeDatabase
from tickerlake.lake.sandbox import query_errors
from tickerlake.lake.typed_records import event_time_column, frame_schema
from tickerlake.model.instrument import normalize_symbol

Symbols = str | Sequence[str] | None
TimeLike = str | date | datetime | None
_UTC_TIMESTAMP: Final = pl.Datetime("us", "UTC")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_BEFORE_BOUND: Final = timedelta(days=368)
"""A folder can hold a year (up to 366 days), and a session can open the day before its date."""

_AFTER_BOUND: Final = timedelta(days=2)
"""A session can end on the day after its date."""

_PRICES: Final = ("open", "high", "low", "close", "vwap")


class Lake:
    """A lake opened for reading by `open_lake`.

    The methods for records return a frame with the columns of the record type (see `docs/lake.md`), sorted
    by instrument and time. ``.to_pandas()`` and ``.to_arrow()`` convert it.

    Common parameters:

    ``symbols``
        One symbol or several: ``AAPL``, or with the market ``AAPL.XNAS``. Default: all.
    ``start``, ``end``
        Lower bound (inclusive) and upper bound (exclusive). A date, also as a string (``2026-11-27``), is a
        session date; a time (``2026-11-27T14:30Z``) is an instant, in UTC unless it has an offset.
    ``exact``
        False: prices and sizes are float64. True: they are decimals with nine places.
    ``topic``
        Only records from this topic.
    """

    def __init__(
        self, uri: str, *, calendar: str = "24/7", sessions: str | Path | None = None, memory: str = "2GB"
    ) -> None:
        changes = load_settings({}, Path(sessions)).calendar if sessions else None
        dates = SessionDates(calendar, changes)
        self._store = open_lake_for_reading(uri)
        self._database = LakeDatabase(self._store, dates, memory=memory)

    def __enter__(self) -> "Lake":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release files and connections."""
        self._database.close()
        self._store.close()

    def refresh(self) -> None:
        """Read the lake again: each record type is otherwise as it was when first read."""
        self._database.refresh()

    def sql(
        self,
        query: str,
        parameters: Iterable[Any] = (),
        *,
        frames: Mapping[str, pl.DataFrame] | None = None,
    ) -> pl.DataFrame:
        """Run a query over ``bars``, ``trades``, ``quotes``, ``alerts``, ``indicators`` and the views.

        A query reads the lake and nothing else: no other file, and no variable of the caller.

        Parameters
        ----------
        parameters
            The values of the query's question marks, in order.
        frames
            Frames of yours that the query reads, too, by the names that it gives them.

        Raises
        ------
        UsageError
            The query is invalid, fails, writes, or reads anything else.

        Examples
        --------
        >>> held = pl.DataFrame({"symbol": ["AAPL"], "shares": [10]})  # doctest: +SKIP
        >>> lake.sql("from latest_prices join held using (symbol)", frames={"held": held})  # doctest: +SKIP
        """
        with self._database.frames(frames or {}), query_errors():
            frame: pl.DataFrame = self._database.query(query, parameters).pl()
        return frame

    def bars(
        self,
        symbols: Symbols = None,
        interval: str | None = None,
        start: TimeLike = None,
        end: TimeLike = None,
        *,
        topic: str | None = None,
        exact: bool = False,
        adjusted: bool = False,
    ) -> pl.DataFrame:
        """Return bars, each in its latest revision.

        Parameters
        ----------
        interval
            ``1m``, ``1d`` …; default: all.
        adjusted
            Multiply prices by the source's factor for later splits and dividends: ``adj_factor``, else
            ``adj_close`` / ``close``. Volumes are not adjusted.

        Raises
        ------
        UsageError
            ``adjusted`` is combined with ``exact``, or some of the bars have no factor.
        """
        if adjusted and exact:
            raise UsageError(
                "Adjusted prices are quotients and never exact.", "Use either `adjusted` or `exact`."
            )
        frame = self._read("bars", symbols, start, end, topic, exact=exact or adjusted, interval=interval)
        return _to_floats(_adjust_prices(frame)) if adjusted else frame

    def indicators(
        self,
        symbols: Symbols = None,
        interval: str | None = None,
        start: TimeLike = None,
        end: TimeLike = None,
        *,
        topic: str | None = None,
        exact: bool = False,
    ) -> pl.DataFrame:
        """Return indicators; the column ``values`` holds them as JSON."""
        return self._read("indicators", symbols, start, end, topic, exact=exact, interval=interval)

    def trades(
        self,
        symbols: Symbols = None,
        start: TimeLike = None,
        end: TimeLike = None,
        *,
        topic: str | None = None,
        exact: bool = False,
    ) -> pl.DataFrame:
        """Return trades, including cancels and corrections."""
        return self._read("trades", symbols, start, end, topic, exact=exact)

    def quotes(
        self,
        symbols: Symbols = None,
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
        symbols: Symbols = None,
        start: TimeLike = None,
        end: TimeLike = None,
        *,
        topic: str | None = None,
        exact: bool = False,
    ) -> pl.DataFrame:
        """Return alerts in all states: fired, cleared and expired."""
        return self._read("alerts", symbols, start, end, topic, exact=exact)

    def _read(
        self,
        record_type: str,
        symbols: Symbols,
        start: TimeLike,
        end: TimeLike,
        topic: str | None,
        *,
        exact: bool,
        interval: str | None = None,
    ) -> pl.DataFrame:
        conditions = _Conditions(record_type)
        conditions.add_symbols(symbols)
        conditions.add_equal("interval", interval)
        conditions.add_equal("kafka_topic", topic)
        conditions.add_bound("start", start, ">=")
        conditions.add_bound("end", end, "<")
        schema = frame_schema(record_type)
        self._database.prepare([record_type])
        frame = self.sql(
            f"select {column_list(schema.names())} from lake._{record_type}_all {conditions.where()} "
            f"order by instrument_id, {event_time_column(record_type)}, "
            "kafka_topic, kafka_partition, kafka_offset",
            conditions.values,
        )
        frame = frame.cast({name: dtype for name, dtype in schema.items() if dtype == _UTC_TIMESTAMP})
        return frame if exact else _to_floats(frame)


class _Conditions:
    """The conditions of a query on one record type, and the values of their parameters."""

    def __init__(self, record_type: str) -> None:
        self.values: list[Any] = []
        self._time_column = event_time_column(record_type)
        self._conditions: list[str] = []

    def where(self) -> str:
        return f"where {' and '.join(self._conditions)}" if self._conditions else ""

    def add_symbols(self, symbols: Symbols) -> None:
        if symbols is not None:
            names = [symbols] if isinstance(symbols, str) else list(symbols)
            symbol_list = [normalize_symbol(name) for name in names]
            self._conditions.append("(list_contains(?, symbol) or list_contains(?, instrument_id))")
            self.values += [symbol_list, symbol_list]

    def add_equal(self, column: str, value: str | None) -> None:
        if value is not None:
            self._conditions.append(f"{column} = ?")
            self.values.append(value)

    def add_bound(self, name: str, value: TimeLike, comparison: Literal[">=", "<"]) -> None:
        """Add a bound in time, and one on ``date``, the folder's date, so that files are skipped."""
        if value is None:
            return
        bound = _parse_bound(value, name)
        if isinstance(bound, datetime):
            day = bound.date()
            nanoseconds = (bound - _EPOCH) // timedelta(microseconds=1) * 1000
            self._conditions.append(f"{self._time_column} {comparison} ?")
            self.values.append(nanoseconds)
        else:
            day = bound
            self._conditions.append(f"session_date {comparison} ?")
            self.values.append(bound)
        if comparison == ">=":
            self._conditions.append("date >= ?")
            self.values.append(day - _BEFORE_BOUND)
        else:
            self._conditions.append("date <= ?")
            self.values.append(day + _AFTER_BOUND)


def open_lake(
    uri: str | Path, *, calendar: str = "24/7", sessions: str | Path | None = None, memory: str = "2GB"
) -> Lake:
    """Open a lake for reading; nothing in it changes.

    Parameters
    ----------
    uri
        A folder, or ``gs://bucket/prefix``.
    calendar
        Trading calendar for instruments of unknown market: ``XNYS``, or ``24/7``.
    sessions
        Settings file whose ``[calendar.…]`` change the sessions of markets; only these settings are used.
    memory
        Memory limit of a query, above which it spills to disk.

    Raises
    ------
    UsageError
        There is no lake, or the settings file is invalid.

    Examples
    --------
    >>> lake = tickerlake.open_lake("./lake")  # doctest: +SKIP
    >>> lake.bars(["AAPL", "MSFT"], "1d", start="2012-01-01").to_pandas()  # doctest: +SKIP
    """
    return Lake(str(uri), calendar=calendar, sessions=sessions, memory=memory)


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
                f"{name}={value!r} is neither a date nor a time.", "Write 2026-11-27 or 2026-11-27T14:30Z."
            ) from error
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return value


def _to_floats(frame: pl.DataFrame) -> pl.DataFrame:
    # by way of the scaled integer: casting a decimal directly is off by one ulp for some values
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
        first = without_factor.row(0, named=True)
        raise UsageError(
            f"{without_factor.height:,} of {unadjusted.height:,} bars have no adjustment factor, the first "
            f"being {first['instrument_id']} on {first['session_date']}.",
            "Leave out `adjusted`, or select bars whose source has adj_factor or adj_close.",
        )
    return unadjusted.with_columns(pl.col(name) * factor for name in _PRICES)
