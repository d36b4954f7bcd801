"""The plugin pages tell the truth: every example on them loads and does what its page says."""

import importlib
import re
import shlex
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from queue import SimpleQueue

import click
import numpy as np
import pytest
import torch
from PIL import Image as Picture
from safetensors.torch import save_file

from sdterm import Engine, GenerationRequest, PluginSet, load_plugins
from sdterm.cli import COMMANDS
from sdterm.core.extensions.catalogue import catalogue_of
from sdterm.core.extensions.kinds import KINDS
from sdterm.core.infotext.files import read_infotext
from sdterm.core.infotext.grammar import parse
from sdterm.core.inputs import Inputs
from sdterm.core.languages.translations import languages, packs_of
from sdterm.core.library.checkpoints import Library
from sdterm.core.library.upscalers import find_upscaler
from sdterm.core.output.saving import Saving, save_images
from sdterm.core.settings.paths import CHECKPOINTS
from sdterm.engine.upscale import Upscaling, upscaled
from sdterm.events import Described, Event, Failed, Image, ModelLoading, Warning
from sdterm.hooks import Denoised
from sdterm.testing import assert_denoise_hook_conforms
from sdterm.tui.language import tr, use
from sdterm.tui.texts import messages

PAGES = ("README", *(kind.hook for kind in KINDS))
Example = Callable[[str], PluginSet]


@pytest.fixture
def example(repo: Path, tmp_path: Path) -> Example:
    """Load the complete example of a hook's page as an extension."""

    def load(hook: str) -> PluginSet:
        (tmp_path / "from_the_page.py").write_text(blocks(repo, hook, "python")[0])
        plugins = load_plugins(tmp_path)
        assert not plugins.problems
        return plugins

    return load


def blocks(repo: Path, page: str, language: str) -> list[str]:
    """The code blocks of a page."""
    text = (repo / "docs" / "plugins" / f"{page}.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def draw(engine: Engine, plugins: PluginSet, **fields: object) -> list[Image]:
    """The images of a small request, which must not fail."""
    small = {"prompt": "red circle, blue background", "seed": 7, "steps": 3, "width": 64, "height": 64}
    events: list[Event] = list(engine.run(GenerationRequest.model_validate(small | fields), plugins))
    assert not [event for event in events if isinstance(event, Failed)], events[-1]
    return [event for event in events if isinstance(event, Image)]


def pixels(image: Image) -> np.ndarray:
    return np.asarray(Picture.open(BytesIO(image.data))).astype(int)


def difference(one: Image, other: Image) -> int:
    return int(np.abs(pixels(one) - pixels(other)).max())


def test_the_tutorial_shows_the_shipped_example_word_for_word(repo: Path) -> None:
    shipped = (repo / "extensions" / "example_midpoint.py").read_text()
    for excerpt in blocks(repo, "README", "python"):
        assert excerpt in shipped


@pytest.mark.parametrize("steps", [10, 20, 40])
def test_the_shipped_example_has_an_error_that_falls_with_the_square_of_the_steps(steps: int, repo: Path) -> None:
    """On data of unit variance, for which the ideal denoiser and the true path are known."""
    sample = load_plugins(repo / "extensions").sampler("example_midpoint").sample
    start = torch.full((1, 4, 1, 1), 10.0, dtype=torch.float64)
    true = start / (1 + 10.0**2) ** 0.5

    def ideal(x: torch.Tensor, sigma: torch.Tensor) -> Denoised:
        return Denoised(x / (1 + sigma[:, None, None, None] ** 2), None)

    def error(steps: int) -> float:
        sigmas = torch.cat([torch.linspace(10**0.1, 0.001**0.1, steps, dtype=torch.float64) ** 10, torch.zeros(1)])
        called: list[int] = []
        end = sample(ideal, start, sigmas, noise=no_noise, callback=lambda i, denoised: called.append(i))
        assert called == list(range(steps))
        return float((end - true).abs().max())

    def no_noise(sigma: torch.Tensor, sigma_next: torch.Tensor) -> torch.Tensor:
        raise AssertionError("the midpoint method draws nothing")

    assert 3 < error(steps) / error(2 * steps) < 5


def test_the_shipped_example_draws_what_it_drew_before(repo: Path, engine: Engine) -> None:
    plugins = load_plugins(repo / "extensions")
    (image,) = draw(engine, plugins, sampler="example midpoint")
    (again,) = draw(engine, plugins, sampler="EXAMPLE-MIDPOINT")
    assert image.data == again.data
    assert "Sampler: Example Midpoint, Schedule type: Karras" in image.infotext


def test_the_sampler_page_replaces_as_much_noise_as_it_is_told(engine: Engine, example: Example) -> None:
    plugins = example("sdterm_samplers")
    (euler,) = draw(engine, plugins, sampler="Euler")
    (none,) = draw(engine, plugins, sampler="Example Renoise", sampler_options={"fresh": 0})
    (some,) = draw(engine, plugins, sampler="Example Renoise")
    second = draw(engine, plugins, sampler="example renoise", seed=6, batch_size=2)[1]
    assert difference(none, euler) <= 1
    assert difference(some, euler) > 8
    assert difference(second, some) <= 1, "image 2 of a batch is the single image with its seed"


def test_the_denoise_hook_page_keeps_predictions_small(engine: Engine, example: Example) -> None:
    plugins = example("sdterm_denoise_hooks")
    assert_denoise_hook_conforms(plugins.denoise_hook("Example Threshold"))
    (plain,) = draw(engine, plugins, cfg_scale=25)
    (small,) = draw(engine, plugins, cfg_scale=25, denoise_hooks=["example threshold"])
    (free,) = draw(engine, plugins, cfg_scale=25, options={"example_threshold.most": 100})
    assert difference(free, plain) == 0 and difference(small, plain) > 8
    said = parse(small.infotext).parameters
    assert said["Example Threshold enabled"] == "True" and said["Example Threshold most"] == "3"


@pytest.mark.parametrize("n", [1, 2, 20, 1000])
def test_the_scheduler_page_gives_falling_sigmas(n: int, example: Example) -> None:
    from sdterm.modelling.sampling import DiscreteSampling

    sampling = DiscreteSampling(torch.linspace(0.999, 0.005, 1000))
    sigmas = example("sdterm_schedulers").scheduler("Example Cosine").sigmas(n, sampling, strength=1.0)
    assert sigmas.shape == (n + 1,) and sigmas.dtype == torch.float32
    assert sigmas[-1] == 0 and bool((sigmas[:-1] > sigmas[1:]).all())


def test_the_scheduler_page_draws_and_its_option_blends_from_exponential(engine: Engine, example: Example) -> None:
    plugins = example("sdterm_schedulers")
    (plain,) = draw(engine, plugins, steps=4, scheduler="Exponential")
    (same,) = draw(engine, plugins, steps=4, scheduler="Example Cosine", scheduler_options={"strength": 0})
    (other,) = draw(engine, plugins, steps=4, scheduler="Example Cosine", scheduler_options={"strength": 1})
    assert difference(same, plain) <= 1 < difference(other, plain)


def test_the_transform_page_chooses_by_seed(engine: Engine, example: Example) -> None:
    plugins = example("sdterm_prompt_transforms")
    drawn = [
        [image.infotext.split("\n")[0] for image in draw(engine, plugins, prompt=prompt, steps=1, batch_size=6)]
        for prompt in ["{red|green|{blue|yellow}} circle"] * 2
    ]
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) > 1
    assert set(drawn[0]) <= {"red circle", "green circle", "blue circle", "yellow circle"}


def test_the_transform_page_refuses_with_its_sentence(engine: Engine, example: Example) -> None:
    plugins = example("sdterm_prompt_transforms")
    (failed,) = engine.run(GenerationRequest(prompt="{red circle", steps=1), plugins)
    assert isinstance(failed, Failed)
    assert (failed.code, failed.message) == ("bad_request", "The prompt has a brace without its partner.")


@pytest.mark.heavy
def test_the_optimizer_page_is_exact_and_leaves_nothing_behind(engine: Engine, example: Example) -> None:
    plugins = example("sdterm_memory_optimizers")
    (before,) = draw(engine, plugins)
    (optimized,) = draw(engine, plugins, memory=("Example Channels Last",))
    (after,) = draw(engine, plugins)
    assert difference(optimized, before) <= 1
    assert after.data == before.data


def test_the_pipeline_page_draws_its_colour_and_takes_its_option(example: Example, engine: Engine, root: Path) -> None:
    plugins = example("sdterm_pipelines")
    (root / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    save_file({"example.colour": torch.tensor([1.0, -1.0, -1.0])}, root / CHECKPOINTS / "one red.safetensors")
    for options, grey in (({}, 0), ({"brightness": 1.0}, 128)):
        (image,) = draw(engine, plugins, model="one red", pipeline_options=options)
        assert np.abs(pixels(image) - (255, grey, grey)).max() <= 1


def test_the_network_page_makes_layers_stronger_and_leaves_nothing_behind(example: Example, tmp_path: Path) -> None:
    plugins = example("sdterm_networks")
    (tmp_path / "models" / "Lora").mkdir(parents=True)
    save_file({"gain.unet.conv_in": torch.tensor(0.5)}, tmp_path / "models" / "Lora" / "my_gains.safetensors")
    engine = Engine(library=Library(tmp_path), device="cpu")
    plain, half, none, again = (
        draw(engine, plugins, prompt=f"red circle{tag}")[0].pixel_hash
        for tag in ("", " <lora:my_gains:0.5>", " <lora:my_gains:0>", "")
    )
    assert half != plain == none == again


def test_the_upscaler_page_repeats_pixels_and_reads_its_files(example: Example, tmp_path: Path) -> None:
    plugins, library = example("sdterm_upscalers"), Library(tmp_path)
    (tmp_path / "models" / "ESRGAN").mkdir(parents=True)
    spread = torch.eye(3).repeat_interleave(4, 0)  # each pixel becomes four of its colour
    save_file({"example.spread.weight": spread}, tmp_path / "models" / "ESRGAN" / "mine.safetensors")
    image = np.random.default_rng(1).integers(0, 256, (40, 24, 3), dtype=np.uint8)
    for name in ("Example Repeat", "mine"):
        larger = upscaled(
            Upscaling(plugins, torch.device("cpu"), tile=16, overlap=4),
            find_upscaler(name, plugins, library),
            image,
            2,
        )
        assert np.array_equal(larger, image.repeat(2, 0).repeat(2, 1)), name


def test_the_interrogator_page_names_the_strongest_colour(engine: Engine, example: Example, root: Path) -> None:
    plugins = example("sdterm_interrogators")
    digests = []
    for colour in ((200, 10, 10), (10, 10, 200), (100, 100, 100)):
        buffer = BytesIO()
        Picture.new("RGB", (8, 8), colour).save(buffer, "PNG")
        digests.append(Inputs(root).put(buffer.getvalue()))
    asked = GenerationRequest(prompt="", interrogate_images=tuple(digests), interrogator="example colour")
    said = [event.text for event in engine.run(asked, plugins) if isinstance(event, Described)]
    assert said == ["a red picture", "a blue picture", "a grey picture"]


def test_the_postprocessor_page_adds_as_much_grain_as_it_is_told(engine: Engine, example: Example) -> None:
    plugins = example("sdterm_postprocessors")
    (plain,) = draw(engine, plugins)
    (none,) = draw(engine, plugins, options={"example_grain.amount": 0})
    (some,) = draw(engine, plugins, postprocess=("Example Grain",))
    second = draw(engine, plugins, seed=6, batch_size=2, postprocess=("example grain",))[1]
    assert difference(none, plain) == 0
    middle = (pixels(plain) > 32) & (pixels(plain) < 223)  # where nothing is cut off
    assert 6 < (pixels(some) - pixels(plain))[middle].std() < 10
    assert difference(second, some) <= 1, "image 2 of a batch is the single image with its seed"
    assert "Postprocess: Example Grain," in some.infotext


def test_the_saver_page_stores_the_picture_and_its_infotext(engine: Engine, example: Example, tmp_path: Path) -> None:
    plugins = example("sdterm_output_savers")
    prompt = "café 🎨, red circle\nblue"
    (png,) = draw(engine, plugins, prompt=prompt)
    (webp,) = draw(engine, plugins, prompt=prompt, format="Example WebP", format_options={"lossless": True})
    (tmp_path / "image.webp").write_bytes(webp.data)
    assert webp.suffix == ".webp"
    assert difference(webp, png) == 0
    assert webp.infotext.startswith(prompt)
    assert read_infotext(tmp_path / "image.webp") == webp.infotext


def test_the_family_page_draws_with_the_colours_that_the_prompt_names(
    engine: Engine, example: Example, root: Path
) -> None:
    colours = {"red": [1.0, -1.0, -1.0], "green": [-1.0, 1.0, -1.0], "white": [1.0, 1.0, 1.0]}
    (root / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    checkpoint = {f"palette.{name}": torch.tensor(colour) for name, colour in colours.items()}
    save_file(checkpoint, root / CHECKPOINTS / "three colours.safetensors")
    plugins = example("sdterm_model_families")
    fields = {"model": "three colours", "steps": 12, "sampler": "Euler"}
    (red,) = draw(engine, plugins, prompt="a red wall", width=None, height=None, **fields)
    (two,) = draw(engine, plugins, prompt="red and white", cfg_scale=1, **fields)
    assert (red.width, red.height) == (64, 64), "the family's native size"
    assert np.abs(pixels(red) - [255, 0, 0]).max() <= 3
    cells = {tuple(round(channel / 255) for channel in cell) for cell in pixels(two)[4::8, 4::8].reshape(-1, 3)}
    assert cells == {(1, 0, 0), (1, 1, 1)}


def test_a_family_without_diffusers_modules_needs_no_attention_of_ours(
    engine: Engine, example: Example, root: Path
) -> None:
    (root / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    save_file({"palette.red": torch.ones(3)}, root / CHECKPOINTS / "one colour.safetensors")
    plugins = example("sdterm_model_families")
    asked = GenerationRequest(prompt="red", model="one colour", steps=1)
    assert not [event for event in engine.run(asked, plugins) if isinstance(event, Warning)]
    assert not [event for event in engine.run(asked, plugins) if isinstance(event, Warning | ModelLoading)]
    for name, said in (("sliced", "a UNet of diffusers"), ("vae-tiling", "a VAE of diffusers")):
        *_, failed = engine.run(asked.model_copy(update={"memory": (name,)}), plugins)
        assert isinstance(failed, Failed) and said in failed.message and "KeyError" not in failed.message


def test_the_family_page_refuses_a_damaged_file_with_a_sentence(engine: Engine, example: Example, root: Path) -> None:
    (root / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    save_file({"palette.red": torch.zeros(4)}, root / CHECKPOINTS / "four numbers.safetensors")
    asked = GenerationRequest(prompt="red", model="four numbers")
    (failed,) = engine.run(asked, example("sdterm_model_families"))
    assert isinstance(failed, Failed)
    assert failed.message == "four numbers.safetensors has a colour that is not three numbers."


def test_the_observer_page_keeps_a_diary_and_adds_the_aspect_ratio(
    engine: Engine, example: Example, tmp_path: Path
) -> None:
    saved: SimpleQueue[Path | None] = SimpleQueue()
    small = {"model": "sdterm-demo", "seed": 7, "steps": 1, "width": 128, "height": 64}
    asked = GenerationRequest.model_validate({"prompt": "red circle, lake", "batch_count": 2} | small)
    events = engine.run(asked, example("sdterm_observers"), saved=saved)
    folder = tmp_path / "pictures"
    drawn = [e for e in save_images(events, asked, Saving(folder), saved) if isinstance(e, Image)]
    assert [parse(image.infotext).parameters["Aspect"] for image in drawn] == ["2:1", "2:1"]
    names = [Path(str(image.path)).name for image in drawn]
    diary = (folder / "diary.csv").read_text().splitlines()
    assert diary == [f'{names[0]},7,"red circle, lake"', f'{names[1]},8,"red circle, lake"']


@pytest.mark.heavy
def test_the_locale_pack_page_is_spoken_from_the_catalogue_alone(example: Example) -> None:
    packs = packs_of(catalogue_of(example("sdterm_locale_packs")))
    assert (languages(packs), use("eo", packs)) == (["eo"], ())
    try:
        assert (tr("Seed"), tr("#{job} is queued.", job=3), tr("Gallery")) == ("Semo", "#3 atendas.", "Gallery")
    finally:
        use(None)
    assert set(packs[0].messages) <= {*messages()}, "the page has keys that nothing says"


@pytest.mark.parametrize("page", PAGES)
def test_every_command_on_a_page_exists(page: str, repo: Path) -> None:
    for line in "".join(blocks(repo, page, "sh")).splitlines():
        program, name, *arguments = shlex.split(line)
        assert program == "sdterm" and name in COMMANDS, line
        command: click.Command = getattr(importlib.import_module(f"sdterm.cli.{name}"), name)
        options = {option for parameter in command.params for option in parameter.opts}
        assert {argument for argument in arguments if argument.startswith("--")} <= options, line


@pytest.mark.parametrize("page", [*(f"plugins/{page}.md" for page in PAGES), "glossary.md"])
def test_every_link_leads_somewhere(page: str, repo: Path) -> None:
    here = repo / "docs" / page
    for target in re.findall(r"\]\(([^)]+)\)", here.read_text()):
        file, _, anchor = target.partition("#")
        there = here.parent / file if file else here
        assert there.is_file(), target
        headings = re.findall(r"^#+ (.*)$", there.read_text(), re.MULTILINE)
        assert not anchor or anchor in [heading.lower().replace(" ", "-") for heading in headings], target


def test_the_glossary_is_in_order_and_names_each_word_once(repo: Path) -> None:
    words = re.findall(r"^\*\*(.+?)\*\*:", (repo / "docs" / "glossary.md").read_text(), re.M)
    assert words == sorted(set(words))
    assert len(words) > 30
