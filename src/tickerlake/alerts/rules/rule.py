"""A rule: its condition, the symbols it applies to, and when it alerts."""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Final, Literal

from tickerlake.alerts.detectors import registry
from tickerlake.alerts.detectors.detector import Detector
from tickerlake.model.alert import Severity
from tickerlake.model.duration import DAY_NS, MINUTE_NS, parse_duration_ns

Repeat = Literal["once_per_move", "once", "once_per_bar", "once_per_bar_close", "every"]
When = Literal["close", "tick"]
SessionFilter = Literal["all", "regular", "extended"]

INTRADAY: Final = "intraday"
"""As an interval: the shortest tracked interval below a day."""

DEFAULT_COOLDOWN_NS: Final = 15 * MINUTE_NS
"""A move usually continues for some minutes: one alert per instrument and quarter of an hour is enough.

A more severe alert, one on twice the move, or one on the move back does not wait.
"""

# part of the versions, which alerts and snapshots store: another name would change them
_ARGUMENTS_KEY: Final = "given"


@dataclass(frozen=True)
class Rule:
    """A validated rule.

    Parameters
    ----------
    id, kind
        Its name, and the name of its detector.
    arguments
        The detector's parameters, and ``direction`` and ``clear`` if the rule sets them.
    symbols, exclude
        Patterns with ``*`` and ``?``; lists are resolved.
    intervals
        Intervals of bars; empty for the shortest that suits the detector.
    clear_bars, warmup
        Numbers of closed bars; None for the detector's defaults.
    severity, warning, critical
        The severity, and the sizes of the value from which it is at least ``warning`` or ``critical``.
    when, repeat, cooldown_ns, session, expires_ns
        When it alerts: see :mod:`tickerlake.alerts.lifecycle`.
    message
        A template for the message of fired alerts; None for the default message.
    line
        Its line in the rules file.
    part
        The bars that this part of a rule evaluates: see `parts`. None for a whole rule.
    """

    id: str
    kind: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    symbols: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    intervals: tuple[str, ...] = ()
    clear_bars: int | None = None
    severity: Severity = "warning"
    warning: float | None = None
    critical: float | None = None
    when: When = "close"
    repeat: Repeat = "once_per_move"
    cooldown_ns: int = DEFAULT_COOLDOWN_NS
    session: SessionFilter = "all"
    warmup: int | None = None
    expires_ns: int | None = None
    message: str | None = None
    line: int = field(default=0, compare=False)
    part: SessionFilter | None = field(default=None, compare=False)

    @cached_property
    def version(self) -> int:
        """A number that changes with the content of the rule; part of each of its alerts."""
        content = {one.name: getattr(self, one.name) for one in fields(self) if one.compare}
        content[_ARGUMENTS_KEY] = content.pop("arguments")
        return checksum(content)

    @cached_property
    def state_version(self) -> int:
        """A number that changes with what determines its state: the detector and the bars it evaluates."""
        return checksum({"kind": self.kind, _ARGUMENTS_KEY: self.arguments, "session": self.session_filter})

    @property
    def session_filter(self) -> SessionFilter:
        """The bars that it evaluates."""
        return self.part or self.session

    @cached_property
    def parts(self) -> tuple["Rule", ...]:
        """The rule; one for regular and one for extended hours if it is for both and has a baseline."""
        if self.session != "all" or not registry.detector_class(self.kind).has_baseline:
            return (self,)
        return replace(self, part="regular"), replace(self, part="extended")

    @property
    def monitors_data(self) -> bool:
        """True if it evaluates the data stream (gaps, rejected records) instead of bars."""
        return registry.detector_class(self.kind).monitors_data

    def matches(self, symbol: str) -> bool:
        """Return whether the rule applies to a symbol."""
        included = any(fnmatchcase(symbol, pattern) for pattern in self.symbols)
        return included and not any(fnmatchcase(symbol, pattern) for pattern in self.exclude)

    def build_detector(self, interval: str) -> Detector:
        """Return a detector for bars of an interval."""
        arguments = {**self.arguments, "session": self.session_filter}
        return registry.detector_class(self.kind)(arguments, interval)

    def select_intervals(self, tracked: list[str]) -> list[str]:
        """Return the tracked intervals that the rule evaluates."""
        cls = registry.detector_class(self.kind)
        shortest_first = sorted(tracked, key=parse_duration_ns)
        if self.intervals and self.intervals != (INTRADAY,):
            lengths = {parse_duration_ns(text) for text in self.intervals}
            return [text for text in shortest_first if parse_duration_ns(text) in lengths]
        max_ns = parse_duration_ns(cls.max_interval) if cls.max_interval else None
        suitable = [
            text
            for text in shortest_first
            if (max_ns is None or parse_duration_ns(text) <= max_ns)
            and not (parse_duration_ns(text) >= DAY_NS and (cls.intraday_only or self.intervals))
        ]
        return suitable[:1]


def checksum(value: object) -> int:
    """Return the CRC-32 of a value's canonical JSON."""
    return zlib.crc32(json.dumps(value, sort_keys=True, default=str).encode())
