"""What changes the form: parameters by their names, choices from lists, prompts of before."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from sdterm.cli.inputs import digest_of
from sdterm.cli.plain.dialogue import PAGE, Dialogue, WrongWordsError
from sdterm.cli.plain.words import name_of, of_picture, pair, value_of
from sdterm.core.names import find, normal
from sdterm.core.numbers import whole_number
from sdterm.core.text import printable
from sdterm.fields import FIELDS
from sdterm.messages import message
from sdterm.tui.fields import ROWS, Field, field_of, parts, quick_field
from sdterm.tui.language import counted, tr
from sdterm.tui.offers import Choice
from sdterm.tui.typed import typed

_PROMPTS = ("prompt", "negative_prompt")


def change(talk: Dialogue, words: str) -> None:
    field, text = _named_field(words or talk.ask(tr("Parameter:")))
    if not text:
        text = talk.ask(tr("{label}, now {value}:", label=name_of(field), value=_told(talk, field)))
    if text:
        _give(talk, field, text)


def _give(talk: Dialogue, field: Field, text: str) -> None:
    talk.offers.catalogue or talk.learn()
    changes: Mapping[str, Any]
    if field.kind == "input":
        if text == "-":
            raise WrongWordsError(
                tr("Standard input has your commands. Name a file, or an image by its number, like #12.")
            )
        with talk.host() as host:
            digest = digest_of(text, host.put_input, host)
        changes = field.given((digest,) if field.takes_several else digest, talk.form.values())
    else:
        changes = typed(field, text, talk.form.values(), talk.offers)
    talk.change(talk.form.draft.but(**changes), name_of(field))
    _tell(talk, field)


def reset(talk: Dialogue, words: str) -> None:
    if normal(words) == normal("all"):
        talk.change(talk.form.draft.but(**dict.fromkeys(talk.form.draft.fields)), tr("all parameters"))
        talk.say(tr("All parameters are as the settings say."))
        return
    field, _ = _named_field(words or talk.ask(tr("Parameter:")))
    talk.change(talk.form.draft.but(**dict.fromkeys(row.name for row in field.rows)), name_of(field))
    _tell(talk, field)


def values(talk: Dialogue, words: str) -> None:
    talk.offers.catalogue or talk.learn()
    values, given = talk.form.values(), talk.form.draft.fields
    talk.say(tr("Prompt: {prompt}", prompt=talk.form.draft.prompt))
    talk.say(tr("Negative prompt: {prompt}", prompt=talk.form.draft.negative_prompt))
    wanted = {"model": quick_field("model"), **{field.id: field for line in ROWS for field in line}}
    wanted |= {field_of(name): quick_field(name) for name in given}
    if normal(words) == normal("all"):
        wanted |= {field.id: field for fields in parts(values).values() for field in fields}
        wanted |= {field_of(name): quick_field(name) for name in FIELDS if name not in _PROMPTS}
    for field in wanted.values():
        _tell(talk, field)


def _tell(talk: Dialogue, field: Field) -> None:
    talk.say(pair(name_of(field), _told(talk, field)))


def _told(talk: Dialogue, field: Field) -> str:
    models = talk.offers.models or ()
    usual = models[0].name if field.id == "model" and models else tr("not set")
    return value_of(field, talk.form.values()) or usual


def pick(talk: Dialogue, words: str) -> None:
    words = words or talk.ask(tr("What to pick, like sampler, scheduler, model, size, styles, or an image's number:"))
    if re.fullmatch(r"#?\d+", words):
        picture = talk.meant(words)
        talk.picture = picture.id
        talk.say(of_picture(picture))
        return
    field, filter_words = _named_field(words)
    has_list = field.offers or field.choices
    choices = talk.learn().of(field, talk.form.values()) if has_list else None
    if choices is None:
        raise WrongWordsError(tr("There is no list for {label}: `set` takes what you type.", label=name_of(field)))
    found = [each for each in choices if normal(filter_words) in normal(f"{each.name} {each.note}")]
    if not found:
        raise WrongWordsError(tr("There is nothing to choose for {label}.", label=name_of(field)))
    talk.say(tr("{label}, now {value}.", label=name_of(field), value=_told(talk, field)))
    if chosen := _chosen(talk, found):
        _give(talk, field, chosen)


def _chosen(talk: Dialogue, choices: Sequence[Choice]) -> str:
    """The name of one of a list, or whatever was typed instead; nothing keeps what there is."""
    for start in range(0, len(choices), PAGE):
        for at, choice in enumerate(choices[start : start + PAGE], start + 1):
            talk.say(f"{at}. {choice.name}" + (f", {choice.note}" if choice.note else ""))
        rest = len(choices) - start - PAGE
        more = (
            counted("Enter tells the last one.", "Enter tells {number} more.", rest)
            if rest > 0
            else tr("Enter keeps it.")
        )
        answer = talk.ask(f"{more} {tr('Number or name:')}")
        if 0 < (number := whole_number(answer)) <= len(choices):
            return choices[number - 1].name
        if answer:
            return answer
    return ""


def undo(talk: Dialogue, words: str) -> None:
    name = talk.form.back()
    talk.say(tr("Taken back: {what}.", what=name) if name else tr("There is nothing to take back."))


def redo(talk: Dialogue, words: str) -> None:
    name = talk.form.forth()
    talk.say(tr("Done again: {what}.", what=name) if name else tr("There is nothing to do again."))


def prompts(talk: Dialogue, words: str) -> None:
    """Those that were drawn before; a number takes one."""
    entries = talk.prompts()
    if words:
        at = whole_number(words.removeprefix("#"))
        if not 0 < at <= len(entries):
            raise WrongWordsError(tr("There is no prompt {number}.", number=printable(words)))
        entry = entries[at - 1]
        talk.change(talk.form.draft.but(prompt=entry.prompt, negative_prompt=entry.negative), tr("a prompt of before"))
        talk.say(tr("Prompt: {prompt}", prompt=entry.prompt))
        return
    lines = [f"{at}. {printable(entry.prompt, 300)}" for at, entry in enumerate(entries, 1)]
    talk.say_list(lines or [tr("No prompt was used yet.")])


@cache
def _fields() -> Mapping[str, Field]:
    """Every parameter by all its names."""
    found: dict[str, Field] = {}
    for row in FIELDS.values():
        if row.name not in _PROMPTS:
            shown = quick_field(row.name)
            alone = Field((replace(row, label=row.name.replace("_", " ").capitalize()),))  # width alone is no size
            found.setdefault(row.name, shown if len(shown.rows) == 1 else alone)
            for name in filter(None, (shown.id, row.option.removeprefix("--"), row.a1111, row.label)):
                found.setdefault(name, shown)
    return found


def _named_field(words: str) -> tuple[Field, str]:
    """A parameter whose name some words begin with, and the rest of the words. Raises UnknownNameError."""
    known = {normal(name_of(field)): field for field in reversed([*_fields().values()])}
    known |= {normal(name): field for name, field in reversed([*_fields().items()])}
    said = re.sub(r"^([^=]*?)\s*=\s*", r"\1 ", words).split()
    for many in range(len(said), 0, -1):
        # a word of dashes is a value: it is nothing in the form in which names are the same
        if all(map(normal, said[:many])) and (field := known.get(normal(" ".join(said[:many])))):
            return field, " ".join(said[many:])
    field = find("parameter", said[0] if said else "", _fields(), more=message("`values all` tells them all."))
    return field, " ".join(said[1:])
