"""`PluginSet`: an immutable snapshot of everything plugins offer.

Nothing is ever unregistered from a live set. Reloading builds a new set and swaps a reference; a job keeps the set it
started with, identified by (slug, content digest) of each plugin.
"""

import math
import os
import re
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Any, TypeVar

import pluggy

from sdterm import hooks
from sdterm.core.extensions.discovery import discover
from sdterm.core.extensions.kinds import KINDS, Descriptor, Kind, kind_of
from sdterm.core.extensions.loading import load
from sdterm.core.extensions.source import Source
from sdterm.core.inputs import is_digest
from sdterm.core.names import find, normal
from sdterm.core.text import printable
from sdterm.hooks import (
    DenoiseHook,
    LocalePack,
    MemoryOptimizer,
    Option,
    OptionValue,
    OutputSaver,
    Pipeline,
    PluginError,
    Postprocessor,
    PromptTransform,
    Sampler,
    Scheduler,
    Upscaler,
)
from sdterm.messages import message
from sdterm.request import RequestError, shown

D = TypeVar("D", bound=Descriptor)
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,15}")
_LONGEST = 300  # characters of a stranger's error
_LANGUAGE = re.compile(r"[A-Za-z0-9]+([_-][A-Za-z0-9]+)*")
MOST_MESSAGES = 8 * 2**20
"""Bytes of a language's messages."""


class PluginFailure(PluginError):
    """A plugin's code failed, rather than refused. The message names what failed, whose it is, and the line in the
    plugin's own file if it is known. `slug` is the plugin to blame."""

    def __init__(self, message: str, slug: str) -> None:
        super().__init__(message)
        self.slug = slug


class ContractError(Exception):
    """A plugin gave or did what its hook does not allow, in words that follow its name: "it gave no bytes"."""


@dataclass(frozen=True)
class Plugin:
    """One plugin of a set: what it gave, and what went wrong with it."""

    source: Source
    gives: tuple[Descriptor, ...] = ()
    error: str | None = None


@dataclass(frozen=True)
class PluginSet:
    """What plugins offer, by kind and id. Look-ups accept id, label and aliases in any case."""

    plugins: tuple[Plugin, ...]
    owners: Mapping[int, str]
    """id() of a descriptor → slug of the plugin that gave it."""
    given: tuple[Descriptor, ...]
    """All that is on offer, in the order in which it is listed and tried."""
    around: Callable[[Descriptor, str], AbstractContextManager[None]] = field(
        default=lambda descriptor, slug: nullcontext(), compare=False, repr=False
    )
    """Entered around all guarded code of a plugin, for whoever watches it: given its descriptor and slug."""

    @property
    def identity(self) -> tuple[tuple[str, str], ...]:
        """(slug, digest) of each plugin: what a job is bound to."""
        return tuple((plugin.source.slug, plugin.source.digest) for plugin in self.plugins)

    @property
    def problems(self) -> tuple[Plugin, ...]:
        return tuple(plugin for plugin in self.plugins if plugin.error)

    def all(self, kind: type[D]) -> tuple[D, ...]:
        """Every descriptor of a kind, in the order in which they are listed and tried."""
        return tuple(given for given in self.given if isinstance(given, kind))

    def sampler(self, name: str) -> Sampler:
        return self._find(Sampler, name, more=message("`sdterm samplers` lists them."))

    def scheduler(self, name: str) -> Scheduler:
        return self._find(Scheduler, name, more=message("`sdterm samplers` lists them."))

    def pipeline(self, name: str) -> Pipeline:
        return self._find(Pipeline, name)

    def saver(self, name: str) -> OutputSaver:
        savers = self.all(OutputSaver)
        names = named(savers)
        taken = {normal(known) for known in names}
        for saver in savers:  # a suffix serves too, and belongs to whoever came first
            if (suffix := normal(saver.suffix.lstrip("."))) not in taken:
                taken.add(suffix)
                names[suffix] = saver
        return find(kind_of(OutputSaver).word, name, names, field="format")

    def optimizer(self, name: str) -> MemoryOptimizer:
        return self._find(MemoryOptimizer, name)

    def postprocessor(self, name: str) -> Postprocessor:
        return self._find(Postprocessor, name)

    def denoise_hook(self, name: str) -> DenoiseHook:
        return self._find(DenoiseHook, name)

    def upscaler(self, name: str) -> Upscaler:
        return self._find(Upscaler, name)

    def _find(self, kind: type[D], name: str, more: str = "") -> D:
        row = kind_of(kind)
        return find(row.word, name, named(self.all(kind)), more=more, field=row.field or None)

    def transforms(self) -> tuple[PromptTransform, ...]:
        return tuple(sorted(self.all(PromptTransform), key=lambda transform: transform.order))

    def owner(self, descriptor: Descriptor) -> str:
        """The slug of the plugin that gave this descriptor."""
        return self.owners.get(id(descriptor), "?")

    def is_foreign(self, descriptor: Descriptor) -> bool:
        """Whether it does not come with sdterm."""
        slug = self.owner(descriptor)
        return not any(plugin.source.slug == slug and plugin.source.origin == "built-in" for plugin in self.plugins)

    @contextmanager
    def guard(self, descriptor: Descriptor, *passing: type[BaseException]) -> Iterator[None]:
        """Around code of a plugin: whatever it raises comes out as a PluginFailure that names it. What the plugin says
        itself (PluginError), `passing` and the user's Ctrl+C come out as they are."""
        try:
            with self.around(descriptor, self.owner(descriptor)):
                yield
        except BaseException as error:  # a stranger's code: anything at all may come out of it
            if isinstance(error, (PluginError, *passing)) or _is_interrupt(error):
                raise
            raise self.failure(descriptor, error) from error

    def failure(self, descriptor: Descriptor, error: BaseException) -> PluginFailure:
        """What is told of a plugin's error. Code of one plugin may run inside another's (an optimizer's attention in a
        family's network): the one whose line it was is to blame."""
        slug = self.owner(descriptor)
        whose = message(
            "The {kind} {label} of {slug} failed",
            kind=kind_of(type(descriptor)).word,
            label=printable(descriptor.label),
            slug=slug,
        )
        source, place = _place(error, (plugin.source for plugin in self.plugins)) or (None, "")
        if source and source.slug != slug:
            slug, whose = source.slug, message("{what} in {slug}", what=whose, slug=source.slug)
        return PluginFailure(message("{what}: {error}{place}.", what=whose, error=_said(error), place=place), slug)


def named(descriptors: Iterable[D]) -> dict[str, D]:
    """Every name a descriptor answers to → the descriptor."""
    names: dict[str, D] = {}
    for descriptor in descriptors:
        names |= dict.fromkeys((descriptor.label, descriptor.id, *getattr(descriptor, "aliases", ())), descriptor)
    return names


def load_plugins(extensions_folder: Path | None = None, *, third_party: bool = True) -> PluginSet:
    """Load every plugin there is into a fresh set. A plugin that fails is kept in `problems`, with the reason.

    extensions_folder: usually `<data root>/extensions`; None loads none. third_party: False leaves only built-ins.
    """
    found = discover(extensions_folder)
    return plugin_set(source for source in found if third_party or source.origin == "built-in")


def plugin_set(sources: Iterable[Source]) -> PluginSet:
    """Exactly these plugins, in this order: of two that give one name the first has it."""
    manager = _manager()
    plugins: list[Plugin] = []
    loaded: list[_Loaded] = []
    taken: dict[tuple[type, str], str] = {}  # names in use, by kind → the slug of whose they are
    for source in sources:
        answer = _load(manager, source)
        plugin = answer if isinstance(answer, Plugin) else Plugin(source, answer.gives)
        mine: dict[tuple[type, str], str] = {}
        for descriptor in plugin.gives:
            names = {(type(descriptor), normal(name)) for name in _names(descriptor)}
            if clash := next((name for name in sorted(names, key=str) if name in taken or name in mine), None):
                owner, what = taken.get(clash, source.slug), f"{type(descriptor).__name__} {descriptor.id!r}"
                said = message(
                    "it offers {what}, but {slug} has the same name '{name}'", what=what, slug=owner, name=clash[1]
                )
                plugin = replace(plugin, gives=(), error=said)
                break
            mine |= dict.fromkeys(names, source.slug)
        else:
            taken |= mine
            loaded += [answer] if isinstance(answer, _Loaded) else []
        plugins.append(plugin)
    owners = {id(d): plugin.source.slug for plugin in plugins for d in plugin.gives}
    return PluginSet(tuple(plugins), MappingProxyType(owners), _in_order(loaded))


def _manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager("sdterm")
    manager.add_hookspecs(hooks)
    return manager


@dataclass(frozen=True)
class _Loaded:
    """A plugin's module, and what each of its functions gave."""

    module: object
    gave: Mapping[Callable[..., Any], tuple[Descriptor, ...]]

    @property
    def gives(self) -> tuple[Descriptor, ...]:
        return tuple(given for gave in self.gave.values() for given in gave)


def _in_order(loaded: Sequence[_Loaded]) -> tuple[Descriptor, ...]:
    """What all plugins gave, kind by kind, in pluggy's order: by plugin, `tryfirst` before and `trylast` behind all
    others."""
    manager = _manager()
    for number, plugin in reversed([*enumerate(loaded)]):  # what is registered last, pluggy calls first
        manager.register(plugin.module, name=str(number))
    gave = {function: given for plugin in loaded for function, given in plugin.gave.items()}
    called = (each.function for kind in KINDS for each in reversed(getattr(manager.hook, kind.hook).get_hookimpls()))
    return tuple(given for function in called for given in gave[function])


def _load(manager: pluggy.PluginManager, source: Source) -> _Loaded | Plugin:
    """Import one plugin and ask its hooks, guarded: this is the one place where its import-time errors end. One that
    failed has the error."""
    if source.refusal:
        return Plugin(source, error=source.refusal)
    name = f"{source.origin}:{source.slug}"
    try:
        module = load(source)
        manager.register(module, name=name)
        manager.check_pending()
        gave: dict[Callable[..., Any], tuple[Descriptor, ...]] = {}
        for kind in KINDS:
            for implementation in getattr(manager.hook, kind.hook).get_hookimpls():
                if implementation.plugin is module:
                    gave[implementation.function] = _ask(kind, implementation)
        return _Loaded(module, gave)
    except (Exception, SystemExit) as error:  # a stranger's code: anything at all may come out of it
        if manager.has_plugin(name):
            manager.unregister(name=name)  # or its unknown hooks would be held against the plugins after it
        return Plugin(source, error=_describe(error, source))


def _ask(kind: Kind, implementation: pluggy.HookImpl) -> tuple[Descriptor, ...]:
    """What a function of a plugin gives. Raises TypeError where that is none of the kind's."""
    if implementation.wrapper or implementation.hookwrapper:
        raise TypeError(
            message("{hook} is a wrapper; a plugin cannot change what other plugins return", hook=kind.hook)
        )
    gave: tuple[Any, ...] = tuple(implementation.function())  # type: ignore[arg-type]
    for given in gave:
        if not isinstance(given, kind.descriptor):
            raise TypeError(
                message("{hook} returned {value}, which is not a {kind}", hook=kind.hook, value=given, kind=kind.name)
            )
        _check_names(given)
        if isinstance(given, LocalePack):
            _check_messages(given)
        if isinstance(given, Upscaler) and bool(given.resize) == bool(given.matches and given.build):
            raise TypeError(
                message("the Upscaler '{id}' must have either resize, or both matches and build", id=given.id)
            )
    return gave


def _names(descriptor: Descriptor) -> tuple[str, ...]:
    return (descriptor.id, descriptor.label, *getattr(descriptor, "aliases", ()))


def _check_names(descriptor: Descriptor) -> None:
    """What is looked up, sorted by or made part of a file name must be fit for that. Raises TypeError."""
    what = type(descriptor).__name__
    for name in ("id", "label"):
        if not isinstance(getattr(descriptor, name), str):
            raise TypeError(
                message(
                    "the {name} of a {kind} is {value}, which is not text",
                    name=name,
                    kind=what,
                    value=getattr(descriptor, name),
                )
            )
    if not all(isinstance(name, str) for name in _names(descriptor)):
        raise TypeError(message("an alias of {kind} '{id}' is not text", kind=what, id=descriptor.id))
    if not isinstance(getattr(descriptor, "order", 0), int):
        raise TypeError(message("the order of {kind} '{id}' is not a number", kind=what, id=descriptor.id))
    suffix = getattr(descriptor, "suffix", ".png")
    if not (isinstance(suffix, str) and _SUFFIX.fullmatch(suffix)):  # it becomes part of a path
        raise TypeError(
            message(
                "the suffix of {kind} '{id}' is {suffix}; it must be a dot and 1 to 15 letters or digits",
                kind=what,
                id=descriptor.id,
                suffix=suffix,
            )
        )


def _check_messages(pack: LocalePack) -> None:
    """They travel as JSON to every front end. Raises TypeError or ValueError."""
    what = message("the LocalePack '{id}'", id=pack.id)
    if not (isinstance(pack.language, str) and _LANGUAGE.fullmatch(pack.language)):
        raise TypeError(
            message(
                "the language of {pack} is {language}; it must be a name like de_DE", pack=what, language=pack.language
            )
        )
    if not isinstance(pack.messages, Mapping):
        raise TypeError(message("the messages of {pack} are not a mapping of texts", pack=what))
    size = 0
    for text in (part for pair in pack.messages.items() for part in pair):
        if not isinstance(text, str):
            raise TypeError(message("the messages of {pack} have {text}, which is not text", pack=what, text=text))
        size += len(text.encode())
    if size > MOST_MESSAGES:
        raise ValueError(
            message("the messages of {pack} are larger than {limit} MiB", pack=what, limit=MOST_MESSAGES // 2**20)
        )


def _said(error: BaseException) -> str:
    """An error's kind and words; a stranger's error may fail at saying them."""
    if isinstance(error, ContractError):
        return str(error)
    try:
        return printable(f"{type(error).__name__}: {error}", _LONGEST).rstrip(".")
    except Exception:
        return type(error).__name__


def _describe(error: BaseException, source: Source) -> str:
    """The error in one line, with the plugin's own file and line when it is known."""
    _, place = _place(error, [source]) or (source, "")
    return f"{_said(error)}{place}"


def _place(error: BaseException, sources: Iterable[Source]) -> tuple[Source, str] | None:
    """Whose line an error came from, of these plugins that do not come with sdterm, and which (` (file.py:3)`)."""
    foreign = [source for source in sources if source.origin != "built-in"]
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        for source in foreign:
            if _is_of(frame, source):
                return source, f" ({Path(frame.f_code.co_filename).name}:{line})"
    return None


def _is_of(frame: FrameType, source: Source) -> bool:
    if source.origin == "package":  # its location is an entry point's, `module:attribute`
        package = source.location.partition(":")[0].partition(".")[0]
        return str(frame.f_globals.get("__name__")).partition(".")[0] == package
    file = frame.f_code.co_filename
    return file == source.location or file.startswith(source.location + os.sep)


def _is_interrupt(error: BaseException) -> bool:
    """Whether it is the user's Ctrl+C, which Python delivers to the main thread only."""
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()


def check_options(owner: str, declared: tuple[Option, ...], given: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
    """Every declared option with its given or default value. Raises RequestError on an unknown name or bad value."""
    options = {option.name: option for option in declared}
    for name in given:
        if name not in options:
            known = ", ".join(options) or message("none")
            raise RequestError(
                message("{owner} has no option '{name}'. Its options: {known}.", owner=owner, name=name, known=known)
            )
    return {name: _checked(owner, option, given.get(name, option.default)) for name, option in options.items()}


_NOUNS: Mapping[type[OptionValue], str] = {
    bool: message("true or false"),
    int: message("a whole number"),
    float: message("a number"),
    str: message("text"),
}


def _checked(owner: str, option: Option, value: OptionValue) -> OptionValue:
    kind = type(option.default)
    low, high = option.minimum, option.maximum
    wanted = _NOUNS[kind]
    if low is not None and high is not None:
        wanted = message("{noun} from {low} to {high}", noun=wanted, low=low, high=high)
    if option.choices:
        wanted = message("one of {choices}", choices=", ".join(option.choices))
    if option.is_image:
        wanted = message("the SHA-256 of an uploaded image")
    wrong = RequestError(
        message(
            "{owner}: the option {option} is {value}, but it must be {wanted}.",
            owner=owner,
            option=option.name,
            value=shown(value),
            wanted=wanted,
        )
    )
    if option.choices and str(value) not in option.choices:
        raise wrong
    if option.is_image and value != "" and not is_digest(str(value)):
        raise wrong
    if kind is int and isinstance(value, float) and not value.is_integer():
        raise wrong
    try:
        if kind is bool:
            if str(value).lower() not in ("true", "false", "1", "0"):
                raise wrong
            return str(value).lower() in ("true", "1")
        converted: Any = kind(value)
    except (TypeError, ValueError, OverflowError):
        raise wrong from None
    if isinstance(converted, float) and not math.isfinite(converted):
        raise wrong
    if isinstance(converted, int | float) and not (
        (low is None or converted >= low) and (high is None or converted <= high)
    ):
        raise wrong
    return converted  # type: ignore[no-any-return]
