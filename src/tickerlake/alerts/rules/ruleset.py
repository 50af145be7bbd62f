"""Rules files (``rules.toml``): reading, validating, and reporting all problems at once."""

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from tickerlake.alerts.rules.presets import PRESETS
from tickerlake.alerts.rules.rule import Rule
from tickerlake.alerts.rules.rule_table import RuleProblem, RulesError, RuleTable
from tickerlake.errors import UsageError, did_you_mean
from tickerlake.toml_lines import TomlLines

__all__ = ["NotifyTable", "RuleProblem", "RuleSet", "RulesError", "load", "parse"]

_TOP_LEVEL_KEYS: Final = ("preset", "lists", "rule", "notify")
_MAX_RULES: Final = 1_000
"""Every rule is evaluated for every bar: this many already slow `track` down."""


_MAX_FILE_BYTES: Final = 4 << 20
"""A hundred times what `_MAX_RULES` rules need."""


class NotifyTable(NamedTuple):
    """A ``[[notify]]`` table, unread, and the line of its header."""

    table: dict[str, Any]
    line: int


@dataclass(frozen=True)
class RuleSet:
    """The validated rules of a file, and its ``[[notify]]`` tables.

    Parameters
    ----------
    name
        The file.
    rules
        The rules in their order in the file, after those of a preset.
    notify
        Tables for :func:`tickerlake.notify.settings.read_routes`.
    symbol_patterns
        The patterns of each rule, with their lines.
    """

    name: str
    rules: tuple[Rule, ...]
    notify: tuple[NotifyTable, ...] = ()
    symbol_patterns: tuple[tuple[Rule, str, int], ...] = field(default=(), repr=False)

    def unmatched_patterns(self, symbols_seen: Iterable[str]) -> list[RuleProblem]:
        """Return a problem for each pattern that matches no symbol of the data."""
        seen = sorted(set(symbols_seen))
        return [
            RuleProblem(line, rule.id, f"no symbol matches {pattern}.", _symbol_hint(pattern, seen))
            for rule, pattern, line in self.symbol_patterns
            if not names_preset_index(rule)
            and not any(replace(rule, symbols=(pattern,), exclude=()).matches(symbol) for symbol in seen)
        ]


def load(path: Path) -> RuleSet:
    """Read a rules file.

    Raises
    ------
    UsageError
        If it cannot be read; `RulesError` if it is invalid.
    """
    try:
        # a device or a pipe may never end
        if path.exists() and (not path.is_file() or path.stat().st_size > _MAX_FILE_BYTES):
            raise UsageError(
                f"{path} is a folder, a device or a pipe, or larger than {_MAX_FILE_BYTES >> 20} MiB.",
                "Name a rules file.",
            )
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(f"The rules file {path} cannot be read: {error}.", "Check --rules.") from error
    return parse(text, str(path))


def parse(text: str, name: str) -> RuleSet:
    """Read rules; ``name`` is used in messages.

    Raises
    ------
    RulesError
        If they are invalid; it lists every problem.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = re.search(r"at line (\d+)", str(error))
        problem = RuleProblem(int(match[1]) if match else 1, "", f"it is not TOML: {error}.")
        raise RulesError(name, [problem]) from error
    except RecursionError as error:
        raise RulesError(name, [RuleProblem(1, "", "it is nested too deep.")]) from error
    reader = _RulesFile(document, TomlLines(text))
    rules = reader.read_rules()
    if reader.problems:
        raise RulesError(name, reader.problems)
    return RuleSet(name, tuple(rules), tuple(reader.notify_tables()), tuple(reader.symbol_patterns))


@cache
def preset(name: str) -> RuleSet:
    """Return the rules of a preset: a key of `presets.PRESETS`."""
    return parse(PRESETS[name], f"the preset {name}")


def names_preset_index(rule: Rule) -> bool:
    """Return whether a rule evaluates an index by the names of the presets, of which data has one or none."""
    indices = (one.symbols for one in preset("default").rules if one.kind == rule.kind == "market_breaker")
    return rule.symbols in indices


class _RulesFile:
    """The content of a rules file, and its problems."""

    def __init__(self, document: dict[str, Any], lines: TomlLines) -> None:
        self.problems: list[RuleProblem] = []
        self.symbol_patterns: list[tuple[Rule, str, int]] = []
        self.lines = lines
        self._document = document
        for key in document:
            if key not in _TOP_LEVEL_KEYS:
                line = lines.line_of(key)
                self.problems.append(
                    RuleProblem(line, "", f"there is no key {key}.", did_you_mean(key, _TOP_LEVEL_KEYS))
                )
        self.lists = self._read_lists(document.get("lists", {}))

    def read_rules(self) -> list[Rule]:
        """Return all rules: first those of the preset, unless a rule of the file has the same id."""
        tables = self._tables("rule")
        if len(tables) > _MAX_RULES:
            self._add_problem(
                self.lines.line_of("rule"),
                "",
                f"there are {len(tables):,} rules.",
                f"Use {_MAX_RULES:,} at most.",
            )
            return []
        rules: list[Rule] = []
        numbers: dict[str, int] = {}
        for number, table in enumerate(tables):
            kind = str(table.get("kind"))
            numbers[kind] = numbers.get(kind, 0) + 1
            default_id = f"{kind}-{numbers[kind]}"
            reader = RuleTable(table, number, default_id, self.lists, self.lines, self.problems)
            rule = reader.read_rule()
            if rule is not None:
                rules.append(rule)
                self.symbol_patterns += reader.symbol_patterns(rule)
        self._check_ids(rules)
        ids = {rule.id for rule in rules}
        return [rule for rule in self._preset_rules() if rule.id not in ids] + rules

    def notify_tables(self) -> list[NotifyTable]:
        """Return the ``[[notify]]`` tables."""
        return [
            NotifyTable(table, self.lines.line_of("notify", number))
            for number, table in enumerate(self._tables("notify"))
        ]

    def _tables(self, name: str) -> list[dict[str, Any]]:
        tables = self._document.get(name, [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            hint = f"Begin each with [[{name}]]."
            self._add_problem(self.lines.line_of(name), "", f"{name} is not a list of tables.", hint)
            return []
        return tables

    def _preset_rules(self) -> list[Rule]:
        name = self._document.get("preset")
        if name is None:
            return []
        if name not in PRESETS:
            hint = did_you_mean(str(name), PRESETS)
            self._add_problem(self.lines.line_of("", 0, "preset"), "", f"there is no preset {name!r}.", hint)
            return []
        return list(preset(name).rules)

    def _read_lists(self, lists_table: object) -> dict[str, list[str]]:
        if not isinstance(lists_table, dict):
            self._add_problem(
                self.lines.line_of("lists"), "", "lists is not a table.", 'Write [lists] and tech = ["AAPL"].'
            )
            return {}
        lists = {}
        for name, symbols in lists_table.items():
            if not isinstance(symbols, list) or not all(isinstance(text, str) and text for text in symbols):
                line = self.lines.line_of("lists", 0, name)
                self._add_problem(
                    line, "", f"the list {name} is not a list of symbols.", 'Write it as ["AAPL", "MSFT"].'
                )
                continue
            lists[name] = symbols
        return lists

    def _check_ids(self, rules: list[Rule]) -> None:
        first: dict[str, int] = {}
        for rule in rules:
            if rule.id in first:
                message = f"the rule of line {first[rule.id]} has the same id."
                self._add_problem(rule.line, rule.id, message, "Use another id.")
            first.setdefault(rule.id, rule.line)

    def _add_problem(self, line: int, rule: str, message: str, hint: str = "") -> None:
        self.problems.append(RuleProblem(line, rule, message, hint))


def _symbol_hint(pattern: str, symbols: list[str]) -> str:
    for symbol in symbols:
        if symbol.upper() == pattern.upper():
            return f"Did you mean {symbol}?"
    hint = did_you_mean(pattern, symbols)
    return hint if hint.startswith("Did") else ""
