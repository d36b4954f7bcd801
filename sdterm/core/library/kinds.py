"""What kind of model file a file is, by the names of its tensors."""

import re
from collections.abc import Mapping

from sdterm.core.library.weights import WeightsFile

Shapes = Mapping[str, tuple[int, ...]]

_LORA = re.compile(
    r"^lora_|^lycoris_|\.lora_(up|down|A|B|magnitude)\b|\.lora\.(up|down)\.|\.hada_w[12]_|\.lokr_w[12]|\.oft_|\.dora_scale$"
)
_HYPERNETWORK = re.compile(r"^\d+\.[01]\.linear")
_UPSCALER = re.compile(
    r"^(params_ema\.|params\.)?(conv_first\.weight|model\.0\.weight|RRDB_trunk\.|layers\.0\.residual_group\.|body\.0\.(rdb|weight))"
)
_TAESD = re.compile(r"^((decoder|encoder)\.(layers\.)?)?\d+\.conv\.0\.weight$")
_TAESD_DECODER = re.compile(r"^(decoder\..*|1\.weight)$")
_TAESD_ENCODER = re.compile(r"^(encoder\..*|0\.weight)$")
_APPROX_NN = {f"conv{number}.{kind}" for number in range(1, 9) for kind in ("weight", "bias")}
_CHECKPOINT = ("model.diffusion_model.", "diffusion_model.", "unet.", "transformer.")
_DENOISER = re.compile(
    r"(double_blocks|single_blocks|joint_blocks|transformer_blocks|single_transformer_blocks|double_layers|noise_refiner"
    r"|double_stream_blocks|txtfusion|blocks|layers)\.\d+\.|(cap_embedder|x_embedder|img_in)\."
)
"""How keys begin in files that have the transformer of a model alone."""
_TEXT_ENCODER = re.compile(r"(embed_tokens|token_embedding|shared|word_embeddings)\.weight$")
"""The table of words of a text encoder."""
_VAE = ("decoder.conv_in.weight", "first_stage_model.decoder.conv_in.weight", "decoder.conv1.weight")
_WIDTHS = (768, 1024, 1280)
"""Of the words that text encoders know."""
_MOST_VECTORS = 1000


def kind_of(file: WeightsFile) -> str | None:
    """The id of the kind, as in the table of kinds; None if its tensors do not say. Raises ModelFileError."""
    return kind_by_shapes(file.shapes())


def kind_by_shapes(shapes: Shapes) -> str | None:
    """The same of tensors' names and shapes."""
    keys = list(shapes)
    if any(_LORA.search(key) for key in keys):
        return "lora"
    if any(_HYPERNETWORK.match(key) for key in keys):
        return "hypernetwork"
    if any(key.startswith(_CHECKPOINT) for key in keys):
        return "checkpoint"
    if any(key in shapes for key in _VAE):
        return "vae"
    if approximation(shapes):
        return "vae_approx"
    if any(_UPSCALER.match(key) for key in keys):
        return "upscaler"
    if _is_embedding(shapes):
        return "embedding"
    if any(_TEXT_ENCODER.search(key) for key in keys):
        return "text_encoder"
    if any(_DENOISER.match(key) for key in keys):
        return "checkpoint"
    return None


def approximation(shapes: Shapes) -> str:
    """What an approximate VAE is, in words; empty for anything else."""
    if {*shapes} == _APPROX_NN:
        return "Approx NN"
    if not any(_TAESD.match(key) for key in shapes):
        return ""
    halves = {"encoder": _TAESD_ENCODER, "decoder": _TAESD_DECODER}
    there = [half for half, marks in halves.items() if any(marks.match(key) for key in shapes)]
    return f"TAESD {' and '.join(there)}"


def _is_embedding(shapes: Shapes) -> bool:
    """Few vectors as wide as a text encoder's words, and nothing else."""
    return 0 < len(shapes) <= 4 and all(
        0 < len(shape) <= 2 and shape[-1] in _WIDTHS and (len(shape) == 1 or shape[0] <= _MOST_VECTORS)
        for shape in shapes.values()
    )
