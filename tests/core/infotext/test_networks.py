"""The networks of an infotext are found by their hashes."""

from pathlib import Path

import pytest

from sdterm import load_plugins
from sdterm.core.infotext.grammar import parse
from sdterm.core.infotext.networks import find_networks
from sdterm.core.infotext.read import read
from sdterm.core.library.checkpoints import Library
from tests.network_files import save

PLUGINS = load_plugins()


@pytest.fixture
def library(tmp_path: Path) -> Library:
    folder = tmp_path / "models" / "Lora"
    folder.mkdir(parents=True)
    save(folder, "ours", [("lora_unet_x.alpha", 1.0)])
    save(folder, "other", [("lora_unet_x.alpha", 2.0)])
    return Library(tmp_path)


def found(library: Library, prompt: str, hashes: str, read_at_most: int = 1 << 20) -> tuple[str, str]:
    text = f'{prompt}\nSteps: 5, Sampler: Euler, Seed: 1, Size: 64x64, Lora hashes: "{hashes}", Version: v1.9.4'
    return find_networks(read(parse(text), PLUGINS), library, read_at_most=read_at_most)


def test_a_lora_of_another_name_is_found_by_its_hash(library: Library) -> None:
    digest = library.short_hash(library.file("lora", "ours"))
    assert len(digest) == 12
    assert found(library, "a <lora:theirs:0.5> b", f"theirs: {digest}") == ("a <lora:ours:0.5> b", "")
    assert found(library, "a <lyco:theirs>", f"theirs: {digest}") == ("a <lyco:ours>", "")
    assert found(library, "a <lora:other:1>", f"other: {digest}") == ("a <lora:ours:1>", ""), "the hash is certain"
    assert found(library, "a <lora:ours:1>", f"ours: {digest}") == ("a <lora:ours:1>", "")


def test_a_lora_that_is_not_here_is_named(library: Library) -> None:
    prompt = "a <lora:theirs:0.5> <lora:unhashed:1>"
    assert found(library, prompt, "theirs: 0123456789ab") == (prompt, "These LoRAs are missing: theirs [0123456789ab].")


def test_nothing_is_hashed_where_nothing_may_be(library: Library) -> None:
    digest = Library(library.root / "elsewhere").short_hash(library.file("lora", "ours"))
    assert found(library, "a <lora:theirs:1>", f"theirs: {digest}", 0)[0] == "a <lora:theirs:1>"
    assert found(library, "a <lora:ours:1>", "ours: 0123456789ab", 0) == ("a <lora:ours:1>", ""), "nobody knows yet"
