"""Where a model comes from: a file of this machine, a URL, `hf:OWNER/NAME[/FILE]`, `civitai:MODEL[@VERSION]`. What it
is, how large and under which licence is found out before any of it is fetched.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from sdterm.core.library.folder_weights import INDEX, files_in, with_weights
from sdterm.core.library.weights import SUFFIXES
from sdterm.core.text import printable
from sdterm.core.web import BrokenOffError, WebError, answer, check_url, origin, shown
from sdterm.errors import BAD_REQUEST, SdtermError
from sdterm.messages import either, message, sentences

TOKENS = ("HF_TOKEN", "CIVITAI_TOKEN")
"""Variables of the environment that hold tokens. They are given to their own server alone."""
_HUBS = {
    "HF_TOKEN": ("HF_ENDPOINT", "https://huggingface.co"),
    "CIVITAI_TOKEN": ("CIVITAI_ENDPOINT", "https://civitai.com"),
}
"""Token → the variable that names another server of that kind, as mirrors have it, and the server."""
WEIGHTS = "weights"
"""What stands for all parts of a folder that have some."""
_MOST_ANSWER = 16 * 2**20  # bytes of a hub's description of a model
_SECRETS = {"token", "api_key", "apikey", "access_token", "key", "auth", "password"}
_LONGEST_NAME = 200  # bytes
_KINDS = {
    "checkpoint": "checkpoint", "lora": "lora", "locon": "lora", "dora": "lora", "lycoris": "lora", "vae": "vae",
    "textualinversion": "embedding", "hypernetwork": "hypernetwork", "upscaler": "upscaler",
}  # fmt: skip
"""Civitai's words for kinds, in lower case."""


class SourceError(SdtermError, ValueError):
    """A source cannot be used; the message says why and what to write instead."""

    code = BAD_REQUEST
    field = "source"


@dataclass(frozen=True)
class Remote:
    """A file to fetch, as far as its server describes it.

    token: the variable whose token the server may be given. files: of a folder, whose names are their paths in it;
        `url` then only tells it from others. without: the parts of a folder whose weights are not wanted.
    """

    url: str
    name: str
    size: int | None = None
    sha256: str | None = None
    licence: str = ""
    kind: str | None = None
    token: str | None = None
    files: tuple["Remote", ...] = ()
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class Keys:
    """What the environment says of hubs: their addresses and tokens."""

    environ: Mapping[str, str]

    def server(self, token: str) -> str:
        """Raises SourceError."""
        variable, usual = _HUBS[token]
        url = self.environ.get(variable, "").rstrip("/") or usual
        try:
            check_url(url)
        except WebError as error:
            raise SourceError(message("{variable}: {problem}", variable=variable, problem=error)) from error
        return url

    def token(self, name: str | None) -> str | None:
        return (self.environ.get(name, "").strip() or None) if name else None


def local_path(source: str) -> Path | None:
    """The file that a source means on this machine; None if it is none of this machine."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", source) or re.match(r"(hf|civitai):", source):
        return None
    return Path(source).expanduser().absolute()


def describe(source: str, keys: Keys) -> Remote:
    """What is known of a source that is not a file of this machine. Raises SourceError, WebError."""
    if printable(source, 4000) != source or len(source) > 2000:
        raise SourceError(message("The source is too long or has invalid characters."))
    if source.startswith("hf:"):
        return _of_hugging_face(source.removeprefix("hf:"), keys)
    if source.startswith("civitai:"):
        return _of_civitai(source.removeprefix("civitai:"), keys)
    check_url(source)
    query = parse_qs(urlsplit(source).query)
    if secret := next((name for name in query if name.lower() in _SECRETS), None):
        raise SourceError(
            message(
                "The URL contains a {name}, and logs and process lists would show it. Give the URL without "
                "it, and put the token into the environment: {variables}.",
                name=printable(secret),
                variables=either(TOKENS),
            )
        )
    path = unquote(urlsplit(source).path)
    if origin(source) == origin(keys.server("HF_TOKEN")) and (
        page := re.fullmatch(r"/([^/]+/[^/]+)/(?:blob|resolve)/main/(.+)", path)
    ):
        return _of_hugging_face(f"{page[1]}/{page[2]}", keys)
    if origin(source) == origin(keys.server("CIVITAI_TOKEN")) and (page := re.match(r"/models/(\d+)", path)):
        version = query.get("modelVersionId", [""])[0]
        return _of_civitai(f"{page[1]}@{version}" if version else page[1], keys)
    token = next((name for name in TOKENS if origin(source) == origin(keys.server(name))), None)
    return Remote(source, path.rsplit("/", 1)[-1], token=token)


def checked_file_name(name: str) -> str:
    """A server's or user's name for a file, which may be meant to lie elsewhere. Raises SourceError."""
    name = checked_folder_name(name)
    if not name.lower().endswith(SUFFIXES):
        raise SourceError(
            message(
                "{name} does not end like a model file: {suffixes}. If it is a model, give it such a name with --as.",
                name=printable(name),
                suffixes=", ".join(SUFFIXES),
            )
        )
    return name


def checked_folder_name(name: str) -> str:
    """The same for a folder's. Raises SourceError."""
    name = name.replace("\\", "/").rsplit("/", 1)[-1].strip()
    unfit = any(character in name for character in ':*?"<>|') or printable(name, 1000) != name or "\ufffd" in name
    if not name or name.startswith(".") or unfit or len(name.encode()) > _LONGEST_NAME:
        raise SourceError(
            message("The name {name} cannot be used. Give another one with --as.", name=printable(repr(name), 80))
        )
    return name


# --- hubs -------------------------------------------------------------------------------------------------------------


def _of_hugging_face(what: str, keys: Keys) -> Remote:
    parts = what.split("/", 2)
    if len(parts) < 2 or not all(re.fullmatch(r"[A-Za-z0-9][\w.-]*", part) for part in parts[:2]):
        raise SourceError(
            message("hf:{source} is not a model: write hf:OWNER/NAME or hf:OWNER/NAME/FILE.", source=printable(what))
        )
    repository, server = "/".join(parts[:2]), keys.server("HF_TOKEN")
    told = _asked(f"{server}/api/models/{repository}?blobs=true", "HF_TOKEN", keys)
    files = {str(file.get("rfilename")): file for file in _tables(told.get("siblings"))}
    models = [name for name in files if name.lower().endswith(SUFFIXES)]
    wanted, _, query = parts[2].partition("?") if len(parts) > 2 else (None, "", "")
    if wanted is None:
        top = [name for name in models if "/" not in name]
        models = [name for name in top if name.endswith(".safetensors")] or top or models
        if not top and INDEX in files:
            wanted = INDEX
        elif len(models) != 1:
            some = ", ".join(printable(name, 80) for name in sorted(models)[:20])
            has = message("{repository} has no model file.", repository=repository)
            if models:
                has = message("{repository} has several model files: {files}.", repository=repository, files=some)
            which = message("Choose one: hf:{repository}/FILE.", repository=repository)
            if INDEX in files:
                which = message(
                    "Choose one: hf:{repository}/FILE, or its diffusers folder: hf:{repository}/{index}.",
                    repository=repository,
                    index=INDEX,
                )
            raise SourceError(sentences(has, which))
        else:
            wanted = models[0]
    if wanted not in files:
        raise SourceError(message("{repository} has no file {file}.", repository=repository, file=printable(wanted)))
    card = told.get("cardData")
    licence = printable(str((card.get("license_name") or card.get("license") or "") if isinstance(card, dict) else ""))
    if wanted == INDEX:
        revision = str(told.get("sha", ""))  # so that all files are of one state, however long they take
        at = f"{server}/{repository}/resolve/{revision if re.fullmatch(r'[0-9a-f]{40}', revision) else 'main'}"
        without = [part for said in parse_qs(query).get("without", ()) for part in said.split(",")]
        return replace(_folder_of_hugging_face(at, repository, files, without, keys), licence=licence)
    return replace(_file_of_hugging_face(f"{server}/{repository}/resolve/main", wanted, files[wanted]), licence=licence)


def _file_of_hugging_face(at: str, name: str, told: Mapping[str, Any]) -> Remote:
    lfs = told.get("lfs")
    digest = _sha256(lfs.get("sha256") or lfs.get("oid")) if isinstance(lfs, dict) else None
    return Remote(f"{at}/{quote(name)}", name, _size(told.get("size")), digest, token="HF_TOKEN")


def _folder_of_hugging_face(
    at: str, repository: str, told: Mapping[str, Mapping[str, Any]], without: Sequence[str], keys: Keys
) -> Remote:
    """A whole repository that is a checkpoint as diffusers saves them: what is read of it, but for the weights of the
    parts `without`; `weights` is all of them."""
    index = _asked(f"{at}/{INDEX}", "HF_TOKEN", keys)
    there = with_weights(index)
    if unknown := [part for part in without if part not in (*there, WEIGHTS)]:
        raise SourceError(
            message(
                "{repository} has no component {part} with weights. It has {known}.",
                repository=repository,
                part=printable(unknown[0], 60),
                known=", ".join(there),
            )
        )
    left = tuple(there if WEIGHTS in without else without)
    names = files_in(index, told, left)
    files = tuple(_file_of_hugging_face(at, name, told[name]) for name in names)
    if not left and not any(name.endswith(SUFFIXES) for name in names):
        raise SourceError(
            message("{repository} is a diffusers folder without weights that sdterm can read.", repository=repository)
        )
    sizes = [file.size for file in files]
    whole = None if None in sizes else sum(size or 0 for size in sizes)
    name, url = repository.partition("/")[2], f"{at}?without={','.join(left)}" if left else at
    return Remote(url, name, whole, kind="checkpoint", token="HF_TOKEN", files=files, without=left)


def _of_civitai(what: str, keys: Keys) -> Remote:
    named = re.fullmatch(r"(\d{1,12})(?:@(\d{1,12}))?", what)
    if not named:
        raise SourceError(
            message(
                "civitai:{source} is not a model: write civitai:MODEL or civitai:MODEL@VERSION, both numbers.",
                source=printable(what),
            )
        )
    told = _asked(f"{keys.server('CIVITAI_TOKEN')}/api/v1/models/{named[1]}", "CIVITAI_TOKEN", keys)
    versions = _tables(told.get("modelVersions"))
    version = next((each for each in versions if named[2] in (None, str(each.get("id")))), None)
    if not version:
        said = message("Civitai's model {model} has no versions.", model=named[1])
        if named[2]:
            said = message("Civitai's model {model} has no version {version}.", model=named[1], version=named[2])
        raise SourceError(said)
    files = [file for file in _tables(version.get("files")) if str(file.get("name", "")).lower().endswith(SUFFIXES)]
    files.sort(key=lambda file: (file.get("type") != "Model", not file.get("primary")))
    if not files:
        raise SourceError(message("Civitai's model {model} has no model file in that version.", model=named[1]))
    file, hashes, kilobytes = files[0], files[0].get("hashes"), files[0].get("sizeKB")
    return Remote(
        str(file.get("downloadUrl") or version.get("downloadUrl")),
        str(file["name"]),
        round(kilobytes * 1024) if isinstance(kilobytes, int | float) and 0 < kilobytes < 1e12 else None,
        _sha256(hashes.get("SHA256") if isinstance(hashes, dict) else None),
        _civitai_licence(told),
        _KINDS.get(str(told.get("type", "")).lower()),
        token="CIVITAI_TOKEN",
    )


def _civitai_licence(told: Mapping[str, Any]) -> str:
    commercial = told.get("allowCommercialUse")
    uses = ", ".join(map(str, commercial)) if isinstance(commercial, list) else str(commercial or "")
    said = [message("commercial use: {uses}", uses=uses.lower() or "none")]
    said += [message("credit required")] if told.get("allowNoCredit") is False else []
    said += [message("no derivatives")] if told.get("allowDerivatives") is False else []
    return printable("; ".join(said))


def _asked(url: str, token: str, keys: Keys) -> Mapping[str, Any]:
    """A hub's JSON. Raises SourceError, WebError."""
    with answer(url, token=keys.token(token)) as response:
        check_status(response.status_code, url, token, keys)
        said = b""
        for chunk in response.iter_bytes():
            said += chunk
            if len(said) > _MOST_ANSWER:
                raise WebError(message("{url} sends more than a description can have.", url=shown(url)))
    try:
        told = json.loads(said)
    except (ValueError, RecursionError) as error:
        raise WebError(message("{url} did not answer in JSON.", url=shown(url))) from error
    if not isinstance(told, dict):
        raise WebError(message("{url} answered with something other than a description.", url=shown(url)))
    return told


def check_status(status: int, url: str, token: str | None, keys: Keys) -> None:
    """Raises WebError with what to do unless the answer is one that has what was asked for."""
    if status in (401, 403) and token:
        said = message("{url} needs a token: put one into the variable {variable}.", url=shown(url), variable=token)
        if keys.token(token):
            said = message("{url} does not accept the token in {variable}.", url=shown(url), variable=token)
        more = message("You may have to accept a licence on the model's page first, or the model does not exist.")
        raise WebError(sentences(said, more))
    if status in (401, 403):
        raise WebError(message("{url} is not public (status {status}).", url=shown(url), status=status))
    if status == 404:
        raise WebError(message("{url} does not exist.", url=shown(url)))
    if status >= 500 or status == 429:
        raise BrokenOffError(message("{url} answered with status {status}.", url=shown(url), status=status))
    if status not in (200, 206):
        raise WebError(message("{url} answered with status {status}.", url=shown(url), status=status))


def _tables(value: object) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _size(value: object) -> int | None:
    return value if isinstance(value, int) and 0 < value < 1 << 50 else None


def _sha256(value: object) -> str | None:
    text = str(value).lower().removeprefix("sha256:")
    return text if re.fullmatch(r"[0-9a-f]{64}", text) else None
