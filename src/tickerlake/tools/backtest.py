"""Files → the alerts that rules would have raised, without Kafka, computed by the same engine."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from tickerlake.analytics.engine import Engine
from tickerlake.analytics.sessions import Sessions
from tickerlake.analytics.types import EngineOptions, Output, Watcher
from tickerlake.model.alert import Alert
from tickerlake.model.duration import DAY_NS, MS_NS
from tickerlake.model.json import to_json_series
from tickerlake.parallel import prefetch
from tickerlake.sources.source import Source

_END_OF_TIME_NS: Final = (1 << 62) - 1
"""After every record, with room to add a grace period."""


@dataclass(slots=True)
class BacktestResult:
    """Totals of a backtest.

    ``symbol_days`` counts the sessions with records per instrument; ``rejected_rows`` are rows of files that
    are not records, ``rejected_records`` counts unusable records by reason, ``fired`` counts alerts by rule.
    ``unscheduled`` counts records and days without a session by market, ``notes`` is what the user should
    know of them. ``left_out`` counts trades by the sale condition that leaves them out of prices,
    ``unknown_conditions`` those with an unknown code.
    """

    records: int = 0
    rejected_rows: int = 0
    bars: int = 0
    symbol_days: int = 0
    symbols: set[str] = field(default_factory=set)
    rejected_records: Counter[str] = field(default_factory=Counter)
    fired: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    unscheduled: dict[str, tuple[int, int]] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    unknown_conditions: Counter[str] = field(default_factory=Counter)


def backtest(
    source: Source,
    options: EngineOptions,
    sessions_of: Callable[[str], Sessions],
    watcher: Watcher,
    result: BacktestResult,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[list[Alert]]:
    """Yield the alerts of each batch of a source, in order; at the end all bars are closed.

    The Kafka timestamp of each record is its event time.

    Parameters
    ----------
    source
        The records.
    options
        Bars and indicators.
    sessions_of
        Returns the sessions of a market by its ISO 10383 code.
    watcher
        Raises the alerts.
    result
        Updated while it runs.
    should_stop
        Checked before each batch; True raises KeyboardInterrupt.
    """
    engine = Engine(options, sessions_of, watcher)
    seen: set[tuple[str, int]] = set()
    for batch in prefetch(source.batches()):
        if should_stop():
            raise KeyboardInterrupt
        records = batch.records
        result.rejected_rows += len(batch.rejects)
        if records.height:
            frame = _as_messages(records, result.records)
            result.records += records.height
            yield _add_output(engine.process(frame), result)
            seen.update(_session_dates(records, engine))
            result.symbol_days = len(seen)
            result.symbols.update(records.get_column("symbol").unique())
    yield _add_output(engine.close_idle(0, _END_OF_TIME_NS, 0), result)
    result.notes = engine.instruments.unscheduled.take_notes()
    result.unscheduled = engine.instruments.unscheduled.totals()


def _as_messages(records: pl.DataFrame, first_offset: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "partition": pl.repeat(0, records.height, dtype=pl.Int64, eager=True),
            "offset": pl.int_range(first_offset, first_offset + records.height, eager=True),
            "timestamp_ms": records.select(_event_time(records) // MS_NS).to_series(),
            "value": to_json_series(records).cast(pl.Binary),
        }
    )


def _session_dates(records: pl.DataFrame, engine: Engine) -> Iterator[tuple[str, int]]:
    """Return instruments with the dates of their sessions, in days since 1970-01-01."""
    rows = records.join(engine.instruments.index.select("instrument_id", "row"), on="instrument_id")
    if "ts_open_ns" in rows.columns:
        is_daily = pl.col("ts_close_ns") - pl.col("ts_open_ns") >= DAY_NS
        daily = rows.filter(is_daily).select("instrument_id", pl.col("session_date").cast(pl.Int32)).unique()
        yield from daily.iter_rows()
        rows = rows.filter(~is_daily)
    start_ns = rows.get_column("ts_open_ns" if "ts_open_ns" in rows.columns else "ts_event_ns").to_numpy()
    days = engine.instruments.sessions.lookup(rows.get_column("row").to_numpy(), start_ns)[0]
    yield from rows.select("instrument_id").with_columns(day=pl.Series(days)).unique().iter_rows()


def _event_time(records: pl.DataFrame) -> pl.Expr:
    return pl.col("ts_event_ns" if "ts_event_ns" in records.columns else "ts_close_ns")


def _add_output(output: Output, result: BacktestResult) -> list[Alert]:
    alerts = [raised.alert for raised in output.alerts]
    result.bars += output.bars.height
    result.left_out += output.left_out
    result.unknown_conditions += output.unknown_conditions
    result.rejected_records.update(output.rejects.get_column("reason"))
    result.fired.update(alert.rule_id for alert in alerts if alert.state == "fired")
    return alerts
