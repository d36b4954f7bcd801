"""The answers of routes that draw, as the bytes that are sent and kept."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sdterm.api import JobDetails, Picture
from sdterm.host.sdapi import extras
from sdterm.host.sdapi.answers import answer
from sdterm.host.sdapi.encoded import without_texts


@dataclass(frozen=True)
class Reply:
    """What an answer is made of, beside its job."""

    form: Literal["images", "larger image", "larger images", "caption"]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """The request's body with A1111's defaults, as it is echoed."""
    send_images: bool = True
    with_infotexts: bool = True
    """Whether the images have their infotexts inside."""


def answered(reply: Reply, job: JobDetails, pictures: Sequence[Picture], described: Sequence[str]) -> bytes:
    """The answer. pictures: what the job saved; their files are read. described: what it said of pictures. Raises
    OSError."""
    return json.dumps(_content(reply, job, pictures, described)).encode()


def _content(reply: Reply, job: JobDetails, pictures: Sequence[Picture], described: Sequence[str]) -> Mapping[str, Any]:
    if reply.form == "caption":
        return {"caption": "".join(described)}
    files = [Path(picture.path).read_bytes() for picture in pictures] if reply.send_images else []
    if not reply.with_infotexts:
        files = [without_texts(file) for file in files]
    if reply.form == "images":
        return answer(reply.parameters, job, pictures, files)
    page, images = extras.page(job.request), [base64.b64encode(file).decode() for file in files]
    if reply.form == "larger images":
        return {"html_info": page, "images": images}
    return {"html_info": page, "image": images[0] if images else ""}
