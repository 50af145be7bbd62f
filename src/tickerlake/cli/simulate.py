"""``tickerlake simulate``: a seeded market → a file or Kafka."""

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tickerlake.cli.common import (
    LOCAL_BROKER,
    Bootstrap,
    Force,
    Json,
    LongestWait,
    Property,
    Ticker,
    emit,
    longest_of,
    properties,
    rate_of,
    say,
    speed_of,
    stopping,
)

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Mapping
    from datetime import date

    from tickerlake.pipeline.ingest import Ingest, Ingested
    from tickerlake.pipeline.simulate import Show, Simulated
    from tickerlake.sources.simulator.market import Market

_STDOUT = Path("-")


def simulate(
    context: typer.Context,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File: .csv for people; .ndjson or .parquet for records; .csv.gz, .ndjson.gz. - for stdout.",
        ),
    ] = None,
    topic: Annotated[
        str | None, typer.Option("--topic", "-t", help="Or a topic to write to; created if missing.")
    ] = None,
    bootstrap_servers: Bootstrap = LOCAL_BROKER,
    symbols: Annotated[int, typer.Option(help="How many symbols; the first is the most active.")] = 100,
    trades: Annotated[int, typer.Option(help="How many trades in all, exactly.")] = 1_000_000,
    seed: Annotated[int, typer.Option(help="The same seed and options give the same market.")] = 7,
    start: Annotated[str, typer.Option(help="First day, or the weekday after it.")] = "2024-01-02",
    days: Annotated[
        int | None,
        typer.Option(
            help="Weekdays; by default so many that a symbol has 500 trades a day, but 252 at most.",
            show_default=False,
        ),
    ] = None,
    jumps: Annotated[float, typer.Option(help="Jumps of a symbol in a day, on average.")] = 0.1,
    halts: Annotated[float, typer.Option(help="Halts of a symbol in a day, on average.")] = 0.01,
    splits: Annotated[float, typer.Option(help="Splits of a symbol in a day, on average.")] = 0.002,
    truth: Annotated[
        Path | None,
        typer.Option(
            help="File of labels: every jump, split and halt, one JSON object a line. "
            "By default FILE.truth.ndjson beside -o FILE, and none with -o - or --topic.",
            show_default=False,
        ),
    ] = None,
    force: Force = False,
    speed: Annotated[
        str, typer.Option(help="To a topic: max, or by event time: 1x as it was, 60x an hour in a minute.")
    ] = "max",
    rate: Annotated[str | None, typer.Option(help="To a topic: trades a second, for example 500/s.")] = None,
    longest_wait: LongestWait = None,
    partitions: Annotated[int, typer.Option(min=1, help="Partitions of a topic that is created.")] = 4,
    create: Annotated[
        bool, typer.Option("--create/--no-create", help="Create the topic if it is missing.")
    ] = True,
    property_: Property = None,
    json: Json = False,
) -> None:
    """Make a market from a seed: trades of many symbols, and the truth about their jumps, splits and halts.

    Weekdays, 09:30 to 16:00 in New York. A file appears whole or not at all. To a topic each trade is written
    once: run again after a crash or Ctrl-C, it continues where it stopped.

    Examples: `tickerlake simulate -o trades.csv` ·
    `tickerlake simulate --symbols 500 --trades 10000000 --seed 1 -o trades.parquet` ·
    `tickerlake simulate --trades 1000 -o - | head` ·
    `tickerlake simulate -t stocks.trades --speed 60x --truth truth.ndjson`
    """
    from tickerlake.errors import UsageError
    from tickerlake.pipeline.ingest import Ingest, IngestOptions
    from tickerlake.pipeline.simulate import Stopped
    from tickerlake.sources.simulator.market import Market
    from tickerlake.sources.simulator.plan import MarketOptions

    if (output is None) == (topic is None):
        raise UsageError("A market goes to a file or to a topic.", "Give -o FILE, -o - or --topic.")
    if json and output == _STDOUT:
        raise UsageError("The trades and --json can't both go to stdout.", "Leave out one of them.")
    rate_s, times = rate_of(rate), speed_of(speed)
    longest_s = longest_of(longest_wait, times)
    if output and (rate_s or times):
        raise UsageError("--rate and --speed are for topics.", "Leave them out: a file is written at once.")
    market = Market(MarketOptions(symbols, trades, seed, _day(start), days, jumps, halts, splits))
    with stopping("dropping what is not whole …" if output else "finishing what was made …") as stop:
        try:
            if output:
                done = _to_file(market, output, truth, stop, force=force)
            else:
                options = IngestOptions(
                    rate_s=rate_s, speed=times, longest_s=longest_s, partitions=partitions, create=create
                )
                ingest = Ingest(bootstrap_servers, topic or "", options, properties(context, property_))
                done = _to_topic(market, ingest, truth, stop, force=force)
        except Stopped:
            say("stopped; no file was written.")
            raise typer.Exit(130) from None
    if json:
        emit(_about(market) | done)
    if not done["finished"]:
        raise typer.Exit(130)


def _to_file(
    market: "Market", output: Path, truth: Path | None, stop: "threading.Event", *, force: bool
) -> dict[str, Any]:
    from tickerlake.pipeline.files import standard_output
    from tickerlake.pipeline.simulate import TRUTH, write_file, write_stream

    with _showing(market) as show:
        if output == _STDOUT:
            try:
                with standard_output() as stream:
                    done = write_stream(market, stream, truth, stop, show, force=force)
            except BrokenPipeError:
                return {"finished": True}  # who reads has enough, as `head` has
        else:
            truth = truth or output.with_name(output.name + TRUTH)
            done = write_file(market, output, truth, stop, show, force=force)
    say(f"{'stdout' if output == _STDOUT else output}: {_told(market)}")
    if truth:
        say(f"{truth}: {_counted(done.labels)}")
    return {
        "output": str(output),
        "truth": str(truth) if truth else None,
        "labels": done.labels,
        "finished": True,
    }


def _to_topic(
    market: "Market", ingest: "Ingest", truth: Path | None, stop: "threading.Event", *, force: bool
) -> dict[str, Any]:
    from tickerlake.pipeline.simulate import write_topic, write_truth

    if ingest.prepare():
        say(f"created topic {ingest.topic} with {ingest.options.partitions} partitions")
    labels = None
    if truth:
        with _showing(market) as show:
            labels = write_truth(market, truth, stop, show, force=force).labels
        say(f"{truth}: {_counted(labels)}")
    ticker = Ticker()

    def progress(now: "Ingested") -> None:
        made = (
            f"{now.rows_done / now.rows:.0%}, {now.records:,} trades, {ticker.rate(now.new_records):,.0f}/s"
        )
        # at the pace of event time a night or a weekend is a long silence: say so
        waits = f", next in {now.next_s:,.0f} s" if now.next_s >= 2 else ""
        ticker.show(f"{ingest.topic}: {made}{waits}")

    done = write_topic(market, ingest, stop, progress)
    ticker.end()
    if done.finished and not done.new_records:
        say(f"{ingest.topic}: this market is there already ({done.records:,} trades); nothing new")
    elif done.finished:
        say(f"{ingest.topic}: {_told(market)}; {done.new_records:,} are new")
    else:
        say(f"{ingest.topic}: {done.records:,} of {done.rows:,} trades; run it again to continue.")
    return {
        "topic": ingest.topic,
        "records": done.records,
        "new_records": done.new_records,
        "truth": str(truth) if truth else None,
        "labels": labels,
        "finished": done.finished,
    }


@contextmanager
def _showing(market: "Market") -> "Iterator[Show]":
    ticker = Ticker()

    def show(now: "Simulated") -> None:
        made = f"{now.trades / market.rows:.0%}, {now.trades:,} trades, {ticker.rate(now.trades):,.0f}/s"
        ticker.show(f"{market.source}: {made}")

    try:
        yield show
    finally:
        ticker.end()


def _day(text: str) -> "date":
    from datetime import date

    from tickerlake.errors import UsageError

    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"--start {text} is no date.", "Write it as 2024-01-02.") from error


def _about(market: "Market") -> dict[str, Any]:
    options, (first_ns, last_ns) = market.options, market.span()
    return {
        "seed": options.seed,
        "symbols": options.symbols,
        "trades": options.trades,
        "days": options.day_count,
        "first_ts_event_ns": first_ns,
        "last_ts_event_ns": last_ns,
    }


def _told(market: "Market") -> str:
    made = f"{market.rows:,} trades of {market.options.symbols:,} symbols"
    return f"{made}, {market.first_day} to {market.last_day}, seed {market.options.seed}"


def _counted(labels: "Mapping[str, int]") -> str:
    return ", ".join(f"{labels.get(kind, 0):,} {kind}s" for kind in ("jump", "split", "halt"))
