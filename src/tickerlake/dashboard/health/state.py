"""The pipeline's state as the page and the interface get it: plain data."""

import msgspec

from tickerlake.lake.audit.history import AuditRecord


class KafkaState(msgspec.Struct, frozen=True):
    """Whether Kafka answers; ``error`` may also say what it refuses while it does."""

    ok: bool
    error: str


class PartitionState(msgspec.Struct, frozen=True):
    """The offsets that a partition retains; ``high`` is the end of the committed records."""

    partition: int
    low: int
    high: int


class TopicState(msgspec.Struct, frozen=True):
    """A topic; ``records`` counts retained offsets, ``rate`` is how many come in a second."""

    topic: str
    records: int
    rate: float
    partitions: list[PartitionState]


class PartitionLagState(msgspec.Struct, frozen=True):
    """How far a group is in a partition; ``lag`` is 0 where only offsets without a record follow."""

    partition: int
    committed: int
    lag: int


class GroupState(msgspec.Struct, frozen=True):
    """A consumer group in a topic; ``rate`` is how many offsets it commits a second."""

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
        Offsets in Kafka that are not stored yet, and the age of the first record among them.
    stored_ms
        Kafka's time of the newest record that is stored; 0 if unknown.
    gaps
        Offsets lost to retention before they could be stored: those that the lake notes, and those that
        the sink will find gone.
    counting
        The segments that were there at the start are still being counted: the figures grow.
    error
        What is wrong with this topic in the lake, else empty.
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
    """What the lake costs on Cloud Storage; ``usd`` is for operations so far, storage is by the month."""

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
    """All of it."""

    now_ms: int
    kafka: KafkaState
    topics: list[TopicState]
    groups: list[GroupState]
    lake: LakeState | None
    audits: list[AuditRecord]
