"""What the pictures of stages have in common: SVG as text, colours for light and dark, and no script."""

from html import escape
from typing import Final

STAGE_COLOURS: Final = (
    "#4a6fa5",
    "#2a9d8f",
    "#8ab17d",
    "#c77d4f",
    "#9d6b9e",
    "#5c8fc2",
    "#b5793d",
    "#6d8f5e",
)
"""Of stages in order, the shell's first; they repeat where there are more."""

STYLE: Final = """\
svg.stages { --paper: #ffffff; --ink: #1f2933; --soft: #5f6b7a; --idle: #f1f4f8;
  --exact: #2f6fde; --old: #f5b942; --older: #e07b39; --foretold: #8f6fd8;
  font-family: system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif; }
@media (prefers-color-scheme: dark) {
  svg.stages { --paper: #161b22; --ink: #e6edf3; --soft: #9aa7b5; --idle: #20262e; } }
svg.stages .paper { fill: var(--paper); }
svg.stages text { fill: var(--ink); font-size: 13px; }
svg.stages .soft { fill: var(--soft); font-size: 12px; }
svg.stages .strong { font-weight: 650; }
svg.stages .large { font-size: 26px; font-weight: 700; }
svg.stages .on { fill: #ffffff; font-weight: 650; }
svg.stages .on-old { fill: #3a2a00; font-weight: 650; }
svg.stages .small { font-size: 9.5px; font-weight: 500; }
svg.stages .idle { fill: var(--idle); }
svg.stages .exact { fill: var(--exact); }
svg.stages .old { fill: var(--old); }
svg.stages .older { fill: var(--older); }
svg.stages .foretold { fill: var(--foretold); }
svg.stages .arrow { stroke: var(--soft); fill: none; }
svg.stages .way { fill: none; stroke-opacity: 0.5; }
svg.stages .halo { paint-order: stroke; stroke: var(--paper); stroke-width: 5px; stroke-linejoin: round; }
"""
"""Goes into each picture, so that it stands by itself; several on a page repeat it, which is harmless."""


def document(width: float, height: float, title: str, description: str, body: list[str], name: str) -> str:
    """A whole picture.

    Args:
        width: in pixels at its natural size; it scales.
        height: likewise.
        title: what it shows, for those who cannot see it too.
        description: what there is to be seen, in a sentence or two.
        body: elements, in the order in which they are painted.
        name: tells this picture's ids from those of others on a page.
    """
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="stages" viewBox="0 0 {number(width)} {number(height)}" '
            f'width="{number(width)}" role="img" aria-labelledby="{name}-title {name}-description">'
        ),
        f'<title id="{name}-title">{escape(title)}</title>',
        f'<desc id="{name}-description">{escape(description)}</desc>',
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{number(width)}" height="{number(height)}" rx="10"/>',
        *body,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    """Words whose line stands at `y`."""
    return (
        f'<text x="{number(x)}" y="{number(y)}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'
    )


def rectangle(x: float, y: float, width: float, height: float, kind: str, *, hint: str = "") -> str:
    """A rectangle with round corners; `hint` is shown to a pointer that rests on it."""
    inner = f"<title>{escape(hint)}</title>" if hint else ""
    return (
        f'<rect x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}" rx="5" '
        f'class="{kind}">{inner}</rect>'
    )


def colour_of(stage: int) -> str:
    """The colour of a stage."""
    return STAGE_COLOURS[stage % len(STAGE_COLOURS)]


def number(value: float) -> str:
    """A number with two digits after its point at most, the same on every machine."""
    written = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if written == "-0" else written
