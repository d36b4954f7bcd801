"""What plugins offer, for commands that list or read: no plugin's code runs in their process."""

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from sdterm.core.extensions.catalogue import Catalogue, CatalogueError, load_catalogue
from sdterm.core.extensions.discovery import discover
from sdterm.core.extensions.probe import TIME_LIMIT, ProbeError, question, recognised
from sdterm.core.extensions.registry import load_plugins
from sdterm.core.files import legible
from sdterm.core.library.checkpoints import CheckpointFile, ModelFileError, library_of
from sdterm.core.library.pipeline_facts import PipelineFacts
from sdterm.core.library.recognition import Recognition, find_checkpoint, recognition
from sdterm.core.names import UnknownNameError
from sdterm.core.planning.choices import facts_of
from sdterm.core.processes import BoundsError, run_bounded
from sdterm.core.settings.rundir import run_folder_of
from sdterm.core.settings.settings import Settings
from sdterm.hooks import PluginError
from sdterm.request import GenerationRequest

if TYPE_CHECKING:
    from sdterm.api import Model
    from sdterm.client import Client

A = TypeVar("A")


def offered(settings: Settings) -> Catalogue:
    """What serves, where a host runs; else what lies in `extensions/`. Raises CatalogueError."""
    return asked_of_host(settings, lambda host: host.catalogue()) or lying(settings)


def lying(settings: Settings) -> Catalogue:
    """What lies in `extensions/`, whatever a host has of it. Raises CatalogueError."""
    return load_catalogue(settings.root, third_party=settings["extensions"])


def by_extensions(settings: Settings, checkpoints: Sequence[CheckpointFile]) -> Mapping[CheckpointFile, Recognition]:
    """What families of extensions know checkpoints as that ours cannot draw with; empty where there are none, or where
    they cannot be asked. Their code runs in a process that may die of it."""
    if not checkpoints:
        return {}
    if models := asked_of_host(settings, lambda host: host.models()):
        told = {model.path: told_of(model) for model in models}
        return {each: told[path] for each in checkpoints if (path := legible(str(each.path))) in told}
    try:
        there = lying(settings)
        offers = (*there.of("ModelFamily"), *there.of("Pipeline"))
        sources = [*discover(settings.root / "extensions" if settings["extensions"] else None)]
        strangers = {source.slug for source in sources if source.origin != "built-in" and not source.refusal}
        if not strangers & {offer.plugin for offer in offers}:
            return {}
        with tempfile.TemporaryFile() as given:
            given.write(question(sources, [checkpoint.path for checkpoint in checkpoints]))
            given.seek(0)
            command = [sys.executable, "-P", "-m", "sdterm.core.extensions.probe"]
            answer = run_bounded(command, (4 + len(strangers)) * TIME_LIMIT, given=given).output
        return dict(zip(checkpoints, recognised(answer.encode()), strict=True))
    except (BoundsError, CatalogueError, ProbeError, ValueError, OSError):
        return {}


def told_of(model: "Model") -> Recognition:
    """What a host says that a checkpoint is."""
    return Recognition(**model.model_dump(include={*Recognition.model_fields}))


def pipeline_of(
    request: GenerationRequest, settings: Settings, assignments: Sequence[str] = ()
) -> PipelineFacts | None:
    """What may be asked of the pipeline that draws a request, which one of the assignments may name; None if a native
    family does, or if nobody knows."""
    ours = load_plugins(None, third_party=False)
    for assignment in assignments:
        name, _, value = assignment.partition("=")
        request = request.model_copy(update={"pipeline": value}) if name == "pipeline" else request
    try:
        checkpoint = find_checkpoint(request.model, library_of(settings), ours)
        found = recognition(checkpoint, ours)
        if request.pipeline and found.usable:
            return facts_of(checkpoint, request, ours)
    except (UnknownNameError, ModelFileError, PluginError, OSError):
        return None  # whoever draws says so
    return (found if found.usable else by_extensions(settings, [checkpoint]).get(checkpoint, found)).pipeline


def asked_of_host(settings: Settings, question: Callable[["Client"], A]) -> A | None:
    """A running host's answer; None if there is none, or if it is not the one that these settings want. The setting
    `connect` wants one on another machine: raises HostError if that cannot be reached."""
    if not settings["connect"] and not run_folder_of(settings.root).socket.exists():
        return None
    from sdterm.client import HostError, connect  # a tenth of a second

    if settings["connect"]:
        with connect(settings) as host:
            return question(host)
    try:
        with connect(settings, start=False, check=True) as host:
            return question(host)
    except HostError:
        return None
