"""Settings from ``tickerlake.toml`` and the environment.

Flags go over the environment, the environment over the file, the file over the defaults, which are those that
``--help`` shows: a setting that is not given is None here.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_type_hints

import msgspec

from tickerlake.errors import UsageError, did_you_mean

DEFAULT_FILE: Final = "tickerlake.toml"
ENV_PREFIX: Final = "TICKERLAKE_"
_OTHER_VARIABLES: Final = {
    "TICKERLAKE_CACHE",
    "TICKERLAKE_CONFIG",
    "TICKERLAKE_FAILPOINTS",
    "TICKERLAKE_SERVE__PASSWORD",
    "TICKERLAKE_SERVE__TOKEN",
}


_LIST_SETTINGS: Final = {("sink", "topic"), ("serve", "prefix"), ("serve", "allow_host")}


class KafkaSettings(msgspec.Struct, frozen=True):
    """How to reach Kafka; any librdkafka property stands under ``properties``."""

    bootstrap_servers: str | None = None
    properties: dict[str, str | int | float | bool] = {}

    def __repr__(self) -> str:
        """Name the properties without their values: passwords are among them."""
        return f"KafkaSettings({self.bootstrap_servers!r}, properties={sorted(self.properties)})"


class ProduceSettings(msgspec.Struct, frozen=True):
    """Options of ``produce``."""

    topic: str | None = None
    speed: str | None = None
    rate: str | None = None
    longest_wait: str | None = None
    partitions: int | None = None
    create: bool | None = None


class SinkSettings(msgspec.Struct, frozen=True):
    """Options of ``sink``."""

    topic: list[str] | None = None
    group: str | None = None
    format: Literal["ndjson", "parquet", "json"] | None = None
    flush_bytes: int | None = None
    flush_records: int | None = None
    flush_age: float | None = None
    on_gap: Literal["stop", "record"] | None = None


class TrackSettings(msgspec.Struct, frozen=True):
    """Options of ``track``; ``state`` is ``lake`` if that is set."""

    topic: str | None = None
    group: str | None = None
    prefix: str | None = None
    bars: str | None = None
    indicators: str | None = None
    rules: str | None = None
    preset: str | None = None
    calendar: str | None = None
    state: str | None = None
    grace: str | None = None
    lateness: str | None = None
    idle: str | None = None
    ahead: str | None = None


class ServeSettings(msgspec.Struct, frozen=True):
    """Options of ``serve``; password and token come from the environment alone."""

    host: str | None = None
    port: int | None = None
    prefix: list[str] | None = None
    calendar: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    behind_proxy: bool | None = None
    allow_host: list[str] | None = None


class LoadSettings(msgspec.Struct, frozen=True):
    """Options of ``load``."""

    project: str | None = None
    dataset: str | None = None
    location: str | None = None
    watch: str | None = None
    calendar: str | None = None


class Settings(msgspec.Struct, frozen=True):
    """Everything that can be set; ``lake`` is a folder or ``gs://bucket/prefix``."""

    lake: str | None = None
    kafka: KafkaSettings = KafkaSettings()
    produce: ProduceSettings = ProduceSettings()
    sink: SinkSettings = SinkSettings()
    track: TrackSettings = TrackSettings()
    serve: ServeSettings = ServeSettings()
    load: LoadSettings = LoadSettings()


SECTIONS: Final[dict[str, type[msgspec.Struct]]] = {
    "kafka": KafkaSettings,
    "produce": ProduceSettings,
    "sink": SinkSettings,
    "track": TrackSettings,
    "serve": ServeSettings,
    "load": LoadSettings,
}


def load_settings(environment: Mapping[str, str], path: Path | None = None) -> Settings:
    """Read the settings.

    Parameters
    ----------
    environment
        The process's environment.
    path
        The file; by default ``tickerlake.toml`` of the working folder, if it is there.

    Raises
    ------
    UsageError
        If the file or a variable holds something unknown or of the wrong kind.
    """
    explicit_path = path or (
        Path(environment["TICKERLAKE_CONFIG"]) if environment.get("TICKERLAKE_CONFIG") else None
    )
    if explicit_path is not None and not explicit_path.is_file():
        raise UsageError(f"The settings file {explicit_path} is not there.", "Check --config.")
    file = explicit_path or Path(DEFAULT_FILE)
    settings = Settings()
    if file.is_file():
        settings = _read_file(file)
    return _with_environment(settings, environment)


def _read_file(file: Path) -> Settings:
    try:
        text = file.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{file} can't be read: {error}.", "See docs/reference.md.") from error
    values: dict[str, Any] = {}
    for section, key in _section_keys(document):
        location = f"{file}, line {_find_line(text, section, key)}"
        _check_known(section, key, location)
        value = document[section][key] if section else document[key]
        setting_location = f"{location}: {f'{section}.' if section else ''}{key}"
        (values.setdefault(section, {}) if section else values)[key] = _convert(
            section, key, value, setting_location, strict=True
        )
    return msgspec.convert(values, Settings)


def _with_environment(settings: Settings, environment: Mapping[str, str]) -> Settings:
    values: dict[str, Any] = msgspec.to_builtins(settings)
    for name, text in environment.items():
        if not name.startswith(ENV_PREFIX) or name in _OTHER_VARIABLES:
            continue
        section, _, key = name.removeprefix(ENV_PREFIX).lower().rpartition("__")
        if section == "kafka__properties":
            values["kafka"]["properties"][key.replace("_", ".")] = text
            continue
        _check_known(section, key, f"the variable {name}")
        value: object = text.split(",") if (section, key) in _LIST_SETTINGS else text
        (values[section] if section else values)[key] = _convert(section, key, value, name, strict=False)
    return msgspec.convert(values, Settings)


def _section_keys(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Return section and key of everything in a file; the section of what stands at the top is empty."""
    keys = []
    for name, value in document.items():
        if name in SECTIONS and isinstance(value, dict):
            keys += [(name, key) for key in value]
        else:
            keys.append(("", name))
    return keys


def _check_known(section: str, key: str, location: str) -> None:
    if section and section not in SECTIONS:
        raise UsageError(f"{location}: there is no section {section}.", did_you_mean(section, list(SECTIONS)))
    owner = SECTIONS[section] if section else Settings
    # a section given as a single value is known, and refused for its kind
    if key not in owner.__struct_fields__:
        known = [name for name in owner.__struct_fields__ if section or name not in SECTIONS]
        section_name = f"[{section}]" if section else "the top"
        raise UsageError(
            f"{location}: there is no setting {key} at {section_name}.",
            did_you_mean(key, known + ([] if section else list(SECTIONS))),
        )


def _convert(section: str, key: str, value: object, location: str, *, strict: bool) -> object:
    owner = SECTIONS[section] if section else Settings
    value_type = get_type_hints(owner)[key]
    try:
        return msgspec.to_builtins(msgspec.convert(value, value_type, strict=strict))
    except msgspec.ValidationError as error:
        # a property may be a password: its value is never shown
        shown = "" if key == "properties" else f" is {value!r}"
        raise UsageError(f"{location}{shown}: {error}.", "See docs/reference.md.") from error


def _find_line(text: str, section: str, key: str) -> int:
    """Return the line of a file that sets a key."""
    current_section = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[+\s*([^\]]+?)\s*\]", line):
            current_section = header[1].strip('"')
            if current_section.split(".")[0] == (section or key) and (
                not section or current_section == f"{section}.{key}"
            ):
                return number
        elif re.match(rf"""\s*["']?{re.escape(key)}["']?\s*[.=]""", line) and current_section == section:
            return number
    return 1
