"""A seeded market: one-minute bars as a CSV file, trades as the records of a topic."""

from pathlib import Path

import polars as pl

from tickerlake.model.json import to_json_lines
from tickerlake.sources.csv.read import open_csv

SYMBOLS = 100
SEED = 7
_FIRST_S = 1_700_000_040


def bars_csv(path: Path, rows: int) -> Path:
    """Write bars of 100 symbols, merged by time: a random walk in cents."""
    frame = _walk(rows).with_columns(open=pl.col("close").shift(1).over("symbol").fill_null(pl.col("close")))
    noise = pl.col("noise")
    frame = frame.with_columns(
        high=pl.max_horizontal("open", "close") + (noise // 32 % 5).cast(pl.Int64),
        low=pl.min_horizontal("open", "close") - (noise // 256 % 5).cast(pl.Int64),
    )
    frame.select(
        pl.from_epoch(_FIRST_S + 60 * pl.col("round")).dt.strftime("%Y-%m-%d %H:%M:%SZ").alias("timestamp"),
        _ticker().alias("symbol"),
        *(_cents(name).alias(name) for name in ("open", "high", "low", "close")),
        (100 + noise % 90_000).alias("volume"),
    ).write_csv(path)
    return path


def trades_csv(path: Path, rows: int) -> Path:
    """Write trades of 100 symbols as an exchange's tape does: epoch nanoseconds, ids, sequence numbers."""
    n = pl.int_range(rows, eager=True)
    frame = pl.DataFrame({"n": n, "noise": n.hash(SEED), "number": n.hash(SEED + 1) % SYMBOLS})
    noise = pl.col("noise")
    frame.with_columns(price=15_000 + noise // 133 % 2_000).select(
        _ticker().alias("ticker"),
        (noise % 20).alias("exchange"),
        (71_675_222_900_000 + pl.col("n")).alias("id"),
        (_FIRST_S * 10**9 + pl.col("n").cast(pl.Int64) * 4_000_000).alias("participant_timestamp"),
        _cents("price").alias("price"),
        (pl.col("n") + 1).alias("sequence_number"),
        (1 + noise // 77 % 900).alias("size"),
    ).write_csv(path)
    return path


def bars(csv: Path) -> tuple[list[bytes], list[bytes]]:
    """Return keys and JSON documents of a file's bars, as `tickerlake produce` sends them."""
    keys: list[bytes] = []
    values: list[bytes] = []
    for table in open_csv(csv).batches():
        records = table.records
        keys += records.get_column("instrument_id").cast(pl.Binary).to_list()
        values += to_json_lines(records)
    return keys, values


def trades(count: int) -> tuple[list[bytes], list[bytes]]:
    """Return keys and JSON documents of trades."""
    time = (_FIRST_S * 10**9 + 1_000_000 * pl.int_range(pl.len())).cast(pl.Int64)
    frame = _walk(count).select(
        pl.lit("trade.v1").alias("schema"),
        (_ticker() + ".XNAS").alias("instrument_id"),
        _ticker().alias("symbol"),
        time.alias("ts_event_ns"),
        (time + 250_000).alias("ts_recv_ns"),
        _cents("close").cast(pl.Decimal(38, 9)).alias("price"),
        (1 + pl.col("noise") % 900).cast(pl.Int64).alias("size"),
        pl.lit("none").alias("aggressor_side"),
    )
    return frame.get_column("instrument_id").cast(pl.Binary).to_list(), to_json_lines(frame)


def _walk(rows: int) -> pl.DataFrame:
    n = pl.int_range(rows, eager=True)
    frame = pl.DataFrame({"round": n // SYMBOLS, "number": n % SYMBOLS, "noise": n.hash(SEED)})
    step = (pl.col("noise") % 21).cast(pl.Int64) - 10
    # The floor keeps the walk of a long file above zero.
    close = (20_000 + pl.col("number") * 100 + step.cum_sum().over("number")).clip(500, None)
    return frame.with_columns(close=close, symbol=pl.col("number"))


def _ticker() -> pl.Expr:
    return pl.format("S{}", pl.col("number").cast(pl.String).str.zfill(3))


def _cents(column: str) -> pl.Expr:
    cents = pl.col(column)
    return pl.format("{}.{}", cents // 100, (cents % 100).cast(pl.String).str.zfill(2))
