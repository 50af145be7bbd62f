"""A seeded market as a CSV file, and as the records that come of it."""

from pathlib import Path

import polars as pl

from tickerlake.model.json import to_json_lines
from tickerlake.sources.csv.read import open_csv

SYMBOLS = 100
SEED = 7
_FIRST_MINUTE = 1_700_000_040


def bars_csv(path: Path, rows: int) -> Path:
    """Write one-minute bars of 100 symbols, merged by time: a random walk in cents."""
    minutes = -(-rows // SYMBOLS)
    n = pl.int_range(rows, eager=True)
    frame = pl.DataFrame({"minute": n // SYMBOLS, "symbol": n % SYMBOLS, "noise": n.hash(SEED)})
    noise = pl.col("noise")
    step = (noise % 21).cast(pl.Int64) - 10
    close = 20_000 + pl.col("symbol") * 100 + step.cum_sum().over("symbol")
    # Steps of at most 10 cents: the floor keeps the walk of a long file above zero.
    close = close.clip(500, None)
    frame = frame.with_columns(close=close).with_columns(
        open=pl.col("close").shift(1).over("symbol").fill_null(pl.col("close"))
    )
    high = pl.max_horizontal("open", "close") + (noise // 32 % 5).cast(pl.Int64)
    low = pl.min_horizontal("open", "close") - (noise // 256 % 5).cast(pl.Int64)
    time = pl.from_epoch(_FIRST_MINUTE + 60 * pl.col("minute"))
    frame.select(
        time.dt.strftime("%Y-%m-%d %H:%M:%SZ").alias("timestamp"),
        pl.format("S{}", pl.col("symbol").cast(pl.String).str.zfill(3)).alias("symbol"),
        *(_cents(price).alias(name) for name, price in _prices(high, low)),
        (100 + noise % 90_000).alias("volume"),
    ).write_csv(path)
    if minutes < 2:
        raise ValueError(f"{rows} rows are too few for {SYMBOLS} symbols")
    return path


def _prices(high: pl.Expr, low: pl.Expr) -> list[tuple[str, pl.Expr]]:
    return [("open", pl.col("open")), ("high", high), ("low", low), ("close", pl.col("close"))]


def _cents(price: pl.Expr) -> pl.Expr:
    return pl.format("{}.{}", price // 100, (price % 100).cast(pl.String).str.zfill(2))


def records(csv: Path) -> tuple[list[bytes], list[bytes]]:
    """Return keys and JSON documents of a file's bars, as `tickerlake produce` sends them."""
    keys: list[bytes] = []
    values: list[bytes] = []
    for table in open_csv(csv).batches():
        keys += table.records.get_column("instrument_id").cast(pl.Binary).to_list()
        values += to_json_lines(table.records)
    return keys, values
