from pathlib import Path

from sdterm.testing import assert_upscaler_conforms, load_extension


def test_it_keeps_the_rules() -> None:
    plugins = load_extension(Path(__file__).parents[1])
    assert_upscaler_conforms(plugins.upscaler("my_extension"))
