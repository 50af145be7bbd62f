"""The HTTP session under the Cloud Storage client: credentials, connections, proxies."""

import os
from functools import partial
from typing import Any

import google.auth
import requests
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import AuthorizedSession, Request
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3.util import Timeout

from tickerlake.lake.store.gcs_errors import credentials_not_found

_SCOPES = ["https://www.googleapis.com/auth/devstorage.read_write"]


def open_session(*, anonymous: bool) -> AuthorizedSession:
    """Return a session that signs its requests with this machine's credentials.

    Parameters
    ----------
    anonymous
        Sign nothing: an emulator asks for no credentials, and must not be shown any.

    Raises
    ------
    SetupError
        This machine has no usable credentials.
    """
    if anonymous:
        return AuthorizedSession(AnonymousCredentials())  # type: ignore[no-untyped-call]
    try:
        credentials, _ = google.auth.default(scopes=_SCOPES)
    except (GoogleAuthError, OSError, ValueError) as error:
        raise credentials_not_found(error) from error
    return AuthorizedSession(credentials)  # type: ignore[no-untyped-call]


def configure_session(session: AuthorizedSession, endpoint: str, connections: int) -> HTTPAdapter:
    """Let many threads share a session, each with a connection that stays open.

    Parameters
    ----------
    session
        Not in use yet.
    endpoint
        The one place that it will speak to.
    connections
        How many connections are kept.
    """
    adapter = HTTPAdapter(pool_connections=2, pool_maxsize=connections)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    # requests looks at the environment and ~/.netrc for each request; once is enough
    session.proxies.update(get_environ_proxies(endpoint))
    session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
    session.trust_env = False
    return adapter


class Uploader:
    """Posts to one address with half of the session's work per request.

    It takes the session's own connections and credentials, so proxies and certificates are those of the
    session; what is left out is what ``requests`` derives anew from the address for each request.

    Parameters
    ----------
    session, adapter
        A tuned session and its adapter.
    url
        Where every request goes.

    Raises
    ------
    requests.RequestException
        The address makes no sense.
    """

    def __init__(self, session: AuthorizedSession, adapter: HTTPAdapter, url: str) -> None:
        self._credentials: Any = session.credentials
        self._adapter = adapter
        self._url = url
        self._prepared = requests.Request("POST", url).prepare()
        self._target = adapter.request_url(self._prepared, session.proxies)
        self._pool = adapter.get_connection_with_tls_context(
            self._prepared, verify=session.verify, proxies=session.proxies
        )
        self._auth_request = Request()

    def post(
        self, body: bytes, headers: dict[str, str], timeout: tuple[float, float]
    ) -> requests.Response | None:
        """Send a request; return None if the answer was 200, else the answer."""
        response = self._post(body, headers, timeout)
        if response is not None and response.status_code == 401:
            # a token can be withdrawn before its time: once, try another
            self._credentials.refresh(partial(self._auth_request, timeout=timeout[1]))
            response = self._post(body, headers, timeout)
        return response

    def _post(
        self, body: bytes, headers: dict[str, str], timeout: tuple[float, float]
    ) -> requests.Response | None:
        signed_headers = dict(headers)
        token_request = partial(self._auth_request, timeout=timeout[1])
        self._credentials.before_request(token_request, "POST", self._url, signed_headers)
        answer = self._pool.urlopen(
            "POST",
            self._target,
            body=body,
            headers=signed_headers,
            timeout=Timeout(connect=timeout[0], read=timeout[1]),
            retries=False,
            redirect=False,
            preload_content=False,
        )
        if answer.status == 200:
            answer.drain_conn()
            return None
        response = self._adapter.build_response(self._prepared, answer)
        _ = response.content  # gives the connection back
        return response
