"""Rebuild the random network files that the golden runs with networks were made with, from their rule.

A tensor is scale * RandomState(crc32("file:key")).standard_normal(shape), worked out in float64, then rounded. `delta`
is the usual size of a weight change, 0.3 / sqrt(fan-in).
"""

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file

from sdterm.core.settings.paths import EMBEDDED_MODEL
from tests import narrow_checkpoints
from tests.tiny_checkpoint import GOLDEN

Shape = tuple[int, ...]
Layer = tuple[str, Shape]
UNET, TEXT = "model.diffusion_model.", "cond_stage_model.transformer."
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
ENCODER = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")
CONVOLUTIONS = ("in_layers.2", "out_layers.3")


def write(root: Path) -> None:
    """All files, in the folders of a data root."""
    loras = root / "models" / "Lora"
    for folder in (loras, root / "models" / "hypernetworks", root / "embeddings"):
        folder.mkdir(parents=True, exist_ok=True)
    demo = _demo_shapes()
    attention = [*layers(demo, ATTENTION)]
    everything = [*layers(demo, (*ATTENTION, "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out"), ENCODER)]
    with_text = [*layers(demo, ATTENTION, ENCODER)]
    save(loras, "demo-lora-a", lora(everything, 4, 2.0), ss_output_name="demo-lora-a")
    save(loras, "demo-lora-b", lora(with_text, 8, 8.0, 0.5), ss_output_name="bee")
    save(loras, "demo-lora-conv", lora(layers(demo, CONVOLUTIONS), 8, 8.0, 0.5))
    save(loras, "demo-lora-cp", tucker(layers(demo, CONVOLUTIONS)))
    save(loras, "demo-loha", loha(layers(demo, (*ATTENTION, "ff.net.0.proj", *CONVOLUTIONS), ENCODER)))
    save(loras, "demo-lokr", lokr(layers(demo, (*ATTENTION, "ff.net.0.proj"), ENCODER)))
    save(loras, "demo-full", full(with_text, layers(demo, ("norm2",))))
    save(loras, "demo-ia3", ia3(layers(demo, ("to_k", "to_v", "ff.net.2"))))
    save(loras, "demo-dora", dora(attention))
    bundled = (
        "bundle_emb.bundled.string_to_param.*",
        z("demo-bundle", "bundle_emb.bundled.string_to_param.*", (2, 96), 0.3),
    )
    save(loras, "demo-bundle", [*filled("demo-bundle", lora(attention, 4, 4.0, 0.5)), bundled])
    tiny = layers(_tiny_shapes(), (*ATTENTION, "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out"), ENCODER)
    save(loras, "tiny-lora", lora([(diffusers_name(n), s) for n, s in tiny], 4, 2.0, 0.5), ss_output_name="tiny-lora")
    one = {"string_to_token": {"*": 265}, "string_to_param": {"*": t("emb-one", "*", (1, 96))}, "name": "emb-one"}
    more = {"step": 100, "sd_checkpoint": None, "sd_checkpoint_name": None}
    torch_save(one | more, root / "embeddings" / "emb-one.pt")
    for name, shape in (("emb-five", (5, 96)), ("emb-wide", (1, 768))):
        vectors = z(name, "emb_params", shape, 0.3, np.float32)
        save_file({"emb_params": vectors}, root / "embeddings" / f"{name}.safetensors")
    for name, structure, activation, norm in (
        ("hyper-linear", [1, 2, 1], "linear", False),
        ("hyper-relu", [1, 2, 2, 1], "relu", True),
    ):
        torch_save(hypernetwork(name, structure, activation, norm), root / "models" / "hypernetworks" / f"{name}.pt")


Recipe = Iterable[tuple[str, Any]]
"""Key → a number, an array, or (shape, scale)."""


def z(file: str, key: str, shape: Shape, scale: float = 1.0, dtype: Any = np.float16) -> np.ndarray:
    drawn = np.random.RandomState(zlib.crc32(f"{file}:{key}".encode())).standard_normal(shape)
    return np.asarray(scale * drawn).astype(dtype)


def t(file: str, key: str, shape: Shape, scale: float = 1.0) -> torch.Tensor:
    return torch.from_numpy(z(file, key, shape, scale, np.float32))


def filled(file: str, parts: Recipe) -> Iterator[tuple[str, np.ndarray]]:
    for key, value in parts:
        if isinstance(value, np.ndarray):
            yield key, value
        elif isinstance(value, tuple):
            yield key, z(file, key, *value)
        else:
            yield key, np.array(value, np.float16)


def save(folder: Path, file: str, parts: Recipe, **metadata: str) -> None:
    save_file(dict(filled(file, parts)), folder / f"{file}.safetensors", metadata or None)


def layers(shapes: dict[str, Shape], ends: Sequence[str], text: Sequence[str] = ()) -> Iterator[Layer]:
    """(a network's name, the weight's shape) of each layer of the UNet whose name ends so, then of the text encoder."""
    for key, shape in sorted(shapes.items()):
        for root, name, wanted in ((UNET, "lora_unet_", ends), (TEXT, "lora_te_", text)):
            if wanted and key.startswith(root) and key.endswith(".weight") and key[:-7].endswith(tuple(wanted)):
                yield name + key[len(root) : -7].replace(".", "_"), shape


def _flat(shape: Shape) -> Shape:
    return shape[0], int(np.prod(shape[1:]))


def _delta(shape: Shape) -> float:
    return float(0.3 / _flat(shape)[1] ** 0.5)


def lora(of: Iterable[Layer], rank: int, alpha: float, size: float = 1.0) -> Recipe:
    for n, s in of:
        yield f"{n}.lora_down.weight", ((rank, *s[1:]), _flat(s)[1] ** -0.5)
        yield f"{n}.lora_up.weight", ((s[0], rank, *[1] * (len(s) - 2)), size * 0.3)
        yield f"{n}.alpha", alpha


def tucker(of: Iterable[Layer]) -> Recipe:
    for n, s in of:
        yield f"{n}.lora_down.weight", ((8, s[1], 1, 1), s[1] ** -0.5)
        yield f"{n}.lora_mid.weight", ((8, 8, 3, 3), 72**-0.5)
        yield f"{n}.lora_up.weight", ((s[0], 8, 1, 1), 0.15)
        yield f"{n}.alpha", 4.0


def loha(of: Iterable[Layer]) -> Recipe:
    for n, s in of:
        convolution, d = len(s) == 4, 0.5 * _delta(s) ** 0.5
        for i in "12":
            yield f"{n}.hada_w{i}_a", ((4, s[0]) if convolution else (s[0], 4),)
            yield f"{n}.hada_w{i}_b", ((4, s[1]), d)
            if convolution:
                yield f"{n}.hada_t{i}", ((4, 4, *s[2:]), 0.5)
        yield f"{n}.alpha", 3.0


def lokr(of: Iterable[Layer]) -> Recipe:
    for n, s in of:
        o, i = s[0] // 4, s[1] // 4
        yield f"{n}.lokr_w1", ((4, 4),)
        if "_ff_" in n:
            yield f"{n}.lokr_w2", ((o, i), _delta(s))
        else:
            yield f"{n}.lokr_w2_a", ((o, 4), 0.5)
            yield f"{n}.lokr_w2_b", ((4, i), _delta(s))
        yield f"{n}.alpha", 3.0


def full(of: Iterable[Layer], norms: Iterable[Layer]) -> Recipe:
    for n, s in of:
        yield f"{n}.diff", (s, _delta(s))
        if n.endswith("to_out_0"):
            yield f"{n}.diff_b", ((s[0],), 0.05)
    for n, s in norms:
        yield f"{n}.w_norm", (s, 0.1)
        yield f"{n}.b_norm", (s, 0.1)


def ia3(of: Iterable[Layer]) -> Recipe:
    for n, s in of:
        yield f"{n}.weight", ((s[1],) if "_ff_" in n else (s[0],), 0.4)
        yield f"{n}.on_input", float("_ff_" in n)


def dora(of: Sequence[Layer]) -> Recipe:
    yield from lora(of, 4, 2.0)
    for n, s in of:
        scale = 1 + z("demo-dora", f"{n}.dora_scale", (1, s[1]), 0.1, np.float64)
        yield f"{n}.dora_scale", scale.astype(np.float16)


def diffusers_name(name: str) -> str:
    """kohya's SD 1 names: diffusers' block numbers, two layers a block as in SD 1.5."""
    parts = name.removeprefix("lora_unet_").split("_")
    if name.startswith("lora_te_") or parts[0] not in ("input", "middle", "output"):
        return name
    b, rest = int(parts[2]), "_".join(parts[4:])
    if parts[0] == "middle":
        return f"lora_unet_mid_block_attentions_0_{'_'.join(parts[3:])}"
    side, i, j = ("down", (b - 1) // 3, (b - 1) % 3) if parts[0] == "input" else ("up", b // 3, b % 3)
    return f"lora_unet_{side}_blocks_{i}_attentions_{j}_{rest}"


def hypernetwork(file: str, structure: list[int], activation: str, norm: bool) -> dict[Any, Any]:
    state: dict[Any, Any] = {
        "step": 7,
        "name": file,
        "layer_structure": structure,
        "activation_func": activation,
        "is_layer_norm": norm,
        "activate_output": False,
        "weight_initialization": "Normal",
        "use_dropout": False,
        "sd_checkpoint": None,
        "sd_checkpoint_name": None,
    }
    for width in (96, 128):
        pair = []
        for side in "kv":
            tensors: dict[str, torch.Tensor] = {}
            n = 0
            for step, (a, b) in enumerate(pairwise(structure)):
                i, o, last = width * a, width * b, step == len(structure) - 2
                tensors[f"linear.{n}.weight"] = t(file, f"{width}{side}.{n}.weight", (o, i), 0.5 / i**0.5)
                tensors[f"linear.{n}.bias"] = t(file, f"{width}{side}.{n}.bias", (o,), 0.02)
                n += 1 + (activation != "linear" and not last)
                if norm:
                    tensors[f"linear.{n}.weight"] = 0.3 + t(file, f"{width}{side}.{n}.weight", (o,), 0.02)
                    tensors[f"linear.{n}.bias"] = t(file, f"{width}{side}.{n}.bias", (o,), 0.02)
                    n += 1
            pair.append(tensors)
        state[width] = tuple(pair)
    return state


# --- upscalers --------------------------------------------------------------------------------------------------------

_OLD = ("model.0", "model.1.sub.{b}.RDB{r}.conv{k}.0", "model.1.sub.2", "model.3", "model.6", "model.8", "model.10")
_NEW = ("conv_first", "body.{b}.rdb{r}.conv{k}", "conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last")


def write_upscalers(root: Path) -> None:
    """Those that A1111's pictures were made larger with."""
    folder = root / "models" / "ESRGAN"
    folder.mkdir(parents=True, exist_ok=True)
    torch_save({"params_ema": esrgan("rrdb-x4", 3, _NEW)}, folder / "rrdb-x4.pth")
    torch_save({"params_ema": esrgan("rrdb-x2", 12, _NEW)}, folder / "rrdb-x2.pth")
    torch_save(esrgan("rrdb-old-x4", 3, _OLD), folder / "rrdb-old-x4.pth")


def esrgan(file: str, reads: int, names: Sequence[str]) -> dict[str, torch.Tensor]:
    """RRDBNet of two blocks: small noise, and centre taps that carry the picture through channels 0..2."""
    tensors: dict[str, torch.Tensor] = {}

    def convolution(key: str, gives: int, reads: int, taps: Iterable[tuple[int, int, float]] = ()) -> None:
        weight = z(file, key, (gives, reads, 3, 3), 0.15 / (9 * reads) ** 0.5, np.float32)
        for a, b, value in taps:
            weight[a, b, 1, 1] += np.float32(value)
        tensors[f"{key}.weight"] = torch.from_numpy(weight)
        tensors[f"{key}.bias"] = t(file, f"{key}.bias", (gives,), 0.005)

    through = [(c, c, 1.0) for c in range(3)]
    gathered = [(c, 4 * c + k, 0.25) for c in range(3) for k in range(4)]
    convolution(names[0], 16, reads, through if reads == 3 else gathered)
    for b, r, k in product(range(2), (1, 2, 3), range(1, 6)):
        convolution(names[1].format(b=b, r=r, k=k), 16 if k == 5 else 32, 16 + (k - 1) * 32)
    convolution(names[2], 16, 16)
    for name in names[3:6]:
        convolution(name, 16, 16, through)
    convolution(names[6], 3, 16, through)
    return tensors


def torch_save(value: Any, path: Path) -> None:
    """torch.save as torch 1.x wrote it, always the same bytes."""
    torch.save(value, whole := io.BytesIO())
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            inner = name.split("/", 1)[1]
            if inner in ("data.pkl", "version") or inner.startswith("data/"):
                new.writestr(zipfile.ZipInfo(f"{path.stem}/{inner}"), old.read(name))


def _demo_shapes() -> dict[str, Shape]:
    with open(EMBEDDED_MODEL, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    return {key: tuple(said["shape"]) for key, said in header.items() if key != "__metadata__"}


def _tiny_shapes() -> dict[str, Shape]:
    keys = json.loads((GOLDEN / "tiny-ldm.keys.json").read_text())
    return {key: tuple(said[0]) for key, said in keys.items()}


# --- for the narrow SDXL and SD 2 checkpoints -------------------------------------------------------------------------

MORE_TEXT = (*(f"{end}.weight" for end in ENCODER), "in_proj_weight", "c_fc.weight", "c_proj.weight")
EVERYWHERE = (*ATTENTION, "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out")
NARROW = {
    "conditioner.embedders.0.": "lora_te1_",
    "conditioner.embedders.1.": "lora_te2_",
    "cond_stage_model.": "lora_te_",
}


def write_narrow(root: Path) -> None:
    """Those that the tests draw with."""
    loras, embeddings = root / "models" / "Lora", root / "embeddings"
    for folder in (loras, embeddings):
        folder.mkdir(parents=True, exist_ok=True)
    xl, sd2 = narrow_checkpoints.shapes_of("narrow-xl"), narrow_checkpoints.shapes_of("narrow-sd2")
    save(loras, "xl-lora", lora(narrow_layers(xl), 4, 2.0), ss_base_model_version="sdxl_base_v1-0")
    save(loras, "ref-lora", lora(narrow_layers(narrow_checkpoints.shapes_of("narrow-xl-refiner")), 4, 2.0))
    two = filled("sd2-lora", lora(narrow_layers(sd2), 4, 2.0))
    save(loras, "sd2-lora", ((f"{diffusers_name(n)}.{end}", v) for key, v in two for n, end in [key.split(".", 1)]))
    attention = [*narrow_layers(xl, ATTENTION, ())]
    parts = [(f"clip_{side}", z("xl-bundle", f"clip_{side}", (2, width))) for side, width in (("l", 64), ("g", 128))]
    bundled = [(f"bundle_emb.xlbundled.{key}", vectors) for key, vectors in parts]
    save(loras, "xl-bundle", [*lora(attention, 4, 4.0, 0.5), *bundled])
    for name, count in (("xl-emb-one", 1), ("xl-emb-four", 4)):
        pair = {key: z(name, key, (count, width), 1.0, np.float32) for key, width in (("clip_l", 64), ("clip_g", 128))}
        save_file(pair, embeddings / f"{name}.safetensors")


def narrow_layers(
    shapes: dict[str, Shape], ends: Sequence[str] = EVERYWHERE, text: Sequence[str] = MORE_TEXT
) -> Iterator[Layer]:
    for key, shape in sorted(shapes.items()):
        if key.startswith(UNET):
            if key.endswith(tuple(f"{end}.weight" for end in ends)):
                yield "lora_unet_" + key[len(UNET) : -7].replace(".", "_"), shape
        elif text and key.endswith(tuple(text)):
            names = [*_trained(key)]
            yield from ((name, (shape[0] // len(names), *shape[1:])) for name in names)


def _trained(key: str) -> Iterator[str]:
    """kohya's names of a text encoder's weight: OpenCLIP's in_proj is three layers."""
    root = next(root for root in NARROW if key.startswith(root))
    rest = key.removesuffix(".weight").removeprefix(root)
    if rest.startswith("transformer."):
        yield NARROW[root] + rest.removeprefix("transformer.").replace(".", "_")
        return
    rest = rest.replace("model.transformer.resblocks.", "text_model.encoder.layers.").replace(".", "_")
    rest = rest.replace("_attn_", "_self_attn_").replace("mlp_c_fc", "mlp_fc1").replace("mlp_c_proj", "mlp_fc2")
    for part in "qkv" if rest.endswith("in_proj_weight") else " ":
        yield NARROW[root] + rest.replace("in_proj_weight", f"{part}_proj")
