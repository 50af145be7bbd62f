"""Kafka records → rows to build bars of; what can't be one is refused with a reason.

A trade and a finished bar become the same kind of row: where it lies in time, up to when it tells, prices,
volume and notional. So bars are built alike of trades and of finer bars.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import msgspec
import polars as pl

from tickerlake.model.interval import length_ns
from tickerlake.model.json import read_documents, schema_of, to_text
from tickerlake.model.quality import (
    OHLC_HIGH_LT_LOW,
    OHLC_OPEN_CLOSE_OUTSIDE_RANGE,
    PRICE_MISSING,
    PRICE_NONPOSITIVE,
    SIZE_MISSING,
    VOLUME_NEGATIVE,
)
from tickerlake.model.schema import BAR, DECIMAL, TRADE

NOT_JSON: Final = "not_json"
TIME_MISSING: Final = "time_missing"
FUTURE_TIMESTAMP: Final = "future_timestamp"
CORRECTION: Final = "correction"
OUT_OF_RANGE: Final = "out_of_range"
INTERVAL_UNKNOWN: Final = "interval_unknown"
INSTRUMENT_INVALID: Final = "instrument_invalid"
INTERVAL_CHANGED: Final = "interval_changed"
TIMESTAMP_OFF_GRID: Final = "timestamp_off_grid"
LATE: Final = "late"

TRADES: Final = ""
"""The feed of an instrument that sends trades; of one that sends bars it is their interval."""

_TEXT, _INT, _BOOL = pl.String(), pl.Int64(), pl.Boolean()
_PRICES: Final = ("open", "high", "low", "close")
_COMMON: Final[dict[str, pl.DataType]] = {"schema": _TEXT, "instrument_id": _TEXT, "ts_recv_ns": _INT}
_TRADE: Final = pl.Schema(
    {**_COMMON, "ts_event_ns": _INT, "price": _TEXT, "size": _TEXT, "correction": _TEXT}
)
_BAR: Final = pl.Schema(
    {
        **_COMMON,
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
_NANO: Final = 1_000_000_000
_LARGEST_PRICE: Final = 10**10
# of the largest, a bar can hold 100 billion and 1,700 before their sums are too long
_LARGEST_SIZE: Final = 10**18
_LARGEST_NOTIONAL: Final = 10**17
_INTERVAL: Final = r"^[1-9][0-9]{0,4}[smhdw]$"
_UNITS_S: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_LONGEST: Final = 2.0
"""In lengths of its interval: a day may have 25 hours, but a bar must not tell of next year."""

ROWS: Final = pl.Schema(
    [
        *((name, _INT) for name in ("partition", "offset", "timestamp_ms")),
        *((name, _TEXT) for name in ("instrument_id", "feed")),
        *((name, _INT) for name in ("start_ns", "mark_ns", "session")),
        *((name, DECIMAL) for name in ("open", "high", "low", "close", "volume")),
        ("notional", pl.Int128()),
        *((name, _INT) for name in ("count", "recv_ns")),
    ]
)
"""Columns of rows: ``start_ns`` says in which bar a row lies and ``mark_ns`` up to when it tells (both are a
trade's time; a bar's edges), ``session`` the day of a bar (days since 1970-01-01, null for trades),
``notional`` price times volume in units of 10^-18."""

REFUSED: Final = pl.Schema(
    {
        "partition": pl.Int64,
        "offset": pl.Int64,
        "timestamp_ms": pl.Int64,
        "instrument_id": pl.String,
        "reason": pl.String,
        "value": pl.Binary,
    }
)
"""Columns of refused records."""


_NO_ROWS: Final = ROWS.to_frame()
_NO_REFUSED: Final = REFUSED.to_frame()


@dataclass(frozen=True, slots=True)
class Decoded:
    """Rows, what was refused, and how many records are none of our business, by what they are."""

    rows: pl.DataFrame
    refused: pl.DataFrame
    ignored: Counter[str] = field(default_factory=Counter)


def decode(batch: pl.DataFrame, *, own: str = "", ahead_ns: int | None = None) -> Decoded:
    """Read records.

    Parameters
    ----------
    batch
        Columns partition, offset, timestamp_ms and value.
    own
        The ``source`` of bars that this job wrote itself, and does not read.
    ahead_ns
        By how much a record may be ahead of the time at which Kafka took it; None: by any.
    """
    ignored: Counter[str] = Counter()
    if batch.is_empty():
        return Decoded(_NO_ROWS, _NO_REFUSED)
    text = to_text(batch.get_column("value"))
    is_trade = text.str.contains('"trade.v1"', literal=True).fill_null(value=False)
    if is_trade.all():
        rows, refused = _trades(batch, text, ahead_ns)
    else:
        is_bar = text.str.contains('"bar.v1"', literal=True).fill_null(value=False) & ~is_trade
        parts = [
            _trades(batch.filter(is_trade), text.filter(is_trade), ahead_ns),
            _bars(batch.filter(is_bar), text.filter(is_bar), own, ahead_ns, ignored),
            _others(batch.filter(~is_trade & ~is_bar), ignored),
        ]
        rows = pl.concat([rows for rows, _ in parts]).sort("partition", "offset")
        refused = pl.concat([refused for _, refused in parts])
    return Decoded(rows, refused.sort("partition", "offset") if refused.height else _NO_REFUSED, ignored)


def refuse(batch: pl.DataFrame, reason: str | pl.Expr) -> pl.DataFrame:
    """Return records as refused ones; those whose reason is null are left out."""
    said = pl.lit(reason) if isinstance(reason, str) else reason
    names = [name for name in REFUSED if name != "reason"]
    missing = [pl.lit(None, dtype=REFUSED[name]).alias(name) for name in names if name not in batch.columns]
    return batch.with_columns(*missing, reason=said).drop_nulls("reason").select(REFUSED.names())


def _parsed(batch: pl.DataFrame, text: pl.Series, schema: pl.Schema) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the fields of records beside their places, and the records that are not JSON."""
    place = batch.select("partition", "offset", "timestamp_ms", "value")
    read, good = read_documents(text, schema)
    if good.all():
        return pl.concat([place, read], how="horizontal"), _NO_REFUSED
    return pl.concat([place.filter(good), read], how="horizontal"), refuse(place.filter(~good), NOT_JSON)


def _trades(batch: pl.DataFrame, text: pl.Series, ahead_ns: int | None) -> tuple[pl.DataFrame, pl.DataFrame]:
    if batch.is_empty():
        return _NO_ROWS, _NO_REFUSED
    read, broken = _parsed(batch, text, _TRADE)
    read = read.with_columns(pl.col("price", "size").cast(DECIMAL, strict=False))
    price, size, time = pl.col("price"), pl.col("size"), pl.col("ts_event_ns")
    notional = price.cast(pl.Float64) * size.cast(pl.Float64)
    reason = (
        pl.when(pl.col("schema").ne_missing(TRADE) | pl.col("instrument_id").is_null())
        .then(pl.lit(INSTRUMENT_INVALID))
        .when(time.is_null())
        .then(pl.lit(TIME_MISSING))
        .when(_ahead(time, ahead_ns))
        .then(pl.lit(FUTURE_TIMESTAMP))
        .when(pl.col("correction").is_in(["cancel", "correct"]))
        .then(pl.lit(CORRECTION))
        .when(price.is_null())
        .then(pl.lit(PRICE_MISSING))
        .when(price <= 0)
        .then(pl.lit(PRICE_NONPOSITIVE))
        .when(size.is_null())
        .then(pl.lit(SIZE_MISSING))
        .when(size < 0)
        .then(pl.lit(VOLUME_NEGATIVE))
        .when((price > _LARGEST_PRICE) | (size > _LARGEST_SIZE) | (notional > _LARGEST_NOTIONAL))
        .then(pl.lit(OUT_OF_RANGE))
    )
    good, refused = _separate(read, reason, broken)
    rows = good.select(
        "partition",
        "offset",
        "timestamp_ms",
        "instrument_id",
        feed=pl.lit(TRADES),
        start_ns=time,
        mark_ns=time,
        session=pl.lit(None, dtype=pl.Int64),
        open=price,
        high=price,
        low=price,
        close=price,
        volume=size,
        notional=price.to_physical() * size.to_physical(),
        count=pl.lit(1, dtype=pl.Int64),
        recv_ns=pl.col("ts_recv_ns").fill_null(time),
    )
    return rows, refused


def _bars(
    batch: pl.DataFrame, text: pl.Series, own: str, ahead_ns: int | None, ignored: Counter[str]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    if batch.is_empty():
        return _NO_ROWS, _NO_REFUSED
    read, broken = _parsed(batch, text, _BAR)
    read = read.with_columns(
        pl.col(*_PRICES, "volume", "vwap").cast(DECIMAL, strict=False),
        pl.col("session_date").str.to_date("%Y-%m-%d", strict=False),
    )
    if own:
        mine = read.get_column("source").eq_missing(own)
        ignored["own bars"] += int(mine.sum())
        read = read.filter(~mine)
    for name, unwanted in (
        ("unfinished bars", ~pl.col("is_final").fill_null(value=True)),
        ("partial bars", pl.col("is_partial").fill_null(value=False)),
        ("restated bars", pl.col("revision").fill_null(0) > 0),
    ):
        kept = read.filter(~unwanted)
        ignored[name] += read.height - kept.height
        read = kept
    lowest, highest = pl.min_horizontal(_PRICES), pl.max_horizontal(_PRICES)
    volume, vwap = pl.col("volume"), pl.col("vwap")
    dearest = pl.max_horizontal("high", "vwap").cast(pl.Float64)
    open_ns, close_ns = pl.col("ts_open_ns"), pl.col("ts_close_ns")
    reason = (
        pl.when(pl.col("schema").ne_missing(BAR) | pl.col("instrument_id").is_null())
        .then(pl.lit(INSTRUMENT_INVALID))
        .when(~pl.col("interval").str.contains(_INTERVAL).fill_null(value=False))
        .then(pl.lit(INTERVAL_UNKNOWN))
        .when(pl.any_horizontal(pl.col("ts_open_ns", "ts_close_ns", "session_date").is_null()))
        .then(pl.lit(TIME_MISSING))
        .when(close_ns <= open_ns)
        .then(pl.lit(TIME_MISSING))
        .when(close_ns.cast(pl.Float64) - open_ns.cast(pl.Float64) > _length_ns("interval") * _LONGEST)
        .then(pl.lit(TIMESTAMP_OFF_GRID))
        .when(_ahead(open_ns, ahead_ns))
        .then(pl.lit(FUTURE_TIMESTAMP))
        .when(pl.any_horizontal(pl.col(*_PRICES).is_null()))
        .then(pl.lit(PRICE_MISSING))
        .when(lowest <= 0)
        .then(pl.lit(PRICE_NONPOSITIVE))
        .when(pl.col("high") < pl.col("low"))
        .then(pl.lit(OHLC_HIGH_LT_LOW))
        .when((pl.col("low") > lowest) | (pl.col("high") < highest))
        .then(pl.lit(OHLC_OPEN_CLOSE_OUTSIDE_RANGE))
        .when(volume < 0)
        .then(pl.lit(VOLUME_NEGATIVE))
        .when(
            (dearest > _LARGEST_PRICE)
            | (vwap < 0)
            | (volume > _LARGEST_SIZE)
            | (dearest * volume.cast(pl.Float64).fill_null(0.0) > _LARGEST_NOTIONAL)
        )
        .then(pl.lit(OUT_OF_RANGE))
    )
    good, refused = _separate(read, reason, broken)
    typical = (pl.col("high") + pl.col("low") + pl.col("close")).to_physical() // 3
    rows = good.select(
        "partition",
        "offset",
        "timestamp_ms",
        "instrument_id",
        feed="interval",
        start_ns="ts_open_ns",
        mark_ns="ts_close_ns",
        session=pl.col("session_date").to_physical().cast(pl.Int64),
        open="open",
        high="high",
        low="low",
        close="close",
        volume="volume",
        notional=pl.coalesce(vwap.to_physical(), typical) * volume.to_physical().fill_null(0),
        count=pl.col("trade_count").fill_null(0),
        recv_ns=pl.col("ts_recv_ns").fill_null(pl.col("ts_close_ns")),
    )
    return rows.cast(dict(ROWS)), refused  # type: ignore[arg-type]


def _ahead(time: pl.Expr, ahead_ns: int | None) -> pl.Expr:
    return pl.lit(value=False) if ahead_ns is None else time > pl.col("timestamp_ms") * 1_000_000 + ahead_ns


def _length_ns(interval: str) -> pl.Expr:
    unit_s = pl.col(interval).str.tail(1).replace_strict(_UNITS_S, default=None, return_dtype=pl.Float64)
    return pl.col(interval).str.head(-1).cast(pl.Float64, strict=False) * unit_s * _NANO


def _separate(read: pl.DataFrame, reason: pl.Expr, broken: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    reasons = read.select(reason.alias("reason")).get_column("reason")
    if not reasons.is_not_null().any():
        return read, broken
    wrong = refuse(read.with_columns(reasons), pl.col("reason"))
    return read.filter(reasons.is_null()), pl.concat([broken, wrong])


def _others(batch: pl.DataFrame, ignored: Counter[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Count what is neither a trade nor a bar; refuse what is no JSON at all."""
    reasons: list[str | None] = []
    for value in batch.get_column("value"):
        try:
            ignored["deleted keys" if value is None else _schema(value)] += 1
            reasons.append(None)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            reasons.append(NOT_JSON)
    return ROWS.to_frame(), refuse(batch, pl.lit(pl.Series(reasons, dtype=pl.String)))


def _schema(value: bytes) -> str:
    value.decode()
    schema = schema_of(value)
    return "records of no known schema" if schema is None else schema


def is_longer(interval: str, feed: str) -> bool:
    """Tell whether bars of an interval can be built of a feed."""
    return feed == TRADES or length_ns(interval) > length_ns(feed)
