"""16, and what befalls the replies of a broker: lost, cut off, changed into errors."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fault.conftest import Story, begin, daily_csv
from support import oracle
from support.kafkaproxy import KafkaProxy
from support.process import run, wait_until
from support.tracker import Written, amounts, simulated, tracker, undisturbed, written
from tickerlake.errors import BrokerUnreachable
from tickerlake.kafka.consumer import Tail, read_all
from tickerlake.kafka.embedded import EmbeddedBroker
from tickerlake.kafka.embedded_files import free_port
from tickerlake.kafka.peek import Peek

OFTEN = ("--flush-records", 50, "--flush-age", 0.2)
# what Kafka says to a member that is late, unknown, or to join again, and of a coordinator that has moved
REFUSALS = {
    22: "ILLEGAL_GENERATION",
    25: "UNKNOWN_MEMBER_ID",
    27: "REBALANCE_IN_PROGRESS",
    16: "NOT_COORDINATOR",
}
TIMES = 3

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaProxy]:
    """A broker that can be reached through a proxy only."""
    port = free_port()
    with KafkaProxy(port) as proxy:
        advertised = {"advertised.listeners": f"PLAINTEXT://{proxy.address}"}
        with EmbeddedBroker(tmp_path_factory.mktemp("wire") / "broker", port, properties=advertised):
            yield proxy


@pytest.fixture
def own(wire: KafkaProxy, tmp_path: Path, record_property: Callable[[str, object], None]) -> Story:
    wire.heal()
    return begin(wire.address, tmp_path / "lake", record_property)


def _stores(own: Story, wire: KafkaProxy, fault: str) -> None:
    """Let a sink store while faults strike; it goes on, ends well, and its last commits are heard."""
    due = wire.pending
    with own.sink(*OFTEN, "--group", own.topic) as child:
        wait_until(own.has_all, child)
        while wire.pending and child.poll() is None:
            own.fill(200)
            wait_until(own.has_all, child)
        own.fill(600)
        wait_until(own.has_all, child)
        child.terminate()
        _, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    ends: Counter[int] = Counter()
    for number, offset in oracle.rows(own.copy(), own.topic):
        ends[number] = max(ends[number], offset + 1)
    assert own.committed() == ends
    own.survived("16", fault, injected=due, struck=wire.struck.total())


@pytest.mark.parametrize(
    "kind", ["OffsetCommit", "JoinGroup", "SyncGroup", "Heartbeat", "OffsetFetch", "Fetch"]
)
def test_replies_to_a_sink_are_lost(own: Story, wire: KafkaProxy, kind: str) -> None:
    own.fill(600)
    wire.lose_reply(kind, TIMES)
    _stores(own, wire, f"replies to a sink's {kind} lost")


def test_replies_to_a_sink_are_cut(own: Story, wire: KafkaProxy) -> None:
    own.fill(600)
    wire.cut_reply("Fetch", TIMES)
    _stores(own, wire, "replies to a sink's Fetch cut off")


@pytest.mark.parametrize("code", REFUSALS, ids=REFUSALS.get)
def test_commits_are_refused(own: Story, wire: KafkaProxy, code: int) -> None:
    own.fill(600)
    wire.refuse("OffsetCommit", code, TIMES)
    _stores(own, wire, f"commits refused: {REFUSALS[code]}")


@pytest.mark.timeout(180)
def test_the_broker_comes_back_and_knows_no_broker(own: Story, wire: KafkaProxy) -> None:
    """A client that hears so may never find one again; its first setting makes that sure, the second soon."""
    forgetful = ("-X", "metadata.recovery.strategy=none", "-X", "topic.metadata.refresh.interval.ms=500")
    own.fill(600)
    with own.sink(*OFTEN, "--group", own.topic, *forgetful) as child:
        wait_until(own.has_all, child)
        wire.knows_no_broker = True
        # who consumes, and who asks for the topic's id
        wait_until(lambda: wire.struck.total() > 1, child)
        wire.knows_no_broker = False
        own.fill(600)
        back_s = wait_until(own.has_all, child)
        child.terminate()
        _, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    own.survived(
        "10",
        "a broker that came back and knew of none",
        injected=2,
        struck=wire.struck.total(),
        back_s=back_s,
    )


def test_readers_say_that_they_have_lost_the_brokers(own: Story, wire: KafkaProxy) -> None:
    forgetful = {"metadata.recovery.strategy": "none", "topic.metadata.refresh.interval.ms": "500"}
    own.fill(100)
    tail, peek = Tail(own.servers, forgetful), Peek(own.servers, forgetful)
    starts = {(own.topic, number): 0 for number in range(4)}
    tail.follow(starts)
    found = 0
    while found < own.sent:
        found += len(tail.take(0.2).get(own.topic, []))
    assert len(peek.first(starts, 30)) == 4
    follower = read_all(own.servers, forgetful, own.topic, {0: 0}, lambda: True)
    assert next(follower).frame.height
    wire.knows_no_broker = True
    with pytest.raises(BrokerUnreachable, match="lost all brokers"):
        wait_until(lambda: bool(tail.take(0.2)))
    with pytest.raises(BrokerUnreachable, match="lost all brokers"):
        list(follower)
    tail.close()
    # it helps itself
    wait_until(lambda: not peek.first(starts, 0.2))
    wire.knows_no_broker = False
    wait_until(lambda: len(peek.first(starts, 1)) == 4)
    peek.close()
    assert wire.struck.total() >= 3


@pytest.mark.parametrize("kind", ["InitProducerId", "AddPartitionsToTxn", "Produce", "EndTxn"])
def test_replies_to_produce_are_lost(own: Story, wire: KafkaProxy, tmp_path: Path, kind: str) -> None:
    rows = 3000
    path = daily_csv(tmp_path, rows)
    wire.lose_reply(kind, TIMES)
    run("produce", path, "-t", own.topic, "-b", own.servers, "--rate", "4000/s")
    assert wire.pending == 0
    own.produced("10", f"replies to {kind} of produce lost", TIMES, wire.struck[kind], rows)


@pytest.fixture(scope="module")
def trades(wire: KafkaProxy) -> str:
    return simulated(wire.address)


@pytest.fixture(scope="module")
def quiet(wire: KafkaProxy, trades: str, tmp_path_factory: pytest.TempPathFactory) -> Written:
    return undisturbed(wire.address, trades, tmp_path_factory.mktemp("quiet"))


@pytest.mark.parametrize(
    "kind", ["AddPartitionsToTxn", "AddOffsetsToTxn", "TxnOffsetCommit", "Produce", "EndTxn"]
)
def test_replies_to_track_are_lost(
    own: Story, wire: KafkaProxy, trades: str, quiet: Written, tmp_path: Path, kind: str
) -> None:
    wire.lose_reply(kind, TIMES)
    worker = tracker(wire.address, trades, own.topic, own.topic, tmp_path / "state")
    worker.run(threading.Event(), until_end=True)
    assert wire.pending == 0
    found = written(wire.address, own.topic)
    what = f"replies to {kind} of track lost"
    own.tell("10", what, TIMES, wire.struck[kind], wanted=amounts(quiet), there=amounts(found))
    assert found == quiet
