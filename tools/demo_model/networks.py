"""The model's three networks, stock diffusers and transformers classes at a small size, and how they start."""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

# diffusers and transformers type their modules loosely.
Vae: TypeAlias = Any
UNet: TypeAlias = Any
TextEncoder: TypeAlias = Any

# As the checkpoint's header states it: what the weights alone do not tell is here.
ARCHITECTURE: dict[str, Any] = {
    "family": "sd1",
    "native_size": 128,
    "unet": {
        "block_out_channels": [64, 96, 128],
        "layers_per_block": 1,
        "cross_attention_dim": 96,
        "attention_head_dim": 4,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        "norm_num_groups": 32,
    },
    "vae": {
        "block_out_channels": [16, 32, 64, 96],
        "layers_per_block": 1,
        "latent_channels": 4,
        "norm_num_groups": 4,
        "scaling_factor": 0.18215,
    },
    "text_encoder": {
        "hidden_size": 96,
        "intermediate_size": 384,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 77,
        "hidden_act": "quick_gelu",
        "vocab_size": 49408,
    },
}
SCALING_FACTOR: float = ARCHITECTURE["vae"]["scaling_factor"]
VOCABULARY_SIZE: int = ARCHITECTURE["text_encoder"]["vocab_size"]
CONTEXT: int = ARCHITECTURE["text_encoder"]["max_position_embeddings"]  # tokens
HIDDEN: int = ARCHITECTURE["text_encoder"]["hidden_size"]  # width of the conditioning


def new_vae() -> Vae:
    return AutoencoderKL(
        **ARCHITECTURE["vae"],
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        sample_size=128,
    )


def new_unet() -> UNet:
    return UNet2DConditionModel(**ARCHITECTURE["unet"], sample_size=16, in_channels=4, out_channels=4)


def new_text_encoder(vocabulary_size: int = VOCABULARY_SIZE) -> TextEncoder:
    """Training uses a compact vocabulary, in which start and end token are the first two rows."""
    compact = vocabulary_size != VOCABULARY_SIZE
    start, end = (0, 1) if compact else (VOCABULARY_SIZE - 2, VOCABULARY_SIZE - 1)
    sizes = ARCHITECTURE["text_encoder"] | {"vocab_size": vocabulary_size, "projection_dim": HIDDEN}
    return CLIPTextModel(CLIPTextConfig(**sizes, bos_token_id=start, eos_token_id=end, pad_token_id=end))


def start_vae(vae: Vae) -> Vae:
    """Let the linear path carry the picture from the first step: orthogonal path convolutions, silent branches."""
    path = ("conv_shortcut", "samplers.0.conv", "conv_in", "quant_conv", "post_quant_conv", ".conv_out", "conv1")
    for name, module in vae.named_modules():
        if name.endswith(path) and isinstance(module, nn.Conv2d):
            _orthogonal(module, gain=1.4 if name.endswith("conv1") else 1.0)
        if name.endswith(("conv2", "to_out.0")):
            _silent(module)
    with torch.no_grad():
        vae.quant_conv.weight[4:] *= 0.1
        vae.quant_conv.bias[4:] = -4.0
    return vae


def start_unet(unet: UNet) -> UNet:
    """LDM's silent output layers (diffusers leaves them random) and gain-1 path convolutions: much faster learning."""
    for name, module in unet.named_modules():
        if name.endswith(("conv_shortcut", "samplers.0.conv", "conv_in")):
            _orthogonal(module)
        if name.endswith(("conv2", "proj_out", "conv_out")):
            _silent(module)
    return unet


def start_text_encoder(text: TextEncoder) -> TextEncoder:
    """Embeddings far enough apart to be told from each other; the row of unknown words says nothing yet."""
    with torch.no_grad():
        text.embeddings.token_embedding.weight.normal_(0, 0.2)
        text.embeddings.token_embedding.weight[-1] = 0
        text.embeddings.position_embedding.weight.normal_(0, 0.1)
    return text


def _orthogonal(module: Any, gain: float = 1.0) -> None:
    nn.init.orthogonal_(module.weight, gain)
    nn.init.zeros_(module.bias)


def _silent(module: Any) -> None:
    nn.init.zeros_(module.weight)
    nn.init.zeros_(module.bias)
