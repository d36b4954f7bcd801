"""Pixels → files."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from numpy.typing import NDArray

from sdterm.core.extensions.registry import ContractError, PluginSet
from sdterm.core.frames import MAX_PAYLOAD
from sdterm.core.inputs import Inputs
from sdterm.core.planning.choices import Parts, options_of
from sdterm.core.planning.plan import Plan
from sdterm.engine.failures import blamed
from sdterm.events import Warning
from sdterm.hooks import OptionValue, OutputSaver, PluginError
from sdterm.messages import message

NO_TEXTS: Mapping[str, str] = MappingProxyType({})


class Finishing(Protocol):
    """What of a run finishing its pictures needs."""

    @property
    def plugins(self) -> PluginSet: ...
    @property
    def choices(self) -> Parts: ...
    @property
    def plan(self) -> Plan: ...
    @property
    def inputs(self) -> Inputs: ...
    def warn(self, warning: Warning, *, keep: bool = True) -> None: ...


@dataclass(frozen=True)
class Encoded:
    """A picture as a file."""

    data: bytes
    suffix: str
    infotext: str


def encoded(
    run: Finishing,
    pixels: NDArray[Any],
    infotext: Callable[[OutputSaver, Mapping[str, str]], str],
    frames: Callable[[], NDArray[Any]],
    texts: Mapping[str, str] = NO_TEXTS,
) -> Encoded:
    """Pixels [H, W, 3] or [H, W, 4] as a file in the chosen format. A finished picture is not thrown away: where that
    format's saver fails or refuses, it becomes a PNG. infotext: what the picture says, given its saver and what plugins
    did to it alone (slug → what). frames: those of the steps, for a saver that wants them; texts: more texts, for one
    that takes them. Raises PluginError if PNG fails."""
    saver, png = run.choices.saver, run.choices.fallback_saver
    pixels.setflags(write=False)  # or a saver might change what is hashed and shown in the grid
    try:
        text = infotext(saver, {})
        return Encoded(_encode(run, saver, pixels, text, frames, texts), saver.suffix, text)
    except PluginError as error:
        if saver is png:
            raise
        said = message("{problem} The image is saved as PNG.", problem=error)
        warning = Warning(code="saver_failed", message=said, source=blamed(error))
    run.warn(warning, keep=False)
    text = infotext(png, {warning.source or run.plugins.owner(saver): warning.message})
    return Encoded(_encode(run, png, pixels, text, frames, texts), png.suffix, text)


def _encode(
    run: Finishing,
    saver: OutputSaver,
    pixels: NDArray[Any],
    infotext: str,
    frames: Callable[[], NDArray[Any]],
    texts: Mapping[str, str],
) -> bytes:
    more: dict[str, Any] = {"frames": frames()} if saver.frames else {}
    more |= {"texts": texts} if saver.texts else {}
    seen = pixels.view() if saver.alpha else pixels[..., :3]
    with run.plugins.guard(saver):
        data = saver.encode(seen, infotext, **more, **saver_options(run, saver))
        if not isinstance(data, bytes) or not data:
            raise ContractError(message("it returned no bytes"))
        if len(data) > MAX_PAYLOAD:
            raise ContractError(
                message(
                    "it returned {size:,} MiB; the limit is {limit:,} MiB",
                    size=len(data) >> 20,
                    limit=MAX_PAYLOAD >> 20,
                )
            )
    return data


def saver_options(run: Finishing, saver: OutputSaver) -> Mapping[str, OptionValue]:
    """Those of the request are the chosen saver's."""
    return run.plan.format_options if saver is run.choices.saver else options_of(saver, {})
