"""Settings: which there are, and where each value comes from.

Command line > COMMANDLINE_ARGS > SDTERM_* > config.toml > default; a field given with a request beats them all.
"""

import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sdterm.core.dataroot import data_root
from sdterm.core.names import UnknownNameError, find
from sdterm.core.naming import PatternError, check_folder_pattern, check_pattern
from sdterm.request import GenerationRequest


class ConfigError(ValueError):
    """A setting cannot be used; the message says which, from where, and why."""


@dataclass(frozen=True)
class Setting:
    """One setting. scope: `job` travels inside the request, `host` belongs to the process that draws, `front end` to
    the one that shows."""

    key: str
    default: Any
    scope: Literal["job", "host", "front end"]
    sentence: str


def _job(key: str, sentence: str) -> Setting:
    return Setting(key, GenerationRequest.model_fields[key].default, "job", sentence)


NOTIFY = ("none", "bell", "osc9")

SETTINGS: tuple[Setting, ...] = (
    Setting("data_dir", None, "host", "The folder for models, extensions and outputs; SDTERM_DATA sets it too."),
    Setting("device", None, "host", "What to compute on: cpu, cuda, cuda:1 …, mps; unset is the best there is."),
    Setting("ckpt", None, "host", "A checkpoint file that comes before those in the models folder."),
    Setting("ckpt_dirs", (), "host", "More folders to look for checkpoints in."),
    Setting("styles_files", (), "host", "Styles files; unset is styles.csv in the data folder."),
    Setting("extensions", True, "host", "Whether extensions and plugin packages are loaded."),
    _job("model", "The checkpoint to draw with; unset is the first one found."),
    _job("sampler", "The sampler to draw with."),
    _job("scheduler", "The noise schedule; Automatic is the sampler's own."),
    _job("steps", "Sampling steps."),
    _job("cfg_scale", "How strictly to follow the prompt."),
    _job("clip_skip", "Which of the text encoder's last layers to use."),
    _job("noise_source", "NV draws what a CUDA card draws, CPU what torch draws on a CPU."),
    _job("format", "The file format of images."),
    _job("memory", "Memory optimizers to use."),
    _job("batch_cond_uncond", "Run prompt and negative prompt in one call: faster, more memory."),
    _job("precision", "Of the weights: auto is half on a GPU and full on a CPU."),
    Setting("idle_unload", 900.0, "host", "Seconds without work after which the model leaves the memory; 0 is never."),
    Setting("idle_exit", 3600.0, "host", "Seconds without work or clients after which the host ends; 0 is never."),
    Setting("hang_limit", 120.0, "host", "Seconds that a network call may take before its process is replaced."),
    Setting("load_limit", 900.0, "host", "Seconds that loading a model or decoding an image may take."),
    Setting("notify", NOTIFY[0], "front end", "What tells that a job is done: bell, osc9 (a desktop message) or none."),
    Setting("outdir", None, "front end", "Where images go; unset is outputs in the data folder."),
    Setting("directory_pattern", "[date]", "front end", "The folders below outdir; empty for none. --out has none."),
    Setting("filename_pattern", "[seed]", "front end", "How image files are named."),
    Setting("add_number", True, "front end", "Whether a running number comes first in file names."),
    Setting("save_grid", True, "front end", "Whether several images are also saved as one that shows them all."),
    Setting("save_txt", False, "front end", "Whether each infotext is also saved as a text file beside its image."),
    Setting("prompt_history", True, "front end", "Whether params.txt in the data folder keeps the last infotext."),
)
_BY_KEY = {setting.key: setting for setting in SETTINGS}


@dataclass(frozen=True)
class Value:
    """A setting's value and where it came from."""

    value: Any
    source: str


@dataclass(frozen=True)
class Settings:
    """Every setting with its value."""

    root: Path
    values: Mapping[str, Value]

    def __getitem__(self, key: str) -> Any:
        return self.values[key].value

    def with_value(self, key: str, value: Any, source: str) -> "Settings":
        """The same but for one setting."""
        return Settings(self.root, {**self.values, key: Value(value, source)})

    def job_fields(self) -> dict[str, Any]:
        """The request fields that settings give, defaults left out."""
        return {
            key: value.value
            for key, value in self.values.items()
            if _BY_KEY[key].scope == "job" and value.source != "default"
        }

    def blame(self, field: str) -> str:
        """Where a request field's bad value came from, as a clause; empty if it was given with the request."""
        value = self.values.get(field)
        return f" (set by {value.source})" if value and value.source != "default" else ""


def resolve(layers: Mapping[str, Mapping[str, Any]], environ: Mapping[str, str]) -> Settings:
    """All settings from the flags' layers (source → settings, the strongest first), the environment and config.toml.
    Raises ConfigError."""
    variables = dict(_from_environment(environ))
    flags = {
        key: Value(_placed(key, value, Path.cwd()), source)
        for source, layer in reversed([*layers.items()])
        for key, value in layer.items()
    }
    chosen = flags.get("data_dir") or variables.get("data_dir")
    root = data_root(chosen.value if chosen else None, environ)
    defaults = {setting.key: Value(setting.default, "default") for setting in SETTINGS}
    values = {**defaults, **dict(_from_file(root / "config.toml")), **variables, **flags}
    try:
        check_pattern(values["filename_pattern"].value)
        check_folder_pattern(values["directory_pattern"].value)
    except PatternError as error:
        raise ConfigError(str(error)) from error
    return Settings(root, values)


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, Value]]:
    for key, setting in _BY_KEY.items():
        name = f"SDTERM_{key.upper()}"
        if text := environ.get(name):
            yield key, Value(_placed(key, _typed(setting, text, name), Path.cwd()), name)


def _from_file(path: Path) -> Iterator[tuple[str, Value]]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.") from error
    for key, value in content.items():
        try:
            setting = find("setting", key, _BY_KEY)
        except UnknownNameError as error:
            raise ConfigError(f"{path}: {error}") from error
        yield setting.key, Value(_placed(setting.key, _typed(setting, value, str(path)), path.parent), str(path))


_PATHS = {"ckpt", "ckpt_dirs", "styles_files", "outdir"}


def _placed(key: str, value: Any, base: Path) -> Any:
    """Paths as absolute ones: the host works elsewhere than whoever wrote them."""
    if key not in _PATHS or not value:
        return value
    if isinstance(value, str):
        return str(base / Path(value).expanduser())
    return tuple(str(base / Path(path).expanduser()) for path in value)


def _typed(setting: Setting, value: Any, source: str) -> Any:
    """Text from the environment as the setting's type; a TOML value as it is, if the type fits."""
    if isinstance(setting.default, tuple):
        return tuple(value.split(",")) if isinstance(value, str) else tuple(value)
    if isinstance(setting.default, bool):
        if str(value).lower() in ("true", "1", "yes", "on", "false", "0", "no", "off"):
            return str(value).lower() in ("true", "1", "yes", "on")
        raise ConfigError(f"{setting.key} is {value!r} in {source}, but it must be true or false.")
    if isinstance(setting.default, float):
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = -1.0
        if not (number >= 0 and math.isfinite(number)):
            raise ConfigError(f"{setting.key} is {value!r} in {source}, but it must be a number of seconds.")
        return number
    if setting.key == "notify" and value not in NOTIFY:
        raise ConfigError(f"notify is {value!r} in {source}, but it must be {', '.join(NOTIFY)}.")
    if setting.scope != "job" and not isinstance(value, str):
        raise ConfigError(f"{setting.key} is {value!r} in {source}, but it must be text.")
    return value  # numbers and choices of a job are checked, and converted, with the request
