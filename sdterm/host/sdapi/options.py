"""A1111's settings over HTTP: those that sdterm has are its own; the others are kept in a file and given back."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sdterm.core.a1111 import attention
from sdterm.core.extensions.registry import PluginSet
from sdterm.core.files import legible, write_atomically
from sdterm.core.names import UnknownNameError
from sdterm.core.settings.file import write_setting
from sdterm.core.settings.quick import EQUALS
from sdterm.core.settings.settings import SETTINGS_BY_KEY, ConfigError, Settings, frozen_reason, is_owners
from sdterm.core.text import printable
from sdterm.fields import FIELDS
from sdterm.host.sdapi.requests import UnknownOptionError, asked
from sdterm.host.sdapi.values import OPTIONS, read_values
from sdterm.request import RequestError

FILE = "a1111-options.json"
_OWNERS = ("outdir_", "temp_dir", "api_enable_requests", "api_forbid_local_requests")
"""How settings begin that are not set over HTTP: where files go, and whether pictures are fetched by URL. A1111 passes
over them, too; and so are our settings that are the owner's."""

_OFF_UNTIL_SET = ("save_init_img",)
"""What sdterm does by itself, and for requests over HTTP only once it is set, as A1111."""


def kept(root: Path) -> dict[str, Any]:
    """What clients have set that sdterm has no setting for; nothing if the file cannot be read."""
    try:
        content = json.loads((root / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def in_force(settings: Settings, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A1111's settings that were set, by its names: a request's over those kept, over sdterm's own. Raises
    UnknownOptionError for a name that A1111 does not have either, InvalidError for a value of another type, ConfigError
    for one that is locked and would be another."""
    given = {name: checked(name, value) for name, value in overrides.items()}
    _check_locks(settings, given)
    own = {row.a1111: settings[row.name] for row in FIELDS.values() if row.a1111 and _is_set(settings, row.name)}
    return {**own, **kept(settings.root), **given}


def all_options(settings: Settings, checkpoint: str | None) -> dict[str, Any]:
    """Every setting of A1111 with its value. checkpoint: the title of the one that is drawn with."""
    defaults = {name: default for name, (_, default) in OPTIONS.items()}
    own = {
        theirs: _as_theirs(theirs, settings[ours])
        for theirs, ours in EQUALS.items()
        if ours in settings.values and (theirs not in _OFF_UNTIL_SET or _is_set(settings, ours))
    }
    fetching = {"api_enable_requests": settings["api_fetch"], "api_forbid_local_requests": True}
    return {**defaults, **own, **kept(settings.root), **fetching, "sd_model_checkpoint": checkpoint}


def _as_theirs(name: str, value: Any) -> Any:
    """A value of ours in the type of A1111's setting."""
    kind, default = OPTIONS.get(name, ("any", None))
    if value is None or (value in ((), []) and kind != "array") or (value == "None" and default is None):
        return default
    if kind == "boolean" and isinstance(value, str):
        return value != "off"
    return legible(", ".join(value) if isinstance(value, tuple) and kind != "array" else value)


def check_drawn_with(name: str, value: Any, plugins: PluginSet) -> None:
    """Find out whether jobs can be drawn with a setting. Raises InvalidError, ConfigError, NotThereError."""
    value = checked(name, value)
    try:
        asked({"prompt": "-"}, {name: value}, plugins, {})
    except (RequestError, UnknownNameError) as error:
        raise ConfigError(f"{name} cannot be set to {printable(str(value), 100)}. {error}") from error


def set_option(settings: Settings, name: str, value: Any) -> Settings:
    """Set one for good. Returns the settings with it. Raises UnknownOptionError, InvalidError, ConfigError, OSError."""
    value = checked(name, value)
    ours = EQUALS.get(name)
    if name.startswith(_OWNERS) or (ours in SETTINGS_BY_KEY and is_owners(ours)):
        return settings
    if reason := frozen_reason(settings, ours or name):
        raise ConfigError(reason)
    if ours in SETTINGS_BY_KEY and not isinstance(value, dict | list):
        row = SETTINGS_BY_KEY[ours]
        if isinstance(value, bool) and isinstance(row.default, str):  # a switch there, a choice here
            value = row.default if value else "off"
        text = "" if value is None else str(value)
        return write_setting(settings, ours, ",".join(attention(text)) if ours == "memory" else text)
    content = kept(settings.root) | {name: value}
    write_atomically(settings.root / FILE, json.dumps(content, indent=1).encode())
    return settings


def checked(name: str, value: Any) -> Any:
    """A setting's value in its type. Raises UnknownOptionError for a setting that there is not, InvalidError."""
    if name not in OPTIONS and name not in EQUALS:
        raise UnknownOptionError(name)
    read = read_values({name: value}, OPTIONS).get(name, value)
    return value if type(value) is int and isinstance(read, float) else read  # written into infotexts as it came


def _check_locks(settings: Settings, overrides: Mapping[str, Any]) -> None:
    """Raises ConfigError if a request would change what is locked: A1111 fails there, too."""
    now = all_options(settings, settings["model"])
    for name, value in overrides.items():
        reason = frozen_reason(settings, EQUALS.get(name, name))
        if reason and now.get(name) != value:
            raise ConfigError(f"override_settings.{name}: {reason}")


def _is_set(settings: Settings, key: str) -> bool:
    return key in settings.values and settings.values[key].source != "default"
