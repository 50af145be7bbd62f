"""The pipeline's state as the page and the API get it: plain data."""

import msgspec

from tickerlake.lake.audit.history import AuditRecord


class KafkaState(msgspec.Struct, frozen=True):
    """Whether Kafka responds; ``error`` may also be a denied request while it does."""

    ok: bool
    error: str


class PartitionState(msgspec.Struct, frozen=True):
    """The offsets retained by a partition; ``high`` is the end of the committed records."""

    partition: int
    low: int
    high: int


class TopicState(msgspec.Struct, frozen=True):
    """A topic; ``records`` counts retained offsets, ``rate`` new offsets per second."""

    topic: str
    records: int
    rate: float
    partitions: list[PartitionState]


class PartitionLagState(msgspec.Struct, frozen=True):
    """A group's committed offset and lag; ``lag`` is 0 if only offsets without a record follow."""

    partition: int
    committed: int
    lag: int


class GroupState(msgspec.Struct, frozen=True):
    """A consumer group in a topic; ``rate`` is in committed offsets per second."""

    group: str
    topic: str
    lag: int
    rate: float
    partitions: list[PartitionLagState]


class LakeTopicState(msgspec.Struct, frozen=True):
    """A topic in the lake.

    Parameters
    ----------
    behind, behind_s
        Offsets in Kafka that are not stored yet, and the age of the oldest record among them.
    stored_ms
        Kafka's timestamp of the newest stored record; 0 if unknown.
    gaps
        Offsets lost to retention before they were stored: those recorded in the lake, and those that the sink
        has yet to record.
    counting
        Whether the existing segments are still being counted, so that the counts still grow.
    error
        What is wrong with this topic in the lake, or empty.
    """

    topic: str
    segments: int
    bytes: int
    records: int
    behind: int
    behind_s: float
    stored_ms: int
    rejects: int
    gaps: int
    counting: bool
    error: str


class CostState(msgspec.Struct, frozen=True):
    """The cost of the lake on Cloud Storage: ``usd`` for all operations so far, storage per month."""

    usd: float
    usd_per_month: float
    objects: int
    bytes: int
    explained: str


class LakeState(msgspec.Struct, frozen=True):
    """The lake."""

    uri: str
    ok: bool
    error: str
    topics: list[LakeTopicState]
    cost: CostState


class PipelineState(msgspec.Struct, frozen=True):
    """The state of the whole pipeline."""

    now_ms: int
    kafka: KafkaState
    topics: list[TopicState]
    groups: list[GroupState]
    lake: LakeState | None
    audits: list[AuditRecord]
