"""`sdterm models add`, and what is on its way: the host fetches, this shows it."""

import os
import re
import sys
import time

import click

from sdterm.api import Download, DownloadOffer, DownloadRequest
from sdterm.cli.errors import EXIT_CANCELLED, EXIT_FAILED, UsageError, say
from sdterm.cli.options import flag_options, settings_of
from sdterm.cli.print_json import print_json
from sdterm.client import Client, connect
from sdterm.core.library.folder_weights import INDEX
from sdterm.core.settings.model_kinds import KINDS_BY_ID
from sdterm.core.text import bar, file_size, printable
from sdterm.messages import Message, message, plural
from sdterm.tui.language import tr

_EVERY = 0.25  # seconds
_ENDED = ("done", "failed", "cancelled")


@click.command()
@click.argument("source")
@click.option("--kind", type=click.Choice(list(KINDS_BY_ID)), help="Its kind; unset, as its header says.")
@click.option("--as", "name", metavar="NAME", help="Its file name; unset, as its server calls it.")
@click.option("--sha256", metavar="HEX", help="Only a file with this checksum.")
@click.option(
    "--without",
    multiple=True,
    metavar="PART",
    help="Of a diffusers folder, fetch no weights of this part, like transformer; `weights`: of none.",
)
@click.option("--yes", is_flag=True, help="Agree without being asked, for scripts.")
@click.option("--json", "as_json", is_flag=True, help="Print its progress, one JSON object a line.")
@flag_options
@click.pass_context
def add(
    context: click.Context,
    source: str,
    kind: str | None,
    name: str | None,
    sha256: str | None,
    without: tuple[str, ...],
    yes: bool,
    as_json: bool,
) -> int:
    """Add a model from SOURCE: a path, a URL, hf:OWNER/NAME[/FILE] or civitai:MODEL[@VERSION].

    Its size and licence are shown, and you are asked. It comes into the folder of its kind. A repository that is a
    diffusers folder comes as a whole. The host fetches it, so
    closing this stops nothing, and the same command goes on where a broken connection stopped. Tokens are taken from
    HF_TOKEN and CIVITAI_TOKEN.
    """
    if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise UsageError(message("--sha256 takes 64 hexadecimal digits."))
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", source):
        source = os.path.abspath(os.path.expanduser(source))
    if without:
        source = _left_out(source, without)
    request = DownloadRequest(source=source, kind=kind, name=name, sha256=sha256 and sha256.lower())
    with connect(settings_of(context)) as host:
        offer = host.look_at_download(request)
        for line in _told(offer):
            say(line)
        if not yes:
            if not sys.stdin.isatty():
                raise UsageError(message("This needs a terminal to ask you for consent; --yes adds it without asking."))
            click.confirm("Add it?", abort=True, err=True)
        download = host.add_model(request.model_copy(update={"size": offer.size}))
        return _follow(host, download.id, as_json)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@flag_options
@click.pass_context
def downloads(context: click.Context, as_json: bool) -> None:
    """List the models that are being downloaded, and those that arrived since the host started."""
    with connect(settings_of(context)) as host:
        found = host.downloads()
    for each in found:
        if as_json:
            print_json(each.model_dump_json())
        else:
            click.echo(printable(f"{each.id:>4}  {each.state:<9}  {_progress(each)}", 500))
    if not found and not as_json:
        click.echo(tr("Nothing is on its way. `sdterm models add SOURCE` adds a model."))


@click.command()
@click.argument("download", type=click.IntRange(min=1))
@flag_options
@click.pass_context
def cancel(context: click.Context, download: int) -> None:
    """Cancel DOWNLOAD, and delete its part that is there."""
    with connect(settings_of(context)) as host:
        stopped = host.cancel_download(download)
    if stopped.state == "done":
        click.echo(printable(tr("{name} is there already.", name=stopped.name)))
    else:
        click.echo(printable(tr("{name} is not added.", name=stopped.name)))


def _left_out(source: str, parts: tuple[str, ...]) -> str:
    if not source.startswith("hf:"):
        raise UsageError(message("--without is for a diffusers folder of Hugging Face: hf:OWNER/NAME."))
    return f"{source.removesuffix(f'/{INDEX}')}/{INDEX}?without={','.join(parts)}"


def _told(offer: DownloadOffer) -> list[str]:
    unknown = message("a model whose kind only the whole file tells")
    facts = [
        Message(KINDS_BY_ID[offer.kind].word) if offer.kind else unknown,
        file_size(offer.size) if offer.size else message("of a size that its server does not tell"),
        *([plural("{number} file", "{number} files", offer.files)] if offer.files > 1 else []),
        *([message("into {folder}", folder=offer.folder)] if offer.folder else []),
    ]
    return [
        f"{offer.name}: {', '.join(map(tr, facts))}",
        message("Licence: {licence}", licence=offer.licence or message("not known")),
        *([f"SHA-256: {offer.sha256}"] if offer.sha256 else []),
    ]


def _follow(host: Client, number: int, as_json: bool) -> int:
    """Show a download until it ends. Returns the exit code."""
    last = None
    try:
        while True:
            seen = next(each for each in host.downloads() if each.id == number)
            if as_json and seen != last:
                print_json(seen.model_dump_json())
            elif sys.stderr.isatty():
                click.echo(f"\r\x1b[K{printable(_progress(seen), 110)}", nl=False, err=True)
            last = seen
            if seen.state in _ENDED:
                break
            time.sleep(_EVERY)
    except KeyboardInterrupt:
        if sys.stderr.isatty():
            click.echo(err=True)
        said = message(
            "It continues without this terminal: `sdterm models downloads` shows it, `sdterm models cancel {number}` "
            "stops it.",
            number=number,
        )
        say(said)
        return EXIT_CANCELLED
    if sys.stderr.isatty():
        click.echo(err=True)
    if seen.state == "done" and not as_json:
        click.echo(printable(str(seen.path), 4000))
    if seen.state == "failed":
        say(message("Error: {error}", error=seen.message))
    return {"done": 0, "cancelled": EXIT_CANCELLED}.get(seen.state, EXIT_FAILED)


def _progress(seen: Download) -> str:
    """One line: name, bar, share, speed, time left."""
    parts = [seen.name]
    if seen.size:
        share = min(seen.received / seen.size, 1.0)
        parts.append(tr("{bar} {share:.0%} of {size}", bar=bar(share), share=share, size=file_size(seen.size)))
    else:
        parts.append(file_size(seen.received))
    if seen.speed:
        parts.append(f"{file_size(round(seen.speed))}/s")
        if seen.size:
            parts.append(tr("{time} left", time=_time(max(seen.size - seen.received, 0) / seen.speed)))
    return "  ".join([*parts, tr(seen.message)]).rstrip()


def _time(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
