from pathlib import Path

from sdterm.testing import assert_denoise_hook_conforms, load_extension


def test_it_keeps_the_rules() -> None:
    plugins = load_extension(Path(__file__).parents[1])
    assert_denoise_hook_conforms(plugins.denoise_hook("my_extension"))
