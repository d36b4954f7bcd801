"""`sdterm completion`: what a shell needs to complete sdterm's commands."""

import click
from click.shell_completion import get_completion_class

_INSTALL = {
    "bash": 'eval "$(sdterm completion bash)"  in ~/.bashrc',
    "zsh": 'eval "$(sdterm completion zsh)"  in ~/.zshrc',
    "fish": "sdterm completion fish > ~/.config/fish/completions/sdterm.fish",
}


@click.command(epilog="To install: " + "; ".join(_INSTALL.values()) + ".")
@click.argument("shell", type=click.Choice(list(_INSTALL)))
def completion(shell: str) -> None:
    """Print the completion script for bash, zsh or fish."""
    from sdterm.cli import sdterm

    kind = get_completion_class(shell)
    assert kind  # the choices above are click's
    click.echo(kind(sdterm, {}, "sdterm", "_SDTERM_COMPLETE").source())
