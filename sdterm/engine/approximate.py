"""The ways between latents and pixels that a request asks for in place of the model's own: TAESD and its kin."""

from collections.abc import Callable

import torch

from sdterm.core.library.checkpoints import CheckpointFile, Library, ModelFileError
from sdterm.core.settings.model_kinds import KINDS_BY_ID
from sdterm.engine.run import Approximations, Run
from sdterm.events import Warning
from sdterm.fields import FIELDS
from sdterm.hooks import Approximation, LatentMap, Pipeline, PluginError
from sdterm.messages import message
from sdterm.request import RequestError

FULL = "Full"
_KIND = KINDS_BY_ID["vae_approx"]


def load_approximations(run: Run, library: Library) -> Approximations:
    """Those that a run asks for. Raises RequestError, ModelFileError, PluginError; previews that cannot be made so
    are a warning."""
    request = run.request
    decoder = _asked(run, "vae_decoder", request.vae_decoder)
    encoder = _asked(run, "vae_encoder", request.vae_encoder)
    return Approximations(
        decode=_loaded(run, library, decoder.label, decoder.decoder) if decoder else None,
        encode=_loaded(run, library, encoder.label, encoder.encoder) if encoder and encoder.encoder else None,
        preview=_preview(run, library),
    )


def _preview(run: Run, library: Library) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """Approx cheap is the model's own map from latents to colours, which may be fitted better than the general one."""
    asked = run.request.preview_method
    if not run.previews or asked in (FULL, FIELDS["preview_method"].default):
        return None
    try:
        found = _asked(run, "preview_method", asked)
        return _loaded(run, library, found.label, found.decoder) if found else None
    except (RequestError, ModelFileError, PluginError) as error:
        said = message(
            "{problem} Until then previews use {method}.", problem=error, method=FIELDS["preview_method"].default
        )
        run.warn(Warning(code="preview_method", message=said), keep=False)
        return None


def _asked(run: Run, field: str, label: str) -> Approximation | None:
    """None for the model's own."""
    if label == FULL:
        return None
    family = run.choices.passes[-1].model.family
    there = () if isinstance(family, Pipeline) else family.approximations
    known: dict[str, Approximation] = {each.label: each for each in there}
    if label not in known:
        offered = ", ".join([FULL, *known])
        raise RequestError(
            message(
                "{field} is {value}, which {family} does not have: choose {choices}.",
                field=field,
                value=label,
                family=family.label,
                choices=offered,
            ),
            field,
        )
    return known[label]


def _loaded(run: Run, library: Library, label: str, wanted: LatentMap) -> Callable[[torch.Tensor], torch.Tensor]:
    there = {file.name: file for file in reversed(library.files(_KIND.id))} if wanted.files else {}
    file = next((there[name] for name in wanted.files if name in there), None)
    if wanted.files and not file:
        names = f"{wanted.files[0]}{{{','.join(_KIND.suffixes)}}}"
        raise ModelFileError(
            message(
                "{label} needs the file {files}, which is not in {folder}. Put it there, or choose {default}.",
                label=label,
                files=names,
                folder=library.places(_KIND.id)[0],
                default=FULL,
            )
        )
    with run.plugins.guard(run.choices.passes[-1].model.family, ModelFileError):
        return wanted.load(CheckpointFile(file.path) if file else None, run.device)
