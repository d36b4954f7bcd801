"""Ways to compute attention: the same numbers, whatever the way; and why one cannot be used."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from sdterm.core.extensions.registry import load_plugins
from sdterm.core.library.checkpoints import Library
from sdterm.core.library.recognition import recognise
from sdterm.hooks import Components, ModelFacts, PluginError
from sdterm.plugins.memory.attention import use, xformers_usable
from sdterm.plugins.memory.attention.sub_quadratic import sub_quadratic
from tests.later import Later

diffusers: Any = Later("diffusers.models.attention_processor")
processor: Any = Later("sdterm.plugins.memory.attention.processor")
CPU = torch.device("cpu")
FACTS = ModelFacts("sd1", torch.float32)
PLUGINS = load_plugins(None)
EXACT = ("sdpa-math", "sdpa-flash", "sliced", "sliced-v1", "sub-quadratic")


def tensors(*shapes: tuple[int, ...]) -> Iterator[torch.Tensor]:
    rng = torch.Generator().manual_seed(1)
    return (torch.randn(shape, generator=rng) for shape in shapes)


@pytest.mark.parametrize(
    ("q_chunk", "kv_chunk", "most"), [(7, 0, 0), (7, 5, 0), (1024, 1, 0), (3, 9, 10**9), (1, 77, 0)]
)
def test_chunks_give_what_the_whole_gives(q_chunk: int, kv_chunk: int, most: int) -> None:
    q, k, v = tensors((2, 3, 20, 8), (2, 3, 77, 8), (2, 3, 77, 8))
    out = sub_quadratic(q * 20, k, v, q_chunk=q_chunk, kv_chunk=kv_chunk, most=most)
    assert torch.allclose(out, scaled_dot_product_attention(q * 20, k, v), atol=1e-5)


@pytest.mark.parametrize("told", [None, (2, 9, 16)], ids=["self", "cross"])
@pytest.mark.parametrize("shape", [(2, 24, 32), (2, 32, 4, 6)], ids=["tokens", "picture"])
def test_the_processor_computes_what_diffusers_own_does(told: tuple[int, ...] | None, shape: tuple[int, ...]) -> None:
    """A UNet's attention to tokens, and a VAE's to a picture."""
    torch.manual_seed(1)
    kind: dict[str, Any] = {"norm_num_groups": 8, "residual_connection": True, "rescale_output_factor": 2.0}
    layer = diffusers.Attention(
        32, told[2] if told else None, heads=4, dim_head=8, bias=True, **(kind if len(shape) == 4 else {})
    )
    x, cond = next(tensors(shape)), None if told is None else next(tensors(told))
    plain = diffusers.AttnProcessor2_0()(layer, x, cond)
    assert torch.equal(processor.Processor(scaled_dot_product_attention)(layer, x, cond), plain)
    mask = torch.zeros(2, 1, cond.shape[1] if cond is not None else math.prod(shape[2:] if len(shape) == 4 else [24]))
    assert torch.equal(
        processor.Processor(scaled_dot_product_attention)(layer, x, cond, mask),
        diffusers.AttnProcessor2_0()(layer, x, cond, mask),
    )


@pytest.fixture(scope="module")
def components(tmp_path_factory: pytest.TempPathFactory) -> Components:
    with torch.inference_mode():
        checkpoint = Library(tmp_path_factory.mktemp("library")).find("sdterm-demo")
        return recognise(checkpoint, PLUGINS)[0].build(checkpoint, CPU, torch.float32)


def computed(components: Components) -> torch.Tensor:
    unet: Any = components.modules["unet"]
    x, cond = tensors((2, 4, 16, 16), (2, 77, unet.config.cross_attention_dim))
    with torch.inference_mode():
        out: torch.Tensor = unet(x, torch.tensor([500, 500]), encoder_hidden_states=cond, return_dict=False)[0]
    return out


@pytest.mark.parametrize("way", EXACT)
def test_each_way_computes_the_same(way: str, components: Components) -> None:
    optimizer, plain = PLUGINS.optimizer(way), computed(components)
    unet: Any = components.modules["unet"]
    usable, why = optimizer.supports(CPU, FACTS)
    assert usable, why
    optimizer.apply(components, **{option.name: option.default for option in optimizer.options})
    changed = [type(each) for each in unet.attn_processors.values()]
    assert diffusers.AttnProcessor2_0 not in changed
    assert torch.allclose(computed(components), plain, atol=1e-4)
    assert optimizer.undo
    optimizer.undo(components)
    assert torch.equal(computed(components), plain)


def test_a_way_that_takes_only_some_sizes_of_heads_is_used_for_those(components: Components) -> None:
    sizes = sorted({processor.head_size(part) for _, part in processor.attentions(components.modules["unet"])})

    def picky(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        if q.shape[-1] != sizes[0]:
            raise ValueError("head_dim must be another")
        return scaled_dot_product_attention(q, k, v)

    def never(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        raise ValueError("head_dim must be another")

    plain = computed(components)
    use(lambda: picky)(components)
    used = {
        processor.head_size(part): type(part.processor) for _, part in processor.attentions(components.modules["unet"])
    }
    assert used == {size: processor.Processor if size == sizes[0] else diffusers.AttnProcessor2_0 for size in sizes}
    assert torch.allclose(computed(components), plain, atol=1e-5)
    with pytest.raises(PluginError, match="head_dim must be another"):
        use(lambda: never)(components)


@pytest.mark.parametrize(
    ("way", "why"),
    [
        ("sdpa-efficient", "RuntimeError"),
        ("sdpa-cudnn", "RuntimeError"),
        ("flash-attention", "flash-attn"),
        ("flash-attention-3", "FA3"),
        ("sage", "sageattention"),
        ("xformers", ""),
        ("xformers-flash", ""),
    ],
)
def test_a_way_that_cannot_be_used_here_says_why(way: str, why: str) -> None:
    usable, reason = PLUGINS.optimizer(way).supports(CPU, FACTS)
    assert not usable and why in reason and "\n" not in reason and reason


def test_xformers_that_imports_but_does_not_work_gives_its_own_reason(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        package = tmp_path / "xformers" / "ops"
        package.mkdir(parents=True)
        (tmp_path / "xformers" / "__init__.py").touch()
        (package / "__init__.py").write_text(
            "from types import SimpleNamespace as N\nfmha = N(Inputs=N)\n"
            "MemoryEfficientAttentionFlashAttentionOp = (N(), N())\n"
            "def memory_efficient_attention(*args, **more):\n"
            "    raise NotImplementedError('No operator found with inputs:\\n  q\\n`fa2F` is not supported: x')\n"
        )
        patch.syspath_prepend(str(tmp_path))
        assert xformers_usable(CPU, ModelFacts("sd1", torch.bfloat16)) == (
            False,
            "NotImplementedError: No operator found",
        )
