"""Line numbers of tables and keys in TOML, which the standard library's parser does not report."""

import re
from typing import Final

_HEADER: Final = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]")
# the first part of a dotted key
_KEY: Final = re.compile(r"""\s*["']?([\w-]+)["']?(?:\s*\.[^=]*)?\s*=""")
_MULTILINE_QUOTES: Final = ('"""', "'''")


class TomlLines:
    """The lines in which tables and keys are defined.

    Parameters
    ----------
    text
        Valid TOML.
    """

    def __init__(self, text: str) -> None:
        self._tables: dict[tuple[str, int], int] = {}
        self._keys: dict[tuple[str, int, str], int] = {}
        counts: dict[str, int] = {}
        table, index = "", 0
        open_quotes = ""
        for line_number, line in enumerate(text.splitlines(), 1):
            if open_quotes:
                open_quotes = "" if line.count(open_quotes) % 2 else open_quotes
                continue
            if header := _HEADER.match(line):
                table = header[2].strip("\"'")
                index = counts.get(table, 0)
                counts[table] = index + 1
                self._tables[table, index] = line_number
                # the header of a subtable also defines its parents, unless they have their own
                parents = table.split(".")[:-1]
                for depth in range(1, len(parents) + 1):
                    self._tables.setdefault((".".join(parents[:depth]), 0), line_number)
            elif key := _KEY.match(line):
                self._keys.setdefault((table, index, key[1]), line_number)
            open_quotes = next((quotes for quotes in _MULTILINE_QUOTES if line.count(quotes) % 2), "")

    def line_of(self, table: str, index: int = 0, key: str = "") -> int:
        """Return the line of a key in the n-th table of a name, or else of the table; 1 if it is unknown.

        Parameters
        ----------
        table
            The table's name; empty for the top level.
        index
            Which of several tables of this name, from 0.
        key
            A key or subtable; by default, the line of the table is returned.
        """
        line = self._keys.get((table, index, key)) if key else None
        if line is None and key and index == 0:
            line = self._tables.get((f"{table}.{key}" if table else key, 0))
        return line or self._tables.get((table, index)) or self._keys.get(("", 0, table), 1)
