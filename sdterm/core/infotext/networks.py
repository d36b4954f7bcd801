"""The networks that an infotext names, found by their hashes whatever they are called here."""

import re

from sdterm.core.infotext.keys import LORA_HASHES
from sdterm.core.infotext.read import READ_AT_MOST, ParsedInfotext
from sdterm.core.library.checkpoints import Library
from sdterm.core.library.hashes import short_hash
from sdterm.core.library.networks import find_network
from sdterm.core.names import UnknownNameError
from sdterm.core.text import printable
from sdterm.messages import message

_TAG = re.compile(r"<(?P<kind>lora|lyco):(?P<name>[^:>]+)")


def find_networks(
    reading: ParsedInfotext, library: Library, *, field: str = "prompt", read_at_most: int = READ_AT_MOST
) -> tuple[str, str]:
    """(the prompt of that field with the names that its LoRAs have here, sentence about those that are not here).
    read_at_most: bytes of LoRAs that may be hashed. Source: A1111 lora_script.infotext_pasted."""
    hashes = _hashes(reading.parameters.get(LORA_HASHES, ""))
    missing: list[str] = []

    def renamed(tag: re.Match[str]) -> str:
        digest = hashes.get(tag["name"].replace(",", ""))
        if digest is None or _has(library, tag["name"], digest, compute=read_at_most > 0):
            return tag[0]
        if found := library.hashed("lora", digest, read_at_most=read_at_most):
            return f"<{tag['kind']}:{found.name}"
        missing.append(f"{printable(tag['name'], 60)} [{printable(digest, 12)}]")
        return tag[0]

    prompt = _TAG.sub(renamed, str(reading.fields[field]))
    named = ", ".join(dict.fromkeys(missing))
    return prompt, message("These LoRAs are missing: {names}.", names=named) if missing else ""


def _hashes(value: str) -> dict[str, str]:
    """Name → hash."""
    pairs = (pair.rsplit(":", 1) for pair in value.split(","))
    return {name.strip(): digest.strip() for name, digest in (pair for pair in pairs if len(pair) == 2)}


def _has(library: Library, name: str, digest: str, *, compute: bool) -> bool:
    """Whether the file of that name is the one."""
    try:
        file = find_network(library, "lora", name)
        (known,) = library.known([file])
        return (library.short_hash(file) if compute else short_hash(file.kind, known)) in (digest, None)
    except (UnknownNameError, OSError):
        return False
