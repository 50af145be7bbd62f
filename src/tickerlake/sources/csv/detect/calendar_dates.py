"""Whether the dates beside times of day are those of the calendar, or trading days with a night session."""

from datetime import UTC, datetime

from tickerlake.errors import DataError
from tickerlake.model.duration import SECOND_NS
from tickerlake.sources.csv.detect.columns.layout import (
    ROLE_RANKS,
    ROLE_WORDS,
    Layout,
    columns_option,
    normalize_name,
)
from tickerlake.sources.csv.detect.columns.trading_days import is_trading_day_name
from tickerlake.sources.csv.detect.options import Options
from tickerlake.sources.csv.detect.scan import DateEvidence, FileScan
from tickerlake.sources.csv.detect.times.trading_days import StepBack


def check_calendar_dates(scan: FileScan, evidence: DateEvidence, options: Options, name: str) -> None:
    """Raise an error if dates may be trading days, of which a night session took place on an earlier date.

    Columns that the user names are not doubted, unless it is as trading days.
    """
    layout, order = scan.head.dialect.layout, evidence.order
    time = layout.roles.get("time")
    column = layout.names[time].strip() if time is not None else ""
    if options.columns is not None and not is_trading_day_name(column):
        return
    dates = f"the dates in the column {column}" if column else "the dates"
    what = f"{dates} may be trading days, whose night sessions took place on an earlier date."
    nights = evidence.nights
    if not (order.rising or order.falling) and (step := order.steps_back.find()):
        raise DataError(
            f"{name}: {_describe(step)}, and the rows are in order otherwise: {what}", _hint(layout)
        )
    if nights is None:
        return
    if total := nights.falling_total():
        total = layout.names[int(total.removeprefix("c"))].strip()
        raise DataError(
            f"{name}: within a date, the total in the column {total} falls while times go on: {what}",
            _hint(layout),
        )
    if nights.may_be_trading_days:
        raise DataError(f"{name} has rows at night, and {what}", _hint(layout))


def _describe(step: StepBack) -> str:
    before, after = (datetime.fromtimestamp(ns // SECOND_NS, UTC) for ns in (step.before_ns, step.after_ns))
    whose = f" of {step.symbol}" if step.symbol else ""
    way = "back" if after < before else "forward"
    return f"on {before:%Y-%m-%d}, the times{whose} step {way} from {before:%H:%M:%S} to {after:%H:%M:%S}"


def _hint(layout: Layout) -> str:
    calendar = "Add a column with the date of each row on the calendar (ActionDay)."
    if layout.panels:
        return calendar
    words = {column: _word(layout, role) for role, column in layout.roles.items()}
    return f"{calendar} If these dates are those of the calendar: --columns {columns_option(words)}"


def _word(layout: Layout, role: str) -> str:
    word = ROLE_WORDS.get(role, role)
    is_known = normalize_name(word) in ROLE_RANKS.get(role, ()) or role in {"time", "year", "month", "day"}
    return word if is_known else layout.names[layout.roles[role]].strip()
