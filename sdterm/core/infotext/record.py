"""What an image remembers of how it was made beyond A1111's keys: one extra key, `sdterm`, in its infotext.

Its value is a query string (`v=0.1.0&torch=2.13.0&device=cpu…`): no comma, colon or quote in it, so readers that take
an infotext apart by splitting, as many do, see one harmless value.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

from sdterm.messages import message

KEY = "sdterm"
_MOST = 1000  # entries; a record has about ten


@dataclass(frozen=True)
class Provenance:
    """Versions, device and plan of one image. What was not recorded is empty."""

    sdterm: str = ""
    torch: str = ""
    device: str = ""
    dtype: str = ""
    vae: str = ""
    """Precision in which the VAE decoded it, where that is not `dtype`."""
    threads: str = ""
    batch: str = ""
    """`1/4`: which of how many drawn together, from 0, where there were several: their number moves roundings."""
    model: str = ""
    """SHA-256 of the checkpoint, hex."""
    text: str = ""
    """Checksum of the rest of the infotext, where `fields` depend on it."""
    format: str = ""
    """The saver, so that a lossy image can be encoded again."""
    format_options: Mapping[str, Any] = field(default_factory=dict)
    """Those that are not the saver's defaults."""
    plugins: tuple[str, ...] = ()
    """`slug@digest` of each plugin that drew and does not come with sdterm."""
    memory: tuple[str, ...] = ()
    """The memory optimizers that were asked for, or turned on when memory ran out."""
    rungs: tuple[str, ...] = ()
    """The steps of the ladder that its job had gone down, since memory ran out."""
    ignored: tuple[str, ...] = ()
    """Network tags of the prompt, `lora:name:0.8`, that were not applied."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Request fields that the rest of the infotext does not say, or not exactly."""

    @property
    def place(self) -> tuple[int, int]:
        """(which, of how many) drawn together; (0, 1) for an image drawn alone."""
        which, _, many = self.batch.partition("/")
        if which.isdecimal() and many.isdecimal() and len(many) < 4 and int(which) < int(many):
            return int(which), int(many)
        return 0, 1

    def __str__(self) -> str:
        entries = [(_SHORT[name], getattr(self, name)) for name in _SHORT if getattr(self, name)]
        for key, name in _MANY.items():
            entries += [(key, value) for value in getattr(self, name)]
        entries += [(f"format.{name}", _json(value)) for name, value in self.format_options.items()]
        entries += [(f"set.{name}", _json(value)) for name, value in self.fields.items()]
        return urlencode(entries)

    @classmethod
    def parse(cls, text: str) -> "Provenance":
        """Read a record; what is not understood in it is passed over."""
        try:
            entries = parse_qsl(text, max_num_fields=_MOST)
        except ValueError:
            return cls()
        long = {short: name for name, short in _SHORT.items()}
        return cls(
            **{long[key]: value for key, value in entries if key in long},
            plugins=_all("plugin", entries),
            memory=_all("memory", entries),
            rungs=_all("rung", entries),
            ignored=_all("ignored", entries),
            format_options=_values("format.", entries),
            fields=_values("set.", entries),
        )


_SHORT = {
    "sdterm": "v",
    "torch": "torch",
    "device": "device",
    "dtype": "dtype",
    "vae": "vae",
    "threads": "threads",
    "batch": "batch",
    "model": "model",
    "text": "text",
    "format": "format",
}


_MANY = {"plugin": "plugins", "memory": "memory", "rung": "rungs", "ignored": "ignored"}


def _all(name: str, entries: list[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(value for key, value in entries if key == name)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _values(prefix: str, entries: list[tuple[str, str]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, text in entries:
        if key.startswith(prefix):
            try:
                values[key.removeprefix(prefix)] = json.loads(text)
            except (ValueError, RecursionError):
                continue
    return values


def changes(then: Provenance, now: Provenance) -> list[str]:
    """What differs between two records, as sentences; what one of them does not tell is no difference."""
    sentences: list[str] = []
    for name, word in _WORDS.items():
        before, after = getattr(then, name), getattr(now, name)
        if before and after and before != after:
            sentences.append(
                message("{what}: {before} when the image was made, {after} now", what=word, before=before, after=after)
            )
    before, after = set(then.plugins), set(now.plugins)
    if then.sdterm and before != after:
        said = [", ".join(sorted(plugins)) or "none" for plugins in (before, after)]
        sentences.append(
            message("plugins: {before} when the image was made, {after} now", before=said[0], after=said[1])
        )
    return sentences


_WORDS = {
    "sdterm": "sdterm",
    "torch": "torch",
    "device": "device",
    "dtype": "precision",
    "threads": "threads",
    "format": "format",
}
