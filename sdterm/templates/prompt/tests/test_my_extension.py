from pathlib import Path

from sdterm.hooks import PromptTransform
from sdterm.testing import assert_transform_conforms, load_extension


def test_it_keeps_the_rules() -> None:
    plugins = load_extension(Path(__file__).parents[1])
    (transform,) = [each for each in plugins.all(PromptTransform) if each.id == "my_extension"]
    assert_transform_conforms(transform, prompts=["an ANYCOLOUR house", "a lake"])
