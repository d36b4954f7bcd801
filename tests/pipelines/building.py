"""Pipelines of diffusers, built small from their own configurations and saved as the folders that users have.

    folder = build("flux", tmp_path / "flux")  # one of NAMES; the same bytes each time
    lora(pipeline, tmp_path / "a.safetensors")  # for the pipeline that was loaded from it, in diffusers' own format

SIZE is small and has two sides; CALLS has what some need to draw that small. All VAEs have 8 pixels a cell (Sana's 32)
and as many channels as the real ones. Weights are normal numbers whose seeds are their names, scaled so that prompt,
seed and number of steps show in the pixels.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import torch
from safetensors.torch import save_file

from tests.later import Later
from tests.pipelines import vocabularies

diffusers: Any = Later("diffusers")
transformers: Any = Later("transformers")
tomorrow: Any = Later("tests.pipelines.tomorrow.pipeline")

SIZE = (96, 64)
_AS_ASKED = {"use_resolution_binning": False}
CALLS: dict[str, dict[str, Any]] = {
    "sana": _AS_ASKED,
    "pixart-sigma": _AS_ASKED,
    "hunyuandit": _AS_ASKED,
    "ideogram4": {"max_sequence_length": 64, "num_inference_steps": 48},
}
"""What a call must say to draw at that size: three draw at a standard size near by, and scale the picture; one has a
guidance scale for each of 48 steps."""
WIDTH = 16
"""Of hidden states."""


def build(name: str, folder: Path) -> Path:
    """The pipeline of that name, saved in `folder`, which is returned."""
    pipeline = PIPELINES[name]()
    for part, module in pipeline.components.items():
        if isinstance(module, torch.nn.Module):
            fill(module, part)
    pipeline.save_pretrained(folder)
    return folder


@torch.no_grad()
def fill(module: torch.nn.Module, part: str = "") -> None:
    """Numbers that only depend on names, such that each layer keeps the size of what it is given."""

    def normal(key: str, tensor: torch.Tensor) -> torch.Tensor:
        return torch.randn(tensor.shape, generator=torch.Generator().manual_seed(crc32(f"{part}.{key}".encode())))

    embeddings = {f"{name}.weight" for name, each in module.named_modules() if isinstance(each, torch.nn.Embedding)}
    for key, tensor in module.named_parameters():
        z = normal(key, tensor)
        if key in embeddings:
            value = z
        elif key.endswith("bias"):
            value = 0.02 * z
        elif tensor.ndim == 1 or key.endswith("gamma"):
            value = 1 + 0.05 * z  # of a norm
        else:
            value = z / math.sqrt(math.prod(tensor.shape[1:]))
        tensor.copy_(0.4 * value if "conv_out" in key else value)
    for key, buffer in module.named_buffers():
        if key.endswith("running_mean"):
            buffer.copy_(0.3 * normal(key, buffer))
        elif key.endswith("running_var"):
            buffer.copy_(1 + 0.5 * normal(key, buffer).abs())


def denoiser(pipeline: Any) -> tuple[str, torch.nn.Module]:
    """The name of the part that is called at each step, and the part."""
    name = "unet" if "unet" in pipeline.components else "transformer"
    return name, pipeline.components[name]


def lora(pipeline: Any, path: Path, rank: int = 2, strength: float = 0.5) -> Path:
    """A LoRA for the attention of a pipeline's denoiser, in diffusers' own format."""
    part, module = denoiser(pipeline)
    weights = {}
    for name, layer in _attention(module):
        for key, shape in (("A", (rank, layer.in_features)), ("B", (layer.out_features, rank))):
            key = f"{part}.{name}.lora_{key}.weight"
            z = torch.randn(shape, generator=torch.Generator().manual_seed(crc32(key.encode())))
            weights[key] = strength * z / math.sqrt(shape[1])
    save_file(weights, path)
    return path


def _attention(module: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Linear]]:
    for name, layer in module.named_modules():
        if isinstance(layer, torch.nn.Linear) and name.endswith((".to_q", ".to_k", ".to_v", ".to_out.0")):
            yield name, layer


# --- text encoders ----------------------------------------------------------------------------------------------------


def _clip_text(tokenizer: Any, *, act: str = "quick_gelu", projects: bool = False) -> Any:
    config = transformers.CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        hidden_act=act,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return (transformers.CLIPTextModelWithProjection if projects else transformers.CLIPTextModel)(config)


def t5_text(width: int = 2 * WIDTH, kind: str = "T5EncoderModel", config: str = "T5Config") -> Any:
    return getattr(transformers, kind)(
        getattr(transformers, config)(
            vocab_size=len(vocabularies.t5()),
            d_model=width,
            d_kv=8,
            d_ff=2 * WIDTH,
            num_layers=2,
            num_heads=2,
            feed_forward_proj="gated-gelu",
        )
    )


def _qwen_text(**more: Any) -> dict[str, Any]:
    """What configurations of Qwen's language models have in common."""
    return {
        "vocab_size": len(vocabularies.qwen()),
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "max_position_embeddings": 2048,
    } | more


_MROPE = {"rope_type": "default", "mrope_section": [2, 1, 1]}


def _qwen_vision() -> dict[str, Any]:
    return {"depth": 1, "hidden_size": WIDTH, "intermediate_size": WIDTH, "num_heads": 2, "out_hidden_size": WIDTH}


def _qwen_marks() -> dict[str, int]:
    names = {"image": "image_pad", "video": "video_pad", "vision_start": "vision_start", "vision_end": "vision_end"}
    ids = vocabularies.qwen().convert_tokens_to_ids
    return {f"{key}_token_id": ids(f"<|{mark}|>") for key, mark in names.items()}


def _gemma_text() -> Any:
    tokenizer = vocabularies.gemma()
    return transformers.Gemma2Model(
        transformers.Gemma2Config(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=8,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


# --- VAEs and schedulers ----------------------------------------------------------------------------------------------


def _vae(channels: int, **more: Any) -> Any:
    return diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        latent_channels=channels,
        norm_num_groups=4,
        sample_size=64,
        **more,
    )


def _flux_vae() -> Any:
    return _vae(16, scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False)


def _flux2_vae() -> Any:
    return diffusers.AutoencoderKLFlux2(
        block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=4, sample_size=64
    )


def _qwen_vae() -> Any:
    return diffusers.AutoencoderKLQwenImage(base_dim=8, z_dim=16, num_res_blocks=1)


def _flow(**more: Any) -> Any:
    return diffusers.FlowMatchEulerDiscreteScheduler(**more)


def _dynamic_flow() -> Any:
    """Whose shift follows the picture's size."""
    return _flow(use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15, shift=3.0)


# --- pipelines --------------------------------------------------------------------------------------------------------


def _flux() -> Any:
    return diffusers.FluxPipeline(
        scheduler=_dynamic_flow(),
        vae=_flux_vae(),
        text_encoder=_clip_text(vocabularies.clip()),
        tokenizer=vocabularies.clip(),
        text_encoder_2=t5_text(),
        tokenizer_2=vocabularies.t5(),
        transformer=diffusers.FluxTransformer2DModel(
            in_channels=64,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=2 * WIDTH,
            pooled_projection_dim=WIDTH,
            guidance_embeds=True,
            axes_dims_rope=(4, 4, 8),
        ),
    )


def _flux2_klein() -> Any:
    """Its call reads the layers 9, 18 and 27 of its text encoder."""
    config = transformers.Qwen3Config(**_qwen_text(num_hidden_layers=28))
    return diffusers.Flux2KleinPipeline(
        scheduler=_dynamic_flow(),
        vae=_flux2_vae(),
        text_encoder=transformers.Qwen3ForCausalLM(config),
        tokenizer=vocabularies.qwen(),
        transformer=diffusers.Flux2Transformer2DModel(
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=3 * WIDTH,
            timestep_guidance_channels=32,
            axes_dims_rope=(4, 4, 4, 4),
            guidance_embeds=False,
        ),
    )


def _sd3() -> Any:
    """SD 3.5, medium: attention twice in its first block."""
    return diffusers.StableDiffusion3Pipeline(
        transformer=diffusers.SD3Transformer2DModel(
            sample_size=16,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=4,
            joint_attention_dim=2 * WIDTH,
            caption_projection_dim=32,
            pooled_projection_dim=2 * WIDTH,
            pos_embed_max_size=24,
            dual_attention_layers=(0,),
            qk_norm="rms_norm",
        ),
        scheduler=_flow(shift=3.0),
        vae=_vae(16, scaling_factor=1.5305, shift_factor=0.0609, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=_clip_text(vocabularies.clip(), projects=True),
        tokenizer=vocabularies.clip(),
        text_encoder_2=_clip_text(vocabularies.clip(), act="gelu", projects=True),
        tokenizer_2=vocabularies.clip(),
        text_encoder_3=t5_text(),
        tokenizer_3=vocabularies.t5(),
    )


def _z_image() -> Any:
    return diffusers.ZImagePipeline(
        scheduler=_flow(shift=3.0),
        vae=_flux_vae(),
        text_encoder=transformers.Qwen3Model(transformers.Qwen3Config(**_qwen_text())),
        tokenizer=vocabularies.qwen(),
        transformer=diffusers.ZImageTransformer2DModel(
            dim=32,
            n_layers=1,
            n_refiner_layers=1,
            n_heads=2,
            n_kv_heads=2,
            cap_feat_dim=WIDTH,
            axes_dims=[8, 4, 4],
            axes_lens=[1024, 64, 64],
        ),
    )


def _qwen_image() -> Any:
    config = transformers.Qwen2_5_VLConfig(
        text_config=_qwen_text(rope_scaling=_MROPE),
        vision_config=_qwen_vision(),
        **_qwen_marks(),
    )
    return diffusers.QwenImagePipeline(
        scheduler=_dynamic_flow(),
        vae=_qwen_vae(),
        text_encoder=transformers.Qwen2_5_VLForConditionalGeneration(config),
        tokenizer=vocabularies.qwen(),
        transformer=diffusers.QwenImageTransformer2DModel(
            num_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            axes_dims_rope=(8, 4, 4),
        ),
    )


def _krea2() -> Any:
    config = transformers.Qwen3VLConfig(
        text_config=_qwen_text(rope_scaling=_MROPE),
        vision_config=_qwen_vision() | {"deepstack_visual_indexes": [0]},
        **_qwen_marks(),
    )
    return diffusers.Krea2Pipeline(
        scheduler=_dynamic_flow(),
        vae=_qwen_vae(),
        text_encoder=transformers.Qwen3VLModel(config),
        tokenizer=vocabularies.qwen(),
        transformer=diffusers.Krea2Transformer2DModel(
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=32,
            timestep_embed_dim=8,
            text_hidden_dim=WIDTH,
            num_text_layers=3,
            text_num_attention_heads=2,
            text_num_key_value_heads=1,
            text_intermediate_size=WIDTH,
            num_layerwise_text_blocks=1,
            num_refiner_text_blocks=1,
            axes_dims_rope=(4, 2, 2),
        ),
        text_encoder_select_layers=(0, 1, 2),
    )


def _chroma() -> Any:
    return diffusers.ChromaPipeline(
        scheduler=_flow(shift=3.0),
        vae=_flux_vae(),
        text_encoder=t5_text(),
        tokenizer=vocabularies.t5(),
        transformer=diffusers.ChromaTransformer2DModel(
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=2 * WIDTH,
            axes_dims_rope=(4, 4, 8),
            approximator_hidden_dim=32,
            approximator_layers=1,
            approximator_num_channels=16,
        ),
    )


def _lumina2() -> Any:
    return diffusers.Lumina2Pipeline(
        transformer=diffusers.Lumina2Transformer2DModel(
            sample_size=16,
            hidden_size=32,
            num_layers=1,
            num_refiner_layers=1,
            num_attention_heads=2,
            num_kv_heads=1,
            multiple_of=16,
            axes_dim_rope=(8, 4, 4),
            axes_lens=(1024, 64, 64),
            cap_feat_dim=WIDTH,
        ),
        scheduler=_flow(shift=6.0),
        vae=_flux_vae(),
        text_encoder=_gemma_text(),
        tokenizer=vocabularies.gemma(),
    )


def _sana() -> Any:
    """Its VAE has 32 pixels a cell."""
    blocks = ("ResBlock",) * 3 + ("EfficientViTBlock",) * 3
    scales = ((), (), (), (5,), (5,), (5,))
    return diffusers.SanaPipeline(
        tokenizer=vocabularies.gemma(),
        text_encoder=_gemma_text(),
        vae=diffusers.AutoencoderDC(
            attention_head_dim=4,
            encoder_block_types=blocks,
            decoder_block_types=blocks,
            encoder_block_out_channels=(8,) * 5 + (32,),
            decoder_block_out_channels=(8,) * 5 + (32,),
            encoder_layers_per_block=(1,) * 6,
            decoder_layers_per_block=(1,) * 6,
            encoder_qkv_multiscales=scales,
            decoder_qkv_multiscales=scales,
            scaling_factor=0.41407,
        ),
        transformer=diffusers.SanaTransformer2DModel(
            num_attention_heads=2,
            attention_head_dim=8,
            num_layers=1,
            num_cross_attention_heads=2,
            cross_attention_head_dim=8,
            cross_attention_dim=WIDTH,
            caption_channels=WIDTH,
            sample_size=16,
        ),
        scheduler=diffusers.DPMSolverMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
    )


def _pixart_sigma() -> Any:
    return diffusers.PixArtSigmaPipeline(
        tokenizer=vocabularies.t5(),
        text_encoder=t5_text(),
        vae=_vae(4, scaling_factor=0.13025),
        transformer=diffusers.PixArtTransformer2DModel(
            num_attention_heads=2,
            attention_head_dim=8,
            num_layers=1,
            cross_attention_dim=16,
            sample_size=32,
            caption_channels=2 * WIDTH,
        ),
        scheduler=diffusers.DPMSolverMultistepScheduler(),
    )


def _auraflow() -> Any:
    return diffusers.AuraFlowPipeline(
        tokenizer=vocabularies.t5(),
        text_encoder=t5_text(kind="UMT5EncoderModel", config="UMT5Config"),
        vae=_vae(4, scaling_factor=0.13025),
        transformer=diffusers.AuraFlowTransformer2DModel(
            sample_size=16,
            num_mmdit_layers=1,
            num_single_dit_layers=1,
            attention_head_dim=8,
            num_attention_heads=4,
            joint_attention_dim=2 * WIDTH,
            caption_projection_dim=32,
            pos_embed_max_size=256,
        ),
        scheduler=_flow(shift=1.73),
    )


def _hunyuandit() -> Any:
    tokenizer = vocabularies.bert()
    config = transformers.BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=2 * WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=2 * WIDTH,
        max_position_embeddings=128,
    )
    return diffusers.HunyuanDiTPipeline(
        vae=_vae(4, scaling_factor=0.13025),
        text_encoder=transformers.BertModel(config),
        tokenizer=tokenizer,
        transformer=diffusers.HunyuanDiT2DModel(
            num_attention_heads=4,
            attention_head_dim=8,
            in_channels=4,
            patch_size=2,
            sample_size=16,
            hidden_size=32,
            num_layers=2,
            cross_attention_dim=2 * WIDTH,
            cross_attention_dim_t5=2 * WIDTH,
            pooled_projection_dim=WIDTH,
        ),
        scheduler=diffusers.DDPMScheduler(
            beta_start=0.00085,
            beta_end=0.02,
            beta_schedule="scaled_linear",
            clip_sample=False,
            prediction_type="v_prediction",
            steps_offset=1,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
        text_encoder_2=t5_text(),
        tokenizer_2=vocabularies.t5(),
    )


def _cogview4() -> Any:
    tokenizer = vocabularies.glm()
    config = transformers.GlmConfig(
        vocab_size=len(tokenizer),
        hidden_size=2 * WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return diffusers.CogView4Pipeline(
        tokenizer=tokenizer,
        text_encoder=transformers.GlmModel(config),
        vae=_vae(16, scaling_factor=1.0, shift_factor=0.0),
        transformer=diffusers.CogView4Transformer2DModel(
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=4,
            text_embed_dim=2 * WIDTH,
            time_embed_dim=8,
            condition_dim=4,
            sample_size=16,
        ),
        scheduler=_flow(
            base_shift=0.25,
            max_shift=0.75,
            base_image_seq_len=256,
            use_dynamic_shifting=True,
            time_shift_type="linear",
        ),
    )


def _sd15() -> Any:
    """Small, but a family of sdterm's own draws with it, too."""
    return diffusers.StableDiffusionPipeline(
        vae=_vae(4),
        text_encoder=_clip_text(vocabularies.whole_clip()),
        tokenizer=vocabularies.whole_clip(),
        unet=diffusers.UNet2DConditionModel(
            sample_size=8,
            down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
            up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
            block_out_channels=(8, 8, 8, 8),
            layers_per_block=1,
            cross_attention_dim=WIDTH,
            attention_head_dim=2,
            norm_num_groups=4,
        ),
        scheduler=diffusers.PNDMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            set_alpha_to_one=False,
            skip_prk_steps=True,
            steps_offset=1,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _sdxl() -> Any:
    """Small, but a family of sdterm's own draws with it, too."""
    tokenizer = vocabularies.whole_clip()
    return diffusers.StableDiffusionXLPipeline(
        vae=_vae(4, scaling_factor=0.13025),
        text_encoder=_clip_text(tokenizer),
        text_encoder_2=_clip_text(tokenizer, act="gelu", projects=True),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=diffusers.UNet2DConditionModel(
            sample_size=16,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            block_out_channels=(8, 16, 16),
            layers_per_block=1,
            cross_attention_dim=2 * WIDTH,
            attention_head_dim=(1, 2, 2),
            transformer_layers_per_block=(1, 1, 1),
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=WIDTH + 6 * 256,
            norm_num_groups=4,
        ),
        scheduler=diffusers.EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1
        ),
    )


def _ideogram4() -> Any:
    """Two denoisers, one for the prompt and one for the picture without it. Its text encoder is read at 13 layers of
    36."""
    config = transformers.Qwen3VLConfig(
        text_config=_qwen_text(num_hidden_layers=36, rope_scaling=_MROPE),
        vision_config=_qwen_vision() | {"deepstack_visual_indexes": [0]},
        **_qwen_marks(),
    )

    def denoising() -> Any:
        return diffusers.Ideogram4Transformer2DModel(
            num_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            intermediate_size=32,
            adaln_dim=WIDTH,
            llm_features_dim=13 * WIDTH,
            mrope_section=(4, 2, 2),
        )

    return diffusers.Ideogram4Pipeline(
        scheduler=_flow(),
        vae=_flux2_vae(),
        text_encoder=transformers.Qwen3VLModel(config),
        tokenizer=vocabularies.qwen(),
        transformer=denoising(),
        unconditional_transformer=denoising(),
    )


def _ovis_image() -> Any:
    return diffusers.OvisImagePipeline(
        scheduler=_dynamic_flow(),
        vae=_flux_vae(),
        text_encoder=transformers.Qwen3Model(transformers.Qwen3Config(**_qwen_text())),
        tokenizer=vocabularies.qwen(),
        transformer=diffusers.OvisImageTransformer2DModel(
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            axes_dims_rope=(4, 4, 8),
        ),
    )


PIPELINES: dict[str, Callable[[], Any]] = {
    "flux": _flux,
    "flux2-klein": _flux2_klein,
    "sd3": _sd3,
    "z-image": _z_image,
    "qwen-image": _qwen_image,
    "krea2": _krea2,
    "chroma": _chroma,
    "lumina2": _lumina2,
    "sana": _sana,
    "pixart-sigma": _pixart_sigma,
    "auraflow": _auraflow,
    "hunyuandit": _hunyuandit,
    "cogview4": _cogview4,
    "sd15": _sd15,
    "sdxl": _sdxl,
    "tomorrow": lambda: tomorrow.small(),
    "ideogram4": _ideogram4,
    "ovis-image": _ovis_image,
}
NAMES = tuple(PIPELINES)
