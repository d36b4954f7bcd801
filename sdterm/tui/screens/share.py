"""How others reach the host: its address as a QR code and in words, and what it asks of them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sdterm.core.qr_code import qr_code
from sdterm.core.text import printable
from sdterm.messages import sentences
from sdterm.remote import is_loopback
from sdterm.tui.language import said, tr
from sdterm.tui.screens.plain import Plain

if TYPE_CHECKING:
    from sdterm.api import Health

_LONGEST = 300  # characters of an address: a QR code has room for so many


def shared_by(health: Health) -> Plain | str:
    """The screen that shows it; where no other machine reaches that host, what to do."""
    address = printable(health.address or "", _LONGEST)
    if not _is_for_others(address):
        if health.settings.get("share"):
            return sentences(tr("The tunnel is not open."), *health.notices)
        return tr(
            "No other machine reaches this host. On its machine, `sdterm --share` or `sdterm --listen` lets others in."
        )
    lines = [tr("Others reach sdterm at {address}", address=address), ""]
    if health.share_token:
        lines.append(tr("Its token, until this ends: {token}", token=health.share_token))
    else:
        lines.append(tr("It asks for a login of --gradio-auth, or a token: `sdterm token new NAME` makes one."))
    lines += ["", *(said(notice) for notice in health.notices)]
    return Plain("\n".join(lines), f" {tr('Up and down scroll, Esc goes back.')} ", qr_code(address))


def _is_for_others(address: str) -> bool:
    try:
        host = urlsplit(address).hostname
    except ValueError:
        return False
    return bool(host) and not is_loopback(host or "")
