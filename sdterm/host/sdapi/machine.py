"""What A1111 tells of itself and the machine: flags, memory, a report. Nothing in it is secret."""

import json
import platform
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import psutil

from sdterm.api import Health, WorkerView
from sdterm.core.files import legible
from sdterm.core.settings.settings import SECRET, SETTINGS, Settings
from sdterm.host.sdapi.values import FLAGS
from sdterm.version import __version__

_PACKAGES = ("torch", "diffusers", "transformers", "safetensors", "pillow", "fastapi")


def flags(settings: Settings) -> dict[str, Any]:
    """Every flag of A1111, with what sdterm does in its place. Logins are never told."""
    data = str(settings.root)
    defaults = {name: _placed(default, data) for name, (_, default) in FLAGS.items()}
    device = settings["device"] or ""
    own = {
        "data_dir": data,
        "ckpt": settings["ckpt"] or f"{data}/models/Stable-diffusion",
        "ckpt_dir": f"{data}/models/Stable-diffusion",
        "vae_path": settings["vae_path"],
        "no_half": settings["precision"] == "full",
        "use_cpu": ["all"] if device == "cpu" else [],
        "device_id": ",".join(each.partition(":")[2] for each in device.split(",") if each.startswith("cuda:")) or None,
        "port": str(settings["port"]),
        "server_name": settings["server_name"] or ("0.0.0.0" if settings["listen"] else "127.0.0.1"),
        "listen": settings["listen"],
        "subpath": settings["subpath"],
        "tls_certfile": settings["tls_certfile"],
        "tls_keyfile": settings["tls_keyfile"],
        "cors_allow_origins": ",".join(settings["cors_allow_origins"]) or None,
        "cors_allow_origins_regex": settings["cors_allow_origins_regex"],
        "api": True,
        "api_log": settings["api_log"],
        "timeout_keep_alive": int(settings["timeout_keep_alive"]),
        "nowebui": True,
        "api_server_stop": settings["api_server_stop"],
        "disable_all_extensions": not settings["extensions"],
        "styles_file": list(settings["styles_files"]) or [f"{data}/styles.csv"],
        "freeze_settings": settings["freeze_settings"],
        "no_prompt_history": not settings["prompt_history"],
        "skip_version_check": True,
        "no_download_sd_model": True,
    }
    return {**defaults, **{name: legible(value) for name, value in own.items()}}


def _placed(value: Any, data: str) -> Any:
    if isinstance(value, list):
        return [_placed(each, data) for each in value]
    return value.replace("<data>", data) if isinstance(value, str) else value


def memory(workers: Sequence[WorkerView]) -> dict[str, Any]:
    """Bytes of the machine, and of the first card as its driver counts them."""
    machine = psutil.virtual_memory()
    used = psutil.Process().memory_info().rss
    for worker in workers:
        if worker.pid:
            try:
                used += psutil.Process(worker.pid).memory_info().rss
            except psutil.Error:
                continue
    ram = {"free": float(max(0, machine.total - used)), "used": used, "total": float(machine.total)}
    card = next((w for w in workers if w.device.startswith(("cuda", "auto")) and w.memory_total and w.pid), None)
    if not card or card.hardware.startswith("cpu"):
        return {"ram": ram, "cuda": {"error": "unavailable"}}
    taken, total = card.memory_used or 0, card.memory_total or 0
    counted = {"current": taken, "peak": taken}
    parts = dict.fromkeys(("active", "allocated", "reserved"), counted) | {"inactive": {"current": 0, "peak": 0}}
    system = {"free": total - taken, "used": taken, "total": total}
    return {"ram": ram, "cuda": {"system": system, **parts, "events": {"retries": 0, "oom": 0}}}


def report(health: Health, settings: Settings) -> str:
    """JSON, to be read by people."""
    machine = psutil.virtual_memory()
    said: Mapping[str, Any] = {
        "Platform": platform.platform(),
        "Python": sys.version.split()[0],
        "Version": f"sdterm {__version__}",
        "Data path": health.data,
        "CPU": {"model": platform.processor(), "count logical": psutil.cpu_count()},
        "RAM": {"total": machine.total, "available": machine.available},
        "Devices": [worker.model_dump(exclude={"job", "phase", "call"}) for worker in health.workers],
        "Queue": dict(health.queue.counts),
        "Notices": health.notices,
        "Config": {s.key: settings[s.key] for s in SETTINGS if s.key not in SECRET},
        "Packages": {name: _version(name) for name in _PACKAGES},
    }
    return json.dumps(legible(said), indent=1, default=str)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
