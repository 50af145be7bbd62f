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
    """Return a session that authorizes its requests with this machine's credentials.

    Parameters
    ----------
    anonymous
        Send no credentials: an emulator needs none, and must not see any.

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
    """Configure a session for many threads with persistent connections.

    Parameters
    ----------
    session
        A session that is not in use yet.
    endpoint
        The only endpoint that it will use.
    connections
        Size of the connection pool.
    """
    adapter = HTTPAdapter(pool_connections=2, pool_maxsize=connections)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    # requests would read the environment and ~/.netrc for each request
    session.proxies.update(get_environ_proxies(endpoint))
    session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
    session.trust_env = False
    return adapter


class Uploader:
    """Posts to one URL with half of the session's overhead per request.

    It uses the connections and credentials of the session, and so its proxies and certificates; it avoids
    what ``requests`` derives from the URL for each request.

    Parameters
    ----------
    session, adapter
        A configured session and its adapter.
    url
        URL of every request.

    Raises
    ------
    requests.RequestException
        The URL is invalid.
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
        """Send a request; return None if the status was 200, else the response."""
        response = self._post(body, headers, timeout)
        if response is not None and response.status_code == 401:
            # a token can be revoked before it expires: retry once with a new one
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
        _ = response.content  # returns the connection to the pool
        return response
