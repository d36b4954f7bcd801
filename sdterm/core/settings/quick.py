"""A1111's names for settings, and what they are here."""

from collections.abc import Iterable, Mapping

from sdterm.core.names import UnknownNameError, find
from sdterm.core.settings.settings import SETTINGS_BY_KEY
from sdterm.core.text import printable

EQUALS: Mapping[str, str] = {
    "sd_model_checkpoint": "model",
    "CLIP_stop_at_last_layers": "clip_skip",
    "randn_source": "noise_source",
    "samples_format": "format",
    "samples_filename_pattern": "filename_pattern",
    "directories_filename_pattern": "directory_pattern",
    "save_images_add_number": "add_number",
    "grid_save": "save_grid",
    "save_txt": "save_txt",
    "outdir_samples": "outdir",
    "batch_cond_uncond": "batch_cond_uncond",
    "comma_padding_backtrack": "comma_backtrack",
    "emphasis": "emphasis",
    "eta_noise_seed_delta": "ensd",
    "use_old_scheduling": "old_prompt_editing",
    "always_discard_next_to_last_sigma": "discard_penultimate",
    "enable_quantization": "quantize",
    "use_downcasted_alpha_bar": "downcast_alphas",
    "sgm_noise_multiplier": "sgm_noise_multiplier",
    "s_min_uncond": "ngms",
    "cross_attention_optimization": "memory",
    "localization": "language",
    "gradio_theme": "theme",
    "live_previews_enable": "preview",
    "quicksettings_list": "quicksettings_list",
}
"""A1111's key → sdterm's setting, or the request's field."""

LATER: Mapping[str, str] = {
    "sd_vae": "separate VAE files",
    "sd_vae_as_default": "separate VAE files",
    "sd_lora": "extra networks",
    "sd_hypernetwork": "extra networks",
    "extra_networks_default_multiplier": "extra networks",
    "tiling": "tiling",
    "upcast_attn": "memory plans",
    "fp8_storage": "memory plans",
    "token_merging_ratio": "token merging",
    "token_merging_ratio_hr": "token merging",
    "sd_checkpoints_limit": "several models in memory",
    "sd_noise_schedule": "zero terminal SNR",
    "img2img_color_correction": "img2img",
    "img2img_background_color": "img2img",
    "initial_noise_multiplier": "img2img",
    "inpainting_mask_weight": "inpainting",
    "upscaler_for_img2img": "upscalers",
    "face_restoration_model": "face restoration",
    "code_former_weight": "face restoration",
}
"""A1111's key → what it needs that is not there yet."""


def quick(keys: Iterable[str]) -> tuple[list[str], list[str]]:
    """(settings and request fields to pin, in their order; a sentence for each key that cannot be)."""
    found, missing = [], []
    for key in map(str.strip, keys):
        name = EQUALS.get(key, key)
        if key in LATER:
            missing.append(f"{key} cannot be pinned yet: {LATER[key]} come(s) in a later version.")
        elif name in SETTINGS_BY_KEY:
            found.append(name)
        else:
            try:
                found.append(_request_field(name))
            except UnknownNameError as error:
                missing.append(f"quicksettings_list: {error}" if key else "quicksettings_list has an empty name.")
    return [*dict.fromkeys(found)], [printable(sentence, 400) for sentence in missing]


def _request_field(name: str) -> str:
    from sdterm.request import GenerationRequest

    return find("quick setting", name, {known: known for known in (*GenerationRequest.model_fields, *SETTINGS_BY_KEY)})
