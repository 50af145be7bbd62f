"""``tickerlake serve``: the live dashboard."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from tickerlake.cli.common import (
    LOCAL_BROKER,
    BootstrapServers,
    Calendar,
    Property,
    graceful_shutdown,
    librdkafka_properties,
    print_status,
)


def serve(
    context: typer.Context,
    bootstrap_servers: BootstrapServers = LOCAL_BROKER,
    lake: Annotated[
        str | None,
        typer.Option(
            "--lake",
            help="For history and the state of the lake: gs://bucket/prefix or a folder.",
            envvar="TICKERLAKE_LAKE",
        ),
    ] = None,
    prefix: Annotated[
        list[str] | None,
        typer.Option(
            help="Show the topics PREFIX.*; may be repeated. By default all that look like ours.",
            show_default=False,
        ),
    ] = None,
    calendar: Calendar = "24/7",
    host: Annotated[
        str, typer.Option(help="Address to serve; beyond this machine it takes a password and TLS.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port to serve; 0 for any.")] = 8787,
    tls_cert: Annotated[
        Path | None, typer.Option(help="Certificate with its chain (PEM).", show_default=False)
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its key (PEM).", show_default=False)] = None,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="A proxy in front of it speaks TLS with the browsers.")
    ] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            help="A further name under which browsers may call it; may be repeated.", show_default=False
        ),
    ] = None,
    hash_password: Annotated[
        bool,
        typer.Option(
            "--hash-password", help="Ask for a password, print what may stand in its place, and end."
        ),
    ] = False,
    property_: Property = None,
) -> None:
    """Show watch list, charts, alerts and the state of the pipeline, live, in a browser.

    A page on this machine needs no login. To serve others, set a password (or its hash) in
    TICKERLAKE_SERVE__PASSWORD, and a token for programs in TICKERLAKE_SERVE__TOKEN.

    Examples: `tickerlake serve --lake ./lake` · `tickerlake serve --prefix stocks -b kafka:9092` ·
    `tickerlake serve --host 0.0.0.0 --tls-cert chain.pem --tls-key key.pem --allow-host dash.example.com`
    """
    if hash_password:
        _print_password_hash()
        return
    from tickerlake.config import PASSWORD_VARIABLE, TOKEN_VARIABLE
    from tickerlake.dashboard.server import Dashboard, DashboardOptions
    from tickerlake.errors import StoreUnavailable
    from tickerlake.lake.format_version import check_format_version
    from tickerlake.lake.store import open_store

    options = DashboardOptions(
        host=host,
        port=port,
        prefixes=tuple(prefix or ()),
        calendar=calendar,
        tls_cert=tls_cert,
        tls_key=tls_key,
        behind_proxy=behind_proxy,
        allow_hosts=tuple(allow_host or ()),
        password=os.environ.get(PASSWORD_VARIABLE, ""),
        token=os.environ.get(TOKEN_VARIABLE, ""),
    )
    if behind_proxy and not options.password:
        print_status("warning: without a password, whoever the proxy lets through sees everything")
    store = open_store(lake) if lake else None
    try:
        if store:
            with suppress(StoreUnavailable):  # the dashboard keeps trying
                check_format_version(store)
        with (
            graceful_shutdown("closing connections …") as stop,
            Dashboard(
                bootstrap_servers, librdkafka_properties(context, property_), store, options
            ) as dashboard,
        ):
            print_status(f"the dashboard is at {dashboard.url} (Ctrl-C ends it)")
            stop.wait()
    finally:
        if store:
            store.close()


def _print_password_hash() -> None:
    import getpass

    from tickerlake.dashboard.access.password import hash_password
    from tickerlake.errors import UsageError

    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise UsageError("The two are not the same.", "Try again.")
    typer.echo(hash_password(password))
