"""Latency of the sink, throughput of single objects, start-up time of ``--help``."""

import secrets
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

from bench import datasets
from bench.kafka_env import TICKERLAKE, KafkaEnv
from tickerlake.kafka.producer import Producer
from tickerlake.lake.store import open_store
from tickerlake.lake.store.base import Store
from tickerlake.lake.store.memory import MemoryStore
from tickerlake.pipeline.sink import Sink, SinkOptions

REQUEST_LATENCY_S = 0.05


def help_s(rounds: int) -> float:
    """Return how long `tickerlake --help` takes."""
    durations_s = []
    for _ in range(max(5, rounds)):
        began_s = time.perf_counter()
        subprocess.run([TICKERLAKE, "--help"], check=True, capture_output=True)
        durations_s.append(time.perf_counter() - began_s)
    return median(durations_s)


def objects_per_s(bed: KafkaEnv, records: int) -> float:
    """Return how many single-record objects per second a sink stores at 50 ms per request."""
    topic = bed.topic_with_records(*datasets.trades(records))
    store = MemoryStore(before_reply=lambda _: time.sleep(REQUEST_LATENCY_S))
    sink = Sink(bed.servers, [topic], store, bed.new_group(), SinkOptions(format="json"))
    began_s = time.perf_counter()
    stored = sink.run(threading.Event(), until_end=True)
    elapsed_s = time.perf_counter() - began_s
    assert stored.records == records
    return records / elapsed_s


def first_object_s(bed: KafkaEnv, rounds: int) -> float:
    """Return the delay from sending the first record of a topic to its object, at ``--flush-age 1``."""
    durations_s = []
    for _ in range(rounds):
        topic, store = bed.create_topic(), open_store(str(bed.empty_lake()))
        with _running_sink(bed, topic, store) as sink:
            while len(sink.progress.partitions) < 4:
                time.sleep(0.01)
            producer = Producer(bed.servers, secrets.token_hex(4), {})
            keys, values = datasets.trades(1)
            began_s = time.perf_counter()
            producer.begin()
            producer.send(topic, keys, values)
            producer.commit()
            while not any(info.key.endswith(".ndjson.gz") for info in store.list("raw/")):
                time.sleep(0.005)
            durations_s.append(time.perf_counter() - began_s)
        store.close()
    return median(durations_s)


@contextmanager
def _running_sink(bed: KafkaEnv, topic: str, store: Store) -> Iterator[Sink]:
    sink, stop = (
        Sink(bed.servers, [topic], store, bed.new_group(), SinkOptions(flush_age_s=1.0)),
        threading.Event(),
    )
    thread = threading.Thread(target=sink.run, args=(stop,))
    thread.start()
    try:
        yield sink
    finally:
        stop.set()
        thread.join()
