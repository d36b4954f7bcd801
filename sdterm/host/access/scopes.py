"""What each call asks of the token of a client that comes over TCP: one table for `/v1` and A1111's API."""

from collections.abc import Mapping
from typing import Literal

from starlette.routing import compile_path

from sdterm.core.settings.tokens import Scope

Need = Scope | Literal["owner"]
"""`owner`: only the host's own user may, over the socket; no token allows it."""

NEEDED: Mapping[str, Need] = {
    "GET /v1/health": "read",
    "GET /v1/openapi.json": "read",
    "GET /v1/jobs": "read",
    "GET /v1/jobs/{job}": "read",
    "GET /v1/queue": "read",
    "GET /v1/events": "read",
    "GET /v1/models": "read",
    "GET /v1/models/hashing": "read",
    "GET /v1/library": "read",
    "GET /v1/library/{kind}": "read",
    "GET /v1/library/{kind}/preview": "read",
    "GET /v1/downloads": "read",
    "GET /v1/styles": "read",
    "GET /v1/networks": "read",
    "GET /v1/extensions": "read",
    "GET /v1/catalogue": "read",
    "GET /v1/settings": "read",
    "GET /v1/pictures": "read",
    "GET /v1/pictures/{picture}": "read",
    "GET /v1/pictures/{picture}/file": "read",
    "GET /v1/pictures/{picture}/thumbnail": "read",
    "GET /v1/trash": "read",
    "GET /v1/inputs/{sha256}": "read",
    "HEAD /v1/inputs/{sha256}": "read",
    "POST /v1/prompt": "read",
    "PUT /v1/inputs/{sha256}": "generate",
    "POST /v1/jobs": "generate",
    "POST /v1/jobs/{job}/cancel": "generate",
    "POST /v1/jobs/{job}/pause": "generate",
    "POST /v1/jobs/{job}/resume": "generate",
    "POST /v1/jobs/{job}/retry": "generate",
    "POST /v1/jobs/{job}/move": "generate",
    "POST /v1/jobs/{job}/pin": "generate",
    "POST /v1/models/load": "generate",
    "PUT /v1/settings/{key}": "admin",
    "POST /v1/models/unload": "admin",
    "POST /v1/models/hash": "admin",
    "POST /v1/models/hashing/{what}": "admin",
    "POST /v1/devices/{device}/{what}": "admin",
    "POST /v1/queue/{what}": "admin",
    "POST /v1/downloads/{download}/cancel": "admin",
    "POST /v1/pictures/rescan": "admin",
    "DELETE /v1/pictures/{picture}": "admin",
    "POST /v1/pictures/{picture}/restore": "admin",
    "DELETE /v1/trash": "admin",
    "POST /v1/downloads/look": "owner",  # a client would choose what the host fetches, and from where
    "POST /v1/downloads": "owner",
    "POST /v1/stop": "owner",  # nobody could start it again from where they are
    "GET /sdapi/v1/options": "read",
    "GET /sdapi/v1/cmd-flags": "read",
    "GET /sdapi/v1/samplers": "read",
    "GET /sdapi/v1/schedulers": "read",
    "GET /sdapi/v1/upscalers": "read",
    "GET /sdapi/v1/latent-upscale-modes": "read",
    "GET /sdapi/v1/sd-models": "read",
    "GET /sdapi/v1/sd-vae": "read",
    "GET /sdapi/v1/hypernetworks": "read",
    "GET /sdapi/v1/face-restorers": "read",
    "GET /sdapi/v1/realesrgan-models": "read",
    "GET /sdapi/v1/prompt-styles": "read",
    "GET /sdapi/v1/embeddings": "read",
    "GET /sdapi/v1/loras": "read",
    "GET /sdapi/v1/scripts": "read",
    "GET /sdapi/v1/script-info": "read",
    "GET /sdapi/v1/extensions": "read",
    "GET /sdapi/v1/memory": "read",
    "GET /sdapi/v1/progress": "read",
    "GET /sdapi/v1/jobs/{job}": "read",
    "GET /internal/ping": "read",
    "GET /internal/sysinfo": "read",
    "GET /internal/pending-tasks": "read",
    "POST /internal/progress": "read",
    "POST /sdapi/v1/refresh-checkpoints": "read",
    "POST /sdapi/v1/refresh-vae": "read",
    "POST /sdapi/v1/refresh-loras": "read",
    "POST /sdapi/v1/refresh-embeddings": "read",
    "POST /sdapi/v1/txt2img": "generate",
    "POST /sdapi/v1/img2img": "generate",
    "POST /sdapi/v1/extra-single-image": "generate",
    "POST /sdapi/v1/extra-batch-images": "generate",
    "POST /sdapi/v1/png-info": "generate",  # like the others it may fetch a picture by URL, where `api_fetch` is on
    "POST /sdapi/v1/interrogate": "generate",
    "POST /sdapi/v1/interrupt": "generate",
    "POST /sdapi/v1/skip": "generate",
    "POST /sdapi/v1/reload-checkpoint": "generate",
    "POST /sdapi/v1/create/embedding": "generate",
    "POST /sdapi/v1/create/hypernetwork": "generate",
    "POST /sdapi/v1/train/embedding": "generate",
    "POST /sdapi/v1/train/hypernetwork": "generate",
    "POST /sdapi/v1/options": "admin",
    "POST /sdapi/v1/unload-checkpoint": "admin",
    "POST /sdapi/v1/server-stop": "admin",  # where --api-server-stop allows it at all
    "POST /sdapi/v1/server-kill": "admin",
    "POST /sdapi/v1/server-restart": "admin",
}
"""Method and address of a call → what it needs."""

_COMPILED = [(call.split()[0], compile_path(call.split()[1])[0], need) for call, need in NEEDED.items()]


def needed(method: str, path: str) -> Need | None:
    """What a request needs; None if there is no such call. Of two that fit, the one with fewer parameters counts."""
    found = [(pattern.groups, need) for known, pattern, need in _COMPILED if known == method and pattern.match(path)]
    return min(found)[1] if found else None
