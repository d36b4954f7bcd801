"""A1111's scripts: which there are, and what a body turns on. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from sdterm.core.extensions.registry import PluginSet
from sdterm.core.names import UnknownNameError
from sdterm.core.planning.choices import AUTOMATIC
from sdterm.core.text import printable
from sdterm.errors import BAD_REQUEST, SdtermError
from sdterm.hooks import DenoiseHook, Sampler, Scheduler
from sdterm.host.sdapi.values import SCRIPTS, InvalidError

_NONE = ("", "None")
"""What names no script in `script_name`."""


class UnknownScriptError(SdtermError, LookupError):
    """A1111's 422 for a script that is not there."""

    code = BAD_REQUEST

    def __init__(self, name: str) -> None:
        super().__init__(f"Script '{printable(name)}' not found")


def names(plugins: PluginSet) -> dict[str, list[str]]:
    """For txt2img and for img2img: those that `alwayson_scripts` may have."""
    return {"txt2img": [*SCRIPTS], "img2img": [*SCRIPTS, *(hook.label.lower() for hook in plugins.all(DenoiseHook))]}


def infos(plugins: PluginSet, checkpoints: Sequence[str]) -> list[dict[str, Any]]:
    """The same with their arguments. checkpoints: their titles."""
    choices = {
        "Checkpoint": [*checkpoints],
        "Sampling method": [sampler.label for sampler in plugins.all(Sampler)],
        "Schedule type": [AUTOMATIC, *(scheduler.label for scheduler in plugins.all(Scheduler))],
    }
    passed_over = {
        name: [_argument(*argument, choices=choices.get(argument[0])) for argument in arguments]
        for name, arguments in SCRIPTS.items()
    }
    hooks = {hook.label.lower(): _arguments(hook) for hook in plugins.all(DenoiseHook)}
    return [_info(name, passed_over[name], from_image=False) for name in SCRIPTS] + [
        _info(name, arguments, from_image=True) for name, arguments in (passed_over | hooks).items()
    ]


def _info(name: str, arguments: list[dict[str, Any]], *, from_image: bool) -> dict[str, Any]:
    return {"name": name, "is_alwayson": True, "is_img2img": from_image, "args": arguments}


def _arguments(hook: DenoiseHook) -> list[dict[str, Any]]:
    rows = [_argument(hook.label, False, None, None, None)]
    for option in hook.options:
        label = option.name.replace("_", " ").capitalize()
        rows.append(
            _argument(label, option.default, option.minimum, option.maximum, None, choices=[*option.choices] or None)
        )
    return rows


def _argument(
    label: str, value: Any, minimum: Any, maximum: Any, step: Any, *, choices: list[str] | None = None
) -> dict[str, Any]:
    said = {"label": label, "value": value, "minimum": minimum, "maximum": maximum}
    return said | {"step": step, "choices": choices}


def check_selected(name: str | None) -> None:
    """Raises UnknownScriptError for every name of a selectable script: there are none yet."""
    if name and name not in _NONE:
        raise UnknownScriptError(name)


def turned_on(given: Mapping[str, Any], plugins: PluginSet, *, from_image: bool) -> dict[str, Any]:
    """Request fields for what `alwayson_scripts` turns on: a denoise hook by its label in small letters, with whether
    it acts and its options in their order. Raises UnknownScriptError, InvalidError."""
    hooks: list[str] = []
    options: dict[str, Any] = {}
    for title, script in given.items():
        if title.lower() in SCRIPTS:
            continue
        try:
            hook = plugins.denoise_hook(title) if from_image else None
        except UnknownNameError:
            hook = None
        if not hook:
            raise UnknownScriptError(title)
        arguments = (script.get("args") if isinstance(script, dict) else None) or [False]
        if not isinstance(arguments, list):
            said = {"msg": "value is not a valid list", "type": "type_error.list"}
            raise InvalidError([{"loc": ["body", "alwayson_scripts", title, "args"], **said}])
        enabled, *values = arguments
        if enabled:
            hooks.append(hook.label)
            names = [f"{hook.id}.{option.name}" for option in hook.options]
            options |= dict(zip(names, values, strict=False))
    return {"denoise_hooks": tuple(hooks), "options": options}
