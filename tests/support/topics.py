"""Topics on a broker."""

from confluent_kafka.admin import AdminClient

from support.process import wait_until
from tickerlake.kafka.admin import Admin


def total_high_watermark(servers: str, topic: str) -> int:
    """Return the sum of a topic's high watermarks; 0 if the topic does not exist."""
    description = Admin(servers).describe_topic(topic)
    return sum(high for _, high in Admin(servers).watermarks(description).values()) if description else 0


def has_more_than(servers: str, topic: str, count: int) -> bool:
    """Return whether the sum of a topic's high watermarks is above ``count``."""
    return total_high_watermark(servers, topic) > count


def delete_topic(servers: str, topic: str) -> None:
    """Delete a topic, and wait until it is gone."""
    client = AdminClient({"bootstrap.servers": servers})
    client.delete_topics([topic])[topic].result()
    wait_until(lambda: Admin(servers).describe_topic(topic) is None)
