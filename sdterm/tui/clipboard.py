"""Whether the terminal takes a text that a program copies (OSC 52), as far as anybody can know."""

import os
import shutil
import subprocess
from collections.abc import Mapping

_LONGEST = 2.0  # seconds that tmux may take to answer


def refusal(env: Mapping[str, str]) -> str:
    """tmux's value of set-clipboard where it takes nothing from programs; empty where there is no tmux in between, or
    it takes what they copy."""
    if "TMUX" not in env or not shutil.which("tmux"):
        return ""
    command = ["tmux", "show-options", "-gsv", "set-clipboard"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_LONGEST, check=True, env={**os.environ, **env}
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    value = done.stdout.strip()
    return value if value in ("external", "off") else ""
