"""Every command line flag, A1111's included: the one table behind `--help`, the docs and COMMANDLINE_ARGS.

A flag of ours or a mapped one changes a setting. A flag that does nothing any more, or not yet, answers with its
sentence instead of an error, so that a COMMANDLINE_ARGS that worked for A1111 never stops a start.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sdterm.core.numbers import whole_number
from sdterm.core.settings.model_kinds import MODEL_KINDS
from sdterm.core.text import printable
from sdterm.messages import message

Change = Callable[[Any], Mapping[str, Any]]
Arity = Literal["flag", "value", "values", "optional"]


@dataclass(frozen=True)
class Flag:
    """One flag. `change(value)` → settings it sets; without one it only answers with `sentence`."""

    name: str
    sentence: str
    arity: Arity = "flag"
    change: Change | None = None
    status: Literal["ours", "mapped", "launcher", "obsolete", "later"] = "ours"
    adds: bool = False
    """Whether its values join those that another flag gives the same setting."""
    cost: str = ""
    """What it costs, for one that saves memory or time."""
    example: str = "1"
    """A value that it takes, if it takes one."""
    remark: Callable[[Any], str] | None = None
    """What there is to say about a value at the start; nothing, mostly."""


def joined(changes: Mapping[str, Any], flag: Flag, value: Any) -> dict[str, Any]:
    """The settings that a flag sets, given those that flags before it set."""
    made = dict(flag.change(value)) if flag.change else {}
    if not flag.adds:
        return made
    return {key: (*changes.get(key, ()), *new) if isinstance(new, tuple) else new for key, new in made.items()}


def _set(key: str) -> Change:
    return lambda value: {key: value}


def _connect(value: str) -> Mapping[str, Any]:
    if not value.strip():
        from sdterm.core.settings.settings import ConfigError

        raise ConfigError(
            message(
                "--connect is empty, so it names no machine (is a variable unset?). Omit it to work with this machine."
            )
        )
    return {"connect": value}


def _fixed(key: str, value: Any) -> Change:
    return lambda _: {key: value}


def _listed(key: str) -> Change:
    return lambda value: {key: tuple(part.strip() for part in value.split(",") if part.strip())}


def _one_more(key: str) -> Change:
    return lambda value: {key: (value,)}


def _folders() -> Iterator[Flag]:
    for kind in MODEL_KINDS:
        sentence = kind.sentence.replace("More folders", "One more folder")
        for name in kind.flags:
            yield Flag(name, sentence, "value", _one_more(kind.setting), "mapped", adds=True)


def _saving(name: str, sentence: str, cost: str, *memory: str, apart: bool = False) -> Flag:
    """A flag that turns memory optimizers on. Of one group the last in this table counts, whatever order they are
    typed in. apart: prompt and negative prompt are computed one after the other."""
    changes: dict[str, Any] = {"memory": memory, **({"batch_cond_uncond": False} if apart else {})}
    return Flag(name, sentence, change=lambda _: changes, status="mapped", adds=True, cost=cost)


def _chunks(name: str, sentence: str, option: str) -> Flag:
    """A flag with a number for sub-quadratic attention, which it does not turn on."""

    def change(value: str) -> Mapping[str, Any]:
        from sdterm.core.settings.settings import ConfigError

        if (number := whole_number(value)) < 0:
            raise ConfigError(message("{name} is '{value}', but it must be a whole number.", name=name, value=value))
        return {"memory": (f"sub-quadratic.{option}={number}",)}

    return Flag(name, sentence, "value", change, "mapped", adds=True)


def _use_cpu(parts: tuple[str, ...]) -> Mapping[str, Any]:
    words = {word for part in parts for word in part.replace(",", " ").split()}
    return {"device": "cpu"} if words & {"all", "sd"} else {}


def _device_id(value: str) -> Mapping[str, Any]:
    return {"device": ",".join(f"cuda:{number.strip()}" for number in value.split(","))}


def _precision(value: str) -> Mapping[str, Any]:
    return {"precision": {"autocast": "auto"}.get(value, value)}


def _port(value: str) -> int:
    from sdterm.core.settings.settings import ConfigError

    number = whole_number(value)
    if not 0 < number < 65536:
        raise ConfigError(message("--port is '{value}', but it must be a whole number from 1 to 65535.", value=value))
    return number


def _auth(name: str) -> Change:
    def change(value: str) -> Mapping[str, Any]:
        from sdterm.core.settings.logins import logins
        from sdterm.core.settings.settings import ConfigError

        try:
            return {"api_auth": logins(value)}
        except ValueError:
            raise ConfigError(
                message("{name} must be NAME:PASSWORD, or several separated by commas.", name=name)
            ) from None

    return change


def _weak(value: str) -> str:
    from sdterm.core.settings.logins import easily_guessed

    if not (names := easily_guessed(value)):
        return ""
    return message(
        "The password of {names} is easy to guess. Choose one of 8 or more characters, which is not the name.",
        names=printable(", ".join(names), 200),
    )


def _auth_file(value: str) -> Mapping[str, Any]:
    """Logins, one a line or with commas between them; no file is none, as in A1111."""
    if not value:
        return {"api_auth": ()}
    from sdterm.core.settings.logins import logins
    from sdterm.core.settings.settings import ConfigError

    try:
        return {"api_auth": logins(_read_logins(value))}
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or message("it must have NAME:PASSWORD on each line")
        raise ConfigError(message("The file of --gradio-auth-path cannot be used: {problem}.", problem=why)) from None


def _weak_in_file(value: str) -> str:
    return _weak(_read_logins(value)) if value else ""


def _read_logins(path: str) -> str:
    """As `--gradio-auth` takes them. Raises OSError, ValueError."""
    from pathlib import Path

    text = Path(path).expanduser().read_text(encoding="utf-8")
    return ",".join(line for line in text.splitlines() if line.strip())


def _seconds(value: str) -> float:
    from sdterm.core.settings.settings import ConfigError

    seconds = whole_number(value)
    if not 0 <= seconds <= 3600:
        raise ConfigError(
            message("--timeout-keep-alive is '{value}', but it must be whole seconds, at most 3600.", value=value)
        )
    return float(seconds)


def _later(sentence: str, *names: str, arity: Arity = "flag") -> Iterator[Flag]:
    for name in names:
        yield Flag(name, sentence, arity, status="later")


def _obsolete(sentence: str, *names: str, arity: Arity = "flag") -> Iterator[Flag]:
    for name in names:
        yield Flag(name, sentence, arity, status="obsolete")


_RESTORERS = "sdterm has no face restoration and no CLIP interrogator yet, so it does not use this folder."
_NO_TUNNEL = "sdterm bundles no tunnel: --share ngrok uses the one that you installed."
_CONFIG = "Settings are in config.toml in the data folder; F10 in `sdterm` changes them."
_DIRS_LOCK = "sdterm cannot lock the folder settings as a group: use --freeze-specific-settings."
_NO_EFFECT = "This flag has no effect in A1111 any more, and none in sdterm."
_NOT_NEEDED = "sdterm does not need this flag."
_ALWAYS = "sdterm always does this."

FLAGS: tuple[Flag, ...] = (
    Flag("--data-dir", "The folder for models, extensions, outputs and config.toml.", "value", _set("data_dir")),
    Flag("--device", "The device to use: cpu, cuda, cuda:1 …, mps; several as cuda:0,cuda:2.", "value", _set("device")),
    Flag(
        "--limit-memory", "The memory that sdterm may use for generating, such as 3GB.", "value", _set("limit_memory")
    ),
    Flag("--ckpt", "The checkpoint file to use.", "value", _set("ckpt"), "mapped"),
    *_folders(),
    Flag("--vae-path", "The VAE to use for every image, whatever else is set.", "value", _set("vae_path"), "mapped"),
    Flag("--models-dir", "One more models folder, laid out like A1111's.", "value", _set("models_dir"), "mapped"),
    Flag("--a1111-dir", "An A1111 installation whose models are used in place.", "value", _set("a1111_dir")),
    Flag("--comfyui-dir", "A ComfyUI installation whose models are used in place.", "value", _set("comfyui_dir")),
    Flag(
        "--extra-model-paths-config",
        "ComfyUI's extra_model_paths.yaml; can be repeated.",
        "values",
        _set("extra_model_paths"),
    ),
    Flag("--styles-file", "A styles.csv file; can be repeated.", "values", _set("styles_files"), "mapped"),
    _saving(
        "--opt-sub-quad-attention",
        "Compute attention in chunks, so that memory grows with the image's side instead of its square.",
        "slower than the default, SDPA, where the GPU has a fused kernel for SDPA",
        "sub-quadratic",
    ),
    _chunks("--sub-quad-q-chunk-size", "Queries per chunk with --opt-sub-quad-attention [1024].", "q_chunk"),
    _chunks(
        "--sub-quad-kv-chunk-size",
        "Keys per chunk with --opt-sub-quad-attention; 0 is the square root of their number [0].",
        "kv_chunk",
    ),
    _chunks(
        "--sub-quad-chunk-threshold",
        "Percentage of memory up to which keys are not split into chunks [0].",
        "threshold",
    ),
    _saving(
        "--opt-split-attention-invokeai",
        "Compute attention for half of the heads at a time.",
        "slower and more memory than the default, SDPA",
        "sliced",
    ),
    _saving(
        "--opt-split-attention-v1",
        "Compute attention for two heads at a time.",
        "slower and more memory than the default, SDPA",
        "sliced-v1",
    ),
    _saving(
        "--opt-sdp-attention",
        "Compute attention with torch's SDPA and its fastest kernel: the default.",
        "nothing",
        "sdpa",
    ),
    _saving("--disable-opt-split-attention", "The same as --opt-sdp-attention.", "nothing", "sdpa"),
    _saving(
        "--opt-sdp-no-mem-attention",
        "Compute attention with SDPA, but without its memory-efficient kernel.",
        "more memory where no flash kernel is available",
        "sdpa-no-mem",
    ),
    _saving(
        "--opt-split-attention",
        "Compute attention for half of the heads at a time.",
        "slower and more memory than the default, SDPA",
        "sliced",
    ),
    _saving(
        "--xformers",
        "Compute attention with xFormers if it works here; otherwise sdterm says why not.",
        "needs a separate package; images differ slightly",
        "xformers",
    ),
    _saving(
        "--xformers-flash-attention",
        "Compute attention with xFormers' flash kernel where possible.",
        "the same as --xformers",
        "xformers-flash",
    ),
    _saving(
        "--force-enable-xformers",
        "Compute attention with xFormers without testing it first.",
        "jobs fail where it does not work",
        "xformers-forced",
    ),
    _saving(
        "--medvram-sdxl",
        "For SDXL models, keep only one component on the GPU at a time: text encoders, UNet or VAE.",
        "some tenths of a second between components",
        "component-offload-sdxl",
    ),
    _saving(
        "--medvram",
        "Keep only one component of the model on the GPU at a time, and run prompt and negative prompt separately.",
        "some tenths of a second between components, and a little time in each step",
        "component-offload",
        apart=True,
    ),
    _saving(
        "--lowvram",
        "Move the model to the GPU block by block, and run prompt and negative prompt separately.",
        "time, if the GPU computes faster than weights are copied to it",
        "block-offload",
        apart=True,
    ),
    Flag(
        "--always-batch-cond-uncond",
        "Run prompt and negative prompt together even with --medvram or --lowvram.",
        change=_fixed("batch_cond_uncond", True),
        status="mapped",
        cost="the memory that those flags save this way",
    ),
    _saving(
        "--opt-channelslast",
        "Keep convolution weights in the memory layout that tensor cores read fastest.",
        "nothing; it makes some GPUs faster",
        "channels-last",
    ),
    _saving(
        "--no-half-vae",
        "Run the VAE in float32, which prevents black images.",
        "twice the memory and time of the VAE",
        "vae-float32",
    ),
    Flag(
        "--no-half",
        "Compute everything in float32.",
        change=_fixed("precision", "full"),
        status="mapped",
        cost="twice the memory; on a GPU more than twice the time",
    ),
    Flag("--precision", "full, half, bf16 or autocast (which is sdterm's auto).", "value", _precision, "mapped"),
    Flag("--device-id", "The CUDA devices to use, by number: 1, or 0,2.", "value", _device_id, "mapped"),
    Flag("--use-cpu", "all or sd: compute on the CPU.", "values", _use_cpu, "mapped"),
    Flag("--safe", "Start without any third-party code.", change=_fixed("extensions", False)),
    Flag("--disable-all-extensions", "Do not load extensions.", change=_fixed("extensions", False), status="mapped"),
    Flag("--disable-extra-extensions", "Do not load extensions.", change=_fixed("extensions", False), status="mapped"),
    Flag("--no-prompt-history", "Do not write params.txt.", change=_fixed("prompt_history", False), status="mapped"),
    *(
        Flag(name, "This flag belongs to launch.py and has no effect inside sdterm.", status="launcher")
        for name in (
            *("--skip-install", "--skip-prepare-environment", "--reinstall-torch", "--reinstall-xformers"),
            "--system-torch",
        )
    ),
    *_later(_RESTORERS, "--gfpgan-models-path", "--codeformer-models-path", "--clip-models-path", arity="value"),
    Flag("--api", "Serve A1111's HTTP API on a port of this machine.", change=_fixed("api", True), status="mapped"),
    Flag(
        "--nowebui",
        "Serve without opening the workstation.",
        change=lambda _: {"nowebui": True, "web": False},
        status="mapped",
    ),
    Flag(
        "--listen",
        "Allow other machines to connect; they need a login or a token.",
        change=_fixed("listen", True),
        status="mapped",
    ),
    Flag(
        "--share",
        "Let others in by your own tunnel: USER@MACHINE (SSH), cloudflared, ngrok, tailscale; alone: the first found.",
        "optional",
        lambda value: {"share": value, "serve": True},
        "mapped",
        example="auto",
    ),
    Flag("--server-name", "The address to listen on.", "value", _set("server_name"), "mapped", example="localhost"),
    Flag("--port", "The port [7860, or the next free one].", "value", lambda value: {"port": _port(value)}, "mapped"),
    Flag(
        "--subpath",
        "The path that addresses begin with behind a proxy, such as sd.",
        "value",
        _set("subpath"),
        "mapped",
    ),
    Flag("--tls-certfile", "The certificate for https (PEM).", "value", _set("tls_certfile"), "mapped"),
    Flag("--tls-keyfile", "The private key of the certificate (PEM).", "value", _set("tls_keyfile"), "mapped"),
    Flag(
        "--cors-allow-origins",
        "Sites whose pages may use the API (a,b).",
        "value",
        _listed("cors_allow_origins"),
        "mapped",
    ),
    Flag(
        "--cors-allow-origins-regex",
        "A pattern of sites whose pages may use the API.",
        "value",
        _set("cors_allow_origins_regex"),
        "mapped",
    ),
    *(
        Flag(
            name,
            "Logins for the API: NAME:PASSWORD, several separated by commas.",
            "value",
            _auth(name),
            "mapped",
            True,
            example="a:b",
            remark=_weak,
        )
        for name in ("--api-auth", "--gradio-auth")
    ),
    Flag(
        "--gradio-auth-path",
        "A file with logins, NAME:PASSWORD on each line.",
        "value",
        _auth_file,
        "mapped",
        adds=True,
        example="",
        remark=_weak_in_file,
    ),
    Flag("--api-log", "Write each request to the host's log.", change=_fixed("api_log", True), status="mapped"),
    Flag(
        "--timeout-keep-alive",
        "Seconds that a connection may wait for its next request [30].",
        "value",
        lambda value: {"timeout_keep_alive": _seconds(value)},
        "mapped",
    ),
    Flag(
        "--api-server-stop",
        "Allow API clients to stop the host.",
        change=_fixed("api_server_stop", True),
        status="mapped",
    ),
    Flag(
        "--connect",
        "Work with the host on another machine: user@gpu-box[:FOLDER] over SSH, or https://gpu-box:7860 with a token.",
        "value",
        _connect,
        example="gpu-box",
    ),
    Flag("--token-file", "The file with the token for --connect https://…", "value", _set("token_file")),
    Flag("--tls-ca", "The only certificate to trust for --connect https://… (PEM).", "value", _set("tls_ca")),
    Flag("--theme", "The color theme of the workstation.", "value", _set("theme"), "mapped"),
    Flag("--mouse", "Use the mouse in the workstation.", change=_fixed("mouse", True)),
    Flag("--plain", "Open plain mode, for screen readers.", change=_fixed("plain", True)),
    Flag("--localizations-dir", "One more folder with translations.", "value", _set("localizations_dir"), "mapped"),
    Flag("--freeze-settings", "Lock all settings.", change=_fixed("freeze_settings", True), status="mapped"),
    Flag(
        "--freeze-settings-in-sections",
        "Lock all settings of these sections (a,b).",
        "value",
        _listed("freeze_settings_in_sections"),
        "mapped",
    ),
    Flag(
        "--freeze-specific-settings",
        "Lock these settings (a,b).",
        "value",
        _listed("freeze_specific_settings"),
        "mapped",
    ),
    *_later(_DIRS_LOCK, "--hide-ui-dir-config"),
    *_later("sdterm does not support Intel's IPEX yet.", "--use-ipex"),
    *_later(
        "sdterm shortens names only as the file system requires; it has no limit of your own yet.",
        "--filenames-max-length",
        arity="value",
    ),
    *_obsolete(_CONFIG, "--ui-config-file", "--ui-settings-file", arity="value"),
    *_obsolete("sdterm allows a batch count of up to 1000.", "--max-batch-count", arity="value"),
    *_obsolete(_NO_TUNNEL, "--ngrok", "--ngrok-options", "--ngrok-region", arity="value"),
    *_obsolete("sdterm never installs extensions from the network interface.", "--enable-insecure-extension-access"),
    *_obsolete(
        "sdterm never unpickles model files and never runs code from prompts.",
        "--disable-safe-unpickle",
        "--allow-code",
    ),
    *_obsolete(_NO_EFFECT, "--deepdanbooru", "--unload-gfpgan", "--gradio-queue"),
    *_obsolete(_NO_EFFECT, "--show-negative-prompt", "--add-stop-route"),
    *_obsolete(_NO_EFFECT, "--gradio-img2img-tool", "--gradio-inpaint-tool", arity="value"),
    *_obsolete(_ALWAYS, "--no-download-sd-model", "--unix-filenames-sanitization"),
    *_obsolete("sdterm always samples in float32, even when the UNet runs in half precision.", "--upcast-sampling"),
    *_obsolete("sdterm loads weights directly to the GPU unless they are offloaded.", "--lowram"),
    *_obsolete("sdterm never saves an image of NaN values; the check costs nothing.", "--disable-nan-check"),
    *_obsolete(_NOT_NEEDED, "--skip-torch-cuda-test", "--skip-python-version-check", "--skip-version-check"),
    *_obsolete(_NOT_NEEDED, "--skip-load-model-at-start", "--no-hashing", "--update-check", "--autolaunch"),
    *_obsolete(_NOT_NEEDED, "--update-all-extensions", "--disable-tls-verify"),
    *_obsolete(_NOT_NEEDED, "--disable-model-loading-ram-optimization", "--use-textbox-seed", "--log-startup"),
    *_obsolete(_NOT_NEEDED, "--disable-console-progressbars", "--ui-debug-mode", "--no-gradio-queue", "--dump-sysinfo"),
    *_obsolete(_NOT_NEEDED, "--gradio-debug", "--gradio-allowed-path", "--loglevel", arity="value"),
)
