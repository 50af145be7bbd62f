"""One rule of a file, read and checked."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from string import Formatter
from typing import Any, Final, cast

from tickerlake.alerts.detectors import kinds
from tickerlake.alerts.detectors.detector import Detector
from tickerlake.alerts.detectors.parameter import Parameter
from tickerlake.alerts.duration import DAY_NS, nanoseconds
from tickerlake.alerts.message import PLACES
from tickerlake.alerts.rules.lines import Lines
from tickerlake.alerts.rules.problems import RuleProblem
from tickerlake.alerts.rules.rule import COOLDOWN_NS, INTRADAY, Rule
from tickerlake.alerts.words import did_you_mean
from tickerlake.errors import UsageError
from tickerlake.model.alert import SEVERITIES

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_INTERVAL: Final = re.compile(r"\d+[smhdw]")
_COMMON: Final = (
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
        number: int,
        default_id: str,
        lists: Mapping[str, list[str]],
        lines: Lines,
        problems: list[RuleProblem],
    ) -> None:
        self.table, self.number = table, number
        self._lists, self._lines, self._problems = lists, lines, problems
        given = table.get("id", default_id)
        self.id = str(given)
        self._before = len(problems)

    def rule(self) -> Rule | None:
        """Read it; None if something is wrong, which is then told."""
        cls = self._kind()
        if cls is None:
            return None
        self._check_known(cls)
        given = self._parameters(cls)
        rule = Rule(
            id=self.id,
            kind=self.table["kind"],
            given=given,
            symbols=self._symbols("symbols", ("*",)),
            exclude=self._symbols("exclude", ()),
            intervals=self._read("interval", self._intervals, ()),
            clear_bars=self._read("clear_bars", Parameter.count(1, most=10_000).read, None),
            severity=self._read("severity", Parameter.choice("warning", SEVERITIES).read, "warning"),
            warning=self._read("warning", Parameter.number().read, None),
            critical=self._read("critical", Parameter.number().read, None),
            when=self._read("when", Parameter.choice("close", ("close", "tick")).read, "close"),
            repeat=self._repeat(),
            cooldown_ns=self._cooldown(),
            session=self._read("session", Parameter.choice("all", ("all", "regular")).read, "all"),
            warmup=self._read("warmup", Parameter.count(0, least=0, most=100_000).read, None),
            expires_ns=self._read("expires", _expiry, None),
            message=self._read("message", _template, None),
            line=self._lines.of("rule", self.number),
        )
        if not isinstance(self.table.get("id", ""), str) or not _ID.fullmatch(self.id):
            hint = "Use letters, digits, points, dashes and underscores, in quotes."
            self._wrong("id", f"id is {self.id!r}.", hint)
        if len(self._problems) == self._before:
            self._check_together(rule, cls)
        if len(self._problems) > self._before:
            return None
        return rule

    def _kind(self) -> type[Detector] | None:
        kind = self.table.get("kind")
        if not isinstance(kind, str):
            self._wrong("kind", "it has no kind.", 'Write kind = "zscore", or another.')
            return None
        try:
            return kinds.find(kind)
        except UsageError as error:
            self._wrong("kind", f"there is no kind {kind!r}.", error.hint)
            return None

    def _check_known(self, cls: type[Detector]) -> None:
        known = [*_COMMON, *cls.parameters]
        for key in self.table:
            if key == "threshold" and key not in cls.parameters and cls.limit:
                self._wrong(key, f"{self.table['kind']} has no threshold.", f"Write {cls.limit} = ….")
            elif key not in known:
                self._wrong(key, f"{key} is not known.", did_you_mean(key, known))

    def _parameters(self, cls: type[Detector]) -> dict[str, Any]:
        given: dict[str, Any] = {}
        for name, told in cls.parameters.items():
            parameter = Parameter.of(told)
            if name in self.table:
                given[name] = self._read(name, parameter.read, parameter.default)
            elif parameter.needed:
                self._wrong("kind", f"{name} is missing.", f"Write {name} = ….")
        if "direction" in self.table and not cls.directed:
            self._wrong("direction", f"{self.table['kind']} has no direction.", "Leave it out.")
        for name, reader in (
            ("direction", Parameter.choice("both", ("up", "down", "both")).read),
            ("clear", Parameter.number().read),
        ):
            if name in self.table:
                given[name] = self._read(name, reader, None)
        if len(self._problems) == self._before:
            for name, message, hint in cls.complain(given):
                self._wrong(name if name in self.table else "kind", message, hint)
        return given

    def _check_together(self, rule: Rule, cls: type[Detector]) -> None:
        for interval in [text for text in rule.intervals if text != INTRADAY] or [self._an_interval(cls)]:
            self._check_interval(rule, cls, interval)
        for key in ("warmup", "clear_bars") if cls.about_data else ():
            if key in self.table:
                self._wrong(key, f"{rule.kind} looks at no bars that could be counted.", "Leave it out.")
        if rule.when == "tick" and not cls.ticks:
            self._wrong("when", f"{rule.kind} can't look at single trades.", 'Write when = "close".')
        if rule.when == "tick" and self.table.get("repeat") == "once_per_bar_close":
            hint = 'Write when = "close", or repeat = "once_per_bar".'
            self._wrong("repeat", 'when = "tick" does not wait for the close of a bar.', hint)
        if rule.warning is not None and rule.critical is not None and rule.warning >= rule.critical:
            self._wrong("warning", f"warning is {rule.warning:g}, not below critical.", "Exchange them.")

    @staticmethod
    def _an_interval(kind: type[Detector]) -> str:
        return kind.widest or ("1h" if kind.intraday else "1d")

    def _check_interval(self, rule: Rule, cls: type[Detector], interval: str) -> None:
        width_ns = nanoseconds(interval)
        if width_ns >= DAY_NS and cls.intraday:
            self._wrong(
                "interval", f"{rule.kind} makes no sense with bars of days.", 'Write interval = "1m".'
            )
            return
        if cls.widest and width_ns > nanoseconds(cls.widest):
            self._wrong(
                "interval", f"bars of {interval} are too wide for {rule.kind}.", f"Use {cls.widest} at most."
            )
            return
        try:
            detector = rule.detector(interval)
        except UsageError as error:
            self._wrong("window", error.message, error.hint)
            return
        window = rule.given.get("window")
        if interval in rule.intervals and isinstance(window, str) and nanoseconds(window) < width_ns:
            self._wrong("window", f"a window of {window} is shorter than a bar.", f"Use {interval} or more.")
        self._check_thresholds(rule, detector)

    def _check_thresholds(self, rule: Rule, detector: Detector) -> None:
        limit, threshold, clear = detector.limit or "threshold", detector.threshold, rule.given.get("clear")
        if clear is not None and threshold != threshold:  # noqa: PLR0124 - NaN is not itself
            self._wrong("clear", f"{rule.kind} clears by itself.", "Leave it out.")
        elif clear is not None and clear >= threshold:
            self._wrong(
                "clear", f"clear is {clear:g}, not below {limit} = {threshold:g}.", "Make it smaller."
            )
        for name in ("warning", "critical"):
            size = getattr(rule, name)
            if size is not None and size < threshold:
                hint = f'Write severity = "{name}", or a larger number.'
                self._wrong(name, f"{name} is {size:g}, below {limit} = {threshold:g}: it always is.", hint)

    def _symbols(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        given = self.table.get(key)
        if given is None:
            return default
        texts = [given] if isinstance(given, str) else given
        if (
            not isinstance(texts, list)
            or not texts
            or not all(isinstance(text, str) and text for text in texts)
        ):
            self._wrong(key, f"{key} is no list of symbols.", 'Write it as ["AAPL", "BRK*", "@tech"].')
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
                self._wrong(key, f"there is no list {text}.", hint)
        return tuple(dict.fromkeys(found))

    def written(self, rule: Rule) -> list[tuple[Rule, str, int]]:
        """Return the symbols that stand there, lists resolved, with their lines."""
        keys = [key for key in ("symbols", "exclude") if key in self.table]
        return [(rule, pattern, self._line(key)) for key in keys for pattern in getattr(rule, key)]

    @staticmethod
    def _intervals(value: object) -> tuple[str, ...]:
        texts = value if isinstance(value, list) else [value]
        for text in texts:
            if not isinstance(text, str) or not (text == INTRADAY or _INTERVAL.fullmatch(text)):
                hint = 'Write "1m", "1d", ["1m", "1d"], or "intraday".'
                raise UsageError(f"is {text!r}, not an interval.", hint)
            if text != INTRADAY:
                Parameter.duration("1m").read(text)
        if not texts or (INTRADAY in texts and len(texts) > 1):
            raise UsageError("is no list of intervals.", 'Write "intraday" alone, or ["1m", "1d"].')
        return tuple(texts)

    def _repeat(self) -> Any:
        default = "once_per_bar" if self.table.get("when") == "tick" else "once_per_bar_close"
        allowed = ("once", "once_per_bar", "once_per_bar_close", "every")
        return self._read("repeat", Parameter.choice(default, allowed).read, default)

    def _cooldown(self) -> int:
        default = 0 if self.table.get("repeat") == "every" else COOLDOWN_NS
        return cast(int, self._read("cooldown", _cooldown, default))

    def _read(self, key: str, read: Callable[[object], Any], default: Any) -> Any:
        if key not in self.table:
            return default
        try:
            return read(self.table[key])
        except UsageError as error:
            # a sentence of its own, or how one about the key goes on
            whole = error.message[0].isupper()
            told = f": {error.message[0].lower()}{error.message[1:]}" if whole else f" {error.message}"
            self._wrong(key, f"{key}{told}", error.hint)
            return default

    def _line(self, key: str) -> int:
        return self._lines.of("rule", self.number, key)

    def _wrong(self, key: str, message: str, hint: str = "") -> None:
        self._problems.append(RuleProblem(self._line(key), self.id, message, hint))


def _cooldown(value: object) -> int:
    if value == 0 and not isinstance(value, bool):
        return 0
    return nanoseconds(cast(str, Parameter.duration("15m").read(value)))


def _expiry(value: object) -> int:
    if isinstance(value, datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
    elif isinstance(value, date):
        moment = datetime.combine(value, time(), UTC)
    else:
        raise UsageError(f"is {value!r}, not a date.", "Write 2027-01-01, without quotes.")
    return int(moment.timestamp()) * 1_000_000_000


def _template(value: object) -> str:
    text = cast(str, Parameter.of("text").read(value))
    try:
        places = [place for _, place, _, _ in Formatter().parse(text) if place is not None]
    except ValueError as error:
        raise UsageError(f"can't be read: {error}.", "Write {{ and }} for braces.") from error
    for place in places:
        if place not in PLACES:
            raise UsageError(f"has no place {{{place}}}.", did_you_mean(place, PLACES))
    return text
