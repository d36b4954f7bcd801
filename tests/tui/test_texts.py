"""Every text of the interface can be translated, and is, in the language that ships."""

import json
from pathlib import Path

import pytest

from sdterm.core.settings.paths import PACKAGE, shipped
from sdterm.tui.actions import ACTIONS, BY_ID, SCOPES
from sdterm.tui.app import Workstation
from sdterm.tui.keymap import PRESETS, KeymapError, clashes, keys_of, read_keymap
from sdterm.tui.language import read_messages
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


def test_chinese_is_complete() -> None:
    folder = shipped("localizations")
    assert folder
    wrong, elsewhere = faults(read_messages("zh_CN", [folder]), "zh_CN"), _said_by_host_and_engine()
    assert {**wrong, "missing": [text for text in wrong["missing"] if text not in elsewhere]} == {
        "missing": [],
        "plural forms": [],
        "unused": [],
        "names differ": [],
    }


def _said_by_host_and_engine() -> set[str]:
    """What is not translated yet."""
    rooms = [path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] != "tui"]
    return {text for path in rooms for texts, _ in calls(path.read_text(encoding="utf-8")) for text in texts if text}


def test_what_is_translated_is_written_down_where_it_is_found() -> None:
    """A text that is put together first would never be in the list."""
    for path in sorted((PACKAGE / "tui").rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        for texts, line in calls(source):
            shown = source.splitlines()[line - 1].strip()
            known = any(f"tr({table}" in shown for table in (*TABLES, "name", "title", "line", "PLACES[scope]"))
            assert None not in texts or known or path.name == "language.py", f"{path.name}:{line}: {shown}"


def test_a_message_is_written_down_where_it_is_said() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        for texts, line in calls(path.read_text(encoding="utf-8"), ("message", "plural")):
            assert None not in texts or path.name == "messages.py", f"{path.name}:{line}: no literal"


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
