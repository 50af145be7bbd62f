"""DuckDB with a memory limit and without downloads, and SQL that its queries share."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tickerlake.errors import UsageError
from tickerlake.lake.typed_records import DEDUP_KEYS


def open_database(folder: Path, memory: str) -> Any:
    """Open an in-memory database.

    Parameters
    ----------
    folder
        Existing directory that it spills to.
    memory
        Memory limit, such as ``1GB``.

    Raises
    ------
    UsageError
        The memory limit is not a size.
    """
    import duckdb

    database = duckdb.connect(
        config={
            "temp_directory": str(folder / "spill"),
            "threads": str(os.cpu_count() or 1),
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
            "python_enable_replacements": "false",
        }
    )
    try:
        database.execute(f"set memory_limit = {sql_literal(memory)}")
    except (duckdb.Error, UnicodeError) as error:
        database.close()
        raise UsageError(f"{memory!r} is not a memory limit.", "Write it as 2GB or 500MB.") from error
    # in a Jupyter kernel without ipywidgets DuckDB rejects any change of this setting, and shows no bar
    if database.execute("select current_setting('enable_progress_bar')").fetchall() == [(True,)]:
        database.execute("set enable_progress_bar = false")
    database.execute("set timezone = 'UTC'")
    return database


def sql_literal(text: str) -> str:
    """Return a string as an SQL literal; UnicodeEncodeError if it is not valid Unicode."""
    text.encode()  # DuckDB has an error of its own for each way in which such a text reaches it
    return "'" + text.replace("'", "''") + "'"


def column_list(columns: Iterable[str], prefix: str = "") -> str:
    """Return quoted, comma-separated column names; some of them are SQL keywords."""
    return ", ".join(f'{prefix}"{name}"' for name in columns)


def read_parquet_sql(paths: Iterable[str], options: str = "") -> str:
    """Return the table expression that reads Parquet files."""
    return f"read_parquet([{', '.join(map(sql_literal, paths))}]{options})"


def latest_rows_sql(record_type: str, source: str) -> str:
    """Return a query for the rows of a table that count (`typed_records.DEDUP_KEYS`)."""
    return f"select * from {source} where true {latest_rows_clause(record_type)}"


def latest_rows_clause(record_type: str, prefix: str = "") -> str:
    """Return the clause that selects one of the rows with the same key; empty for types without a key.

    Parameters
    ----------
    record_type
        ``bars``, ``trades`` …
    prefix
        Prefix of each column name, such as ``r.``.
    """
    if record_type not in DEDUP_KEYS:
        return ""
    key, revision = DEDUP_KEYS[record_type]
    key_columns = ", ".join(f"{prefix}{name}" for name in key)
    order = ", ".join(f"{prefix}{name} desc" for name in (revision, "kafka_offset") if name)
    return f"qualify row_number() over (partition by {key_columns} order by {order}) = 1"
