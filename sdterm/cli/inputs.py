"""The pictures that a command starts from: files, pictures of the gallery by their numbers, or standard input."""

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sdterm.cli.errors import UsageError
from sdterm.cli.headings import IMG2IMG, HeadedOption
from sdterm.core.extensions.registry import PluginSet
from sdterm.core.files import regular
from sdterm.core.inputs import MOST_BYTES, InputError, is_digest, picture_size
from sdterm.core.names import normal
from sdterm.core.planning.choices import additions_of
from sdterm.core.text import printable
from sdterm.errors import SdtermError
from sdterm.messages import message, sentences

if TYPE_CHECKING:
    from sdterm.client import Client  # the command line starts without it

F = TypeVar("F", bound=Callable[..., Any])

_OF_GALLERY = re.compile(r"#([0-9]{1,18})")
_FORMS = "FILE|#ID|-"


def init_option(command: F) -> F:
    """Give a command `--init`."""
    return click.option(
        "--init",
        "inits",
        cls=HeadedOption,
        heading=IMG2IMG,
        multiple=True,
        metavar=_FORMS,
        help="Start from a picture: a file, one of the gallery ('#12'), or standard input. May be repeated.",
    )(command)


def mask_option(command: F) -> F:
    """Give a command `--mask`."""
    return click.option(
        "--mask",
        "mask",
        cls=HeadedOption,
        heading=IMG2IMG,
        metavar=_FORMS,
        help="Inpaint only where this picture is white; the rest of --init stays.",
    )(command)


def only_one_from_standard_input(**given: str | Iterable[str] | None) -> None:
    """Raises UsageError if two of what was given are `-`."""
    from_there = [
        name
        for name, value in given.items()
        for one in ((value,) if isinstance(value, str) else value or ())
        if one == "-"
    ]
    if len(from_there) > 1:
        both = " and ".join(dict.fromkeys(name if name.isupper() else f"--{name}" for name in from_there))
        raise UsageError(message("Standard input can be read once only, but it is {both}.", both=both))


def sources(
    inits: Iterable[str],
    mask: str | None,
    put: Callable[[bytes], str],
    host: "Client | None" = None,
    images: Iterable[bytes] = (),
) -> dict[str, Any]:
    """The fields of a request for `--init` and `--mask`, whose files are `put` where the drawing is done, as are those
    of other options. Raises UsageError."""
    for image in images:
        put(image)
    fields: dict[str, Any] = {}
    if init_images := tuple(digest_of(given, put, host, "--init") for given in inits):
        fields["init_images"] = init_images
    if mask is not None:
        fields["mask"] = digest_of(mask, put, host, "--mask")
    return fields


def images_of(assignments: Iterable[str], plugins: PluginSet) -> tuple[list[str], list[bytes]]:
    """`NAME=VALUE`, where an option is an image with the digest of the file that VALUE names; and those files. Raises
    UsageError."""
    parts = additions_of(plugins)
    options = {normal(f"{part.id}.{option.name}") for part in parts for option in part.options if option.is_image}
    made, files = [], []
    for assignment in assignments:
        name, _, value = assignment.partition("=")
        if normal(name) in options and value and not is_digest(value):
            with _named(f"--set {name}", value):
                files.append(picture_file(value))
            assignment = f"{name}={sha256(files[-1]).hexdigest()}"
        made.append(assignment)
    return made, files


def digest_of(given: str, put: Callable[[bytes], str], host: "Client | None" = None, option: str = "") -> str:
    """Give the file that is meant by FILE, #ID or - to where the drawing is done. Raises UsageError."""
    with _named(option, given):
        return put(picture_file(given, host))


@contextmanager
def _named(option: str, given: str) -> Iterator[None]:
    try:
        yield
    except SdtermError as error:
        shown = f"{option} {printable(given, 1000)}".lstrip()
        raise UsageError(sentences(message("{input} cannot be used.", input=shown), error)) from error


def number_of(given: str) -> int | None:
    """Of a picture of the gallery, `#12`; a file may be called so, too."""
    found = _OF_GALLERY.fullmatch(given)
    return int(found[1]) if found and not Path(given).exists() else None


def picture_file(given: str, host: "Client | None" = None) -> bytes:
    """The bytes of a file, of a picture of the gallery (`#12`) or of standard input (`-`), as far as they may be a
    picture's. Raises SdtermError, UsageError."""
    if given == "-":
        return sys.stdin.buffer.read(MOST_BYTES + 1)
    if number := number_of(given):
        if not host:
            raise UsageError(
                message("{given} is an image of the gallery, which the host has: remove --local.", given=given)
            )
        return host.file(number)
    path = Path(given)
    try:
        picture_size(path)
        with open(path, "rb", opener=regular) as file:
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        raise InputError(
            message("{path} cannot be read: {error}.", path=printable(given), error=error.strerror or error)
        ) from error
