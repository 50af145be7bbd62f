"""All of it in one go: broker, replay of the built-in data, sink, audit, tracking."""

import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tickerlake.alerts.engine import AlertEngine
from tickerlake.alerts.rules.ruleset import preset
from tickerlake.analytics.engine import EngineOptions
from tickerlake.analytics.sessions import ALWAYS
from tickerlake.errors import UsageError
from tickerlake.kafka import embedded
from tickerlake.lake.audit import PartitionAudit
from tickerlake.lake.audits import record
from tickerlake.lake.store import Store, open_store
from tickerlake.model.alert import Alert
from tickerlake.pipeline.ingest import Ingest, Ingested
from tickerlake.pipeline.prove import prove
from tickerlake.pipeline.sink import Sink, SinkOptions, SinkProgress
from tickerlake.pipeline.track import Track, TrackOptions, TrackProgress
from tickerlake.sources.builtin import stocks

TOPIC = "stocks.bars"
INDICATORS = ("SMA(20)", "RSI(14)", "MACD(12,26,9)", "BBANDS(20,2,2)", "ATR(14)")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run of the demo did."""

    ingested: Ingested
    stored: SinkProgress
    audited: list[PartitionAudit]
    tracked: TrackProgress
    alerts: list[Alert]


class Demo:
    """The demo on two folders: one for the lake, one for the broker.

    Parameters
    ----------
    say, show
        Called with a line to keep, and with a line to replace.
    """

    def __init__(
        self, lake: Path, data_dir: Path, say: Callable[[str], None], show: Callable[[str], None]
    ) -> None:
        self.lake = lake
        self.data_dir = data_dir
        self._say = say
        self._show = show

    def start_over(self) -> None:
        """Delete the lake and the broker's data.

        Raises
        ------
        UsageError
            If the folder is not a lake: then nothing is deleted.
        """
        if self.lake.exists() and any(self.lake.iterdir()) and not (self.lake / "raw").is_dir():
            raise UsageError(
                f"{self.lake} is not a lake; it is not deleted.", "Name another folder with --lake."
            )
        embedded.stop(self.data_dir)
        for folder in (self.lake, self.data_dir):
            shutil.rmtree(folder, ignore_errors=True)

    def run(
        self, stop: threading.Event, then: Callable[[str, Outcome], None] = lambda _servers, _outcome: None
    ) -> None:
        """Run the pipeline to its end, or until ``stop`` is set.

        Parameters
        ----------
        then
            Called with Kafka's address and what was done, while Kafka still runs.
        """
        broker = embedded.start(self.data_dir, progress=self._say)
        self._say(f"✓ Kafka answers at {broker.bootstrap_servers}")
        try:
            then(broker.bootstrap_servers, self._flow(broker.bootstrap_servers, stop))
        finally:
            embedded.stop(self.data_dir)

    def _flow(self, servers: str, stop: threading.Event) -> Outcome:
        store = open_store(str(self.lake))
        ingest = Ingest(servers, TOPIC)
        ingest.prepare()
        sent = [0]

        def sending(now: Ingested) -> None:
            sent[0] = now.records

        def storing(now: SinkProgress) -> None:
            self._show(
                f"into Kafka {sent[0]:,} records · into the lake {now.records:,} in {now.segments} segments"
            )

        with ThreadPoolExecutor(max_workers=1) as pool:
            producing = pool.submit(ingest.run, stocks(), stop, sending)
            # two passes: what is produced while the first one runs, then the rest
            options = SinkOptions(flush_age_s=1.0)
            try:
                sink = Sink(servers, [TOPIC], store, "tickerlake-demo", options)
                stored = sink.run(_either(stop, producing.done), on_progress=storing)
            except BaseException:
                stop.set()
                raise
            (ingested,) = producing.result()
        if not stop.is_set():
            rest = Sink(servers, [TOPIC], store, "tickerlake-demo", options).run(
                stop, until_end=True, on_progress=storing
            )
            stored.records += rest.records
            stored.segments += rest.segments
            stored.bytes += rest.bytes
        audited = prove(store, TOPIC, servers, deep=True)
        record(store, audited, deep=True, compared=True)
        tracked, alerts = self._track(servers, store, stop)
        return Outcome(ingested, stored, audited, tracked, alerts)

    def _track(self, servers: str, store: Store, stop: threading.Event) -> tuple[TrackProgress, list[Alert]]:
        options = EngineOptions(intervals=("1d",), indicators=INDICATORS, own="track:demo")
        watcher = AlertEngine(preset("default").rules, options.intervals)
        prefix = TOPIC.partition(".")[0]
        work = Track(
            servers,
            TOPIC,
            store,
            "tickerlake-demo-track",
            TrackOptions(options, prefix),
            lambda _: ALWAYS,
            watcher,
        )
        alerts: list[Alert] = []

        def tracking(now: TrackProgress) -> None:
            self._show(f"tracking {now.records:,} bars, {now.alerts:,} alerts")

        return work.run(stop, until_end=True, on_progress=tracking, on_alert=alerts.append), alerts


class _either(threading.Event):  # noqa: N801 - reads as a condition
    """Set when ``stop`` is, or when ``done()`` says so."""

    def __init__(self, stop: threading.Event, done: Callable[[], bool]) -> None:
        super().__init__()
        self._stop = stop
        self._done = done

    def is_set(self) -> bool:
        return self._stop.is_set() or self._done()
