"""What is asked of a model that a pipeline draws with, by a host that loads neither torch nor pipelines."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
import torch
from safetensors.torch import save_file

from sdterm.api import JobDetails, Submission, Words
from sdterm.client import RefusedError
from sdterm.core.settings.paths import CHECKPOINTS
from sdterm.events import Event, Resumed, Step
from sdterm.host.sdapi.pipelines import for_pipeline, without_sampler
from sdterm.host.sdapi.requests import asked
from sdterm.host.sdapi.values import read_values
from sdterm.request import GenerationRequest, make_request
from tests.engine.tapped import tiny
from tests.engine.tapped.test_memory import EVERYWHERE
from tests.host.running import Running, images, names, running, wait_until
from tests.pipelines.hollow import hollow


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    data = tmp_path_factory.mktemp("data")
    hollow(data / CHECKPOINTS / "klein")
    with running(data) as found:
        found.client.pause_queue()
        yield found


def _queued(host: Running, **fields: object) -> JobDetails:
    request = make_request(**{"prompt": "a", "model": "klein"} | fields)
    return host.client.job(host.client.submit(Submission(request=request)).id)


@pytest.mark.heavy
def test_models_say_what_may_be_asked_of_them(host: Running) -> None:
    klein = next(model for model in host.client.models() if model.name == "klein")
    assert klein.usable and klein.family == "Flux2Klein" and klein.pipeline
    facts = klein.pipeline
    assert facts.id == "diffusers" and {"txt2img", "edit"} <= {*facts.tasks}
    assert (facts.takes["steps"], facts.takes["cfg_scale"]) == (50, 4.0) and "negative_prompt" not in facts.takes
    assert {"max_sequence_length", "shift"} <= {option.name for option in facts.options}
    assert next(iter(facts.samplers)) == "FlowMatchEulerDiscrete"
    assert all(model.pipeline is None for model in host.client.models() if model.name != "klein")


def test_what_a_request_does_not_say_is_spelled_out_when_it_is_queued(host: Running) -> None:
    request = _queued(host).request
    assert (request.pipeline, request.sampler, request.steps, request.cfg_scale) == (
        "diffusers",
        "FlowMatchEulerDiscrete",
        50,
        4.0,
    )
    said = _queued(host, steps=20, cfg_scale=7.0, pipeline_options={"shift": "1.5"}).request
    assert (said.steps, said.cfg_scale, said.pipeline_options) == (20, 7.0, {"shift": 1.5})
    native = host.client.job(
        host.client.submit(Submission(request=make_request(prompt="a", model="sdterm-demo"))).id
    ).request
    assert (native.pipeline, native.steps, native.sampler) == ("", 20, "DPM++ 2M")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("negative_prompt", "fog"),
        ("sampler", "Euler a"),
        ("scheduler", "SGM Uniform"),
        ("variation_strength", 0.5),
        ("pipeline_options", {"guidance_scale": 2.0}),
        ("hires", True),
    ],
)
def test_what_the_model_does_not_take_is_refused_by_name(host: Running, field: str, value: object) -> None:
    with pytest.raises(RefusedError) as refused:
        _queued(host, **{field: value})
    assert refused.value.field == f"request.{field}"


def test_options_of_pipelines_are_none_of_other_models(host: Running) -> None:
    with pytest.raises(RefusedError, match="no pipeline"):
        _queued(host, model="sdterm-demo", pipeline_options={"shift": 1.0})


def test_prompts_are_read_as_plain_words(host: Running) -> None:
    (trap,) = host.client.read_prompt(Words(text="a (red:1.3) house", model="klein")).traps
    assert trap.fix == "red" and "plain text" in trap.message


def test_a1111s_api_leaves_to_the_model_what_a_body_does_not_say(host: Running) -> None:
    def request_of(**body: object) -> GenerationRequest:
        fields = {"prompt": "a", "override_settings": {"sd_model_checkpoint": "klein"}, **body}
        values = read_values(fields)
        settings = {"model": "klein"}
        names = host.client.catalogue().names()
        return for_pipeline(asked(without_sampler(values), {}, names, settings).request, values, settings)

    plain = request_of()
    assert not {"steps", "cfg_scale", "sampler", "width"} & plain.model_fields_set
    said = request_of(steps=7, cfg_scale=7, width=512, sampler_name="UniPCMultistep", scheduler="Karras")
    assert (said.steps, said.cfg_scale, said.width) == (7, 7.0, 512) and {"steps", "cfg_scale"} <= said.model_fields_set
    assert (said.sampler, said.scheduler) == ("UniPCMultistep", "Karras")


@pytest.mark.heavy
def test_the_command_line_knows_its_samplers_and_options(host: Running) -> None:
    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "sdterm", *arguments, "--data-dir", str(host.settings.root)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    listed = run("samplers", "--model", "klein")
    assert "FlowMatchEulerDiscrete" in listed.stdout and "shift=3.0" in listed.stdout, listed
    queued = run("generate", "a", "--model", "klein", "--set", "shift=1.5", "--cfg", "7", "--detach")
    request = host.client.job(int(queued.stdout)).request
    assert (request.pipeline_options, request.cfg_scale, request.steps) == ({"shift": 1.5}, 7.0, 50)
    read = run("prompt", "a (red:1.3) house", "--model", "klein")
    assert "plain text" in read.stdout, read
    wrong = run("generate", "a", "--model", "klein", "--set", "shft=1.5", "--detach")
    assert wrong.returncode == 2 and "shift" in wrong.stderr


MINE = """
    from sdterm.hooks import ModelMatch, Pipeline, hookimpl

    def detect(reader):
        return ModelMatch(native_size=64, process="flow") if "mine" in reader.shapes() else None

    def takes(reader):
        return {"width": None, "height": None, "steps": 28, "cfg_scale": 3.5}

    @hookimpl
    def sdterm_pipelines():
        samplers = lambda reader: {"EulerDiscrete": ()}
        return [Pipeline("mine", "Mine", detect, lambda *how: None, takes=takes, samplers=samplers)]
"""


def test_an_extensions_pipeline_is_asked_what_it_takes_before_its_job_is_queued(tmp_path: Path) -> None:
    (tmp_path / "extensions").mkdir()
    (tmp_path / "extensions" / "mine.py").write_text(dedent(MINE))
    (tmp_path / CHECKPOINTS).mkdir(parents=True)
    save_file({"mine": torch.zeros(1)}, tmp_path / CHECKPOINTS / "mine.safetensors")
    with running(tmp_path) as host:
        host.client.pause_queue()
        for model in ("mine", None):  # it is the first one, too
            request = _queued(host, model=model).request
            assert (request.pipeline, request.steps, request.cfg_scale) == ("mine", 28, 3.5)
        assert _queued(host, model="mine", sampler="EulerDiscrete", steps=5).request.steps == 5
        with pytest.raises(RefusedError, match="has its own samplers"):
            _queued(host, model="mine", sampler="Euler a")


@pytest.mark.heavy
def test_a_job_that_needed_less_memory_still_knows_its_pipeline_after_a_pause(tmp_path: Path) -> None:
    """Nobody knew the pipeline when the job was submitted, so only the plan's request names it."""
    (tmp_path / "extensions").mkdir()
    (tmp_path / CHECKPOINTS).mkdir(parents=True)
    save_file({tiny.KEY: torch.tensor([0])}, tmp_path / CHECKPOINTS / "tiny.safetensors")
    with running(tmp_path) as host:
        host.client.pause_queue()
        job = host.submit(model="tiny", sampler="DPM++ 2M", pipeline_options={"quirk": "hungry"}, pause_at=10)
        shutil.copy(tiny.__file__, tmp_path / "extensions")
        (tmp_path / "extensions" / "everywhere.py").write_text(dedent(EVERYWHERE))
        wait_until(lambda: any(model.name == "tiny" and model.usable for model in host.client.models()))
        host.client.resume_queue()
        first = host.events(job)
        assert names(first, "stepped_down", "paused") == ["stepped_down", "paused"]
        seen = max(entry.number for entry in host.entries(job))
        host.client.resume(job)
        rest: list[Event] = [entry.event for entry in host.entries(job, after=seen)]
    assert names(rest)[-1] == "done" and not names(rest, "warning")
    assert [event.step for event in rest if isinstance(event, Resumed)] == [10]
    assert [event.step for event in rest if isinstance(event, Step)] == [*range(11, 21)]
    assert "Pipeline: tiny" in images(rest)[0].infotext
