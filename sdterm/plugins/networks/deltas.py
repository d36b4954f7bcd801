"""What each kind of LoRA adds to a weight, in A1111's order of float operations (extensions-builtin/Lora).

Those of low rank are calculated in the model's precision, all others in their file's, which then is that of the sum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from sdterm.hooks import Delta

Tensors = Mapping[str, torch.Tensor]
"""Of one layer, by kohya's names: `lora_up.weight`, `alpha` …"""
Update = Callable[[torch.Tensor, int | None], torch.Tensor]
"""(the layer's weight, how many ranks act) → what is added to it, before scale and multiplier."""


@dataclass(frozen=True)
class LayerDelta:
    """A delta as A1111's `NetworkModule` makes it."""

    update: Update
    scale: float = 1.0
    """alpha / rank, or what the file says."""
    bias: torch.Tensor | None = None
    """Added to the update itself."""
    layer_bias: torch.Tensor | None = None
    """Added to the layer's bias."""
    dora_scale: torch.Tensor | None = None
    """Lengths of the columns of the new weight."""
    magnitude: torch.Tensor | None = None
    """PEFT's: lengths of its rows."""

    def __call__(
        self, weight: torch.Tensor, multiplier: float, rank: int | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        updown = self.update(weight, rank)
        if self.bias is not None:
            shape = updown.shape
            updown = (updown.reshape(self.bias.shape) + self.bias.to(updown.dtype)).reshape(shape)
        if weight.numel() == updown.numel():
            updown = updown.reshape(weight.shape)
        if self.dora_scale is not None:
            updown = _dora(updown, weight, self.dora_scale)
        updown = updown * self.scale
        if self.magnitude is not None:
            updown = _peft_dora(updown, weight, self.magnitude)
        updown = updown * multiplier
        if weight.dim() == 4 and weight.shape[1] == 9 and updown.shape[1] == 4:  # an inpainting model's first layer
            updown = torch.nn.functional.pad(updown, (0, 0, 0, 0, 0, 5))
        return updown, None if self.layer_bias is None else self.layer_bias * multiplier


def delta_of(tensors: Tensors, weight_shape: tuple[int, ...], dtype: torch.dtype) -> Delta | None:
    """What the tensors of one layer add to it; None if they are of no kind that is known. A1111's order of kinds."""
    found = next((made for kind in _KINDS if (made := kind(tensors, weight_shape, dtype))), None)
    if found is None:
        return None
    update, rank, layer_bias = found
    alpha, said = _number(tensors, "alpha"), _number(tensors, "scale")
    scale = said if said is not None else alpha / rank if alpha is not None and rank else 1.0
    return LayerDelta(
        update,
        scale,
        tensors.get("bias"),
        layer_bias,
        tensors.get("dora_scale"),
        tensors.get("lora_magnitude_vector"),
    )


_Found = tuple[Update, int | None, torch.Tensor | None] | None


def _lora(tensors: Tensors, shape: tuple[int, ...], dtype: torch.dtype) -> _Found:
    """Up times down; with a middle the CP form of a convolution."""
    if "lora_up.weight" not in tensors or "lora_down.weight" not in tensors:
        return None
    up, down, mid = tensors["lora_up.weight"], tensors["lora_down.weight"], tensors.get("lora_mid.weight")
    rank = down.shape[0]
    if len(shape) == 2:
        up, down, mid = up.reshape(up.shape[0], -1), down.reshape(rank, -1), None

    def update(weight: torch.Tensor, ranks: int | None) -> torch.Tensor:
        a, b = up.to(dtype), down.to(dtype)  # only now: until then they are the file's, mapped
        if mid is not None:
            return torch.einsum("n m k l, i n, m j -> i j k l", mid.to(dtype), _flat(a), _flat(b))
        return _product(a, b, (a.shape[0], *b.shape[1:]), ranks)

    return update, rank, None


def _loha(tensors: Tensors, shape: tuple[int, ...], dtype: torch.dtype) -> _Found:
    """The product, number by number, of two matrices of low rank."""
    names = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
    if not all(name in tensors for name in names):
        return None
    w1a, w1b, w2a, w2b = (tensors[name] for name in names)
    t1, t2 = tensors.get("hada_t1"), tensors.get("hada_t2")

    def half(t: torch.Tensor | None, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return _product(a, b, (a.shape[0], *b.shape[1:])) if t is None else _cp(t, a, b)

    return lambda weight, ranks: half(t1, w1a, w1b) * half(t2, w2a, w2b), w1b.shape[0], None


def _ia3(tensors: Tensors, shape: tuple[int, ...], dtype: torch.dtype) -> _Found:
    """The weight itself times a number for each of its outputs, or inputs."""
    if "weight" not in tensors:
        return None
    factors = tensors["weight"]
    if not _number(tensors, "on_input"):
        factors = factors.reshape(-1, 1)
    return lambda weight, ranks: weight * factors, None, None


def _lokr(tensors: Tensors, shape: tuple[int, ...], dtype: torch.dtype) -> _Found:
    """The Kronecker product of two matrices, either of which may be of low rank."""
    get = tensors.get
    w1, w1a, w1b = get("lokr_w1"), get("lokr_w1_a"), get("lokr_w1_b")
    w2, w2a, w2b, t2 = get("lokr_w2"), get("lokr_w2_a"), get("lokr_w2_b"), get("lokr_t2")
    rank = None
    if w1 is None:
        if w1a is None or w1b is None:
            return None
        rank, w1 = w1b.shape[0], w1a @ w1b
    if w2 is None:
        if w2a is None or w2b is None:
            return None
        rank, w2 = w2b.shape[0], w2a @ w2b if t2 is None else _cp(t2, w2a, w2b)
    first = w1[:, :, None, None] if w2.dim() == 4 else w1
    second = w2.contiguous()
    return lambda weight, ranks: torch.kron(first, second).reshape(weight.shape), rank, None


def _full(tensors: Tensors, shape: tuple[int, ...], dtype: torch.dtype) -> _Found:
    if "diff" not in tensors:
        return None
    return lambda weight, ranks: tensors["diff"], None, tensors.get("diff_b")


def _norm(tensors: Tensors, shape: tuple[int, ...], dtype: torch.dtype) -> _Found:
    if "w_norm" not in tensors or "b_norm" not in tensors:
        return None
    return lambda weight, ranks: tensors["w_norm"], None, tensors["b_norm"]


def _glora(tensors: Tensors, shape: tuple[int, ...], dtype: torch.dtype) -> _Found:
    names = ("a1.weight", "a2.weight", "b1.weight", "b2.weight")
    if not all(name in tensors for name in (*names, "alpha")):
        return None
    a1, a2, b1, b2 = (tensors[name] for name in names)
    return lambda weight, ranks: (b2 @ b1) + ((weight.to(a1.dtype) @ a2) @ a1), None, None


def _oft(tensors: Tensors, shape: tuple[int, ...], dtype: torch.dtype) -> _Found:
    """The weight's outputs, block by block, turned round: kohya's and LyCORIS' OFT, and BOFT with several layers of
    turns, each between other outputs."""
    blocks = tensors.get("oft_blocks")
    turned, constraint = blocks is None, 0.0
    if blocks is None:
        if (blocks := tensors.get("oft_diag")) is None:
            return None
    else:  # skew-symmetric matrices, from which come rotations
        constraint = (_number(tensors, "alpha") or 0.0) * shape[0]
    rotation = blocks if turned else _rotation(blocks, constraint)
    rescale = tensors.get("rescale")

    def update(weight: torch.Tensor, ranks: int | None) -> torch.Tensor:
        merged = _boft(rotation, weight) if rotation.dim() == 4 else _turned(rotation, weight)
        if rescale is not None:
            merged = rescale.to(merged).reshape(-1, *[1] * (weight.dim() - 1)) * merged
        return merged - weight.to(merged.dtype)

    return update, None, None


def _rotation(blocks: torch.Tensor, constraint: float) -> torch.Tensor:
    eye = torch.eye(blocks.shape[-1], device=blocks.device)
    skew = blocks - blocks.transpose(-1, -2)
    if constraint:
        norm = torch.norm(skew.flatten())
        skew = skew * ((torch.clamp(norm, max=constraint) + 1e-8) / (norm + 1e-8))
    return torch.matmul(eye + skew, (eye - skew).float().inverse())


def _turned(rotation: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    size = rotation.shape[-1]
    blocks = weight.reshape(-1, size, *weight.shape[1:]).to(rotation.dtype)
    return torch.einsum("k n m, k n ... -> k m ...", rotation, blocks).reshape(weight.shape)


def _boft(rotations: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    size, rest = rotations.shape[-1], weight.shape[1:]
    merged = weight.to(rotations.dtype)
    for i, rotation in enumerate(rotations):
        k = 2**i * (size // 2)
        apart = merged.reshape(-1, 2, k, *rest).transpose(1, 2).reshape(-1, size, *rest)
        turned = torch.einsum("b i j, b j ... -> b i ...", rotation, apart)
        merged = turned.reshape(-1, k, 2, *rest).transpose(1, 2).reshape(weight.shape)
    return merged


_KINDS = (_lora, _loha, _ia3, _lokr, _full, _norm, _glora, _oft)


def _dora(updown: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """The change to the weight whose columns get other lengths."""
    weight = weight.to(updown.dtype)
    merged = updown + weight
    length: torch.Tensor = merged.transpose(0, 1).reshape(merged.shape[1], -1).norm(dim=1, keepdim=True)
    length = length.reshape(merged.shape[1], *[1] * (weight.dim() - 1)).transpose(0, 1)
    return merged * (scale.to(updown.dtype) / length) - weight


def _peft_dora(updown: torch.Tensor, weight: torch.Tensor, magnitude: torch.Tensor) -> torch.Tensor:
    weight = weight.to(updown.dtype)
    merged = weight + updown
    length: torch.Tensor = merged.flatten(1).norm(dim=1)
    return merged * (magnitude.flatten().to(updown.dtype) / length).reshape(-1, *[1] * (weight.dim() - 1)) - weight


def _product(up: torch.Tensor, down: torch.Tensor, shape: tuple[int, ...], ranks: int | None = None) -> torch.Tensor:
    return (_flat(up)[:, :ranks] @ _flat(down)[:ranks]).reshape(shape)


def _cp(t: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.einsum("i j k l, i r -> r j k l", torch.einsum("i j k l, j r -> i r k l", t, b), a)


def _flat(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.reshape(tensor.shape[0], -1)


def _number(tensors: Tensors, name: str) -> float | None:
    return float(tensors[name].item()) if name in tensors else None
