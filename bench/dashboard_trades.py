"""A child: send trades to a topic at a steady rate until stopped. Messages are encoded in advance."""

import sys
import time
from itertools import cycle
from typing import Final

import numpy as np
from confluent_kafka import Producer

PROBE_SYMBOL: Final = 0
"""The symbol that only the probe trades, so that no other trade moves its price."""

_STEP_S: Final = 0.01
_PRICE_STEPS: Final = 500
_PLAN_LENGTH: Final = 200_000


def instrument_id(number: int) -> str:
    """Name an instrument; the first one sorts first in the list."""
    return f"S{number:04}.XNAS"


def trade_prefix(number: int) -> bytes:
    """Return a trade up to its time."""
    name = instrument_id(number)
    return (
        f'{{"schema":"trade.v1","instrument_id":"{name}","symbol":"{name[:5]}",'
        f'"aggressor_side":"none","ts_event_ns":'
    ).encode()


def trade_suffix(cents: int) -> bytes:
    """Return a trade from its price on."""
    return f',"price":{cents // 100}.{cents % 100:02},"size":100}}'.encode()


class TradeSender:
    """Sends trades with the current time.

    Parameters
    ----------
    servers, topic
        Where to.
    linger_ms
        How long Kafka's client gathers.
    """

    def __init__(self, servers: str, topic: str, linger_ms: int) -> None:
        self._topic = topic
        settings = {
            "linger.ms": linger_ms,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 500_000,
        }
        self._client = Producer({"bootstrap.servers": servers, "partitioner": "murmur2_random", **settings})

    def send_one(self, number: int, cents: int) -> float:
        """Send a trade with the current time, and return it in ms since 1970."""
        now_ns = time.time_ns()
        self._client.produce(
            self._topic,
            trade_prefix(number) + str(now_ns).encode() + trade_suffix(cents),
            instrument_id(number),
        )
        self._client.poll(0)
        return now_ns / 1e6

    def send_each(self, symbols: int) -> None:
        """Send one trade per symbol, so that the server has all of them."""
        for number in range(symbols):
            self.send_one(number, 10_000)
        self.flush()

    def flush(self) -> None:
        """Wait until all trades are in Kafka."""
        assert self._client.flush(60) == 0

    def send_steadily(self, symbols: int, rate: int) -> None:
        """Send trades of all symbols but the first, in random order and real time, until stopped."""
        symbol_numbers = np.random.default_rng(7).integers(1, symbols, _PLAN_LENGTH).tolist()
        keys = [instrument_id(number).encode() for number in range(symbols)]
        prefixes = [trade_prefix(number) for number in range(symbols)]
        suffixes = cycle([trade_suffix(10_000 + step * 37 % _PRICE_STEPS) for step in range(_PRICE_STEPS)])
        plan = cycle([(keys[number], prefixes[number]) for number in symbol_numbers])
        produce, topic = self._client.produce, self._topic
        began_s, sent = time.perf_counter(), 0
        while True:
            due = int((time.perf_counter() - began_s) * rate)
            now = str(time.time_ns()).encode()
            for _ in range(due - sent):
                key, prefix = next(plan)
                produce(topic, prefix + now + next(suffixes), key)
            sent = due
            self._client.poll(0)
            time.sleep(_STEP_S)


def main() -> None:
    servers, topic, symbols, rate = sys.argv[1:]
    TradeSender(servers, topic, 5).send_steadily(int(symbols), int(rate))


if __name__ == "__main__":
    main()
