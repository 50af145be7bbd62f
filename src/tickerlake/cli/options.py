"""What a user may say about files: the options that `inspect`, `convert` and `produce` share."""

from collections.abc import Callable
from functools import wraps
from inspect import Signature, signature
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tickerlake.sources.csv.detect.options import Options


def with_file_options(*, strict: bool = True) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Hand a verb one value ``options``; the command line has the options of `_read` in its place.

    Parameters
    ----------
    strict
        False to leave out ``--strict``.
    """
    shared = [
        parameter
        for parameter in signature(_file_options).parameters.values()
        if strict or parameter.name != "strict"
    ]

    def decorate(verb: Callable[..., None]) -> Callable[..., None]:
        parameters = []
        for each in signature(verb).parameters.values():
            parameters += shared if each.name == "options" else [each]

        @wraps(verb)
        def run(**given: Any) -> None:
            options = _file_options(**{each.name: given.pop(each.name) for each in shared})
            verb(**given, options=options)

        # typer builds the command from these two
        run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        return run

    return decorate


def _file_options(
    *,
    symbol: Annotated[
        str | None, typer.Option(help="Symbol of every row, where neither a column nor the name tells.")
    ] = None,
    tz: Annotated[
        str | None, typer.Option(help="Zone of times that name none, for example America/New_York.")
    ] = None,
    date_format: Annotated[
        str | None, typer.Option(help="Order of day and month, for example DD/MM/YYYY or %d/%m/%Y.")
    ] = None,
    decimal: Annotated[str | None, typer.Option(help="What stands before decimals: . or ,")] = None,
    delimiter: Annotated[
        str | None,
        typer.Option(help="What stands between cells: a character, or tab, semicolon, pipe, space."),
    ] = None,
    interval: Annotated[
        str | None, typer.Option(help="Length of the bars, for example 1m, 5m, 1h, 1d.")
    ] = None,
    price_scale: Annotated[
        int | None,
        typer.Option(help="Prices are whole numbers with so many decimals: 4 reads 1234500 as 123.45."),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            help="Names of the columns from the left, for example date,time,open,high,low,close,volume."
        ),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Refuse everything if a row is refused or anything would be assumed."),
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
    )
