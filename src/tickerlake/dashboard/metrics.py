"""Prometheus metrics of the pipeline and the server, never of a single symbol."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tickerlake.version import VERSION

MAX_SERIES: Final = 2_000
"""Per metric: labels come from the names of topics and groups, which must not overload Prometheus."""
_MAX_LABEL_CHARS: Final = 256
"""Above the longest topic name, 249 characters."""

LabeledValue = tuple[tuple[str, ...], float]

_SERVER_METRICS: Final = (
    ("clients", "clients", "gauge", "Connected clients"),
    ("dropped_clients", "clients_dropped", "counter", "Clients dropped because they stopped reading"),
    ("refused_clients", "clients_refused", "counter", "Clients refused because there were too many"),
    ("frames", "frames_sent", "counter", "Frames sent to clients"),
    ("bytes", "sent_bytes", "counter", "Bytes sent to clients"),
    ("records_read", "records_read", "counter", "Records read from Kafka"),
    ("records_skipped", "records_skipped", "counter", "Records skipped because they are invalid"),
    ("thread_restarts", "thread_restarts", "counter", "Threads that ended unexpectedly and were restarted"),
    ("instruments", "instruments", "gauge", "Number of instruments"),
    ("loading", "loading_ratio", "gauge", "Share of the history that has been loaded"),
)


def exposition(pipeline: Mapping[str, Any], server: Mapping[str, float]) -> bytes:
    """Return all metrics in the Prometheus text format 0.0.4.

    Parameters
    ----------
    pipeline
        The last result of `HealthMonitor.poll`; empty before the first poll.
    server
        The server's statistics; missing ones are omitted.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_DashboardCollector(pipeline, server))
    return generate_latest(registry)


class _DashboardCollector(Collector):
    def __init__(self, pipeline: Mapping[str, Any], server: Mapping[str, float]) -> None:
        self._pipeline, self._server = pipeline, server
        self._omitted = 0

    def collect(self) -> Iterator[Metric]:
        yield self._gauge("tickerlake_build_info", "The running version", [((VERSION,), 1)], "version")
        yield from self._server_metrics()
        if self._pipeline:
            yield from self._kafka_metrics()
            yield from self._lake_metrics()
            yield from self._audit_metrics()
        name = "tickerlake_dashboard_series_omitted"
        yield self._gauge(name, "Series omitted because there are too many", [((), self._omitted)])

    def _server_metrics(self) -> Iterator[Metric]:
        for key, name, kind, help_ in _SERVER_METRICS:
            if key in self._server:
                create = self._counter if kind == "counter" else self._gauge
                yield create(f"tickerlake_dashboard_{name}", help_, [((), self._server[key])])
        if "last_record_ms" in self._server:
            name = "tickerlake_dashboard_last_record_timestamp_seconds"
            yield self._gauge(
                name, "Time of the last read record; 0 if none", [((), self._server["last_record_ms"] / 1e3)]
            )

    def _kafka_metrics(self) -> Iterator[Metric]:
        now, topics, groups = (self._pipeline[name] for name in ("now_ms", "topics", "groups"))
        name = "tickerlake_dashboard_poll_timestamp_seconds"
        yield self._gauge(name, "Time of the last poll of the pipeline", [((), now / 1e3)])
        kafka_up = [((), float(self._pipeline["kafka"]["ok"]))]
        yield self._gauge("tickerlake_kafka_up", "Whether Kafka responds", kafka_up)
        yield self._gauge(
            "tickerlake_topic_retained_records",
            "Offsets retained by Kafka",
            (((each["topic"],), each["records"]) for each in topics),
            "topic",
        )
        yield self._counter(
            "tickerlake_topic_records",
            "End offsets of a topic's committed records, summed over its partitions",
            (((each["topic"],), sum(part["high"] for part in each["partitions"])) for each in topics),
            "topic",
        )
        yield self._counter(
            "tickerlake_consumer_committed_records",
            "Committed offsets of a group, summed over the partitions of a topic",
            (
                ((each["group"], each["topic"]), sum(part["committed"] for part in each["partitions"]))
                for each in groups
            ),
            "group",
            "topic",
        )
        yield self._gauge(
            "tickerlake_consumer_lag_records",
            "Offsets not yet committed by a group",
            (
                ((each["group"], each["topic"], str(part["partition"])), part["lag"])
                for each in groups
                for part in each["partitions"]
            ),
            "group",
            "topic",
            "partition",
        )

    def _lake_metrics(self) -> Iterator[Metric]:
        lake = self._pipeline["lake"]
        if lake is None:
            return
        # unfinished counts would look like a sudden increase
        topics = [each for each in lake["topics"] if not each["counting"]]

        def column(name: str, scale: float = 1) -> Iterator[LabeledValue]:
            return (((each["topic"],), each[name] * scale) for each in topics)

        yield self._gauge("tickerlake_lake_up", "Whether the lake responds", [((), float(lake["ok"]))])
        counting = (((each["topic"],), float(each["counting"])) for each in lake["topics"])
        yield self._gauge(
            "tickerlake_lake_counting",
            "Whether a topic's segments are still being counted",
            counting,
            "topic",
        )
        broken = (((each["topic"],), float(bool(each["error"]))) for each in lake["topics"])
        yield self._gauge(
            "tickerlake_lake_chain_broken", "Whether a topic's chain is broken", broken, "topic"
        )
        for name, key, help_ in (
            ("records", "records", "Records stored"),
            ("rejects", "rejects", "Records rejected because they are not JSON"),
            ("lost_records", "gaps", "Offsets lost to retention before they could be stored"),
        ):
            yield self._counter(f"tickerlake_lake_{name}", help_, column(key), "topic")
        for name, key, scale, help_ in (
            ("segments", "segments", 1, "Segments"),
            ("size_bytes", "bytes", 1, "Size of the segments"),
            ("behind_records", "behind", 1, "Offsets in Kafka that are not stored yet"),
            ("behind_seconds", "behind_s", 1, "Age of the oldest record that is not stored yet"),
            (
                "newest_record_timestamp_seconds",
                "stored_ms",
                1e-3,
                "Kafka timestamp of the newest stored record",
            ),
        ):
            yield self._gauge(f"tickerlake_lake_{name}", help_, column(key, scale), "topic")
        cost = lake["cost"]
        yield self._gauge("tickerlake_lake_objects", "Objects in all topics", [((), cost["objects"])])
        yield self._gauge(
            "tickerlake_lake_cost_dollars", "List price of creating these objects", [((), cost["usd"])]
        )
        yield self._gauge(
            "tickerlake_lake_storage_dollars_per_month",
            "List price of storing these bytes for a month",
            [((), cost["usd_per_month"])],
        )

    def _audit_metrics(self) -> Iterator[Metric]:
        audits = self._pipeline["audits"]
        for name, key, scale, help_ in (
            ("ok", "ok", 1, "Whether the last audit passed"),
            ("findings", "findings", 1, "Findings of the last audit"),
            ("timestamp_seconds", "ts_ms", 1e-3, "End of the last audit"),
        ):
            rows = (((each["topic"],), float(each[key]) * scale) for each in audits)
            yield self._gauge(f"tickerlake_audit_{name}", help_, rows, "topic")

    def _gauge(self, name: str, help_: str, rows: Iterable[LabeledValue], *labels: str) -> Metric:
        return self._add_samples(GaugeMetricFamily(name, f"{help_}.", labels=labels), rows)

    def _counter(self, name: str, help_: str, rows: Iterable[LabeledValue], *labels: str) -> Metric:
        return self._add_samples(CounterMetricFamily(name, f"{help_}.", labels=labels), rows)

    def _add_samples(self, family: Any, rows: Iterable[LabeledValue]) -> Metric:
        for number, (labels, value) in enumerate(rows):
            if number < MAX_SERIES:
                family.add_metric([_label_value(label) for label in labels], value)
            else:
                self._omitted += 1
        metric: Metric = family
        return metric


def _label_value(text: str) -> str:
    """Return a label value that can be encoded as UTF-8, truncated to the maximum length."""
    return text[:_MAX_LABEL_CHARS].encode("utf-8", "replace").decode()
