"""What all Kafka clients share: safe settings, translated errors, detection of lost brokers."""

import re
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

import msgspec
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka import KafkaError as RdError
from confluent_kafka.admin import AdminClient

from tickerlake import clock
from tickerlake.errors import BrokerUnreachable, Fenced, KafkaError, Rebalanced, TickerlakeError, UsageError
from tickerlake.kafka.addresses import check_servers, is_loopback

Partition = tuple[str, int]
"""Topic and partition number."""
_SERVER_PROPERTIES = ("bootstrap.servers", "metadata.broker.list")
_SASL_MECHANISM = {"sasl.mechanisms", "sasl.mechanism"}
_UNREACHABLE = {
    RdError._TRANSPORT,
    RdError._ALL_BROKERS_DOWN,
    RdError._TIMED_OUT,
    RdError._RESOLVE,
    # reported for requests to a broker that the client has dropped in the meantime
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
    # reported while the client is connected to no broker
    RdError._UNKNOWN_PARTITION,
}
_REBALANCED = {
    RdError.ILLEGAL_GENERATION,
    RdError.UNKNOWN_MEMBER_ID,
    RdError.REBALANCE_IN_PROGRESS,
    RdError.STALE_MEMBER_EPOCH,
}
BROKER_GRACE_S = 60.0
"""How long no broker may answer: meant to cover a restart, including the recovery of its logs."""
_WATERMARKS_TIMEOUT_S = 30.0  # covers the election of leaders, also of a broker that has just restarted
_WATERMARKS_RETRY_S = 0.05
METADATA_REFRESH_MS = 10_000
"""How soon partitions that are added to a topic are noticed; the default of librdkafka is 300 s."""
_STATISTICS_INTERVAL_MS = 5_000
"""Two reports without a broker replace the client (see `BrokerWatch`), so after 5 to 10 s."""
_FENCED = {
    RdError._FENCED,
    # reported by every call after one of the others
    RdError._FATAL,
    RdError.INVALID_PRODUCER_EPOCH,
    RdError.PRODUCER_FENCED,
    RdError.FENCED_INSTANCE_ID,
}


def client_settings(bootstrap_servers: str, properties: Mapping[str, str], **defaults: Any) -> dict[str, Any]:
    """Merge default settings with the user's librdkafka properties, which take precedence.

    For remote hosts TLS is the default: ``security.protocol`` is ``SSL``, or ``SASL_SSL`` if a SASL
    mechanism is set, unless the user sets it. Names that only begin like this machine's are remote.
    """
    merged: dict[str, Any] = {
        "bootstrap.servers": bootstrap_servers,
        "client.id": "tickerlake",
        "log_level": 2,
        "error_cb": lambda _: None,
        "socket.keepalive.enable": True,
        "reconnect.backoff.max.ms": 2_000,
        "topic.metadata.refresh.interval.ms": METADATA_REFRESH_MS,
        **defaults,
    }
    merged |= properties
    _check_texts(merged)
    # the user's properties may name other servers, under either of two names
    named = [properties[name] for name in _SERVER_PROPERTIES if properties.get(name, "").strip()]
    lists = named or [bootstrap_servers]
    for servers in lists:
        check_servers(servers)
    is_local = all(is_loopback(server) for servers in lists for server in servers.split(","))
    if "security.protocol" not in properties and not is_local:
        has_sasl = not _SASL_MECHANISM.isdisjoint(properties)
        merged["security.protocol"] = "SASL_SSL" if has_sasl else "SSL"
    return merged


def _check_texts(settings: Mapping[str, Any]) -> None:
    # the client's C code aborts the process
    for name, value in settings.items():
        texts = [each for each in (name, value) if isinstance(each, str)]
        if any("\0" in each or re.search("[\ud800-\udfff]", each) for each in texts):
            raise UsageError(
                f"The Kafka setting {name!r} is not UTF-8, or has a NUL.",
                "Check --property (-X) and --group.",
            )


def translate_error(error: RdError, action: str, bootstrap_servers: str) -> TickerlakeError:
    """Translate a librdkafka error into a `TickerlakeError` with a remedy."""
    code, text = error.code(), error.str()
    if code in _UNREACHABLE:
        return BrokerUnreachable(
            f"No Kafka broker answers at {bootstrap_servers} ({action}: {text}).",
            "Start it (`tickerlake broker start`), or check the port and that the address that the broker "
            "advertises is reachable from here. Remote hosts use TLS by default: for a plaintext listener "
            "add -X security.protocol=PLAINTEXT.",
        )
    if code in _DENIED:
        return KafkaError(
            f"Kafka denied {action}: {text}.", "Check the credentials and the principal's ACLs."
        )
    if code in _REBALANCED:
        return Rebalanced(
            f"The group assigned partitions to other members ({action}: {text}).",
            "Nothing was written; it is retried.",
        )
    if code in _FENCED:
        return Fenced(
            f"Another process took over {action}.",
            "Run one process at a time, or wait until the other is done.",
        )
    if code == RdError.UNKNOWN_TOPIC_OR_PART:
        return KafkaError(f"The topic does not exist ({action}).", "Create it, or check its name.")
    if code == RdError.INCONSISTENT_GROUP_PROTOCOL:
        return KafkaError(
            f"Other members of the group use a different assignment strategy ({action}: {text}).",
            "Either all members of a group are static (-X group.instance.id=…) or none is. Stop the others "
            "(Kafka removes a killed one after its session.timeout.ms), then start all of them the same way.",
        )
    if code == RdError._INVALID_ARG:
        return UsageError(f"The Kafka client rejects a setting ({action}): {text}.", "Check --property (-X).")
    return KafkaError(f"Kafka returned an error ({action}): {text}.", "See the broker's log.")


class _Broker(msgspec.Struct):
    source: str


class _Statistics(msgspec.Struct):
    brokers: dict[str, _Broker]


class BrokerWatch:
    """Detects a client that has lost all brokers: it never finds one again, and must be replaced.

    librdkafka drops brokers that a Metadata response does not list. A broker that has just restarted lists
    none, not even itself, which can leave a client without any broker for good
    (https://github.com/confluentinc/librdkafka/issues/5301).

    Attributes
    ----------
    settings
        Settings for the client, which must be polled, or the statistics pile up.
    """

    def __init__(self) -> None:
        self.settings = {"statistics.interval.ms": _STATISTICS_INTERVAL_MS, "stats_cb": self._on_statistics}
        self._decoder = msgspec.json.Decoder(_Statistics)
        self._reports_without_broker = 0

    def _on_statistics(self, statistics: str) -> None:
        try:
            brokers = self._decoder.decode(statistics).brokers.values()
        except msgspec.DecodeError:
            return  # librdkafka does not escape names; an exception here would end the caller's poll
        # a logical broker is only a role without an address, such as the group coordinator
        has_broker = any(each.source != "logical" for each in brokers)
        self._reports_without_broker = 0 if has_broker else self._reports_without_broker + 1

    @property
    def has_lost_brokers(self) -> bool:
        """Whether two reports in a row listed no broker; a single one occurs while the client reconnects."""
        return self._reports_without_broker > 1


def start_consumer(bootstrap_servers: str, properties: Mapping[str, str], **defaults: Any) -> Consumer:
    """Start a librdkafka consumer; `defaults` are settings that the user's properties override."""
    try:
        return Consumer(client_settings(bootstrap_servers, properties, **defaults))
    except KafkaException as error:
        raise translate_error(error.args[0], "starting a consumer", bootstrap_servers) from error


def check_client_settings(bootstrap_servers: str, properties: Mapping[str, str]) -> None:
    """Raise an error for settings that the Kafka client rejects, before anything else is created.

    Raises
    ------
    UsageError
        If a property does not exist, or its value is invalid.
    """
    try:
        AdminClient(client_settings(bootstrap_servers, properties))
    except KafkaException as error:
        raise translate_error(error.args[0], "starting a client", bootstrap_servers) from error


def brokers_lost_error(bootstrap_servers: str) -> BrokerUnreachable:
    """Return the error for a client that has lost all brokers."""
    return BrokerUnreachable(
        f"The Kafka client has lost all brokers of {bootstrap_servers}: a restarted broker listed none.",
        "Run the command again.",
    )


def watermarks(client: Consumer, bootstrap_servers: str, topic: str, partition: int) -> tuple[int, int]:
    """Return the low and the high watermark of a partition.

    Retries, as a new topic has no leader at first, and connections break.
    """
    deadline_s = clock.monotonic_s() + _WATERMARKS_TIMEOUT_S
    while True:
        try:
            low, high = client.get_watermark_offsets(
                TopicPartition(topic, partition), timeout=_WATERMARKS_TIMEOUT_S
            )
        except KafkaException as error:
            if error.args[0].code() not in _RETRIABLE or clock.monotonic_s() > deadline_s:
                raise translate_error(
                    error.args[0], f"reading offsets of {topic}", bootstrap_servers
                ) from error
            time.sleep(_WATERMARKS_RETRY_S)
        else:
            return low, high


def call_with_timeout(timeout_s: float, function: Callable[[], object]) -> None:
    """Call a librdkafka function that may never return.

    Raises
    ------
    TimeoutError
        It has not returned in time; its thread keeps waiting until the process ends.
    """
    done: Future[None] = Future()

    def run() -> None:
        try:
            function()
        except BaseException as error:
            done.set_exception(error)
        else:
            done.set_result(None)

    # a daemon thread, so that it does not keep the process alive
    threading.Thread(target=run, name="librdkafka", daemon=True).start()
    done.result(timeout_s)
