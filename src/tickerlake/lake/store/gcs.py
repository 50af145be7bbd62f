"""A store in a Cloud Storage bucket: the only module that uses google-cloud-storage."""

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote

from google.api_core.client_info import ClientInfo
from google.api_core.exceptions import RequestRangeNotSatisfiable, from_http_response
from google.cloud import storage  # type: ignore[attr-defined]
from google.cloud.storage.exceptions import DataCorruption

from tickerlake import clock
from tickerlake.errors import ObjectExists, ObjectMissing, StoreError, StoreUnavailable, UsageError
from tickerlake.lake.store.base import ObjectInfo, ServiceInfo, check_deletable, check_key, crc32c
from tickerlake.lake.store.gcs_errors import CLIENT_ERRORS, bucket_not_found, translate_error
from tickerlake.lake.store.gcs_session import Uploader, configure_session, open_session
from tickerlake.version import VERSION

_INITIAL_BACKOFF_S = 0.5
_MAX_BACKOFF_S = 16.0
"""Up to 0.5, 1, 2 … 16 s: ten fast attempts or more fit into a call's default timeout."""

_READ_TIMEOUT_S = 30.0
"""A third of a call's timeout: a request that hangs leaves time for retries."""

_MIN_UPLOAD_BYTES_PER_S = 500_000
"""Slower uploads time out: 4 Mbit/s per upload, so that a stalled connection is retried early."""

_CONNECT_TIMEOUT_S = 10
"""Also bounds sending a small request."""

_USER_AGENT = f"tickerlake/{VERSION}"
_Result = TypeVar("_Result")
_Timeout = tuple[float, float]


class GcsStore:
    """A store below a prefix of a Cloud Storage bucket.

    Honors ``STORAGE_EMULATOR_HOST``; else uses the machine's Application Default Credentials.

    Parameters
    ----------
    bucket
        The bucket's name.
    prefix
        Precedes every key; empty for the whole bucket.
    call_timeout_s
        How long one call can take with all its retries.
    connections
        Size of the connection pool: more threads with a request in flight open temporary connections.

    Raises
    ------
    SetupError
        This machine has no credentials.
    """

    def __init__(
        self, bucket: str, prefix: str = "", *, call_timeout_s: float = 90.0, connections: int = 64
    ) -> None:
        if not 3 <= len(bucket) <= 222 or quote(bucket, safe="") != bucket or bucket != bucket.lower():
            raise UsageError(f"{bucket!r} is not the name of a bucket.", "Specify gs://bucket/prefix.")
        prefix = prefix.strip("/")
        if prefix:
            check_key(prefix)
        self._bucket_name = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._call_timeout_s = call_timeout_s
        self._closed = threading.Event()
        self._retries = 0
        self._retries_lock = threading.Lock()
        emulator = os.environ.get("STORAGE_EMULATOR_HOST", "")
        endpoint = f"http://{emulator}" if emulator and "://" not in emulator else emulator
        self._session: Any = open_session(anonymous=bool(endpoint))
        self._client: Any = storage.Client(
            project=None,
            credentials=self._session.credentials,
            _http=self._session,
            client_info=ClientInfo(user_agent=_USER_AGENT),  # type: ignore[no-untyped-call]
            client_options={"api_endpoint": endpoint} if endpoint else None,
        )
        self._bucket: Any = self._client.bucket(bucket)
        adapter = configure_session(self._session, self._client.api_endpoint, connections)
        url = f"{self._client.api_endpoint}/upload/storage/v1/b/{bucket}/o"
        try:
            self._uploader = Uploader(
                self._session, adapter, f"{url}?uploadType=multipart&ifGenerationMatch=0"
            )
        except CLIENT_ERRORS as error:
            raise translate_error(error, bucket, "") from error

    @property
    def uri(self) -> str:
        """``gs://bucket/prefix``."""
        return f"gs://{self._bucket_name}/{self._prefix}".rstrip("/")

    @property
    def local_path(self) -> None:
        """None."""

    @property
    def bigquery_uri(self) -> str:
        """``gs://bucket/prefix``."""
        return self.uri

    @property
    def listing_costs(self) -> bool:
        """True."""
        return True

    @property
    def retries(self) -> int:
        """Number of requests that were retried so far."""
        return self._retries

    def create(
        self,
        key: str,
        data: bytes,
        *,
        metadata: Mapping[str, str],
        content_type: str = "application/octet-stream",
    ) -> None:
        """Store an object unless there is one."""
        name = self._object_name(key)
        resource = {
            "name": name,
            "contentType": content_type,
            "crc32c": crc32c(data),
            "metadata": dict(metadata),
        }
        boundary = f"tickerlake-{clock.nonce()}{clock.nonce()}"
        body = b"".join(
            (
                f"--{boundary}\r\ncontent-type: application/json; charset=UTF-8\r\n\r\n".encode(),
                json.dumps(resource).encode(),
                f"\r\n--{boundary}\r\ncontent-type: {content_type}\r\n\r\n".encode(),
                data,
                f"\r\n--{boundary}--".encode(),
            )
        )
        headers = {"content-type": f"multipart/related; boundary={boundary}", "user-agent": _USER_AGENT}

        # The client's upload is resumable above 8 MiB, which verifies the checksum only after the object
        # exists (and then deletes it), and takes twice the time for a small object.
        def upload(timeout: _Timeout) -> None:
            response = self._uploader.post(body, headers, timeout)
            if response is not None:
                raise from_http_response(response)  # type: ignore[no-untyped-call]

        try:
            self._call_with_retries(name, upload, size=len(body))
        except ObjectMissing as error:
            raise bucket_not_found(self._bucket_name) from error

    def read(self, key: str) -> bytes:
        """Return an object's content, after verifying its checksum."""
        name = self._object_name(key)

        def download(timeout: _Timeout) -> bytes:
            content: bytes = self._bucket.blob(name).download_as_bytes(
                raw_download=True, checksum="crc32c", timeout=timeout, retry=None
            )
            return content

        return self._call_with_retries(name, download)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """Return a range of an object."""
        name = self._object_name(key)
        if length <= 0:
            return b""

        def download(timeout: _Timeout) -> bytes:
            try:
                content: bytes = self._bucket.blob(name).download_as_bytes(
                    start=start,
                    end=start + length - 1,
                    raw_download=True,
                    checksum=None,
                    timeout=timeout,
                    retry=None,
                )
            except RequestRangeNotSatisfiable:
                return b""  # the object ends before ``start``
            return content

        return self._call_with_retries(name, download)

    def stat(self, key: str) -> ObjectInfo | None:
        """Return an object's properties."""
        blob = self._bucket.blob(self._object_name(key))
        try:
            self._call_with_retries(blob.name, lambda timeout: blob.reload(timeout=timeout, retry=None))
        except ObjectMissing:
            return None
        return self._object_info(blob)

    def list(self, prefix: str, start_at: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects under ``prefix``, in order."""
        token: str | None = None
        while True:
            page, token = self._call_with_retries("", partial(self._list_page, prefix, start_at, token))
            yield from page
            if not token:
                return

    def delete(self, key: str) -> None:
        """Delete an object that can be computed again."""
        check_deletable(key)
        blob = self._bucket.blob(self._object_name(key))
        # a missing object was deleted by an attempt whose reply was lost, or by another process
        with contextlib.suppress(ObjectMissing):
            self._call_with_retries(blob.name, lambda timeout: blob.delete(timeout=timeout, retry=None))

    def replace_damaged(self, key: str, data: bytes | None, *, metadata: Mapping[str, str]) -> None:
        """Replace a damaged object, or with None delete it."""
        blob = self._bucket.blob(self._object_name(key))
        self._call_with_retries(blob.name, lambda timeout: blob.reload(timeout=timeout, retry=None))
        # the generation makes the second of two concurrent repairs fail
        conditions = {"if_generation_match": blob.generation, "retry": None}
        if data is None:
            with contextlib.suppress(ObjectMissing):  # the reply was lost
                self._call_with_retries(blob.name, lambda timeout: blob.delete(timeout=timeout, **conditions))
            return
        replacement = self._bucket.blob(blob.name)
        replacement.metadata = dict(metadata)

        def upload(timeout: _Timeout) -> None:
            replacement.upload_from_string(
                data, content_type=blob.content_type, checksum="crc32c", timeout=timeout, **conditions
            )

        try:
            self._call_with_retries(blob.name, upload, size=len(data))
        except ObjectExists as error:
            if self.read(key) != data:  # else the reply was lost
                raise StoreError(
                    f"gs://{self._bucket_name}/{blob.name} was changed by another process.",
                    "Audit the lake again.",
                ) from error

    def service_info(self) -> ServiceInfo:
        """Return the bucket's location and the service's time."""

        def request(timeout: _Timeout) -> ServiceInfo:
            response = self._session.get(
                f"{self._client.api_endpoint}/storage/v1/b/{self._bucket_name}?fields=location,locationType",
                timeout=timeout,
            )
            # 403: storing objects does not require permission to see the bucket
            if response.status_code not in {200, 403}:
                raise from_http_response(response)  # type: ignore[no-untyped-call]
            try:
                server_time_s = parsedate_to_datetime(response.headers["date"]).timestamp()
            except (KeyError, ValueError):
                server_time_s = None
            location = response.json().get("location") if response.status_code == 200 else None
            return ServiceInfo(location, server_time_s)

        return self._call_with_retries("", request)

    def close(self) -> None:
        """Close the connections and stop waiting between retries."""
        self._closed.set()
        self._client.close()

    def _list_page(
        self, prefix: str, start_at: str, token: str | None, timeout: _Timeout
    ) -> tuple[Sequence[ObjectInfo], str | None]:
        blobs = self._client.list_blobs(
            self._bucket,
            prefix=self._prefix + prefix or None,
            start_offset=self._prefix + start_at if start_at else None,
            page_token=token,
            fields="items(name,size,metadata,crc32c),nextPageToken",
            timeout=timeout,
            retry=None,
        )
        page = [self._object_info(blob) for blob in next(blobs.pages, ())]
        return page, blobs.next_page_token

    def _object_info(self, blob: Any) -> ObjectInfo:
        return ObjectInfo(blob.name.removeprefix(self._prefix), blob.size, blob.metadata or {}, blob.crc32c)

    def _object_name(self, key: str) -> str:
        check_key(key)
        return self._prefix + key

    def _call_with_retries(self, name: str, action: Callable[[_Timeout], _Result], size: int = 0) -> _Result:
        """Call ``action`` until it succeeds, fails for good, or the timeout is reached."""
        started = clock.monotonic_s()
        deadline = started + self._call_timeout_s
        backoff_s, attempts = _INITIAL_BACKOFF_S, 0
        while True:
            attempts += 1
            remaining_s = max(deadline - clock.monotonic_s(), 0.1)
            # this timeout bounds connecting as well as sending the whole body
            send_timeout_s = _CONNECT_TIMEOUT_S + size / _MIN_UPLOAD_BYTES_PER_S
            try:
                return action((min(send_timeout_s, remaining_s), min(_READ_TIMEOUT_S, remaining_s)))
            except DataCorruption as error:
                raise StoreError(
                    f"gs://{self._bucket_name}/{name} was damaged in transit: {error}"
                ) from error
            except CLIENT_ERRORS as error:
                translated, cause = translate_error(error, self._bucket_name, name), error
            if not isinstance(translated, StoreUnavailable):
                raise translated from cause
            wait_s = max(clock.jitter(backoff_s), translated.retry_after_s)
            if clock.monotonic_s() + wait_s >= deadline or self._closed.wait(wait_s):
                elapsed_s = clock.monotonic_s() - started
                message = f"{translated.message} (after {attempts} attempts in {elapsed_s:.0f} s)"
                unavailable = StoreUnavailable(message, "Check the network; the operation will be retried.")
                unavailable.retry_after_s = max(translated.retry_after_s, unavailable.retry_after_s)
                raise unavailable from cause
            backoff_s = min(backoff_s * 2, _MAX_BACKOFF_S)
            with self._retries_lock:
                self._retries += 1
