"""What every Kafka client here shares: safe settings and errors in our own words."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

import msgspec
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka import KafkaError as RdError

from tickerlake import clock
from tickerlake.errors import BrokerUnreachable, Fenced, KafkaError, Rebalanced, TickerlakeError, UsageError

_LOOPBACK = ("127.", "localhost", "[::1]")
_UNREACHABLE = {
    RdError._TRANSPORT,
    RdError._ALL_BROKERS_DOWN,
    RdError._TIMED_OUT,
    RdError._RESOLVE,
    # what is said of requests to a broker that the client has dropped meanwhile
    RdError._DESTROY_BROKER,
}
_DENIED = {
    RdError.TOPIC_AUTHORIZATION_FAILED,
    RdError.GROUP_AUTHORIZATION_FAILED,
    RdError.CLUSTER_AUTHORIZATION_FAILED,
    RdError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    RdError._AUTHENTICATION,
    RdError.SASL_AUTHENTICATION_FAILED,
}
_RETRIABLE = {
    RdError.NOT_LEADER_FOR_PARTITION,
    RdError.LEADER_NOT_AVAILABLE,
    RdError._TRANSPORT,
    RdError._DESTROY_BROKER,
    # what the client says while it is connected to none
    RdError._UNKNOWN_PARTITION,
}
_REBALANCED = {
    RdError.ILLEGAL_GENERATION,
    RdError.UNKNOWN_MEMBER_ID,
    RdError.REBALANCE_IN_PROGRESS,
    RdError.STALE_MEMBER_EPOCH,
}
BROKER_GRACE_S = 60.0
"""How long a broker that restarts may not answer."""
_TIMEOUT_S = 10.0
_STATISTICS_INTERVAL_MS = 5_000
_FENCED = {
    RdError._FENCED,
    # what a client says after one of the others
    RdError._FATAL,
    RdError.INVALID_PRODUCER_EPOCH,
    RdError.PRODUCER_FENCED,
    RdError.FENCED_INSTANCE_ID,
}


def client_settings(bootstrap_servers: str, properties: Mapping[str, str], **defaults: Any) -> dict[str, Any]:
    """Merge our settings with the user's librdkafka properties; theirs win.

    Beyond loopback TLS is expected: ``security.protocol`` is ``SSL`` (or ``SASL_SSL`` where a SASL
    mechanism is given) unless the user says otherwise.
    """
    merged: dict[str, Any] = {
        "bootstrap.servers": bootstrap_servers,
        "client.id": "tickerlake",
        "log_level": 2,
        "error_cb": lambda _: None,
        "socket.keepalive.enable": True,
        "reconnect.backoff.max.ms": 2_000,
        **defaults,
    }
    if not all(server.strip().startswith(_LOOPBACK) for server in bootstrap_servers.split(",")):
        merged["security.protocol"] = "SASL_SSL" if "sasl.mechanisms" in properties else "SSL"
    return {**merged, **properties}


def translate_error(error: RdError, action: str, bootstrap_servers: str) -> TickerlakeError:
    """Turn librdkafka's error into ours, with a remedy."""
    code, text = error.code(), error.str()
    if code in _UNREACHABLE:
        return BrokerUnreachable(
            f"No Kafka broker answers at {bootstrap_servers} ({action}: {text}).",
            "Is it running (`tickerlake broker status`), the port right, and the address that the broker "
            "advertises reachable from here? Beyond this machine TLS is expected: for a plaintext listener "
            "add -X security.protocol=PLAINTEXT.",
        )
    if code in _DENIED:
        return KafkaError(
            f"Kafka refused {action}: {text}.", "Check the credentials and the principal's ACLs."
        )
    if code in _REBALANCED:
        return Rebalanced(f"The group gave partitions to others ({action}: {text}).", "It is tried again.")
    if code in _FENCED:
        return Fenced(
            f"Another process took over {action}.", "Run only one of them, or wait until it is done."
        )
    if code == RdError.UNKNOWN_TOPIC_OR_PART:
        return KafkaError(f"The topic is not there ({action}).", "Create it, or check its name.")
    if code == RdError.INCONSISTENT_GROUP_PROTOCOL:
        return KafkaError(
            f"The group's other members share out partitions in another way ({action}: {text}).",
            "Either each member of a group has a name (-X group.instance.id=…) or none has. Stop the others "
            "(who was killed is forgotten after its session.timeout.ms), then start all of them alike.",
        )
    if code == RdError._INVALID_ARG:
        return UsageError(f"Kafka's client refuses a setting ({action}): {text}.", "Check --property (-X).")
    return KafkaError(f"Kafka answered an error ({action}): {text}.", "See the broker's log.")


class _Broker(msgspec.Struct):
    source: str


class _Statistics(msgspec.Struct):
    brokers: dict[str, _Broker]


class BrokerWatch:
    """Notices a client that knows no broker any more: it never will again, and must be replaced.

    librdkafka drops the brokers that a reply to Metadata does not name. A broker that has only just come back
    names none, not even itself, and a client that hears so may be left without one for good
    (https://github.com/confluentinc/librdkafka/issues/5301).

    Attributes
    ----------
    settings
        For the client; it must be polled, or the statistics pile up.
    """

    def __init__(self) -> None:
        self.settings = {"statistics.interval.ms": _STATISTICS_INTERVAL_MS, "stats_cb": self._on_statistics}
        self._decoder = msgspec.json.Decoder(_Statistics)
        self._reports_without_broker = 0

    def _on_statistics(self, statistics: str) -> None:
        # what is left is the name of a role, such as the group's coordinator, with no address
        has_broker = any(
            each.source != "logical" for each in self._decoder.decode(statistics).brokers.values()
        )
        self._reports_without_broker = 0 if has_broker else self._reports_without_broker + 1

    @property
    def has_lost_brokers(self) -> bool:
        """Whether it has known none for a while; for a moment it does not while it begins anew by itself."""
        return self._reports_without_broker > 1


def start_consumer(bootstrap_servers: str, properties: Mapping[str, str], **defaults: Any) -> Consumer:
    """Make a client that reads; ``own`` are settings of ours."""
    try:
        return Consumer(client_settings(bootstrap_servers, properties, **defaults))
    except KafkaException as error:
        raise translate_error(error.args[0], "starting a consumer", bootstrap_servers) from error


def brokers_lost_error(bootstrap_servers: str) -> BrokerUnreachable:
    """Return the error for a client that is lost."""
    return BrokerUnreachable(
        f"Kafka's client has lost all brokers of {bootstrap_servers}: one that came back told it of none.",
        "Run it again.",
    )


def watermarks(client: Consumer, bootstrap_servers: str, topic: str, partition: int) -> tuple[int, int]:
    """Earliest retained and next offset of a partition.

    A topic just created has no leader for a moment, and a connection may break: it is asked again.
    """
    deadline_s = clock.monotonic_s() + _TIMEOUT_S
    while True:
        try:
            low, high = client.get_watermark_offsets(TopicPartition(topic, partition), timeout=_TIMEOUT_S)
        except KafkaException as error:
            if error.args[0].code() not in _RETRIABLE or clock.monotonic_s() > deadline_s:
                raise translate_error(
                    error.args[0], f"reading offsets of {topic}", bootstrap_servers
                ) from error
            time.sleep(0.05)
        else:
            return low, high


def call_with_timeout(timeout_s: float, function: Callable[[], object]) -> None:
    """Call something of librdkafka that may never return, and then leave it alone.

    Raises
    ------
    TimeoutError
        It has not returned in time; its thread waits on until the process ends.
    """
    done: Future[None] = Future()

    def run() -> None:
        try:
            function()
        except BaseException as error:
            done.set_exception(error)
        else:
            done.set_result(None)

    # a daemon: a stuck one must not keep the process
    threading.Thread(target=run, name="librdkafka", daemon=True).start()
    done.result(timeout_s)
