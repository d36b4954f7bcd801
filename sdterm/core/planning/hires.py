"""How large the second pass of a hires fix is. Source: A1111 processing.calculate_target_resolution."""

from typing import NamedTuple

from sdterm.messages import message
from sdterm.request import GenerationRequest, RequestError

MOST = 8192
"""Pixels of a side."""


class HiresSize(NamedTuple):
    """In pixels: to what the first pass's picture is made larger, and what of that is drawn."""

    upscaled_width: int
    upscaled_height: int
    width: int
    height: int


def hires_size(request: GenerationRequest, width: int, height: int, cell: int) -> HiresSize:
    """Of a first pass of that size; cell: pixels per latent cell, of which there are whole ones only. Raises
    RequestError."""
    cropped_width = cropped_height = 0
    match request.hires_width, request.hires_height:
        case 0, 0:
            to = int(width * request.hires_scale), int(height * request.hires_scale)
        case asked, 0:
            to = asked, asked * height // width
        case 0, asked:
            to = asked * width // height, asked
        case across, down:
            wider = width / height < across / down
            to = (across, across * height // width) if wider else (down * width // height, down)
            cropped_width, cropped_height = (to[0] - across) // cell, (to[1] - down) // cell
    cells = to[0] // cell - cropped_width, to[1] // cell - cropped_height
    if min(cells) < 1 or max(to) > MOST:
        field = "hires_width" if request.hires_width or request.hires_height else "hires_scale"
        raise RequestError(
            message(
                "{field} makes the second pass {width}x{height} pixels, but each side must be from {least} to {most}.",
                field=field,
                width=to[0],
                height=to[1],
                least=cell,
                most=MOST,
            ),
            field,
        )
    return HiresSize(*to, cells[0] * cell, cells[1] * cell)
