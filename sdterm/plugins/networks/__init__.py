"""LoRA and its kin, A1111's hypernetworks, and embeddings."""

from __future__ import annotations

from sdterm.hooks import Adaptable, LoadedNetwork, NetworkFormat, WeightsReader, hookimpl
from sdterm.plugins.networks import embedding, lora


def load_hypernetwork(reader: WeightsReader, model: Adaptable) -> LoadedNetwork:
    from sdterm.plugins.networks import hypernetwork  # it needs torch, which whoever only recognises files does not

    return hypernetwork.load(reader, model)


def is_hypernetwork(reader: WeightsReader) -> bool:
    return any(key.partition(".")[0].isdecimal() for key in reader.shapes())


@hookimpl
def sdterm_networks() -> list[NetworkFormat]:
    return [
        NetworkFormat(id="lora", label="LoRA", role="lora", matches=lora.matches, load=lora.load),
        NetworkFormat(
            id="hypernetwork",
            label="Hypernetwork",
            role="hypernet",
            matches=is_hypernetwork,
            load=load_hypernetwork,
        ),
        NetworkFormat(
            id="embedding", label="Embedding", role="embedding", matches=embedding.matches, load=embedding.load
        ),
    ]
