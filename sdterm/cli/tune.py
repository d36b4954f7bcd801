"""`sdterm tune`: the fastest way to compute on this machine, measured."""

import json
import math
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from numpy.typing import NDArray

from sdterm.cli.errors import EXIT_FAILED, say
from sdterm.cli.options import fields_of, flag_options, request_options, settings_of
from sdterm.cli.print_json import print_json
from sdterm.core.comparison import compare
from sdterm.core.extensions.registry import PluginSet, load_plugins
from sdterm.core.infotext.files import read_pixels
from sdterm.core.library.checkpoints import library_of
from sdterm.core.planning import tuning
from sdterm.core.planning.tuning import Measured, Plan
from sdterm.core.settings.file import FILE, unset, write_setting
from sdterm.core.settings.paths import prepare as prepare_folders
from sdterm.core.settings.settings import Settings
from sdterm.core.text import printable
from sdterm.errors import SdtermError
from sdterm.events import Done, Failed, Image, Warning
from sdterm.hooks import MemoryOptimizer
from sdterm.messages import message
from sdterm.request import make_request
from sdterm.tui.language import tr

if TYPE_CHECKING:
    from sdterm import Engine

_PRECISIONS = {"cpu": ("bf16", "half")}
"""Those that are not what auto is there, by kind of device."""
_OF_A_GPU = ("bf16", "full")
_USUAL: dict[str, Any] = {"precision": "auto", "memory": ()}
"""What is tuned, as it is by default."""
_GIB = 1024**3
_TIMES = 3
"""How often a plan draws: its fastest time counts, which other programs disturbed least."""
_TOO_SLOW = 2.0
"""A plan that takes so many times as long as the usual one is given up."""
_PATIENCE = 600.0
"""Seconds that a plan may prepare itself in the background."""


@click.command()
@request_options({"model", "width"})
@click.option("--steps", default=4, type=click.IntRange(2, 150), help="Of each picture [4].")
@click.option(
    "--psnr",
    default=35.0,
    metavar="DB",
    help="How near to the usual picture that of the kept plan must be, in dB; 0 allows any [35].",
)
@click.option("--dry-run", is_flag=True, help="Measure only; keep nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@flag_options
@click.pass_context
def tune(context: click.Context, /, steps: int, psnr: float, dry_run: bool, as_json: bool, **given: Any) -> None:
    """Measure the precisions and memory optimizers that this machine has, and keep the fastest.

    All draw the same picture. How far it is from the usual one is told as PSNR: from 40 dB on hardly anybody sees a
    difference. What is kept goes into config.toml as `precision` and `memory`. Jobs of the host and other programs
    disturb the measurement.
    """
    from sdterm import Engine

    settings = settings_of(context)
    prepare_folders(settings.root)
    plugins = load_plugins(settings.root / "extensions", third_party=settings["extensions"])
    fields = {"prompt": "a lighthouse on a cliff, evening light", "seed": 1, "steps": steps, **fields_of(given)}
    engine = Engine(library=library_of(settings), device=settings["device"])
    bench = _Bench(engine, plugins, fields, show=not as_json)
    precisions = _PRECISIONS.get(engine.device.type, _OF_A_GPU)
    optimizers = {o.id: o.group for o in plugins.all(MemoryOptimizer) if o.effect != "visible" and not o.default}
    tried = tuning.tune(precisions, optimizers, bench.measure, psnr)
    if tried[0].reason:
        say(message("Nothing could be measured: {reason}", reason=tried[0].reason))
        context.exit(EXIT_FAILED)
    best = tuning.fastest(tried, psnr)
    kept = {} if dry_run else _keep(best.plan, settings)
    if as_json:
        result = {"tried": [_plain(each) for each in tried], "fastest": best.name, "kept": kept}
        print_json(json.dumps(result, ensure_ascii=False, indent=1))
        return
    click.echo(
        tr(
            "Fastest: {name}, {seconds:.2f} times as fast as auto.",
            name=best.name,
            seconds=tried[0].seconds / best.seconds,
        )
    )
    if kept:
        said = ", ".join(f"{key} = {json.dumps(value)}" for key, value in kept.items())
        click.echo(printable(f"Kept in {settings.root / FILE}: {said}", limit=1000))


class _Bench:
    """Draws one picture by many plans."""

    def __init__(self, engine: "Engine", plugins: PluginSet, fields: dict[str, Any], show: bool) -> None:
        self._engine, self._plugins, self._fields, self._show = engine, plugins, fields, show
        self._usual: NDArray[np.uint8] | None = None
        self._limit = math.inf

    def measure(self, name: str, plan: Plan) -> Measured:
        try:
            self._prepare(plan)
            drawn = min((self._draw(plan) for _ in range(_TIMES)), key=lambda each: each[1].seconds)
        except _NotMeasuredError as error:
            return self._told(Measured(name, plan, reason=str(error)))
        pixels, done = drawn
        if self._usual is None:
            self._usual, self._limit = pixels, done.seconds * _TOO_SLOW
        psnr = compare(self._usual, pixels).psnr
        return self._told(Measured(name, plan, done.seconds, done.memory_active or 0, psnr))

    def _prepare(self, plan: Plan) -> None:
        """Load the model, and wait for what the plan's optimizers do in the background."""
        optimizers = [self._plugins.optimizer(name) for name in plan.get("memory", ())]
        patience = time.monotonic() + _PATIENCE
        while True:
            self._draw({**plan, "steps": 2})
            model = self._engine.model
            if not model or all(o.is_settled is None or o.is_settled(model.components) for o in optimizers):
                return
            if time.monotonic() > patience:
                raise _NotMeasuredError(message("it was not ready after {seconds:.0f} seconds", seconds=_PATIENCE))

    def _draw(self, plan: Plan) -> tuple[NDArray[np.uint8], Done]:
        request = make_request(**{**self._fields, **plan})
        pixels, events, began = None, self._engine.run(request, self._plugins), time.monotonic()
        for event in events:
            match event:
                case Image():
                    pixels = read_pixels(event.data)
                case Done() if pixels is not None:
                    return pixels, event
                case Warning(code="optimizer_skipped"):
                    raise _NotMeasuredError(event.message.removesuffix(" Going on without it."))
                case Failed():
                    raise _NotMeasuredError(event.message)
            if time.monotonic() - began > self._limit:
                events.close()
                raise _NotMeasuredError(
                    message("it takes more than {number} times as long as auto", number=f"{_TOO_SLOW:g}")
                )
        raise _NotMeasuredError(message("it generated nothing"))

    def _told(self, measured: Measured) -> Measured:
        if self._show:
            click.echo(printable(_line(measured), limit=1000))
        return measured


class _NotMeasuredError(SdtermError):
    """Why a plan was not measured."""


def _line(measured: Measured) -> str:
    if measured.reason:
        return f"{measured.name:<28} {measured.reason}"
    apart = "same pixels" if math.isinf(measured.psnr) else f"{measured.psnr:.1f} dB"
    return f"{measured.name:<28} {measured.seconds:7.2f} s   {measured.memory / _GIB:5.1f} GB   {apart}"


def _plain(measured: Measured) -> dict[str, Any]:
    """JSON knows no infinity."""
    return {
        key: None if isinstance(value, float) and math.isinf(value) else value
        for key, value in asdict(measured).items()
    }


def _keep(plan: Plan, settings: Settings) -> dict[str, Any]:
    """Write what a plan has otherwise than usual into config.toml, and take out the rest."""
    for key, usual in _USUAL.items():
        value = plan.get(key, usual)
        settings = unset(settings, key, usual) if value == usual else write_setting(settings, key, value)
    return {key: plan[key] for key in _USUAL if key in plan}
