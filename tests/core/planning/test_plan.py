"""From what was asked to what will be drawn: names found, seeds, sizes, options and prompts fixed."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdterm import GenerationRequest, PluginSet, load_plugins
from sdterm.core.library.checkpoints import Library, ModelFileError
from sdterm.core.names import UnknownNameError
from sdterm.core.planning.choices import choose
from sdterm.core.planning.plan import Plan, prepare
from sdterm.request import RequestError

STYLES = {
    "red": ("{prompt}, all red", "blue"),
    "sharp": ("sharp focus", ""),
    "empty": ("", ""),
    "Watercolour": ("watercolour of {prompt}", "photo"),
    "water-colour": ("the one with a dash", ""),
    "Water colour": ("the one with a space", ""),
}


@pytest.fixture(scope="module")
def plugins() -> PluginSet:
    return load_plugins()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return Library(tmp_path_factory.mktemp("data"))


def plan(plugins: PluginSet, library: Library, **fields: object) -> Plan:
    request = GenerationRequest.model_validate({"prompt": "a house", "seed": 5} | fields)
    return prepare(request, choose(request, plugins, library), plugins, library, STYLES)


def test_image_k_of_a_job_has_the_seed_plus_k(plugins: PluginSet, library: Library) -> None:
    seeds = [image.seed for image in plan(plugins, library, batch_size=2, batch_count=2).images]
    assert seeds == [5, 6, 7, 8]


def test_no_seed_draws_one_as_a1111_does(plugins: PluginSet, library: Library) -> None:
    drawn = {plan(plugins, library, seed=-1).images[0].seed for _ in range(5)}
    assert len(drawn) == 5 and all(0 <= seed <= 4294967293 for seed in drawn)


def test_with_a_variation_every_image_has_the_seed_and_its_own_variation(plugins: PluginSet, library: Library) -> None:
    made = plan(plugins, library, variation_strength=0.3, variation_seed=42, batch_size=3)
    assert [(image.seed, image.variation_seed) for image in made.images] == [(5, 42), (5, 43), (5, 44)]
    assert [image.seed for image in plan(plugins, library, variation_seed=42, batch_size=2).images] == [5, 6]


def test_no_variation_seed_draws_one(plugins: PluginSet, library: Library) -> None:
    asked = GenerationRequest(prompt="a house", variation_strength=0.3)
    choices = choose(asked, plugins, library)
    first, other = (prepare(asked, choices, plugins, library, STYLES).images[0] for _ in range(2))
    assert (first.seed, first.variation_seed) != (other.seed, other.variation_seed)
    assert first.seed != first.variation_seed and 0 <= first.variation_seed <= 4294967293


def test_a_variation_of_one_row_of_noise_is_refused(plugins: PluginSet, library: Library) -> None:
    size = {"seed_resize_width": 64, "seed_resize_height": 12}
    with pytest.raises(RequestError, match=r"seed_resize_height is 12, but with a variation .* at least 16"):
        plan(plugins, library, variation_strength=0.3, **size)
    plan(plugins, library, **size)
    plan(plugins, library, variation_strength=0.3, seed_resize_height=12)  # nothing is resized without a width


def test_seeds_below_0_are_seeds_but_those_of_a_brownian_tree(plugins: PluginSet, library: Library) -> None:
    made = plan(plugins, library, seed=-2, variation_seed=-3, variation_strength=2.0, batch_size=2)
    assert [(image.seed, image.variation_seed) for image in made.images] == [(-2, -3), (-2, -2)]
    with pytest.raises(RequestError, match="seed is -2, but DPM\\+\\+ SDE needs a seed of 0 or more") as caught:
        plan(plugins, library, seed=-2, sampler="DPM++ SDE")
    assert caught.value.field == "seed"


def test_an_unset_size_is_the_models_own(plugins: PluginSet, library: Library) -> None:
    made = plan(plugins, library, height=64)
    assert (made.width, made.height) == (128, 64)


@pytest.mark.parametrize(
    ("sampler", "scheduler", "said"),
    [
        ("dpm++ 2m", "Automatic", "Karras"),
        ("DPM++ 2M Karras", "Automatic", "Karras"),
        ("DPM++ 2M Exponential", "Automatic", "Exponential"),
        ("DPM++ 2M SGMUniform", "Automatic", "SGM Uniform"),
        ("DPM++ 2M Karras", "Exponential", "Exponential"),
        ("k_dpmpp_2m karras", "Automatic", "Karras"),
        ("dpm++ 2m", "uniform", "Uniform"),
        ("Euler", "Automatic", "Automatic"),
        ("Euler", "EXPONENTIAL", "Exponential"),
    ],
)
def test_automatic_is_the_samplers_own_schedule_where_it_has_one(
    sampler: str, scheduler: str, said: str, plugins: PluginSet, library: Library
) -> None:
    assert plan(plugins, library, sampler=sampler, scheduler=scheduler).passes[0].scheduler == said


def test_every_declared_option_is_in_the_plan(plugins: PluginSet, library: Library) -> None:
    made = plan(plugins, library, sampler="Euler a", sampler_options={"eta": 0.5}, format="jpg")
    assert made.passes[0].sampler_options == {"eta": 0.5, "s_noise": 1.0}
    assert made.format_options == {"quality": 80}
    options = plan(plugins, library, scheduler="Karras").passes[0].scheduler_options
    assert options == {"sigma_min": 0.0, "sigma_max": 0.0, "rho": 0.0}


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("sampler", "Eulr", "no sampler named 'Eulr'. Did you mean 'Euler'"),
        ("scheduler", "Karas", "no scheduler named 'Karas'. Did you mean 'Karras'"),
        ("format", "bmp", "no output format named 'bmp'"),
        ("memory", ("slices",), "no memory optimizer named 'slices'. Did you mean 'Sliced attention'"),
        ("model", "nothing", "no model named 'nothing'"),
    ],
)
def test_a_name_that_does_not_exist_is_one_sentence_with_the_field(
    field: str, value: object, words: str, plugins: PluginSet, library: Library
) -> None:
    with pytest.raises(UnknownNameError) as raised:
        plan(plugins, library, **{field: value})
    assert words in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"sampler": "Euler", "sampler_options": {"eta": 1}}, "Euler has no option 'eta'"),
        ({"scheduler": "Karras", "scheduler_options": {"rho": 99}}, "Karras: the option rho is 99"),
        ({"format": "jpeg", "format_options": {"quality": 0}}, "JPEG: the option quality is 0"),
    ],
)
def test_a_wrong_option_is_one_sentence_with_its_owner(
    fields: dict[str, object], words: str, plugins: PluginSet, library: Library
) -> None:
    with pytest.raises(RequestError, match=words):
        plan(plugins, library, **fields)


def test_a_refused_checkpoint_is_its_familys_sentence(plugins: PluginSet, tmp_path: Path) -> None:
    (tmp_path / "old.ckpt").write_bytes(b"")
    with pytest.raises(ModelFileError, match=r"old\.ckpt is neither a safetensors nor a PyTorch file"):
        plan(plugins, Library(tmp_path, chosen=tmp_path / "old.ckpt"))


# --- prompts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("styles", "positive", "negative"),
    [
        ((), "a house", "fog"),
        (("red",), "a house, all red", "fog, blue"),
        (("sharp",), "a house, sharp focus", "fog"),
        (("empty",), "a house", "fog"),
        (("sharp", "Watercolour"), "watercolour of a house, sharp focus", "fog, photo"),
        (("Watercolour", "sharp"), "watercolour of a house, sharp focus", "fog, photo"),
        (("SHARP",), "a house, sharp focus", "fog"),
        (("water-colour",), "a house, the one with a dash", "fog"),
        (("Water colour",), "a house, the one with a space", "fog"),
    ],
)
def test_styles_are_applied_in_order(
    styles: tuple[str, ...], positive: str, negative: str, plugins: PluginSet, library: Library
) -> None:
    (image,) = plan(plugins, library, negative_prompt="fog", styles=styles).images
    assert (image.prompt, image.negative_prompt) == (positive, negative)


def test_a_style_that_does_not_exist_is_refused_with_a_near_one(plugins: PluginSet, library: Library) -> None:
    with pytest.raises(UnknownNameError, match=r"no style named 'Watercolor'\. Did you mean 'Watercolour'"):
        plan(plugins, library, styles=("Watercolor",))
    with pytest.raises(UnknownNameError, match="'WATER COLOUR' could be the style 'water-colour' or 'Water colour'"):
        plan(plugins, library, styles=("WATER COLOUR",))


@pytest.mark.parametrize(
    ("asked", "drawn"),
    [
        ("a house # with a garden", "a house"),
        ("# a title\na house", "a house"),
        ("a house\n# red\nby a lake", "a house\nby a lake"),
        ("a house, # red\nby a lake", "a house, \nby a lake"),
    ],
)
def test_comments_are_not_drawn(asked: str, drawn: str, plugins: PluginSet, library: Library) -> None:
    assert plan(plugins, library, prompt=asked).images[0].prompt == drawn


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(str.strip))
def test_any_prompt_becomes_a_plan_that_survives_json(plugins: PluginSet, library: Library, prompt: str) -> None:
    made = plan(plugins, library, prompt=prompt)
    assert Plan.model_validate_json(made.model_dump_json()) == made
    if "#" not in prompt:
        assert made.images[0].prompt.strip() == prompt.strip()
