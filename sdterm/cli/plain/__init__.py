"""Plain mode: the workstation as a dialogue, line by line, for screen readers and for terminals that only print.

Nothing here draws a box, a colour or a bar, moves the cursor, or goes back on a line. What it does is the
workstation's: its draft, its lists, its variations and comparisons.
"""

import sys

from sdterm.core.settings.settings import Settings


def converse(settings: Settings) -> int:
    """Open plain mode, until it is left. Returns the exit code."""
    from sdterm.cli.plain.commands import run
    from sdterm.cli.plain.dialogue import Dialogue
    from sdterm.cli.plain.lines import Lines
    from sdterm.core.settings.paths import prepare

    prepare(settings.root)
    return run(Dialogue(settings, Lines(sys.stdin, sys.stdout)))
