"""The UNet, trained jointly with the text encoder to predict the noise in latents from their captions."""

from __future__ import annotations

from random import Random

import torch
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn

from .networks import CONTEXT, TextEncoder, UNet, new_text_encoder, new_unet, start_unet
from .pictures import Bucket, sample_scenes
from .scenes import Scene
from .team import Team
from .text import Captioner, prefer_plain_attention
from .training import Settings, Training, cosine, load, save
from .vae import BUCKETS

STEP_SHARE: dict[Bucket, float] = {
    (128, 128): 0.74,
    (192, 128): 0.09,
    (128, 192): 0.06,
    (192, 192): 0.06,
    (256, 256): 0.05,
}
CAPTION_DROPOUT = 0.1
SKIPPED_LAYER = 0.1  # share of steps conditioned on the layer before the last, so that clip skip 2 is a trained setting
MIN_SNR_GAMMA = 5.0  # Hang et al. 2023, "Efficient Diffusion Training via Min-SNR Weighting Strategy"
TEAM_STRIDE = 7919  # between the seeds of processes


def train_unet(settings: Settings) -> None:
    team = Team.from_environment(settings.device)
    torch.manual_seed(settings.seed + 1)
    rng = Random(settings.seed + 1)
    captioner = Captioner(settings, rng)
    unet = start_unet(new_unet()).to(settings.device)
    text = new_text_encoder(captioner.vocabulary_size).to(settings.device)
    text.load_state_dict(load(settings.work / "text.pt"))
    _prefer_plain_attention(unet, text)
    model = nn.ModuleDict({"unet": unet, "text": text})
    training = Training(
        "unet",
        settings,
        settings.unet,
        model,
        model.parameters(),
        rate=8e-4,
        schedule=cosine(),
        decay=0.9985,
        team=team,
    )
    _seed_process(training, settings, rng)
    data = _Data(settings, captioner)
    schedule = _NoiseSchedule(settings.device)
    for _ in training.steps():
        choice = Random(f"{settings.seed}-{training.step}")  # the same in every process
        rows, z = data.batch(choice.choices(list(STEP_SHARE), list(STEP_SHARE.values()))[0])
        t = torch.randint(0, 1000, (len(z),), device=settings.device)
        noise = torch.randn_like(z)
        with torch.autocast(settings.device.type, torch.bfloat16):
            skip = choice.random() < SKIPPED_LAYER
            predicted = unet(schedule.noisy(z, noise, t), t, _condition(text, rows, skip)).sample
        loss = ((predicted.float() - noise) ** 2).mean((1, 2, 3))
        training.update((loss * schedule.weight[t]).mean(), loss.mean().item())
    if team.leads:
        save({"average": training.average, "used": captioner.used}, settings.work / "unet.pt")


def _seed_process(training: Training, settings: Settings, rng: Random) -> None:
    """Let every process, and every resumed run, see other data."""
    team = training.team
    if training.resumed:
        seed = settings.seed + training.step + TEAM_STRIDE * team.rank
        rng.seed(seed)
        torch.manual_seed(seed)
    elif team.size > 1:
        team.share(training.parameters)
        rng.seed(settings.seed + TEAM_STRIDE * team.rank)
        torch.manual_seed(settings.seed + 1 + TEAM_STRIDE * team.rank)


class _Data:
    """Encoded pictures with their scenes, by bucket."""

    def __init__(self, settings: Settings, captioner: Captioner) -> None:
        self.settings, self.captioner, self.rng = settings, captioner, captioner.rng
        self.latents: dict[Bucket, Tensor] = {b: load(settings.work / f"latents-{b[0]}x{b[1]}.pt") for b in BUCKETS}
        self.scenes: dict[Bucket, list[Scene]] = {
            b: sample_scenes(b, len(latents), settings.seed) for b, latents in self.latents.items()
        }

    def batch(self, bucket: Bucket) -> tuple[Tensor, Tensor]:
        """Token rows [B, CONTEXT] and latents float32 [B, 4, h, w], sampled from their posteriors."""
        latents, scenes = self.latents[bucket], self.scenes[bucket]
        size = max(4, self.settings.unet_batch * 128 * 128 // (bucket[0] * bucket[1]))
        chosen = [self.rng.randrange(len(latents)) for _ in range(size)]
        captions = ["" if self.rng.random() < CAPTION_DROPOUT else self.captioner.write(scenes[i]) for i in chosen]
        rows, _ = self.captioner.rows(captions, CONTEXT)
        mean, std = latents[chosen].float().to(self.settings.device).split(4, dim=1)
        return rows.to(self.settings.device), (mean + std * torch.randn_like(mean)).contiguous()


class _NoiseSchedule:
    """SD 1's scaled-linear schedule, 1000 steps, with the min-SNR loss weight for noise prediction."""

    def __init__(self, device: torch.device) -> None:
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
        self.alphas_cumprod = torch.cumprod(1 - betas, 0).float().to(device)
        snr = self.alphas_cumprod / (1 - self.alphas_cumprod)
        self.weight = snr.clamp(max=MIN_SNR_GAMMA) / snr

    def noisy(self, z: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        alpha = self.alphas_cumprod[t].view(-1, 1, 1, 1)
        return alpha.sqrt() * z + (1 - alpha).sqrt() * noise


def _condition(text: TextEncoder, rows: Tensor, skip: bool) -> Tensor:
    """[B, CONTEXT, HIDDEN], of the last layer or, to skip it, of the one before."""
    if skip:
        hidden: Tensor = text.final_layer_norm(text(rows, output_hidden_states=True).hidden_states[-2])
    else:
        hidden = text(rows).last_hidden_state
    return hidden


def _prefer_plain_attention(unet: UNet, text: TextEncoder) -> None:
    prefer_plain_attention(text)
    if unet.device.type == "cpu":
        unet.set_attn_processor(AttnProcessor())
