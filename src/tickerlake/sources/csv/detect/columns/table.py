"""The first rows of a table: what its names and its cells say together, whatever it is a table of. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from tickerlake.sources.csv.detect.columns.cells import ColumnSample
from tickerlake.sources.csv.detect.columns.close_names import is_definite_close
from tickerlake.sources.csv.detect.columns.layout import (
    PRICES,
    Layout,
    columns_option,
    normalize_name,
    role_ranks,
    split_words,
)
from tickerlake.sources.csv.detect.columns.vocabulary import (
    classify_cell,
    columns_named,
    name_groups,
    remedy,
)
from tickerlake.sources.csv.detect.times.dates import are_midnights, has_time

BUY_SIDES: Final = frozenset("b bid bids buy buyer".split())
SELL_SIDES: Final = frozenset("a ask asks s sell seller offer offers".split())
VOLUME_WORDS: Final = frozenset({"volume", "vol", "v"})
EXECUTIONS_HINT: Final = remedy("executions")
_MIN_SIDED_SHARE: Final = 0.9
_MAX_LISTED: Final = 6


@dataclass(frozen=True)
class Table:
    """A table as its first rows show it.

    Parameters
    ----------
    file_name
        Of its file.
    names
        As in the header; all empty if there is none.
    cells
        The first cells of each column.
    layout
        Its roles, once they have been looked for; None before that.
    """

    file_name: str
    names: Sequence[str]
    cells: Sequence[ColumnSample]
    layout: Layout | None = None

    @cached_property
    def ranks(self) -> list[dict[str, int]]:
        """The roles that each column may have by its name."""
        return [role_ranks(name) for name in self.names]

    def named(self, *groups: str) -> list[int]:
        """Return the columns whose names belong to groups of words."""
        return columns_named(self.names, *groups)

    def with_role(self, *roles: str) -> list[int]:
        """Return the columns whose names may mean one of some roles."""
        return [i for i, ranks in enumerate(self.ranks) if not ranks.keys().isdisjoint(roles)]

    def columns(self, indexes: Sequence[int]) -> str:
        """Return the names of columns, for messages."""
        listed = ", ".join(self.names[i].strip() or f"{i + 1}" for i in indexes[:_MAX_LISTED])
        return f"column{'s' * (len(indexes) != 1)} {listed}"

    @cached_property
    def facts(self) -> frozenset[str]:
        """What it has: a ``header``, and columns of ``bars``, ``quotes``, ``price``, ``close`` and so on."""
        by_role: dict[str, set[int]] = {}
        for i, each in enumerate(self.cells):
            if not each.non_missing or each.is_numeric or _has_digits(each):
                for role in self.ranks[i]:
                    by_role.setdefault(role, set()).add(i)
        closes = [i for i in by_role.get("close", ()) if normalize_name(self.names[i]) != "value"]
        sizes = [i for i in by_role.get("size", ()) if not VOLUME_WORDS & set(split_words(self.names[i]))]
        found = {
            "header": any(self.names),
            "bars": all(by_role.get(role) or by_role.get(f"adj_{role}") for role in PRICES),
            "quotes": {"bid_price", "ask_price"} <= by_role.keys(),
            "price": "price" in by_role,
            "close": closes or any(map(is_definite_close, self.names)),
            "size": sizes,
            "executions": self.named("execution_id"),
            "executed": self.named("executed_price", "executed_size"),
        }
        return frozenset(fact for fact, holds in found.items() if holds)

    @cached_property
    def row_kinds(self) -> dict[int, set[str]]:
        """The columns that say what a row is, each with the groups of its cells: executed, not executed."""
        return {
            i: {classify_cell("row_kinds", text) for text in set(self.cells[i].non_missing)}
            for i in self.named("row_kind")
        }

    @property
    def are_executions(self) -> bool:
        """True if rows have a time of day, a side, a price and a size."""
        sides = {*self.with_role("aggressor_side"), *self.named("row_kind")}
        is_sided = any(self.cells[i].share_where(_is_side) >= _MIN_SIDED_SHARE for i in sides)
        return is_sided and {"price", "size"} <= self.facts and self.has_time_of_day

    @property
    def is_dated(self) -> bool:
        """True if a column has dates."""
        return any(each.temporal_kind == "timestamp" for each in self.cells)

    @property
    def has_time_of_day(self) -> bool:
        """True if a column has times of day, other than midnight on all rows."""
        for ranks, each in zip(self.ranks, self.cells, strict=True):
            texts = each.non_missing
            if each.temporal_kind == "clock" or (each.is_numeric and "clock" in ranks):
                return True
            is_named = "time" in ranks or "clock" in ranks
            is_timed = each.temporal_kind == "timestamp" and has_time(texts[0])
            if is_timed and (is_named or not texts[0].isdigit()):
                if not are_midnights(texts):
                    return True
            elif not each.temporal_kind and texts and is_named:
                return True  # a format that is not recognized here
        return False


def _has_digits(cells: ColumnSample) -> bool:
    return cells.share_where(lambda text: text[:1].isdigit() or text[:2].strip("-$€£").isdigit()) >= 0.5


def _is_side(text: str) -> bool:
    return text.lower() in BUY_SIDES | SELL_SIDES


def find_sides(names: Sequence[str], cells: Sequence[ColumnSample]) -> int | None:
    """Return the column whose cells are both sides, buy and sell or bid and ask."""
    for i, each in enumerate(names):
        texts = {text.lower() for text in cells[i].non_missing}
        is_named = "aggressor_side" in role_ranks(each) or name_groups(each) & {"row_kind", "book"}
        if is_named and texts <= BUY_SIDES | SELL_SIDES and texts & BUY_SIDES and texts & SELL_SIDES:
            return i
    return None


def trade_columns(names: Sequence[str]) -> str:
    """Return how ``--columns`` names the columns of trades, by their positions if names show them."""
    by_column: dict[int, str] = {}
    for word, group in (("time", ""), ("symbol", ""), ("price", "executed_price"), ("size", "executed_size")):
        ranked = [
            (ranks[word], i)
            for i, each in enumerate(names)
            if word in (ranks := role_ranks(each)) and i not in by_column
        ]
        found = [i for _, i in sorted(ranked)] or [
            i for i in columns_named(names, group) if i not in by_column
        ]
        if not found and word in {"time", "price"}:
            return "time,symbol,price,size"
        if found:
            by_column[found[0]] = word
    return columns_option(by_column)


def if_executions(names: Sequence[str]) -> str:
    """Return how to read rows that the user knows to be executions."""
    return f"If its rows are executions: --columns {trade_columns(names)}"
