"""The LoRAs that a prompt calls, on a pipeline."""

from collections.abc import Sequence
from typing import Any

from sdterm.core.planning.networks import NetworkPlan
from sdterm.engine.network_files import Sources
from sdterm.engine.networks import AppliedNetworks, Network
from sdterm.hooks import LoadedNetwork
from sdterm.modelling.pipelines.adapters import Adapter, put


def put_on(pipe: Any, asked: Sequence[NetworkPlan], sources: Sources) -> AppliedNetworks:
    """Exactly these, see `put`. Raises AdapterError for one that is not for it."""
    put(
        pipe,
        [Adapter(f"lora_{each.sha256[:16]}", each.name, sources[each.sha256].file.path, each.unet) for each in asked],
    )
    return AppliedNetworks(tuple(Network(each, LoadedNetwork()) for each in asked))
