"""Alerts of a topic → notification targets, at least once.

An alert's offset is committed when every target has it, or it is a dead letter. After a crash, some alerts
are sent again, with the same ids.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from tickerlake import clock
from tickerlake.errors import DataError, TickerlakeError
from tickerlake.kafka.admin import Admin
from tickerlake.kafka.client import Partition
from tickerlake.kafka.consumer import CommittedOffset, Consumer
from tickerlake.kafka.reader import RecordBatch, read_all
from tickerlake.model.alert import Alert, decode_alert
from tickerlake.notify.dispatcher import Dispatcher

_POLL_S: Final = 0.1
"""How soon a new alert is forwarded, and `stop` noticed."""

_MAX_RECORDS: Final = 1_000
"""Per poll: far below the capacity of the dispatcher's inbox, so that a batch fits."""

_JOIN_TIMEOUT_S: Final = 15.0
"""Joining a group takes some seconds: a short run waits for it, so that its alerts are sent."""


class AlertForwarder:
    """Reads the alerts of a topic as a member of a consumer group, and passes them to a dispatcher.

    Without a committed offset it starts at the high watermark that a partition had when the forwarder was
    created.

    Parameters
    ----------
    bootstrap_servers, properties
        The cluster.
    topic
        A topic of alerts.
    group
        The consumer group: each alert is sent by one of its members.
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
        """Forward alerts until ``stop`` is set, then the rest of the topic; closes the dispatcher."""
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
            # what could not be delivered is a dead letter now
            dispatcher.close()
            self._commit()
            self._consumer.close()

    def _forward(self, dispatcher: Dispatcher, stop: threading.Event, batches: Iterable[RecordBatch]) -> None:
        for batch in batches:
            for alert in self._decode_alerts(batch.frame.get_column("value").to_list()):
                # the inbox is full: stop reading
                while not dispatcher.offer(alert):
                    if stop.wait(_POLL_S):
                        return  # not committed: the next run starts with this batch
                self.forwarded += 1
            if batch.frame.height and batch.partition in self._positions:
                self._positions[batch.partition] = int(batch.frame.item(-1, "offset")) + 1

    def _commit(self) -> None:
        for partition, position in self._positions.items():
            if position > self._committed.get(partition, 0):
                self._consumer.commit(partition, position, "")
                self._committed[partition] = position

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


@contextmanager
def forwarding(
    forwarder: AlertForwarder, dispatcher: Dispatcher, on_error: Callable[[TickerlakeError], None]
) -> Iterator[None]:
    """Forward alerts in a thread until the block ends; then the rest of the topic.

    Parameters
    ----------
    forwarder, dispatcher
        The source and the destination of alerts; both are closed at the end.
    on_error
        Is called in the thread if forwarding fails; the block continues without it.
    """
    stop = threading.Event()

    def run() -> None:
        try:
            forwarder.run(dispatcher, stop)
        except TickerlakeError as error:
            on_error(error)
        except BaseException as error:
            reason = f"{type(error).__name__}: {error}"
            on_error(TickerlakeError(f"an unexpected error ({reason})", "Please report it, then restart."))

    thread = threading.Thread(target=run, name="forward-alerts")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
