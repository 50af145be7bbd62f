"""A child: read a topic, decode it with Polars, group each batch into bars, and drop them (a limit)."""

import io
import secrets
import sys

import polars as pl

from bench.child_report import Stopwatch
from tickerlake.kafka.client import Partition
from tickerlake.kafka.consumer import CommittedOffset, Consumer

_SCHEMA = {"instrument_id": pl.String, "ts_event_ns": pl.Int64, "price": pl.Float64, "size": pl.Float64}
_BATCH = 50_000


def bars(values: pl.Series) -> pl.DataFrame:
    """Return the one-minute bars of some trades: open, high, low, close, volume, VWAP."""
    trades = pl.read_ndjson(io.BytesIO(b"\n".join(values.to_list())), schema=_SCHEMA)
    price, size = pl.col("price"), pl.col("size")
    return trades.group_by("instrument_id", pl.col("ts_event_ns") // 60_000_000_000).agg(
        price.first().alias("open"),
        price.max().alias("high"),
        price.min().alias("low"),
        price.last().alias("close"),
        size.sum().alias("volume"),
        ((price * size).sum() / size.sum()).alias("vwap"),
    )


def main(servers: str, topic: str, records: str) -> None:
    clock, read = Stopwatch(), 0

    def on_assign(_: Partition, __: CommittedOffset | None) -> int:
        clock.start()
        return 0

    consumer = Consumer(servers, secrets.token_hex(4), {}, on_assign, lambda _: None)
    consumer.subscribe([topic])
    while read < int(records):
        values = [batch.frame.get_column("value") for batch in consumer.poll(0.05, _BATCH)]
        if values:
            values_of_poll = pl.concat(values)
            read += values_of_poll.len()
            if values_of_poll.len():
                bars(values_of_poll)
    clock.stop()
    consumer.close()
    clock.report(records=read)


if __name__ == "__main__":
    main(*sys.argv[1:])
