"""Options that override what is detected in files, for `inspect`, `convert`, `produce` and `rules test`."""

from collections.abc import Callable
from functools import wraps
from inspect import Signature, signature
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tickerlake.cli.help import INPUT

if TYPE_CHECKING:
    from tickerlake.sources.csv.detect.options import Options


def with_file_options(*, strict: bool = True) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Replace the parameter ``options`` of a command by the options of `_file_options`.

    Parameters
    ----------
    strict
        Whether the command has ``--strict``.
    """
    shared = [
        parameter
        for parameter in signature(_file_options).parameters.values()
        if strict or parameter.name != "strict"
    ]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        parameters = []
        for each in signature(command).parameters.values():
            parameters += shared if each.name == "options" else [each]

        @wraps(command)
        def run(**arguments: Any) -> None:
            options = _file_options(**{each.name: arguments.pop(each.name) for each in shared})
            command(**arguments, options=options)

        # typer builds the command from these two
        run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        return run

    return decorate


def _file_options(
    *,
    symbol: Annotated[
        str | None,
        typer.Option(
            metavar="SYMBOL",
            help="Symbol of rows for which neither a column nor the file name has one.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    symbol_map: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="CSV file of two columns: a symbol as the file writes it, and the symbol to use instead.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    tz: Annotated[
        str | None,
        typer.Option(
            metavar="ZONE",
            help="Time zone of timestamps without one, such as America/New_York.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    date_format: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT",
            help="Order of day and month, such as DD/MM/YYYY or %d/%m/%Y.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    decimal: Annotated[
        str | None,
        typer.Option(metavar="CHAR", help="Decimal separator: . or ,", rich_help_panel=INPUT),
    ] = None,
    delimiter: Annotated[
        str | None,
        typer.Option(
            metavar="CHAR",
            help="Field delimiter: a character, or tab, semicolon, pipe, space.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    interval: Annotated[
        str | None,
        typer.Option(
            metavar="INTERVAL", help="Interval of the bars, such as 1m, 5m, 1h, 1d.", rich_help_panel=INPUT
        ),
    ] = None,
    price_scale: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Prices are integers with N implied decimals: with 4, 1234500 is 123.45.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Column names from left to right, such as date,time,open,high,low,close,volume.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    negative_prices: Annotated[
        bool,
        typer.Option(
            "--allow-negative-prices",
            help="Accept prices of 0 and below, as of spreads and some futures.",
            rich_help_panel=INPUT,
        ),
    ] = False,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Fail if any row is rejected or the format has to be assumed.",
            rich_help_panel=INPUT,
        ),
    ] = False,
) -> "Options":
    from tickerlake.sources.csv.detect.options import parse_options

    return parse_options(
        symbol=symbol,
        tz=tz,
        date_format=date_format,
        decimal=decimal,
        delimiter=delimiter,
        interval=interval,
        price_scale=price_scale,
        columns=columns,
        strict=strict,
        negative_prices=negative_prices,
        symbol_map=symbol_map,
    )
