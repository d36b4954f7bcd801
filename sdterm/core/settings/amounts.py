"""Amounts of memory, as users write them and as they are told."""

import re

from sdterm.errors import BAD_REQUEST, SdtermError
from sdterm.messages import message

_UNITS = {"K": 1, "M": 2, "G": 3, "T": 4}
_AMOUNT = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)\s*([KMGT])(?:i?B)?", re.IGNORECASE)


class AmountError(SdtermError, ValueError):
    """That is no amount of memory."""

    code = BAD_REQUEST


def bytes_of(text: str) -> int:
    """`3GB`, `3.5 G`, `800MB` → bytes, in powers of 1024 as nvidia-smi counts. Raises AmountError."""
    found = _AMOUNT.fullmatch(text.strip())
    amount = float(found[1]) * 1024 ** _UNITS[found[2].upper()] if found else 0
    if amount < 1:
        raise AmountError(message("'{text}' is not an amount of memory: write one like 3GB or 800MB.", text=text[:40]))
    return int(amount)


def said(amount: int) -> str:
    """Bytes for people: `2.9 GB`, `12 MB`."""
    if amount >= 1024**3:
        return f"{amount / 1024**3:.1f} GB"
    return f"{amount / 1024**2:.0f} MB" if amount >= 10 * 1024**2 else f"{amount / 1024**2:.1f} MB"
