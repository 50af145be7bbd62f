"""A pipeline state with every field set, as it is passed to the metrics."""

from typing import Any

PIPELINE_STATUS: dict[str, Any] = {
    "now_ms": 1_800_000_000_500,
    "kafka": {"ok": True, "error": ""},
    "topics": [
        {
            "topic": "s.bars",
            "records": 30,
            "rate": 1.5,
            "partitions": [{"partition": 0, "low": 5, "high": 25}, {"partition": 1, "low": 0, "high": 10}],
        }
    ],
    "groups": [
        {
            "group": "g",
            "topic": "s.bars",
            "lag": 7,
            "rate": 0.5,
            "partitions": [
                {"partition": 0, "committed": 20, "lag": 5},
                {"partition": 1, "committed": 8, "lag": 2},
            ],
        }
    ],
    "lake": {
        "uri": "gs://bucket/lake",
        "ok": True,
        "error": "",
        "topics": [
            {
                "topic": "s.bars",
                "segments": 3,
                "bytes": 4_000,
                "records": 26,
                "behind": 4,
                "behind_s": 12.5,
                "stored_ms": 1_799_999_999_250,
                "rejects": 2,
                "gaps": 1,
                "counting": False,
                "error": "",
            }
        ],
        "cost": {"usd": 0.25, "usd_per_month": 0.5, "objects": 6, "bytes": 4_000, "explained": "x"},
    },
    "audits": [
        {
            "topic": "s.bars",
            "ts_ms": 1_799_999_000_000,
            "ok": False,
            "deep": True,
            "compared": True,
            "records": 26,
            "findings": 3,
        }
    ],
}
SERVER_STATS: dict[str, float] = {
    "clients": 2,
    "dropped_clients": 1,
    "refused_clients": 4,
    "frames": 100,
    "bytes": 5_000,
    "records_read": 35,
    "records_skipped": 6,
    "instruments": 9,
    "loading": 0.75,
    "last_record_ms": 1_799_999_999_000,
}
