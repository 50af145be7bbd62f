"""What a watcher receives: forming bars after each trade, closed bars in between, in order."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from support.records import batch, trade
from tickerlake.analytics.bars import Bars, Floats, Ints
from tickerlake.analytics.engine import Engine
from tickerlake.analytics.sessions import Sessions
from tickerlake.analytics.state_table import StateTable
from tickerlake.analytics.types import EngineOptions, FiredAlert

SECOND = 10**9
MINUTE = 60 * SECOND
START = 1_704_205_800 * SECOND


class Recorder:
    """Records its calls."""

    def __init__(self) -> None:
        self.required_indicators = {"1m": frozenset({"SMA(2)"})}
        self.tick_intervals = frozenset({"1m"})
        self.counts_rejects = False
        self.calls: list[tuple[Any, ...]] = []

    def add_instruments(self, instruments: Sequence[Any]) -> None:
        pass

    def retain(self, rows: Ints) -> None:
        pass

    def tables(self) -> dict[str, StateTable]:
        return {}

    def on_close(
        self, interval: str, bars: Bars, values: Mapping[str, Floats], detected_ns: Ints
    ) -> list[FiredAlert]:
        self._record("close", bars, values["SMA(2)"], bars.ts_close_ns)
        return []

    def on_tick(
        self, interval: str, bars: Bars, values: Mapping[str, Floats], event_ns: Ints, detected_ns: Ints
    ) -> list[FiredAlert]:
        self._record("tick", bars, values["SMA(2)"], event_ns)
        return []

    def on_idle(self, *_: Any) -> list[FiredAlert]:
        return []

    def on_rejects(self, *_: Any) -> list[FiredAlert]:
        return []

    def _record(self, event: str, bars: Bars, average: Floats, at_ns: Ints) -> None:
        for n in range(len(bars)):
            values = [float(getattr(bars, name)[n]) for name in ("open", "high", "low", "close", "volume")]
            mean = None if np.isnan(average[n]) else float(average[n])
            self.calls.append(
                (event, (int(at_ns[n]) - START) // SECOND, *values, bool(bars.first_of_session[n]), mean)
            )


def record_calls(*prices: tuple[int, float], **options: Any) -> list[tuple[Any, ...]]:
    recorder = Recorder()
    # two sessions of five minutes
    opens = np.array([START, START + 10 * MINUTE])
    sessions = Sessions(np.array([19_724, 19_725]), opens, opens + 5 * MINUTE)
    subject = Engine(EngineOptions(intervals=("1m",), **options), lambda _: sessions, recorder)
    values = [trade("A.XNAS", START + at * SECOND, Decimal(str(price)), Decimal(1)) for at, price in prices]
    subject.process(batch(values[:2]))
    subject.process(batch(values[2:], first_offset=2))
    return recorder.calls


def test_forming_bars_grow_over_batches_and_a_trade_first_closes_the_previous_bar() -> None:
    assert record_calls((0, 10), (20, 12), (40, 9), (61, 11), (70, 10), (121, 20)) == [
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
    calls = record_calls((0, 10), (600, 10), (601, 11), (661, 12))
    assert [(event, at_s, first) for event, at_s, *_, first, _ in calls] == [
        ("tick", 0, True),
        ("close", 60, True),
        ("tick", 600, True),
        ("tick", 601, True),
        ("close", 660, True),
        ("tick", 661, False),
    ]


def test_out_of_order_trades_are_aggregated_but_not_evaluated() -> None:
    calls = record_calls((0, 10), (20, 12), (10, 30), (40, 9), grace_ns=30 * SECOND)
    assert [(at_s, high, volume) for _, at_s, _, high, _, _, volume, *_ in calls] == [
        (0, 10, 1),
        (20, 12, 2),
        (40, 30, 4),
    ]


def test_a_partial_bar_is_not_evaluated() -> None:
    assert record_calls((30, 10), (40, 11), (60, 12)) == [("tick", 60, 12, 12, 12, 12, 1, True, None)]
