"""Whatever a plugin does wrong, it is named, the picture is not silently another one, and the next plain job is drawn
as in a process that has just begun."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from textwrap import dedent, indent

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from safetensors.numpy import save_file

from sdterm import Engine, PluginSet, load_plugins
from sdterm.core.infotext.grammar import parse
from sdterm.core.infotext.read import read
from sdterm.core.library.checkpoints import Library
from sdterm.core.settings.paths import CHECKPOINTS
from sdterm.engine.failures import failure
from sdterm.engine.run import PauseAt
from sdterm.events import Cancelled, Done, Event, Failed, Grid, Step, Warning
from tests.engine.conftest import images, request

PLAIN = load_plugins()
SMALL: dict[str, object] = {"steps": 1, "cfg_scale": 1.0, "model": "sdterm-demo"}
"""One network call, for all that does not need a second."""

Extend = Callable[[str], PluginSet]


@pytest.fixture
def extend(tmp_path: Path) -> Extend:
    """The built-ins and an extension `strange`."""

    def load(code: str) -> PluginSet:
        head = "import random\nimport numpy as np\nimport torch\nfrom sdterm.hooks import *\n"
        (tmp_path / "strange.py").write_text(head + dedent(code))
        plugins = load_plugins(tmp_path)
        assert not plugins.problems
        return plugins

    return load


@pytest.fixture(scope="module")
def fresh() -> str:
    """The picture of a plain job in a process of its own."""
    code = """
        import torch
        from tests.engine.test_faults import PLAIN, SMALL, Engine, images, request
        (image,) = images(list(Engine(device="cpu").run(request(**SMALL), PLAIN)))
        print(image.pixel_hash)
    """
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    done = subprocess.run([sys.executable, "-c", dedent(code)], env=environment, capture_output=True, text=True)
    return done.stdout.strip() or pytest.fail(done.stderr)


@pytest.fixture(autouse=True)
def the_next_plain_job_is_as_in_a_fresh_process(engine: Engine, fresh: str) -> Iterator[None]:
    yield
    (image,) = images(list(engine.run(request(**SMALL), PLAIN)))
    assert image.pixel_hash == fresh
    assert "Plugin errors" not in image.infotext


def run(engine: Engine, plugins: PluginSet, **fields: object) -> list[Event]:
    return list(engine.run(request(**SMALL | fields), plugins))


def fail(engine: Engine, plugins: PluginSet, **fields: object) -> Failed:
    *before, last = run(engine, plugins, **fields)
    assert isinstance(last, Failed), last
    assert not images(before)
    return last


def warnings(events: list[Event]) -> list[Warning]:
    return [event for event in events if isinstance(event, Warning)]


def line_of(mark: str, tmp_path: Path) -> str:
    """Where in the extension that is."""
    lines = (tmp_path / "strange.py").read_text().splitlines()
    return f"(strange.py:{next(number for number, line in enumerate(lines, 1) if mark in line)})"


# --- samplers ---------------------------------------------------------------------------------------------------------


def sampler(body: str, after: str = "return x", fields: str = "") -> str:
    """A sampler `Bad`: Euler's method, with `body` in its loop and `after` at its end."""
    return f"""
class Odd(BaseException):
    pass

class Mute(Exception):
    def __str__(self):
        raise ValueError

def bad(denoise, x, sigmas, *, noise, callback):
    for i in range(len(sigmas) - 1):
        sigma = sigmas[i].expand(len(x))
        x0 = denoise(x, sigma).x0
{indent(dedent(body), " " * 8)}
        callback(i, x0)
        x = x0 + (x - x0) * (sigmas[i + 1] / sigmas[i])
{indent(dedent(after), " " * 4)}

@hookimpl
def sdterm_samplers():
    return [Sampler("bad", "Bad", bad{fields})]
"""


BAD_SAMPLERS = {
    "raises": ("raise KeyError('here')", "KeyError: 'here'"),
    "raises what cannot be said": ("raise Mute('here')", "failed: Mute"),
    "raises terminal codes": ("raise ValueError('here \\x1b[2J')", "here �[2J"),
    "raises no Exception": ("raise Odd('here')", "Odd: here"),
    "ends the process": ("raise SystemExit('here')", "SystemExit: here"),
    "plays Ctrl+C": ("raise KeyboardInterrupt('here')", "KeyboardInterrupt: here"),
    "gives another shape": ("return x[:, :2]", "not return finite latents of the same shape as its input"),
    "gives nothing": ("return None", "not return finite latents of the same shape as its input"),
    "gives what is not a number": (
        "return x * float('nan')",
        "not return finite latents of the same shape as its input",
    ),
    "gives float64": ("return x.double()", "it returned latents in float64 on cpu, not float32 on cpu"),
    "gives another device": ("return torch.empty_like(x, device='meta')", "failed"),
    "asks with another shape": ("denoise(x[:, :2], sigma)  # here", "it called the model with x of shape (1, 2, 8, 8)"),
    "asks in float64": ("denoise(x.double(), sigma)  # here", "it called the model with x in float64 on cpu"),
    "asks with what is not a number": (
        "x = x * float('nan')\ndenoise(x, sigma)\ndenoise(x, sigma)",
        "its latents contain NaN values",
    ),
    "asks at no level": ("denoise(x, sigma * float('nan'))  # here", "at sigma nan"),
    "hides that it asked wrongly": ("try: denoise(x, sigma * -1)\nexcept Exception: pass", "at sigma -"),
    "says no step": ("callback('first', x0)  # here", "TypeError"),
    "draws from torch": ("x = x + torch.randn_like(x)", "the global random numbers of torch,"),
    "seeds torch": ("torch.manual_seed(1)", "the global random numbers of torch,"),
    "draws from numpy": ("np.random.rand()", "the global random numbers of numpy,"),
    "draws from random": ("random.random()", "the global random numbers of random,"),
}


@pytest.mark.few(12)
@pytest.mark.parametrize("how", BAD_SAMPLERS)
def test_a_bad_sampler_fails_the_job_by_its_name(how: str, engine: Engine, extend: Extend, tmp_path: Path) -> None:
    body, reason = BAD_SAMPLERS[how]
    failed = fail(engine, extend(sampler(body)), sampler="bad")
    assert (failed.code, failed.source) == ("plugin_failed", "strange")
    assert failed.message.startswith("The sampler Bad of strange failed: ")
    assert reason in failed.message
    if "here" in body:
        assert line_of("here", tmp_path) in failed.message


HARMLESS = {
    "edits x": ("", "x.zero_()"),
    "edits the sigmas": ("", "sigmas.mul_(0.5)"),
    "edits the answer": ("", "x = x0.clone(); x0.zero_()"),
    "sets torch's default type": ("torch.set_default_dtype(torch.float64)", ""),
    "sets torch's threads": ("torch.set_num_threads(3)", ""),
    "sets torch's default device": ("torch.set_default_device('meta')", ""),
}


@pytest.mark.parametrize("how", HARMLESS)
def test_what_a_sampler_does_to_its_inputs_and_the_process_reaches_no_other_image(
    how: str, engine: Engine, extend: Extend
) -> None:
    body, at_end = HARMLESS[how]
    plugins = extend(sampler("pass", f"result = x.clone()\n{body}\n{at_end}\nreturn result"))
    *_, second = images(run(engine, plugins, steps=2, sampler="bad", batch_count=2))
    (alone,) = images(run(engine, extend(sampler("pass")), steps=2, sampler="bad", seed=8))
    assert second.pixel_hash == alone.pixel_hash


def test_a_sampler_that_never_calls_back_draws_and_says_so_once(engine: Engine, extend: Extend) -> None:
    code = sampler("callback = print.__class__").replace("callback(i, x0)", "pass").replace("callback = ", "")
    events = run(engine, extend(code), sampler="bad", batch_count=2)
    assert isinstance(events[-1], Done)
    (warning,) = warnings(events)
    assert (warning.code, warning.source) == ("no_steps", "strange")
    assert "The sampler Bad of strange never reports its steps" in warning.message
    for image in images(events):
        assert "never reports its steps" in parse(image.infotext).parameters["Plugin errors"]


@pytest.mark.parametrize("after", ["", "\n    return x0"], ids=["and goes on", "and gives up"])
@pytest.mark.parametrize("wish", ["cancel", "pause"])
def test_a_sampler_that_swallows_the_end_of_its_run_is_ended_nevertheless(
    wish: str, after: str, engine: Engine, extend: Extend
) -> None:
    body = f"while i == 1:\n  try:\n    denoise(x, sigma); callback(i, x0)\n  except Exception:\n    pass{after}"
    cancel = threading.Event()
    pause_at = PauseAt(1) if wish == "pause" else None
    events = engine.run(
        request(**SMALL | {"sampler": "bad", "steps": 4}), extend(sampler(body)), cancel=cancel, pause_at=pause_at
    )
    seen = []
    for event in events:
        seen.append(event)
        if isinstance(event, Step) and wish == "cancel":
            cancel.set()
    assert seen[-1].event == {"cancel": "cancelled", "pause": "paused"}[wish]
    assert not images(seen)


def test_a_sampler_that_makes_do_without_the_network_does_not_hide_that_it_was_cancelled(
    engine: Engine, extend: Extend
) -> None:
    body = "try: denoise(x, sigma)\nexcept Exception: return x0"
    cancel = threading.Event()
    cancel.set()
    *_, last = engine.run(request(**SMALL | {"sampler": "bad"}), extend(sampler(body)), cancel=cancel)
    assert isinstance(last, Cancelled)


# --- schedulers -------------------------------------------------------------------------------------------------------

GOOD = "sampling.sigmas.flip(0)[:: len(sampling.sigmas) // n][:n]"
GOOD = f"torch.cat([{GOOD}, torch.zeros(1)])"
BAD_SCHEDULERS = {
    "raises": ("raise KeyError('here')", "KeyError: 'here'"),
    "gives nothing": ("return None", "no list of sigmas"),
    "gives a list": ("return [1.0] * n + [0.0]", "no list of sigmas"),
    "gives a square": ("return torch.zeros(n, n)", "no list of sigmas"),
    "gives too few": (f"return {GOOD}[1:]", "it returned 2 sigmas for 2 steps"),
    "gives far too many": ("return torch.arange(1000.0).flip(0)", "it returned 1000 sigmas for 2 steps"),
    "gives float64": (f"return {GOOD}.double()", "it returned sigmas in float64 on cpu"),
    "gives half": (f"return {GOOD}.half()", "it returned sigmas in float16 on cpu"),
    "gives another device": (f"return {GOOD}.to('meta')", "it returned sigmas in float32 on meta"),
    "gives what is not a number": (f"return {GOOD} * float('nan')", "not all numbers of 0 or more"),
    "goes below zero": (f"return {GOOD} - 1", "not all numbers of 0 or more"),
    "rises": (f"return {GOOD}.flip(0)", "not in descending order"),
    "draws from torch": (f"return {GOOD} * (1 + torch.rand(1))", "the global random numbers of torch,"),
    "draws from random": (f"random.random(); return {GOOD}", "the global random numbers of random,"),
}


def scheduler(body: str) -> str:
    return f"""
def bad(n, sampling):
    {body}

@hookimpl
def sdterm_schedulers():
    return [Scheduler("bad", "Bad", bad)]
"""


@pytest.mark.parametrize("how", BAD_SCHEDULERS)
def test_a_bad_scheduler_fails_the_job_by_its_name(how: str, engine: Engine, extend: Extend, tmp_path: Path) -> None:
    body, reason = BAD_SCHEDULERS[how]
    failed = fail(engine, extend(scheduler(body)), steps=2, scheduler="bad")
    assert (failed.code, failed.source) == ("plugin_failed", "strange")
    assert failed.message.startswith("The scheduler Bad of strange failed: ")
    assert reason in failed.message
    if "here" in body:
        assert line_of("here", tmp_path) in failed.message


def test_what_a_scheduler_does_to_the_models_noise_levels_reaches_nothing(engine: Engine, extend: Extend) -> None:
    code = scheduler(f"sigmas = {GOOD}; {{}}; return sigmas")
    (plain,) = images(run(engine, extend(code.format("pass")), scheduler="bad"))
    (after,) = images(run(engine, extend(code.format("sampling.sigmas.zero_()")), scheduler="bad"))
    assert after.pixel_hash == plain.pixel_hash


# --- prompt transforms ------------------------------------------------------------------------------------------------

BAD_TRANSFORMS = {
    "raises": ("raise KeyError('here')", "KeyError: 'here'"),
    "gives nothing": ("return None", "no PromptText"),
    "gives no text": ("return ()", "no PromptText"),
    "gives bare text": ("return ('red',)", "no PromptText"),
    "gives a number instead of text": ("return (PromptText(7),)", "it returned int instead of text"),
    "gives a number for a style": ("return (PromptText('red', styles=(7,)),)", "it returned int instead of text"),
    "gives texts forever": ("import itertools; return itertools.repeat(prompt)", "no PromptText"),
    "gives far too many texts": ("return (prompt,) * 10_000_000", "10,000,000 texts; the limit is 100,000"),
    "gives a huge text": ("return (PromptText('red ' * 2**26),)", "268,435,456 characters; the limit is 65,536"),
    "gives terminal codes": ("return (PromptText('red\\x1b[2J'),)", "the character U+001B"),
    "gives half a character": ("return (PromptText('red\\ud800'),)", "the character U+D800"),
    "edits the styles": ("context.styles['x'] = ('here', '')", "does not support item assignment"),
    "draws from random": ("random.random(); return (prompt,)", "the global random numbers of random,"),
    "draws from numpy": ("np.random.rand(); return (prompt,)", "the global random numbers of numpy,"),
    "draws from torch": ("torch.rand(1); return (prompt,)", "the global random numbers of torch,"),
}


@pytest.mark.parametrize("how", BAD_TRANSFORMS)
def test_a_bad_prompt_transform_fails_the_job_by_its_name(
    how: str, engine: Engine, extend: Extend, tmp_path: Path
) -> None:
    body, reason = BAD_TRANSFORMS[how]
    code = f"""
        def bad(prompt, rng, context):
            {body}

        @hookimpl
        def sdterm_prompt_transforms():
            return [PromptTransform("bad", "Bad", bad, order=1)]
    """
    failed = fail(engine, extend(code))
    assert (failed.code, failed.source) == ("plugin_failed", "strange")
    assert failed.message.startswith("The prompt transform Bad of strange failed: ")
    assert reason in failed.message
    if "here" in body:
        assert line_of("here", tmp_path) in failed.message


def test_a_plugins_refusal_is_nobodys_fault(engine: Engine, extend: Extend) -> None:
    failed = fail(engine, extend(scheduler("raise PluginError('Not with 2 steps.')")), scheduler="bad")
    assert (failed.code, failed.message, failed.source) == ("plugin_failed", "Not with 2 steps.", None)


# --- memory optimizers ------------------------------------------------------------------------------------------------


def optimizer(apply: str, undo: str = "pass", fields: str = "") -> str:
    return f"""
import torch.nn.functional as F

def find(components):
    return components.modules["unet"].conv_in

def apply(components):
    conv = find(components)
    {apply}

def undo(components):
    conv = find(components)
    {undo}

def broken(self, x):
    raise KeyError("here")

def random_one(self, x):
    return self._conv_forward(x, self.weight + torch.rand(1), self.bias)

def yes(device, model):
    return True, ""

@hookimpl
def sdterm_memory_optimizers():
    return [MemoryOptimizer("bad", "Bad", "x", yes, apply, undo=undo{fields})]
"""


HALF_WAY = {
    "at once": "raise KeyError('oops')",
    "after it changed weights": "conv.weight.zero_(); raise KeyError('oops')",
    "after it changed a type": "conv.half(); raise KeyError('oops')",
    "after it patched a module": "conv.forward = lambda x: x; raise KeyError('oops')",
    "after it patched a class": "type(conv).forward = lambda self, x: x[:, :1] * 0; raise KeyError('oops')",
    "after it patched torch": "F.silu = torch.tanh; F.conv2d_ = print; raise KeyError('oops')",
    "after it patched what is no Python": "F.conv2d = lambda x, *a, **k: x; raise KeyError('oops')",
    "after it returned a class what it inherited": "type(conv)._call_impl = lambda *a: 0; raise KeyError('oops')",
    "after it patched a function": "F.group_norm = lambda x, *a, **k: x; raise KeyError('oops')",
    "after it set torch": "torch.set_default_dtype(torch.float64); raise KeyError('oops')",
    "after it seeded torch": "torch.manual_seed(1); raise KeyError('oops')",
    "ending the process": "conv.weight.zero_(); raise SystemExit('oops')",
}


@pytest.mark.few(4)
@pytest.mark.parametrize("how", HALF_WAY)
def test_an_optimizer_that_fails_half_way_leaves_no_trace(
    how: str, engine: Engine, extend: Extend, tmp_path: Path, fresh: str
) -> None:
    """Asked for by name it fails the job; on by itself it is left out, with a warning and a word in the picture."""
    failed = fail(engine, extend(optimizer(HALF_WAY[how])), memory=("bad",))
    assert (failed.code, failed.source) == ("plugin_failed", "strange")
    assert failed.message.startswith("The memory optimizer Bad of strange failed: ")
    assert line_of("oops", tmp_path) in failed.message
    events = run(engine, extend(optimizer(HALF_WAY[how], fields=", default=True")))
    (warning,) = warnings(events)
    assert (warning.code, warning.source) == ("optimizer_skipped", "strange")
    (image,) = images(events)
    assert image.pixel_hash == fresh
    assert parse(image.infotext).parameters["Plugin errors"].startswith("strange: The memory optimizer Bad of strange")


BAD_UNDOS = {
    "raises": ("conv.weight.mul_(2)", "raise KeyError('oops')"),
    "forgets weights": ("conv.weight.mul_(2)", "pass"),
    "forgets a patch": ("conv.forward = lambda x: conv._conv_forward(x, conv.weight * 2, conv.bias)", "pass"),
    "forgets a hook": ("conv.register_forward_hook(lambda conv, x, y: y * 2)", "pass"),
    "forgets an attribute": ("conv.padding = (0, 0); conv.padding_mode = 'circular'", "conv.padding = (1, 1)"),
    "forgets a class": ("F.group_norm, F.old = lambda x, *a, **k: x, F.group_norm", "pass"),
    "forgets a setting": ("torch.set_num_threads(3)", "pass"),
    "takes a module away": ("del components.modules['vae'].encoder", "components.modules['vae'].encoder = conv"),
}


@pytest.mark.few(3)
@pytest.mark.parametrize("how", BAD_UNDOS)
def test_an_optimizer_that_does_not_put_things_back_costs_reading_the_model_again(
    how: str, engine: Engine, extend: Extend, fresh: str
) -> None:
    plugins = extend(optimizer(*BAD_UNDOS[how]))
    run(engine, plugins, memory=("bad",))
    events = run(engine, plugins)
    (warning,) = warnings(events)
    assert (warning.code, warning.source) == ("model_reloaded", "strange")
    assert "The memory optimizer Bad of strange failed" in warning.message
    (image,) = images(events)
    assert image.pixel_hash == fresh


def test_an_optimizer_that_puts_things_back_costs_nothing(engine: Engine, extend: Extend, fresh: str) -> None:
    patch = "conv.old = conv.forward; conv.forward = lambda x: conv._conv_forward(x, conv.weight * 2, conv.bias)"
    plugins = extend(optimizer(patch, "conv.forward = conv.old"))
    (other,) = images(run(engine, plugins, memory=("bad",)))
    assert other.pixel_hash != fresh
    events = run(engine, plugins)
    assert [event.event for event in events[:2]] == ["started", "step"], "it is not read again"
    assert images(events)[0].pixel_hash == fresh


def test_conditioning_that_an_optimizer_edits_is_of_one_batch(engine: Engine, extend: Extend, fresh: str) -> None:
    texts = "[text.zero_() for text in named.values() if isinstance(text, torch.Tensor)]"
    edit = f"lambda unet, given, named: {texts} and None"
    hook = f"components.modules['unet'].register_forward_pre_hook({edit}, with_kwargs=True)"
    plugins = extend(optimizer(f"conv.handle = {hook}", "conv.handle.remove()"))
    (edited,) = images(run(engine, plugins, memory=("bad",)))
    (image,) = images(events := run(engine, plugins))
    assert edited.pixel_hash != fresh and image.pixel_hash == fresh
    assert not warnings(events)


@pytest.mark.parametrize(
    ("patch", "reason"), [("broken", "KeyError: 'here'"), ("random_one", "the global random numbers of torch,")]
)
def test_an_optimizers_code_that_fails_inside_the_network_is_the_optimizers(
    patch: str, reason: str, engine: Engine, extend: Extend, tmp_path: Path
) -> None:
    plugins = extend(optimizer(f"conv.forward = {patch}.__get__(conv)", "del conv.forward"))
    failed = fail(engine, plugins, memory=("bad",))
    assert (failed.code, failed.source) == ("plugin_failed", "strange")
    assert failed.message.startswith("The memory optimizer Bad of strange failed: ")
    assert reason in failed.message
    assert patch != "broken" or line_of("here", tmp_path) in failed.message


def test_memory_that_runs_out_inside_a_plugin_is_not_its_fault(engine: Engine, extend: Extend) -> None:
    failed = fail(engine, extend(optimizer("torch.empty(2**60)")), memory=("bad",))
    assert (failed.code, failed.source) == ("out_of_memory", None)


CUDA = {
    "an illegal memory access was encountered": "illegal_memory_access",
    "misaligned address": "misaligned_address",
    "uncorrectable ECC error encountered": "ecc_error",
    "unspecified launch failure": "device_lost",
    "the launch timed out and was terminated": "device_lost",
    "no CUDA-capable device is detected": "device_lost",
    "driver shutting down": "device_lost",
    "no kernel image is available for execution on the device": "no_kernel",
    "CUDA driver version is insufficient for CUDA runtime version": "no_kernel",
    "out of memory": "out_of_memory",
}


@pytest.mark.few(3)
@pytest.mark.parametrize(("words", "code"), CUDA.items())
def test_each_error_of_cuda_has_its_code_and_advice(words: str, code: str, engine: Engine, extend: Extend) -> None:
    """The words of CUDA's runtime, since no card is here; through a plugin, whose fault it is not."""
    failed = fail(engine, extend(optimizer(f"raise RuntimeError('CUDA error: {words}')")), memory=("bad",))
    assert (failed.code, failed.source) == (code, None)
    assert failed.message.endswith(".") and failed.advice.endswith(".") and words not in failed.advice


@pytest.mark.parametrize("words", ["CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)", "HIP out of memory"])
def test_a_library_without_room_is_out_of_memory_too(words: str) -> None:
    failed = failure(RuntimeError(f"CUDA error: {words}"))
    assert failed and failed.code == "out_of_memory"


def test_who_else_has_the_memory_of_a_card_is_named() -> None:
    said = (
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8.00 GiB of which 1.00 GiB is "
        f"free. Process {os.getpid()} has 5.20 GiB memory in use. Including non-PyTorch memory, this process has 1.80 "
        "GiB memory in use."
    )
    failed = failure(torch.OutOfMemoryError(said))
    assert failed and failed.message.startswith(f"Out of memory: 2.00 GiB more was needed. Process {os.getpid()} (")
    assert failed.message.endswith(") uses 5.20 GiB.")


# --- model families ---------------------------------------------------------------------------------------------------

BAD_FAMILIES = {
    "denoise": ("raise KeyError('here')", "KeyError: 'here'"),
    "denoise ": ("return x[:, :, :1, :1]", "it predicted shape (1, 4, 1, 1) for latents of shape (1, 4, 8, 8)"),
    "denoise  ": ("return None", "AttributeError"),
    "denoise   ": ("torch.rand(1); return x", "the global random numbers of torch,"),
    "encode": ("raise KeyError('here')", "KeyError: 'here'"),
    "encode ": ("return None", "it did not return a Conditioning with a row for each text"),
    "sampling": ("raise KeyError('here')", "KeyError: 'here'"),
    "sampling ": ("return None", "it returned no noise levels"),
    "decode": ("raise KeyError('here')", "KeyError: 'here'"),
    "decode ": ("return torch.ones(1, 3, 7, 7)", "it decoded latents of shape (4, 8, 8) to shape (3, 7, 7)"),
}


def family(method: str = "prepare", body: str = "") -> str:
    """A family of models that cost nothing, one of whose methods is another."""
    arguments = {
        "denoise": "x, sigma, cond, sampling",
        "encode": "texts, options",
        "sampling": "options",
        "decode": "latents",
    }
    return f"""
from sdterm.modelling.sampling import discrete_sampling

class Parts:
    modules, latent_channels, downscale = {{}}, 4, 8
    latent_rgb = ([[0.1] * 3] * 4, [0.5] * 3)

    def __init__(self, device, dtype):
        self.device, self.dtype = device, dtype

    def sampling(self, options):
        return discrete_sampling(torch.linspace(0.999, 0.005, 1000), options)

    def encode(self, texts, options):
        return Conditioning(dict(context=torch.zeros(len(texts), 77, 8)))

    def denoise(self, x, sigma, cond, sampling):
        return x * 0.1

    def decode(self, latents):
        return torch.ones(1, 3, latents.shape[2] * 8, latents.shape[3] * 8)

class Bad(Parts):
    def {method}(self, {arguments.get(method, "")}):
        {body or "pass"}

def detect(reader):
    return ModelMatch() if "strange" in reader.shapes() else None

def build(reader, device, dtype):
    return Bad(device, dtype)

@hookimpl
def sdterm_model_families():
    return [ModelFamily("bad", "Bad", detect, build)]
"""


@pytest.fixture(scope="module")
def strange_engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """With a checkpoint of that family."""
    root = tmp_path_factory.mktemp("strange")
    (root / CHECKPOINTS).mkdir(parents=True)
    save_file({"strange": np.zeros(1)}, root / CHECKPOINTS / "strange model.safetensors")
    return Engine(library=Library(root), device="cpu")


@pytest.mark.parametrize("method", BAD_FAMILIES)
def test_a_bad_model_family_fails_the_job_by_its_name(
    method: str, strange_engine: Engine, extend: Extend, tmp_path: Path
) -> None:
    body, reason = BAD_FAMILIES[method]
    failed = fail(strange_engine, extend(family(method.strip(), body)), model="strange model")
    assert (failed.code, failed.source) == ("plugin_failed", "strange")
    assert failed.message.startswith("The model family Bad of strange failed: ")
    assert reason in failed.message
    if "here" in body:
        assert line_of("here", tmp_path) in failed.message


def test_a_sampler_that_asks_the_network_forever_is_stopped(strange_engine: Engine, extend: Extend) -> None:
    code = family() + sampler("while True: denoise(x, sigma)")
    failed = fail(strange_engine, extend(code), model="strange model", sampler="bad")
    assert (failed.code, failed.source) == ("plugin_failed", "strange")
    assert "The sampler Bad of strange failed: it called the network more than 1,100 times" in failed.message


# --- output savers ----------------------------------------------------------------------------------------------------

BAD_SAVERS = {
    "raises": ("raise KeyError('here')", "KeyError: 'here'"),
    "ends the process": ("raise SystemExit('here')", "SystemExit: here"),
    "gives nothing": ("return None", "it returned no bytes"),
    "gives no bytes": ("return b''", "it returned no bytes"),
    "gives text": ("return 'bytes'", "it returned no bytes"),
    "gives more than fits": ("return bytes(600 << 20)", "it returned 600 MiB; the limit is 512 MiB"),
    "edits the pixels": ("image[:] = 0; return b'here'", "read-only"),
    "edits the pixels by force": ("image.flags.writeable = True; return b'here'", "cannot set WRITEABLE"),
}


def saver(body: str) -> str:
    return f"""
def bad(image, infotext):
    {body}

@hookimpl
def sdterm_output_savers():
    return [OutputSaver("bad", "Bad", ".bad", bad)]
"""


@pytest.mark.parametrize("how", BAD_SAVERS)
def test_where_a_saver_fails_the_picture_and_the_grid_are_pngs_and_the_user_is_told_once(
    how: str, engine: Engine, extend: Extend, tmp_path: Path, fresh: str
) -> None:
    body, reason = BAD_SAVERS[how]
    events = run(engine, extend(saver(body)), format="bad", batch_size=2, grid=True)
    assert isinstance(events[-1], Done)
    (warning,) = warnings(events)
    assert (warning.code, warning.source) == ("saver_failed", "strange")
    assert warning.message.startswith("The output format Bad of strange failed: ")
    assert reason in warning.message and warning.message.endswith("The image is saved as PNG.")
    if "here" in body:
        assert line_of("here", tmp_path) in warning.message
    for image in images(events):
        assert image.suffix == ".png"
        picture = Picture.open(BytesIO(image.data))
        assert picture.format == "PNG" and picture.info["parameters"] == image.infotext
        said = parse(image.infotext).parameters
        assert said["Plugin errors"].startswith("strange: The output format Bad of strange failed: ")
        assert "format=bad" not in said["sdterm"]
    (grid,) = [event for event in events if isinstance(event, Grid)]
    assert grid.suffix == ".png"
    left = np.asarray(Picture.open(BytesIO(grid.data)))[:, :64]
    assert (left == np.asarray(Picture.open(BytesIO(images(events)[0].data)))).all()


LAZY = """
def lazy(denoise, x, sigmas, *, noise, callback):
    return x / 20

@hookimpl
def sdterm_samplers():
    return [Sampler("lazy", "Lazy", lazy)]

@hookimpl
def sdterm_output_savers():
    return [OutputSaver("film", "Film", ".film", lambda image, infotext, frames: b"film", frames=True)]
"""


def test_frames_that_there_are_none_of_are_the_samplers_fault(engine: Engine, extend: Extend) -> None:
    events = run(engine, extend(LAZY), sampler="lazy", format="film")
    (warning,) = [warning for warning in warnings(events) if warning.code == "saver_failed"]
    assert warning.source == "strange"
    assert warning.message.startswith("The sampler Lazy of strange failed: it never called the network.")
    (image,) = images(events)
    assert image.suffix == ".png"


def test_a_picture_that_its_format_refuses_is_a_png_and_nobody_is_to_blame(engine: Engine, extend: Extend) -> None:
    events = run(engine, extend(saver("raise PluginError('It is too small.')")), format="bad")
    (warning,) = warnings(events)
    assert (warning.code, warning.source) == ("saver_failed", None)
    assert warning.message == "It is too small. The image is saved as PNG."
    (image,) = images(events)
    assert parse(image.infotext).parameters["Plugin errors"] == "strange: It is too small. The image is saved as PNG."


def test_a_saver_may_draw_random_numbers_as_nobody_sees_them(engine: Engine, extend: Extend) -> None:
    body = "torch.manual_seed(random.randint(0, 9)); np.random.seed(1); return b'fine'"
    events = run(engine, extend(saver(body)), format="bad")
    assert images(events)[0].data == b"fine" and not warnings(events)


# --- what is kept, and what is shown ----------------------------------------------------------------------------------


def test_an_images_plugin_errors_are_no_part_of_what_is_drawn_again(engine: Engine, extend: Extend) -> None:
    events = run(engine, extend(saver("raise KeyError('a: \"b\", c')")), format="bad", extra_params={"Note": "kept"})
    (image,) = images(events)
    reading = read(parse(image.infotext), PLAIN)
    assert reading.not_reproduced == ()
    assert reading.fields["extra_params"] == {"Note": "kept"}
    assert "KeyError: 'a: \"b\", c'" in reading.parameters["Plugin errors"]


def test_a_broken_plugin_is_in_the_images_that_were_drawn_without_it(
    engine: Engine, extend: Extend, tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text("1 / 0")
    (image,) = images(run(engine, load_plugins(tmp_path)))
    said = parse(image.infotext).parameters["Plugin errors"]
    assert said == "broken: broken was not loaded: ZeroDivisionError: division by zero (broken.py:1)"


def test_the_pulse_names_the_plugin_whose_code_is_running(engine: Engine, extend: Extend, tmp_path: Path) -> None:
    here, go = tmp_path / "here", tmp_path / "go"
    os.mkfifo(here)
    os.mkfifo(go)
    wait = f"open({str(here)!r}, 'w').close(); open({str(go)!r}).close()"
    events = engine.run(request(**SMALL | {"sampler": "bad"}), extend(sampler(wait)))
    next(events)
    here.read_text()  # which the sampler opens, too
    pulse = engine.pulse
    go.write_text("")
    assert isinstance(list(events)[-1], Done)
    assert (pulse.phase, pulse.plugin) == ("sample", "strange")
    assert engine.pulse.plugin is None
