"""Options of bars and indicators that `track` and `rules test` share."""

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tickerlake.cli.common import print_status
from tickerlake.cli.help import BARS, TIMING

if TYPE_CHECKING:
    from tickerlake.analytics.bar_times import Alignment, Day
    from tickerlake.analytics.types import EngineOptions

# what a trader's charts show; the engine on its own builds the bars and indicators that it is asked for
DEFAULT_BARS = "1m,5m,1h,1d"
_MAX_DURATION = "520w"
_MAX_NAMED_CODES = 10
DEFAULT_INDICATORS = "SMA(20),EMA(20),RSI(14),MACD(12,26,9),BBANDS(20,2,2),ATR(14),VWAP"

BarIntervals = Annotated[
    str,
    typer.Option(
        "--bars",
        metavar="INTERVALS",
        help="Bars to build from trades or shorter bars: seconds to hours, or 1d.",
        rich_help_panel=BARS,
    ),
]
Indicators = Annotated[
    str,
    typer.Option(
        metavar="LIST",
        help="Indicators to compute for each closed bar, or none.",
        rich_help_panel=BARS,
    ),
]
Conditions = Annotated[
    Literal["sip", "all"],
    typer.Option(
        "--conditions",
        metavar="RULES",
        help="Trades that set prices: those that US sale conditions allow to (sip), or all.",
        rich_help_panel=BARS,
    ),
]
Grace = Annotated[
    str,
    typer.Option(
        metavar="DURATION",
        help="How long a bar waits for late records before it closes.",
        rich_help_panel=TIMING,
    ),
]
Lateness = Annotated[
    str,
    typer.Option(
        metavar="DURATION",
        help="How long after closing a bar can still be restated by a late trade; later trades are rejected.",
        rich_help_panel=TIMING,
    ),
]

Splits = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE",
        help="Known splits: a CSV file with symbol, date and ratio (4:1), or bars with a column of ratios or "
        "of adjusted closes; repeatable.",
        rich_help_panel=BARS,
    ),
]


DailyBars = Annotated[
    Literal["regular", "all"],
    typer.Option(
        "--day",
        metavar="HOURS",
        help="Trades of a daily bar: those of regular hours with the auctions, or all.",
        rich_help_panel=BARS,
    ),
]
BarAlignment = Annotated[
    Literal["session", "utc"],
    typer.Option(
        "--align",
        metavar="START",
        help="Start bars of 30 minutes to 12 hours at the session's open, or at hours of UTC.",
        rich_help_panel=BARS,
    ),
]


def engine_options(
    bars: str,
    indicators: str,
    grace: str,
    lateness: str,
    idle: str,
    ahead: str,
    group: str,
    *,
    day: "Day" = "regular",
    align: "Alignment" = "session",
    conditions: Literal["sip", "all"] = "sip",
) -> "EngineOptions":
    """Return the engine's options.

    Raises
    ------
    UsageError
        If one of them is not valid.
    """
    from tickerlake.analytics.indicators.registry import parse
    from tickerlake.analytics.types import EngineOptions
    from tickerlake.model.interval import validate_bar_interval

    return EngineOptions(
        intervals=tuple(dict.fromkeys(validate_bar_interval(text) for text in bars.split(","))),
        indicators=tuple(dict.fromkeys(parse(text).text for text in _split_indicators(indicators))),
        grace_ns=_parse_duration(grace, "--grace"),
        lateness_ns=_parse_duration(lateness, "--lateness"),
        idle_ns=_parse_duration(idle, "--idle"),
        max_ahead_ns=_parse_duration(ahead, "--ahead"),
        source_tag=f"track:{group}",
        day=day,
        align=align,
        conditions=conditions,
    )


def with_splits(options: "EngineOptions", paths: list[Path] | None) -> "EngineOptions":
    """Return the options with the splits of files.

    Raises
    ------
    UsageError
        If a file is not valid.
    """
    from dataclasses import replace

    from tickerlake.sources.split_file import read_splits

    return replace(options, splits=read_splits(paths)) if paths else options


def print_conditions(left_out: Counter[str], unknown: Counter[str]) -> None:
    """Print how many trades were left out by their sale conditions, and the codes that are not known."""
    if left_out:
        counts = ", ".join(f"{count:,} {name}" for name, count in _by_count(left_out))
        print_status(f"  left out of prices by sale conditions: {counts} (--conditions all uses them)")
    if unknown:
        counts = ", ".join(f"{code} ({count:,})" for code, count in _by_count(unknown)[:_MAX_NAMED_CODES])
        print_status(f"  unknown sale conditions, which forbid nothing: {counts}")


def _by_count(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda each: (-each[1], each[0]))


def _parse_duration(text: str, option: str) -> int:
    """Return a duration that can be added to any time, in nanoseconds."""
    from tickerlake.errors import UsageError
    from tickerlake.model.duration import parse_duration_option

    duration_ns = parse_duration_option(text, option)
    if duration_ns > parse_duration_option(_MAX_DURATION, option):
        raise UsageError(f"{option} {text} is too long.", f"Use at most {_MAX_DURATION}.")
    return duration_ns


def _split_indicators(text: str) -> list[str]:
    """Split at commas outside parentheses."""
    return (
        [] if text.strip() == "none" else [part for part in re.split(r",(?![^(]*\))", text) if part.strip()]
    )
