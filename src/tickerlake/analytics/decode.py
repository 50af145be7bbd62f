"""Kafka records → rows to build bars from; records that cannot be used are rejected with a reason.

A trade and a closed bar become the same kind of row: start and end in event time, prices, volume, notional.
So bars are built from trades and from finer bars in the same way.
"""

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import msgspec
import polars as pl

from tickerlake.analytics.condition_codes import COUNTS, SETS_ALL
from tickerlake.analytics.sale_conditions import Eligibility, eligibility
from tickerlake.analytics.types import EARLIEST_NS, LATEST_NS, TRADES
from tickerlake.model.duration import DAY_NS, MS_NS, UNIT_NS
from tickerlake.model.interval import interval_ns
from tickerlake.model.json import decode_utf8, find_schema, parse_documents
from tickerlake.model.reject import RejectReason
from tickerlake.model.schema import BAR, DECIMAL, RANGE_PRICES, SCHEMAS, TRADE

_TEXT, _INT, _BOOL = pl.String(), pl.Int64(), pl.Boolean()
_PRICES: Final = ("open", "high", "low", "close")
_COMMON_COLUMNS: Final[dict[str, pl.DataType]] = {"schema": _TEXT, "instrument_id": _TEXT, "ts_recv_ns": _INT}
_TRADE_SCHEMA: Final = pl.Schema(
    {**_COMMON_COLUMNS, "ts_event_ns": _INT, "price": _TEXT, "size": _TEXT, "correction": _TEXT}
)
_TRADE_SCHEMA_WITH_CONDITIONS: Final = pl.Schema({**_TRADE_SCHEMA, "conditions": _TEXT})
"""As text, a list is its JSON: a third of the time of a list of texts."""
_BAR_SCHEMA: Final = pl.Schema(
    {
        **_COMMON_COLUMNS,
        "interval": _TEXT,
        "ts_open_ns": _INT,
        "ts_close_ns": _INT,
        "session_date": _TEXT,
        **dict.fromkeys((*_PRICES, "volume", "vwap"), _TEXT),
        "trade_count": _INT,
        "is_final": _BOOL,
        "is_partial": _BOOL,
        "revision": _INT,
        "source": _TEXT,
    }
)
_MAX_PRICE: Final = 10**10
_MAX_SIZE: Final = 10**18
_MAX_NOTIONAL: Final = 10**17
"""A bar can add up 10^11 records of the largest size, and 1,700 of the largest notional, before a sum of
128 bits (in units of 10^-9 and 10^-18) overflows."""

UNBOUNDED: Final = 10**12
"""Beyond any price: the high of a row of which only the close is known; its low is the negative of it.

No price is outside this range, so a bar that such a row is part of has it as well.
"""

_INTERVAL_PATTERN: Final = r"^[1-9][0-9]{0,4}[smhdw]$"
_UNIT_LENGTH_NS: Final = {unit: float(length) for unit, length in UNIT_NS.items() if len(unit) == 1}
_MAX_INTERVAL_NS: Final = 400.0 * DAY_NS
_MAX_LENGTH_RATIO: Final = 2.0
"""Relative to the interval: a day can have 25 hours, but one bar must not move the watermark by a year."""

ROW_SCHEMA: Final = pl.Schema(
    [
        *((name, _INT) for name in ("partition", "offset", "timestamp_ms")),
        *((name, _TEXT) for name in ("instrument_id", "input_interval")),
        *((name, _INT) for name in ("start_ns", "end_ns", "session")),
        *((name, DECIMAL) for name in ("open", "high", "low", "close", "volume")),
        ("notional", pl.Int128()),
        *((name, _INT) for name in ("count", "recv_ns", "sets")),
    ]
)
"""Columns of rows: ``input_interval`` is `TRADES` or the interval of a bar; ``start_ns`` decides which bar a
row belongs to, and ``end_ns`` is its watermark (a trade's time for both; open and close time of a bar);
``session`` is the session date of a bar (days since 1970-01-01, null for trades); ``notional`` is price ×
volume in units of 10^-18; ``sets`` has the flags of `condition_codes`. A row of which only the close is known
is `UNBOUNDED`, and opens at its close. A trade that does not count has a null volume."""

REJECT_SCHEMA: Final = pl.Schema(
    {
        "partition": pl.Int64,
        "offset": pl.Int64,
        "timestamp_ms": pl.Int64,
        "instrument_id": pl.String,
        "reason": pl.String,
        "value": pl.Binary,
    }
)
"""Columns of rejected records."""

NO_REJECTS: Final = REJECT_SCHEMA.to_frame()
_NO_ROWS: Final = ROW_SCHEMA.to_frame()


@dataclass(frozen=True, slots=True)
class Decoded:
    """Rows (`ROW_SCHEMA`), rejects (`REJECT_SCHEMA`), skipped records by reason, and eligibility."""

    rows: pl.DataFrame
    rejects: pl.DataFrame
    skipped: Counter[str] = field(default_factory=Counter)
    conditions: Eligibility = field(default_factory=Eligibility)


def decode(
    batch: pl.DataFrame,
    *,
    source_tag: str = "",
    max_ahead_ns: int | None = None,
    use_conditions: bool = True,
) -> Decoded:
    """Decode records.

    Parameters
    ----------
    batch
        Columns partition, offset, timestamp_ms and value.
    source_tag
        Bars with this ``source`` are the job's own results and skipped; empty for none.
    max_ahead_ns
        How far a record's time may be ahead of its Kafka timestamp; None for no limit.
    use_conditions
        True to leave trades out by their sale conditions.
    """
    skipped: Counter[str] = Counter()
    if batch.is_empty():
        return Decoded(_NO_ROWS, NO_REJECTS)
    # any int64 can arrive, and it becomes nanoseconds
    batch = batch.with_columns(pl.col("timestamp_ms").clip(EARLIEST_NS // MS_NS, LATEST_NS // MS_NS))
    text = decode_utf8(batch.get_column("value"))
    is_trade = _begins_with_schema(text, TRADE)
    if is_trade.all():
        rows, rejects, conditions = _decode_trades(batch, text, max_ahead_ns, use_conditions=use_conditions)
    else:
        is_bar = _begins_with_schema(text, BAR)
        is_trade, is_bar, others = _classify(batch, is_trade, is_bar, skipped)
        trades, trade_rejects, conditions = _decode_trades(
            batch.filter(is_trade), text.filter(is_trade), max_ahead_ns, use_conditions=use_conditions
        )
        parts = [
            (trades, trade_rejects),
            _decode_bars(batch.filter(is_bar), text.filter(is_bar), source_tag, max_ahead_ns, skipped),
            (_NO_ROWS, others),
        ]
        rows = pl.concat([rows for rows, _ in parts]).sort("partition", "offset")
        rejects = pl.concat([rejects for _, rejects in parts])
    rejects = rejects.sort("partition", "offset") if rejects.height else NO_REJECTS
    return Decoded(rows, rejects, skipped, conditions)


def reject(batch: pl.DataFrame, reason: str | pl.Expr) -> pl.DataFrame:
    """Return records as rejects, without those whose reason is null."""
    reason_column = pl.lit(reason) if isinstance(reason, str) else reason
    names = [name for name in REJECT_SCHEMA if name != "reason"]
    missing = [
        pl.lit(None, dtype=REJECT_SCHEMA[name]).alias(name) for name in names if name not in batch.columns
    ]
    return (
        batch.with_columns(*missing, reason=reason_column).drop_nulls("reason").select(REJECT_SCHEMA.names())
    )


def can_build(interval: str, input_interval: str) -> bool:
    """Return whether bars of an interval can be built from trades, or from bars of the input interval."""
    return input_interval == TRADES or interval_ns(interval) > interval_ns(input_interval)


def _parse(batch: pl.DataFrame, text: pl.Series, schema: pl.Schema) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the fields of records with their offsets, and the rejects that are not JSON."""
    origin = batch.select("partition", "offset", "timestamp_ms", "value")
    parsed, is_valid = parse_documents(text, schema)
    if is_valid.all():
        return pl.concat([origin, parsed], how="horizontal"), NO_REJECTS
    return pl.concat([origin.filter(is_valid), parsed], how="horizontal"), reject(
        origin.filter(~is_valid), RejectReason.NOT_JSON
    )


def _decode_trades(
    batch: pl.DataFrame, text: pl.Series, max_ahead_ns: int | None, *, use_conditions: bool
) -> tuple[pl.DataFrame, pl.DataFrame, Eligibility]:
    conditions = Eligibility()
    if batch.is_empty():
        return _NO_ROWS, NO_REJECTS, conditions
    parsed, not_json = _parse(batch, text, _TRADE_SCHEMA_WITH_CONDITIONS if use_conditions else _TRADE_SCHEMA)
    parsed = parsed.with_columns(pl.col("price", "size").cast(DECIMAL, strict=False))
    valid, rejects = _split_rejects(parsed, _trade_reason(max_ahead_ns), not_json)
    if use_conditions:
        conditions = eligibility(valid.get_column("conditions"), valid.get_column("instrument_id"))
    sets = pl.lit(SETS_ALL if conditions.sets is None else conditions.sets, dtype=pl.Int64)
    price, size, time = pl.col("price"), pl.col("size"), pl.col("ts_event_ns")
    rows = valid.select(
        "partition",
        "offset",
        _timestamp_or(time),
        "instrument_id",
        input_interval=pl.lit(TRADES),
        start_ns=time,
        end_ns=time,
        session=pl.lit(None, dtype=pl.Int64),
        open=price,
        high=price,
        low=price,
        close=price,
        volume=size,
        notional=price.to_physical() * size.to_physical(),
        count=pl.lit(1, dtype=pl.Int64),
        recv_ns=pl.col("ts_recv_ns").fill_null(time),
        sets=sets,
    )
    if conditions.sets is not None and (conditions.sets & COUNTS == 0).any():
        counts = pl.col("sets") & COUNTS != 0
        rows = rows.with_columns(
            volume=pl.when(counts).then("volume"),
            notional=pl.when(counts).then("notional").otherwise(0),
            count=counts.cast(pl.Int64),
        )
    return rows, rejects, conditions


def _trade_reason(max_ahead_ns: int | None) -> pl.Expr:
    """Return the reason to reject a trade, null for none."""
    price, size, time = pl.col("price"), pl.col("size"), pl.col("ts_event_ns")
    notional = price.cast(pl.Float64) * size.cast(pl.Float64)
    return (
        pl.when(pl.col("schema").ne_missing(TRADE) | pl.col("instrument_id").is_null())
        .then(pl.lit(RejectReason.INSTRUMENT_INVALID))
        .when(time.is_null())
        .then(pl.lit(RejectReason.TIME_MISSING))
        .when(_is_too_far_ahead(time, max_ahead_ns))
        .then(pl.lit(RejectReason.FUTURE_TIMESTAMP))
        .when(~time.is_between(EARLIEST_NS, LATEST_NS))
        .then(pl.lit(RejectReason.OUT_OF_RANGE))
        .when(pl.col("correction").is_in(["cancel", "correct"]))
        .then(pl.lit(RejectReason.CORRECTION))
        .when(price.is_null())
        .then(pl.lit(RejectReason.PRICE_MISSING))
        .when(price <= 0)
        .then(pl.lit(RejectReason.PRICE_NONPOSITIVE))
        .when(size.is_null())
        .then(pl.lit(RejectReason.SIZE_MISSING))
        .when(size < 0)
        .then(pl.lit(RejectReason.VOLUME_NEGATIVE))
        .when((price > _MAX_PRICE) | (size > _MAX_SIZE) | (notional > _MAX_NOTIONAL))
        .then(pl.lit(RejectReason.OUT_OF_RANGE))
    )


def _decode_bars(
    batch: pl.DataFrame, text: pl.Series, source_tag: str, max_ahead_ns: int | None, skipped: Counter[str]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    if batch.is_empty():
        return _NO_ROWS, NO_REJECTS
    parsed, not_json = _parse(batch, text, _BAR_SCHEMA)
    parsed = parsed.with_columns(
        pl.col(*_PRICES, "volume", "vwap").cast(DECIMAL, strict=False),
        pl.col("session_date").str.to_date("%Y-%m-%d", strict=False),
        # before the cast: a text that is no number is not a price that is absent
        has_range=pl.any_horizontal(pl.col(*RANGE_PRICES).is_not_null()),
    )
    parsed = _skip_bars(parsed, source_tag, skipped)
    valid, rejects = _split_rejects(parsed, _bar_reason(max_ahead_ns), not_json)
    volume = pl.col("volume")
    close = pl.col("close")
    typical = (pl.col("high") + pl.col("low") + close).to_physical() // 3
    rows = valid.select(
        "partition",
        "offset",
        _timestamp_or(pl.col("ts_close_ns")),
        "instrument_id",
        input_interval="interval",
        start_ns="ts_open_ns",
        end_ns="ts_close_ns",
        session=pl.col("session_date").to_physical().cast(pl.Int64),
        open=pl.coalesce("open", "close"),
        high=pl.col("high").fill_null(UNBOUNDED),
        low=pl.col("low").fill_null(-UNBOUNDED),
        close="close",
        volume="volume",
        notional=pl.coalesce(pl.col("vwap").to_physical(), typical, close.to_physical())
        * volume.to_physical().fill_null(0),
        count=pl.col("trade_count").fill_null(0),
        recv_ns=pl.col("ts_recv_ns").fill_null(pl.col("ts_close_ns")),
        sets=pl.lit(SETS_ALL, dtype=pl.Int64),
    )
    return rows.cast(dict(ROW_SCHEMA)), rejects  # type: ignore[arg-type]


def _skip_bars(parsed: pl.DataFrame, source_tag: str, skipped: Counter[str]) -> pl.DataFrame:
    """Drop valid bars that must not be used, and count them."""
    conditions = {"own bars": pl.col("source").eq_missing(source_tag)} if source_tag else {}
    conditions |= {
        "unfinished bars": ~pl.col("is_final").fill_null(value=True),
        "partial bars": pl.col("is_partial").fill_null(value=False),
        "restated bars": pl.col("revision").fill_null(0) > 0,
    }
    for name, condition in conditions.items():
        retained = parsed.filter(~condition)
        skipped[name] += parsed.height - retained.height
        parsed = retained
    return parsed


def _bar_reason(max_ahead_ns: int | None) -> pl.Expr:
    """Return the reason to reject a bar, null for none."""
    lowest, highest = pl.min_horizontal(_PRICES), pl.max_horizontal(_PRICES)
    volume, vwap = pl.col("volume"), pl.col("vwap")
    max_price = pl.max_horizontal("high", "close", "vwap").cast(pl.Float64)
    lacks_price = pl.col("close").is_null() | (
        pl.col("has_range") & pl.any_horizontal(pl.col(*RANGE_PRICES).is_null())
    )
    open_ns, close_ns = pl.col("ts_open_ns"), pl.col("ts_close_ns")
    # as floats: the difference of any two int64 fits
    length_ns = close_ns.cast(pl.Float64) - open_ns.cast(pl.Float64)
    session_ns = pl.col("session_date").to_physical().cast(pl.Float64) * DAY_NS
    return (
        pl.when(pl.col("schema").ne_missing(BAR) | pl.col("instrument_id").is_null())
        .then(pl.lit(RejectReason.INSTRUMENT_INVALID))
        .when(~pl.col("interval").str.contains(_INTERVAL_PATTERN).fill_null(value=False))
        .then(pl.lit(RejectReason.INTERVAL_UNKNOWN))
        .when(_interval_length_ns() > _MAX_INTERVAL_NS)
        .then(pl.lit(RejectReason.INTERVAL_UNKNOWN))
        .when(pl.any_horizontal(pl.col("ts_open_ns", "ts_close_ns", "session_date").is_null()))
        .then(pl.lit(RejectReason.TIME_MISSING))
        .when(close_ns <= open_ns)
        .then(pl.lit(RejectReason.TIME_MISSING))
        .when(length_ns > _interval_length_ns() * _MAX_LENGTH_RATIO)
        .then(pl.lit(RejectReason.TIMESTAMP_OFF_GRID))
        .when(_is_too_far_ahead(open_ns, max_ahead_ns))
        .then(pl.lit(RejectReason.FUTURE_TIMESTAMP))
        .when(
            (open_ns < EARLIEST_NS) | (close_ns > LATEST_NS) | ~session_ns.is_between(EARLIEST_NS, LATEST_NS)
        )
        .then(pl.lit(RejectReason.OUT_OF_RANGE))
        .when(lacks_price)
        .then(pl.lit(RejectReason.PRICE_MISSING))
        .when(lowest <= 0)
        .then(pl.lit(RejectReason.PRICE_NONPOSITIVE))
        .when(pl.col("high") < pl.col("low"))
        .then(pl.lit(RejectReason.OHLC_HIGH_LT_LOW))
        .when((pl.col("low") > lowest) | (pl.col("high") < highest))
        .then(pl.lit(RejectReason.OHLC_OPEN_CLOSE_OUTSIDE_RANGE))
        .when(volume < 0)
        .then(pl.lit(RejectReason.VOLUME_NEGATIVE))
        .when(
            (max_price > _MAX_PRICE)
            | (vwap < 0)
            | (volume > _MAX_SIZE)
            | (max_price * volume.cast(pl.Float64).fill_null(0.0) > _MAX_NOTIONAL)
        )
        .then(pl.lit(RejectReason.OUT_OF_RANGE))
    )


def _is_too_far_ahead(time: pl.Expr, max_ahead_ns: int | None) -> pl.Expr:
    if max_ahead_ns is None:
        return pl.lit(value=False)
    # without a timestamp there is nothing to compare with
    has_timestamp = pl.col("timestamp_ms") > 0
    return has_timestamp & (time > pl.col("timestamp_ms") * MS_NS + min(max_ahead_ns, LATEST_NS))


def _timestamp_or(time: pl.Expr) -> pl.Expr:
    """Return the Kafka timestamp, or a record's own time if its producer set none."""
    timestamp_ms = pl.col("timestamp_ms")
    return pl.when(timestamp_ms > 0).then(timestamp_ms).otherwise(time // MS_NS).alias("timestamp_ms")


def _interval_length_ns() -> pl.Expr:
    interval = pl.col("interval")
    unit_ns = interval.str.tail(1).replace_strict(_UNIT_LENGTH_NS, default=None, return_dtype=pl.Float64)
    return interval.str.head(-1).cast(pl.Float64, strict=False) * unit_ns


def _split_rejects(
    parsed: pl.DataFrame, reason: pl.Expr, earlier_rejects: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the records without a reason, and the rejects."""
    reasons = parsed.select(reason.alias("reason")).get_column("reason")
    if not reasons.is_not_null().any():
        return parsed, earlier_rejects
    rejects = reject(parsed.with_columns(reasons), pl.col("reason"))
    return parsed.filter(reasons.is_null()), pl.concat([earlier_rejects, rejects])


def _begins_with_schema(text: pl.Series, schema: str) -> pl.Series:
    """Return which documents name a schema first, as most do; the others take longer to classify."""
    pattern = rf'^\{{\s?"schema":\s?"{re.escape(schema)}"'
    return text.str.contains(pattern).fill_null(value=False)


def _classify(
    batch: pl.DataFrame, is_trade: pl.Series, is_bar: pl.Series, skipped: Counter[str]
) -> tuple[pl.Series, pl.Series, pl.DataFrame]:
    """Find the trades and bars among all other records, and count what is skipped.

    Returns
    -------
    is_trade, is_bar, rejects
        Which records are trades and bars, and the rejects that are not JSON.
    """
    positions = (~(is_trade | is_bar)).arg_true()
    names = [_schema_name(value) for value in batch.get_column("value").gather(positions)]
    found = {
        schema: [position for position, name in zip(positions, names, strict=True) if name == schema]
        for schema in (TRADE, BAR, None)
    }
    skipped.update(name for name in names if name is not None and name not in found)
    return (
        is_trade.scatter(found[TRADE], values=True),
        is_bar.scatter(found[BAR], values=True),
        reject(batch[found[None]], RejectReason.NOT_JSON),
    )


def _schema_name(value: bytes | None) -> str | None:
    """Return the schema of a record, or how it is counted; None if it is not JSON."""
    if value is None:
        return "tombstones"
    try:
        value.decode()
        schema = find_schema(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return schema if schema in SCHEMAS else "unknown schema"
