"""The live part of the demo: a simulated market whose trades are tracked and stored as they arrive."""

import threading
from collections.abc import Callable
from datetime import date, timedelta
from typing import Final

from tickerlake.alerts.engine import AlertEngine
from tickerlake.alerts.rules.ruleset import preset
from tickerlake.analytics.calendars import MarketSessions
from tickerlake.analytics.types import EngineOptions
from tickerlake.errors import TickerlakeError
from tickerlake.lake.store.base import Store
from tickerlake.model.dates import to_days
from tickerlake.pipeline.ingest import Ingest, IngestOptions
from tickerlake.pipeline.sink import Sink, SinkOptions
from tickerlake.pipeline.track import Tracker, TrackOptions
from tickerlake.sources.simulator.market import Market
from tickerlake.sources.simulator.plan import MarketOptions
from tickerlake.tools.demo import INDICATORS
from tickerlake.tools.simulate import write_topic

PREFIX: Final = "simulated"
SPEED: Final = 10.0
CALENDAR: Final = "XNYS"
_INTERVALS: Final = ("1m", "5m", "1h", "1d")
# few enough for a watch list, and for a laptop at ten times the pace: about 50 trades per second
_SYMBOLS: Final = 60
_TRADES_PER_DAY: Final = 120_000
_TRADING_DAYS: Final = 10
_BACKFILL_DAYS: Final = 6  # history for indicators and baselines; the other four days are replayed
_JUMPS_PER_SYMBOL_DAY: Final = 0.5  # enough alerts to see some within minutes
_MAX_WAIT_S: Final = 2.0  # skips nights
_NOON_NS: Final = 12 * 3600 * 10**9
_DAY_NS: Final = 86_400 * 10**9


def market_start(today: date) -> date:
    """Return the Monday two weeks before this week's, so that the whole market lies in the past."""
    return today - timedelta(days=today.weekday() + 14)


class LiveMarket:
    """Replays a simulated market: six days as fast as possible, the rest at ten times its pace.

    Until the end of the week it is the same market, and a further run continues where the last one stopped.

    Parameters
    ----------
    bootstrap_servers
        The broker of the demo.
    store
        The store of its lake.
    today
        Today's date; the market is that of the two weeks before this week.

    Attributes
    ----------
    failure
        The first error of a job, which stops all of them.
    """

    def __init__(self, bootstrap_servers: str, store: Store, today: date) -> None:
        self.topic = f"{PREFIX}.trades"
        first = market_start(today)
        paced_from = first + timedelta(days=_BACKFILL_DAYS + 2 * (_BACKFILL_DAYS // 5))
        options = MarketOptions(
            symbols=_SYMBOLS,
            trades=_TRADES_PER_DAY * _TRADING_DAYS,
            start=first,
            days=_TRADING_DAYS,
            jumps=_JUMPS_PER_SYMBOL_DAY,
        )
        self._market = Market(options)
        ingest_options = IngestOptions(
            speed=SPEED,
            max_wait_s=_MAX_WAIT_S,
            paced_from_ns=to_days(paced_from) * _DAY_NS + _NOON_NS,
        )
        self._ingest = Ingest(bootstrap_servers, self.topic, ingest_options)
        self._servers = bootstrap_servers
        self._store = store
        self.failure: TickerlakeError | None = None

    def run(self, stop: threading.Event) -> None:
        """Run until `stop` is set or a job fails; its error is then in `failure`."""
        self._ingest.prepare()
        engine = EngineOptions(_INTERVALS, (*INDICATORS, "VWAP"), source_tag="track:live")
        track = Tracker(
            self._servers,
            self.topic,
            self._store,
            "tickerlake-demo-live-track",
            TrackOptions(engine, PREFIX),
            MarketSessions(CALENDAR),
            AlertEngine(preset("default").rules, engine.intervals),
        )
        track.prepare()
        topics = [self.topic, *(f"{PREFIX}.{name}" for name in ("bars", "indicators", "alerts"))]
        sink_options = SinkOptions(flush_age_s=20.0)
        sink = Sink(self._servers, topics, self._store, "tickerlake-demo-live-sink", sink_options)
        jobs: list[Callable[[], object]] = [
            lambda: write_topic(self._market, self._ingest, stop),
            lambda: track.run(stop),
            lambda: sink.run(stop),
        ]
        threads = [threading.Thread(target=self._run_job, args=[job, stop]) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _run_job(self, job: Callable[[], object], stop: threading.Event) -> None:
        try:
            job()
        except TickerlakeError as error:
            self.failure = self.failure or error
            stop.set()
