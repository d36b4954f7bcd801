"""What is told to somebody before he agrees to an extension."""

from collections.abc import Iterator

from sdterm.core.extensions.install.install import Proposal
from sdterm.core.extensions.manifest import CAPABILITIES
from sdterm.core.text import printable

_SHOWN = 10  # names of a kind


def told(proposal: Proposal) -> Iterator[str]:
    """Everything that one should know before one agrees."""
    record, before, manifest = proposal.record, proposal.before, proposal.manifest
    version = f" {record.version}" if record.version else ""
    was = f" (now {before.version})" if before and before.version != record.version else ""
    deed = "Approve" if proposal.in_place else "Update" if before else "Install"
    yield f"{deed} {proposal.slug}{version}{was} from {record.source}"
    if manifest.description:
        yield f"  {manifest.description}"
    if manifest.authors or manifest.license:
        yield f"  by {', '.join(manifest.authors) or 'nobody named'}; license: {manifest.license or 'not said'}"
    if manifest.homepage:
        yield f"  {manifest.homepage}"
    yield f"  {proposal.files} file(s), {proposal.size / 1024:.0f} KiB; content {record.digest}"
    if before:
        for what, names in vars(proposal.changes).items():
            if names:
                yield f"  {what}: {_some(names)}"
    for capability in record.capabilities:
        new = " (new)" if before and capability in proposal.new_capabilities else ""
        yield f"  says that it {CAPABILITIES[capability]}{new}"
    if not record.capabilities:
        yield "  says nothing of what it does beyond drawing"
    if proposal.native:
        yield f"  compiled code, which nobody can read: {_some(proposal.native)}"
    for wheel in proposal.wheels:
        new = " (new)" if before and wheel in proposal.new_wheels else ""
        yield f"  brings {wheel.name} {wheel.version}{new}"
    for warning in proposal.warnings:
        yield f"Warning: {warning}"
    yield "It runs with your full account rights: files, network, everything that you may do."


def _some(names: tuple[str, ...]) -> str:
    shown = ", ".join(printable(name) for name in names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown
