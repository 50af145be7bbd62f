"""Translates errors of Cloud Storage, and of the layers below it, to ours."""

import http.client
import re
from collections.abc import Mapping

import requests
import urllib3.exceptions
from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.cloud.storage.exceptions import InvalidResponse

from tickerlake.errors import (
    GCLOUD_LOGIN_HINT,
    ObjectExists,
    ObjectMissing,
    SetupError,
    StoreError,
    StoreUnavailable,
    TickerlakeError,
)

# what the client can raise; OSError covers sockets, TLS and the errors of requests
CLIENT_ERRORS = (
    InvalidResponse,
    api.GoogleAPIError,
    auth.GoogleAuthError,
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
)
_REQUEST_PREFIX = re.compile(r"^[A-Z]+ \S+: ")
_RETRYABLE_STATUSES = {408, 429, 500, 502, 503, 504}


def credentials_not_found(error: Exception) -> SetupError:
    """Explain that this machine has no Google Cloud credentials."""
    return SetupError(
        f"There are no usable Google Cloud credentials: {_first_line(error)}", GCLOUD_LOGIN_HINT
    )


def bucket_not_found(bucket: str) -> StoreError:
    """Explain that a bucket does not exist."""
    return StoreError(
        f"The bucket gs://{bucket} does not exist.",
        f"Create it with `gcloud storage buckets create gs://{bucket} --uniform-bucket-level-access`.",
    )


def translate_error(error: Exception, bucket: str, name: str) -> TickerlakeError:
    """Translate an error; ``StoreUnavailable`` means that the call can be retried.

    Parameters
    ----------
    error
        One of `CLIENT_ERRORS`.
    bucket
        The bucket.
    name
        Name of the object, or empty.
    """
    uri = f"gs://{bucket}/{name}"
    if isinstance(error, InvalidResponse):
        error = api.from_http_response(error.response)  # type: ignore[no-untyped-call]
    if isinstance(error, api.GoogleAPICallError) and error.code is not None:
        return _translate_status(error, int(error.code), bucket, uri)
    if isinstance(error, auth.TransportError | auth.TimeoutError):
        return _unavailable(uri, error)
    if isinstance(error, auth.GoogleAuthError) and not error.retryable:
        return StoreError(
            f"Google rejected the credentials for gs://{bucket}: {_first_line(error)}", GCLOUD_LOGIN_HINT
        )
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.MissingSchema):
        return SetupError(
            f"The address of Cloud Storage is wrong: {_first_line(error)}",
            "Set STORAGE_EMULATOR_HOST to an address such as http://127.0.0.1:4443, or unset it.",
        )
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return StoreError(
            f"The certificate of Cloud Storage is not trusted: {_first_line(error)}",
            "If a proxy intercepts the connection, name its certificate in REQUESTS_CA_BUNDLE.",
        )
    return _unavailable(uri, error)


def _translate_status(error: api.GoogleAPICallError, status: int, bucket: str, uri: str) -> TickerlakeError:
    message = _first_line(error)
    reasons = {item.get("reason", "") for item in error.errors if isinstance(item, Mapping)}
    if status in _RETRYABLE_STATUSES or reasons & {"rateLimitExceeded", "userRateLimitExceeded"}:
        unavailable = _unavailable(uri, error)
        unavailable.retry_after_s = _retry_after_s(error)
        return unavailable
    # a violated organization policy is also answered with 412, and names the policy
    if status == 412 and not any("policy" in reason.lower() for reason in reasons):
        return ObjectExists(f"{uri} exists already.")
    if status == 404 and (message.startswith("The specified bucket") or uri.endswith("/")):
        return bucket_not_found(bucket)
    if status == 404:
        return ObjectMissing(f"{uri} does not exist.")
    if status == 401:
        return StoreError(
            f"Cloud Storage rejected the credentials for gs://{bucket}: {message}", GCLOUD_LOGIN_HINT
        )
    if status == 403:
        return StoreError(
            f"Access to the bucket gs://{bucket} is denied: {message}",
            "Grant roles/storage.objectCreator and roles/storage.objectViewer: `gcloud storage buckets "
            f"add-iam-policy-binding gs://{bucket} --member=… --role=…`.",
        )
    return StoreError(f"Cloud Storage refused {uri} ({status}): {message}", "A retry would not help.")


def _unavailable(uri: str, error: Exception) -> StoreUnavailable:
    unavailable = StoreUnavailable(f"{uri}: {_first_line(error)}")
    unavailable.retry_after_s = 0.0
    return unavailable


def _retry_after_s(error: api.GoogleAPICallError) -> float:
    headers = getattr(error.response, "headers", {})
    value = headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdecimal() else 0.0


def _first_line(error: Exception) -> str:
    text = error.message if isinstance(error, api.GoogleAPICallError) else str(error)
    lines = _REQUEST_PREFIX.sub("", str(text).strip()).splitlines()
    return lines[0][:300] if lines else type(error).__name__
