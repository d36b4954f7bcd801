"""What is drawn: asked for, followed, stopped, and drawn otherwise when it fails."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdterm.messages import sentences
from sdterm.tui import calls
from sdterm.tui.fields import field_of
from sdterm.tui.filling import Filling
from sdterm.tui.language import counted, said, tr
from sdterm.tui.shell import Desk, Shell
from sdterm.tui.state import clock
from sdterm.tui.submitting import submission, varied
from sdterm.tui.work import begin

if TYPE_CHECKING:
    from textual.timer import Timer

    from sdterm.api import Entry, Picture

_TWICE = 3.0  # seconds within which a second Esc stops the job: a slow line shows late that it would


class Drawing:
    """The jobs that were asked for here."""

    def __init__(self, shell: Shell, desk: Desk, filling: Filling) -> None:
        self._shell, self._desk, self._filling = shell, desk, filling
        self.forever = False
        self._jobs: list[int] = []  # those asked for here, the newest last
        self._stop_after = False
        self._escaped: tuple[int, Timer] | None = None  # the job that another Esc stops, and what ends that offer
        self._last_seed: int | None = None
        self._last_image: tuple[int | None, str] = None, ""  # its job and its file's name
        self._lacking: tuple[int | None, str] = None, ""  # a job that was drawn without a network, and what was said

    # --- asking for pictures ------------------------------------------------------------------------------------------

    def generate(self) -> None:
        """Draw what is written."""
        if why := self._desk.collect():
            self._shell.say(f"! {why}")
        else:
            begin(self._desk, self._generate)

    async def _generate(self) -> None:
        form = self._desk.form
        if await self.submit(form.request_fields()) and (form.draft.prompt or form.draft.negative_prompt):
            begin(self._desk, self._remember, form.draft.prompt, form.draft.negative_prompt)

    async def submit(self, fields: Mapping[str, Any], picture: Picture | None = None, *, told: str = "") -> bool:
        """Queue a job; whether it could be. picture: whose first pass it goes on from, as long as that is kept. told:
        what is said of it, once it has a number."""
        from sdterm.request import RequestError

        try:
            asked = submission(fields, self._filling.offers, self._shell.settings, picture)
        except RequestError as error:
            blame = ""
            if error.field:
                self._desk.focus_field(field_of(error.field))
                blame = self._shell.settings.blame(error.field)
            self._shell.say(f"! {said(sentences(error, blame))}")
            return False
        if self._shell.state.host != "up":
            self._shell.say(tr("Queued as soon as the engine is there."))
        job = await self._desk.ask(calls.submit(asked))
        if job is None:
            return False
        self._jobs.append(job.id)
        queued = tr("#{job} is queued.", job=job.id)
        self._shell.say(f"{queued} {told}" if told else queued)
        return True

    async def _remember(self, prompt: str, negative: str) -> None:
        from sdterm.tui.history import FILE, Entry, append

        entry = Entry(prompt, negative, time.time())
        try:
            await asyncio.to_thread(append, self._shell.settings.root / FILE, entry)
        except OSError as error:
            self._shell.say(tr("The history of prompts cannot be written: {error}.", error=error.strerror or error))

    def toggle_forever(self) -> None:
        """Go on drawing until told to stop, or no longer."""
        self.forever = not self.forever
        self._shell.show_status()
        self._shell.say(tr("Generates until you stop it.") if self.forever else tr("Stops after this job."))
        if self.forever and not self._shell.state.runs:
            self.generate()

    def repeat_last(self) -> None:
        """Draw the last job again."""
        begin(self._desk, self._repeat_last)

    async def _repeat_last(self) -> None:
        if not self._jobs:
            page = await self._desk.ask(calls.jobs(limit=1))
            self._jobs = [job.id for job in page.jobs] if page else []
        if not self._jobs:
            self._shell.say(tr("Nothing was generated yet."))
            return
        last = self._jobs[-1]
        if (details := await self._desk.ask(calls.job(last))) is not None:
            await self.submit(details.request.model_dump(mode="json"))

    def vary_last(self) -> None:
        """Draw variations of the last picture."""
        begin(self._desk, self._vary_last)

    async def _vary_last(self) -> None:
        page = await self._desk.ask(calls.pictures(limit=20))
        picture = next((p for p in page.pictures if p.is_image), None) if page else None
        if picture:
            self.draw_again(picture.infotext, vary=True)
        else:
            self._shell.say(tr("Nothing was generated yet."))

    def draw_again(self, infotext: str, *, vary: bool = False) -> None:
        """Draw this picture again, or pictures that are like it."""
        begin(self._desk, partial(self._draw, infotext, vary=vary))

    async def _draw(self, infotext: str, *, vary: bool) -> None:
        fields = await self._filling.recalled(infotext)
        if fields is None:
            return
        if vary:
            fields = varied(fields, self._desk.form.values()["variation_strength"])
        await self.submit({**self._shell.settings.job_fields(), **fields})

    async def draw_hires(self, picture: Picture, begin_with: Callable[[Picture], Awaitable[str | None]]) -> bool:
        """Draw the hires version of a picture, as the form's parts Hires and Refiner say; whether it is queued. What
        they say is told, since they may be folded away. begin_with: gives the host a picture to begin with."""
        from sdterm.fields import FIELDS
        from sdterm.tui.hires import as_img2img, as_second_pass, begins_with_noise
        from sdterm.tui.hires import told as told_of

        if not picture.is_image or not picture.infotext:
            self._shell.say(tr("Image {image} has no parameters.", image=picture.id))
            return False
        if (drawn := await self._filling.recalled(picture.infotext)) is None:
            return False
        is_from_noise = True
        if picture.job:
            if (details := await self._desk.ask(calls.job(picture.job))) is None:
                return False
            is_from_noise = begins_with_noise(details.request)
        given, plain = self._desk.form.values(), self._shell.settings.job_fields()
        told = tr(
            "Hires version of image {image}: {settings} ({key}, Hires).",
            image=picture.id,
            settings=told_of(given),
            key=self._shell.key("more_options"),
        )
        if not is_from_noise:
            digest = await begin_with(picture)
            return bool(digest) and await self.submit(
                {**plain, **as_img2img(drawn, given, picture, str(digest))}, told=told
            )
        if not self._filling.offers.takes(FIELDS["hires"], drawn):
            self._shell.say(
                tr("The model of image {image} has no hires fix. Use Upscale or img2img.", image=picture.id)
            )
            return False
        if drawn.get("hires"):
            self._shell.say(tr("Image {image} is a hires version already.", image=picture.id))
            return False
        return await self.submit({**plain, **as_second_pass(drawn, given)}, picture, told=told)

    # --- seeds --------------------------------------------------------------------------------------------------------

    def lock_seed(self) -> None:
        """Keep the seed, or have a new one for each job."""
        if self._desk.form.seed is not None:
            self._change_seed(None)
            self._shell.say(tr("Each job gets a random seed."))
        else:
            begin(self._desk, self._lock_seed)

    async def _lock_seed(self) -> None:
        seed = await self._newest_seed()
        if seed is None:
            self._shell.say(tr("There is no seed to reuse: nothing was generated yet."))
            return
        self._change_seed(str(seed))
        self._shell.say(tr("Seed {seed} is reused from now on.", seed=seed))

    async def _newest_seed(self) -> int | None:
        """Of the picture drawn last, also before this workstation was opened."""
        if self._last_seed is None and (page := await self._desk.ask(calls.pictures(limit=20))):
            self._last_seed = next((picture.seed for picture in page.pictures if picture.seed is not None), None)
        return self._last_seed

    def _change_seed(self, seed: str | None) -> None:
        form = self._desk.form
        form.change(form.draft.but(seed=seed), tr("Seed"))

    def reroll(self) -> None:
        """Take a new seed and draw."""
        if self._desk.form.seed is not None:
            self._change_seed(str(random.randrange(2**32)))
        self.generate()

    def walk(self, by: int) -> None:
        """Draw with a seed near by."""
        begin(self._desk, self._walk, by)

    async def _walk(self, by: int) -> None:
        seed = self._desk.form.seed if self._desk.form.seed is not None else await self._newest_seed()
        if seed is None:
            self._shell.say(tr("There is no seed to start from: nothing was generated yet."))
            return
        self._change_seed(str(max(0, seed + by)))
        self.generate()

    # --- what comes of it ---------------------------------------------------------------------------------------------

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
            Started,
            SteppedDown,
            Waiting,
            Warning,
        )

        job, event = entry.job, entry.event
        match event:
            case Image(seed=seed, path=path):
                self._last_seed = seed
                self._last_image = job, Path(path or "").name
                if self._stop_after and job is not None:
                    self._stop_after = self.forever = False
                    begin(self._desk, self._desk.ask, calls.cancel(job))
            case Done(images=images, seconds=seconds):
                done = self._done(job, images, clock(seconds) if seconds >= 10 else f"{seconds:.1f}s")
                lacking, lacked = self._lacking
                self._shell.say(f"{lacked} {done}" if lacked and lacking == job else done)
                self._ring()
                if self.forever and self._jobs and job == self._jobs[-1]:
                    self.generate()
            case ExtensionChanged(loaded=loaded, message=message):
                begin(self._desk, self._filling.learn)
                at = time.strftime("%H:%M:%S", time.localtime(entry.at))  # the same sentence again is another reload
                self._shell.say(f"{'' if loaded else '! '}{said(message)} ({at})")
            case Failed() | Waiting():
                self.forever = False
                self._fail(job, event)
            case Interrupted(message=message):
                self._shell.say(
                    tr("The engine died and is restarted; #{job} continues. ({message})", job=job, message=message)
                )
            case SteppedDown(message=message) | Started(memory=message) if message:
                self._shell.say(f"#{job}: {said(message)}")
            case Resumed(calls=taken):
                self._shell.say(tr("#{job} continues: {calls} network calls came from the tape.", job=job, calls=taken))
            case Warning(code="network_ignored", message=text):
                self._lacking = job, self._lacked(text)
                self._shell.say(self._lacking[1])
            case Warning(message=text):
                self._shell.say("! " + said(text))
            case Cancelled(images=0):
                self._shell.say(tr("#{job} is cancelled.", job=job))
            case Cancelled(images=images):
                stopped = counted(
                    "#{job} stopped; its finished image is saved.",
                    "#{job} stopped; {number} finished images are saved.",
                    images,
                    job=job,
                )
                self._shell.say(stopped)
            case Paused(images=images):
                waits = counted(
                    "#{job} waits; one image is finished.",
                    "#{job} waits; {number} images are finished.",
                    images,
                    job=job,
                )
                self._shell.say(waits)

    def _lacked(self, text: str) -> str:
        """What was said of networks that are not there, and the key that helps."""
        key = self._desk.network_key()
        return "! " + (tr("{key} takes another:", key=key) + " " if key else "") + said(text)

    def _done(self, job: int | None, images: int, took: str) -> str:
        of, file = self._last_image
        if not file or of != job:  # drawn before this workstation was opened
            return tr("#{job} done in {time}.", job=job, time=took)
        if images == 1:
            return tr("#{job} done in {time}: {file}", job=job, time=took, file=file)
        return tr(
            "#{job} done in {time}: {images} images, the last is {file}", job=job, time=took, images=images, file=file
        )

    def _ring(self) -> None:
        match self._shell.settings["notify"]:
            case "bell":
                self._desk.app.bell()
            case "osc9":
                self._shell.write_to_terminal("\x1b]9;sdterm: done\x07")

    def stop(self) -> None:
        """Stop what is drawn, the second time that this is wanted."""
        runs = [run for run in self._shell.state.runs if run.job in self._jobs] or [*self._shell.state.runs]
        if not runs:
            self._shell.say(tr("Nothing is running."))
            return
        offered, timer = self._escaped or (None, None)
        if timer:
            timer.stop()
        if offered is not None and offered in [run.job for run in runs]:
            self.forever, self._escaped = False, None
            begin(self._desk, self._desk.ask, calls.cancel(offered))
            return
        job = runs[-1].job
        offer = tr("{key} again stops #{job}.", key=self._shell.key("stop"), job=job)
        self._escaped = job, self._desk.app.set_timer(_TWICE, partial(self._stop_no_more, offer))
        self._shell.say(offer)

    def _stop_no_more(self, offer: str) -> None:
        """It was not meant: the next Esc offers it again."""
        self._escaped = None
        self._shell.unsay(offer)

    def stop_after(self) -> None:
        """Stop once the picture is finished that is drawn now."""
        if not self._shell.state.runs:
            self.forever = False
            self._shell.say(tr("Nothing is running."))
            return
        self._stop_after = True
        self._shell.say(tr("Stops after this image."))

    def _fail(self, job: int | None, event: Any) -> None:
        from sdterm.tui.remedies import remedies

        why = f"#{job}: {said(sentences(event.message, event.advice))}"
        self._shell.say("! " + why)
        if job in self._jobs and event.event == "failed":
            self.offer_remedies(job, why, remedies(event.code))

    def offer_remedies(self, job: int | None, why: str, found: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Tell what happened to a job, and let a key draw it again another way."""
        from sdterm.tui.screens.pick import Ask

        if not found or job is None:
            return
        answers = [(str(number), words) for number, (words, _) in enumerate(found, 1)]
        answers.append(("enter", tr("try again with 1")))

        def answered(key: str | None) -> None:
            if key is not None:
                number = 1 if key == "enter" else int(key)
                begin(self._desk, self._draw_otherwise, job, found[number - 1][1])

        self._desk.app.push_screen(Ask(tr("#{job} stopped", job=job), [why], answers), answered)

    async def _draw_otherwise(self, job: int, changes: Mapping[str, Any]) -> None:
        details = await self._desk.ask(calls.job(job))
        if details is not None:
            from sdterm.tui.remedies import applied

            otherwise = applied(changes, details)
            if isinstance(otherwise, dict):
                await self.submit(otherwise)
            elif await self._desk.ask(calls.retry(job, otherwise)) is not None:
                self._shell.say(tr("#{job} is queued.", job=job))
