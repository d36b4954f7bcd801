"""Flags as guides and their translations spell them: `-listen`, `—api`, `--free-ze-settings`."""

from collections.abc import Sequence

from sdterm.core.settings.flags import FLAGS
from sdterm.messages import Message, message

_NAMES = frozenset(flag.name for flag in FLAGS)
_ALONE = frozenset(
    (
        *(flag.name for flag in FLAGS if flag.arity in ("flag", "optional")),
        "--json",
        "--help",
        "-h",
        "--version",
        "--quiet",
    )
)
_WORDS = {"--free-ze-settings": "--freeze-settings"}


def corrected(words: Sequence[str]) -> tuple[list[str], list[Message]]:
    """The words with flags spelled as sdterm knows them, and a sentence for each that was not. Behind `--` nothing is a
    flag, and what an option before it may take as its value is none."""
    end = words.index("--") if "--" in words else len(words)
    read: list[str] = []
    for word in words[:end]:
        read.append(word if read and _may_take_value(read[-1]) else _read(word))
    changed = [(word, to) for word, to in zip(words, read, strict=False) if word != to]
    return [*read, *words[end:]], [
        message("{typed} is read as {flag}.", typed=_name(word), flag=_name(to)) for word, to in changed
    ]


def _read(word: str) -> str:
    name, equals, value = word.partition("=")
    plain = name.lstrip("-–—")
    if plain == name or len(plain) < 3:
        return word
    spelled = _WORDS.get(f"--{plain}", f"--{plain}")
    return f"{spelled}{equals}{value}" if spelled in _NAMES else word


def _may_take_value(word: str) -> bool:
    """Whether it is an option of which is not known that it stands alone: those of commands are not known here."""
    return word.startswith("-") and len(word) > 1 and "=" not in word and word not in _ALONE


def _name(word: str) -> str:
    """Without its value, which may be a password."""
    return word.partition("=")[0]
