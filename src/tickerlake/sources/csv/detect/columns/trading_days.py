"""Columns whose names say that dates are trading days, and those with totals of the day so far. Pure."""

from typing import Final

from tickerlake.sources.csv.detect.columns.layout import Layout, normalize_name, role_ranks

_TRADING_DAY_NAMES: Final = frozenset("tradingday tradeday 交易日 거래일 取引日 営業日".split())
"""Names that say that dates are trading days."""

_TRADE_DATE_NAMES: Final = frozenset(
    "tradedate tradingdate traddt tradedt datatrade sessiondate session 交易日期 成交日期 거래일자".split()
)
"""Names of trading days as well as of calendar dates."""

_TOTAL_NAMES: Final = frozenset(
    "turnover amount totalvalue totalturnover totalamount 成交额 成交金额 成交金額 总成交额 总成交量".split()
)


def is_trading_day_name(name: str) -> bool:
    """Return whether a column's name says that its dates are trading days."""
    return normalize_name(name) in _TRADING_DAY_NAMES


def total_columns(layout: Layout) -> tuple[int, ...]:
    """Return the columns that may be totals of the day so far, if dates may be trading days by their name."""
    if not {"time", "clock"} <= layout.roles.keys():
        return ()
    name = normalize_name(layout.names[layout.roles["time"]])
    if name not in _TRADING_DAY_NAMES | _TRADE_DATE_NAMES:
        return ()
    return tuple(
        i
        for i, each in enumerate(layout.names)
        if "volume" in role_ranks(each) or normalize_name(each) in _TOTAL_NAMES
    )
