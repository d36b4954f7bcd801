"""What stands where something will be, as long as there is nothing: what that is, and what to press for a first one."""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from rich.text import Text
from textual.strip import Strip
from textual.widget import Widget

from sdterm.core.settings.paths import CHECKPOINTS
from sdterm.tui.keymap import shown
from sdterm.tui.language import tr
from sdterm.tui.picture.widget import over
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


def empty_list(widget: Widget, title: str, about: str, keys: Sequence[tuple[str, str]]) -> Text:
    """That a list is empty, what it is for, and each key that helps with what it does."""
    key_style = widget.get_component_rich_style("line--key", partial=True)
    text = Text(title, style="bold").append(f"\n\n{about}\n", style="not bold")
    for key, what in keys:
        text.append("\n").append(key, style=key_style).append(f" {what}", style="not bold")
    return text


def in_the_middle(text: Text, widget: Widget, *, most: int = 1000) -> list[Strip]:
    """All lines of a widget, with the text as a block in the middle. most: cells of its width."""
    (width, height), style = widget.size, widget.rich_style
    lines = [Strip.blank(width, style)] * height
    words = text.wrap(widget.app.console, max(1, min(most, width - 1)))[:height]
    for line in words:
        line.rstrip()
    longest = max((line.cell_len for line in words), default=0)
    left, top = max(0, (width - longest) // 2), (height - len(words)) // 2
    for y, line in enumerate(words, top):
        strip = over(Strip([Segment(" " * left), *line.render(widget.app.console)]), style)
        lines[y] = strip.adjust_cell_length(width, style)
    return lines
