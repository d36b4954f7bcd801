"""What a machine needs to draw, looked at without torch: the checks behind `sdterm doctor`."""

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

_GIB = 1024**3
_OPTIONAL = {
    "xformers": "one more kind of attention",
    "gguf": "models in GGUF files",
    "bitsandbytes": "models in NF4 and int8",
}
LEAST_FREE = 2 * _GIB  # bytes; less than one checkpoint


@dataclass(frozen=True)
class Check:
    """One finding. `fix` is a command or a sentence that mends it."""

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
        Check("Model folders", "bad", problem, "Mend the file, or name another.")
        for problem in folders_of(settings).problems
    )
    yield from _plugins(settings)
    yield from _logout()


def repair(root: Path) -> Iterator[str]:
    """Mend what can be mended without asking, saying what was done."""
    prepare(root)
    yield f"The folders under {root} are there."
    for leftover in _leftovers(root):
        leftover.unlink(missing_ok=True)
        yield f"Removed the unfinished file {leftover}."
    if broken := [str(requirement) for requirement, _ in _unmet()]:
        yield f"Installing {', '.join(broken)}."
        done = subprocess.run([sys.executable, "-m", "pip", "install", *broken], check=False)
        yield "Installed." if done.returncode == 0 else "pip could not install them; see above."


def _python() -> Check:
    text = f"{platform.python_version()} at {sys.executable}"
    ok = sys.version_info >= (3, 11)
    return Check("Python", "ok" if ok else "bad", text, "" if ok else "sdterm needs Python 3.11 or newer.")


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
        have = f"{installed} is installed" if installed else "missing"
        yield Check(requirement.name, "bad", f"{have}, needed: {requirement}", f'pip install "{requirement}"')
    for name in ("torch", "diffusers", "transformers"):
        if not any(requirement.name == name for requirement, _ in unmet):
            yield Check(name, "ok", _version(name) or "?")
    for name, what in _OPTIONAL.items():
        installed = _version(name)
        yield Check(name, "ok" if installed else "note", installed or f"not installed (optional: {what})")


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
        driver = f"driver {version}, CUDA {cuda[0]}.{cuda[1]}"
        misfits: dict[str, str] = {}
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
            free = f"{int(memory.free) / _GIB:.1f} of {int(memory.total) / _GIB:.1f} GB free"
            card = Card(str(pynvml.nvmlDeviceGetName(handle)), pynvml.nvmlDeviceGetCudaComputeCapability(handle))
            yield Check(f"GPU {index}", "ok", f"{card.name}, {driver}, {free}")
            why, mend = misfit(torch, version, cuda, card) if torch else ("", "")
            misfits |= {why: mend} if why else {}
    for why, mend in misfits.items():
        yield Check("torch and GPU", "bad", f"this torch cannot use the GPU: {why}", mend)
    if torch and not misfits:
        yield Check("torch and GPU", "ok", f"torch {torch.version} (CUDA {torch.cuda}) fits the driver and the cards")
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        yield Check("GPUs shown", "note", f"CUDA_VISIBLE_DEVICES is {visible!r}: only those are used")


def _without_nvidia(torch: TorchBuild | None) -> Iterator[Check]:
    if sys.platform == "darwin":
        yield Check("GPU", "note", "Apple GPUs are used through Metal (mps) where torch supports it.")
    elif not Path("/dev/kfd").exists():
        yield Check("GPU", "note", "No NVIDIA GPU or driver is found: sdterm draws on the CPU.")
    elif torch and torch.rocm:
        yield Check("GPU", "ok", f"AMD's driver is there, and torch {torch.version} is built for ROCm {torch.rocm}")
    else:
        built = f"; torch {torch.version} is built for {torch.runs_on}" if torch else ""
        mend = "Set TORCH_COMMAND to what installs a torch for ROCm, and start launch.py --reinstall-torch."
        yield Check("GPU", "bad", f"AMD's driver is there{built}", mend)


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
        found = "it has units for bf16, in which it draws about twice as fast, in nearly the same pictures"
        used = f"{found}; precision is {precision}"
        yield Check(
            "Processor", "ok" if precision == "bf16" else "note", used, "" if precision == "bf16" else "sdterm tune"
        )


def _memory() -> Iterator[Check]:
    memory = psutil.virtual_memory()
    yield Check("Memory", "ok", f"{memory.available / _GIB:.1f} of {memory.total / _GIB:.1f} GB available")


def _data_root(root: Path) -> Iterator[Check]:
    try:
        prepare(root)
    except DataRootError as error:
        yield Check("Data folder", "bad", str(error))
        return
    if not os.access(root, os.W_OK):
        yield Check("Data folder", "bad", f"{root} is not writable", "Choose another with --data-dir or SDTERM_DATA.")
        return
    free = psutil.disk_usage(str(root)).free
    status: Literal["ok", "note"] = "ok" if free >= LEAST_FREE else "note"
    yield Check(
        "Data folder", status, f"{root}, {free / _GIB:.1f} GB free", "" if status == "ok" else "Free some space."
    )
    if on_network(root):
        kind = file_system(root)
        yield Check(
            "File system",
            "note",
            f"{root} is on a network file system ({kind}): slow to load models from, and locks may fail",
            "Keep the data folder on a local disk: --data-dir or SDTERM_DATA.",
        )
    if leftovers := list(_leftovers(root)):
        yield Check("Leftovers", "note", f"{len(leftovers)} unfinished file(s) in outputs", "sdterm doctor --repair")


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
            "Logout",
            "note",
            "systemd ends the host at logout (KillUserProcesses); its jobs go on when it starts again",
            "loginctl enable-linger, then start the host with: systemd-run --user --scope sdterm host start",
        )
    elif answer == "no":
        yield Check("Logout", "ok", "the host goes on after a logout")


def _leftovers(root: Path) -> Iterator[Path]:
    """Temporary files of writers that died: a live one holds its file for a moment only."""
    yield from (root / "outputs").rglob(".sdterm-*.tmp")


def _checkpoints(root: Path, library: Library) -> Check:
    own = [checkpoint for checkpoint in library.checkpoints() if not checkpoint.embedded]
    if own:
        return Check("Checkpoints", "ok", f"{len(own)} found, {own[0].name} is used first")
    return Check(
        "Checkpoints",
        "note",
        "only the small demo model that comes with sdterm",
        f"Put a Stable Diffusion .safetensors file into {root / CHECKPOINTS}.",
    )


def _plugins(settings: Settings) -> Iterator[Check]:
    try:
        catalogue = load_catalogue(settings.root, third_party=settings["extensions"])
    except CatalogueError as error:
        yield Check("Plugins", "bad", str(error))
        return
    yield Check("Plugins", "ok", f"{sum(plugin.error is None for plugin in catalogue.plugins)} loaded")
    for plugin in catalogue.plugins:
        if plugin.error:
            yield Check(f"Plugin {plugin.slug}", "bad", plugin.error, f"Mend or remove {plugin.location}.")
