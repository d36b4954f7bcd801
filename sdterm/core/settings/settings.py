"""Settings: which there are, and where each value comes from.

Command line > COMMANDLINE_ARGS > SDTERM_* > config.toml > default; a field given with a request beats them all.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sdterm.core.names import UnknownNameError, find
from sdterm.core.numbers import whole_number
from sdterm.core.settings.amounts import AmountError, bytes_of
from sdterm.core.settings.model_kinds import MODEL_KINDS
from sdterm.core.settings.paths import data_root
from sdterm.errors import BAD_REQUEST, SdtermError
from sdterm.fields import FIELDS, SAVING
from sdterm.messages import message


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

PREVIEWS = ("auto", "off", "text", "ascii", "half", "quadrant", "sextant", "sixel", "iterm", "kitty")
GALLERY_COLUMNS = (
    *("number", "seed", "sampler", "steps", "cfg", "size", "model", "time", "prompt"),
    *("schedule", "denoising", "clip", "kind", "job", "hash", "version"),
)
_LOOKS = "User interface"

SETTINGS: tuple[Setting, ...] = (
    Setting("data_dir", None, "host", "The folder for models, extensions and outputs. SDTERM_DATA sets it too."),
    Setting(
        "device",
        None,
        "host",
        "The device to use: cpu, cuda, cuda:1 …, mps, or several, such as cuda:0,cuda:2. Unset: all GPUs.",
    ),
    Setting("ckpt", None, "host", "A checkpoint file that is listed before those in the models folder."),
    *(Setting(kind.setting, (), "host", kind.sentence) for kind in MODEL_KINDS if kind.setting),
    Setting("vae_path", None, "host", "The VAE to use for every image, whatever else is set."),
    Setting("models_dir", None, "host", "One more models folder, laid out like A1111's."),
    Setting("a1111_dir", None, "host", "An A1111 installation whose models are used in place."),
    Setting("comfyui_dir", None, "host", "A ComfyUI installation whose models are used in place."),
    Setting("extra_model_paths", (), "host", "ComfyUI's extra_model_paths.yaml files, whose folders are searched."),
    Setting("styles_files", (), "host", "Styles files. Unset: styles.csv in the data folder."),
    Setting("extensions", True, "host", "Load extensions and plugin packages."),
    *(
        Setting(row.name, row.default, "job", row.sentence, row.section, row.choices, row.a1111)
        for row in FIELDS.values()
        if row.section
    ),
    Setting(
        "limit_memory",
        None,
        "host",
        "The memory that sdterm may use for generating, such as 3GB. Unset: all of it. On a CPU this counts the "
        "tensors.",
    ),
    Setting(
        "idle_unload", 900.0, "host", "Seconds without work after which models are unloaded from memory; 0 is never."
    ),
    Setting(
        "checkpoints_limit",
        1,
        "host",
        "How many checkpoints stay in memory, including the one in use. Switching to one of them is instant.",
        a1111="sd_checkpoints_limit",
    ),
    Setting(
        "checkpoints_keep_in_cpu",
        True,
        "host",
        "Keep only the checkpoint in use on the GPU, and the others in RAM.",
        a1111="sd_checkpoints_keep_in_cpu",
    ),
    Setting("idle_exit", 3600.0, "host", "Seconds without work or clients after which the host stops; 0 is never."),
    Setting(
        "hang_limit",
        120.0,
        "host",
        "Seconds that a network call or an extension's code may take before its process is replaced.",
    ),
    Setting("serve", False, "host", "Listen on a TCP port for clients that have a token."),
    Setting("web", True, "host", "Show the workstation and a gallery in a browser at that port, with sdterm[web]."),
    Setting("api", False, "host", "Serve A1111's HTTP API on that port, too."),
    Setting("listen", False, "host", "Allow other machines to connect to the port. Off: only this machine."),
    Setting("share", None, "host", "A tunnel to the port: USER@MACHINE by SSH, cloudflared, ngrok, tailscale or auto."),
    Setting("server_name", None, "host", "The address or name of this machine to listen on."),
    Setting("port", 7860, "host", "The port. Unset: 7860, or the next free one."),
    Setting("subpath", None, "host", "The path that addresses begin with behind a proxy, such as sd."),
    Setting("tls_certfile", None, "host", "The certificate for https, as a PEM file."),
    Setting("tls_keyfile", None, "host", "The private key of the certificate, as a PEM file."),
    Setting(
        "server_hosts", (), "host", "More host names by which clients reach this machine, for example through a proxy."
    ),
    Setting("cors_allow_origins", (), "host", "Sites whose pages may use the API, such as https://example.org."),
    Setting("cors_allow_origins_regex", None, "host", "A pattern for more such sites."),
    Setting("api_auth", (), "host", "Logins for the API, NAME:HASH as --api-auth creates them."),
    Setting("credentials_always", False, "host", "Require a login or token from programs on this machine, too."),
    Setting("api_log", False, "host", "Write each request over TCP to the host's log."),
    Setting("timeout_keep_alive", 30.0, "host", "Seconds that a connection may wait for its next request."),
    Setting("api_server_stop", False, "host", "Allow API clients to stop the host."),
    Setting("api_strict", False, "host", "Accept only A1111's exact sampler names in the API, as A1111 1.9 does."),
    Setting(
        "api_fetch",
        False,
        "host",
        "Allow API requests to name images by URL; only public addresses are fetched.",
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
        "How to announce that a job is done: bell, osc9 (a desktop notification) or none.",
        _LOOKS,
        NOTIFY,
    ),
    Setting(
        "theme",
        "sdterm",
        "front end",
        "The color theme of the workstation.",
        _LOOKS,
        a1111="gradio_theme",
    ),
    Setting(
        "language",
        "en",
        "front end",
        "The language of the workstation: a file in localizations, or en.",
        _LOOKS,
        a1111="localization",
    ),
    Setting(
        "quicksettings_list",
        ("sd_model_checkpoint",),
        "front end",
        "Settings shown above the prompt, by A1111's or sdterm's names.",
        _LOOKS,
        a1111="quicksettings_list",
    ),
    Setting(
        "keymap",
        "default",
        "front end",
        "The key bindings: default, vim, a1111, or your own .toml file.",
        _LOOKS,
    ),
    Setting(
        "gallery_columns",
        GALLERY_COLUMNS[:9],
        "front end",
        "The columns of the Gallery, in this order; those that do not fit are hidden.",
        _LOOKS,
        GALLERY_COLUMNS,
    ),
    Setting(
        "gallery_folded",
        False,
        "front end",
        "Show the images of a job on one line when the Gallery opens.",
        _LOOKS,
    ),
    Setting(
        "mouse",
        False,
        "front end",
        "Use the mouse in the workstation.",
        _LOOKS,
    ),
    Setting(
        "plain",
        False,
        "front end",
        "Open as a dialogue, line by line, for screen readers and terminals that only print.",
        _LOOKS,
    ),
    Setting(
        "localizations_dir",
        None,
        "front end",
        "One more folder to search for translations.",
        _LOOKS,
    ),
    Setting("in_page", False, "front end", "The workstation is shown in a web page: nothing of its machine is."),
    Setting("nowebui", False, "front end", "Serve instead of opening the workstation.", _LOOKS),
    Setting(
        "preview",
        "auto",
        "front end",
        "How images are shown in the terminal; quadrant and sextant are finer than half where the font has them.",
        "Live previews",
        PREVIEWS,
        a1111="live_previews_enable",
    ),
    Setting(
        "keep_chosen",
        False,
        "front end",
        "Keep the image selected in Recent when a job ends, instead of showing the newest one.",
        "Live previews",
    ),
    Setting(
        "outdir",
        None,
        "front end",
        "The folder for images. Unset: outputs in the data folder.",
        SAVING,
        a1111="outdir_samples",
    ),
    Setting(
        "trash_days",
        30,
        "host",
        "Days that deleted images stay in the trash; the host empties it when it starts. 0 keeps them.",
        SAVING,
    ),
    Setting(
        "directory_pattern",
        "[date]",
        "front end",
        "The subfolders of outdir for images; empty for none. --out uses no subfolders.",
        SAVING,
        a1111="directories_filename_pattern",
    ),
    Setting(
        "filename_pattern",
        "[seed]",
        "front end",
        "The pattern for names of image files.",
        SAVING,
        a1111="samples_filename_pattern",
    ),
    Setting(
        "add_number",
        True,
        "front end",
        "Start file names with a running number.",
        SAVING,
        a1111="save_images_add_number",
    ),
    Setting(
        "save_grid",
        True,
        "front end",
        "Save a grid of all images when a job has several.",
        SAVING,
        a1111="grid_save",
    ),
    Setting(
        "save_txt",
        False,
        "front end",
        "Save each infotext as a text file beside its image, too.",
        SAVING,
        a1111="save_txt",
    ),
    Setting(
        "prompt_history",
        True,
        "front end",
        "Keep the last infotext in params.txt in the data folder.",
        "Infotext",
    ),
    Setting("freeze_settings", False, "host", "Lock all settings."),
    Setting("freeze_settings_in_sections", (), "host", "Sections whose settings are locked."),
    Setting("freeze_specific_settings", (), "host", "Settings that are locked, by A1111's or sdterm's names."),
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
        """Where a request field's bad value came from, as a sentence; empty if it was given with the request."""
        value = self.values.get(field)
        return (
            message("This value was set by {source}.", source=value.source)
            if value and value.source != "default"
            else ""
        )


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
    if not chosen and environ.get("SDTERM_DATA"):
        variables["data_dir"] = Value(str(root), "SDTERM_DATA")
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
        raise ConfigError(message("limit_memory, set by {source}: {problem}", source=source, problem=error)) from error


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
        raise ConfigError(message("{file} cannot be read: {problem}.", file=path, problem=error)) from error
    for key, value in content.items():
        try:
            setting = find("setting", key, SETTINGS_BY_KEY)
        except UnknownNameError as error:
            raise ConfigError(
                message("{file}, line {line}: {problem}", file=path, line=_line_of(key, path), problem=error)
            ) from error
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
        return message(
            "All settings are locked (by {source}: --freeze-settings).",
            source=settings.values["freeze_settings"].source,
        )
    if section and section.casefold() in (each.casefold().strip() for each in settings["freeze_settings_in_sections"]):
        return message("The settings of '{section}' are locked (--freeze-settings-in-sections).", section=section)
    if key in (EQUALS.get(name.strip(), name.strip()) for name in settings["freeze_specific_settings"]):
        return message("{key} is locked (--freeze-specific-settings).", key=key)
    if key == "data_dir":
        return message("config.toml lies in the data folder, so it cannot name it: use --data-dir or SDTERM_DATA.")
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


_OWNERS = ("keymap", "connect", "in_page", "plain", "nowebui")
"""What the owner's next `sdterm` opens, and where."""


def is_owners(key: str) -> bool:
    """Whether a setting is never changed over the network: it steers the host itself, or names a file."""
    return SETTINGS_BY_KEY[key].scope == "host" or key in PATHS or key in _OWNERS


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
            raise ConfigError(
                message(
                    "{key} is '{value}' in {source}, but it must be a list.",
                    key=setting.key,
                    value=value,
                    source=source,
                )
            )
        parts = (
            tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else tuple(value)
        )
        if (
            setting.choices
            and setting.scope != "job"
            and (unknown := [part for part in parts if part not in setting.choices])
        ):
            there = ", ".join(setting.choices)
            raise ConfigError(
                message(
                    "{key} has '{value}' in {source}, but it may only have {known}.",
                    key=setting.key,
                    value=unknown[0],
                    source=source,
                    known=there,
                )
            )
        return parts
    if isinstance(setting.default, bool):
        if str(value).lower() in ("true", "1", "yes", "on", "false", "0", "no", "off"):
            return str(value).lower() in ("true", "1", "yes", "on")
        raise ConfigError(
            message(
                "{key} is '{value}' in {source}, but it must be true or false.",
                key=setting.key,
                value=value,
                source=source,
            )
        )
    if isinstance(setting.default, int) and setting.scope != "job":
        whole = whole_number(str(value))
        if not 0 < whole < 65536:
            raise ConfigError(
                message(
                    "{key} is '{value}' in {source}, but it must be a whole number from 1 to 65535.",
                    key=setting.key,
                    value=value,
                    source=source,
                )
            )
        return whole
    if isinstance(setting.default, float) and setting.scope != "job":
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = -1.0
        if not (number >= 0 and math.isfinite(number)):
            raise ConfigError(
                message(
                    "{key} is '{value}' in {source}, but it must be a number of seconds.",
                    key=setting.key,
                    value=value,
                    source=source,
                )
            )
        return number
    if setting.choices and value not in setting.choices and setting.scope != "job":
        raise ConfigError(
            message(
                "{key} is '{value}' in {source}, but it must be one of {choices}.",
                key=setting.key,
                value=value,
                source=source,
                choices=", ".join(setting.choices),
            )
        )
    if setting.scope != "job" and not isinstance(value, str):
        raise ConfigError(
            message("{key} is '{value}' in {source}, but it must be text.", key=setting.key, value=value, source=source)
        )
    return value  # numbers and choices of a job are checked, and converted, with the request
