"""The sale conditions of trades → what each trade may set. Pure.

Who wrote the codes is not known, so the codes of each trade decide. A hexadecimal number of eight digits is a
mask of Algoseek. Numbers of two digits, and those beside them, are Massive's. Single characters are those of
the tapes, which Alpaca writes as well, also joined in the order of their four places (``@FTI``) and with the
name of a field of Refinitiv (``@F I[GV4_TEXT]``). Anything longer is a name. Unknown codes forbid nothing.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec
import polars as pl

from tickerlake.analytics.condition_codes import (
    CONDITIONS,
    IS_AUCTION,
    IS_EXTENDED,
    NEUTRAL_NUMBERS,
    OTHER_NAMES,
    PLACES,
    SETS_ALL,
    SIP_DIGITS,
    US_MICS,
    UTP_MICS,
    Condition,
)
from tickerlake.model.instrument import UNKNOWN_MIC

_FLAGS: Final = IS_AUCTION | IS_EXTENDED
_MIC_LENGTH: Final = 4
_CACHED_RULES: Final = 10_000
"""Real feeds have a few hundred combinations of codes."""

_MASK: Final = re.compile("[0-9A-Fa-f]{8}")
_NUMBER: Final = re.compile("[0-9]{1,2}")
_TAPE_FIELD: Final = re.compile(r"(.*)\[(?:GV\d_TEXT|LSTSALCOND|CTS_QUAL)\]")
_OTHER_FIELD: Final = re.compile(r".*\[[A-Z][A-Z0-9_]*\]")
_REFINITIV: Final = {"ODD[IRGCOND]": "odd lot trade", "ODT[IRGCOND]": "odd lot trade"}


def _joined_letters() -> "re.Pattern[str]":
    """Return the pattern of letters without spaces: after an ``@``, or else of places side by side."""
    places = [f"[{re.escape(letters)}]" for letters in PLACES]
    runs = ["".join(places[start:end]) for start in range(4) for end in range(start + 2, 5)]
    return re.compile("|".join(["@" + "".join(f"{place}?" for place in places[1:]), *runs]))


_JOINED: Final = _joined_letters()
_BY_NAME: Final = {each.name: each for each in CONDITIONS} | {
    other: each for other, name in OTHER_NAMES.items() for each in CONDITIONS if each.name == name
}
_BY_NUMBER: Final = {each.massive: each for each in CONDITIONS if each.massive} | dict.fromkeys(
    NEUTRAL_NUMBERS, _BY_NAME["regular sale"]
)
_BY_BIT: Final = {each.algoseek_bit: each for each in CONDITIONS if each.algoseek_bit is not None}
_CTA: Final = {each.cta: each for each in CONDITIONS if each.cta}
_UTP: Final = {each.utp: each for each in CONDITIONS if each.utp}


class _Rule(NamedTuple):
    """What a trade with a list of codes sets, the condition that forbids most, and the unknown codes."""

    sets: int = SETS_ALL
    condition: str = ""
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Eligibility:
    """What trades may set.

    Parameters
    ----------
    sets
        Flags of `condition_codes`, int64 of the shape (n,); None if all trades set everything.
    left_out
        How many trades do not set everything, by the name of the condition that forbids most.
    unknown
        How many trades have an unknown code, by code.
    """

    sets: pl.Series | None = None
    left_out: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)


def eligibility(conditions: pl.Series, instrument_ids: pl.Series) -> Eligibility:
    """Return what trades may set by their sale conditions.

    Trades of markets that do not report to the US tapes set everything.

    Parameters
    ----------
    conditions
        Their codes as JSON, or one as it is; null for none, of the shape (n,).
    instrument_ids
        The instruments, of the shape (n,).
    """
    texts = conditions.fill_null("[]")
    unique = texts.unique()
    by_tape = [[_rule(text, is_utp=is_utp) for text in unique] for is_utp in (False, True)]
    if all(rule == _Rule() for rules in by_tape for rule in rules):
        return Eligibility()
    # the rules of CTA, of UTP, and of all other markets
    rules = [*by_tape[0], *by_tape[1], _Rule()]
    mic = instrument_ids.str.tail(_MIC_LENGTH)
    position = texts.replace_strict(unique, pl.int_range(len(unique), eager=True), return_dtype=pl.Int64)
    number = (
        pl.DataFrame({"position": position, "mic": mic})
        .select(
            pl.when(pl.col("mic").is_in(list(UTP_MICS)))
            .then(pl.col("position") + len(unique))
            .when(pl.col("mic").is_in([*US_MICS, UNKNOWN_MIC]))
            .then("position")
            .otherwise(len(rules) - 1)
        )
        .to_series()
    )
    result = Eligibility(pl.Series("sets", [rule.sets for rule in rules], pl.Int64).gather(number))
    for at, count in number.value_counts().iter_rows():
        rule = rules[at]
        if rule.sets & SETS_ALL != SETS_ALL:
            result.left_out[rule.condition] += count
        for code in rule.unknown:
            result.unknown[code] += count
    return result


def trade_sets(conditions: str, mic: str) -> int:
    """Return what one trade may set: the flags of `eligibility`.

    Parameters
    ----------
    conditions
        Its codes as JSON, or one as it is.
    mic
        The market of its instrument, ISO 10383.
    """
    if mic != UNKNOWN_MIC and mic not in US_MICS:
        return SETS_ALL
    return _rule(conditions, is_utp=mic in UTP_MICS).sets


@lru_cache(_CACHED_RULES)
def _rule(text: str, *, is_utp: bool) -> _Rule:
    """Return the rule of codes."""
    codes = [code for each in _listed(text) if (code := each.strip())]
    is_massive = all(map(_NUMBER.fullmatch, codes)) and any(
        len(code) == 2 or code not in SIP_DIGITS for code in codes
    )
    found: list[Condition] = []
    unknown = []
    for code in codes:
        conditions = [_BY_NUMBER.get(code)] if is_massive else _read(code, is_utp=is_utp)
        found += [each for each in conditions if each]
        if None in conditions:
            unknown.append(code)
    sets, flags = SETS_ALL, 0
    for each in found:
        sets &= each.sets
        flags |= each.sets & _FLAGS
    first = min(found, key=lambda each: (each.sets & SETS_ALL).bit_count(), default=None)
    return _Rule(
        sets | flags, first.name if first and sets != SETS_ALL else "", tuple(dict.fromkeys(unknown))
    )


def _listed(text: str) -> list[str]:
    """Return the codes in JSON, or the text itself if it is not JSON."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return [text]
    values = value if isinstance(value, list) else [value]
    return [str(each) for each in values if isinstance(each, str | int) and not isinstance(each, bool)]


def _read(code: str, *, is_utp: bool) -> Iterable[Condition | None]:
    """Return the conditions of a code that is not a number of Massive, None for an unknown one."""
    pieces = code.split() if len(code) <= len(PLACES) else []
    if pieces and all(len(piece) == 1 or _JOINED.fullmatch(piece) for piece in pieces):
        return [_by_letter(letter, is_utp=is_utp) for letter in "".join(pieces)]
    if _MASK.fullmatch(code):
        mask = int(code, 16)
        return [each for bit, each in _BY_BIT.items() if mask >> bit & 1]
    if match := _TAPE_FIELD.fullmatch(code):
        return [_by_letter(letter, is_utp=is_utp) for letter in match[1] if letter != " "]
    if _OTHER_FIELD.fullmatch(code):
        return [_BY_NAME[_REFINITIV[code]]] if code in _REFINITIV else []
    words = re.sub("[^a-z0-9]+", " ", code.lower()).strip().removeprefix("us ")
    return [_BY_NAME.get(words)]


def _by_letter(letter: str, *, is_utp: bool) -> Condition | None:
    first, second = (_UTP, _CTA) if is_utp else (_CTA, _UTP)
    return first.get(letter) or second.get(letter)
