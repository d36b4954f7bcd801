"""What is asked of a pipeline, by the signature of its call."""

from typing import Optional

import pytest

from sdterm.modelling.pipelines.calls import Arguments, arguments_of, given, guidance, options, taken
from sdterm.modelling.pipelines.classes import pipeline_class


def _takes(name: str) -> Arguments:
    found = pipeline_class(name)
    assert found
    return found.takes


@pytest.mark.parametrize(
    ("pipeline", "learned", "argument", "usual"),
    [
        ("FluxPipeline", True, "guidance_scale", 3.5),
        ("FluxPipeline", False, "true_cfg_scale", 1.0),  # schnell, which learned none
        ("QwenImagePipeline", False, "true_cfg_scale", 4.0),
        ("ZImagePipeline", None, "guidance_scale", 5.0),
        ("StableDiffusion3Pipeline", None, "guidance_scale", 7.0),
    ],
)
def test_guidance_is_the_argument_that_acts(pipeline: str, learned: bool | None, argument: str, usual: float) -> None:
    takes = _takes(pipeline)
    found = guidance(takes, learned=learned)
    assert found == argument and taken(takes, found)["cfg_scale"] == usual


def test_a_call_says_which_fields_of_a_request_it_knows_and_its_own_values_for_them() -> None:
    flux2, sd3 = _takes("Flux2Pipeline"), _takes("StableDiffusion3Pipeline")
    assert taken(flux2, "guidance_scale") == {
        "prompt": None,
        "width": None,
        "height": None,
        "steps": 50,
        "cfg_scale": 4.0,
        "init_images": None,
    }
    assert {"negative_prompt", "clip_skip"} <= taken(sd3, "guidance_scale").keys()


def test_what_else_it_takes_are_options_of_their_types_and_what_is_filled_in_is_none() -> None:
    flux = {option.name: option for option in options(_takes("FluxPipeline"), "guidance_scale")}
    assert flux["true_cfg_scale"].default == 1.0 and not flux["true_cfg_scale"].unset
    assert flux["max_sequence_length"].default == 512 and flux["true_cfg_scale"].help
    assert flux["prompt_2"].unset and flux["prompt_2"].default == ""
    filled = {"prompt", "guidance_scale", "latents", "generator", "sigmas", "output_type", "callback_on_step_end"}
    assert not filled & flux.keys()
    sana = {option.name: option.default for option in options(_takes("SanaPipeline"), "guidance_scale")}
    assert sana["use_resolution_binning"] is True and "complex_human_instruction" not in sana
    klein = [option.name for option in options(_takes("Flux2KleinPipeline"), "guidance_scale")]
    assert klein == ["max_sequence_length"], "negative_prompt_embeds is a tensor, though its annotation says str"


def test_a_class_that_is_here_is_read_as_one_that_is_only_written() -> None:
    class Tomorrow:
        def __call__(
            self,
            prompt: str,
            steps_back: Optional[int] = None,  # noqa: UP045
            warmth: float = 1,
            tags: list[str] | None = None,
            **more: object,
        ) -> None:
            """Draw.

            Args:
                prompt (`str`):
                    What to draw.
                warmth (`float`, *optional*, defaults to 1.0):
                    How warm its colours are. Above 2 they burn.
            """

    takes = arguments_of(Tomorrow.__call__)
    found = {option.name: option for option in options(takes, None)}
    assert found.keys() == {"steps_back", "warmth"}
    assert type(found["warmth"].default) is float and found["warmth"].help == "How warm its colours are."
    assert found["steps_back"].unset and found["steps_back"].default == 0


def test_an_empty_negative_prompt_is_left_to_the_pipeline_unless_true_guidance_is_on() -> None:
    qwen, sdxl = _takes("QwenImagePipeline"), _takes("StableDiffusionXLPipeline")
    fields = {"prompt": "a", "negative_prompt": "", "steps": 4}
    assert given(qwen, "true_cfg_scale", fields, {})["negative_prompt"] == " "
    assert "negative_prompt" not in given(qwen, "true_cfg_scale", fields | {"cfg_scale": 1.0}, {})
    assert given(sdxl, "guidance_scale", fields, {}) == {"prompt": "a", "num_inference_steps": 4}
    assert given(sdxl, "guidance_scale", fields | {"cfg_scale": 2.0}, {"eta": 0.5}) == {
        "prompt": "a",
        "num_inference_steps": 4,
        "guidance_scale": 2.0,
        "eta": 0.5,
    }
