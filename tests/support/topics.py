"""What a topic holds, as its broker says."""

from confluent_kafka.admin import AdminClient

from support.process import wait_until
from tickerlake.kafka.admin import Admin


def retained(servers: str, topic: str) -> int:
    """Return how many offsets a topic has given out; 0 if there is none of that name."""
    about = Admin(servers).describe(topic)
    return sum(high for _, high in Admin(servers).watermarks(about).values()) if about else 0


def more_than(servers: str, topic: str, count: int) -> bool:
    """Tell whether a topic has given out more offsets than that."""
    return retained(servers, topic) > count


def delete(servers: str, topic: str) -> None:
    """Delete a topic, and wait until it is gone."""
    client = AdminClient({"bootstrap.servers": servers})
    client.delete_topics([topic])[topic].result()
    wait_until(lambda: Admin(servers).describe(topic) is None)
