"""13–16: rebalances, zombies, workers that poll too rarely, wrong committed offsets."""

import os
import random
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from confluent_kafka import Consumer, ConsumerGroupState, TopicPartition
from confluent_kafka.admin import AdminClient, ConsumerGroupDescription  # type: ignore[attr-defined]

from support import oracle
from support.process import Child, is_halted, wait_until
from support.scenario import Scenario
from tickerlake.kafka.admin import Admin

FREQUENT_FLUSH = ("--flush-records", 50, "--flush-age", 0.2)
# a session timeout of 6 s and a rebalance, several times over on a slow machine
MAX_UNOWNED_S = 30


@cache
def _admin(servers: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": servers})


def _describe_group(scenario: Scenario, group: str) -> ConsumerGroupDescription:
    description: ConsumerGroupDescription = (
        _admin(scenario.servers).describe_consumer_groups([group])[group].result(10)
    )
    return description


def _group_has_state(scenario: Scenario, group: str, state: ConsumerGroupState) -> bool:
    return bool(_describe_group(scenario, group).state == state)


def _overcommitted_partitions(scenario: Scenario, group: str) -> list[int]:
    """Return the partitions with an offset below the committed one that is not stored."""
    stored = oracle.read_rows(scenario.copy_lake(), scenario.topic)
    committed = Admin(scenario.servers).committed_offsets([group]).get(group, {})
    return [
        number
        for (_, number), end in committed.items()
        if any((number, offset) not in stored for offset in range(end))
    ]


def _stop_all(*children: Child) -> None:
    for child in children:
        child.terminate()
    for child in children:
        _, err = child.communicate(timeout=60)
        assert child.returncode == 0, err


@pytest.mark.full
@pytest.mark.parametrize("failpoints", ["sink.segment_cut=stop@2", "segment.rejects=stop@2"])
def test_a_member_joins_in_the_middle_of_a_flush(scenario: Scenario, failpoints: str) -> None:
    group = scenario.topic
    scenario.produce(600)
    with ExitStack() as stack:
        long_session = ("-X", "session.timeout.ms=20000")
        first = stack.enter_context(
            scenario.start_sink(*FREQUENT_FLUSH, "--group", group, *long_session, failpoints=failpoints)
        )
        wait_until(lambda: is_halted(first.pid))
        second = stack.enter_context(scenario.start_sink(*FREQUENT_FLUSH, "--group", group))
        wait_until(
            lambda: _group_has_state(scenario, group, ConsumerGroupState.PREPARING_REBALANCING), second
        )
        stored_before = scenario.stored_count()
        first.send_signal(signal.SIGCONT)
        recovery_s = wait_until(lambda: scenario.stored_count() > stored_before, second)
        scenario.produce(600)
        wait_until(scenario.has_stored_all, second)
        assert not _overcommitted_partitions(scenario, group)
        _stop_all(first, second)
    scenario.assert_survived(
        "13", f"another worker joins at {failpoints}", injected=1, triggered=1, recovery_s=recovery_s
    )


@pytest.mark.parametrize(
    ("fmt", "failpoints"),
    [
        ("ndjson", "segment.rejects=stop@2"),
        pytest.param("json", "object.stored=stop@50", marks=pytest.mark.full),
    ],
)
def test_a_zombie_worker_returns(scenario: Scenario, fmt: str, failpoints: str) -> None:
    group = scenario.topic
    options = (*FREQUENT_FLUSH, "--group", group, "--format", fmt)
    scenario.produce(400)
    with scenario.start_sink(*options, failpoints=failpoints) as zombie:
        wait_until(lambda: is_halted(zombie.pid))
        with scenario.start_sink(*options) as other:
            # its partitions are reassigned and stored while it is paused
            recovery_s = wait_until(scenario.has_stored_all, other)
            assert is_halted(zombie.pid)
            stored_before = scenario.object_keys()
            zombie.send_signal(signal.SIGCONT)
            scenario.produce(400)
            wait_until(lambda: len(_assigned_members(scenario, group)) == 2, zombie)
            wait_until(scenario.has_stored_all, other)
            assert not _overcommitted_partitions(scenario, group)
            assert set(stored_before) <= set(scenario.object_keys())
            _stop_all(zombie, other)
    scenario.assert_survived(
        "14", f"zombie worker at {failpoints}, {fmt}", injected=1, triggered=1, recovery_s=recovery_s
    )


def _assigned_members(scenario: Scenario, group: str) -> list[str]:
    """Return the ids of the members that have partitions."""
    members = _describe_group(scenario, group).members
    return [each.member_id for each in members if each.assignment and each.assignment.topic_partitions]


@contextmanager
def _terminal() -> Iterator[tuple[int, int]]:
    """Open a pseudoterminal: yields its controlling end and the end to be used as stderr.

    Ctrl-S at the controlling end blocks the process that prints: the sink's loop. Ctrl-Q unblocks it.
    """
    keyboard, terminal = os.openpty()
    screen = threading.Thread(target=_drain_terminal, args=(keyboard,))
    screen.start()
    try:
        yield keyboard, terminal
    finally:
        os.close(terminal)
        screen.join()
        os.close(keyboard)


def _drain_terminal(keyboard: int) -> None:
    # reading fails once the last writer has closed the terminal
    with suppress(OSError):
        while os.read(keyboard, 4096):
            pass


@pytest.mark.full
def test_output_blocks_longer_than_the_poll_interval(scenario: Scenario) -> None:
    group = scenario.topic
    scenario.produce(400)
    with (
        _terminal() as (keyboard, terminal),
        scenario.start_sink(
            *FREQUENT_FLUSH, "--group", group, "-X", "max.poll.interval.ms=6000", stderr=terminal
        ) as child,
    ):
        wait_until(scenario.has_stored_all, child)
        os.write(keyboard, b"\x13")
        scenario.produce(400)
        wait_until(lambda: _group_has_state(scenario, group, ConsumerGroupState.EMPTY), child)
        assert not _overcommitted_partitions(scenario, group)
        assert child.poll() is None
        scenario.produce(400)
        os.write(keyboard, b"\x11")
        recovery_s = wait_until(scenario.has_stored_all, child)
        assert not _overcommitted_partitions(scenario, group)
        _stop_all(child)
    scenario.assert_survived(
        "15", "output blocked, poll interval exceeded", injected=1, triggered=1, recovery_s=recovery_s
    )


@pytest.mark.full
def test_a_static_member_restarts_during_a_rebalance(scenario: Scenario) -> None:
    """A static member killed while it should revoke partitions gets them back under its id."""
    common = (*FREQUENT_FLUSH, "--group", scenario.topic, "-X", "heartbeat.interval.ms=500")
    options = [(*common, "-X", f"group.instance.id={name}") for name in ("a", "b")]
    scenario.produce(400)
    with (
        _terminal() as (keyboard, terminal),
        scenario.start_sink(*options[0], stderr=terminal) as first,
        ExitStack() as others,
    ):
        wait_until(scenario.has_stored_all, first)
        os.write(keyboard, b"\x13")
        second = others.enter_context(scenario.start_sink(*options[1]))
        wait_until(
            lambda: _group_has_state(scenario, scenario.topic, ConsumerGroupState.PREPARING_REBALANCING),
            second,
        )
        # eager: the group waits for the first worker; cooperative: it is soon stable with the second one
        pause_s = time.monotonic() + 3
        wait_until(
            lambda: (
                _group_has_state(scenario, scenario.topic, ConsumerGroupState.STABLE)
                or time.monotonic() > pause_s
            ),
            second,
        )
        first.kill()
        restarted = others.enter_context(scenario.start_sink(*options[0]))
        scenario.produce(400)
        recovery_s = wait_until(scenario.has_stored_all, restarted)
        wait_until(lambda: len(_assigned_members(scenario, scenario.topic)) == 2, restarted)
        _, err = scenario.run_sink(*common, exit_code=2)
        assert "Either all members of a group are static" in err
        _stop_all(second, restarted)
    scenario.assert_survived(
        "13", "static member killed during a rebalance", injected=1, triggered=1, recovery_s=recovery_s
    )


@pytest.mark.full
def test_wrong_committed_offsets_do_no_harm(scenario: Scenario) -> None:
    group = scenario.topic
    options = ("--group", group, "--flush-records", 20)
    # too low with matching metadata, too high, metadata that no sink writes (twice)
    wrong = {0: (20, "0"), 1: (1_000_000, "999000"), 2: (100, "17"), 3: (100, "x" * 100)}
    scenario.produce(400)
    scenario.run_sink(*options)
    scenario.produce(400)
    consumer = Consumer({"bootstrap.servers": scenario.servers, "group.id": group})
    partitions = [TopicPartition(scenario.topic, number, *each) for number, each in wrong.items()]
    committed_by_hand = consumer.commit(offsets=partitions, asynchronous=False)
    consumer.close()
    assert committed_by_hand
    committed = Admin(scenario.servers).committed_offsets([group])[group]
    triggered = sum(committed[scenario.topic, number] == offset for number, (offset, _) in wrong.items())
    scenario.run_sink(*options)
    assert scenario.has_stored_all()
    assert not _overcommitted_partitions(scenario, group), "the committed offsets are corrected"
    _admin(scenario.servers).delete_consumer_groups([group])[group].result(10)
    triggered += group not in Admin(scenario.servers).groups()
    scenario.produce(400)
    scenario.run_sink(*options)
    scenario.assert_survived("16", "wrong committed offsets, group deleted", injected=5, triggered=triggered)


@pytest.mark.full
@pytest.mark.parametrize("changes", [4, 20])
def test_a_group_survives_joins_and_leaves(scenario: Scenario, changes: int) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    triggered = 0
    with ExitStack() as stack, scenario.continuous_load(400):
        sinks = [stack.enter_context(scenario.start_sink(*FREQUENT_FLUSH))]
        for number in range(changes):
            before = len(scenario.object_keys())
            if len(sinks) == 1 or (len(sinks) < 4 and number % 2 == 0):
                sinks.append(stack.enter_context(scenario.start_sink(*FREQUENT_FLUSH)))
            else:
                leaving = sinks.pop(rng.randrange(len(sinks)))
                triggered -= leaving.poll() is not None
                leaving.send_signal(rng.choice([signal.SIGTERM, signal.SIGKILL]))
            triggered += 1
            # ends during a rebalance, or just after it
            pause_s = time.monotonic() + rng.uniform(1, 4)
            wait_until(lambda end=pause_s: time.monotonic() > end)  # type: ignore[misc]
            wait_until(lambda count=before: len(scenario.object_keys()) > count, sinks[-1])  # type: ignore[misc]
        stack.callback(_stop_all, *sinks)
    scenario.run_sink()
    longest_gap_s = _longest_gap_s(scenario)
    assert longest_gap_s < MAX_UNOWNED_S
    scenario.assert_survived(
        "13",
        f"workers join and leave, seed {seed}",
        injected=changes,
        triggered=triggered,
        recovery_s=longest_gap_s,
    )


def _longest_gap_s(scenario: Scenario) -> float:
    """Return the longest time without a new segment in any partition, under continuous load."""
    times = [
        sorted(file.stat().st_mtime for file in folder.iterdir())
        for folder in (Path(scenario.lake) / "raw" / scenario.topic).glob("partition=*")
    ]
    assert len(times) == 4
    return max(b - a for each in times for a, b in pairwise(each))


@pytest.mark.full
def test_two_groups_on_the_same_partitions_by_force(scenario: Scenario) -> None:
    scenario.produce(10_000)
    with (
        scenario.start_sink("--group", "force-a", "--until-end", "--flush-records", 70) as first,
        scenario.start_sink("--group", "force-b", "--until-end", "--flush-records", 31) as second,
    ):
        for child in (first, second):
            _, err = child.communicate(timeout=120)
            assert child.returncode == 0, err
    scenario.assert_survived("13", "two groups store the same partitions", injected=1, triggered=1)
