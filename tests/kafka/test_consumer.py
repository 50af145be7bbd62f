"""Members of consumer groups, in processes of their own: librdkafka can block all threads of one."""

import secrets
import subprocess
import sys

import pytest

from tickerlake.kafka.admin import Admin

_LEAVE_WHILE_JOINING = """
import sys
import threading
from tickerlake.kafka.consumer import Consumer

servers, topic, instance = sys.argv[1:]
for number in range(20):
    group = f"{topic}.{number}"
    consumer = Consumer(servers, group, {}, lambda *_: 0, lambda _: None, instance=instance and group)
    consumer.subscribe([topic])
    # only chooses the moment: any is as good as another
    threading.Event().wait(0.01 * number)
    consumer.close()
print(consumer.assignments)
"""


@pytest.mark.parametrize("instance", ["", "static"])
def test_a_member_leaves_while_it_joins(kafka: str, instance: str) -> None:
    topic = f"c{secrets.token_hex(6)}"
    Admin(kafka).create_topic(topic, 2)
    command = [sys.executable, "-c", _LEAVE_WHILE_JOINING, kafka, topic, instance]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.stdout, ended.stderr) == ("0\n", "")
