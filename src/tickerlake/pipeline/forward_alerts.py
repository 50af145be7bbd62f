"""Alerts of a topic → people, each at least once.

An alert's offset is committed when every target has it, or it is kept among the dead letters. After a crash
some are told again, with the same ids.
"""

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from tickerlake import clock
from tickerlake.errors import DataError
from tickerlake.kafka.admin import Admin
from tickerlake.kafka.client import Partition
from tickerlake.kafka.consumer import CommittedOffset, Consumer
from tickerlake.kafka.reader import RecordBatch, read_all
from tickerlake.model.alert import Alert, decode_alert
from tickerlake.notify.dispatcher import Dispatcher

_POLL_S: Final = 0.1
_MAX_RECORDS: Final = 1_000
_JOIN_TIMEOUT_S: Final = 15.0


class AlertForwarder:
    """Reads the alerts of a topic as a member of a group, and hands them to a dispatcher.

    Parameters
    ----------
    bootstrap_servers, properties
        How to reach the cluster.
    topic
        Alerts.
    group
        Consumer group: each alert is told by one of its members.

    Where nothing is committed yet, it begins with what comes after it was made.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        topic: str,
        group: str,
        properties: Mapping[str, str],
    ) -> None:
        self.topic = topic
        self.forwarded = 0
        self.skipped: Counter[str] = Counter()
        admin = Admin(bootstrap_servers, properties)
        self._initial_high_watermarks = {
            number: high for number, (_, high) in admin.watermarks(admin.require_topic(topic)).items()
        }
        self._positions: dict[Partition, int] = {}
        self._committed: dict[Partition, int] = {}
        self._cluster = (bootstrap_servers, properties)
        self._consumer = Consumer(bootstrap_servers, group, properties, self._on_assign, self._on_revoke)

    def run(self, dispatcher: Dispatcher, stop: threading.Event) -> None:
        """Tell alerts until ``stop`` is set, and then what is there at that time; closes the dispatcher."""
        try:
            self._consumer.subscribe([self.topic])
            until_s = clock.monotonic_s() + _JOIN_TIMEOUT_S
            while not stop.is_set() or (not self._consumer.assignments and clock.monotonic_s() < until_s):
                self._forward(dispatcher, stop, self._consumer.poll(_POLL_S, _MAX_RECORDS))
                if not dispatcher.in_flight_count():
                    self._commit()
            starts = {number: offset for (_, number), offset in self._positions.items()}
            self._forward(dispatcher, stop, read_all(*self._cluster, self.topic, starts))
        finally:
            # what could not be delivered is among the dead letters then
            dispatcher.close()
            self._commit()
            self._consumer.close()

    def _forward(self, dispatcher: Dispatcher, stop: threading.Event, batches: Iterable[RecordBatch]) -> None:
        for batch in batches:
            for alert in self._decode_alerts(batch.frame.get_column("value").to_list()):
                # far too much waits: let the topic wait, too
                while not dispatcher.offer(alert):
                    if stop.wait(_POLL_S):
                        return  # the next one begins with this batch
                self.forwarded += 1
            if batch.frame.height and batch.partition in self._positions:
                self._positions[batch.partition] = int(batch.frame.item(-1, "offset")) + 1

    def _commit(self) -> None:
        for place, end in self._positions.items():
            if end > self._committed.get(place, 0):
                self._consumer.commit(place, end, "")
                self._committed[place] = end

    def _on_assign(self, partition: Partition, committed: CommittedOffset | None) -> int:
        low, _ = self._consumer.watermarks(partition)
        start = max(
            low, committed.offset if committed else self._initial_high_watermarks.get(partition[1], 0)
        )
        self._positions[partition] = self._committed[partition] = start
        return start

    def _on_revoke(self, partition: Partition) -> None:
        self._positions.pop(partition, None)

    def _decode_alerts(self, values: list[bytes | None]) -> Iterator[Alert]:
        for value in values:
            try:
                yield decode_alert(value)
            except DataError as error:
                self.skipped[error.message] += 1
