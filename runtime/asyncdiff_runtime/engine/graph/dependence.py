"""What a value depends on, and so how often it has to be made."""

from enum import IntEnum


class Dependence(IntEnum):
    """How often a value changes; a value computed from others changes as often as the quickest of them."""

    WEIGHTS = 0
    """Never: it follows from the weights alone."""
    GENERATION = 1
    """From one picture to the next: prompt, pooled embedding, size, mask, control image."""
    EVALUATION = 2
    """At every evaluation, in a way known beforehand: timestep, and what is made of it."""
    LATENT = 3
    """At every evaluation, with the latent."""
