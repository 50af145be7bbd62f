"""One rule of a file, read and checked."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from string import Formatter
from typing import Any, Final, cast

from tickerlake.alerts.detectors import registry
from tickerlake.alerts.detectors.detector import Detector
from tickerlake.alerts.detectors.parameter import Parameter
from tickerlake.alerts.message import TEMPLATE_FIELDS
from tickerlake.alerts.rules.problems import RuleProblem
from tickerlake.alerts.rules.rule import DEFAULT_COOLDOWN_NS, INTRADAY, Rule
from tickerlake.errors import UsageError, did_you_mean
from tickerlake.model.alert import SEVERITIES
from tickerlake.model.duration import DAY_NS, parse_duration_ns
from tickerlake.toml_lines import TomlLines

_ID_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_INTERVAL_PATTERN: Final = re.compile(r"\d+[smhdw]")
COMMON_KEYS: Final = (
    "id kind symbols exclude interval clear clear_bars direction severity warning critical when repeat "
    "cooldown session warmup expires message"
).split()


class RuleTable:
    """One ``[[rule]]``: reads it, and adds what is wrong with it to the problems.

    Parameters
    ----------
    table
        What it says.
    number
        Which one it is, from 0.
    default_id
        Its id if it says none.
    lists
        Symbols by the names of their lists.
    lines
        Of the file.
    problems
        Those that were found so far.
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
        given = table.get("id", default_id)
        self.id = str(given)
        self._problems_before = len(problems)

    def read_rule(self) -> Rule | None:
        """Read it; None if something is wrong, which is then told."""
        cls = self._detector_class()
        if cls is None:
            return None
        self._check_keys(cls)
        given = self._read_parameters(cls)
        rule = Rule(
            id=self.id,
            kind=self.table["kind"],
            given=given,
            symbols=self._read_symbols("symbols", ("*",)),
            exclude=self._read_symbols("exclude", ()),
            intervals=self._read_key("interval", self._parse_intervals, ()),
            clear_bars=self._read_key("clear_bars", Parameter.integer(1, max_value=10_000).validate, None),
            severity=self._read_key("severity", Parameter.choice("warning", SEVERITIES).validate, "warning"),
            warning=self._read_key("warning", Parameter.number().validate, None),
            critical=self._read_key("critical", Parameter.number().validate, None),
            when=self._read_key("when", Parameter.choice("close", ("close", "tick")).validate, "close"),
            repeat=self._read_repeat(),
            cooldown_ns=self._read_cooldown(),
            session=self._read_key("session", Parameter.choice("all", ("all", "regular")).validate, "all"),
            warmup=self._read_key(
                "warmup", Parameter.integer(0, min_value=0, max_value=100_000).validate, None
            ),
            expires_ns=self._read_key("expires", _parse_expiry, None),
            message=self._read_key("message", _parse_template, None),
            line=self._lines.line_of("rule", self.index),
        )
        if not isinstance(self.table.get("id", ""), str) or not _ID_PATTERN.fullmatch(self.id):
            hint = "Use letters, digits, points, dashes and underscores, in quotes."
            self._add_problem("id", f"id is {self.id!r}.", hint)
        if len(self._problems) == self._problems_before:
            self._check_combinations(rule, cls)
        if len(self._problems) > self._problems_before:
            return None
        return rule

    def _detector_class(self) -> type[Detector] | None:
        kind = self.table.get("kind")
        if not isinstance(kind, str):
            self._add_problem("kind", "it has no kind.", 'Write kind = "zscore", or another.')
            return None
        try:
            return registry.detector_class(kind)
        except UsageError as error:
            self._add_problem("kind", f"there is no kind {kind!r}.", error.hint)
            return None

    def _check_keys(self, cls: type[Detector]) -> None:
        known = [*COMMON_KEYS, *cls.parameters]
        for key in self.table:
            if key == "threshold" and key not in cls.parameters and cls.threshold_parameter:
                self._add_problem(
                    key, f"{self.table['kind']} has no threshold.", f"Write {cls.threshold_parameter} = …."
                )
            elif key not in known:
                self._add_problem(key, f"{key} is not known.", did_you_mean(key, known))

    def _read_parameters(self, cls: type[Detector]) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        for name, spec in cls.parameters.items():
            parameter = Parameter.coerce(spec)
            if name in self.table:
                arguments[name] = self._read_key(name, parameter.validate, parameter.default)
            elif parameter.required:
                self._add_problem("kind", f"{name} is missing.", f"Write {name} = ….")
        if "direction" in self.table and not cls.has_direction:
            self._add_problem("direction", f"{self.table['kind']} has no direction.", "Leave it out.")
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
                self._add_problem(
                    key, f"{rule.kind} looks at no bars that could be counted.", "Leave it out."
                )
        if rule.when == "tick" and not cls.supports_ticks:
            self._add_problem("when", f"{rule.kind} can't look at single trades.", 'Write when = "close".')
        if rule.when == "tick" and self.table.get("repeat") == "once_per_bar_close":
            hint = 'Write when = "close", or repeat = "once_per_bar".'
            self._add_problem("repeat", 'when = "tick" does not wait for the close of a bar.', hint)
        if rule.warning is not None and rule.critical is not None and rule.warning >= rule.critical:
            self._add_problem(
                "warning", f"warning is {rule.warning:g}, not below critical.", "Exchange them."
            )

    @staticmethod
    def _sample_interval(detector_class: type[Detector]) -> str:
        return detector_class.max_interval or ("1h" if detector_class.intraday_only else "1d")

    def _check_interval(self, rule: Rule, cls: type[Detector], interval: str) -> None:
        width_ns = parse_duration_ns(interval)
        if width_ns >= DAY_NS and cls.intraday_only:
            self._add_problem(
                "interval", f"{rule.kind} makes no sense with bars of days.", 'Write interval = "1m".'
            )
            return
        if cls.max_interval and width_ns > parse_duration_ns(cls.max_interval):
            self._add_problem(
                "interval",
                f"bars of {interval} are too wide for {rule.kind}.",
                f"Use {cls.max_interval} at most.",
            )
            return
        try:
            detector = rule.build_detector(interval)
        except UsageError as error:
            self._add_problem("window", error.message, error.hint)
            return
        window = rule.given.get("window")
        if interval in rule.intervals and isinstance(window, str) and parse_duration_ns(window) < width_ns:
            self._add_problem(
                "window", f"a window of {window} is shorter than a bar.", f"Use {interval} or more."
            )
        self._check_thresholds(rule, detector)

    def _check_thresholds(self, rule: Rule, detector: Detector) -> None:
        limit, threshold, clear = (
            detector.threshold_parameter or "threshold",
            detector.threshold,
            rule.given.get("clear"),
        )
        if clear is not None and threshold != threshold:  # noqa: PLR0124 - NaN is not itself
            self._add_problem("clear", f"{rule.kind} clears by itself.", "Leave it out.")
        elif clear is not None and clear >= threshold:
            self._add_problem(
                "clear", f"clear is {clear:g}, not below {limit} = {threshold:g}.", "Make it smaller."
            )
        for name in ("warning", "critical"):
            size = getattr(rule, name)
            if size is not None and size < threshold:
                hint = f'Write severity = "{name}", or a larger number.'
                self._add_problem(
                    name, f"{name} is {size:g}, below {limit} = {threshold:g}: it always is.", hint
                )

    def _read_symbols(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        given = self.table.get(key)
        if given is None:
            return default
        texts = [given] if isinstance(given, str) else given
        if (
            not isinstance(texts, list)
            or not texts
            or not all(isinstance(text, str) and text for text in texts)
        ):
            self._add_problem(key, f"{key} is no list of symbols.", 'Write it as ["AAPL", "BRK*", "@tech"].')
            return default
        found: list[str] = []
        for text in texts:
            name = text.removeprefix("@")
            if not text.startswith("@"):
                found.append(text)
            elif name in self._lists:
                found += self._lists[name]
            else:
                hint = did_you_mean(name, self._lists) if self._lists else "Write it under [lists]."
                self._add_problem(key, f"there is no list {text}.", hint)
        return tuple(dict.fromkeys(found))

    def symbol_patterns(self, rule: Rule) -> list[tuple[Rule, str, int]]:
        """Return the symbols that stand there, lists resolved, with their lines."""
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
            raise UsageError("is no list of intervals.", 'Write "intraday" alone, or ["1m", "1d"].')
        return tuple(texts)

    def _read_repeat(self) -> Any:
        default = "once_per_bar" if self.table.get("when") == "tick" else "once_per_bar_close"
        allowed = ("once", "once_per_bar", "once_per_bar_close", "every")
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
            # a sentence of its own, or how one about the key goes on
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
        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
    elif isinstance(value, date):
        moment = datetime.combine(value, time(), UTC)
    else:
        raise UsageError(f"is {value!r}, not a date.", "Write 2027-01-01, without quotes.")
    return int(moment.timestamp()) * 1_000_000_000


def _parse_template(value: object) -> str:
    text = cast(str, Parameter.coerce("text").validate(value))
    try:
        names = [place for _, place, _, _ in Formatter().parse(text) if place is not None]
    except ValueError as error:
        raise UsageError(f"can't be read: {error}.", "Write {{ and }} for braces.") from error
    for place in names:
        if place not in TEMPLATE_FIELDS:
            raise UsageError(f"has no place {{{place}}}.", did_you_mean(place, TEMPLATE_FIELDS))
    return text
