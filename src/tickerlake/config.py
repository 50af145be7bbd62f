"""Settings from ``tickerlake.toml`` and the environment.

Command-line options override the environment, which overrides the file, which overrides the defaults that
``--help`` shows. A setting that is not set is None here.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

import msgspec

from tickerlake import failpoints, found_file
from tickerlake.errors import UsageError, did_you_mean
from tickerlake.session_changes import SessionChanges, read_changes
from tickerlake.toml_lines import TomlLines

CALENDAR: Final = "calendar"
"""The tables of the settings file that change calendars; no option or variable does."""

DEFAULT_FILE: Final = "tickerlake.toml"
ENV_PREFIX: Final = "TICKERLAKE_"
CONFIG_VARIABLE: Final = f"{ENV_PREFIX}CONFIG"
CACHE_VARIABLE: Final = f"{ENV_PREFIX}CACHE"
PASSWORD_VARIABLE: Final = f"{ENV_PREFIX}SERVE__PASSWORD"
TOKEN_VARIABLE: Final = f"{ENV_PREFIX}SERVE__TOKEN"
NON_SETTINGS: Final = {
    CONFIG_VARIABLE,
    CACHE_VARIABLE,
    PASSWORD_VARIABLE,
    TOKEN_VARIABLE,
    failpoints.ENV_VARIABLE,
}
"""Variables with the prefix of settings that a settings file cannot hold."""

_BROKER_PROPERTIES: Final = ("bootstrap.servers", "metadata.broker.list")


class KafkaSettings(msgspec.Struct, frozen=True):
    """How to reach Kafka; ``properties`` accepts any librdkafka property."""

    bootstrap_servers: str | None = None
    properties: dict[str, str | int | float | bool] = {}

    def __repr__(self) -> str:
        """Show the names of the properties without their values, some of which are passwords."""
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
    """Options of ``track``; ``state`` defaults to ``lake``."""

    topic: str | None = None
    group: str | None = None
    prefix: str | None = None
    bars: str | None = None
    day: Literal["regular", "all"] | None = None
    align: Literal["session", "utc"] | None = None
    indicators: str | None = None
    rules: str | None = None
    preset: str | None = None
    calendar: str | None = None
    splits: list[str] | None = None
    state: str | None = None
    grace: str | None = None
    lateness: str | None = None
    idle: str | None = None
    ahead: str | None = None


class ServeSettings(msgspec.Struct, frozen=True):
    """Options of ``serve``; password and token come only from the environment."""

    host: str | None = None
    port: int | None = None
    prefix: list[str] | None = None
    calendar: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    behind_proxy: list[str] | None = None
    allow_host: list[str] | None = None


class LoadSettings(msgspec.Struct, frozen=True):
    """Options of ``load``."""

    project: str | None = None
    dataset: str | None = None
    location: str | None = None
    watch: str | None = None
    calendar: str | None = None


class Settings(msgspec.Struct, frozen=True):
    """All settings; ``lake`` is a folder or ``gs://bucket/prefix``, ``calendar`` has changes by code."""

    lake: str | None = None
    calendar: dict[str, SessionChanges] = {}
    kafka: KafkaSettings = KafkaSettings()
    produce: ProduceSettings = ProduceSettings()
    sink: SinkSettings = SinkSettings()
    track: TrackSettings = TrackSettings()
    serve: ServeSettings = ServeSettings()
    load: LoadSettings = LoadSettings()


SECTIONS: Final[dict[str, type[msgspec.Struct]]] = {
    name: section
    for name, section in get_type_hints(Settings).items()
    if isinstance(section, type) and issubclass(section, msgspec.Struct)
}


def load_settings(environment: Mapping[str, str], path: Path | None = None) -> Settings:
    """Read the settings.

    Parameters
    ----------
    environment
        The environment variables.
    path
        The file; by default ``tickerlake.toml`` in the working folder, if it exists, which may not set
        everything (see `found_file`).

    Raises
    ------
    UsageError
        If the file or a variable has an unknown setting or an invalid value.
    """
    explicit_path = path or (Path(environment[CONFIG_VARIABLE]) if environment.get(CONFIG_VARIABLE) else None)
    if explicit_path is not None and not explicit_path.is_file():
        raise UsageError(f"The settings file {explicit_path} does not exist.", "Check --config.")
    file = explicit_path or Path(DEFAULT_FILE)
    found = explicit_path is None and file.is_file()
    settings = _read_file(file, found=found) if explicit_path or found else Settings()
    merged = _with_environment(settings, environment)
    if found:
        _check_password(file, settings, merged)
    return merged


def _check_password(file: Path, found: Settings, merged: Settings) -> None:
    properties = {name: str(value) for name, value in found.kafka.properties.items()}
    environment = {
        name: str(value)
        for name, value in merged.kafka.properties.items()
        if name not in found.kafka.properties or value != found.kafka.properties[name]
    }
    brokers_are_found = (
        found.kafka.bootstrap_servers is not None
        and merged.kafka.bootstrap_servers == found.kafka.bootstrap_servers
    ) or any(name in properties and name not in environment for name in _BROKER_PROPERTIES)
    found_file.check_password(file, properties, environment, brokers_are_found=brokers_are_found)


def _check_found(section: str, key: str, value: object, file: Path, text: str, line: int) -> None:
    if (section, key) == ("track", "rules"):
        found_file.check_rules(file, line)
    if (section, key) == ("kafka", "properties") and isinstance(value, dict):
        for name, each in value.items():
            lines = (number for number, content in enumerate(text.splitlines(), 1) if name in content)
            found_file.check_property(name, each, file, next(lines, line))


def _read_file(file: Path, *, found: bool) -> Settings:
    try:
        if found:
            found_file.check_owner(file)
        text = file.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, RecursionError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}.", "See docs/reference.md.") from error
    values: dict[str, Any] = {}
    lines = TomlLines(text)
    for section, key in _section_keys(document):
        line = lines.line_of(section, key=key)
        location = f"{file}, line {line}"
        _check_known(section, key, location)
        value = document[section][key] if section else document[key]
        if found:
            _check_found(section, key, value, file, text, line)
        if (section, key) == ("", CALENDAR):
            values[CALENDAR] = _read_calendars(value, file, lines)
            continue
        setting_location = f"{location}: {f'{section}.' if section else ''}{key}"
        (values.setdefault(section, {}) if section else values)[key] = _convert(
            section, key, value, setting_location, strict=True
        )
    return msgspec.convert(values, Settings)


def _read_calendars(table: object, file: Path, lines: TomlLines) -> object:
    def location(code: str, key: str) -> str:
        name = f"{CALENDAR}.{code}"
        line = lines.line_of(name, key=key) if code else lines.line_of("", key=CALENDAR)
        return f"{file}, line {line}"

    return msgspec.to_builtins(read_changes(table, location))


def _with_environment(settings: Settings, environment: Mapping[str, str]) -> Settings:
    values: dict[str, Any] = msgspec.to_builtins(settings)
    for name, text in environment.items():
        if not name.startswith(ENV_PREFIX) or name in NON_SETTINGS:
            continue
        section, _, key = name.removeprefix(ENV_PREFIX).lower().rpartition("__")
        if name == f"{ENV_PREFIX}{CALENDAR.upper()}":
            raise UsageError(
                f"The variable {name} is no setting: changes to calendars are tables of the settings file.",
                f"To choose the calendar of unknown markets, use {ENV_PREFIX}TRACK__CALENDAR.",
            )
        if section == "kafka__properties":
            values["kafka"]["properties"][key.replace("_", ".")] = text
            continue
        _check_known(section, key, f"the variable {name}")
        value: object = text.split(",") if _is_list(section, key) else text
        (values[section] if section else values)[key] = _convert(section, key, value, name, strict=False)
    return msgspec.convert(values, Settings)


def _section_keys(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Return section and key of all settings in a file; the section is empty at the top level."""
    keys = []
    for name, value in document.items():
        if name in SECTIONS and isinstance(value, dict):
            keys += [(name, key) for key in value]
        else:
            keys.append(("", name))
    return keys


def _check_known(section: str, key: str, location: str) -> None:
    if section and section not in SECTIONS:
        raise UsageError(f"{location}: there is no section {section}.", did_you_mean(section, SECTIONS))
    names = _owner(section).__struct_fields__
    # a section whose value is not a table is known; `_convert` rejects the value
    if key not in names:
        level = f"in [{section}]" if section else "at the top level"
        raise UsageError(f"{location}: there is no setting {key} {level}.", did_you_mean(key, names))


def _owner(section: str) -> type[msgspec.Struct]:
    return SECTIONS[section] if section else Settings


def _is_list(section: str, key: str) -> bool:
    return any(get_origin(each) is list for each in get_args(get_type_hints(_owner(section))[key]))


def _convert(section: str, key: str, value: object, location: str, *, strict: bool) -> object:
    value_type = get_type_hints(_owner(section))[key]
    try:
        return msgspec.to_builtins(msgspec.convert(value, value_type, strict=strict))
    except msgspec.ValidationError as error:
        # a property may be a password: its value is never shown
        shown = "" if key == "properties" else f" is {value!r}"
        raise UsageError(f"{location}{shown}: {error}.", "See docs/reference.md.") from error
