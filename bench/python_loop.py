"""A child: one message at a time into a dictionary of forming bars, as often written by hand."""

import secrets
import sys
from dataclasses import asdict, dataclass
from typing import Any

import msgspec
from confluent_kafka import Consumer, Producer

from bench.child_report import Stopwatch

_MINUTE_NS = 60_000_000_000
_TRANSACTION = 50_000


class TradeRecord(msgspec.Struct):
    """The fields that bars need."""

    instrument_id: str
    ts_event_ns: int
    price: float
    size: float


@dataclass
class FormingBar:
    """A forming bar."""

    instrument_id: str
    minute: int
    open: float
    high: float
    low: float
    close: float
    volume: float = 0.0
    notional: float = 0.0

    def update(self, price: float, size: float) -> None:
        self.high, self.low, self.close = max(self.high, price), min(self.low, price), price
        self.volume += size
        self.notional += price * size

    def encode(self) -> bytes:
        return msgspec.json.encode({**asdict(self), "vwap": self.notional / self.volume})


def main(servers: str, topic: str, target: str, records: str) -> None:
    clock, read, bars = Stopwatch(), 0, dict[str, FormingBar]()
    decode = msgspec.json.Decoder(TradeRecord).decode
    base = {"bootstrap.servers": servers}
    consumer_options = {"auto.offset.reset": "earliest", "enable.auto.commit": False}
    consumer = Consumer({**base, **consumer_options, "group.id": secrets.token_hex(4)})
    producer = Producer({**base, "transactional.id": secrets.token_hex(4), "compression.type": "lz4"})
    producer.init_transactions()

    def on_assign(_: Any, __: Any) -> None:
        clock.start()

    def commit() -> None:
        offsets = consumer.position(consumer.assignment())
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata())
        producer.commit_transaction()
        clock.stop()

    consumer.subscribe([topic], on_assign=on_assign)
    producer.begin_transaction()
    while read < int(records):
        message = consumer.poll(1.0)
        if message is None or message.error():
            continue
        trade = decode(message.value() or b"")
        minute, price = trade.ts_event_ns // _MINUTE_NS, trade.price
        bar = bars.get(trade.instrument_id)
        if bar is None or bar.minute != minute:
            if bar:
                producer.produce(target, bar.encode(), bar.instrument_id)
            bar = bars[trade.instrument_id] = FormingBar(
                trade.instrument_id, minute, price, price, price, price
            )
        bar.update(price, trade.size)
        read += 1
        if read % _TRANSACTION == 0:
            commit()
            producer.begin_transaction()
    commit()
    consumer.close()
    clock.report(records=read)


if __name__ == "__main__":
    main(*sys.argv[1:])
