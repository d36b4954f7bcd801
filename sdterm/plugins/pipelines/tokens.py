"""How many tokens a pipeline's text encoders make of a prompt, by its folder's own tokenizers, without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdterm.hooks import TokenCount

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_ENDLESS = 1_000_000
"""A tokenizer that says more than this knows no limit."""
_FALLBACK = 512


def count(folder: Path, parts: Mapping[str, tuple[str, str]], longest: object, text: str) -> tuple[TokenCount, ...]:
    """Of each tokenizer that can be read here, the one with the most room first. longest: how many tokens the call lets
    through by default."""
    found = []
    for name, (_, kind) in parts.items():
        if name.startswith("tokenizer") and (tokenizer := _tokenizer(folder / name)):
            read = tokenizer.encode(text, add_special_tokens=True)
            room = _room(folder / name, longest if isinstance(longest, int) else None)
            cut = read.offsets[room - 1][0] if len(read.ids) > room else None
            found.append(TokenCount(_label(kind), len(read.ids), room, cut))
    return tuple(sorted(found, key=lambda each: -each.room))


def _label(kind: str) -> str:
    """Of a tokenizer's class: `CLIPTokenizer` → `CLIP`."""
    return kind.removesuffix("Fast").removesuffix("Tokenizer")


def _room(folder: Path, longest: int | None) -> int:
    most = _json(folder / "tokenizer_config.json").get("model_max_length")
    own = int(most) if isinstance(most, int | float) and 0 < most < _ENDLESS else None
    return min(each for each in (own, longest, None if own or longest else _FALLBACK) if each)


@lru_cache(maxsize=8)
def _tokenizer(folder: Path) -> Tokenizer | None:
    """The one of a folder; None for one that only transformers can read."""
    try:
        import tokenizers
        from tokenizers import implementations
    except ImportError:
        return None
    try:
        if (folder / "tokenizer.json").is_file():
            found = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        elif (folder / "merges.txt").is_file() and "CLIP" not in str(_json(folder / "tokenizer_config.json")):
            made: Any = implementations.ByteLevelBPETokenizer(  # type: ignore[attr-defined]
                str(folder / "vocab.json"), str(folder / "merges.txt")
            )
            found = made._tokenizer
        else:
            return None
    except Exception:  # the library's own error for any file that is not sound
        return None
    found.no_truncation()
    found.no_padding()
    return found


def _json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
