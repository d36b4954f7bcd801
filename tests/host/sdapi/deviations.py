"""Where sdterm's API answers otherwise than A1111 did, on purpose."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Deviation:
    """status: what sdterm answers; None: the same, with another shape."""

    status: int | None
    why: str


_NAMES = "aliases and old names are taken; `api_strict = true` answers 404"
_NULL = "`null` is not given"
_SAFE = "a value of the wrong type is refused, and later jobs do not fail on it"
_NO_TRAINING = "sdterm does not train, whatever the arguments"
_ALL = "every route asks for the login"

DEVIATIONS: Mapping[str, Deviation] = {
    "get/face-restorers": Deviation(None, "those that extensions bring"),
    "get/realesrgan-models": Deviation(None, "those that are there, not those that A1111 would fetch"),
    "route/internal/progress": Deviation(405, "A1111 has it with its page alone; it is POST"),
    "route/cors-get": Deviation(403, "pages of other sites are answered only where `cors_allow_origins` names them"),
    "txt2img/sampler-alias": Deviation(200, _NAMES),
    "txt2img/sampler-old-name": Deviation(200, _NAMES),
    "txt2img/prompt-null": Deviation(200, _NULL),
    "txt2img/negative-null": Deviation(200, _NULL),
    "txt2img/alwayson-args-null": Deviation(200, _NULL),
    "txt2img/prompt-bad-weight": Deviation(200, "a weight that is not a number is text"),
    "txt2img/script-args-short": Deviation(422, "there are no selectable scripts yet"),
    "txt2img/firstpass-image": Deviation(200, "A1111 has the field and fails on it"),
    "txt2img-infotext/hires": Deviation(200, "the second pass has the first one's sampler"),
    "extras/broken-model": Deviation(500, "an upscaler that is not there is an error; A1111 enlarges by Lanczos"),
    "options/wrong-type": Deviation(422, _SAFE),
    "txt2img/after-wrong-type": Deviation(200, _SAFE),
    "options/samples-format-bad": Deviation(422, _SAFE),
    "create/embedding-empty": Deviation(200, _NO_TRAINING),
    "create/embedding-no-vectors": Deviation(200, _NO_TRAINING),
    "create/hypernetwork-bad-field": Deviation(200, _NO_TRAINING),
    "auth/loras-none": Deviation(401, _ALL),
    "auth/post-none-bad-body": Deviation(401, "the login is asked for before the body is read"),
    "auth/after-stop": Deviation(None, "the host has ended; A1111 without its page continues"),
}
"""By the exchange's name."""
