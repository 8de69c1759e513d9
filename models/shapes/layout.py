"""Where the things of a scene lie: numbers for the painter, in a square from -1 to 1, y downwards."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from shapes.scenes import BACKGROUNDS, COLOURS, LINES, PLACES, RELATIONS, SHAPES, TEXTURES, Scene

if TYPE_CHECKING:
    import random

RADII = {"small": 0.19, "medium": 0.29, "large": 0.41}
"""Circumscribed radius of a thing by its size; the half picture is 1."""

EDGE = 0.93
GAP = (0.11, 0.26)
PLACE_OFFSET = 0.47


@dataclasses.dataclass(frozen=True)
class Placed:
    """One thing as the painter needs it: indices into the vocabulary, then geometry."""

    shape: int
    colour: int
    texture: int
    x: float
    y: float
    radius: float
    angle: float


@dataclasses.dataclass(frozen=True)
class Composition:
    """A scene made definite: one background (an index into `BACKGROUNDS`) and one to three placed things."""

    background: int
    things: tuple[Placed, ...]


def compose(scene: Scene, rng: random.Random) -> Composition:
    """Places a scene's things, with chance within what its words allow."""
    colours = {thing.colour for thing in scene.things}
    free = [name for name in BACKGROUNDS if name not in colours]
    background = BACKGROUNDS.index(scene.background or rng.choice(free))
    radii = [RADII[thing.size] * rng.uniform(0.96, 1.04) for thing in scene.things]
    centres = _centres(scene, radii, rng)
    things = tuple(
        Placed(
            SHAPES.index(thing.shape),
            COLOURS.index(thing.colour),
            TEXTURES.index(thing.texture),
            x,
            y,
            radius,
            rng.uniform(-0.16, 0.16),
        )
        for thing, radius, (x, y) in zip(scene.things, radii, centres, strict=True)
    )
    return Composition(background, things)


def _centres(scene: Scene, radii: list[float], rng: random.Random) -> list[tuple[float, float]]:
    if len(radii) == 1:
        return [_at_place(scene.layout or rng.choice(PLACES), radii[0], rng)]
    layout = scene.layout or rng.choice(RELATIONS[:4] if len(radii) == 2 else LINES)
    if layout == "inside":
        return _inside(rng)
    along = _along(radii, rng)
    across = [_jitter(radius, 0.2 if len(radii) == 2 else 0.1, rng) for radius in radii]
    if layout in ("right of", "below"):
        along = [-position for position in along]
    pairs = list(zip(along, across, strict=True))
    return pairs if layout in ("left of", "right of", "row") else [(y, x) for x, y in pairs]


def _at_place(place: str, radius: float, rng: random.Random) -> tuple[float, float]:
    words = place.split()
    x = PLACE_OFFSET * (("right" in words) - ("left" in words))
    y = PLACE_OFFSET * (("bottom" in words) - ("top" in words))
    limit = EDGE - radius
    return (
        max(-limit, min(limit, x + rng.uniform(-0.05, 0.05))),
        max(-limit, min(limit, y + rng.uniform(-0.05, 0.05))),
    )


def _inside(rng: random.Random) -> list[tuple[float, float]]:
    x, y = rng.uniform(-0.35, 0.35), rng.uniform(-0.35, 0.35)
    return [(x + rng.uniform(-0.01, 0.01), y + rng.uniform(-0.01, 0.01)), (x, y)]


def _along(radii: list[float], rng: random.Random) -> list[float]:
    """Positions one after the other that leave a gap between and stay in the picture."""
    room = 2 * EDGE - 2 * math.fsum(radii)
    gap = min(rng.uniform(*GAP), room / (len(radii) - 1))
    length = 2 * math.fsum(radii) + gap * (len(radii) - 1)
    slack = min(EDGE - length / 2, 0.18)
    start = -length / 2 + rng.uniform(-slack, slack)
    positions = []
    for radius in radii:
        positions.append(start + radius)
        start += 2 * radius + gap
    return positions


def _jitter(radius: float, limit: float, rng: random.Random) -> float:
    limit = min(limit, EDGE - radius)
    return rng.uniform(-limit, limit)
