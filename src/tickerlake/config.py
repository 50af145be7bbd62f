"""Settings from ``tickerlake.toml`` and the environment.

Flags go over the environment, the environment over the file, the file over the defaults, which are those that
``--help`` shows: a setting that is not given is None here.
"""

import difflib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_type_hints

import msgspec

from tickerlake.errors import UsageError

FILE: Final = "tickerlake.toml"
PREFIX: Final = "TICKERLAKE_"
_OTHERS: Final = {
    "TICKERLAKE_CACHE",
    "TICKERLAKE_CONFIG",
    "TICKERLAKE_FAILPOINTS",
    "TICKERLAKE_SERVE__PASSWORD",
    "TICKERLAKE_SERVE__TOKEN",
}


_LISTS: Final = {("sink", "topic"), ("serve", "prefix"), ("serve", "allow_host")}


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


def load(environment: Mapping[str, str], path: Path | None = None) -> Settings:
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
    named = path or (Path(environment["TICKERLAKE_CONFIG"]) if environment.get("TICKERLAKE_CONFIG") else None)
    if named is not None and not named.is_file():
        raise UsageError(f"The settings file {named} is not there.", "Check --config.")
    file = named or Path(FILE)
    settings = Settings()
    if file.is_file():
        settings = _read_file(file)
    return _with_environment(settings, environment)


def _read_file(file: Path) -> Settings:
    try:
        text = file.read_text(encoding="utf-8")
        given = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{file} can't be read: {error}.", "See docs/reference.md.") from error
    found: dict[str, Any] = {}
    for section, key in _keys(given):
        place = f"{file}, line {_line(text, section, key)}"
        _check_known(section, key, place)
        value = given[section][key] if section else given[key]
        where = f"{place}: {f'{section}.' if section else ''}{key}"
        (found.setdefault(section, {}) if section else found)[key] = _converted(
            section, key, value, where, strict=True
        )
    return msgspec.convert(found, Settings)


def _with_environment(settings: Settings, environment: Mapping[str, str]) -> Settings:
    found: dict[str, Any] = msgspec.to_builtins(settings)
    for name, text in environment.items():
        if not name.startswith(PREFIX) or name in _OTHERS:
            continue
        section, _, key = name.removeprefix(PREFIX).lower().rpartition("__")
        if section == "kafka__properties":
            found["kafka"]["properties"][key.replace("_", ".")] = text
            continue
        _check_known(section, key, f"the variable {name}")
        value: object = text.split(",") if (section, key) in _LISTS else text
        (found[section] if section else found)[key] = _converted(section, key, value, name, strict=False)
    return msgspec.convert(found, Settings)


def _keys(given: dict[str, Any]) -> list[tuple[str, str]]:
    """Return section and key of everything in a file; the section of what stands at the top is empty."""
    keys = []
    for name, value in given.items():
        if name in SECTIONS and isinstance(value, dict):
            keys += [(name, key) for key in value]
        else:
            keys.append(("", name))
    return keys


def _check_known(section: str, key: str, where: str) -> None:
    if section and section not in SECTIONS:
        raise UsageError(f"{where}: there is no section {section}.", _did_you_mean(section, list(SECTIONS)))
    owner = SECTIONS[section] if section else Settings
    # a section given as a single value is known, and refused for its kind
    if key not in owner.__struct_fields__:
        known = [name for name in owner.__struct_fields__ if section or name not in SECTIONS]
        place = f"[{section}]" if section else "the top"
        raise UsageError(
            f"{where}: there is no setting {key} at {place}.",
            _did_you_mean(key, known + ([] if section else list(SECTIONS))),
        )


def _did_you_mean(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {close[0]}?" if close else f"Known are {', '.join(known)}."


def _converted(section: str, key: str, value: object, where: str, *, strict: bool) -> object:
    owner = SECTIONS[section] if section else Settings
    kind = get_type_hints(owner)[key]
    try:
        return msgspec.to_builtins(msgspec.convert(value, kind, strict=strict))
    except msgspec.ValidationError as error:
        # a property may be a password: its value is never shown
        shown = "" if key == "properties" else f" is {value!r}"
        raise UsageError(f"{where}{shown}: {error}.", "See docs/reference.md.") from error


def _line(text: str, section: str, key: str) -> int:
    """Return the line of a file that sets a key."""
    here = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[+\s*([^\]]+?)\s*\]", line):
            here = header[1].strip('"')
            if here.split(".")[0] == (section or key) and (not section or here == f"{section}.{key}"):
                return number
        elif re.match(rf"""\s*["']?{re.escape(key)}["']?\s*[.=]""", line) and here == section:
            return number
    return 1
