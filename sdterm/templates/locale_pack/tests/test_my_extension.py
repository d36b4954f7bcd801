from pathlib import Path

from sdterm.hooks import LocalePack
from sdterm.testing import load_extension


def test_it_brings_its_messages() -> None:
    plugins = load_extension(Path(__file__).parents[1])
    (pack,) = plugins.all(LocalePack)
    assert pack.messages
