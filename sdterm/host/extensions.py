"""Which plugins serve.

What lies in `extensions/` is looked at when the system hints at a change, before each job is taken in, and now and
then; what counts is its content. A new content is frozen, tried out in a process that may die of it, loaded by every
worker, and only then put to use, all together. Whatever goes wrong, what served before goes on serving.

A try may take as long as a stranger's code likes to. Requests wait for a look only if it comes to an end soon, and are
answered by what serves otherwise.
"""

import asyncio
import contextlib
import itertools
import logging
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from sdterm.api import Extension, JobDetails
from sdterm.core.extensions.catalogue import Catalogue, CatalogueError
from sdterm.core.extensions.check import check, errors
from sdterm.core.extensions.discovery import built_ins, discover
from sdterm.core.extensions.frozen import UnsettledError, freeze, frozen, sweep
from sdterm.core.extensions.install.records import FOLDER, RecordsError, read_records
from sdterm.core.extensions.kinds import BY_NAME, BY_WORD
from sdterm.core.extensions.probe import ProbeError
from sdterm.core.extensions.registry import PluginSet
from sdterm.core.extensions.source import Source
from sdterm.core.library.recognition import Recognition
from sdterm.core.names import UnknownNameError, normal
from sdterm.core.planning.choices import choose_parts
from sdterm.core.sealed import read_sealed, write_sealed
from sdterm.core.settings.settings import Settings
from sdterm.core.text import printable
from sdterm.errors import SdtermError
from sdterm.events import ExtensionChanged
from sdterm.hooks import ModelFamily, Pipeline
from sdterm.host.log import EventLog
from sdterm.host.prober import Prober
from sdterm.host.threads import in_thread
from sdterm.host.watch import Watch
from sdterm.messages import message, sentences
from sdterm.request import GenerationRequest, RequestError
from sdterm.version import __version__

QUIET, LONGEST = 0.15, 2.0
"""Seconds: how long nothing may change before a look, and after how long there is one anyway."""
STILL = 1.0
"""Seconds for which a content must have been the same before it is told what is wrong with it."""
SOON = 1.5
"""Seconds that a request waits for a look."""
RETRY = 600.0
"""Seconds after which what may go well another time is tried again."""
RESCAN, POLL = 10.0, 2.0
"""Seconds between looks without a hint: where the system gives hints, and where it does not."""
MOST_FAILURES = 3
"""Jobs that an extension may spoil, or processes that it may cost, before it is disabled."""

_FORMAT = 3  # of the kept set
_KNOW_MODELS = (ModelFamily.__name__, Pipeline.__name__)
_log = logging.getLogger(__name__)


class NeedsPluginError(SdtermError):
    """A job asks for what no plugin gives any more; it waits until one does."""

    code = "needs_plugin"


@dataclass(frozen=True)
class ServingSet:
    """What serves: the plugins, at places where they do not change, and what they offer."""

    sources: tuple[Source, ...]
    catalogue: Catalogue

    @cached_property
    def names(self) -> PluginSet:
        """What can be asked for by name."""
        return self.catalogue.names()


Load = Callable[[Sequence[Source]], Awaitable[Mapping[str, str]]]
"""Has all workers load a set; slug → why it could not be. Under the slug "" is what cannot be blamed on one."""


@dataclass(frozen=True)
class _Doubt:
    """A content that does not work, seen first in a look that began at `since`: perhaps it is being written."""

    digest: str
    why: str
    since: float


@dataclass
class _Choice:
    """What is to serve after a look, as long as nothing is found to be wrong with it."""

    before: Mapping[str, Source]
    """By slug, what serves."""
    chosen: dict[str, Source]
    told: Mapping[str, tuple[str, str]]
    """What the last look found to be wrong, as `trouble`."""
    doubts: Mapping[str, _Doubt]
    """What the last look found to be wrong and did not tell, by slug."""
    new: set[str] = field(default_factory=set)
    """Slugs of what was never tried."""
    trouble: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Slug → the digest of what cannot serve, and why."""
    due: float | None = None
    """Seconds until another look is due, if one is."""

    def reject(self, slug: str, why: str) -> None:
        """What served before goes on; nothing, with the reason, if nothing did."""
        self.trouble[slug] = (self.chosen[slug].digest, why)
        self.chosen[slug] = _instead(self.chosen[slug], self.before.get(slug), why)
        self.new.discard(slug)

    def postpone(self, slug: str, seconds: float) -> None:
        """Another look decides about it: until then what served before goes on, or nothing."""
        self.new.discard(slug)
        self.due = seconds if self.due is None else min(seconds, self.due)
        if slug in self.before:
            self.chosen[slug] = self.before[slug]
            self.trouble |= {slug: self.told[slug]} if slug in self.told else {}
        else:
            del self.chosen[slug]


class Extensions:
    """Keeps the plugin set that serves, and brings in the next one. folder: the host's own."""

    def __init__(
        self, settings: Settings, folder: Path, log: EventLog, load: Load, adopted: Callable[[], None]
    ) -> None:
        self._root, self._log, self._load, self._adopted = settings.root, log, load, adopted
        self._folder = settings.root / "extensions" if settings["extensions"] else None
        self._kept = settings.root / "cache" / "plugin_set.json"
        self._prober = Prober(folder)
        self._news = asyncio.Event()
        self._folder_is_gone = False
        self._beginning, self._lock = asyncio.Lock(), asyncio.Lock()
        self._next_look: asyncio.Task[None] | None = None  # which has not begun
        self._looks: set[asyncio.Task[None]] = set()  # that one, and the one under way
        self._looking_since: float | None = None
        self._has_looked = False  # whether all that was there in the beginning was tried
        self._answered_early = False  # whether somebody was told what serves before that
        self._current: ServingSet | None = None
        self._seen: list[list[str | None]] = []  # what the current set was made from
        self._trouble: dict[str, tuple[str, str]] = {}  # slug → the digest that does not serve, and why
        self._doubts: dict[str, _Doubt] = {}  # by slug
        self._retries: dict[str, float] = {}  # slug of what is in trouble, but may not be for ever → when it is tried
        self._aside: dict[tuple[str, str], str] = {}  # (slug, digest) of what is disabled until it changes → why
        self._bystanders: set[tuple[str, str]] = set()  # those of them that no picture depends on
        self._failures: dict[tuple[str, str], set[tuple[int, int]]] = {}  # (slug, digest) → what it did, each once
        self._gave: dict[str, str] = {}  # kind and name of what was ever on offer → slug
        self._told: dict[str, tuple[str, str | None, str | None]] = {}
        self._restore()

    # --- what others ask ----------------------------------------------------------------------------------------------

    async def settled(self) -> ServingSet:
        """What serves after a look at what lies there now, however long that takes. Raises CatalogueError if not even
        sdterm's own plugins can be loaded."""
        await asyncio.shield(self._look_anew())
        return await self.serving()

    async def now(self) -> ServingSet:
        """What serves now: after a look if that ends soon, else without it. Raises CatalogueError."""
        look, since = self._look_anew(), self._looking_since
        late = asyncio.get_running_loop().time() - since if since is not None else 0.0
        await asyncio.wait({look}, timeout=max(0.0, SOON - late))
        self._answered_early |= not self._has_looked
        return await self.serving()

    async def serving(self) -> ServingSet:
        """What serves, without another look: for who reads what a worker says, since new plugins are put to use only
        when all workers have answered. In the beginning it is sdterm's own plugins. Raises CatalogueError."""
        async with self._beginning:
            if not self._current:
                own = built_ins()
                try:
                    self._current = ServingSet(own, await self._prober.try_out(own))
                except ProbeError as error:
                    raise CatalogueError(message("The plugins cannot be loaded: {error}.", error=error)) from error
        return self._current

    @property
    def is_looking(self) -> bool:
        """Whether something else may serve soon."""
        return bool(self._looks)

    @property
    def has_others(self) -> bool:
        """Whether anything serves that does not come with sdterm."""
        sources = self._current.sources if self._current else ()
        return any(source.origin != "built-in" and not source.refusal for source in sources)

    @property
    def families(self) -> tuple[tuple[str, str], ...]:
        """The (slug, digest) of each plugin that is not ours and gives a model family or a pipeline."""
        if not self._current:
            return ()
        giving = {offer.plugin for offer in self._current.catalogue.offers if offer.kind in _KNOW_MODELS}
        others = (source for source in self._current.sources if source.origin != "built-in")
        return tuple((source.slug, source.digest) for source in others if source.slug in giving)

    async def recognise(self, checkpoints: Sequence[Path]) -> list[Recognition]:
        """What the plugins that serve know checkpoints as; their code runs in a process that may die of it. Raises
        ProbeError."""
        return await self._prober.recognise((await self.serving()).sources, checkpoints)

    async def for_job(self, request: GenerationRequest, bound: Sequence[Sequence[str]]) -> tuple[Source, ...]:
        """The plugins that a job is drawn with: those it is `bound` to, where it was begun. Raises NeedsPluginError."""
        current = await self.serving()
        if not self._has_looked and not _has_all(current, request, bound):
            current = await self.settled()
        sources = tuple(self._as_bound(current, *each) for each in bound) if bound else current.sources
        off = {source.slug for source in sources if source.refusal}
        if bound and not off:
            return sources
        try:
            choose_parts(request, current.names)
        except UnknownNameError as error:
            if not self._folder:
                said = message(
                    "It needs the {kind} '{name}' from an extension, and this host runs without extensions. Start "
                    "the host without --safe to continue.",
                    kind=error.kind,
                    name=printable(error.name),
                )
                raise NeedsPluginError(said) from error
            owner = self._gave.get(_named(error.kind, error.name))
            if owner and (owner in off or not bound):
                said = message(
                    "It needs the {kind} '{name}' from the extension {extension}, which does not give it now.",
                    kind=error.kind,
                    name=printable(error.name),
                    extension=owner,
                )
                raise NeedsPluginError(said) from error
        except RequestError:
            pass  # the engine says so
        return sources

    def _as_bound(self, current: ServingSet, slug: str, digest: str) -> Source:
        found = next((source for source in current.sources if source.slug == slug), None)
        if why := self._aside.get((slug, digest)):
            if (slug, digest) in self._bystanders and (not found or found.digest == digest):
                return Source(slug, "extension", "", digest, refusal=why)
            if found and not found.refusal:
                return found
            raise NeedsPluginError(
                message("It was started with the extension {slug}, which is disabled: {why}.", slug=slug, why=why)
            )
        if found and (found.digest == digest or found.origin != "extension"):
            return found
        if not self._folder:
            return Source(slug, "extension", "", digest, refusal=message("this host runs without extensions"))
        kept = frozen(self._root, slug, digest)
        if kept:
            return Source(slug, "extension", str(kept), digest, site=found.site if found else None)
        return found or Source(slug, "extension", "", digest, refusal=message("it was deleted, with its frozen copy"))

    def blame(self, slug: str, job: JobDetails, loss: int = 0) -> bool:
        """An extension spoilt a job, or cost its process (loss: which of the job's). After some such failures it is
        disabled until it changes. Returns whether it is."""
        version = self._version(slug, job)
        if not version:
            return False
        failures = self._failures.setdefault(version, set())
        failures.add((job.id, loss))
        if len(failures) >= MOST_FAILURES and version not in self._aside:
            losses = sum(loss > 0 for _, loss in failures)
            cost = message("it cost {number} processes, and is loaded again once it changes", number=losses)
            failed = message("it failed in {number} jobs, and is loaded again once it changes", number=len(failures))
            self._aside[version] = cost if losses else failed
            offers = self._current.catalogue.offers if self._current else ()
            gives = [BY_NAME[offer.kind] for offer in offers if offer.plugin == slug]
            if gives and not any(kind.draws for kind in gives):
                self._bystanders.add(version)
            self._news.set()
        return version in self._aside

    def is_needed(self, slug: str, job: JobDetails) -> bool:
        """Whether a job waits for an extension that is disabled: not where no picture depends on what it gives."""
        return self._version(slug, job) not in self._bystanders

    def _version(self, slug: str, job: JobDetails) -> tuple[str, str] | None:
        """The content of an extension that a job is drawn with."""
        sources = self._current.sources if self._current else ()
        source = next((s for s in sources if s.slug == slug and s.origin == "extension"), None)
        digest = dict(job.bound_plugins).get(slug, source.digest if source else None)
        return (slug, digest) if source and digest is not None else None

    def sweep(self, needed: set[tuple[str, str]]) -> None:
        """Delete the frozen copies that neither serve, nor were approved, nor are `needed` by jobs."""
        with contextlib.suppress(RecordsError):
            approved = {(slug, record.digest or "") for slug, record in read_records(self._root).items()}
            serving = {(source.slug, source.digest) for source in self._current.sources} if self._current else set()
            sweep(self._root, needed | approved | serving)

    async def listed(self) -> list[Extension]:
        """Every extension and package, and how it stands."""
        current = await self.now()
        entries = {entry.slug: entry for entry in current.catalogue.plugins}
        found = []
        for source in current.sources:
            if source.origin == "built-in":
                continue
            trouble = self._trouble.get(source.slug)
            state = "failed" if source.refusal else "stale" if trouble else "serving"
            if source.refusal and not trouble:
                state = "aside" if (source.slug, source.digest) in self._aside else "off"
            entry = entries.get(source.slug)
            found.append(
                Extension(
                    slug=source.slug,
                    origin=source.origin,
                    location=source.location,
                    digest=source.digest,
                    state=state,
                    message=trouble[1] if trouble else source.refusal or source.notice or "",
                    gives=entry.gives if entry else (),
                )
            )
        return found

    # --- watching -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()

        def hint() -> None:
            loop.call_soon_threadsafe(self._news.set)

        watch = await in_thread(partial(Watch, hint))
        try:
            while True:
                hinted = False
                try:
                    await self.settled()
                    hinted = await in_thread(lambda: watch.over(self._places()))
                except Exception:  # a full disk, or a defect: what serves goes on serving
                    _log.exception("extensions")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), RESCAN if hinted else POLL)
                    await self._prober.warm()
                    await self._until_quiet(loop)
        finally:
            watch.close()
            await self.end()

    async def end(self) -> None:
        """Look no more, and let the process go in which plugins are tried out."""
        for look in self._looks:
            look.cancel()
        await asyncio.gather(*self._looks, return_exceptions=True)
        await self._prober.end()

    async def _until_quiet(self, loop: asyncio.AbstractEventLoop) -> None:
        latest = loop.time() + LONGEST
        while self._news.is_set() and loop.time() < latest:
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), QUIET)
        self._news.clear()

    def _places(self) -> set[Path]:
        if not self._folder:
            return set()
        (self._root / FOLDER).mkdir(mode=0o700, exist_ok=True)
        is_gone, was_gone = not self._folder.is_dir(), self._folder_is_gone
        self._folder_is_gone = is_gone
        if is_gone and not was_gone:
            _log.warning("%s is gone: no extension is loaded until it is back", self._folder)
        links = set() if is_gone else {path.resolve() for path in self._folder.iterdir() if _is_linked_folder(path)}
        return {self._folder, self._root / FOLDER, *links}

    # --- looking ------------------------------------------------------------------------------------------------------

    def _look_anew(self) -> asyncio.Task[None]:
        """A look that begins from now on; it is one for all who want it. Its errors are told to who awaits it."""
        if not self._next_look:
            self._next_look = look = asyncio.create_task(self._look_in_turn())
            self._looks.add(look)
            look.add_done_callback(self._looks.discard)
            look.add_done_callback(lambda look: look.cancelled() or look.exception())
        return self._next_look

    async def _look_in_turn(self) -> None:
        async with self._lock:
            self._next_look, self._looking_since = None, asyncio.get_running_loop().time()
            try:
                await self._look()
            finally:
                self._looking_since = None

    async def _look(self) -> None:
        """Bring in what has changed."""
        current = await self.serving()
        found = await in_thread(self._found)
        seen = [[s.slug, s.digest, s.refusal, s.notice, s.site] for s in found]
        now = asyncio.get_running_loop().time()
        due = {slug for slug, at in self._retries.items() if at <= now}
        if seen == self._seen and not due:
            return
        for slug in due:
            self._trouble.pop(slug, None)
        choice = await self._choose(current, found)
        serving_set = await self._try_out(current, choice)
        self._seen = seen if choice.due is None else []
        self._trouble = choice.trouble
        self._retries = {slug: at for slug, at in self._retries.items() if slug in self._trouble}
        await self._adopt(serving_set)
        self._has_looked |= choice.due is None
        if choice.due is not None:
            asyncio.get_running_loop().call_later(choice.due, self._news.set)

    async def _choose(self, current: ServingSet, found: Sequence[Source]) -> "_Choice":
        """Frozen copies of what is new and well written, beside what serves and has not changed."""
        before = {source.slug: source for source in current.sources}
        doubts, self._doubts = self._doubts, {}
        choice = _Choice(before, {source.slug: source for source in found}, self._trouble, doubts)
        fresh = []
        for source in found:
            if source.origin != "extension" or source.refusal:
                continue
            served = before.get(source.slug)
            if served and not served.refusal and served.digest == source.digest:
                choice.chosen[source.slug] = replace(served, notice=source.notice, site=source.site)
                continue
            digest, why = self._trouble.get(source.slug, ("", ""))
            if digest == source.digest:  # it was tried
                choice.reject(source.slug, why)
                continue
            doubt = doubts.get(source.slug)
            if doubt and doubt.digest == source.digest:  # it was tried, too
                self._fail(choice, source.slug, doubt.why)
                continue
            fresh.append(source)
        for source, copy in zip(fresh, await in_thread(lambda: [_copy(self._root, one) for one in fresh]), strict=True):
            match copy:
                case UnsettledError():
                    choice.postpone(source.slug, QUIET)
                case OSError():
                    why = message("it cannot be copied: {error}", error=copy.strerror or copy)
                    self._fail(choice, source.slug, why, passing=True)
                case candidate, mistakes:
                    choice.chosen[source.slug] = candidate
                    choice.new.add(source.slug)
                    if mistakes:
                        self._fail(choice, source.slug, mistakes)
        return choice

    def _fail(self, choice: _Choice, slug: str, why: str, *, passing: bool = False) -> None:
        """A new content does not work. That is told when the content is still the same a while later: half a file is
        nobody's mistake yet. passing: it took too long, say, which may be nobody's mistake at all."""
        assert self._looking_since is not None
        digest, doubt = choice.chosen[slug].digest, choice.doubts.get(slug)
        since = doubt.since if doubt and doubt.digest == digest else self._looking_since
        left = since + STILL - self._looking_since
        self._retries.pop(slug, None)
        if passing:
            self._retries[slug] = asyncio.get_running_loop().time() + RETRY
        if passing or left <= 0 or not self._has_looked:
            choice.reject(slug, why)
        else:
            self._doubts[slug] = _Doubt(digest, why, since)
            choice.postpone(slug, left)

    async def _try_out(self, current: ServingSet, choice: "_Choice") -> ServingSet:
        """What serves of a choice: what is new and does not work makes way for what served before it, until the rest
        works together, in a process that may die of it and in every worker. Raises CatalogueError."""
        while True:
            sources = tuple(choice.chosen.values())
            if sources == current.sources:
                return current
            passing = False
            try:
                catalogue = await self._prober.try_out(sources)
                entries = (entry for entry in catalogue.plugins if not choice.chosen[entry.slug].refusal)
                wrong = {entry.slug: entry.error for entry in entries if entry.error}
                if not wrong:
                    wrong = dict(await self._load(sources))
            except ProbeError as error:
                if not choice.new:
                    raise CatalogueError(message("The plugins cannot be loaded: {error}.", error=error)) from error
                wrong, passing = await self._culprits(choice, error), error.passing
                if error.passing and error.slug in choice.new:  # it is told before those behind it may take as long
                    order = [*choice.chosen]
                    for slug in choice.new.intersection(order[order.index(error.slug) + 1 :]):
                        choice.postpone(slug, 0.0)
            if not wrong or not choice.new:
                return ServingSet(sources, catalogue)
            blamed = {slug: why for slug, why in wrong.items() if slug in choice.new}
            for slug in blamed or set(choice.new):  # where nobody is to blame alone, all that is new
                why = blamed.get(slug) or "; ".join(wrong.values())
                self._fail(choice, slug, why, passing=passing or slug not in blamed)

    async def _culprits(self, choice: "_Choice", error: ProbeError) -> dict[str, str]:
        """Which of the new ones end the process that loads them. What took too long is not tried once more; otherwise
        the suspects are, first the one that was being loaded, each beside what served before."""
        only, *more = choice.new
        if not more:
            return {only: str(error)}
        if error.passing:
            return {error.slug or "": str(error)}
        found: dict[str, str] = {}
        for slug in sorted(choice.new, key=lambda slug: slug != error.slug):
            others = {**choice.chosen, **{other: choice.before.get(other) for other in choice.new - {slug}}}
            try:
                await self._prober.try_out([source for source in others.values() if source])
            except ProbeError as its:
                found[slug] = str(its)
                if slug == error.slug:
                    break
        return found or {"": str(error)}

    def _found(self) -> list[Source]:
        """What lies there, by slug: of two that have the same one the first counts."""
        by_slug: dict[str, Source] = {}
        for source in discover(self._folder) if self._folder else built_ins():
            aside = self._aside.get((source.slug, source.digest))
            by_slug.setdefault(source.slug, replace(source, refusal=aside) if aside else source)
        return [*by_slug.values()]

    async def _adopt(self, serving_set: ServingSet) -> None:
        """Put it to use, keep it for the next host, and tell of it."""
        is_other, self._current = serving_set is not self._current, serving_set
        for offer in serving_set.catalogue.offers:
            for name in (offer.label, offer.id, *offer.aliases):
                self._gave[_named(offer.kind, name)] = offer.plugin
        if self._root.is_dir():  # else the host is about to end, and makes no new one
            kept = self._to_keep(serving_set)
            with contextlib.suppress(OSError):  # the next host tries all again
                await in_thread(lambda: write_sealed(self._kept, kept))
        self._tell(serving_set, begins=not (self._has_looked or self._answered_early))
        if is_other:
            self._adopted()

    def _tell(self, now: ServingSet, begins: bool) -> None:
        """One event for each that is not as it was; when all begins, for those that are not loaded."""
        told, self._told = self._told, self._standing(now)
        gives = {entry.slug: ", ".join(entry.gives) or "nothing" for entry in now.catalogue.plugins}
        for slug, standing in self._told.items():
            _, refusal, trouble = standing
            if told.pop(slug, None) == standing or (begins and not refusal):
                continue
            if trouble:
                goes_on = "" if refusal else message("Its last good version stays in use.")
                said = sentences(message("{slug} was not loaded: {why}.", slug=slug, why=trouble), goes_on)
            else:
                said = (
                    message("{slug} is not loaded: {why}.", slug=slug, why=refusal)
                    if refusal
                    else message("{slug} is loaded and gives {gives}.", slug=slug, gives=gives[slug])
                )
            self._say(slug, not refusal and not trouble, said)
        for slug in told:
            self._say(slug, False, message("{slug} was removed.", slug=slug))

    def _standing(self, serving_set: ServingSet) -> dict[str, tuple[str, str | None, str | None]]:
        """Of each that is not ours: its digest, why it is not loaded, and why its newest version is not."""
        return {
            source.slug: (source.digest, source.refusal, self._trouble.get(source.slug, ("", None))[1])
            for source in serving_set.sources
            if source.origin != "built-in"
        }

    def _say(self, slug: str, loaded: bool, message: str) -> None:
        _log.info("%s", printable(message, 1000))
        self._log.add(None, ExtensionChanged(slug=slug, loaded=loaded, message=printable(message, 1000)))

    # --- over restarts ------------------------------------------------------------------------------------------------

    def _to_keep(self, serving_set: ServingSet) -> dict[str, Any]:
        return {
            "for": [__version__, _FORMAT, self._folder is not None, sys.executable],
            "seen": [] if self._retries else self._seen,
            "trouble": {slug: trouble for slug, trouble in self._trouble.items() if slug not in self._retries},
            "aside": [[*version, why] for version, why in self._aside.items()],
            "bystanders": sorted(self._bystanders),
            "gave": self._gave,
            "sources": [source.fields for source in serving_set.sources],
            "catalogue": serving_set.catalogue.model_dump(mode="json"),
        }

    def _restore(self) -> None:
        """What served when the last host ended, if the same sdterm runs and every frozen copy is what it was."""
        try:
            kept = read_sealed(self._kept)
            if kept is None or kept["for"] != [__version__, _FORMAT, self._folder is not None, sys.executable]:
                return
            sources = tuple(Source(**fields) for fields in kept["sources"])
            copies = (source for source in sources if source.origin == "extension" and not source.refusal)
            if not all(frozen(self._root, copy.slug, copy.digest) for copy in copies):
                return
            self._current = ServingSet(sources, Catalogue.model_validate(kept["catalogue"]))
            self._trouble = {slug: (digest, why) for slug, (digest, why) in kept["trouble"].items()}
            self._aside = {(slug, digest): why for slug, digest, why in kept["aside"]}
            self._bystanders = {(slug, digest) for slug, digest in kept["bystanders"]}
            self._seen, self._gave = kept["seen"], kept["gave"]
            self._told = self._standing(self._current)
            self._has_looked = True
        except (ValueError, KeyError, TypeError, AttributeError):
            self._current = None


def _copy(root: Path, source: Source) -> tuple[Source, str] | OSError:
    """The same at a frozen copy, and what is wrong with it as far as that is to be seen; or why there is no copy."""
    try:
        candidate = freeze(root, source)
    except OSError as error:
        return error
    found = errors(check(Path(candidate.location)))
    return candidate, "; ".join(
        f"{finding.message} ({finding.file}:{finding.line})" for finding in itertools.islice(found, 3)
    )


def _is_linked_folder(path: Path) -> bool:
    return path.is_symlink() and path.is_dir()


def _has_all(serving_set: ServingSet, request: GenerationRequest, bound: Sequence[Sequence[str]]) -> bool:
    """Whether a job can be drawn with it."""
    if bound:
        return {slug for slug, _ in bound} <= {source.slug for source in serving_set.sources}
    try:
        choose_parts(request, serving_set.names)
    except (UnknownNameError, RequestError):
        return False
    return True


def _instead(candidate: Source, served: Source | None, why: str) -> Source:
    """What serves in place of a candidate that cannot."""
    if served and not served.refusal:
        return served
    return replace(candidate, refusal=why)


def _named(kind: str, name: str) -> str:
    """A kind, as the catalogue or an error calls it, and a name."""
    return f"{BY_WORD[kind].name if kind in BY_WORD else kind} {normal(name)}"
