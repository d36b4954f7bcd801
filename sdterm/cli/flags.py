"""`sdterm flags`: the whole flag table."""

import click

from sdterm.core.settings.flags import FLAGS


@click.command()
def flags() -> None:
    """List every flag: sdterm's own, A1111's that it honours, and what became of the others."""
    width = max(len(flag.name) for flag in FLAGS)
    for status in ("ours", "mapped", "launcher", "later", "obsolete"):
        click.echo(f"{status}:")
        for flag in FLAGS:
            if flag.status == status:
                click.echo(f"  {flag.name:<{width}}  {flag.sentence}")
