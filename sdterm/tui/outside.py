"""The prompt in an editor of one's own."""

import os
import shlex
import subprocess
import tempfile
from pathlib import Path

from sdterm.core.text import printable
from sdterm.tui.language import tr


def edit(text: str) -> tuple[str, str]:
    """The text as $VISUAL or $EDITOR (vi, without) leaves it, and what went wrong, if anything."""
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory(prefix="sdterm-") as folder:
        path = Path(folder) / "prompt.txt"
        path.write_text(text, encoding="utf-8")
        try:
            code = subprocess.run([*shlex.split(command), str(path)], check=False).returncode
            written = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            reason = tr("The editor {command} did not work: {error}.", command=printable(command), error=error)
            return text, reason
    if code:
        said = tr("The editor {command} ended with {code}; nothing was changed.", command=printable(command), code=code)
        return text, said
    return written.removesuffix("\n"), ""
