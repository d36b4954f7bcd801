"""Layers are found by every name that trainers have for them."""

import pytest
import torch

from sdterm.hooks import Layer, Origin
from sdterm.plugins.networks.names import LayerNames, taken_apart

KOHYA = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1"
ATTENTION = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1"
LDM = "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn1"
UNET = {
    f"{ATTENTION}.to_q": f"{LDM}.to_q",
    f"{ATTENTION}.to_out.0": f"{LDM}.to_out.0",
    "unet.time_embedding.linear_1": "model.diffusion_model.time_embed.0",
}
ONE = "cond_stage_model.transformer.text_model.encoder.layers.0.self_attn.q_proj"
CLIP_L = {"text_encoder.encoder.layers.0.self_attn.q_proj": ONE}
CLIP_G = {"text_encoder_2.text_model.encoder.layers.0.self_attn.q_proj": "conditioner.embedders.1.model.x"}


def names(*of: dict[str, str]) -> LayerNames:
    module = torch.nn.Linear(1, 1)
    layers = {name: original for some in of for name, original in some.items()}
    return LayerNames(
        {n: Layer(module, "unet", {"weight": Origin(f"{o}.weight")}, original=o) for n, o in layers.items()}
    )


@pytest.mark.parametrize(
    ("key", "layer", "part"),
    [
        (f"{KOHYA}_to_q.lora_down.weight", "to_q", "lora_down.weight"),
        ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.hada_w1_a", "to_q", "hada_w1_a"),
        ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_out_0.alpha", "to_out.0", "alpha"),
        ("oft_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.oft_blocks", "to_q", "oft_blocks"),
        (f"{ATTENTION}.to_q.lora_A.weight", "to_q", "lora_down.weight"),
        (f"{ATTENTION}.to_q.lora_B.default.weight", "to_q", "lora_up.weight"),
        (f"base_model.model.{ATTENTION}.to_q.lora_A.weight", "to_q", "lora_down.weight"),
        (f"{ATTENTION}.to_q.lora_magnitude_vector.weight", "to_q", "lora_magnitude_vector"),
        (f"{ATTENTION}.processor.to_q_lora.up.weight", "to_q", "lora_up.weight"),
        (f"{ATTENTION}.processor.to_out_lora.down.weight", "to_out.0", "lora_down.weight"),
        (f"{ATTENTION}.to_out.0.lora_linear_layer.up.weight", "to_out.0", "lora_up.weight"),
        ("diffusion_model.input_blocks.4.1.transformer_blocks.0.attn1.to_q.lora_A.weight", "to_q", "lora_down.weight"),
    ],
)  # fmt: skip
def test_a_layer_of_the_unet(key: str, layer: str, part: str) -> None:
    tensor = taken_apart(key)
    assert (names(UNET).find(tensor.layer), tensor.part) == (f"{ATTENTION}.{layer}", part)


def test_a_layer_outside_of_the_blocks() -> None:
    assert names(UNET).find("lora_unet_time_embed_0") == "unet.time_embedding.linear_1"
    assert names(UNET).find("lora_unet_nowhere") is names(UNET).find("other_time_embed_0") is None


def test_layers_of_text_encoders() -> None:
    kohya, peft = "_text_model_encoder_layers_0_self_attn_q_proj", ".text_model.encoder.layers.0.self_attn.q_proj"
    (first,), (second,) = CLIP_L, CLIP_G
    alone, both = names(CLIP_L), names(CLIP_L, CLIP_G)
    for prefix in ("lora_te", "lora_te1"):
        assert alone.find(f"{prefix}{kohya}") == first
    assert both.find(f"lora_te1{kohya}") == both.find(f"text_encoder{peft}") == first
    assert both.find(f"lora_te2{kohya}") == both.find(f"text_encoder_2{peft}") == second
    assert both.find(f"lora_te{kohya}") is alone.find(f"lora_te2{kohya}") is None
