"""Every error of the client is translated, and only transient ones can be retried."""

import http.client
import ssl

import pytest
import requests
import urllib3.exceptions
from google.api_core import exceptions as api
from google.auth import exceptions as auth

from tickerlake.errors import ObjectExists, ObjectMissing, StoreError, StoreUnavailable
from tickerlake.lake.store.gcs_errors import CLIENT_ERRORS, translate_error


def _http_error(status: int, reason: str, message: str = "message") -> Exception:
    error: Exception = api.from_http_status(status, message, errors=[{"reason": reason}])  # type: ignore[no-untyped-call]
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (_http_error(412, "conditionNotMet"), ObjectExists),
        (_http_error(412, "orgPolicyConstraintFailed"), StoreError),
        (_http_error(404, "notFound", "No such object: bucket/name"), ObjectMissing),
        (_http_error(404, "notFound", "The specified bucket does not exist."), StoreError),
        (_http_error(401, "authError"), StoreError),
        (_http_error(403, "forbidden"), StoreError),
        (_http_error(403, "rateLimitExceeded"), StoreUnavailable),
        (_http_error(418, "teapot"), StoreError),
        (api.RetryError("gave up", None), StoreUnavailable),  # type: ignore[no-untyped-call]
        (auth.RefreshError("invalid_grant"), StoreError),  # type: ignore[no-untyped-call]
        (auth.RefreshError("busy", retryable=True), StoreUnavailable),  # type: ignore[no-untyped-call]
        (auth.TransportError("no route"), StoreUnavailable),  # type: ignore[no-untyped-call]
        (requests.ConnectionError("reset"), StoreUnavailable),
        (requests.ReadTimeout("silence"), StoreUnavailable),
        (requests.exceptions.ChunkedEncodingError("half"), StoreUnavailable),
        (requests.exceptions.JSONDecodeError("not JSON", "<html>", 0), StoreUnavailable),
        (urllib3.exceptions.ProtocolError("half"), StoreUnavailable),
        (http.client.IncompleteRead(b""), StoreUnavailable),
        (ConnectionResetError("reset"), StoreUnavailable),
        (ssl.SSLError("bad record"), StoreUnavailable),
        (ssl.SSLCertVerificationError("[SSL: CERTIFICATE_VERIFY_FAILED] expired"), StoreError),
    ],
    ids=repr,
)
def test_every_family_is_translated(error: Exception, kind: type[Exception]) -> None:
    assert isinstance(error, CLIENT_ERRORS)
    assert type(translate_error(error, "bucket", "name")) is kind
