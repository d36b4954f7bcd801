"""The form: choices that are never free text, numbers that are sums, and a widget for each option that is declared."""

import asyncio
from contextlib import suppress
from fractions import Fraction
from functools import partial
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.style import Style
from textual import events
from textual.pilot import Pilot
from textual.widgets import Label, Static

from sdterm.tui.app import Workstation
from sdterm.tui.arithmetic import SumError, evaluate
from sdterm.tui.fields import RefusedTextError, quick_field
from sdterm.tui.language import tr
from sdterm.tui.offers import Offers
from sdterm.tui.screens.pick import Pick, Type
from sdterm.tui.screens.settings import SettingsScreen
from sdterm.tui.widgets.bars import Note
from sdterm.tui.widgets.more import MoreOptions, SectionTitle
from sdterm.tui.widgets.parameter import Parameter
from sdterm.tui.widgets.prompt import PromptEditor
from tests.host.running import Running, wait_until
from tests.tui.conftest import WITHIN, drive, go_to, screen_text, text_of, until, write


@pytest.fixture(autouse=True)
def at_rest(host: Running) -> None:
    """What an earlier test had drawn is done: its message would come between."""
    wait_until(lambda: not any(host.client.queue().counts.get(state) for state in ("queued", "running")))


def note(app: Workstation) -> str:
    return text_of(app.desk.query_one(Note)).strip()


def field(app: Workstation, name: str) -> Parameter:
    return app.desk.query_one(f"#field-{name}", Parameter)


def burst(app: Workstation, *keys: str) -> None:
    """Keys that arrive all at once, as over a slow line."""
    for key in keys:
        app.post_message(events.Key(key, key if len(key) == 1 else None))


async def ready(app: Workstation, pilot: Pilot[None]) -> None:
    await until(pilot, lambda: app.desk.filling.offers.catalogue, "the lists")


# --- choices ----------------------------------------------------------------------------------------------------------


@pytest.mark.heavy
def test_a_choice_is_stepped_and_never_free_text(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await ready(app, pilot)
        sampler = field(app, "sampler")
        await go_to(pilot, sampler)
        await pilot.press("down")
        stepped = app.form.draft.fields["sampler"]
        assert sampler.value == stepped != "DPM++ 2M"
        await pilot.press("up")
        assert sampler.value == "DPM++ 2M"
        await pilot.press("space")
        await until(pilot, lambda: isinstance(app.screen, Pick), "its list")
        await pilot.press("escape")
        assert sampler.value == "DPM++ 2M"

    drive(host, act)


@pytest.mark.heavy
@pytest.mark.parametrize("typed, wanted", [("eul", "Euler"), ("euler a", "Euler a"), ("heun", "Heun")])
def test_typing_ahead_takes_the_first_that_matches(host: Running, typed: str, wanted: str) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await ready(app, pilot)
        await go_to(pilot, field(app, "sampler"))
        burst(app, *typed, "enter", "f5")
        await until(pilot, lambda: app.form.draft.fields.get("sampler", "").startswith(wanted), wanted)
        await until(pilot, lambda: "queued" in note(app) or "done" in note(app), "F5, behind it")
        newest = host.client.job(host.client.jobs(limit=1).jobs[0].id)
        assert newest.request.sampler == app.form.draft.fields["sampler"]

    drive(host, act)


@pytest.mark.heavy
def test_what_matches_nothing_is_refused_and_what_was_there_stays(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await ready(app, pilot)
        await go_to(pilot, field(app, "sampler"))
        burst(app, *"xyzzy", "enter")
        await until(pilot, lambda: "nothing matches xyzzy" in note(app), "a word about it")
        assert field(app, "sampler").value == "DPM++ 2M" and not app.form.draft.fields
        app.post_message(events.Paste("Nonsense\nmore"))
        await until(pilot, lambda: isinstance(app.screen, Pick) and "Nonsense more" in screen_text(app), "the list")
        await pilot.press("escape")
        assert not app.form.draft.fields
        await pilot.press("down", "backspace")
        assert field(app, "sampler").value == "DPM++ 2M" and not app.form.draft.fields
        assert note(app) == "Sampler is as it comes again: DPM++ 2M."

    drive(host, act)


@pytest.mark.heavy
def test_sizes_fit_the_model(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await ready(app, pilot)
        size = field(app, "size")
        await go_to(pilot, size)
        await pilot.press("down")
        sizes = [size.value]
        for _ in range(2):
            await pilot.press("up")
            sizes.append(size.value)
        assert len({*sizes}) == 3 and all(int(side) % 8 == 0 for each in sizes for side in each.split("x"))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Pick), "the list")
        await pilot.press("home")
        assert "128x128" in screen_text(app).split("native")[0].splitlines()[-1]
        await pilot.press("escape")

    drive(host, act)


@pytest.mark.heavy
def test_styles_are_completed_and_several(host: Running) -> None:
    styles = host.settings.root / "styles.csv"
    styles.write_text("name,prompt,negative_prompt\nWatercolour,wc,\nWoodcut,wood,\nInk,ink,\n", encoding="utf-8")

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.desk.filling.offers.styles, "the styles")
        await go_to(pilot, field(app, "styles"))
        burst(app, *"wood", "enter")
        await until(pilot, lambda: app.form.draft.fields.get("styles") == ("Woodcut",), "one")
        burst(app, *"ink", "enter")
        await until(pilot, lambda: app.form.draft.fields.get("styles") == ("Woodcut", "Ink"), "two")
        burst(app, *"wood", "enter")
        await until(pilot, lambda: app.form.draft.fields.get("styles") == ("Ink",), "one less")
        await pilot.press("down", "down")
        assert field(app, "styles").value != "Ink"
        await pilot.press("delete")
        assert "styles" not in app.form.draft.fields

    try:
        drive(host, act)
    finally:
        styles.unlink()


@pytest.mark.heavy
def test_a_style_is_completed_while_a_prompt_is_typed(host: Running) -> None:
    styles = host.settings.root / "styles.csv"
    styles.write_text("name,prompt,negative_prompt\nWatercolour,wc,\nWoodcut,wood,\n", encoding="utf-8")

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.desk.filling.offers.styles, "the styles")
        await write(pilot, "a castle, wat")
        await until(pilot, lambda: "Watercolour" in screen_text(app) and "style" in screen_text(app), "the style")
        await pilot.press("tab")
        await until(pilot, lambda: app.form.draft.fields.get("styles") == ("Watercolour",), "it is one of the styles")
        prompt = app.desk.query_one("#prompt", PromptEditor)
        await until(pilot, lambda: app.form.draft.prompt == prompt.text == "a castle, ", "and no text")
        await write(pilot, "mist")
        assert prompt.text == "a castle, mist"
        await pilot.press("ctrl+z", "ctrl+z")
        await until(pilot, lambda: "styles" not in app.form.draft.fields and prompt.text == "a castle, wat", "undone")

    try:
        drive(host, act)
    finally:
        styles.unlink()


@pytest.mark.few(1)
@pytest.mark.parametrize(("typed", "taken"), [("heun", "Heun"), ("euler a", "Euler a"), ("nothing", None)])
def test_what_is_typed_before_there_are_lists_is_checked_when_they_come(
    host: Running, typed: str, taken: str | None
) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await ready(app, pilot)
        app.desk.filling.offers = Offers()  # as they are in the first moments
        await go_to(pilot, field(app, "sampler"))
        await write(pilot, typed)
        assert isinstance(app.screen, Type) and "it is checked when it comes" in screen_text(app)
        await pilot.press("enter")
        await until(pilot, lambda: field(app, "sampler").value == typed, "what was typed")
        await app.desk.filling.learn()
        assert app.form.draft.fields.get("sampler") == taken
        assert taken or "There is no Sampler 'nothing'." in note(app)

    drive(host, act)


# --- numbers ----------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**12), st.integers(0, 10**9), st.integers(1, 10**6))
def test_sums_are_exact(a: int, b: int, c: int) -> None:
    assert evaluate(f"{a}+{b}*{c}") == a + b * c
    assert evaluate(f" ( {a} - {b} ) / {c} ") == Fraction(a - b, c)
    assert evaluate(f"-{a}/-{c}") == Fraction(a, c)


@given(st.text(alphabet="0123456789.+-*/() ex_", max_size=80) | st.text(max_size=80))
def test_anything_else_is_refused_by_name(text: str) -> None:
    with suppress(SumError):
        evaluate(text)
    for name in ("steps", "size", "cfg_scale", "seed", "batch"):
        try:
            settled = quick_field(name).settled(text)
        except RefusedTextError as error:
            assert str(error)
        else:
            assert quick_field(name).settled(settled) == settled, "what stands there can be entered again"


@pytest.mark.heavy
def test_numbers_are_sums_with_bounds(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        async def enter(name: str, text: str) -> None:
            await go_to(pilot, field(app, name))
            burst(app, *text, "tab")
            await until(pilot, lambda: app.focused is not field(app, name), "Tab")
            await pilot.pause()

        for name, text, shown, given_ in [
            ("steps", "20*2", "40", {"steps": "40"}),
            ("size", "512+64", "576x576", {"width": "576", "height": "576"}),
            ("size", "768x512", "768x512", {"width": "768", "height": "512"}),
            ("cfg_scale", "7.5/2", "3.75", {"cfg_scale": "3.75"}),
        ]:
            await enter(name, text)
            assert field(app, name).value == shown
            assert given_.items() <= app.form.draft.fields.items()
        for text in ("5000", "2+", "many"):
            await enter("steps", text)
            assert note(app) == f"! Steps takes a whole number from 1 to 1000, not {text}."
            assert field(app, "steps").value == "40" and app.form.draft.fields["steps"] == "40"
        await go_to(pilot, field(app, "steps"))
        await pilot.press("delete", "tab")
        assert field(app, "steps").value == "20" and "steps" not in app.form.draft.fields
        assert note(app) == "Steps is as it comes again: 20."

    drive(host, act)


def test_what_cannot_be_is_not_drawn(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        before = host.client.jobs(limit=1).jobs
        await go_to(pilot, field(app, "steps"))
        burst(app, *"3*", "f5")
        await until(pilot, lambda: "not 3*" in note(app), "a word about it")
        assert host.client.jobs(limit=1).jobs == before
        burst(app, *"end", "f5")

    drive(host, act)


@pytest.mark.heavy
def test_a_value_that_cannot_be_is_marked_while_it_is_typed_and_refused_in_words(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await ready(app, pilot)
        steps = field(app, "steps")
        await go_to(pilot, steps)
        plain = steps.rich_style
        await write(pilot, "9999")
        await until(pilot, lambda: shape(steps.rich_style) != shape(plain), "a mark")
        await pilot.press("tab")
        await until(pilot, lambda: note(app).startswith("! Steps takes"))
        assert steps.value == "20" and not steps.has_class("-refused")

    def shape(style: Style) -> tuple[bool | None, bool | None]:
        return style.underline, style.reverse

    drive(host, act)


def test_what_was_just_typed_stays_when_the_lists_come(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await ready(app, pilot)
        steps = field(app, "steps")
        app.form.change(app.form.draft.but(steps="30"))
        await go_to(pilot, steps)
        steps.action_delete_left()
        async with asyncio.timeout(WITHIN):
            while app.form.draft.value("steps"):  # at any moment on the way from the key to the form
                app.desk.learned()
                assert steps.value == ""
                await asyncio.sleep(0)
        app.desk.learned()
        assert steps.value == ""
        await write(pilot, "30*2")
        app.desk.learned()
        assert steps.value == "30*2"
        burst(app, "tab")
        app.desk.learned()
        await until(pilot, lambda: steps.value == "60", "the sum")
        app.desk.learned()
        assert app.desk.form.values()["steps"] == "60" == steps.value

    drive(host, act)


def test_a_value_that_is_too_long_is_cut_at_its_end(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await ready(app, pilot)
        sampler = field(app, "sampler")
        app.form.change(app.form.draft.but(sampler="DPM++ 2M SDE Heun"))
        await until(pilot, lambda: text_of(sampler).startswith("DPM++ 2M SDE"), "a choice")
        await go_to(pilot, sampler)
        assert text_of(sampler).startswith("DPM++ 2M SDE"), "also where the cursor is"

    drive(host, act)


def test_after_a_load_the_cursor_stands_at_the_end(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        steps = field(app, "steps")
        await go_to(pilot, steps)
        await pilot.press("home")
        app.form.change(app.form.draft.but(steps="123", seed="77"))
        await pilot.pause()
        assert steps.cursor_position == 3
        await pilot.press("0")
        assert steps.value == "1230"

    drive(host, act)


# --- options ----------------------------------------------------------------------------------------------------------

GRAIN = dedent("""
    from sdterm.hooks import Option, Postprocessor, hookimpl

    def apply(image, rng, *, amount, coarse):
        return image

    @hookimpl
    def sdterm_postprocessors():
        options = (Option("amount", 3, "How much.", 0, 9), Option("coarse", False, "[b]Large[/b] grains. \\x1b[31m"))
        return [Postprocessor("grain", "Grain", apply, options=options)]
""")


def here(app: Workstation) -> str:
    """Which field the cursor is in."""
    return app.focused.field.id if isinstance(app.focused, Parameter) else ""


def labels(app: Workstation) -> list[str]:
    """Of the fields below the form; of an option behind that of its plugin, which stands above it."""
    found, part = [], ""
    for shown in app.desk.query_one(MoreOptions).query(Static):
        text = str(shown.render())
        if shown.has_class("part"):
            part = text
        elif isinstance(shown, Label):
            found.append(f"{part}: {text.strip()}" if text.startswith("  ") else text)
    return found


def option(app: Workstation, name: str) -> Parameter:
    found = [p for p in app.desk.query_one(MoreOptions).query(Parameter) if p.field.id == name]
    return found[0]


def test_the_options_have_the_cursor_where_they_change_as_they_unfold(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await ready(app, pilot)
        app.desk.action_more_options()
        while not app.desk.query(SectionTitle):
            await asyncio.sleep(0)
        app.form.change(app.form.draft.but(sampler="UniPC"))  # and they are made anew
        await until(pilot, lambda: "UniPC: variant" in labels(app), "the sampler's options")
        await until(pilot, lambda: isinstance(app.focused, SectionTitle), "the cursor in the first part")

    drive(host, act)


@pytest.mark.heavy
def test_every_declared_option_has_its_widget_below_the_form(host: Running) -> None:
    extension = host.settings.root / "extensions" / "grain.py"
    extension.write_text(GRAIN, encoding="utf-8")

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        def knows(kind: str, label: str) -> bool:
            catalogue = app.desk.filling.offers.catalogue
            return catalogue is not None and any(offer.label == label for offer in catalogue.of(kind))

        await until(pilot, partial(knows, "Postprocessor", "Grain"), "the extension")
        app.form.change(app.form.draft.but(prompt="lake", sampler="Euler", scheduler="Karras", steps="1"))
        await pilot.press("alt+m")
        await until(pilot, lambda: "Euler: s churn" in labels(app), "the sampler's options")
        await until(pilot, lambda: isinstance(app.focused, SectionTitle), "the cursor in the first")
        assert {"Karras: rho", "Grain: amount", "File format"} <= {*labels(app)}
        assert any(label.endswith(": compression") for label in labels(app))
        churn = option(app, "sampler_options.s_churn")
        await go_to(pilot, churn)
        await until(pilot, lambda: "s churn" in screen_text(app), "it, scrolled to")
        await pilot.press("up")
        assert float(app.form.draft.fields["sampler_options"]["s_churn"]) > 0
        await go_to(pilot, option(app, "options.grain.amount"))
        burst(app, *"2*4", "tab")
        await until(pilot, lambda: app.form.draft.fields.get("options") == {"grain.amount": "8"}, "a plugin's option")
        await until(pilot, lambda: here(app) == "options.grain.coarse", "Tab")
        await pilot.press("space")
        assert app.form.draft.fields["options"] == {"grain.amount": "8", "grain.coarse": True}
        await pilot.press("f5")
        await until(pilot, lambda: "queued" in note(app) or "done" in note(app), "the job")
        request = host.client.job(host.client.jobs(limit=1).jobs[0].id).request
        assert request.options == {"grain.amount": "8", "grain.coarse": True}
        assert float(request.sampler_options["s_churn"]) > 0
        app.form.change(app.form.draft.but(sampler="UniPC", sampler_options=None))
        await until(pilot, lambda: "UniPC: variant" in labels(app), "another sampler's options")
        await until(pilot, lambda: here(app) == "options.grain.coarse", "the cursor where it was")
        await go_to(pilot, option(app, "sampler_options.variant"))
        await pilot.press("down")
        assert app.form.draft.fields["sampler_options"] == {"variant": "bh2"}
        await go_to(pilot, field(app, "sampler"))
        burst(app, *"dpm++ 2m", "enter")
        await until(pilot, lambda: field(app, "sampler").value == "DPM++ 2M", "a third sampler")
        assert "sampler_options" not in app.form.draft.fields, "it has none of those"
        await until(pilot, lambda: "UniPC: variant" not in labels(app), "its own options only")
        await pilot.press("alt+m")
        assert not app.desk.query_one(MoreOptions).display

    try:
        drive(host, act)
    finally:
        extension.unlink()


# --- quick settings ---------------------------------------------------------------------------------------------------


@pytest.mark.heavy
def test_a_pinned_setting_is_a_setting(host: Running) -> None:
    config = host.settings.root / "config.toml"

    def theme() -> str:
        return config.read_text(encoding="utf-8") if config.exists() else ""

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await ready(app, pilot)
        await go_to(pilot, field(app, "theme"))
        burst(app, *"sdterm-li", "enter")
        await until(pilot, lambda: app.theme.startswith("sdterm-light"), "another theme")
        assert 'theme = "sdterm-light"' in theme() and field(app, "theme").value == "sdterm-light"
        await go_to(pilot, field(app, "save_grid"))
        await pilot.press("space")
        await until(pilot, lambda: app.settings["save_grid"] is False, "a switch")
        await until(pilot, lambda: field(app, "save_grid").value == "off", "the form, made anew")
        await go_to(pilot, field(app, "tiling"))
        await pilot.press("space")
        assert app.form.draft.fields == {"tiling": True}
        await pilot.press("f5")
        await until(pilot, lambda: "queued" in note(app) or "done" in note(app), note(app))

    try:
        drive(host, act, (120, 30), quicksettings_list="theme,save_grid,tiling")
    finally:
        config.unlink(missing_ok=True)


@pytest.mark.heavy
def test_another_language_leaves_one_where_one_was_and_every_hint_stays(host: Running) -> None:
    config = host.settings.root / "config.toml"

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await ready(app, pilot)
        editor = app.desk.query_one("#prompt", PromptEditor)
        await write(pilot, "red house")
        await until(pilot, lambda: str(editor.border_subtitle) == "2/75", "the tokens")
        await pilot.press("f10")
        await until(pilot, lambda: isinstance(app.screen, SettingsScreen), "the settings")
        await pilot.press("slash")
        await write(pilot, "language")
        await pilot.press("enter", "enter")
        await until(pilot, lambda: isinstance(app.screen, Pick), "the languages")
        await write(pilot, "zh")
        await pilot.press("enter")
        await until(pilot, lambda: "设置" in screen_text(app), "Chinese")
        await until(pilot, lambda: isinstance(app.screen, SettingsScreen), "the settings again")
        await pilot.press("f2")
        await until(pilot, lambda: app.screen is app.desk, "the form")
        assert field(app, "model").placeholder == "sdterm-demo" and field(app, "size").placeholder == tr("native")
        anew = app.desk.query_one("#prompt", PromptEditor)
        await until(pilot, lambda: str(anew.border_subtitle) == "2/75", "the tokens, anew")

    try:
        drive(host, act, (100, 30))
    finally:
        config.unlink(missing_ok=True)
