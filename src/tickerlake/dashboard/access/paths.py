"""What the guard and the login know of the dashboard's addresses."""

import re
from typing import Final
from urllib.parse import quote

LOGIN: Final = "/login"
LOGOUT: Final = "/logout"
LOGIN_STYLE: Final = "/static/login.css"
PUBLIC_PATHS: Final = frozenset({LOGIN, "/healthz", LOGIN_STYLE, "/static/favicon.svg"})
"""All that is answered without a login."""
POST_PATHS: Final = frozenset({LOGIN, LOGOUT})
HOME: Final = "/"
MAX_NEXT_LENGTH: Final = 2048
_NEXT_PATTERN: Final = re.compile(r"/(?![/\\])[!-\[\]-~]*")


def is_api(path: str) -> bool:
    """Whether programs read it, not people."""
    return path.startswith("/api/") or path in {"/metrics", "/healthz"}


def safe_local_path(text: str) -> str:
    r"""Return a path to go to after the login if it surely is one of ours, else the first page.

    Browsers read ``//host`` and ``/\host`` as other hosts, and drop control characters before they look.
    """
    path = text.partition("?")[0].partition("#")[0]
    if len(text) > MAX_NEXT_LENGTH or _NEXT_PATTERN.fullmatch(text) is None or path in POST_PATHS:
        return HOME
    return text


def login_path(target: str) -> str:
    """Return the address of the login page that leads on to ``target``."""
    target = safe_local_path(target)
    return LOGIN if target == HOME else f"{LOGIN}?next={quote(target, safe='/')}"
