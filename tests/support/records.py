"""Records as they are read from Kafka."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import polars as pl

KAFKA_TIMESTAMP_MS = 1_800_000_000_000


def trade(
    instrument_id: str, ts_ns: int, price: Decimal | float | str, size: Decimal | float | str, **fields: Any
) -> bytes:
    """Return a trade as a message's value."""
    extra = "".join(f',"{key}":{value}' for key, value in fields.items())
    symbol = ""
    if isinstance(price, Decimal) and isinstance(size, Decimal):
        symbol = f'"symbol":"{instrument_id.rpartition(".")[0]}",'
        price, size = f"{price:f}", f"{size:f}"
    return (
        f'{{"schema":"trade.v1","instrument_id":"{instrument_id}",{symbol}'
        f'"ts_event_ns":{ts_ns},"ts_recv_ns":{ts_ns},"price":{price},"size":{size}{extra}}}'
    ).encode()


def batch(
    values: Sequence[bytes | None],
    *,
    partition: int = 0,
    first_offset: int = 0,
    timestamp_ms: int = KAFKA_TIMESTAMP_MS,
) -> pl.DataFrame:
    """Return messages as a batch of one partition."""
    return pl.DataFrame(
        {
            "partition": [partition] * len(values),
            "offset": range(first_offset, first_offset + len(values)),
            "timestamp_ms": [timestamp_ms] * len(values),
            "value": values,
        },
        schema={"partition": pl.Int64, "offset": pl.Int64, "timestamp_ms": pl.Int64, "value": pl.Binary},
    )
