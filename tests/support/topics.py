"""What a topic holds, as its broker says."""

from confluent_kafka.admin import AdminClient

from support.process import wait_until
from tickerlake.kafka.admin import Admin


def total_high_watermark(servers: str, topic: str) -> int:
    """Return how many offsets a topic has given out; 0 if there is none of that name."""
    description = Admin(servers).describe_topic(topic)
    return sum(high for _, high in Admin(servers).watermarks(description).values()) if description else 0


def has_more_than(servers: str, topic: str, count: int) -> bool:
    """Tell whether a topic has given out more offsets than that."""
    return total_high_watermark(servers, topic) > count


def delete_topic(servers: str, topic: str) -> None:
    """Delete a topic, and wait until it is gone."""
    client = AdminClient({"bootstrap.servers": servers})
    client.delete_topics([topic])[topic].result()
    wait_until(lambda: Admin(servers).describe_topic(topic) is None)
