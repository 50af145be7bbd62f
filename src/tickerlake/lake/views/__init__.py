"""Views in SQL that both DuckDB and BigQuery run, one per file; its leading comment describes the view."""

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

_TABLE_REFERENCE: Final = re.compile(r"\blake\.([a-z_]+)")


@dataclass(frozen=True, slots=True)
class View:
    """A view: its description, its query, and the tables and views (of the schema ``lake``) that it reads."""

    name: str
    description: str
    sql: str
    dependencies: tuple[str, ...]

    def sql_for_dataset(self, dataset: str) -> str:
        """Return the query for a BigQuery dataset, ``project.dataset``."""
        return _TABLE_REFERENCE.sub(lambda match: f"`{dataset}`.{match[1]}", self.sql)


@cache
def views() -> dict[str, View]:
    """Return all views by name, each after its dependencies."""
    unordered = {}
    for entry in files(__package__).iterdir():
        if entry.name.endswith(".sql"):
            name = entry.name.removesuffix(".sql")
            lines = entry.read_text(encoding="utf-8").splitlines()
            description = " ".join(line.removeprefix("--").strip() for line in lines if line.startswith("--"))
            sql = "\n".join(line for line in lines if not line.startswith("--")).strip().rstrip(";")
            unordered[name] = View(name, description, sql, tuple(sorted(set(_TABLE_REFERENCE.findall(sql)))))
    ordered: dict[str, View] = {}
    while len(ordered) < len(unordered):
        for name in sorted(unordered.keys() - ordered.keys()):
            if not set(unordered[name].dependencies) & (unordered.keys() - ordered.keys()):
                ordered[name] = unordered[name]
    return ordered
