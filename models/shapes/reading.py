"""Trains the reader on drawn scenes, spoiled a little so that it also reads what a model makes of them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from shapes.drawing import EMPTY, Sheet, draw
from shapes.layout import compose
from shapes.loop import Plan, train
from shapes.reader import GRID, SIDE, ReaderNet
from shapes.scenes import sample_scene

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


MOST_SCENES = 32_000
BATCHES_DRAWN = 16


def train_reader(plan: Plan, batch: int, scenes: int, checkpoint: Path, device: torch.device) -> ReaderNet:
    """Trains a reader on so many scenes of all combinations, those held out from the denoisers among them."""
    torch.manual_seed(0)
    rng = random.Random(5)
    net = ReaderNet().to(device)
    sampled = [sample_scene(rng, held_out=rng.random() < 0.2) for _ in range(min(scenes, MOST_SCENES))]
    sheet = Sheet.of([compose(scene, rng) for scene in sampled]).to(device)
    generator = torch.Generator(device).manual_seed(0)
    drawn = list(_batches(sheet[:batch], generator, batch))
    seen = drawn.pop()

    def prepare() -> None:
        if not drawn:
            rows = torch.randint(len(sheet), (batch * BATCHES_DRAWN,), device=device, generator=generator)
            drawn.extend(_batches(sheet[rows], generator, batch))
        for name, new in drawn.pop().items():
            seen[name].copy_(new)

    def loss() -> torch.Tensor:
        return loss_of(net(seen["pictures"]), seen)

    train(nn.ModuleDict({"reader": net}), loss, plan, checkpoint, prepare)
    return net


def _batches(sheet: Sheet, generator: torch.Generator, batch: int) -> Iterator[dict[str, torch.Tensor]]:
    """Spoiled pictures and their labels; see `examples`."""
    pictures, labels = examples(sheet, generator)
    everything = labels | {"pictures": spoil(pictures)}
    for start in range(0, len(sheet), batch):
        yield {name: each[start : start + batch] for name, each in everything.items()}


def examples(sheet: Sheet, generator: torch.Generator) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Pictures `(batch, 3, 128, 128)` and labels `(batch, 64, 64)`, shape 0 being none; background `(batch,)`."""
    drawn = draw(sheet, SIDE, generator)
    stride = SIDE // GRID
    slots = drawn.slots[:, stride // 2 :: stride, stride // 2 :: stride]
    nothing = torch.full_like(sheet.kinds[:, :1], EMPTY)
    kinds = torch.cat((sheet.kinds, nothing), 1)
    # Slot -1, nothing, wraps round to the row just appended.
    rows = torch.arange(len(sheet), device=slots.device)[:, None, None]
    shape, colour, texture = kinds[rows, slots].unbind(-1)
    labels = {"shape": shape + 1, "colour": colour, "texture": texture, "background": sheet.background}
    return drawn.pictures, labels


def spoil(pictures: torch.Tensor) -> torch.Tensor:
    """Blur, noise and a shift of tone, each of random strength."""
    batch = len(pictures)

    def strength(limit: float) -> torch.Tensor:
        return torch.rand(batch, 1, 1, 1, device=pictures.device) * limit

    blurred = functional.avg_pool2d(functional.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, 1)
    softened = torch.lerp(pictures, blurred, strength(1.0))
    tone = torch.randn(batch, 3, 1, 1, device=pictures.device) * 0.02
    noise = torch.randn_like(pictures) * strength(0.04)
    return (softened * (1 + strength(0.12) - 0.06) + tone + noise).clamp(0, 1)


def loss_of(logits: dict[str, torch.Tensor], labels: dict[str, torch.Tensor]) -> torch.Tensor:
    """Cross-entropy of all heads; colour and texture count only where there is a thing."""
    total = functional.cross_entropy(logits["background"], labels["background"]) * 0.2
    total = total + functional.cross_entropy(logits["shape"], labels["shape"])
    for name in ("colour", "texture"):
        total = total + 0.5 * functional.cross_entropy(logits[name], labels[name], ignore_index=EMPTY)
    return total
