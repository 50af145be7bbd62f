"""Read single records by offset, and the newest ones."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from confluent_kafka import Consumer as RdConsumer
from confluent_kafka import KafkaError as RdError
from confluent_kafka import KafkaException, Message, TopicPartition

from tickerlake import clock
from tickerlake.kafka.client import Partition, start_consumer, translate_error, watermarks
from tickerlake.kafka.reader import UNGROUPED_SETTINGS

_PROBE_SETTINGS: Final[dict[str, Any]] = {
    **UNGROUPED_SETTINGS,
    "auto.offset.reset": "error",
    # one record per partition is needed: fetch no more than a batch, and prefetch nothing
    "fetch.message.max.bytes": 1 << 18,
    "queued.min.messages": 1,
    "fetch.queue.backoff.ms": 10,
    # the broker reports the end of a partition only after this long
    "fetch.wait.max.ms": 20,
}
_POLL_S = 0.01  # far below the fetch wait, so that it adds little to the delay
_MAX_MESSAGES = 1_000  # per call; what is left comes with the next
_Found = TypeVar("_Found")
_DEPTHS: Final = (10, 100, 1_000, 10_000)
"""How many offsets before the end are searched: the last ones can be markers of transactions."""


@dataclass(frozen=True, slots=True)
class NextRecord:
    """The first committed record at or after an offset, or the end of the partition if there is none yet.

    Parameters
    ----------
    offset
        The record's offset, or that of the end.
    timestamp_ms
        Kafka's timestamp; 0 if it has none.
    is_end
        Whether there is no record yet.
    """

    offset: int
    timestamp_ms: int
    is_end: bool


class OffsetProbe:
    """Reads the records at given offsets over one connection; all calls must come from one thread.

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
            Without the partitions that did not answer in time or do not have this offset.
        """
        records: dict[Partition, NextRecord] = {}
        if not starts:
            return records
        deadline_s = clock.monotonic_s() + timeout_s
        try:
            self._client.assign([TopicPartition(*partition, start) for partition, start in starts.items()])
            pending = set(starts)
            while pending and clock.monotonic_s() < deadline_s:
                for message in self._client.consume(_MAX_MESSAGES, _POLL_S):
                    partition = (str(message.topic()), int(message.partition() or 0))
                    if partition in pending and (record := _next_record(message, starts[partition])):
                        records[partition] = record
                    pending.discard(partition)
            self._client.unassign()
            if len(pending) == len(starts):
                # this client may never find a broker again: see `BrokerWatch`
                self._client.close()
                self._client = self._start()
        except KafkaException as error:
            raise translate_error(error.args[0], "reading records", self.bootstrap_servers) from error
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


def newest_records(
    bootstrap_servers: str,
    properties: Mapping[str, str],
    topic: str,
    partitions: int,
    examine: Callable[[bytes], _Found | None],
    timeout_s: float,
) -> dict[int, tuple[int, _Found]]:
    """Search the last records of each partition for the newest one that a function accepts.

    Parameters
    ----------
    examine
        Returns what is searched for in a record's value, None if it is not in it.
    timeout_s
        Ends the search with what has been found.

    Returns
    -------
    dict
        By partition number: the record's offset, and what the function returned. Without partitions that
        may not be read.
    """
    deadline_s = clock.monotonic_s() + timeout_s
    found: dict[int, tuple[int, _Found]] = {}
    settings = {**_PROBE_SETTINGS, "fetch.message.max.bytes": 1 << 20, "queued.min.messages": 1_000}
    client = start_consumer(bootstrap_servers, properties, **settings)
    try:
        bounds = {
            number: watermarks(client, bootstrap_servers, topic, number) for number in range(partitions)
        }
        ends = {number: high for number, (low, high) in bounds.items() if high > low}
        for depth in _DEPTHS:
            starts = {number: max(bounds[number][0], bounds[number][1] - depth) for number in ends}
            client.assign([TopicPartition(topic, number, start) for number, start in starts.items()])
            found |= _search(client, ends, examine, deadline_s)
            ends = {
                number: start
                for number, start in starts.items()
                if number not in found and start > bounds[number][0]
            }
            if not ends or clock.monotonic_s() >= deadline_s:
                break
    except KafkaException as error:
        raise translate_error(error.args[0], f"reading {topic}", bootstrap_servers) from error
    finally:
        client.close()
    return found


def _search(
    client: RdConsumer, ends: Mapping[int, int], examine: Callable[[bytes], _Found | None], deadline_s: float
) -> dict[int, tuple[int, _Found]]:
    """Read the assigned partitions up to their ends; return the newest record of each that is accepted."""
    found: dict[int, tuple[int, _Found]] = {}
    pending = dict(ends)
    while pending and clock.monotonic_s() < deadline_s:
        for message in client.consume(_MAX_MESSAGES, _POLL_S):
            number, offset = int(message.partition() or 0), int(message.offset() or 0)
            if number not in pending:
                continue
            value = None if message.error() else message.value()
            if offset < pending[number] and value is not None and (result := examine(value)) is not None:
                found[number] = (offset, result)
            if message.error() or offset >= pending[number] - 1:
                del pending[number]
    return found
