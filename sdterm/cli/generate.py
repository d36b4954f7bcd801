"""`sdterm generate`: a prompt in, a picture out."""

import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from types import FrameType, MappingProxyType
from typing import Any

import click

from sdterm.api import Submission
from sdterm.cli.errors import EXIT_CANCELLED, EXIT_FAILED, EXIT_USAGE, UsageError, say
from sdterm.cli.headings import HeadedCommand
from sdterm.cli.inputs import images_of, init_option, mask_option, only_one_from_standard_input, sources
from sdterm.cli.offered import lying, offered, pipeline_of
from sdterm.cli.options import fields_of, flag_options, request_options, settings_of
from sdterm.cli.output import Output, output_for
from sdterm.cli.print_json import print_json
from sdterm.core.extensions.registry import PluginSet, load_plugins
from sdterm.core.files import legible
from sdterm.core.infotext.files import infotext_from
from sdterm.core.infotext.recall import recall
from sdterm.core.infotext.source import with_sources
from sdterm.core.inputs import Inputs
from sdterm.core.library.checkpoints import library_of
from sdterm.core.output.saving import Saving, ready, save_images, saving_of
from sdterm.core.planning.assignment import assign
from sdterm.core.planning.choices import choose, choose_pictures
from sdterm.core.prompt.styles import Styles, styles_of
from sdterm.core.settings.devices import first_device
from sdterm.core.settings.paths import prepare as prepare_folders
from sdterm.core.settings.settings import NOTIFY, Settings
from sdterm.events import Cancelled, Event, Failed, Warning
from sdterm.fields import MAX_PROMPT
from sdterm.messages import message, sentences
from sdterm.request import GenerationRequest, RequestError, make_request


@click.command(
    cls=HeadedCommand, epilog="Example: sdterm generate 'sunset, purple mountains, lake, red house' --steps 28 --seed 7"
)
@click.argument("prompt", required=False)
@click.option(
    "--from", "source", metavar="FILE|TEXT", help="Generate again what an image or infotext says; options override it."
)
@request_options()
@init_option
@mask_option
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="An option of the sampler, scheduler or format, NAME.OPTION of a plugin, a field of the request; repeatable.",
)
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="The folder to save into.")
@click.option(
    "--tape",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Record the run in this file, and resume it from there if it stopped.",
)
@click.option("--json", "as_json", is_flag=True, help="Print events, one JSON object a line.")
@click.option("--no-show", is_flag=True, help="Do not show the image.")
@click.option("--detach", is_flag=True, help="Queue it, print the job's number, and end.")
@click.option("--pause-at", type=click.IntRange(1, 1000), metavar="STEP", help="Pause all images at that step.")
@click.option(
    "--pause-pass", type=click.IntRange(1, 2), default=1, metavar="N", help="The pass of that step: 2 is hires fix [1]."
)
@click.option("--on", "device", metavar="DEVICE", help="Use only that device of the host.")
@click.option("--notify", type=click.Choice(NOTIFY), help="How to say that it is done.")
@click.option("--local", is_flag=True, help="Generate in this process instead of the host; so does --tape.")
@flag_options
@click.pass_context
def generate(
    context: click.Context,
    /,
    prompt: str | None,
    source: str | None,
    out: Path | None,
    tape: Path | None,
    as_json: bool,
    no_show: bool,
    detach: bool,
    pause_at: int | None,
    pause_pass: int,
    device: str | None,
    notify: str | None,
    local: bool,
    assignments: tuple[str, ...],
    inits: tuple[str, ...],
    mask: str | None,
    **given: Any,
) -> None:
    """Generate images from PROMPT ("-" reads it from standard input) and save them.

    --from takes everything from an image, a text file, an infotext or "-" (standard input); PROMPT and options replace
    parts of it. If that image was made from another one, its init image is looked for; --init names it, or another.

    On a terminal the image is shown; in a pipe the paths of the saved files are printed, one a line. The host does the
    work, so a lost connection loses nothing: `sdterm attach` shows the job again.
    """
    settings = settings_of(context)
    local = local or tape is not None
    if local and (detach or pause_at or device):
        raise UsageError(message("--detach, --pause-at and --on need the host: remove --local and --tape."))
    if prompt is None and source is None:
        raise UsageError(message("There is no PROMPT: give one, or --from an image."))
    only_one_from_standard_input(PROMPT=prompt, **{"from": source}, init=inits, mask=mask)
    typed = fields_of(given)
    from_pictures = {name: value for name, value in (("init_images", inits), ("mask", mask)) if value}
    styles = styles_of(settings)
    names = (lying if local else offered)(settings).names() if source or assignments else None
    recorded, warnings = (
        _recorded(source, typed | from_pictures, names, settings, styles) if source and names else ({}, [])
    )
    request = request_of(standard_input() if prompt == "-" else prompt, typed, settings, recorded)
    images: list[bytes] = []
    if names:
        assigned, images = images_of(assignments, names)
        request = assign(request, assigned, names, pipeline_of(request, settings, assigned) if assigned else None)
    prepare_folders(settings.root)
    output = output_for(as_json, no_show, settings)
    saving = saving_of(settings, out)
    if local:
        put = Inputs(settings.root).put
        request = make_request(**request.model_dump(exclude_unset=True) | sources(inits, mask, put, images=images))
        context.exit(draw_here(request, saving, tape, settings, output, warnings))

    from sdterm.cli.follow import follow
    from sdterm.client import connect

    with connect(settings, check=True, starting=say_starting) as host:
        request = make_request(
            **request.model_dump(exclude_unset=True) | sources(inits, mask, host.put_input, host, images)
        )
        how = {"pause_at": pause_at, "pause_pass": pause_pass - 1, "device": device}
        job = host.submit(Submission(request=request, saving=saving, **how))
        if detach:
            print_json(job.model_dump_json()) if as_json else click.echo(job.id)
            return
        for warning in warnings:
            output.show(warning)
        chosen = settings.with_value("notify", notify, "--notify") if notify else settings
        context.exit(follow(host, job.id, output, chosen, on_interrupt=partial(cancel_job, settings, job.id), out=out))


def say_starting() -> None:
    """That a host is being started, which takes a moment."""
    if sys.stderr.isatty():
        say(message("Starting the host. The first image takes some seconds longer."))


def cancel_job(settings: Settings, job: int) -> None:
    """Stop a job for good, if its host is there."""
    from sdterm.client import HostError, RefusedError, connect

    with suppress(HostError, RefusedError), connect(settings, start=False) as host:
        host.cancel(job)


def draw_here(
    request: GenerationRequest,
    saving: Saving,
    tape: Path | None,
    settings: Settings,
    output: Output,
    warnings: Iterable[Warning],
) -> int:
    """Draw in this process. Returns the exit code."""
    plugins, library = (
        load_plugins(settings.root / "extensions", third_party=settings["extensions"]),
        library_of(settings),
    )
    (choose_pictures if request.upscale_images else choose)(request, plugins, library)
    ready(saving.folder)

    from sdterm import Engine  # torch: seconds, so only when everything above is known to be right

    cancel = threading.Event()
    with _cancelled_by_ctrl_c(cancel), output:
        for warning in warnings:
            output.show(warning)
        device = first_device(settings["device"], os.environ)
        engine = Engine(library=library, device=device, limit_memory=settings["limit_memory"])
        styles = styles_of(settings)
        saved: SimpleQueue[Path | None] = SimpleQueue()
        previews = output.wants_previews
        events = engine.run(request, plugins, styles=styles, tape=tape, previews=previews, cancel=cancel, saved=saved)
        last = _shown(save_images(events, request, saving, saved), output)
    match last:
        case Cancelled():
            return EXIT_CANCELLED
        case Failed(code=code):
            return EXIT_USAGE if code == "bad_request" else EXIT_FAILED
    return 0


def _shown(events: Iterator[Event], output: Output) -> Event | None:
    last = None
    for last in events:
        output.show(last)
    return last


def _recorded(
    source: str, typed: dict[str, Any], plugins: PluginSet, settings: Settings, styles: Styles
) -> tuple[dict[str, Any], list[Warning]]:
    """The request fields that `--from` gives, and what is to be said about them."""
    text = standard_input() if source == "-" else infotext_from(source)
    library = library_of(settings)
    found = recall(text, plugins, library, styles, typed)
    fields = with_sources(text, found.fields, settings.root, saving_of(settings).folder, given=typed)
    if fields != found.fields:
        found = recall(text, plugins, library, styles, typed | {name: fields[name] for name in ("init_images", "mask")})
    return fields, [Warning(code=code, message=message) for code, message in found.warnings.items()]


def request_of(
    prompt: str | None, typed: Mapping[str, Any], settings: Settings, recorded: Mapping[str, Any] = MappingProxyType({})
) -> GenerationRequest:
    """The strongest first: what was typed, what `--from` says, the settings. Raises RequestError."""
    fields = {"grid": settings["save_grid"], **settings.job_fields(), **recorded, **typed}
    if "memory" in typed:  # of one group the last counts
        fields["memory"] = (*settings["memory"], *typed["memory"])
    if prompt is not None:
        fields["prompt"] = prompt
    if "model" in fields:
        fields["model"] = legible(fields["model"])
    try:
        return make_request(**fields)
    except RequestError as error:
        field = error.field or ""
        blame = "" if field in typed or field in recorded else settings.blame(field)
        raise RequestError(sentences(error, blame)) from error


def standard_input() -> str:
    """The prompt on standard input."""
    try:
        return sys.stdin.read(MAX_PROMPT * 4 + 1).removesuffix("\n")
    except UnicodeDecodeError as error:
        raise UsageError(message("The prompt on standard input is not UTF-8 text.")) from error


@contextmanager
def _cancelled_by_ctrl_c(cancel: threading.Event) -> Iterator[None]:
    """The first Ctrl+C asks the engine to stop, the second stops at once."""

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        if cancel.is_set():
            raise KeyboardInterrupt
        cancel.set()

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
