"""A child: trades into a topic at a steady rate, until it is ended. The texts are ready before it begins."""

import sys
import time
from itertools import cycle
from typing import Final

import numpy as np
from confluent_kafka import Producer

FIRST: Final = 0
"""The symbol that a probe trades alone, so that nobody else moves its price."""

_STEP_S: Final = 0.01
_CENTS: Final = 500
_PLAN: Final = 200_000


def instrument(number: int) -> str:
    """Name an instrument; the first is the first of the list, too."""
    return f"S{number:04}.XNAS"


def head(number: int) -> bytes:
    """Return a trade up to its time."""
    name = instrument(number)
    return (
        f'{{"schema":"trade.v1","instrument_id":"{name}","symbol":"{name[:5]}",'
        f'"aggressor_side":"none","ts_event_ns":'
    ).encode()


def tail(cents: int) -> bytes:
    """Return a trade from its price on."""
    return f',"price":{cents // 100}.{cents % 100:02},"size":100}}'.encode()


class Trades:
    """Sends trades of the moment.

    Parameters
    ----------
    servers, topic
        Where to.
    linger_ms
        How long Kafka's client gathers.
    """

    def __init__(self, servers: str, topic: str, linger_ms: int) -> None:
        self._topic = topic
        own = {"linger.ms": linger_ms, "compression.type": "lz4", "queue.buffering.max.messages": 500_000}
        self._client = Producer({"bootstrap.servers": servers, "partitioner": "murmur2_random", **own})

    def one(self, number: int, cents: int) -> float:
        """Send a trade of now, and return its time, ms since 1970."""
        now_ns = time.time_ns()
        self._client.produce(
            self._topic, head(number) + str(now_ns).encode() + tail(cents), instrument(number)
        )
        self._client.poll(0)
        return now_ns / 1e6

    def each(self, symbols: int) -> None:
        """Send a trade of each symbol, so that all are known."""
        for number in range(symbols):
            self.one(number, 10_000)
        self.flush()

    def flush(self) -> None:
        """Wait until all are in Kafka."""
        assert self._client.flush(60) == 0

    def steadily(self, symbols: int, rate: int) -> None:
        """Send trades of all symbols but the first, in a random order, by the clock, for ever."""
        chosen = np.random.default_rng(7).integers(1, symbols, _PLAN).tolist()
        keys = [instrument(number).encode() for number in range(symbols)]
        heads = [head(number) for number in range(symbols)]
        tails = cycle([tail(10_000 + step * 37 % _CENTS) for step in range(_CENTS)])
        plan = cycle([(keys[number], heads[number]) for number in chosen])
        produce, topic = self._client.produce, self._topic
        began_s, sent = time.perf_counter(), 0
        while True:
            due = int((time.perf_counter() - began_s) * rate)
            now = str(time.time_ns()).encode()
            for _ in range(due - sent):
                key, first = next(plan)
                produce(topic, first + now + next(tails), key)
            sent = due
            self._client.poll(0)
            time.sleep(_STEP_S)


def main() -> None:
    servers, topic, symbols, rate = sys.argv[1:]
    Trades(servers, topic, 5).steadily(int(symbols), int(rate))


if __name__ == "__main__":
    main()
