"""config.toml, changed one setting at a time; comments and order stay."""

from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from sdterm.core.files import write_atomically
from sdterm.core.settings.settings import ConfigError, Settings, frozen_reason, parsed
from sdterm.messages import message

FILE = "config.toml"


def write_setting(settings: Settings, key: str, given: Any) -> Settings:
    """Set one and return the settings with it. `given` is text as a person types it, where lists have commas, or as
    TOML has it. Raises ConfigError if it cannot be used or is locked, OSError if the disk does not take it."""
    _check_free(settings, key)
    path = settings.root / FILE
    value = parsed(key, given, path)
    document = _document(path)
    document[key] = [*value] if isinstance(value, tuple) else value
    write_atomically(path, tomlkit.dumps(document).encode())
    return settings.with_value(key, value, str(path))


def unset(settings: Settings, key: str, default: Any) -> Settings:
    """Take one out and return the settings without it. Raises as `write_setting`."""
    _check_free(settings, key)
    path = settings.root / FILE
    document = _document(path)
    if key in document:
        del document[key]
        write_atomically(path, tomlkit.dumps(document).encode())
    return settings.with_value(key, default, "default")


def _check_free(settings: Settings, key: str) -> None:
    if reason := frozen_reason(settings, key):
        raise ConfigError(reason)
    if (source := settings.values[key].source) in ("the command line", "COMMANDLINE_ARGS", f"SDTERM_{key.upper()}"):
        raise ConfigError(
            message(
                "{key} is set by {source}, which overrides config.toml: remove it there first.", key=key, source=source
            )
        )


def _document(path: Path) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return tomlkit.document()
    except (OSError, ValueError, TOMLKitError) as error:
        raise ConfigError(
            message("{file} cannot be read, so nothing is written to it: {problem}.", file=path, problem=error)
        ) from error
