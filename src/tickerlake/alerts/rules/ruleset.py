"""The file of rules, which a trader can read: ``rules.toml``.

All that is wrong with it is found and told at once.
"""

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from tickerlake.alerts.rules.lines import Lines
from tickerlake.alerts.rules.presets import PRESETS
from tickerlake.alerts.rules.problems import RuleProblem, RulesRefused
from tickerlake.alerts.rules.rule import Rule
from tickerlake.alerts.rules.table import RuleTable
from tickerlake.alerts.words import did_you_mean
from tickerlake.errors import UsageError

__all__ = ["NotifyTable", "RuleProblem", "RuleSet", "RulesRefused", "load", "parse"]

_TOP: Final = ("preset", "lists", "rule", "notify")
_MOST_RULES: Final = 1_000


class NotifyTable(NamedTuple):
    """A ``[[notify]]`` table as it stands, and its lines.

    Parameters
    ----------
    table
        What it says.
    line
        Of its header.
    lines
        Of its keys.
    """

    table: dict[str, Any]
    line: int
    lines: dict[str, int]


@dataclass(frozen=True)
class RuleSet:
    """The rules of a file, checked, and what else stands there.

    Parameters
    ----------
    name
        The file.
    rules
        In its order.
    notify
        Tables that are read elsewhere.
    written
        The symbols of each rule as they are written, with their lines.
    """

    name: str
    rules: tuple[Rule, ...]
    notify: tuple[NotifyTable, ...] = ()
    written: tuple[tuple[Rule, str, int], ...] = field(default=(), repr=False)

    def unmatched(self, symbols_seen: Iterable[str]) -> list[RuleProblem]:
        """Return the symbols and patterns that none of the symbols that there are goes with."""
        seen = sorted(set(symbols_seen))
        return [
            RuleProblem(line, rule.id, f"no symbol is {pattern}.", _meant_symbol(pattern, seen))
            for rule, pattern, line in self.written
            if not any(replace(rule, symbols=(pattern,), exclude=()).matches(symbol) for symbol in seen)
        ]


def load(path: Path) -> RuleSet:
    """Read a file of rules.

    Raises
    ------
    UsageError
        If it can't be read; `RulesRefused` if something in it is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The rules {path} can't be read: {error}.", "Check --rules.") from error
    return parse(text, str(path))


def parse(text: str, name: str) -> RuleSet:
    """Read rules; ``name`` is what messages call them.

    Raises
    ------
    RulesRefused
        If something is wrong; it tells all that is.
    """
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        problem = RuleProblem(int(found[1]) if found else 1, "", f"it is not TOML: {error}.")
        raise RulesRefused(name, [problem]) from error
    reader = _File(given, Lines(text))
    rules = reader.rules()
    if reader.problems:
        raise RulesRefused(name, reader.problems)
    return RuleSet(name, tuple(rules), tuple(reader.notify()), tuple(reader.written))


@cache
def preset(name: str) -> RuleSet:
    """Return the rules of a preset, one of `presets.PRESETS`."""
    return parse(PRESETS[name], f"the preset {name}")


class _File:
    """What a file says, and what is wrong with it."""

    def __init__(self, given: dict[str, Any], lines: Lines) -> None:
        self.problems: list[RuleProblem] = []
        self.written: list[tuple[Rule, str, int]] = []
        self.lines = lines
        self._given = given
        for key in given:
            if key not in _TOP:
                line = lines.of(key)
                self.problems.append(
                    RuleProblem(line, "", f"{key} is not known here.", did_you_mean(key, _TOP))
                )
        self.lists = self._lists(given.get("lists", {}))

    def rules(self) -> list[Rule]:
        """Read all rules; those of a preset come first, and give way to one of the same id."""
        tables = self._tables("rule")
        if len(tables) > _MOST_RULES:
            self._wrong(
                self.lines.of("rule"), "", f"there are {len(tables):,} rules.", f"{_MOST_RULES:,} can be."
            )
            return []
        rules: list[Rule] = []
        numbers: dict[str, int] = {}
        for number, table in enumerate(tables):
            kind = str(table.get("kind"))
            numbers[kind] = numbers.get(kind, 0) + 1
            default_id = f"{kind}-{numbers[kind]}"
            reader = RuleTable(table, number, default_id, self.lists, self.lines, self.problems)
            rule = reader.rule()
            if rule is not None:
                rules.append(rule)
                self.written += reader.written(rule)
        self._check_ids(rules)
        own = {rule.id for rule in rules}
        return [rule for rule in self._preset() if rule.id not in own] + rules

    def notify(self) -> list[NotifyTable]:
        """Return the tables of channels."""
        return [
            NotifyTable(
                table,
                self.lines.of("notify", number),
                {key: self.lines.of("notify", number, key) for key in table},
            )
            for number, table in enumerate(self._tables("notify"))
        ]

    def _tables(self, name: str) -> list[dict[str, Any]]:
        found = self._given.get(name, [])
        if not isinstance(found, list) or not all(isinstance(table, dict) for table in found):
            self._wrong(
                self.lines.of(name), "", f"{name} is no list of tables.", f"Begin each with [[{name}]]."
            )
            return []
        return found

    def _preset(self) -> list[Rule]:
        name = self._given.get("preset")
        if name is None:
            return []
        if name not in PRESETS:
            hint = did_you_mean(str(name), PRESETS)
            self._wrong(self.lines.of("", 0, "preset"), "", f"there is no preset {name!r}.", hint)
            return []
        return list(preset(name).rules)

    def _lists(self, given: object) -> dict[str, list[str]]:
        if not isinstance(given, dict):
            self._wrong(
                self.lines.of("lists"), "", "lists is no table.", 'Write [lists] and tech = ["AAPL"].'
            )
            return {}
        lists = {}
        for name, symbols in given.items():
            if not isinstance(symbols, list) or not all(isinstance(text, str) and text for text in symbols):
                line = self.lines.of("lists", 0, name)
                self._wrong(
                    line, "", f"the list {name} is no list of symbols.", 'Write it as ["AAPL", "MSFT"].'
                )
                continue
            lists[name] = symbols
        return lists

    def _check_ids(self, rules: list[Rule]) -> None:
        first: dict[str, int] = {}
        for rule in rules:
            if rule.id in first:
                message = f"this id is taken by the rule of line {first[rule.id]}."
                self._wrong(rule.line, rule.id, message, "Give each rule its own.")
            first.setdefault(rule.id, rule.line)

    def _wrong(self, line: int, rule: str, message: str, hint: str = "") -> None:
        self.problems.append(RuleProblem(line, rule, message, hint))


def _meant_symbol(pattern: str, seen: list[str]) -> str:
    for symbol in seen:
        if symbol.upper() == pattern.upper():
            return f"Did you mean {symbol}?"
    hint = did_you_mean(pattern, seen)
    return hint if hint.startswith("Did") else ""
