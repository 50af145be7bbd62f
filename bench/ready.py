"""A child: send documents that are ready, in transactions, and wait until all are committed."""

import secrets
import sys
from pathlib import Path

from tickerlake.kafka.producer import Producer

_TRANSACTION = 200_000


def main() -> None:
    servers, topic, payloads, records = sys.argv[1:]
    values = Path(payloads).read_bytes().split(b"\n")
    keys = [value.split(b'"', 8)[7] for value in values]
    producer = Producer(servers, secrets.token_hex(4), {})
    for start in range(0, int(records), _TRANSACTION):
        count = min(len(values), int(records) - start)
        producer.begin()
        producer.send(topic, keys[:count], values[:count])
        producer.commit()


if __name__ == "__main__":
    main()
