"""What the columns of a CSV file mean: a table of aliases, and how a header is read with it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

ALIASES: Final[dict[str, str]] = {
    alias: role
    for role, aliases in {
        "time": "date datetime timestamp time tradedate tradingdate windowstart tsevent opentime datum fecha",
        "symbol": "symbol ticker name stock sym index tckrsymb instrument code scrip",
        "open": "open openprice o eroffnung eröffnung erster apertura",
        "high": "high highprice h hoch max maximo",
        "low": "low lowprice l tief min minimo",
        "close": "close closeprice c price last schluss schlusskurs cierre",
        "adj_close": "adjclose adjustedclose closeadj adjcloseprice",
        "volume": "volume vol v tottrdqty tradevolume volumen totalvolume",
        "vwap": "vwap vw weightedaverage",
        "trade_count": "tradecount transactions trades totaltrades numberoftrades",
    }.items()
    for alias in aliases.split()
}
"""The role of a column by its name, in lower case without blanks and signs."""

PRICES: Final = ("open", "high", "low", "close")
NUMBERS: Final = (*PRICES, "adj_close", "volume", "vwap", "trade_count")
DATE_PARTS: Final = ("year", "month", "day")
"""Columns which often repeat the date; they are dropped if they really do."""


@dataclass(frozen=True)
class Layout:
    """Where each role stands.

    Parameters
    ----------
    names
        The names of all columns, as in the file.
    roles
        Role to index of its column.
    repeats
        Columns that may only repeat the date: index to ``year``, ``month``, ``day`` or ``time``.
    """

    names: tuple[str, ...]
    roles: dict[str, int]
    repeats: dict[int, str] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        """Unique names for the columns: ``c0``, ``c1`` and so on."""
        return [f"c{i}" for i in range(len(self.names))]

    def column(self, role: str) -> str:
        """Return the unique name of the column of a role."""
        return f"c{self.roles[role]}"

    def extras(self) -> dict[str, str]:
        """Return the columns without a role: unique name to a key for ``extra``, which is unique as well."""
        known = {*self.roles.values(), *self.repeats}
        extras: dict[str, str] = {}
        for index, name in enumerate(self.names):
            if index in known or not name:
                continue
            key, n = name, 1
            while key in extras.values():
                n += 1
                key = f"{name}_{n}"
            extras[f"c{index}"] = key
        return extras


def normal_name(name: str) -> str:
    """Return a column's name for look-up: ``<Adj Close>`` becomes ``adjclose``."""
    return re.sub(r"[\W_]+", "", name.casefold())


def read_header(names: Sequence[str]) -> Layout:
    """Give each column its role.

    A time column beside a date column is the time of day. Of two columns for one role the first has it; a
    second date column may repeat the first.
    """
    roles: dict[str, int] = {}
    repeats: dict[int, str] = {}
    for index, name in enumerate(names):
        plain = normal_name(name)
        role = ALIASES.get(plain, "")
        if plain in DATE_PARTS:
            repeats[index] = plain
        elif role and role not in roles:
            roles[role] = index
        elif role == "time" and plain == "time":
            roles.setdefault("clock", index)
        elif role == "time":
            repeats[index] = "time"
    return Layout(tuple(names), roles, repeats)


def missing_roles(layout: Layout) -> list[str]:
    """Return the roles without which rows are not bars."""
    return [role for role in ("time", *PRICES) if role not in layout.roles]
