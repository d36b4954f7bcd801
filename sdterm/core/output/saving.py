"""Where a job's images go, and saving them."""

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from errno import EDQUOT, EILSEQ, ENOSPC
from itertools import count
from pathlib import Path
from queue import SimpleQueue

from sdterm.core.files import legible, temporary_file, write_atomically, write_new
from sdterm.core.output.naming import NameFacts, check_folder_pattern, check_pattern, file_names, folder_name
from sdterm.core.settings.settings import Settings
from sdterm.errors import SdtermError
from sdterm.events import AnyPicture, Event, Failed, Grid, Image, PictureKind, SideImage, Started, kind_of
from sdterm.messages import message, sentences
from sdterm.request import GenerationRequest

ENDINGS: Mapping[PictureKind, str] = {
    "before hires": "-before-highres-fix",
    "mask": "-mask",
    "mask composite": "-mask-composite",
}
"""Of the names of what comes with an image: A1111's."""


class OutputFolderError(SdtermError, OSError):
    """Images cannot be saved where they should go."""

    field = "saving.folder"

    def __init__(self, number: int | None, sentence: str) -> None:
        super().__init__(number, sentence)
        self.code = _code(number)


def ready(folder: Path) -> None:
    """Make the folder for images and make sure a file can be written there. Raises OutputFolderError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with temporary_file(folder, b"\0"):
            pass
    except OSError as error:
        failed = unwritable(folder, error)
        raise OutputFolderError(error.errno, sentences(failed.message, failed.advice)) from error


@dataclass(frozen=True)
class Saving:
    """Where a job's images go, how they are named, and what is kept beside them."""

    folder: Path
    filename_pattern: str = "[seed]"
    directory_pattern: str = ""
    """Of folders below `folder`."""
    add_number: bool = True
    """Whether a running number comes first in a name."""
    save_txt: bool = False
    """Whether each infotext is in a text file beside its picture too."""
    last_infotext: Path | None = None
    """A file that always has the last job's infotext: A1111's params.txt."""

    def __post_init__(self) -> None:
        """Raises PatternError: before anything is drawn, that is."""
        check_pattern(self.filename_pattern)
        check_folder_pattern(self.directory_pattern)


def saving_of(settings: Settings, out: Path | None = None) -> Saving:
    """Where these settings put images. `out` is the very folder; below the outputs folder the pattern makes more.
    Raises OutputFolderError if the folder's name cannot be stored."""
    outputs = Path(settings["outdir"] or settings.root / "outputs").expanduser()
    folder = (out or outputs).absolute()
    if (name := legible(str(folder))) != str(folder):
        raise OutputFolderError(
            EILSEQ,
            message(
                "Images cannot be saved in {folder}: the folder's name is not valid UTF-8. Choose another folder.",
                folder=name,
            ),
        )
    return Saving(
        folder,
        filename_pattern=settings["filename_pattern"],
        directory_pattern="" if out else settings["directory_pattern"],
        add_number=settings["add_number"],
        save_txt=settings["save_txt"],
        last_infotext=settings.root / "params.txt" if settings["prompt_history"] else None,
    )


def save_images(
    events: Iterable[Event], request: GenerationRequest, saving: Saving, saved: SimpleQueue[Path | None] | None = None
) -> Iterator[Event]:
    """Pass a run's events through, saving each picture on the way. A file that cannot be written ends the run with one
    `failed` event that says why; what was saved before stays. saved: the queue that the engine was given, if it was."""
    began = datetime.now()
    job: Started | None = None
    folder = saving.folder  # a grid lies with the last image
    for event in events:
        if isinstance(event, Started):
            job = event
        if not isinstance(event, AnyPicture):
            yield event
            continue
        try:
            if not isinstance(event, Grid):
                assert job  # a run starts with it
                path = save_image(event, NameFacts(request, job, event, began, datetime.now()), saving)
            else:
                path = save_grid(event, folder, saving)
        except OSError as error:
            if close := getattr(events, "close", None):
                close()  # stops the engine: there is nowhere to put more
            yield unwritable(folder, error)
            return
        folder = path.parent
        if saved:
            saved.put(path)
        yield event.model_copy(update={"path": str(path)})


def save_image(
    image: Image | SideImage, facts: NameFacts, saving: Saving, reserve: Callable[[Path], None] = lambda path: None
) -> Path:
    """Name an image, write it, and return its path; `reserve` as in `write_new`. Raises OSError."""
    folder = saving.folder / folder_name(saving.directory_pattern, facts)
    folder.mkdir(parents=True, exist_ok=True)
    names = file_names(saving.filename_pattern, facts, _numbers(folder), add_number=saving.add_number)
    names = (name + ENDINGS.get(kind_of(image), "") for name in names)
    path = write_new(folder, names, image.suffix, image.data, _beside(image, saving), reserve)
    if saving.last_infotext and isinstance(image, Image) and image.index == 0:
        with contextlib.suppress(OSError):  # a convenience, and often elsewhere than the images
            write_atomically(saving.last_infotext, _bytes(image.infotext))
    return path


def save_grid(grid: Grid, folder: Path, saving: Saving, reserve: Callable[[Path], None] = lambda path: None) -> Path:
    """The same for a grid, into the folder given."""
    folder.mkdir(parents=True, exist_ok=True)
    names = (f"grid-{number:04d}" for number in _numbers(folder, "grid-"))
    return write_new(folder, names, grid.suffix, grid.data, _beside(grid, saving), reserve)


def _beside(picture: AnyPicture, saving: Saving) -> dict[str, bytes]:
    text = saving.save_txt and picture.suffix.lower() != ".txt"
    return {".txt": _bytes(picture.infotext + "\n")} if text else {}


def _bytes(text: str) -> bytes:
    return text.encode(errors="replace")


def unwritable(folder: Path, error: OSError) -> Failed:
    """What to tell whoever's images cannot be saved."""
    code = _code(error.errno)
    if code == "disk_full":
        return Failed(
            code=code,
            message=message("The disk is full: images cannot be saved in {folder}.", folder=folder),
            advice=message("Free some space or choose another folder (setting outdir, or --out), then generate again."),
        )
    return Failed(
        code=code,
        message=message(
            "Images cannot be saved in {folder}: {problem}.", folder=folder, problem=os.strerror(error.errno or 0)
        ),
        advice=message("Choose a folder that you can write to: setting outdir, or --out."),
    )


def _code(number: int | None) -> str:
    return "disk_full" if number in (ENOSPC, EDQUOT) else "output_unwritable"


def _numbers(folder: Path, prefix: str = "") -> Iterator[int]:
    """Numbers for new files: one past the highest in the folder, as A1111 counts, then upwards."""
    numbered = re.compile(rf"{prefix}([0-9]{{1,9}})(?=[-.])")
    taken = (int(match[1]) for match in map(numbered.match, os.listdir(folder)) if match)
    return count(max(taken, default=-1) + 1)
