"""Who judges the judge: it must notice each mistake that is planted in the sink, on a real broker."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from fault.conftest import ROW, Story
from support import oracle
from support.planted import PLANTS
from support.process import wait_until
from tickerlake.errors import StoreUnavailable
from tickerlake.lake.store.local import LocalStore
from tickerlake.pipeline.sink import Sink, SinkOptions

MISTAKES = (
    "overwrites",
    "commits_before_it_stores",
    "skips_a_record_at_a_rebalance",
    "names_by_time",
    "adopts_without_looking",
)


class Flaky(LocalStore):
    """Fails once, at its third segment."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.segments = 0

    def create(self, key: str, data: bytes, *, metadata: Mapping[str, str], content_type: str = "") -> None:
        self.segments += key.endswith(".gz")
        if self.segments == 3:
            raise StoreUnavailable("The disk was away for a moment.")
        super().create(key, data, metadata=metadata)


def store_through_mishaps(story: Story) -> oracle.Verdict:
    """Let a worker wait while another fails, comes again and overtakes it; a last one takes the rest."""
    lake = Path(story.lake)
    options = SinkOptions(flush_records=70, flush_age_s=3600)
    story.fill(2000)
    early = Sink(
        story.servers,
        [story.topic],
        LocalStore(lake),
        f"{story.topic}-b",
        replace(options, flush_records=10**6),
    )
    early.open()

    def has_read() -> bool:
        early.step()
        return early._all_read()

    wait_until(has_read)
    early.options = replace(options, flush_records=31)
    with pytest.raises(StoreUnavailable):
        Sink(story.servers, [story.topic], Flaky(lake), story.topic, options).run(
            threading.Event(), until_end=True
        )
    again = Sink(story.servers, [story.topic], LocalStore(lake), story.topic, options)
    again.run(threading.Event(), until_end=True)
    try:
        while not early._idle():
            early.step(until_end=True)
    finally:
        early.close()
    story.fill(500)
    last = Sink(
        story.servers, [story.topic], LocalStore(lake), story.topic, replace(options, flush_records=40)
    )
    last.run(threading.Event(), until_end=True)
    return oracle.verdict(story.servers, story.topic, lake)


def test_a_sink_without_mistakes_is_sound(story: Story) -> None:
    assert store_through_mishaps(story).is_sound


@pytest.mark.parametrize(
    "name", [*MISTAKES[:1], *(pytest.param(name, marks=pytest.mark.full) for name in MISTAKES[1:])]
)
def test_a_planted_mistake_is_noticed(
    story: Story, name: str, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    PLANTS[name](monkeypatch)
    found = store_through_mishaps(story)
    assert not found.is_sound
    row = {"no": "oracle", "fault": f"planted: a sink that {name.replace('_', ' ')}; noticed"}
    counts = {"lost": len(found.lost), "doubled": len(found.doubled)}
    record_property(ROW, row | {"injected": 1, "struck": 1, "records": found.sent} | counts)
