"""A pipeline's folder that is recognised, and could not be loaded: made in a moment, without torch."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

FLOW = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0, "use_dynamic_shifting": False}


def hollow(folder: Path, pipeline: str = "Flux2KleinPipeline") -> Path:
    """A folder of that class of diffusers, whose weights are one number each."""
    parts = {
        "transformer": ["diffusers", "Flux2Transformer2DModel"],
        "vae": ["diffusers", "AutoencoderKLFlux2"],
        "text_encoder": ["transformers", "Qwen3ForCausalLM"],
    }
    for name in parts:
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_text(json.dumps({"_class_name": parts[name][1]}))
        weights = "model" if name == "text_encoder" else "diffusion_pytorch_model"
        save_file({"weight": np.zeros(1, np.float32)}, folder / name / f"{weights}.safetensors")
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(FLOW))
    index = {"_class_name": pipeline, **parts, "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder
