"""What an extension needs from the package index: resolved before anything is installed, and placed beside sdterm's own
packages, never among them.
"""

import contextlib
import importlib.util
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from sdterm.core.extensions import ExtensionError
from sdterm.core.processes import BoundsError, Ended, run_bounded
from sdterm.core.text import printable
from sdterm.messages import message, sentences

SECONDS = 300
"""How long pip may take to resolve or to install."""


class DependencyError(ExtensionError):
    """A sentence: why what an extension needs cannot be had."""


@dataclass(frozen=True)
class Wheel:
    """One package that would be installed, exactly."""

    name: str
    version: str
    url: str
    sha256: str

    @property
    def pinned(self) -> str:
        """As pip takes it, nothing else fitting."""
        where = f" @ {self.url}" if self.url.startswith("file:") else f"=={self.version}"
        return f"{self.name}{where} --hash=sha256:{self.sha256}"


def host_packages() -> dict[str, str]:
    """Every package that sdterm runs with: name → version."""
    from packaging.version import InvalidVersion, Version  # not owed by a host that starts, as those below

    found: dict[str, str] = {}
    for distribution in distributions(path=[place for place in sys.path if not is_own_place(place)]):
        with contextlib.suppress(InvalidVersion, TypeError, KeyError, AttributeError):
            version = str(Version(distribution.version))
            found.setdefault(_canonical(distribution.metadata["Name"]), version)
    return found


def _canonical(name: str) -> str:
    from packaging.utils import canonicalize_name

    return canonicalize_name(name)


def is_own_place(place: str) -> bool:
    """Whether a place in `sys.path` is an extension's own, and not sdterm's."""
    return Path(place).name.startswith(PLACE)


PLACE = "packages-of-its-own-"
"""How the names of such places begin; the rest identifies what is in them."""


def resolve(
    requirements: Sequence[str], others: Mapping[str, tuple[str, str]], folder: Path, *, options: Sequence[str] = ()
) -> tuple[Wheel, ...]:
    """What pip would install for `requirements`, by a dry run that installs nothing and builds nothing.

    others: what other extensions have brought, name → (version, whose); one process holds one version of a library.
    folder: for pip's files. options: for pip. Raises DependencyError naming the conflict if a package of sdterm or of
    another extension would have to change.
    """
    from packaging.requirements import Requirement

    for requirement in requirements:
        if (url := Requirement(requirement).url) and not url.startswith("file:"):
            raise DependencyError(
                message(
                    "It needs {requirement}, but packages are installed from the package index only.",
                    requirement=printable(requirement),
                )
            )
    host = host_packages()
    kept = {name: version for name, (version, _) in others.items()} | host
    constraints, report = folder / "constraints.txt", folder / "report.json"
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in sorted(kept.items())))
    words = ["install", "--dry-run", "--report", str(report), "--constraint", str(constraints), *_WHEELS_ONLY]
    done = _pip([*words, *options, "--", *requirements])
    if done.code:
        raise DependencyError(_why(done.output + "\n" + done.errors, kept, others))
    wheels = tuple(map(_wheel, json.loads(report.read_text(encoding="utf-8"))["install"]))
    for wheel in wheels:
        if wheel.name in host or wheel.name == "sdterm":
            raise DependencyError(message("It would change {package}, which sdterm itself needs.", package=wheel.name))
    return tuple(sorted(wheels, key=lambda wheel: wheel.name))


def install(wheels: Iterable[Wheel], place: Path, folder: Path, *, options: Sequence[str] = ()) -> None:
    """Install exactly these wheels into `place`, checked by their hashes. Raises DependencyError."""
    lock = folder / "lock.txt"
    lock.write_text("".join(f"{wheel.pinned}\n" for wheel in wheels))
    words = ["install", "--no-deps", "--require-hashes", "--no-compile", "--target", str(place), *_WHEELS_ONLY]
    done = _pip([*words, *options, "--requirement", str(lock)])
    if done.code:
        raise DependencyError(_why(done.output + "\n" + done.errors, {}, {}))


_WHEELS_ONLY = (
    "--only-binary",
    ":all:",
    "--no-input",
    "--disable-pip-version-check",
    "--no-color",
    "--progress-bar=off",
)


def _wheel(item: Mapping[str, object]) -> Wheel:
    match item:
        case {
            "metadata": {"name": str(name), "version": str(version)},
            "download_info": {"url": str(url), "archive_info": {"hashes": {"sha256": str(sha256)}}},
        }:
            return Wheel(_canonical(name), version, url, sha256)
    raise DependencyError(message("pip did not say where a package comes from, so its version cannot be fixed."))


def _pip(words: list[str]) -> Ended:
    if importlib.util.find_spec("pip") is None:
        raise DependencyError(
            message(
                "It needs packages, and pip is missing: `{python} -m ensurepip` installs pip.", python=sys.executable
            )
        )
    environment = os.environ | {"PIP_REQUIRE_VIRTUALENV": "0", "PYTHONUTF8": "1", "COLUMNS": "1000"}
    try:
        return run_bounded([sys.executable, "-P", "-m", "pip", *words], SECONDS, environment)
    except BoundsError as error:
        raise DependencyError(message("pip {problem}.", problem=error)) from None


_INSTALLED = "installed is"  # in place of pip's word for what may not change


def _why(said: str, kept: Mapping[str, str], others: Mapping[str, tuple[str, str]]) -> str:
    """pip's words for a conflict, in one sentence; whose version it is, if another extension brought it.

    kept: the packages that may not change, name → version.
    """
    if conflict := re.search(r"The conflict is caused by:\n((?:[ \t]+\S.*\n)+)", said):
        lines = [line.strip() for line in conflict[1].splitlines()]
    elif missing := re.search(r"that satisfies the requirement (([\w.-]+).*?)(?: \(from|$)", said):
        # no version at all that would do; the one that is here is not even looked at
        name = _canonical(missing[2])
        lines = [f"it needs {missing[1]}", f"{_INSTALLED} {name}=={kept[name]}"] if name in kept else []
    else:
        lines = []
    if not lines:
        errors = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR: ")]
        reason = errors[-1] if errors else message("pip gave no reason")
        return printable(message("pip cannot install its dependencies: {reason}", reason=reason), limit=1000)
    whose = [
        message("{package} {version} came with {slug}", package=name, version=version, slug=slug)
        for name, (version, slug) in others.items()
        if any(re.search(rf"(?i)(?<![\w-]){re.escape(name)}(?![\w-])", line) for line in lines)
    ]
    told = "; ".join(line.replace("The user requested (constraint)", _INSTALLED) for line in lines)
    said = message("Its dependencies would change an installed package: {conflict}.", conflict=told)
    more = (
        message("{packages}; only one version of a package can be loaded.", packages=", ".join(whose)) if whose else ""
    )
    return printable(sentences(said, more), limit=1000)
