"""`sdterm ext enable`, `disable`, `remove`."""

import click

from sdterm.cli.errors import say
from sdterm.cli.options import flag_options, settings_of
from sdterm.core.extensions.install import manage
from sdterm.messages import message


@click.command()
@click.argument("name")
@flag_options
@click.pass_context
def enable(context: click.Context, name: str) -> None:
    """Enable the extension NAME."""
    _switch(context, name, on=True)


@click.command()
@click.argument("name")
@flag_options
@click.pass_context
def disable(context: click.Context, name: str) -> None:
    """Disable the extension NAME. Its files stay."""
    _switch(context, name, on=False)


@click.command()
@click.argument("name")
@flag_options
@click.pass_context
def remove(context: click.Context, name: str) -> None:
    """Remove the installed extension NAME. Files that you changed or added are kept."""
    manage.remove(settings_of(context).root, name, say)
    say(message("{name} is removed.", name=name))


def _switch(context: click.Context, name: str, *, on: bool) -> None:
    changed = manage.switch(settings_of(context).root, name, on)
    match on, changed:
        case True, True:
            say(message("{name} is enabled.", name=name))
        case True, False:
            say(message("{name} is enabled already.", name=name))
        case False, True:
            say(message("{name} is disabled.", name=name))
        case _:
            say(message("{name} is disabled already.", name=name))
