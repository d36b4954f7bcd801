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
            raise SourceError(f"{variable}: {error}") from error
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
        raise SourceError("The source is too long or has characters that do not belong there.")
    if source.startswith("hf:"):
        return _of_hugging_face(source.removeprefix("hf:"), keys)
    if source.startswith("civitai:"):
        return _of_civitai(source.removeprefix("civitai:"), keys)
    check_url(source)
    query = parse_qs(urlsplit(source).query)
    if secret := next((name for name in query if name.lower() in _SECRETS), None):
        raise SourceError(
            f"The URL has a {printable(secret)} in it, and logs and lists of processes keep URLs. Give the URL without "
            f"it; a token goes into the environment: {' or '.join(TOKENS)}."
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
            f"{printable(name)} is not called like a model: those end in {', '.join(SUFFIXES)}. If it is one, give it "
            "such a name: --as."
        )
    return name


def checked_folder_name(name: str) -> str:
    """The same for a folder's. Raises SourceError."""
    name = name.replace("\\", "/").rsplit("/", 1)[-1].strip()
    unfit = any(character in name for character in ':*?"<>|') or printable(name, 1000) != name or "\ufffd" in name
    if not name or name.startswith(".") or unfit or len(name.encode()) > _LONGEST_NAME:
        raise SourceError(f"The name {printable(repr(name), 80)} cannot be used. Give it another one: --as.")
    return name


# --- hubs -------------------------------------------------------------------------------------------------------------


def _of_hugging_face(what: str, keys: Keys) -> Remote:
    parts = what.split("/", 2)
    if len(parts) < 2 or not all(re.fullmatch(r"[A-Za-z0-9][\w.-]*", part) for part in parts[:2]):
        raise SourceError(f"hf:{printable(what)} does not name a model: write hf:OWNER/NAME or hf:OWNER/NAME/FILE.")
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
            has = f"has several model files: {some}" if models else "has no model file"
            whole = f", or its diffusers folder: hf:{repository}/{INDEX}" if INDEX in files else ""
            raise SourceError(f"{repository} {has}. Name one: hf:{repository}/FILE{whole}.")
        else:
            wanted = models[0]
    if wanted not in files:
        raise SourceError(f"{repository} has no file {printable(wanted)}.")
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
            f"{repository} has no part {printable(unknown[0], 60)} with weights. It has {', '.join(there)}."
        )
    left = tuple(there if WEIGHTS in without else without)
    names = files_in(index, told, left)
    files = tuple(_file_of_hugging_face(at, name, told[name]) for name in names)
    if not left and not any(name.endswith(SUFFIXES) for name in names):
        raise SourceError(f"{repository} is a diffusers folder without weights that sdterm reads.")
    sizes = [file.size for file in files]
    whole = None if None in sizes else sum(size or 0 for size in sizes)
    name, url = repository.partition("/")[2], f"{at}?without={','.join(left)}" if left else at
    return Remote(url, name, whole, kind="checkpoint", token="HF_TOKEN", files=files, without=left)


def _of_civitai(what: str, keys: Keys) -> Remote:
    named = re.fullmatch(r"(\d{1,12})(?:@(\d{1,12}))?", what)
    if not named:
        said = f"civitai:{printable(what)} does not name a model"
        raise SourceError(f"{said}: write civitai:MODEL or civitai:MODEL@VERSION, both numbers.")
    told = _asked(f"{keys.server('CIVITAI_TOKEN')}/api/v1/models/{named[1]}", "CIVITAI_TOKEN", keys)
    versions = _tables(told.get("modelVersions"))
    version = next((each for each in versions if named[2] in (None, str(each.get("id")))), None)
    if not version:
        raise SourceError(f"Civitai's model {named[1]} has no version {named[2] or ''}.".replace(" .", "."))
    files = [file for file in _tables(version.get("files")) if str(file.get("name", "")).lower().endswith(SUFFIXES)]
    files.sort(key=lambda file: (file.get("type") != "Model", not file.get("primary")))
    if not files:
        raise SourceError(f"Civitai's model {named[1]} has no model file in that version.")
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
    said = [f"commercial use: {uses.lower() or 'none'}"]
    said += ["naming its maker is asked for"] if told.get("allowNoCredit") is False else []
    said += ["no derivatives"] if told.get("allowDerivatives") is False else []
    return printable("; ".join(said))


def _asked(url: str, token: str, keys: Keys) -> Mapping[str, Any]:
    """A hub's JSON. Raises SourceError, WebError."""
    with answer(url, token=keys.token(token)) as response:
        check_status(response.status_code, url, token, keys)
        said = b""
        for chunk in response.iter_bytes():
            said += chunk
            if len(said) > _MOST_ANSWER:
                raise WebError(f"{shown(url)} answers without an end.")
    try:
        told = json.loads(said)
    except (ValueError, RecursionError) as error:
        raise WebError(f"{shown(url)} does not answer in JSON.") from error
    if not isinstance(told, dict):
        raise WebError(f"{shown(url)} answers with something else than a description.")
    return told


def check_status(status: int, url: str, token: str | None, keys: Keys) -> None:
    """Raises WebError with what to do unless the answer is one that has what was asked for."""
    if status in (401, 403) and token:
        there = "does not take the token of" if keys.token(token) else "wants a token: put one into the variable"
        more = "Its owner may want you to agree to something on the model's page first, or there is no such model."
        raise WebError(f"{shown(url)} {there} {token}. {more}")
    if status in (401, 403):
        raise WebError(f"{shown(url)} is not given to everybody ({status}).")
    if status == 404:
        raise WebError(f"There is no {shown(url)}.")
    if status >= 500 or status == 429:
        raise BrokenOffError(f"{shown(url)} was answered with status {status}.")
    if status not in (200, 206):
        raise WebError(f"{shown(url)} was answered with status {status}.")


def _tables(value: object) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _size(value: object) -> int | None:
    return value if isinstance(value, int) and 0 < value < 1 << 50 else None


def _sha256(value: object) -> str | None:
    text = str(value).lower().removeprefix("sha256:")
    return text if re.fullmatch(r"[0-9a-f]{64}", text) else None
