"""What stands where the picture will be, before anything was drawn: what to press for a first one."""

from __future__ import annotations

from rich.text import Text
from textual.widget import Widget

from sdterm.core.settings.paths import CHECKPOINTS
from sdterm.tui.keymap import shown
from sdterm.tui.language import tr
from sdterm.tui.shell import Shell

EXAMPLES = ("red house, lake, sunset", "orange cat, blue background", "red rocket in space")
"""Prompts that the demo model draws well; they are in its words, in every language."""


def invitation(shell: Shell, widget: Widget, *, has_models: bool) -> Text:
    """How to draw a picture, three prompts with a key each, and how to have another model than the demo's, if there is
    none."""
    key, bold = widget.get_component_rich_style("line--key", partial=True), "bold"
    generate, models, add = map(shell.key, ("generate", "go_models", "add_model"))
    text = Text()
    text.append(tr("No image yet: write a prompt, then {key} generates.", key=generate), style=bold)
    text.append("\n\n" + tr("Or generate one of these:") + "\n")
    for number, prompt in enumerate(EXAMPLES, 1):
        text.append(f"\n{shown(f'alt+{number}')}", style=key).append(f" {prompt}")
    if has_models:
        return text
    said = tr(
        "A model of your own: {models}, then {add} adds one; or put its file into {folder}.",
        models=models,
        add=add,
        folder=CHECKPOINTS,
    )
    return text.append(f"\n\n{said}", style=widget.get_component_rich_style("line--muted", partial=True))
