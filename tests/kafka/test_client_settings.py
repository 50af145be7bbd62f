"""Settings of Kafka clients: TLS for every host but this one, wherever the host is named."""

import pytest

from tickerlake.errors import UsageError
from tickerlake.kafka.client import client_settings

LOCAL = "127.0.0.1:9092"


@pytest.mark.parametrize(
    "servers",
    [
        LOCAL,
        "localhost:9092",
        "LOCALHOST",
        "127.8.0.1:1",
        "[::1]:9092",
        "localhost:1, 127.0.0.1:2",
        "localhost:1,",
    ],
)
@pytest.mark.parametrize("name", ["", "bootstrap.servers", "metadata.broker.list"])
def test_this_machine_needs_no_tls(servers: str, name: str) -> None:
    settings = client_settings(LOCAL, {name: servers}) if name else client_settings(servers, {})
    assert "security.protocol" not in settings


@pytest.mark.parametrize(
    "servers",
    [
        *(
            "kafka:9092",
            "localhost.example.com:9092",
            "localhost-1:9092",
            "localhostile",
            "127.example.com:9092",
        ),
        *("127.0.0.1.example.com:9092", "127.0.0.1.nip.io", "10.0.0.1:9092", "[::2]:9092", "[2001:db8::1]:1"),
        *("localhost:9092,kafka:9092", "kafka:9092, localhost:9092", "1270.0.0.1:9092"),
    ],
)
@pytest.mark.parametrize("name", ["", "bootstrap.servers", "metadata.broker.list"])
def test_other_hosts_get_tls_by_default(servers: str, name: str) -> None:
    properties = {name: servers} if name else {}
    argument = LOCAL if name else servers
    assert client_settings(argument, properties)["security.protocol"] == "SSL"
    for mechanism in ("sasl.mechanisms", "sasl.mechanism"):
        with_sasl = client_settings(argument, {**properties, mechanism: "PLAIN"})
        assert with_sasl["security.protocol"] == "SASL_SSL"
    plain = client_settings(argument, {**properties, "security.protocol": "PLAINTEXT"})
    assert plain["security.protocol"] == "PLAINTEXT"


@pytest.mark.parametrize("name", ["", "bootstrap.servers", "metadata.broker.list"])
@pytest.mark.parametrize(
    "servers", ["me:hunter2@kafka:9092", "kafka:9092,SASL_SSL://me:hunter2@localhost:9092"]
)
def test_a_password_in_an_address_is_not_shown(servers: str, name: str) -> None:
    with pytest.raises(UsageError, match="a user name or a password") as caught:
        client_settings(LOCAL if name else servers, {name: servers} if name else {})
    assert "hunter2" not in str(caught.value)
    assert "SASL_PASSWORD" in caught.value.hint


@pytest.mark.parametrize(
    "servers",
    [
        "",
        " ",
        ",",
        ":::",
        ":9092",
        "kafka:",
        "kafka:port",
        "kafka:99999",
        "kafka:0",
        "[::1",
        "a b",
        "a\nb",
        "http://kafka/x",
    ],
)
def test_what_is_not_an_address(servers: str) -> None:
    with pytest.raises(UsageError, match="address of a broker"):
        client_settings(servers, {})


@pytest.mark.parametrize(
    "servers",
    [
        "kafka",
        "kafka:9092",
        "SASL_SSL://kafka:9092, b-1.kafka.example.com",
        "[::1]:9092",
        "[fe80::1%eth0]:9092",
        "a:1,,b:2",
    ],
)
def test_what_is_an_address(servers: str) -> None:
    assert client_settings(servers, {})["bootstrap.servers"] == servers


@pytest.mark.parametrize("text", ["\udcff", "a\0b"])
def test_texts_that_would_abort_the_process(text: str) -> None:
    for properties, defaults in (({"client.id": text}, {}), ({text: "x"}, {}), ({}, {"group.id": text})):
        with pytest.raises(UsageError, match="is not UTF-8, or has a NUL"):
            client_settings(LOCAL, properties, **defaults)


def test_the_users_properties_take_precedence() -> None:
    settings = client_settings(LOCAL, {"client.id": "mine", "log_level": "7"}, linger=5)
    assert (settings["client.id"], settings["log_level"], settings["linger"]) == ("mine", "7", 5)
    assert settings["bootstrap.servers"] == LOCAL
