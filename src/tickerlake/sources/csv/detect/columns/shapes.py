"""What shows that a table is of a kind in other_tables.toml, beyond words of its header. Pure.

Each function returns the evidence, as a message names it (``columns a, b: no column is a price``); empty if
there is none.
"""

import re
from collections.abc import Callable
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
    """Find amounts, fees and balances, and no column of prices."""
    if table.named("executed_price"):
        return ""
    balances, ledgers = table.named("balance"), _ledgers(table)
    found = sorted({*balances, *ledgers, *table.named("fee", "account"), *_changes(table)})
    is_enough = len(found) + len(balances) + len(ledgers) >= _MIN_EVIDENCE
    return f"{table.columns(found)}: no column is a price" if is_enough else ""


def _find_dated_transactions(table: Table) -> str:
    """Find an account's trades by date."""
    if not table.facts & {"price", "close"} and not table.named("executed_price"):
        return ""
    sided = [
        i
        for i, groups in table.row_kinds.items()
        if "executed" in groups and groups <= {"executed", "not_executed"}
    ]
    accounts = table.named("fee", "account", "balance", "order_id")
    found = sorted({*_ledgers(table), *sided, *accounts})
    if not found or table.has_time_of_day or not table.is_dated:
        return ""
    return f"{table.columns(found)}: their dates have no time of day, and trades need one"


def _ledgers(table: Table) -> list[int]:
    return [i for i, groups in table.row_kinds.items() if "not_executed" in groups]


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


def _option_terms(table: Table) -> tuple[list[int], list[int]]:
    """Return the columns of strikes, and those of all terms of options if there are others."""
    strikes = [i for i in table.named("strike") if table.cells[i].is_numeric]
    rights = [i for i, each in enumerate(table.cells) if _are_rights(each)]
    terms = sorted({*strikes, *rights, *table.named("expiry", "right")})
    return (strikes, terms) if strikes and len(terms) > 1 else ([], [])


def _are_rights(cells: ColumnSample) -> bool:
    groups = {classify_cell("rights", text, whole=True) for text in set(cells.non_missing)}
    return "word" in groups or groups == {"letter"}


def _find_undated_options(table: Table) -> str:
    _, terms = _option_terms(table)
    others = [i for i in range(len(table.names)) if i not in terms]
    return f"{table.columns(terms)}: no row has a time" if terms and not table.times_among(others) else ""


def _find_unnamed_options(table: Table) -> str:
    """Find several contracts, and fewer symbols in each column of them."""
    _, terms = _option_terms(table)
    contracts = set(zip(*(table.cells[i].strings for i in terms), strict=True))
    symbols = [i for i in table.with_role("symbol") if i not in terms]
    if len(contracts) < 2 or any(len(set(table.cells[i].strings)) >= len(contracts) for i in symbols):
        return ""
    return f"{table.columns(terms)}: {_UNNAMED}"


def _find_options_of_underlying(table: Table) -> str:
    """Find contracts beside the symbol of their underlying."""
    strikes, terms = _option_terms(table)
    if not strikes or table.layout is None or table.layout.panels:
        return ""
    rows = [k for k, strike in enumerate(table.cells[strikes[0]].numbers) if strike]
    if "symbol" not in table.layout.roles:
        contracts = {tuple(table.cells[i].strings[k] for i in terms) for k in rows}
        # of one, the file's name may be its symbol
        return f"{table.columns(terms)}: {_UNNAMED}" if len(contracts) > 1 else ""
    column = table.layout.roles["symbol"]
    symbols = [table.cells[column].strings[k] for k in rows]
    plain = next((text for text in symbols if text and not _SYMBOL_OF_OPTION.search(text)), "")
    if not plain:
        return ""
    return f"{table.columns(terms)}: the column {table.names[column]} has their underlying, such as {plain}"


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
    "dated transactions": _find_dated_transactions,
    "hashes": _find_hashes,
    "holdings": _find_holdings,
    "options of their underlying": _find_options_of_underlying,
    "statement": _find_statement,
    "undated holdings": _find_undated_holdings,
    "undated options": _find_undated_options,
    "unnamed options": _find_unnamed_options,
}
"""The functions, as other_tables.toml calls them."""
