"""Jobs, pictures and times as sentences that can be listened to."""

from __future__ import annotations

from sdterm.api import JobView, Picture
from sdterm.core.infotext.grammar import parse
from sdterm.core.text import printable
from sdterm.tui.differing import kind_word, seed_of
from sdterm.tui.language import counted, said, tr

_PROMPT = 200  # characters


def of_job(job: JobView) -> str:
    """`Job 3, running: 1 of 4 images, step 5 of 20. Prompt: a red house`"""
    parts = [
        tr(
            "Job {job}, {state}: {done} of {count} images",
            job=job.id,
            state=tr(job.state),
            done=job.done,
            count=job.images,
        )
    ]
    if job.progress and job.progress.steps:
        parts.append(tr("step {step} of {steps}", step=job.progress.step, steps=job.progress.steps))
    state = ", ".join(parts) + "."
    if job.reason:
        state += f" {said(job.reason.message)}"
    return f"{state} {_prompt(job.prompt)}"


def of_picture(picture: Picture) -> str:
    """`Picture 12, 128 by 128, seed 5, Euler a. Prompt: a red house`"""
    parts = [
        tr("Image {image}", image=picture.id),
        *([kind_word(picture)] if kind_word(picture) else []),
        tr("{width} by {height}", width=picture.width, height=picture.height),
    ]
    said = parse(picture.infotext)
    if seed := seed_of(picture):
        parts.append(tr("seed {seed}", seed=printable(seed, 40)))
    if sampler := said.parameters.get("Sampler"):
        parts.append(printable(sampler, 40))
    if picture.missing:
        parts.append(tr("its file is missing"))
    return f"{', '.join(parts)}. {_prompt(said.prompt)}"


def _prompt(text: str) -> str:
    prompt = printable(" ".join(text.split()), _PROMPT)
    return tr("Prompt: {prompt}", prompt=prompt) if prompt else tr("Its prompt is empty.")


def duration(seconds: float) -> str:
    """`8 seconds`, `2 minutes 5 seconds`"""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [
        counted("{number} hour", "{number} hours", hours) if hours else "",
        counted("{number} minute", "{number} minutes", minutes) if minutes else "",
        counted("{number} second", "{number} seconds", rest) if rest or not (hours or minutes) else "",
    ]
    return " ".join(filter(None, parts))
