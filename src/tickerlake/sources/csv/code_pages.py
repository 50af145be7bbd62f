"""The code page of a text that is not UTF-8: which of them makes words of its bytes. Pure."""

import codecs
import re
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final

CODE_PAGES: Final = (
    "cp1252",
    "cp1250",
    "cp1251",
    "cp949",
    "cp932",
    "gb18030",
    "cp950",
    "cp1254",
    "koi8_r",
    "cp866",
    "cp1253",
)
"""Encodings to try if a file is not UTF-8, the likelier ones first."""

_SAMPLE_BYTES: Final = 1 << 16
_MAX_SHOWN: Final = 3
_MAX_LINES: Final = 1000
_WORD: Final = re.compile(r"[^\W\d_]+")
_CYRILLIC_WORD: Final = re.compile("[А-ЯЁІЇЄҐЎ]?[а-яёіїєґў]+|[А-ЯЁІЇЄҐЎ]+")
_GREEK_WORD: Final = re.compile("[Α-ΫΆΈ-Ώ]?[ά-ώΐ]+|[Α-ΫΆΈ-Ώ]+")
_COMMON_CYRILLIC: Final = frozenset("оеаинтсрвлкмдп")
_USUAL_COMMON_SHARE: Final = 0.6
_SIGN: Final = re.compile(r"[’‘“”„™®°–—…·]|(?<![^\W\d_])[€£¥«»№©（）／－＋：、。「」【】〜￥％](?![^\W\d_])")
"""Signs between words; letters do not touch those of money in `Spó³ka £ódŸ`."""

_ALPHABETS: Final[dict[str, tuple[frozenset[str], ...]]] = {
    page: tuple(map(frozenset, letters.split()))
    for page, letters in {
        "cp1252": "äöüß àâæçéèêëîïôœùûüÿ áéíñóúüïç ãâáàçéêíõóôúü àèéìíòóù æøåéäö åäöéü äõöüšž",
        "cp1250": "ąćęłńóśźż áčďéěíňóřšťúůýž áäčďéíĺľňóôŕšťúýž áéíóöőúüű ăâîşţ čćđšž äöüß éëçč",
        "cp1254": "çğıöşüâîûi̇ äöüß éàèç",
    }.items()
}
"""The letters with accents of the languages of a code page."""

_ICELANDIC: Final = frozenset("áéíóúýþðæö")
_USUAL_LEADS: Final[dict[str, tuple[range, ...]]] = {
    "cp949": (range(0xB0, 0xC9),),
    "cp932": (range(0x82, 0x84), range(0x88, 0x98)),
    "gb18030": (range(0xB0, 0xD8),),
    "cp950": (range(0xA4, 0xC7),),
}
"""The first bytes of the characters of everyday use: the standards have them before the rare ones."""

_RARE: Final = 0.2
_UNCLEAR: Final = 0.5
_GREEK_SHARE: Final = 0.75
"""Less than that of Cyrillic words with usual letters."""

_MIN_SHARE: Final = 0.05


def detect_code_page(data: bytes, count_names: Callable[[str], float]) -> str:
    """Return the encoding in which a text names most columns, or else is most like words.

    Parameters
    ----------
    data
        The beginning of a file that is not UTF-8.
    count_names
        Returns how many columns the lines of a decoded text name.
    """
    best, best_score = CODE_PAGES[0], -1.0
    for encoding in CODE_PAGES:
        try:
            # a character of two bytes may be truncated at the end
            text = codecs.getincrementaldecoder(encoding)("strict").decode(data[:_SAMPLE_BYTES])
        except UnicodeDecodeError:
            continue
        score = (1 + count_names(text)) * (_MIN_SHARE + share_of_words(text, encoding))
        if score > best_score:
            best, best_score = encoding, score
    return best


def assumed_encoding_warning(name: str, encoding: str, symbols: Iterable[str]) -> str:
    """Return what is said of symbols whose letters depend on a code page that the text only suggests.

    Parameters
    ----------
    name
        The file's name.
    encoding
        That of the file.
    symbols
        Those of the file; only letters beyond ASCII differ between code pages.
    """
    doubtful = [each for each in symbols if not each.isascii()]
    if encoding not in CODE_PAGES or not doubtful:
        return ""
    shown = ", ".join(doubtful[:_MAX_SHOWN])
    return (
        f"{name} is not UTF-8: its letters are read in the code page {encoding}, as in the symbols {shown}. "
        "If they are wrong, save the file as UTF-8."
    )


def non_ascii_lines(data: bytes) -> bytes:
    """Return the first lines that are not ASCII, which show the code page."""
    lines = (line for line in data.split(b"\n") if not line.isascii())
    return b"\n".join(islice(lines, _MAX_LINES))


def share_of_words(text: str, encoding: str) -> float:
    """Return the share of the characters beyond ASCII that belong to words as languages have them."""
    foreign = Counter(c for c in text if not c.isascii() and not c.isspace())
    if not foreign:
        return 1.0
    usual = float(len(_SIGN.findall(text)))
    words = Counter(word for word in _WORD.findall(text) if not word.isascii())
    usual += sum(count * _count_usual(word, encoding) for word, count in words.items())
    return usual / foreign.total()


def _count_usual(word: str, encoding: str) -> float:
    """Return how many letters of a word beyond ASCII are usual."""
    foreign = [c for c in word if not c.isascii()]
    if encoding in _USUAL_LEADS and any(ord(c) >= 0x1100 for c in foreign):
        return sum(_is_everyday(c, encoding) or _RARE for c in foreign)
    if len(word) == 1:
        return _UNCLEAR
    cyrillic = sum("\u0400" <= c <= "\u04ff" for c in foreign)
    if cyrillic:
        if cyrillic < len(word) or not _CYRILLIC_WORD.fullmatch(word):
            return 0.0
        common = sum(c in _COMMON_CYRILLIC for c in word.lower()) / len(word)
        return len(word) * (_UNCLEAR + (1 - _UNCLEAR) * min(1.0, common / _USUAL_COMMON_SHARE))
    if any("\u0370" <= c <= "\u03ff" for c in foreign):
        return _GREEK_SHARE * len(word) if _GREEK_WORD.fullmatch(word) else 0.0
    return len(foreign) * _fit_alphabet(word.lower(), encoding)


def _fit_alphabet(word: str, encoding: str) -> float:
    """Return how likely the accented letters of a word are those of one language: not so in `Ñáåð`."""
    letters = {c for c in word if not c.isascii()}
    if sum(not c.isascii() for c in word) == len(word) > 2:
        return 0.0
    if any(letters <= alphabet for alphabet in _ALPHABETS.get(encoding, ())):
        return 1.0 if len(word) > 2 else _UNCLEAR + _RARE
    return _UNCLEAR if encoding == "cp1252" and letters <= _ICELANDIC else _RARE


def _is_everyday(character: str, encoding: str) -> bool:
    code = character.encode(encoding, "replace")
    return len(code) == 2 and any(code[0] in leads for leads in _USUAL_LEADS[encoding])
