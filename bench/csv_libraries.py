"""A child: a CSV file to Parquet by a library that knows the columns: the limit and a peer."""

import importlib
import sys
from typing import Any

DECIMAL_COLUMNS = ("open", "high", "low", "close", "price")


def convert_with_polars(source: str, target: str) -> None:
    """`read_csv` with the schema known beforehand, exact decimals, `write_parquet`."""
    import polars as pl

    names = pl.read_csv(source, n_rows=0).columns
    text_columns = ("timestamp", "symbol", "ticker")
    column_types = {
        name: pl.Decimal(38, 9)
        if name in DECIMAL_COLUMNS
        else pl.String()
        if name in text_columns
        else pl.Int64()
        for name in names
    }
    frame = pl.read_csv(source, schema=column_types)
    if "timestamp" in names:
        frame = frame.with_columns(pl.col("timestamp").str.to_datetime("%Y-%m-%d %H:%M:%SZ"))
    frame.write_parquet(target, compression="zstd", compression_level=1)


def convert_with_pandas(source: str, target: str) -> None:
    """`read_csv` and `to_parquet`, prices as doubles."""
    pd: Any = importlib.import_module("pandas")  # installed for the benchmark only
    pd.read_csv(source).to_parquet(target)


if __name__ == "__main__":
    {"polars": convert_with_polars, "pandas": convert_with_pandas}[sys.argv[1]](*sys.argv[2:])
