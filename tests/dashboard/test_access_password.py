"""Password hashing and rate limits."""

import asyncio
import threading
from typing import Any

import pytest

from dashboard.access_support import HASH as CHEAP_HASH
from dashboard.access_support import PASSWORD, Clock, run_async
from tickerlake.dashboard.access import password as module
from tickerlake.dashboard.access.password import Password, hash_password
from tickerlake.dashboard.access.rate_limiter import RateLimiter, client_key, network_of
from tickerlake.errors import UsageError

HASH = hash_password(PASSWORD)


@pytest.mark.parametrize("setting", [PASSWORD, CHEAP_HASH])
def test_only_the_password_matches(setting: str) -> None:
    password = Password(setting)
    assert run_async(password.matches(PASSWORD))
    for wrong in ("", PASSWORD + " ", PASSWORD.upper(), HASH, "\x00", "\ud800"):
        assert not run_async(password.matches(wrong))


def test_passwords_are_unicode_normalized() -> None:
    assert run_async(Password("café du lac!").matches("cafe\u0301 du lac!"))


def test_hashes_are_salted_and_reveal_nothing() -> None:
    assert hash_password(PASSWORD) != HASH
    assert HASH.startswith("scrypt$32768$8$1$")
    assert PASSWORD not in HASH


def test_the_password_is_not_retained() -> None:
    for setting in (PASSWORD, HASH):
        password = Password(setting)
        assert setting not in repr(password) + repr(vars(password))


def test_short_passwords_are_rejected() -> None:
    for make in (hash_password, lambda text: Password(text, min_length=12)):
        with pytest.raises(UsageError) as caught:
            make("elevenchars")
        assert "elevenchars" not in str(caught.value)
    Password("short")


@pytest.mark.parametrize(
    "setting",
    [
        "scrypt$",
        HASH[:-1],
        HASH + "\n",
        HASH.replace("$8$", "$x$"),
        HASH.replace("$32768$", "$1024$"),
        HASH.replace("$32768$", "$32767$"),
        HASH.replace("$32768$", "$0$"),
        HASH.replace("$8$1$", "$1$1$"),
        HASH.replace("$8$1$", "$8$0$"),
        HASH.replace("$8$1$", "$8$999$"),
        HASH.replace("$32768$", "$536870912$"),
    ],
)
def test_damaged_weak_and_excessive_hashes_are_rejected(setting: str) -> None:
    with pytest.raises(UsageError) as caught:
        Password(setting)
    assert HASH.rpartition("$")[2][:32] not in str(caught.value)


@pytest.mark.parametrize(("simultaneous", "expected"), [(2, True), (3, False)])
def test_two_passwords_are_checked_at_once(
    monkeypatch: pytest.MonkeyPatch, simultaneous: int, expected: bool
) -> None:
    barrier = threading.Barrier(simultaneous, timeout=10 if expected else 0.3)

    def slow(*args: Any) -> bytes:
        barrier.wait()
        return b""

    password = Password(CHEAP_HASH)
    monkeypatch.setattr(module, "_scrypt", slow)

    async def attempts() -> list[bool | BaseException]:
        return await asyncio.gather(*(password.matches("x") for _ in range(6)), return_exceptions=True)

    all_met = not any(isinstance(result, threading.BrokenBarrierError) for result in run_async(attempts()))
    assert all_met == expected


def test_a_bucket_refills() -> None:
    clock = Clock()
    limiter = RateLimiter(0.5, 2, monotonic_s=clock)
    assert [limiter.acquire("a") for _ in range(4)] == [0, 0, 2, 2]
    assert limiter.acquire("b") == 0
    clock.now_s += 1
    assert limiter.acquire("a") == 1
    clock.now_s += 1
    assert [limiter.acquire("a") for _ in range(2)] == [0, 2]
    clock.now_s += 1e6
    assert [limiter.acquire("a") for _ in range(3)] == [0, 0, 2]


def test_the_number_of_buckets_is_bounded() -> None:
    limiter = RateLimiter(1, 1, max_clients=100, monotonic_s=Clock())
    assert limiter.acquire("busy") == 0
    for number in range(1000):
        assert limiter.acquire(str(number)) == 0
        # not evicted, so its bucket is not refilled
        assert limiter.acquire("busy") > 0
    assert len(limiter) == 100
    assert limiter.acquire("0") == 0


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::"),
        ("2001:db8:1:3::", "2001:db8:1:3::"),
        ("unknown", "unknown"),
    ],
)
def test_an_ipv4_address_or_an_ipv6_network_is_one_client(address: str, client: str) -> None:
    assert client_key(address) == client


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.0"),
        ("::ffff:192.0.2.255", "192.0.2.0"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("unknown", "unknown"),
    ],
)
def test_neighbors_share_a_network(address: str, network: str) -> None:
    assert network_of(address) == network
