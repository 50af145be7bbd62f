"""Reading and validating one rule of a rules file."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from difflib import get_close_matches
from string import Formatter
from typing import Any, Final, NamedTuple, cast, get_args

from tickerlake.alerts.detectors import registry
from tickerlake.alerts.detectors.detector import Detector
from tickerlake.alerts.detectors.parameter import Parameter
from tickerlake.alerts.message import TEMPLATE_FIELDS
from tickerlake.alerts.rules.rule import DEFAULT_COOLDOWN_NS, INTRADAY, Repeat, Rule
from tickerlake.errors import UsageError, did_you_mean
from tickerlake.model.alert import SEVERITIES
from tickerlake.model.duration import DAY_NS, SECOND_NS, parse_duration_ns
from tickerlake.model.instrument import normalize_symbol
from tickerlake.toml_lines import TomlLines

_ID_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_INTERVAL_PATTERN: Final = re.compile(r"\d+[smhdw]")
_MAX_WARMUP: Final = 100_000
"""About a year of one-minute bars: more is a typo."""

COMMON_KEYS: Final = (
    "id kind symbols exclude interval clear clear_bars direction severity warning critical when repeat "
    "cooldown session warmup expires message"
).split()


class RuleProblem(NamedTuple):
    """A problem in a rules file: its line and rule, what is wrong, and a remedy."""

    line: int
    rule: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        rule = f"rule {self.rule}: " if self.rule else ""
        return f"line {self.line}: {rule}{self.message} {self.hint}".rstrip()


class RulesError(UsageError):
    """A rules file is invalid; ``problems`` has every problem, by line.

    Parameters
    ----------
    name
        The file.
    problems
        Its problems, in any order.
    """

    def __init__(self, name: str, problems: list[RuleProblem]) -> None:
        self.problems = sorted(problems)
        listing = "\n".join(f"  {problem}" for problem in self.problems)
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"{name} has {count}:\n{listing}\n", "See docs/alerts.md.")


class RuleTable:
    """A ``[[rule]]`` table: reads it, and adds its problems to a list.

    Parameters
    ----------
    table
        Its content.
    index
        Its number among the ``[[rule]]`` tables, from 0.
    default_id
        Its id if it sets none.
    lists
        Symbols by the name of their list.
    lines
        Line numbers of the file.
    problems
        The problems so far.
    """

    def __init__(
        self,
        table: dict[str, Any],
        index: int,
        default_id: str,
        lists: Mapping[str, list[str]],
        lines: TomlLines,
        problems: list[RuleProblem],
    ) -> None:
        self.table, self.index = table, index
        self._lists, self._lines, self._problems = lists, lines, problems
        self.id = str(table.get("id", default_id))
        self._problems_before = len(problems)

    def read_rule(self) -> Rule | None:
        """Return the rule; None if it has problems."""
        cls = self._detector_class()
        self._check_keys(cls)
        rule = Rule(
            id=self.id,
            kind=str(self.table.get("kind")),
            arguments=self._read_arguments(cls) if cls else {},
            symbols=self._read_symbols("symbols", ("*",)),
            exclude=self._read_symbols("exclude", ()),
            intervals=self._read_key("interval", self._parse_intervals, ()),
            clear_bars=self._read_key("clear_bars", Parameter.integer(1).validate, None),
            severity=self._read_key("severity", Parameter.choice("warning", SEVERITIES).validate, "warning"),
            warning=self._read_key("warning", Parameter.number().validate, None),
            critical=self._read_key("critical", Parameter.number().validate, None),
            when=self._read_key("when", Parameter.choice("close", ("close", "tick")).validate, "close"),
            repeat=self._read_repeat(),
            cooldown_ns=self._read_cooldown(),
            session=self._read_key(
                "session", Parameter.choice("all", ("all", "regular", "extended")).validate, "all"
            ),
            warmup=self._read_key(
                "warmup", Parameter.integer(0, min_value=0, max_value=_MAX_WARMUP).validate, None
            ),
            expires_ns=self._read_key("expires", _parse_expiry, None),
            message=self._read_key("message", _parse_template, None),
            line=self._lines.line_of("rule", self.index),
        )
        if not isinstance(self.table.get("id", ""), str) or not _ID_PATTERN.fullmatch(self.id):
            hint = "Use letters, digits, dots, dashes and underscores, in quotes."
            self._add_problem("id", f"id is {self.id!r}.", hint)
        if cls and len(self._problems) == self._problems_before:
            self._check_combinations(rule, cls)
        if len(self._problems) > self._problems_before:
            return None
        return rule

    def _detector_class(self) -> type[Detector] | None:
        """Return the detector; if the kind is unknown, that of the most similar one, to check the rest."""
        kind = self.table.get("kind")
        if not isinstance(kind, str):
            self._add_problem("kind", "kind is missing.", 'Write kind = "zscore", or another kind.')
            return None
        try:
            return registry.detector_class(kind)
        except UsageError as error:
            self._add_problem("kind", f"there is no kind {kind!r}.", error.hint)
        similar = get_close_matches(kind, registry.kind_names(), n=1)
        return registry.detector_class(similar[0]) if similar else None

    def _check_keys(self, cls: type[Detector] | None) -> None:
        known = [*COMMON_KEYS, *(cls.parameters if cls else registry.parameter_names())]
        for key in self.table:
            if cls and key == "threshold" and key not in cls.parameters and cls.threshold_parameter:
                self._add_problem(
                    key, f"{self.table['kind']} has no threshold.", f"Write {cls.threshold_parameter} = …."
                )
            elif key not in known:
                self._add_problem(key, f"there is no key {key}.", did_you_mean(key, known))

    def _read_arguments(self, cls: type[Detector]) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        for name, spec in cls.parameters.items():
            parameter = Parameter.coerce(spec)
            if name in self.table:
                arguments[name] = self._read_key(name, parameter.validate, parameter.default)
            elif parameter.required:
                self._add_problem("kind", f"{name} is missing.", f"Write {name} = ….")
        if "direction" in self.table and not cls.has_direction:
            self._add_problem("direction", f"{self.table['kind']} has no direction.", "Remove it.")
        for name, reader in (
            ("direction", Parameter.choice("both", ("up", "down", "both")).validate),
            ("clear", Parameter.number().validate),
        ):
            if name in self.table:
                arguments[name] = self._read_key(name, reader, None)
        if len(self._problems) == self._problems_before:
            for name, message, hint in cls.validate(arguments):
                self._add_problem(name if name in self.table else "kind", message, hint)
        return arguments

    def _check_combinations(self, rule: Rule, cls: type[Detector]) -> None:
        for interval in [text for text in rule.intervals if text != INTRADAY] or [self._sample_interval(cls)]:
            self._check_interval(rule, cls, interval)
        for key in ("warmup", "clear_bars") if cls.monitors_data else ():
            if key in self.table:
                self._add_problem(key, f"{rule.kind} does not evaluate bars.", "Remove it.")
        if rule.when == "tick" and not cls.supports_ticks:
            self._add_problem("when", f"{rule.kind} cannot evaluate single trades.", 'Write when = "close".')
        if rule.when == "tick" and self.table.get("repeat") == "once_per_bar_close":
            hint = 'Write when = "close", or repeat = "once_per_bar".'
            self._add_problem("repeat", 'when = "tick" does not wait for a bar to close.', hint)
        if rule.warning is not None and rule.critical is not None and rule.warning >= rule.critical:
            self._add_problem("warning", f"warning is {rule.warning:g}, not below critical.", "Swap them.")

    @staticmethod
    def _sample_interval(detector_class: type[Detector]) -> str:
        return detector_class.max_interval or ("1h" if detector_class.intraday_only else "1d")

    def _check_interval(self, rule: Rule, cls: type[Detector], interval: str) -> None:
        width_ns = parse_duration_ns(interval)
        if width_ns >= DAY_NS and cls.intraday_only:
            self._add_problem("interval", f"{rule.kind} cannot use daily bars.", 'Write interval = "1m".')
            return
        if cls.max_interval and width_ns > parse_duration_ns(cls.max_interval):
            self._add_problem(
                "interval",
                f"bars of {interval} are too long for {rule.kind}.",
                f"Use {cls.max_interval} at most.",
            )
            return
        try:
            detector = rule.build_detector(interval)
        except UsageError as error:
            self._add_problem("window", error.message, error.hint)
            return
        window = rule.arguments.get("window")
        if interval in rule.intervals and isinstance(window, str) and parse_duration_ns(window) < width_ns:
            self._add_problem(
                "window", f"a window of {window} is shorter than a bar.", f"Use {interval} or more."
            )
        self._check_thresholds(rule, detector)

    def _check_thresholds(self, rule: Rule, detector: Detector) -> None:
        name, threshold = detector.threshold_parameter or "threshold", detector.threshold
        clear = rule.arguments.get("clear")
        if clear is not None and threshold != threshold:  # noqa: PLR0124 - NaN is not itself
            self._add_problem("clear", f"{rule.kind} has no clear threshold.", "Remove it.")
        elif clear is not None and clear >= threshold:
            self._add_problem(
                "clear", f"clear is {clear:g}, not below {name} = {threshold:g}.", "Use a smaller number."
            )
        for severity in ("warning", "critical"):
            size = getattr(rule, severity)
            if size is not None and not detector.has_size:
                self._add_problem(severity, f"{rule.kind} has no size.", f'Write severity = "{severity}".')
            elif size is not None and size < threshold:
                message = f"{severity} is {size:g}, below {name} = {threshold:g}: every alert is {severity}."
                self._add_problem(severity, message, f'Write severity = "{severity}", or a larger number.')

    def _read_symbols(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        value = self.table.get(key)
        if value is None:
            return default
        texts = [value] if isinstance(value, str) else value
        if (
            not isinstance(texts, list)
            or not texts
            or not all(isinstance(text, str) and text for text in texts)
        ):
            self._add_problem(
                key, f"{key} is not a list of symbols.", 'Write it as ["AAPL", "BRK*", "@tech"].'
            )
            return default
        symbols: list[str] = []
        for text in texts:
            name = text.removeprefix("@")
            if not text.startswith("@"):
                symbols.append(text)
            elif name in self._lists:
                symbols += self._lists[name]
            else:
                hint = did_you_mean(name, self._lists) if self._lists else "Define it under [lists]."
                hint += f' If the symbol begins with @, write "[@]{name}".'
                self._add_problem(key, f"there is no list {text}.", hint)
        return tuple(dict.fromkeys(map(normalize_symbol, symbols)))

    def symbol_patterns(self, rule: Rule) -> list[tuple[Rule, str, int]]:
        """Return the rule's patterns, lists resolved, with their lines."""
        keys = [key for key in ("symbols", "exclude") if key in self.table]
        return [(rule, pattern, self._line_of(key)) for key in keys for pattern in getattr(rule, key)]

    @staticmethod
    def _parse_intervals(value: object) -> tuple[str, ...]:
        texts = value if isinstance(value, list) else [value]
        for text in texts:
            if not isinstance(text, str) or not (text == INTRADAY or _INTERVAL_PATTERN.fullmatch(text)):
                hint = 'Write "1m", "1d", ["1m", "1d"], or "intraday".'
                raise UsageError(f"is {text!r}, not an interval.", hint)
            if text != INTRADAY:
                Parameter.duration("1m").validate(text)
        if not texts or (INTRADAY in texts and len(texts) > 1):
            raise UsageError("is not a list of intervals.", 'Write "intraday" alone, or ["1m", "1d"].')
        return tuple(texts)

    def _read_repeat(self) -> Any:
        default, allowed = "once_per_move", get_args(Repeat)
        return self._read_key("repeat", Parameter.choice(default, allowed).validate, default)

    def _read_cooldown(self) -> int:
        default = 0 if self.table.get("repeat") == "every" else DEFAULT_COOLDOWN_NS
        return cast(int, self._read_key("cooldown", _parse_cooldown, default))

    def _read_key(self, key: str, parser: Callable[[object], Any], default: Any) -> Any:
        if key not in self.table:
            return default
        try:
            return parser(self.table[key])
        except UsageError as error:
            # a message either is a sentence, or continues one that begins with the key
            is_sentence = error.message[0].isupper()
            detail = (
                f": {error.message[0].lower()}{error.message[1:]}" if is_sentence else f" {error.message}"
            )
            self._add_problem(key, f"{key}{detail}", error.hint)
            return default

    def _line_of(self, key: str) -> int:
        return self._lines.line_of("rule", self.index, key)

    def _add_problem(self, key: str, message: str, hint: str = "") -> None:
        self._problems.append(RuleProblem(self._line_of(key), self.id, message, hint))


def _parse_cooldown(value: object) -> int:
    if value == 0 and not isinstance(value, bool):
        return 0
    return parse_duration_ns(cast(str, Parameter.duration("15m").validate(value)))


def _parse_expiry(value: object) -> int:
    if isinstance(value, datetime):
        expiry = value if value.tzinfo else value.replace(tzinfo=UTC)
    elif isinstance(value, date):
        expiry = datetime.combine(value, time(), UTC)
    else:
        raise UsageError(f"is {value!r}, not a date.", "Write 2027-01-01, without quotes.")
    return int(expiry.timestamp()) * SECOND_NS


def _parse_template(value: object) -> str:
    text = cast(str, Parameter.coerce("text").validate(value))
    try:
        names = [name for _, name, _, _ in Formatter().parse(text) if name is not None]
    except ValueError as error:
        raise UsageError(f"is not a valid template: {error}.", "Write {{ and }} for braces.") from error
    for name in names:
        if name not in TEMPLATE_FIELDS:
            raise UsageError(f"cannot contain {{{name}}}.", did_you_mean(name, TEMPLATE_FIELDS))
    return text
