"""Comparisons in words: ``RSI(14) < 30``, ``close crosses above SMA(200)``, ``low <= BBANDS.lower``."""

import math
import re
from typing import Final, NamedTuple

import numpy as np

from tickerlake.alerts.detectors.detector import NAN, IndicatorValues
from tickerlake.analytics.bars import Bars, Flags, Floats
from tickerlake.analytics.state_table import State
from tickerlake.errors import UsageError, did_you_mean
from tickerlake.model.alert import Unit

PRICES: Final = ("open", "high", "low", "close")
DAY_RANGE: Final = "day_range"
FIELDS: Final = (*PRICES, "volume", DAY_RANGE)
"""What can be compared beside numbers and indicators; `DAY_RANGE` is where the close lies in the session's
range so far, 0 to 100."""

_CROSSINGS: Final = {"crosses": 0.0, "crosses above": 1.0, "crosses below": -1.0}
_PATTERN: Final = re.compile(
    r"\s*(.+?)\s*(<=|>=|<|>|\bcrosses\s+above\b|\bcrosses\s+below\b|\bcrosses\b)\s*(.+?)\s*", re.IGNORECASE
)
_FACTOR: Final = re.compile(r"(\d+(?:\.\d+)?)\s*\*\s*(.+)")
_NUMBER: Final = re.compile(r"[+-]?\d+(?:\.\d+)?")
_HINT: Final = 'Write "RSI(14) < 30", "close crosses above SMA(200)" or "volume > 100000".'


class Operand(NamedTuple):
    """One side of a comparison: ``factor`` × what ``name`` says, or the factor alone if there is no name."""

    name: str
    factor: float = 1.0

    @property
    def text(self) -> str:
        """The operand as it is shown."""
        if not self.name:
            return f"{self.factor:g}"
        return self.name if self.factor == 1.0 else f"{self.factor:g} * {self.name}"

    @property
    def indicator(self) -> str:
        """The canonical text of the indicator; empty if it is none."""
        return self.name if self.name and self.name not in FIELDS else ""

    @property
    def unit(self) -> Unit:
        """The unit of its values."""
        if self.name in PRICES:
            return "price"
        return {"volume": "count", DAY_RANGE: "pct"}.get(self.name, "number")  # type: ignore[return-value]


class Comparison(NamedTuple):
    """A comparison of two operands."""

    left: Operand
    operator: str
    right: Operand

    @property
    def text(self) -> str:
        """The canonical text."""
        return f"{self.left.text} {self.operator} {self.right.text}"

    @property
    def is_crossing(self) -> bool:
        """True if it looks for a change between two bars."""
        return self.operator in _CROSSINGS

    @property
    def operands(self) -> tuple[Operand, Operand]:
        """Both sides."""
        return self.left, self.right

    def holds(self, left: Floats, right: Floats, side: Floats | None) -> tuple[Flags, Floats]:
        """Return where it holds, and the direction.

        Parameters
        ----------
        left, right
            The values of the operands, of the shape (k,).
        side
            For a crossing: the side of the bar before, -1 below and 1 above; it is updated.
        """
        if side is None:
            compare = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}
            direction = 1.0 if self.operator.startswith(">") else -1.0
            return compare[self.operator](left, right), np.full(len(left), direction)
        now, before = np.sign(left - right), side.copy()
        np.copyto(side, now, where=~np.isnan(now) & (now != 0))
        crossed, target = now * before < 0, _CROSSINGS[self.operator]
        return crossed & (now == target) if target else crossed, now


def parse_comparison(text: str) -> Comparison:
    """Parse a comparison.

    Raises
    ------
    UsageError
        If it is none; its message continues a sentence that begins with the parameter's name.
    """
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise UsageError(f'is "{text}", not a comparison.', _HINT)
    left, right = _parse_operand(match[1], text), _parse_operand(match[3], text)
    if not left.name:
        raise UsageError(f'is "{text}", which begins with a number.', _HINT)
    if left == right:
        raise UsageError(f'is "{text}", which compares {left.text} with itself.', _HINT)
    return Comparison(left, " ".join(match[2].lower().split()), right)


def operand_values(operand: Operand, state: State, bars: Bars, values: IndicatorValues) -> Floats:
    """Return an operand's values; the close stands for prices of which only the close is known."""
    if not operand.name:
        return np.full(len(bars), operand.factor)
    if operand.name == DAY_RANGE:
        # NaN where the session has no range yet
        result = 100.0 * (bars.close - state["day_low"]) / (state["day_high"] - state["day_low"])
        np.copyto(result, NAN, where=~np.isfinite(result))
    elif operand.name in ("open", "high", "low"):
        result = np.where(bars.has_range, getattr(bars, operand.name), bars.close)
    elif operand.name in FIELDS:
        result = getattr(bars, operand.name)
    else:
        result = values[operand.name]
    return operand.factor * result


def _parse_operand(text: str, comparison: str) -> Operand:
    from tickerlake.analytics.indicators.registry import available, outputs_of, parse

    factor = 1.0
    if _NUMBER.fullmatch(text):
        return Operand("", float(text))
    if match := _FACTOR.fullmatch(text):
        factor, text = float(match[1]), match[2]
    if text.lower() in FIELDS:
        return Operand(text.lower(), factor)
    try:
        outputs = outputs_of(parse(text))
    except UsageError as error:
        is_word = re.fullmatch(r"\w+", text)
        hint = did_you_mean(text, [*FIELDS, *available()]) if is_word else error.hint
        message = f'there is no "{text}"' if is_word else f"{error.message[0].lower()}{error.message[1:]}"
        raise UsageError(f'is "{comparison}": {message.rstrip(".")}.', hint) from error
    if len(outputs) > 1:
        texts = ", ".join(output.text for output in outputs)
        raise UsageError(f'is "{comparison}": {text} has {len(outputs)} outputs.', f"Use one: {texts}.")
    if not math.isfinite(factor) or factor == 0:
        raise UsageError(f'is "{comparison}", with a factor of {factor:g}.', _HINT)
    return Operand(str(outputs[0].text), factor)
