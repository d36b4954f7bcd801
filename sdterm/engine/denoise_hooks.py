"""The denoise hooks of a run around its network, and what they do once the last step is made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from typing import Any

import torch

from sdterm.core.extensions.registry import ContractError
from sdterm.core.planning.choices import Chosen
from sdterm.core.planning.plan import ImagePlan
from sdterm.engine.conditioning import Part
from sdterm.engine.denoiser import Network
from sdterm.engine.options import given_options
from sdterm.engine.recorder import kind_of
from sdterm.engine.run import Run
from sdterm.engine.sources import Init
from sdterm.hooks import Conditioning, Denoised, DenoiseHook, ModelSampling, NetworkCall, Sampler
from sdterm.messages import message


@dataclass(frozen=True)
class Hooks:
    """Those of a pass of a batch."""

    run: Run
    sampler: Sampler
    images: Sequence[ImagePlan]
    prompts: Sequence[Sequence[Part]]
    init: Init | None
    levels: ModelSampling
    calls: int

    def around(self, network: Network) -> Network:
        """The network as the hooks make it."""
        for chosen in reversed(self._acting):
            network = partial(self._called, chosen.of, self._options(chosen), network)
        return network

    def _called(
        self,
        hook: DenoiseHook,
        options: Mapping[str, object],
        network: Network,
        x: torch.Tensor,
        sigma: torch.Tensor,
        call: int,
    ) -> Denoised:
        seen = self._seen(hook, call, self._level(sigma))
        with self.run.plugins.guard(hook):
            answer = hook.denoise(lambda x, sigma: network(x, sigma, call), x.clone(), sigma.clone(), seen, **options)
            if not isinstance(answer, Denoised):
                raise ContractError(message("it returned no Denoised"))
            _check(answer.x0, x)
        return answer

    def finished(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents [B, C, h, w] after the last step."""
        for chosen in self._acting:
            if chosen.of.finish:
                with self.run.plugins.guard(chosen.of):
                    made = chosen.of.finish(latents.clone(), self._seen(chosen.of, self.calls), **self._options(chosen))
                    _check(made, latents)
                latents = made
        return latents

    def overlay(self, latents: torch.Tensor) -> torch.Tensor | None:
        """How much of what was drawn shows over the init images, [B, h, w], 0 … 1; None: the mask says it."""
        chosen = next((each for each in self._acting if each.of.overlay), None)
        if not chosen or not chosen.of.overlay:
            return None
        with self.run.plugins.guard(chosen.of):
            shown = chosen.of.overlay(latents.clone(), self._seen(chosen.of, self.calls), **self._options(chosen))
            wanted = (len(latents), *latents.shape[2:])
            if not isinstance(shown, torch.Tensor) or shown.shape != wanted or not torch.isfinite(shown).all():
                raise ContractError(message("it did not return a finite overlay of shape {shape}", shape=list(wanted)))
        return shown.float().clamp(0, 1)

    def _options(self, chosen: Chosen[DenoiseHook]) -> dict[str, Any]:
        return given_options(chosen, self.run.inputs)

    @property
    def _acting(self) -> list[Chosen[DenoiseHook]]:
        """Those that have what they need: of a mask that masks nothing there may be none left."""
        masked = self.init is not None and self.init.mask is not None
        return [each for each in self.run.choices.hooks if masked or each.of.needs != "mask"]

    def _level(self, sigma: torch.Tensor) -> float:
        return float(self.levels.sigma_to_t(sigma[:1])[0] if self._unit else sigma[0])

    @property
    def _unit(self) -> bool:
        return self.sampler.start == "unit"

    def _seen(self, hook: DenoiseHook, call: int, level: float = 0.0) -> NetworkCall:
        def rng(index: int) -> torch.Generator:
            image = self.images[index]
            of = f"{image.seed}:{image.variation_seed}:{hook.id}:{call}"
            seed = int.from_bytes(blake2b(of.encode(), digest_size=8).digest())
            return torch.Generator().manual_seed(seed)

        return NetworkCall(
            call=call,
            calls=self.calls,
            level=level,
            start=self.sampler.start,
            prompts=tuple(tuple(part.texts[part.at(call)] for part in parts) for parts in self.prompts),
            init=self.init.latents.clone() if self.init else None,
            mask=self.init.mask.clone() if self.init and self.init.mask is not None else None,
            rng=rng,
        )


def told(part: Part, tensors: Mapping[str, torch.Tensor]) -> Part:
    """A part of a prompt whose conditioning also says what its image starts from."""

    def with_init(text: Conditioning) -> Conditioning:
        return replace(text, tensors={**text.tensors, **tensors})

    return replace(part, texts=tuple(map(with_init, part.texts))) if tensors else part


def _check(made: object, like: torch.Tensor) -> None:
    """Raises ContractError unless it is a tensor of that kind."""
    if not isinstance(made, torch.Tensor) or made.shape != like.shape:
        raise ContractError(message("it did not return latents of the same shape as its input"))
    if (made.dtype, made.device) != (like.dtype, like.device):
        raise ContractError(
            message(
                "it returned latents in {found}, not {wanted}",
                found=kind_of(made.dtype, made.device),
                wanted=kind_of(like.dtype, like.device),
            )
        )
