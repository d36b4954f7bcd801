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
            raise DependencyError(f"It needs {printable(requirement)}: packages are taken from the index alone.")
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
            raise DependencyError(f"It would change {wheel.name}, which is sdterm's own.")
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
    raise DependencyError("pip did not say where a package would come from, so that it cannot be pinned.")


def _pip(words: list[str]) -> Ended:
    if importlib.util.find_spec("pip") is None:
        raise DependencyError(f"It needs packages, and pip is missing: `{sys.executable} -m ensurepip` brings it.")
    environment = os.environ | {"PIP_REQUIRE_VIRTUALENV": "0", "PYTHONUTF8": "1", "COLUMNS": "1000"}
    try:
        return run_bounded([sys.executable, "-P", "-m", "pip", *words], SECONDS, environment)
    except BoundsError as error:
        raise DependencyError(f"pip {error}.") from None


def _why(said: str, kept: Mapping[str, str], others: Mapping[str, tuple[str, str]]) -> str:
    """pip's words for a conflict, in one sentence; whose version it is, if another extension brought it.

    kept: the packages that may not change, name → version.
    """
    if conflict := re.search(r"The conflict is caused by:\n((?:[ \t]+\S.*\n)+)", said):
        lines = [line.strip() for line in conflict[1].splitlines()]
    elif missing := re.search(r"that satisfies the requirement (([\w.-]+).*?)(?: \(from|$)", said):
        # no version at all that would do; the one that is here is not even looked at
        name = _canonical(missing[2])
        lines = [f"it needs {missing[1]}", f"here is {name}=={kept[name]}"] if name in kept else []
    else:
        lines = []
    if not lines:
        errors = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR: ")]
        return printable(f"pip cannot get what it needs: {errors[-1] if errors else 'it gave no reason'}", limit=1000)
    whose = [
        f"{name} {version} came with {slug}"
        for name, (version, slug) in others.items()
        if any(re.search(rf"(?i)(?<![\w-]){re.escape(name)}(?![\w-])", line) for line in lines)
    ]
    told = "; ".join(line.replace("The user requested (constraint)", "here is") for line in lines)
    more = f" ({', '.join(whose)}; one process holds one version of a library)" if whose else ""
    return printable(f"It needs what would change a package that is here: {told}{more}.", limit=1000)
