"""What shows that a table is of a kind in other_tables.toml, beyond words of its header. Pure.

Each function returns the evidence, as a message names it (``columns a, b: no column is a price``); empty if
there is none.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

from tickerlake.sources.csv.detect.columns.cells import MIN_SHARE, ColumnSample
from tickerlake.sources.csv.detect.columns.layout import TIME_ROLES, split_words
from tickerlake.sources.csv.detect.columns.order_books import find_book
from tickerlake.sources.csv.detect.columns.table import VOLUME_WORDS, Table
from tickerlake.sources.csv.detect.columns.vocabulary import classify_cell

_RELATIVE_CHANGE: Final = re.compile(
    r"(?i)ch(?:an)?ge?\.? *[(\[]?(?:%|pct|percent)|(?:%|pct|percent(?:age)?)[ _]*ch(?:an)?g"
)
_MIN_EVIDENCE: Final = 2
_MIN_HOLDING_COLUMNS: Final = 2
_POSITION_WORDS: Final = frozenset("holding holdings position positions".split())
_UNNAMED: Final = "no column has a symbol for each contract"
_SYMBOL_OF_OPTION: Final = re.compile(r"\d{6}|[CP]\d{3,}|\d{2,}[CP]\b|\d(?:CE|PE)\b", re.IGNORECASE)
_HASH: Final = re.compile(r"0x[0-9a-fA-F]{40,64}")
_SECONDS_PER_DAY: Final = 86_400
_MESSAGE_TYPES: Final = frozenset(range(1, 8))
_MESSAGE_FIELDS: Final = 6
_LEVEL_FIELDS: Final = 4


# ------------------------------------------------------------------------------------------------- accounts


def _find_statement(table: Table) -> str:
    """Find an account's amounts, fees and balances without prices, or its trades without times of day."""
    kinds = table.row_kinds
    balances, ledgers = table.named("balance"), [i for i in kinds if "not_executed" in kinds[i]]
    found = {*balances, *ledgers, *table.named("fee", "account")}
    if not table.facts & {"price", "close"} and not table.named("executed_price"):
        found.update(_changes(table))
        is_enough = len(found) + len(balances) + len(ledgers) >= _MIN_EVIDENCE
        return f"{table.columns(sorted(found))}: no column is a price" if is_enough else ""
    found.update(i for i, groups in kinds.items() if "executed" in groups <= {"executed", "not_executed"})
    found.update(table.named("order_id"))
    if not found or table.has_time_of_day or not table.is_dated:
        return ""
    return f"{table.columns(sorted(found))}: its dates have no time of day, and trades need one"


def _changes(table: Table) -> list[int]:
    """Return the columns of an account's changes, not of a price's (beside its high, volume or `Change%`)."""
    found = table.named("ledger")
    is_market = table.with_role("open", "high", "low") or any(
        VOLUME_WORDS & set(split_words(each)) or _RELATIVE_CHANGE.search(each) for each in table.names
    )
    return [i for i in found if not (is_market and "change" in split_words(table.names[i]))]


def _find_holdings(table: Table) -> str:
    sizes = table.with_role("size")  # `Position size (qty)` in a list of trades
    found = [i for i in table.named("holding") if i not in sizes]
    if table.are_executions:
        # the position after each execution
        found = [i for i in found if split_words(table.names[i])[0] not in _POSITION_WORDS]
    return table.columns(found) if len(found) >= _MIN_HOLDING_COLUMNS else ""


def _find_undated_holdings(table: Table) -> str:
    """Find a number of units for each symbol, and neither dates nor the prices of a day."""
    symbols = table.with_role("symbol")
    times = [i for i in table.with_role("time") if table.cells[i].non_missing]
    if not symbols or times or any(each.temporal_kind for each in table.cells):
        return ""
    if table.with_role("open", "high", "low") or (table.layout and TIME_ROLES & table.layout.roles.keys()):
        return ""
    held = [
        i
        for i, each in enumerate(table.names)
        if table.cells[i].is_numeric and classify_cell("quantities", each) == "held"
    ]
    return f"{table.columns([*symbols[:1], *held])}: no column has dates" if held else ""


# -------------------------------------------------------------------------------------------------- options


def _find_options(table: Table) -> str:
    """Find options without times, or without symbols of their own."""
    strikes = [i for i in table.named("strike") if table.cells[i].is_numeric]
    if not strikes:
        return ""
    rights = [i for i, each in enumerate(table.cells) if _are_rights(each)]
    terms = sorted({*strikes, *rights, *table.named("expiry", "right")})
    if len(terms) == 1:
        return ""
    lack = _unnamed_options(table, terms) if table.layout is None else _underlying(table, strikes[0], terms)
    return f"{table.columns(terms)}: {lack}" if lack else ""


def _are_rights(cells: ColumnSample) -> bool:
    groups = {classify_cell("rights", text, whole=True) for text in set(cells.non_missing)}
    return "word" in groups or groups == {"letter"}


def _unnamed_options(table: Table, terms: Sequence[int]) -> str:
    """Return what options lack that have no times, or of which no column tells the contracts apart."""
    others = [i for i in range(len(table.names)) if i not in terms]
    if not any(table.cells[i].temporal_kind or TIME_ROLES & table.ranks[i].keys() for i in others):
        return "no row has a time"
    contracts = set(zip(*(table.cells[i].strings for i in terms), strict=True))
    symbols = [set(table.cells[i].strings) for i in others if "symbol" in table.ranks[i]]
    is_named = len(contracts) < 2 or any(len(each) >= len(contracts) for each in symbols)
    return "" if is_named else _UNNAMED


def _underlying(table: Table, strike: int, terms: Sequence[int]) -> str:
    """Return which symbol options have instead of their own."""
    if table.layout is None or table.layout.panels:
        return ""
    rows = [k for k, value in enumerate(table.cells[strike].numbers) if value]
    if "symbol" not in table.layout.roles:
        contracts = {tuple(table.cells[i].strings[k] for i in terms) for k in rows}
        return _UNNAMED if len(contracts) > 1 else ""  # the file's name may be the symbol of one
    column = table.layout.roles["symbol"]
    symbols = [table.cells[column].strings[k] for k in rows]
    plain = next((text for text in symbols if text and not _SYMBOL_OF_OPTION.search(text)), "")
    return f"the column {table.names[column]} has their underlying, such as {plain}" if plain else ""


# ------------------------------------------------------------------------------------------ without a header


def _find_hashes(table: Table) -> str:
    hashes = [each for each in table.cells if each.share_where(_HASH.fullmatch) >= MIN_SHARE]
    return f"addresses and hashes, such as {hashes[0].non_missing[0]}" if hashes else ""


def _find_book_messages(table: Table) -> str:
    cells = table.cells
    if len(cells) < _MESSAGE_FIELDS or not all(each.is_numeric for each in cells[:_MESSAGE_FIELDS]):
        return ""
    seconds = [value for value in cells[0].numbers if value is not None]
    kinds, sides = ({*cells[i].numbers} - {None} for i in (1, 5))
    is_book = (
        all(0 <= value < _SECONDS_PER_DAY for value in seconds)
        and seconds == sorted(seconds)
        and kinds <= _MESSAGE_TYPES
        and sides <= {1, -1}
    )
    return "values: seconds after midnight, kind of message, order, size, price, side" if is_book else ""


def _find_book_levels(table: Table) -> str:
    cells = table.cells
    is_named = re.search(r"(?i)order_?book", table.file_name)
    if not is_named or len(cells) % _LEVEL_FIELDS or not all(each.is_numeric for each in cells):
        return ""
    return f"name and its numbers, {len(cells) // _LEVEL_FIELDS} levels on each side"


SHAPES: Final[dict[str, Callable[[Table], str]]] = {
    "book": find_book,
    "book levels": _find_book_levels,
    "book messages": _find_book_messages,
    "hashes": _find_hashes,
    "holdings": _find_holdings,
    "options": _find_options,
    "statement": _find_statement,
    "undated holdings": _find_undated_holdings,
}
"""The functions, as other_tables.toml calls them."""
