"""What is made from a picture by one key, and the parts of the form that say how."""

import os
import re
from functools import partial
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from textual import events
from textual.pilot import Pilot
from textual.widgets import Label, OptionList, Static

from sdterm.tui import hires
from sdterm.tui.app import Workstation
from sdterm.tui.fields import HEADS, field_of, is_used, parts
from sdterm.tui.picture.widget import PictureView
from sdterm.tui.screens.compare import CompareScreen
from sdterm.tui.screens.jump import Jump
from sdterm.tui.screens.pick import Pick, Type
from sdterm.tui.widgets.bars import KeyBar, Note
from sdterm.tui.widgets.mask_view import MaskView
from sdterm.tui.widgets.more import MoreOptions, SectionTitle
from sdterm.tui.widgets.parameter import Parameter
from sdterm.tui.widgets.recent import Recent
from tests.host.running import Running
from tests.tui.conftest import drive, go_to, screen_text, text_of, until, write


@pytest.fixture(scope="module")
def drawn(host: Running) -> Running:
    """A host with one picture."""
    host.events(host.submit(prompt="red house, lake", steps=2, seed=5))
    return host


async def recent(app: Workstation, pilot: Pilot[None]) -> Recent:
    """Go to the pictures drawn last."""
    found = app.desk.query_one(Recent)
    await until(pilot, lambda: found.pictures and app.desk.filling.offers.catalogue, "pictures and lists")
    await pilot.press("alt+r")
    await until(pilot, lambda: app.focused is found, "Recent")
    return found


def title(app: Workstation, part: str) -> SectionTitle:
    return next(found for found in app.desk.query(SectionTitle) if found.section.title == part)


def shown(app: Workstation) -> list[str]:
    """The fields of the parts that are unfolded."""
    return [found.field.id for found in app.desk.query_one(MoreOptions).query(Parameter)]


def test_each_part_begins_with_the_field_that_says_whether_it_is_used() -> None:
    for part, fields in parts({}).items():
        assert fields[0].id == HEADS[part]
        assert not is_used(part, {row.name: row.default for field in fields for row in field.rows})
        assert all(field_of(row.name) == field.id for field in fields for row in field.rows)
    assert is_used("Upscale", {"upscaler": "Lanczos"}) and is_used("Hires", {"hires": True})
    for values, part in (({}, "Hires"), ({"init_images": ("0" * 64,)}, "Init image")):
        assert [p for p, fields in parts(values).items() if "denoising_strength" in {f.id for f in fields}] == [part]


@pytest.mark.heavy
def test_a_part_is_folded_away_until_it_is_used_or_unfolded(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.desk.filling.offers.catalogue, "the lists")
        await pilot.press("alt+m")
        await until(pilot, lambda: app.desk.query(SectionTitle), "the parts")
        await go_to(pilot, title(app, "Upscale"))
        assert "upscaler" not in shown(app)
        await until(pilot, lambda: "▸ Upscale" in screen_text(app), "its title, in sight")
        await pilot.press("enter")
        await until(pilot, lambda: "upscaler" in shown(app), "its fields")
        await until(pilot, lambda: app.focused is title(app, "Upscale") and "▾ Upscale" in screen_text(app))
        await pilot.press("enter")
        await until(pilot, lambda: "upscaler" not in shown(app), "folded again")
        await pilot.press("right", "tab")
        await until(pilot, lambda: isinstance(app.focused, Parameter) and app.focused.field.id == "upscaler")
        await pilot.press("down")
        await until(pilot, lambda: app.form.draft.fields.get("upscaler"), "another upscaler")
        assert str(app.desk.query_one("#parameters").border_title) == "With Upscale"
        assert app.form.draft.fields["upscaler"] in text_of(title(app, "Upscale"))

    drive(drawn, act)


@pytest.mark.heavy
def test_the_form_goes_to_a_field_that_is_folded_away(drawn: Running) -> None:
    """As when the host refuses what stands there."""

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.desk.filling.offers.catalogue, "the lists")
        app.desk.focus_field(field_of("upscale_height"))
        await until(pilot, lambda: isinstance(app.focused, Parameter) and app.focused.field.id == "upscale_width")
        await write(pilot, "512x256")
        await pilot.press("enter")
        assert app.form.draft.fields["upscale_height"] == "256"

    drive(drawn, act)


@pytest.mark.heavy
def test_every_field_of_a_part_is_to_be_seen_whole_at_80_columns(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.desk.filling.offers.catalogue, "the lists")
        for part, fields in parts({}).items():
            app.desk.unfold(part)
            await until(pilot, lambda fields=fields: fields[-1].id in shown(app), part)  # type: ignore[misc]
            for field in fields:
                await form_field(app, pilot, field.id)
                await until(pilot, lambda field=field: field.label in screen_text(app), field.id)  # type: ignore[misc]

    drive(drawn, act)


def test_the_footer_tells_what_can_be_made_from_a_picture(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await recent(app, pilot)
        keys = text_of(app.screen.query_one(KeyBar))
        made = ("Enter Load", "i img2img", "m Mask", "h Hires", "u Upscale", "Space Mark", "F1 All keys")
        assert all(hint in keys for hint in made), keys
        await pilot.press("space")
        await until(pilot, lambda: "c Compare" in text_of(app.screen.query_one(KeyBar)), "what marks are for")
        await pilot.press("space")

    drive(drawn, act)


def test_a_picture_is_upscaled_by_two_questions_and_compared_with_what_it_was(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        found = await recent(app, pilot)
        await pilot.press("home")
        before, count = found.chosen(), len(found.pictures)
        assert before
        await pilot.press("a")
        await until(pilot, lambda: "was not made from another" in text_of(app.desk.query_one(Note)))
        await pilot.press("u")
        await until(pilot, lambda: isinstance(app.screen, Pick), "which upscaler")
        rows = app.screen.query_one(OptionList)
        assert rows.option_count >= 2 and "None" not in screen_text(app).split()
        await write(pilot, "lanc")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Type), "how much")
        await pilot.press("3", "enter")
        await until(pilot, lambda: len(found.pictures) == count + 1, "the larger one")
        larger = found.pictures[-1]
        assert (larger.width, larger.height) == (3 * before.width, 3 * before.height)
        assert "Lanczos" in larger.infotext and "red house" in larger.infotext
        await pilot.press("alt+r", "end")
        await until(pilot, lambda: "a Before" in text_of(app.screen.query_one(KeyBar)), "what it was made from")
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, CompareScreen), "both")
        await until(pilot, lambda: "384x384" in screen_text(app), "the larger one, alone")
        assert "source  128x128" not in screen_text(app)
        await pilot.press("space")
        await until(pilot, lambda: "source  128x128" in screen_text(app), "what it was made from")
        view = next(view for view in app.screen.query(PictureView) if view.display)
        await until(pilot, lambda: view._encoded.columns, "its picture")
        await pilot.press("D", "m", "i")
        assert isinstance(app.screen, CompareScreen), "it is no picture of the gallery"

    drive(drawn, act)


@pytest.mark.heavy
def test_a_wrong_factor_stays_in_the_question_and_is_said_there(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        found = await recent(app, pilot)
        count = len(found.pictures)
        await pilot.press("home", "u")
        await until(pilot, lambda: isinstance(app.screen, Pick), "which upscaler")
        await pilot.press(*"lanc", "enter")
        await until(pilot, lambda: isinstance(app.screen, Type), "how much")
        question = app.screen
        await pilot.press("ctrl+u", *"abc", "enter")
        await until(
            pilot, lambda: "Upscale by takes a number from 0.05 to 64, not abc." in screen_text(app), "a sentence"
        )
        assert app.screen is question and "upscale_by" not in screen_text(app)
        await pilot.press("ctrl+u", *"64x", "enter")
        await until(pilot, lambda: "not abc" not in screen_text(app), "another sentence, or none")
        await pilot.press("ctrl+u", "2", "enter")
        await until(pilot, lambda: len(found.pictures) == count + 1, "the larger one")
        drawn.client.delete_picture(found.pictures[-1].id)
        await until(pilot, lambda: len(found.pictures) == count, "as before")

    drive(drawn, act)


def is_told(app: Workstation, sentence: str) -> bool:
    """Whether a sentence is to be seen, whatever frame and scroll bar is around its lines."""
    lines = (re.split(r" [━═][┛╝]|[▁-█]?[┃║]", line.strip("┃━┗┛║═╚╝ "))[0] for line in screen_text(app).splitlines())
    words = " ".join(lines)
    return sentence in " ".join(words.split())


def is_in_sight(app: Workstation) -> bool:
    more, help_ = app.desk.query_one(MoreOptions), app.desk.query_one("#field-help")
    room = more.content_region.shrink((0, 0, help_.region.height if help_.display else 0, 0))
    return app.focused is not None and room.contains_region(app.focused.region)


@pytest.mark.heavy
def test_help_of_a_field_is_told_whole_and_options_are_told_apart_at_80_columns(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.desk.filling.offers.catalogue, "the lists")
        app.say("A message of two lines, which takes the room of one of the options. " * 2)
        for fields in parts(app.desk.values()).values():
            for field in fields:
                await form_field(app, pilot, field.id)
                await until(pilot, partial(is_told, app, field.sentence), field.sentence)
                await until(pilot, partial(is_in_sight, app), f"{field.id} in sight beside its sentence")
        labels = [text_of(label).strip() for label in app.desk.query_one(MoreOptions).query(Label)]
        assert "preservation strength" in labels and "mask influence" in labels

    drive(drawn, act)


@pytest.mark.heavy
def test_no_letter_is_on_a_field_that_is_scrolled_away(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.desk.filling.offers.catalogue, "the lists")
        app.desk.unfold("Hires")
        await form_field(app, pilot, "hires")
        more = app.desk.query_one(MoreOptions)
        assert more.max_scroll_y, "some are out of sight"
        await pilot.press("f12")
        await until(pilot, lambda: isinstance(app.screen, Jump), "the letters")
        labels = [label.region for label in app.screen.query(Static) if label.id != "how"]
        assert labels and all(region.bottom <= more.content_region.bottom for region in labels), "none on other lines"
        await pilot.press("escape")

    drive(drawn, act)


@pytest.mark.heavy
def test_keys_that_are_pressed_while_options_unfold_write_nothing_into_the_prompt(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.desk.filling.offers.catalogue, "the lists")
        prompt = app.desk.query_one("#prompt")
        await go_to(pilot, prompt)
        app.desk.focus_field("upscale_by")
        assert app.focused is not prompt, "no key is for the prompt any more"
        await until(pilot, lambda: isinstance(app.focused, Parameter) and app.focused.field.id == "upscale_by")
        assert not app.form.draft.prompt

    drive(drawn, act)


@pytest.mark.heavy
def test_every_key_of_a_picture_is_that_of_the_keymap(drawn: Running) -> None:
    """With h on the left in lists, as vim has it, the hires version has another key."""

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        found = await recent(app, pilot)
        await pilot.press("end")
        at = found.at
        assert "H Hires" in text_of(app.screen.query_one(KeyBar))
        await pilot.press("h")
        assert found.at == max(0, at - 1)

    drive(drawn, act, keymap="vim")


def picture_file(folder: Path, size: tuple[int, int] = (64, 96)) -> Path:
    path = folder / "a photo.png"
    Image.new("RGB", size, "navy").save(path)
    return path


async def form_field(app: Workstation, pilot: Pilot[None], name: str) -> Parameter:
    """Go to a field of a part, wherever it is."""
    app.desk.focus_field(name)
    await until(pilot, lambda: isinstance(app.focused, Parameter) and app.focused.field.id == name, name)
    assert isinstance(app.focused, Parameter)
    return app.focused


@pytest.mark.heavy
def test_a_picture_is_the_init_image_by_one_key(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        found = await recent(app, pilot)
        await until(pilot, lambda: "seed random" in screen_text(app), "no seed is kept")
        await pilot.press("home", "i")
        await until(pilot, lambda: "seed LOCK" in screen_text(app), "the picture's seed")
        await until(pilot, lambda: app.form.draft.fields.get("init_images"), "the init image")
        first = found.pictures[0]
        assert app.form.draft.prompt == "red house, lake" and app.focused is app.desk.query_one("#prompt")
        assert (app.form.values()["width"], app.form.values()["height"]) == (first.width, first.height)
        assert str(app.desk.query_one("#parameters").border_title) == "With Init image"
        await pilot.press("alt+m")
        await until(pilot, lambda: "init_images" in shown(app), "its part, unfolded")
        assert f"#{first.id}" in text_of(title(app, "Init image"))
        view = app.desk.query_one("#source", PictureView)
        await until(pilot, lambda: view._encoded.columns, "its small picture")
        strength = await form_field(app, pilot, "denoising_strength")
        await pilot.press("down", "down")
        assert strength.value == "0.65"
        await pilot.press("f5")
        await until(pilot, lambda: "Denoising strength: 0.65" in found.pictures[-1].infotext, "what was drawn from it")

    drive(drawn, act)


def test_a_picture_is_inpainted_by_keys_and_its_mask_is_changed_in_the_form(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        found = await recent(app, pilot)
        await pilot.press("home", "m")
        await until(pilot, lambda: app.screen.query(MaskView), "the editor")
        view = app.screen.query_one(MaskView)
        await until(pilot, lambda: app.focused is view and view._shown)
        await pilot.press("r", "shift+right", "shift+down", "enter", "enter")
        await until(pilot, lambda: app.form.draft.fields.get("mask"), "the mask")
        assert str(app.desk.query_one("#parameters").border_title) == "With Init image, Mask"
        mask = app.form.draft.fields["mask"]
        assert drawn.client.input(mask).startswith(b"\x89PNG")
        await pilot.press("f5")
        await until(pilot, lambda: "Mask blur: 4" in found.pictures[-1].infotext, "what was inpainted")
        await form_field(app, pilot, "mask")
        await pilot.press("enter")
        await until(pilot, lambda: app.screen.query(MaskView), "the editor again")
        again = app.screen.query_one(MaskView)
        await until(pilot, lambda: app.focused is again and again._shown)
        assert again.history.now.any() and not again.history.is_changed, "the mask that there was"
        await pilot.press("i", "enter")
        await until(pilot, lambda: app.form.draft.fields["mask"] != mask, "another mask")
        await pilot.press("enter")
        await until(pilot, lambda: app.screen.query(MaskView), "the editor a third time")
        await pilot.press("c", "enter")
        await until(pilot, lambda: "The mask was empty." in text_of(app.desk.query_one(Note)), "a sentence")
        app.form.change(app.form.draft.but(mask=mask))
        await form_field(app, pilot, "mask")
        await pilot.press("delete")
        await until(pilot, lambda: "mask" not in app.form.draft.fields, "none")
        await until(pilot, lambda: not app.desk._filling_more, "the parts")
        assert isinstance(app.focused, Parameter) and app.focused.field.id == "mask", "the cursor stays"

    drive(drawn, act)


@pytest.mark.heavy
def test_an_init_image_is_a_path_that_is_typed_or_pasted_or_the_number_of_a_picture(
    drawn: Running, tmp_path: Path
) -> None:
    path = picture_file(tmp_path)

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.desk.filling.offers.catalogue, "the lists")
        await form_field(app, pilot, "init_images")
        app.post_message(events.Paste(f"'{path}'"))
        await until(pilot, lambda: app.form.draft.fields.get("init_images"), "the pasted path")
        await form_field(app, pilot, "init_images")
        await until(pilot, lambda: "▾ Init image  a photo.png" in screen_text(app), "its name")
        (digest,) = app.form.draft.fields["init_images"]
        assert drawn.client.input(digest) == path.read_bytes()
        await pilot.press("delete")
        await until(pilot, lambda: "init_images" not in app.form.draft.fields)
        await form_field(app, pilot, "init_images")
        await pilot.press("number_sign")
        await until(pilot, lambda: isinstance(app.screen, Type), "a line to type in")
        await pilot.press(*str(drawn.client.pictures(limit=1).pictures[0].id), "enter")
        await until(pilot, lambda: app.form.draft.fields.get("init_images"), "the picture")
        app.form.change(app.form.draft.but(mask=digest))
        await form_field(app, pilot, "init_images")
        app.post_message(events.Paste(str(path)))
        await until(pilot, lambda: app.form.draft.fields["init_images"] == (digest,), "the pasted path again")
        assert "mask" not in app.form.draft.fields, "which was drawn on another picture"
        assert "The mask was for the image before" in text_of(app.desk.query_one(Note))
        await form_field(app, pilot, "init_images")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Type), "again")
        await write(pilot, "nowhere.png")
        await pilot.press("enter")
        await until(pilot, lambda: "nowhere.png cannot be read" in text_of(app.desk.query_one(Note)), "a sentence")

    drive(drawn, act)


@pytest.mark.heavy
def test_a_hires_version_is_compared_with_the_picture_that_it_was_made_from(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        found = await recent(app, pilot)
        await pilot.press("home")
        first = found.chosen()
        assert first
        for steps in (1, 2):
            app.form.change(app.form.draft.but(hires_steps=str(steps), hires_scale="1.5", hires_upscaler="Lanczos"))
            before = found.pictures[-1].id
            await pilot.press("h")
            await until(pilot, lambda before=before: found.pictures[-1].id != before, "a hires version")  # type: ignore[misc]
            await pilot.press("alt+r", "home")
        one, other = found.pictures[-2:]
        for picture in (one, other):
            await pilot.press("alt+r", "end", *(["left"] if picture is one else []), "a")
            await until(pilot, lambda: isinstance(app.screen, CompareScreen), "both")
            assert isinstance(app.screen, CompareScreen)
            assert [each.id for each in app.screen._pictures] == [first.id, picture.id]
            await pilot.press("escape", "escape")
        drawn.client.delete_picture(first.id)
        await until(pilot, lambda: first not in found.pictures, "it is gone")
        await pilot.press("alt+r", "end", "a")
        await until(pilot, lambda: "was not made from another" in text_of(app.desk.query_one(Note)), "there is none")
        assert app.screen is app.desk
        drawn.client.restore_picture(first.id)
        await until(pilot, lambda: first in found.pictures, "it is back")

    drive(drawn, act)


@pytest.mark.heavy
def test_a_path_is_taken_as_it_is_written_and_what_is_no_picture_is_named(drawn: Running, tmp_path: Path) -> None:
    path = picture_file(tmp_path)
    copy = tmp_path / "copy.png"
    copy.write_bytes(path.read_bytes())
    broken = tmp_path / "broken.png"
    broken.write_text("no picture")
    os.mkfifo(tmp_path / "pipe.png")

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        def note() -> str:
            return text_of(app.desk.query_one(Note))

        async def give(text: str, says: str) -> None:
            app.post_message(events.Paste(text))
            await until(pilot, lambda: says in "".join(note().split()), says)

        await until(pilot, lambda: app.desk.filling.offers.catalogue, "the lists")
        await form_field(app, pilot, "init_images")
        await give(str(path).replace(" ", "\\ "), "aphoto.pngistheinitimage")
        await form_field(app, pilot, "init_images")
        await give(f"file://{copy}", "copy.pngistheinitimage")
        await until(pilot, lambda: app.desk.query_one("#field-init_images", Parameter).value == "copy.png", "its name")
        await form_field(app, pilot, "init_images")
        await give(str(tmp_path), "itisafolder")
        await give(str(tmp_path / "pipe.png"), "itisapipe")
        await give(str(broken), "broken.pngisnotanimage")
        await give(str(tmp_path / "none.png"), "thereisnosuchfile")
        app.form.change(app.form.draft.but(prompt="a lake"))
        app.desk.go_on_writing()
        app.post_message(events.Paste(str(broken)))
        await until(pilot, lambda: app.form.draft.prompt == f"a lake {broken}", "the path, behind a space")

    drive(drawn, act)


def inpainted(host: Running) -> int:
    """A picture that was drawn from another one, with a mask."""
    files = []
    for mode, color in (("RGB", "navy"), ("L", "white")):
        buffer = BytesIO()
        Image.new(mode, (128, 128), color).save(buffer, "PNG")
        files.append(host.client.put_input(buffer.getvalue()))
    job = host.submit(init_images=files[:1], mask=files[1], steps=2)
    host.events(job)
    return host.client.pictures(job=job).pictures[0].id


@pytest.mark.heavy
def test_what_a_hires_version_is_made_with_is_told_and_stands_in_the_form(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        found = await recent(app, pilot)
        picture = found.pictures[0]
        app.form.change(app.form.draft.but(hires_steps="2", hires_scale="1.5", hires_upscaler="Lanczos"))
        drawn.client.pause_queue()
        await pilot.press("home", "h")
        made = "Denoising strength 0.75, Upscale by 1.5, Hires steps 2, Hires upscaler Lanczos"
        told = f"is queued. Hires version of image {picture.id}: {made} (M-m, Hires)."
        await until(pilot, lambda: app.desk.query_one(Note).text.endswith(told), "what it is made with")
        drawn.client.resume_queue()
        await until(pilot, lambda: found.pictures[-1].width == 192, "the hires version")
        request = drawn.client.job(found.pictures[-1].job or 0).request
        assert (request.hires_scale, request.hires_upscaler, request.hires_steps) == (1.5, "Lanczos", 2)
        assert request.denoising_strength == 0.75
        await pilot.press("alt+m")
        await until(pilot, lambda: "hires_upscaler" in shown(app), "the part, unfolded")
        values = {each.field.id: each.value for each in app.desk.query_one(MoreOptions).query(Parameter)}
        assert (values["hires_upscaler"], values["hires_steps"]) == ("Lanczos", "2")
        assert "▾ Hires" in str(title(app, "Hires").render())
        assert "hires" not in app.form.draft.fields, "the next image has one pass, as before"
        app.form.change(app.form.draft.but(hires_width="160", hires_scale="", hires_steps="", refiner="other"))
        told_now = hires.told(app.form.values())
        assert told_now.startswith("Denoising strength 0.75, Resize to 160x0, Hires upscaler Lanczos, Refiner other")

    drive(drawn, act)


@pytest.mark.heavy
def test_a_hires_version_goes_on_from_the_picture_and_of_an_img2img_picture_is_img2img(drawn: Running) -> None:
    masked = inpainted(drawn)

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        found = await recent(app, pilot)
        first = found.pictures[0]
        app.form.change(app.form.draft.but(hires_steps="2", denoising_strength="0.5"))
        await pilot.press("home", "h")
        await until(pilot, lambda: "Hires upscale: 2" in found.pictures[-1].infotext, "the hires version")
        larger = found.pictures[-1]
        assert (larger.width, larger.height) == (2 * first.width, 2 * first.height)
        job = drawn.client.job(larger.job or 0)
        assert job.request.hires and job.request.seed == 5
        await pilot.press("alt+r", "end", "a")
        await until(pilot, lambda: isinstance(app.screen, CompareScreen) and "256x256" in screen_text(app), "both")
        await pilot.press("space")
        await until(pilot, lambda: f"{first.id}  128x128" in screen_text(app), "the picture before")
        await pilot.press("escape", "escape")
        await pilot.press("alt+r", "end", "h")
        await until(pilot, lambda: "is a hires version already" in text_of(app.desk.query_one(Note)), "a sentence")
        made = next(picture for picture in found.pictures if picture.id == masked)
        await pilot.press("home")
        for _ in range(found.pictures.index(made)):
            await pilot.press("right")
        assert found.chosen() == made
        await pilot.press("h")
        await until(pilot, lambda: found.pictures[-1].id != larger.id, "another picture")
        newest = found.pictures[-1]
        assert (newest.width, newest.height) == (256, 256) and "Hires" not in newest.infotext
        request = drawn.client.job(newest.job or 0).request
        assert request.init_images and not request.mask and request.denoising_strength == 0.5

    drive(drawn, act)
