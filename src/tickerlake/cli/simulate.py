"""``tickerlake simulate``: a seeded market → a file or Kafka."""

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tickerlake.cli.common import (
    LOCAL_BROKER,
    BootstrapServers,
    Force,
    Json,
    LongestWait,
    Property,
    StatusLine,
    graceful_shutdown,
    librdkafka_properties,
    parse_longest_wait,
    parse_rate,
    parse_speed,
    print_json,
    print_status,
)

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Mapping
    from datetime import date

    from tickerlake.pipeline.ingest import Ingest, IngestProgress
    from tickerlake.sources.simulator.market import Market
    from tickerlake.tools.simulate import OnProgress, SimulateStats

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
    bootstrap_servers: BootstrapServers = LOCAL_BROKER,
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
    from tickerlake.sources.simulator.market import Market
    from tickerlake.sources.simulator.plan import MarketOptions
    from tickerlake.tools.simulate import Stopped

    if (output is None) == (topic is None):
        raise UsageError("A market goes to a file or to a topic.", "Give -o FILE, -o - or --topic.")
    if json and output == _STDOUT:
        raise UsageError("The trades and --json can't both go to stdout.", "Leave out one of them.")
    rate_s, speed_factor = parse_rate(rate), parse_speed(speed)
    max_wait_s = parse_longest_wait(longest_wait, speed_factor)
    if output and (rate_s or speed_factor):
        raise UsageError("--rate and --speed are for topics.", "Leave them out: a file is written at once.")
    market = Market(MarketOptions(symbols, trades, seed, _parse_day(start), days, jumps, halts, splits))
    with graceful_shutdown("dropping what is not whole …" if output else "finishing what was made …") as stop:
        try:
            if output:
                result = _to_file(market, output, truth, stop, force=force)
            else:
                options = IngestOptions(
                    rows_per_s=rate_s,
                    speed=speed_factor,
                    max_wait_s=max_wait_s,
                    partitions=partitions,
                    create_topic=create,
                )
                ingest = Ingest(
                    bootstrap_servers, topic or "", options, librdkafka_properties(context, property_)
                )
                result = _to_topic(market, ingest, truth, stop, force=force)
        except Stopped:
            print_status("stopped; no file was written.")
            raise typer.Exit(130) from None
    if json:
        print_json(_summarize(market) | result)
    if not result["finished"]:
        raise typer.Exit(130)


def _to_file(
    market: "Market", output: Path, truth: Path | None, stop: "threading.Event", *, force: bool
) -> dict[str, Any]:
    from tickerlake.tools.files import open_stdout
    from tickerlake.tools.simulate import TRUTH_SUFFIX, write_file, write_stream

    with _progress_reporter(market) as show:
        if output == _STDOUT:
            try:
                with open_stdout() as stream:
                    stats = write_stream(market, stream, truth, stop, show, force=force)
            except BrokenPipeError:
                return {"finished": True}  # who reads has enough, as `head` has
        else:
            truth = truth or output.with_name(output.name + TRUTH_SUFFIX)
            stats = write_file(market, output, truth, stop, show, force=force)
    print_status(f"{'stdout' if output == _STDOUT else output}: {_format_market(market)}")
    if truth:
        print_status(f"{truth}: {_format_label_counts(stats.labels)}")
    return {
        "output": str(output),
        "truth": str(truth) if truth else None,
        "labels": stats.labels,
        "finished": True,
    }


def _to_topic(
    market: "Market", ingest: "Ingest", truth: Path | None, stop: "threading.Event", *, force: bool
) -> dict[str, Any]:
    from tickerlake.tools.simulate import write_topic, write_truth

    if ingest.prepare():
        print_status(f"created topic {ingest.topic} with {ingest.options.partitions} partitions")
    labels = None
    if truth:
        with _progress_reporter(market) as show:
            labels = write_truth(market, truth, stop, show, force=force).labels
        print_status(f"{truth}: {_format_label_counts(labels)}")
    ticker = StatusLine()

    def progress(now: "IngestProgress") -> None:
        made = (
            f"{now.rows_done / now.rows:.0%}, {now.records:,} trades, {ticker.rate(now.new_records):,.0f}/s"
        )
        # at the pace of event time a night or a weekend is a long silence: say so
        waits = f", next in {now.next_s:,.0f} s" if now.next_s >= 2 else ""
        ticker.update(f"{ingest.topic}: {made}{waits}")

    progress_total = write_topic(market, ingest, stop, progress)
    ticker.clear()
    if progress_total.finished and not progress_total.new_records:
        print_status(
            f"{ingest.topic}: this market is there already ({progress_total.records:,} trades); nothing new"
        )
    elif progress_total.finished:
        print_status(f"{ingest.topic}: {_format_market(market)}; {progress_total.new_records:,} are new")
    else:
        print_status(
            f"{ingest.topic}: {progress_total.records:,} of {progress_total.rows:,} trades; run it again to continue."
        )
    return {
        "topic": ingest.topic,
        "records": progress_total.records,
        "new_records": progress_total.new_records,
        "truth": str(truth) if truth else None,
        "labels": labels,
        "finished": progress_total.finished,
    }


@contextmanager
def _progress_reporter(market: "Market") -> "Iterator[OnProgress]":
    ticker = StatusLine()

    def show(now: "SimulateStats") -> None:
        made = f"{now.trades / market.rows:.0%}, {now.trades:,} trades, {ticker.rate(now.trades):,.0f}/s"
        ticker.update(f"{market.source}: {made}")

    try:
        yield show
    finally:
        ticker.clear()


def _parse_day(text: str) -> "date":
    from datetime import date

    from tickerlake.errors import UsageError

    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"--start {text} is no date.", "Write it as 2024-01-02.") from error


def _summarize(market: "Market") -> dict[str, Any]:
    options, (first_ns, last_ns) = market.options, market.time_span_ns()
    return {
        "seed": options.seed,
        "symbols": options.symbols,
        "trades": options.trades,
        "days": options.day_count,
        "first_ts_event_ns": first_ns,
        "last_ts_event_ns": last_ns,
    }


def _format_market(market: "Market") -> str:
    trade_counts = f"{market.rows:,} trades of {market.options.symbols:,} symbols"
    return f"{trade_counts}, {market.first_day} to {market.last_day}, seed {market.options.seed}"


def _format_label_counts(labels: "Mapping[str, int]") -> str:
    return ", ".join(f"{labels.get(kind, 0):,} {kind}s" for kind in ("jump", "split", "halt"))
