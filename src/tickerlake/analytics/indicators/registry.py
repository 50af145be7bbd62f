"""Indicators by their text: ``RSI``, ``RSI(14)``, ``RSI(timeperiod=14)``, ``MACD(12,26,9).signal``.

Other packages add indicators with an entry point of the group ``tickerlake.indicators``, programs with
``register``.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib import metadata
from typing import Final

from tickerlake.analytics.indicators.averages import BBANDS, EMA, MACD, SMA
from tickerlake.analytics.indicators.indicator import Indicator
from tickerlake.analytics.indicators.momentum import ROC, RSI, STOCH
from tickerlake.analytics.indicators.ranges import ADX, ATR, REALVOL
from tickerlake.analytics.indicators.volumes import OBV, RELVOL, RVWAP, VWAP
from tickerlake.errors import UsageError, did_you_mean

ENTRY_POINT_GROUP: Final = "tickerlake.indicators"
"""The entry-point group for indicators of other packages."""

MAX_INT_PARAMETER: Final = 10_000
"""Maximum of integer parameters: a window of this length takes 80 kB per instrument and interval."""

_BUILT_IN: Final = (ADX, ATR, BBANDS, EMA, MACD, OBV, REALVOL, RELVOL, ROC, RSI, RVWAP, SMA, STOCH, VWAP)
_indicators: dict[str, type[Indicator]] = {cls.__name__: cls for cls in _BUILT_IN}
_SPEC_PATTERN: Final = re.compile(r"\s*(\w+)\s*(?:\((.*)\)\s*)?(?:\.\s*(\w+)\s*)?", re.ASCII | re.DOTALL)
_NUMBER_PATTERN: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_NAME_PATTERN: Final = re.compile(r"[A-Z]\w*", re.ASCII)
_SYNTAX_HINT: Final = "Write it as RSI, RSI(14), RSI(timeperiod=14) or MACD(12,26,9).signal."


@dataclass(frozen=True, slots=True)
class IndicatorSpec:
    """An indicator with its parameters and a selected output.

    Parameters
    ----------
    name
        In upper case.
    parameters
        All parameters, in the indicator's order.
    output
        Empty for all outputs, and for an indicator with a single output.
    """

    name: str
    parameters: tuple[float, ...]
    output: str = ""

    @property
    def indicator_text(self) -> str:
        """The canonical text without the output: the same for all outputs of one indicator."""
        return (
            f"{self.name}({','.join(map(_format_number, self.parameters))})" if self.parameters else self.name
        )

    @property
    def text(self) -> str:
        """The canonical text: all parameters, integers without a decimal point."""
        return f"{self.indicator_text}.{self.output}" if self.output else self.indicator_text


def parse(text: str) -> IndicatorSpec:
    """Parse the text of an indicator.

    Parameters
    ----------
    text
        Case-insensitive name; positional or named parameters, with defaults for missing ones; output.

    Raises
    ------
    UsageError
        If there is no such indicator, parameter or output, or a parameter has an invalid value.
    """
    match = _SPEC_PATTERN.fullmatch(text)
    if not match:
        raise UsageError(f"{text!r} is not an indicator.", _SYNTAX_HINT)
    name, arguments, output = match[1].upper(), match[2] or "", (match[3] or "").lower()
    cls = _resolve(name)
    values = _parse_arguments(name, cls, arguments)
    if output and output not in cls.outputs:
        raise _unknown_name(f"{name} has no output {output!r}.", output, filter(None, cls.outputs))
    return IndicatorSpec(name, values, output)


def make(spec: IndicatorSpec) -> Indicator:
    """Return a new indicator with a specification's parameters; it computes all outputs."""
    cls = _resolve(spec.name)
    return cls(**dict(zip(cls.parameters, spec.parameters, strict=True)))


def outputs_of(spec: IndicatorSpec) -> tuple[IndicatorSpec, ...]:
    """Return one specification per output: of the selected output, or of all if none is selected."""
    if spec.output:
        return (spec,)
    return tuple(replace(spec, output=output) for output in _resolve(spec.name).outputs)


def register(name: str, cls: type[Indicator]) -> None:
    """Register an indicator under a name, for this process.

    Raises
    ------
    UsageError
        If another indicator has the name, or it is not a letter followed by letters, digits and underscores.
    """
    name = name.upper()
    if not _NAME_PATTERN.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a valid name of an indicator.", "Use letters, digits and underscores."
        )
    if not (isinstance(cls, type) and issubclass(cls, Indicator)):
        raise UsageError(
            f"The indicator {name} is not a subclass of Indicator.", "Fix the package that provides it."
        )
    if _indicators.setdefault(name, cls) is not cls:
        raise UsageError(f"The indicator {name} already exists.", "Choose another name.")


def available() -> dict[str, type[Indicator]]:
    """Return all indicators by name, including those of other packages, in alphabetical order.

    An indicator of another package that cannot be loaded is omitted; parsing its name reports the error.
    """
    for name in _entry_points():
        try:
            _resolve(name)
        except UsageError:
            continue
    return dict(sorted(_indicators.items()))


def signature(name: str) -> str:
    """Return an indicator with its defaults and outputs, for help texts.

    For example ``MACD(fastperiod=12, slowperiod=26, signalperiod=9): macd, signal, hist``.
    """
    outputs = ", ".join(filter(None, _resolve(name.upper()).outputs))
    return _format_call(name.upper()) + (f": {outputs}" if outputs else "")


def _resolve(name: str) -> type[Indicator]:
    if name in _indicators:
        return _indicators[name]
    points = _entry_points()
    if name not in points:
        raise _unknown_name(f"There is no indicator {name}.", name, {*_indicators, *points})
    point = points[name]
    try:
        cls = point.load()
    except Exception as error:
        source = f"the indicator {name} ({point.value})"
        raise UsageError(f"Loading {source} failed: {error!r}", "Reinstall it, or remove it.") from error
    register(name, cls)
    return _indicators[name]


def _entry_points() -> dict[str, metadata.EntryPoint]:
    """Return the entry points of other packages by name; built-in names take precedence."""
    return {point.name.upper(): point for point in metadata.entry_points(group=ENTRY_POINT_GROUP)}


def _parse_arguments(name: str, cls: type[Indicator], text: str) -> tuple[float, ...]:
    """Return all parameters of an indicator from the text between the parentheses."""
    arguments = text.split(",") if text.strip() else []
    names = list(cls.parameters)
    if len(arguments) > len(names):
        raise UsageError(
            f"Too many parameters for {name}: {len(arguments)}, at most {len(names)}.", _usage_hint(name)
        )
    values: dict[str, float] = {}
    by_name = False
    for position, argument in enumerate(arguments):
        key, equals, number = (part.strip() for part in argument.rpartition("="))
        if by_name and not equals:
            raise UsageError(
                f"{name}: {number!r} follows a named parameter, so it needs a name.", _usage_hint(name)
            )
        by_name = bool(equals)
        key = key.lower() if by_name else names[position]
        if key not in names:
            raise _unknown_name(f"{name} has no parameter {key!r}.", key, names)
        if key in values:
            raise UsageError(f"{name}: {key} is set twice.", _usage_hint(name))
        values[key] = _parse_number(f"{name}: {key}", number, cls.minimums.get(key))
    return tuple(values.get(key, float(default)) for key, default in cls.parameters.items())


def _parse_number(label: str, text: str, minimum: int | None) -> float:
    value = float(text) if _NUMBER_PATTERN.fullmatch(text) else math.nan
    if not math.isfinite(value):
        raise UsageError(f"{label} is {text!r}, which is not a number.", _SYNTAX_HINT)
    if minimum is not None and not (value.is_integer() and minimum <= value <= MAX_INT_PARAMETER):
        raise UsageError(
            f"{label} cannot be {text}.", f"Use a whole number from {minimum} to {MAX_INT_PARAMETER}."
        )
    return value


def _format_number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _format_call(name: str) -> str:
    parameters = ", ".join(
        f"{key}={_format_number(value)}" for key, value in _resolve(name).parameters.items()
    )
    return f"{name}({parameters})" if parameters else name


def _usage_hint(name: str) -> str:
    return f"Write it as {_format_call(name)}."


def _unknown_name(message: str, text: str, names: Iterable[str]) -> UsageError:
    candidates = sorted(names)
    return UsageError(message, did_you_mean(text, candidates, cutoff=0.5) if candidates else "Remove it.")
