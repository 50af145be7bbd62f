"""10–12: a broker that goes away, a topic that is another one, records that retention took."""

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from fault.conftest import Story, begin
from support import oracle, topics
from support.process import Child, is_halted, peak_mb, run, wait_until
from tickerlake.kafka.admin import Admin
from tickerlake.kafka.embedded import EmbeddedBroker

OFTEN = ("--flush-records", 300, "--flush-age", 0.2)
# 140 MB of interpreter and libraries, 32 MB of records, what encodes two segments
MOST_MB = 400


@pytest.fixture
def own(broker: EmbeddedBroker, tmp_path: Path, record_property: Callable[[str, object], None]) -> Story:
    return begin(broker.bootstrap_servers, tmp_path / "lake", record_property)


def _strike(broker: EmbeddedBroker, how: str) -> None:
    if how == "restarted":
        broker.restart()
    else:
        broker.kill()
        broker.start()


@pytest.mark.parametrize("how", ["restarted", "killed"])
def test_the_broker_goes_and_comes_back_while_a_sink_stores(
    own: Story, broker: EmbeddedBroker, how: str
) -> None:
    with own.sink(*OFTEN) as child:
        with own.coming(2000):
            wait_until(lambda: len(own.objects()) > 8, child)
            _strike(broker, how)
            before = own.rows()
            back_s = wait_until(lambda: own.rows() > before + 1000, child)
        wait_until(own.has_all, child)
        peak = peak_mb(child.pid)
        child.terminate()
        _, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert peak < MOST_MB
    assert oracle.each_once(own.servers, own.topic, "id").total() == own.sent
    own.survived("10", f"broker {how}", injected=1, struck=1, back_s=back_s)
