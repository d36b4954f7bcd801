"""The one stream of typed events that a run is: the terminal, the API, `--json` and the tests read the same.

Events are frozen; the JSON name is the class name in snake_case. Bytes (previews, images) travel beside the JSON,
never in it.
"""

import contextlib
import re
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, WrapValidator, computed_field, model_validator

from sdterm.messages import Message, as_json, from_json

SideKind = Literal["before hires", "mask", "mask composite"]
ImageKind = Literal["image", "upscaled"]
PictureKind = Literal[ImageKind, "grid", SideKind]
"""What a picture of the gallery is."""
SIDE_KINDS: tuple[SideKind, ...] = get_args(SideKind)
IMAGE_KINDS: tuple[ImageKind, ...] = get_args(ImageKind)
"""What a job's images are: so many it makes."""
PICTURE_KINDS: tuple[PictureKind, ...] = get_args(PictureKind)


Text = Annotated[str, WrapValidator(lambda value, plain: value if isinstance(value, Message) else plain(value))]
"""What a user reads: where it is a `Message`, it stays one."""


class Saying(BaseModel):
    """A value with texts for users. Over JSON a message's template and values travel beside the English sentence, in
    `texts`, from which a front end says it in the user's language."""

    @computed_field(exclude_if=lambda texts: not texts)  # type: ignore[prop-decorator]
    @property
    def texts(self) -> dict[str, Any]:
        """Field → `template` and `values` of its message (`sdterm.messages.as_json`), and `one` where it counts."""
        said = ((name, getattr(self, name)) for name in type(self).model_fields)
        return {name: _packed(value) for name, value in said if _is_said(value)}

    @model_validator(mode="before")
    @classmethod
    def _with_messages(cls, given: Any) -> Any:
        """Messages again, from their templates and values."""
        if not isinstance(given, dict) or not isinstance(texts := given.get("texts"), dict):
            return given
        fields = {name: value for name, value in given.items() if name != "texts"}
        for name, packed in texts.items():
            with contextlib.suppress(ValueError):
                text = [*map(from_json, packed)] if isinstance(packed, list) else from_json(packed)
                if fields.get(name) == text:
                    fields[name] = text
        return fields


def _is_said(value: object) -> bool:
    return isinstance(value, Message) or (isinstance(value, tuple) and any(map(_is_said, value)))


def _packed(value: Any) -> Any:
    return [*map(_packed, value)] if isinstance(value, tuple) else as_json(value)


class Event(Saying):
    """Something that happened to a job."""

    model_config = ConfigDict(frozen=True)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def event(self) -> str:
        """The event's name in JSON: `model_loading` for `ModelLoading`."""
        return event_name(type(self))


class Queued(Event):
    """The job waits for its turn: new, resumed, retried or moved."""

    images: int
    """How many it will draw."""
    done: int = 0
    """How many of them are there already."""


class Started(Event):
    """The request is resolved: what will be drawn, exactly."""

    model: str
    model_hash: str
    sampler: str
    scheduler: str
    seed: int
    width: int
    height: int
    images: int
    demo: bool = False
    """The model is the small one that ships with sdterm."""
    vae: str = ""
    """The separate VAE's file name; empty where the checkpoint's own is used."""
    memory: Text = ""
    """How it fits into the device's memory, as far as that is known from earlier jobs: a sentence."""
    data: bytes = Field(b"", exclude=True, repr=False)
    """The resolved plan, as JSON (`core.plan.Plan`): given back to the engine, it draws the same again."""


class ModelLoading(Event):
    """Weights are being read; `done` tells when they are in memory."""

    model: str
    done: bool
    seconds: float = 0.0
    fraction: float | None = None
    """Of the file's weights, read so far; told now and then while a large one is read."""
    kept: tuple[str, ...] = ()
    """Other models that stay in memory, the latest used first."""


class ModelHashed(Event):
    """The hash of a model file is known that somebody asked for by its name."""

    model: str
    sha256: str
    kind: str = "checkpoint"


class HashingProgress(Event):
    """Model files are read for their hashes, in the background."""

    files: int
    """How many were to be read, since there was nothing to do before."""
    files_done: int
    bytes: int
    bytes_done: int
    paused: bool = False
    done: bool = False
    """It has ended."""


class LibraryChanged(Event):
    """Model files came, went or changed."""

    kinds: tuple[str, ...]
    """Of these kinds."""


class NoticesChanged(Event):
    """The host's owner should know something new of the host itself: `GET /v1/health` has it."""


class DownloadChanged(Event):
    """A model on its way began, came further or ended."""

    download: int
    name: str
    state: str
    received: int
    """Bytes."""
    size: int | None = None
    speed: float | None = None
    """Bytes a second."""
    message: Text = ""
    """Why it failed."""


class PicturesFound(Event):
    """The outputs folder is searched for pictures that the gallery does not list."""

    added: int
    """How many are listed again."""
    looked: int
    """How many of the `files` that it does not list were read."""
    files: int
    done: bool = False


class PictureDeleted(Event):
    """A picture left the gallery; its file lies in the trash."""

    picture: int


class PictureRestored(Event):
    """A deleted picture is back in the gallery."""

    picture: int


class Step(Event):
    """A sampler step of a batch is finished on the device."""

    batch: int
    batches: int
    step: int
    """1-based, within the pass."""
    steps: int
    pass_no: int = 0
    """Which pass of the batch, from 0: hires fix draws in two."""
    passes: int = 1


class Preview(Event):
    """A rough small picture of the batch's first unfinished image, at most 8 KB."""

    index: int
    step: int
    pass_no: int = 0
    data: bytes = Field(exclude=True, repr=False)
    """JPEG."""


class Image(Event):
    """One finished image, encoded, with its infotext inside."""

    kind: ImageKind = "image"
    """`upscaled`: nothing was drawn for it."""
    index: int
    """Which image of the job, from 0."""
    seed: int
    prompt: str = ""
    """Its final prompt, styles and all."""
    width: int
    height: int
    infotext: str
    pixel_hash: str = ""
    """SHA-256 of the RGB values, row by row, hex: the same in every format."""
    suffix: str
    data: bytes = Field(exclude=True, repr=False)
    path: str | None = None
    """Where it lies, once saved."""


class Described(Event):
    """A picture in words."""

    index: int
    """Which of those that were asked about, from 0."""
    text: str
    interrogator: str
    """The label of what says it."""
    model: str = ""
    """The name of its model's folder."""


class SideImage(Event):
    """A picture that comes with an image, and is told before it: encoded, with its infotext inside."""

    kind: SideKind
    index: int
    """Of the image that it is of."""
    seed: int
    prompt: str = ""
    width: int
    height: int
    infotext: str
    pixel_hash: str = ""
    suffix: str
    data: bytes = Field(exclude=True, repr=False)
    path: str | None = None
    """Where it lies, once saved."""


class Grid(Event):
    """One picture that shows all images of the job, encoded, with the first one's infotext inside."""

    width: int
    height: int
    infotext: str
    suffix: str
    data: bytes = Field(exclude=True, repr=False)
    path: str | None = None
    """Where it lies, once saved."""


AnyPicture = Image | SideImage | Grid
"""The events that a file comes with."""


def kind_of(picture: AnyPicture) -> PictureKind:
    """What kind of picture an event brings."""
    return "grid" if isinstance(picture, Grid) else picture.kind


class Warning(Event):
    """Something the user should know that does not stop the job."""

    code: str
    message: Text
    source: str | None = None
    """The plugin concerned."""


class SteppedDown(Event):
    """Memory ran out, and the job goes on from its tape in a way that needs less."""

    rung: str
    """The step of the ladder: `apart`, `component-offload` …"""
    message: Text
    phase: str
    """What it was at: `load`, `sample` or `decode`."""
    together: int | None = None
    """How many images are drawn together from now on, if that is what changed."""


class Resumed(Event):
    """Images `first` .. `first + images - 1` went on from a tape: `calls` network calls were not repeated."""

    first: int
    images: int
    calls: int
    batch: int = 0
    batches: int = 1
    step: int = 0
    """The last step of the pass that the tape has; 0 if it has none whole."""
    steps: int = 0
    pass_no: int = 0
    passes: int = 1


OUT_OF_MEMORY, NO_KERNEL = "out_of_memory", "no_kernel"
ILLEGAL_ACCESS, MISALIGNED = "illegal_memory_access", "misaligned_address"
ECC_ERROR, DEVICE_LOST = "ecc_error", "device_lost"
LOST = (ILLEGAL_ACCESS, MISALIGNED, ECC_ERROR, DEVICE_LOST)
"""Codes of failures after which a process computes nothing any more; another one may go on."""


class Failed(Event):
    """The job stopped. Images already delivered stay."""

    code: str
    message: Text
    advice: Text = ""
    source: str | None = None
    """The plugin whose code is to blame."""


class Interrupted(Event):
    """The process that drew died or was stuck; another one goes on from the tape."""

    code: str
    message: Text
    attempt: int
    """How many were lost so far."""


class Waiting(Event):
    """The job cannot go on for now, and will by itself once it can."""

    code: str
    message: Text
    advice: Text = ""


class Paused(Event):
    """The job stands still: the tape has what was computed, and it can go on."""

    images: int
    """How many images were finished before."""
    step: int | None = None
    """Where the rest stands, if a step was asked for."""
    pass_no: int = 0
    """The pass of that step."""


class Cancelled(Event):
    """The user stopped the job."""

    images: int
    """How many images were finished before."""


class QueueChanged(Event):
    """The queue was paused or goes on, or its order changed."""

    paused: bool


class ExtensionChanged(Event):
    """An extension was loaded, changed, refused or taken away."""

    slug: str
    loaded: bool
    """Whether its newest version serves."""
    message: Text


class Done(Event):
    """Every image was delivered."""

    images: int
    seconds: float
    memory_active: int | None = None
    """Bytes, peak: tensors on the device; on a CPU the process's resident memory."""
    memory_reserved: int | None = None
    """Bytes, peak, held by the allocator; none on a CPU."""
    memory_used: int = 0
    """Bytes in use on the device (or machine), by everyone."""
    memory_total: int = 0


def event_of(name: str, fields: Mapping[str, Any], data: bytes = b"") -> Event:
    """The event of that JSON name. Raises ValueError if there is none such or its fields are wrong."""
    kind = next((kind for kind in Event.__subclasses__() if event_name(kind) == name), None)
    if not kind:
        raise ValueError(f"There is no event {name!r}.")
    return kind.model_validate({**fields, "data": data} if "data" in kind.model_fields else fields)


@cache
def event_name(kind: type[Event]) -> str:
    """`model_loading` for `ModelLoading`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
