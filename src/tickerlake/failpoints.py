"""Named points in the code where a test can kill or stop the process, to show that nothing is lost.

``TICKERLAKE_FAILPOINTS=segment.stored=kill@3`` kills the process (SIGKILL) when it reaches the point for the
third time; ``stop`` suspends it (SIGSTOP) until it is sent SIGCONT. Separate several with commas. Unless the
variable is set, a failpoint costs next to nothing.
"""

import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Final

from tickerlake.errors import UsageError

ENV_VARIABLE: Final = "TICKERLAKE_FAILPOINTS"
FAILPOINTS: Final = {
    "ingest.sent": "rows are sent, the checkpoint is not",
    "ingest.checkpointed": "rows and checkpoint are sent, not committed",
    "ingest.committed": "the transaction is committed",
    "sink.read": "records were read from Kafka",
    "sink.segment_cut": "records were cut off the buffer for a segment",
    "segment.rejects": "the rejects of a segment are stored, the segment is not",
    "segment.stored": "the segment is stored, its writer has not returned yet",
    "object.stored": "one object of a single record is stored",
    "sink.stored": "the sink knows that the segment is stored, Kafka does not",
    "sink.committed": "the offset is committed",
    "local.written": "an object is on the disk under a temporary name",
    "local.linked": "an object has its final name, the folder is not synced",
    "track.sent": "results are sent, the input offsets are not",
    "track.offsets": "results and offsets are sent, not committed",
    "track.committed": "the transaction is committed",
    "track.snapshot": "a snapshot is stored",
    "compact.written": "a curated file is written, no commit names it yet",
    "compact.committed": "the commit is written, replaced files are not deleted",
    "load.planned": "the manifest of a load is written",
    "load.loaded": "a load job is done, the manifest does not record it yet",
    "load.recorded": "the manifest records that the load is done",
    "repair.quarantined": "a damaged object is copied to quarantine, not yet replaced",
    "repair.replaced": "a repair has replaced or added an object",
}
"""Each failpoint, and what has happened when it is reached."""

_ACTIONS: Final = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}
_SPEC_REGEX = re.compile(r"([a-z._]+)=(kill|stop)(?:@([1-9][0-9]*))?")


def arm(environment: Mapping[str, str]) -> None:
    """Arm the failpoints that the environment names.

    Raises
    ------
    UsageError
        If it names an unknown failpoint or action.
    """
    for spec in filter(None, environment.get(ENV_VARIABLE, "").split(",")):
        match = _SPEC_REGEX.fullmatch(spec)
        if not match or match[1] not in FAILPOINTS:
            raise UsageError(
                f"{ENV_VARIABLE}: {spec!r} is not valid.",
                f"Write NAME=kill@3 or NAME=stop, where NAME is one of {', '.join(FAILPOINTS)}.",
            )
        _armed[match[1]] = (match[2], int(match[3] or 1))


_armed: dict[str, tuple[str, int]] = {}
_hits: Counter[str] = Counter()
_lock = threading.Lock()


def reach(name: str) -> None:
    """Do what is armed for this failpoint; normally nothing."""
    if not _armed:
        return
    with _lock:
        _hits[name] += 1
        action, hit_number = _armed.get(name, ("", 0))
        if _hits[name] == hit_number:
            os.kill(os.getpid(), _ACTIONS[action])
