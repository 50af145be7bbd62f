"""Default options of jobs: in a separate module, so that ``--help`` can show them without the jobs."""

from typing import Final

PARTITIONS: Final = 4
"""Partitions of a created topic: enough for a few workers to share it; more cost the broker start-up time."""

FLUSH_BYTES: Final = 8 << 20
"""Size of a segment's values: large enough to keep the number of objects low, small enough to buffer."""

FLUSH_RECORDS: Final = 200_000
"""Limits segments of tiny records, whose overhead in memory exceeds their values."""

FLUSH_AGE_S: Final = 10.0
"""How far the lake may lag behind a quiet topic; less means more and smaller objects."""
