"""Every hook does what its page says, and no plugin takes sdterm or the others down."""

import dataclasses
import re
import sys
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from safetensors import safe_open
from safetensors.numpy import save_file

from sdterm import Engine, GenerationRequest, PluginSet, hooks, load_plugins
from sdterm.core.extensions.catalogue import Catalogue, catalogue_of
from sdterm.core.extensions.kinds import KINDS, Kind
from sdterm.core.infotext.grammar import parse
from sdterm.core.infotext.read import read
from sdterm.core.inputs import Inputs
from sdterm.core.library.checkpoints import Library
from sdterm.core.library.recognition import recognise
from sdterm.core.library.upscalers import find_upscaler
from sdterm.core.names import UnknownNameError
from sdterm.core.settings.paths import CHECKPOINTS, EMBEDDED_MODEL
from sdterm.engine.upscale import Upscaling, upscaled
from sdterm.events import Described, Done, Event, Failed, Image, ModelLoading, Step, Warning
from sdterm.hooks import (
    Adaptable,
    Approximation,
    Components,
    Conditioning,
    ImageFacts,
    JobOutcome,
    LatentMap,
    Layer,
    LoadedNetwork,
    LoadedUpscaler,
    LocalePack,
    ModelMatch,
    ModelSampling,
    NetworkCall,
    Observer,
    Option,
    Origin,
    Postprocessor,
    PromptContext,
    PromptText,
    SamplingOptions,
    SavedImage,
    SeesInit,
    Strength,
    TextOptions,
    TokenRules,
    WeightsReader,
)
from sdterm.testing import assert_components_conform

HOOKSPECS = [name for name, value in vars(hooks).items() if hasattr(value, "sdterm_spec")]
ON_PAGES: list[tuple[str, type]] = [
    *((kind.hook, kind.descriptor) for kind in KINDS),
    ("README", Option),
    ("sdterm_networks", Adaptable),
    ("sdterm_networks", Layer),
    ("sdterm_networks", Origin),
    ("sdterm_networks", LoadedNetwork),
    ("sdterm_networks", Strength),
    ("sdterm_denoise_hooks", NetworkCall),
    ("sdterm_upscalers", LoadedUpscaler),
    ("sdterm_observers", ImageFacts),
    ("sdterm_observers", SavedImage),
    ("sdterm_observers", JobOutcome),
    ("sdterm_prompt_transforms", PromptText),
    ("sdterm_prompt_transforms", PromptContext),
    ("sdterm_schedulers", ModelSampling),
    ("sdterm_model_families", ModelMatch),
    ("sdterm_model_families", TokenRules),
    ("sdterm_model_families", Approximation),
    ("sdterm_model_families", LatentMap),
    ("sdterm_model_families", Conditioning),
    ("sdterm_model_families", SamplingOptions),
    ("sdterm_model_families", TextOptions),
    ("sdterm_model_families", WeightsReader),
    ("sdterm_model_families", Components),
    ("sdterm_model_families", SeesInit),
]

Extend = Callable[..., PluginSet]
PREAMBLE = "import torch\nfrom sdterm.hooks import *\n"
GOOD = """
    @hookimpl
    def sdterm_output_savers():
        return [OutputSaver("{0}", "{0}", ".{0}", lambda image, infotext: image.tobytes())]
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def engine(root: Path) -> Engine:
    return Engine(library=Library(root), device="cpu")


@pytest.fixture
def extend(tmp_path: Path) -> Extend:
    """Write extension files, name=code, and load them beside the built-ins."""

    def load(**code: str) -> PluginSet:
        for name, text in code.items():
            (tmp_path / f"{name}.py").write_text(PREAMBLE + dedent(text))
        return load_plugins(tmp_path)

    return load


def run(engine: Engine, plugins: PluginSet, **fields: object) -> list[Event]:
    """The events of a small request."""
    small = {"prompt": "red circle", "model": "sdterm-demo", "seed": 7, "steps": 2, "width": 64, "height": 64}
    return list(engine.run(GenerationRequest.model_validate(small | fields), plugins))


def draw(engine: Engine, plugins: PluginSet, **fields: object) -> list[Image]:
    """The images of a small request, which must not fail."""
    events = run(engine, plugins, **fields)
    assert isinstance(events[-1], Done), events[-1]
    return [event for event in events if isinstance(event, Image)]


def engine_images(engine: Engine, plugins: PluginSet, fields: Mapping[str, object]) -> list[Image]:
    """The images of exactly this request."""
    events = engine.run(GenerationRequest.model_validate(fields), plugins)
    return [event for event in events if isinstance(event, Image)]


def fail(engine: Engine, plugins: PluginSet, **fields: object) -> Failed:
    """How a small request fails: with its last event, once."""
    *before, last = run(engine, plugins, **fields)
    assert isinstance(last, Failed), last
    assert not [event for event in before if isinstance(event, Failed | Image)]
    return last


def pixels(image: Image) -> np.ndarray:
    return np.asarray(Picture.open(BytesIO(image.data))).astype(int)


# --- the contract is whole --------------------------------------------------------------------------------------------


def test_sdterm_asks_for_every_hook_of_the_contract() -> None:
    assert sorted(kind.hook for kind in KINDS) == sorted(HOOKSPECS)


@pytest.mark.parametrize("hook", HOOKSPECS)
def test_every_hook_has_a_test_and_a_page_that_the_index_names(hook: str, repo: Path) -> None:
    assert f"test_hook_{hook}" in globals()
    assert (repo / "docs" / "plugins" / f"{hook}.md").is_file()
    assert f"({hook}.md)" in (repo / "docs" / "plugins" / "README.md").read_text()


@pytest.mark.parametrize(("page", "described"), ON_PAGES, ids=lambda value: getattr(value, "__name__", value))
def test_every_field_of_the_contract_is_on_its_page(page: str, described: type, repo: Path) -> None:
    text = (repo / "docs" / "plugins" / f"{page}.md").read_text()
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    said = {word for code in re.findall(r"`([^`]+)`", prose) for word in re.findall(r"\w+", code)}
    if dataclasses.is_dataclass(described):
        fields = {field.name for field in dataclasses.fields(described)}
    else:
        fields = {name for name in {*vars(described), *described.__annotations__} if not name.startswith("_")}
    assert fields and fields - said == set()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_field_that_a_plugin_fills_in_is_read_by_sdterm(kind: Kind, repo: Path) -> None:
    rooms = [repo / "sdterm" / room for room in ("core", "engine", "host", "cli")]
    code = "".join(path.read_text(encoding="utf-8") for room in rooms for path in room.rglob("*.py"))
    names = [field.name for field in dataclasses.fields(kind.descriptor)]
    assert [name for name in names if not re.search(rf"\.{name}\b", code)] == []


# --- each hook --------------------------------------------------------------------------------------------------------


def test_hook_sdterm_prompt_transforms(engine: Engine, extend: Extend) -> None:
    """Transforms are folded in order, each image with its own texts and random numbers; the infotext shows the end."""
    plugins = extend(
        late="""
            def letters(prompt, rng, context):
                return tuple(PromptText(f"{prompt.positive} {word} {rng.random()}", prompt.negative) for word in "ab")

            @hookimpl
            def sdterm_prompt_transforms():
                return [PromptTransform("letters", "Letters", letters, order=200)]
        """,
        zearly="""
            @hookimpl
            def sdterm_prompt_transforms():
                return [PromptTransform("shout", "Shout", lambda p, rng, context: (PromptText(p.positive.upper()),))]
        """,
    )
    first, second, third = draw(engine, plugins, prompt="red # not this", batch_size=3, steps=1)
    (alone,) = draw(engine, plugins, prompt="red # not this", seed=9, steps=1)
    texts = [image.infotext.split("\n")[0] for image in (first, second, third)]
    assert [text.rsplit(" ", 1)[0] for text in texts] == ["RED a", "RED b", "RED a"]
    assert len({text.rsplit(" ", 1)[1] for text in texts}) == 3
    assert alone.infotext.split("\n")[0] == texts[2]


def test_hook_sdterm_samplers(engine: Engine, extend: Extend) -> None:
    """A sampler is given what its page says, and draws; these check it themselves."""
    plugins = extend(
        checks="""
            def checking(denoise, x, sigmas, *, noise, callback, depth):
                assert depth == 3
                assert x.dtype == sigmas.dtype == torch.float32 and sigmas.device.type == "cpu"
                assert x.shape == (2, 4, 8, 8) and sigmas.shape == (4,) and sigmas[-1] == 0
                assert 0.8 < x.std() / sigmas[0] < 1.2
                fresh = noise(sigmas[0], sigmas[1])
                assert fresh.shape == x.shape and not torch.equal(fresh, noise(sigmas[0], sigmas[1]))
                denoised = denoise(x, sigmas[:1].expand(2))
                assert denoised.x0.shape == denoised.uncond.shape == x.shape
                callback(0, denoised.x0)
                return denoised.x0

            def unit(denoise, x, sigmas, *, noise, callback):
                assert 0.8 < x.std() < 1.2 and sigmas.tolist() == [3.0, 1.0, 0.0]
                assert denoise(x, sigmas[:1]).uncond is None
                return denoise(x, sigmas[:1]).x0

            def lonely(denoise, x, sigmas, *, noise, callback):
                assert len(x) == 1
                return denoise(x, sigmas[:1]).x0

            @hookimpl
            def sdterm_samplers():
                depth = Option("depth", 1, minimum=1, maximum=3)
                return [
                    Sampler("checking", "Checking", checking, needs_uncond=True, options=(depth,)),
                    Sampler("unit", "Unit", unit, ("k_unit",), 2, start="unit", grid="own",
                            own_sigmas=lambda steps, sampling: torch.tensor([3.0, 1.0, 0.0])),
                    Sampler("lonely", "Lonely", lonely, default_scheduler="Exponential", batch_coupled=True),
                ]
        """
    )
    events = run(
        engine, plugins, sampler="Checking", sampler_options={"depth": "3"}, steps=3, batch_size=2, cfg_scale=1
    )
    assert [event.step for event in events if isinstance(event, Step)] == [1]
    assert len([event for event in events if isinstance(event, Image)]) == 2
    draw(engine, plugins, sampler="K_UNIT", steps=9)
    (_, image) = draw(engine, plugins, sampler="lonely", batch_size=2)
    assert "Sampler: Lonely, Schedule type: Exponential," in image.infotext


def test_hook_sdterm_schedulers(engine: Engine, extend: Extend) -> None:
    """A schedule decides the noise levels that the sampler visits."""
    plugins = extend(
        even="""
            def even(n, sampling, top=10.0):
                assert sampling.sigma_min < 0.1 < 10 < sampling.sigma_max and len(sampling.sigmas) == 1000
                assert abs(sampling.t_to_sigma(sampling.sigma_to_t(torch.tensor([1.0]))) - 1) < 1e-4
                return torch.linspace(top, 0, n + 1)

            def expecting(denoise, x, sigmas, *, noise, callback):
                assert sigmas.tolist() == [9.0, 6.0, 3.0, 0.0]
                return denoise(x, sigmas[:1]).x0

            @hookimpl
            def sdterm_schedulers():
                return [Scheduler("even", "Even", even, ("flat",), (Option("top", 10.0, "", 1, 14),))]

            @hookimpl
            def sdterm_samplers():
                return [Sampler("expecting", "Expecting", expecting)]
        """
    )
    asked = {"sampler": "expecting", "scheduler": "FLAT", "scheduler_options": {"top": 9}, "steps": 3}
    (image,) = draw(engine, plugins, **asked)
    assert "Schedule type: Even," in image.infotext


def test_hook_sdterm_model_families(engine: Engine, extend: Extend, root: Path) -> None:
    """A stranger's family knows a file that no other does, and draws with it what the model in it draws."""
    with safe_open(EMBEDDED_MODEL, "np") as file:
        tensors, metadata = {f"boxed.{key}": file.get_tensor(key) for key in file.keys()}, file.metadata()
    (root / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    save_file(tensors, root / CHECKPOINTS / "a box.safetensors", metadata)
    save_file({"boxed.nothing": np.zeros(1)}, root / CHECKPOINTS / "empty box.safetensors")
    plugins = extend(
        boxes="""
            from dataclasses import dataclass, replace
            from sdterm.plugins.sd import sd1

            class Unboxed:
                def __init__(self, reader):
                    self._reader, self.path, self.metadata = reader, reader.path, reader.metadata
                    self.config, self.preview, self.vae = reader.config, reader.preview, None

                def shapes(self):
                    return {key.removeprefix("boxed."): shape for key, shape in self._reader.shapes().items()}

                def read(self, keys, device, dtype):
                    boxed = self._reader.read(["boxed." + key for key in keys], device, dtype)
                    return {key.removeprefix("boxed."): tensor for key, tensor in boxed.items()}

            def detect(reader):
                if "boxed.nothing" in reader.shapes():
                    return ModelMatch(refusal="The box is empty.")
                if all(key.startswith("boxed.") for key in reader.shapes()):
                    return ModelMatch(native_size=72)

            def build(reader, device, dtype):
                return sd1.build(Unboxed(reader), device, dtype)

            @hookimpl
            def sdterm_model_families():
                return [ModelFamily("boxes", "Boxed models", detect, build)]
        """
    )
    (ours,) = draw(engine, plugins, width=72, height=72)
    (theirs,) = draw(engine, plugins, model="a box", width=None, height=None)
    assert np.array_equal(pixels(theirs), pixels(ours))
    refused = fail(engine, plugins, model="empty box")
    assert (refused.code, refused.message) == ("bad_model", "The box is empty.")
    unknown = fail(engine, load_plugins(), model="a box")
    assert unknown.message.startswith(
        "a box.safetensors belongs to no model family that sdterm supports (SD 1.x, SD 2.x, "
    )


def test_a_family_of_rectified_flow_is_drawn_with_by_samplers_that_can_and_in_its_sizes(
    engine: Engine, extend: Extend, root: Path
) -> None:
    (root / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    save_file({"flowing": np.array([0.5, -0.5, 1.0], np.float32)}, root / CHECKPOINTS / "a flow.safetensors")
    plugins = extend(
        flows="""
            from sdterm.modelling.predictions import from_flow
            from sdterm.modelling.sampling import FlowSampling

            class Flow:
                latent_channels, downscale, modules = 3, 8, {}
                latent_rgb = ([[0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]], [0.5] * 3)

                def __init__(self, colour):
                    self.colour, self.device, self.dtype = colour, colour.device, colour.dtype

                def sampling(self, options):
                    return FlowSampling(shift=3)

                def encode(self, texts, options):
                    return Conditioning({"size": torch.full((len(texts), 1), options.width)})

                def denoise(self, x, sigma, cond, sampling):
                    assert (cond["size"] >= 64).all() and 0 < sigma[0] <= 1

                    def network(x, t):  # knows one picture: what is not its colour is noise
                        return (x - self.colour[:, None, None]) / (t / 1000)[:, None, None, None]

                    return from_flow(network, x, sigma, sampling, self.dtype)

                def encode_image(self, pixels, rng):
                    return pixels[:, :, ::8, ::8]

                def decode(self, latents):
                    return latents.repeat_interleave(8, 2).repeat_interleave(8, 3)

            def detect(reader):
                if "flowing" in reader.shapes():
                    return ModelMatch(native_size=64, size_step=16, process="flow")

            def build(reader, device, dtype):
                return Flow(reader.read(["flowing"], device, dtype)["flowing"])

            @hookimpl
            def sdterm_model_families():
                return [ModelFamily("flow", "Flow", detect, build)]
        """
    )
    assert_components_conform(_built("a flow", engine, plugins))
    for sampler in ("DPM++ 2M", "Euler", "Heun", "LMS", "DPM2"):
        (image,) = draw(engine, plugins, model="a flow", width=64, height=64, sampler=sampler, steps=8)
        assert np.abs(pixels(image).astype(int) - [191, 63, 255]).max() <= 1, sampler
    failed = fail(engine, plugins, model="a flow", sampler="Euler a")
    said = "The sampler Euler a cannot be used with rectified flow models like a flow: choose "
    assert failed.code == "bad_request" and failed.message.startswith(said) and " or " in failed.message
    failed = fail(engine, plugins, model="a flow", sampler="Euler", scheduler="Align Your Steps")
    assert failed.code == "bad_request" and "The scheduler Align Your Steps cannot be used with" in failed.message
    hollow = catalogue_of(plugins).names()
    assert hollow.sampler("Euler").models == ("vp", "flow") and hollow.scheduler("Align Your Steps").models == ("vp",)
    failed = fail(engine, plugins, model="a flow", width=72)
    assert failed.code == "bad_request" and "multiple of 16" in failed.message


def _built(model: str, engine: Engine, plugins: PluginSet) -> Components:
    checkpoint = engine.library.find(model)
    return recognise(checkpoint, plugins)[0].build(checkpoint, torch.device("cpu"), torch.float32)


def test_hook_sdterm_pipelines(engine: Engine, extend: Extend, root: Path) -> None:
    plugins = extend(
        walker="""
        def load(reader, device, dtype):
            raise PluginError(f"{reader.path.name} cannot be walked with.")

        def options_of(reader):
            return (Option("stride", 2, "Cells a step.", 1, 9),)

        def detect(reader):
            return ModelMatch(native_size=64, process="flow") if "walker.seed" in reader.shapes() else None

        @hookimpl
        def sdterm_pipelines():
            return [Pipeline("walker", "Walker", detect, load, options_of)]
        """
    )
    (folder := root / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    save_file({"walker.seed": np.zeros(1)}, folder / "walk.safetensors")
    refused: dict[str, dict[str, object]] = {
        "walk: the option stride is 12, but it must be a whole number from 1 to 9.": {
            "pipeline_options": {"stride": 12}
        },
        "walk has no option 'gait'. Its options: stride.": {"pipeline_options": {"gait": "slow"}},
        "walk has no hires fix: turn hires fix off, or upscale the finished image.": {"hires": True},
        "sdterm-demo belongs to the family SD 1.x, which has no pipeline options.": {
            "model": "sdterm-demo",
            "pipeline_options": {"stride": 1},
        },
        "walk.safetensors cannot be walked with.": {"pipeline_options": {"stride": 3}},
    }
    for said, fields in refused.items():
        (*_, failed) = run(engine, plugins, **{"model": "walk", **fields})
        assert isinstance(failed, Failed) and failed.message == said
    (failed,) = run(engine, plugins, pipeline="walker")
    assert isinstance(failed, Failed) and "no model family that sdterm supports (Walker)" in failed.message


def test_hook_sdterm_memory_optimizers(engine: Engine, extend: Extend) -> None:
    """Optimizers are put on when asked for and taken off after; what cannot be undone is built again."""
    plugins = extend(
        scaling="""
            def scaled(factor):
                def change(components):
                    for weight in components.modules["unet"].conv_out.parameters():
                        weight.mul_(factor)
                return change

            def supports(device, model):
                assert isinstance(device, torch.device) and isinstance(model, ModelFacts)
                assert model.family == "sd1" and {*model.parts} == {"text_encoder", "unet", "vae"}
                return True, ""

            @hookimpl
            def sdterm_memory_optimizers():
                return [
                    MemoryOptimizer("double", "Double", "scale", supports, scaled(2.0), scaled(0.5), effect="visible"),
                    MemoryOptimizer("half", "Half", "scale", supports, scaled(0.5), scaled(2.0), effect="visible"),
                    MemoryOptimizer("stays", "Stays", "other", supports, scaled(4.0), effect="visible"),
                    MemoryOptimizer("unseen", "Unseen", "last", lambda *_: (False, "it is dark"), scaled(0.0),
                                    effect="visible"),
                    MemoryOptimizer("never", "Never", "third", lambda *_: (False, "it is Monday"), scaled(0.0)),
                ]
        """
    )
    (plain,) = draw(engine, plugins)
    for names in [("double",), ("half",), ("stays",), ("double", "stays")]:
        (changed,) = draw(engine, plugins, memory=names)
        assert not np.array_equal(pixels(changed), pixels(plain)), names
    (last_of_group,) = draw(engine, plugins, memory=("double", "half"))
    assert np.array_equal(pixels(last_of_group), pixels(draw(engine, plugins, memory=("half",))[0]))
    assert not [event for event in run(engine, plugins, memory=("double",)) if isinstance(event, ModelLoading)]
    run(engine, plugins, memory=("stays",))
    assert [event for event in run(engine, plugins) if isinstance(event, ModelLoading)], "it cannot be undone"
    *_, without, done = (e for e in run(engine, plugins, memory=("never",)) if isinstance(e, Warning | Image | Done))
    assert isinstance(done, Done) and isinstance(without, Image) and np.array_equal(pixels(without), pixels(plain))
    warnings = [event.message for event in run(engine, plugins, memory=("never",)) if isinstance(event, Warning)]
    assert warnings == ["Never cannot be used here: it is Monday. The job continues without it."]
    assert fail(engine, plugins, memory=("unseen",)).message == "Unseen cannot be used here: it is dark."


def test_hook_sdterm_networks(engine: Engine, extend: Extend, root: Path) -> None:
    """A network adds to weights and biases, changes what layers read, and brings words; each by the tag's strength."""
    plugins = extend(
        gains="""
            def matches(reader):
                return "gains" in reader.shapes()

            def load(reader, model):
                assert {layer.part for layer in model.layers.values()} == {"text", "unet"}
                assert model.layers["unet.conv_in"].original == "model.diffusion_model.input_blocks.0.0"
                (gain,) = reader.read(["gains"], model.device, None).values()
                deltas = {"unet.conv_in": lambda weight, m, rank: (weight * m * gain, torch.full((len(weight),), m))}
                inputs = {"unet.conv_out": lambda x, m: x + m}
                words = {"blorp": (torch.ones(2, *model.text_widths),)}
                return LoadedNetwork(deltas, inputs, words, unused=3)

            @hookimpl
            def sdterm_networks():
                return [NetworkFormat("gains", "Gains", "lora", matches, load)]
        """
    )
    folder = root / "models" / "Lora"
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"gains": np.array(0.5, np.float32)}, folder / "gains.safetensors")
    (plain,) = draw(engine, plugins)
    hashes = {plain.pixel_hash}
    for tag in ("<lora:gains:0.5>", "<lora:gains:1>", "<lora:gains:1> blorp"):
        (image,) = draw(engine, plugins, prompt=f"red circle {tag}")
        assert 'Lora hashes: "gains: ' in image.infotext
        hashes.add(image.pixel_hash)
    assert len(hashes) == 4
    *_, said = [e.message for e in run(engine, plugins, prompt="red circle <lora:gains:0>") if isinstance(e, Warning)]
    assert said == "3 of the 5 layers in the network gains do not fit this model and are ignored."
    assert draw(engine, plugins)[0].pixel_hash == plain.pixel_hash


def test_hook_sdterm_denoise_hooks(engine: Engine, extend: Extend) -> None:
    """Hooks stand around each call of the network, the one of the lowest order outside; each image has numbers of its
    own, and a job that goes on does not ask them again for what the tape has."""
    plugins = extend(
        hooks="""
            def moved(network, x, sigma, call, *, by):
                assert call.init is None and call.mask is None and call.calls == 2 and len(call.prompts) == len(x)
                assert call.level == sigma[0] and call.prompts[0][0]["context"].shape[1] == 77
                return Denoised(network(x, sigma).x0 + by, None)

            def doubled(network, x, sigma, call):
                return Denoised(network(x, sigma).x0 * 2, None)

            def noisy(network, x, sigma, call):
                own = [torch.randn(x.shape[1:], generator=call.rng(i)) for i in range(len(x))]
                return Denoised(network(x, sigma).x0 + 0.3 * torch.stack(own), None)

            def zeroed(latents, call):
                return latents * 0

            @hookimpl
            def sdterm_denoise_hooks():
                return [
                    DenoiseHook("moving", "Moving", moved, options=(Option("by", 0.25),), order=1),
                    DenoiseHook("doubling", "Doubling", doubled, order=2),
                    DenoiseHook("doubling_outside", "Doubling outside", doubled, order=0),
                    DenoiseHook("noisy", "Noisy", noisy),
                    DenoiseHook("zeroing", "Zeroing", lambda network, x, sigma, call: network(x, sigma), zeroed),
                    DenoiseHook("idle", "Idle", doubled, needs="mask", default=True),
                ]
        """
    )
    plain, moved, zero, inside, outside = (
        draw(engine, plugins, sampler="Euler", denoise_hooks=names)[0]
        for names in ([], ["moving"], ["zeroing"], ["moving", "doubling"], ["doubling outside", "moving"])
    )
    assert len({plain.pixel_hash, moved.pixel_hash, zero.pixel_hash, inside.pixel_hash, outside.pixel_hash}) == 5
    assert "Moving enabled: True, Moving by: 0.25" in moved.infotext and "enabled" not in plain.infotext
    (again,) = engine_images(engine, plugins, {**read(parse(moved.infotext), plugins).fields, "model": "sdterm-demo"})
    assert again.pixel_hash == moved.pixel_hash
    (alone,) = draw(engine, plugins, sampler="Euler", denoise_hooks=["noisy"], seed=8)
    second = draw(engine, plugins, sampler="Euler", denoise_hooks=["noisy"], seed=7, batch_size=2)[1]
    assert np.abs(pixels(alone).astype(int) - pixels(second)).max() <= 1


def test_hook_sdterm_upscalers(extend: Extend, root: Path) -> None:
    """A rule is named by its label, a network by its file; both are called until the picture is large enough."""
    (root / "models" / "ESRGAN").mkdir(parents=True, exist_ok=True)
    save_file({"doubling": np.zeros(1, np.float32)}, root / "models" / "ESRGAN" / "twice.safetensors")
    plugins = extend(
        larger="""
            def build(reader, device, dtype):
                assert reader.read(["doubling"], device, dtype)["doubling"].dtype == dtype == torch.float32

                def apply(pixels):
                    assert pixels.shape == (1, 3, 16, 16) and 0 <= pixels.min() and pixels.max() <= 1
                    return torch.nn.functional.interpolate(1 - pixels, scale_factor=2)

                return LoadedUpscaler(2, apply)

            def inverted(image, scale):
                return 255 - image.repeat(2, 0).repeat(2, 1)

            @hookimpl
            def sdterm_upscalers():
                return [
                    Upscaler("inverting", "Inverting", resize=inverted),
                    Upscaler("doubling", "Doubling", matches=lambda reader: "doubling" in reader.shapes(), build=build),
                ]
        """
    )
    image = np.random.default_rng(1).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    told: list[tuple[int, int]] = []
    upscaling = Upscaling(plugins, torch.device("cpu"), tile=16, overlap=8, report=lambda *at: told.append(at))
    for name in ("INVERTING", "twice"):
        chosen = find_upscaler(name, plugins, Library(root))
        once = upscaled(upscaling, chosen, image, 2)
        assert np.array_equal(once, 255 - image.repeat(2, 0).repeat(2, 1)), name
        twice = upscaled(upscaling, chosen, image, 4)
        assert np.array_equal(twice, image.repeat(4, 0).repeat(4, 1)), name
    assert told[:4] == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_hook_sdterm_interrogators(engine: Engine, extend: Extend, root: Path) -> None:
    """One says what is on a picture; another is not asked, since the model that it needs is not there."""
    plugins = extend(
        words="""
            def describe(image, folder, device, *, shout):
                assert image.shape == (8, 8, 3) and folder is None and device.type == "cpu"
                return "a grey square" + "!" * shout

            @hookimpl
            def sdterm_interrogators():
                shout = Option("shout", 2, "", 0, 9)
                return [
                    Interrogator("needy", "Needy", print, "tags", matches=lambda folder: True),
                    Interrogator("words", "Words", describe, options=(shout,)),
                ]
        """
    )
    buffer = BytesIO()
    Picture.new("RGB", (8, 8), (9, 9, 9)).save(buffer, "PNG")
    digest = Inputs(root).put(buffer.getvalue())
    asked = GenerationRequest(prompt="", interrogate_images=(digest, digest))
    said = [event for event in engine.run(asked, plugins) if isinstance(event, Described)]
    assert [(each.index, each.text, each.interrogator) for each in said] == [
        (0, "a grey square!!", "Words"),
        (1, "a grey square!!", "Words"),
    ]
    for name in ("Needy", "tags"):
        (failed,) = engine.run(asked.model_copy(update={"interrogator": name}), plugins)
        assert isinstance(failed, Failed) and "There is no model for Interrogate." in failed.message


def test_hook_sdterm_postprocessors(engine: Engine, extend: Extend) -> None:
    """Postprocessors change what is asked for, in order, each image with its own numbers; the infotext says so."""
    plugins = extend(
        filters="""
            import numpy

            def frame(image, rng, width):
                return numpy.pad(image, [(width, width), (width, width), (0, 0)], constant_values=rng.randrange(256))

            def negative(image, rng):
                image[:] = 255 - image
                return image

            @hookimpl
            def sdterm_postprocessors():
                return [
                    Postprocessor("frame", "Frame", frame, order=200, options=(Option("width", 2, "", 1, 9),)),
                    Postprocessor("negative", "Negative", negative),
                    Postprocessor("bad", "Bad", lambda image, rng: image / 2),
                ]
        """
    )
    plain = draw(engine, plugins, batch_size=2)
    framed = draw(engine, plugins, batch_size=2, postprocess=("Frame", "negative"))
    (alone,) = draw(engine, plugins, seed=8, postprocess=("negative",), options={"frame.width": 2})
    assert [(image.width, image.height) for image in framed] == [(68, 68)] * 2
    assert 'Postprocess: "Negative, Frame"' in framed[0].infotext and "Frame width" not in framed[0].infotext
    for before, after in zip(plain, framed, strict=True):
        assert np.array_equal(pixels(after)[2:-2, 2:-2], 255 - pixels(before))
    edges = [pixels(image)[0, 0, 0] for image in (*framed, alone)]
    assert edges[0] != edges[1] == edges[2]
    (wide,) = draw(engine, plugins, options={"frame.width": 9})
    assert (wide.width, "Frame width: 9" in wide.infotext) == (82, True)
    failed = fail(engine, plugins, postprocess=("bad",))
    assert failed.message == "The postprocessor Bad of filters failed: TypeError: it returned no uint8 image."
    assert "no postprocessor named 'fram'" in fail(engine, plugins, postprocess=("fram",)).message
    assert "width is 10, but it must be" in fail(engine, plugins, options={"frame.width": 10}).message
    assert "no part named 'frume'" in fail(engine, plugins, options={"frume.width": 10}).message


@pytest.mark.heavy
def test_what_is_asked_for_besides_is_read_back_from_the_infotext(engine: Engine, extend: Extend) -> None:
    plugins = extend(
        visible="""
            def apply(components, ratio):
                components.modules["unet"].conv_out.bias.add_(ratio)

            @hookimpl
            def sdterm_memory_optimizers():
                ratio = Option("ratio", 0.5, "", 0, 1, "Merged part")
                return [MemoryOptimizer("merge", "Merge", "merging", lambda device, model: (True, ""), apply,
                                        effect="visible", options=(ratio,))]

            @hookimpl
            def sdterm_postprocessors():
                def dim(image, rng, by):
                    return image // by
                return [Postprocessor("dim", "Dim", dim, options=(Option("by", 2, "", 1, 9),))]
        """
    )
    (plain,) = draw(engine, plugins)
    for asked in ({"memory": ("merge",)}, {"options": {"merge.ratio": 0.25, "dim.by": 3}}, {"postprocess": ("dim",)}):
        (image,) = draw(engine, plugins, **asked)
        reading = read(parse(image.infotext), plugins)
        assert not reading.not_reproduced
        (again,) = engine_images(engine, plugins, {**reading.fields, "model": "sdterm-demo"})
        assert np.array_equal(pixels(image), pixels(again)) and not np.array_equal(pixels(image), pixels(plain))
        assert image.infotext == again.infotext
    assert "Merged part: 0.25" in draw(engine, plugins, options={"merge.ratio": 0.25})[0].infotext
    half, quarter = (draw(engine, plugins, options={"merge.ratio": ratio})[0] for ratio in (0.5, 0.25))
    assert not np.array_equal(pixels(half), pixels(quarter)), "it is applied again with other options"
    foreign = read(parse("cat\nSteps: 2, Seed: 7, Merged part: 0.5"), plugins)
    assert foreign.fields["options"] == {"merge.ratio": 0.5} and not foreign.not_reproduced


def test_a_transform_that_draws_all_grows_the_job_and_may_keep_the_seed(engine: Engine, extend: Extend) -> None:
    plugins = extend(
        several="""
            def colours(prompt, rng, context, count):
                return tuple(PromptText(f"{c} {prompt.positive}", first_seed=True) for c in ("red", "blue")[:count])

            def shapes(prompt, rng, context):
                return tuple(PromptText(f"{prompt.positive} {s}") for s in ("circle", "square", "ring"))

            @hookimpl
            def sdterm_prompt_transforms():
                return [
                    PromptTransform("colours", "Colours", colours, 50, False, True, (Option("count", 2, "", 1, 2),)),
                    PromptTransform("shapes", "Shapes", shapes, 60, False, True),
                    PromptTransform("many", "Many", lambda p, rng, context: (p,) * 1001, 70, False, True),
                ]
        """
    )
    assert len(draw(engine, plugins, prompt="thing", steps=1)) == 1, "they are off unless they are asked for"
    both = draw(engine, plugins, prompt="thing", steps=1, transforms=("colours", "shapes"), batch_size=4)
    assert [image.prompt for image in both] == [
        f"{colour} thing {shape}" for shape in ("circle", "square", "ring") for colour in ("red", "blue")
    ]
    assert {image.seed for image in both} == {7}
    (one,) = draw(engine, plugins, prompt="thing", steps=1, options={"colours.count": 1})
    assert one.prompt == "red thing"
    shapes = draw(engine, plugins, prompt="thing", steps=1, transforms=("shapes",), batch_count=4)
    assert [image.seed for image in shapes] == [7, 8, 9, 10] and shapes[3].prompt == "thing circle"
    assert "makes 1,001 prompts" in fail(engine, plugins, transforms=("many",)).message


def test_a_saver_that_wants_frames_is_given_one_for_each_call_of_the_network(engine: Engine, extend: Extend) -> None:
    plugins = extend(
        film="""
            def encode(image, infotext, frames):
                assert frames.dtype == "uint8" and frames.shape[1:] == (8, 8, 3)
                return bytes([len(frames)]) + frames[-1].tobytes()

            @hookimpl
            def sdterm_output_savers():
                return [OutputSaver("film", "Film", ".film", encode, frames=True)]
        """
    )
    first, second = draw(engine, plugins, format="film", steps=3, sampler="Euler", batch_size=2)
    (alone,) = draw(engine, plugins, format="film", steps=3, sampler="Euler", seed=8)
    assert first.data[0] == 3 and first.data != second.data
    differs = np.frombuffer(alone.data, np.uint8).astype(int) - np.frombuffer(second.data, np.uint8)
    assert np.abs(differs).max() <= 1
    assert draw(engine, plugins, format="film", steps=3, sampler="Heun")[0].data[0] == 5


def test_hook_sdterm_output_savers(engine: Engine, extend: Extend) -> None:
    """A saver is given pixels and infotext, and its bytes come back untouched; it answers to id, label and suffix."""
    plugins = extend(
        raw="""
            def encode(image, infotext, mark=""):
                assert image.dtype == "uint8" and image.shape == (64, 72, 3)
                return mark.encode() + image.tobytes() + infotext.encode()

            @hookimpl
            def sdterm_output_savers():
                return [OutputSaver("raw_bytes", "Raw", ".bin", encode, (Option("mark", "!"),))]
        """
    )
    (png,) = draw(engine, plugins, width=72)
    for name in ("raw bytes", "RAW", "bin"):
        (raw,) = draw(engine, plugins, width=72, format=name, format_options={"mark": "@"})
        assert raw.data == b"@" + pixels(png).astype(np.uint8).tobytes() + raw.infotext.encode()
        assert raw.suffix == ".bin"


@pytest.mark.parametrize("steps", [1, 2, 501, 999, 1000])
@pytest.mark.parametrize("label", ["Euler", "Euler a", "DPM++ 2M", "DDIM"])
def test_every_built_in_sampler_starts_with_any_number_of_steps(label: str, steps: int, engine: Engine) -> None:
    asked = {"prompt": "cat", "model": "sdterm-demo", "sampler": label, "steps": steps, "width": 64, "height": 64}
    events = engine.run(GenerationRequest.model_validate(asked), load_plugins())
    assert not isinstance(next(event for event in events if isinstance(event, Step | Image | Failed)), Failed)
    events.close()


def test_hook_sdterm_observers(engine: Engine, extend: Extend) -> None:
    """Observers of several plugins are asked in order, in every job, without being named."""
    code = """
        @hookimpl
        def sdterm_observers():
            return [Observer("{0}", "{0}", infotext=lambda image: {{"Key of {0}": str(image.seed)}})]
    """
    (image,) = draw(engine, extend(one=code.format("one"), two=code.format("two")), steps=1)
    assert "Key of one: 7, Key of two: 7, " in image.infotext
    hollow = catalogue_of(extend()).names().all(Observer)
    assert [(observer.id, observer.on_image_saved is None) for observer in hollow] == [("one", True), ("two", True)]


def test_hook_sdterm_locale_packs(extend: Extend) -> None:
    """Messages of several packs are kept apart, as data, in the order of the plugins; a bad one is refused whole."""
    pack = "@hookimpl\ndef sdterm_locale_packs(): return [LocalePack({!r}, {!r}, 'tlh', {!r})]\n"
    plugins = extend(one=pack.format("one", "One", {"Seed": "1"}), two=pack.format("two", "Two", {"Seed": "2"}))
    offers = catalogue_of(plugins).of("LocalePack")
    assert [(offer.plugin, offer.facts["language"]) for offer in offers] == [("one", "tlh"), ("two", "tlh")]
    assert [offer.facts["messages"] for offer in offers] == [{"Seed": "1"}, {"Seed": "2"}]
    assert Catalogue.model_validate_json(catalogue_of(plugins).model_dump_json()).of("LocalePack") == offers


@pytest.mark.parametrize(
    ("language", "messages", "said"),
    [
        ("../de", "{}", "must be a name like de_DE"),
        ("de\x1b", "{}", "must be a name like de_DE"),
        (7, "{}", "must be a name like de_DE"),
        ("de", "['Seed']", "not a mapping of texts"),
        ("de", "{'Seed': 7}", "have 7, which is not text"),
        ("de", "{'Seed': '\\ud800'}", "surrogates not allowed"),
        ("de", "{'Seed': 'x' * 9_000_000}", "larger than 8 MiB"),
    ],
)
def test_a_locale_pack_that_is_no_data_is_not_loaded(
    extend: Extend, language: object, messages: str, said: str
) -> None:
    plugins = extend(
        bad=f"@hookimpl\ndef sdterm_locale_packs(): return [LocalePack('x', 'X', {language!r}, {messages})]\n"
    )
    (problem,) = plugins.problems
    assert said in str(problem.error)
    assert not plugins.all(LocalePack)


# --- a plugin that cannot be loaded -----------------------------------------------------------------------------------

UNLOADABLE = {
    "raises at import": ("1 / 0", "ZeroDivisionError: division by zero (broken.py:3)"),
    "is no Python": ("def", "SyntaxError"),
    "lacks a package": ("import there_is_no_such_package", "No module named 'there_is_no_such_package'"),
    "ends the process at import": ("raise SystemExit(3)", "SystemExit"),
    "raises what cannot be printed": (
        "class Mute(Exception):\n    def __str__(self): 1 / 0\nraise Mute()",
        "Mute",
    ),
    "raises in its hook": (
        "@hookimpl\ndef sdterm_samplers():\n    raise ValueError('not today')",
        "ValueError: not today (broken.py:5)",
    ),
    "returns nothing": ("@hookimpl\ndef sdterm_samplers(): pass", "TypeError"),
    "returns the wrong type": (
        "@hookimpl\ndef sdterm_samplers():\n    return ['Euler']",
        "sdterm_samplers returned Euler, which is not a Sampler",
    ),
    "implements an unknown hook": (
        "@hookimpl\ndef sdterm_sampelrs():\n    return []",
        "unknown hook 'sdterm_sampelrs'",
    ),
    "asks its hook for arguments": ("@hookimpl\ndef sdterm_samplers(engine):\n    return []", "engine"),
    "gives an id that is taken": (
        "@hookimpl\ndef sdterm_samplers():\n    return [Sampler('euler', 'Mine', print)]",
        "it offers Sampler 'euler', but samplers.euler has the same name",
    ),
    "gives an id twice": (
        "@hookimpl\ndef sdterm_samplers():\n    return [Sampler('mine', 'Mine', print), Sampler('mine', 'My', print)]",
        "'mine'",
    ),
    "gives a label that is taken": (
        "@hookimpl\ndef sdterm_samplers():\n    return [Sampler('mine', 'Euler', print)]",
        "samplers.euler",
    ),
    "gives an alias that is taken": (
        "@hookimpl\ndef sdterm_samplers():\n    return [Sampler('mine', 'Mine', print, aliases=('Euler A',))]",
        "samplers.euler",
    ),
    "gives an id that is no text": (
        "@hookimpl\ndef sdterm_samplers():\n    return [Sampler(['mine'], 'Mine', print)]",
        "id",
    ),
    "gives a label that is no text": (
        "@hookimpl\ndef sdterm_samplers():\n    return [Sampler('mine', None, print)]",
        "label",
    ),
    "gives an order that is no number": (
        "@hookimpl\ndef sdterm_prompt_transforms():\n    return [PromptTransform('mine', 'Mine', print, order='last')]",
        "order",
    ),
    "gives a suffix that leads elsewhere": (
        "@hookimpl\ndef sdterm_output_savers():\n    return [OutputSaver('mine', 'Mine', '/../x.png', print)]",
        "suffix",
    ),
    "gives a suffix without a dot": (
        "@hookimpl\ndef sdterm_output_savers():\n    return [OutputSaver('mine', 'Mine', 'png', print)]",
        "suffix",
    ),
}


@pytest.mark.parametrize("how", UNLOADABLE)
def test_a_plugin_that_cannot_be_loaded_is_named_and_the_others_work(how: str, extend: Extend) -> None:
    code, reason = UNLOADABLE[how]
    plugins = extend(afine=GOOD.format("aaa"), broken=code, zfine=GOOD.format("zzz"))
    assert [plugin.source.slug for plugin in plugins.problems] == ["broken"]
    (broken,) = plugins.problems
    assert broken.error and reason in broken.error
    assert broken.gives == ()
    assert plugins.saver("aaa") and plugins.saver("zzz")
    assert plugins.sampler("Euler").id == "euler"
    assert plugins.sampler("Euler a").id == "euler_a"


def test_every_run_warns_of_a_plugin_that_could_not_be_loaded_and_draws(engine: Engine, extend: Extend) -> None:
    plugins = extend(broken="1 / 0", zfine=GOOD.format("zzz"))
    events = run(engine, plugins, format="zzz")
    (warning,) = [event for event in events if isinstance(event, Warning)]
    assert (warning.code, warning.source) == ("plugin_skipped", "broken")
    assert warning.message == "broken was not loaded: ZeroDivisionError: division by zero (broken.py:3)"
    assert isinstance(events[-1], Done)


# --- a plugin that fails at its work ----------------------------------------------------------------------------------


def sampler(body: str, **fields: str) -> str:
    """An extension with a sampler `bad`."""
    more = "".join(f", {name}={value}" for name, value in fields.items())
    return f"""
def bad(denoise, x, sigmas, *, noise, callback):
    for i in range(len(sigmas) - 1):
        x0 = denoise(x, sigmas[i].expand(len(x))).x0
        callback(i, x0)
        {body}
    return x0

@hookimpl
def sdterm_samplers():
    return [Sampler("bad", "Bad", bad{more})]
"""


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("if i == 1: x.missing()", "failed: AttributeError"),
        ("if i == 1: return x0[:, :2]", "not return finite latents of the same shape as its input"),
        ("if i == 1: return x0 * float('nan')", "not return finite latents of the same shape as its input"),
        ("if i == 1: return None", "not return finite latents of the same shape as its input"),
        ("if i == 1: raise SystemExit(3)", "failed: SystemExit"),
        ("if i == 1: return denoise(x[:, :2], sigmas[:1]).x0", ""),
    ],
    ids=["raises", "another shape", "not a number", "nothing", "ends the process", "gives the network another shape"],
)
def test_a_sampler_that_fails_midway_ends_the_run_with_its_name_and_its_plugins(
    body: str, reason: str, engine: Engine, extend: Extend
) -> None:
    plugins = extend(strange=sampler(body))
    failed = fail(engine, plugins, sampler="Bad", steps=4)
    assert failed.code == "plugin_failed"
    assert "The sampler Bad of strange" in failed.message
    assert reason in failed.message
    assert draw(engine, plugins), "another sampler draws"


def failing(hook: str, descriptor: str) -> str:
    """An extension with one descriptor `bad`, and ways to fail."""
    return f"""
def oops(*arguments, **options):
    raise KeyError("oops")

def nothing(*arguments, **options):
    return None

def yes(device):
    return True, ""

@hookimpl
def {hook}():
    return [{descriptor}]
"""


FAILING: dict[str, tuple[str, str, dict[str, object]]] = {
    "a scheduler raises": ("sdterm_schedulers", "Scheduler('bad', 'Bad', oops)", {"scheduler": "bad"}),
    "a scheduler gives nothing": ("sdterm_schedulers", "Scheduler('bad', 'Bad', nothing)", {"scheduler": "bad"}),
    "a scheduler gives a list": (
        "sdterm_schedulers",
        "Scheduler('bad', 'Bad', lambda n, sampling: [1.0] * n + [0.0])",
        {"scheduler": "bad"},
    ),
    "a scheduler gives too few": (
        "sdterm_schedulers",
        "Scheduler('bad', 'Bad', lambda n, sampling: torch.zeros(n))",
        {"scheduler": "bad"},
    ),
    "a scheduler does not fall": (
        "sdterm_schedulers",
        "Scheduler('bad', 'Bad', lambda n, sampling: torch.arange(n + 1.0).roll(-1))",
        {"scheduler": "bad"},
    ),
    "a sampler's own schedule raises": (
        "sdterm_samplers",
        "Sampler('bad', 'Bad', nothing, grid='own', own_sigmas=oops)",
        {"sampler": "bad"},
    ),
    "a sampler's own schedule gives nothing": (
        "sdterm_samplers",
        "Sampler('bad', 'Bad', nothing, grid='own', own_sigmas=nothing)",
        {"sampler": "bad"},
    ),
    "a transform raises": ("sdterm_prompt_transforms", "PromptTransform('bad', 'Bad', oops)", {}),
    "a transform gives nothing": ("sdterm_prompt_transforms", "PromptTransform('bad', 'Bad', nothing)", {}),
    "a transform gives no text at all": (
        "sdterm_prompt_transforms",
        "PromptTransform('bad', 'Bad', lambda prompt, rng, context: ())",
        {},
    ),
    "a transform gives bare text": (
        "sdterm_prompt_transforms",
        "PromptTransform('bad', 'Bad', lambda prompt, rng, context: ('red',))",
        {},
    ),
    "an early transform gives bare text": (
        "sdterm_prompt_transforms",
        "PromptTransform('bad', 'Bad', lambda prompt, rng, context: ('red',), order=1)",
        {},
    ),
    "a transform gives a number for text": (
        "sdterm_prompt_transforms",
        "PromptTransform('bad', 'Bad', lambda prompt, rng, context: (PromptText(7),))",
        {},
    ),
    "an optimizer raises": (
        "sdterm_memory_optimizers",
        "MemoryOptimizer('bad', 'Bad', 'x', yes, oops)",
        {"memory": ("bad",)},
    ),
    "an optimizer cannot say whether it can be used": (
        "sdterm_memory_optimizers",
        "MemoryOptimizer('bad', 'Bad', 'x', oops, nothing)",
        {"memory": ("bad",)},
    ),
    "a family raises on looking": (
        "sdterm_model_families",
        "ModelFamily('bad', 'Bad', oops, nothing)",
        {"model": "strange model"},
    ),
    "a family gives text for a match": (
        "sdterm_model_families",
        "ModelFamily('bad', 'Bad', lambda reader: 'yes', nothing)",
        {"model": "strange model"},
    ),
    "a family raises on building": (
        "sdterm_model_families",
        "ModelFamily('bad', 'Bad', lambda reader: ModelMatch(), oops)",
        {"model": "strange model"},
    ),
    "a family builds nothing": (
        "sdterm_model_families",
        "ModelFamily('bad', 'Bad', lambda reader: ModelMatch(), nothing)",
        {"model": "strange model"},
    ),
}


@pytest.mark.parametrize("how", FAILING)
def test_a_plugin_that_fails_at_its_work_ends_the_run_with_its_name(
    how: str, engine: Engine, extend: Extend, root: Path
) -> None:
    (root / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    save_file({"a": np.zeros(1)}, root / CHECKPOINTS / "strange model.safetensors")
    hook, descriptor, asked = FAILING[how]
    failed = fail(engine, extend(strange=failing(hook, descriptor)), **asked)
    assert failed.code == "plugin_failed"
    assert "Bad" in failed.message and "strange" in failed.message


@pytest.mark.parametrize(
    "what", ["yes, oops", "oops, nothing", "nothing, nothing"], ids=["apply", "supports", "nothing"]
)
def test_an_optimizer_that_is_on_by_default_and_fails_is_left_out_with_a_warning(
    what: str, engine: Engine, extend: Extend
) -> None:
    """Nobody asked for it, so the picture is drawn without."""
    descriptor = f"MemoryOptimizer('bad', 'Bad', 'x', {what}, default=True)"
    events = run(engine, extend(strange=failing("sdterm_memory_optimizers", descriptor)))
    assert isinstance(events[-1], Done)
    (warning,) = [event for event in events if isinstance(event, Warning)]
    assert "Bad" in warning.message and "strange" in warning.message


def test_after_an_optimizer_failed_half_way_the_next_picture_is_as_it_was(engine: Engine, extend: Extend) -> None:
    plugins = extend(
        half="""
            def half_way(components):
                for weight in components.modules["unet"].conv_in.parameters():
                    weight.zero_()
                raise RuntimeError("half way")

            @hookimpl
            def sdterm_memory_optimizers():
                yes = lambda device, model: (True, "")
                return [MemoryOptimizer("half", "Half way", "x", yes, half_way, undo=lambda components: None)]
        """
    )
    (before,) = draw(engine, plugins)
    failed = fail(engine, plugins, memory=("half",))
    assert "The memory optimizer Half way" in failed.message and "RuntimeError: half way" in failed.message
    (after,) = draw(engine, plugins)
    assert after.data == before.data


def test_a_family_that_fails_on_looking_does_not_hide_a_file_from_the_one_that_knows_it(
    engine: Engine, extend: Extend, root: Path
) -> None:
    (root / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    save_file({"a": np.zeros(1)}, root / CHECKPOINTS / "strange model.safetensors")
    knows = "lambda reader: ModelMatch(refusal='I know this one.')"
    plugins = extend(
        astrange=failing("sdterm_model_families", "ModelFamily('bad', 'Bad', oops, nothing)"),
        good=failing("sdterm_model_families", f"ModelFamily('good', 'Good', {knows}, nothing)"),
    )
    said = fail(engine, plugins, model="strange model").message
    assert said.startswith("I know this one. The model family Bad of astrange failed: ")


def test_a_refusal_counts_only_where_no_family_can_draw_with_the_file(
    engine: Engine, extend: Extend, root: Path
) -> None:
    (root / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    save_file({"joint_blocks.0.x": np.zeros(1)}, root / CHECKPOINTS / "large.safetensors")
    library = Library(root)
    knows = "lambda reader: ModelMatch() if 'joint_blocks.0.x' in reader.shapes() else None"
    refuses = "lambda reader: ModelMatch(refusal='It is too large.')"
    plugins = extend(
        asmall=failing("sdterm_model_families", f"ModelFamily('small', 'Small', {refuses}, nothing)"),
        large=failing("sdterm_model_families", f"ModelFamily('large', 'Large', {knows}, nothing)"),
    )
    family, match = recognise(library.find("large"), plugins)
    assert (family.id, match.refusal) == ("large", None)
    without = dataclasses.replace(plugins, given=tuple(each for each in plugins.given if each.id != "large"))
    family, match = recognise(library.find("large"), without)
    assert (family.id, match.refusal) == ("small", "It is too large.")


def test_a_plugins_own_sentence_is_what_the_user_reads(engine: Engine, extend: Extend) -> None:
    plugins = extend(
        refusing="""
            def refuse(prompt, rng, context):
                raise PluginError("This prompt has no horse.")

            @hookimpl
            def sdterm_prompt_transforms():
                return [PromptTransform("horses", "Horses", refuse)]
        """
    )
    assert fail(engine, plugins).message == "This prompt has no horse."


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["DPM++ 2M", "dpm++ 2m", "dpmpp_2m", "DPMPP-2M", "k_dpmpp_2m", " Dpm++  2m "])
def test_a_sampler_is_found_by_label_id_or_alias_in_any_case(name: str) -> None:
    assert load_plugins().sampler(name).id == "dpmpp_2m"


@pytest.mark.parametrize(
    ("kind", "name", "near"),
    [
        ("sampler", "Eulr", "'Euler'"),
        ("sampler", "DPM 2M", "'DPM++ 2M'"),
        ("scheduler", "Karas", "'Karras'"),
        ("saver", "jpge", "'JPEG'"),
        ("optimizer", "slice", "'Sliced attention'"),
    ],
)
def test_a_name_that_is_nearly_right_is_suggested(kind: str, name: str, near: str) -> None:
    with pytest.raises(UnknownNameError, match=f"named {name!r}.*Did you mean .*{re.escape(near)}"):
        getattr(load_plugins(), kind)(name)


def test_an_extensions_names_are_found_like_ours(extend: Extend) -> None:
    plugins = extend(
        mine="""
            @hookimpl
            def sdterm_samplers():
                return [Sampler("my_best", "My Best", print, aliases=("mb",))]
        """
    )
    for name in ("MY BEST", "my-best", "Mb"):
        assert plugins.owner(plugins.sampler(name)) == "mine"


def test_a_suffix_that_another_format_has_does_not_take_its_place(extend: Extend) -> None:
    plugins = extend(
        mine="""
            @hookimpl
            def sdterm_output_savers():
                return [OutputSaver("mine", "Mine", ".jpg", print)]
        """
    )
    assert plugins.saver("jpg").id == "jpeg"
    assert plugins.saver("mine").id == "mine"


# --- extensions apart -------------------------------------------------------------------------------------------------


def test_extensions_with_modules_of_the_same_name_never_meet(tmp_path: Path) -> None:
    for name in ("first", "second"):
        folder = tmp_path / name
        (folder / "scripts").mkdir(parents=True)
        (folder / "scripts" / "__init__.py").write_text("")
        (folder / "scripts" / "ui.py").write_text(f"LABEL = {name!r}\n")
        (folder / "helpers.py").write_text("from .scripts.ui import LABEL\n")
        (folder / "__init__.py").write_text(
            "from sdterm.hooks import Sampler, hookimpl\nfrom .helpers import LABEL\n"
            "@hookimpl\ndef sdterm_samplers():\n    return [Sampler(LABEL, LABEL, print)]\n"
        )
    path, modules = list(sys.path), set(sys.modules)
    plugins = load_plugins(tmp_path)
    assert not plugins.problems
    assert [plugins.owner(plugins.sampler(name)) for name in ("first", "second")] == ["first", "second"]
    assert sys.path == path
    assert all(name.startswith("_sdterm_extension_") for name in set(sys.modules) - modules)


def test_an_extension_may_have_dataclasses_and_import_what_is_heavy_late(tmp_path: Path, engine: Engine) -> None:
    """Both look their module up by name when they are used, after loading."""
    folder = tmp_path / "late"
    folder.mkdir()
    (folder / "format.py").write_text("def encode(image, infotext):\n    return b'late'\n")
    (folder / "__init__.py").write_text(
        "from __future__ import annotations\nimport dataclasses\nfrom sdterm.hooks import OutputSaver, hookimpl\n"
        "@dataclasses.dataclass\nclass Quality:\n    value: int = 1\n"
        "def encode(image, infotext):\n    from .format import encode\n    return encode(image, infotext)\n"
        "@hookimpl\ndef sdterm_output_savers():\n    return [OutputSaver('late', 'Late', '.late', encode)]\n"
    )
    plugins = load_plugins(tmp_path)
    assert not plugins.problems
    assert draw(engine, plugins, format="late", steps=1)[0].data == b"late"


def test_what_the_built_ins_give_are_plugins_like_any_other() -> None:
    plugins = load_plugins()
    assert not plugins.problems
    given = {type(given) for plugin in plugins.plugins for given in plugin.gives}
    none_of_ours = {Postprocessor, LocalePack, Observer}
    assert given == {kind.descriptor for kind in KINDS} - none_of_ours
    assert {plugin.source.origin for plugin in plugins.plugins} == {"built-in"}
