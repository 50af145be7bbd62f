"""The exceptions of tickerlake.

::

    TickerlakeError             message (what happened, to what) + hint (what to do)
    ├── UsageError              2   an argument or the configuration is invalid
    ├── SetupError              2   something is missing on this machine (Java, jars, credentials)
    ├── FolderInUse             3   Transient: another process works in a folder
    ├── DataError               4   the input is invalid
    ├── KafkaError              2   Kafka denied a request, or is not in the expected state
    │   ├── BrokerUnreachable   3   Transient: no broker answers
    │   ├── Rebalanced          3   Transient: the group has assigned our partitions to other members
    │   └── Fenced              4   another process took over this work
    ├── StoreError              2   the object store denied a request
    │   ├── ObjectExists        4   a create-only write found an object (the lake handles this)
    │   ├── ObjectMissing       4
    │   └── StoreUnavailable    3   Transient: the store did not answer in time
    ├── WarehouseError          2   BigQuery denied a request
    ├── WarehouseUnavailable    3   Transient: BigQuery does not answer, or today's quota is used up
    ├── TargetUnreachable       3   Transient: a notification target does not answer (notify.targets)
    ├── DeliveryRefused         2   a notification target rejects a delivery for good (notify.targets)
    └── LakeError               4   the lake contradicts itself, Kafka or the request
        ├── LinkedObject        4   an object of the lake is a link, which is not followed
        └── AuditFailed         4

The number is the exit code of the process. `Transient` means that the same call may succeed later, `Terminal`
that it will not until something is changed. The tree groups errors by subject: transient ones inherit from
`TickerlakeError` directly.
"""

import difflib
from collections.abc import Iterable
from typing import ClassVar, Final

GCLOUD_LOGIN_HINT: Final = (
    "Log in with `gcloud auth application-default login`, "
    "or point GOOGLE_APPLICATION_CREDENTIALS at a key file."
)
"""The remedy for missing Google Cloud credentials."""


def did_you_mean(name: str, candidates: Iterable[object], *, cutoff: float = 0.6) -> str:
    """Return a hint for an unknown name: the most similar candidate, or all candidates.

    Parameters
    ----------
    name
        What the user wrote.
    candidates
        The valid names; each is shown as ``str`` shows it.
    cutoff
        How similar a candidate has to be to be suggested alone, from 0 to 1 (equal).
    """
    names = list(map(str, candidates))
    close = difflib.get_close_matches(name, names, n=1, cutoff=cutoff)
    return f"Did you mean {close[0]}?" if close else f"Expected one of {', '.join(names)}."


class TickerlakeError(Exception):
    """An error with a remedy.

    Parameters
    ----------
    message
        What happened, and to which file, line, object or offset.
    hint
        What the user can do about it.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        # names of files may hold bytes that no text can
        self.message = message.encode(errors="backslashreplace").decode()
        self.hint = hint.encode(errors="backslashreplace").decode()

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class Transient(Exception):
    """May succeed later, after `retry_after_s` seconds at the earliest."""

    retry_after_s: float = 1.0


class Terminal(Exception):
    """Will not succeed until something is changed."""


class UsageError(TickerlakeError, Terminal):
    """An argument or the configuration is invalid."""


class SetupError(TickerlakeError, Terminal):
    """Something is missing on this machine, such as Java or credentials."""


class FolderInUse(TickerlakeError, Transient):
    """Another process works in a folder."""

    exit_code = 3


class DataError(TickerlakeError, Terminal):
    """The input is invalid."""

    exit_code = 4


class KafkaError(TickerlakeError, Terminal):
    """Kafka denied a request, or is not in the expected state."""


class BrokerUnreachable(TickerlakeError, Transient):
    """No broker answers."""

    exit_code = 3


class Rebalanced(TickerlakeError, Transient):
    """The group assigned our partitions to other members before our commit; nothing was written."""

    exit_code = 3


class Fenced(TickerlakeError, Terminal):
    """Another process took over this work."""

    exit_code = 4


class StoreError(TickerlakeError, Terminal):
    """The object store denied a request."""


class ObjectExists(StoreError):
    """A create-only write found an object of this name."""

    exit_code = 4


class ObjectMissing(StoreError):
    """There is no object of this name."""

    exit_code = 4


class StoreUnavailable(TickerlakeError, Transient):
    """The object store did not answer in time."""

    exit_code = 3


class WarehouseError(TickerlakeError, Terminal):
    """BigQuery denied a request."""


class WarehouseUnavailable(TickerlakeError, Transient):
    """BigQuery does not answer, or today's quota is used up; a later run resumes the load."""

    exit_code = 3


class LakeError(TickerlakeError, Terminal):
    """The lake contradicts itself, Kafka or the request."""

    exit_code = 4


class LinkedObject(LakeError):
    """An object of the lake, or a folder of it, is a symbolic link."""


class AuditFailed(LakeError):
    """The audit found missing, duplicate or damaged records."""
