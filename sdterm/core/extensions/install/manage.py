"""Switching extensions on and off, and removing what was installed."""

import shutil
from collections.abc import Callable
from pathlib import Path

from sdterm.core.extensions import ExtensionError
from sdterm.core.extensions.discovery import packages
from sdterm.core.extensions.install.listing import find_listed
from sdterm.core.extensions.install.placing import settle, take_away
from sdterm.core.extensions.install.records import InstallRecord, changing, note, own_place, read_records, write_records
from sdterm.messages import message


def switch(root: Path, slug: str, on: bool) -> bool:
    """Switch an extension on or off; whether that changed anything. Raises UnknownNameError, ExtensionError,
    RecordsError."""
    with changing(root):
        settle(root)
        slug = find_listed(root, slug).slug
        records = read_records(root)
        record = records.get(slug, InstallRecord())
        if record.enabled == on:
            return False
        records[slug] = record.model_copy(update={"enabled": on})
        if on and record.digest is None:
            del records[slug]  # put there by hand, it needs none
        write_records(root, records)
        note(root, "enabled" if on else "disabled", slug)
    return True


def remove(root: Path, slug: str, tell: Callable[[str], None]) -> None:
    """Remove what was installed, and nothing else: files that somebody changed or added are kept beside it. Raises
    UnknownNameError, ExtensionError, RecordsError."""
    with changing(root):
        settle(root)
        listed = find_listed(root, slug)
        slug = listed.slug
        records = read_records(root)
        record = records.get(slug)
        if record is None or record.digest is None:
            if slug in {source.slug for source in packages()}:
                raise ExtensionError(
                    message(
                        "{slug} belongs to the package {package}: remove that with pip.",
                        slug=slug,
                        package=listed.version,
                    )
                )
            raise ExtensionError(
                message("{slug} was put there by hand: delete {path} yourself.", slug=slug, path=listed.location)
            )
        try:
            take_away(root, slug, tell)
        except OSError as error:
            raise ExtensionError(
                message("{slug} cannot be removed: {problem}.", slug=slug, problem=error.strerror or error)
            ) from error
        write_records(root, {other: kept for other, kept in records.items() if other != slug})
        shutil.rmtree(own_place(root, slug), ignore_errors=True)
        note(root, "removed", slug, source=record.source, version=record.version, digest=record.digest)
