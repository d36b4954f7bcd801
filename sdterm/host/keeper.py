"""Keeps a living host's run folder whole: what somebody deletes is put back within seconds, and the database is
settled.

Temporary folders are cleaned, and people tidy up. A host whose lock file is gone would let a second one in; one without
its socket could not even be told to stop.
"""

import asyncio
import logging
import sqlite3

from sdterm.core.settings.rundir import AnotherHostError, Lock, RunFolderError, make_private
from sdterm.host.database import Database, is_full
from sdterm.host.server import Server
from sdterm.messages import message

EVERY = 1.0
"""Seconds between two looks."""
PATIENCE = 10
"""Looks in a row that may fail, but for a full disk: what is put back may be deleted in that moment."""
_log = logging.getLogger(__name__)


async def keep(lock: Lock, database: Database, server: Server) -> None:
    """Look until cancelled. Raises RunFolderError if the folder is lost for good: the host has to end."""
    said, failed = "", 0
    while True:
        await asyncio.sleep(EVERY)
        if not lock.has_root:
            above = lock.run_folder.above
            raise RunFolderError(message("The data folder {folder} was deleted or moved.", folder=above))
        try:
            for what in await _put_back(lock, database, server):
                _log.warning("%s was deleted while the host ran, and was made again", what)
            database.checkpoint()
            said, failed = "", 0
        except AnotherHostError:
            raise
        except (OSError, sqlite3.Error) as error:
            failed += not is_full(error)
            if failed > PATIENCE and isinstance(error, RunFolderError):
                raise
            if failed > PATIENCE:
                raise RunFolderError(
                    message("{folder} cannot be written any more: {error}.", folder=lock.run_folder.folder, error=error)
                ) from error
            if str(error) != said:
                _log.error("%s cannot be written now: %s", lock.run_folder.folder, error)
            said = str(error)


async def _put_back(lock: Lock, database: Database, server: Server) -> list[str]:
    """What was missing. The lock comes first: with it nobody else can begin."""
    run_folder, missing = lock.run_folder, []
    if not run_folder.tapes.is_dir():
        make_private(run_folder)
        missing.append(str(run_folder.tapes))
    if not lock.is_intact:
        lock.renew()
        missing.append(str(run_folder.lock))
    if not database.is_intact:
        database.restore()
        missing.append(str(run_folder.database))
    if not run_folder.log.exists():
        for handler in logging.getLogger().handlers:
            handler.close()  # it opens the file anew for the next line, which may be long in coming
        run_folder.log.touch(0o600)
        missing.append(str(run_folder.log))
    if not server.is_reachable:
        await server.listen_again()
        missing.append(str(run_folder.socket))
    return missing
