"""The fast plan: the network and the VAE's decoder compiled for the sizes that are drawn, in the background.

A size's first calls run as they are, while a thread compiles. From then on calls of that size are compiled ones; on
CUDA their kernels are recorded as a graph, so that starting them costs nothing. What torch cannot compile goes on as it
is, and the reason is what `supports` says from then on.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from sdterm.hooks import Components, MemoryOptimizer, ModelFacts, PluginError, hookimpl
from sdterm.messages import message

if TYPE_CHECKING:
    import torch

Call = Callable[..., Any]

_SHAPES = 4
"""So many sizes of a module are compiled; each keeps its graph's memory."""
_OLDEST_CARD = (7, 0)
"""Compute capability that Triton needs."""
_compiling = threading.Lock()
_failures: dict[str, str] = {}
"""Kind of device → why nothing more is compiled for it."""


def supports(device: torch.device, model: ModelFacts) -> tuple[bool, str]:
    reason = _failures.get(device.type) or _missing(device)
    return not reason, reason


def _missing(device: torch.device) -> str:
    """What torch.compile lacks here; empty if nothing is known to be missing."""
    import torch

    if device.type == "mps":
        return message("torch cannot compile well enough for Apple GPUs yet")
    if device.type == "cuda":
        if find_spec("triton") is None:
            return message("torch needs Triton to compile for a GPU, and Triton is not installed")
        if (card := torch.cuda.get_device_capability(device)) < _OLDEST_CARD:
            return message(
                "Triton needs a GPU with compute capability 7.0, and this GPU has {major}.{minor}",
                major=card[0],
                minor=card[1],
            )
        return ""
    compiler = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if sys.platform != "win32" and not shutil.which(compiler):
        return message(
            "torch needs a C++ compiler to compile for a CPU, and {compiler} is not installed", compiler=compiler
        )
    if any(map(str.isspace, torch.__file__)):  # the compiler's command line has it unquoted
        return message("torch cannot compile for a CPU where the path of its own folder has a space")
    return ""


def apply(components: Components) -> None:
    import torch

    if not (modules := compilable(components)):
        raise PluginError(message("The fast plan needs a UNet of diffusers, which this model does not have."))
    layers = [layer for part in components.modules.values() for layer in part.modules()]
    for module in modules:
        module.to(memory_format=torch.channels_last)
        module.forward = Compiled(module, layers)


def undo(components: Components) -> None:
    import torch

    for module in compilable(components):
        module.forward.stop()
        del module.forward  # the class has its own
        module.to(memory_format=torch.contiguous_format)


def is_settled(components: Components) -> bool:
    """Whether nothing is being compiled."""
    return all(module.forward.is_settled for module in compilable(components))


def compilable(components: Components) -> list[Any]:
    """The modules that most of the time is spent in."""
    found = [components.modules.get("unet"), getattr(components.modules.get("vae"), "decoder", None)]
    return [module for module in found if module is not None]


class Compiled:
    """A module's `forward`. layers: all of its model's."""

    def __init__(self, module: torch.nn.Module, layers: Sequence[Any]) -> None:
        self._module, self._eager, self._layers = module, module.forward, layers
        self._asked: set[Hashable] = set()
        self._ready: dict[Hashable, Call] = {}
        self._is_stopped = False
        self.compiled_calls = 0
        """How many were not computed as they are."""

    def __call__(self, *given: Any, **named: Any) -> Any:
        if any(layer._forward_pre_hooks or layer._forward_hooks for layer in self._layers):
            return self._eager(*given, **named)  # these move weights about, or change what is computed
        given, named = _tensors(_dense, (given, named))
        kind = self._kind(given, named)
        if call := self._ready.get(kind):
            self.compiled_calls += 1
            return call(*given, **named)
        if kind not in self._asked and len(self._asked) < _SHAPES:
            self._asked.add(kind)
            example = _tensors(_dense, (given, named))  # of its own: these may be written to
            threading.Thread(target=self._compile, args=(kind, *example), name="compile", daemon=True).start()
        return self._eager(*given, **named)

    def stop(self) -> None:
        """Compile no more; what is under way ends by itself."""
        self._is_stopped = True
        self._ready.clear()

    @property
    def is_settled(self) -> bool:
        """Whether all that was asked for is compiled, or cannot be."""
        device = next(self._module.parameters()).device
        return len(self._ready) == len(self._asked) or device.type in _failures

    def _kind(self, given: tuple[Any, ...], named: Mapping[str, Any]) -> Hashable:
        """All that a compiled call depends on: what it is given, and what others do to the module."""
        told: list[Hashable] = []
        _tensors(lambda t: told.append((tuple(t.shape), t.dtype)), (given, named))
        weight = next(self._module.parameters())
        edges = any(getattr(layer, "padding_mode", "zeros") != "zeros" for layer in self._layers)
        return (*told, weight.dtype, weight.device, edges)

    def _compile(self, kind: Hashable, given: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        device, places = next(self._module.parameters()).device, _places(self._module)
        try:
            import torch

            with _compiling, torch.inference_mode():
                if self._is_stopped or device.type in _failures:
                    return
                compiled = torch.compile(self._eager, dynamic=False)
                compiled(*given, **named)
                call: Call = partial(self._unless_it_changed, compiled)
                if device.type == "cuda":
                    call = Graph(self._module, call, partial(compiled, *given, **named), given, named)
        except Exception as error:  # whatever torch's compilers raise: the picture is drawn without them
            if self._is_stopped or _places(self._module) != places:
                self._asked.discard(kind)  # the weights were changed meanwhile, which it cannot compile
                return
            reason = (str(error).strip() or "?").splitlines()[0]
            _failures[device.type] = message(
                "torch could not compile the model ({type}: {problem})", type=type(error).__name__, problem=reason[:200]
            )
        else:
            if not self._is_stopped:
                self._ready[kind] = call

    def _unless_it_changed(self, compiled: Call, *given: Any, **named: Any) -> Any:
        """Where it would have to be compiled again, or something else just is, the call runs as it is."""
        import torch

        if not _compiling.acquire(blocking=False):  # the stance is the whole process's
            return self._eager(*given, **named)
        try:
            with torch.compiler.set_stance("eager_on_recompile"):
                return compiled(*given, **named)
        finally:
            _compiling.release()


class Graph:
    """The kernels of one compiled call, recorded by CUDA and played again with other numbers.

    A graph reads the weights where they lay when it was recorded. Once one of them lies elsewhere, since a network came
    or went, `otherwise` computes the call.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        otherwise: Call,
        call: Callable[[], Any],
        given: tuple[Any, ...],
        named: Mapping[str, Any],
    ) -> None:
        import torch

        self._module, self._otherwise = module, otherwise
        self._read: list[torch.Tensor] = []
        _tensors(self._read.append, (given, named))
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # what is chosen at the first calls must be chosen before
            for _ in range(3):
                call()
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):  # other threads go on
            self._made = call()
        self._places = _places(module)

    def __call__(self, *given: Any, **named: Any) -> Any:
        if _places(self._module) != self._places:
            return self._otherwise(*given, **named)
        now: list[torch.Tensor] = []
        _tensors(now.append, (given, named))
        for kept, tensor in zip(self._read, now, strict=True):
            kept.copy_(tensor, non_blocking=True)
        self._graph.replay()
        return _tensors(lambda t: t.clone(), self._made)


def _places(module: torch.nn.Module) -> list[tuple[int, tuple[int, ...]]]:
    """Where its weights lie, and how."""
    return [(weight.data_ptr(), weight.stride()) for weight in module.parameters()]


def _dense(tensor: torch.Tensor) -> torch.Tensor:
    """A copy with the strides that its shape has usually, by which a compiled call knows it again."""
    import torch

    return tensor.clone(memory_format=torch.contiguous_format)


def _tensors(change: Callable[[torch.Tensor], Any], values: Any) -> Any:
    """A structure of tuples and dicts, each tensor in it changed, in its order."""
    import torch

    if isinstance(values, torch.Tensor):
        return change(values)
    if isinstance(values, tuple):
        return tuple(_tensors(change, each) for each in values)
    if isinstance(values, dict):
        return {name: _tensors(change, each) for name, each in values.items()}
    return values


@hookimpl
def sdterm_memory_optimizers() -> list[MemoryOptimizer]:
    return [
        MemoryOptimizer(
            id="fast",
            label="Fast",
            group="compilation",
            supports=supports,
            apply=apply,
            undo=undo,
            effect="close",
            is_settled=is_settled,
        )
    ]
