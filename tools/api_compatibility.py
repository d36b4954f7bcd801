"""The section of docs/compatibility.md about A1111's HTTP API: every route and field, and what sdterm makes of it."""

from collections.abc import Iterator, Mapping

from sdterm.host.sdapi.values import EXTRA_BATCH, EXTRA_SINGLE, IMG2IMG, INTERROGATE, PNG_INFO, TXT2IMG, Table
from tests.host.sdapi.deviations import DEVIATIONS
from tests.host.sdapi.exchanges import EXCHANGES

HEADING = "## HTTP API"

_ROUTES: Mapping[str, str] = {
    "POST /sdapi/v1/txt2img": "better: also later, once, or cancelled by hanging up ([how](how-to/api.md))",
    "POST /sdapi/v1/img2img": "better: the same",
    "POST /sdapi/v1/extra-single-image": "better: the same",
    "POST /sdapi/v1/extra-batch-images": "better: the same",
    "POST /sdapi/v1/png-info": "same",
    "GET /sdapi/v1/progress": "same",
    "POST /sdapi/v1/interrogate": "better: an image with an infotext answers its prompt; a missing model is an error",
    "POST /sdapi/v1/interrupt": "same",
    "POST /sdapi/v1/skip": "same",
    "GET /sdapi/v1/options": "same",
    "POST /sdapi/v1/options": "better: a value of the wrong type is refused (422), not stored",
    "GET /sdapi/v1/cmd-flags": "better: no logins",
    "GET /sdapi/v1/samplers": "same",
    "GET /sdapi/v1/schedulers": "same, with those of 1.10",
    "GET /sdapi/v1/upscalers": "same, without those that A1111 would fetch when they are used",
    "GET /sdapi/v1/latent-upscale-modes": "same",
    "GET /sdapi/v1/sd-models": "same",
    "GET /sdapi/v1/sd-vae": "same",
    "GET /sdapi/v1/hypernetworks": "same",
    "GET /sdapi/v1/face-restorers": "same: those that extensions bring",
    "GET /sdapi/v1/realesrgan-models": "same, without those that A1111 would fetch",
    "GET /sdapi/v1/prompt-styles": "same",
    "GET /sdapi/v1/embeddings": "same; `skipped` is always empty",
    "GET /sdapi/v1/loras": "better: asks for the login, which A1111 forgets",
    "GET /sdapi/v1/scripts": "same: always-on scripts; there are no selectable ones",
    "GET /sdapi/v1/script-info": "same: the same ones",
    "GET /sdapi/v1/extensions": "same; `branch` is empty",
    "GET /sdapi/v1/memory": "same; of a card what its driver counts",
    "POST /sdapi/v1/refresh-checkpoints": "same: every list is read again anyway",
    "POST /sdapi/v1/refresh-vae": "same",
    "POST /sdapi/v1/refresh-embeddings": "same",
    "POST /sdapi/v1/refresh-loras": "same",
    "POST /sdapi/v1/unload-checkpoint": "better: the memory is given back",
    "POST /sdapi/v1/reload-checkpoint": "better: in the background",
    "POST /sdapi/v1/create/embedding": "refused, in `info`: sdterm does not train",
    "POST /sdapi/v1/create/hypernetwork": "refused, in `info`",
    "POST /sdapi/v1/train/embedding": "refused, in `info`",
    "POST /sdapi/v1/train/hypernetwork": "refused, in `info`",
    "POST /sdapi/v1/server-stop": "same, with `--api-server-stop`: ends the host",
    "POST /sdapi/v1/server-kill": "same: what was generated continues with the next host",
    "POST /sdapi/v1/server-restart": "same: 501",
    "POST /internal/progress": "same",
    "GET /internal/pending-tasks": "same",
    "GET /internal/ping": "same",
    "GET /internal/sysinfo": "better: no secrets",
    "GET /": "the workstation [in a browser](remote.md#in-a-browser), with `sdterm[web]`; else 404, as of an A1111 "
    "without its page",
    "HEAD /": "same: 200; with `sdterm[web]` it asks for the login, as GET does",
    "GET /docs": "same",
    "GET /redoc": "same",
    "GET /openapi.json": "same names of schemas and operations",
    "`--api-auth`": "better: for every route but the documentation, before a body is read; kept as hashes",
    "pages of other sites": "refused (403), also those that only read, but for those of `--cors-allow-origins`",
}
_FIELDS: Mapping[str, str] = {
    "prompt": "better: `null` is not given, A1111 fails; a weight that is not a number is text",
    "negative_prompt": "better: `null` is not given",
    "sampler_name": "better: aliases and old joined names; exactly A1111's with `api_strict = true`",
    "sampler_index": "better: the same",
    "restore_faces": "refused (422)",
    "script_name": "refused (422): there are no selectable scripts yet",
    "script_args": "same: goes with `script_name`",
    "alwayson_scripts": "same for soft inpainting and for those that only say fields again; other names 422",
    "override_settings": "same: for this request alone, the checkpoint too",
    "override_settings_restore_afterwards": "better: other requests never see them, whatever it says",
    "firstpass_image": "better: A1111 fails on it",
    "infotext": "better: one with hires keys and no sampler of its own is generated, A1111 fails",
    "latent_mask": "refused (422), A1111 fails on it",
    "image_cfg_scale": "same: counts for no model that is here",
    "init_images": "better: by URL only where `api_fetch` is set, and never from local addresses",
    "gfpgan_visibility": "refused (422) without an extension that brings it",
    "codeformer_visibility": "refused (422) without an extension that brings it",
    "upscale_first": "same: counts only beside a face restorer",
}
"""Those that are not simply the same."""
_TABLES: Mapping[str, Table] = {
    "txt2img": TXT2IMG,
    "img2img": IMG2IMG,
    "extra-single-image": EXTRA_SINGLE,
    "extra-batch-images": EXTRA_BATCH,
    "png-info": PNG_INFO,
    "interrogate": INTERROGATE,
}


def section() -> Iterator[str]:
    """Its lines."""
    yield HEADING
    yield ""
    differ = [each["id"] for each in EXCHANGES if each["id"] in DEVIATIONS]
    yield f"{len(EXCHANGES)} exchanges of A1111 1.9.4 itself are asked again by the tests: statuses and shapes are"
    yield f"the same but for {len(differ)}, which the last table lists. Same: as A1111; better: what it cannot do, or"
    yield "fails on; refused: an error that says so. Types are as loose as A1111's: numbers may be texts or fractions,"
    yield 'booleans 0 and 1; `null` is "not given" everywhere; unknown fields are passed over.'
    yield ""
    yield "| route | sdterm |"
    yield "|---|---|"
    yield from (f"| {route} | {said} |" for route, said in _ROUTES.items())
    yield ""
    yield "| field | of | default | sdterm |"
    yield "|---|---|---|---|"
    for field in dict.fromkeys(name for table in _TABLES.values() for name in table):
        routes = [route for route, table in _TABLES.items() if field in table]
        defaults = dict.fromkeys(_written(_TABLES[route][field][1]) for route in routes)
        yield f"| {field} | {', '.join(routes)} | {', '.join(defaults)} | {_FIELDS.get(field, 'same')} |"
    yield ""
    yield "| exchange | A1111 | sdterm | why |"
    yield "|---|---|---|---|"
    recorded = {each["id"]: each.get("status", "connection lost") for each in EXCHANGES}
    yield from (
        f"| {name} | {recorded[name]} | {it.status or recorded[name]} | {it.why} |" for name, it in DEVIATIONS.items()
    )
    yield ""


def _written(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case dict():
            return "{}"
        case list() | tuple():
            return "[]"
    return str(value)
