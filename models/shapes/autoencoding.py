"""Trains the autoencoder on drawn scenes and makes its latents unit in every channel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from shapes.drawing import EMPTY, Sheet, draw
from shapes.loop import Plan, compiled, train

if TYPE_CHECKING:
    from pathlib import Path

    from diffusers import AutoencoderKL

NOISE = 0.05
"""Deviation of the noise on the latents in training: a denoiser's small errors must not show in the picture."""

THING_WEIGHT = 5.0
"""What a pixel of a thing or beside one counts; one of the background counts 1, and most are."""
MARGIN = 2

EDGE_WEIGHT = 1.0
PRIOR_WEIGHT = 1e-3
SPREAD_WEIGHT = 1e-4

BATCHES_DRAWN = 16
"""Batches drawn together: drawing costs the same few hundred small kernels for one as for many."""


class Reconstruction(nn.Module):
    """Called with pictures and the weights of their pixels, gives the training loss of an autoencoder.

    It sees whole pictures, not parts: group norms carry the share of each colour in the picture from one end of
    the autoencoder to the other, and in a part this share is another one.
    """

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, pictures: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Loss of pictures `(batch, 3, side, side)` from -1 to 1 with weights `(batch, 1, side, side)`.

        Absolute errors of pixels and of their differences, and a light pull of the latents to unit size.
        """
        with torch.autocast(pictures.device.type, torch.bfloat16, enabled=pictures.is_cuda):
            mean, logvar = _moments(self.vae, pictures)
            latents = mean + NOISE * torch.randn_like(mean)
            error = self.vae.decoder(self.vae.post_quant_conv(latents)).float() - pictures
        across = (error.diff(dim=-1).abs() * weights[..., 1:]).mean()
        down = (error.diff(dim=-2).abs() * weights[..., 1:, :]).mean()
        spread = (logvar - 2 * math.log(NOISE)).square().mean()
        loss: torch.Tensor = (error.abs() * weights).mean() + EDGE_WEIGHT * (across + down)
        loss += SPREAD_WEIGHT * spread + PRIOR_WEIGHT * mean.square().mean()
        return loss


def _moments(vae: AutoencoderKL, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    mean, logvar = vae.quant_conv(vae.encoder(pictures)).float().chunk(2, 1)
    return mean, logvar.clamp(-30, 20)


def train_vae(vae: AutoencoderKL, sheet: Sheet, plan: Plan, batch: int, checkpoint: Path) -> None:
    """Trains `vae` in place on the scenes of a sheet."""
    device = vae.device
    generator = torch.Generator(device).manual_seed(0)
    step = compiled(Reconstruction(vae), device)
    drawn: list[tuple[torch.Tensor, torch.Tensor]] = _weighted(sheet[:batch].to(device), generator, batch)
    seen = drawn.pop()

    def prepare() -> None:
        if not drawn:
            rows = torch.randint(len(sheet), (batch * BATCHES_DRAWN,))
            drawn.extend(_weighted(sheet[rows].to(device), generator, batch))
        for kept, new in zip(seen, drawn.pop(), strict=True):
            kept.copy_(new)

    def loss() -> torch.Tensor:
        value: torch.Tensor = step(*seen)
        return value

    train(nn.ModuleDict({"vae": vae}), loss, plan, checkpoint, prepare)


def _weighted(
    sheet: Sheet, generator: torch.Generator, batch: int
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of pictures from -1 to 1 and the weights of their pixels."""
    drawn = draw(sheet, generator=generator)
    pictures = (drawn.pictures * 2 - 1).contiguous(memory_format=torch.channels_last)
    thing = (drawn.slots != EMPTY).float()[:, None]
    near = functional.max_pool2d(thing, 2 * MARGIN + 1, stride=1, padding=MARGIN)
    weights = 1 + (THING_WEIGHT - 1) * near
    return list(zip(pictures.split(batch), weights.split(batch), strict=True))


@torch.no_grad()
def encode_pool(vae: AutoencoderKL, sheet: Sheet, batch: int = 1024) -> torch.Tensor:
    """Draws and encodes a sheet: latents `(count, channels, 32, 32)` in half precision, on the vae's device."""
    device = vae.device
    generator = torch.Generator(device).manual_seed(1)
    latents = torch.empty(len(sheet), vae.config.latent_channels, 32, 32, dtype=torch.float16, device=device)
    for start in range(0, len(sheet), batch):
        rows = slice(start, start + batch)
        pictures = draw(sheet[rows].to(device), generator=generator).pictures * 2 - 1
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            mean, _ = _moments(vae, pictures.contiguous(memory_format=torch.channels_last))
        latents[rows] = mean.half()
    return latents


@torch.no_grad()
def reconstructed(vae: AutoencoderKL, sheet: Sheet) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures of a sheet `(count, 3, side, side)` from 0 to 1, and what the autoencoder makes of them."""
    pictures = draw(sheet.to(vae.device)).pictures
    mean, _ = _moments(vae, pictures * 2 - 1)
    decoded = vae.decoder(vae.post_quant_conv(mean)) / 2 + 0.5
    return pictures, decoded.clamp(0, 1)


def fidelity(vae: AutoencoderKL, sheet: Sheet) -> float:
    """Peak signal to noise ratio in decibels, the median over some scenes of a sheet."""
    pictures, decoded = reconstructed(vae, sheet[:256])
    error = (decoded - pictures).square().mean((1, 2, 3))
    return float(-10 * error.log10().median())


@torch.no_grad()
def normalise(vae: AutoencoderKL, latents: torch.Tensor) -> None:
    """Folds each channel's mean and deviation over `latents` into the 1 × 1 convolutions around the latents.

    Afterwards the autoencoder gives latents of mean 0 and deviation 1 in every channel, and needs no scaling factor.
    """
    mean = latents.float().mean((0, 2, 3))
    deviation = latents.float().std((0, 2, 3))
    half = vae.config.latent_channels
    quant, post = vae.quant_conv, vae.post_quant_conv
    quant.weight[:half] /= deviation[:, None, None, None]
    quant.bias[:half] = (quant.bias[:half] - mean) / deviation
    quant.bias[half:] -= 2 * deviation.log()
    post.bias += (post.weight[:, :, 0, 0] * mean).sum(1)
    post.weight *= deviation[None, :, None, None]
