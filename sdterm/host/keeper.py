"""Keeps a living host's place whole: what somebody deletes is put back within seconds, and the database is settled.

Temporary folders are cleaned, and people tidy up. A host whose lock file is gone would let a second one in; one without
its socket could not even be told to stop.
"""

import asyncio
import logging
import sqlite3

from sdterm.core.place import Lock, PlaceError, make_private
from sdterm.host.database import Database, is_full
from sdterm.host.server import Server

EVERY = 1.0
"""Seconds between two looks."""
_log = logging.getLogger(__name__)


async def keep(lock: Lock, database: Database, server: Server) -> None:
    """Look until cancelled. Raises PlaceError if the place is lost for good: the host has to end."""
    said = ""
    while True:
        await asyncio.sleep(EVERY)
        try:
            for what in await _put_back(lock, database, server):
                _log.warning("%s was deleted while the host ran, and was made again", what)
            database.checkpoint()
            said = ""
        except PlaceError:
            raise
        except (OSError, sqlite3.Error) as error:
            if not is_full(error):
                raise PlaceError(f"{lock.place.folder} cannot be written any more: {error}.") from error
            if str(error) != said:
                _log.error("%s cannot be written now: %s", lock.place.folder, error)
            said = str(error)


async def _put_back(lock: Lock, database: Database, server: Server) -> list[str]:
    """What was missing. The lock comes first: with it nobody else can begin."""
    place, missing = lock.place, []
    if not lock.has_root:
        raise PlaceError(f"The data folder {place.above} was deleted or moved.")
    if not place.tapes.is_dir():
        make_private(place)
        missing.append(str(place.tapes))
    if not lock.is_intact:
        lock.renew()
        missing.append(str(place.lock))
    if not database.is_intact:
        database.restore()
        missing.append(str(place.database))
    if not place.log.exists():
        for handler in logging.getLogger().handlers:
            handler.close()  # it opens the file anew for the next line
        missing.append(str(place.log))
    if not server.is_reachable:
        await server.listen_again()
        missing.append(str(place.socket))
    return missing
