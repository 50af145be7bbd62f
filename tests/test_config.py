"""Settings: options override the environment, which overrides the file; and what is rejected."""

from pathlib import Path

import pytest

from support.process import run
from tickerlake.config import Settings, load_settings
from tickerlake.errors import UsageError

GOOD = """
lake = "gs://prices/lake"

[kafka]
bootstrap_servers = "kafka-1:9093"

[kafka.properties]
"sasl.username" = "me"
"sasl.password" = "hunter2"
"socket.keepalive.enable" = true

[sink]
topic = ["stocks.bars"]
flush_age = 2
format = "parquet"
"""


def write_config(folder: Path, text: str) -> Path:
    path = folder / "tickerlake.toml"
    path.write_text(text)
    return path


def test_settings_are_read_from_the_file(tmp_path: Path) -> None:
    settings = load_settings({}, write_config(tmp_path, GOOD))
    assert settings.lake == "gs://prices/lake"
    assert settings.kafka.properties["sasl.username"] == "me"
    assert settings.sink.topic == ["stocks.bars"]
    assert settings.sink.flush_age == 2.0
    assert settings.sink.flush_bytes is None
    assert settings.produce.partitions is None


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    environment = {
        "TICKERLAKE_LAKE": "./mine",
        "TICKERLAKE_SINK__FLUSH_AGE": "0.5",
        "TICKERLAKE_SINK__TOPIC": "a,b",
        "TICKERLAKE_PRODUCE__CREATE": "false",
        "TICKERLAKE_KAFKA__PROPERTIES__SASL_PASSWORD": "other",
        "TICKERLAKE_CACHE": "/somewhere",
        "PATH": "/bin",
    }
    settings = load_settings(environment, write_config(tmp_path, GOOD))
    assert settings.lake == "./mine"
    assert settings.sink.flush_age == 0.5
    assert settings.sink.topic == ["a", "b"]
    assert settings.produce.create is False
    assert settings.kafka.properties["sasl.password"] == "other"
    assert settings.sink.format == "parquet"


def test_a_missing_file_is_not_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings({}) == Settings()
    with pytest.raises(UsageError, match="does not exist"):
        load_settings({}, tmp_path / "other.toml")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[sink]\nflush_agee = 1\n", "line 2: there is no setting flush_agee in [sink]", "flush_age?"),
        ("\nlaek = 'x'\n", "line 2: there is no setting laek at the top level", "lake?"),
        ("[snik]\nformat = 'json'\n", "line 1: there is no setting snik", "sink?"),
        ("[sink]\nflush_bytes = 'many'\n", "line 2: sink.flush_bytes is 'many'", "reference.md"),
        ("[sink]\n\nformat = 'xml'\n", "line 3: sink.format is 'xml'", "reference.md"),
        ("sink = 5\n", "line 1: sink is 5", "reference.md"),
        ("[kafka]\n\nproperties.x = [1]\n", "line 3: kafka.properties", "reference.md"),
        ("lake = \n", "at line 1", "reference.md"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_settings({}, write_config(tmp_path, text))
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_wrong_variable_is_named() -> None:
    with pytest.raises(UsageError, match="TICKERLAKE_SINK__FLUSH_AGE is 'soon'"):
        load_settings({"TICKERLAKE_SINK__FLUSH_AGE": "soon"})
    with pytest.raises(UsageError, match="Did you mean bootstrap_servers") as caught:
        load_settings({"TICKERLAKE_KAFKA__BOOTSTRAP_SERVER": "x"})
    assert "TICKERLAKE_KAFKA__BOOTSTRAP_SERVER" in caught.value.message


def test_a_password_is_never_shown(tmp_path: Path) -> None:
    settings = load_settings({}, write_config(tmp_path, GOOD))
    assert "hunter2" not in repr(settings)
    with pytest.raises(UsageError) as caught:
        load_settings({}, write_config(tmp_path, "[kafka.properties]\n'sasl.password' = ['hunter2']\n"))
    assert "hunter2" not in str(caught.value)
    assert "line 1" in caught.value.message


def test_flags_override_the_file(tmp_path: Path) -> None:
    write_config(tmp_path, "lake = './one'\n")
    _, err = run("audit", exit_code=2, cwd=tmp_path)
    assert "/one" in err
    _, err = run("audit", "--lake", "./two", exit_code=2, cwd=tmp_path)
    assert "/two" in err
    _, err = run("--config", "none.toml", "sink", exit_code=2, cwd=tmp_path)
    assert "none.toml does not exist" in err
