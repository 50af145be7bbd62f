"""Figures for Prometheus: the pipeline and the server, never a single symbol."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tickerlake.version import VERSION

MAX_SERIES: Final = 2_000
"""Of one metric: a name made of somebody's topics and groups must not flood who collects."""
_MAX_LABEL_CHARS: Final = 256

LabeledValue = tuple[tuple[str, ...], float]

_SERVER_METRICS: Final = (
    ("clients", "clients", "gauge", "Pages that are connected"),
    ("dropped_clients", "clients_dropped", "counter", "Pages that were dropped because they did not read"),
    ("refused_clients", "clients_refused", "counter", "Pages that were refused, or closed for bad manners"),
    ("frames", "frames_sent", "counter", "Frames sent to pages"),
    ("bytes", "sent_bytes", "counter", "Bytes sent to pages"),
    ("records_read", "records_read", "counter", "Records read from Kafka and the lake"),
    ("records_skipped", "records_skipped", "counter", "Records read that are no sound record of ours"),
    ("instruments", "instruments", "gauge", "Instruments known"),
    ("loading", "loading_ratio", "gauge", "Share of the history that has been read"),
)


def exposition(pipeline: Mapping[str, Any], server: Mapping[str, float]) -> bytes:
    """Return all figures in Prometheus' text format 0.0.4.

    Parameters
    ----------
    pipeline
        What `Health.look` returned last; empty if it has not looked yet.
    server
        The server's own figures; those that are missing are left out.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_DashboardCollector(pipeline, server))
    return generate_latest(registry)


class _DashboardCollector(Collector):
    def __init__(self, pipeline: Mapping[str, Any], server: Mapping[str, float]) -> None:
        self._pipeline, self._server = pipeline, server
        self._omitted = 0

    def collect(self) -> Iterator[Metric]:
        yield self._gauge("tickerlake_build_info", "The version that runs", [((VERSION,), 1)], "version")
        yield from self._server_metrics()
        if self._pipeline:
            yield from self._kafka_metrics()
            yield from self._lake_metrics()
            yield from self._audit_metrics()
        name = "tickerlake_dashboard_series_left_out"
        yield self._gauge(name, "Series that are not told because there are too many", [((), self._omitted)])

    def _server_metrics(self) -> Iterator[Metric]:
        for key, name, kind, help_ in _SERVER_METRICS:
            if key in self._server:
                make = self._counter if kind == "counter" else self._gauge
                yield make(f"tickerlake_dashboard_{name}", help_, [((), self._server[key])])
        if "last_record_ms" in self._server:
            name = "tickerlake_dashboard_last_record_timestamp_seconds"
            yield self._gauge(
                name, "When a record was read last; 0: never", [((), self._server["last_record_ms"] / 1e3)]
            )

    def _kafka_metrics(self) -> Iterator[Metric]:
        now, topics, groups = (self._pipeline[name] for name in ("now_ms", "topics", "groups"))
        name = "tickerlake_dashboard_look_timestamp_seconds"
        yield self._gauge(name, "When the pipeline was looked at last", [((), now / 1e3)])
        answers = [((), float(self._pipeline["kafka"]["ok"]))]
        yield self._gauge("tickerlake_kafka_up", "Whether Kafka answers", answers)
        yield self._gauge(
            "tickerlake_topic_retained_records",
            "Offsets that Kafka retains",
            (((each["topic"],), each["records"]) for each in topics),
            "topic",
        )
        yield self._counter(
            "tickerlake_topic_records",
            "Offsets that a topic has given out to committed records",
            (((each["topic"],), sum(part["high"] for part in each["partitions"])) for each in topics),
            "topic",
        )
        yield self._counter(
            "tickerlake_consumer_committed_records",
            "Offsets that a group has committed",
            (
                ((each["group"], each["topic"]), sum(part["committed"] for part in each["partitions"]))
                for each in groups
            ),
            "group",
            "topic",
        )
        yield self._gauge(
            "tickerlake_consumer_lag_records",
            "Offsets that a group has not committed yet",
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
        # what is still being counted would look like a sudden rise
        topics = [each for each in lake["topics"] if not each["counting"]]

        def column(name: str, scale: float = 1) -> Iterator[LabeledValue]:
            return (((each["topic"],), each[name] * scale) for each in topics)

        yield self._gauge("tickerlake_lake_up", "Whether the lake answers", [((), float(lake["ok"]))])
        counting = (((each["topic"],), float(each["counting"])) for each in lake["topics"])
        yield self._gauge(
            "tickerlake_lake_counting",
            "Whether a topic's segments are still being counted",
            counting,
            "topic",
        )
        damaged = (((each["topic"],), float(bool(each["error"]))) for each in lake["topics"])
        yield self._gauge("tickerlake_lake_faulty", "Whether a topic's chain is broken", damaged, "topic")
        for name, key, help_ in (
            ("records", "records", "Records stored"),
            ("rejects", "rejects", "Records kept apart because they do not decode"),
            ("lost_records", "gaps", "Offsets lost to retention before they could be stored"),
        ):
            yield self._counter(f"tickerlake_lake_{name}", help_, column(key), "topic")
        for name, key, scale, help_ in (
            ("segments", "segments", 1, "Segments"),
            ("size_bytes", "bytes", 1, "Bytes of the segments"),
            ("behind_records", "behind", 1, "Offsets in Kafka that are not stored yet"),
            ("behind_seconds", "behind_s", 1, "Age of the first record that is not stored yet"),
            (
                "newest_record_timestamp_seconds",
                "stored_ms",
                1e-3,
                "Kafka's time of the newest stored record",
            ),
        ):
            yield self._gauge(f"tickerlake_lake_{name}", help_, column(key, scale), "topic")
        cost = lake["cost"]
        yield self._gauge("tickerlake_lake_objects", "Objects of all topics", [((), cost["objects"])])
        yield self._gauge(
            "tickerlake_lake_cost_dollars", "List price of creating these objects", [((), cost["usd"])]
        )
        yield self._gauge(
            "tickerlake_lake_storage_dollars_per_month",
            "List price of keeping these bytes for a month",
            [((), cost["usd_per_month"])],
        )

    def _audit_metrics(self) -> Iterator[Metric]:
        audits = self._pipeline["audits"]
        for name, key, scale, help_ in (
            ("ok", "ok", 1, "Whether the last audit found nothing wrong"),
            ("findings", "findings", 1, "What the last audit found"),
            ("timestamp_seconds", "ts_ms", 1e-3, "When the last audit ended"),
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
    """Return a label's value that can be written as UTF-8, and is not too long."""
    return text[:_MAX_LABEL_CHARS].encode("utf-8", "replace").decode()
