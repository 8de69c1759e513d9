"""Does a picture show what its prompt says? Compares a scene with a reading of the picture."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

from shapes.layout import PLACE_OFFSET

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shapes.reader import Reading, Seen
    from shapes.scenes import Scene

INSIDE = 0.2
"""Centres no further apart than this, the half picture being 1, are one inside the other."""


@dataclasses.dataclass(frozen=True)
class Score:
    """Shares from 0 to 1; what the prompt leaves open counts as right."""

    count: float
    shape: float
    colour: float
    texture: float
    size: float
    background: float
    layout: float

    @property
    def faithful(self) -> bool:
        """Everything that was asked for is there."""
        return all(value > 0.999 for value in dataclasses.astuple(self))


def score(scene: Scene, reading: Reading) -> Score:
    """Compares; the things seen are matched to those asked for in whatever way fits best.

    With another number of things than asked for, the layout counts as wrong and each missing thing costs its share.
    """
    background = float(scene.background in (None, reading.background))
    best = Score(0, 0, 0, 0, 0, background, 0)
    seen = reading.seen[:5]
    wanted = len(scene.things)
    for order in itertools.permutations(seen, min(wanted, len(seen))):
        pairs = [(thing, found.thing) for thing, found in zip(scene.things, order, strict=False)]
        complete = len(reading.seen) == wanted
        share = 1 / max(wanted, len(reading.seen))
        candidate = Score(
            count=float(complete),
            shape=share * sum(asked.shape == found.shape for asked, found in pairs),
            colour=share * sum(asked.colour == found.colour for asked, found in pairs),
            texture=share * sum(asked.texture == found.texture for asked, found in pairs),
            size=share * sum(asked.size == found.size for asked, found in pairs),
            background=background,
            layout=float(complete and lies(scene.layout, order)),
        )
        best = max(best, candidate, key=lambda each: sum(dataclasses.astuple(each)))
    return best


def lies(layout: str | None, seen: Sequence[Seen]) -> bool:
    """Whether the things, in the order of the prompt, lie as `layout` says."""
    if layout is None:
        return True
    if len(seen) == 1:
        return _place(seen[0]) == layout
    first, last = seen[0], seen[-1]
    right, down = last.x - first.x, last.y - first.y
    if layout == "inside":
        return max(abs(right), abs(down)) < INSIDE
    if layout in ("row", "column"):
        steps = [(b.x - a.x, b.y - a.y) for a, b in itertools.pairwise(seen)]
        return all(x > abs(y) if layout == "row" else y > abs(x) for x, y in steps)
    along, across = (right, down) if layout in ("left of", "right of") else (down, right)
    if layout in ("right of", "below"):
        along = -along
    return along > abs(across)


def _place(seen: Seen) -> str:
    limit = PLACE_OFFSET / 2
    vertical = "top" if seen.y < -limit else "bottom" if seen.y > limit else ""
    horizontal = "left" if seen.x < -limit else "right" if seen.x > limit else ""
    return f"{vertical} {horizontal}".strip() or "center"


def average(scores: Sequence[Score]) -> dict[str, float]:
    """The mean of every share, and `faithful`: the share of pictures that show everything asked for."""
    names = [field.name for field in dataclasses.fields(Score)]
    shares = {name: sum(getattr(each, name) for each in scores) / len(scores) for name in names}
    return shares | {"faithful": sum(each.faithful for each in scores) / len(scores)}
