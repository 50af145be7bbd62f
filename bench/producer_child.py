"""A child: send encoded documents in transactions, and wait until all are committed."""

import secrets
import sys
from pathlib import Path

from tickerlake.kafka.producer import Producer

_RECORDS_PER_TRANSACTION = 200_000


def send_in_transactions(
    servers: str, topic: str, keys: list[bytes], values: list[bytes], records: int
) -> None:
    """Send documents in transactions, as `tickerlake produce` does, from the first again after the last."""
    producer = Producer(servers, secrets.token_hex(4), {})
    for sent in range(0, records, _RECORDS_PER_TRANSACTION):
        start = sent % len(values)
        part = slice(start, start + min(_RECORDS_PER_TRANSACTION, records - sent))
        producer.begin()
        producer.send(topic, keys[part], values[part])
        producer.commit()


def main() -> None:
    servers, topic, payloads, records = sys.argv[1:]
    values = Path(payloads).read_bytes().split(b"\n")
    keys = [value.split(b'"', 8)[7] for value in values]
    send_in_transactions(servers, topic, keys, values, int(records))


if __name__ == "__main__":
    main()
