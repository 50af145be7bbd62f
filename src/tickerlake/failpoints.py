"""Named places where a test can end or stop the process, to show that nothing is lost there.

``TICKERLAKE_FAILPOINTS=segment.stored=kill@3`` ends the process (SIGKILL) when it comes there for the
third time; ``stop`` halts it (SIGSTOP) until somebody continues it. Several are separated by commas. Nothing
happens, and next to nothing is done, unless the variable is set.
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
    "ingest.sent": "rows are sent, not yet how far the file was read",
    "ingest.checkpointed": "rows and how far the file was read are sent, not committed",
    "ingest.committed": "the transaction is committed",
    "sink.read": "records were read from Kafka",
    "sink.segment_cut": "records were taken for a segment",
    "segment.rejects": "the rejects of a segment are kept, the segment is not stored",
    "segment.stored": "the store has the segment, nobody knows it yet",
    "object.stored": "one object of a record is stored",
    "sink.stored": "the sink knows that the segment is stored, Kafka does not",
    "sink.committed": "the offset is committed",
    "local.written": "an object is on the disk under a temporary name",
    "local.linked": "an object has its name, the folder is not synced",
    "track.sent": "results are sent, not how far the input was read",
    "track.offsets": "results and offsets are sent, not committed",
    "track.committed": "the transaction is committed",
    "track.snapshot": "a snapshot is stored",
    "compact.written": "a curated file is written that no commit names yet",
    "compact.committed": "the commit is written, replaced files are not deleted",
    "load.planned": "the manifest of a load is written",
    "load.loaded": "a job is done, which the manifest does not say yet",
    "load.recorded": "the manifest says that the load is done",
    "repair.quarantined": "a damaged object is kept aside, not yet replaced",
    "repair.replaced": "an object is replaced or added by a repair",
}
"""Each place, and what is done when it is reached."""

_ACTIONS: Final = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}
_SPEC_REGEX = re.compile(r"([a-z._]+)=(kill|stop)(?:@([1-9][0-9]*))?")


def arm(environment: Mapping[str, str]) -> None:
    """Arm what the environment says.

    Raises
    ------
    UsageError
        It names a place or an action that there is not.
    """
    for spec in filter(None, environment.get(ENV_VARIABLE, "").split(",")):
        match = _SPEC_REGEX.fullmatch(spec)
        if not match or match[1] not in FAILPOINTS:
            raise UsageError(
                f"{ENV_VARIABLE}: {spec!r} is not understood.",
                f"Write it as place=kill@3 or place=stop; places are {', '.join(FAILPOINTS)}.",
            )
        _armed[match[1]] = (match[2], int(match[3] or 1))


_armed: dict[str, tuple[str, int]] = {}
_hits: Counter[str] = Counter()
_lock = threading.Lock()


def reach(name: str) -> None:
    """Do at this place what was armed for it; normally nothing."""
    if not _armed:
        return
    with _lock:
        _hits[name] += 1
        action, hit_number = _armed.get(name, ("", 0))
        if _hits[name] == hit_number:
            os.kill(os.getpid(), _ACTIONS[action])
