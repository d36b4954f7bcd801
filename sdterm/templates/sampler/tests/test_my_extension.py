from pathlib import Path

from sdterm.testing import assert_sampler_conforms, load_extension


def test_it_keeps_the_rules() -> None:
    plugins = load_extension(Path(__file__).parents[1])
    assert_sampler_conforms(plugins.sampler("my_extension"))
