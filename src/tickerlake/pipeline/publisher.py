"""Results → topics, with the offsets of the input in one transaction, while the next batch is computed."""

import base64
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

import msgspec
import polars as pl

from tickerlake import failpoints
from tickerlake.analytics.types import Output
from tickerlake.kafka.client import Partition
from tickerlake.kafka.producer import Producer
from tickerlake.model.json import to_json_lines

_MAX_REJECT_BYTES: Final = 900_000
"""A topic accepts 1 MiB by default. The whole record is in the topic that the reject names."""

_MAX_CUT_VALUE: Final = 140_000
"""Bytes or characters of a value that is too long: as JSON, up to six times as many bytes."""

_MAX_INSTRUMENT_ID: Final = 1_000
"""More than any valid identifier has."""


class Publisher:
    """Publishes results in transactions, one at a time, in a separate thread.

    Parameters
    ----------
    producer
        A transactional producer, for the publisher's exclusive use.
    topic
        The input topic, which rejects name.
    prefix
        Results go to ``<prefix>.bars``, ``.indicators``, ``.alerts`` and ``.rejects``.
    """

    def __init__(self, producer: Producer, topic: str, prefix: str) -> None:
        self._producer = producer
        self._topic, self._prefix = topic, prefix
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="publish")
        self._in_flight: Future[None] | None = None
        self._on_committed: Callable[[], None] = lambda: None

    def publish(
        self,
        outputs: Sequence[Output],
        positions: Mapping[Partition, tuple[int, str]],
        group_metadata: Any,
        on_committed: Callable[[], None],
    ) -> None:
        """Start a transaction, after the one in flight has completed.

        Parameters
        ----------
        outputs
            The results.
        positions
            Next offset and commit metadata of each partition that they come from.
        group_metadata
            The result of `Consumer.group_metadata`.
        on_committed
            Called by `complete` once the transaction is committed.

        Raises
        ------
        TickerlakeError
            If the transaction in flight failed; no new one is started.
        """
        self.complete()
        self._on_committed = on_committed
        self._in_flight = self._pool.submit(self._write_transaction, outputs, positions, group_metadata)

    def complete(self, *, wait: bool = True) -> None:
        """Wait until the transaction in flight is committed; with ``wait=False`` only check whether it is.

        Raises
        ------
        TickerlakeError
            If the transaction failed.
        """
        in_flight = self._in_flight
        if in_flight is None or not (wait or in_flight.done()):
            return
        self._in_flight = None
        in_flight.result()
        self._on_committed()

    def close(self) -> None:
        """Stop the thread, once the transaction in flight has completed or failed."""
        self._pool.shutdown()

    def _write_transaction(
        self, outputs: Sequence[Output], positions: Mapping[Partition, tuple[int, str]], group_metadata: Any
    ) -> None:
        self._producer.begin()
        for output in outputs:
            self._send_output(output)
        failpoints.reach("track.sent")
        self._producer.send_offsets(positions, group_metadata)
        failpoints.reach("track.offsets")
        self._producer.commit()
        failpoints.reach("track.committed")

    def _send_output(self, output: Output) -> None:
        for suffix, records in (("bars", output.bars), ("indicators", output.indicators)):
            if records.height:
                rows = records.drop("partition", "offset")
                keys = rows.get_column("instrument_id").cast(pl.Binary).to_list()
                self._producer.send(f"{self._prefix}.{suffix}", keys, to_json_lines(rows))
        if output.alerts:
            alerts = [raised.alert for raised in output.alerts]
            keys = [alert.instrument_id.encode() for alert in alerts]
            self._producer.send(f"{self._prefix}.alerts", keys, [alert.to_json() for alert in alerts])
        if output.rejects.height:
            values = [_encode_reject(self._topic, row) for row in output.rejects.iter_rows(named=True)]
            self._producer.send(f"{self._prefix}.rejects", [None] * len(values), values)


def _encode_reject(topic: str, row: dict[str, object]) -> bytes:
    value, instrument_id = row.pop("value"), row.pop("instrument_id")
    document: dict[str, object] = {"reason": row.pop("reason"), "topic": topic, **row}
    if isinstance(instrument_id, str):
        document["instrument_id"] = instrument_id[:_MAX_INSTRUMENT_ID]
    if not isinstance(value, bytes):
        return msgspec.json.encode(document)
    encoded = msgspec.json.encode(document | _encode_value(value, len(value)))
    if len(encoded) <= _MAX_REJECT_BYTES:
        return encoded
    cut = _encode_value(value, _MAX_CUT_VALUE)
    return msgspec.json.encode(document | {"value_bytes": len(value)} | cut)


def _encode_value(value: bytes, limit: int) -> dict[str, str]:
    try:
        return {"value": value.decode()[:limit]}
    except UnicodeDecodeError:
        return {"value_base64": base64.b64encode(value[:limit]).decode()}
