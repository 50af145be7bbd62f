"""``tickerlake serve``: the live dashboard."""

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tickerlake.cli.common import graceful_shutdown, librdkafka_properties, print_status
from tickerlake.cli.help import KAFKA, SERVER
from tickerlake.cli.options import (
    LOCAL_BROKER,
    BootstrapServers,
    Calendar,
    DashboardPort,
    Property,
    lake_option,
)

if TYPE_CHECKING:
    from tickerlake.dashboard.server import Dashboard

_CHECK_INTERVAL_S = 1.0
_CHECKS_BEFORE_REPORT = 3
"""So that an election or a pause of a second is not reported."""


def serve(
    context: typer.Context,
    bootstrap_servers: BootstrapServers = LOCAL_BROKER,
    lake: Annotated[
        str | None,
        lake_option("Also show this lake and its history"),
    ] = None,
    prefix: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PREFIX",
            help="Show the topics PREFIX.*; repeatable; default: those in the lake, or stocks.* without one.",
            rich_help_panel=KAFKA,
        ),
    ] = None,
    calendar: Calendar = "24/7",
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Address to listen on; other than localhost it requires a password and TLS.",
            rich_help_panel=SERVER,
        ),
    ] = "127.0.0.1",
    port: DashboardPort = None,
    tls_cert: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="TLS certificate chain (PEM).", rich_help_panel=SERVER),
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="TLS private key (PEM).", rich_help_panel=SERVER)
    ] = None,
    behind_proxy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="Address or network (CIDR) of a reverse proxy that terminates TLS; repeatable.",
            rich_help_panel=SERVER,
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Accept requests for this host name, too; repeatable.",
            rich_help_panel=SERVER,
        ),
    ] = None,
    hash_password: Annotated[
        bool,
        typer.Option(
            "--hash-password",
            help="Prompt for a password, print its hash and exit.",
            rich_help_panel=SERVER,
        ),
    ] = False,
    property_: Property = None,
) -> None:
    r"""Serve a live dashboard: watch list, charts, alerts, pipeline health.

    On localhost it needs no login. For remote hosts, set a password or its hash in
    TICKERLAKE_SERVE__PASSWORD, and a token for programs in TICKERLAKE_SERVE__TOKEN.

    Examples
    --------
    tickerlake serve --lake ./lake
    tickerlake serve --prefix stocks -b kafka:9092
    # for remote hosts
    tickerlake serve --host 0.0.0.0 --allow-host dash.example.com \
        --tls-cert chain.pem --tls-key key.pem
    """
    if hash_password:
        _print_password_hash()
        return
    from tickerlake.config import PASSWORD_VARIABLE, TOKEN_VARIABLE
    from tickerlake.dashboard.reading.topics import DEFAULT_PREFIX
    from tickerlake.dashboard.server import DEFAULT_PORT, Dashboard, DashboardOptions
    from tickerlake.errors import StoreUnavailable
    from tickerlake.lake.opening import require_lake
    from tickerlake.lake.store import open_for_reading
    from tickerlake.ports import port_user

    options = DashboardOptions(
        host=host,
        port=port,
        prefixes=tuple(prefix or ()),
        calendar=calendar,
        calendar_changes=context.obj.calendar,
        tls_cert=tls_cert,
        tls_key=tls_key,
        behind_proxy=tuple(behind_proxy or ()),
        allow_hosts=tuple(allow_host or ()),
        password=os.environ.get(PASSWORD_VARIABLE, ""),
        token=os.environ.get(TOKEN_VARIABLE, ""),
    )
    if behind_proxy and not options.password:
        print_status("warning: no password is set: everyone the proxy admits can see everything")
    store = open_for_reading(lake) if lake else None
    try:
        if store:
            with suppress(StoreUnavailable):  # the dashboard keeps trying
                require_lake(store)
        with (
            graceful_shutdown("closing connections …", is_service=True) as stop,
            Dashboard(
                bootstrap_servers, librdkafka_properties(context, property_), store, options
            ) as dashboard,
        ):
            if port is None and dashboard.port != DEFAULT_PORT:
                print_status(f"port {DEFAULT_PORT} is in use by {port_user(DEFAULT_PORT)}; using another one")
            print_status(f"dashboard at {dashboard.url} (Ctrl-C stops it)")
            if not (store or prefix):
                print_status(
                    f"  it shows {DEFAULT_PREFIX}.*; --prefix names others, --lake shows what a lake holds"
                )
            _watch(dashboard, stop)
    finally:
        if store:
            store.close()


def _watch(dashboard: "Dashboard", stop: threading.Event) -> None:
    """Say in the terminal, too, when Kafka or the lake cannot be read, and when they can again."""
    reported, changed_checks = "", 0
    while not stop.wait(_CHECK_INTERVAL_S):
        dashboard.check()
        for note in dashboard.take_notes():
            print_status(f"note: {note}")
        unavailable = dashboard.unavailable
        changed_checks = changed_checks + 1 if bool(unavailable) != bool(reported) else 0
        if changed_checks == _CHECKS_BEFORE_REPORT:
            reported, changed_checks = unavailable, 0
            print_status(
                f"warning: {reported} The dashboard keeps trying."
                if reported
                else "Kafka and lake answer again"
            )


def _print_password_hash() -> None:
    import getpass

    from tickerlake.dashboard.access.password import hash_password
    from tickerlake.errors import UsageError

    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise UsageError("The passwords do not match.", "Run the command again.")
    typer.echo(hash_password(password))
