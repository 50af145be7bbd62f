"""A child in the peers' environment: one-minute bars by Spark Structured Streaming, second query.

The first query of a session also compiles code in the JVM and in Spark; only the second one counts.
"""

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

_SCHEMA = "instrument_id string, ts_event_ns long, price double, size double"


def main(servers: str, topic: str, target: str, records: str, folder: str, jars: str) -> None:
    sql: Any = importlib.import_module("pyspark.sql")
    spark = (
        sql.SparkSession.builder.master("local[2]")
        .config("spark.jars", jars)
        .config("spark.sql.shuffle.partitions", 2)
        .config("spark.ui.enabled", "false")
        .config("spark.driver.memory", "2g")
        .config("spark.local.dir", folder)
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    run_query(spark, servers, topic, target, int(records), f"{folder}/first")
    jvm = Path(f"/proc/{spark._jvm.java.lang.ProcessHandle.current().pid()}")
    began_s, cpu_s = time.perf_counter(), _cpu_s(jvm)
    read = run_query(spark, servers, topic, target, int(records), f"{folder}/second")
    report = {
        "elapsed_s": time.perf_counter() - began_s,
        "cpu_s": _cpu_s(jvm) - cpu_s,
        "peak_mb": int((jvm / "status").read_text().partition("VmHWM:")[2].split()[0]) / 1024,
        "records": read,
    }
    spark.stop()
    print(f"\n{json.dumps(report)}", file=sys.stderr, flush=True)


def run_query(spark: Any, servers: str, topic: str, target: str, records: int, checkpoint: str) -> int:
    """Read the topic to its end, and return how many records that were."""
    f: Any = importlib.import_module("pyspark.sql.functions")
    kafka = {"kafka.bootstrap.servers": servers}
    source = {"subscribe": topic, "startingOffsets": "earliest", "maxOffsetsPerTrigger": str(records // 4)}
    read = spark.readStream.format("kafka").options(**kafka, **source).load()
    trades = read.select(f.from_json(f.col("value").cast("string"), _SCHEMA).alias("t")).select(
        "t.*", f.timestamp_micros(f.expr("t.ts_event_ns div 1000")).alias("time")
    )
    bars = (
        trades.withWatermark("time", "0 seconds")
        .groupBy(f.window("time", "1 minute"), "instrument_id")
        .agg(
            f.min_by("price", "ts_event_ns").alias("open"),
            f.max("price").alias("high"),
            f.min("price").alias("low"),
            f.max_by("price", "ts_event_ns").alias("close"),
            f.sum("size").alias("volume"),
            (f.sum(f.expr("price * size")) / f.sum("size")).alias("vwap"),
        )
    )
    written = bars.select(f.col("instrument_id").alias("key"), f.to_json(f.struct("*")).alias("value"))
    running = (
        written.writeStream.format("kafka")
        .options(**kafka, topic=target, checkpointLocation=checkpoint)
        .trigger(availableNow=True)
        .start()
    )
    running.awaitTermination()
    return sum(progress["numInputRows"] for progress in running.recentProgress)


def _cpu_s(process: Path) -> float:
    user, system = (process / "stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main(*sys.argv[1:])
