"""What a picture may show: things with a shape, colour, texture and size, where they are, and the background."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

SHAPES = ("circle", "square", "triangle", "star", "ring", "cross", "heart", "crescent")
COLOURS = ("red", "orange", "yellow", "green", "teal", "blue", "purple", "pink", "white")
TEXTURES = ("plain", "striped", "dotted", "checkered")
SIZES = ("small", "medium", "large")
BACKGROUNDS = ("white", "gray", "black", "yellow", "green", "blue", "purple", "pink")

PLACES = (
    "top left", "top", "top right",
    "left", "center", "right",
    "bottom left", "bottom", "bottom right",
)  # fmt: skip
RELATIONS = ("left of", "right of", "above", "below", "inside")
LINES = ("row", "column")


class SceneError(ValueError):
    """A scene or prompt that cannot be drawn; says what was found, what was wanted and what to write instead."""


@dataclasses.dataclass(frozen=True)
class Thing:
    """One drawn thing."""

    shape: str
    colour: str
    texture: str = "plain"
    size: str = "medium"

    def __post_init__(self) -> None:
        for name, value, known in (
            ("shape", self.shape, SHAPES),
            ("colour", self.colour, COLOURS),
            ("texture", self.texture, TEXTURES),
            ("size", self.size, SIZES),
        ):
            if value not in known:
                raise SceneError(f"{name} is {value!r}; it must be one of {', '.join(known)}")


@dataclasses.dataclass(frozen=True)
class Scene:
    """One to three things, how they lie, and the background.

    `layout` is one of `PLACES` for one thing, one of `RELATIONS` for two (the first thing is *layout* the second),
    one of `LINES` for three (in reading order). None for `layout` or `background` leaves it to the painter.
    """

    things: tuple[Thing, ...]
    layout: str | None = None
    background: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.things) <= 3:
            raise SceneError(f"found {len(self.things)} things; a scene has one, two or three")
        layouts = (PLACES, RELATIONS, LINES)[len(self.things) - 1]
        if self.layout is not None and self.layout not in layouts:
            raise SceneError(
                f"layout is {self.layout!r}; for {len(self.things)} things it must be one of {', '.join(layouts)}"
            )
        if self.background is not None and self.background not in BACKGROUNDS:
            raise SceneError(f"background is {self.background!r}; it must be one of {', '.join(BACKGROUNDS)}")
        self._check_visible()

    def _check_visible(self) -> None:
        for thing in self.things:
            if thing.colour == self.background:
                raise SceneError(
                    f"a {thing.colour} {thing.shape} cannot be seen on a {thing.colour} background"
                )
        if self.layout == "inside":
            guest, host = self.things
            if host.shape != "ring" or host.size != "large" or guest.size != "small" or guest.shape == "ring":
                raise SceneError(
                    "only a small thing that is no ring lies inside, and only inside a large ring"
                )
        if len(self.things) == 3 and any(thing.size == "large" for thing in self.things):
            raise SceneError("three things are drawn small or medium; a large one would not leave room")


def is_held_out(thing: Thing) -> bool:
    """True for the shape, colour and texture combinations (one in ten) that training never shows."""
    index = (
        SHAPES.index(thing.shape) * 7 + COLOURS.index(thing.colour) * 3 + TEXTURES.index(thing.texture) * 11
    )
    return index % 10 == 3


HELD_OUT = tuple(
    thing
    for combination in itertools.product(SHAPES, COLOURS, TEXTURES)
    if is_held_out(thing := Thing(*combination))
)


def sample_scene(rng: random.Random, *, held_out: bool = False) -> Scene:
    """Draws a scene at random: as in training, or with a held-out combination as its first thing.

    Args:
        rng: Source of chance; equal states give equal scenes.
        held_out: False gives no held-out combination anywhere, True gives one and, next to it, familiar ones.
    """
    count = rng.choices((1, 2, 3), (3, 5, 2))[0]
    background = None if rng.random() < 0.08 else rng.choice(BACKGROUNDS)
    layout = None if rng.random() < 0.08 else rng.choice((PLACES, RELATIONS, LINES)[count - 1])
    sizes = SIZES[:2] if count == 3 else SIZES
    things = tuple(
        _sample_thing(rng, background, sizes, held_out=held_out and index == 0) for index in range(count)
    )
    if layout == "inside":
        guest, host = things
        guest_shape = "circle" if guest.shape == "ring" else guest.shape
        guest = dataclasses.replace(guest, shape=guest_shape, size="small")
        host = dataclasses.replace(host, shape="ring", size="large")
        if not held_out and (is_held_out(guest) or is_held_out(host)):
            return sample_scene(rng, held_out=held_out)
        things = (guest, host)
    return Scene(things, layout, background)


def _sample_thing(
    rng: random.Random, background: str | None, sizes: tuple[str, ...], *, held_out: bool
) -> Thing:
    while True:
        texture = rng.choices(TEXTURES, (4, 2, 2, 2))[0]
        thing = Thing(rng.choice(SHAPES), rng.choice(COLOURS), texture, rng.choice(sizes))
        if is_held_out(thing) == held_out and thing.colour != background:
            return thing
