"""The autoencoder: training it, folding its latents to unit variance, encoding the training set."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .networks import SCALING_FACTOR, Vae, new_vae, start_vae
from .pictures import Bucket, draw_many, sample_scenes
from .training import Settings, Training, cosine, load, save

CROP = 64  # pixels
KL_WEIGHT = 1e-4
MOST_PICTURES = 5000  # that the autoencoder sees
FOLDED_PICTURES = 1024  # that the latents' mean and scale are measured on
FORGIVEN_NOISE = 0.12  # in SD-scaled latents, of which the decoder learns to forgive up to so much

# Width and height: how many pictures, relative to the setting.
BUCKETS: dict[Bucket, float] = {(128, 128): 1.0, (192, 128): 0.14, (128, 192): 0.10, (192, 192): 0.10, (256, 256): 0.08}


def to_tensor(pictures: np.ndarray, device: torch.device) -> Tensor:
    """uint8 [B, H, W, 3] → float32 [B, 3, H, W] in -1..1, channels last in memory."""
    return torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def load_vae(settings: Settings, *, final: bool = False) -> Vae:
    """As the `vae` stage left it or, `final`, with the longer trained decoder if there is one."""
    decoder = settings.work / "decoder.pt"
    vae = new_vae()
    vae.load_state_dict(load(decoder if final and decoder.exists() else settings.work / "vae.pt"))
    return vae.to(settings.device).eval()


def train_vae(settings: Settings) -> None:
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    vae = start_vae(new_vae()).to(settings.device)
    training = Training("vae", settings, settings.vae, vae, vae.parameters(), rate=1.5e-3, schedule=cosine())
    pictures, next_crops = _crops(settings, rng)
    for _ in training.steps():
        x = next_crops()
        with torch.autocast(settings.device.type, torch.bfloat16):
            posterior = vae.encode(x).latent_dist
            y = vae.decode(posterior.sample()).sample
        l1, loss = _picture_loss(y.float(), x)
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        kl = 0.5 * (mean**2 + logvar.exp() - 1 - logvar).mean()
        training.update(loss + KL_WEIGHT * kl, l1.item(), kl=kl.item())
    vae.load_state_dict(training.average)
    _fold_scale(vae.eval(), pictures[:FOLDED_PICTURES], settings.device)
    save(vae.state_dict(), settings.work / "vae.pt")


def train_decoder(settings: Settings) -> None:
    """Go on with the decoder alone: the encoder, and so the latents, stay. May run beside the `unet` stage."""
    torch.manual_seed(settings.seed + 2)
    rng = np.random.default_rng(settings.seed + 2)
    vae = load_vae(settings)
    parameters = [*vae.decoder.parameters(), *vae.post_quant_conv.parameters()]
    training = Training(
        "decoder", settings, settings.decoder, vae, parameters, rate=1e-3, schedule=cosine(0.05), log_every=100
    )
    _, next_crops = _crops(settings, rng, salt="d")
    for _ in training.steps():
        x = next_crops()
        with torch.autocast(settings.device.type, torch.bfloat16):
            with torch.no_grad():
                z = vae.encode(x).latent_dist.sample()
                amount = torch.rand(len(z), 1, 1, 1, device=settings.device) * FORGIVEN_NOISE / SCALING_FACTOR
                z = z + amount * torch.randn_like(z)
            y = vae.decode(z).sample
        l1, loss = _picture_loss(y.float(), x)
        training.update(loss, l1.item())
    save(training.average, settings.work / "decoder.pt")


def encode_training_set(settings: Settings) -> None:
    """Latents of every picture, SD-scaled: float16 [N, 8, h, w], mean and standard deviation, per bucket."""
    vae = load_vae(settings).to(memory_format=torch.channels_last)
    for bucket, share in BUCKETS.items():
        width, height = bucket
        scenes = sample_scenes(bucket, int(settings.images * share), settings.seed)
        batch = max(4, 32 * 128 * 128 // (width * height))
        latents = []
        for first in range(0, len(scenes), batch):
            pictures = draw_many(bucket, scenes[first : first + batch], settings.seed, first)
            x = to_tensor(pictures, settings.device)
            with torch.no_grad(), torch.autocast(settings.device.type, torch.bfloat16):
                posterior = vae.encode(x).latent_dist
            both = (posterior.mean.float() * SCALING_FACTOR, posterior.std.float() * SCALING_FACTOR)
            latents.append(torch.cat(both, 1).half().cpu())
        save(torch.cat(latents), settings.work / f"latents-{width}x{height}.pt")
    (settings.work / "latents.done").touch()


def _crops(settings: Settings, rng: np.random.Generator, salt: str = "") -> tuple[np.ndarray, Callable[[], Tensor]]:
    """The main pictures, uint8 [N, H, W, 3], and a source of batches of crops, float32 [B, 3, CROP, CROP] in -1..1."""

    def pictures(bucket: Bucket, n: int) -> np.ndarray:
        return draw_many(bucket, sample_scenes(bucket, n, f"{settings.seed}{salt}"), settings.seed)

    main = pictures((128, 128), min(settings.images, MOST_PICTURES))
    large = pictures((256, 256), settings.large_images)

    def random_crop() -> np.ndarray:
        source = large if rng.random() < 0.15 else main
        picture = source[rng.integers(0, len(source))]
        y, x = (rng.integers(0, side - CROP + 1) for side in picture.shape[:2])
        return np.asarray(picture[y : y + CROP, x : x + CROP])

    def busier_crop() -> np.ndarray:
        """Of two random ones: flat areas teach little."""
        return max((random_crop() for _ in range(2)), key=_business)

    def next_crops() -> Tensor:
        crops = np.stack([busier_crop() for _ in range(settings.vae_batch)])
        return to_tensor(crops, settings.device).contiguous()

    return main, next_crops


def _business(picture: np.ndarray) -> float:
    return float(np.abs(np.diff(picture.astype(np.int16), axis=0)).mean())


def _picture_loss(y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """L1, and the loss to learn from: with edges, squares and 8x8 averages, without which colours drift."""
    l1 = (y - x).abs().mean()
    edges = (y.diff(dim=2) - x.diff(dim=2)).abs().mean() + (y.diff(dim=3) - x.diff(dim=3)).abs().mean()
    coarse = (F.avg_pool2d(y, 8) - F.avg_pool2d(x, 8)).abs().mean()
    return l1, l1 + 0.5 * edges + F.mse_loss(y, x) + 0.5 * coarse


@torch.no_grad()
def _fold_scale(vae: Vae, pictures: np.ndarray, device: torch.device) -> None:
    """Fold the latents' channel means and scales into the convolutions around them, so that SD 1's own scaling factor
    gives latents of zero mean and unit variance."""
    batches = (to_tensor(pictures[i : i + 32], device) for i in range(0, len(pictures), 32))
    latents = torch.cat([vae.encode(x).latent_dist.mean for x in batches])  # [N, 4, h, w]
    mean, std = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    k = 1 / (std * SCALING_FACTOR)
    into, out = vae.quant_conv, vae.post_quant_conv
    into.weight[:4] *= k[:, None, None, None]
    into.bias[:4] = (into.bias[:4] - mean) * k
    into.bias[4:] += 2 * k.log()
    out.bias += (out.weight[:, :, 0, 0] * mean[None]).sum(1)
    out.weight /= k[None, :, None, None]
    print("latent mean", mean.tolist(), "std", std.tolist(), flush=True)
