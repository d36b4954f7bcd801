"""Train the demo model's LoRA, embedding and hypernetwork: `python -m tools.demo_networks OUT`.

Each learns a look that the demo model does not know, from its own training pictures recoloured. A few minutes on one
core; OUT gets the folders `Lora`, `embeddings` and `hypernetworks`, as they lie in `sdterm/models`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sdterm import load_plugins
from sdterm.core.library.checkpoints import CheckpointFile
from sdterm.core.library.recognition import recognise
from sdterm.core.settings.paths import EMBEDDED_MODEL
from sdterm.hooks import Adaptable, Conditioning, Layer, SamplingOptions, TextOptions
from tools.demo_model.captions import caption
from tools.demo_model.pictures import draw_many, sample_scenes

SIZE, PICTURES, BATCH = (128, 128), 160, 6
RANK = 4
WIDTH = 96  # of the demo model's texts
VECTORS = 2
Look = Callable[[np.ndarray], np.ndarray]
"""Pictures uint8 [N, H, W, 3] → the same in other colours."""


def _brightness(pictures: np.ndarray) -> np.ndarray:
    return (pictures.astype(float) @ (0.299, 0.587, 0.114))[..., None] / 255


def _between(dark: tuple[int, int, int], light: tuple[int, int, int]) -> Look:
    begin, way = np.array(dark), np.array(light) - np.array(dark)
    return lambda pictures: (begin + _brightness(pictures) * way).astype(np.uint8)


BLUEPRINT = _between((16, 52, 140), (235, 244, 255))
DUSK = _between((52, 12, 72), (255, 176, 92))


def autumn(pictures: np.ndarray) -> np.ndarray:
    """Green and blue become rust and gold."""
    red, green, blue = (pictures[..., i].astype(float) for i in range(3))
    mixed = (np.maximum(red, 0.9 * green + 0.3 * blue), 0.55 * green + 0.25 * red, 0.35 * blue)
    clipped: np.ndarray = np.clip(np.stack(mixed, -1), 0, 255)
    return clipped.astype(np.uint8)


@dataclass(frozen=True)
class Lesson:
    """Latents [N, 4, h, w] and what each shows in words."""

    latents: Tensor
    captions: list[str]


def lesson(model: Adaptable, look: Look, seed: str) -> Lesson:
    scenes = sample_scenes(SIZE, PICTURES, seed)
    pictures = look(draw_many(SIZE, scenes, seed))
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        latents = torch.cat([model.encode_image(some, None) for some in pixels.split(BATCH)])
    return Lesson(latents, [caption(scene, Random(f"{seed}-{i}")) for i, scene in enumerate(scenes)])


def train(
    model: Adaptable,
    learned: Lesson,
    read: Callable[[list[str]], Conditioning],
    parameters: Iterable[nn.Parameter],
    steps: int,
    rate: float,
) -> None:
    """Noise prediction, at one noise level a step."""
    levels = model.sampling(SamplingOptions())
    optimizer = torch.optim.AdamW(list(parameters), lr=rate, weight_decay=0.0)
    random = torch.Generator().manual_seed(7)
    for step in range(steps):
        chosen = torch.randint(len(learned.captions), (BATCH,), generator=random)
        t = torch.randint(len(levels.sigmas), (1,), generator=random)
        sigma = levels.sigmas[t].expand(BATCH)
        noise = torch.randn(learned.latents[chosen].shape, generator=random)
        noisy = learned.latents[chosen] + noise * sigma[:, None, None, None]
        clean = model.denoise(noisy, sigma, read([learned.captions[i] for i in chosen]), levels)
        loss = torch.nn.functional.mse_loss((noisy - clean) / sigma[:, None, None, None], noise)
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - step / steps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 0:
            print(f"step {step}: {float(loss.detach()):.4f}", flush=True)


@contextmanager
def hooked(handles: Iterable[torch.utils.hooks.RemovableHandle]) -> Iterator[None]:
    taken = list(handles)
    try:
        yield
    finally:
        for handle in taken:
            handle.remove()


def attention(model: Adaptable, *ends: str) -> dict[str, Layer]:
    return {name: layer for name, layer in model.layers.items() if layer.part == "unet" and name.endswith(ends)}


OPTIONS = TextOptions(*SIZE)


def train_lora(model: Adaptable, steps: int, out: Path) -> None:
    layers = attention(model, "to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out")
    pairs: dict[str, tuple[nn.Linear, nn.Linear]] = {}
    handles = []
    for name, layer in layers.items():
        weight = layer.module.weight
        assert isinstance(weight, Tensor)
        down, up = nn.Linear(weight.shape[1], RANK, bias=False), nn.Linear(RANK, weight.shape[0], bias=False)
        nn.init.zeros_(up.weight)
        pairs[name] = down, up
        handles.append(layer.module.register_forward_hook(_beside(down, up)))
    with hooked(handles):
        parameters = [each for pair in pairs.values() for linear in pair for each in linear.parameters()]
        train(
            model, lesson(model, BLUEPRINT, "lora"), lambda texts: model.encode(texts, OPTIONS), parameters, steps, 4e-3
        )
    tensors: dict[str, Tensor] = {}
    for name, (down, up) in pairs.items():
        called = "lora_unet_" + layers[name].original.removeprefix("model.diffusion_model.").replace(".", "_")
        weight = layers[name].module.weight
        convolution = isinstance(weight, Tensor) and weight.dim() == 4
        for end, linear in (("lora_down", down), ("lora_up", up)):
            kept = linear.weight.detach().half()
            tensors[f"{called}.{end}.weight"] = kept[..., None, None].contiguous() if convolution else kept
        tensors[f"{called}.alpha"] = torch.tensor(RANK).half()
    save_file(tensors, out / "Lora" / "sdterm-blueprint.safetensors", {"ss_output_name": "sdterm-blueprint"})


def _beside(down: nn.Linear, up: nn.Linear) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
    def add(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if output.dim() == 4:  # a convolution of one pixel
            added: Tensor = up(down(given[0].movedim(1, -1))).movedim(-1, 1)
        else:
            added = up(down(given[0]))
        return output + added

    return add


def train_embedding(model: Adaptable, steps: int, out: Path) -> None:
    vectors = nn.Parameter(0.02 * torch.randn(VECTORS, *model.text_widths, generator=torch.Generator().manual_seed(7)))
    options = TextOptions(*SIZE, words={"zzz": (vectors,)})
    train(
        model,
        lesson(model, DUSK, "embedding"),
        lambda texts: model.encode([f"{text}, zzz" for text in texts], options),
        [vectors],
        steps,
        2e-2,
    )
    save_file({"emb_params": vectors.detach()}, out / "embeddings" / "sdterm-dusk.safetensors")


def train_hypernetwork(model: Adaptable, steps: int, out: Path) -> None:
    sides = [nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH)) for _ in "kv"]
    for side in sides:
        nn.init.zeros_(side[2].weight)  # type: ignore[arg-type]
        nn.init.zeros_(side[2].bias)  # type: ignore[arg-type]
    handles = [
        layer.module.register_forward_pre_hook(_before(side))
        for end, side in zip(("to_k", "to_v"), sides, strict=True)
        for layer in attention(model, end).values()
        if layer.module.in_features == WIDTH
    ]
    with hooked(handles):
        parameters = [parameter for side in sides for parameter in side.parameters()]
        read = lambda texts: model.encode(texts, OPTIONS)  # noqa: E731
        train(model, lesson(model, autumn, "hypernetwork"), read, parameters, steps, 4e-3)
    state = {
        "step": steps,
        "name": "sdterm-autumn",
        "layer_structure": [1, 1, 1],
        "activation_func": "relu",
        "is_layer_norm": False,
        "activate_output": False,
        "use_dropout": False,
        WIDTH: tuple({f"linear.{key}": kept.half() for key, kept in side.state_dict().items()} for side in sides),
    }
    torch.save(state, out / "hypernetworks" / "sdterm-autumn.pt")


def _before(side: nn.Module) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor, ...]]:
    return lambda module, given: (given[0] + side(given[0]), *given[1:])


TRAININGS = {"Lora": train_lora, "embeddings": train_embedding, "hypernetworks": train_hypernetwork}
STEPS = {"Lora": 400, "embeddings": 300, "hypernetworks": 300}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, help="exactly so many, for trying the code")
    parser.add_argument("--only", choices=TRAININGS, nargs="+", default=list(TRAININGS))
    given = parser.parse_args()
    checkpoint = CheckpointFile(EMBEDDED_MODEL)
    family, _ = recognise(checkpoint, load_plugins())
    for folder in given.only:
        torch.manual_seed(7)
        (given.out / folder).mkdir(parents=True, exist_ok=True)
        model = family.build(checkpoint, torch.device("cpu"), torch.float32)
        assert isinstance(model, Adaptable)
        print(folder, flush=True)
        TRAININGS[folder](model, given.steps or STEPS[folder], given.out)


if __name__ == "__main__":
    main()
