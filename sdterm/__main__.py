"""Where `sdterm` and `python -m sdterm` begin."""

import gc
import os
import sys


def main() -> None:
    """The workstation where nothing is given and somebody is there to press keys; else the command line."""
    # Importing torch and diffusers makes a million objects that stay: looking for garbage among them again and again
    # costs a fifth of the time to the first picture (mypy raises its threshold for the same reason).
    gc.set_threshold(50_000, 20, 50)
    is_bare = len(sys.argv) == 1 and not os.environ.get("COMMANDLINE_ARGS") and os.environ.get("TERM") != "dumb"
    if is_bare and sys.stdin.isatty() and sys.stdout.isatty():
        from sdterm.core.settings.paths import DataRootError
        from sdterm.core.settings.settings import ConfigError, resolve
        from sdterm.tui import work

        try:
            settings = resolve({}, os.environ)
        except ConfigError:
            pass  # the command line says what is wrong
        else:
            try:
                if not (settings["plain"] or settings["nowebui"]):
                    work(settings)
                    return
            except DataRootError:
                pass
    from sdterm.cli import main as command_line  # a quarter of a second that a first screen should not wait for

    command_line()


if __name__ == "__main__":
    main()
