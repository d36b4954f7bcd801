"""What is told to somebody before he agrees to an extension."""

from collections.abc import Iterator

from sdterm.core.extensions.install.install import Proposal
from sdterm.core.extensions.manifest import CAPABILITIES
from sdterm.core.text import printable
from sdterm.messages import Message, message, plural

_SHOWN = 10  # names of a kind


def told(proposal: Proposal) -> Iterator[str]:
    """Everything that one should know before one agrees."""
    record, before, manifest = proposal.record, proposal.before, proposal.manifest
    what = f"{proposal.slug} {record.version}".rstrip()
    if before and before.version != record.version:
        what = message("{extension} (now {version})", extension=what, version=before.version)
    if proposal.in_place:
        yield message("Approve {extension} from {source}", extension=what, source=record.source)
    elif before:
        yield message("Update {extension} from {source}", extension=what, source=record.source)
    else:
        yield message("Install {extension} from {source}", extension=what, source=record.source)
    if manifest.description:
        yield f"  {manifest.description}"
    if manifest.authors or manifest.license:
        authors, licence = ", ".join(manifest.authors) or message("unknown"), manifest.license or message("unknown")
        yield _indented(message("by {authors}; license: {license}", authors=authors, license=licence))
    if manifest.homepage:
        yield f"  {manifest.homepage}"
    size = proposal.size / 1024
    yield _indented(
        plural(
            "{number} file, {size:,.0f} KiB; content {digest}",
            "{number} files, {size:,.0f} KiB; content {digest}",
            proposal.files,
            size=size,
            digest=record.digest or "",
        )
    )
    if before:
        for how, names in vars(proposal.changes).items():
            if names:
                yield f"  {how}: {_some(names)}"
    for capability in record.capabilities:
        said = message("declares that it {capability}", capability=CAPABILITIES[capability])
        yield _indented(_new(said) if before and capability in proposal.new_capabilities else said)
    if not record.capabilities:
        yield _indented(message("declares no capabilities"))
    if proposal.native:
        yield _indented(message("compiled code, which cannot be reviewed: {files}", files=_some(proposal.native)))
    for wheel in proposal.wheels:
        said = message("installs {package} {version}", package=wheel.name, version=wheel.version)
        yield _indented(_new(said) if before and wheel in proposal.new_wheels else said)
    for warning in proposal.warnings:
        yield message("Warning: {warning}", warning=warning)
    yield message("It runs with all your rights: it can use files, the network and everything that you can use.")


def _indented(text: str) -> str:
    return Message(f"  {text}", "  {text}", {"text": text})  # nothing to translate


def _new(text: str) -> str:
    return message("{text} (new)", text=text)


def _some(names: tuple[str, ...]) -> str:
    shown = ", ".join(printable(name) for name in names[:_SHOWN])
    if len(names) <= _SHOWN:
        return shown
    return message("{names} and {number} more", names=shown, number=len(names) - _SHOWN)
