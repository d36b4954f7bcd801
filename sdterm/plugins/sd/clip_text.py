"""CLIP's text model with the names and the arithmetic of transformers' `CLIPTextModel`, to the bit, and without the
seconds that it takes to import that."""

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from sdterm.messages import message


class TextConfig(NamedTuple):
    """What transformers' `CLIPTextConfig` says of it, with what goes without saying there."""

    vocab_size: int = 49408
    hidden_size: int = 512
    intermediate_size: int = 2048
    num_hidden_layers: int = 12
    num_attention_heads: int = 8
    max_position_embeddings: int = 77
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5
    projection_dim: int = 512
    """Of the matrix behind it, which `building` adds."""


class States(NamedTuple):
    """What a text is layer by layer, [B, L, C] each."""

    hidden: list[torch.Tensor]
    """The embeddings, and what each layer makes of them."""
    last: torch.Tensor
    """The last of these, after the last norm."""


class ClipTextModel(nn.Module):
    """Raises ValueError and TypeError for what cannot be built."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = _Embeddings(config)
        self.encoder = _Encoder(config)
        self.final_layer_norm = _norm(config)

    def forward(self, tokens: torch.Tensor) -> States:
        hidden = [self.embeddings(tokens)]
        for layer in self.encoder.layers:
            hidden.append(layer(hidden[-1]))
        return States(hidden, self.final_layer_norm(hidden[-1]))


class _Embeddings(nn.Module):
    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embedding = nn.Embedding(config.max_position_embeddings, config.hidden_size)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        positions = torch.arange(tokens.shape[1], device=tokens.device)[None]
        embedded: torch.Tensor = self.token_embedding(tokens) + self.position_embedding(positions)
        return embedded


class _Encoder(nn.Module):
    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers))


class _Layer(nn.Module):
    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.self_attn = _Attention(config)
        self.layer_norm1 = _norm(config)
        self.mlp = _Mlp(config)
        self.layer_norm2 = _norm(config)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        x = x + self.mlp(self.layer_norm2(x))
        return x


def _norm(config: TextConfig) -> nn.LayerNorm:
    return nn.LayerNorm(config.hidden_size, eps=float(config.layer_norm_eps))


class _Attention(nn.Module):
    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        width, self._heads = config.hidden_size, config.num_attention_heads
        if self._heads < 1 or width % self._heads:
            raise ValueError(
                message("{width} channels cannot be shared by {heads} heads", width=width, heads=self._heads)
            )
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (
            projection(x).view(*x.shape[:2], self._heads, -1).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=q.shape[-1] ** -0.5)
        out: torch.Tensor = self.out_proj(attended.transpose(1, 2).reshape(x.shape))
        return out


class _Mlp(nn.Module):
    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        if config.hidden_act not in ("quick_gelu", "gelu"):
            raise ValueError(message("CLIP has no activation '{name}'", name=config.hidden_act))
        self._quick = config.hidden_act == "quick_gelu"
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.fc1(x)
        out: torch.Tensor = self.fc2(x * torch.sigmoid(1.702 * x) if self._quick else F.gelu(x))
        return out
