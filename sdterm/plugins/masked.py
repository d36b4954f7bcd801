"""The masked blend: what is not masked stays what it was, in every call of the network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sdterm.hooks import Denoise, Denoised, DenoiseHook, NetworkCall, hookimpl

if TYPE_CHECKING:
    import torch


class Blend(Protocol):
    """Latents drawn and the init latents, joined by how much of each cell is drawn anew."""

    def __call__(self, drawn: torch.Tensor, init: torch.Tensor, mask: torch.Tensor, /) -> torch.Tensor: ...


def denoise_masked(network: Denoise, x: torch.Tensor, sigma: torch.Tensor, call: NetworkCall, blend: Blend) -> Denoised:
    """As A1111: the clean latents that the network predicts are blended with the init latents; for samplers that start
    from unit noise it is the noisy ones that the network is given, on the scale of those samplers, and from what the
    network then says the same noise is taken off the latents as they were."""
    assert call.init is not None and call.mask is not None  # declared: needs a mask
    if call.start == "sigma":
        x0, uncond = network(x, sigma)
        return Denoised(blend(x0, call.init, call.mask), uncond)
    scale = (1 + sigma[0] ** 2) ** 0.5
    given = blend(x / scale, call.init, call.mask) * scale
    x0, uncond = network(given, sigma)
    return Denoised(x0 + (x - given), None if uncond is None else uncond + (x - given))


def plain(drawn: torch.Tensor, init: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return drawn * mask + init * (1 - mask)


def denoise(network: Denoise, x: torch.Tensor, sigma: torch.Tensor, call: NetworkCall) -> Denoised:
    return denoise_masked(network, x, sigma, call, plain)


def finish(latents: torch.Tensor, call: NetworkCall) -> torch.Tensor:
    assert call.init is not None and call.mask is not None  # declared: needs a mask
    return plain(latents, call.init, call.mask)


@hookimpl
def sdterm_denoise_hooks() -> list[DenoiseHook]:
    return [
        DenoiseHook(
            id="masked", label="Masked", denoise=denoise, finish=finish, needs="mask", group="mask", default=True
        )
    ]
