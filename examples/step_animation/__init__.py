"""An animated WebP of how the picture came to be: what the network made of it in each call, then the picture."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from sdterm.hooks import Option, OutputSaver, PluginError, hookimpl

EXIF, USER_COMMENT = 0x8769, 0x9286
LARGEST = 16_383  # pixels a side
MOST_FRAMES = 200


def encode(
    image: Any, infotext: str, *, frames: Any, frame_ms: int, last_ms: int, quality: int, lossless: bool
) -> bytes:
    """uint8 [H, W, 3] and frames [T, h, w, 3] → WebP, the infotext in EXIF's UserComment as A1111 stores it."""
    from PIL import Image

    if max(image.shape) > LARGEST:
        raise PluginError(f"A WebP has at most {LARGEST} pixels a side; use --format png.")
    picture = Image.fromarray(image)
    every = -(-len(frames) // MOST_FRAMES) or 1
    shown = [Image.fromarray(frame).resize(picture.size, Image.Resampling.BICUBIC) for frame in frames[::every]]
    exif = Image.Exif()
    exif.get_ifd(EXIF)[USER_COMMENT] = b"UNICODE\0" + infotext.encode("utf-16-be")
    buffer = BytesIO()
    first, *others = [*shown, picture]
    first.save(
        buffer,
        "WEBP",
        save_all=True,
        append_images=others,
        duration=[frame_ms] * len(shown) + [last_ms],
        loop=0,
        quality=quality,
        lossless=lossless,
        exif=exif,
    )
    return buffer.getvalue()


@hookimpl
def sdterm_output_savers() -> list[OutputSaver]:
    return [
        OutputSaver(
            id="step_animation",
            label="Step animation",
            suffix=".webp",
            encode=encode,
            frames=True,
            options=(
                Option("frame_ms", 120, "Milliseconds a step is shown.", 20, 10_000),
                Option("last_ms", 2000, "Milliseconds the picture is shown at the end.", 20, 60_000),
                Option("quality", 80, "1 (small) to 100 (good).", 1, 100),
                Option("lossless", False, "Keep every pixel as it is."),
            ),
        )
    ]
