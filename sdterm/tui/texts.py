"""Every text that sdterm can say to a user, for translators."""

import ast
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache

from sdterm.api import STATES
from sdterm.core.languages.marked import texts_of
from sdterm.core.languages.plural_forms import categories
from sdterm.core.languages.translations import Translation, placeholders
from sdterm.core.settings.flags import FLAGS
from sdterm.core.settings.model_kinds import MODEL_KINDS
from sdterm.core.settings.paths import PACKAGE
from sdterm.core.settings.settings import SETTINGS
from sdterm.core.syntax import parsed
from sdterm.events import PICTURE_KINDS
from sdterm.fields import FIELDS, shown_as_one
from sdterm.tui.actions import ACTIONS
from sdterm.tui.fields import FOLDED, WORDS, parts
from sdterm.tui.panes import ABOUT, MOVES
from sdterm.tui.screens import help
from sdterm.tui.state import TROUBLES
from sdterm.tui.vocabulary import NAMES
from sdterm.tui.widgets.bars import TABS

SOURCES = ("the command line", "this session")
"""Where a setting's value comes from, where that is no name of a file or variable."""
_TEXTS: Mapping[str, int] = {"tr": 1, "counted": 2, "message": 1, "plural": 2}
"""How many of a function's arguments are texts: of two, the first is of one and the second of many."""


def messages() -> list[str]:
    """The English texts, each once: what `tr` and `message` are called with, and the tables that it is called on."""
    return [*dict.fromkeys([*(text for texts in _called() for text in texts), *_declared()])]


def template(translated: Mapping[str, Translation], otherwise: Callable[[str], str] = str) -> str:
    """A translation to start from, as JSON: what is translated already, and else English, or what is made of it."""
    texts = {text: translated.get(text, otherwise(text)) for text in messages()}
    return json.dumps(texts, ensure_ascii=False, indent=1) + "\n"


def faults(translated: Mapping[str, Translation], language: str) -> dict[str, list[str]]:
    """What is wrong with a translation: texts that are `missing`, that lack `plural forms` of their language, that are
    `unused` by now, and whose `{names}` differ."""
    known, forms = messages(), {*categories(language)}
    counting = dict(texts for texts in _called() if len(texts) == 2)
    needless = {one for one, many in counting.items() if "one" not in forms or _is_table(translated.get(many))}
    return {
        "missing": [text for text in known if text not in translated and text not in needless],
        "plural forms": [
            many for many in counting.values() if many in translated and not _has_forms(translated[many], forms)
        ],
        "unused": [text for text in translated if text not in known],
        "names differ": [text for text in known if text in translated and not _same_names(text, translated[text])],
    }


def _is_table(translation: Translation | None) -> bool:
    return isinstance(translation, Mapping)


def _has_forms(translation: Translation, forms: Collection[str]) -> bool:
    return {*forms} <= ({*translation} if isinstance(translation, Mapping) else {"one", "other"})


def _same_names(text: str, translation: Translation) -> bool:
    if isinstance(translation, Mapping):
        return all(
            _same_names(text, form if "{number}" in form else form + "{number}") for form in translation.values()
        )
    try:
        return set(placeholders(text)) == set(placeholders(translation))
    except ValueError:
        return False


@cache
def _called() -> tuple[tuple[str, ...], ...]:
    """The texts of each call in sdterm's own sources."""
    said = re.compile(rf"\b({'|'.join(_TEXTS)})\(")
    sources = (path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py")))
    made = (
        tuple(text for text in texts if text) for source in sources if said.search(source) for texts, _ in calls(source)
    )
    return tuple(filter(None, made))


def calls(source: str, functions: Collection[str] = _TEXTS) -> Iterator[tuple[tuple[str | None, ...], int]]:
    """Call by call, the texts that a file gives to one of these functions, None for no literal; and the line."""
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in functions:
            given = node.args[: _TEXTS[node.func.id]]
            values = (each.value if isinstance(each, ast.Constant) else None for each in given)
            yield tuple(value if isinstance(value, str) else None for value in values), node.lineno


def _declared() -> Iterator[str]:
    """The texts of tables, which have no call of their own."""
    yield from (text for row in FIELDS.values() for text in (row.label, row.sentence))
    yield from (field.sentence for field in FOLDED)
    yield from (rows[0].sentence for name, rows in shown_as_one("option").items() if name)
    for part, fields in parts({}).items():
        yield from (part, *(field.sentence for field in fields))
    for setting in SETTINGS:
        yield from (setting.sentence, setting.section)
    for flag in FLAGS:
        yield from filter(None, (flag.sentence, flag.cost))
    for action in ACTIONS:
        yield from filter(None, (action.hint, action.title))
    yield from (title for _, title in TABS)
    yield from (*help.PLACES.values(), help.LISTS, *ABOUT.values())
    yield from (word for keys in MOVES.values() for _, word in keys)
    for named in NAMES.values():
        yield from (named.group, named.name)
    yield from (text for kind in MODEL_KINDS for text in (kind.word, kind.label))
    yield from (*WORDS, *STATES, *PICTURE_KINDS, *TROUBLES.values(), *SOURCES, "Commands", "Help", "Prompt", "All keys")
    yield from _option_helps()
    yield from (text for path in sorted(PACKAGE.rglob("*.html")) for text in texts_of(path.read_text(encoding="utf-8")))


def _option_helps() -> Iterator[str]:
    """What the options of our own plugins are for."""
    for path in sorted((PACKAGE / "plugins").rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        for node in ast.walk(parsed(source)) if "Option(" in source else ():
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Option":
                given = [*node.args[2:3], *(word.value for word in node.keywords if word.arg == "help")]
                values = (each.value for each in given if isinstance(each, ast.Constant))
                yield from (value for value in values if value and isinstance(value, str))
