"""What a preview is made of is what the VAE decodes, whatever way a pipeline has to lay its latents out."""

import functools
from typing import Any

import pytest
import torch

from sdterm.modelling.pipelines.calls import arguments_of
from sdterm.modelling.pipelines.colours import fitted
from sdterm.modelling.pipelines.latents import cleaned, own_prediction, unpacked
from tests.pipelines.building import CALLS, NAMES, PIPELINES, SIZE, fill

WIDTH, HEIGHT = SIZE
LAID_OUT = [name for name in NAMES if name != "ideogram4"]
"""Of the other one's patches only its call knows how they lie: they are shown in grey."""


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", LAID_OUT)
def test_the_last_preview_is_what_is_decoded_up_to_a_scale_per_channel(name: str) -> None:
    pipe = PIPELINES[name]()
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            fill(part.eval())
    call: dict[str, Any] = {"num_inference_steps": 4}
    call |= {"negative_prompt": "fog"} if "negative_prompt" in arguments_of(type(pipe).__call__) else {}
    pipe.set_progress_bar_config(disable=True)
    last: dict[str, Any] = {}
    step, decode = type(pipe.scheduler).step, pipe.vae.decode

    @functools.wraps(step)
    def stepped(scheduler: Any, output: Any, timestep: Any, sample: Any, *args: Any, **more: Any) -> Any:
        gave = step(scheduler, output, timestep, sample, *args, **more)
        index = getattr(scheduler, "step_index", None)
        at = None if index is None else index - 1
        clean = own_prediction(gave)
        last["clean"] = cleaned(scheduler, output, timestep, sample, at) if clean is None else clean
        return gave

    def decoded(latents: Any, *args: Any, **more: Any) -> Any:
        last["decoded"] = latents
        return decode(latents, *args, **more)

    pipe.scheduler.__class__ = type(step.__qualname__, (type(pipe.scheduler),), {"step": stepped})
    pipe.vae.decode = decoded
    with torch.no_grad():
        pipe(
            prompt="a red house",
            width=WIDTH,
            height=HEIGHT,
            generator=torch.Generator().manual_seed(1),
            **call | CALLS.get(name, {}),
        )
    shown, wanted = unpacked(pipe, last["clean"], WIDTH, HEIGHT), last["decoded"]
    wanted = wanted[:, :, 0] if wanted.ndim == 5 else wanted
    assert shown is not None and shown.shape == wanted.shape
    for here, there in zip(shown[0], wanted[0], strict=True):
        assert torch.corrcoef(torch.stack([here.flatten(), there.flatten()]))[0, 1] > 0.99
    factors, bias = fitted(pipe.vae)
    assert len(factors) == shown.shape[1] and len(bias) == 3
