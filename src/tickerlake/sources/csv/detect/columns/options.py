"""Rows of options beside the symbol of their underlying only: they are refused. Pure, on the first rows."""

import re
from collections.abc import Sequence
from typing import Final

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.columns.cells import ColumnSample
from tickerlake.sources.csv.detect.columns.layout import Layout, normalize_name, split_words

_STRIKES: Final = frozenset(
    map(
        normalize_name,
        """
        strike strikeprice strikeprc strkpric strikepr strikerate optionstrike exerciseprice exerciseprc
        basispreis ausübungspreis preciodeejercicio precioejercicio prixdexercice prezzoesercizio
        preçodeexercício preçoexercício strajk страйк ценастрайк 行权价 行權價 行使価格 権利行使価格 履約價
        履約價格 행사가 행사가격
        """.split(),
    )
)
_EXPIRY_WORDS: Final = frozenset(
    split_words(
        """
        exp expiry expiries expiration expirations expire maturity expdate expirydate verfall fälligkeit
        vencimiento vencimento échéance scadenza 到期日 限月 만기
        """
    )
)
_LETTERS: Final = frozenset({"C", "P"})
_RIGHTS: Final = frozenset(
    "CALL PUT CALLS PUTS CE PE 認購 認沽 看涨 看跌 買權 賣權 コール プット 콜 풋".split()
)
_SYMBOL_OF_OPTION: Final = re.compile(r"\d{6}|[CP]\d{3,}|\d{2,}[CP]\b|\d(?:CE|PE)\b", re.IGNORECASE)


def check_no_option_legs(name: str, layout: Layout, columns: Sequence[ColumnSample]) -> None:
    """Raise an error if rows are of options, and their symbol is that of the underlying.

    Parameters
    ----------
    name
        The file's name.
    layout
        Its roles.
    columns
        The first cells of each column.

    Raises
    ------
    DataError
        If a strike is given on some rows and the symbol is none of an option.
    """
    names = layout.names
    strikes = [
        i
        for i, each in enumerate(names)
        if normalize_name(each) in _STRIKES and columns[i].is_numeric and any(columns[i].numbers)
    ]
    if not strikes or layout.panels:
        return
    texts = [{text.upper() for text in each.non_missing} for each in columns]
    rights = [i for i, each in enumerate(texts) if each & _RIGHTS or (each and each <= _LETTERS)]
    expiries = [i for i, each in enumerate(names) if _EXPIRY_WORDS & set(split_words(each))]
    if not rights and not expiries:
        return
    strike = strikes[0]
    rows = [k for k, value in enumerate(columns[strike].numbers) if value]
    parts = [strike, *rights[:1], *expiries[:1]]
    shown = ", ".join(names[i].strip() or f"{i + 1}" for i in sorted(parts))
    if "symbol" not in layout.roles:
        options = {tuple(columns[i].strings[k] for i in parts) for k in rows}
        if len(options) < 2:
            return  # the file's name may be the option's
        underlying = "no column has their own symbol"
    else:
        symbols = columns[layout.roles["symbol"]].strings
        plain = [symbols[k] for k in rows if symbols[k] and not _SYMBOL_OF_OPTION.search(symbols[k])]
        if not plain:
            return
        underlying = (
            f"the column {names[layout.roles['symbol']]} has only their underlying, such as {plain[0]}"
        )
    raise DataError(
        f"{name}: its rows are of options, by its columns {shown}, and {underlying}: the prices of an "
        "option would be those of the underlying.",
        "Write the option's own symbol, such as AAPL240119C00150000, in a column called option symbol, "
        "or remove the rows of options.",
    )
