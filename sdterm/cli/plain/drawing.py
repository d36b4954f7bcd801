"""What draws: a prompt, variations of a picture, its hires version."""

from __future__ import annotations

from collections.abc import Sequence

from sdterm.cli.plain.dialogue import Dialogue, WrongWordsError
from sdterm.tui.hires import as_img2img, as_second_pass, begins_with_noise, told
from sdterm.tui.language import tr
from sdterm.tui.submitting import varied


def generate(talk: Dialogue, words: str) -> None:
    prompt = words or _asked_prompt(talk, tr("Prompt:"), talk.form.draft.prompt, [e.prompt for e in talk.prompts()])
    talk.change(talk.form.draft.but(prompt=prompt), tr("prompt"))
    talk.remember()
    talk.draw(talk.form.request_fields())


def negative(talk: Dialogue, words: str) -> None:
    before = [entry.negative for entry in talk.prompts() if entry.negative]
    text = words or _asked_prompt(talk, tr("Negative prompt:"), talk.form.draft.negative_prompt, before)
    talk.change(talk.form.draft.but(negative_prompt="" if text == "-" else text), tr("negative prompt"))
    now = talk.form.draft.negative_prompt
    talk.say(tr("The negative prompt is: {prompt}", prompt=now) if now else tr("There is no negative prompt now."))


def _asked_prompt(talk: Dialogue, question: str, now: str, before: Sequence[str]) -> str:
    if now:
        talk.say(tr("Enter keeps: {prompt}", prompt=now))
    return talk.ask(question, [*dict.fromkeys(before)][::-1]) or now


def vary(talk: Dialogue, words: str) -> None:
    picture = talk.meant(words)
    fields = varied(talk.recalled(picture), talk.form.values()["variation_strength"])
    talk.say(tr("Variations of image {image}.", image=picture.id))
    talk.draw({**talk.settings.job_fields(), **fields})


def again(talk: Dialogue, words: str) -> None:
    talk.draw({**talk.settings.job_fields(), **talk.recalled(talk.meant(words))})


def hires(talk: Dialogue, words: str) -> None:
    picture = talk.meant(words)
    drawn, given, plain = talk.recalled(picture), talk.form.values(), talk.settings.job_fields()
    with talk.host() as host:
        is_from_noise = not picture.job or begins_with_noise(host.job(picture.job).request)
        digest = "" if is_from_noise else host.put_input(host.file(picture.id))
    if is_from_noise and drawn.get("hires"):
        raise WrongWordsError(tr("Image {image} is a hires version already.", image=picture.id))
    talk.say(tr("Hires version of image {image}: {settings}.", image=picture.id, settings=told(given)))
    if is_from_noise:
        talk.draw({**plain, **as_second_pass(drawn, given)}, picture)
    else:
        talk.draw({**plain, **as_img2img(drawn, given, picture, digest)})
