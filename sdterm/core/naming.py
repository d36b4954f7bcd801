"""File names from patterns: `[seed]-[prompt_spaces]`, sanitised after expansion."""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from sdterm.events import Image

MAX_NAME = 128  # characters, as A1111's --filenames-max-length; and below every file system's 255 bytes, see _cut
MAX_BYTES = 200
_RESERVED = re.compile(r"(?i)^(con|prn|aux|nul|com\d|lpt\d)(\.|$)")


class PatternError(ValueError):
    """A file name pattern names a token that does not exist."""


@dataclass(frozen=True)
class NameFacts:
    """What a file name may tell about an image."""

    prompt: str
    sampler: str
    scheduler: str
    steps: int
    cfg_scale: float
    model: str
    model_hash: str
    when: datetime
    seed: int = 0
    width: int = 0
    height: int = 0
    number: int = 0
    index: int = 0

    def of(self, image: Image, number: int) -> "NameFacts":
        """The facts of one image of the job."""
        return replace(self, seed=image.seed, width=image.width, height=image.height, number=number, index=image.index)


TOKENS: dict[str, Callable[[NameFacts], str]] = {
    "number": lambda f: f"{f.number:05d}",
    "seed": lambda f: str(f.seed),
    "steps": lambda f: str(f.steps),
    "cfg": lambda f: str(f.cfg_scale),
    "width": lambda f: str(f.width),
    "height": lambda f: str(f.height),
    "sampler": lambda f: f.sampler,
    "scheduler": lambda f: f.scheduler,
    "model_name": lambda f: f.model,
    "model_hash": lambda f: f.model_hash,
    "date": lambda f: f.when.strftime("%Y-%m-%d"),
    "datetime": lambda f: f.when.strftime("%Y%m%d%H%M%S"),
    "prompt": lambda f: f.prompt.replace(" ", "_"),
    "prompt_spaces": lambda f: f.prompt,
    "batch_number": lambda f: str(f.index + 1),
}


def check_pattern(pattern: str) -> None:
    """Raises PatternError unless every [token] is known."""
    for token in re.findall(r"\[([^\[\]]*)\]", pattern):
        if token not in TOKENS:
            known = " ".join(f"[{name}]" for name in TOKENS)
            raise PatternError(f"The file name pattern has [{token}], which does not exist. Known: {known}.")


def file_name(pattern: str, facts: NameFacts) -> str:
    """The stem for an image: safe on any file system, never empty, never a path. `[number]` keeps names apart, so it
    comes first where the pattern does not say otherwise, as in A1111."""
    numbered = pattern if "[number]" in pattern else f"[number]-{pattern}"
    name = re.sub(r"\[([^\[\]]*)\]", lambda match: TOKENS[match[1]](facts), numbered)
    return sanitised(name) if _cut(name) == name else f"{sanitised(name)}-{facts.number:05d}"  # the cut may have it


def sanitised(name: str) -> str:
    """`name` as a file name: path separators, characters that shells, Windows or terminals mind, and leading dots or
    dashes are replaced; cut to a length that every file system takes."""
    name = unicodedata.normalize("NFC", name)
    name = "".join("_" if c in '/\\:*?"<>|' or unicodedata.category(c)[0] == "C" else c for c in name)
    name = _cut(name).strip(" ")
    name = re.sub(r"^[.\-]+|[. ]+$", "_", name)
    return f"_{name}" if _RESERVED.match(name) else name or "_"


def _cut(name: str) -> str:
    return name[:MAX_NAME].encode()[:MAX_BYTES].decode(errors="ignore")
