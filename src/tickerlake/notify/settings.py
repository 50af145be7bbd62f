"""The targets of a rules file: ``[[notify]]`` tables.

Secrets never stand in the file: ``url_env``, ``secret_env`` and ``password_env`` name environment variables.
"""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar, get_args
from urllib.parse import urlsplit

from tickerlake.errors import UsageError
from tickerlake.model.alert import SEVERITIES, AlertState
from tickerlake.notify.delivery import GIVE_UP_AFTER_S
from tickerlake.notify.route import Route
from tickerlake.notify.targets.address import Endpoint
from tickerlake.notify.targets.mail import Encryption, Mail, MailServer, is_loopback
from tickerlake.notify.targets.network import Network
from tickerlake.notify.targets.slack import Slack
from tickerlake.notify.targets.target import Target
from tickerlake.notify.targets.webhook import Webhook, signing_key

_T = TypeVar("_T")

_COMMON: Final = tuple("kind name severity symbols rules states group dashboard_url give_up_after_s".split())
KEYS: Final[dict[str, tuple[str, ...]]] = {
    "webhook": (*_COMMON, "url", "url_env", "secret_env", "allow_private"),
    "slack": (*_COMMON, "url_env", "allow_private"),
    "email": (*_COMMON, *"host port tls user password_env from to".split()),
}
"""What may stand in a table of each kind."""

_STATES: Final[tuple[AlertState, ...]] = get_args(AlertState)
_ENCRYPTIONS: Final[tuple[Encryption, ...]] = get_args(Encryption)
_SECRET_KEYS: Final = {"secret": "secret_env", "password": "password_env", "token": "url_env"}
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,40}")
_MAIL_ADDRESS: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}")
_HOST: Final = re.compile(r"[A-Za-z0-9.:_-]{1,253}")


def read_targets(
    tables: Sequence[tuple[int, Mapping[str, Any]]],
    environment: Mapping[str, str],
    *,
    dashboard_url: str | None = None,
    network: Network | None = None,
) -> list[Route]:
    """Read the targets.

    Parameters
    ----------
    tables
        Each ``[[notify]]`` table with the line where it begins.
    environment
        The process's environment, which holds the secrets.
    dashboard_url
        For links, where a table names none.
    network
        The way out.

    Raises
    ------
    UsageError
        Names everything that is wrong, with its line; never a value that may be a secret.
    """
    problems: list[str] = []
    routes: list[Route] = []
    names: set[str] = set()
    for line, content in tables:
        table = _Table(line, content, environment, problems)
        route = _route(table, dashboard_url, network or Network())
        if route is None:
            continue
        if route.target.name.casefold() in names:
            table.problem(f"there are two targets named {route.target.name}", "Give each its own name.")
        names.add(route.target.name.casefold())
        routes.append(route)
    if problems:
        raise UsageError("\n".join(problems), "See docs/notify.md.")
    return routes


class _Table:
    """One table; what is wrong with it goes to ``problems``."""

    def __init__(
        self, line: int, content: Mapping[str, Any], environment: Mapping[str, str], problems: list[str]
    ) -> None:
        self._line = line
        self._content = content
        self._environment = environment
        self._problems = problems

    def problem(self, what: str, hint: str = "") -> None:
        self._problems.append(f"Line {self._line}: {what}. {hint}".rstrip())

    def has(self, key: str) -> bool:
        return key in self._content

    def check_keys(self, known: Sequence[str]) -> None:
        for key in self._content:
            if key in known:
                continue
            if key in _SECRET_KEYS or (key == "url" and "url_env" in known):
                named = _SECRET_KEYS.get(key, "url_env")
                self.problem(f"a secret must not stand in the file ({key})", f"Name a variable with {named}.")
            else:
                self.problem(f"there is no setting {key!r}", _did_you_mean(key, known))

    def text(self, key: str, default: str | None = None) -> str | None:
        value = self._content.get(key, default)
        if value is None or (isinstance(value, str) and value.strip()):
            return value
        self.problem(f"{key} is not a text")
        return default

    def required(self, key: str) -> str | None:
        if not self.has(key):
            self.problem(f"{key} is missing")
        return self.text(key)

    def choice(self, key: str, known: Sequence[_T], default: _T) -> _T:
        value = self._content.get(key, default)
        if value in known:
            found: _T = value
            return found
        self.problem(f"{key} is none of {', '.join(map(str, known))}", _did_you_mean(str(value), known))
        return default

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._content.get(key, [])
        found = [value] if isinstance(value, str) else value
        if isinstance(found, list) and all(isinstance(text, str) and text for text in found):
            return tuple(found)
        self.problem(f"{key} is not a list of texts")
        return ()

    def choices(self, key: str, known: Sequence[_T], default: tuple[_T, ...]) -> tuple[_T, ...]:
        given = self.texts(key)
        for text in given:
            if text not in known:
                self.problem(f"{key}: there is no {text!r}", _did_you_mean(text, known))
        return tuple(value for value in known if value in given) or default

    def flag(self, key: str, *, default: bool) -> bool:
        value = self._content.get(key, default)
        if isinstance(value, bool):
            return value
        self.problem(f"{key} is neither true nor false")
        return default

    def number(self, key: str, default: float, least: float, most: float) -> float:
        value = self._content.get(key, default)
        if isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most:
            return float(value)
        self.problem(f"{key} is not a number from {least:g} to {most:g}")
        return default

    def secret(self, key: str) -> str | None:
        """Return what the environment variable holds that ``key`` names."""
        name = self.text(key)
        if name is None:
            return None
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            # perhaps the secret itself: it is not shown
            self.problem(f"{key} is not the name of an environment variable", "The secret belongs there.")
            return None
        value = self._environment.get(name, "")
        if not value.strip():
            self.problem(f"the environment variable that {key} names, {name}, is not set")
            return None
        return value.strip()

    def read(self, key: str, value: str | None, reader: Callable[[str], _T]) -> _T | None:
        """Read a value; what the reader raises does not show it."""
        if value is None:
            return None
        try:
            return reader(value)
        except ValueError as error:
            self.problem(f"{key}: the value {error}")
            return None


def _route(table: _Table, dashboard_url: str | None, network: Network) -> Route | None:
    kind = table.required("kind")
    if kind is None:
        return None
    if kind not in KEYS:
        table.problem(f"there is no kind {kind!r}", _did_you_mean(kind, list(KEYS)))
        return None
    table.check_keys(KEYS[kind])
    name = table.text("name", kind) or kind
    if not _NAME.fullmatch(name):
        table.problem("name is not made of at most 41 letters, digits, - and _")
    link = table.read("dashboard_url", table.text("dashboard_url", dashboard_url), _dashboard_url)
    target = _MAKERS[kind](table, name, link, network)
    states = table.choices("states", _STATES, ("fired",))
    severity = table.choice("severity", SEVERITIES, SEVERITIES[0])
    symbols, rules = table.texts("symbols"), table.texts("rules")
    group = table.flag("group", default=True)
    give_up_after_s = table.number("give_up_after_s", GIVE_UP_AFTER_S, 0, 86_400)
    if target is None:
        return None
    return Route(
        target,
        severity=severity,
        symbols=symbols,
        rules=rules,
        states=states,
        group=group,
        give_up_after_s=give_up_after_s,
    )


def _webhook(table: _Table, name: str, link: str | None, network: Network) -> Target | None:
    if table.has("url") == table.has("url_env"):
        table.problem("a webhook needs either url or url_env")
    key = "url" if table.has("url") else "url_env"
    endpoint = _endpoint(table, key, table.text("url") if key == "url" else table.secret("url_env"))
    keys = table.read("secret_env", table.secret("secret_env"), _signing_keys)
    if endpoint is None or (keys is None and table.has("secret_env")):
        return None
    return Webhook(name, endpoint, keys=keys or (), dashboard_url=link, network=network)


def _slack(table: _Table, name: str, link: str | None, network: Network) -> Target | None:
    if not table.has("url_env"):
        table.problem("url_env is missing")
    endpoint = _endpoint(table, "url_env", table.secret("url_env"))
    return Slack(name, endpoint, dashboard_url=link, network=network) if endpoint else None


def _email(table: _Table, name: str, link: str | None, network: Network) -> Target | None:
    host, sender = table.required("host"), table.required("from")
    if not table.has("to"):
        table.problem("to is missing")
    recipients = table.texts("to")
    for address in (*recipients, *([sender] if sender else [])):
        if not _MAIL_ADDRESS.fullmatch(address):
            table.problem(f"{address!r} is not an address such as ann@example.com")
    if host is not None and not _HOST.fullmatch(host):
        table.problem(f"{host!r} is not a host")
    is_local = host is not None and is_loopback(host)
    port = int(table.number("port", 25 if is_local else 587, 1, 65_535))
    usual: Encryption = "none" if is_local else "tls" if port == 465 else "starttls"
    encryption = table.choice("tls", _ENCRYPTIONS, usual)
    if encryption == "none" and not is_local:
        table.problem("mail to another machine goes over TLS", "Set tls to starttls or tls.")
    user, password = table.text("user"), table.secret("password_env")
    if (user is None) != (not table.has("password_env")):
        table.problem("user and password_env belong together")
    if host is None or sender is None:
        return None
    server = MailServer(host, port, encryption, user, password)
    return Mail(name, server, sender=sender, recipients=recipients, dashboard_url=link, network=network)


_MAKERS: Final[dict[str, Callable[[_Table, str, str | None, Network], Target | None]]] = {
    "webhook": _webhook,
    "slack": _slack,
    "email": _email,
}


def _endpoint(table: _Table, key: str, url: str | None) -> Endpoint | None:
    allow_private = table.flag("allow_private", default=False)
    return table.read(key, url, lambda text: Endpoint.parse(text, allow_private=allow_private))


def _signing_keys(secrets: str) -> tuple[bytes, ...]:
    return tuple(signing_key(secret) for secret in secrets.split())


def _dashboard_url(text: str) -> str:
    try:
        parts = urlsplit(text)
    except ValueError:
        raise ValueError("is not a URL") from None
    is_plain = text.isascii() and text.isprintable() and not set(' "<>\\^`{|}') & set(text)
    if not is_plain or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("is not a URL such as https://example.com")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("holds more than scheme, host and path")
    return text


def _did_you_mean(name: str, known: Sequence[object]) -> str:
    close = difflib.get_close_matches(name, list(map(str, known)), n=1)
    return f"Did you mean {close[0]}?" if close else f"Known are {', '.join(map(str, known))}."
