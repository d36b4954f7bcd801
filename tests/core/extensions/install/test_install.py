"""Installing, updating, approving, switching and removing, on real files; what comes from an index, from a folder of
real wheels."""

import itertools
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from sdterm.core.extensions import ExtensionError
from sdterm.core.extensions.discovery import discover
from sdterm.core.extensions.install import manage
from sdterm.core.extensions.install.dependencies import host_packages
from sdterm.core.extensions.install.install import Proposal, apply, discard, prepare_install, prepare_trust
from sdterm.core.extensions.install.listing import find_listed, listed
from sdterm.core.extensions.install.records import FOLDER, notes, read_records
from sdterm.core.extensions.install.slug import alike, check_slug, slug_of
from sdterm.core.extensions.install.summary import told
from sdterm.core.extensions.registry import load_plugins
from sdterm.core.extensions.source import Source
from sdterm.core.names import UnknownNameError
from tests.core.extensions.making import folder, saver, wheel, zip_of

MANIFEST = 'name = "Soft Euler"\nversion = "{version}"\nsdterm-api = ">=1"\n{more}'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    place = tmp_path / "data"
    (place / "extensions").mkdir(parents=True)
    return place


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(tmp_path / "source" / "soft-euler")


def write(place: Path, version: str = "1.0", more: str = "", code: str | None = None) -> Path:
    files = {"__init__.py": code or saver("soft", f"b'{version}'"), "data/curve.json": f"[{version}]"}
    return folder(place, files | {"extension.toml": MANIFEST.format(version=version, more=more)})


def install(root: Path, source: Path | str, **how: Any) -> Proposal:
    proposal = prepare_install(root, str(source), quiet, **how)
    apply(proposal, quiet)
    return proposal


def quiet(_: str) -> None:
    pass


def says(root: Path, saver: str = "soft") -> bytes:
    """What the saver that is loaded now writes."""
    return load_plugins(root / "extensions").saver(saver).encode(None, "")


def extension(root: Path, slug: str = "soft-euler") -> Source:
    (found,) = (each for each in discover(root / "extensions") if each.slug == slug)
    return found


# --- installing -------------------------------------------------------------------------------------------------------


def test_a_proposal_says_everything_and_changes_nothing(root: Path, source: Path) -> None:
    write(source, more='capabilities = ["network"]\ndescription = "Softer."\nhomepage = "https://example.org/soft"')
    (source / "fast.bin").write_bytes(b"\x7fELF...")
    proposal = prepare_install(root, str(source), quiet)
    assert (proposal.slug, proposal.record.version, proposal.files) == ("soft-euler", "1.0", 4)
    assert proposal.record.capabilities == proposal.new_capabilities == ("network",)
    assert proposal.native == ("fast.bin",) and "compiled code" in proposal.warnings[0]
    assert proposal.changes.added == ("__init__.py", "data/curve.json", "extension.toml", "fast.bin")
    assert {"  Softer.", "  https://example.org/soft"} <= {*told(proposal)}
    assert not list((root / "extensions").iterdir()) and not read_records(root)
    discard(proposal)
    assert not list((root / FOLDER / ".staging").iterdir())


def test_what_is_installed_runs_and_none_of_it_ran_before(root: Path, source: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    write(source, code=f"open({str(marker)!r}, 'w')\n" + saver("soft", "b'1.0'"))
    install(root, source)
    assert not marker.exists()
    assert says(root) == b"1.0" and marker.exists()
    assert find_listed(root, "soft-euler").state == "on"
    (line,) = notes(root, "soft-euler")
    assert (line["what"], line["digest"]) == ("installed", extension(root).digest)


def test_a_single_file_and_an_archive_are_installed_too(root: Path, tmp_path: Path) -> None:
    install(root, folder(tmp_path, {"single_one.py": saver("single")}) / "single_one.py")
    install(root, zip_of(tmp_path / "x.zip", {"packed-one-main/__init__.py": saver("packed")}))
    plugins = load_plugins(root / "extensions")
    assert plugins.saver("single") and plugins.saver("packed") and not plugins.problems
    assert {row.slug for row in listed(root)} == {"single_one", "packed-one"}


def test_files_are_for_their_user_alone_to_write_whatever_they_were(root: Path, source: Path) -> None:
    (source / "__init__.py").chmod(0o777)
    (source / "data").chmod(0o777)
    old = os.umask(0)
    try:
        install(root, source)
    finally:
        os.umask(old)
    assert extension(root).refusal is None
    assert not any(path.stat().st_mode & 0o022 for path in (root / "extensions" / "soft-euler").rglob("*"))


@pytest.mark.parametrize(
    "files, words",
    [
        ({"README.md": "no code"}, "not an extension"),
        ({"__init__.py": "", "extension.toml": 'sdterm-api = ">=99"'}, "written for version >=99"),
        ({"__init__.py": "", "extension.toml": "name ="}, "extension.toml cannot be read"),
        ({"__init__.py": "", "extension.toml": 'name = "json"'}, "name of an installed Python module"),
        (
            {"__init__.py": "", "extension.toml": 'dependencies = ["x @ https://example.org/x.whl"]'},
            "package index only",
        ),
    ],
)
def test_what_is_refused_leaves_a_line_in_the_log_and_nothing_else(
    files: dict[str, str], words: str, root: Path, tmp_path: Path
) -> None:
    with pytest.raises(ExtensionError, match=words):
        prepare_install(root, str(folder(tmp_path / "wrong-one", files)), quiet)
    assert not list((root / "extensions").iterdir()) and not list((root / FOLDER / ".staging").iterdir())
    assert [line["what"] for line in notes(root, "")] == ["refused"]


def test_credentials_in_a_url_are_not_written_down(root: Path) -> None:
    with pytest.raises(ExtensionError):
        prepare_install(root, "https://user:secret@example.org/x", quiet)
    assert "secret" not in (root / FOLDER / "log.jsonl").read_text()


def test_what_was_put_there_by_hand_is_left_alone(root: Path, source: Path) -> None:
    mine = folder(root / "extensions" / "soft-euler", {"__init__.py": saver("mine")})
    for deed in (
        lambda: prepare_install(root, str(source), quiet, replace_changes=True),
        lambda: prepare_trust(root, "soft-euler", quiet),
        lambda: manage.remove(root, "soft-euler", quiet),
    ):
        with pytest.raises(ExtensionError, match="by hand"):
            deed()
    assert (mine / "__init__.py").read_text() == saver("mine")
    install(root, source, name="softer")
    assert {row.slug: row.came for row in listed(root)} == {"soft-euler": "by hand", "softer": "installed"}


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "slug", ["", "a", "A", "1a", "a" * 41, "a.b", "../a", "json", "numpy", "core", "sdterm-x", "mine"]
)
def test_a_name_that_is_none_or_belongs_to_another_is_refused(slug: str) -> None:
    with pytest.raises(ExtensionError, match="--as"):
        check_slug(slug, {"mine"})


@pytest.mark.parametrize("text, slug", [("Soft Euler", "soft-euler"), ("  Über/..Test ", "ber-test"), ("\x1b", "")])
def test_a_name_is_made_of_what_somebody_wrote(text: str, slug: str) -> None:
    assert slug_of(text) == slug


def test_a_name_nearly_that_of_another_is_warned_of(root: Path, source: Path) -> None:
    install(root, source)
    proposal = prepare_install(root, str(source), quiet, name="soft-eular")
    discard(proposal)
    assert any("soft-euler" in warning for warning in proposal.warnings)
    assert alike("abcde", ["abcde", "abdce", "abc", "xyz"]) == ["abc", "abdce"]


# --- approval ---------------------------------------------------------------------------------------------------------


def test_changed_content_waits_and_what_was_approved_runs(root: Path, source: Path) -> None:
    install(root, source)
    approved = extension(root).digest
    folder(root / "extensions" / "soft-euler", {"__init__.py": saver("soft", "b'changed'"), "more.py": ""})
    shutil.rmtree(root / "extensions" / "soft-euler" / "data")
    assert says(root) == b"1.0" and extension(root).digest == approved
    assert find_listed(root, "soft-euler").state == "waiting"

    proposal = prepare_trust(root, "soft-euler", quiet)
    changes = proposal.changes
    assert (changes.added, changes.removed, changes.changed) == (("more.py",), ("data/curve.json",), ("__init__.py",))
    assert says(root) == b"1.0"
    apply(proposal, quiet)
    assert says(root) == b"changed" and find_listed(root, "soft-euler").state == "on"
    assert [line["what"] for line in notes(root, "soft-euler")] == ["installed", "trusted"]


def test_what_is_as_it_was_approved_needs_no_trust(root: Path, source: Path) -> None:
    install(root, source)
    with pytest.raises(ExtensionError, match="unchanged since it was approved"):
        prepare_trust(root, "soft-euler", quiet)
    with pytest.raises(ExtensionError, match="No extension"):
        prepare_trust(root, "nothing", quiet)


def test_without_its_approved_copy_changed_content_does_not_run(root: Path, source: Path) -> None:
    install(root, source)
    shutil.rmtree(root / "cache")
    assert says(root) == b"1.0"  # unchanged, it needs no copy
    folder(root / "extensions" / "soft-euler", {"__init__.py": "raise SystemExit('imported')"})
    assert "changed since it was approved" in str(extension(root).refusal)


# --- updating ---------------------------------------------------------------------------------------------------------


def test_the_same_command_updates_and_says_what_changes(root: Path, source: Path) -> None:
    install(root, source)
    write(source, "2.0", more='capabilities = ["subprocess"]')
    (source / "more.py").touch()
    proposal = prepare_install(root, str(source), quiet)
    assert proposal.before and (proposal.before.version, proposal.record.version) == ("1.0", "2.0")
    assert proposal.new_capabilities == ("subprocess",)
    assert proposal.changes.added == ("more.py",) and "__init__.py" in proposal.changes.changed
    assert says(root) == b"1.0"
    apply(proposal, quiet)
    assert says(root) == b"2.0"
    assert (root / "extensions" / "soft-euler" / "more.py").is_file()
    assert not list((root / "extensions").glob(".*"))


def test_an_update_without_change_is_known(root: Path, source: Path) -> None:
    install(root, source)
    proposal = prepare_install(root, str(source), quiet)
    discard(proposal)
    assert proposal.unchanged
    shutil.rmtree(root / "extensions" / "soft-euler")
    assert find_listed(root, "soft-euler").state == "gone"
    assert not install(root, source).in_place
    assert says(root) == b"1.0"


def test_an_update_may_turn_a_file_into_a_folder(root: Path, tmp_path: Path) -> None:
    install(root, folder(tmp_path, {"soft-euler.py": saver("soft", "b'file'")}) / "soft-euler.py")
    install(root, write(tmp_path / "other" / "soft-euler"))
    assert says(root) == b"1.0" and not (root / "extensions" / "soft-euler.py").exists()


def test_what_its_user_changed_is_not_overwritten_and_never_lost(root: Path, source: Path) -> None:
    install(root, source)
    there = root / "extensions" / "soft-euler"
    folder(there, {"__init__.py": saver("soft", "b'mine'"), "notes.txt": "mine", ".hidden": "mine"})
    write(source, "2.0")
    with pytest.raises(ExtensionError, match="--replace"):
        prepare_install(root, str(source), quiet)
    told: list[str] = []
    apply(prepare_install(root, str(source), quiet, replace_changes=True), told.append)
    assert says(root) == b"2.0" and not (there / "notes.txt").exists()
    (kept,) = (root / "extensions").glob(".soft-euler.kept-*")
    assert {file.name for file in kept.rglob("*")} == {"__init__.py", "notes.txt", ".hidden"}
    assert any(str(kept) in line for line in told)


def test_two_who_change_one_extension_do_not_mix(root: Path, source: Path) -> None:
    first = prepare_install(root, str(source), quiet)
    second = prepare_install(root, str(source), quiet)
    apply(first, quiet)
    with pytest.raises(ExtensionError, match="meanwhile"):
        apply(second, quiet)
    assert says(root) == b"1.0"


CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "shutil.rmtree", "shutil.copyfile"}


def dies(root: Path, source: Path, number: int) -> bool:
    """Install in a process that ends just before its change to the file system with this number. Whether it came so
    far."""
    proposal = prepare_install(root, str(source), quiet)
    child = os.fork()
    if child == 0:
        left = iter(range(number))

        def watch(event: str, arguments: tuple[object, ...]) -> None:
            if event in CHANGES and str(root) in str(arguments) and next(left, None) is None:
                os._exit(9)

        sys.addaudithook(watch)
        try:
            apply(proposal, quiet)
        finally:
            os._exit(0 if read_records(root) else 1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9)
    proposal.staging._held.close()  # as if this process had been the one that died
    return code == 9


@pytest.mark.few(1)
@pytest.mark.parametrize("first", [True, False], ids=["installing", "updating"])
def test_whenever_its_process_dies_there_is_the_old_or_the_new_one(first: bool, source: Path, tmp_path: Path) -> None:
    before = tmp_path / "before"
    (before / "extensions").mkdir(parents=True)
    if not first:
        install(before, source)
        write(source, "2.0")
        (source / "more.py").touch()
    old, new = ("none", "1.0") if first else ("1.0", "2.0")
    seen = []
    for number in itertools.count(step=3 if first else 1):
        root = tmp_path / f"crash-{number}"
        shutil.copytree(before, root)
        died = dies(root, source, number)
        seen.append(runs(root))
        with pytest.raises(UnknownNameError):  # any change settles first
            manage.switch(root, "there is no such extension", False)
        assert runs(root) == seen[-1], "settling changed what runs"
        assert not list((root / "extensions").glob(".*.arriving")) and not list((root / FOLDER / ".staging").iterdir())
        if not died:
            break
    assert seen == sorted(seen, key=[old, new].index) and {old, new} == set(seen)
    assert len(seen) > 10


def runs(root: Path) -> str:
    """The version that is there, whole."""
    found = [each for each in discover(root / "extensions") if each.origin == "extension"]
    if not found:
        return "none"
    (source,) = found
    assert source.refusal is None
    there = json.loads((Path(source.location) / "data" / "curve.json").read_text())[0]
    assert f"b'{there}'" in (Path(source.location) / "__init__.py").read_text() and source.version == str(there)
    return str(there)


# --- switching and removing -------------------------------------------------------------------------------------------


def test_extensions_are_switched_off_and_on_whoever_put_them_there(root: Path, source: Path) -> None:
    install(root, source)
    folder(root / "extensions", {"mine.py": saver("mine")})
    for slug, name in (("soft-euler", "soft"), ("mine", "mine")):
        assert manage.switch(root, slug, False)
        assert not manage.switch(root, slug, False)
        assert find_listed(root, slug).state == "off"
        assert [p.source.slug for p in load_plugins(root / "extensions").problems] == [slug]
        assert manage.switch(root, slug, True)
        assert load_plugins(root / "extensions").saver(name)
    assert "mine" not in read_records(root)


def test_an_update_leaves_it_switched_off(root: Path, source: Path) -> None:
    install(root, source)
    manage.switch(root, "soft-euler", False)
    write(source, "2.0")
    install(root, source)
    assert find_listed(root, "soft-euler").state == "off"


def test_removing_takes_what_was_installed_and_keeps_what_was_not(root: Path, source: Path) -> None:
    install(root, source)
    there = root / "extensions" / "soft-euler"
    folder(there, {"mine.txt": "mine", "__pycache__/a.pyc": ""})
    (there / "link").symlink_to(source)
    manage.remove(root, "soft-euler", quiet)
    assert not there.exists() and not read_records(root)
    (kept,) = (root / "extensions").glob(".soft-euler.kept-*")
    assert {path.name for path in kept.iterdir()} == {"mine.txt", "link"}
    assert (source / "__init__.py").is_file()
    assert not [each for each in discover(root / "extensions") if each.origin == "extension"]


def test_a_folder_that_its_user_replaced_by_a_link_is_not_followed(root: Path, source: Path) -> None:
    install(root, source)
    shutil.rmtree(root / "extensions" / "soft-euler")
    (root / "extensions" / "soft-euler").symlink_to(source)
    manage.remove(root, "soft-euler", quiet)
    assert (source / "__init__.py").is_file()


def test_removing_what_is_not_there_names_what_is_near(root: Path, source: Path) -> None:
    install(root, source)
    with pytest.raises(UnknownNameError, match="soft-euler"):
        manage.remove(root, "soft-eular", quiet)


# --- who may write ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["", "mine", "mine/__init__.py", "mine/data"])
def test_what_everyone_may_write_does_not_run(what: str, root: Path) -> None:
    folder(root / "extensions" / "mine", {"__init__.py": "raise SystemExit('imported')", "data/a": ""})
    place = root / "extensions" / what
    place.chmod(place.stat().st_mode | 0o002)
    assert "everyone can write to" in str(extension(root, "mine").refusal)


@pytest.mark.parametrize("sticky", [True, False])
def test_a_folder_above_that_everyone_may_write_is_fine_only_like_tmp(sticky: bool, root: Path) -> None:
    folder(root / "extensions" / "mine", {"__init__.py": saver("mine")})
    root.chmod(0o1777 if sticky else 0o777)
    assert (extension(root, "mine").refusal is None) == sticky


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_belongs_to_somebody_else_is_said(root: Path) -> None:
    folder(root / "extensions" / "mine", {"__init__.py": saver("mine")})
    os.chown(root / "extensions" / "mine" / "__init__.py", 12345, -1)
    source = extension(root, "mine")
    assert source.refusal is None and source.notice == "__init__.py belongs to another user (number 12345)."


# --- packages ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return tmp_path / "index"


@pytest.fixture
def offline(index: Path) -> dict[str, Any]:
    """How pip finds wheels in the test's folder alone."""
    return {"pip": ("--no-index", "--find-links", str(index))}


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.mark.heavy
def test_what_an_extension_needs_lies_in_its_own_place_and_behind_everything(
    root: Path, source: Path, index: Path, offline: dict[str, Any]
) -> None:
    wheel(index, "wobble_base", "1.1", {"wobble_base.py": "word = b'base'\n", "click.py": "raise SystemExit\n"})
    wheel(index, "wobble", "2.0", {"wobble.py": "from wobble_base import word\n"}, needs=["wobble_base>=1", "click"])
    code = "from wobble import word\nimport click\n" + saver("soft", "word + click.echo.__name__.encode()")
    write(source, more='dependencies = ["wobble>=1"]', code=code)
    proposal = prepare_install(root, str(source), quiet, **offline)
    assert [(each.name, each.version) for each in proposal.wheels] == [("wobble", "2.0"), ("wobble-base", "1.1")]
    assert not list((root / FOLDER).glob("*/packages-*"))
    apply(proposal, quiet)
    assert says(root) == b"baseecho"
    assert extension(root).site == str(root / FOLDER / "soft-euler" / read_records(root)["soft-euler"].site)
    assert sys.path[-1] == extension(root).site
    assert find_listed(root, "soft-euler").packages == ("wobble 2.0", "wobble-base 1.1")
    manage.remove(root, "soft-euler", quiet)
    assert not (root / FOLDER / "soft-euler").exists()


@pytest.mark.few(1)
@pytest.mark.parametrize("there", [True, False], ids=["an index that has it", "an index that has not"])
def test_what_would_change_a_package_of_sdterm_is_refused_with_the_line(
    there: bool, root: Path, source: Path, index: Path, offline: dict[str, Any]
) -> None:
    if there:
        wheel(index, "click", "1.0", {"click.py": ""})
    wheel(index, "old_wobble", "1.0", {"old_wobble.py": ""}, needs=["click<2"])
    write(source, more='dependencies = ["old_wobble"]')
    with pytest.raises(ExtensionError, match="would change an installed package") as caught:
        prepare_install(root, str(source), quiet, **offline)
    assert f"click=={host_packages()['click']}" in str(caught.value) and "click<2" in str(caught.value)


@pytest.mark.heavy
def test_a_second_version_of_a_library_is_refused_with_whose_the_first_is(
    root: Path, source: Path, tmp_path: Path, index: Path, offline: dict[str, Any]
) -> None:
    for version in ("1.0", "2.0"):
        wheel(index, "wibble", version, {"wibble.py": ""})
    write(source, more='dependencies = ["wibble<2"]')
    install(root, source, **offline)
    second = folder(
        tmp_path / "second-one", {"__init__.py": "", "extension.toml": 'dependencies = ["wibble>=2"]\nversion = "1"'}
    )
    with pytest.raises(ExtensionError, match=r"wibble 1\.0 came with soft-euler"):
        prepare_install(root, str(second), quiet, **offline)


@pytest.mark.few(1)
@pytest.mark.parametrize("built", [True, False], ids=["only as source", "not at all"])
def test_only_wheels_are_installed_and_nothing_is_built(
    built: bool, root: Path, source: Path, index: Path, offline: dict[str, Any], tmp_path: Path
) -> None:
    index.mkdir()
    if built:
        files = {"wubble-1.0/setup.py": f"open({str(tmp_path / 'ran')!r}, 'w')", "wubble-1.0/PKG-INFO": "Name: wubble"}
        zip_of(index / "wubble-1.0.zip", files)
    write(source, more='dependencies = ["wubble"]')
    with pytest.raises(ExtensionError, match="No matching distribution found for wubble"):
        prepare_install(root, str(source), quiet, **offline)
    assert not (tmp_path / "ran").exists()


def test_a_package_that_announces_a_plugin_is_installed_for_sdterm_alone(
    root: Path, index: Path, offline: dict[str, Any]
) -> None:
    wheel(index, "wheeled", "1.0", {"wheeled.py": saver("wheeled", "b'1.0'")}, announces="rolling = wheeled")
    proposal = prepare_install(root, "wheeled", quiet, **offline)
    assert (proposal.slug, proposal.record.kind, proposal.record.version) == ("rolling", "package", "wheeled 1.0")
    apply(proposal, quiet)
    assert not list((root / "extensions").iterdir())
    source = extension(root, "rolling")
    assert (source.origin, source.version) == ("package", "wheeled 1.0")
    assert says(root, "wheeled") == b"1.0"
    assert [each.slug for each in discover(root / "extensions")].count("rolling") == 1  # though importable now
    assert find_listed(root, "rolling").came == "installed"

    wheel(index, "wheeled", "2.0", {"wheeled.py": saver("wheeled", "b'2.0'")}, announces="rolling = wheeled")
    proposal = install(root, "wheeled==2.0", **offline)
    assert proposal.before and "wheeled.py" in proposal.changes.changed
    assert extension(root, "rolling").version == "wheeled 2.0" and extension(root, "rolling").digest != source.digest
    assert says(root, "wheeled") == b"2.0"  # in the process that had loaded the first
    assert manage.switch(root, "rolling", False) and find_listed(root, "rolling").state == "off"
    manage.remove(root, "rolling", quiet)
    assert not listed(root) and not (root / FOLDER / "rolling").exists()


@pytest.mark.few(1)
@pytest.mark.parametrize("announces", ["one = plain\ntwo = plain", "png = plain"])
def test_a_package_that_announces_no_plugin_of_its_own_is_refused(
    announces: str, root: Path, tmp_path: Path, offline: dict[str, Any]
) -> None:
    made = wheel(tmp_path, "plain", "1.0", {"plain.py": ""}, announces=announces)
    with pytest.raises(ExtensionError, match=r"must have one sdterm plugin|name of another plugin"):
        prepare_install(root, str(made), quiet, **offline)
    assert not list((root / FOLDER / ".staging").iterdir())


def test_without_pip_one_is_told(root: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    write(source, more='dependencies = ["wobble"]')
    with pytest.raises(ExtensionError, match="pip is missing"):
        prepare_install(root, str(source), quiet)


@pytest.mark.heavy
def test_a_package_of_the_real_index_is_resolved_and_one_that_would_change_sdterm_s_own_is_refused(
    root: Path, source: Path
) -> None:
    write(source, more='dependencies = ["einops==0.8.0"]')
    proposal = prepare_install(root, str(source), quiet)
    discard(proposal)
    assert [(each.name, each.version, len(each.sha256)) for each in proposal.wheels] == [("einops", "0.8.0", 64)]
    write(source, more='dependencies = ["click<8"]')
    with pytest.raises(ExtensionError, match="would change an installed package"):
        prepare_install(root, str(source), quiet)
