"""What the rarer kinds of LoRA add, against what their papers say."""

import pytest
import torch

from sdterm.plugins.networks.deltas import delta_of

F32 = torch.float32


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def added(tensors: dict[str, torch.Tensor], weight: torch.Tensor, multiplier: float = 1.0) -> torch.Tensor:
    delta = delta_of(tensors, tuple(weight.shape), F32)
    assert delta
    return delta(weight, multiplier, None)[0]


@pytest.mark.parametrize("shape", [(16, 6), (16, 3, 3, 3)], ids=["linear", "convolution"])
@pytest.mark.parametrize(
    "tensors",
    [
        {"oft_blocks": drawn(4, 4, 4)},
        {"oft_blocks": drawn(4, 4, 4), "alpha": torch.tensor(0.01)},
        {"oft_blocks": drawn(3, 4, 4, 4)},
    ],
    ids=["OFT", "COFT", "BOFT"],
)
def test_orthogonal_kinds_turn_the_outputs_and_keep_lengths(
    tensors: dict[str, torch.Tensor], shape: tuple[int, ...]
) -> None:
    weight = drawn(*shape)
    turned = weight + added(tensors, weight)
    assert not torch.allclose(turned, weight, atol=1e-3)
    assert torch.allclose(turned.flatten(1).norm(dim=0), weight.flatten(1).norm(dim=0), atol=1e-4)
    nothing = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
    assert torch.allclose(added(nothing, weight), torch.zeros(()), atol=1e-6)


def test_glora_adds_to_the_weight_a_part_of_itself() -> None:
    weight = drawn(8, 6)
    a1, a2, b1, b2 = drawn(2, 6), drawn(6, 2), drawn(3, 6), drawn(8, 3)
    tensors = {"a1.weight": a1, "a2.weight": a2, "b1.weight": b1, "b2.weight": b2, "alpha": torch.tensor(1.0)}
    assert torch.allclose(added(tensors, weight, 0.5), 0.5 * (b2 @ b1 + weight @ a2 @ a1))


def test_pefts_dora_gives_the_rows_their_lengths() -> None:
    weight, up, down = drawn(8, 6), drawn(8, 2), drawn(2, 6)
    lengths = drawn(8).abs() + 1
    tensors = {"lora_up.weight": up, "lora_down.weight": down, "lora_magnitude_vector": lengths}
    assert torch.allclose((weight + added(tensors, weight)).norm(dim=1), lengths, atol=1e-5)


def test_nothing_is_made_of_unknown_tensors() -> None:
    assert delta_of({"surprise": drawn(2, 2)}, (2, 2), F32) is None
