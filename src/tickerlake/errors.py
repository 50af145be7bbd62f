"""Every error that tickerlake raises on purpose.

::

    TickerlakeError            message (what happened, to what) + hint (what to do)
    ├── UsageError             2   an argument or the configuration is wrong
    ├── SetupError             2   something this machine needs is missing (Java, jars, credentials)
    ├── DataError              4   the input is refused
    ├── KafkaError             2   the cluster refused, or is not what was expected
    │   ├── BrokerUnreachable  3   Transient: nothing answers
    │   ├── Rebalanced         3   Transient: the group gave our partitions to others meanwhile
    │   └── Fenced             4   another process took over this work
    ├── StoreError             2   the object store refused
    │   ├── ObjectExists       4   a create-only write found an object (the lake handles it)
    │   ├── ObjectMissing      4
    │   └── StoreUnavailable   3   Transient: the store did not answer within the budget
    ├── WarehouseError         2   BigQuery refused
    ├── WarehouseUnavailable   3   Transient: BigQuery does not answer, or takes no more today
    ├── Unreachable            3   Transient: a target of alerts did not take one (notify.targets)
    ├── Refused                2   a target of alerts will never take one (notify.targets)
    └── LakeError              4   the lake contradicts itself, Kafka or the request
        └── AuditFailed        4

The figure is the process's exit code. ``Transient`` says that the same call may succeed later,
``Terminal`` that it will not until somebody changes something.
"""

import difflib
from collections.abc import Iterable
from typing import ClassVar, Final

GCLOUD_LOGIN_HINT: Final = (
    "Log in with `gcloud auth application-default login`, "
    "or point GOOGLE_APPLICATION_CREDENTIALS at a key file."
)
"""What to do where Google Cloud is asked for without credentials."""


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
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class Transient(Exception):
    """May succeed later, after ``retry_after_s`` seconds at the earliest."""

    retry_after_s: float = 1.0


class Terminal(Exception):
    """Will not succeed until somebody changes something."""


class UsageError(TickerlakeError, Terminal):
    """An argument or the configuration is wrong."""


class SetupError(TickerlakeError, Terminal):
    """Something that this machine needs is missing."""


class DataError(TickerlakeError, Terminal):
    """The input is refused."""

    exit_code = 4


class KafkaError(TickerlakeError, Terminal):
    """The Kafka cluster refused, or is not what was expected."""


class BrokerUnreachable(TickerlakeError, Transient):
    """No broker answers."""

    exit_code = 3


class Rebalanced(TickerlakeError, Transient):
    """The group gave our partitions to others before we had committed; nothing was written."""

    exit_code = 3


class Fenced(TickerlakeError, Terminal):
    """Another process took over this work."""

    exit_code = 4


class StoreError(TickerlakeError, Terminal):
    """The object store refused."""


class ObjectExists(StoreError):
    """A create-only write found an object of that name."""

    exit_code = 4


class ObjectMissing(StoreError):
    """There is no object of that name."""

    exit_code = 4


class StoreUnavailable(TickerlakeError, Transient):
    """The object store did not answer within the budget."""

    exit_code = 3


class WarehouseError(TickerlakeError, Terminal):
    """BigQuery refused."""


class WarehouseUnavailable(TickerlakeError, Transient):
    """BigQuery does not answer, or takes no more today; what was begun is found again."""

    exit_code = 3


class LakeError(TickerlakeError, Terminal):
    """The lake contradicts itself, Kafka, or what was asked."""

    exit_code = 4


class AuditFailed(LakeError):
    """The audit found a record missing, doubled or damaged."""
