"""How large a second pass is."""

import pytest

from sdterm import load_plugins
from sdterm.core.planning.choices import choose_parts
from sdterm.core.planning.hires import HiresSize, hires_size
from sdterm.request import RequestError, make_request


@pytest.mark.parametrize(
    ("fields", "first", "expected"),
    [
        ({"hires_scale": 2.0}, (128, 128), (256, 256, 256, 256)),
        ({"hires_scale": 1.3}, (128, 128), (166, 166, 160, 160)),
        ({"hires_scale": 2.0}, (100, 70), (200, 140, 200, 136)),
        ({"hires_width": 200}, (128, 128), (200, 200, 200, 200)),
        ({"hires_height": 168}, (128, 64), (336, 168, 336, 168)),
        ({"hires_width": 256, "hires_height": 192}, (128, 128), (256, 256, 256, 192)),
        ({"hires_width": 250, "hires_height": 190}, (128, 128), (250, 250, 248, 192)),
        ({"hires_width": 192, "hires_height": 256}, (128, 128), (256, 256, 192, 256)),
    ],
)
def test_the_size_is_a1111s(fields: dict[str, object], first: tuple[int, int], expected: tuple[int, ...]) -> None:
    assert hires_size(make_request(prompt="x", hires=True, **fields), *first, 8) == HiresSize(*expected)


@pytest.mark.parametrize(
    ("fields", "named"), [({"hires_scale": 8.0}, "hires_scale"), ({"hires_width": 4}, "hires_width")]
)
def test_a_size_that_nobody_can_draw_is_refused(fields: dict[str, object], named: str) -> None:
    with pytest.raises(RequestError) as caught:
        hires_size(make_request(prompt="x", hires=True, **fields), 2048, 2048, 8)
    assert caught.value.field == named


def test_a_hires_fix_begins_with_noise() -> None:
    both = make_request(prompt="x", hires=True, init_images=("0" * 64,))
    with pytest.raises(RequestError, match="init image") as caught:
        choose_parts(both, load_plugins())
    assert caught.value.field == "hires"


def test_the_second_pass_is_stepped_as_the_first_where_nothing_else_is_asked() -> None:
    plugins = load_plugins()
    asked = make_request(prompt="x", hires=True, sampler="Euler a", scheduler="Karras", sampler_options={"eta": 0.5})
    first, second = choose_parts(asked, plugins).passes
    assert first == second
    other = asked.model_copy(update={"hires_sampler": "Heun", "hires_scheduler": "Exponential"})
    _, second = choose_parts(other, plugins).passes
    assert (second.sampler.label, second.scheduler.label) == ("Heun", "Exponential")
    assert "eta" not in second.sampler_options, "which Heun does not have"
    another = asked.model_copy(update={"hires_sampler": "DPM++ 2S a"})
    assert choose_parts(another, plugins).passes[1].sampler_options["eta"] == 0.5
