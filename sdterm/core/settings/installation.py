"""What an A1111 installation is set to, in sdterm's settings: read from its files, of which nothing is run."""

import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdterm.core.a1111 import OPTIMIZERS, attention
from sdterm.core.files import legible, regular
from sdterm.core.settings.flags import FLAGS, Flag
from sdterm.core.settings.quick import EQUALS, LATER
from sdterm.core.settings.settings import PATHS, SETTINGS_BY_KEY, ConfigError, parsed
from sdterm.errors import SdtermError
from sdterm.messages import message

_LONGEST = 16 * 2**20  # bytes of a file
_FLAGS = {flag.name: flag for flag in FLAGS}
_ASSIGNMENT = re.compile(r"^\s*(?:export|set)\s+\"?(\w+)=(.*?)\s*$", re.MULTILINE | re.IGNORECASE)
_OF_WINDOWS = re.compile(r"[A-Za-z]:[\\/]")
_WIDGET = re.compile(r"(?:customscript/[^/]+/)?txt2img/([^/]+)/value")
WIDGETS: Mapping[str, str] = {
    "Sampling method": "sampler",
    "Schedule type": "scheduler",
    "Sampling steps": "steps",
    "CFG Scale": "cfg_scale",
}
"""A widget of A1111's txt2img tab → the setting that it is here, with the same default."""
_COLOURS = message("sdterm has its own color themes: the setting `theme` selects one.")
_UNFIT: Mapping[str, str] = {
    "gradio_theme": _COLOURS,
    "--theme": _COLOURS,
    "localization": message("sdterm has its own translations: the setting `language` selects one."),
}


class InstallationError(SdtermError, OSError):
    """A folder is no A1111 installation, or a file of one cannot be read."""

    code = "no_installation"


@dataclass(frozen=True)
class Item:
    """One thing that an installation says, and what it comes to."""

    file: str
    name: str
    value: Any
    setting: str = ""
    """The setting that it becomes; empty if it becomes none."""
    becomes: Any = None
    reason: str = ""
    """Why it is not taken."""


def read_installation(folder: Path, defaults: Mapping[str, Any]) -> list[Item]:
    """Everything that differs from A1111's defaults. defaults: of A1111's settings, by its names. Raises
    InstallationError."""
    if not any((folder / name).exists() for name in ("webui.py", "config.json", "models", "webui-user.bat")):
        place = legible(str(folder))
        raise InstallationError(
            message("{folder} is not an A1111 installation: it has no webui.py, config.json or models.", folder=place)
        )
    items = [Item("", "models", str(folder), "a1111_dir", str(folder.absolute()))]
    for name in ("webui-user.sh", "webui-user.bat"):
        items += _variables(name, _text(folder / name), folder)
    items += _options(_table(folder / "config.json"), defaults, folder)
    items += _widgets(_table(folder / "ui-config.json"))
    return items


def _variables(file: str, text: str, folder: Path) -> Iterator[Item]:
    comments = re.compile(r"^\s*(#|rem\b|::).*$", re.MULTILINE | re.IGNORECASE)
    for name, value in _ASSIGNMENT.findall(comments.sub("", text)):
        value = value.strip().strip('"').strip("'") if name.upper() == "COMMANDLINE_ARGS" else value.strip('"')
        if name.upper() == "COMMANDLINE_ARGS":
            yield from _arguments(file, value, folder)
        elif value:
            yield Item(file, name, value, reason=message("it concerns A1111's own Python and its packages."))


def _arguments(file: str, text: str, folder: Path) -> Iterator[Item]:
    try:
        words = shlex.split(text, posix=not file.endswith(".bat"))
    except ValueError as error:
        yield Item(
            file, "COMMANDLINE_ARGS", text, reason=message("it cannot be split into words: {problem}.", problem=error)
        )
        return
    while words:
        word, _, value = words.pop(0).partition("=")
        flag = _FLAGS.get(word)
        values = [value.strip('"')] if value else []
        while words and not words[0].startswith("--") and (flag is None or len(values) < _most(flag)):
            values.append(words.pop(0).strip('"'))
        yield from _argument(file, word, values, flag, folder)


def _most(flag: Flag) -> float:
    return {"flag": 0, "value": 1, "values": float("inf")}[flag.arity]


def _argument(file: str, word: str, values: list[str], flag: Flag | None, folder: Path) -> Iterator[Item]:
    said = " ".join(values)
    if word == "$COMMANDLINE_ARGS" or word == "%COMMANDLINE_ARGS%":
        return
    if flag is None:
        yield Item(file, word, said, reason=message("sdterm has no such flag."))
    elif word in _UNFIT or flag.change is None:
        yield Item(file, word, said, reason=_UNFIT.get(word, flag.sentence))
    elif _OF_WINDOWS.match(said) and os.sep == "/":
        yield Item(file, word, said, reason=message("it is a Windows path."))
    elif any(sign in said for sign in "$%`"):
        yield Item(file, word, said, reason=message("it contains a shell variable."))
    elif flag.arity == "value" and not values:
        yield Item(file, word, said, reason=message("its value is missing."))
    else:
        try:
            given = flag.change({"flag": True, "value": said, "values": tuple(values)}[flag.arity])
        except ConfigError as error:
            yield Item(file, word, said, reason=str(error))
            return
        for key, value in given.items():
            yield _checked(file, word, said, key, _placed(key, value, folder))


def _options(content: Mapping[str, Any], defaults: Mapping[str, Any], folder: Path) -> Iterator[Item]:
    for name, value in content.items():
        key = EQUALS.get(name)
        if value == defaults.get(name, ...) or value in (None, "", "None", []):
            continue
        if name in OPTIMIZERS:
            optimizer = OPTIMIZERS[name].partition(".")[0]
            yield _checked("config.json", name, value, "memory", (optimizer, f"{OPTIMIZERS[name]}={value}"))
        elif name in _UNFIT or name in LATER or key not in SETTINGS_BY_KEY:
            later = (
                message("sdterm has no {feature}.", feature=LATER[name])
                if name in LATER
                else message("sdterm has no such setting.")
            )
            yield Item("config.json", name, value, reason=_UNFIT.get(name, later))
        elif key == "model":
            yield _checked("config.json", name, value, key, str(value).partition(" [")[0])
        elif key == "memory":
            yield _checked("config.json", name, value, key, attention(str(value)))
        elif key == "preview":
            yield _checked("config.json", name, value, key, "auto" if value else "off")
        else:
            yield _checked("config.json", name, value, key, _placed(key, value, folder))


def _widgets(content: Mapping[str, Any]) -> Iterator[Item]:
    for name, value in content.items():
        widget = _WIDGET.fullmatch(name)
        if widget and widget[1] in WIDGETS:
            key = WIDGETS[widget[1]]
            if value != SETTINGS_BY_KEY[key].default:
                yield _checked("ui-config.json", name, value, key, value)


def _checked(file: str, name: str, value: Any, key: str, becomes: Any) -> Item:
    try:
        return Item(file, name, value, key, parsed(key, becomes, Path("/config.toml")))
    except ConfigError as error:
        return Item(file, name, value, reason=str(error))


def _placed(key: str, value: Any, folder: Path) -> Any:
    """Paths as A1111 has them, from its folder."""
    if key not in PATHS:
        return value
    if isinstance(value, tuple | list):
        return tuple(str(folder.absolute() / Path(str(path)).expanduser()) for path in value)
    return str(folder.absolute() / Path(str(value)).expanduser())


def _text(path: Path) -> str:
    """A file's content; nothing if there is none. Raises InstallationError."""
    try:
        with open(path, encoding="utf-8-sig", errors="replace", opener=regular) as file:
            return file.read(_LONGEST)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise InstallationError(
            message("{file} cannot be read: {problem}.", file=legible(str(path)), problem=error.strerror)
        ) from error


def _table(path: Path) -> Mapping[str, Any]:
    text = _text(path)
    try:
        content = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError) as error:
        raise InstallationError(message("{file} is not valid JSON.", file=legible(str(path)))) from error
    return content if isinstance(content, dict) else {}
