"""Which alerts a target gets."""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from tickerlake.model.alert import SEVERITIES, Alert, AlertState, Severity
from tickerlake.notify.delivery import DEFAULT_GIVE_UP_AFTER_S
from tickerlake.notify.targets.target import Target


@dataclass(frozen=True, slots=True)
class Route:
    """A target and what it is told.

    Parameters
    ----------
    target
        Where to.
    severity
        The least.
    symbols, rules
        Patterns such as ``AAPL`` or ``BRK*``, for symbol or instrument and for the rule; none mean all.
    states
        Of the alerts.
    group
        Whether many similar alerts become one notification.
    give_up_after_s
        How long a notification is tried.
    """

    target: Target
    min_severity: Severity = "info"
    symbols: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    states: tuple[AlertState, ...] = ("fired",)
    group: bool = True
    give_up_after_s: float = DEFAULT_GIVE_UP_AFTER_S

    def accepts(self, alert: Alert) -> bool:
        """Tell whether the target gets this alert."""
        return (
            alert.state in self.states
            and SEVERITIES.index(alert.severity) >= SEVERITIES.index(self.min_severity)
            and (_matches_any(alert.symbol, self.symbols) or _matches_any(alert.instrument_id, self.symbols))
            and _matches_any(alert.rule_id, self.rules)
        )


def _matches_any(text: str, patterns: tuple[str, ...]) -> bool:
    return not patterns or any(fnmatchcase(text, pattern) for pattern in patterns)
