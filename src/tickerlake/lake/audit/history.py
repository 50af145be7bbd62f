"""Outcomes of the last audits: ``state/audits/<topic>/<nanoseconds, 20 digits>.json``, two per topic.

The dashboard shows them; an audit itself never relies on them.
"""

import re
from collections.abc import Iterable
from itertools import groupby
from typing import Final

import msgspec

from tickerlake import clock
from tickerlake.errors import ObjectMissing, StoreError, StoreUnavailable
from tickerlake.lake.audit.segments import PartitionAudit
from tickerlake.lake.store.base import ReadableStore, Store, discard
from tickerlake.lake.topic import TOPIC_NAME, check_topic

_FOLDER: Final = "state/audits/"
_KEY: Final = re.compile(rf"{_FOLDER}({TOPIC_NAME.pattern})/\d{{20}}\.json")
_RETAINED_PER_TOPIC: Final = 2
"""One is shown; the one before it counts while the newest is unreadable or just being deleted."""


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one audit of one topic.

    Parameters
    ----------
    ts_ms
        When it ended, by the wall clock.
    ok
        There were no findings.
    deep
        Every row was read.
    compared
        The lake was compared with Kafka.
    records, findings
        Number of rows and of findings.
    """

    topic: str
    ts_ms: int
    ok: bool
    deep: bool
    compared: bool
    records: int
    findings: int


def save_audit_records(store: Store, results: Iterable[PartitionAudit], *, deep: bool, compared: bool) -> str:
    """Store the outcome of an audit for each topic, and delete all but the last two.

    Returns
    -------
    str
        A warning if it could not be stored, else empty: the audit is valid without it.
    """
    now_ns = clock.now_ns()
    ordered = sorted(results, key=lambda result: result.topic)
    try:
        for topic, group in groupby(ordered, key=lambda result: result.topic):
            parts = list(group)
            findings = sum(len(part.findings) for part in parts)
            audit_record = AuditRecord(
                topic=topic,
                ts_ms=now_ns // 1_000_000,
                ok=not findings,
                deep=deep,
                compared=compared,
                records=sum(part.records for part in parts),
                findings=findings,
            )
            _save(store, audit_record, now_ns)
    except (StoreError, StoreUnavailable) as error:
        return f"the outcome of the audit could not be stored in the lake: {error.message}"
    return ""


def _save(store: Store, audit_record: AuditRecord, now_ns: int) -> None:
    folder = f"{_FOLDER}{check_topic(audit_record.topic)}/"
    data = msgspec.json.encode(audit_record)
    store.create(f"{folder}{now_ns:020d}.json", data, metadata={}, content_type="application/json")
    keys = [info.key for info in store.list(folder) if _KEY.fullmatch(info.key)]
    for old_key in keys[:-_RETAINED_PER_TOPIC]:
        if not discard(store, old_key):
            return


def read_latest(store: ReadableStore) -> list[AuditRecord]:
    """Return the last outcome of each topic, by topic; unreadable ones are skipped."""
    keys_by_topic: dict[str, list[str]] = {}
    for info in store.list(_FOLDER):
        if match := _KEY.fullmatch(info.key):
            keys_by_topic.setdefault(match[1], []).append(info.key)
    audit_records = (
        (topic, _read_latest_of(store, keys[-_RETAINED_PER_TOPIC:])) for topic, keys in keys_by_topic.items()
    )
    return sorted(
        (record for topic, record in audit_records if record and record.topic == topic),
        key=lambda record: record.topic,
    )


def _read_latest_of(store: ReadableStore, keys: list[str]) -> AuditRecord | None:
    for key in reversed(keys):
        try:
            return msgspec.json.decode(store.read(key), type=AuditRecord)
        except (ObjectMissing, msgspec.MsgspecError):
            continue  # deleted in the meantime, or not ours
    return None
