"""Confines a query to the lake: it reads, and reaches no file, network or Python object besides it.

DuckDB's settings, once locked, confine which files a statement reaches. They do not tell reading from
writing, and a SELECT can hold a ``COPY … TO`` in its WITH clause: so each statement's plan is checked first.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from tickerlake.durable import is_disk_full
from tickerlake.errors import UsageError
from tickerlake.lake.duckdb_sql import sql_literal

_PLAN: Final = "explain (format json) "
_EXPLAIN: Final = re.compile(r"\s*explain\b\s*(analyze\b)?\s*(.*)", re.IGNORECASE | re.DOTALL)
_EXPLAIN_OPTIONS: Final = re.compile(r"(\([\w\s,]*\))\s*(.*)", re.DOTALL)
_WRITING: Final = re.compile(r"COPY|INSERT|UPDATE|DELETE|MERGE|CREATE|DROP|ALTER|ATTACH|EXPORT|LOAD")
"""Operators of a plan that change something."""

_READ_ONLY_HINT: Final = "Write a single SELECT: a query reads the lake and changes nothing."
_OUTSIDE_HINT: Final = "A query reads the lake and nothing else: copy or produce the other data into a lake."
_CAST_HINT: Final = "Cast the column to varchar."


def lock(database: Any, folders: Iterable[str], files: Iterable[str] = ()) -> None:
    """Lock a database, for good: from now on it accesses only some folders and files.

    Parameters
    ----------
    folders
        Folders or URL prefixes; links that lead out of them are not followed.
    files
        Files that may be written, too.
    """
    for name, values in (("allowed_directories", folders), ("allowed_paths", files)):
        database.execute(f"set {name} = [{', '.join(map(sql_literal, values))}]")
    database.execute("set enable_external_access = false")
    database.execute("set lock_configuration = true")


def check_reads(database: Any, sql: str, parameters: Sequence[Any]) -> str:
    """Check that a statement only reads, and return it in the form that was checked.

    Raises
    ------
    UsageError
        It is not a single SELECT, nor an EXPLAIN of one, or it writes.
    """
    sql.encode()  # DuckDB would report a lone surrogate as a wrong type
    explain, select = _split_explain(database, sql)
    plans = database.execute(f"{_PLAN}{select}", list(parameters)).fetchall()
    for _, plan in plans:
        if writing := next((name for name in _operators(json.loads(plan)) if _WRITING.search(name)), None):
            raise UsageError(
                f"Only reading statements can be run; this one has the step {writing}.", _READ_ONLY_HINT
            )
    return f"{explain}{select}"


def _split_explain(database: Any, sql: str) -> tuple[str, str]:
    """Return ``explain`` with its options, if there is one, and the SELECT."""
    if _is_select(database, sql):
        return "", sql
    if match := _EXPLAIN.fullmatch(sql):
        explain, select = f"explain {match[1] or ''} ", match[2]
        if _is_select(database, select):
            return explain, select
        options = _EXPLAIN_OPTIONS.fullmatch(select)
        if options and _is_select(database, options[2]):
            return f"{explain}{options[1]} ", options[2]
    raise UsageError("Only one read-only statement can be run.", _READ_ONLY_HINT)


def _is_select(database: Any, sql: str) -> bool:
    import duckdb

    try:
        types = [statement.type for statement in database.extract_statements(sql)]
    except duckdb.ParserException:
        if _EXPLAIN.fullmatch(sql) or sql.lstrip().startswith("("):
            return False  # options of EXPLAIN, perhaps
        raise
    except ValueError:
        return False  # a type of statement that this version of the Python package cannot name
    return types == [duckdb.StatementType.SELECT]


def _operators(plan: Any) -> Iterator[str]:
    nodes = plan if isinstance(plan, list) else [plan]
    for node in nodes:
        yield str(node.get("name", ""))
        yield from _operators(node.get("children", []))


@contextmanager
def query_errors(hint: str = "") -> Iterator[None]:
    """Turn what DuckDB, Arrow and Polars raise while a query runs or its rows are converted into UsageError.

    A full disk keeps its own error: the command line says which one, and what to do.
    """
    import duckdb
    import polars as pl
    import pyarrow as pa

    try:
        yield
    except duckdb.InterruptException as error:
        raise KeyboardInterrupt from error
    except duckdb.PermissionException as error:
        raise UsageError(f"The query failed: {_first_part(error)}", _OUTSIDE_HINT) from error
    except pl.exceptions.PolarsError as error:
        raise UsageError(f"The query returns what Polars does not have: {error}", _CAST_HINT) from error
    except (duckdb.Error, pa.ArrowException) as error:
        if is_disk_full(error):
            raise
        raise UsageError(f"The query failed: {_first_part(error)}", hint) from error
    except pl.exceptions.PanicException as error:
        raise UsageError(
            f"The query returns a value that Polars does not have: {error}.", _CAST_HINT
        ) from error
    except UnicodeError as error:
        raise UsageError(f"The query is not valid Unicode: {error}.", "Write it in UTF-8.") from error


def _first_part(error: Exception) -> str:
    # neither the stack trace of an internal error nor statements of ours say anything to the user
    text = str(error).partition("\n\nStack Trace:")[0].partition("\n\nLINE 1: create or replace ")[0].strip()
    return re.sub(rf"{re.escape(_PLAN)}(.*\n) {{{len(_PLAN)}}}", r"\1", text)
