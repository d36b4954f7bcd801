"""`extension.toml`: what an extension says about itself. It is data, read without running anything."""

import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from sdterm.core.extensions import ExtensionError
from sdterm.core.names import did_you_mean
from sdterm.core.text import printable
from sdterm.hooks import API_VERSION
from sdterm.messages import message

FILE = "extension.toml"
MOST_BYTES = 64 * 1024
_MOST_FAULTS = 5  # in one message

CAPABILITIES = {
    "network": message("talks to other machines"),
    "subprocess": message("starts other programs"),
    "native": message("contains compiled code"),
    "files": message("writes its own files"),
}
"""What an extension may say that it does. It is said, not enforced: an extension runs with all the user's rights."""

Text = Annotated[str, Field(max_length=1000)]
Names = Annotated[tuple[Annotated[str, Field(max_length=300)], ...], Field(max_length=100)]


class ManifestError(ExtensionError):
    """A sentence: what is wrong with an `extension.toml`."""


class Manifest(BaseModel):
    """What `extension.toml` says. Every field may be missing; a name that is not known here is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    name: Annotated[str, Field(max_length=60)] = ""
    version: Annotated[str, Field(max_length=60)] = ""
    description: Text = ""
    authors: Names = ()
    license: Text = ""
    homepage: Text = ""
    api: Annotated[str, Field(alias="sdterm-api", max_length=100)] = ""
    """The versions of the plugin contract that it is written for, as `>=1,<2`."""
    dependencies: Names = ()
    """Packages it needs besides sdterm's own, as pip takes them."""
    capabilities: Names = ()

    @field_validator("version")
    @classmethod
    def _is_version(cls, version: str) -> str:
        from packaging.version import InvalidVersion, Version  # not owed by who reads no manifest, as those below

        try:
            return version and str(Version(version))
        except InvalidVersion:
            raise ValueError(message("'{version}' is not a version number like 1.0.2", version=version)) from None

    @field_validator("api")
    @classmethod
    def _is_range(cls, api: str) -> str:
        from packaging.specifiers import InvalidSpecifier, SpecifierSet

        try:
            SpecifierSet(api)
        except InvalidSpecifier:
            raise ValueError(message("'{range}' is not a version range like >=1,<2", range=api)) from None
        return api

    @field_validator("dependencies")
    @classmethod
    def _are_requirements(cls, dependencies: tuple[str, ...]) -> tuple[str, ...]:
        from packaging.requirements import InvalidRequirement, Requirement

        for dependency in dependencies:
            try:
                Requirement(dependency)
            except InvalidRequirement:
                raise ValueError(
                    message("'{requirement}' is not a package requirement for pip", requirement=dependency)
                ) from None
        return dependencies

    @field_validator("capabilities")
    @classmethod
    def _are_known(cls, capabilities: tuple[str, ...]) -> tuple[str, ...]:
        for capability in capabilities:
            if capability not in CAPABILITIES:
                raise ValueError(
                    message(
                        "'{capability}' is not one of {known}", capability=capability, known=", ".join(CAPABILITIES)
                    )
                )
        return capabilities

    @property
    def refusal(self) -> str | None:
        """Why this sdterm cannot run it, as a sentence without its end; None if it can."""
        from packaging.specifiers import SpecifierSet

        if self.api and not SpecifierSet(self.api).contains(str(API_VERSION)):
            return message(
                "it is written for version {wanted} of the plugin contract, and this sdterm has version {have}",
                wanted=self.api,
                have=API_VERSION,
            )
        return None


def read_manifest(path: Path) -> Manifest:
    """The manifest of an extension (a folder, or a file, which has none); an empty one where there is none. Raises
    ManifestError."""
    file = path / FILE
    if not path.is_dir() or not file.exists():
        return Manifest()
    try:
        if not file.is_file():
            raise ManifestError(message("{file} is not a file", file=FILE))
        with file.open("rb") as opened:
            content = opened.read(MOST_BYTES + 1)
    except OSError as error:
        raise ManifestError(
            message("{file} cannot be read: {problem}", file=FILE, problem=error.strerror or error)
        ) from error
    return parse_manifest(content)


def parse_manifest(content: bytes) -> Manifest:
    """The manifest that is in these bytes. Raises ManifestError, whatever they are."""
    if len(content) > MOST_BYTES:
        raise ManifestError(message("{file} is larger than {limit} bytes", file=FILE, limit=MOST_BYTES))
    try:
        return Manifest.model_validate(tomllib.loads(content.decode()))
    except ValidationError as error:
        said = "; ".join(map(_said, error.errors(include_url=False)[:_MOST_FAULTS]))
        raise ManifestError(message("{file}: {problem}", file=FILE, problem=said)) from error
    except (
        ValueError,
        RecursionError,
    ) as error:  # no UTF-8, no TOML, a million digits, too many brackets
        raise ManifestError(
            message("{file} cannot be read: {problem}", file=FILE, problem=printable(str(error)))
        ) from error


def _said(error: Any) -> str:
    where = printable(".".join(map(str, error["loc"])), limit=80)
    if error["type"] == "extra_forbidden":
        known = (field.alias or name for name, field in Manifest.model_fields.items())
        return message("{key} is not a known key{hint}", key=where, hint=did_you_mean(where, known))
    return f"{where}: {printable(error['msg'].removeprefix('Value error, '))}"
