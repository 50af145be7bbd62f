"""13–16: workers that come, go, sleep and come too late; commits that fail, offsets that are wrong."""

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

from fault.conftest import Story
from support import oracle
from support.process import Child, is_halted, wait_until
from tickerlake.kafka.admin import Admin

OFTEN = ("--flush-records", 50, "--flush-age", 0.2)
UNOWNED_S = 30


@cache
def _admin(servers: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": servers})


def _about(story: Story, group: str) -> ConsumerGroupDescription:
    about: ConsumerGroupDescription = (
        _admin(story.servers).describe_consumer_groups([group])[group].result(10)
    )
    return about


def _is(story: Story, group: str, state: ConsumerGroupState) -> bool:
    return bool(_about(story, group).state == state)


def _too_far(story: Story, group: str) -> list[int]:
    """Return the partitions of which more is committed than is stored, without a hole."""
    stored = oracle.rows(story.copy(), story.topic)
    committed = Admin(story.servers).committed([group]).get(group, {})
    return [
        number
        for (_, number), end in committed.items()
        if any((number, offset) not in stored for offset in range(end))
    ]


def _end(*children: Child) -> None:
    for child in children:
        child.terminate()
    for child in children:
        _, err = child.communicate(timeout=60)
        assert child.returncode == 0, err


@pytest.mark.full
@pytest.mark.parametrize("at", ["sink.cut=stop@2", "segment.rejects=stop@2"])
def test_another_joins_in_the_middle_of_a_flush(story: Story, at: str) -> None:
    group = story.topic
    story.fill(600)
    with ExitStack() as stack:
        patient = ("-X", "session.timeout.ms=20000")
        first = stack.enter_context(story.sink(*OFTEN, "--group", group, *patient, at=at))
        wait_until(lambda: is_halted(first.pid))
        second = stack.enter_context(story.sink(*OFTEN, "--group", group))
        wait_until(lambda: _is(story, group, ConsumerGroupState.PREPARING_REBALANCING), second)
        halted = story.rows()
        first.send_signal(signal.SIGCONT)
        back_s = wait_until(lambda: story.rows() > halted, second)
        story.fill(600)
        wait_until(story.has_all, second)
        assert not _too_far(story, group)
        _end(first, second)
    story.survived("13", f"another joins at {at}", injected=1, struck=1, back_s=back_s)


@pytest.mark.parametrize(
    ("fmt", "at"),
    [
        ("ndjson", "segment.rejects=stop@2"),
        pytest.param("json", "object.stored=stop@50", marks=pytest.mark.full),
    ],
)
def test_a_worker_sleeps_too_long_and_comes_back(story: Story, fmt: str, at: str) -> None:
    group = story.topic
    options = (*OFTEN, "--group", group, "--format", fmt)
    story.fill(400)
    with story.sink(*options, at=at) as sleeper:
        wait_until(lambda: is_halted(sleeper.pid))
        with story.sink(*options) as other:
            # its partitions are taken over and stored while it sleeps
            back_s = wait_until(story.has_all, other)
            assert is_halted(sleeper.pid)
            before = story.objects()
            sleeper.send_signal(signal.SIGCONT)
            story.fill(400)
            wait_until(lambda: len(_members(story, group)) == 2, sleeper)
            wait_until(story.has_all, other)
            assert not _too_far(story, group)
            assert set(before) <= set(story.objects())
            _end(sleeper, other)
    story.survived("14", f"zombie at {at}, {fmt}", injected=1, struck=1, back_s=back_s)


def _members(story: Story, group: str) -> list[str]:
    """Return the members that have partitions."""
    members = _about(story, group).members
    return [each.member_id for each in members if each.assignment and each.assignment.topic_partitions]


@contextmanager
def _terminal() -> Iterator[tuple[int, int]]:
    """Open a terminal: its keyboard's end, where its screen is read, too, and the end that a process gets.

    Ctrl-S halts who writes to it, the sink's loop; Ctrl-Q lets it go on.
    """
    keyboard, end = os.openpty()
    screen = threading.Thread(target=_show, args=(keyboard,))
    screen.start()
    try:
        yield keyboard, end
    finally:
        os.close(end)
        screen.join()
        os.close(keyboard)


def _show(keyboard: int) -> None:
    # an error, when nobody writes to the terminal any more
    with suppress(OSError):
        while os.read(keyboard, 4096):
            pass


@pytest.mark.full
def test_a_terminal_is_halted_for_longer_than_the_group_waits(story: Story) -> None:
    group = story.topic
    story.fill(400)
    with (
        _terminal() as (keyboard, terminal),
        story.sink(*OFTEN, "--group", group, "-X", "max.poll.interval.ms=6000", stderr=terminal) as child,
    ):
        wait_until(story.has_all, child)
        os.write(keyboard, b"\x13")
        story.fill(400)
        wait_until(lambda: _is(story, group, ConsumerGroupState.EMPTY), child)
        assert not _too_far(story, group)
        assert child.poll() is None
        story.fill(400)
        os.write(keyboard, b"\x11")
        back_s = wait_until(story.has_all, child)
        assert not _too_far(story, group)
        _end(child)
    story.survived("15", "its terminal halted, so polls too rarely", injected=1, struck=1, back_s=back_s)


@pytest.mark.full
def test_a_named_worker_begins_again_while_partitions_move(story: Story) -> None:
    """It is killed where it would give partitions up: its name gets it back without being asked."""
    common = (*OFTEN, "--group", story.topic, "-X", "heartbeat.interval.ms=500")
    options = [(*common, "-X", f"group.instance.id={name}") for name in ("a", "b")]
    story.fill(400)
    with (
        _terminal() as (keyboard, terminal),
        story.sink(*options[0], stderr=terminal) as first,
        ExitStack() as others,
    ):
        wait_until(story.has_all, first)
        os.write(keyboard, b"\x13")
        second = others.enter_context(story.sink(*options[1]))
        wait_until(lambda: _is(story, story.topic, ConsumerGroupState.PREPARING_REBALANCING), second)
        # who shares out all anew waits for the first; who does not is soon content with what it still holds
        pause_s = time.monotonic() + 3
        wait_until(
            lambda: _is(story, story.topic, ConsumerGroupState.STABLE) or time.monotonic() > pause_s, second
        )
        first.kill()
        again = others.enter_context(story.sink(*options[0]))
        story.fill(400)
        back_s = wait_until(story.has_all, again)
        wait_until(lambda: len(_members(story, story.topic)) == 2, again)
        _, err = story.store_all(*common, code=2)
        assert "Either each member of a group has a name" in err
        _end(second, again)
    story.survived("13", "a named worker killed while partitions move", injected=1, struck=1, back_s=back_s)


@pytest.mark.full
def test_what_is_committed_does_not_matter(story: Story) -> None:
    group = story.topic
    options = ("--group", group, "--flush-records", 20)
    # too low with the note that fits, too high, notes of nobody
    wrong = {0: (20, "0"), 1: (1_000_000, "999000"), 2: (100, "17"), 3: (100, "x" * 100)}
    story.fill(400)
    story.store_all(*options)
    story.fill(400)
    by_hand = Consumer({"bootstrap.servers": story.servers, "group.id": group})
    places = [TopicPartition(story.topic, number, *each) for number, each in wrong.items()]
    done = by_hand.commit(offsets=places, asynchronous=False)
    by_hand.close()
    assert done
    committed = Admin(story.servers).committed([group])[group]
    struck = sum(committed[story.topic, number] == offset for number, (offset, _) in wrong.items())
    story.store_all(*options)
    assert story.has_all()
    assert not _too_far(story, group), "it is put right"
    _admin(story.servers).delete_consumer_groups([group])[group].result(10)
    struck += group not in Admin(story.servers).groups()
    story.fill(400)
    story.store_all(*options)
    story.survived("16", "committed offsets wrong, group deleted", injected=5, struck=struck)


@pytest.mark.full
@pytest.mark.parametrize("changes", [4, 20])
def test_a_group_survives_joins_and_leaves(story: Story, changes: int) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    struck = 0
    with ExitStack() as stack, story.coming(400):
        alive = [stack.enter_context(story.sink(*OFTEN))]
        for number in range(changes):
            before = len(story.objects())
            if len(alive) == 1 or (len(alive) < 4 and number % 2 == 0):
                alive.append(stack.enter_context(story.sink(*OFTEN)))
            else:
                gone = alive.pop(dice.randrange(len(alive)))
                struck -= gone.poll() is not None
                gone.send_signal(dice.choice([signal.SIGTERM, signal.SIGKILL]))
            struck += 1
            # long enough to be in the middle of a rebalance, or just after it
            pause_s = time.monotonic() + dice.uniform(1, 4)
            wait_until(lambda end=pause_s: time.monotonic() > end)  # type: ignore[misc]
            wait_until(lambda count=before: len(story.objects()) > count, alive[-1])  # type: ignore[misc]
        stack.callback(_end, *alive)
    story.store_all()
    silence_s = _longest_silence_s(story)
    assert silence_s < UNOWNED_S
    story.survived("13", f"joins and leaves, seed {seed}", injected=changes, struck=struck, back_s=silence_s)


def _longest_silence_s(story: Story) -> float:
    """Return how long a partition was without a new segment, though records came all the time."""
    times = [
        sorted(file.stat().st_mtime for file in folder.iterdir())
        for folder in (Path(story.lake) / "raw" / story.topic).glob("partition=*")
    ]
    assert len(times) == 4
    return max(b - a for each in times for a, b in pairwise(each))


@pytest.mark.full
def test_two_groups_on_the_same_partitions_by_force(story: Story) -> None:
    story.fill(10_000)
    with (
        story.sink("--group", "force-a", "--until-end", "--flush-records", 70) as first,
        story.sink("--group", "force-b", "--until-end", "--flush-records", 31) as second,
    ):
        for child in (first, second):
            _, err = child.communicate(timeout=120)
            assert child.returncode == 0, err
    story.survived("13", "two groups store the same", injected=1, struck=1)
