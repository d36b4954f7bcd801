"""PNG, the infotext in the text chunk `parameters`, as A1111 stores it."""

from io import BytesIO
from typing import Any

from sdterm.hooks import Option, OutputSaver, hookimpl
from sdterm.plugins.exif import storable


def encode(image: Any, infotext: str, *, compression: int = 4) -> bytes:
    """uint8 [H, W, 3] → PNG. The chunk is tEXt where Latin-1 can say it, else iTXt."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("parameters", storable(infotext))
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "PNG", pnginfo=info, compress_level=compression)
    return buffer.getvalue()


@hookimpl
def sdterm_output_savers() -> list[OutputSaver]:
    compression = Option("compression", 4, "0 (fast, large) to 9 (slow, small).", 0, 9)
    return [OutputSaver(id="png", label="PNG", suffix=".png", encode=encode, options=(compression,))]
