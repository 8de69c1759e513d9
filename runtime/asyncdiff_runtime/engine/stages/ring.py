"""The circle of segments as a picture: who owns what, how long it takes, and how much goes where."""

from collections.abc import Sequence
from math import cos, pi, sin
from typing import Final

from .drawing import colour_of, document, number, text
from .timing import Timing

_WIDTH: Final = 820.0
_HEIGHT: Final = 500.0
_CENTRE: Final = (_WIDTH / 2, 276.0)
_OUTER: Final = 168.0
_INNER: Final = 128.0
_START: Final = -pi / 2
_GAP: Final = 0.012
"""Radians left free on each side of an arc."""
_LEAST_FLOW: Final = 0.01
"""Of all bytes; flows below it have a line and no words."""

_WORDS: Final = (62.0, 17.0)
"""Width and height that the words of a flow take."""

_ROOM: Final = 30
"""Characters of a module's path beside the circle."""

Point = tuple[float, float]


def ring(timing: Timing, names: Sequence[str], *, name: str = "ring") -> str:
    """The segments as arcs of a circle, as long as they take, and what goes between stages as lines across it.

    Args:
        timing: of a schedule.
        names: where each segment begins, such as a module's path.
        name: tells this picture's ids from those of others on a page.
    """
    schedule, costs = timing.schedule, timing.costs
    angles = _angles(costs.seconds)
    whole = sum(costs.seconds)
    body: list[str] = []
    flows = timing.between_stages
    for source, target, count in flows:
        body.append(
            _way(angles, source, target, count, max(flow[2] for flow in flows), schedule.stage_of(source))
        )
    body += [
        _arc(angles, segment, colour_of(schedule.stage_of(segment))) for segment in range(schedule.segments)
    ]
    least = _LEAST_FLOW * sum(flow[2] for flow in flows)
    named = [flow for flow in flows if flow[2] >= least]
    places = _apart([_middle(angles, source, target) for source, target, _ in named])
    for (x, y), (_, _, count) in zip(places, named, strict=True):
        body.append(text(x, y + 4, megabytes(count), "strong halo", "middle"))
    for segment in range(schedule.segments):
        body += _label(timing, angles, segment, names[segment])
    body += _gates()
    shares = ", ".join(
        f"stage {stage} {100 * sum(own) / whole:.0f} %"
        for stage in range(schedule.stages)
        if (own := [s for segment, s in enumerate(costs.seconds) if schedule.stage_of(segment) == stage])
    )
    description = f"Shares of the work: {shares}. Between stages go " + (
        "; ".join(f"{megabytes(count)} from segment {s} to segment {t}" for s, t, count in flows)
        or "no values"
    )
    return document(
        _WIDTH,
        _HEIGHT,
        f"The denoiser as a circle of {schedule.segments} segments, owned by {schedule.stages} stages",
        f"{description}.",
        body,
        name,
    )


def megabytes(count: float) -> str:
    """Bytes for people: `7.8 MB`."""
    mega = count / 1e6
    return f"{mega:.0f} MB" if mega >= 100 else f"{mega:.1f} MB" if mega >= 0.1 else f"{count / 1e3:.1f} kB"


def milliseconds(seconds: float) -> str:
    """Seconds for people, in milliseconds: `7.89 ms`."""
    milli = 1e3 * seconds
    return f"{milli:.0f} ms" if milli >= 100 else f"{milli:.1f} ms" if milli >= 10 else f"{milli:.2f} ms"


def _angles(seconds: Sequence[float]) -> list[tuple[float, float]]:
    """Where each segment's arc begins and ends, clockwise from the top; none is too short to be seen."""
    least = 0.02 * sum(seconds)
    sizes = [max(least, one) for one in seconds]
    at, found = _START, []
    for size in sizes:
        stop = at + 2 * pi * size / sum(sizes)
        found.append((at, stop))
        at = stop
    return found


def _point(angle: float, radius: float) -> Point:
    return _CENTRE[0] + radius * cos(angle), _CENTRE[1] + radius * sin(angle)


def _arc(angles: Sequence[tuple[float, float]], segment: int, colour: str) -> str:
    start, stop = angles[segment][0] + _GAP, angles[segment][1] - _GAP
    large = int(stop - start > pi)
    (ax, ay), (bx, by) = _point(start, _OUTER), _point(stop, _OUTER)
    (cx, cy), (dx, dy) = _point(stop, _INNER), _point(start, _INNER)
    return (
        f'<path d="M{number(ax)} {number(ay)}A{_OUTER:.0f} {_OUTER:.0f} 0 {large} 1 {number(bx)} {number(by)}'
        f"L{number(cx)} {number(cy)}A{_INNER:.0f} {_INNER:.0f} 0 {large} 0 {number(dx)} {number(dy)}Z"
        f'" fill="{colour}"/>'
    )


def _ends(angles: Sequence[tuple[float, float]], source: int, target: int) -> tuple[float, float]:
    """The angles at which a flow leaves and arrives: late in its source, early in its target."""
    return (
        angles[source][0] + 0.7 * (angles[source][1] - angles[source][0]),
        angles[target][0] + 0.3 * (angles[target][1] - angles[target][0]),
    )


def _way(
    angles: Sequence[tuple[float, float]], source: int, target: int, count: int, most: int, stage: int
) -> str:
    start, stop = _ends(angles, source, target)
    (ax, ay), (bx, by) = _point(start, _INNER - 2), _point(stop, _INNER - 2)
    (cx, cy), (dx, dy) = _point(start, _INNER * 0.35), _point(stop, _INNER * 0.35)
    return (
        f'<path class="way" d="M{number(ax)} {number(ay)}C{number(cx)} {number(cy)} {number(dx)} {number(dy)} '
        f'{number(bx)} {number(by)}" stroke="{colour_of(stage)}" stroke-width="{number(1.5 + 12 * count / most)}"/>'
    )


def _middle(angles: Sequence[tuple[float, float]], source: int, target: int) -> Point:
    """The point at half of a flow's line."""
    start, stop = _ends(angles, source, target)
    points = [
        _point(start, _INNER),
        _point(start, _INNER * 0.35),
        _point(stop, _INNER * 0.35),
        _point(stop, _INNER),
    ]
    weights = (0.125, 0.375, 0.375, 0.125)
    return (
        sum(weight * x for weight, (x, _) in zip(weights, points, strict=True)),
        sum(weight * y for weight, (_, y) in zip(weights, points, strict=True)),
    )


def _apart(places: Sequence[Point]) -> list[Point]:
    """Places of words, moved down where they would lie on each other."""
    settled: dict[int, Point] = {}
    for index in sorted(range(len(places)), key=lambda at: (places[at][1], places[at][0])):
        x, y = places[index]
        for other_x, other_y in sorted(settled.values(), key=lambda place: place[1]):
            if abs(x - other_x) < _WORDS[0] and abs(y - other_y) < _WORDS[1]:
                y = other_y + _WORDS[1]
        settled[index] = (x, y)
    return [settled[index] for index in range(len(places))]


def _label(timing: Timing, angles: Sequence[tuple[float, float]], segment: int, begins: str) -> list[str]:
    schedule, costs = timing.schedule, timing.costs
    middle = sum(angles[segment]) / 2
    x, y = _point(middle, _OUTER + 16)
    anchor = "start" if cos(middle) > 0.15 else "end" if cos(middle) < -0.15 else "middle"
    y += 12 * sin(middle)
    if schedule.segments > schedule.stages and middle < _START + 0.5:  # beside the latent's arrow
        x, y, anchor = max(x, _CENTRE[0] + 20), _CENTRE[1] - _OUTER - 38, "start"
    share = 100 * costs.seconds[segment] / sum(costs.seconds)
    lines = [
        (_title(timing, segment), "strong"),
        (f"{milliseconds(costs.seconds[segment])}, {share:.0f} %", "soft"),
        (f"from {_short(begins)}" if begins else "", "soft"),
    ]
    ax, ay = _point(middle, (_OUTER + _INNER) / 2)
    body = [text(ax, ay + 4.5, str(schedule.stage_of(segment)), "on", "middle")]
    for at, (words, kind) in enumerate(lines):
        if words:
            body.append(text(x, y - 8 + 17 * at, words, kind, anchor))
    return body


def _short(path: str) -> str:
    """A path that has room beside the circle: its first names, and whether more follow."""
    if len(path) <= _ROOM:
        return path
    kept = path[: _ROOM - 1].rpartition(".")[0] or path[: _ROOM - 1]
    return f"{kept} …"


def _title(timing: Timing, segment: int) -> str:
    schedule = timing.schedule
    if schedule.segments > schedule.stages and segment == 0:
        return "shell, head"
    if schedule.segments > schedule.stages and segment == schedule.segments - 1:
        return "shell, tail"
    return f"stage {schedule.stage_of(segment)}"


def _gates() -> list[str]:
    """Where the latent comes in and the prediction goes out."""
    x, y = _CENTRE[0], _CENTRE[1] - _OUTER
    top = y - 70
    return [
        f'<path class="arrow" stroke-width="1.5" d="M{number(x + 7)} {number(top)}V{number(y - 5)}m-4 -6l4 6l4 -6"/>',
        f'<path class="arrow" stroke-width="1.5" d="M{number(x - 7)} {number(y - 5)}V{number(top)}m-4 6l4 -6l4 6"/>',
        text(x + 16, top + 8, "latent in", "soft"),
        text(x - 16, top + 8, "prediction out", "soft", "end"),
    ]
