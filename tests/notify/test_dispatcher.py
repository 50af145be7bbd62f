"""From alerts to real receivers: grouped, fanned out, and never blocking the caller."""

import itertools
import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from support.receivers import MailReceiver, ManualClock, Receiver, Reply, SkippingClock, make_alert
from tickerlake.clock import Timing
from tickerlake.notify.delivery import DeliveryStats
from tickerlake.notify.dispatcher import Dispatcher, Route
from tickerlake.notify.notification import Notification
from tickerlake.notify.targets.address import Endpoint
from tickerlake.notify.targets.mail import EmailTarget, SmtpServer
from tickerlake.notify.targets.network import Network
from tickerlake.notify.targets.webhook import WebhookTarget


class CollectingTarget:
    """A target that records what it gets."""

    def __init__(self, name: str = "collector") -> None:
        self.name = name
        self.delivered: list[Notification] = []
        self.delivery_signal = threading.Semaphore(0)

    def deliver(self, notification: Notification) -> None:
        self.delivered.append(notification)
        self.delivery_signal.release()

    def symbols(self) -> list[list[str]]:
        return [[alert.symbol for alert in note.alerts] for note in self.delivered]


class BlockingTarget:
    """A target that blocks until it is released."""

    def __init__(self) -> None:
        self.name = "stuck"
        self.started = threading.Event()
        self.released = threading.Event()

    def deliver(self, notification: Notification) -> None:
        self.started.set()
        assert self.released.wait(60)


def _webhook(receiver: Receiver, **options: Any) -> WebhookTarget:
    return WebhookTarget("ops", Endpoint.parse(receiver.url, allow_private=True), **options)


def _read_dead_letters(folder: Path, name: str = "ops") -> list[tuple[str, str, int]]:
    lines = [json.loads(line) for line in (folder / f"{name}.dead.ndjson").read_text().splitlines()]
    return [(line["alert"]["symbol"], line["reason"], line["attempts"]) for line in lines]


def test_a_market_move_is_one_notification(tmp_path: Path) -> None:
    clock, target = ManualClock(), CollectingTarget()
    with Dispatcher([Route(target)], tmp_path, timing=clock.times, count_tracked=lambda: 8) as dispatcher:
        for number in range(6):
            assert dispatcher.offer(make_alert(f"S{number}"))
        assert clock.next_deadline_s() == 2.0
        assert target.delivered == []
        clock.advance(2.0)
        assert target.delivery_signal.acquire(timeout=60)
        assert dispatcher.flush(60) == 0
        assert dispatcher.stats() == {"collector": DeliveryStats(delivered=6)}
    (note,) = target.delivered
    assert note.text.startswith("market-wide: 6 of 8 symbols fell")


def test_each_target_has_its_own_filters_and_groups(tmp_path: Path) -> None:
    every, critical, singles = (
        CollectingTarget("every"),
        CollectingTarget("critical"),
        CollectingTarget("singles"),
    )
    routes = [
        Route(every),
        Route(critical, min_severity="critical"),
        Route(singles, symbols=("S1", "S2.XNAS", "S3*"), rules=("fast-*",), states=("cleared",), group=False),
    ]
    with Dispatcher(routes, tmp_path) as dispatcher:
        for number in range(5):
            dispatcher.offer(make_alert(f"S{number}", severity="critical" if number == 4 else "warning"))
            dispatcher.offer(make_alert(f"S{number}", state="cleared"))
        dispatcher.offer(make_alert("S1", state="cleared", rule_id="other"))
        assert dispatcher.flush(60) == 0
    assert every.symbols() == [["S0", "S1", "S2", "S3", "S4"]]
    assert critical.symbols() == [["S4"]]
    assert singles.symbols() == [["S1"], ["S2"], ["S3"]]


def test_a_slow_target_delays_no_other(tmp_path: Path) -> None:
    stuck, target = BlockingTarget(), CollectingTarget()
    with Dispatcher([Route(stuck, group=False), Route(target, group=False)], tmp_path) as dispatcher:
        for number in range(1_000):
            assert dispatcher.offer(make_alert("A", ts_event_ns=number, dedup_key=str(number)))
        for _ in range(1_000):
            assert target.delivery_signal.acquire(timeout=60)
        assert dispatcher.flush(0) > 0
        assert stuck.started.wait(60)
        assert dispatcher.stats()["stuck"].delivered == 0
        stuck.released.set()
        assert dispatcher.flush(60) == 0
        assert dispatcher.stats() == {
            "stuck": DeliveryStats(delivered=1_000),
            "collector": DeliveryStats(delivered=1_000),
        }


def test_a_busy_target_recovers(tmp_path: Path) -> None:
    clock = SkippingClock()
    with Receiver(Reply(503), Reply(429, {"Retry-After": "9"}), Reply(200)) as receiver:
        with Dispatcher([Route(_webhook(receiver), group=False)], tmp_path, timing=clock.times) as dispatcher:
            dispatcher.offer(make_alert())
            assert dispatcher.flush(60) == 0
            expected = DeliveryStats(delivered=1, retried=2, last_error="ops returned 429.")
            assert dispatcher.stats() == {"ops": expected}
        ids = {receiver.next_request().headers["webhook-id"] for _ in range(3)}
    assert clock.waits == [1, 9]
    assert ids == {make_alert().alert_id}


def test_a_rejected_alert_is_a_dead_letter(tmp_path: Path) -> None:
    times = SkippingClock().times
    with (
        Receiver(Reply(400)) as receiver,
        Dispatcher([Route(_webhook(receiver))], tmp_path, timing=times) as it,
    ):
        it.offer(make_alert())
        it.flush(60)
    assert _read_dead_letters(tmp_path) == [("AAPL", "ops returned 400.", 1)]


def test_a_dead_host_and_an_unresponsive_one(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
    dead = WebhookTarget("gone", Endpoint.parse(url, allow_private=True))
    with Receiver(Reply(0), Reply(0)) as receiver, MailReceiver() as mails:
        unresponsive = _webhook(receiver, network=Network(total_timeout_s=0.1))
        mail = EmailTarget(
            "desk", SmtpServer("127.0.0.1", mails.port, "none"), sender="a@b.c", recipients=["d@e.f"]
        )
        routes = [Route(dead), Route(unresponsive, give_up_after_s=0.5), Route(mail)]
        with Dispatcher(routes, tmp_path, timing=SkippingClock().times) as dispatcher:
            dispatcher.offer(make_alert())
            # more than the clock skips while it retries
            assert dispatcher.flush(3_600) == 0
            stats = dispatcher.stats()
    assert (stats["desk"].delivered, stats["gone"].dead_lettered, stats["ops"].dead_lettered) == (1, 1, 1)
    assert _read_dead_letters(tmp_path) == [("AAPL", "ops cannot be reached: no answer within 0.1 s.", 1)]
    ((_, reason, attempts),) = _read_dead_letters(tmp_path, "gone")
    assert reason == "gone cannot be reached: Connection refused."
    assert attempts > 5


def test_offer_never_blocks_and_counts_overflow(tmp_path: Path) -> None:
    clock, target = ManualClock(), CollectingTarget()
    blocked = threading.Event()

    def tracked() -> int:
        assert blocked.wait(60)
        return 1

    dispatcher = Dispatcher([Route(target)], tmp_path, max_inbox=3, count_tracked=tracked, timing=clock.times)
    accepted = [dispatcher.offer(make_alert(f"S{number}")) for number in range(100)]
    assert 3 <= sum(accepted) < 100
    blocked.set()
    dispatcher.close()
    assert dispatcher.stats()["collector"] == DeliveryStats(delivered=sum(accepted), lost=100 - sum(accepted))
    assert not dispatcher.offer(make_alert())


def test_close_sends_groups_that_still_wait(tmp_path: Path) -> None:
    target = CollectingTarget()
    dispatcher = Dispatcher([Route(target)], tmp_path, window_s=3_600)
    for number in range(7):
        dispatcher.offer(make_alert(f"S{number}"))
    dispatcher.close()
    assert [len(note.alerts) for note in target.delivered] == [7]
    assert dispatcher.flush() == 0
    dispatcher.close()


def test_close_without_time_saves_everything(tmp_path: Path) -> None:
    stuck = BlockingTarget()
    dispatcher = Dispatcher([Route(stuck)], tmp_path)
    for number in range(3):
        dispatcher.offer(make_alert(f"S{number}"))
    dispatcher.close(0)
    assert sorted(symbol for symbol, _, _ in _read_dead_letters(tmp_path, "stuck")) == ["S0", "S1", "S2"]
    assert dispatcher.stats()["stuck"] == DeliveryStats(dead_lettered=3)
    stuck.released.set()
    dispatcher.close()


def test_flush_and_close_wait_by_the_injected_clock(tmp_path: Path) -> None:
    hours = itertools.count(step=3_600)
    stuck = [BlockingTarget(), BlockingTarget()]
    stuck[1].name = "other"
    routes = [Route(target, group=False) for target in stuck]
    dispatcher = Dispatcher(routes, tmp_path, timing=Timing(monotonic_s=lambda: float(next(hours))))
    dispatcher.offer(make_alert())
    for target in stuck:
        assert target.started.wait(60)
    # a minute has passed by the time the targets are waited for
    assert dispatcher.flush(60) == 2
    dispatcher.close(60)
    assert {name: stats.dead_lettered for name, stats in dispatcher.stats().items()} == {
        "stuck": 1,
        "other": 1,
    }
    for target in stuck:
        target.released.set()


def test_offer_is_thread_safe(tmp_path: Path) -> None:
    target = CollectingTarget()
    with Dispatcher([Route(target)], tmp_path, window_s=0.001) as dispatcher:

        def offer(thread: int) -> None:
            for number in range(200):
                dispatcher.offer(make_alert(f"T{thread}", ts_event_ns=number, dedup_key=f"{thread}/{number}"))

        threads = [threading.Thread(target=offer, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert dispatcher.flush(60) == 0
    assert len({alert.alert_id for note in target.delivered for alert in note.alerts}) == 800
    assert sum(len(note.alerts) for note in target.delivered) == 800


def test_a_failing_symbol_count_stops_nothing(tmp_path: Path) -> None:
    target = CollectingTarget()

    def tracked() -> int:
        raise RuntimeError("not known yet")

    with Dispatcher([Route(target)], tmp_path, count_tracked=tracked) as dispatcher:
        dispatcher.offer(make_alert())
        assert dispatcher.flush(60) == 0
    assert target.symbols() == [["AAPL"]]


@pytest.mark.parametrize("name", ["instrument_id", "symbol"])
def test_patterns_match_symbol_and_instrument(name: str) -> None:
    alert = make_alert("BRK.B")
    assert Route(CollectingTarget(), symbols=(getattr(alert, name),)).accepts(alert)
    assert not Route(CollectingTarget(), symbols=("BRK",)).accepts(alert)
