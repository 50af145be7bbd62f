"""Views in SQL that DuckDB and BigQuery both understand; each is a file, which begins with what it shows."""

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

_READS: Final = re.compile(r"\blake\.([a-z_]+)")


@dataclass(frozen=True, slots=True)
class View:
    """A view: what it shows, its text, and the tables and views that it reads (of the schema ``lake``)."""

    name: str
    about: str
    sql: str
    reads: tuple[str, ...]

    def in_dataset(self, dataset: str) -> str:
        """Return the text for a dataset of BigQuery: ``project.dataset``."""
        return _READS.sub(lambda match: f"`{dataset}`.{match[1]}", self.sql)


@cache
def views() -> dict[str, View]:
    """Return all views by name, each after those that it reads."""
    found = {}
    for entry in files(__package__).iterdir():
        if entry.name.endswith(".sql"):
            name = entry.name.removesuffix(".sql")
            lines = entry.read_text(encoding="utf-8").splitlines()
            about = " ".join(line.removeprefix("--").strip() for line in lines if line.startswith("--"))
            sql = "\n".join(line for line in lines if not line.startswith("--")).strip().rstrip(";")
            found[name] = View(name, about, sql, tuple(sorted(set(_READS.findall(sql)))))
    ordered: dict[str, View] = {}
    while len(ordered) < len(found):
        for name in sorted(found.keys() - ordered.keys()):
            if not set(found[name].reads) & (found.keys() - ordered.keys()):
                ordered[name] = found[name]
    return ordered
