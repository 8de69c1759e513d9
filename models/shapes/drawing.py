"""Draws compositions: anti-aliased shapes from signed distances, soft light, drop shadows, textures."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import torch

from shapes.scenes import BACKGROUNDS, COLOURS, SHAPES, TEXTURES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shapes.layout import Composition

PAINT = {
    "red": (222, 52, 48), "orange": (245, 138, 32), "yellow": (250, 214, 56), "green": (52, 160, 76),
    "teal": (34, 182, 186), "blue": (44, 96, 216), "purple": (132, 70, 196), "pink": (240, 122, 180),
    "white": (246, 246, 243),
}  # fmt: skip
BACKDROP = {
    "white": (240, 239, 235), "gray": (140, 145, 152), "black": (36, 38, 46), "yellow": (252, 236, 170),
    "green": (176, 222, 182), "blue": (166, 202, 242), "purple": (204, 186, 238), "pink": (250, 206, 222),
}  # fmt: skip
SLOTS = 3
EMPTY = -1
RING_HOLE = 0.62
BEVEL = 0.075


@dataclasses.dataclass(frozen=True)
class Sheet:
    """Compositions as tensors, ready to draw.

    `numbers` is `(batch, SLOTS, 4)`: x, y, radius, angle. `kinds` is `(batch, SLOTS, 3)`: shape, colour, texture,
    with shape `EMPTY` in unused slots. `background` is `(batch,)`.
    """

    numbers: torch.Tensor
    kinds: torch.Tensor
    background: torch.Tensor

    @classmethod
    def of(cls, compositions: Sequence[Composition]) -> Sheet:
        """Packs compositions."""
        numbers = torch.zeros(len(compositions), SLOTS, 4)
        kinds = torch.full((len(compositions), SLOTS, 3), EMPTY, dtype=torch.int64)
        for row, composition in enumerate(compositions):
            for slot, thing in enumerate(composition.things):
                numbers[row, slot] = torch.tensor((thing.x, thing.y, thing.radius, thing.angle))
                kinds[row, slot] = torch.tensor((thing.shape, thing.colour, thing.texture))
        return cls(numbers, kinds, torch.tensor([composition.background for composition in compositions]))

    def to(self, device: torch.device | str) -> Sheet:
        """The same on another device."""
        return Sheet(self.numbers.to(device), self.kinds.to(device), self.background.to(device))

    def __len__(self) -> int:
        return len(self.background)

    def __getitem__(self, rows: torch.Tensor | slice) -> Sheet:
        return Sheet(self.numbers[rows], self.kinds[rows], self.background[rows])


@dataclasses.dataclass(frozen=True)
class Drawn:
    """Pictures `(batch, 3, side, side)` from 0 to 1, and per pixel the slot that covers it or `EMPTY`."""

    pictures: torch.Tensor
    slots: torch.Tensor


def draw(sheet: Sheet, side: int = 128, generator: torch.Generator | None = None) -> Drawn:
    """Draws every composition of a sheet.

    Args:
        sheet: What to draw; its device does the work.
        side: Height and width in pixels.
        generator: Source of the small differences of tone between pictures; None draws the mean tone.
    """
    device = sheet.numbers.device
    batch = len(sheet)
    line = (torch.arange(side, device=device) + 0.5) * (2 / side) - 1
    y, x = torch.meshgrid(line, line, indexing="ij")
    tone = torch.zeros(batch, SLOTS + 1, 3, device=device)
    if generator is not None:
        tone = torch.randn(tone.shape, device=device, generator=generator) * 0.012
    canvas = _backdrop(sheet.background, x, y) + tone[:, SLOTS, :, None, None]
    covered = torch.full((batch, side, side), EMPTY, device=device)
    for slot in range(SLOTS):
        rows = (sheet.kinds[:, slot, 0] != EMPTY).nonzero()[:, 0]
        if not len(rows):
            continue
        shadow, alpha, colour = _thing(sheet, slot, rows, x, y)
        colour = colour + tone[rows, slot, :, None, None]
        lit = canvas[rows] * (1 - shadow)
        canvas[rows] = lit + (colour - lit) * alpha
        covered[rows] = torch.where(alpha[:, 0] > 0.5, slot, covered[rows])
    return Drawn(canvas.clamp(0, 1), covered)


def _backdrop(background: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    colours = torch.tensor([BACKDROP[name] for name in BACKGROUNDS], device=background.device) / 255
    light = 1.03 - 0.05 * (x + y) / 2 - 0.07 * (x * x + y * y) / 2
    return colours[background][:, :, None, None] * light


def _thing(
    sheet: Sheet, slot: int, rows: torch.Tensor, x: torch.Tensor, y: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Shadow, coverage and colour of one slot's things, each `(rows, 1 or 3, side, side)`."""
    centre_x, centre_y, radius, angle = (sheet.numbers[rows, slot, index, None, None] for index in range(4))
    shape, colour, texture = sheet.kinds[rows, slot].unbind(-1)
    cos, sin = angle.cos(), angle.sin()
    u = ((x - centre_x) * cos + (y - centre_y) * sin) / radius
    v = ((y - centre_y) * cos - (x - centre_x) * sin) / radius
    distance = torch.empty_like(u)
    for index, name in enumerate(SHAPES):
        members = (shape == index).nonzero()[:, 0]
        if len(members):
            distance[members] = DISTANCES[name](u[members], v[members])
    distance = distance * radius
    pixel = 2 / x.shape[-1]
    alpha = (0.5 - distance / pixel).clamp(0, 1)
    offset = round(0.05 / pixel)
    shadow = 0.30 * torch.sigmoid(-torch.roll(distance, (offset, offset), (-2, -1)) / 0.022)
    paint = _paint(colour, texture, u * radius, v * radius)
    paint = _light(paint, distance, (y - centre_y) / radius, pixel)
    return shadow[:, None], alpha[:, None], paint


def _paint(colour: torch.Tensor, texture: torch.Tensor, u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Colour with its texture: a second, paler (for pale colours: darker) tone in a pattern."""
    base = torch.tensor([PAINT[name] for name in COLOURS], device=u.device) / 255
    pale = torch.tensor([name in ("white", "yellow") for name in COLOURS], device=u.device)[:, None]
    second = torch.where(pale, base * 0.66, base + (1 - base) * 0.66)
    pattern = torch.zeros_like(u)
    for index, name in enumerate(TEXTURES):
        members = (texture == index).nonzero()[:, 0]
        if name != "plain" and len(members):
            pattern[members] = PATTERNS[name](u[members], v[members])
    first = base[colour][:, :, None, None]
    return first + (second[colour][:, :, None, None] - first) * pattern[:, None]


def _light(paint: torch.Tensor, distance: torch.Tensor, down: torch.Tensor, pixel: float) -> torch.Tensor:
    """Light from the top left: a rounded rim, a slow fall-off downwards, a soft highlight."""
    slope_y, slope_x = torch.gradient(distance, spacing=pixel, dim=(-2, -1))
    facing = -(slope_x * 0.6 + slope_y * 0.8)
    rim = (1 + distance / BEVEL).clamp(0, 1).square()
    shade = 1 + 0.26 * facing * rim - 0.07 * down.clamp(-1, 1)
    highlight = 0.30 * (facing * rim).clamp(0, 1).pow(3)
    return paint * shade[:, None] + highlight[:, None]


# ── Signed distances to the shapes of circumscribed radius 1, negative inside ───────────────────────────────


def _smooth_max(values: Sequence[torch.Tensor], roundness: float) -> torch.Tensor:
    stacked = torch.stack(tuple(values))
    return roundness * torch.logsumexp(stacked / roundness, 0)


def _half_planes(
    u: torch.Tensor, v: torch.Tensor, inner: float, angles: Sequence[float], roundness: float = 0.05
) -> torch.Tensor:
    """A convex polygon: the greatest of the distances to its edges, with rounded corners."""
    return _smooth_max([u * math.cos(a) + v * math.sin(a) - inner for a in angles], roundness)


def _circle(u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return torch.hypot(u, v) - 0.92


def _square(u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return _half_planes(u, v, 0.76, [index * math.pi / 2 for index in range(4)])


def _triangle(u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return _half_planes(u, v - 0.22, 0.56, [math.pi / 2 + index * math.tau / 3 for index in range(3)])


def _star(u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    # Folded into half a point, a star is one edge from the tip (0, 1.04) to the notch between two tips.
    fold = math.tau / 5
    angle = torch.atan2(u, -v)
    angle = (angle - fold * torch.round(angle / fold)).abs()
    length = torch.hypot(u, v)
    along, across = length * angle.cos(), length * angle.sin()
    notch_along, notch_across = 0.52 * math.cos(fold / 2), 0.52 * math.sin(fold / 2)
    tip = 1.04
    normal = math.hypot(tip - notch_along, notch_across)
    return ((along - tip) * notch_across + across * (tip - notch_along)) / normal


def _ring(u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return (torch.hypot(u, v) - (1 + RING_HOLE) / 2 * 0.98).abs() - (1 - RING_HOLE) / 2 * 0.98


def _cross(u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    far, near = torch.maximum(u.abs(), v.abs()), torch.minimum(u.abs(), v.abs())
    return _smooth_max([near - 0.29, far - 0.92], 0.04)


def _heart(u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    # Two lobes and the wedge below them, mirrored: the wedge's edges touch the lobes at 45°.
    u, v = u.abs(), v + 0.08
    lobe = torch.hypot(u - 0.42, v + 0.26) - 0.52
    wedge = torch.stack(((u + v) / math.sqrt(2) - 0.633, -v - 0.26, (u - v - 0.68) / math.sqrt(2))).amax(0)
    return torch.minimum(lobe, wedge)


def _crescent(u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    body = torch.hypot(u + 0.08, v) - 0.92
    bite = 0.82 - torch.hypot(u - 0.48, v + 0.1)
    beyond_tips = torch.hypot(body.clamp(min=0), bite.clamp(min=0))
    return torch.where((body > 0) & (bite > 0), beyond_tips, torch.maximum(body, bite))


DISTANCES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "circle": _circle, "square": _square, "triangle": _triangle, "star": _star,
    "ring": _ring, "cross": _cross, "heart": _heart, "crescent": _crescent,
}  # fmt: skip


# ── Patterns: 0 for the first tone, 1 for the second ────────────────────────────────────────────────────────


def _striped(u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return torch.sigmoid(8 * torch.sin((u + v) * (math.tau / 0.20)))


def _dotted(u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    period = 0.17
    row = torch.round(v / period)
    du = u / period - row / 2
    du = (du - torch.round(du)) * period
    return torch.sigmoid((0.050 - torch.hypot(du, v - row * period)) / 0.006)


def _checkered(u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    period = 0.26
    return torch.sigmoid(14 * torch.sin(u * (math.tau / period)) * torch.sin(v * (math.tau / period)))


PATTERNS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "striped": _striped, "dotted": _dotted, "checkered": _checkered,
}  # fmt: skip
