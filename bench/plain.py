"""A child: a CSV file to Parquet by a library that is told what the columns are: the limit, and a peer."""

import importlib
import sys
from typing import Any

DECIMALS = ("open", "high", "low", "close", "price")


def by_polars(source: str, target: str) -> None:
    """`read_csv` with the schema known beforehand, exact decimals, `write_parquet`."""
    import polars as pl

    names = pl.read_csv(source, n_rows=0).columns
    texts = ("timestamp", "symbol", "ticker")
    kinds = {
        name: pl.Decimal(38, 9) if name in DECIMALS else pl.String() if name in texts else pl.Int64()
        for name in names
    }
    frame = pl.read_csv(source, schema=kinds)
    if "timestamp" in names:
        frame = frame.with_columns(pl.col("timestamp").str.to_datetime("%Y-%m-%d %H:%M:%SZ"))
    frame.write_parquet(target, compression="zstd", compression_level=1)


def by_pandas(source: str, target: str) -> None:
    """`read_csv` and `to_parquet`, prices as doubles."""
    pd: Any = importlib.import_module("pandas")  # installed for the benchmark only
    pd.read_csv(source).to_parquet(target)


if __name__ == "__main__":
    {"polars": by_polars, "pandas": by_pandas}[sys.argv[1]](*sys.argv[2:])
