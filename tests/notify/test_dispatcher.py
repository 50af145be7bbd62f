"""From the stream to real receivers: grouped, fanned out, and never in the stream's way."""

import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from support.receivers import HeldTimes, MailReceiver, Receiver, Reply, SkippingTimes, an_alert
from tickerlake.notify.delivery import Stats
from tickerlake.notify.dispatcher import Dispatcher
from tickerlake.notify.notification import Notification
from tickerlake.notify.route import Route
from tickerlake.notify.targets.address import Endpoint
from tickerlake.notify.targets.mail import Mail, MailServer
from tickerlake.notify.targets.network import Network
from tickerlake.notify.targets.webhook import Webhook


class Collector:
    """A target that keeps what it gets."""

    def __init__(self, name: str = "collector") -> None:
        self.name = name
        self.taken: list[Notification] = []
        self.something = threading.Semaphore(0)

    def deliver(self, notification: Notification) -> None:
        self.taken.append(notification)
        self.something.release()

    def symbols(self) -> list[list[str]]:
        return [[alert.symbol for alert in note.alerts] for note in self.taken]


class Stuck:
    """A target that is stuck until it is let go."""

    name = "stuck"

    def __init__(self) -> None:
        self.began = threading.Event()
        self.go_on = threading.Event()

    def deliver(self, notification: Notification) -> None:
        self.began.set()
        assert self.go_on.wait(60)


def _webhook(receiver: Receiver, **options: Any) -> Webhook:
    return Webhook("ops", Endpoint.parse(receiver.url, allow_private=True), **options)


def _dead(folder: Path, name: str = "ops") -> list[tuple[str, str, int]]:
    lines = [json.loads(line) for line in (folder / f"{name}.dead.ndjson").read_text().splitlines()]
    return [(line["alert"]["symbol"], line["reason"], line["attempts"]) for line in lines]


def test_a_market_move_is_one_notification(tmp_path: Path) -> None:
    clock, target = HeldTimes(), Collector()
    with Dispatcher([Route(target)], tmp_path, times=clock.times, tracked=lambda: 8) as dispatcher:
        for number in range(6):
            assert dispatcher.offer(an_alert(f"S{number}"))
        assert clock.until_someone_waits() == 2.0
        assert target.taken == []
        clock.advance(2.0)
        assert target.something.acquire(timeout=60)
        assert dispatcher.flush(60) == 0
        assert dispatcher.stats() == {"collector": Stats(delivered=6)}
    (note,) = target.taken
    assert note.text.startswith("market-wide: 6 of 8 symbols fell")


def test_targets_have_filters_and_groups_of_their_own(tmp_path: Path) -> None:
    every, critical, singles = Collector("every"), Collector("critical"), Collector("singles")
    routes = [
        Route(every),
        Route(critical, severity="critical"),
        Route(singles, symbols=("S1", "S2.XNAS", "S3*"), rules=("fast-*",), states=("cleared",), group=False),
    ]
    with Dispatcher(routes, tmp_path) as dispatcher:
        for number in range(5):
            dispatcher.offer(an_alert(f"S{number}", severity="critical" if number == 4 else "warning"))
            dispatcher.offer(an_alert(f"S{number}", state="cleared"))
        dispatcher.offer(an_alert("S1", state="cleared", rule_id="other"))
        assert dispatcher.flush(60) == 0
    assert every.symbols() == [["S0", "S1", "S2", "S3", "S4"]]
    assert critical.symbols() == [["S4"]]
    assert singles.symbols() == [["S1"], ["S2"], ["S3"]]


def test_a_slow_target_delays_no_other(tmp_path: Path) -> None:
    stuck, target = Stuck(), Collector()
    with Dispatcher([Route(stuck, group=False), Route(target, group=False)], tmp_path) as dispatcher:
        for number in range(1_000):
            assert dispatcher.offer(an_alert("A", ts_event_ns=number, dedup_key=str(number)))
        for _ in range(1_000):
            assert target.something.acquire(timeout=60)
        assert dispatcher.flush(0) > 0
        assert stuck.began.wait(60)
        assert dispatcher.stats()["stuck"].delivered == 0
        stuck.go_on.set()
        assert dispatcher.flush(60) == 0
        assert dispatcher.stats() == {"stuck": Stats(delivered=1_000), "collector": Stats(delivered=1_000)}


def test_busy_then_well(tmp_path: Path) -> None:
    clock = SkippingTimes()
    with Receiver(Reply(503), Reply(429, {"Retry-After": "9"}), Reply(200)) as receiver:
        with Dispatcher([Route(_webhook(receiver), group=False)], tmp_path, times=clock.times) as dispatcher:
            dispatcher.offer(an_alert())
            assert dispatcher.flush(60) == 0
            expected = Stats(delivered=1, retried=2, last_error="ops answers 429.")
            assert dispatcher.stats() == {"ops": expected}
        ids = {receiver.received().headers["webhook-id"] for _ in range(3)}
    assert clock.waits == [1, 9]
    assert ids == {an_alert().alert_id}


def test_a_refused_alert_is_a_dead_letter(tmp_path: Path) -> None:
    times = SkippingTimes().times
    with (
        Receiver(Reply(400)) as receiver,
        Dispatcher([Route(_webhook(receiver))], tmp_path, times=times) as it,
    ):
        it.offer(an_alert())
        it.flush(60)
    assert _dead(tmp_path) == [("AAPL", "ops answers 400.", 1)]


def test_a_dead_host_and_a_silent_one(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
    dead = Webhook("gone", Endpoint.parse(url, allow_private=True))
    with Receiver(Reply(0), Reply(0)) as receiver, MailReceiver() as mails:
        silent = _webhook(receiver, network=Network(total_s=0.1))
        mail = Mail("desk", MailServer("127.0.0.1", mails.port, "none"), sender="a@b.c", recipients=["d@e.f"])
        routes = [Route(dead), Route(silent, give_up_after_s=0.5), Route(mail)]
        with Dispatcher(routes, tmp_path, times=SkippingTimes().times) as dispatcher:
            dispatcher.offer(an_alert())
            assert dispatcher.flush(60) == 0
            stats = dispatcher.stats()
    assert (stats["desk"].delivered, stats["gone"].dead, stats["ops"].dead) == (1, 1, 1)
    assert _dead(tmp_path) == [("AAPL", "ops can't be reached: no answer within 0.1 s.", 1)]
    ((_, reason, attempts),) = _dead(tmp_path, "gone")
    assert reason == "gone can't be reached: Connection refused."
    assert attempts > 5


def test_offer_never_waits_and_counts_what_it_cannot_take(tmp_path: Path) -> None:
    clock, target = HeldTimes(), Collector()
    blocked = threading.Event()

    def tracked() -> int:
        assert blocked.wait(60)
        return 1

    dispatcher = Dispatcher([Route(target)], tmp_path, inbox_max=3, tracked=tracked, times=clock.times)
    taken = [dispatcher.offer(an_alert(f"S{number}")) for number in range(100)]
    assert 3 <= sum(taken) < 100
    blocked.set()
    dispatcher.close()
    assert dispatcher.stats()["collector"] == Stats(delivered=sum(taken), lost=100 - sum(taken))
    assert not dispatcher.offer(an_alert())


def test_close_sends_groups_that_still_wait(tmp_path: Path) -> None:
    target = Collector()
    dispatcher = Dispatcher([Route(target)], tmp_path, window_s=3_600)
    for number in range(7):
        dispatcher.offer(an_alert(f"S{number}"))
    dispatcher.close()
    assert [len(note.alerts) for note in target.taken] == [7]
    assert dispatcher.flush() == 0
    dispatcher.close()


def test_close_without_time_keeps_everything(tmp_path: Path) -> None:
    stuck = Stuck()
    dispatcher = Dispatcher([Route(stuck)], tmp_path)
    for number in range(3):
        dispatcher.offer(an_alert(f"S{number}"))
    dispatcher.close(0)
    assert sorted(symbol for symbol, _, _ in _dead(tmp_path, "stuck")) == ["S0", "S1", "S2"]
    assert dispatcher.stats()["stuck"] == Stats(dead=3)
    stuck.go_on.set()
    dispatcher.close()


def test_many_threads_may_offer(tmp_path: Path) -> None:
    target = Collector()
    with Dispatcher([Route(target)], tmp_path, window_s=0.001) as dispatcher:

        def offer(thread: int) -> None:
            for number in range(200):
                dispatcher.offer(an_alert(f"T{thread}", ts_event_ns=number, dedup_key=f"{thread}/{number}"))

        threads = [threading.Thread(target=offer, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert dispatcher.flush(60) == 0
    assert len({alert.alert_id for note in target.taken for alert in note.alerts}) == 800
    assert sum(len(note.alerts) for note in target.taken) == 800


def test_a_broken_count_of_symbols_stops_nothing(tmp_path: Path) -> None:
    target = Collector()

    def tracked() -> int:
        raise RuntimeError("not known yet")

    with Dispatcher([Route(target)], tmp_path, tracked=tracked) as dispatcher:
        dispatcher.offer(an_alert())
        assert dispatcher.flush(60) == 0
    assert target.symbols() == [["AAPL"]]


@pytest.mark.parametrize("name", ["instrument_id", "symbol"])
def test_patterns_match_symbol_and_instrument(name: str) -> None:
    alert = an_alert("BRK.B")
    assert Route(Collector(), symbols=(getattr(alert, name),)).wants(alert)
    assert not Route(Collector(), symbols=("BRK",)).wants(alert)
