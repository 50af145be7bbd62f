"""Look at single records by offset, in no group."""

from collections.abc import Mapping
from dataclasses import dataclass

from confluent_kafka import Consumer as RdConsumer
from confluent_kafka import KafkaError as RdError
from confluent_kafka import KafkaException, Message, TopicPartition

from tickerlake import clock
from tickerlake.kafka.client import start_consumer, translate_error
from tickerlake.kafka.consumer import Partition

_PROBE_SETTINGS = {
    "group.id": "tickerlake-reader",
    "enable.auto.commit": False,
    "isolation.level": "read_committed",
    "enable.partition.eof": True,
    "auto.offset.reset": "error",
    # one record is wanted: no more than a batch of each partition
    "fetch.message.max.bytes": 1 << 18,
    "queued.min.messages": 1,
    "fetch.queue.backoff.ms": 10,
    # an end of a partition is told only after this long
    "fetch.wait.max.ms": 20,
}
_POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class NextRecord:
    """The first committed record at an offset or after it; with ``is_end``, that there is none yet.

    Parameters
    ----------
    offset
        The record's, or where the partition ended.
    timestamp_ms
        Kafka's; 0 if it has none.
    """

    offset: int
    timestamp_ms: int
    is_end: bool


class OffsetProbe:
    """Tells what stands at offsets; one connection for all calls, which come from one thread.

    Parameters
    ----------
    bootstrap_servers, properties
        How to reach the cluster.
    """

    def __init__(self, bootstrap_servers: str, properties: Mapping[str, str]) -> None:
        self.bootstrap_servers = bootstrap_servers
        self._properties = properties
        self._client = self._start()

    def _start(self) -> RdConsumer:
        return start_consumer(self.bootstrap_servers, self._properties, **_PROBE_SETTINGS)

    def next_records(self, starts: Mapping[Partition, int], timeout_s: float) -> dict[Partition, NextRecord]:
        """Return the first record at or after an offset of each partition.

        Returns
        -------
        dict
            Without the partitions that did not answer in time, or have no such offset.
        """
        records: dict[Partition, NextRecord] = {}
        if not starts:
            return records
        deadline_s = clock.monotonic_s() + timeout_s
        try:
            self._client.assign([TopicPartition(*partition, start) for partition, start in starts.items()])
            pending = set(starts)
            while pending and clock.monotonic_s() < deadline_s:
                for message in self._client.consume(1_000, _POLL_S):
                    place = (str(message.topic()), int(message.partition() or 0))
                    if place in pending and (record := _next_record(message, starts[place])):
                        records[place] = record
                    pending.discard(place)
            self._client.unassign()
            if len(pending) == len(starts):
                # this one may never find a broker again: see `BrokerWatch`
                self._client.close()
                self._client = self._start()
        except KafkaException as error:
            raise translate_error(error.args[0], "looking at records", self.bootstrap_servers) from error
        return records

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _next_record(message: Message, start: int) -> NextRecord | None:
    error, offset = message.error(), int(message.offset() or 0)
    if offset < start:
        return None
    if error is None:
        return NextRecord(offset, max(0, int(message.timestamp()[1])), is_end=False)
    return NextRecord(offset, 0, is_end=True) if error.code() == RdError._PARTITION_EOF else None
