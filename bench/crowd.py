"""Ten thousand symbols with everything that is computed by default: memory, snapshots, recovery."""

from typing import NamedTuple

from bench.bed import Bed
from bench.measure import Run
from bench.ready import send
from bench.stream import Written, tracked
from tickerlake.model.json import to_json_lines
from tickerlake.sources.simulator.market import Market
from tickerlake.sources.simulator.plan import MarketOptions

SYMBOLS = 10_000


class Crowd(NamedTuple):
    """The first run, what its snapshots take, and the second run, which takes them up for one more record."""

    first: Run
    written: Written
    snapshots_mb: float
    again: Run


def measure(bed: Bed, records: int) -> Crowd:
    """Track a market of many symbols, and again after one more record."""
    market = Market(MarketOptions(symbols=SYMBOLS, trades=records, days=5))
    topic, prefix, state = bed.traded(market), bed.group(), bed.lake()
    options = ("--calendar", "XNYS")
    first = tracked(bed, records, topic, prefix, state, *options)
    written = Written.of(bed.log("script"))
    assert written.records == records, written
    size = sum(path.stat().st_size for path in state.rglob("*") if path.is_file())
    last = list(market.batches([records - 1]))[-1].records.tail(1)
    send(bed.servers, topic, [last.item(0, "instrument_id").encode()], to_json_lines(last), 1)
    again = tracked(bed, 1, topic, prefix, state, *options)
    assert Written.of(bed.log("script")).records == 1
    return Crowd(first, written, size / 1e6, again)
