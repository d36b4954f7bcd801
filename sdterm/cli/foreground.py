"""`python -m sdterm.cli.foreground SETTINGS --foreground`: the host, in the language of whoever watches it."""

import contextlib
import json
import os
import sys

from sdterm.cli.options import speak
from sdterm.core.settings.settings import ConfigError, resolve
from sdterm.host.__main__ import main
from sdterm.tui.language import said

if __name__ == "__main__":
    with contextlib.suppress(ConfigError):  # of which the host tells
        speak(resolve({"the command line": json.loads(sys.argv[1])}, os.environ))
    main(said)
