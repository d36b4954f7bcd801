"""Putting approved files where they belong, and taking them away, without losing what is not ours."""

import contextlib
import filecmp
import os
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from sdterm.core.extensions import ExtensionError
from sdterm.core.extensions.frozen import FOLDER as FROZEN
from sdterm.core.extensions.frozen import frozen
from sdterm.core.extensions.install.dependencies import PLACE
from sdterm.core.extensions.install.records import FOLDER, InstallRecord, own_place, read_records, write_records
from sdterm.core.extensions.install.staging import sweep_staging
from sdterm.core.extensions.source import digest, files_of
from sdterm.messages import message

Tell = Callable[[str], None]


def extension_paths(root: Path, slug: str) -> list[Path]:
    """Where the files of an extension are: its folder, its file, or, by a mistake, both."""
    folder = root / "extensions"
    return [path for path in (folder / slug, folder / f"{slug}.py") if os.path.lexists(path)]


def lay_out(path: Path, target: Path) -> None:
    """Copy the files that an extension consists of, for nobody else to write, whatever they were. Raises OSError."""
    for file in files_of(path):
        place = target / file.relative_to(path) if path.is_dir() else target
        place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        shutil.copyfile(file, place)
        place.chmod(0o644)
    for folder, _, _ in os.walk(target):
        os.chmod(folder, 0o755)


def put_in_place(root: Path, slug: str, record: InstallRecord, tell: Tell) -> None:
    """Make what lies in `extensions/` what was approved. Done again after a crash it goes on. Raises OSError."""
    approved = frozen(root, slug, record.digest or "")
    if approved is None:
        raise FileNotFoundError(message("the approved copy of {slug} is missing", slug=slug))
    target = root / "extensions" / approved.name
    arriving = root / "extensions" / f".{slug}.arriving"
    shutil.rmtree(arriving, ignore_errors=True)
    if extension_paths(root, slug) != [target] or digest(target) != record.digest:
        lay_out(approved, arriving / approved.name)
        take_away(root, slug, tell)
        (arriving / approved.name).rename(target)
        shutil.rmtree(arriving, ignore_errors=True)


def take_away(root: Path, slug: str, tell: Tell) -> None:
    """Delete an extension's files as far as they are what was approved at some time. What somebody changed or added is
    kept beside it, where nothing loads it. Raises OSError."""
    for path in extension_paths(root, slug):
        gone = path.with_name(f".{path.name}.kept-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}")
        path.rename(gone)  # at once: what is being deleted is never loaded
        if not _emptied(gone, root, slug):
            tell(message("Your changes in {name} are kept in {folder}.", name=path.name, folder=gone))


def _emptied(gone: Path, root: Path, slug: str) -> bool:
    if gone.is_symlink():
        return False
    copies = [copy for copy in (root / FROZEN / slug).glob("*/*") if copy.is_dir() == gone.is_dir()]
    if not gone.is_dir():
        if any(filecmp.cmp(gone, copy, shallow=False) for copy in copies):
            gone.unlink()
        return not gone.exists()
    for folder, _, files in os.walk(gone, topdown=False):
        for file in (Path(folder, name) for name in files):
            known = (copy / file.relative_to(gone) for copy in copies)
            if _is_compiled(file) or any(_same(file, one) for one in known):
                file.unlink()
        with contextlib.suppress(OSError):  # something is left in it
            os.rmdir(folder)
    return not gone.exists()


def _same(file: Path, copy: Path) -> bool:
    return not file.is_symlink() and file.is_file() and copy.is_file() and filecmp.cmp(file, copy, shallow=False)


def _is_compiled(file: Path) -> bool:
    return file.suffix == ".pyc" and file.parent.name == "__pycache__" and not file.is_symlink()


def settle(root: Path) -> None:
    """Bring to an end what a process that died had begun. Only inside `records.changing`. Raises ExtensionError,
    RecordsError."""
    sweep_staging(root)
    records = read_records(root)
    for slug, record in list(records.items()):
        if record.arriving:
            try:
                put_in_place(root, slug, record, lambda _: None)
            except FileNotFoundError:  # its copy is gone: what lies there waits for approval
                pass
            except OSError as error:
                raise ExtensionError(
                    message("{slug} cannot be installed: {problem}.", slug=slug, problem=error.strerror or error)
                ) from error
            records[slug] = record.model_copy(update={"arriving": False})
            write_records(root, records)
    for folder in (root / FOLDER).glob("[!.]*/"):
        if folder.is_dir() and folder.name not in records:
            shutil.rmtree(folder, ignore_errors=True)


def sweep_places(root: Path, slug: str, kept: Iterable[InstallRecord | None]) -> None:
    """Remove the places of packages that no record names any more."""
    names = {record.site for record in kept if record}
    for place in own_place(root, slug).glob(f"{PLACE}*"):
        if place.name not in names:
            shutil.rmtree(place, ignore_errors=True)
