"""A webhook never connects to a private network."""

import socket
from collections.abc import Iterator

import pytest

from support.receivers import Receiver, Reply, make_notification
from tickerlake.notify.targets import DeliveryRefused, TargetUnreachable
from tickerlake.notify.targets.address import Endpoint, is_permitted
from tickerlake.notify.targets.network import Network
from tickerlake.notify.targets.webhook import WebhookTarget

PUBLIC = ("93.184.216.34", "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808")
PRIVATE = (
    "127.0.0.1",
    "127.255.0.1",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "198.18.0.1",
    "192.0.0.9",
    "240.0.0.1",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2001:0:1::1",
    "fc00::1",
    "fec0::1",
    "2001:db8::1",
    "::7f00:1",
)
NEVER = (
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "64:ff9b:1:a9fe:a9:fe00::",
    "64:ff9b:1:a9:fe:a9fe::",
    "64:ff9b:1:0:a9:fea9:fe00:0",
    "::a9fe:a9fe",
    "::ffff:0:a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "2001:0:a9fe:a9fe::1",
    "2001:0:4136:e378:8000:63bf:5601:5601",
    "fd00::5efe:169.254.169.254",
    "fd00::200:5efe:100.100.100.200",
    "169.254.169.254",
    "169.254.170.2",
    "::ffff:169.254.169.254",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "100.100.100.200",
    "168.63.129.16",
    "0.0.0.0",  # noqa: S104
    "::",
    "255.255.255.255",
    "224.0.0.1",
    "ff02::1",
    "not an address",
)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_permitted(address: str) -> None:
    assert is_permitted(address, allow_private=False)
    assert is_permitted(address, allow_private=True)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_denied_by_default(address: str) -> None:
    assert not is_permitted(address, allow_private=False)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.0.0.1", "192.168.1.1", "fc00::1", "100.64.0.1"])
def test_private_addresses_can_be_allowed(address: str) -> None:
    assert is_permitted(address, allow_private=True)


@pytest.mark.parametrize("address", NEVER)
def test_metadata_and_special_addresses_are_never_permitted(address: str) -> None:
    assert not is_permitted(address, allow_private=False)
    if address != "255.255.255.255":
        assert not is_permitted(address, allow_private=True)


@pytest.fixture
def untouched_listener() -> Iterator[socket.socket]:
    """Listen on loopback, and fail if anything connected."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0.0.0.0",  # noqa: S104
        "::ffff:127.0.0.1",
    ],
)
def test_no_spelling_of_loopback_is_allowed(host: str, untouched_listener: socket.socket) -> None:
    # constructed directly: `parse` rejects most of them earlier
    endpoint = Endpoint("https", host, untouched_listener.getsockname()[1], "/")
    with pytest.raises((DeliveryRefused, TargetUnreachable)):
        WebhookTarget("ops", endpoint).deliver(make_notification())


@pytest.mark.parametrize("address", [*PRIVATE, *NEVER])
def test_names_of_private_addresses_are_denied(address: str) -> None:
    network = Network(resolve=lambda host, port: ["8.8.8.8", address], connect=_must_not_connect)
    with pytest.raises(DeliveryRefused, match="not permitted; nothing was sent"):
        WebhookTarget("ops", Endpoint.parse("https://example.com/"), network=network).deliver(
            make_notification()
        )


def test_a_name_is_resolved_only_once(untouched_listener: socket.socket) -> None:
    answers = iter([["8.8.8.8"], ["127.0.0.1"]])
    attempted: list[str] = []

    def connect(address: str, port: int, timeout_s: float) -> socket.socket:
        attempted.append(address)
        raise ConnectionRefusedError(111, "Connection refused")

    url = f"https://example.com:{untouched_listener.getsockname()[1]}/"
    network = Network(resolve=lambda host, port: next(answers), connect=connect)
    with pytest.raises(TargetUnreachable):
        WebhookTarget("ops", Endpoint.parse(url), network=network).deliver(make_notification())
    assert attempted == ["8.8.8.8"]
    assert next(answers) == ["127.0.0.1"]


def test_a_redirect_is_not_followed(untouched_listener: socket.socket) -> None:
    location = f"http://127.0.0.1:{untouched_listener.getsockname()[1]}/"
    for status in (301, 302, 303, 307, 308):
        with Receiver(Reply(status, {"Location": location})) as receiver:
            target = WebhookTarget("ops", Endpoint.parse(receiver.url, allow_private=True))
            with pytest.raises(DeliveryRefused, match="Redirects are not followed"):
                target.deliver(make_notification())


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://example.com/", "does not begin with https://"),
        ("file:///etc/passwd", "does not begin with https://"),
        ("gopher://example.com/", "does not begin with https://"),
        ("example.com", "does not begin with https://"),
        ("", "has spaces"),
        ("https://", "has no valid host"),
        ("https://ann:pass@example.com/", "user name or password"),
        ("https://example.com\\@127.0.0.1/", "backslash"),
        ("https://exa mple.com/", "spaces"),
        ("https://example.com/\r\nX: y", "spaces"),
        ("https://exämple.com/", "non-ASCII"),
        ("https://example.com:99999/", "is not a URL"),
        ("https://example.com:0/", "port 0"),
        ("https://[::1/", "is not a URL"),
        ("https://[fe80::1%25eth0]/", "has no valid host"),
        ("https://127.0.0.1/", "not permitted"),
        ("https://[::1]/", "not permitted"),
        ("https://169.254.169.254./latest", "not permitted"),
    ],
)
def test_other_urls_are_rejected(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Endpoint.parse(url)


def test_file_urls_are_rejected_even_with_private_addresses_allowed() -> None:
    with pytest.raises(ValueError, match="does not begin with https:// or http://"):
        Endpoint.parse("file:///etc/passwd", allow_private=True)
    with pytest.raises(ValueError, match="not permitted"):
        Endpoint.parse("http://169.254.169.254/latest", allow_private=True)


def test_the_host_header_includes_a_nondefault_port() -> None:
    urls = ("https://a.com/", "https://a.com:8443/", "https://[2606:4700::1]/")
    assert [Endpoint.parse(url).authority for url in urls] == ["a.com", "a.com:8443", "[2606:4700::1]"]


def test_the_repr_of_an_endpoint_is_redacted() -> None:
    assert "example" not in repr(Endpoint.parse("https://example.com/T0/secret"))


def _must_not_connect(address: str, port: int, timeout_s: float) -> socket.socket:
    raise AssertionError(f"connects to {address}")
