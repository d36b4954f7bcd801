"""Pictures in the size that is drawn. Sources: A1111 images.resize_image and images.flatten."""

from collections.abc import Callable

from PIL import Image
from PIL.Image import Resampling

Enlarge = Callable[[Image.Image, int, int], Image.Image]
"""`enlarge(picture, width, height)`: in that size; without one it is Lanczos."""
Size = tuple[int, int]


def flattened(picture: Image.Image, background: str) -> Image.Image:
    """RGB: what is transparent shows the background, like `#ffffff`."""
    if picture.mode != "RGBA":
        return picture.convert("RGB")
    behind = Image.new("RGBA", picture.size, background)
    behind.paste(picture, mask=picture)
    return behind.convert("RGB")


def stretched(picture: Image.Image, width: int, height: int) -> Image.Image:
    return picture if picture.size == (width, height) else picture.resize((width, height), Resampling.LANCZOS)


def cropped(picture: Image.Image, width: int, height: int, enlarge: Enlarge = stretched) -> Image.Image:
    """Covering the whole size, its middle; black where rounding leaves something over."""
    along_width, along_height = _sides(picture, width, height)
    return _centred(
        enlarge(picture, *(along_width if _is_wider(picture, width, height) else along_height)), width, height
    )


def filled(picture: Image.Image, width: int, height: int, enlarge: Enlarge = stretched) -> Image.Image:
    """All of it inside the size; its edges fill the bands beside it."""
    wider = _is_wider(picture, width, height)
    along_width, along_height = _sides(picture, width, height)
    small = enlarge(picture, *(along_height if wider else along_width))
    result = _centred(small, width, height)
    left, top = width // 2 - small.width // 2, height // 2 - small.height // 2
    if wider and left > 0:
        for x, edge in ((0, 0), (left + small.width, small.width)):
            result.paste(_band(small, (edge, 0, edge, small.height), (left, height)), (x, 0))
    elif not wider and top > 0:
        for y, edge in ((0, 0), (top + small.height, small.height)):
            result.paste(_band(small, (0, edge, small.width, edge), (width, top)), (0, y))
    return result


def _sides(picture: Image.Image, width: int, height: int) -> tuple[Size, Size]:
    """The picture's proportions, of that width and of that height."""
    return (width, picture.height * width // picture.width), (picture.width * height // picture.height, height)


def _is_wider(picture: Image.Image, width: int, height: int) -> bool:
    """Whether the size is wider than the picture, compared to their heights."""
    return width * picture.height > picture.width * height


def _centred(picture: Image.Image, width: int, height: int) -> Image.Image:
    result = Image.new("RGB", (width, height))
    result.paste(picture, (width // 2 - picture.width // 2, height // 2 - picture.height // 2))
    return result


def _band(picture: Image.Image, edge: tuple[int, int, int, int], size: Size) -> Image.Image:
    """An edge, a line without any width, as wide as needed."""
    return picture.resize(size, Resampling.BICUBIC, box=edge)
