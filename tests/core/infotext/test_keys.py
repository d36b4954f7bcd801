"""From a planned image to its infotext and back: A1111's own texts, and any request at all."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sdterm import GenerationRequest, load_plugins
from sdterm.core.infotext.grammar import Infotext, parse
from sdterm.core.infotext.keys import DRAWN, option_key
from sdterm.core.infotext.read import ParsedInfotext, find_model, read
from sdterm.core.infotext.record import Provenance, changes
from sdterm.core.infotext.write import image_infotext, single_image_request
from sdterm.core.library.checkpoints import Library
from sdterm.core.names import UnknownNameError
from sdterm.core.planning.choices import choose
from sdterm.core.planning.plan import ImagePlan, Plan, prepare
from sdterm.core.settings.paths import CHECKPOINTS
from sdterm.fields import FIELDS
from sdterm.hooks import Option, Sampler, Scheduler
from sdterm.request import make_request
from sdterm.version import __version__
from tests.core.library.test_checkpoints import model

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "infotexts.json").read_text())
PLUGINS = load_plugins()
OURS = re.compile(r", sdterm: [^,]*")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return Library(tmp_path_factory.mktemp("data"))


def planned(request: GenerationRequest, library: Library) -> Plan:
    return prepare(request, choose(request, PLUGINS, library), PLUGINS, library, {})


def raw(request: GenerationRequest, library: Library) -> Plan:
    """A plan that draws the prompts as they are, whatever prompt transforms would make of them."""
    plan = planned(request.model_copy(update={"prompt": "x", "negative_prompt": ""}), library)
    texts = {"prompt": request.prompt, "negative_prompt": request.negative_prompt}
    return plan.model_copy(
        update={"request": request, "images": tuple(image.model_copy(update=texts) for image in plan.images)}
    )


def infotext(plan: Plan, image: ImagePlan, library: Library, made: Provenance | None = None) -> str:
    return image_infotext(plan, image, choose(plan.request, PLUGINS, library), PLUGINS, made)


def written(library: Library, **fields: object) -> Infotext:
    plan = planned(make_request(**{"prompt": "a house", "seed": 5} | fields), library)
    return parse(infotext(plan, plan.images[0], library))


def reading(text: str) -> ParsedInfotext:
    return read(parse(text), PLUGINS)


def line(parameters: str, prompt: str = "a house") -> ParsedInfotext:
    return reading(f"{prompt}\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 64x64, {parameters}")


# --- A1111's own infotexts --------------------------------------------------------------------------------------------

_SETTINGS = {row.a1111: row.name for row in FIELDS.values() if row.a1111}
_FIELDS = {row.api: row.name for row in FIELDS.values() if row.api}
_NOT_OURS = {"enable_hr", "s_churn"}  # s_churn left no trace in A1111's text


def as_request(case: dict[str, Any]) -> GenerationRequest:
    """The request of sdterm that asks for what a golden request asked of A1111."""
    asked = case["request"]
    options = {"randn_source": "CPU"} | case.get("opts", {}) | asked.get("override_settings", {})
    fields = {ours: asked[theirs] for theirs, ours in _FIELDS.items() if theirs in asked}
    fields |= {ours: options[theirs] for theirs, ours in _SETTINGS.items() if theirs in options}
    if options.get("pad_cond_uncond_v0"):
        fields["pad_conds"] = "v0"
    eta = asked.get("eta", options.get("eta_ancestral"))
    if eta is not None and any(option.name == "eta" for option in PLUGINS.sampler(asked["sampler_name"]).options):
        fields["sampler_options"] = {"eta": eta}
    fields["cfg_scale"] = float(fields["cfg_scale"])
    return GenerationRequest.model_construct(**{"seed": 5} | fields)  # an empty prompt is A1111's right


def known(case: dict[str, Any]) -> bool:
    try:
        sampler = PLUGINS.sampler(case["request"]["sampler_name"])
        PLUGINS.scheduler(case["request"].get("scheduler", "Automatic").replace("Automatic", "Uniform"))
    except UnknownNameError:
        return False
    return "eta" not in case["request"] or any(option.infotext for option in sampler.options)


DRAWABLE = [case for case in GOLDEN if case["kind"] == "t2i" and not _NOT_OURS & case["request"].keys() and known(case)]


@pytest.mark.parametrize("case", DRAWABLE, ids=lambda case: case["name"])
def test_the_text_is_what_a1111_wrote(case: dict[str, Any], library: Library) -> None:
    request = as_request(case)
    if "subseed" in case["request"]:
        request = request.model_copy(update={"variation_seed": case["request"]["subseed"]})
    plan = raw(request, library).model_copy(update={"model": "tiny-ldm", "model_hash": "822d0150b4" + "0" * 54})
    for index, theirs in enumerate(case["infotexts"]):
        image = plan.images[index]
        if request.variation_strength:  # in A1111 the first image's seed is every image's
            seed = int(parse(theirs).parameters["Variation seed"])
            image = image.model_copy(update={"seed": request.seed, "variation_seed": seed})
        ours = OURS.sub("", infotext(plan, image, library)).replace(f"sdterm {__version__}", "1.9.4")
        if case.get("api"):  # without a scheduler in the request A1111's API writes none
            ours = ours.replace(", Schedule type: Automatic", "")
            if "scheduler" not in case["request"]:
                theirs = theirs.replace(", Schedule type: Automatic", "")
        assert ours == theirs


@pytest.mark.parametrize("case", DRAWABLE, ids=lambda case: case["name"])
def test_a1111s_text_is_read_as_the_request_that_made_it(case: dict[str, Any]) -> None:
    asked = as_request(case)
    for index, text in enumerate(case["infotexts"]):
        got = reading(text)
        assert got.not_reproduced == ()
        request = GenerationRequest.model_construct(**got.fields)
        same_schedule = {asked.scheduler, request.scheduler} <= {
            "Automatic",
            PLUGINS.sampler(asked.sampler).default_scheduler,
        }
        assert request.scheduler == asked.scheduler or same_schedule
        step = 0 if asked.variation_strength else index
        variation = asked.variation_seed + index if asked.variation_strength else -1
        assert (request.seed, request.variation_seed) == (asked.seed + step, variation)
        left_out = {"scheduler", "seed", "variation_seed", "model", "quantize"}
        for field in DRAWN - left_out:
            if field == "emphasis" and not set("([") & set(asked.prompt):
                continue
            wanted = getattr(asked, field)
            assert getattr(request, field) == (wanted.strip() if field == "prompt" else wanted), field


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("i2i/", "Denoising strength"),
        ("inpaint/full", "Denoising strength, Inpaint area, Masked area padding"),
        ("i2i/extranoise", "Denoising strength, Extra noise"),
    ],
)
def test_what_is_not_drawn_yet_is_named_in_one_warning(kind: str, named: str) -> None:
    cases = [case for case in GOLDEN if f"/{kind}" in case["name"]]
    assert cases
    for case in cases:
        said = reading(case["infotexts"][0]).warning or ""
        assert said.startswith("These parameters cannot be reproduced: ")
        assert set(named.split(", ")) <= set(
            said.removeprefix("These parameters cannot be reproduced: ").removesuffix(".").split(", ")
        )


# --- round trip -------------------------------------------------------------------------------------------------------

_TRAPS = [
    "Negative prompt:",
    "Steps: 20, Sampler: Euler, Seed: 1",
    "sdterm: v=9&set.steps=7",
    "\n",
    "\r\n",
    "\t",
    " ",
    ",",
]
_CHARACTERS = st.characters(exclude_categories=["Cs", "Cc"])
_PIECES = st.text(_CHARACTERS, max_size=20) | st.sampled_from([*_TRAPS, "(red:1.3)", "[a:b:3]", '"', "\\", "é", "🐈"])
PROMPTS = st.lists(_PIECES, max_size=6).map("".join)
SIZES = st.integers(8, 128).map(lambda cells: 8 * cells)
SEEDS = st.integers(0, 2**63 - 1)


@st.composite
def options(draw: st.DrawFn, owner: Sampler | Scheduler) -> dict[str, bool | int | float | str]:
    values: dict[str, bool | int | float | str] = {}
    for option in owner.options:
        if isinstance(option.default, bool):
            values[option.name] = draw(st.booleans())
        elif isinstance(option.default, int):
            values[option.name] = draw(st.integers(int(option.minimum or 0), int(option.maximum or 1000)))
        elif isinstance(option.default, float):
            values[option.name] = draw(st.floats(option.minimum or 0, option.maximum or 1000))
        else:
            values[option.name] = option.default
    return {name: value for name, value in values.items() if draw(st.booleans())}


@st.composite
def requests(draw: st.DrawFn) -> GenerationRequest:
    sampler = draw(st.sampled_from(PLUGINS.all(Sampler)))
    scheduler = draw(st.none() | st.sampled_from(PLUGINS.all(Scheduler)))
    default = PLUGINS.scheduler(sampler.default_scheduler or "Uniform")
    return make_request(
        prompt=draw(PROMPTS.filter(str.strip)),
        negative_prompt=draw(PROMPTS),
        model="sdterm-demo",
        sampler=sampler.label,
        scheduler=scheduler.label if scheduler else "Automatic",
        sampler_options=draw(options(sampler)),
        scheduler_options=draw(options(scheduler or default)),
        steps=draw(st.integers(1, 1000)),
        cfg_scale=draw(st.floats(0, 100)),
        seed=draw(SEEDS),
        variation_seed=draw(SEEDS),
        variation_strength=draw(st.just(0.0) | st.floats(0, 1)),
        seed_resize_width=draw(st.integers(0, 4096)),
        seed_resize_height=draw(st.integers(0, 4096)),
        ensd=draw(st.just(0) | st.integers(-(2**63), 2**63 - 1)),
        noise_source=draw(st.sampled_from(["NV", "CPU", "GPU"])),
        emphasis=draw(st.sampled_from(["Original", "No norm", "Ignore", "None"])),
        pad_conds=draw(st.sampled_from(["off", "on", "v0"])),
        ngms=draw(st.just(0.0) | st.floats(0, 15)),
        width=draw(SIZES),
        height=draw(SIZES),
        clip_skip=draw(st.integers(1, 12)),
        extra_params=draw(
            st.dictionaries(st.text(_CHARACTERS, max_size=12), st.text(_CHARACTERS, max_size=12), max_size=2)
        ),
        **{
            field: draw(st.booleans())
            for field in (
                "old_prompt_editing",
                "discard_penultimate",
                "sgm_noise_multiplier",
                "quantize",
                "downcast_alphas",
            )
        },
    )


@settings(max_examples=120)
@given(requests())
def test_reading_an_infotext_gives_back_the_request_that_was_written(
    library: Library, request: GenerationRequest
) -> None:
    # Below 16 pixels, resizing and variation together are refused.
    assume(not (request.variation_strength and request.seed_resize_width and 8 <= request.seed_resize_height < 16))
    plan = raw(request, library)
    image = plan.images[0].model_copy(update={"variation_seed": request.variation_seed})
    text = infotext(plan, image, library)
    got = read(parse(text), PLUGINS)
    assert find_model(got, library) == ("sdterm-demo", "")
    assert make_request(**got.fields, model="sdterm-demo") == request
    assert got.not_reproduced == ()
    assert "\n" not in text.rsplit("Steps: ", 1)[-1]  # what A1111 reads is one line


@given(st.text(), st.text())
def test_any_text_is_read_without_complaint(prompt: str, rest: str) -> None:
    reading(prompt)
    line(rest)
    line(f"sdterm: {rest}, Version: {rest}")


def test_each_image_of_a_job_tells_how_to_draw_it_alone(library: Library) -> None:
    request = make_request(prompt="a house", seed=5, batch_size=2, batch_count=2, grid=True, styles=("red",))
    plan = prepare(request, choose(request, PLUGINS, library), PLUGINS, library, {"red": ("{prompt}, red", "")})
    texts = [infotext(plan, image, library) for image in plan.images]
    got = [make_request(**reading(text).fields) for text in texts]
    assert [r.seed for r in got] == [5, 6, 7, 8]
    assert {(r.prompt, r.batch_size, r.batch_count, r.grid, r.styles) for r in got} == {
        ("a house, red", 1, 1, False, ())
    }
    assert single_image_request(plan, plan.images[2]).seed == 7


def test_an_edited_text_wins_over_the_record_but_keeps_what_only_the_record_says(library: Library) -> None:
    plan = raw(make_request(prompt=" a house", seed=5, scheduler="Karras", quantize=True), library)
    text = infotext(plan, plan.images[0], library)
    assert reading(text).fields["prompt"] == " a house"
    edited = reading(text.replace("a house", "a cat").replace("Karras", "Exponential")).fields
    assert (edited["prompt"], edited["scheduler"], edited["quantize"]) == ("a cat", "Exponential", True)


# --- keys -------------------------------------------------------------------------------------------------------------


def test_keys_stand_in_a1111s_order_and_only_where_they_matter(library: Library) -> None:
    full = written(
        library,
        prompt="a (red) [house:cat:1.5]",
        negative_prompt="fog",
        sampler="Euler a",
        scheduler="Karras",
        sampler_options={"eta": 0.5, "s_noise": 1.1},
        scheduler_options={"rho": 5},
        variation_seed=9,
        variation_strength=0.25,
        seed_resize_width=64,
        seed_resize_height=128,
        clip_skip=2,
        ensd=31337,
        noise_source="CPU",
        ngms=1.5,
        old_prompt_editing=True,
        emphasis="No norm",
        downcast_alphas=True,
        discard_penultimate=True,
        sgm_noise_multiplier=True,
        pad_conds="v0",
        extra_params={"ADetailer model": "face.pt"},
        width=64,
        height=72,
    )
    declared = (*PLUGINS.scheduler("Karras").options, *PLUGINS.sampler("Euler a").options)
    rho, eta, s_noise = (option_key(o) for o in declared if o.name in ("rho", "eta", "s_noise"))
    assert [*full.parameters] == [
        *("Steps", "Sampler", "Schedule type", "CFG scale", "Seed", "Size", "Model hash", "Model"),
        *("Variation seed", "Variation seed strength", "Seed resize from", "Clip skip", "ENSD", "RNG", "NGMS"),
        *("Old prompt editing timelines", "Emphasis", "Downcast alphas_cumprod", "Discard penultimate sigma"),
        *(rho, "SGM noise multiplier", eta, s_noise, "Pad conds v0", "ADetailer model", "sdterm", "Version"),
    ]
    assert [full.parameters[key] for key in ("Size", "Seed resize from", "Pad conds v0")] == ["64x72", "64x128", "True"]
    plain = written(library, emphasis="No norm", sampler="Euler", ensd=5, noise_source="GPU", variation_seed=3)
    assert [*plain.parameters] == [
        *("Steps", "Sampler", "Schedule type", "CFG scale", "Seed", "Size", "Model hash", "Model", "sdterm", "Version")
    ]


def test_the_record_is_short_and_without_the_signs_that_readers_split_at(library: Library) -> None:
    plan = planned(make_request(prompt="a house", seed=5), library)
    made = Provenance(torch="2.13.0+cu126", device="NVIDIA H100 80GB HBM3", dtype="float16", plugins=("mine@12ab",))
    parameters = parse(infotext(plan, plan.images[0], library, made)).parameters
    assert len(parameters["sdterm"]) < 250 and not set(parameters["sdterm"]) & set(',:"\\ ')
    kept = Provenance.parse(parameters["sdterm"])
    assert (kept.sdterm, kept.torch, kept.device, kept.plugins) == (__version__, made.torch, made.device, made.plugins)
    assert kept.model == plan.model_hash and [*parameters][-2:] == ["sdterm", "Version"]
    assert changes(kept, kept) == []
    assert changes(kept, Provenance(sdterm=__version__, torch="3.0")) == [
        "torch: 2.13.0+cu126 when the image was made, 3.0 now",
        "plugins: mine@12ab when the image was made, none now",
    ]


def test_an_option_without_a_key_is_written_in_words_and_one_that_would_clash_only_in_the_record() -> None:
    sampler = Sampler(id="mine", label="Mine", sample=lambda: None, options=(  # type: ignore[arg-type,return-value]
        Option("corrector_order", 2), Option("seed", 1), Option("x", 0.5), Option("mode", "fast"),
    ))  # fmt: skip
    plugins = load_plugins()
    plugins = replace(plugins, given=(*plugins.given, sampler))
    library = Library(Path("/nowhere"))
    request = make_request(
        prompt="a",
        seed=7,
        sampler="Mine",
        sampler_options={"corrector_order": 3, "seed": 4, "x": 0.25, "mode": "a, b: c"},
    )
    choices = choose(request, plugins, library)
    plan = prepare(request, choices, plugins, library, {})
    text = parse(image_infotext(plan, plan.images[0], choices, plugins))
    assert (text.parameters["Corrector order"], text.parameters["Mode"]) == ("3", "a, b: c")
    assert "X" not in text.parameters and text.parameters["Seed"] == "7"
    assert read(text, plugins).fields["sampler_options"] == request.sampler_options


@pytest.mark.parametrize(
    ("parameters", "fields"),
    [
        ("RNG: CPU", {"noise_source": "CPU"}),
        ("RNG: GPU", {"noise_source": "NV"}),
        ("Version: v1.9.4", {"noise_source": "NV", "clip_skip": 1, "scheduler": "Automatic", "emphasis": "Original"}),
        ("Schedule type: Exponential", {"scheduler": "Exponential"}),
        ("Schedule type: karras, Schedule rho: 0", {"scheduler": "Karras", "scheduler_options": {"rho": 0.0}}),
        ("Sampler: DPM++ 2M Karras", {"sampler": "DPM++ 2M", "scheduler": "Automatic"}),
        ("Sampler: DPM++ 2M Exponential", {"sampler": "DPM++ 2M", "scheduler": "Exponential"}),
        ("Sampler: Euler a Karras, Version: v1.6.0", {"sampler": "Euler a", "scheduler": "Karras"}),
        ("Sampler: DPM++ 2M Karras, Schedule type: Exponential", {"sampler": "DPM++ 2M", "scheduler": "Automatic"}),
        ("Sampler: k_euler_ancestral", {"sampler": "Euler a"}),
        ("Sampler: DPM++ 2M, Version: v1.8.0", {"scheduler": "Uniform"}),
        ("Sampler: DPM++ 2M, Version: v1.9.0", {"scheduler": "Automatic"}),
        ("Size: 100x70", {"width": 96, "height": 64}),
        ("Seed resize from: 512x768", {"seed_resize_width": 512, "seed_resize_height": 768}),
        ("Clip skip: 2, ENSD: 31337", {"clip_skip": 2, "ensd": 31337}),
        ("Eta: 0.7, NGMS: 1.5", {"sampler_options": {"eta": 0.7}, "ngms": 1.5}),
        ("Sampler: DDIM, Eta: 0.3", {"sampler_options": {"eta": 0.3}}),
        ("Pad conds: True", {"pad_conds": "on"}),
        ("Pad conds v0: True", {"pad_conds": "v0"}),
        ("Variation seed: 9, Variation seed strength: 0.3", {"variation_seed": 9, "variation_strength": 0.3}),
        ("Discard penultimate sigma: True, SGM noise multiplier: True", {"sgm_noise_multiplier": True}),
        ("Emphasis: No norm", {"emphasis": "No norm"}),
        ("Version: v1.5.2", {"downcast_alphas": True, "pad_conds": "off", "old_prompt_editing": False}),
        ("Version: v1.7.0-224-gabc", {"downcast_alphas": True}),
        ("Version: v1.7.0-225-gabc", {"downcast_alphas": False}),
        ("Version: v1.9.4-12-gabc", {"downcast_alphas": False}),
        ("Version: f0.0.17v1.8.0rc-latest-276-g29be1da7", {"downcast_alphas": False}),
        ("Sampler: DDIM, Version: v1.5.2", {"pad_conds": "v0"}),
        ("First pass size: 0x0, Size: 1024x512", {"width": 768, "height": 384}),
        ("First pass size: 512x320, Size: 1024x640", {"width": 512, "height": 320}),
        ("Hypernet: anime, Hypernet strength: 0.5", {"prompt": "a house<hypernet:anime:0.5>"}),
        ("User: bob", {"extra_params": {"User": "bob"}}),
    ],
)
def test_a_key_is_read_as_a1111_reads_it(parameters: str, fields: dict[str, object]) -> None:
    replaced = {pair.split(":")[0] for pair in parameters.split(", ")} & {"Sampler", "Size"}
    base = {"Steps": "20", "Sampler": "Euler a", "CFG scale": "7", "Seed": "5", "Size": "64x64"}
    given = ", ".join(f"{key}: {value}" for key, value in base.items() if key not in replaced)
    got = reading(f"a house\n{given}, {parameters}").fields
    assert {name: got[name] for name in fields} == fields


def test_old_prompt_editing_is_on_for_an_old_text_with_brackets() -> None:
    assert line("Version: v1.5.2", prompt="a [house:cat:3]").fields["old_prompt_editing"] is True


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ("Image CFG scale: 2, Face restoration: CodeFormer", ["Image CFG scale", "Face restoration"]),
        ("VAE Decoder: TAESD, VAE Encoder: Full", []),
        ("VAE: None, Hires resize: 0x0, Noise Schedule: Default, Token merging ratio: 0", []),
        ("ControlNet 0: \"module: canny, x\", ADetailer model: face.pt", ["ControlNet 0", "ADetailer model"]),
        ("Sampler: Nonsense", ["Sampler (Nonsense)"]),
        ("Steps: many, CFG scale: nan, Size: 20x20", ["Steps (many)", "CFG scale (nan)", "Size (20x20)"]),
        ("Refiner: xl [12], Refiner switch at: 0.8, Hires magic: 3", ["Hires magic"]),
        ("Lora hashes: \"x: 1234\"", []),
        ("User: bob, Hashes: {\"model\": \"12\"}, Version: v1.9.4", []),
        ("Eta: 7", ["Eta (7)"]),
    ],
)  # fmt: skip
def test_what_cannot_be_honoured_is_named_and_what_only_informs_is_not(parameters: str, named: list[str]) -> None:
    assert sorted(line(parameters).not_reproduced) == sorted(named)


@pytest.mark.parametrize(
    ("parameters", "asked"),
    [
        (
            "Denoising strength: 0.6, Hires upscale: 1.5, Hires steps: 8, Hires upscaler: Lanczos",
            {"hires": True, "denoising_strength": 0.6, "hires_scale": 1.5, "hires_steps": 8,
             "hires_upscaler": "Lanczos"},
        ),
        (
            "Hires resize: 256x0, Hires sampler: euler a, Hires schedule type: karras, Hires prompt: \"a, b\"",
            {"hires": True, "hires_width": 256, "hires_height": 0, "hires_sampler": "Euler a",
             "hires_scheduler": "Karras", "hires_prompt": "a, b", "hires_upscaler": "Latent"},
        ),
        (
            "Hires upscale: 2, Hires checkpoint: b [0123456789], Hires sampler: Use same sampler, Hires CFG scale: 3",
            {"hires_model": "b", "hires_sampler": "", "hires_cfg_scale": 3.0},
        ),
        ("Hires resize: 0x0, Hires steps: 0", {"hires": False}),
        ("First pass size: 64x64, Size: 128x96", {"hires": True, "width": 64, "hires_width": 128, "hires_height": 96}),
        (
            "Refiner switch by sampling steps: True, Refiner: xl [0123456789], Refiner switch at: 0.5",
            {"refiner": "xl", "refiner_switch_at": 0.5, "refiner_by_steps": True},
        ),
        ("Refiner: xl", {"refiner": "xl", "refiner_switch_at": 0.0}),
        ("Refiner: None, Refiner switch at: 0.8", {"refiner": ""}),
    ],
)  # fmt: skip
def test_second_passes_and_refiners_are_read_as_a1111_reads_them(parameters: str, asked: dict[str, object]) -> None:
    got = line(parameters)
    assert {name: got.fields[name] for name in asked} == asked and not got.not_reproduced


def test_unknown_keys_are_kept_to_the_letter_and_written_back(library: Library) -> None:
    keys = 'ADetailer model: face.pt, ControlNet 0: "module: canny, weight: 1", Flag'
    got = line(keys + ", Hires magic: 2, Version: v1.9.4")
    again = written(library, **got.fields)
    assert [*again.parameters.items()][-5:-2] == [*parse(f"Steps: 1, Seed: 2, Size: 8x8, {keys}").parameters.items()][
        3:
    ]
    assert "Hires magic" not in again.parameters


def test_overrides_of_sampler_and_schedule_are_read_with_their_own_options() -> None:
    text = parse("a\nSteps: 20, Sampler: Euler a, Schedule type: Karras, Seed: 5, Eta: 0.5, Version: v1.9.4")
    got = read(text, PLUGINS, {"Sampler": "DPM++ 2M", "Schedule type": "Exponential"})
    assert (got.fields["sampler"], got.fields["scheduler"], got.fields["sampler_options"]) == (
        "DPM++ 2M",
        "Exponential",
        {},
    )
    assert got.not_reproduced == ("Eta",)


def test_a_text_without_parameters_is_a_prompt() -> None:
    assert reading("a house\nNegative prompt: fog").fields == {"prompt": "a house", "negative_prompt": "fog"}


# --- the model --------------------------------------------------------------------------------------------------------


def test_a_model_is_found_by_any_of_its_hashes_then_by_name(tmp_path: Path) -> None:
    one = model(tmp_path / CHECKPOINTS / "one.safetensors", "one")
    twins = [model(tmp_path / CHECKPOINTS / folder / "two.safetensors", folder) for folder in ("x", "y")]
    library = Library(tmp_path)
    sha256 = library.sha256(one)
    for digest in (sha256, sha256[:10], sha256[:10].upper()):
        assert find_model(line(f"Model hash: {digest}, Model: renamed"), library) == ("one", "")
    assert find_model(line("Model: ONE"), library) == ("one", "")
    for path in twins:
        digest = Library(tmp_path / "x").sha256(path)[:10]
        name, said = find_model(line(f"Model hash: {digest}, Model: two"), library)
        assert name and (library.find(name).path, said) == (path, "")
    name, said = find_model(line("Model hash: 0123456789, Model: one"), library)
    assert name == "one" and "one [0123456789] is missing, so another file of the same name" in said
    name, said = find_model(line("Model hash: 0123456789, Model: gone"), library)
    assert name is None and "gone [0123456789] is missing" in said
    assert find_model(line("RNG: NV"), library) == (None, "")


def test_of_two_models_that_differ_in_a_dash_the_one_of_that_spelling_is_meant(tmp_path: Path) -> None:
    for name in ("a-b", "a_b"):
        model(tmp_path / CHECKPOINTS / f"{name}.safetensors")
    library = Library(tmp_path)
    assert [find_model(line(f"Model: {name}"), library) for name in ("a-b", "a_b")] == [("a-b", ""), ("a_b", "")]
    neither, said = find_model(line("Model: A B"), library)
    assert neither is None and "may be a" in said


def test_the_hash_of_the_first_years_is_of_64_kb_at_one_megabyte(tmp_path: Path) -> None:
    import hashlib

    path = tmp_path / CHECKPOINTS / "old.safetensors"
    path.parent.mkdir(parents=True)
    content = bytes(range(256)) * 8192
    path.write_bytes(content)
    old = hashlib.sha256(content[0x100000:0x110000]).hexdigest()[:8]
    assert find_model(line(f"Model hash: {old}"), Library(tmp_path)) == ("old", "")
    path.write_bytes(content[::-1])
    assert find_model(line(f"Model hash: {old}"), Library(tmp_path))[0] is None


def test_no_more_is_read_in_search_of_a_model_than_allowed(tmp_path: Path) -> None:
    path = model(tmp_path / CHECKPOINTS / "a.safetensors")
    wanted = line(f"Model hash: {Library(tmp_path / 'x').sha256(path)[:10]}")
    library = Library(tmp_path)
    assert find_model(wanted, library, read_at_most=path.stat().st_size - 1)[0] is None
    assert library.known_hash(path) is None
    assert find_model(wanted, library) == ("a", "")
