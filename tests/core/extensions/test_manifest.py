"""`extension.toml` is data: any bytes give a manifest or a sentence, and nothing is run."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdterm.core.extensions.discovery import discover
from sdterm.core.extensions.manifest import FILE, MOST_BYTES, Manifest, ManifestError, parse_manifest, read_manifest
from sdterm.core.extensions.registry import load_plugins
from sdterm.core.text import printable
from sdterm.hooks import API_VERSION
from tests.core.extensions.making import folder, saver

WHOLE = """
name = "Soft Euler"
version = "1.0"
description = "Euler, softer."
authors = ["A. Person"]
license = "MIT"
homepage = "https://example.org"
sdterm-api = ">=1,<2"
dependencies = ["einops>=0.8"]
capabilities = ["network"]
"""


def test_everything_that_may_be_said_is_read() -> None:
    manifest = parse_manifest(WHOLE.encode())
    assert (manifest.name, manifest.version, manifest.api) == ("Soft Euler", "1.0", ">=1,<2")
    assert manifest.dependencies == ("einops>=0.8",) and manifest.capabilities == ("network",)
    assert manifest.refusal is None


def test_nothing_need_be_said(tmp_path: Path) -> None:
    assert read_manifest(folder(tmp_path / "mine", {"__init__.py": ""})) == Manifest() == parse_manifest(b"")
    assert read_manifest(folder(tmp_path, {"mine.py": ""}) / "mine.py") == Manifest()


@pytest.mark.parametrize(
    "text, words",
    [
        ('sdterm_api = ">=1"\nverzion = "1"', "verzion is not a known key; did you mean version?"),
        ('version = "one"', "not a version number"),
        ('sdterm-api = "1 or 2"', "not a version range"),
        ('dependencies = ["a b"]', "not a package requirement for pip"),
        ('capabilities = ["magic"]', "not one of network"),
        ("name = 1", "name:"),
        (f'name = "{"x" * 61}"', "name:"),
        ("name = ", "cannot be read"),
        ("[" * 5000, "cannot be read"),
        ("a = " + "[" * 5000, "cannot be read"),
        (f"a = {'1' * 5000}", "cannot be read"),
        ('"\\u001b[31m" = 1', "is not a known key"),
        ("#" * (MOST_BYTES + 1), "larger than"),
    ],
)
def test_a_mistake_is_said(text: str, words: str) -> None:
    with pytest.raises(ManifestError, match=words) as caught:
        parse_manifest(text.encode())
    assert printable(str(caught.value), limit=10_000) == str(caught.value)


@given(st.binary(max_size=300))
def test_any_bytes_give_a_manifest_or_a_sentence(content: bytes) -> None:
    read(content)


VALUES = st.recursive(
    st.text(max_size=20) | st.integers() | st.booleans() | st.floats(), lambda inner: st.lists(inner, max_size=3)
)


@given(st.dictionaries(st.sampled_from([*WHOLE.split()[::3], "version", "dependencies", "sdterm-api"]), VALUES))
def test_any_value_of_any_key_gives_a_manifest_or_a_sentence(content: dict[str, object]) -> None:
    read("".join(f'"{key}" = {toml(value)}\n' for key, value in content.items()).encode())


def toml(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case list():
            return f"[{', '.join(map(toml, value))}]"
        case str():
            return '"' + "".join(f"\\U{ord(c):08x}" for c in value if not 0xD800 <= ord(c) < 0xE000) + '"'
        case _:
            return str(value)


def read(content: bytes) -> None:
    try:
        manifest = parse_manifest(content)
    except ManifestError as error:
        assert str(error).startswith(FILE)
        return
    assert manifest.refusal is None or str(API_VERSION) in manifest.refusal


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    place = folder(tmp_path / "mine", {"__init__.py": ""})
    os.mkfifo(place / FILE)
    with pytest.raises(ManifestError, match="is not a file"):
        read_manifest(place)


# --- what becomes of an extension -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "manifest, words",
    [('sdterm-api = ">=99"', "written for version >=99"), ("name = ", "extension.toml cannot be read")],
)
def test_an_extension_for_another_contract_is_refused_and_never_imported(
    manifest: str, words: str, tmp_path: Path
) -> None:
    folder(tmp_path / "extensions" / "mine", {"__init__.py": "raise SystemExit('imported')", FILE: manifest})
    (problem,) = load_plugins(tmp_path / "extensions").problems
    assert problem.error and words in problem.error


def test_an_extension_that_says_nothing_wrong_runs_and_shows_its_version(tmp_path: Path) -> None:
    folder(
        tmp_path / "extensions" / "mine", {"__init__.py": saver("mine"), FILE: 'version = "1.2"\nsdterm-api = ">=1"'}
    )
    assert load_plugins(tmp_path / "extensions").saver("mine")
    assert [source.version for source in discover(tmp_path / "extensions") if source.slug == "mine"] == ["1.2"]
