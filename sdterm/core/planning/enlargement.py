"""How finished pictures are made larger, found: what A1111 calls extras."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pydantic import BaseModel, ConfigDict

from sdterm.core.extensions.registry import PluginSet
from sdterm.core.library.checkpoints import CheckpointFile, Library, ModelFileError
from sdterm.core.library.upscalers import KIND, ChosenUpscaler, find_upscaler, named_upscaler
from sdterm.core.names import normal
from sdterm.core.text import printable
from sdterm.fields import NO_UPSCALER
from sdterm.messages import message
from sdterm.request import GenerationRequest

_READ_AT_MOST = 8 << 30  # bytes, in search of a file that was moved
_MULTIPLE = 8


class UpscalerPlan(BaseModel):
    """An upscaler of a job."""

    model_config = ConfigDict(frozen=True)

    name: str
    sha256: str = ""
    """Of its file, if it has one."""


@dataclass(frozen=True)
class Enlargement:
    """What a request wants done to its finished pictures.

    visibility: how much of the second upscaler's picture is blended into the first's. to: width and height; without
    them `by` counts.
    """

    first: ChosenUpscaler
    second: ChosenUpscaler | None
    visibility: float
    by: float
    to: tuple[int, int] | None
    crop: bool

    @property
    def upscalers(self) -> tuple[ChosenUpscaler, ...]:
        return (self.first, self.second) if self.second else (self.first,)

    def scale(self, width: int, height: int) -> float:
        """How many times as large a picture of that size is to become. Source: A1111 postprocessing_upscale."""
        return max(self.to[0] / width, self.to[1] / height) if self.to else self.by

    def size(self, width: int, height: int) -> tuple[int, int]:
        """What a picture of that size becomes."""
        if self.to and self.crop:
            return self.to
        scale = self.scale(width, height)
        return larger_side(width, scale), larger_side(height, scale)


def larger_side(side: int, scale: float) -> int:
    """What becomes of a side, as in A1111: a multiple of 8, rounded down."""
    return max(int(side * scale // _MULTIPLE * _MULTIPLE), _MULTIPLE)


def wants_upscaler(name: str) -> bool:
    """Whether a request's field names an upscaler: the one called None stands for nothing there."""
    return normal(name) not in ("", normal(NO_UPSCALER))


def has_second_upscaler(request: GenerationRequest) -> bool:
    """Whether anything of a second upscaler's picture is to be seen."""
    return wants_upscaler(request.second_upscaler) and request.second_upscaler_visibility > 0


def target_size(request: GenerationRequest) -> tuple[int, int] | None:
    """The size to make pictures large enough for; a side that is not given is as long as the other."""
    width, height = request.upscale_width, request.upscale_height
    return ((width or height or 0), (height or width or 0)) if width or height else None


def choose_enlargement(
    request: GenerationRequest, plugins: PluginSet, library: Library, planned: Sequence[UpscalerPlan] = ()
) -> Enlargement | None:
    """What a request wants, if anything. planned: the upscalers that its job was begun with. Raises UnknownNameError,
    ModelFileError, PluginError."""
    if not wants_upscaler(request.upscaler):
        return None
    first = found_upscaler("upscaler", request, plugins, library, planned)
    return Enlargement(
        first=first,
        second=found_upscaler("second_upscaler", request, plugins, library, planned)
        if has_second_upscaler(request)
        else None,
        visibility=request.second_upscaler_visibility,
        by=request.upscale_by,
        to=target_size(request),
        crop=request.upscale_crop,
    )


def check_upscalers(request: GenerationRequest, plugins: PluginSet, library: Library) -> None:
    """Find out whether there are such upscalers; no code of a plugin is run. Raises UnknownNameError."""
    for field in ("upscaler", "second_upscaler"):
        if wants_upscaler(name := getattr(request, field)):
            named_upscaler(name, plugins, library, field=field)


def plan_upscalers(enlargement: Enlargement | None, library: Library) -> tuple[UpscalerPlan, ...]:
    """Whose files a job is bound to. Raises OSError."""
    return tuple(plan_upscaler(each, library) for each in (enlargement.upscalers if enlargement else ()))


def plan_upscaler(chosen: ChosenUpscaler, library: Library) -> UpscalerPlan:
    """One of them."""
    return UpscalerPlan(name=chosen.name, sha256=library.sha256(chosen.file.path) if chosen.file else "")


def found_upscaler(
    field: str, request: GenerationRequest, plugins: PluginSet, library: Library, planned: Sequence[UpscalerPlan] = ()
) -> ChosenUpscaler:
    """The upscaler that a field of a request names. planned: those that its job was begun with. Raises
    UnknownNameError, ModelFileError, PluginError."""
    files = {each.name: each.sha256 for each in planned}
    chosen = find_upscaler(getattr(request, field), plugins, library, field=field)
    digest = files.get(chosen.name, "")
    if not digest or not chosen.file or library.sha256(chosen.file.path) == digest:
        return chosen
    if not (file := library.hashed(KIND, digest, read_at_most=_READ_AT_MOST)):
        raise ModelFileError(
            message(
                "The upscaler that this job started with, {name} ({hash}), is missing. Put it back, or "
                "upscale again with another one.",
                name=printable(chosen.name),
                hash=digest[:10],
            )
        )
    return replace(chosen, file=CheckpointFile(file.path))
