"""`sdterm gallery`: the pictures that were saved, and how to get them home."""

import os
import shlex
import socket
import zipfile
from collections.abc import Sequence
from getpass import getuser
from itertools import count
from pathlib import Path

import click

from sdterm.api import Picture
from sdterm.cli.errors import EXIT_FAILED, UsageError, say
from sdterm.cli.fetching import fetched
from sdterm.cli.options import flag_options, settings_of
from sdterm.cli.print_json import print_json
from sdterm.client import Client, connect
from sdterm.core.output.saving import saving_of
from sdterm.core.settings.settings import Settings
from sdterm.core.text import printable
from sdterm.events import PicturesFound
from sdterm.messages import message, plural
from sdterm.tui.language import tr

_SHOWN = 20
_LONGEST_LINE = 100_000  # characters: a command that was cut would copy something else


@click.command(epilog="Example: sdterm gallery 'red house' --export houses.zip")
@click.argument("query", required=False, default="")
@click.option("--limit", type=click.IntRange(1, 100_000), default=_SHOWN, help=f"How many [{_SHOWN}].")
@click.option("--export", type=click.Path(path_type=Path), metavar="FILE", help="Put them into a new zip file.")
@click.option("--rescan", is_flag=True, help="First list the pictures of the outputs folder that are not listed yet.")
@click.option(
    "--delete", "deleted", type=click.IntRange(1), multiple=True, metavar="N", help="Move picture N to the trash."
)
@click.option("--restore", "restored", type=click.IntRange(1), multiple=True, metavar="N", help="Bring picture N back.")
@click.option("--json", "as_json", is_flag=True, help="Print pictures, one JSON object a line.")
@flag_options
@click.pass_context
def gallery(
    context: click.Context,
    query: str,
    limit: int,
    export: Path | None,
    rescan: bool,
    deleted: tuple[int, ...],
    restored: tuple[int, ...],
    as_json: bool,
) -> None:
    """List the saved pictures that match QUERY, the newest first, and how to copy them. QUERY is made of words of the
    infotext and terms like steps>=20, sampler:"dpm++ 2m", size:512x768, after:2026-11-01 or -seed:7; all of them must
    match."""
    settings = settings_of(context)
    with connect(settings) as host:
        if rescan:
            _rescan(host)
        if deleted or restored:
            _delete(host, deleted)
            _restore(host, restored)
            return
        pictures = _pictures(host, query, limit)
        there = _here(host, pictures, settings, export)
    if as_json:
        for picture in pictures:
            print_json(picture.model_dump_json())
    elif not export:
        for picture in pictures:
            click.echo(printable(_line(picture), limit=2000))
    if not there:
        say(
            message("No image matches.")
            if query
            else message("There is no image yet. `sdterm generate PROMPT` makes one.")
        )
        context.exit(EXIT_FAILED if export else 0)
    if export:
        export = export.absolute()
        packed = _pack(there, export)
        said = plural("{number} image is in {path}", "{number} images are in {path}", packed, path=str(export))
        click.echo(printable(tr(said), limit=2000))
        there = [export]
    if as_json or settings["connect"]:
        return
    if len(there) > _SHOWN:
        say(message("To copy them to your machine, put them into one file first, with --export FILE.zip."))
        return
    say(plural("To copy it to your machine, run there:", "To copy them to your machine, run there:", len(there)))
    click.echo(printable("  " + _scp(there), limit=_LONGEST_LINE), err=True)


def _here(host: Client, pictures: Sequence[Picture], settings: Settings, export: Path | None) -> list[Path]:
    """The files of those that are there; of a host on another machine they are fetched if they are to be packed."""
    there = [picture for picture in pictures if not picture.missing]
    if host.is_far and export:
        folder = saving_of(settings).folder
        return [fetched(host, picture, folder) for picture in there]
    return [Path(picture.path) for picture in there]


def _rescan(host: Client) -> None:
    """Have it done, and show how far it is. Ctrl+C leaves it to the host."""
    after = host.health().last_event
    host.rescan_pictures()
    for entry in host.events(after=after):
        if isinstance(entry.event, PicturesFound):
            found = entry.event
            say(
                message(
                    "Unlisted files: {looked} of {files} are read, {added} images of them are listed.",
                    looked=found.looked,
                    files=found.files,
                    added=found.added,
                )
            )
            if found.done:
                return


def _delete(host: Client, pictures: tuple[int, ...]) -> None:
    for picture in pictures:
        host.delete_picture(picture)
        say(message("Image {image} is deleted. To restore it: sdterm gallery --restore {image}", image=picture))


def _restore(host: Client, pictures: tuple[int, ...]) -> None:
    for picture in pictures:
        say(
            message(
                "Image {image} is restored: {path}",
                image=picture,
                path=printable(host.restore_picture(picture).path, limit=2000),
            )
        )


def _pictures(host: Client, query: str, limit: int) -> list[Picture]:
    page = host.pictures(query, limit=min(limit, 500))
    pictures = list(page.pictures)
    while page.next and len(pictures) < limit:
        page = host.pictures(query, limit=min(limit - len(pictures), 500), cursor=page.next)
        pictures += page.pictures
    return pictures


def _line(picture: Picture) -> str:
    kind = "" if picture.kind == "image" else f"({picture.kind}) "
    prompt = (kind + " ".join(picture.infotext.partition("\n")[0].split()))[:50]
    gone = "  (gone)" if picture.missing else ""
    job = f"job {picture.job:<5}" if picture.job else "found    "
    return f"{picture.id:>6}  {job} {picture.width}x{picture.height}  {prompt:<50}  {picture.path}{gone}"


def _pack(paths: list[Path], target: Path) -> int:
    """A zip file that appears whole or not at all, and in place of no other. Returns how many files went in."""
    if target.exists():
        raise UsageError(message("{target} is there already: choose another name.", target=target))
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    packed = 0
    try:
        with zipfile.ZipFile(partial, "x") as archive:  # pictures are compressed already
            taken: set[str] = set()
            for path in paths:
                name = path.name
                names = (f"{path.stem}-{number}{path.suffix}" for number in count(2))
                while name in taken:
                    name = next(names)
                try:
                    archive.write(path, name)
                except FileNotFoundError:  # it went in between
                    continue
                taken.add(name)
                packed += 1
        os.link(partial, target)
    except OSError as error:
        raise UsageError(
            message("{path} cannot be written: {error}.", path=target, error=os.strerror(error.errno or 0))
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return packed


def _scp(paths: list[Path]) -> str:
    """The command that copies files from here, as it is typed elsewhere."""
    connection = os.environ.get("SSH_CONNECTION", "").split()
    here = connection[2] if len(connection) == 4 else socket.gethostname()
    port = f"-P {connection[3]} " if len(connection) == 4 and connection[3] != "22" else ""
    here = f"[{here}]" if ":" in here else here
    words = [shlex.quote(f"{getuser()}@{here}:{path}") for path in paths]
    return f"scp {port}{' '.join(words)} ."
