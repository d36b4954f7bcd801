"""LoRAs on a pipeline, put there and taken off by its own loader: what is beneath is never written to."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sdterm.errors import BAD_REQUEST, SdtermError
from sdterm.messages import message

_OFFLINE = {"use_safetensors": True, "local_files_only": True}


class AdapterError(SdtermError):
    """A LoRA is not for the pipeline."""

    code = BAD_REQUEST


class Adapter(NamedTuple):
    """A LoRA that a prompt calls. key: by which the same file is known again."""

    key: str
    name: str
    """For messages."""
    path: Path
    weight: float


def takes_adapters(pipeline: Any) -> bool:
    return hasattr(pipeline, "load_lora_weights") and hasattr(pipeline, "unload_lora_weights")


def put(pipeline: Any, wanted: Sequence[Adapter]) -> None:
    """Exactly these act on the pipeline from now on, with these weights; several calls of one file add up. Raises
    AdapterError for one that is not for it."""
    if not takes_adapters(pipeline):
        if wanted:
            raise AdapterError(
                message(
                    "{model} supports no LoRAs: remove {lora} from the prompt.",
                    model=type(pipeline).__name__,
                    lora=wanted[0].name,
                )
            )
        return
    summed = {each.key: sum(same.weight for same in wanted if same.key == each.key) for each in wanted}
    there = {name for names in pipeline.get_list_adapters().values() for name in names}
    if not summed:
        if there:
            pipeline.unload_lora_weights()
        return
    for each in {each.key: each for each in wanted}.values():
        if each.key not in there:
            _load(pipeline, each)
    _widen(pipeline)
    if gone := sorted(there - summed.keys()):
        pipeline.delete_adapters(gone)
    pipeline.set_adapters([*summed], [*summed.values()])


def _widen(pipeline: Any) -> None:
    """peft gives adapters the precision of the weights beneath; with those of eight bits nothing computes."""
    import torch

    for part in pipeline.components.values():
        for name, weight in part.named_parameters() if isinstance(part, torch.nn.Module) else ():
            if "lora_" in name and weight.is_floating_point() and weight.itemsize == 1:
                weight.data = weight.data.to(getattr(part, "dtype", torch.float32))


def _load(pipeline: Any, adapter: Adapter) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of peft, that there is one already
            pipeline.load_lora_weights(
                adapter.path.parent, weight_name=adapter.path.name, adapter_name=adapter.key, **_OFFLINE
            )
    except (ValueError, KeyError, RuntimeError, NotImplementedError) as error:
        with contextlib.suppress(Exception):  # half of it may be there
            pipeline.delete_adapters([adapter.key])
        raise _unfit(pipeline, adapter, error) from error
    if not any(adapter.key in names for names in pipeline.get_list_adapters().values()):
        raise AdapterError(
            message(
                "The LoRA {lora} has nothing that {model} can use: remove it.",
                lora=adapter.name,
                model=type(pipeline).__name__,
            )
        )


def _unfit(pipeline: Any, adapter: Adapter, error: Exception) -> AdapterError:
    """In a line that a terminal has room for: the libraries list each layer and each shape."""
    said = " ".join(str(error).split())
    if unknown := re.search(r"Target modules \{(.*?)\} not found", said):
        first = min(re.findall(r"'([^']+)'", unknown[1]), default=unknown[1])
        why: str = message("the model has no layer {layer}", layer=first)
    elif shape := re.search(r"size mismatch for ([\w.]+)", said):
        why = message("the model's {layer} has a different shape", layer=shape[1].partition(".lora_")[0])
    else:
        why = re.split(r"[.:]\s", said)[0][:100].rstrip(".")
    name = type(pipeline).__name__
    return AdapterError(
        message(
            "The LoRA {lora} does not fit {model}: {reason}. It is made for another model: remove it.",
            lora=adapter.name,
            model=name,
            reason=why,
        )
    )
