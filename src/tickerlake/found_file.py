"""What a settings file may do if it was found in the working folder, not named.

Whoever clones a repository or enters the folder of another user did not choose the file there. So it must
belong to the user, and it may not make the Kafka client load code, run commands, or decide whom to trust.
A file that is named (``--config``, ``TICKERLAKE_CONFIG``) may do everything.
"""

import grp
import os
import pwd
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tickerlake.errors import UsageError

ALLOWED_PROPERTIES: Final = frozenset(
    """
    bootstrap.servers metadata.broker.list client.id client.rack security.protocol
    sasl.mechanism sasl.mechanisms sasl.username sasl.password
    ssl.certificate.location ssl.certificate.pem ssl.key.location ssl.key.pem ssl.key.password
    ssl.keystore.location ssl.keystore.password
    acks allow.auto.create.topics api.version.fallback.ms api.version.request
    api.version.request.timeout.ms auto.commit.interval.ms auto.offset.reset batch.num.messages batch.size
    broker.address.family broker.address.ttl broker.version.fallback check.crcs client.dns.lookup
    compression.codec compression.level compression.type connections.max.idle.ms
    coordinator.query.interval.ms delivery.timeout.ms enable.gapless.guarantee enable.idempotence
    enable.metrics.push fetch.error.backoff.ms fetch.max.bytes fetch.message.max.bytes fetch.min.bytes
    fetch.queue.backoff.ms fetch.wait.max.ms group.instance.id group.protocol group.protocol.type
    group.remote.assignor heartbeat.interval.ms isolation.level linger.ms log.connection.close log_level
    max.in.flight max.in.flight.requests.per.connection max.partition.fetch.bytes max.poll.interval.ms
    message.copy.max.bytes message.max.bytes message.send.max.retries message.timeout.ms
    metadata.max.age.ms metadata.recovery.rebootstrap.trigger.ms metadata.recovery.strategy
    partition.assignment.strategy partitioner queue.buffering.backpressure.threshold
    queue.buffering.max.kbytes queue.buffering.max.messages queue.buffering.max.ms
    queued.max.messages.kbytes queued.min.messages receive.message.max.bytes reconnect.backoff.max.ms
    reconnect.backoff.ms request.required.acks request.timeout.ms retries retry.backoff.max.ms
    retry.backoff.ms session.timeout.ms socket.connection.setup.timeout.ms socket.keepalive.enable
    socket.max.fails socket.nagle.disable socket.receive.buffer.bytes socket.send.buffer.bytes
    socket.timeout.ms statistics.interval.ms sticky.partitioning.linger.ms topic.blacklist
    topic.metadata.propagation.max.ms topic.metadata.refresh.fast.interval.ms
    topic.metadata.refresh.interval.ms topic.metadata.refresh.sparse transaction.timeout.ms
    """.split()
)
"""librdkafka's properties that load nothing, run nothing, and do not change what is trusted."""

_ALLOWED_VALUES: Final = {
    # Kerberos runs `kinit`, OAuth fetches from an address, and SASL_PLAINTEXT sends passwords in the clear
    "sasl.mechanism": {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"},
    "sasl.mechanisms": {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"},
    "security.protocol": {"SSL", "SASL_SSL", "PLAINTEXT"},
}
_ROOT: Final = 0


def check_owner(file: Path) -> None:
    """Raise an error if anybody else can write a found settings file.

    Raises
    ------
    UsageError
        If the file, a link to it, or its folder belongs to another user, or others may write it.
    """
    for path, is_link in ((file, True), (file, False), (file.absolute().parent, False)):
        state = path.lstat() if is_link else path.stat()
        if state.st_uid not in {os.geteuid(), _ROOT}:
            raise _refusal(file, f"{_name(path, file)} belongs to another user ({_user_name(state.st_uid)})")
        # in a folder such as /tmp, only the owner can replace a file
        if stat.S_ISLNK(state.st_mode) or state.st_mode & stat.S_ISVTX:
            continue
        if state.st_mode & stat.S_IWOTH:
            raise _refusal(file, f"{_name(path, file)} can be written by every user")
        if state.st_mode & stat.S_IWGRP and not _is_private_group(state.st_gid):
            raise _refusal(file, f"{_name(path, file)} can be written by a group")


def check_property(name: str, value: object, file: Path, line: int) -> None:
    """Raise an error for a librdkafka property that a found settings file may not set.

    Raises
    ------
    UsageError
        Names file, line and key.
    """
    place = f"{file}, line {line}: kafka.properties.{name}"
    if name not in ALLOWED_PROPERTIES:
        raise UsageError(
            f"{place} is not accepted from a file that was found in the working folder: "
            "only named files may set what loads code, runs commands or decides whom to trust.",
            f"If the file is yours, {_remedy(file)}, or set the property with -X {name}=…",
        )
    allowed = _ALLOWED_VALUES.get(name)
    if allowed and str(value).upper() not in allowed:
        raise UsageError(
            f"{place} is not accepted from a file that was found in the working folder with this value, "
            f"only with {', '.join(sorted(allowed))}.",
            f"If the file is yours, {_remedy(file)}, or set the property with -X {name}=…",
        )


def check_rules(file: Path, line: int) -> None:
    """Raise an error for a found settings file that names rules, which send passwords to mail servers.

    Raises
    ------
    UsageError
        Names file, line and key.
    """
    raise UsageError(
        f"{file}, line {line}: track.rules is not accepted from a file that was found in the working folder: "
        "rules send alerts, and passwords from the environment, to servers that they name.",
        f"If the file is yours, {_remedy(file)}, or use --rules.",
    )


def check_password(
    file: Path, found: Mapping[str, str], environment: Mapping[str, str], *, brokers_are_found: bool
) -> None:
    """Raise an error if a password from the environment would be sent to brokers that a found file names.

    Parameters
    ----------
    file
        The settings file.
    found, environment
        The librdkafka properties of the file, and those of the environment.
    brokers_are_found
        Whether the brokers come from the file.

    Raises
    ------
    UsageError
        If the mechanism sends the password itself.
    """
    properties = {**found, **environment}
    mechanisms = {properties.get(name, "").upper() for name in ("sasl.mechanism", "sasl.mechanisms")}
    if brokers_are_found and "sasl.password" in environment and "PLAIN" in mechanisms:
        raise UsageError(
            f"{file} was found in the working folder and names brokers, to which the password from the "
            "environment would be sent (PLAIN).",
            f"If the file is yours, {_remedy(file)}, or set TICKERLAKE_KAFKA__BOOTSTRAP_SERVERS.",
        )


def _refusal(file: Path, what: str) -> UsageError:
    return UsageError(
        f"{file} is not read: {what}.",
        f"If you trust it, {_remedy(file)}; otherwise work in another folder.",
    )


def _remedy(file: Path) -> str:
    return f"name it: --config {file}, or TICKERLAKE_CONFIG={file} in the environment"


def _name(path: Path, file: Path) -> str:
    return "it" if path == file else f"its folder {path}"


def _user_name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"uid {number}"


def _is_private_group(number: int) -> bool:
    """Whether a group has no member but the user: many systems make one for each user."""
    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(number)
    except KeyError:
        return False
    return (
        group.gr_gid == user.pw_gid and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}
    )
