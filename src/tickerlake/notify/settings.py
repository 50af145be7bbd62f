"""The ``[[notify]]`` tables of a rules file → routes.

The file contains no secrets: ``url_env``, ``secret_env`` and ``password_env`` name environment variables.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar, get_args
from urllib.parse import urlsplit

from tickerlake.errors import UsageError, did_you_mean
from tickerlake.model.alert import SEVERITIES, AlertState
from tickerlake.notify.delivery import DEFAULT_GIVE_UP_AFTER_S
from tickerlake.notify.dispatcher import Route
from tickerlake.notify.targets import Target
from tickerlake.notify.targets.address import Endpoint
from tickerlake.notify.targets.mail import EmailTarget, Encryption, SmtpServer, is_loopback
from tickerlake.notify.targets.network import Network
from tickerlake.notify.targets.slack import SlackTarget
from tickerlake.notify.targets.webhook import WebhookTarget, signing_key

_T = TypeVar("_T")

_COMMON_KEYS: Final = tuple(
    "kind name severity symbols rules states group dashboard_url give_up_after_s".split()
)
KEYS_BY_KIND: Final[dict[str, tuple[str, ...]]] = {
    "webhook": (*_COMMON_KEYS, "url", "url_env", "secret_env", "allow_private"),
    "slack": (*_COMMON_KEYS, "url_env", "allow_private"),
    "email": (*_COMMON_KEYS, *"host port tls user password_env from to".split()),
}
"""The valid keys of a table of each target kind."""

_STATES: Final[tuple[AlertState, ...]] = get_args(AlertState)
_ENCRYPTIONS: Final[tuple[Encryption, ...]] = get_args(Encryption)
_SECRET_KEYS: Final = {"secret": "secret_env", "password": "password_env", "token": "url_env"}
_NAME_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,40}")
_EMAIL_PATTERN: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}")
_HOST_PATTERN: Final = re.compile(r"[A-Za-z0-9.:_-]{1,253}")


def read_routes(
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
        The process's environment, which has the secrets.
    dashboard_url
        The base of links, for tables without ``dashboard_url``.
    network
        Name resolution, connections and timeouts.

    Raises
    ------
    UsageError
        Lists every problem with its line; never a value that may be a secret.
    """
    problems: list[str] = []
    routes: list[Route] = []
    names: set[str] = set()
    for line, content in tables:
        table = _TableReader(line, content, environment, problems)
        route = _read_route(table, dashboard_url, network or Network())
        if route is None:
            continue
        if route.target.name.casefold() in names:
            table.add_problem(f"there are two targets named {route.target.name}", "Use distinct names.")
        names.add(route.target.name.casefold())
        routes.append(route)
    if problems:
        raise UsageError("\n".join(problems), "See docs/notify.md.")
    return routes


class _TableReader:
    """Reads values of a table, and adds their problems to a list."""

    def __init__(
        self, line: int, content: Mapping[str, Any], environment: Mapping[str, str], problems: list[str]
    ) -> None:
        self._line = line
        self._content = content
        self._environment = environment
        self._problems = problems

    def add_problem(self, what: str, hint: str = "") -> None:
        self._problems.append(f"Line {self._line}: {what}. {hint}".rstrip())

    def has(self, key: str) -> bool:
        return key in self._content

    def check_keys(self, allowed: Sequence[str]) -> None:
        for key in self._content:
            if key in allowed:
                continue
            if key in _SECRET_KEYS or (key == "url" and "url_env" in allowed):
                env_key = _SECRET_KEYS.get(key, "url_env")
                self.add_problem(
                    f"{key} is a secret, which must not be in the file",
                    f"Set {env_key} to the name of an environment variable.",
                )
            else:
                self.add_problem(f"there is no setting {key!r}", did_you_mean(key, allowed))

    def string(self, key: str, default: str | None = None) -> str | None:
        value = self._content.get(key, default)
        if value is None or (isinstance(value, str) and value.strip()):
            return value
        self.add_problem(f"{key} is not a string")
        return default

    def required_string(self, key: str) -> str | None:
        if not self.has(key):
            self.add_problem(f"{key} is missing")
        return self.string(key)

    def choice(self, key: str, allowed: Sequence[_T], default: _T) -> _T:
        value = self._content.get(key, default)
        if value in allowed:
            choice: _T = value
            return choice
        self.add_problem(
            f"{key} is not one of {', '.join(map(str, allowed))}", did_you_mean(str(value), allowed)
        )
        return default

    def strings(self, key: str) -> tuple[str, ...]:
        value = self._content.get(key, [])
        texts = [value] if isinstance(value, str) else value
        if isinstance(texts, list) and all(isinstance(text, str) and text for text in texts):
            return tuple(texts)
        self.add_problem(f"{key} is not a list of strings")
        return ()

    def choices(self, key: str, allowed: Sequence[_T], default: tuple[_T, ...]) -> tuple[_T, ...]:
        texts = self.strings(key)
        for text in texts:
            if text not in allowed:
                self.add_problem(f"{key}: there is no {text!r}", did_you_mean(text, allowed))
        return tuple(value for value in allowed if value in texts) or default

    def boolean(self, key: str, *, default: bool) -> bool:
        value = self._content.get(key, default)
        if isinstance(value, bool):
            return value
        self.add_problem(f"{key} is neither true nor false")
        return default

    def number(self, key: str, default: float, min_value: float, max_value: float) -> float:
        value = self._content.get(key, default)
        if isinstance(value, int | float) and not isinstance(value, bool) and min_value <= value <= max_value:
            return float(value)
        self.add_problem(f"{key} is not a number from {min_value:g} to {max_value:g}")
        return default

    def secret(self, key: str) -> str | None:
        """Return the value of the environment variable that ``key`` names."""
        name = self.string(key)
        if name is None:
            return None
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            # it may be the secret itself: do not show it
            self.add_problem(f"{key} is not the name of an environment variable", "Store the secret in one.")
            return None
        value = self._environment.get(name, "")
        if not value.strip():
            self.add_problem(f"the environment variable {name} (from {key}) is not set")
            return None
        return value.strip()

    def parse(self, key: str, value: str | None, parser: Callable[[str], _T]) -> _T | None:
        """Parse a value with a parser whose errors do not show it."""
        if value is None:
            return None
        try:
            return parser(value)
        except ValueError as error:
            self.add_problem(f"{key}: the value {error}")
            return None


def _read_route(table: _TableReader, dashboard_url: str | None, network: Network) -> Route | None:
    kind = table.required_string("kind")
    if kind is None:
        return None
    if kind not in KEYS_BY_KIND:
        table.add_problem(f"there is no kind {kind!r}", did_you_mean(kind, list(KEYS_BY_KIND)))
        return None
    table.check_keys(KEYS_BY_KIND[kind])
    name = table.string("name", kind) or kind
    if not _NAME_PATTERN.fullmatch(name):
        table.add_problem("name is not 1 to 41 letters, digits, - and _")
    link = table.parse("dashboard_url", table.string("dashboard_url", dashboard_url), _parse_dashboard_url)
    target = _TARGET_FACTORIES[kind](table, name, link, network)
    states = table.choices("states", _STATES, ("fired",))
    severity = table.choice("severity", SEVERITIES, SEVERITIES[0])
    symbols, rules = table.strings("symbols"), table.strings("rules")
    group = table.boolean("group", default=True)
    give_up_after_s = table.number("give_up_after_s", DEFAULT_GIVE_UP_AFTER_S, 0, 86_400)
    if target is None:
        return None
    return Route(
        target,
        min_severity=severity,
        symbols=symbols,
        rules=rules,
        states=states,
        group=group,
        give_up_after_s=give_up_after_s,
    )


def _make_webhook(table: _TableReader, name: str, link: str | None, network: Network) -> Target | None:
    if table.has("url") == table.has("url_env"):
        table.add_problem("a webhook needs either url or url_env")
    key = "url" if table.has("url") else "url_env"
    endpoint = _read_endpoint(table, key, table.string("url") if key == "url" else table.secret("url_env"))
    keys = table.parse("secret_env", table.secret("secret_env"), _parse_signing_keys)
    if endpoint is None or (keys is None and table.has("secret_env")):
        return None
    return WebhookTarget(name, endpoint, keys=keys or (), dashboard_url=link, network=network)


def _make_slack(table: _TableReader, name: str, link: str | None, network: Network) -> Target | None:
    if not table.has("url_env"):
        table.add_problem("url_env is missing")
    endpoint = _read_endpoint(table, "url_env", table.secret("url_env"))
    return SlackTarget(name, endpoint, dashboard_url=link, network=network) if endpoint else None


def _make_email(table: _TableReader, name: str, link: str | None, network: Network) -> Target | None:
    host, sender = table.required_string("host"), table.required_string("from")
    if not table.has("to"):
        table.add_problem("to is missing")
    recipients = table.strings("to")
    for address in (*recipients, *([sender] if sender else [])):
        if not _EMAIL_PATTERN.fullmatch(address):
            table.add_problem(f"{address!r} is not an address such as ann@example.com")
    if host is not None and not _HOST_PATTERN.fullmatch(host):
        table.add_problem(f"{host!r} is not a host")
    is_local = host is not None and is_loopback(host)
    port = int(table.number("port", 25 if is_local else 587, 1, 65_535))
    default_encryption: Encryption = "none" if is_local else "tls" if port == 465 else "starttls"
    encryption = table.choice("tls", _ENCRYPTIONS, default_encryption)
    if encryption == "none" and not is_local:
        table.add_problem("mail to a remote host needs TLS", "Set tls to starttls or tls.")
    user, password = table.string("user"), table.secret("password_env")
    if (user is None) != (not table.has("password_env")):
        table.add_problem("user and password_env must be set together")
    if host is None or sender is None:
        return None
    server = SmtpServer(host, port, encryption, user, password)
    return EmailTarget(
        name, server, sender=sender, recipients=recipients, dashboard_url=link, network=network
    )


_TARGET_FACTORIES: Final[dict[str, Callable[[_TableReader, str, str | None, Network], Target | None]]] = {
    "webhook": _make_webhook,
    "slack": _make_slack,
    "email": _make_email,
}


def _read_endpoint(table: _TableReader, key: str, url: str | None) -> Endpoint | None:
    allow_private = table.boolean("allow_private", default=False)
    return table.parse(key, url, lambda text: Endpoint.parse(text, allow_private=allow_private))


def _parse_signing_keys(secrets: str) -> tuple[bytes, ...]:
    return tuple(signing_key(secret) for secret in secrets.split())


def _parse_dashboard_url(text: str) -> str:
    try:
        parts = urlsplit(text)
    except ValueError:
        raise ValueError("is not a URL") from None
    is_plain = text.isascii() and text.isprintable() and not set(' "<>\\^`{|}') & set(text)
    if not is_plain or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("is not a URL such as https://example.com")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("has more than scheme, host and path")
    return text
