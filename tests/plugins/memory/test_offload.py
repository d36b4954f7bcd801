"""Offloading: the same numbers, from weights that are on the device only while something computes with them.

Here the CPU stands for the device: what is brought is another place of its memory.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import nn

from sdterm.core.extensions.registry import PluginSet, load_plugins
from sdterm.core.library.checkpoints import Library
from sdterm.core.library.recognition import recognise
from sdterm.engine.decode import decode_image
from sdterm.engine.engine import Engine
from sdterm.events import Done, Image, ModelLoading, Warning
from sdterm.hooks import Components, SamplingOptions, TextOptions
from sdterm.plugins.memory.offload import block as block_module
from sdterm.plugins.memory.offload import offload_parts, undo
from sdterm.plugins.memory.offload import ring as ring_module
from sdterm.plugins.memory.offload.block import Block, bytes_of, weights_of
from sdterm.plugins.memory.offload.blocks import Streamed, blocks_of
from sdterm.request import GenerationRequest

CPU = torch.device("cpu")

EXTENSION = """
from sdterm.hooks import MemoryOptimizer, hookimpl
from sdterm.plugins.memory.offload import offload_parts, offload_texts, texts_home, undo
from sdterm.plugins.memory.offload.blocks import Streamed
from sdterm.plugins.memory.offload.parts import TakingTurns, Whole

def everywhere(device, model):
    return True, ""

def blocks(components):
    def streamed(module):
        return Streamed(module, components.device, 2**18, 2**20, 2**12)
    turns = TakingTurns(components.modules.values(), streamed)
    components.modules["unet"].offloading = turns

@hookimpl
def sdterm_memory_optimizers():
    return [
        MemoryOptimizer("texts", "Texts", "offload", everywhere, offload_texts, texts_home, offloads=True),
        MemoryOptimizer("parts", "Parts", "offload", everywhere, offload_parts, undo, offloads=True),
        MemoryOptimizer("blocks", "Blocks", "offload", everywhere, blocks, undo, offloads=True),
    ]
"""


@pytest.fixture
def plugins(tmp_path: Path) -> PluginSet:
    (tmp_path / "offloading.py").write_text(EXTENSION)
    return load_plugins(tmp_path)


@pytest.fixture
def components(tmp_path: Path) -> Iterator[Components]:
    with torch.inference_mode():
        checkpoint = Library(tmp_path).find("sdterm-demo")
        yield recognise(checkpoint, load_plugins(None))[0].build(checkpoint, CPU, torch.float32)


def places(module: nn.Module) -> list[int]:
    return [weight.data_ptr() for weight in weights_of(module)]


def test_parts_take_turns_and_compute_the_same(components: Components) -> None:
    options, latents = TextOptions(64, 64), torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))

    def compute() -> list[torch.Tensor]:
        cond = components.encode(["red circle"], options)
        level = components.sampling(SamplingOptions())
        x0 = components.denoise(latents, level.sigmas[500:501], cond, level)
        return [*cond.tensors.values(), x0, components.decode(x0)]

    plain = compute()
    offload_parts(components)
    home = {name: places(module) for name, module in components.modules.items()}
    seen: dict[str, set[str]] = {}

    def look(name: str) -> None:
        away = {other for other, module in components.modules.items() if places(module) != home[other]}
        seen.setdefault(name, set()).update(away)

    first = {"text_encoder": "text_encoder", "unet": "unet", "vae": "vae"}
    layers = {name: next(m for m in components.modules[name].modules() if [*m.parameters(False)]) for name in first}
    layers["vae"] = components.modules["vae"].decoder.conv_in  # type: ignore[union-attr, assignment]
    watched = [m.register_forward_hook(lambda *_, name=name: look(name)) for name, m in layers.items()]
    offloaded = compute()
    assert all(torch.equal(one, other) for one, other in zip(plain, offloaded, strict=True))
    assert seen == {name: {name} for name in first}, "one part at a time is on the device"
    for handle in watched:
        handle.remove()
    undo(components)
    assert {name: places(module) for name, module in components.modules.items()} == home
    assert all(torch.equal(one, other) for one, other in zip(plain, compute(), strict=True))


class Layers(nn.Module):
    """Layers one behind the other, of which the first is used twice, and a weight of its own. rng: for their sizes."""

    def __init__(self, rng: random.Random | None = None) -> None:
        super().__init__()
        widths = [rng.choice([1, 16, 40]) if rng else 16 for _ in range(6)]
        self.layers = nn.ModuleList([nn.Sequential(nn.Linear(16, w), nn.Linear(w, 16)) for w in widths])
        if rng is None:
            self.layers = nn.ModuleList([nn.Linear(16, 16) for _ in range(6)])
        self.scale = nn.Parameter(torch.ones(16))
        self.skipped = 0
        self.fails_at: int | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for number, layer in enumerate((*self.layers[self.skipped :], self.layers[0])):
            x = layer(x) * self.scale
            if number == self.fails_at:
                raise RuntimeError("half way")
        return x


def test_blocks_come_one_behind_the_other_and_ahead_of_their_use() -> None:
    module, x = Layers().requires_grad_(False), torch.randn(2, 16)
    plain, size = module(x), bytes_of(module.layers[0])
    streamed = Streamed(module, CPU, largest=size, ahead=3 * 2048, least=0)  # a layer's block is 1,536 bytes, aligned
    home = {layer: places(layer) for layer in module.layers}
    streamed.enter()
    away: list[list[int]] = []
    for number, layer in enumerate(module.layers):
        layer.register_forward_hook(
            lambda *_, number=number: away.append(
                [n for n, other in enumerate(module.layers) if places(other) != home[other]]
            ),
            prepend=True,
        )
    for _ in range(3):
        away.clear()
        assert torch.equal(module(x), plain)
        assert away == [[0], [1], [2], [3], [4], [5], [0]], "none but the one that computes is away from home"
    module.fails_at = 0
    with pytest.raises(RuntimeError, match="half way"):
        module(x)
    module.fails_at = None
    assert torch.equal(module(x), plain), "a network that was left half way begins anew"
    streamed.leave()
    assert all(places(layer) == home[layer] for layer in module.layers)
    for handle in streamed.handles:
        handle.remove()
    assert torch.equal(module(x), plain)


def test_a_model_is_parted_into_the_largest_blocks_that_are_called_as_a_whole(components: Components) -> None:
    unet = components.modules["unet"]
    assert [*blocks_of(unet, 2**40)] == [unet]
    for largest in (2**17, 2**20):
        blocks = [*blocks_of(unet, largest)]
        held = [id(weight) for block in blocks for weight in weights_of(block)]
        assert len(held) == len({*held}) and {*held} == {id(weight) for weight in weights_of(unet)}
        assert not any(isinstance(block, nn.ModuleList) for block in blocks)
        assert all(bytes_of(block) <= largest or not [*block.children()] for block in blocks)


def drawn(engine: Engine, plugins: PluginSet, **fields: object) -> tuple[Image, list[str]]:
    """An image, and what was warned of or loaded on the way."""
    small = {"prompt": "red circle", "model": "sdterm-demo", "seed": 7, "steps": 2, "width": 64, "height": 64}
    events = [*engine.run(GenerationRequest.model_validate(small | fields), plugins)]
    assert isinstance(events[-1], Done), events[-1]
    (image,) = (event for event in events if isinstance(event, Image))
    said = [
        event.message if isinstance(event, Warning) else "loaded"
        for event in events
        if isinstance(event, Warning) or (isinstance(event, ModelLoading) and event.done)
    ]
    return image, said


@pytest.mark.heavy
@pytest.mark.parametrize("how", ["texts", "parts", "blocks"])
def test_an_offloaded_model_draws_the_same_and_takes_networks(how: str, plugins: PluginSet, tmp_path: Path) -> None:
    engine = Engine(library=Library(tmp_path), device="cpu")
    asked: list[dict[str, object]] = [
        {},
        {"prompt": "red circle <lora:sdterm-blueprint:0.8>"},
        {"hires": True, "hires_scale": 1.5, "denoising_strength": 0.6, "hires_upscaler": "Latent"},
    ]
    plain = [drawn(engine, plugins, **fields)[0].pixel_hash for fields in asked]
    for fields, expected in zip(asked, plain, strict=True):
        image, said = drawn(engine, plugins, memory=(how,), **fields)
        assert (image.pixel_hash, said) == (expected, [])
    image, said = drawn(engine, plugins)
    assert (image.pixel_hash, said) == (plain[0], []), "it is undone without a reload"
    fresh = Engine(library=Library(tmp_path), device="cpu")
    image, said = drawn(fresh, plugins, memory=(how,), **asked[1])
    assert (image.pixel_hash, said) == (plain[1], ["loaded"])


@pytest.mark.heavy
def test_a_vae_is_used_in_float32_for_a_while(components: Components, tmp_path: Path) -> None:
    with torch.inference_mode():
        checkpoint = Library(tmp_path).find("sdterm-demo")
        half = recognise(checkpoint, load_plugins(None))[0].build(checkpoint, CPU, torch.bfloat16)
        latents = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(1))
        plain, exact = decode_image(half, latents, torch.bfloat16), decode_image(half, latents, torch.float32)
        offload_parts(half)
        for dtype, expected in ((torch.float32, exact), (torch.bfloat16, plain)) * 2:
            assert (decode_image(half, latents, dtype) == expected).all()


# --- what waits for what, on a device whose streams run by themselves -------------------------------------------------


class Clock(dict[str, int]):
    """What is known to be done of each stream: a vector clock."""

    def join(self, other: "Clock") -> None:
        for name, time in other.items():
            self[name] = max(self.get(name, 0), time)

    def has(self, other: "Clock") -> bool:
        return all(self.get(name, 0) >= time for name, time in other.items())


class Order:
    """Runs what it is given in order, whenever it likes."""

    def __init__(self, name: str) -> None:
        self.name, self.clock = name, Clock()

    def work(self) -> Clock:
        self.clock[self.name] = self.clock.get(self.name, 0) + 1
        return Clock(self.clock)

    def record_event(self) -> Clock:
        return self.work()

    def wait_event(self, event: Clock) -> None:
        self.clock.join(event)


class Device:
    """Stands for `torch.cuda`: a stream that computes, and those that are made."""

    def __init__(self) -> None:
        self.computing, self.copying = Order("computing"), Order("copying")
        self.now = self.computing

    def Stream(self, device: torch.device) -> Order:
        return self.copying

    def current_stream(self, device: torch.device) -> Order:
        return self.computing

    @contextmanager
    def stream(self, stream: Order) -> Iterator[None]:
        self.now, before = stream, self.now
        yield
        self.now = before


class Watched(Block):
    """A block that knows when its bytes were written, and checks that they may be."""

    touched: ClassVar[list[tuple[int, int, Clock]]] = []
    """(begin, end, when) of all that read or wrote the device's memory."""
    on: ClassVar[Device]

    def copy_to(self, memory: torch.Tensor) -> None:
        self._happens(memory, self.on.now)
        super().copy_to(memory)

    def use(self, memory: torch.Tensor) -> None:
        super().use(memory)
        self.read(memory)
        self.used = memory

    def rest(self) -> None:
        if (used := vars(self).pop("used", None)) is not None:
            self.read(used)
        super().rest()

    def read(self, memory: torch.Tensor) -> None:
        self._happens(memory, self.on.computing)
        for place, view in zip(self._places, self._brought[1] if self._brought else [], strict=True):
            assert torch.equal(place.home, view), "nobody wrote over it"

    def _happens(self, memory: torch.Tensor, stream: Order) -> None:
        begin = int(memory.storage_offset())
        end = begin + int(memory.numel())
        for start, stop, when in Watched.touched:
            if start < end and begin < stop:
                assert stream.clock.has(when), "it waits for what was done with that memory before"
        Watched.touched = [each for each in Watched.touched if not (begin <= each[0] and each[1] <= end)]
        Watched.touched.append((begin, end, stream.work()))


@pytest.mark.parametrize("seed", range(12))
def test_no_copy_meets_what_still_computes_and_no_computation_what_is_not_yet_copied(seed: int) -> None:
    """Whatever the sizes of blocks and ring, and though networks end half way or take another way through."""
    rng = random.Random(seed)
    with pytest.MonkeyPatch.context() as patch:
        Watched.on, Watched.touched = Device(), []
        patch.setattr(ring_module, "backend_of", lambda device: Watched.on)
        patch.setattr(block_module, "Block", Watched)
        module = Layers(rng).requires_grad_(False)
        streamed = Streamed(module, CPU, largest=1, ahead=rng.choice([0, 2**12, 2**13, 2**15]), least=0)
        x = torch.randn(2, 16)
        plain: dict[int, torch.Tensor] = {}
        for _ in range(40):
            module.skipped = rng.choice([0, 0, 0, 1, 2])
            module.fails_at = rng.choice([None, None, None, 1, 4])
            streamed.enter()
            try:
                out = module(x)
            except RuntimeError:
                continue
            assert torch.equal(plain.setdefault(module.skipped, out), out)
            if rng.random() < 0.2:
                streamed.leave()
                Watched.touched = []  # the memory is another
