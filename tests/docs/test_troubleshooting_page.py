"""The page on troubleshooting answers each heading of A1111's guide, and names only what there is."""

import re
from pathlib import Path

import click
import pytest

from sdterm.cli import COMMANDS, sdterm
from sdterm.core.settings.flags import FLAGS
from sdterm.core.settings.settings import SETTINGS_BY_KEY
from sdterm.fields import FIELDS

PAGE = (Path(__file__).parents[2] / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
CODE = [*re.findall(r"`([^`\n]+)`", PAGE), *"\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)).splitlines()]


@pytest.mark.parametrize(
    "heading",
    [
        *("A path with spaces", "Installing is slow", "Out of memory", "Which Python?", "Socket accept failed"),
        *("venv and conda", "A Windows DLL is missing", "CUDA error: an illegal memory access"),
    ],
)
def test_it_answers_every_heading_of_the_guides_chapter(heading: str) -> None:
    (answer,) = re.findall(rf"^## {re.escape(heading)}.*\n\n((?:(?!## ).*\n)+)", PAGE, re.MULTILINE)
    assert len(answer) > 200


def test_its_commands_flags_and_settings_are_there(repo: Path) -> None:
    launcher = (repo / "launch.py").read_text(encoding="utf-8")
    context = click.Context(sdterm, info_name="sdterm")
    commands = {name: sdterm.get_command(context, name) for name in COMMANDS}
    options = {option for command in commands.values() if command for each in command.params for option in each.opts}
    known = options | {flag.name for flag in FLAGS}
    for name in re.findall(r"^sdterm ([a-z-]+)", "\n".join(CODE), re.MULTILINE):
        assert name in commands
    for flag in re.findall(r"(?<![\w-])--[a-z0-9-]+", "\n".join(code for code in CODE if "wsl" not in code)):
        assert flag in known or flag in launcher, flag
    for setting in re.findall(r"^([a-z_]+) = ", "\n".join(CODE), re.MULTILINE):
        assert setting in SETTINGS_BY_KEY or setting in FIELDS, setting
