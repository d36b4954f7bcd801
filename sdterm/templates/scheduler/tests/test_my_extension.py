from pathlib import Path

from sdterm.testing import assert_scheduler_conforms, load_extension


def test_it_keeps_the_rules() -> None:
    plugins = load_extension(Path(__file__).parents[1])
    assert_scheduler_conforms(plugins.scheduler("my_extension"))
