"""Beginning an extension: a folder that works, has a test, and is to be changed."""

import shutil
from pathlib import Path

from sdterm.core.extensions import ExtensionError
from sdterm.core.extensions.install.slug import check_slug
from sdterm.core.extensions.kinds import KINDS
from sdterm.core.settings.paths import PACKAGE
from sdterm.core.text import printable
from sdterm.messages import message

DATA = "locale"
"""The template of what has no hook: a language in a folder of JSON."""
TEMPLATES = (*(kind.template for kind in KINDS), DATA)
_FOLDER = PACKAGE / "templates"
_SLUG, _NAME = "my_extension", "My extension"  # what a template calls itself


def begin(name: str, kind: str, folder: Path) -> Path:
    """Write a new extension into `folder`. Returns where it is. Raises ExtensionError."""
    slug = name.replace("-", "_")
    check_slug(slug, (), hint=message("Choose another name."))
    place = folder / slug
    if place.exists() or place.with_suffix(".py").exists():
        raise ExtensionError(message("{folder} already exists. Choose another name.", folder=printable(str(place))))
    words = slug.replace("_", " ").capitalize()
    try:
        shutil.copytree(_FOLDER / kind, place, ignore=shutil.ignore_patterns("__pycache__"))
        for file in [path for path in place.rglob("*") if path.is_file()]:
            text = file.read_text(encoding="utf-8").replace(_SLUG, slug).replace(_NAME, words)
            file.write_text(text, encoding="utf-8")
            file.rename(file.with_name(file.name.replace(_SLUG, slug)))
    except OSError as error:
        raise ExtensionError(
            message(
                "{folder} cannot be written: {problem}.", folder=printable(str(place)), problem=error.strerror or error
            )
        ) from error
    return place
