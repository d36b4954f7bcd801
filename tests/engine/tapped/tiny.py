"""A pipeline in diffusers' shape, small enough that a run is a moment, and the plugin that brings it.

As a stranger would write it, it imports nothing of the tests. Its checkpoint is `tiny.seed`, of its random weights;
`quirk` makes it behave as some pipelines do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sdterm.hooks import MemoryOptimizer, ModelMatch, Option, Pipeline, WeightsReader, hookimpl

if TYPE_CHECKING:
    import torch

KEY = "tiny.seed"
QUIRKS = ("none", "object", "global noise", "half is nan", "writes", "swallows", "fails", "hungry", "half is black")
OWN_SCHEDULER = "FlowMatchEulerDiscreteScheduler"


def build(seed: int, dtype: torch.dtype, scheduler: str = OWN_SCHEDULER) -> Any:
    """The pipeline with the random weights of that seed."""
    from importlib import import_module
    from inspect import signature

    import torch
    from diffusers.image_processor import VaeImageProcessor
    from diffusers.models.modeling_outputs import Transformer2DModelOutput
    from diffusers.utils.torch_utils import randn_tensor

    diffusers: Any = import_module("diffusers")  # which has no types

    class Somewhere(torch.nn.Module):
        device = property(lambda self: next(self.parameters()).device)

    class Words(Somewhere):
        """A text is the sum of its bytes' vectors."""

        def __init__(self) -> None:
            super().__init__()
            self.table = torch.nn.Embedding(256, 8)
            self.calls = 0

        def forward(self, text: str) -> torch.Tensor:
            self.calls += 1
            vectors: torch.Tensor = self.table(torch.tensor([*text.encode(), 0]))
            return vectors.sum(0, keepdim=True)

    class Denoiser(diffusers.ModelMixin, diffusers.ConfigMixin):  # type: ignore[misc]
        config_name = "config.json"

        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = (torch.nn.Conv2d(*sides, 3, padding=1) for sides in ((4, 16), (16, 4)))
            self.text, self.time = torch.nn.Linear(8, 16), torch.nn.Linear(1, 16)
            self.calls = 0
            self.seen: list[object] = []

        def forward(
            self, hidden_states: Any, timestep: Any, encoder_hidden_states: Any, cache: Any = None, return_dict: Any = 1
        ) -> Any:
            self.calls += 1
            self.seen.append(cache)
            known = self.text(encoder_hidden_states) + self.time(timestep.to(hidden_states)[:, None])
            sample = self.last(torch.tanh(self.first(hidden_states) + known[:, :, None, None]))
            return Transformer2DModelOutput(sample=sample) if return_dict else (sample,)

    class Decoder(Somewhere):
        def __init__(self) -> None:
            super().__init__()
            self.mix = torch.nn.Conv2d(4, 3, 1)

        def decode(self, latents: torch.Tensor) -> torch.Tensor:
            return torch.tanh(self.mix(latents)).repeat_interleave(8, 2).repeat_interleave(8, 3)

    class TinyPipeline(diffusers.DiffusionPipeline):  # type: ignore[misc]
        def __init__(self, words: Any, denoiser: Any, vae: Any, scheduler: Any) -> None:
            super().__init__()
            self.register_modules(words=words, denoiser=denoiser, vae=vae, scheduler=scheduler)
            self.pictures = VaeImageProcessor()

        def modules(self) -> list[Any]:
            return [self.words, self.denoiser, self.vae]

        def encode_prompt(self, prompt: str, device: Any) -> Any:
            return self.words(prompt).to(device)

        @torch.no_grad()
        def __call__(
            self,
            prompt: str,
            negative_prompt: str | None = None,
            height: int = 64,
            width: int = 64,
            num_inference_steps: int = 6,
            guidance_scale: float = 2.0,
            warmth: float = 0.0,
            quirk: str = "none",
            generator: Any = None,
            output_type: str = "pil",
        ) -> Any:
            if quirk == "fails":
                raise ValueError("it is Monday")
            device, dtype = self._execution_device, self.denoiser.dtype
            words = [self.encode_prompt(text, device) for text in (prompt, negative_prompt or "")]
            latents = randn_tensor((1, 4, height // 8, width // 8), generator=generator, device=device, dtype=dtype)
            if quirk == "global noise":
                latents = latents + torch.randn(latents.shape)
            self.scheduler.set_timesteps(num_inference_steps, device=device)
            more = {"generator": generator} if "generator" in signature(self.scheduler.step).parameters else {}
            for t in self.scheduler.timesteps:
                if quirk == "hungry" and t < 700 and not any("offloading" in vars(part) for part in self.modules()):
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has 8 GiB.")
                now = t.expand(1)
                cache = object() if quirk == "object" else {"of": [None, "call"]}
                wanted = self.denoiser(latents, now, encoder_hidden_states=words[0], cache=cache).sample
                if quirk == "swallows":
                    try:
                        (other,) = self.denoiser(latents, now, words[1], return_dict=False)
                    except Exception:
                        other = wanted
                else:
                    (other,) = self.denoiser(latents, now, words[1], return_dict=False)
                velocity = other + guidance_scale * (wanted - other) + warmth
                if quirk == "half is nan" and dtype != torch.float32 and t < 900:
                    latents = latents * float("nan")
                if quirk == "writes":
                    other.zero_()
                    latents.add_(0.01)
                latents = self.scheduler.step(velocity, t, latents, **more, return_dict=False)[0]
            if quirk == "half is black" and dtype != torch.float32:
                latents = latents * float("nan")
            images = self.pictures.postprocess(self.vae.decode(latents.to(dtype)).float(), output_type=output_type)
            self.maybe_free_model_hooks()
            return diffusers.ImagePipelineOutput(images=images)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        words, denoiser, vae = (kind().to(dtype).eval() for kind in (Words, Denoiser, Decoder))
    return TinyPipeline(words, denoiser, vae, getattr(diffusers, scheduler)())


def detect(reader: WeightsReader) -> ModelMatch | None:
    numbers = {"words": 2048, "denoiser": 1300, "vae": 15}
    return ModelMatch(native_size=64, process="flow", numbers=numbers) if KEY in reader.shapes() else None


def load(reader: WeightsReader, device: torch.device, dtype: torch.dtype) -> Any:
    seed = int(reader.read([KEY], device, None)[KEY].item())
    return build(seed, dtype, reader.metadata.get("scheduler", OWN_SCHEDULER))


def options_of(reader: WeightsReader) -> tuple[Option, ...]:
    return (
        Option("guidance_scale", 2.0, "", 0, 10),
        Option("warmth", 0.0, "", -1, 1),
        Option("quirk", "none", choices=QUIRKS),
    )


def keep_first(components: Any) -> None:
    """A step cache: every other call is answered by the one before."""
    from importlib import import_module

    hooks: Any = import_module("diffusers.hooks")

    class KeepFirst(hooks.ModelHook):  # type: ignore[misc]
        _is_stateful = True
        kept: Any = None

        def new_forward(self, module: Any, *args: Any, **kwargs: Any) -> Any:
            gave = self.kept if self.kept is not None else self.fn_ref.original_forward(*args, **kwargs)
            self.kept = None if self.kept is not None else gave
            sample = gave.sample if hasattr(gave, "sample") else gave[0]
            return (sample,) if kwargs.get("return_dict") is False else gave

        def reset_state(self, module: Any) -> Any:
            self.kept = None
            return module

    module = components.modules["denoiser"]
    module._reset_stateful_cache = lambda: module._diffusers_hook.reset_stateful_hooks()
    hooks.HookRegistry.check_if_exists_or_initialize(module).register_hook(KeepFirst(), "keep first")


@hookimpl
def sdterm_pipelines() -> list[Pipeline]:
    return [Pipeline("tiny", "Tiny", detect, load, options_of)]


@hookimpl
def sdterm_memory_optimizers() -> list[MemoryOptimizer]:
    return [
        MemoryOptimizer(
            "keep-first", "Keep first", "step cache", lambda device, model: (True, ""), keep_first, effect="visible"
        )
    ]
