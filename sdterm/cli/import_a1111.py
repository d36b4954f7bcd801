"""`sdterm import-a1111`: what an A1111 installation is set to, taken over."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from sdterm.cli.errors import say
from sdterm.cli.options import flag_options, settings_of
from sdterm.cli.print_json import print_json
from sdterm.core.prompt.styles import StylesError, add_styles
from sdterm.core.settings.file import FILE, write_setting
from sdterm.core.settings.installation import Item, read_installation
from sdterm.core.settings.settings import ConfigError, Settings
from sdterm.core.text import printable
from sdterm.host.sdapi.values import OPTIONS
from sdterm.messages import message, sentences


@click.command("import-a1111")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Tell what would be taken over, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@flag_options
@click.pass_context
def import_a1111(context: click.Context, folder: Path, dry_run: bool, as_json: bool) -> None:
    """Take over settings, flags and styles from the A1111 installation in FOLDER; its models are used where they are.

    Nothing there is changed or run. What config.toml has already stays. The host reads settings when it starts:
    `sdterm host stop` lets the next one have the new ones.
    """
    settings = before = settings_of(context)
    defaults = {name: default for name, (_, default) in OPTIONS.items()}
    rows = []
    for item in _together(read_installation(folder.expanduser(), defaults)):
        settings, item = _take(settings, before, item, dry_run)
        rows.append(asdict(item))
    rows.append(asdict(_styles(settings, folder.expanduser(), dry_run)))
    if as_json:
        print_json(json.dumps(rows, indent=1, default=str))
        return
    for row in sorted(rows, key=lambda row: bool(row["reason"])):
        click.echo(_line(row))
    taken = sum(not row["reason"] for row in rows)
    dry = message("Nothing was changed: this was a dry run.") if dry_run else ""
    say(sentences(message("{taken} taken, {left} not.", taken=taken, left=len(rows) - taken), dry))


def _together(items: list[Item]) -> list[Item]:
    """Of several values for one setting the last; folders of several flags are all taken."""
    lists: dict[str, tuple[Any, ...]] = {}
    for item in items:
        if isinstance(item.becomes, tuple):
            lists[item.setting] = tuple(dict.fromkeys((*lists.get(item.setting, ()), *item.becomes)))
    return [replace(item, becomes=lists[item.setting]) if item.setting in lists else item for item in items]


def _take(settings: Settings, before: Settings, item: Item, dry_run: bool) -> tuple[Settings, Item]:
    """The settings with it, and it with the reason if it is not taken after all."""
    if item.reason:
        return settings, item
    if before.values[item.setting].source == str(before.root / FILE) and before[item.setting] != item.becomes:
        return settings, replace(item, reason=f"{FILE} has {item.setting} already, as {before[item.setting]}.")
    try:
        return (settings if dry_run else write_setting(settings, item.setting, item.becomes)), item
    except ConfigError as error:
        return settings, replace(item, reason=str(error))


def _styles(settings: Settings, folder: Path, dry_run: bool) -> Item:
    source, target = folder / "styles.csv", settings.root / "styles.csv"
    try:
        number = add_styles(source, target, dry_run=dry_run)
    except StylesError as error:
        return Item("styles.csv", "styles", "", reason=str(error))
    return Item("styles.csv", "styles", f"{number} new", "styles.csv", number)


def _line(row: dict[str, Any]) -> str:
    value = row["value"] if isinstance(row["value"], str) else json.dumps(row["value"], ensure_ascii=False)
    said = printable(f"{row['file']} {row['name']}{' = ' if value else ''}{value}".strip(), 160)
    if row["reason"]:
        return f"not taken  {said}: {printable(row['reason'], 400)}"
    return f"taken      {said} (as {row['setting']})"
