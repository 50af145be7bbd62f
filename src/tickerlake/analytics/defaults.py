"""Default durations of the engine: in a separate module, so that ``--help`` can show them without it."""

from typing import Final

GRACE: Final = "0s"
"""Bars close at once: a late trade restates its bar, so waiting would only delay every alert."""

LATENESS: Final = "1m"
"""Covers the usual delay of trade reports; until then closed bars are kept in memory to be restated."""

IDLE: Final = "30s"
"""Covers the usual delay of trade reports; the last bar of a quiet instrument closes that much later."""

AHEAD: Final = "5m"
"""Covers clock skew between producer and broker, and still catches timestamps in a wrong time zone."""
