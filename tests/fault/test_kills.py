"""1–3: a process that is killed, at each place and at random, leaves nothing lost and nothing doubled."""

import signal

import pytest

from fault.conftest import Story
from support.process import wait_until


@pytest.mark.parametrize("at", ["segment.stored=kill@3", "segment.rejects=kill@2"])
def test_killed_at_a_place_and_run_again(story: Story, at: str) -> None:
    story.fill(4000)
    with story.sink("--until-end", "--flush-records", 100, at=at) as child:
        child.wait(60)
    assert child.returncode == -signal.SIGKILL, "it must be killed there"
    before = story.objects()
    with story.sink("--until-end", "--flush-records", 170) as child:
        back_s = wait_until(lambda: len(story.objects()) > len(before), child)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert set(before) <= set(story.objects()), "what was stored stays"
    story.survived("1", f"killed at {at}", injected=1, struck=1, back_s=back_s)
