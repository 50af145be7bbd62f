"""Defaults that the command line shows are those of the options that they set."""

from typing import Any

import pytest

from support.command_line import commands
from tickerlake.analytics.types import EngineOptions
from tickerlake.cli.engine_options import engine_options
from tickerlake.dashboard.server import DashboardOptions
from tickerlake.pipeline.ingest import IngestOptions
from tickerlake.pipeline.sink import SinkOptions
from tickerlake.sources.simulator.plan import MarketOptions

COMMANDS = {each.name: each for each in commands()}


def defaults(command: str) -> dict[str, Any]:
    return {param.name: param.default for param in COMMANDS[command].command.params}


@pytest.mark.parametrize(
    ("command", "options", "names"),
    [
        ("produce", IngestOptions(), {"partitions": "partitions", "create": "create_topic"}),
        ("simulate", IngestOptions(), {"partitions": "partitions", "create": "create_topic"}),
        (
            "simulate",
            MarketOptions(),
            {name: name for name in ("symbols", "trades", "seed", "days", "jumps", "halts", "splits")},
        ),
        (
            "sink",
            SinkOptions(),
            {
                "format_": "format",
                "flush_bytes": "flush_bytes",
                "flush_records": "flush_records",
                "flush_age": "flush_age_s",
                "on_gap": "on_gap",
            },
        ),
        ("serve", DashboardOptions(), {"host": "host", "port": "port", "calendar": "calendar"}),
        ("demo", DashboardOptions(), {"port": "port"}),
    ],
)
def test_defaults_agree(command: str, options: object, names: dict[str, str]) -> None:
    shown = defaults(command)
    assert {name: shown[name] for name in names} == {
        name: getattr(options, field) for name, field in names.items()
    }


def test_the_first_day_of_a_market() -> None:
    assert defaults("simulate")["start"] == MarketOptions().start.isoformat()


def test_durations_of_the_engine() -> None:
    shown = defaults("track")
    options = engine_options(
        "1m", "none", shown["grace"], shown["lateness"], shown["idle"], shown["ahead"], "group"
    )
    engine = EngineOptions(source_tag=options.source_tag)
    assert options == engine
    backtest = defaults("rules test")
    assert (backtest["grace"], backtest["lateness"]) == (shown["grace"], shown["lateness"])
