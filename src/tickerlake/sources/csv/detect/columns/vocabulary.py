"""Words that mean something other than a price or a size: the data are in other_tables.toml. Pure."""

import re
import tomllib
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from importlib import resources
from typing import Any, Final

from tickerlake.sources.csv.detect.columns.layout import normalize_name, role_ranks, split_words

_PRICE_ROLES: Final = frozenset(
    """
    price open high low close vwap adj_close adj_open adj_high adj_low bid_price ask_price
    """.split()
)
_SIZE_ROLES: Final = frozenset({"size", "volume"})
_FIRST_IDEOGRAPH: Final = "\u3040"
"""From here on, scripts of Asia that write no spaces between words."""

_RUNNING_NUMBER: Final = re.compile(
    r"#|№|\b(?:nº|n°|n\.º|no|nr|num|number|nummer|numéro|numero|número|nro|lp|номер)\b\.?|編號|编号|序号|序號|番号|번호|순번|連番",
    re.IGNORECASE,
)
"""A number of rows, trades or orders: ``Trade #``, ``Сделка №``, ``Nr transakcji``."""

SECTION_HEADER: Final = "header"
"""The second cell of headers in files of sections."""

_Entries = tuple[tuple[str, ...], ...]


def _parse_entries(text: str) -> _Entries:
    return tuple(tuple(split_words(entry.replace("_", " "))) for entry in text.split())


@cache
def other_tables() -> dict[str, Any]:
    """Return what other_tables.toml says."""
    return tomllib.loads(resources.files(__package__).joinpath("other_tables.toml").read_text("utf-8"))


def remedy(key: str) -> str:
    """Return what to do about a table that is refused."""
    text: str = other_tables()["remedies"][key]
    return text


@cache
def _groups(section: str) -> dict[str, _Entries]:
    return {name: _parse_entries(text) for name, text in other_tables()[section].items()}


@lru_cache(maxsize=4096)
def name_groups(name: str) -> frozenset[str]:
    """Return the groups of names that a column's name belongs to: ``{"fee"}`` for ``Fees & Comm``."""
    words, joined = split_words(name), normalize_name(name)
    return frozenset(
        group
        for group, entries in _groups("names").items()
        if any(_contains(words, entry) or _is_joined(joined, entry) for entry in entries)
    )


def _is_joined(joined: str, entry: tuple[str, ...]) -> bool:
    """Return whether a name without spaces is an entry, or has one in a script that separates no words."""
    text = "".join(entry)
    return joined == text or (len(text) > 1 and text[0] >= _FIRST_IDEOGRAPH and text in joined)


def columns_named(names: Sequence[str], *groups: str) -> list[int]:
    """Return the columns whose names belong to one of some groups."""
    return [i for i, name in enumerate(names) if name_groups(name) & set(groups)]


def find_preferred(names: Sequence[str], group: str, among: Iterable[int]) -> int | None:
    """Return the column whose name comes first in a group, None if none belongs to it."""
    entries = _groups("names")[group]

    def rank(index: int) -> int | None:
        words, joined = split_words(names[index]), normalize_name(names[index])
        ranks = (k for k, entry in enumerate(entries) if _contains(words, entry) or joined == "".join(entry))
        return next(ranks, None)

    ranked = [(position, i) for i in among if (position := rank(i)) is not None]
    return min(ranked)[1] if ranked else None


def classify_cell(section: str, text: str, *, whole: bool = False) -> str:
    """Return the first group of a section, such as ``states``, of which a text has a word; empty if none.

    Parameters
    ----------
    whole
        True if the cell must be one of the group's words, not only contain it.
    """
    words = split_words(text)
    joined = "".join(words)
    for group, entries in _groups(section).items():
        if any(joined == "".join(entry) or (not whole and _contains(words, entry)) for entry in entries):
            return group
    return ""


def can_be_price(name: str) -> bool:
    """Return whether a column's name does not say that it is something other than a price."""
    roles = role_ranks(name)
    if _PRICE_ROLES & set(roles):
        return True
    return not roles and not name_groups(name) and not _RUNNING_NUMBER.search(name)


def can_be_size(name: str) -> bool:
    """Return whether a column's name does not say that it is something other than a size."""
    roles = role_ranks(name)
    if _SIZE_ROLES & set(roles):
        return True
    return not roles and name_groups(name) <= {"executed_size"} and not _RUNNING_NUMBER.search(name)


def _contains(words: Sequence[str], entry: tuple[str, ...]) -> bool:
    """Return whether the words of an entry follow each other among the words of a name."""
    if len(entry) == 1:
        return entry[0] in words
    return any(tuple(words[k : k + len(entry)]) == entry for k in range(len(words) - len(entry) + 1))
