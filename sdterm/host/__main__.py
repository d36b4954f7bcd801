"""`python -m sdterm.host SETTINGS [--foreground]`: the host process. One per run folder: whoever has its lock.

SETTINGS (JSON) are what the client that starts it was told on its command line. The first line on standard output says
what came of it: `ready`, `taken` (another host is there), or `failed` and why.
"""

import gc

gc.set_threshold(50_000, 20, 50)  # for the reason that sdterm.__main__ has

import asyncio
import contextlib
import json
import logging
import logging.handlers
import os
import signal
import sys
from collections.abc import Callable

from starlette.types import ASGIApp

from sdterm.core.settings.paths import prepare
from sdterm.core.settings.rundir import Lock, RunFolder, RunFolderError, make_private, run_folder_of, take
from sdterm.core.settings.settings import Settings, listens, resolve
from sdterm.core.text import printable
from sdterm.errors import SdtermError
from sdterm.host.child import end_strays
from sdterm.host.keeper import keep
from sdterm.host.repeats import Repeats
from sdterm.host.server import PortServer, Server
from sdterm.host.services import HostServices
from sdterm.host.v1.app import make_app
from sdterm.messages import as_json, message

_LOG_BYTES = 2 * 2**20
_log = logging.getLogger("sdterm.host")


def main(in_words: Callable[[str], str] = str) -> None:
    """Run a host until it is told to stop or nobody needs it. in_words: a text for whoever watches, in their
    language."""
    given = json.loads(sys.argv[1])
    os.umask(os.umask(0o022) | 0o022)  # nobody else may change what is written here, whatever the shell allows
    try:
        settings = resolve({"the command line": given}, os.environ)
        prepare(settings.root)
        run_folder = run_folder_of(settings.root)
        make_private(run_folder)
        lock = take(run_folder)
        if not lock:
            _say("taken")
            return
        try:
            _log_to(run_folder)
            if not _in_foreground():
                _detach()
            _serve(settings, lock, in_words)
        finally:
            lock.release()
    except (SdtermError, OSError) as error:
        if _in_foreground():
            sys.exit(printable(in_words(str(error)), 2000))
        _say(f"failed {json.dumps(as_json(str(error)))}")
        sys.exit(1)


def _serve(settings: Settings, lock: Lock, in_words: Callable[[str], str]) -> None:
    services = HostServices(settings, lock.run_folder)
    try:

        def stop() -> None:
            server.should_exit = True

        app = make_app(services, stop)
        on_port = _on_port(services, stop, app, in_words)
        server = Server(app, lock.run_folder.socket, ready=lambda: _ready(lock.run_folder), ending=services.log.close)
        services.recover()
        asyncio.run(_run(services, lock, server, on_port))
    finally:
        services.database.close()


def _on_port(
    services: HostServices, stop: Callable[[], None], ours: ASGIApp, in_words: Callable[[str], str]
) -> PortServer | None:
    """What serves a TCP port, if one is wanted. Raises ListenError."""
    settings = services.settings
    if not listens(settings):
        return None
    from sdterm.host.access.app import make_tcp_app
    from sdterm.host.access.listening import listen
    from sdterm.host.access.said import url_for_others, who_is_let_in
    from sdterm.host.access.sharing import revoke_left_over, shared, tunnel_of
    from sdterm.host.pages.pages import can_show
    from sdterm.host.sdapi.delivery import Deliveries

    tunnel = tunnel_of(settings["share"]) if settings["share"] else None
    revoke_left_over(services.run_folder.tokens)
    listening = listen(settings, services.run_folder)
    lines = [line for line in (listening.note, who_is_let_in(listening, settings)) if line]
    services.opened(url_for_others(listening), *lines)
    deliveries = Deliveries(services)

    def tell(text: str) -> None:
        if _in_foreground():
            _say(in_words(text))

    def ready() -> None:
        for line in lines:
            _log.info("%s", line)
            tell(line)
        tell(message("Ctrl+C ends it; its jobs continue when the next host starts."))

    async def beside() -> None:
        sharing = [shared(services, tunnel, listening.port, tell)] if tunnel else []
        await asyncio.gather(deliveries.look_after(), *sharing)

    own_url = listening.own_url if settings["web"] and can_show() else None
    return PortServer(
        make_tcp_app(services, stop, ours, deliveries, is_local=listening.is_local, own_url=own_url),
        listening,
        beside=beside,
        ready=ready,
        keep_alive=settings["timeout_keep_alive"],
        has_pages=own_url is not None,
    )


async def _run(services: HostServices, lock: Lock, server: Server, on_port: PortServer | None) -> None:
    """Serve and draw until told to stop."""
    strays = asyncio.create_task(end_strays(services.run_folder.folder))
    await services.look_for_lost_pictures()
    serving = asyncio.create_task(server.run_on_socket())
    others = [
        asyncio.create_task(task)
        for task in (
            services.dispatcher.run(),
            services.until_idle(),
            keep(lock, services.database, server),
        )
    ]
    if on_port:
        others.append(asyncio.create_task(on_port.run_on_port()))
    reading_cards = asyncio.create_task(services.cards.run())
    watching = asyncio.create_task(services.extensions.run())
    watching_library = asyncio.create_task(services.library_watch.run())
    fetching = asyncio.create_task(services.downloads.recover())
    recovering = asyncio.create_task(services.look_after_trash())
    removing = asyncio.create_task(services.look_after_inputs())
    await asyncio.wait((serving, *others), return_when=asyncio.FIRST_COMPLETED)
    _log.info("ending")
    services.log.close()
    server.should_exit = True
    if on_port:
        on_port.should_exit = True
    others += [reading_cards, watching, watching_library, recovering, removing, fetching]
    for task in others:
        task.cancel()
    for error in await asyncio.gather(strays, serving, *others, return_exceptions=True):
        if isinstance(error, RunFolderError):
            _log.error("the host ends: %s What it was drawing goes on with the next one.", error)
        elif isinstance(error, Exception):
            _log.error("ended by %r", error, exc_info=error)


def _ready(run_folder: RunFolder) -> None:
    _log.info("ready: %s", run_folder.socket)
    if not _in_foreground():
        _say("ready")


def _in_foreground() -> bool:
    """Whether a person started this and watches it."""
    return "--foreground" in sys.argv[2:]


def _detach() -> None:
    """Let go of the terminal that started this: neither its end nor a logout's hang-up reaches the host."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.chdir("/")


def _log_to(run_folder: RunFolder) -> None:
    handler = logging.handlers.RotatingFileHandler(run_folder.log, maxBytes=_LOG_BYTES, backupCount=1, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    handler.addFilter(Repeats())
    run_folder.log.chmod(0o600)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


def _say(line: str) -> None:
    """To whoever started this, who may be gone."""
    with contextlib.suppress(OSError):
        os.write(1, line.replace("\n", " ").encode() + b"\n")


if __name__ == "__main__":
    main()
