"""Prompts become what A1111 makes of them: token chunks, weights, text vectors, over the steps."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from sdterm import Engine, PluginSet
from sdterm.core.infotext import grammar as infotext
from sdterm.core.infotext.record import Provenance
from sdterm.core.prompt.chunks import chunks
from sdterm.core.prompt.emphasis import BREAK, pieces
from sdterm.engine.conditioning import Conditioner, Reading, reading
from sdterm.engine.denoiser import Network, guided_denoiser
from sdterm.engine.networks import NO_NETWORKS
from sdterm.events import Resumed, Step, Warning
from sdterm.hooks import Conditioning, ModelSampling, SamplingOptions
from sdterm.modelling.old_emphasis import bracket_factors
from sdterm.plugins.sd.tokenizer import tokenize, vocabulary
from sdterm.plugins.sd.tokens import TOKENS
from sdterm.request import GenerationRequest
from tests.engine.conftest import images, request
from tests.tiny_checkpoint import GOLDEN

TEXTS = json.loads((GOLDEN / "conditioning.json").read_text())
VECTORS = np.load(GOLDEN / "conditioning.npz")
MODES = {"nonorm": "No norm", "ignore": "Ignore", "none": "None"}


@pytest.fixture(scope="module")
def conditioner(tiny_engine: Engine, plugins: PluginSet) -> Conditioner:
    list(tiny_engine.run(GenerationRequest(prompt="warm", steps=1, width=64, height=64), plugins))
    assert tiny_engine.model
    return tiny_engine.model.condition


def read(asked: GenerationRequest, calls: int) -> Reading:
    """Prompts read for so many network calls; SD 1 does not ask the image's size."""
    return reading(asked, 64, 64, calls, NO_NETWORKS)


def as_request(case: str) -> GenerationRequest:
    kind = case.split("/")[0]
    return request(
        clip_skip=int(kind.removeprefix("clip")) if kind.startswith("clip") else 1,
        emphasis=MODES.get(kind, "Original"),
        comma_backtrack=0 if kind == "nocomma" else 20,
    )


@pytest.mark.parametrize("case", [case for case in TEXTS if "error" not in TEXTS[case]])
def test_a_prompt_becomes_the_vectors_a1111_makes_at_every_step(
    case: str, conditioner: Conditioner, record_property: Callable[[str, object], None]
) -> None:
    golden = TEXTS[case]
    record_property("prompt", golden["prompt"])
    asked = as_request(case)
    with torch.inference_mode():
        parts = conditioner.prompt(golden["prompt"], read(asked, 10))
    assert [(part.weight, list(part.until)) for part in parts] == [
        (sub["weight"], sub["end_at_step"]) for sub in golden["subprompts"]
    ]
    for p, part in enumerate(parts):
        for e, text in enumerate(part.texts):
            vectors, expected = text["context"][0], VECTORS[f"{case}/{p}/{e}"]
            assert vectors.shape == expected.shape
            error = float(np.abs(vectors.numpy() - expected).max() / np.abs(expected).max())
            record_property("vector_error", error)
            assert error <= 1e-4


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a (red) house", "a (red) house"),
        ("a ((red)) [house", "a ((red)) [house"),
        ("(red:1.3) house", "(red : 1 . 3) house"),
        ("(red, house]", "(red, house)"),
        ("red BREAK house", "red break house"),
        ("lake," * 60, "lake," * 37 + "lake"),
    ],
    ids=str,
)
def test_old_emphasis_counts_brackets_and_reads_one_chunk(old: str, new: str, conditioner: Conditioner) -> None:
    with torch.inference_mode():
        (theirs,) = conditioner.prompt(old, read(request(old_emphasis=True), 10))
        (ours,) = conditioner.prompt(new, read(request(), 10))
    assert torch.equal(theirs.texts[0]["context"], ours.texts[0]["context"])


def test_old_emphasis_knows_brackets_that_share_a_token_with_other_characters() -> None:
    factors = bracket_factors(vocabulary())
    ((smile,), (empty,)) = (tokenize(text) for text in (":)", "()"))
    assert factors[smile] == 1 / 1.1 and empty not in factors


@pytest.mark.parametrize("case", [c for c in TEXTS if "error" not in TEXTS[c]["tokenize_line_whole_prompt"]])
def test_a_line_becomes_the_chunks_and_weights_a1111_makes(case: str) -> None:
    prompt, golden = TEXTS[case]["prompt"], TEXTS[case]["tokenize_line_whole_prompt"]["chunks"]
    parsed: Sequence[tuple[list[int] | None, float]]
    if as_request(case).emphasis == "None":
        parsed = [(tokenize(prompt), 1.0)]
    else:
        parsed = [
            (None if (piece.text, piece.weight) == ("BREAK", BREAK) else tokenize(piece.text), piece.weight)
            for piece in pieces(prompt)
        ]
    made = chunks(parsed, TOKENS, as_request(case).comma_backtrack)
    assert [list(chunk.tokens) for chunk in made] == [chunk["tokens"] for chunk in golden]
    assert [list(chunk.weights) for chunk in made] == [chunk["multipliers"] for chunk in golden]


def test_past_its_planned_calls_a_prompt_is_back_at_its_first_text(conditioner: Conditioner) -> None:
    """As in A1111, where DPM adaptive makes more calls than steps."""
    (part,) = conditioner.prompt("a [cat:dog:5]", read(request(), 10))
    assert [part.at(call) for call in (0, 5, 6, 10, 11)] == [0, 0, 1, 1, 0]


def test_network_tags_are_left_out_and_named(engine: Engine, plugins: PluginSet) -> None:
    tagged = list(engine.run(request(prompt="red circle<lora:bad\u202ename:0.8>, blue background"), plugins))
    (warning,) = [event for event in tagged if isinstance(event, Warning)]
    assert warning.code == "network_ignored"
    assert warning.message.startswith("Ignored: <lora:bad\ufffdname:0.8>. There is no LoRA named 'bad\ufffdname'.")
    (image,) = images(tagged)
    assert Provenance.parse(infotext.parse(image.infotext).parameters["sdterm"]).ignored == ("lora:bad\u202ename:0.8",)
    (plain,) = images(list(engine.run(request(), plugins)))
    assert image.pixel_hash == plain.pixel_hash


def test_an_embedding_that_is_named_and_cannot_be_read_is_warned_of(engine: Engine, plugins: PluginSet) -> None:
    folder = engine.library.root / "embeddings"
    folder.mkdir(exist_ok=True)
    (folder / "red circle.pt").touch()
    try:
        (warning,) = [event for event in engine.run(request(steps=1), plugins) if isinstance(event, Warning)]
        assert warning.message.startswith("Ignored: red circle. red circle.pt is ")
        assert not [e for e in engine.run(request(steps=1, prompt="blue"), plugins) if isinstance(e, Warning)]
    finally:
        (folder / "red circle.pt").unlink()


def test_a_run_stopped_after_a_prompt_switched_goes_on_with_the_switched_text(
    engine: Engine, plugins: PluginSet, tmp_path: Path
) -> None:
    tape = tmp_path / "run.tape"
    asked = request(prompt="[red:green:2] circle, [blue|white] background", steps=6)
    (whole,) = images(list(engine.run(asked, plugins)))
    run = engine.run(asked, plugins, tape=tape)
    next(event for event in run if isinstance(event, Step) and event.step == 4)
    run.close()
    resumed = list(engine.run(asked, plugins, tape=tape))
    assert any(isinstance(event, Resumed) and event.calls >= 4 for event in resumed)
    assert images(resumed)[0].data == whole.data


@pytest.fixture
def calls(engine: Engine, plugins: PluginSet, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """(texts, vectors of each) in the network calls of the embedded model from here on."""
    list(engine.run(request(steps=1), plugins))
    assert engine.model
    components = engine.model.components
    denoise, seen = components.denoise, list[tuple[int, int]]()

    def counted(x: torch.Tensor, sigma: torch.Tensor, cond: Conditioning, sampling: ModelSampling) -> torch.Tensor:
        seen.append((len(cond["context"]), cond["context"].shape[1]))
        return denoise(x, sigma, cond, sampling)

    monkeypatch.setattr(components, "denoise", counted)
    return seen


def test_negative_guidance_is_left_out_of_every_other_call_below_its_sigma(
    engine: Engine, plugins: PluginSet, calls: list[tuple[int, int]]
) -> None:
    """A1111's NGMS. A sigma above all others is below it from the start on."""
    list(engine.run(request(ngms=15, sampler="Euler", negative_prompt="fog"), plugins))
    assert calls == [(2, 77), (1, 77), (2, 77), (1, 77)]
    calls.clear()
    list(engine.run(request(ngms=15, sampler="DDIM", negative_prompt="fog"), plugins))
    assert set(calls) == {(2, 77)}, "DDIM's levels are timesteps, of which none here is below 15"


@pytest.mark.parametrize(
    ("padding", "expected"), [("off", [(1, 154), (1, 77)]), ("on", [(2, 154)]), ("v0", [(2, 154)])]
)
def test_padding_makes_one_call_of_texts_of_unequal_length(
    padding: str, expected: list[tuple[int, int]], engine: Engine, plugins: PluginSet, calls: list[tuple[int, int]]
) -> None:
    long = "red circle," + " very" * 90
    list(engine.run(request(prompt=long, steps=1, sampler="Euler", pad_conds=padding), plugins))
    assert calls == expected


@pytest.mark.parametrize("changes", [{"cfg_scale": 1.0}, {"ngms": 15.0}])
def test_a_prompt_is_padded_to_its_negative_prompt_also_where_that_is_left_out(
    changes: dict[str, float], engine: Engine, plugins: PluginSet, calls: list[tuple[int, int]]
) -> None:
    """A1111 pads before it decides what to leave out."""
    long = "fog," + " very" * 90
    asked = request(steps=2, sampler="Euler", negative_prompt=long, pad_conds="on", **changes)
    list(engine.run(asked, plugins))
    assert calls[1] == (1, 154)


def test_a_composition_without_negative_guidance_has_a_scale_of_one(engine: Engine, plugins: PluginSet) -> None:
    """A1111's combine_denoised(x_out, conds_list, uncond, 1.0), where the first part stands in for the negative."""
    list(engine.run(request(steps=1), plugins))
    model = engine.model
    assert model
    components, condition = model.components, model.condition
    sampling = components.sampling(SamplingOptions())
    generator = torch.Generator().manual_seed(3)
    x, sigma = torch.randn((1, components.latent_channels, 8, 8), generator=generator), torch.tensor([1.0])

    def network(prompt: str, **fields: object) -> Network:
        asked = request(ngms=15.0, **fields)
        how = read(asked, 4)
        parts, negative = condition.prompt(prompt, how), condition.negative("fog", how)
        scale = asked.cfg_scale
        texts = [parts], [negative]
        return guided_denoiser(components, sampling, condition, how, *texts, asked, cfg_scale=scale, needs_uncond=False)

    with torch.inference_mode():
        first, second = (network(text, cfg_scale=1.0)(x, sigma, 0).x0 for text in ("red circle", "blue square"))
        together = network("red circle AND blue square:0.5", cfg_scale=7.0)
        skipped, guided = together(x, sigma, 1).x0, together(x, sigma, 0).x0
    expected = first + (second - first) * 0.5
    assert (skipped - expected).abs().max() <= 1e-4 * expected.abs().max()
    assert (guided - expected).abs().max() > 1e-2 * expected.abs().max()
