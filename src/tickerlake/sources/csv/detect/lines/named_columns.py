"""Columns that the user names, and why they are not those of bars, trades or quotes. Pure."""

import re
from collections.abc import Sequence
from typing import Final

from tickerlake.errors import UsageError
from tickerlake.model.instrument import is_symbol, normalize_symbol, symbol_problem
from tickerlake.model.schema import RANGE_PRICES
from tickerlake.sources.csv.detect.columns.cells import MIN_SHARE, ColumnSample
from tickerlake.sources.csv.detect.columns.layout import Layout, normalize_name, role_ranks

_TIME_ROLES: Final = frozenset({"time", "clock"})
_TIME_PARTS: Final = frozenset({"time", "clock", "year", "month", "day"})
_NUMBERS: Final = frozenset("open high low close volume price size bid ask".split())
_USUAL_NAMES: Final = (
    "Use the names date, time, open, high, low, close, volume, symbol, price, size, bid, ask."
)
_MAX_SHOWN: Final = 30


def check_named_times(file: str, names: Sequence[str], layout: Layout, cells: Sequence[ColumnSample]) -> None:
    """Raise an error if a column that the user calls date or time has none.

    Parameters
    ----------
    file
        The file's name.
    names
        As the user writes them, by position; empty for a column without a name.
    layout
        The roles by these names.
    cells
        The first cells of each column.

    Raises
    ------
    UsageError
        If dates were found elsewhere or nowhere.
    """
    for i, name in enumerate(names):
        if normalize_name(name) == "time" and cells[i].non_missing and not _may_be_time(cells[i]):
            raise _mismatch_error(file, names, i, "times", cells)
    used = {i for role, i in layout.roles.items() if role in _TIME_PARTS}
    named = [i for i, name in enumerate(names) if _TIME_ROLES & set(role_ranks(name))]
    if not named or used & set(named):
        return
    raise _mismatch_error(file, names, named[0], "dates", cells)


def _may_be_time(cells: ColumnSample) -> bool:
    """Return whether cells may be times or parts of them: these have no fraction, or count from 1970."""
    return bool(cells.temporal_kind) or cells.share_where(_is_decimal) < MIN_SHARE


def split_named_symbols(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split the names ``AAPL:close`` into symbols and roles, if a name is of this form.

    Raises
    ------
    UsageError
        If the text before the colon is not a symbol.
    """
    pairs = [
        re.fullmatch(r"(.+):\s*(open|high|low|close|volume|adj ?close)", name, re.IGNORECASE)
        for name in names
    ]
    symbols = [normalize_symbol(pair[1]) if pair else "" for pair in pairs]
    for symbol in filter(None, symbols):
        if not is_symbol(symbol):
            raise UsageError(
                f"--columns: {symbol!r} is not a symbol: {symbol_problem(symbol)}.", "Write it as AAPL:close."
            )
    return symbols, [pair[2] if pair else name for pair, name in zip(pairs, names, strict=True)]


def check_named_symbols(file: str, names: Sequence[str], cells: Sequence[ColumnSample]) -> None:
    """Raise an error if a column that the user calls symbol has decimal numbers.

    Raises
    ------
    UsageError
        Naming the column.
    """
    for i, name in enumerate(names):
        if normalize_name(name) == "symbol" and cells[i].share_where(_is_decimal) >= MIN_SHARE:
            raise _mismatch_error(file, names, i, "symbols", cells)


def _is_decimal(text: str) -> bool:
    return re.fullmatch(r"[-+]?\d{0,8}[.,]\d+", text) is not None


def check_named_numbers(file: str, names: Sequence[str], cells: Sequence[ColumnSample]) -> None:
    """Raise an error if a column that the user calls a price or a size has no numbers.

    Raises
    ------
    UsageError
        Naming the first such column, and where numbers are.
    """
    for i, name in enumerate(names):
        if normalize_name(name) in _NUMBERS and cells[i].non_missing and not cells[i].is_price_like:
            raise _mismatch_error(file, names, i, "numbers", cells)


def unusable_names_error(
    file: str, names: Sequence[str], layout: Layout, cells: Sequence[ColumnSample]
) -> UsageError:
    """Return the error for names, each right for its column, that do not make bars, trades or quotes."""
    given = set(map(normalize_name, names))
    has_date = bool(_TIME_PARTS & layout.roles.keys())
    missing = [] if has_date else ["date"]
    if given & {"bid", "ask"}:
        missing += [each for each in ("bid", "ask") if each not in given]
    elif given & set(RANGE_PRICES):
        missing += [each for each in (*RANGE_PRICES, "close") if each not in given]
    elif not given & {"close", "price"}:
        missing.append("close")
    if missing:
        closes = ["" if normalize_name(each) in RANGE_PRICES else each for each in names]
        return UsageError(
            f"--columns does not name {', '.join(missing)}, which {file} needs.",
            f"For the closes alone: --columns {_shown(closes)}"
            if has_date and "close" in given
            else _USUAL_NAMES,
        )
    if "price" in given:
        return UsageError(
            f"--columns names a price, and the times in {file} have no time of day: trades need one.",
            f"If it is the close of each row: --columns {_renamed(names, 'price', 'close')}",
        )
    if "close" in given and not given & {*RANGE_PRICES, "bid", "ask"}:
        # the volume beside a price may be the day's so far
        priced = ["" if normalize_name(each) == "volume" else each for each in _with_symbol(names, cells)]
        return UsageError(
            f"--columns names a close, and the rows of {file} are not a fixed time apart, as bars are.",
            "If they are trades (whose size is what each row traded, not a volume so far): "
            f"--columns {_renamed(priced, 'close', 'price')}",
        )
    return UsageError(
        f"--columns {_shown(names)}: these are not the columns of bars, trades or quotes in {file}.",
        _USUAL_NAMES,
    )


def _mismatch_error(
    file: str, names: Sequence[str], index: int, what: str, cells: Sequence[ColumnSample]
) -> UsageError:
    texts = cells[index].non_missing
    values = f"values such as {texts[0][:40]!r}" if texts else "nothing"
    fits = [str(i + 1) for i, each in enumerate(cells) if _may_hold(each, what)]
    where = ""
    if fits:
        where = f" Of {len(cells)} columns, {', '.join(fits[:_MAX_SHOWN])} may hold {what}."
    return UsageError(
        f"--columns calls column {index + 1} of {file} {names[index]}; it holds no {what}, but {values}.",
        f"Write the names in the order of the columns, and leave those without a meaning empty.{where}",
    )


def _may_hold(cells: ColumnSample, what: str) -> bool:
    if what == "numbers":
        return cells.is_price_like
    if what == "symbols":
        return cells.is_symbol_like and not cells.is_numeric and not cells.temporal_kind
    return cells.temporal_kind == "timestamp" or (what == "times" and cells.temporal_kind == "clock")


def _with_symbol(names: Sequence[str], cells: Sequence[ColumnSample]) -> list[str]:
    """Return names with that of the symbol, if it is clear which column has it."""
    texts = [
        i
        for i, each in enumerate(cells)
        if not names[i] and each.is_symbol_like and not each.is_numeric and not each.temporal_kind
    ]
    is_clear = len(texts) == 1 and "symbol" not in map(normalize_name, names)
    return ["symbol" if is_clear and i == texts[0] else name for i, name in enumerate(names)]


def _renamed(names: Sequence[str], old: str, new: str) -> str:
    return _shown([new if normalize_name(name) == old else name for name in names])


def _shown(names: Sequence[str]) -> str:
    last = max((i for i, name in enumerate(names) if name), default=0)
    return ",".join(names[: last + 1])
