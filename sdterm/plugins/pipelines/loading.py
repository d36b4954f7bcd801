"""A pipeline is loaded: diffusers' and transformers' own modules, part by part, from what lies on the disk.

Nothing is asked of a hub, no code that a model brings is run, and no pickle is loaded: weights that are not in
safetensors are read as data, by sdterm.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch

import sdterm.modelling.offline  # noqa: F401 before what it is about
from sdterm.errors import SdtermError
from sdterm.hooks import CheckpointReader, PluginError
from sdterm.messages import message, plural
from sdterm.plugins.pipelines.assembly import Assembly, Source
from sdterm.plugins.pipelines.index import UNUSED

State = Mapping[str, torch.Tensor]
_CHECKS, _GUIDED = "requires_safety_checker", "guidance_embeds"
_NEXT_WORDS = "lm_head.weight"
"""By which a language model would go on writing: files for text encoders may lack it."""
_UNREAD = re.compile(rf"(^|\.)({re.escape(_NEXT_WORDS)}$|pooler\.)")
"""What folders may lack as well: no pipeline reads it."""
_LDM, _WAN = "decoder.mid.block_1.conv1.weight", "decoder.conv1.weight"
"""Keys of VAEs as their makers have them: of most, and of Wan's kin."""
_SAFE = ".safetensors"
_VARIANT = re.compile(r"\.(fp16|bf16)\b")
_SCALE = re.compile(r"(^scaled_fp8|\.(scale_weight|weight_scale|scale_input|input_scale|comfy_quant))$")
"""What ComfyUI writes beside weights of eight bits."""
_CPU = torch.device("cpu")


def load(whole: Assembly, reader: CheckpointReader, device: torch.device, dtype: torch.dtype) -> Any:
    """The pipeline, its modules on the device. reader: whoever is told how much was read. Raises PluginError."""
    import diffusers
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    transformers.dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0  # a model's own code is refused, and nobody is asked
    index, numbers = whole.index, whole.numbers
    given: dict[str, Any] = dict.fromkeys(index.absent)
    if UNUSED in index.kind.parts:
        given |= {UNUSED: None} | ({_CHECKS: False} if _CHECKS in index.kind.parts else {})
    name, part = reader.path.name, "pipeline"
    try:
        for part in whole.base.parts:
            given[part], counted = _loaded(whole, part, device, dtype)
            reader.has_read(0 if counted else numbers[part])
        part = "pipeline"
        kind = getattr(diffusers, index.kind.name)
        pipe = kind.from_pretrained(whole.base.path, **given, local_files_only=True)
    except (SdtermError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # two libraries' many ways to refuse what does not go together
        reason = " ".join(str(error).split())[:300].rstrip(".") or repr(error)
        raise PluginError(
            message("{model} cannot be loaded: {part}: {problem}.", model=name, part=part, problem=reason)
        ) from error
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _loaded(whole: Assembly, part: str, device: torch.device, dtype: torch.dtype) -> tuple[torch.nn.Module, bool]:
    """A part that has weights, on the device, and whether sdterm's own reader has read it, which counts."""
    kind, folder, source = _class(*whole.index.parts[part]), whole.base.path / part, whole.sources.get(part)
    files = whole.base.parts[part]
    if source is None and files[0].suffix == _SAFE:
        packed = bool(whole.configs.get(part, {}).get("quantization_config"))
        return _of_folder(kind, folder, files[0].name, packed, device, dtype), False
    source = source or Source(whole.base, f"{part}.")
    if source.reader.path.suffix.lower() == ".gguf":
        return _of_gguf(kind, folder, source, dtype).to(device), False
    keys = {key: key.removeprefix(source.prefix) for key in source.reader.shapes() if key.startswith(source.prefix)}
    read = source.reader.read(list(keys), _CPU, None)
    state = unscaled({keys[key]: tensor for key, tensor in read.items()}, dtype)
    del read
    return filled(kind, folder, state, source.reader.path.name, dtype).to(device), True


def _class(library: str, name: str) -> Any:
    """A class of one of the two libraries, or of a folder of diffusers' pipelines. Raises PluginError."""
    home = library if library in ("diffusers", "transformers") else f"diffusers.pipelines.{library}"
    found = getattr(importlib.import_module(home), name, None)
    if not isinstance(found, type) or not issubclass(found, torch.nn.Module):
        raise PluginError(message("The installed {library} has no model {name}.", library=library, name=name))
    return found


def _of_folder(
    kind: Any, folder: Path, file: str, packed: bool, device: torch.device, dtype: torch.dtype
) -> torch.nn.Module:
    """As its class reads it. packed: it is quantized, and then stays where it was read to."""
    variant = _VARIANT.search(file)
    more: dict[str, Any] = {"device_map": {"": device}} if packed else {}
    module, info = kind.from_pretrained(
        folder,
        variant=variant[1] if variant else None,
        dtype=dtype,
        use_safetensors=True,
        local_files_only=True,
        output_loading_info=True,
        **more,
    )
    missing = [key for key in info["missing_keys"] if not _UNREAD.search(key)]
    _check(kind, f"{folder.parent.name}/{folder.name}", sorted(missing))
    return cast(torch.nn.Module, module if packed else module.to(device))


def _packed(file: str, dtype: torch.dtype) -> Any:
    """How a GGUF file is read: its weights stay packed, and are unpacked by each call. Raises PluginError if that needs
    what is not here."""
    import diffusers

    if importlib.util.find_spec("gguf") is None:
        raise PluginError(
            message("{file} is a GGUF file, which needs the package gguf: `pip install gguf`.", file=file)
        )
    return diffusers.GGUFQuantizationConfig(compute_dtype=dtype)


def _of_gguf(kind: Any, folder: Path, source: Source, dtype: torch.dtype) -> torch.nn.Module:
    """As its class reads it."""
    packed, config = _packed(source.reader.path.name, dtype), _config(kind, folder, source.shapes())
    module: torch.nn.Module = kind.from_single_file(
        str(source.reader.path),
        quantization_config=packed,
        config=str(folder.parent),
        subfolder=folder.name,
        dtype=dtype,
        local_files_only=True,
        **{key: config[key] for key in (_GUIDED,) if key in config},
    )
    return module


def _config(kind: Any, folder: Path, given: Iterable[str]) -> dict[str, Any]:
    """A part's configuration, for weights of these keys: of one family some models learned guidance, some did not."""
    config: dict[str, Any] = kind.load_config(folder, local_files_only=True)
    return config | ({_GUIDED: any("guidance_" in key for key in given)} if _GUIDED in config else {})


def unscaled(state: State, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Weights that were scaled to fit into eight bits, times their scales."""
    plain = {key: tensor for key, tensor in state.items() if not _SCALE.search(key)}
    for key, scale in state.items():
        weight = _SCALE.sub(".weight", key)
        if key.endswith((".scale_weight", ".weight_scale")) and weight in plain:
            plain[weight] = (plain[weight].float() * scale.float()).to(dtype)
    return plain


def filled(kind: Any, folder: Path, state: State, file: str, dtype: torch.dtype) -> torch.nn.Module:
    """A module of a folder's configuration with the weights of a file, whose keys may be those of another program.
    Raises PluginError if it has not all that the module needs."""
    import accelerate
    import diffusers

    if not issubclass(kind, diffusers.ModelMixin):
        said = kind.config_class.from_pretrained(folder, local_files_only=True)
        module, info = kind.from_pretrained(None, config=said, state_dict=state, dtype=dtype, output_loading_info=True)
        _check(kind, file, sorted({*info["missing_keys"]} - {_NEXT_WORDS}))
        return cast(torch.nn.Module, module.eval())
    config = _config(kind, folder, state)
    with accelerate.init_empty_weights():
        module = kind.from_config(config)
    own = module.state_dict()
    if own.keys() != state.keys():
        try:
            state = _renamed(kind, config, state)
        except KeyError as error:  # one that its converter renames
            raise PluginError(
                message("{file} lacks {tensor} of a {kind}.", file=file, tensor=error, kind=kind.__name__)
            ) from error
    _check(kind, file, sorted(own.keys() - state.keys()))
    _check(kind, file, [key for key in own if own[key].shape != state[key].shape], differ=True)
    whole = (kind._keep_in_fp32_modules or ()) if dtype == torch.float16 else ()
    types = {key: torch.float32 if {*whole} & {*key.split(".")} else dtype for key in own}
    module.load_state_dict({key: _cast(state[key], types[key]) for key in own}, assign=True)
    return cast(torch.nn.Module, module.eval())


def _check(kind: Any, file: str, keys: Sequence[str], differ: bool = False) -> None:
    if keys:
        facts = {"file": file, "kind": kind.__name__, "tensor": keys[0]}
        if differ:
            said = plural(
                "The tensor {tensor} in {file} does not have the shape that a {kind} needs.",
                "{number} tensors in {file} do not have the shape that a {kind} needs, for example {tensor}.",
                len(keys),
                **facts,
            )
        else:
            said = plural(
                "{file} lacks the tensor {tensor} of a {kind}.",
                "{file} lacks {number} tensors of a {kind}, for example {tensor}.",
                len(keys),
                **facts,
            )
        raise PluginError(said)


def _renamed(kind: Any, config: Mapping[str, Any], state: State) -> State:
    """A file's weights under diffusers' keys, as its converters have it; as they are where it has none."""
    from diffusers.loaders import single_file_model, single_file_utils

    table: Mapping[str, Any] = single_file_model.SINGLE_FILE_LOADABLE_CLASSES
    if found := next((table[each.__name__] for each in kind.__mro__ if each.__name__ in table), None):
        return cast(State, found["checkpoint_mapping_fn"](config=config, checkpoint=dict(state)))
    if _LDM in state:  # of a kind that the table has not, like FLUX.2's
        plain = {re.sub(r"^(en|de)coder\.((post_)?quant_conv\.)", r"\2", key): tensor for key, tensor in state.items()}
        own = {key: tensor for key, tensor in plain.items() if key.startswith("bn.")}
        return {**own, **single_file_utils.convert_ldm_vae_checkpoint(plain, config)}
    if _WAN in state:  # Qwen-Image's
        return cast(State, single_file_utils.convert_wan_vae_to_diffusers(dict(state)))
    return state


def _cast(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor
