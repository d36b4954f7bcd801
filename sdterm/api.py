"""What the host and its clients say to each other about jobs, pictures and the queue: the bodies of `/v1`."""

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    SerializeAsAny,
    StrictBool,
    field_validator,
    model_validator,
)

from sdterm.core.library.pipeline_facts import PipelineFacts
from sdterm.core.output.saving import Saving
from sdterm.errors import BAD_REQUEST, SdtermError
from sdterm.events import (
    IMAGE_KINDS,
    AnyPicture,
    Event,
    Failed,
    Grid,
    Image,
    PictureKind,
    Saying,
    SideImage,
    Text,
    event_of,
)
from sdterm.fields import MAX_PROMPT, Ladder, Precision
from sdterm.messages import message
from sdterm.request import GenerationRequest, Rungs

State = Literal["queued", "running", "paused", "waiting", "done", "failed", "cancelled"]
STATES: tuple[State, ...] = get_args(State)
ENDED: tuple[State, ...] = ("done", "failed", "cancelled")
HEARTBEAT = 2.0
"""Seconds between two signs of life in a stream of events over TCP: three that do not come are a lost line."""
LAST = "end"
"""The type of the last message of a stream, where the host ends."""


class FieldError(SdtermError, ValueError):
    """A field's value cannot be used; the message is a sentence."""

    code = BAD_REQUEST

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


LONGEST_PATTERN = 4096

Identifier = Annotated[int, Field(ge=1, le=2**63 - 1)]
Number = Annotated[int, Field(ge=0, le=2**16, strict=True)]
StepNumber = Annotated[int, Field(ge=1, le=1000, strict=True)]
PassNumber = Annotated[int, Field(ge=0, le=8, strict=True)]


DeviceName = Annotated[str, Field(min_length=1, max_length=60)]


class Body(BaseModel):
    """What a client asks."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Answer(Saying):
    """What the host answers. A newer host may say more."""

    model_config = ConfigDict(frozen=True)


class FirstPassOf(Body):
    """A picture of a job that was drawn before."""

    job: Identifier
    image: Number


class Submission(Body):
    """A job to queue."""

    request: GenerationRequest
    saving: Saving | None = None
    """Where its images go; unset as the host's settings say."""
    pause_at: StepNumber | None = None
    """The step at which all its images wait for a `resume`."""
    pause_pass: PassNumber = 0
    """The pass of that step, from 0: hires fix draws in two."""
    first_pass: FirstPassOf | None = None
    """The picture that this job's only image has its first pass of, to go on from it instead of drawing it again, if it
    is still there."""
    paused: StrictBool = False
    """Queue it, but do not begin."""
    device: DeviceName | None = None
    """The only device that may draw it, of those that `health` names; unset is any."""

    @field_validator("saving")
    @classmethod
    def _absolute(cls, saving: Saving | None) -> Saving | None:
        for path in (saving.folder, saving.last_infotext) if saving else ():
            if path and not path.is_absolute():
                raise ValueError(
                    message(
                        "has the relative path '{path}'; use an absolute path, because the host has a different "
                        "working folder",
                        path=str(path),
                    )
                )
            if path and not _is_storable(str(path)):
                raise ValueError(message("has a path with characters that no path can have"))
        for pattern in (saving.filename_pattern, saving.directory_pattern) if saving else ():
            if len(pattern) > LONGEST_PATTERN or not _is_storable(pattern):
                raise ValueError(
                    message("has a pattern that is not text of at most {limit} characters", limit=LONGEST_PATTERN)
                )
        return saving


def _is_storable(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:  # half a character
        return False


class Stop(Body):
    """How to pause a job."""

    at_step: StepNumber | None = None
    """Of every image still to draw; unset is at once."""
    pass_no: PassNumber = 0
    """The pass of that step."""


class Resumption(Body):
    """How to go on with a paused job."""

    images: tuple[Number, ...] | None = None
    """Only these; unset is all of them. The others are given up for good."""
    pause_at: StepNumber | None = None
    pause_pass: PassNumber = 0


class Retry(Body):
    """How to compute a failed job this time; what is unset stays. Its images, their seeds and its tape stay anyway."""

    memory: tuple[str, ...] | None = None
    """Memory optimizers by name, in place of the job's."""
    batch_size: Annotated[int, Field(ge=1, le=64, strict=True)] | None = None
    """Images drawn together."""
    batch_cond_uncond: StrictBool | None = None
    ladder: Ladder | None = None
    """Whether it may step down by itself where memory runs out."""
    rungs: Rungs | None = None
    """Steps of the ladder to begin with, in place of the job's."""
    precision: Precision | None = None
    """Another one than before begins the images under way again."""

    @model_validator(mode="before")
    @classmethod
    def _keeps_what_is_drawn(cls, given: Any) -> Any:
        for name in given if isinstance(given, Mapping) else ():
            if name in GenerationRequest.model_fields and name not in cls.model_fields:
                changes = ", ".join(cls.model_fields)
                raise FieldError(
                    name,
                    message(
                        "A retry cannot change {field}; it can change {fields}. Submit a new job for this.",
                        field=name,
                        fields=changes,
                    ),
                )
        return given

    def applied(self, request: GenerationRequest) -> GenerationRequest:
        """The same images, computed this way. Raises FieldError if they cannot be split like that."""
        changes = self.model_dump(exclude_none=True)
        if self.batch_size:
            images = request.batch_size * request.batch_count
            sizes = batch_sizes(images)
            if self.batch_size not in sizes:
                said = message(
                    "batch_size is {size}, but the images of this job ({images}) can only be split into batches "
                    "of {sizes}.",
                    size=self.batch_size,
                    images=images,
                    sizes=", ".join(map(str, sizes)),
                )
                raise FieldError("batch_size", said)
            changes["batch_count"] = images // self.batch_size
        return request.model_copy(update=changes)


def batch_sizes(images: int) -> list[int]:
    """The sizes of equal batches into which so many images can be split, ascending."""
    return [size for size in range(1, 65) if images % size == 0 and images // size <= 1000]


class Move(Body):
    """Where to put a queued job."""

    before: Annotated[Identifier, Field(strict=True)] | None = None
    """The queued job that it is to come before; unset is the end of the queue."""


class Pin(Body):
    """Where a job may be drawn."""

    device: DeviceName | None = None
    """On this device alone; unset is any."""


class HashRequest(Body):
    """Of which model files hashes are to be computed."""

    kind: Annotated[str, Field(max_length=100)] = "checkpoint"
    name: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    """A file's name, file name, path or hash; unset: all of the kind whose hashes are not known."""


class ModelName(Body):
    """Which checkpoint is meant."""

    name: Annotated[str, Field(min_length=1, max_length=4096)]
    """Its name, file name, path or hash."""


class Words(Body):
    """A prompt to read."""

    text: Annotated[str, Field(max_length=MAX_PROMPT)]
    negative: StrictBool = False
    model: Annotated[str, Field(max_length=4096)] | None = None
    """Whose tokens are counted; unset is the first one found."""
    steps: StepNumber = 20


class Extension(Answer):
    """A plugin that is not ours, and how it stands."""

    slug: str
    origin: Literal["package", "extension"]
    location: str
    digest: str
    state: Literal["serving", "stale", "failed", "aside", "off"]
    """`stale`: an older version serves, since the newest cannot; `failed`: nothing of it serves; `aside`: it spoilt too
    many jobs; `off`: switched off, or not allowed."""
    message: Text = ""
    """Why, as far as there is something to say."""
    gives: tuple[str, ...] = ()


class Trap(Answer):
    """Something that parses, but does not do what it looks like."""

    start: int
    end: int
    """Characters of the text."""
    message: Text
    fix: str | None
    """What to write there instead; None where only the author can know."""


class PromptReading(Answer):
    """How a prompt is read."""

    traps: tuple[Trap, ...]
    tokens: tuple[int, ...]
    """Of each chunk, where it has most in the course of the steps; none if the model's tokens are not known."""
    room: int
    """Tokens that so many chunks hold."""


class Progress(Answer):
    """Where a running job is."""

    batch: int = 0
    batches: int = 1
    step: int = 0
    steps: int = 0
    pass_no: int = 0
    passes: int = 1


class JobView(Answer):
    """A job, as the host keeps it."""

    id: Identifier
    state: State
    prompt: str
    images: int
    done: int
    """How many of its images are saved."""
    pause_at: int | None = None
    pause_pass: int = 0
    left_out: tuple[int, ...] = ()
    reason: Failed | None = None
    """Why it failed or waits."""
    attempts: int = 0
    """How many workers died drawing it since it last finished an image, was resumed or tried again."""
    progress: Progress | None = None
    """While it runs."""
    device: str | None = None
    """The only device that may draw it; unset is any."""
    created: float
    """Seconds since 1970."""
    ended: float | None = None


class JobDetails(JobView):
    """A job with all it was asked and what was resolved."""

    request: GenerationRequest
    saving: Saving
    first_pass: FirstPassOf | None = None
    """The picture whose first pass it goes on from, if it was queued with one."""
    plan: dict[str, Any] | None = None
    bound_plugins: tuple[tuple[str, str], ...] = ()
    """(slug, content hash) of each plugin that it is drawn with."""
    last_event: int = 0
    """The number of its last event that is kept: whoever saw that one has seen all."""

    @property
    def rungs(self) -> Rungs:
        """The steps of the ladder with which it goes on, those of its memory plan among them."""
        return tuple(self.plan["request"]["rungs"]) if self.plan else self.request.rungs


class JobPage(Answer):
    """Some jobs, in the order asked for."""

    jobs: tuple[JobView, ...]
    next: str | None = None
    """Give it as `cursor` for the page after this one."""


class Queue(Answer):
    """The queue as a whole."""

    paused: bool
    counts: Mapping[State, int]


class Picture(Answer):
    """A saved image."""

    id: Identifier
    job: int | None
    """None for a picture that was found in the outputs folder, and whose job is not known."""
    kind: PictureKind = "image"
    number: int
    """Which of the job's images it is, or comes with."""
    path: str
    missing: bool = False
    """Its file is not where it was saved."""
    seed: int | None = None
    width: int
    height: int
    infotext: str
    saved: float
    """Seconds since 1970."""

    @property
    def is_image(self) -> bool:
        """Whether it is one of its job's images, not what comes with one or shows them all."""
        return self.kind in IMAGE_KINDS


def picture_event(picture: Picture) -> AnyPicture:
    """The event that told of it, without its bytes."""
    facts = picture.model_dump(include={"width", "height", "infotext", "path"})
    facts |= {"data": b"", "suffix": PurePath(picture.path).suffix}
    match picture.kind:
        case "grid":
            return Grid(**facts)
        case "image" | "upscaled" as kind:
            return Image(**facts, kind=kind, index=picture.number, seed=picture.seed or 0)
        case kind:
            return SideImage(**facts, kind=kind, index=picture.number, seed=picture.seed or 0)


class PicturePage(Answer):
    """Some pictures, the newest first."""

    pictures: tuple[Picture, ...]
    next: str | None = None
    total: int | None = None
    """How many there are on all pages; told with the first one."""


class WorkerView(Answer):
    """A process that draws."""

    device: str
    pid: int | None = None
    job: int | None = None
    phase: str = "off"
    call: int = 0
    model: str | None = None
    kept: tuple[str, ...] = ()
    """Other models in its memory."""
    trouble: Text | None = None
    """Why it could not be started the last time."""
    hardware: str = ""
    """What the device is, like `NVIDIA H200` or `cpu, 4 threads`, once that is known."""
    drained: bool = False
    """It takes no new jobs."""
    memory_used: int | None = None
    memory_total: int | None = None
    """Bytes, by all processes; None where nobody can say."""
    temperature: int | None = None
    """Degrees Celsius."""


class Health(Answer):
    """The host itself."""

    version: str
    pid: int
    data: str
    started: float
    settings: dict[str, Any]
    """The host's own settings, by which a client sees whether this is the host it wants."""
    workers: tuple[WorkerView, ...]
    queue: Queue
    last_event: int
    watching: int
    """How many clients follow the events."""
    notices: tuple[Text, ...] = ()
    """What its owner should know."""
    address: str | None = None
    """Where it is reached over TCP, if it is."""
    share_token: str | None = None
    """The token that `--share` made, until the host ends; given over the socket alone."""


class Model(Answer):
    """A checkpoint."""

    name: str
    path: str
    size: int
    sha256: str | None = None
    """None until something needed it."""
    embedded: bool = False
    family: str | None = None
    """Its architecture, in words."""
    native_size: int | None = None
    """Pixels: what it was trained on."""
    process: Literal["vp", "flow"] = "vp"
    """`vp` a diffusion model, `flow` one of rectified flow: which samplers can draw with it."""
    usable: bool = True
    note: Text = ""
    """Why it cannot be used."""
    pipeline: PipelineFacts | None = None
    """Of one that is drawn with a pipeline: what its requests may ask for."""
    licence: str = ""
    """As its folder or its header says; empty if neither does."""
    loaded: bool = False
    """It is in the memory of a process that draws."""


class LibraryKind(Answer):
    """A kind of model files."""

    id: str
    label: str
    tag: str | None = None
    """The word of the prompt tag that calls one."""
    folders: tuple[str, ...] = ()
    """Where it is looked for, in that order."""
    files: int = 0


class LibraryFile(Answer):
    """A model file of any kind, with what its header says and what its user wrote beside it."""

    kind: str
    name: str
    path: str
    size: int
    hash: str | None = None
    """As A1111 writes it: 10 digits, 12 of a LoRA or embedding. None until somebody had it computed."""
    alias: str | None = None
    """What the maker of a LoRA called it."""
    base: str | None = None
    """The models it is for: SD1, SD2 or SDXL."""
    weight: float | None = None
    """The weight that its user prefers."""
    activation: str = ""
    """Words for the prompt."""
    negative: str = ""
    """Words for the negative prompt."""
    description: str = ""
    preview: bool = False
    """Whether a picture lies beside it."""


class Hashing(Answer):
    """How far reading model files for their hashes is."""

    files: int = 0
    files_done: int = 0
    bytes: int = 0
    bytes_done: int = 0
    paused: bool = False


DownloadState = Literal["waiting", "running", "done", "failed", "cancelled"]
Token = Literal["HF_TOKEN", "CIVITAI_TOKEN"]


class DownloadRequest(Body):
    """A model to add."""

    source: Annotated[str, Field(min_length=1, max_length=2000)]
    """An absolute path, a URL, `hf:OWNER/NAME[/FILE]` or `civitai:MODEL[@VERSION]`."""
    kind: Annotated[str, Field(max_length=40)] | None = None
    """What it is, like `lora`, which says into which folder it comes; unset, as its header says."""
    name: Annotated[str, Field(max_length=255)] | None = None
    """Its file name; unset, as its server calls it."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    size: Annotated[int, Field(ge=1, lt=2**50, strict=True)] | None = None
    """Only a file that has them."""
    tokens: Mapping[Token, SecretStr] = {}
    """For the servers that they are of; they are neither kept nor repeated."""

    @field_validator("source")
    @classmethod
    def _absolute(cls, source: str) -> str:
        if not re.match(r"/|[A-Za-z][A-Za-z0-9+.-]*:", source):
            raise ValueError(
                message("is a relative path; use an absolute path, because the host has a different working folder")
            )
        return source


class DownloadOffer(Answer):
    """What a source is, before any of it is fetched."""

    name: str
    kind: str | None
    """None where only the whole file tells it."""
    folder: str | None
    size: int | None
    sha256: str | None
    licence: str
    """As its hub has it; empty if nobody says."""
    files: int = 1
    """More than one of a folder."""
    free: int
    """Bytes that the disk has left."""


class Download(Answer):
    """A model on its way, or that came."""

    id: Identifier
    source: str
    name: str
    state: DownloadState
    kind: str | None
    path: str | None
    """Where it lies, once it is there."""
    received: int
    """Bytes."""
    size: int | None
    speed: float | None
    """Bytes a second, while it runs."""
    sha256: str | None
    """Once all is there."""
    message: Text = ""
    """Why it failed."""


class Style(Answer):
    """A named piece of prompt, of a styles file."""

    name: str
    prompt: str
    negative_prompt: str


class TrashedPicture(Answer):
    """A deleted picture that can be brought back."""

    picture: int
    path: str
    """Where it was."""
    deleted: float
    """Seconds since 1970."""
    size: int
    """Bytes; 0 if its file is gone."""


class Emptied(Answer):
    """What came of emptying the trash."""

    emptied: int
    """Pictures that are gone for good."""


class Networks(Answer):
    """The names by which prompts call what lies in the data folder."""

    lora: tuple[str, ...]
    """For `<lora:NAME:1>`."""
    hypernet: tuple[str, ...]
    """For `<hypernet:NAME:1>`."""
    embeddings: tuple[str, ...]
    """Textual inversions, which are called by their bare names."""


class SettingValue(Body):
    """What a setting is to be, for good."""

    value: Any
    """Text as a person types it, where lists have commas, or as TOML has it; null is the default."""


class SettingView(Answer):
    """A setting, its value and where that comes from."""

    key: str
    value: Any
    source: str
    scope: str
    sentence: str


class Problem(Answer):
    """Why the host did not do what was asked."""

    code: str
    message: Text
    field: str | None = None
    """What of the request is wrong, like `request.steps`."""


class Entry(Answer):
    """One entry of the host's stream: events of all jobs in one order."""

    number: int
    """From 1, without a gap but for previews, which have the number of the entry before them."""
    at: float
    """Seconds since 1970."""
    job: int | None
    event: SerializeAsAny[Event]
    data: bytes = Field(b"", exclude=True, repr=False)

    @classmethod
    def of(cls, fields: Mapping[str, Any], data: bytes = b"") -> "Entry":
        """From JSON. Raises ValueError."""
        said = dict(fields["event"])
        return cls.model_validate({**fields, "event": event_of(said.pop("event"), said, data)})


class Snapshot(Event):
    """The state of everything, for a client that missed too much to be told one by one: what came before is not
    told any more."""

    jobs: tuple[JobView, ...]
    """Those not ended."""
    queue: Queue
