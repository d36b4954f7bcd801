"""Token merging: similar tokens of the picture are merged before attention and spread out after it, which makes large
pictures faster. Bolya and Hoffman 2023, "Token merging for fast Stable Diffusion" (arXiv 2303.17604), as A1111 uses it:
around self-attention whose tokens are not reduced, the upper left one of each 2 x 2 staying."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sdterm.hooks import Components, MemoryOptimizer, ModelFacts, Option, OptionValue, PluginError, Start, hookimpl
from sdterm.messages import message

if TYPE_CHECKING:
    import torch

_HANDLES = "_token_merging"


def supports(device: torch.device, model: ModelFacts) -> tuple[bool, str]:
    return True, ""


def apply(components: Components, *, ratio: float, ratio_hr: float, downsample: int) -> None:
    """Hang hooks on every transformer block of the UNet. The handles are kept on the module, to take them off again.
    ratio_hr: see `in_pass`."""
    from diffusers.models.attention import BasicTransformerBlock

    from sdterm.plugins.memory.token_merging.merging import Merging

    undo(components)
    if not (ratio or ratio_hr):
        raise PluginError(
            message("Token merging needs a ratio: --set token_merging.ratio=0.5 merges half of the tokens.")
        )
    if not ratio:
        return
    unet: Any = components.modules.get("unet")
    blocks = [module for module in unet.modules() if isinstance(module, BasicTransformerBlock)] if unet else []
    if not blocks:
        raise PluginError(message("Token merging needs transformer blocks in a UNet, which this model does not have."))
    size = (0, 0)

    def on_unet(module: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        nonlocal size
        sample = args[0] if args else kwargs["sample"]
        size = tuple(sample.shape[-2:])

    handles = [unet.register_forward_pre_hook(on_unet, with_kwargs=True)]
    for block in blocks:
        handles += Merging(ratio, lambda: size, downsample).hooks(block)
    setattr(unet, _HANDLES, handles)


def undo(components: Components) -> None:
    unet: Any = components.modules.get("unet")
    for handle in getattr(unet, _HANDLES, ()):
        handle.remove()
    if hasattr(unet, _HANDLES):
        delattr(unet, _HANDLES)


def in_pass(options: Mapping[str, OptionValue], start: Start) -> Mapping[str, OptionValue]:
    """In the second pass of hires fix its own ratio counts, where it has one."""
    return {**options, "ratio": options["ratio_hr"]} if start == "pass" and options["ratio_hr"] else options


@hookimpl
def sdterm_memory_optimizers() -> list[MemoryOptimizer]:
    ratio = Option(
        "ratio",
        0.0,
        message("The share of tokens to merge."),
        minimum=0,
        maximum=0.9,
        infotext="Token merging ratio",
        a1111="token_merging_ratio",
    )
    ratio_hr = Option(
        "ratio_hr",
        0.0,
        message("The share of tokens to merge in the second pass of hires fix; 0 is the same as in the first pass."),
        minimum=0,
        maximum=0.9,
        infotext="Token merging ratio hr",
        a1111="token_merging_ratio_hr",
    )
    downsample = Option(
        "downsample",
        1,
        message(
            "Merge tokens in blocks that are downsampled at most by this factor. SDXL has none at 1, so 1 "
            "has no effect there."
        ),
        minimum=1,
        maximum=8,
    )
    return [
        MemoryOptimizer(
            id="token_merging",
            label="Token merging",
            group="tokens",
            supports=supports,
            apply=apply,
            undo=undo,
            effect="visible",
            in_pass=in_pass,
            options=(ratio, ratio_hr, downsample),
        )
    ]
