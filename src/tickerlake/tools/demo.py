"""The demo: replay the built-in data through a broker into a lake, audit the lake, track the records.

`demo_market` adds a simulated market for the dashboard.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tickerlake.alerts.engine import AlertEngine
from tickerlake.alerts.rules.ruleset import preset
from tickerlake.analytics.sessions import ALWAYS_OPEN
from tickerlake.analytics.types import EngineOptions
from tickerlake.errors import UsageError
from tickerlake.kafka.embedded.broker import broker_status, start_broker, stop_temporary_broker
from tickerlake.lake.audit.history import save_audit_records
from tickerlake.lake.audit.segments import PartitionAudit
from tickerlake.lake.store import Store, open_store
from tickerlake.lake.store.base import LAKE_KEY
from tickerlake.model.alert import Alert
from tickerlake.pipeline.ingest import Ingest, IngestProgress
from tickerlake.pipeline.sink import Sink, SinkOptions, SinkProgress
from tickerlake.pipeline.track import Tracker, TrackOptions, TrackProgress
from tickerlake.sources.builtin import stocks
from tickerlake.tools.audit import audit_lake
from tickerlake.tools.demo_folder import DemoFolder, delete

TOPIC = "stocks.bars"
INDICATORS = ("SMA(20)", "RSI(14)", "MACD(12,26,9)", "BBANDS(20,2,2)", "ATR(14)")


@dataclass(frozen=True, slots=True)
class DemoResult:
    """The results of one run of the demo."""

    ingested: IngestProgress
    stored: SinkProgress
    audited: list[PartitionAudit]
    tracked: TrackProgress
    alerts: list[Alert]


class Demo:
    """The demo.

    Parameters
    ----------
    lake, data_dir
        The folders of the lake and of the broker.
    report, report_status
        Called with a line of text: to print, and to replace the last status line.
    """

    def __init__(
        self, lake: Path, data_dir: Path, report: Callable[[str], None], report_status: Callable[[str], None]
    ) -> None:
        self.lake = lake
        self.data_dir = data_dir
        self._report = report
        self._report_status = report_status

    def run(
        self,
        stop: threading.Event,
        on_finished: Callable[[str, DemoResult, Callable[[str], None]], None] = lambda *_: None,
        *,
        fresh: bool = False,
        port: int | None = None,
    ) -> None:
        """Run the pipeline to its end, or until `stop` is set.

        Parameters
        ----------
        stop
            Stops the pipeline.
        on_finished
            Called unless it was stopped, while Kafka is still running, with its address, the results, and a
            function that takes the URL of the page for other demos.
        fresh
            Whether to delete the lake and the broker's data first.
        port
            The broker's port, as for `start_broker`.

        Raises
        ------
        FolderInUse
            If another demo runs in the folder.
        UsageError
            If the lake is to be deleted, but is none: then nothing is deleted.
        """
        with DemoFolder(self.data_dir) as folder:
            if fresh:
                self._check_lake()
                folder.clear()
                delete(self.lake)
            broker = start_broker(self.data_dir, port, progress=self._report, temporary=True)
            self._report(f"✓ Kafka answers at {broker.bootstrap_servers}")
            try:
                result = self._run_pipeline(broker.bootstrap_servers, stop)
                if result and not stop.is_set():
                    on_finished(broker.bootstrap_servers, result, folder.announce)
            finally:
                if not stop_temporary_broker(self.data_dir) and broker_status(self.data_dir):
                    self._report(
                        f"Kafka keeps running at {broker.bootstrap_servers}: this demo did not start it"
                    )

    def _check_lake(self) -> None:
        if self.lake.exists() and any(self.lake.iterdir()) and not (self.lake / LAKE_KEY).is_file():
            raise UsageError(
                f"{self.lake} is not a lake, so it was not deleted.", "Choose another folder with --lake."
            )

    def _run_pipeline(self, servers: str, stop: threading.Event) -> DemoResult | None:
        """Return None if it was stopped before all records were stored."""
        if stop.is_set():
            return None
        store = open_store(str(self.lake))
        ingest = Ingest(servers, TOPIC)
        ingest.prepare()
        produced = 0

        def on_ingest_progress(progress: IngestProgress) -> None:
            nonlocal produced
            produced = progress.records

        def on_sink_progress(progress: SinkProgress) -> None:
            self._report_status(
                f"produced {produced:,} records · stored {progress.records:,} in {progress.segments} segments"
            )

        with ThreadPoolExecutor(max_workers=1) as pool:
            ingest_future = pool.submit(ingest.run, stocks(), stop, on_ingest_progress)
            # two runs of the sink: until all records are produced, then until all of them are stored
            options = SinkOptions(flush_age_s=1.0)  # small segments, so that the progress is visible
            try:
                sink = Sink(servers, [TOPIC], store, "tickerlake-demo", options)
                stored = sink.run(_EitherEvent(stop, ingest_future.done), on_progress=on_sink_progress)
            except BaseException:
                stop.set()
                raise
            (ingested,) = ingest_future.result()
        if stop.is_set():
            return None
        rest = Sink(servers, [TOPIC], store, "tickerlake-demo", options).run(
            stop, until_end=True, on_progress=on_sink_progress
        )
        stored.records += rest.records
        stored.segments += rest.segments
        stored.bytes += rest.bytes
        if stop.is_set():
            return None
        audited = audit_lake(store, TOPIC, servers, deep=True)
        save_audit_records(store, audited, deep=True, compared=True)
        tracked, alerts = self._track(servers, store, stop)
        return DemoResult(ingested, stored, audited, tracked, alerts)

    def _track(self, servers: str, store: Store, stop: threading.Event) -> tuple[TrackProgress, list[Alert]]:
        options = EngineOptions(intervals=("1d",), indicators=INDICATORS, source_tag="track:demo")
        watcher = AlertEngine(preset("default").rules, options.intervals)
        prefix = TOPIC.partition(".")[0]
        track = Tracker(
            servers,
            TOPIC,
            store,
            "tickerlake-demo-track",
            TrackOptions(options, prefix),
            lambda _: ALWAYS_OPEN,
            watcher,
        )
        alerts: list[Alert] = []

        def on_track_progress(progress: TrackProgress) -> None:
            self._report_status(f"tracked {progress.records:,} bars, {progress.alerts:,} alerts")

        return track.run(stop, until_end=True, on_progress=on_track_progress, on_alert=alerts.append), alerts


class _EitherEvent(threading.Event):
    """Set when `stop` is set or `done()` returns True."""

    def __init__(self, stop: threading.Event, done: Callable[[], bool]) -> None:
        super().__init__()
        self._stop = stop
        self._done = done

    def is_set(self) -> bool:
        return self._stop.is_set() or self._done()
