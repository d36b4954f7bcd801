"""What is about saved pictures: list, describe and compare them, take one over, delete and restore."""

from __future__ import annotations

from functools import partial

from sdterm.cli.plain.dialogue import PAGE, Dialogue, WrongWordsError, number
from sdterm.cli.plain.words import name_in, of_picture, pair
from sdterm.tui.differing import differing, measured, parameters
from sdterm.tui.language import tr


def gallery(talk: Dialogue, words: str, cursor: str | None = None) -> None:
    with talk.host() as host:
        page = host.pictures(words, limit=PAGE, cursor=cursor)
    for picture in page.pictures:
        talk.say(of_picture(picture))
    if not page.pictures:
        talk.say(tr("No image matches.") if words else tr("There is no image yet."))
    if page.next:
        talk.more = partial(gallery, talk, words, page.next)
        talk.say(tr("`more` continues."))


def show(talk: Dialogue, words: str) -> None:
    picture = talk.meant(words)
    talk.picture = picture.id
    talk.say(of_picture(picture))
    for name, value in parameters(picture.infotext).items():
        if name != "Prompt" and value:
            talk.say(pair(name_in(name), value))
    talk.say(tr("File: {path}", path=picture.path))


def load(talk: Dialogue, words: str) -> None:
    picture = talk.meant(words)
    talk.form.fill(talk.recalled(picture), tr("load image {number}", number=picture.id))
    talk.say(tr("The prompts and parameters of image {image} are loaded; `undo` takes them back.", image=picture.id))


def compare(talk: Dialogue, words: str) -> None:
    named_pictures = words.replace(",", " ").split()
    if len(named_pictures) < 2:
        raise WrongWordsError(tr("Name two images or more, like: compare 12 13."))
    with talk.host() as host:
        pictures = [host.picture(number(each)) for each in named_pictures]
        files = [host.file(each.id) for each in pictures] if len(pictures) == 2 else []
    rows = differing([picture.infotext for picture in pictures])
    if not rows:
        talk.say(tr("They were generated with the same parameters."))
    for name, values in rows.items():
        talk.say(pair(name_in(name), "").rstrip())
        for picture, value in zip(pictures, values, strict=True):
            talk.say(tr("Image {image}: {value}", image=picture.id, value=value or tr("not set")))
    if files:
        talk.say(measured(*files))


def delete(talk: Dialogue, words: str) -> None:
    picture = number(words or talk.ask(tr("Image:")))
    with talk.host() as host:
        host.delete_picture(picture)
    talk.picture = None if talk.picture == picture else talk.picture
    talk.say(tr("Image {image} is in the trash. `restore {image}` restores it.", image=picture))


def restore(talk: Dialogue, words: str) -> None:
    with talk.host() as host:
        talk.say(of_picture(host.restore_picture(number(words or talk.ask(tr("Image:"))))))
