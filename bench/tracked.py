"""A child: `tickerlake track`, timed from its first partition to its last transaction."""

from collections.abc import Callable
from typing import Any

from bench.told import Clock
from tickerlake.cli.app import main as tickerlake
from tickerlake.kafka.consumer import Committed, Consumer, Partition
from tickerlake.kafka.producer import Producer
from tickerlake.pipeline import track

_CLOCK = Clock()


class TimedConsumer(Consumer):
    """Begins the clock when it is given partitions."""

    def __init__(
        self,
        servers: str,
        group: str,
        properties: dict[str, str],
        on_assign: Callable[[Partition, Committed | None], int],
        on_revoke: Callable[[Partition], None],
        **more: Any,
    ) -> None:
        def assigned(place: Partition, committed: Committed | None) -> int:
            _CLOCK.begin()
            return on_assign(place, committed)

        super().__init__(servers, group, properties, assigned, on_revoke, **more)


class TimedProducer(Producer):
    """Ends the clock with each transaction."""

    def commit(self) -> None:
        super().commit()
        _CLOCK.end()


def main() -> None:
    for name, timed in (("Consumer", TimedConsumer), ("Producer", TimedProducer)):
        setattr(track, name, timed)
    try:
        tickerlake()
    finally:
        _CLOCK.tell()


if __name__ == "__main__":
    main()
