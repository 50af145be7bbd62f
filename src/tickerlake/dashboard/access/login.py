"""The login page: HTML without a script, as nothing else is served before the login."""

import logging
import math
from html import escape
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from tickerlake.dashboard.access.authenticator import Authenticator, TooManyAttempts, WrongPassword
from tickerlake.dashboard.access.policy import (
    HOME_PATH,
    LOGIN_PATH,
    LOGIN_STYLE_PATH,
    LOGOUT_PATH,
    safe_local_path,
)

_LOG: Final = logging.getLogger(__name__)
_FORM_MEDIA_TYPE: Final = "application/x-www-form-urlencoded"
_LOGIN_HTML: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Log in – tickerlake</title>
<link rel="icon" href="/static/favicon.svg">
<link rel="stylesheet" href="/static/login.css">
</head>
<body>
<main>
<h1>tickerlake</h1>
<form method="post" action="/login">
{error}<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password"
required autofocus{invalid}>
<input name="next" type="hidden" value="{next}">
<button type="submit">Log in</button>
</form>
</main>
</body>
</html>
"""


def login_routes(authenticator: Authenticator) -> list[BaseRoute]:
    """Return the routes of the login; they must precede those of other static files.

    Parameters
    ----------
    authenticator
        Opens and closes sessions.
    """
    style = (Path(__file__).parent / "login.css").read_bytes()

    async def show(request: Request) -> Response:
        target = safe_local_path(request.query_params.get("next", HOME_PATH))
        if authenticator.identify(request.headers) is not None:
            return RedirectResponse(target, 303)
        return _login_page(target)

    async def log_in(request: Request) -> Response:
        return await _log_in(request, authenticator)

    async def log_out(request: Request) -> Response:
        cookie = authenticator.log_out(request.headers)
        return RedirectResponse(LOGIN_PATH, 303, {"set-cookie": cookie})

    async def show_style(request: Request) -> Response:
        return Response(style, media_type="text/css")

    return [
        Route(LOGIN_PATH, show, methods=["GET"]),
        Route(LOGIN_PATH, log_in, methods=["POST"]),
        Route(LOGOUT_PATH, log_out, methods=["POST"]),
        Route(LOGIN_STYLE_PATH, show_style, methods=["GET"]),
    ]


async def _log_in(request: Request, authenticator: Authenticator) -> Response:
    fields = _parse_form(request.headers, await request.body())
    target = safe_local_path(fields.get("next", HOME_PATH))
    client = request.client.host if request.client else "unknown"
    try:
        cookie = await authenticator.log_in(fields.get("password", ""), client)
    except WrongPassword:
        _LOG.warning("Failed login from %s: incorrect password.", client)
        return _login_page(target, "Incorrect password.", 403)
    except TooManyAttempts as error:
        wait_s = math.ceil(error.wait_s)
        response = _login_page(target, f"Too many attempts. Try again in {wait_s} seconds.", 429)
        response.headers["retry-after"] = str(wait_s)
        return response
    authenticator.log_out(request.headers)
    return RedirectResponse(target, 303, {"set-cookie": cookie})


def _parse_form(headers: Headers, body: bytes) -> dict[str, str]:
    """Parse a form; anything else has no fields, and so no password."""
    if headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM_MEDIA_TYPE:
        return {}
    try:
        fields = parse_qs(body.decode("utf-8"), keep_blank_values=True, max_num_fields=8)
    except ValueError:
        return {}
    return {name: values[0] for name, values in fields.items()}


def _login_page(target: str, error: str = "", status: int = 200) -> Response:
    alert = f'<p id="error" role="alert">{escape(error)}</p>\n' if error else ""
    invalid = ' aria-invalid="true" aria-describedby="error"' if error else ""
    return HTMLResponse(_LOGIN_HTML.format(error=alert, invalid=invalid, next=escape(target)), status)
