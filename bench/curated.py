"""Curated files: compaction speed, size and query time, against raw segments."""

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import polars as pl

from tickerlake.dashboard.health import cost
from tickerlake.lake.compact import Compactor
from tickerlake.lake.duckdb_sql import open_database, sql_literal
from tickerlake.lake.query import LakeDatabase
from tickerlake.lake.store.local import LocalStore
from tickerlake.lake.topic import Format, TopicMeta, open_topic
from tickerlake.lake.writer import SegmentWriter

DAY_NS = 86_400 * 10**9
FIRST_DAY = 19_723  # 2024-01-01
SEGMENT_RECORDS = 100_000
QUERIES = {
    "one symbol, a year of daily bars": "select * from bars where symbol = 'S77' and interval = '1d'",
    "all symbols, one day": "select * from bars where session_date = date '2024-06-03'",
    "VWAP of each symbol and day": "select * from session_vwap",
    "last price of all": "select * from latest_prices",
    "alerts of a week": (
        "select * from alerts where session_date between date '2024-03-04' and date '2024-03-10'"
    ),
}
DUCKDB_READERS = ("*.gz", "format='newline_delimited'"), ("*.parquet", "")


def trades(count: int, symbols: int) -> pl.DataFrame:
    rng = np.random.default_rng(1)
    number = np.arange(count)
    day = number * 5 // count
    ts = (
        (FIRST_DAY + day) * DAY_NS
        + 14 * 3600 * 10**9
        + number % (count // 5) * (23_400 * 10**9 // (count // 5))
    )
    return pl.DataFrame(
        {"s": rng.integers(0, symbols, count), "t": ts, "c": rng.integers(1000, 50_000, count), "n": number}
    ).select(
        "t",
        s=pl.format("S{}", "s"),
        v=pl.format(
            '{{"schema":"trade.v1","instrument_id":"S{}.XXXX","symbol":"S{}","ts_event_ns":{},"ts_recv_ns":{},'
            '"price":{}.{},"size":{},"aggressor_side":"none","trade_id":"{}","sequence":{},"conditions":[],'
            '"correction":"new","source":"bench","quality":[]}}',
            "s", "s", "t", "t", pl.col("c") // 100, (pl.col("c") % 100).cast(pl.String).str.zfill(2),
            pl.col("n") % 300 + 1, "n", "n",
        ),
    )  # fmt: skip


def bars(symbols: int, days: int) -> pl.DataFrame:
    rng = np.random.default_rng(2)
    count = symbols * days
    day = np.arange(count) // symbols
    frame = pl.DataFrame(
        {"s": np.arange(count) % symbols, "d": FIRST_DAY + day, "c": rng.integers(10, 500, count)}
    )
    return frame.select(
        s=pl.format("S{}", "s"),
        v=pl.format(
            '{{"schema":"bar.v1","instrument_id":"S{}.XXXX","symbol":"S{}","interval":"1d","ts_open_ns":{},'
            '"ts_close_ns":{},"session_date":"{}","open":{},"high":{},"low":{},"close":{}.25,"volume":1000,'
            '"price_type":"last","is_final":true,"is_partial":false,"revision":0,"ts_recv_ns":{},'
            '"source":"bench","quality":[]}}',
            "s", "s", pl.col("d") * DAY_NS, (pl.col("d") + 1) * DAY_NS,
            pl.col("d").cast(pl.Int32).cast(pl.Date).cast(pl.String),
            "c", pl.col("c") + 1, pl.col("c") - 1, "c", pl.col("d") * DAY_NS,
        ),
    )  # fmt: skip


def alerts(count: int) -> pl.DataFrame:
    frame = pl.DataFrame(
        {"n": np.arange(count), "t": FIRST_DAY * DAY_NS + np.arange(count) * (366 * DAY_NS // count)}
    )
    return frame.select(
        s=pl.format("S{}", pl.col("n") % 500),
        v=pl.format(
            '{{"schema":"alert.v1","alert_id":"{}","rule_id":"r","rule_version":1,"kind":"pct_change",'
            '"severity":"info","state":"fired","instrument_id":"S{}.XXXX","symbol":"S{}","ts_event_ns":{},'
            '"ts_detected_ns":{},"direction":"up","unit":"pct","suppressed_count":0,"dedup_key":"k{}",'
            '"cause":"market","message":"moved"}}',
            "n", pl.col("n") % 500, pl.col("n") % 500, "t", "t", "n",
        ),
    )  # fmt: skip


def store_topics(store: LocalStore, fmt: Format, topics: dict[str, pl.DataFrame]) -> None:
    for name, frame in topics.items():
        writer = SegmentWriter(store, open_topic(store, TopicMeta(name, name, "c", fmt, {"0": 0}, 0)), 0)
        for start in range(0, frame.height, SEGMENT_RECORDS):
            part = frame.slice(start, SEGMENT_RECORDS)
            writer.put(
                part.select(
                    offset=pl.int_range(start, start + part.height, dtype=pl.Int64),
                    timestamp_ms=pl.lit(1, pl.Int64),
                    key=pl.format("{}.XXXX", "s").cast(pl.Binary),
                    value=pl.col("v").cast(pl.Binary),
                )
            )


def utc_dates(_: pl.Series, ts_ns: pl.Series) -> pl.Series:
    return (ts_ns // DAY_NS).cast(pl.Int32).cast(pl.Date)


def time_s(action: Callable[[], Any]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def measure(count: int, symbols: int, rounds: int) -> tuple[int, list[str]]:
    """Return the number of records and the tables."""
    topics = {"x.trades": trades(count, symbols), "x.bars": bars(symbols, 252), "x.alerts": alerts(20_000)}
    records = sum(frame.height for frame in topics.values())
    with tempfile.TemporaryDirectory(prefix="tickerlake-bench-") as name:
        folder = Path(name)
        stores: dict[str, LocalStore] = {}
        for fmt in ("ndjson", "parquet"):
            stores[fmt] = LocalStore(folder / fmt)
            store_topics(stores[fmt], "ndjson" if fmt == "ndjson" else "parquet", topics)
        del topics
        lines = [f"{count:,} of the records are trades, of {symbols:,} symbols.", ""]
        lines += _compaction(folder, stores, records, rounds)
        stores["curated"] = stores["parquet"]
        return records, [*lines, "", *_queries(folder, stores, rounds), "", *_costs(stores, records)]


def _compaction(folder: Path, stores: dict[str, LocalStore], records: int, rounds: int) -> list[str]:
    lines = [
        "| Compaction of | records/s | MB/s (raw) | × limit | objects before | after | MB before | after |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (pattern, options), (fmt, store) in zip(DUCKDB_READERS, stores.items(), strict=True):
        raw = [info for info in store.list("raw/") if info.key.endswith(pattern[1:])]
        size = sum(info.size for info in raw) / 1e6
        ours_s, limit_s = [], []
        for _ in range(rounds):
            shutil.rmtree(folder / fmt / "curated", ignore_errors=True)
            ours_s.append(time_s(Compactor(LocalStore(folder / fmt), utc_dates, folder / "spool").run))
            limit_s.append(time_s(lambda p=pattern, o=options, f=fmt: _run_duckdb_copy(folder, f, p, o)))  # type: ignore[misc]
        curated = [info for info in store.list("curated/") if info.key.endswith(".parquet")]
        ratio = median(limit_s) / median(ours_s)
        lines.append(
            f"| {fmt} | {records / median(ours_s):,.0f} | {size / median(ours_s):,.0f} | {ratio:.2f} | "
            f"{len(raw)} | {len(curated)} | {size:,.0f} | {sum(info.size for info in curated) / 1e6:,.0f} |"
        )
    lines += [
        "",
        "The limit is DuckDB's `COPY … TO` of the same rows, sorted, one file per topic, unchecked.",
    ]
    return lines


def _run_duckdb_copy(folder: Path, fmt: str, pattern: str, options: str) -> None:
    database = open_database(folder, "1GB")
    for topic, time_column in (
        ("x.trades", "ts_event_ns"),
        ("x.bars", "ts_open_ns"),
        ("x.alerts", "ts_event_ns"),
    ):
        function = "read_json" if options else "read_parquet"
        source = sql_literal(f"{folder}/{fmt}/raw/{topic}/partition=0/{pattern}")
        database.execute(
            f"copy (select * from {function}({source}{', ' if options else ''}{options}) "  # noqa: S608
            f"order by instrument_id, {time_column}, kafka_offset) "
            f"to {sql_literal(str(folder / 'limit.parquet'))} (format parquet, compression zstd)"
        )
    database.close()


def _queries(folder: Path, stores: dict[str, LocalStore], rounds: int) -> list[str]:
    lines = ["| Query, seconds | raw ndjson | raw Parquet | curated |", "|---|---|---|---|"]
    hidden_dir = folder / "away"
    for question, sql in QUERIES.items():
        cells = []
        for name, store in stores.items():
            curated_dir = Path(store.uri) / "curated"
            if name != "curated":
                curated_dir.rename(hidden_dir)
            cells.append(median(time_s(lambda s=store, q=sql: _run_query(s, q)) for _ in range(rounds)))  # type: ignore[misc]
            if name != "curated":
                hidden_dir.rename(curated_dir)
        lines.append(f"| {question} | {' | '.join(f'{cell:.2f}' for cell in cells)} |")
    return [*lines, "", "Each cold: open the lake, run the query, fetch all rows."]


def _run_query(store: LocalStore, sql: str) -> None:
    database = LakeDatabase(store, utc_dates)
    database.query(sql).pl()
    database.close()


def _costs(stores: dict[str, LocalStore], records: int) -> list[str]:
    lines = [
        "| List prices per million records | objects | operations | storage per month |",
        "|---|---|---|---|",
    ]
    parts = {
        "raw ndjson": (stores["ndjson"], "raw/"),
        "raw Parquet": (stores["parquet"], "raw/"),
        "curated": (stores["curated"], "curated/"),
    }
    for name, (store, prefix) in parts.items():
        infos = list(store.list(prefix))
        estimate = cost.estimate_cost(len(infos), sum(info.size for info in infos))
        million = records / 1e6
        lines.append(
            f"| {name} | {len(infos)} | ${estimate.operations_usd / million:.6f} | "
            f"${estimate.storage_usd_per_month / million:.6f} |"
        )
    day = sum(info.size for info in stores["curated"].list("curated/trades/")) / 5
    bigquery_note = (
        "BigQuery bills the bytes of the columns it reads ($6.25 per TiB on demand, 1 TiB per month free): "
        f"a day of these trades, fully read as an external table ({day / 1e6:,.0f} MB), is "
        f"${day / 2**40 * 6.25:.6f}. Load jobs are free."
    )
    return [*lines, "", bigquery_note]
