"""Results → topics, and how far the input was read, in one transaction, while the next are computed."""

import base64
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import msgspec
import polars as pl

from tickerlake import failpoints
from tickerlake.analytics.engine import Output
from tickerlake.kafka.consumer import Partition
from tickerlake.kafka.producer import Producer
from tickerlake.model.json import to_json_lines


class Publisher:
    """Writes results in transactions, one at a time, in a thread of its own.

    Parameters
    ----------
    producer
        What writes; nobody else uses it.
    topic
        The input, which refused records name.
    prefix
        Results go to ``<prefix>.bars``, ``.indicators``, ``.alerts`` and ``.refused``.
    """

    def __init__(self, producer: Producer, topic: str, prefix: str) -> None:
        self._producer = producer
        self._topic, self._prefix = topic, prefix
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="publish")
        self._flying: Future[None] | None = None
        self._then: Callable[[], None] = lambda: None

    def publish(
        self,
        outputs: Sequence[Output],
        positions: Mapping[Partition, tuple[int, str]],
        member: Any,
        then: Callable[[], None],
    ) -> None:
        """Hand results over, when the ones before are written.

        Parameters
        ----------
        outputs
            The results.
        positions
            Next offset and note of each partition that they come of.
        member
            What `Consumer.group_metadata` says.
        then
            Called by `settle` when they are committed.

        Raises
        ------
        TickerlakeError
            If those before could not be written: these are not taken.
        """
        self.settle()
        self._then = then
        self._flying = self._pool.submit(self._write, outputs, positions, member)

    def settle(self, *, wait: bool = True) -> None:
        """Wait until what was handed over is committed, or with ``wait=False`` see whether it is.

        Raises
        ------
        TickerlakeError
            If it could not be written.
        """
        flying = self._flying
        if flying is None or not (wait or flying.done()):
            return
        self._flying = None
        flying.result()
        self._then()

    def close(self) -> None:
        """End the thread, when what was handed over is written or has failed."""
        self._pool.shutdown()

    def _write(
        self, outputs: Sequence[Output], positions: Mapping[Partition, tuple[int, str]], member: Any
    ) -> None:
        self._producer.begin()
        for output in outputs:
            self._send(output)
        failpoints.reach("track.sent")
        self._producer.send_offsets(positions, member)
        failpoints.reach("track.offsets")
        self._producer.commit()
        failpoints.reach("track.committed")

    def _send(self, output: Output) -> None:
        for what, records in (("bars", output.bars), ("indicators", output.indicators)):
            if records.height:
                plain = records.drop("partition", "offset")
                keys = plain.get_column("instrument_id").cast(pl.Binary).to_list()
                self._producer.send(f"{self._prefix}.{what}", keys, to_json_lines(plain))
        if output.alerts:
            alerts = [raised.alert for raised in output.alerts]
            keys = [alert.instrument_id.encode() for alert in alerts]
            self._producer.send(f"{self._prefix}.alerts", keys, [alert.to_json() for alert in alerts])
        if output.refused.height:
            values = [_refusal(self._topic, row) for row in output.refused.iter_rows(named=True)]
            self._producer.send(f"{self._prefix}.refused", [None] * len(values), values)


def _refusal(topic: str, row: dict[str, object]) -> bytes:
    value = row.pop("value")
    said: dict[str, object] = {"reason": row.pop("reason"), "topic": topic, **row}
    if isinstance(value, bytes):
        try:
            said["value"] = value.decode()
        except UnicodeDecodeError:
            said["value_base64"] = base64.b64encode(value).decode()
    return msgspec.json.encode({name: each for name, each in said.items() if each is not None})
