"""How records become objects of the lake, and back: ndjson, parquet, json."""
