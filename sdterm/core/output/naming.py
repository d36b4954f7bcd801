"""File and folder names from A1111's patterns: `[seed]-[prompt_spaces]`, sanitised after expansion."""

from __future__ import annotations

import hashlib
import re
import string
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from sdterm.errors import BAD_REQUEST, SdtermError
from sdterm.fields import ROWS, RequestField
from sdterm.messages import message

if TYPE_CHECKING:
    from sdterm.events import Image, SideImage, Started
    from sdterm.request import GenerationRequest


MAX_PART = 128  # characters of one token's value, as A1111's --filenames-max-length
MAX_PART_BYTES = 160
MAX_BYTES = 210  # of a name; with a number and a suffix behind it, below the 255 that file systems take
MAX_LEVELS = 16  # folders that a pattern may put below one another

_RESERVED = re.compile(r"(?i)^(con|prn|aux|nul|com[\d¹²³]|lpt[\d¹²³]|conin\$|conout\$)\s*(\.|$)")
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # controls, bidirectional marks, halves of characters, line ends
_FORBIDDEN = '/\\:*?"<>|#'
_TOKEN = re.compile(r"\[([^\[\]]*)\]")
_ARGUMENT = re.compile(r"<([^<>]*)>")
_LEVELS = re.compile(r"[/\\](?![^\[\]]*\])")  # not inside a token: [datetime<%H><Europe/Vienna>]
_NETWORK = re.compile(r"<\w+:[^>]+>")  # <lora:name:1> and its like, as A1111's re_extra_net
_WORD_BREAK = re.compile(rf"[\s{re.escape(string.punctuation)}]+")
_MAX_WORDS = 8  # A1111's directories_max_prompt_words
_DEFAULT_TIME = "%Y%m%d%H%M%S"


class PatternError(SdtermError, ValueError):
    """A pattern cannot be used; the message says which part of it."""

    code = BAD_REQUEST


@dataclass(frozen=True)
class NameFacts:
    """What a name may tell about an image."""

    request: GenerationRequest
    job: Started
    image: Image | SideImage
    began: datetime
    """When the job began."""
    saved: datetime
    """When the image is saved."""
    number: int = 0
    """The running number of the file."""


def _nothing(arguments: list[str]) -> tuple[()]:
    if arguments:
        raise PatternError(message("it takes no <…>"))
    return ()


@dataclass(frozen=True)
class Token:
    """What stands for `[name<argument>]`. value: `value(facts, *arguments)`; None is A1111's "nothing", which takes the
    text before the token with it. arguments: reads what is between <>, or raises PatternError."""

    meaning: str
    value: Callable[..., str | None]
    arguments: Callable[[list[str]], tuple[Any, ...]] = _nothing


def check_pattern(pattern: str) -> None:
    """Raises PatternError unless every [token] of a file name's pattern is known, with arguments it takes."""
    for match in _TOKEN.finditer(pattern):
        _token(match[1])


def check_folder_pattern(pattern: str) -> None:
    """The same for a folder's pattern, in which files have no number yet and folders must not be too many."""
    check_pattern(pattern)
    if _has_number(pattern):
        raise PatternError(message("The folder pattern has [number], but only files have numbers."))
    if len(_LEVELS.split(pattern)) > MAX_LEVELS:
        raise PatternError(message("The folder pattern has more than {limit} nested folders.", limit=MAX_LEVELS))


def file_names(pattern: str, facts: NameFacts, numbers: Iterator[int], *, add_number: bool = True) -> Iterator[str]:
    """Names for an image in the order to try them, no two alike: with ever higher numbers; without `add_number` the
    plain name comes first."""
    if add_number or _has_number(pattern) or not (plain := _expanded(pattern, facts)):
        return (file_name(pattern, replace(facts, number=number)) for number in numbers)
    return chain([sanitised(plain)], (f"{sanitised(plain)}-{number}" for number in count(1)))


def file_name(pattern: str, facts: NameFacts) -> str:
    """The stem for an image: safe on any file system, never empty, never a path. `[number]` keeps names apart, so it
    comes first where the pattern does not say otherwise, as in A1111."""
    name, number = _expanded(pattern, facts), f"{facts.number:05d}"
    if not _has_number(pattern):
        name = f"{number}-{name}" if name else number
    whole = _legal(name)
    return sanitised(name) if _cut(whole, MAX_BYTES) == whole else f"{sanitised(name)}-{number}"  # the cut may have it


def folder_name(pattern: str, facts: NameFacts) -> Path:
    """The folder for an image, relative to where images go. A slash in the pattern separates folders; a slash in what
    a token stands for does not, and a folder whose name is empty is none."""
    names = (_expanded(level, facts) for level in _LEVELS.split(pattern))
    return Path(*(sanitised(name) for name in names if name))


def sanitised(name: str) -> str:
    """`name` as a file name: path separators, characters that shells, Windows or terminals mind, leading dots or dashes
    and trailing dots or spaces are replaced; cut to a length that every file system takes."""
    name = _cut(_legal(name), MAX_BYTES).strip(" ")
    name = re.sub(r"^[.\-]+|[. ]+$", "_", name)
    return f"_{name}" if _RESERVED.match(name) else name or "_"


def _has_number(pattern: str) -> bool:
    return "[number]" in pattern.lower()


def _expanded(pattern: str, facts: NameFacts) -> str:
    """The pattern with its tokens replaced, as A1111's FilenameGenerator.apply does."""
    name, end = "", 0
    for match in _TOKEN.finditer(pattern):
        text, end = pattern[end : match.start()], match.end()
        token, arguments = _token(match[1])
        value = token.value(facts, *arguments)
        if value is not None:
            name += text + _part(value)
    return name + pattern[end:]


def _token(words: str) -> tuple[Token, tuple[Any, ...]]:
    """`prompt_hash<6>` → its token and what was read from its arguments. Raises PatternError."""
    name = words.partition("<")[0]
    token = TOKENS.get(name.lower())
    if token is None:
        known = " ".join(f"[{name}]" for name in TOKENS)
        raise PatternError(
            message("The pattern has [{token}], which does not exist. Known tokens: {known}.", token=words, known=known)
        )
    arguments = _ARGUMENT.findall(words)
    try:
        if name + "".join(f"<{argument}>" for argument in arguments) != words:
            raise PatternError(message("its < and > do not match"))
        return token, token.arguments(arguments)
    except PatternError as error:
        raise PatternError(message("The pattern has [{token}], but {problem}.", token=words, problem=error)) from None


def _part(value: str) -> str:
    """A token's value as a part of a name; cut by itself, so that a long prompt does not push out what follows it."""
    return _cut(_legal(value).lstrip(" ")[:MAX_PART], MAX_PART_BYTES).rstrip(" .")


def _legal(text: str) -> str:
    text = unicodedata.normalize("NFC", text)
    return "".join("_" if c in _FORBIDDEN or unicodedata.category(c) in _UNSEEN else c for c in text)


def _cut(name: str, limit: int) -> str:
    return name.encode(errors="replace")[:limit].decode(errors="ignore")


# --- what tokens take and give ----------------------------------------------------------------------------------------


def _length(arguments: list[str]) -> tuple[int, ...]:
    """How many hex digits."""
    match arguments:
        case [] | [""]:
            return ()
        case [digits] if re.fullmatch("[0-9]{1,2}", digits) and 1 <= int(digits) <= 64:
            return (int(digits),)
    raise PatternError(message("its <…> must be a number from 1 to 64"))


def _moment(arguments: list[str]) -> tuple[str, ZoneInfo | None]:
    """A strftime format and a time zone."""
    if len(arguments) > 2:
        raise PatternError(message("it takes only a format and a time zone"))
    layout, zone = (*arguments, "", "")[:2]
    try:
        datetime.now().strftime(layout)
    except ValueError as error:
        raise PatternError(message("'{format}' is not a valid time format", format=layout)) from error
    try:
        return layout or _DEFAULT_TIME, ZoneInfo(zone) if zone else None
    except (ValueError, OSError, LookupError) as error:
        raise PatternError(message("there is no time zone '{zone}'", zone=zone)) from error


def _time(facts: NameFacts, layout: str, zone: ZoneInfo | None) -> str:
    return facts.saved.astimezone(zone).strftime(layout)


def _prompt(facts: NameFacts) -> str:
    return _NETWORK.sub("", facts.image.prompt)


def _words(facts: NameFacts) -> str:
    words = [word for word in _WORD_BREAK.split(_prompt(facts)) if word]
    return " ".join(words[:_MAX_WORDS] or ["empty"])


def _has_prompt(facts: NameFacts, *words: str) -> str:
    """Each word that the prompt has, else the alternative behind its bar."""
    prompt, found = _prompt(facts).lower(), ""
    for word, _, alternative in (each.partition("|") for each in words if each):
        found += word.lower() if word.lower() in prompt else alternative.partition("|")[0]
    return found.replace(" ", "_")


def _hash(text: str, length: int = 8) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:length]


def _scheduler(facts: NameFacts) -> str:
    return facts.job.scheduler.capitalize()  # "SGM Uniform" becomes "Sgm uniform", in A1111 too


def _only(
    value: Callable[[NameFacts], object], asked: Callable[[NameFacts], bool]
) -> Callable[[NameFacts], str | None]:
    """A value that is nothing unless it tells images of the job apart."""
    return lambda facts: str(value(facts)) if asked(facts) else None


def _last_seed(facts: NameFacts) -> int:
    return facts.job.seed + (0 if facts.request.variation_strength else facts.job.images - 1)


def _batched(facts: NameFacts) -> bool:
    return facts.request.batch_size > 1


def _several(facts: NameFacts) -> bool:
    return facts.request.batch_size * facts.request.batch_count > 1


def _as_it_is(row: RequestField) -> Token:
    return Token(row.sentence, lambda facts: str(getattr(facts.request, row.name)))


TOKENS: Mapping[str, Token] = {
    "number": Token(message("The file's running number, five digits."), lambda f: f"{f.number:05d}"),
    "seed": Token(message("The image's seed."), lambda f: str(f.image.seed)),
    "seed_first": Token(
        message("The seed of the job's first image; with a batch size of 1 the image's own seed."),
        lambda f: str(f.job.seed if _batched(f) else f.image.seed),
    ),
    "seed_last": Token(
        message("The seed of the job's last image; empty with a batch size of 1."),
        _only(_last_seed, _batched),
    ),
    **{row.token: _as_it_is(row) for row in ROWS if row.token},
    "width": Token(message("The image's width in pixels."), lambda f: str(f.image.width)),
    "height": Token(message("The image's height in pixels."), lambda f: str(f.image.height)),
    "styles": Token(message("The names of the styles, or None."), lambda f: ", ".join(f.request.styles) or "None"),
    "sampler": Token(message("The sampler."), lambda f: f.job.sampler),
    "scheduler": Token(message("The schedule type."), _scheduler),
    "sampler_scheduler": Token(message("Sampler and schedule type."), lambda f: f"{f.job.sampler} {_scheduler(f)}"),
    "model_hash": Token(message("The first ten digits of the checkpoint's hash."), lambda f: f.job.model_hash),
    "model_name": Token(message("The checkpoint's name."), lambda f: f.job.model),
    "date": Token(message("The date, as 2026-01-31."), lambda f: f.saved.strftime("%Y-%m-%d")),
    "datetime": Token(
        message("The time at which the image is saved: `[datetime<%H-%M><Asia/Tokyo>]` with a format and a time zone."),
        _time,
        _moment,
    ),
    "job_timestamp": Token(
        message("The time at which the job started, as 20260131235959."), lambda f: f.began.strftime(_DEFAULT_TIME)
    ),
    "prompt": Token(
        message("The prompt with its styles but without <networks>, spaces as _."),
        lambda f: _prompt(f).replace(" ", "_"),
    ),
    "prompt_no_styles": Token(message("The prompt without styles."), lambda f: _NETWORK.sub("", f.request.prompt)),
    "prompt_spaces": Token(message("The prompt with its spaces."), _prompt),
    "prompt_words": Token(message("The first {number} words of the prompt.", number=_MAX_WORDS), _words),
    "prompt_hash": Token(
        message("Eight digits of the prompt's SHA-256, or `<n>` digits."),
        lambda f, *n: _hash(_prompt(f), *n),
        _length,
    ),
    "negative_prompt_hash": Token(
        message("The same for the negative prompt."),
        lambda f, *n: _hash(f.request.negative_prompt, *n),
        _length,
    ),
    "full_prompt_hash": Token(
        message("The same for both prompts as typed."),
        lambda f, *n: _hash(f"{f.request.prompt} {f.request.negative_prompt}", *n),
        _length,
    ),
    "batch_number": Token(
        message("The image's number in its batch; empty with a batch size of 1."),
        _only(lambda f: f.image.index % f.request.batch_size + 1, _batched),
    ),
    "generation_number": Token(
        message("The image's number in the job; empty if it is the only one."),
        _only(lambda f: f.image.index + 1, _several),
    ),
    "hasprompt": Token(
        message("`<word|other>…`: each word that the prompt contains, else the other."), _has_prompt, tuple
    ),
    "denoising": Token(
        message("The denoising strength; empty without an init image or hires fix."),
        lambda f: str(f.request.denoising_strength) if f.request.init_images or f.request.hires else None,
    ),
    "user": Token(message("The name of the logged-in user; always empty in sdterm."), lambda f: None),
    "vae_filename": Token(
        message("The name of the separate VAE; without one A1111's NoneType."),
        lambda f: Path(f.job.vae).stem or "NoneType",
    ),
    "image_hash": Token(
        message("The SHA-256 of the pixels, or its first `<n>` digits."),
        lambda f, n=64: f.image.pixel_hash[:n],
        _length,
    ),
    "none": Token(message("Nothing: `[none]` alone leaves only the number."), lambda f: ""),
}
