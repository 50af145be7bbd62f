"""Rules and alerts on the command line: load rules, print alerts, send notifications."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from tickerlake.cli.common import print_status

if TYPE_CHECKING:
    from tickerlake.alerts.engine import AlertEngine
    from tickerlake.alerts.rules.ruleset import RuleSet
    from tickerlake.analytics.sessions import Sessions
    from tickerlake.model.alert import Alert
    from tickerlake.notify.dispatcher import Route

DEAD_LETTER_FOLDER = Path(".tickerlake/dead-letters")


class AlertPrinter:
    """Prints alerts to stdout, each as a readable line or as a JSON line.

    Parameters
    ----------
    json
        True for JSON lines.
    sessions_of
        Returns the sessions of a market by its ISO 10383 code: their time zone is that of the lines. None for
        UTC.
    """

    def __init__(self, *, json: bool, sessions_of: "Callable[[str], Sessions] | None" = None) -> None:
        from rich.console import Console

        self._json = json
        self._sessions_of = sessions_of
        self._console = Console(file=sys.stdout, highlight=False, soft_wrap=True)

    def print(self, alert: "Alert") -> None:
        """Print one alert."""
        from tickerlake.notify.targets.console import console_line

        if self._json:
            print(alert.to_json().decode(), flush=True)
        else:
            self._console.print(console_line(alert, zone=self.zone_of(alert)))

    def zone_of(self, alert: "Alert") -> tzinfo:
        """Return the time zone of the alert's exchange; UTC if it is not known."""
        from tickerlake.model.instrument import mic_of

        if self._sessions_of is None:
            return UTC
        zone = self._sessions_of(mic_of(alert.instrument_id)).zone
        return UTC if zone == "UTC" else ZoneInfo(zone)


def load_rules(path: Path | None, preset: str) -> "RuleSet":
    """Return the rules of a file, or without one those of a preset.

    Raises
    ------
    UsageError
        If the preset does not exist or the file is not valid.
    """
    from tickerlake.alerts.rules import ruleset
    from tickerlake.alerts.rules.presets import PRESETS
    from tickerlake.alerts.rules.ruleset import RuleSet, load
    from tickerlake.errors import UsageError

    if path is not None:
        return load(path)
    if preset == "none":
        return RuleSet("no rules", ())
    if preset not in PRESETS:
        raise UsageError(
            f"There is no preset {preset}.", f"Use {', '.join(PRESETS)}, none, or a file with --rules."
        )
    return ruleset.preset(preset)


def load_named_rules(name: str) -> "RuleSet":
    """Return the rules of a file, or of a preset if no such file exists.

    Raises
    ------
    UsageError
        If neither exists, or the file is not valid.
    """
    is_preset = name.isalpha() and not Path(name).exists()
    return load_rules(None, name) if is_preset else load_rules(Path(name), "")


def warn_rules_without_data(engine: "AlertEngine") -> None:
    """Warn about rules that have seen no bar, or none that they can measure."""
    from tickerlake.alerts.rules.ruleset import names_preset_index

    for rule in engine.rules_without_data:
        # most data has no index, and none outside of regular hours
        if names_preset_index(rule) or rule.session == "extended":
            continue
        bars = f"{' or '.join(rule.intervals)} bars" if rule.intervals else "bars"
        print_status(f"warning: rule {rule.id} had no data: no {bars} of its symbols were built; see --bars")
    for rule in engine.rules_without_range:
        print_status(
            f"warning: rule {rule.id} ({rule.kind}) measured nothing: "
            "the bars of its symbols have no open, high and low"
        )


@contextmanager
def forward_alerts(
    rules: "RuleSet", bootstrap_servers: str, topic: str, group: str, kafka_properties: Mapping[str, str]
) -> Iterator[None]:
    """Send the alerts of a topic to the targets of the rules, in the background, until the block ends."""
    if not rules.notify:
        yield
        return
    from tickerlake.notify.dispatcher import Dispatcher
    from tickerlake.pipeline.forward_alerts import AlertForwarder, forwarding

    forwarder = AlertForwarder(bootstrap_servers, topic, f"{group}-notify", kafka_properties)
    dispatcher = Dispatcher(notification_routes(rules), DEAD_LETTER_FOLDER)
    with forwarding(
        forwarder,
        dispatcher,
        lambda error: print_status(f"warning: notifications stopped: {error}"),
    ):
        yield
    if skipped := forwarder.skipped.total():
        print_status(f"  skipped {skipped:,} records of {topic} that are not alerts")
    for name, stats in dispatcher.stats().items():
        undelivered = (
            f", {stats.dead_lettered:,} dead-lettered in {DEAD_LETTER_FOLDER}/ ({stats.last_error})"
            if stats.dead_lettered
            else ""
        )
        print_status(f"  {name}: {stats.delivered:,} alerts delivered{undelivered}")


def notification_routes(rules: "RuleSet") -> "list[Route]":
    """Return the notification targets of rules; secrets come from the environment."""
    from tickerlake.notify.settings import read_routes

    return read_routes([(each.line, each.table) for each in rules.notify], os.environ)
