"""A checkpoint in memory: built by its family, shaped by memory optimizers."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any, cast

import torch

from sdterm.core.extensions.registry import ContractError, PluginSet
from sdterm.core.library.checkpoints import CheckpointFile, ModelFileError
from sdterm.core.planning.choices import Choices, Chosen, ChosenModel, options_of
from sdterm.core.planning.ladder import Optimizer
from sdterm.core.planning.networks import NetworkPlan
from sdterm.engine.conditioning import Conditioner
from sdterm.engine.device import free_unused
from sdterm.engine.failures import blamed
from sdterm.engine.isolation import Untouched, random_numbers_kept
from sdterm.engine.network_files import load_networks
from sdterm.engine.networks import NO_NETWORKS, AppliedNetworks, change, mismatch
from sdterm.engine.run import Run, Wanted
from sdterm.engine.tapped.adapters import put_on
from sdterm.engine.tapped.pipeline import LoadedPipeline, load_pipeline
from sdterm.engine.tiling import set_tiling
from sdterm.events import ModelLoading, Warning
from sdterm.hooks import Adaptable, Components, MemoryOptimizer, ModelFacts, ModelFamily, Pipeline, PluginError, Start
from sdterm.messages import message

TOLD_EVERY = 0.5
"""Seconds between two words on how far the reading of weights is."""


class OptimizerError(PluginError):
    """A memory optimizer failed at its work, or refused it. `slug`: the plugin to blame, if any is."""

    def __init__(self, error: PluginError, optimizer: MemoryOptimizer) -> None:
        super().__init__(str(error))
        self.optimizer, self.slug = optimizer, blamed(error)


class UndoError(OptimizerError):
    """A memory optimizer did not put things back: the model is to be built again."""


@dataclass(frozen=True)
class Model:
    """A loaded checkpoint: what was read, how, and the parts that run."""

    name: str
    sha256: str
    config: Mapping[str, Any] | None
    """What the file beside it says; of two copies of one file each may have its own."""
    vae_sha256: str
    """Of a separate VAE."""
    parts: Mapping[str, str]
    """Part → the SHA-256 of what gives it besides."""
    dtype: torch.dtype
    family: ModelFamily | Pipeline
    optimizers: tuple[Optimizer, ...]
    components: Components
    condition: Conditioner
    tiling: bool = False
    """Whether its convolutions go round the edges."""
    untouched: tuple[Untouched | None, ...] = ()
    """Of each optimizer that does not come with sdterm: what it found, to be sure that it puts that back."""
    applied: AppliedNetworks = NO_NETWORKS
    """The networks that are on."""
    aside: bool = False
    """Whether it was taken off its device and waits in the RAM."""

    @cached_property
    def weights(self) -> int:
        """Bytes of its weights on the device; on a CPU they may be mapped from a file, and not read yet."""
        device = self.components.device.type
        weights = (chain(module.parameters(), module.buffers()) for module in self.components.modules.values())
        return sum(weight.nbytes for weight in chain(*weights) if weight.device.type == device)

    @property
    def files(self) -> tuple[str, Mapping[str, Any] | None, str, Mapping[str, str]]:
        """What was read."""
        return self.sha256, self.config, self.vae_sha256, self.parts


def facts_of(found: ChosenModel, dtype: torch.dtype) -> ModelFacts:
    """What memory optimizers are told of a model."""
    parts = {name: count * dtype.itemsize for name, count in found.match.numbers.items()}
    return ModelFacts(found.family.id, dtype, parts)


def choose_optimizers(
    choices: Choices, plugins: PluginSet, device: torch.device, dtype: torch.dtype
) -> tuple[tuple[Optimizer, ...], tuple[Warning, ...]]:
    """The optimizers to use, one per group, and a warning for each that cannot be used here though it was asked for,
    or failed at saying whether it can. Raises OptimizerError if the picture would be another without it."""
    model = facts_of(choices.first.model, dtype)
    chosen: dict[str, Optimizer] = {}
    refused: list[Warning] = []
    for asked in choices.asked(MemoryOptimizer):
        optimizer = asked.of
        usable, reason = is_usable(optimizer, plugins, device, model)
        if usable:
            chosen[optimizer.group] = asked
        elif not reason:
            continue  # it is not meant for such models
        elif optimizer.effect == "visible":
            raise OptimizerError(
                PluginError(
                    message("{optimizer} cannot be used here: {reason}.", optimizer=optimizer.label, reason=reason)
                ),
                optimizer,
            )
        else:
            said = message(
                "{optimizer} cannot be used here: {reason}. The job continues without it.",
                optimizer=optimizer.label,
                reason=reason,
            )
            refused.append(Warning(code="optimizer_skipped", message=said))
    for optimizer in plugins.all(MemoryOptimizer):
        if not optimizer.default or optimizer.group in chosen:
            continue
        try:
            usable, _ = is_usable(optimizer, plugins, device, model)
        except PluginError as error:
            refused.append(skipped_warning(error))
        else:
            if usable:
                chosen[optimizer.group] = Chosen(optimizer, options_of(optimizer, {}))
    return tuple(chosen.values()), tuple(refused)


def is_usable(
    optimizer: MemoryOptimizer, plugins: PluginSet, device: torch.device, model: ModelFacts
) -> tuple[bool, str]:
    """Whether an optimizer can be used here, and the reason if not. Raises PluginError."""
    with plugins.guard(optimizer):
        usable, reason = optimizer.supports(device, model)
    return usable, reason


def skipped_warning(error: PluginError) -> Warning:
    """Of an optimizer that nobody asked for and that failed: the picture is drawn without."""
    return Warning(
        code="optimizer_skipped",
        message=message("{problem} The job continues without it.", problem=error),
        source=blamed(error),
    )


def load_model(run: Run, wanted: Wanted, dtype: torch.dtype, tell: Callable[[float], None]) -> Model:
    """Read the weights and apply the optimizers. tell: called with the fraction of the weights read so far. Raises
    ModelFileError; OptimizerError naming one that fails; PluginError if the family does."""
    plan, checkpoint, family, plugins = wanted.plan, wanted.found.checkpoint, wanted.found.family, run.plugins
    optimizers = in_order(run.optimizers, wanted.start, plugins)
    home = home_of(optimizers, run.device)
    with plugins.guard(family, ModelFileError), random_numbers_kept(run.device):
        reader = _kept_on(home, _telling(checkpoint, tell))
        if isinstance(family, Pipeline):
            loaded = load_pipeline(family, reader, home, run.device, dtype, wanted.found.match.downscale)
            components = cast(Components, loaded)  # all but the loop, which nobody asks a pipeline for
        else:
            components = family.build(reader, run.device, dtype)
        if components is None:
            raise ContractError(message("it built nothing"))
        condition = Conditioner(components)
    files = plan.model_hash, checkpoint.config, plan.vae_hash, plan.parts
    model = Model(plan.model, *files, dtype, family, (), components, condition)
    if home != run.device:
        _move(components, home)  # what the family made beside what it read
    return _applied(model, plugins, optimizers)


def in_order(optimizers: Sequence[Optimizer], start: Start, plugins: PluginSet) -> tuple[Optimizer, ...]:
    """A run's optimizers in the order in which they are applied, with their options for a pass that begins so: those
    that offload come when the others have made the weights what they are, those of a pass last, since they come and
    go."""
    asked: list[Optimizer] = []
    for each in optimizers:
        with plugins.guard(each.of):
            asked.append(Chosen(each.of, each.of.in_pass(each.options, start)) if each.of.in_pass else each)
    return tuple(sorted(asked, key=lambda each: 2 if each.of.in_pass else int(each.of.offloads)))


def home_of(optimizers: Sequence[Optimizer], device: torch.device) -> torch.device:
    """Where a model's weights lie while nothing uses them."""
    return torch.device("cpu") if any(each.of.offloads for each in optimizers) else device


def _move(components: Components, home: torch.device) -> None:
    for module in components.modules.values():
        module.to(home)


def _kept_on(home: torch.device, checkpoint: CheckpointFile) -> CheckpointFile:
    vae = checkpoint.vae and replace(checkpoint.vae, kept_on=home)
    return replace(checkpoint, kept_on=home, vae=vae)


def _telling(checkpoint: CheckpointFile, tell: Callable[[float], None]) -> CheckpointFile:
    """The same checkpoint, which tells how much of it was read."""
    whole, read = max(sum(map(math.prod, checkpoint.shapes().values())), 1), 0

    def on_read(numbers: int) -> None:
        nonlocal read
        read += numbers
        tell(min(read / whole, 1.0))

    return replace(checkpoint, on_read=on_read)


def can_switch(model: Model, optimizers: Sequence[Optimizer]) -> bool:
    """Whether the model gets to these optimizers without being built again: those to leave can be undone."""
    return all(old.of.undo for old in model.optimizers[_staying(model, optimizers) :])


def _keeps_weights(model: Model, optimizers: Sequence[Optimizer], plugins: PluginSet) -> bool:
    """Whether none of those that go and come looks at the weights, which networks may have changed."""
    staying = _staying(model, optimizers)
    moved = (*model.optimizers[staying:], *optimizers[staying:])
    return all(each.of.in_pass and not plugins.is_foreign(each.of) for each in moved)


def _staying(model: Model, optimizers: Sequence[Optimizer]) -> int:
    """How many may stay: each was applied on top of those before it, and is undone before they are."""
    pairs = enumerate(zip(model.optimizers, optimizers, strict=False))
    return next((i for i, (old, new) in pairs if old != new), min(len(model.optimizers), len(optimizers)))


def with_optimizers(model: Model, plugins: PluginSet, optimizers: Sequence[Optimizer]) -> Model:
    """The model with exactly these optimizers on. Raises OptimizerError naming one that fails, UndoError one that did
    not put things back: then it is a model that cannot be trusted and is to be built again."""
    staying, device = _staying(model, optimizers), model.components.device
    before, after = home_of(model.optimizers, device), home_of(optimizers, device)
    model = _undone(model, plugins, staying)
    if before != after:
        _move(model.components, after)
    return _applied(model, plugins, optimizers[staying:])


def _undone(model: Model, plugins: PluginSet, staying: int) -> Model:
    """The model with its first optimizers on, as many as stay. Its weights remain where they lie."""
    components, on, untouched = model.components, [*model.optimizers], [*model.untouched]
    home = home_of(on, components.device)
    while len(on) > staying:
        old, before = on.pop(), untouched.pop()
        assert old.of.undo  # see can_switch
        try:
            with _process_restored(before), plugins.guard(old.of):
                old.of.undo(components)
                if before and not before.is_as_it_was(components, _known(home, on)):
                    raise ContractError(message("its undo did not restore everything"))
        except PluginError as error:
            raise UndoError(error, old.of) from error
    return replace(model, optimizers=tuple(on), untouched=tuple(untouched))


def _applied(model: Model, plugins: PluginSet, more: Sequence[Optimizer]) -> Model:
    """The model with more optimizers on. Its weights lie where these want them."""
    components, on, untouched = model.components, [*model.optimizers], [*model.untouched]
    home = home_of([*on, *more], components.device)
    for new in more:
        before = Untouched.of(components, _known(home, on)) if plugins.is_foreign(new.of) else None
        try:
            with _process_restored(before), plugins.guard(new.of):
                new.of.apply(components, **new.options)
        except PluginError as error:
            raise OptimizerError(error, new.of) from error
        on.append(new)
        untouched.append(before)
    return replace(model, optimizers=tuple(on), untouched=tuple(untouched))


def _known(home: torch.device, on: Sequence[Optimizer]) -> torch.device | None:
    """Where the weights lie, unless one of these moves them about."""
    return None if any(each.of.offloads for each in on) else home


@contextmanager
def _process_restored(before: Untouched | None) -> Iterator[None]:
    """What an optimizer that fails did to more than the model, which is built again anyway, is put back."""
    try:
        yield
    except PluginError:
        if before:
            before.restore_process()
        raise


def set_aside(model: Model, ram: torch.device) -> Model:
    """The model, its weights moved to the RAM. One of which an optimizer keeps parts elsewhere stays as it lies."""
    device, modules = model.components.device, model.components.modules.values()
    if device == ram or any(weight.device != device for module in modules for weight in weights(module)):
        return model
    _move(model.components, ram)
    return replace(model, aside=True)


def brought_back(model: Model) -> Model:
    """The model on its device."""
    if not model.aside:
        return model
    _move(model.components, model.components.device)
    return replace(model, aside=False)


def weights(module: torch.nn.Module) -> Iterator[torch.Tensor]:
    """All numbers of a module, learned or not."""
    return chain(module.parameters(), module.buffers())


class Loader:
    """Keeps the last models in memory. limit: how many, the one in use included. others_in_ram: those that are not in
    use leave the device for the RAM."""

    def __init__(self, device: torch.device, limit: int = 1, *, others_in_ram: bool = True) -> None:
        self.model: Model | None = None
        """The one in use."""
        self._others: list[Model] = []  # as they were left, the latest first
        self._device, self._limit = device, limit
        self._ram = torch.device("cpu") if others_in_ram else device

    @property
    def kept(self) -> tuple[str, ...]:
        """The names of the others, the latest first."""
        return tuple(model.name for model in self._others)

    def unload(self) -> None:
        """Let go of all models."""
        self.model = None
        self.free()

    def free(self) -> None:
        """Let go of all models but the one in use, and of what nobody uses any more."""
        self._others = []
        free_unused(self._device)

    def load_as_asked(self, run: Run) -> tuple[Model, tuple[Optimizer, ...]]:
        """The first pass's model with those of the run's optimizers that work. Raises OptimizerError if one does not
        that the request names."""
        while True:
            try:
                return self.load(run, run.model_of(0), run.dtype), run.optimizers
            except OptimizerError as error:
                if any(each.of is error.optimizer for each in run.choices.additions):
                    raise
                run.warn(skipped_warning(error))
                working = tuple(each for each in run.optimizers if each.of is not error.optimizer)
                run = replace(run, optimizers=working)

    def load(
        self, run: Run, wanted: Wanted, dtype: torch.dtype, networks: Sequence[NetworkPlan] | None = None
    ) -> Model:
        """A model, from memory if it is there, with the run's optimizers on, and tiling if it is asked for. networks:
        exactly those that are on; None: whichever are."""
        model, tiling = self._load(run, wanted, dtype), run.plan.request.tiling
        if model.tiling != tiling:
            set_tiling(model.components.modules.values(), tiling)
            model = self.model = replace(model, tiling=tiling)
        return model if networks is None else self._with_networks(model, run, wanted, networks)

    def _with_networks(self, model: Model, run: Run, wanted: Wanted, asked: Sequence[NetworkPlan]) -> Model:
        if model.applied.asked == tuple(asked):
            return model
        components, on = model.components, model.optimizers
        if not isinstance(components, LoadedPipeline | Adaptable):
            said = message(
                "Models of {family} support no networks and no embeddings, so these are ignored.",
                family=wanted.found.family.label,
            )
            run.warn(Warning(code="network_ignored", message=said))
            return model
        self.model = None  # half changed it must not be found again
        staying = next((number for number, each in enumerate(on) if each.of.offloads), len(on))
        model = _undone(model, run.plugins, staying)  # those that offload keep copies of the weights
        if isinstance(components, LoadedPipeline):
            applied = put_on(components.pipe, asked, run.networks)
        else:
            networks = load_networks(components, asked, model.applied, run.networks, run.plugins)
            applied = change(components, wanted.found.checkpoint, model.applied, networks)
            for network in networks:
                if mismatches := mismatch(network, applied):
                    run.warn(Warning(code="network_mismatch", message=mismatches), keep=False)
        self.model = _applied(replace(model, applied=applied), run.plugins, on[staying:])
        return self.model

    def _load(self, run: Run, wanted: Wanted, dtype: torch.dtype) -> Model:
        began, plan, found = time.perf_counter(), wanted.plan, wanted.found
        asked = (plan.model_hash, found.checkpoint.config, plan.vae_hash, plan.parts)
        kept, in_use = [each for each in (self.model, *self._others) if each], self.model
        optimizers = in_order(run.optimizers, wanted.start, run.plugins)
        self.model = None  # forgotten while it changes: half changed it must not be found again
        # One that is the same file in another precision, or of a family that changed, makes way, too.
        self._others = [each for each in kept if each.files != asked][: self._limit - 1]
        model = next((each for each in kept if each.files == asked), None)
        is_in_use = model is in_use
        if in_use and self._others and self._others[0] is in_use:
            self._others[0] = set_aside(in_use, self._ram)
        if model and (model.dtype, model.family) == (dtype, found.family) and can_switch(model, optimizers):
            try:
                model = brought_back(model)
                if model.applied.networks and not _keeps_weights(model, optimizers, run.plugins):  # they come last
                    model = self._with_networks(model, run, wanted, ())
                self.model = with_optimizers(model, run.plugins, optimizers)
                if not is_in_use:
                    seconds = time.perf_counter() - began
                    run.emit(ModelLoading(model=plan.model, done=True, seconds=seconds, kept=self.kept))
                return self.model
            except UndoError as error:
                said = message("{problem} The model is loaded again.", problem=error)
                run.emit(Warning(code="model_reloaded", message=said, source=blamed(error)))
        del model, in_use, kept  # their memory is needed for the next one
        told = math.inf

        def tell(fraction: float) -> None:
            nonlocal told
            now = time.perf_counter()
            told = min(told, now)  # the time of the first tensor
            if now - told >= TOLD_EVERY:
                told = now
                run.emit(ModelLoading(model=plan.model, done=False, fraction=fraction, kept=self.kept))

        run.emit(ModelLoading(model=plan.model, done=False, kept=self.kept))
        before, run.pulse.phase = run.pulse.phase, "load"
        self.model = load_model(run, wanted, dtype, tell)
        run.pulse.phase = before
        seconds = time.perf_counter() - began
        run.emit(ModelLoading(model=plan.model, done=True, seconds=seconds, kept=self.kept))
        return self.model
