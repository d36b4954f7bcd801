"""What plugins offer, for commands that list or read: no plugin's code runs in their process."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from sdterm.core.extensions.catalogue import Catalogue, load_catalogue
from sdterm.core.settings.rundir import run_folder_of
from sdterm.core.settings.settings import Settings

if TYPE_CHECKING:
    from sdterm.client import Client

A = TypeVar("A")


def offered(settings: Settings) -> Catalogue:
    """What serves, where a host runs; else what lies in `extensions/`. Raises CatalogueError."""
    return asked_of_host(settings, lambda host: host.catalogue()) or lying(settings)


def lying(settings: Settings) -> Catalogue:
    """What lies in `extensions/`, whatever a host has of it. Raises CatalogueError."""
    return load_catalogue(settings.root, third_party=settings["extensions"])


def asked_of_host(settings: Settings, question: Callable[["Client"], A]) -> A | None:
    """A running host's answer; None if there is none, or if it is not the one that these settings want."""
    if not run_folder_of(settings.root).socket.exists():
        return None
    from sdterm.client import HostError, connect  # a tenth of a second

    try:
        with connect(settings, start=False, check=True) as host:
            return question(host)
    except HostError:
        return None
