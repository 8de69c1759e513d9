"""Reads a picture of a scene: what things it shows, where, on what background. Also measures how alike two are."""

from __future__ import annotations

import dataclasses
import functools
import math
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from shapes.drawing import DISTANCES
from shapes.layout import RADII
from shapes.scenes import BACKGROUNDS, COLOURS, SHAPES, SIZES, TEXTURES, Thing

if TYPE_CHECKING:
    from typing import Self

WEIGHTS = Path(__file__).parent / "reader.safetensors"
SIDE = 128
GRID = 64
LEAST_PIXELS = 20
"""Fewer pixels of the 64 × 64 grid than this are a speck, not a thing; the smallest thing covers about 45."""


@dataclasses.dataclass(frozen=True)
class Seen:
    """A thing found in a picture: its centre and circumscribed radius, the half picture being 1, y downwards."""

    thing: Thing
    x: float
    y: float
    radius: float


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a picture shows, greatest thing first."""

    seen: tuple[Seen, ...]
    background: str


class _Residual(nn.Module):
    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.GroupNorm(8, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        change: torch.Tensor = self.second(functional.silu(self.first(functional.silu(self.norm(x)))))
        return x + change


class ReaderNet(nn.Module):
    """Labels each pixel of a 64 × 64 grid with shape (or none), colour and texture, and the picture's background."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.fine = nn.Conv2d(3, 24, 3, stride=2, padding=1)
        self.coarse = nn.Conv2d(24, width, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList(_Residual(width, dilation) for dilation in (1, 2, 4, 1))
        self.join = nn.Conv2d(width + 24, 40, 3, padding=1)
        self.shape = nn.Conv2d(40, len(SHAPES) + 1, 1)
        self.colour = nn.Conv2d(40, len(COLOURS), 1)
        self.texture = nn.Conv2d(40, len(TEXTURES), 1)
        self.background = nn.Linear(width, len(BACKGROUNDS))

    def forward(self, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits per head; `shape`, `colour`, `texture` are `(batch, classes, 64, 64)`."""
        fine, deep = self.encode(pictures)
        raised = functional.interpolate(deep, scale_factor=2.0, mode="bilinear", align_corners=False)
        joint = functional.silu(self.join(torch.cat((raised, fine), 1)))
        return {
            "shape": self.shape(joint),
            "colour": self.colour(joint),
            "texture": self.texture(joint),
            "background": self.background(deep.mean((2, 3))),
        }

    def encode(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Fine `(batch, 24, 64, 64)` and deep `(batch, width, 32, 32)` features of pictures from 0 to 1."""
        fine = functional.silu(self.fine(pictures * 2 - 1))
        deep = self.coarse(fine)
        for block in self.blocks:
            deep = block(deep)
        return fine, deep


class Reader:
    """The trained reader."""

    def __init__(self, net: ReaderNet) -> None:
        self.net = net.eval().requires_grad_(requires_grad=False)

    @classmethod
    def load(cls, device: torch.device | str = "cpu", weights: Path = WEIGHTS) -> Self:
        """The reader with the weights in the repository."""
        net = ReaderNet()
        net.load_state_dict({name: value.float() for name, value in load_file(weights).items()})
        return cls(net.to(device))

    @torch.no_grad()
    def read(self, pictures: torch.Tensor) -> list[Reading]:
        """Reads pictures `(batch, 3, height, width)` from 0 to 1; other sizes than 128 are resized."""
        logits = self.net(_sized(pictures))
        components = connected(logits["shape"].argmax(1) > 0)
        backgrounds = logits["background"].argmax(1).tolist()
        rows = zip(*(logits[name].cpu() for name in ("shape", "colour", "texture")), strict=True)
        return [
            Reading(_things(labels, *row), BACKGROUNDS[background])
            for labels, row, background in zip(components.cpu(), rows, backgrounds, strict=True)
        ]

    @torch.no_grad()
    def features(self, pictures: torch.Tensor) -> torch.Tensor:
        """Unit-length features `(batch, channels, 32, 32)`; see `distance`."""
        return functional.normalize(self.net.encode(_sized(pictures))[1], dim=1)

    def distance(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """How differently the reader sees two batches of pictures, `(batch,)`: 0 alike, 4 opposite."""
        return (self.features(first) - self.features(second)).square().sum(1).mean((1, 2))


def _sized(pictures: torch.Tensor) -> torch.Tensor:
    if pictures.shape[-2:] == (SIDE, SIDE):
        return pictures.float()
    return functional.interpolate(pictures.float(), (SIDE, SIDE), mode="bilinear", antialias=True)


def connected(mask: torch.Tensor) -> torch.Tensor:
    """Labels the connected components (by edges) of masks `(batch, height, width)`; 0 is outside."""
    height, width = mask.shape[-2:]
    labels = torch.arange(1, height * width + 1, device=mask.device).view(1, height, width) * mask
    while True:
        value = labels.float()
        along = functional.max_pool2d(value, (1, 3), 1, (0, 1))
        down = functional.max_pool2d(value, (3, 1), 1, (1, 0))
        grown = torch.maximum(along, down).to(labels.dtype) * mask
        if torch.equal(grown, labels):
            return labels
        labels = grown


def _things(
    labels: torch.Tensor, shape: torch.Tensor, colour: torch.Tensor, texture: torch.Tensor
) -> tuple[Seen, ...]:
    values, counts = labels[labels > 0].unique(return_counts=True)
    order = counts.argsort(descending=True)
    return tuple(
        _seen(labels == value, shape, colour, texture)
        for value, count in zip(values[order], counts[order], strict=True)
        if count >= LEAST_PIXELS
    )


def _seen(member: torch.Tensor, shape: torch.Tensor, colour: torch.Tensor, texture: torch.Tensor) -> Seen:
    """One component, its pixels voting with their logits."""
    votes = [int(head[:, member].log_softmax(0).sum(1).argmax()) for head in (shape[1:], colour, texture)]
    rows, columns = member.nonzero().float().unbind(1)
    name = SHAPES[votes[0]]
    # Reported is the thing's own centre, not its centre of mass, which for a heart or crescent lies elsewhere.
    area, offset_x, offset_y = _figure(name)
    radius = math.sqrt(len(rows) * (2 / GRID) ** 2 / area)
    x = float(columns.mean() + 0.5) * 2 / GRID - 1 - offset_x * radius
    y = float(rows.mean() + 0.5) * 2 / GRID - 1 - offset_y * radius
    size = min(SIZES, key=lambda known: abs(math.log(radius / RADII[known])))
    return Seen(Thing(name, COLOURS[votes[1]], TEXTURES[votes[2]], size), x, y, radius)


@functools.cache
def _figure(shape: str) -> tuple[float, float, float]:
    """Area and centre of mass of a shape of radius 1."""
    line = torch.linspace(-1.2, 1.2, 241)
    y, x = torch.meshgrid(line, line, indexing="ij")
    inside = DISTANCES[shape](x, y) < 0
    return float(inside.sum()) * 0.01**2, float(x[inside].mean()), float(y[inside].mean())
