"""Alerts as episodes: one from firing to clearing, with its escalations."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from tickerlake.errors import did_you_mean
from tickerlake.model.alert import SEVERITIES, Alert, Severity

_STATE_ORDER: Final = ("fired", "cleared", "expired")
"""Of one time, what fires comes before what ends."""


@dataclass
class Episode:
    """The alerts of one rule and instrument from firing to clearing.

    Parameters
    ----------
    fired
        All alerts that fired, in order of time; at least one.
    ended
        What ended it; None while it is open.
    """

    fired: list[Alert]
    ended: Alert | None = None

    @property
    def first(self) -> Alert:
        """The alert that began it."""
        return self.fired[0]

    @property
    def severity(self) -> Severity:
        """The highest severity of its alerts."""
        return max((alert.severity for alert in self.fired), key=SEVERITIES.index)

    def to_fields(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        first, ended = self.first, self.ended
        return {
            "symbol": first.symbol,
            "instrument_id": first.instrument_id,
            "rule_id": first.rule_id,
            "kind": first.kind,
            "severity": self.severity,
            "direction": first.direction,
            "cause": first.cause,
            "state": ended.state if ended else "open",
            "ts_fired_ns": first.ts_event_ns,
            "ts_ended_ns": ended.ts_event_ns if ended else None,
            "alerts": len(self.fired),
            "suppressed_count": sum(
                one.suppressed_count for one in [*self.fired[1:], *([ended] if ended else [])]
            ),
            "message": first.message,
            "last_message": self.fired[-1].message,
            "alert_ids": [alert.alert_id for alert in self.fired],
            "dedup_key": first.dedup_key,
        }


def find_episodes(alerts: Iterable[Alert]) -> list[Episode]:
    """Return the episodes of alerts in any order, each alert once, in order of the time they began.

    What ends an episode that began before the first of the alerts is left out.
    """
    unique = {alert.alert_id: alert for alert in alerts}.values()
    in_order = sorted(unique, key=lambda one: (one.ts_event_ns, _STATE_ORDER.index(one.state), one.alert_id))
    episodes: list[Episode] = []
    open_by_key: dict[str, Episode] = {}
    for alert in in_order:
        current = open_by_key.get(alert.dedup_key)
        if alert.state != "fired":
            if current is not None:
                current.ended = alert
                del open_by_key[alert.dedup_key]
        elif current is not None:
            current.fired.append(alert)
        else:
            episode = open_by_key[alert.dedup_key] = Episode([alert])
            episodes.append(episode)
    return episodes


@dataclass(frozen=True)
class EpisodeFilter:
    """Which episodes to show; empty patterns match all.

    Parameters
    ----------
    symbols, rules
        Patterns with ``*`` and ``?``: of symbols, or of instrument ids; of rule ids.
    severity
        The lowest severity.
    """

    symbols: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    severity: Severity = "info"

    def unmatched(self, episodes: Sequence[Episode]) -> Iterator[str]:
        """Yield what is wrong with patterns that match none of the episodes."""
        symbols = {name for one in episodes for name in (one.first.symbol, one.first.instrument_id)}
        for word, patterns, names in (
            ("symbol", self.symbols, symbols),
            ("rule", self.rules, {one.first.rule_id for one in episodes}),
        ):
            for pattern in patterns:
                if not any(fnmatchcase(name, pattern) for name in names):
                    hint = did_you_mean(pattern, sorted(names))
                    similar = f" {hint}" if hint.startswith("Did") else ""
                    yield f"no alert is of the {word} {pattern}.{similar}"

    def matches(self, episode: Episode) -> bool:
        """Return whether to show an episode."""
        first = episode.first
        names = (first.symbol, first.instrument_id)
        is_symbol = any(fnmatchcase(name, pattern) for name in names for pattern in self.symbols or "*")
        is_rule = any(fnmatchcase(first.rule_id, pattern) for pattern in self.rules or "*")
        is_severe = SEVERITIES.index(episode.severity) >= SEVERITIES.index(self.severity)
        return is_symbol and is_rule and is_severe
