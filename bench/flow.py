"""Throughput into and out of Kafka, against Kafka's own performance tools."""

from collections.abc import Callable

from bench import datasets
from bench.kafka_env import KafkaEnv
from bench.measure import Result, Run, run_interleaved

_PAYLOADS = 200_000


def into_kafka(bed: KafkaEnv, records: int, rounds: int) -> dict[str, Result]:
    """CSV file → acknowledged and committed, against kafka-producer-perf-test with the same documents."""
    csv = datasets.bars_csv(bed.folder / "bars.csv", records)
    _, values = datasets.bars(datasets.bars_csv(bed.folder / "few.csv", _PAYLOADS))
    payloads = bed.folder / "payloads.ndjson"
    payloads.write_bytes(b"\n".join(values))

    def limit() -> Run:
        topic = bed.create_topic()
        properties = ("acks=all", "compression.type=lz4", "linger.ms=20", "batch.size=262144")
        return bed.run_tool(
            records,
            "ProducerPerformance",
            *("--topic", topic, "--num-records", records, "--throughput", -1),
            *("--payload-file", payloads, "--command-property", *properties),
        )

    def preencoded() -> Run:
        topic = bed.create_topic()
        return bed.run_module(records, "bench.producer_child", bed.servers, topic, payloads, records)

    def produce() -> Run:
        topic = bed.create_topic()
        return bed.run_tickerlake(records, "produce", csv, "-t", topic, "-b", bed.servers)

    contenders = {
        "kafka-producer-perf-test (limit)": limit,
        "documents ready, in transactions": preencoded,
        "tickerlake produce, CSV file": produce,
    }
    return run_interleaved(contenders, rounds)


def out_of_kafka(bed: KafkaEnv, records: int, rounds: int) -> dict[str, Result]:
    """Topic → fsynced segments, against kafka-consumer-perf-test, which drops what it reads."""
    topic = bed.topic_with_records(*datasets.trades(records))

    def limit() -> Run:
        return bed.run_tool(
            records,
            "ConsumerPerformance",
            *("--topic", topic, "--group", bed.new_group(), "--num-records", records),
        )

    def sink(name: str) -> Callable[[], Run]:
        return lambda: bed.run_tickerlake(
            records,
            *("sink", "-t", topic, "--lake", bed.empty_lake(), "-b", bed.servers),
            *("--format", name, "--until-end", "--group", bed.new_group()),
        )

    contenders = {
        "kafka-consumer-perf-test (limit)": limit,
        "tickerlake sink, Parquet": sink("parquet"),
        "tickerlake sink, NDJSON": sink("ndjson"),
    }
    return run_interleaved(contenders, rounds)
