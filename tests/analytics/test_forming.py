"""What a watcher is shown: forming bars after each trade, closed bars in between, in order."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from support.records import batch, trade
from tickerlake.analytics.bars import Bars, Floats, Ints
from tickerlake.analytics.columnar import Table
from tickerlake.analytics.engine import Engine, EngineOptions, Fired
from tickerlake.analytics.sessions import Sessions

SECOND = 10**9
MINUTE = 60 * SECOND
START = 1_704_205_800 * SECOND


class Recorder:
    """Writes down what it is shown."""

    def __init__(self) -> None:
        self.needs = {"1m": frozenset({"SMA(2)"})}
        self.tick_intervals = frozenset({"1m"})
        self.counts_refused = False
        self.seen: list[tuple[Any, ...]] = []

    def grow(self, instruments: Sequence[Any]) -> None:
        pass

    def keep(self, rows: Ints) -> None:
        pass

    def components(self) -> dict[str, Table]:
        return {}

    def on_close(
        self, interval: str, bars: Bars, values: Mapping[str, Floats], detected_ns: Ints
    ) -> list[Fired]:
        self._write("close", bars, values["SMA(2)"], bars.ts_close_ns)
        return []

    def on_tick(
        self, interval: str, bars: Bars, values: Mapping[str, Floats], event_ns: Ints, detected_ns: Ints
    ) -> list[Fired]:
        self._write("tick", bars, values["SMA(2)"], event_ns)
        return []

    def on_silence(self, *_: Any) -> list[Fired]:
        return []

    def on_quality(self, *_: Any) -> list[Fired]:
        return []

    def _write(self, what: str, bars: Bars, average: Floats, at_ns: Ints) -> None:
        for n in range(len(bars)):
            figures = [float(getattr(bars, name)[n]) for name in ("open", "high", "low", "close", "volume")]
            mean = None if np.isnan(average[n]) else float(average[n])
            self.seen.append(
                (what, (int(at_ns[n]) - START) // SECOND, *figures, bool(bars.first_of_session[n]), mean)
            )


def shown(*prices: tuple[int, float], **options: Any) -> list[tuple[Any, ...]]:
    recorder = Recorder()
    # two sessions of five minutes
    opens = np.array([START, START + 10 * MINUTE])
    sessions = Sessions(np.array([19_724, 19_725]), opens, opens + 5 * MINUTE)
    subject = Engine(EngineOptions(intervals=("1m",), **options), lambda _: sessions, recorder)
    values = [trade("A.XNAS", START + at * SECOND, Decimal(str(price)), Decimal(1)) for at, price in prices]
    subject.take(batch(values[:2]))
    subject.take(batch(values[2:], first=2))
    return recorder.seen


def test_forming_bars_grow_over_batches_and_a_trade_closes_the_bar_before_it_is_shown() -> None:
    assert shown((0, 10), (20, 12), (40, 9), (61, 11), (70, 10), (121, 20)) == [
        ("tick", 0, 10, 10, 10, 10, 1, True, None),
        ("tick", 20, 10, 12, 10, 12, 2, True, None),
        ("tick", 40, 10, 12, 9, 9, 3, True, None),
        ("close", 60, 10, 12, 9, 9, 3, True, None),
        ("tick", 61, 11, 11, 11, 11, 1, False, 10),
        ("tick", 70, 11, 11, 10, 10, 2, False, 9.5),
        ("close", 120, 11, 11, 10, 10, 2, False, 9.5),
        ("tick", 121, 20, 20, 20, 20, 1, False, 15),
    ]


def test_a_new_session_begins_with_its_first_bar() -> None:
    seen = shown((0, 10), (600, 10), (601, 11), (661, 12))
    assert [(one[0], one[1], one[7]) for one in seen] == [
        ("tick", 0, True),
        ("close", 60, True),
        ("tick", 600, True),
        ("tick", 601, True),
        ("close", 660, True),
        ("tick", 661, False),
    ]


def test_trades_that_are_older_than_others_count_but_are_not_shown() -> None:
    seen = shown((0, 10), (20, 12), (10, 30), (40, 9), grace_ns=30 * SECOND)
    assert [(one[1], one[3], one[6]) for one in seen] == [(0, 10, 1), (20, 12, 2), (40, 30, 4)]


def test_a_partial_bar_is_not_shown() -> None:
    assert shown((30, 10), (40, 11), (60, 12)) == [("tick", 60, 12, 12, 12, 12, 1, True, None)]
