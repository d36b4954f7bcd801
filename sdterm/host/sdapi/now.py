"""The settings in force now: the host's, with what config.toml says by now."""

import os

from sdterm.core.settings.settings import Settings, resolve
from sdterm.host.services import HostServices


def settings_now(services: HostServices) -> Settings:
    """Those that a job submitted now is drawn with."""
    typed = ("the command line", "COMMANDLINE_ARGS")
    values = services.settings.values
    given = {key: value.value for key, value in values.items() if value.source in typed}
    return resolve({"the command line": {**given, "data_dir": str(services.settings.root)}}, os.environ)
