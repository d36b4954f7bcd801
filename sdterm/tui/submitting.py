"""What is given to the host for what stands in a form, or for what a picture was drawn with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sdterm.core.settings.settings import Settings
from sdterm.tui.offers import Offers

if TYPE_CHECKING:
    from sdterm.api import Picture, Submission

VARIATIONS, VARIED = 5, 0.15
"""How many variations are drawn at once, and how much of other noise they have if the form does not say."""


def submission(
    fields: Mapping[str, Any], offers: Offers, settings: Settings, picture: Picture | None = None
) -> Submission:
    """A job for request fields. picture: whose first pass it goes on from, as long as that is kept. Raises
    RequestError."""
    from sdterm.api import FirstPassOf, Submission
    from sdterm.core.output.saving import saving_of
    from sdterm.request import make_request

    request = make_request(**offers.sent(fields))
    several = request.batch_size * request.batch_count > 1
    if settings["save_grid"] and several:
        request = request.model_copy(update={"grid": True})
    first_pass = FirstPassOf(job=picture.job, image=picture.number) if picture and picture.job else None
    return Submission(request=request, saving=saving_of(settings), first_pass=first_pass)


def varied(fields: Mapping[str, Any], strength: Any) -> dict[str, Any]:
    """The request fields for variations of a picture that was drawn with those. strength: as the form has it."""
    return {
        **fields,
        "variation_strength": strength if float(strength or 0) > 0 else VARIED,
        "variation_seed": -1,
        "batch_count": VARIATIONS,
    }
