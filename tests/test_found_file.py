"""A settings file that was found in the working folder, and not named, may not do everything."""

import os
from pathlib import Path

import pytest

from support.process import run
from tickerlake.config import load_settings
from tickerlake.errors import UsageError

DANGEROUS = {
    "plugin.library.paths": "./evil",
    "ssl.engine.location": "./evil.so",
    "ssl.engine.id": "evil",
    "ssl.providers": "legacy,./evil",
    "sasl.kerberos.kinit.cmd": "touch owned",
    "sasl.kerberos.keytab": "$(touch owned)",
    "sasl.kerberos.principal": "a;touch owned",
    "sasl.kerberos.service.name": "x",
    "sasl.mechanisms": "GSSAPI",
    "sasl.mechanism": "OAUTHBEARER",
    "sasl.oauthbearer.method": "oidc",
    "sasl.oauthbearer.config": "x",
    "sasl.oauthbearer.token.endpoint.url": "https://evil.example.com",
    "sasl.oauthbearer.client.secret": "x",
    "sasl.oauthbearer.assertion.private.key.file": "/etc/shadow",
    "sasl.oauthbearer.metadata.authentication.type": "azure_imds",
    "enable.sasl.oauthbearer.unsecure.jwt": True,
    "https.ca.location": "ca.pem",
    "ssl.ca.location": "ca.pem",
    "ssl.ca.pem": "x",
    "ssl.ca.certificate.stores": "x",
    "ssl.crl.location": "x",
    "ssl_key": "x",
    "ssl_keylog": "x",
    "ssl.endpoint.identification.algorithm": "none",
    "enable.ssl.certificate.verification": False,
    "ssl.cipher.suites": "NULL",
    "security.protocol": "SASL_PLAINTEXT",
    "debug": "all",
    "no.such.property": "x",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f'"{value}"'


@pytest.mark.parametrize("name", DANGEROUS)
@pytest.mark.parametrize(
    "form", ["[kafka.properties]\n\n'{}' = {}\n", "\n[kafka]\nproperties = {{ '{}' = {} }}\n"]
)
def test_a_property_that_a_found_file_may_not_set(folder: Path, name: str, form: str) -> None:
    text = form.format(name, toml(DANGEROUS[name]))
    (folder / "tickerlake.toml").write_text(text)
    with pytest.raises(UsageError, match="not accepted") as caught:
        load_settings({})
    assert f"tickerlake.toml, line 3: kafka.properties.{name}" in caught.value.message
    assert "--config tickerlake.toml" in caught.value.hint
    for settings in (
        load_settings({}, Path("tickerlake.toml")),
        load_settings({"TICKERLAKE_CONFIG": "tickerlake.toml"}),
    ):
        assert settings.kafka.properties[name] == DANGEROUS[name]


def test_the_environment_is_trusted(folder: Path) -> None:
    settings = load_settings({"TICKERLAKE_KAFKA__PROPERTIES__SSL_CA_LOCATION": "ca.pem"})
    assert settings.kafka.properties == {"ssl.ca.location": "ca.pem"}


def test_what_a_found_file_may_set(folder: Path) -> None:
    (folder / "tickerlake.toml").write_text(
        "lake = 'lake'\n[kafka]\nbootstrap_servers = 'kafka:9093'\n[kafka.properties]\n"
        "'sasl.mechanisms' = 'SCRAM-SHA-512'\n'sasl.username' = 'me'\n'security.protocol' = 'SASL_SSL'\n"
        "'socket.keepalive.enable' = true\n'linger.ms' = 5\n"
    )
    settings = load_settings({"TICKERLAKE_KAFKA__PROPERTIES__SASL_PASSWORD": "hunter2"})
    assert settings.kafka.properties["linger.ms"] == 5
    assert settings.kafka.properties["sasl.password"] == "hunter2"


@pytest.mark.parametrize(
    "text",
    [
        "[kafka]\nbootstrap_servers = 'evil:9093'\n[kafka.properties]\n'sasl.mechanisms' = 'PLAIN'\n",
        "[kafka.properties]\n'bootstrap.servers' = 'evil:9093'\n'sasl.mechanism' = 'PLAIN'\n",
        "[kafka.properties]\n'metadata.broker.list' = 'evil:9093'\n'sasl.mechanism' = 'plain'\n",
    ],
)
def test_a_password_is_not_sent_where_a_found_file_says(folder: Path, text: str) -> None:
    (folder / "tickerlake.toml").write_text(text)
    environment = {"TICKERLAKE_KAFKA__PROPERTIES__SASL_PASSWORD": "hunter2"}
    with pytest.raises(UsageError, match="would be sent") as caught:
        load_settings(environment)
    assert "hunter2" not in str(caught.value)
    load_settings(environment | {"TICKERLAKE_CONFIG": "tickerlake.toml"})
    load_settings({})


def test_rules_must_be_named(folder: Path) -> None:
    (folder / "tickerlake.toml").write_text("[track]\nprefix = 'x'\nrules = 'rules.toml'\n")
    with pytest.raises(UsageError, match=r"line 3: track\.rules"):
        load_settings({})
    assert load_settings({}, Path("tickerlake.toml")).track.rules == "rules.toml"


@pytest.mark.parametrize(("mode", "whom"), [(0o646, "every user"), (0o602, "every user"), (0o664, "a group")])
@pytest.mark.parametrize("part", ["file", "folder"])
def test_others_may_not_write_it(folder: Path, mode: int, whom: str, part: str) -> None:
    file = folder / "tickerlake.toml"
    file.write_text("lake = 'lake'\n")
    other_group = 12_345
    target = file if part == "file" else folder
    if os.geteuid() == 0:
        os.chown(target, 0, other_group)
    elif whom == "a group":
        pytest.skip("only root can give a file to another group")
    target.chmod(mode | 0o700)
    with pytest.raises(UsageError, match=f"can be written by {whom}"):
        load_settings({})
    target.chmod(0o755 if part == "folder" else 0o644)
    assert load_settings({}).lake == "lake"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
@pytest.mark.parametrize("part", ["file", "link", "folder"])
def test_it_must_belong_to_the_user(folder: Path, part: str) -> None:
    (folder / "own.toml").write_text("lake = 'lake'\n")
    file = folder / "tickerlake.toml"
    file.symlink_to("own.toml")
    os.chown(
        {"file": folder / "own.toml", "link": file, "folder": folder}[part], 12_345, 0, follow_symlinks=False
    )
    with pytest.raises(UsageError, match="belongs to another user"):
        load_settings({})
    assert load_settings({}, file).lake == "lake"


def test_the_command_names_file_line_key_and_remedy(folder: Path) -> None:
    (folder / "tickerlake.toml").write_text("[kafka]\nproperties = { 'plugin.library.paths' = './plug' }\n")
    _, err = run("doctor", exit_code=2, cwd=folder)
    assert "tickerlake.toml, line 2: kafka.properties.plugin.library.paths" in err
    assert "→" in err
    assert "--config tickerlake.toml" in err
