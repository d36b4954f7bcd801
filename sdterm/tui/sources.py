"""Pictures that a job starts from, and their masks: how they get into the form."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdterm.core.text import printable
from sdterm.fields import FIELDS, NO_UPSCALER
from sdterm.tui import calls
from sdterm.tui.differing import digests_in_short
from sdterm.tui.fields import Field, RefusedTextError, quick_field
from sdterm.tui.hires import NOT_CARRIED_OVER
from sdterm.tui.language import tr
from sdterm.tui.pasted import no_files_here, path_in
from sdterm.tui.shell import Desk, Shell
from sdterm.tui.work import begin

if TYPE_CHECKING:
    from sdterm.api import FirstPassOf, Picture
    from sdterm.events import PictureKind
    from sdterm.request import GenerationRequest
    from sdterm.tui.filling import Filling
    from sdterm.tui.picture.widget import PictureView

_UPSCALER = quick_field("upscaler")
_INIT_IMAGES = quick_field("init_images")
_UPSCALE_BY, _UPSCALE_SIZE = quick_field("upscale_by"), quick_field("upscale_width")
_FOR_UPSCALING = ("upscale_tile", "upscale_overlap", "format")
_NUMBER = re.compile(r"#?(\d{1,12})")
_MOST_FILES = 8  # pictures that are kept in memory, to be shown


class Sources:
    """What stands in the form's parts Init image and Mask."""

    def __init__(self, shell: Shell, desk: Desk, filling: Filling) -> None:
        self._shell, self._desk, self._filling = shell, desk, filling
        self._names: dict[str, str] = {}  # digest → what the user called it by
        self._files: dict[str, bytes] = {}  # digest → what was fetched or given last

    # --- what is there ------------------------------------------------------------------------------------------------

    def called(self, value: Any) -> str:
        """What the picture, or the pictures, of such a field are called."""
        digests = value if isinstance(value, tuple | list) else [value] if value else []
        return ", ".join(self._names.get(str(digest)) or digests_in_short(digest) for digest in digests)

    async def show(self, view: PictureView) -> None:
        """Show the init image small, its mask over it."""
        init, mask = self._digests()
        data = await self._file(init) if init else None
        covered = await self._file(mask) if data and mask else None
        if data and covered:
            data = await asyncio.to_thread(_tinted, data, covered)
        if view.is_attached:
            view.show(data)

    def _digests(self) -> tuple[str, str]:
        """Of the first init image, and of the mask; empty if there is none."""
        values = self._desk.form.values()
        images = values.get("init_images") or ("",)
        return str(images[0]), str(values.get("mask") or "")

    async def _file(self, digest: str) -> bytes | None:
        if digest not in self._files:
            data = await self._desk.ask(calls.input(digest))
            if data is None:
                return None
            self._keep(digest, data)
        return self._files[digest]

    def _keep(self, digest: str, data: bytes) -> None:
        while len(self._files) >= _MOST_FILES:
            del self._files[next(iter(self._files))]
        self._files[digest] = data

    async def _put(self, data: bytes, name: str) -> str | None:
        """Give the host a picture's file: its digest, or None once the user was told why not."""
        digest = await self._desk.ask(calls.put_input(data))
        if digest is not None:
            is_renamed = self._names.get(digest, name) != name
            self._names[digest] = name
            self._keep(digest, data)
            if is_renamed:  # which may stand in the form already
                self._desk.show_values()
        return digest

    async def put(self, picture: Picture) -> str | None:
        """Give the host a picture of the gallery to begin with: its digest; None once the user was told why not."""
        data = await self._desk.ask(calls.file(picture.id))
        return await self._put(data, f"#{picture.id}") if data is not None else None

    # --- from a picture -----------------------------------------------------------------------------------------------

    async def take(self, picture: Picture) -> None:
        """Draw from a picture: it, its size, its prompts and parameters into the form."""
        name = f"#{picture.id}"
        if (digest := await self.put(picture)) is None:
            return
        fields = await self._as_drawn(picture)
        if fields is not None:
            self._filling.take({**fields, "init_images": (digest,)}, tr("init image {name}", name=name))
            self._desk.go_on_writing()
            self._say_taken(name)

    async def mask(self, picture: Picture) -> None:
        """Let a mask be drawn over a picture; then it is what to inpaint."""
        name = f"#{picture.id}"
        data = await self._desk.ask(calls.file(picture.id))
        if data is None:
            return

        async def taken(png: bytes) -> None:
            digest, mask = await self._put(data, name), await self._put(png, _mask_name(png)) if png else ""
            fields = await self._as_drawn(picture)
            if digest is not None and mask is not None and fields is not None:
                given = {**fields, "init_images": (digest,), "mask": mask}
                self._filling.take(given, tr("mask of {name}", name=name))
                self._desk.go_on_writing()
                self._say_masked(name, mask)

        await self._draw_mask(name, data, taken)

    async def _as_drawn(self, picture: Picture) -> dict[str, Any] | None:
        """What a picture's infotext says, at the size that the picture has; None once the user was told why not."""
        fields = await self._filling.recalled(picture.infotext) if picture.infotext else {}
        if fields is None:
            return None
        step, most = FIELDS["width"].multiple or 1, FIELDS["width"].most or 0
        width, height = (min(side // step * step, int(most)) for side in (picture.width, picture.height))
        return {**fields, **NOT_CARRIED_OVER, "width": width, "height": height}

    def _say_taken(self, name: str, *more: str) -> None:
        keys = {key: self._shell.key(key) for key in ("generate", "more_options", "undo")}
        taken = tr(
            "{name} is the init image: {generate} starts from it, {more} has its parameters.",
            name=name,
            generate=keys["generate"],
            more=keys["more_options"],
        )
        self._shell.say(" ".join([*more, taken]))

    def _say_masked(self, name: str, mask: str) -> None:
        if not mask:
            self._say_taken(name, tr("The mask was empty."))
            return
        self._shell.say(
            tr(
                "{name} has a mask: write what belongs there, {generate} inpaints it, {more} has the parameters.",
                name=name,
                generate=self._shell.key("generate"),
                more=self._shell.key("more_options"),
            )
        )

    async def upscale(self, picture: Picture, submit: Callable[[dict[str, Any]], Awaitable[object]]) -> None:
        """Make a picture larger: ask by what, and how many times."""
        from sdterm.tui.screens.pick import Pick, Type

        values = self._desk.form.values()
        choices = [c for c in self._filling.choices(_UPSCALER) if c.name != NO_UPSCALER]
        if not choices:
            return
        usual = values.get("upscaler")
        at = next((n for n, choice in enumerate(choices) if choice.is_called(str(usual))), None)
        app = self._desk.app
        title = tr("Upscale {name}", name=f"#{picture.id}")
        number = await app.push_screen_wait(Pick(title, [choice.name for choice in choices], chosen=at))
        if number is None:
            return
        hint = tr("How many times as large, or the size to fill as 1024x1024")
        usual = "2" if values["upscale_by"] == FIELDS["upscale_by"].default else str(values["upscale_by"])

        def refusal(text: str) -> str:
            try:
                return "" if _larger(text) else hint
            except RefusedTextError as error:
                return str(error)

        text = await app.push_screen_wait(Type(choices[number].name, usual, hint=hint, refusal=refusal))
        if text is None:
            return
        size = _larger(text)
        if (digest := await self.put(picture)) is not None:
            settings = self._shell.settings.job_fields()
            kept = {name: value for name, value in settings.items() if name in _FOR_UPSCALING}
            upscaler = {"upscaler": choices[number].name, "upscale_images": (digest,), "prompt": ""}
            await submit({**kept, **size, **upscaler})

    async def compare(self, picture: Picture) -> None:
        """Show a picture in the place of the one that it was made from."""
        details = None
        if picture.job is not None:
            details = await self._desk.ask(calls.job(picture.job))
        request = details.request if details else None
        source: Picture | None = None
        files: dict[int, bytes] = {}
        if request and (digests := _begun_with(request)):
            data = await self._file(digests[max(0, picture.number) % len(digests)])
            if data is None:
                return
            source = await asyncio.to_thread(_as_picture, data)
            files = {source.id: data}
        elif details and details.request.hires:
            source = await self._without_second_pass(picture, details.first_pass)
        if source:
            self._shell.compare_with_source([source, picture], files)
        else:
            self._shell.say(tr("Image {image} was not made from another one.", image=picture.id))

    async def _without_second_pass(self, picture: Picture, first_pass: FirstPassOf | None) -> Picture | None:
        """What was kept of its first pass, the picture that it went on from, or one that was drawn just like that."""
        of_job = await self._of_job(picture.job, "before hires", picture.number)
        if of_job is None and first_pass:
            of_job = await self._of_job(first_pass.job, "image", first_pass.image)
        if of_job is not None:
            return of_job
        page = await self._desk.ask(calls.pictures(f"seed:{picture.seed}", limit=50))
        drawn = _first_pass(picture.infotext)
        like = (each for each in (page.pictures if page else ()) if each.is_image and _has_one_pass(each.infotext))
        return next((each for each in like if _first_pass(each.infotext) == drawn), None)

    async def _of_job(self, job: int | None, kind: PictureKind, number: int) -> Picture | None:
        """The picture of that kind that a job made of its image with that number."""
        page = await self._desk.ask(calls.pictures(f"kind:{kind.replace(' ', '-')}", job=job, limit=500))
        return next((each for each in (page.pictures if page else ()) if each.number == number), None)

    # --- in the form --------------------------------------------------------------------------------------------------

    def enter(self, field: Field) -> None:
        """A mask is drawn; any other picture is named."""
        if field.id == "mask" and self._digests()[0]:
            begin(self._desk, self._mask_again)
        else:
            self.ask(field)

    def ask(self, field: Field, begun: str = "") -> None:
        """Let a picture be named."""
        from sdterm.tui.screens.pick import Type

        def typed(text: str | None) -> None:
            if text is not None:
                begin(self._desk, self.give, field, text)

        hint = tr("A path, or an image's number like #12")
        self._desk.app.push_screen(Type(tr(field.label), begun, hint=hint, goes_on=True), typed)

    async def give(self, field: Field, text: str) -> None:
        """Take the picture that a text names: a path, or the number of a picture; nothing takes it out."""
        text = text.strip()
        if not text:
            self.take_out(field)
            return
        if found := await self._named(text):
            data, name = found
            digest = await self._put(data, name)
            if digest is None:
                return
            if field.id != "init_images":
                self._filling.choose(field, (digest,) if field.takes_several else digest)
                return
            lost = self._begin_with((digest,))
            self._say_taken(name, *lost)

    def take_out(self, field: Field) -> None:
        """Have no picture there."""
        lost: list[str] = []
        if field.id == "init_images":
            lost = self._begin_with(())
        else:
            self._filling.choose(field, None)
        self._shell.say(" ".join([*lost, tr("{label}: none now.", label=tr(field.label))]))

    def _begin_with(self, images: tuple[str, ...]) -> list[str]:
        """Have other init images. A mask was for the one before, and goes with it: what there is to say of that."""
        before, mask = self._digests()
        form, field = self._desk.form, _INIT_IMAGES
        goes = bool(mask and before and before not in images)
        form.change(form.draft.but(init_images=images or None, **({"mask": None} if goes else {})), tr(field.label))
        return [tr("The mask was for the image before, and was removed.")] if goes else []

    async def _named(self, text: str) -> tuple[bytes, str] | None:
        """The file that a text names, and what it is called; None once the user was told why not."""
        from sdterm.core.inputs import InputError

        number, refused = _NUMBER.fullmatch(text), no_files_here(self._shell.settings)
        if refused and not number:
            self._shell.say(refused)
            return None
        path = path_in(text)
        if number and (refused or not path.is_file()):
            data = await self._desk.ask(calls.file(int(number[1])))
            return None if data is None else (data, f"#{number[1]}")
        try:
            return await asyncio.to_thread(_read, path), printable(path.name, 60)
        except InputError as error:
            self._shell.say(str(error))
            return None
        except (OSError, RuntimeError) as error:
            why = getattr(error, "strerror", None) or str(error)
            self._shell.say(tr("{path} cannot be read: {error}.", path=printable(str(path), 200), error=why))
            return None

    async def _mask_again(self) -> None:
        """Let the form's mask be drawn, on its init image."""
        init, before = self._digests()
        name = self.called((init,))
        data = await self._file(init)
        covered = await self._file(before) if before else b""
        if data is None or covered is None:
            return

        async def taken(png: bytes) -> None:
            mask = await self._put(png, _mask_name(png)) if png else ""
            if mask is not None:
                self._filling.take({"mask": mask}, tr("mask of {name}", name=name))
                self._desk.focus_field("mask")
                if not mask:
                    self._shell.say(tr("The mask was empty."))

        await self._draw_mask(name, data, taken, covered)

    async def _draw_mask(self, name: str, data: bytes, taken: Callable[[bytes], Any], before: bytes = b"") -> None:
        """Open the editor. before: the mask that there is."""
        from sdterm.tui import mask
        from sdterm.tui.picture.image import PictureError, read_whole
        from sdterm.tui.screens.mask import MaskScreen

        try:
            image = await asyncio.to_thread(read_whole, data)
            covered = await asyncio.to_thread(read_whole, before) if before else None
        except PictureError as error:
            self._shell.say(str(error))
            return
        canvas = mask.from_image(covered, *image.size) if covered else mask.blank(*image.size)

        def done(png: bytes) -> None:
            begin(self._desk, taken, png)

        self._desk.app.push_screen(MaskScreen(name, image, canvas, done))


def _larger(text: str) -> dict[str, str]:
    """A factor, or a size → the fields of a request; none for no text. Raises RefusedTextError."""
    text = text.strip().lower().replace("×", "x")
    field = _UPSCALE_SIZE if "x" in text else _UPSCALE_BY
    given = field.settled(text)
    return {name: str(value) for name, value in field.write(given, {}).items()} if given else {}


def _read(path: Path) -> bytes:
    from sdterm.core.inputs import MOST_BYTES, picture_size

    path = path.expanduser()
    if path.is_dir():
        raise IsADirectoryError(None, tr("it is a folder"))
    if path.exists() and not path.is_file():
        raise OSError(None, tr("it is a pipe or a device, not a file"))
    if not path.is_file():
        raise FileNotFoundError(None, tr("there is no such file"))
    picture_size(path)
    with open(path, "rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise OSError(None, tr("it is too large"))
    return data


def _begun_with(request: GenerationRequest) -> tuple[str, ...]:
    """The digests of the pictures that a request begins with."""
    first_pass = (request.first_pass_image,) if request.first_pass_image else ()
    return (*request.init_images, *request.upscale_images, *first_pass)


def _has_one_pass(infotext: str) -> bool:
    """Whether a picture was drawn from noise, and not gone on from: what its strength would be told of."""
    from sdterm.core.infotext.grammar import parse

    return "Denoising strength" not in parse(infotext).parameters


def _first_pass(infotext: str) -> tuple[str, str, dict[str, str]]:
    """What an infotext says of the first pass."""
    from sdterm.core.infotext.grammar import parse

    said = parse(infotext)
    others = ("Hires", "Refiner", "Denoising strength", "sdterm", "Version")
    first = {key: value for key, value in said.parameters.items() if not key.startswith(others)}
    return said.prompt, said.negative_prompt, first


def _as_picture(data: bytes) -> Picture:
    """A file as the gallery would show it, if it had it."""
    from io import BytesIO

    from PIL import Image

    from sdterm.api import Picture
    from sdterm.core.infotext.files import ImageFileError, infotext_in

    try:
        with Image.open(BytesIO(data)) as image:
            width, height = image.size
        said = infotext_in(data)
    except (OSError, ValueError, ImageFileError):  # the host has looked at it: it is shown as far as that goes
        width = height = 0
        said = ""
    return Picture.model_construct(
        id=0,
        job=None,
        number=0,
        path="",
        missing=False,
        seed=None,
        width=width,
        height=height,
        infotext=said,
        saved=0.0,
    )


def _mask_name(png: bytes) -> str:
    from sdterm.tui import mask
    from sdterm.tui.picture.image import read_whole

    image = read_whole(png)
    return tr("{share}% covered", share=f"{100 * mask.share(mask.from_image(image, *image.size)):.1f}")


def _tinted(data: bytes, covered: bytes) -> bytes:
    """A small picture, its mask over it, as a file."""
    from io import BytesIO

    from PIL import Image

    from sdterm.tui.picture.image import read
    from sdterm.tui.picture.masked import TINTS

    image = read(data, 128, 128)
    mask = read(covered, 1024, 1024).convert("L").resize(image.size).point(lambda value: value * 3 // 5)
    file = BytesIO()
    Image.composite(Image.new("RGB", image.size, TINTS[0]), image, mask).save(file, "PNG")
    return file.getvalue()
