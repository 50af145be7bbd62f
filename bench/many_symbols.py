"""Ten thousand symbols with all defaults: memory, snapshots, recovery."""

from typing import NamedTuple

from bench.kafka_env import KafkaEnv
from bench.measure import Run
from bench.producer_child import send_in_transactions
from bench.stream import TrackSummary, run_track
from tickerlake.model.json import to_json_lines
from tickerlake.sources.simulator.market import Market
from tickerlake.sources.simulator.plan import MarketOptions

SYMBOLS = 10_000


class ManySymbolsResult(NamedTuple):
    """The first run, the size of its snapshots, and a second run that restores them for one more record."""

    first: Run
    written: TrackSummary
    snapshots_mb: float
    restarted: Run


def measure(bed: KafkaEnv, records: int) -> ManySymbolsResult:
    """Track a market of many symbols, and again after one more record."""
    market = Market(MarketOptions(symbols=SYMBOLS, trades=records, days=5))
    topic, prefix, state = bed.topic_with_trades(market), bed.new_group(), bed.empty_lake()
    options = ("--calendar", "XNYS")
    first = run_track(bed, records, topic, prefix, state, *options)
    written = TrackSummary.from_log(bed.log_path("script"))
    assert written.records == records, written
    size = sum(path.stat().st_size for path in state.rglob("*") if path.is_file())
    last = list(market.batches([records - 1]))[-1].records.tail(1)
    send_in_transactions(bed.servers, topic, [last.item(0, "instrument_id").encode()], to_json_lines(last), 1)
    restarted = run_track(bed, 1, topic, prefix, state, *options)
    assert TrackSummary.from_log(bed.log_path("script")).records == 1
    return ManySymbolsResult(first, written, size / 1e6, restarted)
