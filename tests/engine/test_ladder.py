"""Memory runs out, really: the tensors of the CPU are counted against a limit."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
import torch
from PIL import Image as Picture

from sdterm import Engine, load_plugins
from sdterm.core.infotext.grammar import parse
from sdterm.core.infotext.record import KEY, Provenance
from sdterm.core.library.checkpoints import Library
from sdterm.core.planning.memory import Measured, Measurements
from sdterm.core.planning.plan import Plan
from sdterm.engine.limit import CountedTensors
from sdterm.engine.run import PauseAt, Resume
from sdterm.events import Done, Event, Failed, Image, Resumed, Started, Step, SteppedDown
from tests import tiny_checkpoint
from tests.engine.conftest import images, request
from tests.engine.stopping import stop_at_step

PLUGINS = load_plugins()
MIB = 2**20
ENOUGH = "100GB"

Engines = Callable[..., Engine]


@pytest.fixture
def limited(tmp_path: Path) -> Engines:
    """Engines of one data folder with so many bytes."""

    def engine(limit: float | str, models: int = 1) -> Engine:
        amount = limit if isinstance(limit, str) else f"{limit / MIB:.6f}MB"
        return Engine(library=Library(tmp_path), device="cpu", models=models, limit_memory=amount)

    return engine


def run(engine: Engine, **fields: object) -> list[Event]:
    return list(engine.run(request(**fields), PLUGINS))


def measured(root: Path, stage: str) -> Measured:
    """The last one of a stage."""
    return [one for one in Measurements(root) if one.stage == stage][-1]


def rungs(events: list[Event]) -> list[str]:
    return [event.rung for event in events if isinstance(event, SteppedDown)]


def record(image: Image) -> Provenance:
    return Provenance.parse(parse(image.infotext).parameters[KEY])


def pixels(image: Image) -> "np.ndarray[tuple[int, ...], np.dtype[np.int16]]":
    return np.asarray(Picture.open(BytesIO(image.data))).astype(np.int16)


def assert_alike(some: list[Image], others: list[Image], most: int = 2) -> None:
    assert [image.seed for image in some] == [image.seed for image in others]
    for one, other in zip(some, others, strict=True):
        assert np.abs(pixels(one) - pixels(other)).max() <= most


def test_a_job_goes_on_with_less_to_the_same_pictures_and_the_next_one_begins_so(
    limited: Engines, tmp_path: Path
) -> None:
    asked = {"batch_size": 8, "steps": 2}
    plain = images(run(limited(ENOUGH), **asked))
    needs = {one.stage: one.peak for one in Measurements(tmp_path)}
    assert needs["sample"] > needs["decode"]
    (tmp_path / "cache" / "memory.jsonl").unlink()
    engine = limited((needs["sample"] + needs["decode"]) / 2)

    events = run(engine, **asked)
    assert isinstance(events[-1], Done), events[-1]
    assert rungs(events)[-1] in ("apart", "split-batch")
    assert sum(isinstance(event, Started) for event in events) == 1
    assert_alike(images(events), plain)
    for image in images(events):
        assert [*record(image).rungs] == rungs(events)

    again = run(engine, **asked)
    assert isinstance(again[-1], Done) and not rungs(again), "it is known now"
    (started,) = [event for event in again if isinstance(event, Started)]
    assert started.memory.startswith("Fits with ")
    assert_alike(images(again), plain)


def test_a_job_that_was_planned_with_less_goes_on_so_where_there_is_more(limited: Engines, tmp_path: Path) -> None:
    """Another way to compute would round differently, and the image be another than without the pause."""
    asked = {"batch_size": 8, "steps": 3}
    run(limited(ENOUGH), **asked)
    needs = {one.stage: one.peak for one in Measurements(tmp_path)}
    (tmp_path / "cache" / "memory.jsonl").unlink()
    tight = limited((needs["sample"] + needs["decode"]) / 2)
    run(tight, **asked)
    whole = images(run(tight, **asked))
    assert record(whole[0]).rungs

    stopped = stop_at_step(tight, PLUGINS, request(**asked), 2, tmp_path / "tape")
    (started,) = [event for event in stopped if isinstance(event, Started)]
    resume = Resume(Plan.model_validate_json(started.data))
    rest = [*limited(ENOUGH).run(request(**asked), PLUGINS, tape=tmp_path / "tape", resume=resume)]
    assert isinstance(rest[-1], Done) and any(isinstance(event, Resumed) for event in rest)
    assert [image.pixel_hash for image in images(rest)] == [image.pixel_hash for image in whole]
    assert [record(image).rungs for image in images(rest)] == [record(image).rungs for image in whole]


def test_a_job_whose_batches_were_split_goes_on_with_as_many_images_together(engine: Engine) -> None:
    """Not with single ones: it would take longer, and round differently."""
    fours = images(run(engine, batch_size=4, batch_count=2, steps=2))
    asked = request(batch_size=8, steps=2)
    started = next(event for event in engine.run(asked, PLUGINS) if isinstance(event, Started))
    plan = Plan.model_validate_json(started.data)
    split = plan.request.model_copy(update={"rungs": ("split-batch",)})
    resume = Resume(plan.model_copy(update={"request": split, "together": 4}))
    events = [*engine.run(asked, PLUGINS, resume=resume)]
    assert [record(image).place for image in images(events)] == [(n % 4, 4) for n in range(8)]
    assert [image.pixel_hash for image in images(events)] == [image.pixel_hash for image in fours]
    (again,) = [event for event in events if isinstance(event, Started)]
    assert Plan.model_validate_json(again.data) == resume.plan


SMALL_TILES = """
    from sdterm.hooks import MemoryOptimizer, hookimpl

    def apply(components):
        vae = components.modules["vae"]
        vae.tile_latent_min_size, vae.tile_sample_min_size = 8, 64
        vae.enable_tiling()

    @hookimpl(tryfirst=True)
    def sdterm_memory_optimizers():
        how = {"effect": "visible", "decodes_only": True, "rung": "vae-tiling"}
        return [MemoryOptimizer("small", "Small tiles", "vae", lambda device, model: (True, ""), apply, **how)]
"""


@pytest.mark.heavy
def test_what_was_sampled_is_not_sampled_again_to_be_decoded_in_tiles(limited: Engines, tmp_path: Path) -> None:
    """With tiles for small pictures: those that ship help above 512x512."""
    (tmp_path / "small.py").write_text(dedent(SMALL_TILES))
    plugins = load_plugins(tmp_path)
    asked = {"width": 128, "height": 128, "steps": 2}
    (plain,) = images(list(limited(ENOUGH).run(request(**asked), plugins)))
    sampled, decoded = (measured(tmp_path, stage) for stage in ("sample", "decode"))
    assert decoded.peak > sampled.peak
    engine = limited((decoded.peak + sampled.peak) / 2)

    exact = rungs(events := list(engine.run(request(**asked, ladder="exact"), plugins)))
    assert isinstance(events[-1], Failed) and events[-1].code == "out_of_memory"
    assert "vae-tiling" not in exact
    events = list(engine.run(request(**asked), plugins))
    assert isinstance(events[-1], Done), events[-1]
    assert rungs(events)[-1] == "vae-tiling"
    assert [(event.calls, event.step) for event in events if isinstance(event, Resumed)][-1] == (2, 2)
    assert [event.step for event in events if isinstance(event, Step)] == [1, 2]
    (image,) = images(events)
    assert "small" in record(image).memory, "it is drawn so again"
    assert pixels(image).shape == pixels(plain).shape


def test_a_pass_that_began_with_a_picture_goes_on_with_it_where_the_vae_works_in_tiles_by_then(
    engine: Engine, tmp_path: Path
) -> None:
    """Tiles change what a picture is encoded as, not only what is decoded."""
    (tmp_path / "small.py").write_text(dedent(SMALL_TILES))
    plugins = load_plugins(tmp_path)
    asked = {"width": 64, "height": 64, "steps": 2, "hires": True, "hires_scale": 2.0, "hires_upscaler": "Lanczos"}
    first = engine.run(request(**asked), plugins, tape=tmp_path / "tape", pause_at=PauseAt(1, 1))
    (started,) = [event for event in first if isinstance(event, Started)]
    plan = Plan.model_validate_json(started.data)
    tiled = plan.request.model_copy(update={"memory": ("small",)})
    resume = Resume(plan.model_copy(update={"request": tiled}))
    rest = [*engine.run(tiled, plugins, tape=tmp_path / "tape", resume=resume)]
    assert isinstance(rest[-1], Done)
    assert [(event.pass_no, event.step) for event in rest if isinstance(event, Step)] == [(1, 2)]
    assert "small" in record(images(rest)[0]).memory


GREEDY = """
    import torch
    from sdterm.hooks import Sampler, hookimpl

    def greedy(denoise, x, sigmas, *, noise, callback):
        for i in range(len(sigmas) - 1):
            x0 = denoise(x, sigmas[i].expand(len(x))).x0
            callback(i, x0)
            x = x0 + (x - x0) * (sigmas[i + 1] / sigmas[i])
            if i == 2 and len(x) > 1:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has 8 GiB.")
        return x

    @hookimpl
    def sdterm_samplers():
        return [Sampler("greedy", "greedy", greedy)]
"""


@pytest.mark.heavy
def test_a_batch_is_split_until_it_fits_and_loses_no_step(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "greedy.py").write_text(dedent(GREEDY))
    plugins = load_plugins(tmp_path)
    asked = {"sampler": "greedy", "steps": 5, "batch_size": 3}
    events = list(engine.run(request(**asked), plugins))
    assert isinstance(events[-1], Done), events[-1]
    assert rungs(events) == ["lean-attention", "apart", "split-batch", "split-batch"]
    assert [event.together for event in events if isinstance(event, SteppedDown)] == [None, None, 2, 1]
    first = [event for event in events if isinstance(event, Resumed) and event.first == 0]
    assert first[-1].calls == 3
    assert [image.index for image in images(events)] == [0, 1, 2]
    alone = [images(list(engine.run(request(**asked | {"batch_size": 1, "seed": 7 + n}), plugins))) for n in range(3)]
    assert_alike(images(events), [image for (image,) in alone])

    (failed,) = [e for e in engine.run(request(**asked, ladder="off"), plugins) if isinstance(e, Failed)]
    assert (failed.code, failed.message) == ("out_of_memory", "Out of memory: 20.00 GiB more was needed.")


def test_a_job_may_begin_down_the_ladder(engine: Engine) -> None:
    events = run(engine, rungs=("apart", "split-batch", "component-offload"), batch_size=2)
    assert not rungs(events)
    for image in images(events):
        assert {"apart", "split-batch"} <= {*record(image).rungs}
        assert record(image).place == (0, 1)
    assert_alike(images(events), images(run(engine, batch_size=2)))


@pytest.mark.heavy
def test_other_models_make_room_first_and_the_picture_is_the_same_to_the_bit(limited: Engines, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "Stable-diffusion"
    folder.mkdir(parents=True)
    other = tiny_checkpoint.write(folder).name
    demo, tiny = {"model": "sdterm-demo", "steps": 1}, {"model": other, "steps": 1}
    (plain,) = images(run(limited(ENOUGH), **demo))
    assert isinstance(run(limited(ENOUGH), **tiny)[-1], Done)
    most = max(one.peak for one in Measurements(tmp_path))
    engine = limited(most + MIB / 4, models=2)
    assert isinstance(run(engine, **tiny)[-1], Done)
    events = run(engine, **demo)
    assert isinstance(events[-1], Done), events[-1]
    assert rungs(events) == ["drop-caches"]
    (image,) = images(events)
    assert image.pixel_hash == plain.pixel_hash
    assert "other models" in next(e.message for e in events if isinstance(e, SteppedDown)).lower()
    assert isinstance(run(engine, **tiny)[-1], Done)
    loading: list[Event] = []
    engine.preload(request(**demo), PLUGINS, loading.append)
    assert rungs(loading) == ["drop-caches"], "reading a model ahead steps down as well"


def test_live_tensors_are_counted_and_what_makes_none_is_never_refused() -> None:
    before = torch.zeros(MIB, dtype=torch.uint8)
    with CountedTensors(3 * MIB) as counted:
        one = before + 1
        assert counted.live == 2 * MIB, "one that it is given, and one that it makes"
        view = one[: MIB // 2]
        assert counted.live == 2 * MIB
        del one
        assert counted.live == 2 * MIB, "somebody still looks at it"
        two = view.repeat(2)
        with pytest.raises(torch.OutOfMemoryError, match=r"4\.0 MB, and --limit-memory is 3\.0 MB"):
            view.repeat(2)
        two.add_(1)
        del view, two
        assert (counted.live, counted.peak) == (MIB, 3 * MIB)


LATE = """
    import torch
    from sdterm.hooks import MemoryOptimizer, hookimpl

    calls = []

    def apply(components):
        vae, decode = components.modules["vae"], components.modules["vae"].decode

        def full(latents, **more):
            calls.append(latents.shape)
            if len(calls) == 2:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
            return decode(latents, **more)

        vae.decode = full

    @hookimpl
    def sdterm_memory_optimizers():
        return [MemoryOptimizer("late", "Late", "late", lambda device, model: (True, ""), apply)]
"""


@pytest.mark.heavy
def test_a_pass_that_went_on_from_a_larger_picture_begins_with_that_very_picture_again(
    engine: Engine, tmp_path: Path
) -> None:
    """The second decoding, of the finished picture, has no room: the first one is not done again."""
    (tmp_path / "late.py").write_text(dedent(LATE))
    plugins = load_plugins(tmp_path)
    asked = {"steps": 2, "hires": True, "hires_scale": 2.0, "hires_upscaler": "Lanczos"}
    (plain,) = images(run(engine, **asked))
    events = list(engine.run(request(**asked, memory=("late",)), plugins))
    assert isinstance(events[-1], Done), events[-1]
    resumed = [(event.pass_no, event.step) for event in events if isinstance(event, Resumed)]
    assert rungs(events) and resumed == [(0, 2), (1, 2)]
    assert [event.pass_no for event in events if isinstance(event, Step)] == [0, 0, 1, 1]
    assert_alike(images(events), [plain])
