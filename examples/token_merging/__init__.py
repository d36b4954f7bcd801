"""Token merging: similar tokens of the picture are merged before attention and spread out after it, which makes large
pictures faster. Bolya and Hoffman 2023, "Token merging for fast Stable Diffusion" (arXiv 2303.17604), as A1111 uses it:
around self-attention of the highest resolution that has it, the upper left token of each 2 x 2 staying."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sdterm.hooks import Components, MemoryOptimizer, ModelFacts, Option, PluginError, hookimpl

if TYPE_CHECKING:
    import torch

_HANDLES = "_token_merging"


def supports(device: torch.device, model: ModelFacts) -> tuple[bool, str]:
    return True, ""


def apply(components: Components, *, ratio: float) -> None:
    """Hang hooks on every transformer block of the UNet. The handles are kept on the module, to take them off again."""
    from diffusers.models.attention import BasicTransformerBlock

    from .merging import Merging

    undo(components)
    unet: Any = components.modules.get("unet")
    blocks = [module for module in unet.modules() if isinstance(module, BasicTransformerBlock)] if unet else []
    if not blocks:
        raise PluginError("This model has no transformer blocks in a UNet whose tokens could be merged.")
    with_attention = (place for place, block in enumerate(unet.down_blocks) if hasattr(block, "attentions"))
    finest = 2 ** next(with_attention, 0)
    size = (0, 0)

    def on_unet(module: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        nonlocal size
        sample = args[0] if args else kwargs["sample"]
        size = tuple(sample.shape[-2:])

    handles = [unet.register_forward_pre_hook(on_unet, with_kwargs=True)]
    for block in blocks:
        handles += Merging(ratio, lambda: size, finest).hooks(block)
    setattr(unet, _HANDLES, handles)


def undo(components: Components) -> None:
    unet: Any = components.modules.get("unet")
    for handle in getattr(unet, _HANDLES, ()):
        handle.remove()
    if hasattr(unet, _HANDLES):
        delattr(unet, _HANDLES)


@hookimpl
def sdterm_memory_optimizers() -> list[MemoryOptimizer]:
    ratio = Option("ratio", 0.5, "Which part of the tokens is merged away.", 0, 0.75, "Token merging ratio")
    return [
        MemoryOptimizer(
            id="token_merging",
            label="Token merging",
            group="tokens",
            supports=supports,
            apply=apply,
            undo=undo,
            effect="visible",
            options=(ratio,),
        )
    ]
