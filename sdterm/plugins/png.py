"""PNG, the infotext in the text chunk `parameters`, as A1111 stores it."""

from collections.abc import Mapping
from io import BytesIO
from types import MappingProxyType
from typing import Any

from sdterm.hooks import Option, OutputSaver, hookimpl
from sdterm.messages import message
from sdterm.plugins.exif import storable

NO_TEXTS: Mapping[str, str] = MappingProxyType({})


def encode(image: Any, infotext: str, *, compression: int = 4, texts: Mapping[str, str] = NO_TEXTS) -> bytes:
    """uint8 [H, W, 3] or [H, W, 4] → PNG. The chunk is tEXt where Latin-1 can say it, else iTXt."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for keyword, text in {"parameters": infotext, **texts}.items():
        if text:
            info.add_text(keyword, storable(text))
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "PNG", pnginfo=info, compress_level=compression)
    return buffer.getvalue()


@hookimpl
def sdterm_output_savers() -> list[OutputSaver]:
    compression = Option("compression", 4, message("0 (fast, large file) to 9 (slow, small file)."), 0, 9)
    return [
        OutputSaver(id="png", label="PNG", suffix=".png", encode=encode, options=(compression,), alpha=True, texts=True)
    ]
