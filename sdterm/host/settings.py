"""Settings over `/v1`: as they are now, and changed for good in config.toml."""

from sdterm.api import FieldError, SettingView
from sdterm.core.files import legible
from sdterm.core.names import UnknownNameError, find
from sdterm.core.settings.file import unset, write_setting
from sdterm.core.settings.settings import SECRET, SETTINGS, SETTINGS_BY_KEY, ConfigError, Settings


def views(running: Settings, now: Settings, *, secrets: bool) -> list[SettingView]:
    """running: the host's, since it started; now: with what config.toml says by now, which the host's own settings
    follow only when it starts again."""
    found = []
    for setting in SETTINGS:
        if setting.key in SECRET and not secrets:
            continue
        value = (running if setting.scope == "host" else now).values[setting.key]
        found.append(
            SettingView(
                key=setting.key,
                value=legible(value.value),
                source=value.source,
                scope=setting.scope,
                sentence=setting.sentence,
            )
        )
    return found


def key_of(name: str) -> str:
    """Raises FieldError if there is no such setting."""
    try:
        return find("setting", name, SETTINGS_BY_KEY).key
    except UnknownNameError as error:
        raise FieldError("key", str(error)) from error


def changed(now: Settings, key: str, value: object) -> Settings:
    """The settings with one changed, which config.toml says from now on. Raises FieldError, OSError."""
    try:
        if value is None:
            return unset(now, key, SETTINGS_BY_KEY[key].default)
        return write_setting(now, key, value)
    except ConfigError as error:
        raise FieldError("value", str(error)) from error
