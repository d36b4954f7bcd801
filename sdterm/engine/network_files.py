"""Finding and loading the networks of a plan, and what infotexts say of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from sdterm.core.extensions.registry import ContractError, PluginSet
from sdterm.core.library.checkpoints import Library, ModelFileError
from sdterm.core.library.networks import find_network, format_of, kind_of, network_reader
from sdterm.core.names import UnknownNameError
from sdterm.core.planning.networks import NetworkPlan
from sdterm.core.planning.plan import Plan, TextPlan
from sdterm.core.text import printable
from sdterm.engine.networks import AppliedNetworks, Network
from sdterm.hooks import Adaptable, Components, LoadedNetwork, NetworkFormat, PluginError, WeightsReader
from sdterm.messages import message

_READ_AT_MOST = 8 << 30  # bytes, in search of a network that was moved


@dataclass(frozen=True)
class NetworkSource:
    """A network's file, and who reads it."""

    file: WeightsReader
    format: NetworkFormat | None
    """None where a pipeline reads it itself."""


Sources = Mapping[str, NetworkSource]
"""By the SHA-256 of each file."""


def find_networks(plan: Plan, plugins: PluginSet, library: Library) -> Sources:
    """The files of a plan's networks, wherever they lie by now. Raises ModelFileError, PluginError."""
    passes = range(len(plan.passes))
    asked = {each.sha256: each for number in passes for each in wanted(plan, number, *range(len(plan.images)))}
    tapped = bool(plan.request.pipeline)
    return {digest: _found(network, plugins, library, tapped) for digest, network in asked.items()}


def _found(network: NetworkPlan, plugins: PluginSet, library: Library, tapped: bool) -> NetworkSource:
    try:
        file = find_network(library, network.role, network.name)
    except UnknownNameError:
        file = None
    if not file or library.sha256(file.path) != network.sha256:
        file = library.hashed(kind_of(network.role), network.sha256, read_at_most=_READ_AT_MOST)
    if not file:
        raise ModelFileError(
            message(
                "The network that this job started with, {name} ({hash}), is missing. Put it back, or "
                "generate again without it.",
                name=printable(network.name),
                hash=network.sha256[:10],
            )
        )
    return NetworkSource(network_reader(file.path), None if tapped else format_of(file, network.role, plugins))


def wanted(plan: Plan, pass_no: int, *images: int) -> tuple[NetworkPlan, ...]:
    """What is to be on the model in a pass for images that call the same: their networks, and the embeddings of all
    images of the job, which change nothing where nobody names them."""
    texts = [plan.text_of(index, pass_no) for index in range(len(plan.images))]
    embeddings = (word for text in texts for group in text.words for word in group)
    called = [network for index in images for network in texts[index].networks]
    return tuple(called if len(images) == 1 else dict.fromkeys(called)) + tuple(dict.fromkeys(embeddings))


def load_networks(
    model: Adaptable, asked: Sequence[NetworkPlan], applied: AppliedNetworks, sources: Sources, plugins: PluginSet
) -> list[Network]:
    """The networks, those that are on as they are. Raises ModelFileError, PluginError; an embedding that cannot be used
    is a word."""
    there = {network.plan.sha256: network.loaded for network in applied.networks}
    return [
        Network(
            each,
            there.get(each.sha256) or _loaded(model, each, *_read_by(sources[each.sha256]), plugins),
            partial(plugins.guard, _read_by(sources[each.sha256])[1], RuntimeError),
        )
        for each in asked
    ]


def _read_by(source: NetworkSource) -> tuple[WeightsReader, NetworkFormat]:
    assert source.format  # only pipelines read networks themselves
    return source.file, source.format


def _loaded(
    model: Adaptable, asked: NetworkPlan, file: WeightsReader, reads: NetworkFormat, plugins: PluginSet
) -> LoadedNetwork:
    try:
        with plugins.guard(reads, ModelFileError):
            loaded = reads.load(file, model)
            if not isinstance(loaded, LoadedNetwork):
                raise ContractError(message("it returned no LoadedNetwork"))
    except PluginError as error:
        if asked.role == "embedding":
            return LoadedNetwork(unused=1)
        raise PluginError(message("{file} cannot be used. {problem}", file=file.path.name, problem=error)) from error
    if asked.role == "embedding":  # the file may have been renamed since
        return replace(loaded, words=dict.fromkeys([asked.name], *list(loaded.words.values())[:1]))
    return loaded


def infotext_hashes(calling: TextPlan, text: TextPlan, applied: AppliedNetworks, model: Components) -> dict[str, str]:
    """A1111's keys that name networks by hashes: the LoRAs of one text and the embeddings of another, these once
    for each encoder."""
    encoders = len(model.text_widths) if isinstance(model, Adaptable) else 0
    loras = [_hash(network) for network in calling.networks if network.short_hash]
    words = [
        _hash(word)
        for group in text.words
        for fitting in [[word for word in group if word.name in applied.words]]
        for word in fitting * encoders
    ]
    return {key: ", ".join(said) for key, said in (("Lora hashes", loras), ("TI hashes", words)) if said}


def _hash(network: NetworkPlan) -> str:
    return f"{network.name.replace(':', '').replace(',', '')}: {network.short_hash}"
