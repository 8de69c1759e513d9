"""Scenes to plain words and back."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from shapes.scenes import BACKGROUNDS, COLOURS, SHAPES, SIZES, TEXTURES, Scene, SceneError, Thing

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

SYNONYMS = {
    "big": "large", "huge": "large", "little": "small", "tiny": "small", "medium-sized": "medium",
    "grey": "gray", "moon": "crescent", "spotted": "dotted", "checked": "checkered", "stripy": "striped",
    "solid": "plain", "disc": "circle", "centre": "center", "middle": "center", "backdrop": "background",
    "over": "above", "under": "below", "beneath": "below", "within": "inside", "violet": "purple",
}  # fmt: skip

OPENINGS = ("a picture of ", "a drawing of ", "an image of ", "a photo of ", "a painting of ")
ENDINGS = (", soft light", ", high quality", ", paper cutout", ", 3d render", ", simple and clean")

_WORD = re.compile(r"[a-z0-9]+(?:-[a-z]+)?|,")
_VERTICAL = {"top": "top", "bottom": "bottom", "upper": "top", "lower": "bottom"}
_HORIZONTAL = {"left": "left", "right": "right"}


def words_known() -> tuple[str, ...]:
    """Every word that `describe` can write: what a tokenizer should hold whole."""
    sentences = [*OPENINGS, *ENDINGS, *SYNONYMS, *SHAPES, *COLOURS, *TEXTURES, *SIZES, *BACKGROUNDS]
    sentences += ["a an the and of to in on at with background row column left right above below inside"]
    sentences += ["top bottom upper lower center middle corner side is"]
    return tuple(sorted({word for sentence in sentences for word in re.findall(r"[a-z0-9]+|,|-", sentence)}))


def describe(scene: Scene, rng: random.Random | None = None) -> str:
    """The scene in words: the plainest sentence, or, given `rng`, one of many that mean the same."""
    body = _body(scene, rng)
    background = _one(rng, _variants(scene.background)) if scene.background else None
    if background is None:
        sentence = body
    elif rng is not None and rng.random() < 0.25:
        sentence = _one(
            rng, (f"a {background} background with {body}", f"on a {background} background, {body}")
        )
    else:
        sentence = f"{body} on {_article(background)} {background} background"
    if rng is None:
        return sentence
    if rng.random() < 0.1 and scene.background != "background":
        sentence = rng.choice(OPENINGS) + sentence
    if rng.random() < 0.1:
        sentence += rng.choice(ENDINGS)
    return sentence


def _body(scene: Scene, rng: random.Random | None) -> str:
    phrases = [_phrase(thing, rng) for thing in scene.things]
    if len(phrases) == 1:
        return phrases[0] if scene.layout is None else f"{phrases[0]} {_one(rng, _place_forms(scene.layout))}"
    if len(phrases) == 2:
        first, second = phrases
        if scene.layout is None:
            return f"{first} and {second}"
        return _one(rng, _relation_forms(scene.layout)).format(first, second)
    enumeration = f"{phrases[0]}, {phrases[1]} and {phrases[2]}"
    if scene.layout is None:
        return enumeration
    forms = ("{1} in a {0}", "a {0} of {1}", "in a {0}, {1}")
    return _one(rng, forms).format(scene.layout, enumeration)


def _phrase(thing: Thing, rng: random.Random | None) -> str:
    size = "" if thing.size == "medium" else thing.size
    if rng is not None and thing.size == "medium" and rng.random() < 0.1:
        size = "medium"
    texture = "" if thing.texture == "plain" else thing.texture
    if rng is not None and thing.texture == "plain" and rng.random() < 0.1:
        texture = "plain"
    adjectives = [size, thing.colour, texture]
    if rng is not None and rng.random() < 0.3:
        adjectives = [size, texture, thing.colour]
    words = [_one(rng, _variants(word)) for word in (*adjectives, thing.shape) if word]
    if rng is not None and rng.random() < 0.04:
        words.insert(0, _unknown_word(rng))
    return f"{_article(words[0])} {' '.join(words)}"


def _unknown_word(rng: random.Random) -> str:
    """A word of no meaning here: the model must learn to pass over what it does not know."""
    return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(3, 8)))


def _variants(word: str) -> tuple[str, ...]:
    # The plain word stands first and again, so that it stays the commonest.
    return (word, word, *(other for other, meaning in SYNONYMS.items() if meaning == word))


def _one(rng: random.Random | None, forms: tuple[str, ...]) -> str:
    return forms[0] if rng is None else rng.choice(forms)


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _place_forms(place: str) -> tuple[str, ...]:
    if place == "center":
        return ("in the center", "in the middle", "in the centre")
    if " " not in place:
        side = f"on the {place}" if place in _HORIZONTAL else f"at the {place}"
        return (side, f"on the {place} side")
    vertical, horizontal = place.split()
    other = {"top": "upper", "bottom": "lower"}[vertical]
    return (f"in the {place}", f"in the {place} corner", f"at the {place}", f"in the {other} {horizontal}")


def _relation_forms(relation: str) -> tuple[str, ...]:
    if relation in ("left of", "right of"):
        side = relation.split()[0]
        opposite = "right" if side == "left" else "left"
        return (
            f"{{}} {relation} {{}}",
            f"{{}} to the {relation} {{}}",
            f"{{}} on the {side} and {{}} on the {opposite}",
        )
    if relation == "inside":
        return ("{} inside {}", "{} within {}")
    synonyms = tuple(f"{{}} {word} {{}}" for word in _variants(relation))
    opposite = "bottom" if relation == "above" else "top"
    own = "top" if relation == "above" else "bottom"
    return (*synonyms, f"{{}} at the {own} and {{}} at the {opposite}")


def parse(prompt: str) -> Scene:
    """The scene that a prompt asks for; words that mean nothing here are passed over.

    Raises:
        SceneError: No thing was named, more than three were, or they cannot be drawn as asked.
    """
    words = [SYNONYMS.get(word, word) for word in _WORD.findall(prompt.lower())]
    background, words = _take_background(words)
    things, gaps = _take_things(words)
    if not things:
        raise SceneError(f"no shape is named in {prompt!r}; name one of {', '.join(SHAPES)}")
    return Scene(tuple(things), _layout(len(things), gaps), background)


def _take_background(words: list[str]) -> tuple[str | None, list[str]]:
    for index, word in enumerate(words):
        if word == "background" and index and words[index - 1] in BACKGROUNDS:
            return words[index - 1], words[: index - 1] + words[index + 1 :]
    return None, words


def _take_things(words: list[str]) -> tuple[list[Thing], list[list[str]]]:
    """Things in order, and the words before, between and after them."""
    things: list[Thing] = []
    gaps: list[list[str]] = [[]]
    found: dict[str, str] = {}
    for word in words:
        kind = _kind(word)
        if kind == "shape":
            if "colour" not in found:
                raise SceneError(f"the {word} has no colour; name one of {', '.join(COLOURS)}")
            things.append(Thing(shape=word, **found))
            found = {}
            gaps.append([])
        elif kind is not None:
            found[kind] = word
        else:
            gaps[-1].append(word)
    return things, gaps


def _kind(word: str) -> str | None:
    for kind, known in (("shape", SHAPES), ("colour", COLOURS), ("texture", TEXTURES), ("size", SIZES)):
        if word in known:
            return kind
    return None


def _layout(count: int, gaps: list[list[str]]) -> str | None:
    if count == 1:
        return _place([word for gap in gaps for word in gap])
    if count == 2:
        between = gaps[1]
        for relation in ("above", "below", "inside"):
            if relation in between:
                return relation
        return {"left": "left of", "right": "right of", "top": "above", "bottom": "below"}.get(
            _place(between) or ""
        )
    return next((word for gap in gaps for word in gap if word in ("row", "column")), None)


def _place(words: list[str]) -> str | None:
    vertical = next(_named(words, _VERTICAL), "")
    horizontal = next(_named(words, _HORIZONTAL), "")
    return f"{vertical} {horizontal}".strip() or ("center" if "center" in words else None)


def _named(words: list[str], names: dict[str, str]) -> Iterator[str]:
    return (names[word] for word in words if word in names)
