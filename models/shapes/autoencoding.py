"""Trains the autoencoder on parts of drawn scenes and makes its latents unit in every channel."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from shapes.drawing import Sheet, draw
from shapes.layout import compose
from shapes.loop import Plan, train
from shapes.scenes import sample_scene

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from diffusers import AutoencoderKL

CROP = 64
"""Side in pixels of the parts that training looks at; scenes are mostly background, so they are cut out at things."""

NOISE = 0.05
"""Deviation of the noise on the latents in training: a denoiser's small errors must not show in the picture."""

EDGE_WEIGHT = 1.0
PRIOR_WEIGHT = 1e-3
SPREAD_WEIGHT = 1e-4
ANCHOR_WEIGHT = 0.05

SCENES = 16_000
DRAWN_AT_ONCE = 1024
"""Pictures drawn together: drawing costs the same few hundred small kernels for one as for many."""


class Reconstruction(nn.Module):
    """Called with pictures from -1 to 1, gives the training loss of an autoencoder.

    With an `anchor`, an earlier autoencoder, the latents stay near that one's except in the channel that it used
    least, so that a denoiser trained on the earlier latents need not begin anew.
    """

    def __init__(self, vae: AutoencoderKL, anchor: AutoencoderKL | None) -> None:
        super().__init__()
        self.vae = vae
        self.anchor = anchor.requires_grad_(requires_grad=False) if anchor else None
        self.kept: torch.Tensor
        self.register_buffer("kept", torch.ones(1, vae.config.latent_channels, 1, 1), persistent=False)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Mean absolute error of pixels and of their differences, and a light pull of the latents to unit size."""
        on_gpu = pictures.is_cuda
        with torch.autocast(pictures.device.type, torch.bfloat16, enabled=on_gpu, cache_enabled=False):
            mean, logvar = _moments(self.vae, pictures)
            latents = mean + NOISE * torch.randn_like(mean)
            decoded = self.vae.decoder(self.vae.post_quant_conv(latents)).float()
            error = decoded - pictures
            edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
            spread = (logvar - 2 * math.log(NOISE)).square().mean()
            loss: torch.Tensor = error.abs().mean() + EDGE_WEIGHT * edges + SPREAD_WEIGHT * spread
            loss = loss + PRIOR_WEIGHT * mean.square().mean()
            if self.anchor is not None:
                with torch.no_grad():
                    earlier, _ = _moments(self.anchor, pictures)
                loss = loss + ANCHOR_WEIGHT * ((mean - earlier) * self.kept).square().mean()
        return loss


def _moments(vae: AutoencoderKL, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    mean, logvar = vae.quant_conv(vae.encoder(pictures)).float().chunk(2, 1)
    return mean, logvar.clamp(-30, 20)


def train_vae(
    vae: AutoencoderKL, anchor: AutoencoderKL | None, plan: Plan, batch: int, checkpoint: Path
) -> None:
    """Trains `vae` in place on parts of freshly drawn scenes; see `Reconstruction` for the anchor."""
    device = vae.device
    rng = random.Random(2)
    sheet = Sheet.of([compose(sample_scene(rng), rng) for _ in range(SCENES)]).to(device)
    generator = torch.Generator(device).manual_seed(0)
    reconstruction = Reconstruction(vae, anchor).to(device)
    drawn = list(_crops(sheet, generator, batch))
    if anchor is not None:
        reconstruction.kept[:, _least_used_channel(anchor, torch.cat(drawn[:4]))] = 0
    step: Callable[[torch.Tensor], torch.Tensor] = reconstruction
    if device.type == "cuda":
        # Hundreds of small kernels a step: replayed as one graph they cost a third.
        graphed = torch.cuda.make_graphed_callables(reconstruction, (drawn[0].clone(),))
        step = cast("Callable[[torch.Tensor], torch.Tensor]", graphed)

    def loss() -> torch.Tensor:
        if not drawn:
            drawn.extend(_crops(sheet, generator, batch))
        return step(drawn.pop())

    train(nn.ModuleDict({"vae": vae}), loss, plan, checkpoint)


def _crops(sheet: Sheet, generator: torch.Generator, batch: int) -> tuple[torch.Tensor, ...]:
    """Batches of parts `(batch, 3, CROP, CROP)`, each around one of the things of its scene."""
    device = sheet.background.device
    rows = torch.randint(len(sheet), (DRAWN_AT_ONCE,), device=device, generator=generator)
    some = sheet[rows]
    pictures = _swap_channels(draw(some, generator=generator).pictures * 2 - 1, generator)
    side = pictures.shape[-1]
    # The first slot is always filled; the second one is empty, with its centre at 0, in scenes of one thing.
    slot = torch.randint(2, (len(some), 1, 1), device=device, generator=generator).expand(-1, 1, 2)
    centre = some.numbers[:, :, :2].gather(1, slot)[:, 0]
    shift = torch.rand(centre.shape, device=device, generator=generator) - 0.5
    corner = ((centre + 1 + 0.5 * shift) * side / 2 - CROP / 2).round().long().clamp(0, side - CROP)
    window = torch.arange(CROP, device=device)
    ys = (corner[:, 1, None] + window)[:, None, :, None]
    xs = (corner[:, 0, None] + window)[:, None, None, :]
    index = torch.arange(len(some), device=device)[:, None, None, None]
    channel = torch.arange(3, device=device)[None, :, None, None]
    parts = pictures[index, channel, ys, xs].contiguous(memory_format=torch.channels_last)
    batches: tuple[torch.Tensor, ...] = parts.split(batch)
    return batches


def _swap_channels(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Every fourth picture with swapped colour channels: the autoencoder should know more than our palette."""
    order = torch.randperm(3, device=pictures.device, generator=generator)
    pictures[::4] = pictures[::4][:, order]
    return pictures


@torch.no_grad()
def _least_used_channel(vae: AutoencoderKL, pictures: torch.Tensor) -> int:
    """The latent channel with the widest posterior: it says least about the picture."""
    _, logvar = _moments(vae, pictures)
    return int(logvar.mean((0, 2, 3)).argmax())


@torch.no_grad()
def encode_pool(vae: AutoencoderKL, sheet: Sheet, batch: int = DRAWN_AT_ONCE) -> torch.Tensor:
    """Draws and encodes a sheet: latents `(count, 4, 32, 32)` in half precision, on the autoencoder's device."""
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
def fidelity(vae: AutoencoderKL, sheet: Sheet) -> float:
    """Peak signal to noise ratio in decibels, the median over some scenes of a sheet."""
    pictures = draw(sheet[:256].to(vae.device)).pictures
    mean, _ = _moments(vae, pictures * 2 - 1)
    decoded = vae.decoder(vae.post_quant_conv(mean)) / 2 + 0.5
    error = (decoded.clamp(0, 1) - pictures).square().mean((1, 2, 3))
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
