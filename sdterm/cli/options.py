"""The flag table as click options, and the settings that a command runs with."""

import contextlib
import os
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import chain
from typing import Any, TypeVar

import click

from sdterm.cli.errors import UsageError, say
from sdterm.cli.headings import IMG2IMG, FlagOption, HeadedOption
from sdterm.cli.spellings import corrected
from sdterm.core.languages.translations import LanguageError, language_sources
from sdterm.core.settings.flags import FLAGS, Flag, joined
from sdterm.core.settings.settings import Settings, resolve
from sdterm.fields import shown_as_one
from sdterm.messages import message
from sdterm.tui.language import use

F = TypeVar("F", bound=Callable[..., Any])

_SHAPES: dict[str, dict[str, Any]] = {
    "flag": {"is_flag": True, "default": None},
    "value": {"metavar": "VALUE"},
    "values": {"multiple": True, "metavar": "VALUE"},
    "optional": {"is_flag": False, "flag_value": "auto", "default": None, "metavar": "[VALUE]"},
}
_HEADINGS = {"": message("Image"), "Init image": IMG2IMG, "Mask": IMG2IMG, "Hires": "Hires fix"}
_FAR = (
    *("generate", "img2img", "hires", "upscale", "interrogate", "queue", "attach", "cancel", "gallery", "trash"),
    *("models", "samplers"),
)
"""Commands that work with a host on another machine."""
_EITHER = ("host", "plan", "plugins", "ext", "tune", "doctor", "verify", "serve", "token")
"""Of the others, those that somebody may mean for that machine."""
_BY_PARAMETER = {flag.name.removeprefix("--").replace("-", "_"): flag for flag in FLAGS}


def flag_options(command: F) -> F:
    """Give a command every flag of the table; `settings_of(context)` reads them."""
    for flag in reversed(FLAGS):
        command = _option(flag)(command)
    return command


def request_options(only: Collection[str] | None = None) -> Callable[[F], F]:
    """Give a command an option for each field of a request that has one, or for some; `fields_of` reads them."""

    def give(command: F) -> F:
        for name, rows in reversed(shown_as_one("option").items()):
            row = rows[0]
            if not name or (only is not None and row.name not in only):
                continue
            several = isinstance(row.default, tuple)
            default = "" if row.default in (None, "", (), False) or len(rows) > 1 else f" [{_default(row.default)}]"
            shape = {"is_flag": True, "default": None} if row.default is False else {"multiple": several}
            heading = _HEADINGS.get(row.part, row.part)
            said = {"heading": heading, "sentence": row.sentence, "default_shown": default}
            command = click.option(name, row.name, cls=HeadedOption, metavar=row.metavar or None, **said, **shape)(
                command
            )
        return command

    return give


def _default(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def fields_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """The request fields that were typed as options. Raises UsageError."""
    fields: dict[str, Any] = {}
    for name, rows in shown_as_one("option").items():
        text = given.get(rows[0].name) if name else None
        if text not in (None, ()):
            sides = (text,) if len(rows) == 1 else sides_of(name, text)
            fields |= {row.name: side for row, side in zip(rows, sides, strict=True)}
    return fields


def sides_of(option: str, text: str) -> tuple[str, str]:
    """Width and height, as they are typed. Raises UsageError."""
    width, cross, height = text.lower().replace("×", "x").partition("x")
    if not (cross and width.strip().isdecimal() and height.strip().isdecimal()):
        raise UsageError(
            message(
                "{option} is '{text}', but it must be width x height in pixels, like 512x768.", option=option, text=text
            )
        )
    return width.strip(), height.strip()


def settings_of(context: click.Context) -> Settings:
    """The settings a command runs with. Says the sentence of each flag that has no effect. Raises ConfigError."""
    given = {"the command line": _given(context)}
    if text := os.environ.get("COMMANDLINE_ARGS"):
        given["COMMANDLINE_ARGS"] = _parsed(text)[0]
    layers = {source: _changes(flags) for source, flags in given.items()}
    settings = _of_machine(resolve(layers, os.environ), context)
    speak(settings)
    for remark in chain.from_iterable(map(_remarks, given.values())):
        say(remark)
    return settings


def _of_machine(settings: Settings, context: click.Context) -> Settings:
    """The settings of a command that works with this machine, if `connect` names another one. Raises UsageError for
    one that could be meant for the other."""
    called = context
    while called.parent and called.parent.parent:
        called = called.parent
    command = called.info_name if called.parent else ""
    if not settings["connect"] or command in ("", *_FAR):
        return settings
    if command in _EITHER and settings.values["connect"].source == "the command line":
        raise UsageError(
            message(
                "`sdterm {command}` works with this machine alone. Run it there, without --connect.", command=command
            )
        )
    return settings.with_value("connect", None, "default")


def speak(settings: Settings) -> None:
    """Have sentences said in the user's language. One that only a plugin brings, or that nobody has, stays English."""
    with contextlib.suppress(LanguageError):
        use(settings["language"], language_sources(settings))


def _option(flag: Flag) -> Callable[[F], F]:
    shape: dict[str, Any] = {**_SHAPES[flag.arity], "expose_value": False, "callback": _remember}
    return click.option(flag.name, cls=FlagOption, flag=flag, help=flag.sentence, **shape)


def _remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value not in (None, ()) and parameter.name:
        context.meta.setdefault("sdterm.flags", {})[parameter.name] = value


def _given(context: click.Context) -> dict[str, Any]:
    """The flags given before and behind the command's name; `meta` is shared along the chain."""
    flags: dict[str, Any] = context.meta.get("sdterm.flags", {})
    return flags


def _changes(given: Mapping[str, Any]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for flag, value in _in_order(given):
        changes |= joined(changes, flag, value)
    return changes


def _remarks(given: Mapping[str, Any]) -> Iterator[str]:
    for flag, value in _in_order(given):
        if not flag.change:
            yield f"{flag.name}: {flag.sentence}"
        elif remark := flag.remark and flag.remark(value):
            yield remark


def _in_order(given: Mapping[str, Any]) -> list[tuple[Flag, Any]]:
    """The flags as they were typed, and behind them those that save memory, in the order in which they win."""
    typed = [(_BY_PARAMETER[name], value) for name, value in given.items()]
    return sorted(typed, key=lambda pair: FLAGS.index(pair[0]) if pair[0].cost else -1)


def commandline_args() -> list[tuple[str, Flag | None, str]]:
    """Each flag in COMMANDLINE_ARGS: as it stands there, its row if sdterm knows it, and the settings that it becomes.
    Raises UsageError, ConfigError."""
    given, unknown = _parsed(os.environ.get("COMMANDLINE_ARGS", ""))
    rows: list[tuple[str, Flag | None, str]] = []
    for name, value in given.items():
        flag = _BY_PARAMETER[name]
        made = flag.change(value) if flag.change else {}
        rows.append((flag.name, flag, ", ".join(f"{key} = {_written(each)}" for key, each in made.items())))
    return rows + [(word, None, "") for word in unknown if word.startswith("-")]


def _written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _parsed(text: str) -> tuple[dict[str, Any], list[str]]:
    """COMMANDLINE_ARGS: shell words, the same flags; and what is unknown, which IGNORE_CMD_ARGS_ERRORS passes over, as
    A1111."""
    lenient = bool(os.environ.get("IGNORE_CMD_ARGS_ERRORS"))
    parser = flag_options(
        click.Command(
            "COMMANDLINE_ARGS",
            callback=lambda: None,
            context_settings={"ignore_unknown_options": lenient, "allow_extra_args": lenient},
            add_help_option=False,
        )
    )
    try:
        context = parser.make_context("COMMANDLINE_ARGS", corrected(shlex.split(text))[0])
    except ValueError as error:
        raise UsageError(message("COMMANDLINE_ARGS cannot be split into words: {error}.", error=error)) from error
    except click.ClickException as error:
        raise UsageError(f"COMMANDLINE_ARGS: {error.format_message()}") from error
    return _given(context), [*context.args]
