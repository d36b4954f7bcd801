"""Settings: which there are, and where each value comes from.

Command line > COMMANDLINE_ARGS > SDTERM_* > config.toml > default; a field given with a request beats them all.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sdterm.core.names import UnknownNameError, find
from sdterm.core.settings.amounts import AmountError, bytes_of
from sdterm.core.settings.model_kinds import MODEL_KINDS
from sdterm.core.settings.paths import data_root
from sdterm.errors import BAD_REQUEST, SdtermError
from sdterm.fields import FIELDS, SAVING


class ConfigError(SdtermError, ValueError):
    """A setting cannot be used; the message says which, from where, and why."""

    code = BAD_REQUEST


@dataclass(frozen=True)
class Setting:
    """One setting. scope: `job` travels inside the request, `host` belongs to the process that draws, `front end` to
    the one that shows."""

    key: str
    default: Any
    scope: Literal["job", "host", "front end"]
    sentence: str
    section: str = "System"
    """By A1111's names where it has such settings: `--freeze-settings-in-sections` locks by them."""
    choices: tuple[str, ...] = ()
    """The values there are, where they are few."""
    a1111: str = ""
    """A1111's name for it."""


NOTIFY = ("none", "bell", "osc9")

PREVIEWS = ("auto", "off", "text", "half", "kitty", "sixel")
GALLERY_COLUMNS = (
    *("number", "seed", "sampler", "steps", "cfg", "size", "model", "time", "prompt"),
    *("schedule", "denoising", "clip", "kind", "job", "hash", "version"),
)
_LOOKS = "User interface"

SETTINGS: tuple[Setting, ...] = (
    Setting("data_dir", None, "host", "The folder for models, extensions and outputs; SDTERM_DATA sets it too."),
    Setting(
        "device",
        None,
        "host",
        "What to compute on: cpu, cuda, cuda:1 …, mps, or several, like cuda:0,cuda:2; unset is every card there is.",
    ),
    Setting("ckpt", None, "host", "A checkpoint file that comes before those in the models folder."),
    *(Setting(kind.setting, (), "host", kind.sentence) for kind in MODEL_KINDS if kind.setting),
    Setting("vae_path", None, "host", "The one VAE to decode with, whatever is asked for."),
    Setting("models_dir", None, "host", "One more models folder, with A1111's folders in it."),
    Setting("a1111_dir", None, "host", "An A1111 installation whose models are used where they lie."),
    Setting("comfyui_dir", None, "host", "A ComfyUI installation whose models are used where they lie."),
    Setting("extra_model_paths", (), "host", "ComfyUI's extra_model_paths.yaml files, whose folders are looked in."),
    Setting("styles_files", (), "host", "Styles files; unset is styles.csv in the data folder."),
    Setting("extensions", True, "host", "Whether extensions and plugin packages are loaded."),
    *(
        Setting(row.name, row.default, "job", row.sentence, row.section, row.choices, row.a1111)
        for row in FIELDS.values()
        if row.section
    ),
    Setting(
        "limit_memory",
        None,
        "host",
        "How much memory may be used for drawing, like 3GB; unset is all there is. On a CPU the tensors are counted.",
    ),
    Setting("idle_unload", 900.0, "host", "Seconds without work after which the model leaves the memory; 0 is never."),
    Setting(
        "checkpoints_limit",
        1,
        "host",
        "How many checkpoints stay in memory, the one in use included: switching back to one of them reads nothing.",
        a1111="sd_checkpoints_limit",
    ),
    Setting(
        "checkpoints_keep_in_cpu",
        True,
        "host",
        "Whether of several checkpoints in memory only the one in use is on the GPU, and the others are in the RAM.",
        a1111="sd_checkpoints_keep_in_cpu",
    ),
    Setting("idle_exit", 3600.0, "host", "Seconds without work or clients after which the host ends; 0 is never."),
    Setting(
        "hang_limit",
        120.0,
        "host",
        "Seconds that a network call or an extension's code may take before its process is replaced.",
    ),
    Setting("serve", False, "host", "Whether the host listens on a TCP port, for clients that show a token."),
    Setting("api", False, "host", "Whether A1111's HTTP API is served there, too."),
    Setting("listen", False, "host", "Whether other machines reach the port; unset is this machine alone."),
    Setting("server_name", None, "host", "The address or name of this machine to listen on."),
    Setting("port", 7860, "host", "The port; where none is set, the next free one is taken if 7860 is not."),
    Setting("subpath", None, "host", "What the addresses begin with behind a proxy, like sd."),
    Setting("tls_certfile", None, "host", "The certificate to serve with, in PEM, if it is to be https."),
    Setting("tls_keyfile", None, "host", "Its key, in PEM."),
    Setting("server_hosts", (), "host", "More names by which clients reach this machine, as through a proxy."),
    Setting("cors_allow_origins", (), "host", "Sites whose pages may use the API, like https://example.org."),
    Setting("cors_allow_origins_regex", None, "host", "A pattern of more such sites."),
    Setting("api_auth", (), "host", "Logins of the API, NAME:HASH as --api-auth makes them."),
    Setting("credentials_always", False, "host", "Whether programs of this machine need a login or token, too."),
    Setting("api_log", False, "host", "Whether each request over TCP is written to the host's log."),
    Setting("timeout_keep_alive", 30.0, "host", "Seconds that a connection may wait for its next request."),
    Setting("api_server_stop", False, "host", "Whether clients of the API may end the host."),
    Setting("api_strict", False, "host", "Whether the API takes A1111's exact sampler names alone, as A1111 1.9 does."),
    Setting(
        "api_fetch",
        False,
        "host",
        "Whether the API fetches pictures that a request names by URL: from public addresses alone.",
    ),
    Setting("load_limit", 900.0, "host", "Seconds that loading a model or decoding an image may take."),
    Setting(
        "connect",
        None,
        "front end",
        "The host on another machine to work with: user@gpu-box over SSH, or https://gpu-box:7860 with a token.",
    ),
    Setting("token_file", None, "front end", "The file with the token for the host that `connect` names."),
    Setting("tls_ca", None, "front end", "The only certificate to trust that host by, or its signer's (PEM)."),
    Setting(
        "notify",
        NOTIFY[0],
        "front end",
        "What tells that a job is done: bell, osc9 (a desktop message) or none.",
        _LOOKS,
        NOTIFY,
    ),
    Setting("theme", "sdterm", "front end", "The workstation's colours.", _LOOKS, a1111="gradio_theme"),
    Setting(
        "language",
        "en",
        "front end",
        "The workstation's language: a file in localizations, or en.",
        _LOOKS,
        a1111="localization",
    ),
    Setting(
        "quicksettings_list",
        ("sd_model_checkpoint",),
        "front end",
        "What is pinned above the prompt, by A1111's names or sdterm's.",
        _LOOKS,
        a1111="quicksettings_list",
    ),
    Setting("keymap", "default", "front end", "The keys: default, vim, a1111, or a .toml file of your own.", _LOOKS),
    Setting(
        "gallery_columns",
        GALLERY_COLUMNS[:9],
        "front end",
        "The Gallery's columns, in their order; the first ones where there is no room for all.",
        _LOOKS,
        GALLERY_COLUMNS,
    ),
    Setting(
        "gallery_folded",
        False,
        "front end",
        "Whether the Gallery opens with the pictures of a job on one line.",
        _LOOKS,
    ),
    Setting("nowebui", False, "front end", "Whether sdterm serves instead of opening the workstation.", _LOOKS),
    Setting("mouse", False, "front end", "Whether the workstation takes the mouse from the terminal.", _LOOKS),
    Setting(
        "plain",
        False,
        "front end",
        "Whether sdterm opens as a dialogue, line by line, for screen readers and terminals that only print.",
        _LOOKS,
    ),
    Setting("localizations_dir", None, "front end", "One more folder to look for translations in.", _LOOKS),
    Setting(
        "preview",
        "auto",
        "front end",
        "How pictures are shown.",
        "Live previews",
        PREVIEWS,
        a1111="live_previews_enable",
    ),
    Setting(
        "keep_chosen",
        False,
        "front end",
        "Whether the picture chosen in Recent stays when a job ends; else the newest one is shown.",
        "Live previews",
    ),
    Setting(
        "outdir",
        None,
        "front end",
        "Where images go; unset is outputs in the data folder.",
        SAVING,
        a1111="outdir_samples",
    ),
    Setting(
        "trash_days",
        30,
        "host",
        "Days that deleted pictures stay in the trash, which the host looks after when it starts; 0 keeps them.",
        SAVING,
    ),
    Setting(
        "directory_pattern",
        "[date]",
        "front end",
        "The folders below outdir; empty for none. --out has none.",
        SAVING,
        a1111="directories_filename_pattern",
    ),
    Setting(
        "filename_pattern",
        "[seed]",
        "front end",
        "How image files are named.",
        SAVING,
        a1111="samples_filename_pattern",
    ),
    Setting(
        "add_number",
        True,
        "front end",
        "Whether a running number comes first in file names.",
        SAVING,
        a1111="save_images_add_number",
    ),
    Setting(
        "save_grid",
        True,
        "front end",
        "Whether several images are also saved as one that shows them all.",
        SAVING,
        a1111="grid_save",
    ),
    Setting(
        "save_txt",
        False,
        "front end",
        "Whether each infotext is also saved as a text file beside its image.",
        SAVING,
        a1111="save_txt",
    ),
    Setting(
        "prompt_history",
        True,
        "front end",
        "Whether params.txt in the data folder keeps the last infotext.",
        "Infotext",
    ),
    Setting("freeze_settings", False, "host", "Whether all settings are locked."),
    Setting("freeze_settings_in_sections", (), "host", "Sections whose settings are locked."),
    Setting("freeze_specific_settings", (), "host", "Settings that are locked, by A1111's names or sdterm's."),
)
SETTINGS_BY_KEY = {setting.key: setting for setting in SETTINGS}
SECRET = frozenset({"api_auth"})
"""Settings whose values are shown to nobody."""


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
            if SETTINGS_BY_KEY[key].scope == "job" and value.source != "default"
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
    patterns = {key: values[key].value for key in _PATTERNS if values[key].source != "default"}
    if patterns:
        _check_patterns(**patterns)
    _check_amount(values["limit_memory"].value, values["limit_memory"].source)
    return Settings(root, values)


def _check_amount(value: Any, source: str) -> None:
    """Raises ConfigError."""
    try:
        if value is not None:
            bytes_of(value)
    except AmountError as error:
        raise ConfigError(f"limit_memory, set by {source}: {error}") from error


def _check_patterns(filename_pattern: str = "[seed]", directory_pattern: str = "") -> None:
    from sdterm.core.output.naming import PatternError, check_folder_pattern, check_pattern

    try:
        check_pattern(filename_pattern)
        check_folder_pattern(directory_pattern)
    except PatternError as error:
        raise ConfigError(str(error)) from error


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, Value]]:
    for key, setting in SETTINGS_BY_KEY.items():
        name = f"SDTERM_{key.upper()}"
        if text := environ.get(name):
            yield key, Value(_placed(key, _typed(setting, text, name), Path.cwd()), name)


def _from_file(path: Path) -> Iterator[tuple[str, Value]]:
    if not path.is_file():
        return
    import tomllib

    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.") from error
    for key, value in content.items():
        try:
            setting = find("setting", key, SETTINGS_BY_KEY)
        except UnknownNameError as error:
            raise ConfigError(f"{path}, line {_line_of(key, path)}: {error}") from error
        yield setting.key, Value(_placed(setting.key, _typed(setting, value, str(path)), path.parent), str(path))


def parsed(key: str, given: Any, path: Path) -> Any:
    """A setting for the file at `path`, as text that somebody typed or as TOML has it, in its type. Raises
    ConfigError."""
    setting = SETTINGS_BY_KEY[key]
    value = _placed(key, _typed(setting, given.strip() if isinstance(given, str) else given, str(path)), path.parent)
    if setting.scope == "job":
        value = _of_request(key, value)
    if key in _PATTERNS:
        _check_patterns(**{key: value})
    if key == "limit_memory":
        _check_amount(value, str(path))
    return value


def _of_request(key: str, value: Any) -> Any:
    from sdterm.request import RequestError, make_request

    try:
        checked = getattr(make_request(prompt="x", **{key: value}), key)
    except RequestError as error:
        raise ConfigError(str(error)) from error
    return checked


def listens(settings: Settings) -> bool:
    """Whether the host is to listen on a TCP port."""
    return any(settings[key] for key in ("serve", "api", "listen", "server_name"))


def frozen_reason(settings: Settings, key: str) -> str | None:
    """Why a setting is locked, as a sentence; None if it is not. A1111's three flags: all, by section, by name. key: of
    sdterm, or of A1111 for a setting that sdterm only keeps."""
    from sdterm.core.settings.quick import EQUALS

    section = SETTINGS_BY_KEY[key].section if key in SETTINGS_BY_KEY else ""
    if settings["freeze_settings"]:
        return f"All settings are locked (by {settings.values['freeze_settings'].source}: --freeze-settings)."
    if section and section.casefold() in (each.casefold().strip() for each in settings["freeze_settings_in_sections"]):
        return f"The settings of {section!r} are locked (--freeze-settings-in-sections)."
    if key in (EQUALS.get(name.strip(), name.strip()) for name in settings["freeze_specific_settings"]):
        return f"{key} is locked (--freeze-specific-settings)."
    return None


def _line_of(key: str, path: Path) -> int:
    """The first line of a TOML file that begins with that key, or table."""
    lines = path.read_text(encoding="utf-8").splitlines()
    starts = (key, f'"{key}"', f"'{key}'", f"[{key}", f"[[{key}")
    return next((number for number, line in enumerate(lines, 1) if line.lstrip().startswith(starts)), 1)


_PATTERNS = ("filename_pattern", "directory_pattern")
PATHS = {
    *(kind.setting for kind in MODEL_KINDS if kind.setting),
    *("ckpt", "vae_path", "models_dir", "a1111_dir", "comfyui_dir", "extra_model_paths"),
    *("styles_files", "outdir", "localizations_dir", "tls_certfile", "tls_keyfile", "tls_ca", "token_file"),
}


def is_owners(key: str) -> bool:
    """Whether a setting is never changed over the network: it steers the host itself, or names a file."""
    return SETTINGS_BY_KEY[key].scope == "host" or key in PATHS or key in ("keymap", "connect")


def _placed(key: str, value: Any, base: Path) -> Any:
    """Paths as absolute ones: the host works elsewhere than whoever wrote them."""
    if key not in PATHS or not value:
        return value
    if isinstance(value, str):
        return str(base / Path(value).expanduser())
    return tuple(str(base / Path(path).expanduser()) for path in value)


def _typed(setting: Setting, value: Any, source: str) -> Any:
    """Text from the environment as the setting's type; a TOML value as it is, if the type fits."""
    if isinstance(setting.default, tuple):
        if not isinstance(value, str | list | tuple):
            raise ConfigError(f"{setting.key} is {value!r} in {source}, but it must be a list.")
        parts = (
            tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else tuple(value)
        )
        if (
            setting.choices
            and setting.scope != "job"
            and (unknown := [part for part in parts if part not in setting.choices])
        ):
            there = ", ".join(setting.choices)
            raise ConfigError(f"{setting.key} has {unknown[0]!r} in {source}, but it may have only {there}.")
        return parts
    if isinstance(setting.default, bool):
        if str(value).lower() in ("true", "1", "yes", "on", "false", "0", "no", "off"):
            return str(value).lower() in ("true", "1", "yes", "on")
        raise ConfigError(f"{setting.key} is {value!r} in {source}, but it must be true or false.")
    if isinstance(setting.default, int) and setting.scope != "job":
        if not (str(value).isdecimal() and 0 < int(value) < 65536):
            raise ConfigError(f"{setting.key} is {value!r} in {source}, but it must be a whole number from 1 to 65535.")
        return int(value)
    if isinstance(setting.default, float) and setting.scope != "job":
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = -1.0
        if not (number >= 0 and math.isfinite(number)):
            raise ConfigError(f"{setting.key} is {value!r} in {source}, but it must be a number of seconds.")
        return number
    if setting.choices and value not in setting.choices and setting.scope != "job":
        raise ConfigError(f"{setting.key} is {value!r} in {source}, but it must be {', '.join(setting.choices)}.")
    if setting.scope != "job" and not isinstance(value, str):
        raise ConfigError(f"{setting.key} is {value!r} in {source}, but it must be text.")
    return value  # numbers and choices of a job are checked, and converted, with the request
