"""Every text that sdterm can say to a user, for translators."""

import ast
import json
from collections.abc import Collection, Iterator, Mapping
from functools import cache

from sdterm.api import STATES
from sdterm.core.settings.flags import FLAGS
from sdterm.core.settings.paths import PACKAGE
from sdterm.core.settings.settings import SETTINGS
from sdterm.fields import FIELDS
from sdterm.tui.actions import ACTIONS
from sdterm.tui.fields import FOLDED, parts
from sdterm.tui.language import placeholders
from sdterm.tui.panes import ABOUT, MOVES
from sdterm.tui.screens import help
from sdterm.tui.vocabulary import NAMES
from sdterm.tui.widgets.bars import TABS

_TEXTS: Mapping[str, int] = {"tr": 1, "counted": 2, "message": 1, "plural": 2}
"""How many of a function's arguments are texts."""


def messages() -> list[str]:
    """The English texts, each once: what `tr` and `message` are called with, and the tables that it is called on."""
    return [*dict.fromkeys([*_called(), *_declared()])]


def template(translated: Mapping[str, str]) -> str:
    """A translation to start from, as JSON: what is translated already, and English."""
    return json.dumps({text: translated.get(text, text) for text in messages()}, ensure_ascii=False, indent=1) + "\n"


def faults(translated: Mapping[str, str]) -> dict[str, list[str]]:
    """What is wrong with a translation: texts that are `missing`, that nobody says any more (`unused`), and whose
    `{names}` differ."""
    known = messages()
    return {
        "missing": [text for text in known if text not in translated],
        "unused": [text for text in translated if text not in known],
        "names differ": [text for text in known if text in translated and not _same_names(text, translated[text])],
    }


def _same_names(text: str, translation: str) -> bool:
    try:
        return set(placeholders(text)) == set(placeholders(translation))
    except ValueError:
        return False


@cache
def _called() -> tuple[str, ...]:
    sources = (path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py")))
    saying = (source for source in sources if any(f"{name}(" in source for name in _TEXTS))
    return tuple(text for source in saying for text, _ in calls(source) if text is not None)


def calls(source: str, functions: Collection[str] = _TEXTS) -> Iterator[tuple[str | None, int]]:
    """Each text that a file gives to one of these functions, None if that is no literal, and its line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            for given in node.args[: _TEXTS[node.func.id] if node.func.id in functions else 0]:
                text = given.value if isinstance(given, ast.Constant) else None
                yield text if isinstance(text, str) else None, node.lineno


def _declared() -> Iterator[str]:
    """The texts of tables, which have no call of their own."""
    yield from (row.label for row in FIELDS.values())
    yield from (field.sentence for field in FOLDED)
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
    yield from (*STATES, "Commands", "Help", "Prompt", "All keys")
