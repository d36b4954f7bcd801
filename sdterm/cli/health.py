"""What a machine needs to generate, looked at without torch: the checks behind `sdterm doctor`."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

import psutil
from packaging.requirements import Requirement

from sdterm.cli.torch_build import Card, TorchBuild, installed_torch, misfit
from sdterm.core.extensions.catalogue import CatalogueError, load_catalogue
from sdterm.core.file_systems import file_system, on_network
from sdterm.core.library.checkpoints import Library
from sdterm.core.library.folders import folders_of
from sdterm.core.processes import BoundsError, run_bounded
from sdterm.core.settings.paths import CHECKPOINTS, DataRootError, prepare
from sdterm.core.settings.settings import Settings
from sdterm.messages import message, plural

_GIB = 1024**3
_OPTIONAL = {
    "xformers": message("not installed (optional: one more kind of attention)"),
    "gguf": message("not installed (optional: models in GGUF files)"),
    "bitsandbytes": message("not installed (optional: models in NF4 and int8)"),
}
"""Package → what is said where it is missing."""
LEAST_FREE = 2 * _GIB  # bytes; less than one checkpoint
_DATA, _TORCH = message("Data folder"), message("torch and GPU")


@dataclass(frozen=True)
class Check:
    """One finding. `fix` is a command or a sentence that repairs it. What is a message is said in the user's language;
    names of packages, commands and numbers are the same in all."""

    name: str
    status: Literal["ok", "note", "bad"]
    finding: str
    fix: str = ""


def examine(settings: Settings, library: Library) -> Iterator[Check]:
    """Every check, in the order in which things depend on each other."""
    yield _python()
    yield from _packages()
    yield from _gpus()
    yield from processor(Path("/proc/cpuinfo"), settings["precision"])
    yield from _memory()
    yield from _data_root(settings.root)
    yield _checkpoints(settings.root, library)
    yield from (
        Check(message("Model folders"), "bad", problem, message("Repair the file, or name another."))
        for problem in folders_of(settings).problems
    )
    yield from _plugins(settings)
    yield from _logout()


def repair(root: Path) -> Iterator[str]:
    """Repair what can be repaired without asking, saying what was done."""
    prepare(root)
    yield message("The folders under {folder} exist.", folder=root)
    for leftover in _leftovers(root):
        leftover.unlink(missing_ok=True)
        yield message("Removed the unfinished file {path}.", path=leftover)
    if broken := [str(requirement) for requirement, _ in _unmet()]:
        yield message("Installing {packages}.", packages=", ".join(broken))
        done = subprocess.run([sys.executable, "-m", "pip", "install", *broken], check=False)
        yield message("Installed.") if done.returncode == 0 else message("pip could not install them; see above.")


def _python() -> Check:
    text = message("{version} at {path}", version=platform.python_version(), path=sys.executable)
    ok = sys.version_info >= (3, 11)
    return Check("Python", "ok" if ok else "bad", text, "" if ok else message("sdterm needs Python 3.11 or newer."))


def _unmet() -> Iterator[tuple[Requirement, str | None]]:
    """Requirements of sdterm that are missing, or there in another version."""
    try:
        declared = [Requirement(text) for text in requires("sdterm") or ()]
    except PackageNotFoundError:
        return
    for requirement in declared:
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            yield requirement, None
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            yield requirement, installed


def _packages() -> Iterator[Check]:
    unmet = list(_unmet())
    for requirement, installed in unmet:
        found = (
            message("{version} is installed, needed: {requirement}", version=installed, requirement=requirement)
            if installed
            else message("missing, needed: {requirement}", requirement=requirement)
        )
        yield Check(requirement.name, "bad", found, f'pip install "{requirement}"')
    for name in ("torch", "diffusers", "transformers"):
        if not any(requirement.name == name for requirement, _ in unmet):
            yield Check(name, "ok", _version(name) or "?")
    for name, missing in _OPTIONAL.items():
        installed = _version(name)
        yield Check(name, "ok" if installed else "note", installed or missing)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _gpus() -> Iterator[Check]:
    """The cards, as the driver tells them, and whether torch can use them."""
    import pynvml

    torch = installed_torch()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield from _without_nvidia(torch)
        return
    with closing(_Nvml()):
        number = pynvml.nvmlSystemGetCudaDriverVersion()
        version, cuda = str(pynvml.nvmlSystemGetDriverVersion()), (number // 1000, number % 1000 // 10)
        known = f"{cuda[0]}.{cuda[1]}"
        misfits: dict[str, str] = {}
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
            card = Card(str(pynvml.nvmlDeviceGetName(handle)), pynvml.nvmlDeviceGetCudaComputeCapability(handle))
            found = message(
                "{card}, driver {driver}, CUDA {cuda}, {free:.1f} of {total:.1f} GB free",
                card=card.name,
                driver=version,
                cuda=known,
                free=int(memory.free) / _GIB,
                total=int(memory.total) / _GIB,
            )
            yield Check(f"GPU {index}", "ok", found)
            why, mend = misfit(torch, version, cuda, card) if torch else ("", "")
            misfits |= {why: mend} if why else {}
    for why, mend in misfits.items():
        yield Check(_TORCH, "bad", message("this torch cannot use the GPU: {why}", why=why), mend)
    if torch and not misfits:
        fits = message(
            "torch {version} (CUDA {cuda}) fits the driver and the cards", version=torch.version, cuda=torch.cuda
        )
        yield Check(_TORCH, "ok", fits)
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        found = message("CUDA_VISIBLE_DEVICES is '{devices}': only those are used", devices=visible)
        yield Check(message("GPUs shown"), "note", found)


def _without_nvidia(torch: TorchBuild | None) -> Iterator[Check]:
    if sys.platform == "darwin":
        yield Check("GPU", "note", message("Apple GPUs are used through Metal (mps) where torch supports it."))
    elif not Path("/dev/kfd").exists():
        yield Check("GPU", "note", message("No NVIDIA GPU or driver is found: sdterm generates on the CPU."))
    elif torch and torch.rocm:
        found = message(
            "AMD's driver is installed, and torch {version} is built for ROCm {rocm}",
            version=torch.version,
            rocm=torch.rocm,
        )
        yield Check("GPU", "ok", found)
    else:
        found = (
            message(
                "AMD's driver is installed; torch {version} is built for {what}",
                version=torch.version,
                what=torch.runs_on,
            )
            if torch
            else message("AMD's driver is installed")
        )
        mend = message("Set TORCH_COMMAND to what installs a torch for ROCm, and start launch.py --reinstall-torch.")
        yield Check("GPU", "bad", found, mend)


class _Nvml:
    def close(self) -> None:
        import pynvml

        pynvml.nvmlShutdown()


def processor(cpuinfo: Path, precision: str) -> Iterator[Check]:
    """Whether the processor has units for bf16, as Linux tells it, and whether they are used."""
    try:
        flags = {word for line in cpuinfo.read_text().splitlines() if line.startswith("flags") for word in line.split()}
    except OSError:
        return
    if flags & {"avx512_bf16", "amx_bf16"}:
        found = message(
            "it has units for bf16, which generates about twice as fast, with nearly the same images; precision is "
            "{precision}",
            precision=precision,
        )
        name = message("Processor")
        yield Check(name, "ok", found) if precision == "bf16" else Check(name, "note", found, "sdterm tune")


def _memory() -> Iterator[Check]:
    memory = psutil.virtual_memory()
    found = message("{free:.1f} of {total:.1f} GB available", free=memory.available / _GIB, total=memory.total / _GIB)
    yield Check(message("Memory"), "ok", found)


def _data_root(root: Path) -> Iterator[Check]:
    try:
        prepare(root)
    except DataRootError as error:
        yield Check(_DATA, "bad", str(error))
        return
    if not os.access(root, os.W_OK):
        denied = message("{folder} is not writable", folder=root)
        yield Check(_DATA, "bad", denied, message("Choose another with --data-dir or SDTERM_DATA."))
        return
    free = psutil.disk_usage(str(root)).free
    found = message("{folder}, {free:.1f} GB free", folder=root, free=free / _GIB)
    yield Check(_DATA, "ok", found) if free >= LEAST_FREE else Check(_DATA, "note", found, message("Free some space."))
    if on_network(root):
        yield Check(
            message("File system"),
            "note",
            message(
                "{folder} is on a network file system ({kind}): slow to load models from, and locks may fail",
                folder=root,
                kind=file_system(root),
            ),
            message("Keep the data folder on a local disk: --data-dir or SDTERM_DATA."),
        )
    if leftovers := list(_leftovers(root)):
        found = plural("{number} unfinished file in outputs", "{number} unfinished files in outputs", len(leftovers))
        yield Check(message("Leftovers"), "note", found, "sdterm doctor --repair")


def _logout() -> Iterator[Check]:
    """Whether a logout ends what goes on in the background: systemd can be told so (KillUserProcesses)."""
    if not shutil.which("loginctl"):
        return
    asked = ["loginctl", "show-session", "--property=KillUserProcesses", "--value"]
    try:
        answer = run_bounded(asked, 5).output.strip()
    except (OSError, BoundsError):
        return
    if answer == "yes":
        yield Check(
            message("Logout"),
            "note",
            message("systemd ends the host at logout (KillUserProcesses); its jobs continue when it starts again"),
            message("loginctl enable-linger, then start the host with: systemd-run --user --scope sdterm host start"),
        )
    elif answer == "no":
        yield Check(message("Logout"), "ok", message("the host continues after a logout"))


def _leftovers(root: Path) -> Iterator[Path]:
    """Temporary files of writers that died: a live one holds its file for a moment only."""
    yield from (root / "outputs").rglob(".sdterm-*.tmp")


def _checkpoints(root: Path, library: Library) -> Check:
    own = [checkpoint for checkpoint in library.checkpoints() if not checkpoint.embedded]
    if own:
        found = message("{number} found, {name} is used first", number=len(own), name=own[0].name)
        return Check(message("Checkpoints"), "ok", found)
    return Check(
        message("Checkpoints"),
        "note",
        message("only the small demo model that comes with sdterm"),
        message("Put a Stable Diffusion .safetensors file into {folder}.", folder=root / CHECKPOINTS),
    )


def _plugins(settings: Settings) -> Iterator[Check]:
    try:
        catalogue = load_catalogue(settings.root, third_party=settings["extensions"])
    except CatalogueError as error:
        yield Check(message("Plugins"), "bad", str(error))
        return
    loaded = sum(plugin.error is None for plugin in catalogue.plugins)
    yield Check(message("Plugins"), "ok", message("{number} loaded", number=loaded))
    for plugin in catalogue.plugins:
        if plugin.error:
            name = message("Plugin {plugin}", plugin=plugin.slug)
            yield Check(name, "bad", plugin.error, message("Repair or remove {place}.", place=plugin.location))
