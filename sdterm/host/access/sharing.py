"""A way in from outside: a tunnel that the user owns, kept up as long as the host runs.

Nobody else's tunnel is bundled: a service that forwards strangers' requests sees everything that passes, and an address
that anybody can guess is found by scanners within minutes. So a tunnel is asked for by name, and everybody behind it
needs credentials.
"""

import asyncio
import contextlib
import logging
import re
import shutil
import subprocess
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sdterm.core.qr_code import qr_code
from sdterm.core.settings.tokens import new_token, read_tokens, revoke_token, valid_tokens
from sdterm.core.text import printable
from sdterm.errors import BAD_REQUEST, SdtermError
from sdterm.host.child import Child
from sdterm.host.services import HostServices
from sdterm.messages import message

_log = logging.getLogger(__name__)
_MACHINE = re.compile(r"(?:[^-@:\s][^@:\s]*@)?(?P<host>[^-@:\s][^@:\s]*)(?::(?P<port>\d{1,5}))?")
_AGAIN, _AGAIN_AT_MOST = 2.0, 60.0  # seconds before a tunnel that ended is opened again
_NO_REASON = re.compile(r"debug\d: |OpenSSH_|Authenticat|Transferred: |Bytes per second: ")  # ssh -v
_PATIENCE = 10.0  # seconds for ssh to read its configuration
_OWN = "shared"
"""The token that sharing makes."""
_LONGEST = 2**16  # bytes of a line


class ShareError(SdtermError, ValueError):
    """There is no such tunnel; the message says what to do."""

    code = BAD_REQUEST


@dataclass(frozen=True)
class Tunnel:
    """What forwards to a port. command: given the port, and what was found before a break. address: finds in what it
    prints where it can be reached, or the far port. names: by which clients then call this host; `.name` is everything
    below it. note: what its user should know."""

    program: str
    command: Callable[[int, str], Sequence[str]]
    address: re.Pattern[str]
    names: frozenset[str]
    of_port: str = "{}"
    """What the address is, given what was found."""
    note: str = ""


PROGRAMS = (
    Tunnel(
        "cloudflared",
        lambda port, _: ("tunnel", "--no-autoupdate", "--url", f"http://127.0.0.1:{port}"),
        re.compile(r"(https://[-\w.]+\.trycloudflare\.com)"),
        frozenset({".trycloudflare.com"}),
    ),
    Tunnel(
        "ngrok",
        lambda port, _: ("http", str(port), "--log=stdout", "--log-format=logfmt"),
        re.compile(r"\burl=(https://[-\w.]+)"),
        frozenset({".ngrok.app", ".ngrok-free.app", ".ngrok-free.dev", ".ngrok.dev", ".ngrok.io"}),
    ),
    Tunnel(
        "tailscale",
        lambda port, _: ("funnel", str(port)),
        re.compile(r"(https://[-\w.]+\.ts\.net)"),
        frozenset({".ts.net"}),
    ),
)


def tunnel_of(share: str) -> Tunnel:
    """The one that the setting `share` asks for: a program's name, `[USER@]MACHINE[:PORT]` for SSH, or `auto` for the
    first program that is installed. Raises ShareError."""
    for each in PROGRAMS:
        if share == each.program or (share == "auto" and shutil.which(each.program)):
            if shutil.which(each.program):
                return each
            raise ShareError(message("{program} is not installed.", program=each.program))
    found = _MACHINE.fullmatch(share)
    if share == "auto" or not found:
        raise ShareError(
            message(
                "There is no tunnel program here. Name a machine of yours that others reach, --share USER@MACHINE, or "
                "install cloudflared, ngrok or tailscale."
            )
        )
    machine, _, wanted = share.partition(":")

    def command(port: int, before: str) -> Sequence[str]:
        options = ("ExitOnForwardFailure=yes", "ServerAliveInterval=5", "ServerAliveCountMax=2", "BatchMode=yes")
        given = [part for option in options for part in ("-o", option)]
        there = wanted or before or "0"  # 0: which one is that machine's choice
        return (*given, "-v", "-N", "-T", "-R", f"*:{there}:127.0.0.1:{port}", "--", machine)

    host = _real_name(machine) or found["host"].lower()
    return Tunnel(
        "ssh",
        command,
        re.compile(r"(?:Allocated port|remote forward success for: listen \S*?)(?<!\d) ?([1-9]\d*)\b"),
        frozenset({host}),
        f"http://[{host}]:{{}}" if ":" in host else f"http://{host}:{{}}",
        message(
            "Only {host} itself reaches it, unless its sshd_config has `GatewayPorts clientspecified`. Without TLS, "
            "what passes beyond that machine can be read on the way.",
            host=host,
        ),
    )


def revoke_left_over(tokens: Path) -> None:
    """Revoke the token of a host that was killed: it was to hold until that ended. Only for a host that starts."""
    with contextlib.suppress(SdtermError, OSError):  # none, or whoever needs the file will say what is wrong
        if any(token.name == _OWN for token in read_tokens(tokens)):
            revoke_token(tokens, _OWN)


def _real_name(machine: str) -> str:
    """By which others reach what SSH knows as that, perhaps by an alias in its configuration; empty if it is silent."""
    try:
        asked = subprocess.run(["ssh", "-G", "--", machine], capture_output=True, timeout=_PATIENCE, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    found = re.search(r"^hostname ([\w.:-]+)$", asked.stdout.decode(errors="replace"), re.MULTILINE)
    return found[1].lower() if found else ""


async def shared(services: HostServices, tunnel: Tunnel, port: int, tell: Callable[[str], None]) -> None:
    """Keep a tunnel up and tell its address, with a token where nobody has credentials yet; it is revoked at the end.
    tell: for whoever started the host."""
    secret, tokens = "", services.run_folder.tokens

    def say(*said: str, token: str = "") -> None:
        services.tell_of_sharing(*said, token=token or None)
        for line in said:
            tell(line)

    local, told = services.address, ""
    try:
        now = time.time()
        if not services.settings["api_auth"] and not valid_tokens(tokens, now):
            secret = new_token(tokens, _OWN, "generate", now)
    except (SdtermError, OSError) as error:
        say(message("Nothing is shared: {why}", why=error))
        return
    try:
        async for address, why in kept_up(tunnel, port, services.run_folder.folder):
            services.address = address or local
            if not address:
                if why != told:
                    say(why)
                told = why
                continue
            told = ""
            _log.info("shared at %s", address)
            note = [tunnel.note] if tunnel.note else []
            say(message("Shared at {address}", address=address), *note, token=secret)
            if secret:
                tell(message("Its token, until this ends: {token}", token=secret))
            for row in qr_code(address):
                tell(row)
    except OSError as error:
        say(message("{program} cannot be run: {why}.", program=tunnel.program, why=error.strerror or error))
    finally:
        services.address = local
        if secret:
            with contextlib.suppress(SdtermError):
                revoke_token(tokens, _OWN)


class News(NamedTuple):
    """A tunnel's address, or why it has none."""

    address: str
    why: str


def pause_after(failures: int) -> float:
    """Seconds until the next try, after so many that opened nothing: a machine that refuses may ban who asks often."""
    return float(min(_AGAIN * 2 ** min(failures, 10), _AGAIN_AT_MOST))


async def kept_up(tunnel: Tunnel, port: int, folder: Path) -> AsyncGenerator[News, None]:
    """Open it, again and again, until cancelled: news each time that it is reached, and each time that it ends.
    folder: the host's own. Raises OSError."""
    program, before, failures = shutil.which(tunnel.program) or tunnel.program, "", 0
    while True:
        is_open = False
        child = await Child.start([program, *tunnel.command(port, before)], folder, _LONGEST)
        said = ""
        try:
            async for line in _lines(child):
                said = said if _NO_REASON.match(line) else printable(line.strip(), 300) or said
                if found := tunnel.address.search(line):
                    before, is_open, failures = found[1], True, 0
                    yield News(tunnel.of_port.format(before), "")
        finally:
            await child.end()
        _log.warning("the tunnel by %s ended: %s", tunnel.program, said)
        yield News("", _why(tunnel.program, said.rstrip("."), is_open))
        await asyncio.sleep(pause_after(failures))
        failures += not is_open


def _why(program: str, said: str, is_open: bool) -> str:
    reason = said or message("it gave no reason")
    if is_open:
        return message("The {program} tunnel was closed ({why}); reconnecting.", program=program, why=reason)
    return message(
        "The {program} tunnel cannot be opened: {why}. It is tried again, at least once a minute.",
        program=program,
        why=reason,
    )


async def _lines(child: Child) -> AsyncIterator[str]:
    """Of both its outputs, until it ends."""
    lines: asyncio.Queue[str | None] = asyncio.Queue()

    async def read(stream: asyncio.StreamReader) -> None:
        while not stream.at_eof():
            with contextlib.suppress(ValueError):  # a line longer than any that has an address
                lines.put_nowait((await stream.readline()).decode("utf-8", "replace"))
        lines.put_nowait(None)

    readers = [asyncio.create_task(read(stream)) for stream in (child.stdout, child.stderr)]
    try:
        for _ in readers:
            while (line := await lines.get()) is not None:
                yield line
    finally:
        for reader in readers:
            reader.cancel()
