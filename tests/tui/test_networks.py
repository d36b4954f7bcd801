"""Networks in the workstation: completed, inserted, missed, pinned, and acting on the next picture."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from textual.pilot import Pilot
from textual.widgets import DataTable, Input, OptionList

from sdterm.api import LibraryFile
from sdterm.core.settings.paths import EMBEDDED_MODEL, LORAS
from sdterm.fields import RequestField
from sdterm.tui.app import Workstation
from sdterm.tui.fields import Field
from sdterm.tui.offers import Offers
from sdterm.tui.screens.pick import Pick
from sdterm.tui.widgets.bars import Note
from sdterm.tui.widgets.prompt import Completions
from tests import network_files
from tests.host.running import Running, running
from tests.tui.conftest import drive, go_to, screen_text, text_of, until, write


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A host with networks that are made for the demo model, and some that are not."""
    root = tmp_path_factory.mktemp("data")
    network_files.write(root)
    loras = root / LORAS
    (loras / "demo-lora-a.json").write_text(
        '{"sd version": "SD1", "preferred weight": 0.6, "activation text": "inkpunk"}'
    )
    save_file({"x": np.zeros(1)}, loras / "ink.safetensors", {"ss_base_model_version": "sdxl_base_v1-0"})
    _named_by_its_maker(loras / "smoke_v2.safetensors", "smoking maker")
    for hostile in ("a:b", "evil\x1b[31m[b]\u202ex"):
        _named_by_its_maker(loras / f"{hostile}.safetensors", "")
    save_file({"emb_params": np.zeros((1, 96), np.float32)}, root / "embeddings" / "bad_hands(v2).safetensors")
    vae = {
        name: tensor * 0.5
        for name, tensor in load_file(EMBEDDED_MODEL).items()
        if name.startswith("first_stage_model.")
    }
    (root / "models" / "VAE").mkdir()
    save_file(vae, root / "models" / "VAE" / "soft.safetensors")
    with running(root) as found:
        yield found


def _named_by_its_maker(path: Path, name: str) -> None:
    save_file({"x": np.zeros(1)}, path, {"ss_output_name": name})


def note(app: Workstation) -> str:
    return " ".join(text_of(app.desk.query_one(Note)).split())


def offered(app: Workstation) -> list[str]:
    """The lines of what a word may become."""
    found = [each for each in app.desk.query(Completions) if each.display]
    return [str(option.prompt).rstrip() for each in found for option in each.options]


async def begin(app: Workstation, pilot: Pilot[None]) -> None:
    await until(pilot, lambda: app.desk.filling.offers.files.get("vae") is not None, "the lists")
    await until(pilot, lambda: app.desk.filling.offers.models)


async def typed(app: Workstation, pilot: Pilot[None], text: str) -> None:
    await write(pilot, text)
    await until(pilot, lambda: app.form.draft.prompt.endswith(text))


def test_networks_are_completed_with_the_model_they_fit_their_weight_and_their_words(stocked: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await begin(app, pilot)
        await typed(app, pilot, "<lora:")
        await until(pilot, lambda: any(line.endswith("! SDXL") and "ink" in line for line in offered(app)))
        shown = offered(app)
        assert not any("a:b" in line for line in shown), "no tag can call it"
        assert any("<lora:sdterm-blueprint:1>" in line for line in shown), "the demo model's"
        assert any("evil" in line for line in shown) and not any("\x1b" in line or "\u202e" in line for line in shown)
        await typed(app, pilot, "lora-a")
        await until(pilot, lambda: [line.split() for line in offered(app)] == [["<lora:demo-lora-a:0.6>", "SD1"]])
        await pilot.press("tab")
        await until(pilot, lambda: app.form.draft.prompt == "<lora:demo-lora-a:0.6>, ")
        await until(pilot, lambda: [line.split()[0] for line in offered(app)] == ["inkpunk"], "its words")
        await pilot.press("tab")
        await until(pilot, lambda: app.form.draft.prompt == "<lora:demo-lora-a:0.6>, inkpunk, ")
        await typed(app, pilot, "<lyco:smoking")
        await until(pilot, lambda: [line.split()[0] for line in offered(app)] == ["<lyco:smoke_v2:1>"], "by its maker")
        await pilot.press("tab")
        await until(pilot, lambda: "<lyco:smoke_v2:1>, " in app.form.draft.prompt)
        await typed(app, pilot, "bad")
        await until(pilot, lambda: [line.split() for line in offered(app)] == [["bad_hands(v2)", "embedding"]])
        await pilot.press("tab")
        await until(pilot, lambda: app.form.draft.prompt.endswith(r">, bad_hands\(v2\), "))

    drive(stocked, act)


@pytest.mark.heavy
def test_a_network_for_another_model_is_told_before_the_run_and_when_the_model_changes(stocked: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await begin(app, pilot)
        await typed(app, pilot, "<lora:ink:1>")
        await until(pilot, lambda: "'ink' is made for SDXL, but the model is SD 1.x" in note(app))
        app.desk.say("something else")
        await go_to(pilot, app.desk.query_one("#field-steps"))
        app.form.change(app.form.draft.but(model="sdterm-demo"))
        await until(pilot, lambda: "'ink' is made for SDXL" in note(app), "said away from the prompt, too")

    drive(stocked, act)


@pytest.mark.heavy
def test_a_network_is_chosen_for_the_prompt_and_leads_back_to_it(stocked: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await begin(app, pilot)
        await typed(app, pilot, "a cat")
        await pilot.press("alt+n")
        await until(pilot, lambda: "▸ Networks" in screen_text(app) and app.screen.query_one(DataTable).row_count > 3)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.desk)
        assert app.form.draft.prompt == "a cat"
        await pilot.press("alt+n")
        await until(pilot, lambda: app.screen is not app.desk)
        await pilot.press("slash")
        await write(pilot, "inkpunk")
        await until(pilot, lambda: app.screen.query_one(DataTable).row_count == 1)
        await pilot.press("enter", "plus", "enter")
        await until(pilot, lambda: app.screen is app.desk and app.focused is app.desk.query_one("#prompt"))
        assert app.form.draft.prompt == "a cat <lora:demo-lora-a:0.6> inkpunk"
        await pilot.press("alt+n")
        await until(pilot, lambda: app.screen is not app.desk)
        await pilot.press("tab", "tab", "shift+tab")
        await until(pilot, lambda: "▸ Embeddings" in screen_text(app) and app.screen.query_one(DataTable).row_count > 3)
        await pilot.press("enter")
        await until(pilot, lambda: app.screen is app.desk)
        assert app.form.draft.prompt == r"a cat <lora:demo-lora-a:0.6> inkpunk, bad_hands\(v2\)"

    drive(stocked, act)


@pytest.mark.heavy
def test_a_missing_network_is_told_while_typing_and_after_the_run_and_another_taken(stocked: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await begin(app, pilot)
        await typed(app, pilot, "a <lora:smoke_v3:0.7:0.4> cat")
        await until(pilot, lambda: note(app).startswith("^F takes another: There is no lora named 'smoke_v3'"))
        app.form.change(app.form.draft.but(steps="1", width="64", height="64"))
        await pilot.press("f5")
        await until(
            pilot, lambda: "takes another: Ignored: <lora:smoke_v3:0.7:0.4>" in note(app) and "done" in said(app)
        )
        await pilot.press("ctrl+f")
        await until(pilot, lambda: isinstance(app.screen, Pick))
        rows = [str(option.prompt).strip() for option in app.screen.query_one(OptionList).options]
        assert rows[0].split()[0] == "smoke_v2" and not any("a:b" in row or "\x1b" in row for row in rows)
        await pilot.press("enter")
        await until(pilot, lambda: app.form.draft.prompt == "a <lora:smoke_v2:0.7:0.4> cat")
        await pilot.press("ctrl+z")
        await until(pilot, lambda: app.form.draft.prompt == "a <lora:smoke_v3:0.7:0.4> cat")

    drive(stocked, act)


def said(app: Workstation) -> str:
    return " ".join(each.text for each in app._said)


@pytest.mark.heavy
def test_pinned_networks_are_lists_and_act_on_the_next_picture(stocked: Running) -> None:
    def drawn() -> dict[str, str]:
        return {
            picture.infotext: stocked.client.file(picture.id).hex() for picture in stocked.client.pictures().pictures
        }

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await begin(app, pilot)
        await typed(app, pilot, "a cat")
        app.form.change(app.form.draft.but(steps="2", width="64", height="64", seed="1"))
        field = app.desk.query_one("#quick #field-lora", Input)
        assert field.placeholder == "None"
        before = len(drawn())
        await pilot.press("f5")
        await until(pilot, lambda: len(drawn()) == before + 1, "without")
        await go_to(pilot, field)
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, Pick))
        await write(pilot, "emo-lora-a")
        await pilot.press("enter")
        await until(pilot, lambda: app.form.draft.fields.get("lora") == "demo-lora-a")
        await pilot.press("f5")
        await until(pilot, lambda: any('Lora hashes: "demo-lora-a' in text for text in drawn()), "with it")
        await go_to(pilot, app.desk.query_one("#quick #field-hypernetwork"))
        await pilot.press("down")
        await until(pilot, lambda: app.form.draft.fields.get("hypernetwork") == "hyper-linear")
        await go_to(pilot, field)
        await pilot.press("N")
        await until(pilot, lambda: isinstance(app.screen, Pick))
        await write(pilot, "one")
        await pilot.press("enter")
        await until(pilot, lambda: app.form.draft.fields.get("lora") == "None")
        await pilot.press("f5")
        await until(pilot, lambda: any("<hypernet:hyper-linear" in text for text in drawn()), "with the other")
        vae = app.desk.query_one("#quick #field-vae", Input)
        assert vae.value == "Automatic"
        await go_to(pilot, vae)
        await pilot.press("down", "down")
        await until(pilot, lambda: app.form.draft.fields.get("vae") == "soft")
        await pilot.press("f5")
        await until(pilot, lambda: any("VAE: soft" in text for text in drawn()), "with another VAE")
        assert len(set(drawn().values())) == len(drawn()), "each is another picture"

    drive(stocked, act, (120, 30), quicksettings_list="sd_model_checkpoint,sd_vae,sd_lora,sd_hypernetwork")


def test_the_list_of_vaes_begins_with_what_needs_no_file() -> None:
    row = RequestField(name="vae", default="Automatic", label="VAE", sentence="", offers="vae")
    file = LibraryFile(kind="vae", name="soft", path="/soft.safetensors", size=1)
    choices = Offers(files={"vae": (file,)}).of(Field((row,)), {}) or ()
    assert [choice.name for choice in choices] == ["Automatic", "None", "soft"]
    assert Offers().of(Field((row,)), {}) is None, "not known yet"
