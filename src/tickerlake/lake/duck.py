"""DuckDB, as the lake uses it: within bounds, and without fetching anything from elsewhere."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tickerlake.lake.typed import RANKED


def open_database(folder: Path, memory: str) -> Any:
    """Open a database in memory, which spills to a folder what does not fit.

    Parameters
    ----------
    memory
        Its limit, such as ``1GB``.
    """
    import duckdb

    database = duckdb.connect(
        config={
            "memory_limit": memory,
            "temp_directory": str(folder / "spill"),
            "threads": str(os.cpu_count() or 1),
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        }
    )
    database.execute("set enable_progress_bar = false")
    database.execute("set timezone = 'UTC'")
    return database


def literal(text: str) -> str:
    """Return a text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def names(columns: Iterable[str], of: str = "") -> str:
    """Return columns as SQL lists them; some have names that are words of SQL."""
    return ", ".join(f'{of}"{name}"' for name in columns)


def parquet(paths: Iterable[str], options: str = "") -> str:
    """Return the SQL that reads Parquet files."""
    return f"read_parquet([{', '.join(map(literal, paths))}]{options})"


def latest(kind: str, source: str) -> str:
    """Return the SQL of the rows of a table that count (`typed.RANKED`), by what else it has a column of."""
    return f"select * from {source} where true {counts(kind)}"


def counts(kind: str, *also: str, of: str = "") -> str:
    """Return the clause that leaves of rows that are the same the one that counts; empty where all do.

    Parameters
    ----------
    also
        Columns by which rows are compared, too.
    of
        What stands before each column, such as ``r.``.
    """
    if kind not in RANKED:
        return ""
    key, revision = RANKED[kind]
    same = ", ".join(f"{of}{name}" for name in (*also, *key))
    order = ", ".join(f"{of}{name} desc" for name in (revision, "kafka_offset") if name)
    return f"qualify row_number() over (partition by {same} order by {order}) = 1"
