"""A rule: what is looked for, where, and when it is told."""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Final, Literal

from tickerlake.alerts.detectors import registry
from tickerlake.alerts.detectors.detector import Detector
from tickerlake.model.alert import Severity
from tickerlake.model.duration import DAY_NS, MINUTE_NS, parse_duration_ns

Repeat = Literal["once", "once_per_bar", "once_per_bar_close", "every"]
When = Literal["close", "tick"]
SessionFilter = Literal["all", "regular"]

INTRADAY: Final = "intraday"
"""As an interval: the finest of those that are tracked below a day."""

DEFAULT_COOLDOWN_NS: Final = 15 * MINUTE_NS


@dataclass(frozen=True)
class Rule:
    """One rule, checked.

    Parameters
    ----------
    id, kind
        Its name, and the name of its detector.
    given
        The detector's parameters, and ``direction`` and ``clear`` if they are given.
    symbols, exclude
        Patterns with ``*`` and ``?``, lists resolved.
    intervals
        Of bars; empty for the finest that makes sense.
    clear_bars, warmup
        Numbers of closed bars; None for the detector's own.
    severity, warning, critical
        The severity, and the sizes of the value from which it is a higher one.
    when, repeat, cooldown_ns, session, expires_ns
        When it is told, and when not.
    message
        A template in place of the usual message.
    line
        Where it stands in its file.
    """

    id: str
    kind: str
    given: Mapping[str, Any] = field(default_factory=dict)
    symbols: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    intervals: tuple[str, ...] = ()
    clear_bars: int | None = None
    severity: Severity = "warning"
    warning: float | None = None
    critical: float | None = None
    when: When = "close"
    repeat: Repeat = "once_per_bar_close"
    cooldown_ns: int = DEFAULT_COOLDOWN_NS
    session: SessionFilter = "all"
    warmup: int | None = None
    expires_ns: int | None = None
    message: str | None = None
    line: int = field(default=0, compare=False)

    @cached_property
    def version(self) -> int:
        """A number that changes with the content of the rule; part of each of its alerts."""
        content = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "line"}
        return checksum(content)

    @cached_property
    def state_version(self) -> int:
        """A number that changes with what the rule remembers: its detector and what that is shown."""
        return checksum({"kind": self.kind, "given": self.given, "session": self.session})

    @property
    def monitors_data(self) -> bool:
        """True if it looks at what comes and what does not, rather than at prices."""
        return registry.detector_class(self.kind).monitors_data

    def matches(self, symbol: str) -> bool:
        """Tell whether the rule is for a symbol."""
        included = any(fnmatchcase(symbol, pattern) for pattern in self.symbols)
        return included and not any(fnmatchcase(symbol, pattern) for pattern in self.exclude)

    def build_detector(self, interval: str) -> Detector:
        """Make its detector for bars of an interval."""
        return registry.detector_class(self.kind)(self.given, interval)

    def select_intervals(self, tracked: list[str]) -> list[str]:
        """Return those of the tracked intervals that the rule looks at."""
        cls = registry.detector_class(self.kind)
        by_width = sorted(tracked, key=parse_duration_ns)
        if self.intervals and self.intervals != (INTRADAY,):
            wanted = {parse_duration_ns(text) for text in self.intervals}
            return [text for text in by_width if parse_duration_ns(text) in wanted]
        most_ns = parse_duration_ns(cls.max_interval) if cls.max_interval else None
        fit = [
            text
            for text in by_width
            if (most_ns is None or parse_duration_ns(text) <= most_ns)
            and not (parse_duration_ns(text) >= DAY_NS and (cls.intraday_only or self.intervals))
        ]
        return fit[:1]


def checksum(value: object) -> int:
    """Return a number of 32 bits that follows from a value's canonical form."""
    return zlib.crc32(json.dumps(value, sort_keys=True, default=str).encode())
