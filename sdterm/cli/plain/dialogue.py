"""The state of a dialogue, and how a job is asked for and followed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from sdterm.api import Picture
from sdterm.cli.follow import follow, leave
from sdterm.cli.generate import cancel_job
from sdterm.cli.plain.lines import Lines
from sdterm.cli.plain.spoken import SpokenOutput
from sdterm.client import Client, connect
from sdterm.core.infotext.recall import recall
from sdterm.core.languages.translations import language_sources, packs_of
from sdterm.core.library.checkpoints import library_of
from sdterm.core.numbers import whole_number
from sdterm.core.prompt.styles import styles_of
from sdterm.core.settings.settings import Settings
from sdterm.errors import BAD_REQUEST, SdtermError
from sdterm.events import Failed
from sdterm.tui import draft, history
from sdterm.tui.draft import Draft
from sdterm.tui.form import Form
from sdterm.tui.language import counted, said, tr, use
from sdterm.tui.networks import OFFERED, with_shipped
from sdterm.tui.offers import Offers
from sdterm.tui.remedies import applied, remedies
from sdterm.tui.submitting import submission

if TYPE_CHECKING:
    from sdterm.core.extensions.registry import PluginSet


PAGE = 10
"""Lines of a list that are said at once."""


class WrongWordsError(SdtermError, ValueError):
    """A command cannot be done as it was said; the message is a sentence."""

    code = BAD_REQUEST


class Dialogue:
    """What a dialogue is about. The form's draft is the workstation's: what was left there is here."""

    def __init__(self, settings: Settings, lines: Lines) -> None:
        self.settings, self.lines = settings, lines
        self.offers = Offers()
        self.form = Form(draft.load(settings.root), lambda: self.settings, self._keep, lambda v: self.offers.own(v))
        self.picture: int | None = None
        """The picture that is meant where none is named; None: the newest."""
        self.more: Callable[[], None] | None = None
        """What goes on with the list that was said last."""
        self._names: PluginSet | None = None

    @property
    def say(self) -> Callable[[str], None]:
        return self.lines.say

    def ask(self, question: str, before: list[str] | None = None) -> str:
        """An answer. Raises EOFError if there is none any more."""
        answer = self.lines.ask(question, before or [])
        if answer is None:
            raise EOFError
        return answer.strip()

    def say_list(self, lines: Sequence[str]) -> None:
        """Say so many of them as can be listened to at once; `more` goes on."""
        for line in lines[:PAGE]:
            self.say(line)
        if rest := lines[PAGE:]:
            self.more = partial(self.say_list, rest)
            self.say(counted("`more` tells one more.", "`more` shows {number} more.", len(rest)))

    def _keep(self, _: bool) -> None:
        try:
            draft.save(self.settings.root, self.form.draft)
        except OSError as error:
            self.say(tr("What you wrote cannot be kept: {error}.", error=error.strerror or error))

    def change(self, changed: Draft, name: str) -> None:
        """Change the form; `undo` takes it back by that name."""
        self.form.change(changed, name)

    # --- the host -----------------------------------------------------------------------------------------------------

    @contextmanager
    def host(self) -> Iterator[Client]:
        """The host, which is started where there is none."""
        starting = partial(self.say, tr("Starting the worker. This takes some seconds."))
        with connect(self.settings, check=True, starting=starting) as host:
            yield host

    def learn(self) -> Offers:
        """What there is to choose from."""
        with self.host() as host:
            catalogue = host.catalogue()
            files = {kind: host.library_files(kind) for kind in OFFERED}
            files |= with_shipped(files, host.networks())
            self.offers = Offers(catalogue, tuple(host.models()), tuple(host.styles()), files)
        if self._names is None:
            use(self.settings["language"], language_sources(self.settings, packs_of(catalogue)))
        self._names = catalogue.names()
        return self.offers

    def recalled(self, picture: Picture) -> dict[str, Any]:
        """The request fields that a picture's infotext says."""
        if not picture.infotext:
            raise WrongWordsError(tr("Image {image} has no parameters.", image=picture.id))
        if self._names is None:
            self.learn()
        assert self._names is not None
        found = recall(
            picture.infotext, self._names, library_of(self.settings), styles_of(self.settings), read_at_most=0
        )
        for warning in found.warnings.values():
            self.say(said(warning))
        return dict(found.fields)

    def meant(self, words: str) -> Picture:
        """The picture that is named by its number, or else the one that was picked, or the newest."""
        with self.host() as host:
            if words:
                return host.picture(number(words))
            if self.picture is not None:
                return host.picture(self.picture)
            found = next((each for each in host.pictures(limit=20).pictures if each.is_image), None)
        if not found:
            raise WrongWordsError(tr("Nothing was generated yet."))
        return found

    # --- drawing ------------------------------------------------------------------------------------------------------

    def draw(self, fields: Mapping[str, Any], picture: Picture | None = None) -> None:
        """Have that drawn, and tell how it goes, until it ends. picture: whose first pass it goes on from."""
        if self.offers.models is None:
            self.learn()
        with self.host() as host:
            job = host.submit(submission(fields, self.offers, self.settings, picture)).id
        self.say(tr("Job {job} is queued. Control C stops it.", job=job))
        self.follow(job, partial(cancel_job, self.settings, job))

    def follow(self, job: int, on_interrupt: Callable[[], None] = leave) -> None:
        """Tell how a job goes, until it ends. Raises EOFError if Ctrl+C was pressed twice."""
        spoken = SpokenOutput(job, self.settings, self.say)
        quiet = self.settings
        if quiet["notify"] == "osc9":  # which a terminal obeys
            quiet = quiet.with_value("notify", "none", "plain mode")
        with self.host() as host:
            follow(host, job, spoken, quiet, on_interrupt=on_interrupt)
        if spoken.end is None:
            if on_interrupt is leave:
                return
            raise EOFError
        with self.host() as host:
            found = [each for each in host.pictures(job=job, limit=500).pictures if each.is_image]
        if found and not isinstance(spoken.end, Failed):
            self.picture = found[0].id
            ids = sorted(each.id for each in found)
            self.say(
                tr("It is image {image}.", image=ids[0])
                if len(ids) == 1
                else tr("They are images {first} to {last}.", first=ids[0], last=ids[-1])
            )
        if isinstance(spoken.end, Failed) and self.lines.is_typed:
            self._offer_remedies(job, spoken.end)

    def _offer_remedies(self, job: int, failed: Failed) -> None:
        found = remedies(failed.code)
        if not found:
            return
        self.say(tr("It can be tried again in another way:"))
        for at, (words, _) in enumerate(found, 1):
            self.say(f"{at}. {words}")
        answer = self.ask(tr("Number, or Enter for none:"))
        chosen = whole_number(answer)
        if not 0 < chosen <= len(found):
            return
        with self.host() as host:
            otherwise = applied(found[chosen - 1][1], host.job(job))
            if not isinstance(otherwise, dict):
                host.retry(job, otherwise)
        if isinstance(otherwise, dict):
            self.draw(otherwise)
        else:
            self.follow(job, partial(cancel_job, self.settings, job))

    def remember(self) -> None:
        """Keep the prompt among those that were drawn."""
        now = self.form.draft
        if now.prompt or now.negative_prompt:
            try:
                history.append(
                    self.settings.root / history.FILE, history.Entry(now.prompt, now.negative_prompt, time.time())
                )
            except OSError as error:
                self.say(tr("The history of prompts cannot be written: {error}.", error=error.strerror or error))

    def prompts(self) -> list[history.Entry]:
        """The prompts that were drawn, the newest first."""
        return history.read(self.settings.root / history.FILE)


def number(words: str) -> int:
    """`12` or `#12`. Raises WrongWordsError."""
    found = whole_number(words.strip().removeprefix("#"))
    if not 0 < found < 2**53:
        raise WrongWordsError(tr("{words} is not the number of an image or job.", words=repr(words)))
    return found
