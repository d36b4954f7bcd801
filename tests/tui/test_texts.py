"""Every text of the interface can be translated, and is, in the language that ships."""

import ast
import json
from pathlib import Path

import pytest

from sdterm.core.languages.translations import placeholders, read_messages
from sdterm.core.settings.paths import PACKAGE, shipped
from sdterm.messages import from_json
from sdterm.tui.actions import ACTIONS, BY_ID, SCOPES
from sdterm.tui.app import Workstation
from sdterm.tui.keymap import PRESETS, KeymapError, clashes, keys_of, read_keymap
from sdterm.tui.screens.help import PLACES
from sdterm.tui.texts import calls, faults, messages, template

TABLES = {
    "action.hint",
    "action.title",
    "field.label",
    "field.sentence",
    "hint",
    "item.section",
    "item.sentence",
    "item.state",
    "job.state",
    "setting.sentence",
    "value.source",
    "kind.label",
    "KINDS_BY_ID[offer.kind].word",
    "TROUBLES.get(state.trouble",
    "ABOUT[scope]",
    "LISTS",
    "part",
    "section.title",
    "named.group",
    "named.name",
}


@pytest.mark.parametrize("language", ["zh_CN", "ja", "de"])
def test_what_ships_is_complete(language: str) -> None:
    folder = shipped("localizations")
    assert folder
    assert faults(read_messages(language, [folder]), language) == {
        "missing": [],
        "plural forms": [],
        "unused": [],
        "names differ": [],
    }


def test_what_is_translated_is_written_down_where_it_is_found() -> None:
    """A text that is put together first would never be in the list."""
    for path in sorted((PACKAGE / "tui").rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        for texts, line in calls(source):
            shown = source.splitlines()[line - 1].strip()
            known = any(f"tr({table}" in shown for table in (*TABLES, "name", "title", "line", "PLACES[scope]"))
            assert None not in texts or known or path.name == "language.py", f"{path.name}:{line}: {shown}"


def test_a_message_is_written_down_where_it_is_said_and_has_the_values_that_it_names() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id="message" | "plural" as made)) if path.name != "messages.py":
                    where, texts = f"{path.name}:{node.lineno}", node.args[: 1 + (made == "plural")]
                    for text in texts:
                        assert isinstance(text, ast.Constant) and isinstance(text.value, str), f"{where}: no literal"
                        given = {keyword.arg for keyword in node.keywords} | ({"number"} if made == "plural" else set())
                        if None not in given and (given or made == "plural"):  # ** has them
                            assert set(placeholders(text.value)) <= given, where
                            from_json({"template": text.value, "values": dict.fromkeys(given, 1)})
                    named = {name for text in texts for name in placeholders(text.value)}  # type: ignore[attr-defined]
                    assert None in given or given <= named | {"number"} or not given, where


def test_no_text_begins_or_ends_with_a_space() -> None:
    """A translation has none there, and would not be found."""
    assert [text for text in messages() if text != text.strip()] == []


def test_a_template_keeps_what_is_translated() -> None:
    assert json.loads(template({"Seed": "Startwert"}))["Seed"] == "Startwert"
    assert len(messages()) == len(set(messages()))


def test_every_action_can_be_done() -> None:
    import sdterm.tui.screens.compare
    import sdterm.tui.screens.extensions
    import sdterm.tui.screens.gallery
    import sdterm.tui.screens.generate
    import sdterm.tui.screens.models
    import sdterm.tui.screens.queue
    import sdterm.tui.screens.settings
    from sdterm.tui.widgets.mask_view import MaskView
    from sdterm.tui.widgets.picture_actions import PictureActions
    from sdterm.tui.widgets.prompt import PromptEditor

    screens = sdterm.tui.screens
    owners = {
        "anywhere": (Workstation, screens.generate.GenerateScreen),
        "prompt": (PromptEditor,),
        "pictures": (PictureActions,),
        "gallery": (screens.gallery.GalleryScreen,),
        "compare": (screens.compare.CompareScreen,),
        "mask": (MaskView,),
        "queue": (screens.queue.QueueScreen,),
        "models": (screens.models.ModelsScreen,),
        "settings": (screens.settings.SettingsScreen,),
        "extensions": (screens.extensions.ExtensionsScreen,),
    }
    missing = [
        action.id
        for action in ACTIONS
        if not any(hasattr(owner, f"action_{action.id}") for owner in owners[action.scope])
    ]
    assert missing == [] and len(BY_ID) == len(ACTIONS)
    assert [*PLACES] == [*SCOPES], "Help names every place where there are keys"


@pytest.mark.parametrize("name", PRESETS)
def test_no_preset_counts_on_keys_that_terminals_change(name: str) -> None:
    """Alt+B, Alt+F and Alt+comma arrive as others; Ctrl+H, I, J, M are Backspace, Tab, Enter; Ctrl+B is tmux's."""
    lost = {"alt+b", "alt+f", "alt+comma", "ctrl+h", "ctrl+i", "ctrl+j", "ctrl+m", "ctrl+b", "ctrl+s"}
    for action, keys in keys_of(read_keymap(name)).items():
        assert not lost & {*keys.split(",")}, action


@pytest.mark.parametrize("name", PRESETS)
def test_no_preset_gives_a_key_two_meanings(name: str) -> None:
    assert clashes(read_keymap(name)) == []


def test_a_keymap_of_ones_own_starts_from_a_preset_and_clashes_are_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('base = "vim"\n[keymap]\ngenerate = "f5, ctrl+e"\nreroll = "f5"\n')
    keymap = read_keymap(str(path))
    assert keys_of(keymap)["generate"] == "f5,ctrl+e" and keymap["history"] == PRESETS["vim"]["history"]
    (clash,) = clashes(keymap)
    assert (clash.key, clash.first, clash.second) == ("f5", "generate", "reroll") and "f5" in str(clash)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[keymap]\ngenrate = 'f5'", "Did you mean 'generate'"),
        ("[keymap]\ngenerate = 5", "must be text"),
        ("base = 'emacs'", "must be one of"),
        ("keymap = 3", "must be a table"),
        ("[", "cannot be read"),
    ],
)
def test_a_keymap_that_is_wrong_is_a_sentence(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(content)
    with pytest.raises(KeymapError, match=said):
        read_keymap(str(path))
