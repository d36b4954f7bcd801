"""What is drawn: asked for, followed, stopped, and drawn otherwise when it fails."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sdterm.core.settings.settings import Settings
from sdterm.tui.fields import field_of
from sdterm.tui.form import Form
from sdterm.tui.language import tr
from sdterm.tui.state import Run, State, clock

if TYPE_CHECKING:
    from sdterm.api import Entry

_TWICE = 1.0  # seconds within which a second Esc stops the job
VARIATIONS, VARIED = 5, 0.15
"""How many variations are drawn at once, and how much of other noise they have if the form does not say."""


class Drawing(Form):
    """A form that can be drawn."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.state = State()
        self.forever = False
        self._jobs: list[int] = []  # those asked for here, the newest last
        self._stop_after = False
        self._escaped = float("-inf")
        self._last_seed: int | None = None

    def show_status(self) -> None:
        """Write the status line anew."""
        raise NotImplementedError

    # --- asking for pictures ------------------------------------------------------------------------------------------

    def action_generate(self) -> None:
        self.desk.collect()
        self.run_worker(self._generate())

    async def _generate(self, **changes: Any) -> None:
        fields = {**self.settings.job_fields(), **self.draft.request_fields(), **changes}
        if await self.submit(fields) and (self.draft.prompt or self.draft.negative_prompt):
            self.run_worker(self._remember(self.draft.prompt, self.draft.negative_prompt))

    async def submit(self, fields: Mapping[str, Any]) -> bool:
        """Queue a job; whether it could be."""
        from sdterm.api import Submission
        from sdterm.core.output.saving import saving_of
        from sdterm.request import RequestError, make_request

        try:
            request = make_request(**fields)
        except RequestError as error:
            name = str(error).split(maxsplit=1)[0]
            self.desk.focus_field(field_of(name))
            self.say(str(error).removesuffix(".") + self.settings.blame(name) + ".")
            return False
        several = request.batch_size * request.batch_count > 1
        if self.settings["save_grid"] and several:
            request = request.model_copy(update={"grid": True})
        submission = Submission(request=request, saving=saving_of(self.settings))
        if self.state.host != "up":
            self.say(tr("Queued as soon as the engine is there."))
        job = await self.ask(lambda host: host.submit(submission))
        if job is None:
            return False
        self._jobs.append(job.id)
        self.say(tr("#{job} is queued.", job=job.id))
        return True

    async def _remember(self, prompt: str, negative: str) -> None:
        from sdterm.tui.history import FILE, Entry, append

        entry = Entry(prompt, negative, time.time())
        try:
            await asyncio.to_thread(append, self.settings.root / FILE, entry)
        except OSError as error:
            self.say(tr("The history of prompts cannot be written: {error}.", error=error.strerror or error))

    def action_forever(self) -> None:
        self.forever = not self.forever
        self.show_status()
        self.say(tr("Draws until you stop it.") if self.forever else tr("Draws no more after this."))
        if self.forever and not self.state.runs:
            self.action_generate()

    def action_repeat_last(self) -> None:
        self.run_worker(self._repeat_last())

    async def _repeat_last(self) -> None:
        if not self._jobs:
            page = await self.ask(lambda host: host.jobs(limit=1))
            self._jobs = [job.id for job in page.jobs] if page else []
        if not self._jobs:
            self.say(tr("Nothing was drawn yet."))
            return
        last = self._jobs[-1]
        if (details := await self.ask(lambda host: host.job(last))) is not None:
            await self.submit(details.request.model_dump(mode="json"))

    def action_variations(self) -> None:
        self.run_worker(self._vary_last())

    async def _vary_last(self) -> None:
        page = await self.ask(lambda host: host.pictures(limit=20))
        picture = next((p for p in page.pictures if p.number >= 0), None) if page else None
        if picture:
            self.draw_variations(picture.infotext)
        else:
            self.say(tr("Nothing was drawn yet."))

    def draw_variations(self, infotext: str) -> None:
        """Draw pictures that are like this one."""
        self.run_worker(self._draw(infotext, vary=True))

    def draw_again(self, infotext: str) -> None:
        """Draw this picture again."""
        self.run_worker(self._draw(infotext, vary=False))

    async def _draw(self, infotext: str, *, vary: bool) -> None:
        fields = await self._recalled(infotext)
        if fields is None:
            return
        if vary:
            strength = self.values()["variation_strength"]
            fields |= {
                "variation_strength": strength if float(strength or 0) > 0 else VARIED,
                "variation_seed": -1,
                "batch_count": VARIATIONS,
            }
        await self.submit({**self.settings.job_fields(), **fields})

    # --- seeds --------------------------------------------------------------------------------------------------------

    def _seed(self) -> int | None:
        """The seed that is locked; None if each job has its own."""
        try:
            seed = int(self.values()["seed"])
        except ValueError:
            return None
        return seed if seed >= 0 else None

    def action_lock_seed(self) -> None:
        if self._seed() is not None:
            self.change(self.draft.but(seed=None))
            self.say(tr("Each job gets a seed of its own."))
        elif self._last_seed is None:
            self.say(tr("There is no seed to keep: nothing was drawn yet."))
        else:
            self.change(self.draft.but(seed=str(self._last_seed)))
            self.say(tr("The seed {seed} stays.", seed=self._last_seed))
        self.show_status()

    def action_reroll(self) -> None:
        if self._seed() is not None:
            self.change(self.draft.but(seed=str(random.randrange(2**32))))
        self.action_generate()

    def action_walk_up(self) -> None:
        self._walk(1)

    def action_walk_down(self) -> None:
        self._walk(-1)

    def _walk(self, by: int) -> None:
        seed = self._seed() if self._seed() is not None else self._last_seed
        if seed is None:
            self.say(tr("There is no seed to walk from: nothing was drawn yet."))
            return
        self.change(self.draft.but(seed=str(max(0, seed + by))))
        self.show_status()
        self.action_generate()

    # --- what comes of it ---------------------------------------------------------------------------------------------

    def run_of(self, job: int | None) -> Run | None:
        """What is known of a job that is drawn now."""
        return next((run for run in self.state.runs if run.job == job), None)

    def react(self, entry: Entry) -> None:
        """What follows from an event for whoever sits here."""
        from sdterm.events import (
            Cancelled,
            Done,
            ExtensionChanged,
            Failed,
            Image,
            Interrupted,
            Paused,
            Resumed,
            Waiting,
            Warning,
        )

        job, event = entry.job, entry.event
        match event:
            case Image(seed=seed):
                self._last_seed = seed
                if self._stop_after and job is not None:
                    self._stop_after = self.forever = False
                    self.run_worker(self.ask(lambda host: host.cancel(job)))
            case Done(images=images, seconds=seconds):
                self.say(
                    tr(
                        "#{job} done: {images} picture(s) in {time}.",
                        job=job,
                        images=images,
                        time=clock(seconds) if seconds >= 10 else f"{seconds:.1f}s",
                    )
                )
                self._ring()
                if self.forever and self._jobs and job == self._jobs[-1]:
                    self.action_generate()
            case ExtensionChanged(loaded=loaded, message=message):
                self.forget_names()
                self.say(message if loaded else "! " + message)
            case Failed() | Waiting():
                self.forever = False
                self._fail(job, event)
            case Interrupted(message=message):
                self.say(tr("The engine died and comes back; #{job} goes on. ({message})", job=job, message=message))
            case Resumed(calls=calls):
                self.say(tr("#{job} goes on: {calls} calls of the network came from the tape.", job=job, calls=calls))
            case Warning(message=text):
                self.say("! " + text)
            case Cancelled(images=images):
                self.say(tr("#{job} stopped; {images} finished picture(s) are saved.", job=job, images=images))
            case Paused(images=images):
                self.say(tr("#{job} waits; {images} picture(s) are finished.", job=job, images=images))

    def _ring(self) -> None:
        match self.settings["notify"]:
            case "bell":
                self.bell()
            case "osc9":
                self.write_to_terminal("\x1b]9;sdterm: done\x07")

    def action_stop(self) -> None:
        now = time.monotonic()
        runs = [run for run in self.state.runs if run.job in self._jobs] or [*self.state.runs]
        if not runs:
            self.say(tr("Nothing is drawn now."))
            return
        job = runs[-1].job
        if now - self._escaped > _TWICE:
            self._escaped = now
            self.say(tr("{key} again stops #{job}.", key=self.key("stop"), job=job))
            return
        self.forever, self._escaped = False, float("-inf")
        self.run_worker(self.ask(lambda host: host.cancel(job)))

    def action_stop_after(self) -> None:
        if not self.state.runs:
            self.forever = False
            self.say(tr("Nothing is drawn now."))
            return
        self._stop_after = True
        self.say(tr("Stops after this picture."))

    def _fail(self, job: int | None, event: Any) -> None:
        from sdterm.tui.remedies import remedies

        said = f"#{job}: {event.message} {event.advice}".strip()
        self.say("! " + said)
        if job in self._jobs and event.event == "failed":
            self.offer_remedies(job, said, remedies(event.code))

    def offer_remedies(self, job: int | None, said: str, found: list[tuple[str, Mapping[str, Any]]]) -> None:
        """Tell what happened to a job, and let a key draw it again another way."""
        from sdterm.tui.screens.pick import Ask

        if not found or job is None:
            return
        answers = [(str(number), words) for number, (words, _) in enumerate(found, 1)]
        answers.append(("enter", tr("try again with 1")))

        def answered(key: str | None) -> None:
            if key is not None:
                number = 1 if key == "enter" else int(key)
                self.run_worker(self._draw_otherwise(job, found[number - 1][1]))

        self.push_screen(Ask(tr("#{job} stopped", job=job), [said], answers), answered)

    async def _draw_otherwise(self, job: int, changes: Mapping[str, Any]) -> None:
        details = await self.ask(lambda host: host.job(job))
        if details is not None:
            from sdterm.tui.remedies import applied

            otherwise = applied(changes, details)
            if isinstance(otherwise, dict):
                await self.submit(otherwise)
            elif await self.ask(lambda host: host.retry(job, otherwise)) is not None:
                self.say(tr("#{job} is queued.", job=job))
