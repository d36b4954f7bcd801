"""What the trial of real terminals finds right and wrong, and the terminals that are installed here."""

import http.client
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image, ImageDraw

from tools.terminals import likeness
from tools.terminals.line import Line, served
from tools.terminals.programs import TERMINALS, XTERM_JS, missing
from tools.terminals.trial import data_folder, tried

CELL = 9, 18


@pytest.fixture
def screen() -> Image.Image:
    """It shows the picture at (200, 90), 30x15 cells large."""
    screen = Image.new("RGB", (720, 432), "#101010")
    ImageDraw.Draw(screen).text((20, 20), "Generate", fill="#ff8700")
    screen.paste(likeness.specimen().resize((270, 270)), (200, 90))
    return screen


def test_a_picture_is_found_and_is_like_its_file(screen: Image.Image) -> None:
    box = likeness.find(screen)
    assert box == (200, 90, 470, 360)
    found = likeness.compare(screen, box, likeness.specimen(), CELL)
    assert found.holds(3, 10) and found.psnr > 35, found


@pytest.mark.parametrize("colour", ["#d2b48c", "#8a4fb0"])
def test_a_small_spot_of_a_wrong_colour_is_noticed(colour: str, screen: Image.Image) -> None:
    ImageDraw.Draw(screen).rectangle((250, 130, 310, 180), fill=colour)
    box = likeness.find(screen)
    assert box
    found = likeness.compare(screen, box, likeness.specimen(), CELL)
    assert found.holds(20, 1000) and not found.holds(20, 60), found


def test_a_picture_of_another_shape_and_none_at_all_are_noticed(screen: Image.Image) -> None:
    assert likeness.find(Image.new("RGB", (720, 432), "#ff8700")) is None
    box = likeness.find(screen.resize((720, 300)))
    assert box and not likeness.compare(screen.resize((720, 300)), box, likeness.specimen(), CELL).holds(1000, 1000)


def test_the_line_is_for_whoever_knows_its_address_and_has_files_of_one_folder(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "a.js").write_text("ours")
    (tmp_path / "secret").write_text("not theirs")

    def answer(address: str, path: str, method: str = "GET") -> int:
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
        with closing(connection):
            connection.request(method, path)  # as it is, dots and all
            return connection.getresponse().status

    with served(Line(tmp_path), tmp_path / "lib") as address:
        folder = urlsplit(address).path
        assert answer(address, f"{folder}/lib/a.js") == answer(address, f"{folder}/?columns=80") == 200
        for path in (f"{folder}/lib/../secret", f"{folder}/lib/{tmp_path}/secret", "/", "/lib/a.js", "/out"):
            assert answer(address, path) == 404, path
        assert answer(address, "/open", "POST") == 404


@pytest.fixture(scope="module")
def data() -> Iterator[Path]:
    with data_folder() as folder:
        yield folder


@pytest.mark.heavy
@pytest.mark.parametrize("name", TERMINALS)
def test_a_terminal_shows_the_picture_on_every_screen(name: str, data: Path, tmp_path: Path) -> None:
    if why := missing(name, Path("/"), XTERM_JS):
        pytest.skip(why)
    trial = tried(name, data, tmp_path, xterm_js=XTERM_JS)
    assert trial.passed, "\n".join([f"{trial.protocol}, {trial.size}; {tmp_path}", *map(str, trial.seen)])
