"""What the guard and the login know of the dashboard's addresses."""

import re
from typing import Final
from urllib.parse import quote

LOGIN: Final = "/login"
LOGOUT: Final = "/logout"
LOGIN_STYLE: Final = "/static/login.css"
PUBLIC: Final = frozenset({LOGIN, "/healthz", LOGIN_STYLE, "/static/favicon.svg"})
"""All that is answered without a login."""
WITH_POST: Final = frozenset({LOGIN, LOGOUT})
HOME: Final = "/"
NEXT_LENGTH_MAX: Final = 2048
_NEXT: Final = re.compile(r"/(?![/\\])[!-\[\]-~]*")


def is_api(path: str) -> bool:
    """Whether programs read it, not people."""
    return path.startswith("/api/") or path in {"/metrics", "/healthz"}


def local_path(text: str) -> str:
    r"""Return a path to go to after the login if it surely is one of ours, else the first page.

    Browsers read ``//host`` and ``/\host`` as other hosts, and drop control characters before they look.
    """
    path = text.partition("?")[0].partition("#")[0]
    if len(text) > NEXT_LENGTH_MAX or _NEXT.fullmatch(text) is None or path in WITH_POST:
        return HOME
    return text


def login_path(target: str) -> str:
    """Return the address of the login page that leads on to ``target``."""
    target = local_path(target)
    return LOGIN if target == HOME else f"{LOGIN}?next={quote(target, safe='/')}"
