"""Faults of Cloud Storage: lost replies, error statuses, no response."""

import itertools
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.auth.credentials import Credentials

from support.gcs import FakeGcs
from support.http_fault_proxy import FaultProxy
from tickerlake.errors import ObjectExists, SetupError, StoreError, StoreUnavailable
from tickerlake.lake.store import open_store
from tickerlake.lake.store.gcs import GcsStore

_numbers = itertools.count()


@pytest.fixture
def proxy(fake_gcs: FakeGcs, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    with FaultProxy(fake_gcs.url) as proxy:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.url)
        monkeypatch.setattr("tickerlake.clock.jitter", lambda delay_s: 0.0)
        yield proxy
        assert proxy.pending == 0, "an injected fault did not occur"


@pytest.fixture
def bucket(fake_gcs: FakeGcs) -> str:
    name = f"faults-{next(_numbers)}"
    fake_gcs.create_bucket(name)
    return name


@pytest.fixture
def store(proxy: FaultProxy, bucket: str) -> Iterator[GcsStore]:
    store = GcsStore(bucket, "lake", call_timeout_s=60)
    yield store
    store.close()


def _contents(store: GcsStore) -> dict[str, bytes]:
    return {info.key: store.read(info.key) for info in store.list("")}


def test_a_lost_reply_ends_as_an_object_that_exists(store: GcsStore, proxy: FaultProxy) -> None:
    proxy.lose_reply()
    with pytest.raises(ObjectExists):
        store.create("a", b"content", metadata={"next": "7"})
    info = store.stat("a")
    assert info is not None
    assert info.metadata == {"next": "7"}
    assert _contents(store) == {"a": b"content"}
    assert (proxy.uploads, store.retries) == (2, 1)


def test_a_lost_repair_reply_succeeds(store: GcsStore, proxy: FaultProxy) -> None:
    store.create("raw/a", b"damaged", metadata={})
    proxy.lose_reply()
    store.replace_damaged("raw/a", b"sound", metadata={"next": "7"})
    info = store.stat("raw/a")
    assert info is not None
    assert info.metadata == {"next": "7"}
    assert _contents(store) == {"raw/a": b"sound"}


def test_an_interrupted_upload_is_retried(store: GcsStore, proxy: FaultProxy) -> None:
    content = bytes(range(256)) * 8192
    proxy.reset_mid_body(2)
    store.create("a", content, metadata={})
    assert _contents(store) == {"a": content}
    assert (proxy.uploads, store.retries) == (3, 2)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_busy_store_is_retried(store: GcsStore, proxy: FaultProxy, status: int) -> None:
    proxy.reply_with_status(status, times=2)
    store.create("a", b"content", metadata={})
    assert _contents(store) == {"a": b"content"}
    assert store.retries == 2


def test_a_retry_after_beyond_the_deadline_gives_up(store: GcsStore, proxy: FaultProxy) -> None:
    proxy.reply_with_status(429, retry_after=3600)
    with pytest.raises(StoreUnavailable, match="1 attempts"):
        store.create("a", b"content", metadata={})


@pytest.mark.parametrize(
    ("status", "message"),
    [(400, "refused"), (401, "gcloud auth application-default login"), (403, "roles/storage.objectCreator")],
)
def test_a_permanent_error_is_final(
    store: GcsStore, proxy: FaultProxy, bucket: str, status: int, message: str
) -> None:
    proxy.reply_with_status(status)
    with pytest.raises(StoreError, match=message) as caught:
        store.create("a", b"content", metadata={})
    assert bucket in str(caught.value)
    assert "POST" not in str(caught.value)
    assert proxy.uploads == 1
    assert _contents(store) == {}


def test_a_truncated_download_is_retried(store: GcsStore, proxy: FaultProxy) -> None:
    store.create("a", b"0123456789" * 1000, metadata={})
    proxy.truncate_download(2)
    assert store.read("a") == b"0123456789" * 1000
    proxy.truncate_download()
    assert store.read_range("a", 10, 20) == b"0123456789" * 2


def test_a_damaged_download_is_rejected(store: GcsStore, proxy: FaultProxy) -> None:
    store.create("a", b"content", metadata={})
    proxy.corrupt_download()
    with pytest.raises(StoreError, match="damaged"):
        store.read("a")


class _Token(Credentials):
    """A token that the store rejects until it is refreshed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.token = "stale"

    def refresh(self, request: object) -> None:
        self.token = "fresh"


def test_a_revoked_token_is_refreshed_once(
    proxy: FaultProxy, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = _Token()
    monkeypatch.setattr("tickerlake.lake.store.gcs_session.AnonymousCredentials", lambda: token)
    store = GcsStore(bucket)
    proxy.reply_with_status(401)
    store.create("a", b"content", metadata={})
    assert token.token == "fresh"
    proxy.reply_with_status(401, times=2)
    with pytest.raises(StoreError, match="rejected the credentials"):
        store.create("b", b"content", metadata={})
    assert proxy.uploads == 4


def test_an_unresponsive_store_hits_the_deadline(proxy: FaultProxy, bucket: str) -> None:
    store = GcsStore(bucket, call_timeout_s=0.5)
    proxy.stall()
    with pytest.raises(StoreUnavailable):
        store.create("a", b"content", metadata={})
    assert GcsStore(bucket).stat("a") is None


def test_a_store_that_stays_busy_reaches_the_deadline(
    proxy: FaultProxy, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tickerlake.clock.jitter", lambda delay_s: delay_s)
    store = GcsStore(bucket, call_timeout_s=1.2)
    proxy.reply_with_status(503, times=2)  # a retry after 0.5 s; the next backoff of 1 s exceeds the timeout
    with pytest.raises(StoreUnavailable, match="2 attempts"):
        store.create("a", b"content", metadata={})


def test_connection_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, never listening: connections are refused
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"127.0.0.1:{unused.getsockname()[1]}")
        store = GcsStore("bucket", call_timeout_s=0.1)
        for call in (
            lambda: store.create("a", b"", metadata={}),
            lambda: store.read("a"),
            lambda: store.stat("a"),
            lambda: list(store.list("")),
        ):
            with pytest.raises(StoreUnavailable):
                call()


def test_close_interrupts_the_backoff(
    store: GcsStore, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = threading.Event()

    def long_wait(delay_s: float) -> float:
        waiting.set()
        return 50.0

    monkeypatch.setattr("tickerlake.clock.jitter", long_wait)
    proxy.reply_with_status(503)
    failures: list[Exception] = []

    def create() -> None:
        try:
            store.create("a", b"content", metadata={})
        except StoreUnavailable as error:
            failures.append(error)

    thread = threading.Thread(target=create)
    thread.start()
    assert waiting.wait(30)
    store.close()
    thread.join(30)
    assert len(failures) == 1


def test_a_missing_bucket_is_named(proxy: FaultProxy) -> None:
    store = GcsStore("no-such-bucket")
    with pytest.raises(StoreError, match="gcloud storage buckets create gs://no-such-bucket"):
        store.create("a", b"", metadata={})
    with pytest.raises(StoreError, match="does not exist"):
        list(store.list(""))


def test_missing_credentials_error_explains_how_to_log_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with pytest.raises(SetupError, match="gcloud auth application-default login"):
        open_store("gs://bucket/lake")


@pytest.mark.parametrize("content", ["", "not json", '{"type": "unheard of"}', '{"type": "service_account"}'])
def test_an_invalid_key_file_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    (tmp_path / "key.json").write_text(content)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    with pytest.raises(SetupError, match="GOOGLE_APPLICATION_CREDENTIALS"):
        open_store("gs://bucket/lake")


def test_an_invalid_emulator_url_is_a_setup_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://")
    with pytest.raises(SetupError, match="STORAGE_EMULATOR_HOST"):
        GcsStore("bucket", call_timeout_s=0.1).read("a")
