"""The network as samplers see it: noisy latents and sigma in, guided prediction of the clean latents out."""

from collections.abc import Sequence

import torch

from sdterm.hooks import Components, Denoise, Denoised, ModelSampling


def guided_denoiser(
    components: Components,
    sampling: ModelSampling,
    conds: Sequence[torch.Tensor],
    unconds: Sequence[torch.Tensor],
    *,
    cfg_scale: float,
    together: bool,
    needs_uncond: bool,
) -> Denoise:
    """Classifier-free guidance around an epsilon-predicting network (k-diffusion's CompVisDenoiser inside A1111's
    CFGDenoiser, in their order of float operations): uncond + (cond - uncond) * cfg_scale.

    conds, unconds: a [L, C] tensor per image. Texts of unequal length run as separate calls, unpadded, as in A1111;
    otherwise prompt and negative prompt share one call if `together`. At cfg_scale 1 the negative prompt has no
    weight, so it is run only for a sampler that needs it.
    """
    guide = cfg_scale != 1 or needs_uncond
    batch = len(conds)
    texts = [*conds, *unconds] if guide else list(conds)
    calls: dict[tuple[int, int], list[int]] = {}
    for row, text in enumerate(texts):
        calls.setdefault((len(text), 0 if together else row // batch), []).append(row)
    groups = [
        (
            rows,
            torch.tensor([row % batch for row in rows], device=components.device),
            torch.stack([texts[r] for r in rows]),
        )
        for rows in calls.values()
    ]

    def denoise(x: torch.Tensor, sigma: torch.Tensor) -> Denoised:
        s = sigma[0]  # on the CPU: a scalar that broadcasts without waiting for the device
        c_out, c_in = -s, 1 / (s**2 + 1) ** 0.5
        t = sampling.sigma_to_t(sigma[:1]).to(components.device)
        scaled = (x * c_in).to(components.dtype)
        x0: list[torch.Tensor | None] = [None] * len(texts)
        for rows, images, cond in groups:
            eps = components.predict(scaled[images], t.expand(len(rows)), cond).float()
            for row, x0_row in zip(rows, x[images] + eps * c_out, strict=True):
                x0[row] = x0_row
        predictions = torch.stack([prediction for prediction in x0 if prediction is not None])
        cond_x0, uncond_x0 = predictions[:batch], predictions[batch:]
        if not guide:
            return Denoised(cond_x0, None)
        return Denoised(uncond_x0 + (cond_x0 - uncond_x0) * cfg_scale, uncond_x0 if needs_uncond else None)

    return denoise
