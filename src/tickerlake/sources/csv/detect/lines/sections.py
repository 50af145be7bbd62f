"""Reports whose rows begin with the name of their section, and say whether they are its header. Pure."""

import re
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.lines.tables import SEPARATE_TABLES

_LINE: Final = re.compile(r"([^,\"]{1,60}),(Header|Data|SubTotal|Total|Notes),", re.IGNORECASE)
_MIN_SECTIONS: Final = 2
_MIN_SHARE: Final = 0.8
_MAX_SHOWN: Final = 6

T = TypeVar("T")


def find_sections(lines: Sequence[str]) -> list[str]:
    """Return the names of a report's sections: ``Trades,Header,…`` is above ``Trades,Data,…``."""
    filled = [line for line in lines if line.strip()]
    matches = [match for line in filled if (match := _LINE.match(line))]
    with_header = [match[1] for match in matches if match[2].lower() == "header"]
    names = list(dict.fromkeys(with_header))
    return names if len(names) >= _MIN_SECTIONS and len(matches) >= _MIN_SHARE * len(filled) else []


def detect_section(
    name: str, lines: Sequence[str], sections: Sequence[str], detect: Callable[[list[str], str], T]
) -> T:
    """Return what is detected in the one section that is market data.

    Parameters
    ----------
    name
        The file's name.
    lines
        Its first lines.
    sections
        The names of its sections.
    detect
        Detects the dialect of a section, by its lines (others are empty) and how its rows begin, or raises
        a `DataError`.

    Raises
    ------
    DataError
        If no section is market data, or several are.
    """
    found: dict[str, T] = {}
    errors: dict[str, DataError] = {}
    for section in sections:
        prefix = f"{section},"
        try:
            found[section] = detect([line if line.startswith(prefix) else "" for line in lines], prefix)
        except DataError as error:
            errors[section] = error
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise DataError(f"{name} has several sections of market data: {_show(list(found))}.", SEPARATE_TABLES)
    if likely := next((each for each in errors if each.lower() in {"trades", "executions"}), ""):
        raise DataError(f"{errors[likely].message} That is its section {likely}.", errors[likely].hint)
    raise DataError(
        f"{name} is a report of several sections ({_show(sections)}), "
        "none of which is bars, trades or quotes.",
        "Export the executions (fills) with their times, or prices from a vendor of market data.",
    )


def _show(names: Sequence[str]) -> str:
    return ", ".join(names[:_MAX_SHOWN]) + (" …" if len(names) > _MAX_SHOWN else "")
