"""A child: `tickerlake track`, timed from its first partition to its last transaction."""

from collections.abc import Callable
from typing import Any

from bench.child_report import Stopwatch
from tickerlake.cli.app import main as tickerlake
from tickerlake.kafka.client import Partition
from tickerlake.kafka.consumer import CommittedOffset, Consumer
from tickerlake.kafka.producer import Producer
from tickerlake.pipeline import track

_STOPWATCH = Stopwatch()


class TimedConsumer(Consumer):
    """Starts the stopwatch when partitions are assigned."""

    def __init__(
        self,
        servers: str,
        group: str,
        properties: dict[str, str],
        on_assign: Callable[[Partition, CommittedOffset | None], int],
        on_revoke: Callable[[Partition], None],
        **more: Any,
    ) -> None:
        def timed_assign(partition: Partition, committed: CommittedOffset | None) -> int:
            _STOPWATCH.start()
            return on_assign(partition, committed)

        super().__init__(servers, group, properties, timed_assign, on_revoke, **more)


class TimedProducer(Producer):
    """Stops the stopwatch with each transaction."""

    def commit(self) -> None:
        super().commit()
        _STOPWATCH.stop()


def main() -> None:
    for name, timed in (("Consumer", TimedConsumer), ("Producer", TimedProducer)):
        setattr(track, name, timed)
    try:
        tickerlake()
    finally:
        _STOPWATCH.report()


if __name__ == "__main__":
    main()
