"""JPEG, the infotext in EXIF's UserComment, as A1111 stores it."""

from io import BytesIO
from typing import Any

from sdterm.hooks import Option, OutputSaver, PluginError, hookimpl

_EXIF_IFD, _USER_COMMENT = 0x8769, 0x9286
_SEGMENT = 65_533  # bytes; a JPEG segment's length field holds no more


def encode(image: Any, infotext: str, *, quality: int = 80) -> bytes:
    """uint8 [H, W, 3] → JPEG. UserComment is `UNICODE\\0` and UTF-16, big end first, no byte order mark."""
    from PIL import Image

    exif = Image.Exif()
    exif.get_ifd(_EXIF_IFD)[_USER_COMMENT] = b"UNICODE\0" + infotext.encode("utf-16-be")
    header = exif.tobytes()
    if len(header) > _SEGMENT:
        raise PluginError("the infotext is too long for a JPEG (64 KB); use --format png")
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, exif=header)
    return buffer.getvalue()


@hookimpl
def sdterm_output_savers() -> list[OutputSaver]:
    quality = Option("quality", 80, "1 (small) to 100 (good).", 1, 100)
    return [OutputSaver(id="jpeg", label="JPEG", suffix=".jpg", mime="image/jpeg", encode=encode, options=(quality,))]
