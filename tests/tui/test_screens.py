"""Gallery, queue, models, settings, help, palette, jump mode: each on a real host."""

import asyncio
import itertools
import time
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file
from textual import events
from textual.geometry import Size
from textual.pilot import Pilot
from textual.widgets import DataTable, Input, OptionList, Static
from textual.worker import Worker

from sdterm.api import JobView
from sdterm.core.settings.paths import EMBEDDINGS, LORAS
from sdterm.tui.actions import actions_of
from sdterm.tui.app import Workstation
from sdterm.tui.messages import OfferRemedies
from sdterm.tui.palette import Palette
from sdterm.tui.picture.widget import PictureView
from sdterm.tui.remedies import remedies
from sdterm.tui.screens.base import BaseScreen
from sdterm.tui.screens.gallery import PictureTable
from sdterm.tui.screens.jump import Jump
from sdterm.tui.screens.mask import MaskScreen
from sdterm.tui.screens.pick import Ask, Pick, Type
from sdterm.tui.widgets.bars import KeyBar, Note, TopBar
from sdterm.tui.widgets.rows import Table
from sdterm.tui.widgets.wall import Wall
from tests.host.running import Running, wait_until
from tests.tui.conftest import blocks_in, drive, go_to, screen_text, text_of, until, write


def note(app: Workstation) -> str:
    return text_of(app.screen.query_one(Note)).strip()


@pytest.fixture(scope="module")
def host(fresh: Running) -> Running:
    return fresh


@pytest.fixture(scope="module")
def drawn(host: Running) -> Running:
    """A host with three pictures and a job that failed."""
    for prompt, seed in (("red house", 1), ("blue lake", 2), ("green tree", 3)):
        host.events(host.submit(prompt=prompt, seed=seed, steps=3))
    return host


@pytest.mark.heavy
def test_an_empty_gallery_and_queue_say_which_key_fills_them(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await pilot.press("f3")
        await until(pilot, lambda: "The gallery is empty" in screen_text(app))
        shown = " ".join(text_of(app.screen.query_one(Table)).split())
        assert "Every image you generate is kept here" in shown, "what it is for"
        assert "F2 Write a prompt; F5 generates an image." in shown and "M-1 Generate an example: red house" in shown
        assert "empty" not in note(app), "nothing is said twice"
        await pilot.press("f4")
        await until(pilot, lambda: "The queue is empty" in screen_text(app))
        shown = " ".join(text_of(app.screen.query_one(Table)).split())
        assert "F2 Write a prompt; F5 generates an image." in shown and "pause, move, cancel" in shown
        assert "o Pin  d Drain" in text_of(app.screen.query_one(KeyBar)), "where there is room"

    drive(host, act, size=(160, 24))


@pytest.mark.heavy
def test_an_empty_gallery_draws_its_example_and_then_shows_it(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.desk._is_empty, "that there are no images")
        await pilot.press("f3")
        await until(pilot, lambda: "M-1 Generate an example" in screen_text(app))
        await pilot.press("alt+1")
        await until(pilot, lambda: app.state.runs or host.client.pictures().pictures, "its job")
        await until(pilot, lambda: host.client.pictures().pictures, "its image")
        await pilot.press("f3")
        await until(pilot, lambda: app.screen.query_one(Table).row_count == 1, "its line")
        assert "The gallery is empty" not in screen_text(app)
        await pilot.press("D")
        await until(pilot, lambda: "The gallery is empty" in screen_text(app), "as before")

    drive(host, act)


@pytest.mark.heavy
def test_without_extensions_their_list_says_how_to_have_one(host: Running) -> None:
    folder = host.settings.root / "extensions"
    kept = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await pilot.press("alt+x")
        await until(pilot, lambda: "No extensions" in screen_text(app))
        shown = " ".join(text_of(app.screen.query_one(Table)).split())
        assert "i Install an extension" in shown and "sdterm ext new" in shown and "Extensions add samplers" in shown

    for path in kept:
        path.unlink()
    wait_until(lambda: not host.client.extensions())
    try:
        drive(host, act)
    finally:
        for path, content in kept.items():
            path.write_bytes(content)
    wait_until(lambda: {extension.state for extension in host.client.extensions()} == {"serving"})


@pytest.mark.heavy
def test_what_is_cut_in_a_last_column_ends_in_a_sign_at_every_width(drawn: Running) -> None:
    long = "a house by the sea, " * 10
    job = drawn.submit(prompt=long, steps=1)
    drawn.events(job)

    def ends(app: Workstation, words: str) -> list[str]:
        """How the lines that begin a text end."""
        lines = [line.strip("┃║ ") for line in text_of(app.screen.query_one(Table)).splitlines()]
        return [line[-1] for line in lines if words in line]

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await pilot.press("f4")
        await until(pilot, lambda: ends(app, f" {job} ") == ["…"], "a job's prompt")
        await pilot.resize_terminal(70, 24)
        await until(pilot, lambda: app.screen.query_one(Table).size.width == 68, "another width")
        await until(pilot, lambda: ends(app, f" {job} ") == ["…"], "it is cut elsewhere")
        await pilot.resize_terminal(80, 24)
        await pilot.press("f3")
        await until(pilot, lambda: "…" in ends(app, "a house"), "an image's prompt")
        await pilot.press("alt+x")
        await until(pilot, lambda: ends(app, "example_midpoint") == ["…"], "what an extension gives")

    drive(drawn, act)
    for picture in drawn.client.pictures(job=job).pictures:
        drawn.client.delete_picture(picture.id)


@pytest.mark.heavy
def test_settings_name_where_a_value_comes_from_only_where_somebody_gave_it(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await pilot.press("f10")
        await until(pilot, lambda: app.screen.query_one(Table).row_count > 10, "the settings")
        shown = " ".join(text_of(app.screen.query_one(Table)).split())
        assert " default" not in shown and shown.count("System") == 1, "once for all of its settings"
        assert "* # data_dir" in shown and "SDTERM_DATA" in shown
        await pilot.press("slash", *"save_grid", "enter")
        words = app.screen.query_one(".words", Static)
        await until(pilot, lambda: words.border_title == "Saving images/grids", "the section of the chosen one")

    drive(drawn, act)


def test_the_gallery_shows_filters_and_gives_back(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await pilot.press("f3")
        await until(pilot, lambda: isinstance(app.focused, PictureTable) and len(app.focused.pictures) == 3)
        await until(pilot, lambda: blocks_in(text_of(app.screen.query_one("#picture", PictureView))))
        assert "green tree" in screen_text(app) and "sdterm:" not in screen_text(app)
        await pilot.press("m")
        await until(pilot, lambda: isinstance(app.screen, MaskScreen), "the mask editor")
        await until(pilot, lambda: "[Gallery]" in text_of(app.screen.query_one(TopBar)), "whose part it is")
        await pilot.press("escape", "slash")
        await write(pilot, "lake steps<=3")
        await pilot.press("enter")
        table = app.screen.query_one(PictureTable)
        await until(pilot, lambda: [p.infotext[:9] for p in table.pictures] == ["blue lake"])
        await pilot.press("t")
        await until(pilot, lambda: blocks_in(text_of(app.screen.query_one(Wall))))
        await pilot.press("s")
        await until(pilot, lambda: app.form.draft.fields.get("seed") == 2)
        assert app.form.draft.prompt == ""
        await pilot.press("f3", "w")
        await until(pilot, lambda: app.form.draft.prompt == "blue lake")

    drive(drawn, act)


@pytest.mark.heavy
def test_a_filter_that_makes_no_sense_is_told(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await pilot.press("f3")
        await until(pilot, lambda: isinstance(app.focused, PictureTable))
        app.screen.query_one("#filter", Input).value = "stps>3"
        await go_to(pilot, app.screen.query_one("#filter", Input))
        await pilot.press("enter")
        await until(pilot, lambda: "Did you mean 'steps'" in note(app))
        app.screen.query_one("#filter", Input).value = "castle"
        await go_to(pilot, app.screen.query_one("#filter", Input))
        await pilot.press("enter")
        await until(pilot, lambda: "No match" in note(app))

    drive(drawn, act)


def test_a_file_that_is_gone_is_noticed(drawn: Running) -> None:
    path = Path(drawn.client.pictures(limit=1).pictures[0].path)
    path.rename(path.with_suffix(".moved"))

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await pilot.press("f3")
        await until(pilot, lambda: "! the file is missing" in screen_text(app))
        await pilot.press("enter")
        await until(pilot, lambda: app.form.draft.prompt == "green tree")

    drive(drawn, act)
    path.with_suffix(".moved").rename(path)


def test_jobs_are_moved_held_and_cancelled_by_keys(drawn: Running) -> None:
    drawn.client.pause_queue()
    first, second, third = (drawn.submit(prompt=f"job {n}") for n in range(3))

    def order() -> list[int]:
        return [job.id for job in drawn.client.jobs(["queued"]).jobs]

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await pilot.press("f4")
        table = app.screen.query_one(DataTable)
        titles = [str(column.label) for column in table.ordered_columns]
        assert len(titles) == len(set(titles)), titles
        await until(pilot, lambda: table.row_count >= 3 and "paused" in str(table.border_title))
        keys = text_of(app.screen.query_one(KeyBar))
        assert "K Up  J Down" in keys and "P Pause all" in keys, "at 80 columns"
        await pilot.press("J")
        await until(pilot, lambda: order() == [second, first, third])
        await until(pilot, lambda: table.cursor_row == 1)
        await pilot.press("K")
        await until(pilot, lambda: order() == [first, second, third])
        await until(pilot, lambda: table.cursor_row == 0)
        await pilot.press("x")
        await until(pilot, lambda: order() == [second, third])
        await until(pilot, lambda: "job 1" in map(str, table.get_row_at(table.cursor_row)), "the next one")
        await pilot.press("space")
        await until(pilot, lambda: drawn.client.job(second).state == "paused")
        await until(pilot, lambda: table.cursor_row == 1)
        await pilot.press("e")
        await until(pilot, lambda: app.form.draft.prompt == "job 1" and app.form.draft.fields["sampler"] == "Euler a")
        await pilot.press("f4")
        await until(pilot, lambda: app.screen.query(DataTable))
        await pilot.press("P")
        await until(pilot, lambda: not drawn.client.queue().paused)
        drawn.events(third)
        drawn.client.cancel(second)

    drive(drawn, act)


GREEDY = """
import torch
from sdterm.hooks import Sampler, hookimpl

def greedy(denoise, x, sigmas, *, noise, callback):
    for i in range(len(sigmas) - 1):
        callback(i, denoise(x, sigmas[i].expand(len(x))).x0)
        if i and len(x) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
    return x

@hookimpl
def sdterm_samplers():
    return [Sampler("greedy", "greedy", greedy)]
"""


def test_what_failed_offers_remedies_that_a_key_applies(drawn: Running) -> None:
    """A stand-in for a full card: torch's own error, raised by a sampler for two images at once."""
    (drawn.settings.root / "extensions" / "greedy.py").write_text(GREEDY)
    asked: dict[str, Any] = {
        "sampler": "greedy",
        "width": 256,
        "height": 192,
        "batch_size": 2,
        "steps": 3,
        "seed": -1,
        "ladder": "off",
    }
    job = drawn.submit(prompt="too large", **asked)
    assert drawn.events(job)[-1].event == "failed"
    failed = drawn.client.job(job)
    assert failed.plan
    seeds = [image["seed"] for image in failed.plan["images"]]

    def chosen(key: str, happened: Callable[[], bool]) -> None:
        async def act(app: Workstation, pilot: Pilot[None]) -> None:
            await until(pilot, lambda: app.state.host == "up")
            app.post_message(OfferRemedies(job, "Out of memory.", remedies("out_of_memory")))
            await until(pilot, lambda: isinstance(app.screen, Ask) and "one image at a time" in screen_text(app))
            await pilot.press(key)
            await until(pilot, happened)

        drive(drawn, act)

    def newest() -> JobView:
        return drawn.client.jobs(limit=1).jobs[0]

    chosen("6", lambda: newest().id > job and newest().state == "failed")
    smaller = drawn.client.job(newest().id).request
    assert (smaller.width, smaller.height, smaller.seed) == (192, 128, seeds[0])
    jobs = newest().id
    chosen("4", lambda: drawn.client.job(job).state == "done")
    assert newest().id == jobs, "it is the same job"
    assert [picture.seed for picture in reversed(drawn.client.pictures(job=job).pictures)] == seeds


@pytest.mark.heavy
def test_a_model_is_loaded_hashed_and_freed_by_keys(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await pilot.press("ctrl+l")
        table = app.screen.query_one(DataTable)
        titles = [str(column.label) for column in table.ordered_columns]
        assert len(titles) == len(set(titles)), titles
        await until(pilot, lambda: table.row_count == 1)
        assert "State" in screen_text(app), "at 80 columns"
        await pilot.press("u")
        await until(pilot, lambda: not drawn.client.models()[0].loaded)
        await pilot.press("enter")
        await until(pilot, lambda: drawn.client.models()[0].loaded, "the model")
        await until(pilot, lambda: "loaded" in screen_text(app))
        assert app.form.draft.fields["model"] == "sdterm-demo"
        await pilot.press("v")
        await until(pilot, lambda: drawn.client.models()[0].sha256)
        assert "128" in screen_text(app)

    drive(drawn, act)


@pytest.mark.heavy
def test_a_network_is_put_into_the_prompt_from_its_list_and_its_weight_changed(drawn: Running) -> None:
    root = drawn.settings.root
    ink = root / LORAS / "ink.safetensors"
    ink.parent.mkdir(parents=True, exist_ok=True)
    save_file({"x": np.zeros(1)}, ink, {"ss_base_model_version": "sdxl_base_v1-0"})
    ink.with_suffix(".json").write_text(
        '{"preferred weight": 0.6, "activation text": "inkpunk", "negative text": "oil"}'
    )
    Image.linear_gradient("L").save(ink.with_name("ink.preview.png"))
    (root / EMBEDDINGS / "bad hands.pt").write_bytes(b"")

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        table = await opened(app, pilot)
        await pilot.press("tab", "tab")
        await until(pilot, lambda: "▸ Networks 1" in str(table.border_title))
        await until(pilot, lambda: "It is for SDXL, and sdterm-demo is SD 1.x" in screen_text(app))
        await until(pilot, lambda: blocks_in(text_of(app.screen.query_one(PictureView))), "its picture")
        await pilot.press("enter")
        await until(pilot, lambda: app.form.draft.prompt == "<lora:ink:0.6> inkpunk")
        assert app.form.draft.negative_prompt == "oil"
        await pilot.press("plus")
        await until(pilot, lambda: app.form.draft.prompt == "<lora:ink:0.7> inkpunk")
        save_file({"x": np.zeros(1)}, ink.with_name("new one.safetensors"))
        await until(pilot, lambda: table.row_count == 2, "a file that came by itself")
        await pilot.press("slash")
        await write(pilot, "sdxl inkp")
        await until(pilot, lambda: table.row_count == 1, "what matches")
        await pilot.press("enter", "V")
        await until(pilot, lambda: all(file.hash for file in drawn.client.library_files("lora")))
        await pilot.press("tab", "n")
        await until(pilot, lambda: "▸ Embeddings 1" in str(table.border_title))
        await pilot.press("n")
        await until(pilot, lambda: app.form.draft.negative_prompt == "oil, bad hands")

    async def opened(app: Workstation, pilot: Pilot[None]) -> DataTable[object]:
        await pilot.press("ctrl+l")
        table = app.screen.query_one(DataTable)
        await until(pilot, lambda: table.row_count == 1)
        return table

    drive(drawn, act, (100, 30))
    for path in (*ink.parent.iterdir(), root / EMBEDDINGS / "bad hands.pt"):
        path.unlink()


def test_a_setting_is_changed_kept_with_comments_and_taken_back(drawn: Running) -> None:
    config = drawn.settings.root / "config.toml"
    config.write_text("# mine\nsteps = 30  # a third more\n")

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        assert "30" in text_of(app.desk.query_one("#field-steps"))
        await pilot.press("f10", "slash")
        await write(pilot, "save grid")
        await pilot.press("enter", "enter")
        await until(pilot, lambda: isinstance(app.screen, Pick))
        await pilot.press("down", "enter")
        await until(pilot, lambda: tomllib.loads(config.read_text()) == {"steps": 30, "save_grid": False})
        assert "# a third more" in config.read_text() and not app.settings["save_grid"]
        await pilot.press("d")
        await until(pilot, lambda: "save_grid" not in config.read_text())
        await pilot.press("slash")
        app.screen.query_one("#filter", Input).value = "cfg"
        await pilot.press("enter", "enter")
        await until(pilot, lambda: isinstance(app.screen, Type))
        app.screen.query_one(Input).value = "lots"
        await pilot.press("enter")
        await until(pilot, lambda: "cfg_scale is 'lots'" in note(app))

    try:
        drive(drawn, act)
    finally:
        config.unlink()


@pytest.mark.heavy
def test_a_locked_setting_says_why(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await pilot.press("f10", "slash")
        await write(pilot, "steps")
        await pilot.press("enter", "enter")
        await until(pilot, lambda: "steps is locked" in note(app))
        assert not isinstance(app.screen, Type)

    drive(drawn, act, freeze_specific_settings="steps,CLIP_stop_at_last_layers")


@pytest.mark.heavy
def test_pinned_settings_take_a1111s_names_and_change_at_once(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.desk.filling.offers.catalogue, "the lists, with which fields are made anew")
        assert not app.desk.query("#field-clip_skip")
        keys = "sd_model_checkpoint,CLIP_stop_at_last_layers,upcast_attn,emphasis"
        assert app.write_setting("quicksettings_list", keys) == ""
        await until(pilot, lambda: "upcast_attn" in note(app))
        await until(pilot, lambda: app.desk.query("#quick #field-clip_skip"))
        assert app.desk.query("#quick #field-emphasis")

        def has_cursor() -> bool:
            app.desk.focus_field("clip_skip")  # until it stays: a form that was just made anew gives it to the prompt
            return app.focused is not None and app.focused.id == "field-clip_skip"

        await until(pilot, has_cursor)
        await pilot.press("up")
        await until(pilot, lambda: app.form.draft.fields.get("clip_skip") == "2")
        assert app.write_setting("quicksettings_list", None) == ""

    drive(drawn, act, size=(120, 36))


@pytest.mark.heavy
def test_help_has_every_action_and_jump_goes_to_every_field(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await pilot.press("f1")
        await until(pilot, lambda: app.screen.query("HelpScreen Static"))
        shown = " ".join(str(app.screen.query_one("HelpScreen Static", Static).render()).split())
        assert [action.title for action in actions_of(app.settings) if action.title not in shown] == []
        await pilot.press("f2")
        await until(pilot, lambda: app.screen is app.desk and app.desk.query_one("#field-steps").region.width)
        await pilot.press("ctrl+o")
        await until(pilot, lambda: isinstance(app.screen, Jump))
        assert isinstance(app.screen, Jump)
        letter = next(key for key, widget in app.screen._targets.items() if widget.id == "field-steps")
        await pilot.press(letter)
        await until(pilot, lambda: app.focused and app.focused.id == "field-steps")

    drive(drawn, act)


@pytest.mark.heavy
def test_help_names_the_way_in_which_pictures_are_shown_now(drawn: Running) -> None:
    def named(app: Workstation) -> str:
        return str(app.screen.query_one("HelpScreen Static", Static).render()).partition("images as ")[2][:4]

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await pilot.press("f1")
        await until(pilot, lambda: app.screen.query("HelpScreen Static"))
        assert named(app) == app.picture_mode() != "text"
        await pilot.press("f2", "alt+p")
        await until(pilot, lambda: isinstance(app.screen, Pick))
        await write(pilot, "text")
        await pilot.press("enter", "f1")
        await until(pilot, lambda: app.screen.query("HelpScreen Static"))
        await until(pilot, lambda: named(app) == app.picture_mode() == "text")

    drive(drawn, act, preview="half")


@pytest.mark.heavy
def test_the_palette_does_what_it_says(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await pilot.press("ctrl+p")
        await until(pilot, lambda: isinstance(app.screen, Palette))
        await write(pilot, "gallery")
        await until(pilot, lambda: app.screen.query_one(OptionList).option_count > 0)
        await pilot.press("enter")
        await until(pilot, lambda: app.screen.query(PictureTable))

    drive(drawn, act)


@pytest.mark.heavy
def test_the_palette_takes_what_matches_the_whole_word_or_nothing(drawn: Running) -> None:
    """Typed ahead, as over a slow line: Enter comes before there are matches."""

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await pilot.press("ctrl+p")
        await until(pilot, lambda: isinstance(app.screen, Palette) and app.focused)
        for key in (*"gallerx", "enter"):
            app.post_message(events.Key(key, key if len(key) == 1 else None))
        await until(pilot, lambda: "Nothing matches “gallerx”" in screen_text(app))
        assert isinstance(app.screen, Palette)
        for key in ("backspace", "y", "enter"):
            app.post_message(events.Key(key, key if len(key) == 1 else None))
        await until(pilot, lambda: app.screen.query(PictureTable))

    drive(drawn, act)


def test_enter_in_a_palette_that_was_closed_while_it_asked_closes_nothing_more(
    drawn: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits, wait = asyncio.Event(), Worker.wait

    async def waiting(self: Worker[None]) -> None:
        waits.set()
        await wait(self)

    monkeypatch.setattr(Worker, "wait", waiting)

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.state.host == "up" and app.models)
        process = drawn.host
        process.suspend()
        try:
            await pilot.press("ctrl+p")
            await until(pilot, lambda: isinstance(app.screen, Palette) and app.focused)
            for key in (*"gallery", "enter"):
                app.post_message(events.Key(key, key if len(key) == 1 else None))
            await waits.wait()
            app.go("generate")
        finally:
            process.resume()
        await pilot.pause()
        assert app.screen is app.desk

    drive(drawn, act)


@pytest.mark.heavy
def test_a_new_size_is_taken_on_a_machine_that_is_busy_just_then(
    host: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten milliseconds between any two looks at the clock: more than Textual waits for another size."""

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        screen = app.screen
        assert isinstance(screen, BaseScreen)
        await until(pilot, screen.settled)
        late = itertools.count(time.monotonic(), 0.01)
        monkeypatch.setattr("textual.timer._time.get_time", lambda: next(late))
        app.post_message(events.Resize(Size(30, 8), Size(30, 8)))
        await until(pilot, lambda: "40x12 is needed" in note(app))

    drive(host, act)


def test_what_a_screen_waits_for_comes_on_a_machine_that_is_busy_just_then(
    host: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, app.desk.settled)
        looks = itertools.count()

        def late() -> float:
            """By 0.1 s more at each look, up to a limit: a timer that repeats more often would skip turns for ever."""
            return time.monotonic() + 0.1 * min(next(looks), 500)

        monkeypatch.setattr("textual.timer._time.get_time", late)
        due: list[str] = []
        app.desk.set_timer(0.05, lambda: due.append("a screen's"))
        await until(pilot, lambda: due == ["a screen's"])

    drive(host, act)


@pytest.mark.heavy
def test_the_gallery_reads_infotexts_as_everybody_does(drawn: Running) -> None:
    prompt = "red, sdterm: blue\nSteps: up, to: the: door"
    drawn.events(drawn.submit(prompt=prompt, steps=1))

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await pilot.press("f3")
        details = app.screen.query_one("#infotext", Static)
        await until(pilot, lambda: "Sampler" in str(details.render()))
        told = str(details.render())
        assert told.startswith(f"{prompt}\nSteps: 1, Sampler: Euler a") and '"code"' not in told
        assert f"{prompt}".replace("\n", " ") in screen_text(app)

    drive(drawn, act, (200, 50))


SIZES = ((160, 50), (110, 30), (79, 24), (60, 20), (59, 16), (40, 12), (39, 11), (20, 5), (80, 24))


@pytest.mark.heavy
def test_every_screen_fits_every_size(drawn: Running) -> None:
    def fits(app: Workstation, height: int) -> bool:
        lines = screen_text(app).splitlines()
        return len(lines) <= height and lines[0].strip() == text_of(app.screen.query_one(TopBar)).strip() != ""

    def shows_prompt(app: Workstation) -> bool:
        return app.form.draft.prompt in screen_text(app).replace("\n", "")

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        for key in ("f2", "f3", "f4", "ctrl+l", "f10", "f1"):
            await pilot.press(key)
            for size in SIZES:
                await pilot.resize_terminal(*size)
                await until(pilot, partial(fits, app, size[1]), f"{key} in {size}")
        for size in SIZES[-3::-1]:  # the smallest ones say what they need instead
            await pilot.resize_terminal(*size)
            await pilot.press("f2", "x")
            if size >= (40, 12):
                await until(pilot, partial(shows_prompt, app), f"the prompt in {size}")

    drive(drawn, act)


@pytest.mark.heavy
def test_forty_columns_are_enough_to_write_and_draw(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        before = drawn.client.pictures(limit=1).total or 0
        await write(pilot, "lake")
        assert "lake" in screen_text(app)
        await pilot.press("f5")
        await until(pilot, lambda: (drawn.client.pictures(limit=1).total or 0) > before)
        await until(pilot, lambda: "done" in note(app))

    drive(drawn, act, size=(40, 12))
