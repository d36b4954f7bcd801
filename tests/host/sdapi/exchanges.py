"""What A1111 1.9.4 was asked over HTTP and what it answered, and how far another answer is from that."""

import base64
import json
import lzma
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import piexif
import piexif.helper
from PIL import Image
from PIL.PngImagePlugin import PngInfo

GOLDEN = Path(__file__).parents[2] / "golden"
EXCHANGES: list[dict[str, Any]] = json.loads(lzma.decompress((GOLDEN / "exchanges.json.xz").read_bytes()))
_PICTURES = np.load(GOLDEN / "img2img.npz")
_JSON = "<json text>"
_NAMED = (
    "loaded",
    "skipped",
    "items",
    "parameters",
    "options",
    "metadata",
    "extra_generation_params",
    "override_settings",
)
"""Dictionaries whose names are data."""
_MAY_BE_NULL = (".config",)
"""What depends on files that are not there."""


def asked(exchange: Mapping[str, Any], base: str = "") -> dict[str, Any]:
    """The arguments of an HTTP client's `request`. base: the address of the host: a client that joined the two would
    take a path that begins with two slashes for another host's."""
    headers = {name: value.strip() for name, value in exchange.get("request_headers", {}).items()}
    how: dict[str, Any] = {"params": exchange.get("query"), "auth": tuple(exchange.get("basic_auth", ())) or None}
    if exchange.get("request") is not None:
        how["json"] = _filled(exchange["request"], exchange)
    elif "raw_body" in exchange:
        how["content"] = exchange["raw_body"]
    return {"method": exchange["method"], "url": f"{base}{exchange['path']}", "headers": headers, **how}


def _filled(value: Any, exchange: Mapping[str, Any]) -> Any:
    """A body with its pictures for their names."""
    if isinstance(value, dict):
        return {name: _filled(each, exchange) for name, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, exchange) for each in value]
    if isinstance(value, str) and "@" in value:
        before, _, name = value.partition("@")
        return before + _picture(name, exchange)
    return value


def _picture(name: str, exchange: Mapping[str, Any]) -> str:
    match name:
        case "not64":
            return "no base64 at all!"
        case "text64":
            return base64.b64encode(b"a sentence, and no picture").decode()
        case "torn":
            return base64.b64encode(_file(_PICTURES["@scene"])[:400]).decode()
        case "webp" | "jpeg":
            return base64.b64encode(_file(_PICTURES["@scene"], name)).decode()
        case "pi":
            return base64.b64encode(_written(exchange["picture"])).decode()
        case _:
            return base64.b64encode(_file(_PICTURES[f"@{name}"])).decode()


def _file(pixels: np.ndarray, kind: str = "PNG", **how: Any) -> bytes:
    made = BytesIO()
    Image.fromarray(pixels).save(made, kind, **how)
    return made.getvalue()


def _written(texts: Mapping[str, str]) -> bytes:
    """A picture with these texts in it."""
    plain = np.zeros((64, 64, 3), np.uint8)
    if "UserComment" in texts:
        comment = piexif.helper.UserComment.dump(texts["UserComment"], encoding="unicode")
        return _file(plain, "JPEG", exif=piexif.dump({"Exif": {piexif.ExifIFD.UserComment: comment}}))
    chunks = PngInfo()
    for name, text in texts.items():
        chunks.add_itxt(name, text)
    return _file(plain, pnginfo=chunks)


def differences(recorded: Any, ours: Any, place: str = "") -> Iterator[str]:
    """Where an answer has another shape than the recorded one."""
    if isinstance(recorded, dict) and _JSON in recorded:
        yield from differences(recorded[_JSON], json.loads(ours), f"{place}<")
    elif isinstance(recorded, dict) and "format" in recorded and isinstance(ours, str):
        yield from _of_picture(recorded, ours, place)
    elif isinstance(recorded, dict) and isinstance(ours, dict):
        if not place.endswith(_NAMED):
            yield from (f"{place}: lacks {name}" for name in recorded if name not in ours)
            yield from (f"{place}: has {name}" for name in ours if name not in recorded)
            for name in recorded.keys() & ours.keys():
                yield from differences(recorded[name], ours[name], f"{place}.{name}")
        else:
            for name in recorded.keys() & ours.keys():
                yield from differences(recorded[name], ours[name], f"{place}.{name}")
    elif isinstance(recorded, list) and isinstance(ours, list):
        if recorded and not ours and "[]" not in place:
            yield f"{place}: {len(recorded)} entries became {len(ours)}"
        if place.endswith(("images", "infotexts", "all_seeds")) and len(recorded) != len(ours):
            yield f"{place}: {len(recorded)} entries became {len(ours)}"
        for mine in ours:
            if recorded:
                theirs = min(recorded, key=lambda each: len([*differences(each, mine, f"{place}[]")]))
                yield from differences(theirs, mine, f"{place}[]")
    elif _kind(recorded) != _kind(ours) and not (ours is None and place.endswith(_MAY_BE_NULL)):
        yield f"{place}: {_kind(recorded)} {recorded!r:.60} became {_kind(ours)} {ours!r:.60}"


def _of_picture(recorded: Mapping[str, Any], ours: str, place: str) -> Iterator[str]:
    with Image.open(BytesIO(base64.b64decode(ours))) as picture:
        said = {"format": picture.format, "size": [*picture.size], "mode": picture.mode}
        texts = {name for name in picture.info if name in ("parameters", "postprocessing")}
    yield from (
        f"{place}: {name} {recorded[name]} became {mine}"
        for name, mine in said.items()
        if name in recorded and recorded[name] != mine
    )
    if {*recorded.get("text", ())} != texts:
        yield f"{place}: texts {sorted(recorded.get('text', ()))} became {sorted(texts)}"


def _kind(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return type(value).__name__
    return "number" if isinstance(value, int | float) else type(value).__name__
