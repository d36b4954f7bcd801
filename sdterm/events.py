"""The one stream of typed events that a run is: the terminal, the API, `--json` and the tests read the same.

Events are frozen; the JSON name is the class name in snake_case. Bytes (previews, images) travel beside the JSON,
never in it.
"""

import re

from pydantic import BaseModel, ConfigDict, Field, computed_field


class Event(BaseModel):
    """Something that happened to a job."""

    model_config = ConfigDict(frozen=True)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def event(self) -> str:
        """The event's name in JSON: `model_loading` for `ModelLoading`."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()


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
    data: bytes = Field(b"", exclude=True, repr=False)
    """The resolved plan, as JSON (`core.plan.Plan`): given back to the engine, it draws the same again."""


class ModelLoading(Event):
    """Weights are being read; `done` tells when they are in memory."""

    model: str
    done: bool
    seconds: float = 0.0


class Step(Event):
    """A sampler step of a batch is finished on the device."""

    batch: int
    batches: int
    step: int
    """1-based, within the batch."""
    steps: int


class Preview(Event):
    """A rough small picture of the batch's first unfinished image, at most 8 KB."""

    index: int
    step: int
    data: bytes = Field(exclude=True, repr=False)
    """JPEG."""


class Image(Event):
    """One finished image, encoded, with its infotext inside."""

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


class Grid(Event):
    """One picture that shows all images of the job, encoded, with the first one's infotext inside."""

    width: int
    height: int
    infotext: str
    suffix: str
    data: bytes = Field(exclude=True, repr=False)
    path: str | None = None
    """Where it lies, once saved."""


class Warning(Event):
    """Something the user should know that does not stop the job."""

    code: str
    message: str
    source: str | None = None
    """The plugin concerned."""


class Resumed(Event):
    """Images `first` .. `first + images - 1` went on from a tape: `calls` network calls were not repeated."""

    first: int
    images: int
    calls: int


ILLEGAL_ACCESS, DEVICE_LOST = "illegal_memory_access", "device_lost"
"""Codes of failures after which a process computes nothing any more; another one may go on."""


class Failed(Event):
    """The job stopped. Images already delivered stay."""

    code: str
    message: str
    advice: str = ""


class Paused(Event):
    """Every image still to draw stands at a step: the tape has what was computed, and the job can go on."""

    images: int
    """How many images were finished before."""
    step: int | None = None
    """Where the rest stands, if a step was asked for."""


class Cancelled(Event):
    """The user stopped the job."""

    images: int
    """How many images were finished before."""


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
