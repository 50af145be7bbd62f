"""Alerts of a topic → people, each at least once.

An alert's offset is committed when every target has it, or it is kept among the dead letters. After a crash
some are told again, with the same ids.
"""

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from tickerlake import clock
from tickerlake.errors import DataError
from tickerlake.kafka.admin import Admin
from tickerlake.kafka.consumer import Batch, Committed, Consumer, Partition, read_all
from tickerlake.model.alert import Alert
from tickerlake.notify.dispatcher import Dispatcher

_POLL_S: Final = 0.1
_MOST: Final = 1_000
_JOIN_S: Final = 15.0
_DECODER: Final = msgspec.json.Decoder(Alert)


class Announcer:
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
        self.told = 0
        self.skipped: Counter[str] = Counter()
        admin = Admin(bootstrap_servers, properties)
        self._ends = {number: high for number, (_, high) in admin.watermarks(admin.require(topic)).items()}
        self._positions: dict[Partition, int] = {}
        self._committed: dict[Partition, int] = {}
        self._reached = (bootstrap_servers, properties)
        self._consumer = Consumer(bootstrap_servers, group, properties, self._open, self._drop)

    def run(self, dispatcher: Dispatcher, stop: threading.Event) -> None:
        """Tell alerts until ``stop`` is set, and then what is there at that time; closes the dispatcher."""
        try:
            self._consumer.subscribe([self.topic])
            until_s = clock.monotonic_s() + _JOIN_S
            while not stop.is_set() or (not self._consumer.assignments and clock.monotonic_s() < until_s):
                self._tell(dispatcher, stop, self._consumer.poll(_POLL_S, _MOST))
                if not dispatcher.under_way():
                    self._commit()
            starts = {number: offset for (_, number), offset in self._positions.items()}
            self._tell(dispatcher, stop, read_all(*self._reached, self.topic, starts))
        finally:
            # what could not be delivered is among the dead letters then
            dispatcher.close()
            self._commit()
            self._consumer.close()

    def _tell(self, dispatcher: Dispatcher, stop: threading.Event, batches: Iterable[Batch]) -> None:
        for batch in batches:
            for alert in self._alerts(batch.frame.get_column("value").to_list()):
                # far too much waits: let the topic wait, too
                while not dispatcher.offer(alert):
                    if stop.wait(_POLL_S):
                        return  # the next one begins with this batch
                self.told += 1
            if batch.frame.height and batch.partition in self._positions:
                self._positions[batch.partition] = int(batch.frame.item(-1, "offset")) + 1

    def _commit(self) -> None:
        for place, end in self._positions.items():
            if end > self._committed.get(place, 0):
                self._consumer.commit(place, end, "")
                self._committed[place] = end

    def _open(self, place: Partition, committed: Committed | None) -> int:
        low, _ = self._consumer.watermarks(place)
        start = max(low, committed.offset if committed else self._ends.get(place[1], 0))
        self._positions[place] = self._committed[place] = start
        return start

    def _drop(self, place: Partition) -> None:
        self._positions.pop(place, None)

    def _alerts(self, values: list[bytes | None]) -> Iterator[Alert]:
        for value in values:
            try:
                yield read_alert(value)
            except DataError as error:
                self.skipped[error.message] += 1


def read_alert(value: bytes | None) -> Alert:
    """Return an alert of a message.

    Raises
    ------
    DataError
        If it is none.
    """
    try:
        return _DECODER.decode(value or b"")
    except msgspec.MsgspecError as error:
        raise DataError("a record is no alert", "Is this the topic of alerts?") from error
