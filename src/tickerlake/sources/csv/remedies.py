"""Try the remedy of an error on the first rows of its file before the user reads it.

A hint may suggest ``--columns date,,close``. If these columns do not make records, or are doubtful, the hint
names the file's columns instead, and leaves the choice to the user.
"""

import io
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.resources.abc import Traversable
from typing import Final, Protocol

from tickerlake.errors import DataError, TickerlakeError, UsageError
from tickerlake.model.reject import RejectReason
from tickerlake.sources.csv.batch import CsvBatch
from tickerlake.sources.csv.chunks import detect_text_file
from tickerlake.sources.csv.detect.lines.dialect import MAX_COLUMNS, count_names
from tickerlake.sources.csv.detect.lines.own_columns import TO_BE_NAMED, find_own_columns
from tickerlake.sources.csv.detect.lines.split_lines import HEAD_LINES
from tickerlake.sources.csv.detect.options import Options

_NEEDS: Final = (
    "Bars need a date, and open, high, low and close or the close alone; trades a time, a price and a size; "
    "quotes a time, bid and ask."
)
_SUGGESTION: Final = re.compile(
    r"--columns ([\"'])?((?(1).*?(?=\1)|\S*[^\s.,;)]))(?(1)\1)(?: (--allow-negative-prices))?"
)
_SENTENCES: Final = re.compile(r"(?<=[.)]) (?=[A-Z][a-z])")
_QUESTION: Final = re.compile(r"--(?!columns|strict)[a-z-]+ \S")
_EMPTY: Final = frozenset({RejectReason.PRICE_MISSING, RejectReason.SENTINEL_VALUE})
_MAX_REJECTED_SHARE: Final = 0.5
_MAX_LINE: Final = 64 * MAX_COLUMNS


class Opened(Protocol):
    """An opened file."""

    def batches(self) -> Iterator[CsvBatch]:
        """Yield its rows."""


def with_tried_remedy(
    error: DataError | UsageError,
    file: Traversable,
    options: Options,
    open_again: Callable[[Traversable, Options], Opened],
) -> DataError | UsageError:
    """Return an error whose hint suggests only columns with which the first rows are read.

    Parameters
    ----------
    error
        Its hint may suggest ``--columns``.
    file
        The file.
    options
        What the user specifies about it.
    open_again
        Opens a file with other options.
    """
    if "--columns" not in error.hint:
        return error
    try:
        text_file, data = detect_text_file(file, count_names)
    except TickerlakeError:
        return error
    head = data.split(b"\n", HEAD_LINES)[:HEAD_LINES]
    lines = [line.decode("utf-8", "replace") if len(line) <= _MAX_LINE else "" for line in head]
    columns = find_own_columns(text_file.file_name, lines, options.delimiter, options.decimal)
    kept: list[str] = []
    questions: list[str] = []
    is_general = False
    for sentence in _SENTENCES.split(error.hint):
        answers = []
        for _, words, negative in _SUGGESTION.findall(sentence):
            if words.endswith(f",{TO_BE_NAMED}"):
                continue
            tried = replace(
                options,
                columns=tuple(words.split(",")),
                negative_prices=bool(negative) or options.negative_prices,
                strict=False,
            )
            may_be = columns is not None and columns.may_be(
                tried.columns or (), sentence, options.columns or ()
            )
            answers.append(_try(_as_file(file.name, head), tried, open_again) if may_be else None)
        if None in answers:
            is_general = True
            continue
        kept.append(sentence)
        questions += [each for each in answers if each]
    if is_general and columns is not None:
        kept += (
            [columns.describe()] if any(" need" in each for each in kept) else [_NEEDS, columns.describe()]
        )
    *above, last = kept or [""]
    hint = " ".join([*(each if each.endswith((".", ")")) else f"{each}." for each in above), last])
    if questions:
        hint += f" With it, specify {' and '.join(dict.fromkeys(questions))}."
    return type(error)(error.message, hint)


def _try(
    head: Traversable,
    options: Options,
    open_again: Callable[[Traversable, Options], Opened],
) -> str | None:
    """Return what else must be specified to read the first rows, None if they are not read."""
    records = rejects = 0
    try:
        for batch in open_again(head, options).batches():
            records += batch.records.height
            rejects += sum(each.reason not in _EMPTY for each in batch.rejects)
    except UsageError:
        return None
    except DataError as error:
        asks = _QUESTION.search(error.hint) and "--columns" not in error.hint
        return error.hint[error.hint.index("--") :].rstrip(".") if asks else None
    is_read = records and rejects <= _MAX_REJECTED_SHARE * (records + rejects)
    return "" if is_read else None


def _as_file(name: str, lines: list[bytes]) -> Traversable:
    """Return a file of lines that is not on disk."""
    archive = zipfile.ZipFile(io.BytesIO(), "w")
    name = name.encode("utf-8", "backslashreplace").decode()
    archive.writestr(name, b"\n".join(lines) + b"\n")
    return zipfile.Path(archive, name)
