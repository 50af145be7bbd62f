"""In which line of a TOML text something stands; the parser of the standard library does not tell."""

import re
from typing import Final

_HEADER: Final = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]")
_KEY: Final = re.compile(r"""\s*["']?([\w.-]+?)["']?\s*=""")
_MULTILINE_QUOTES: Final = ('"""', "'''")


class TomlLines:
    """Lines of tables and keys.

    Parameters
    ----------
    text
        TOML.
    """

    def __init__(self, text: str) -> None:
        self._tables: dict[tuple[str, int], int] = {}
        self._keys: dict[tuple[str, int, str], int] = {}
        counts: dict[str, int] = {}
        here, number = "", 0
        inside = ""
        for line_number, line in enumerate(text.splitlines(), 1):
            if inside:
                inside = "" if line.count(inside) % 2 else inside
                continue
            if header := _HEADER.match(line):
                here = header[2].strip("\"'")
                number = counts.get(here, 0)
                counts[here] = number + 1
                self._tables[here, number] = line_number
            elif key := _KEY.match(line):
                self._keys.setdefault((here, number, key[1].split(".")[0]), line_number)
            inside = next((mark for mark in _MULTILINE_QUOTES if line.count(mark) % 2), "")

    def line_of(self, table: str, index: int = 0, key: str = "") -> int:
        """Return the line of a key of the n-th table of a name, or that of the table itself; 1 if unknown."""
        found = self._keys.get((table, index, key)) if key else None
        return found or self._tables.get((table, index)) or self._keys.get(("", 0, table), 1)
