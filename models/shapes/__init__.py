"""Drawn scenes with prompts in plain words, a reader that scores pictures of them, and models trained on them."""
