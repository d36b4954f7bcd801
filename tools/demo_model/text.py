"""The words: which the captions use, how captions become token rows, and the text encoder's warm-up."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from random import Random

import torch
from torch import Tensor, nn

from sdterm.plugins.sd.tokenizer import VOCABULARY, tokenize
from sdterm.plugins.sd.tokens import TOKENS

from .captions import FLUFF, UNKNOWN, caption
from .networks import CONTEXT, HIDDEN, VOCABULARY_SIZE, TextEncoder, new_text_encoder, start_text_encoder
from .pictures import draw, sample_scenes
from .scenes import Scene, sample_scene
from .training import Settings, Training, save

WARMUP_BATCH = 96
THUMBNAIL = 16 * 16 * 3


def whole_words() -> list[str]:
    """The longer English-looking words that are one token of CLIP's vocabulary."""
    tokens = json.loads((VOCABULARY / "vocab.json").read_text(encoding="utf-8"))
    words = (token.removesuffix("</w>") for token in tokens if token.endswith("</w>"))
    return sorted(word for word in words if word.isalpha() and word.isascii() and len(word) > 3)


def used_tokens(settings: Settings) -> list[int]:
    """The ids that captions can contain. Only these rows are trained; all other words share one 'unknown' row."""
    rng = Random(settings.seed)
    ids = {TOKENS.start, TOKENS.end}
    for _ in range(settings.vocabulary_captions):
        ids.update(tokenize(caption(sample_scene(rng), rng).replace(UNKNOWN, "")))
    for words in FLUFF:
        ids.update(tokenize(words))
    return sorted(ids)


class Captioner:
    """Writes captions as rows of the compact training vocabulary."""

    def __init__(self, settings: Settings, rng: Random) -> None:
        self.rng = rng
        self.used = used_tokens(settings)
        self.vocabulary_size = len(self.used) + 1  # the last row is for unknown words
        self._rows = torch.full((VOCABULARY_SIZE,), len(self.used), dtype=torch.long)
        self._rows[torch.tensor(self.used)] = torch.arange(len(self.used))
        self._words = whole_words()

    def write(self, scene: Scene) -> str:
        return re.sub(UNKNOWN, lambda _: self.rng.choice(self._words), caption(scene, self.rng))

    def rows(self, captions: Sequence[str], length: int = 0) -> tuple[Tensor, Tensor]:
        """Rows [B, T], padded with the end token to the longest or to `length`, and the captions' own lengths [B]."""
        tokens = [[TOKENS.start, *tokenize(text)[: CONTEXT - 2], TOKENS.end] for text in captions]
        lengths = [len(ids) for ids in tokens]
        longest = max(length, *lengths)
        padded = torch.tensor([ids + [TOKENS.pad] * (longest - len(ids)) for ids in tokens])
        return self._rows[padded], torch.tensor(lengths)


def warm_up(settings: Settings) -> None:
    """Teach the text encoder the captions' words before the UNet listens: tell the thumbnail from the end token."""
    torch.manual_seed(settings.seed + 3)
    rng = Random(settings.seed + 3)
    captioner = Captioner(settings, rng)
    text = new_text_encoder(captioner.vocabulary_size).to(settings.device)
    prefer_plain_attention(text)
    start_text_encoder(text)
    scenes = sample_scenes((128, 128), settings.images, f"{settings.seed}w")
    thumbnails = torch.stack([_thumbnail(scene, i) for i, scene in enumerate(scenes)])  # [N, 768]
    head = nn.Sequential(nn.Linear(HIDDEN, 512), nn.GELU(), nn.Linear(512, THUMBNAIL)).to(settings.device)
    model = nn.ModuleDict({"text": text, "head": head})
    training = Training(
        "warmup", settings, settings.warmup, model, model.parameters(), rate=1e-3, schedule=_warmup_schedule
    )
    for _ in training.steps():
        chosen = [rng.randrange(len(scenes)) for _ in range(WARMUP_BATCH)]
        rows, lengths = captioner.rows([captioner.write(scenes[i]) for i in chosen])
        # The padding repeats the end token, and the UNet will listen to that too.
        ends = lengths - 1 + torch.tensor([rng.randint(0, 8) for _ in chosen])
        with torch.autocast(settings.device.type, torch.bfloat16):
            hidden = text(rows.to(settings.device)).last_hidden_state
        told = head(hidden.float()[torch.arange(len(chosen)), ends.clamp(max=rows.shape[1] - 1)])
        loss = ((told - thumbnails[chosen].float().to(settings.device)) ** 2).mean()
        training.update(loss, loss.item())
    save(text.state_dict(), settings.work / "text.pt")


def prefer_plain_attention(text: TextEncoder) -> None:
    """On a CPU the backward pass of plain attention is 1.7 times as fast as the flash kernel's."""
    if text.device.type == "cpu":
        text.set_attn_implementation("eager")


def _thumbnail(scene: Scene, seed: int) -> Tensor:
    """8x8 averages of the picture, float16 [768], about zero."""
    averages = draw(scene, (128, 128), seed).reshape(16, 8, 16, 8, 3).mean((1, 3))
    return (torch.from_numpy(averages).float().flatten() / 64 - 2).half()


def _warmup_schedule(spent: float) -> float:
    return min(1, spent / 0.03) * (1 - 0.8 * spent)
