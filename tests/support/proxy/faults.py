"""What a proxy can do to a request or a connection."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """An answer in place of the server's."""

    status: int
    code: str = "InternalError"
    """S3's word for it, in a body as S3 writes it."""

    @property
    def body(self) -> bytes:
        """The answer's body."""
        return (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{self.code}</Code>'
            f"<Message>injected {self.code}</Message></Error>"
        ).encode()


@dataclass(frozen=True)
class Hang:
    """Silence until the fault is lifted."""


@dataclass(frozen=True)
class CutUpload:
    """A connection that breaks while the client sends."""

    after_bytes: int = 0


@dataclass(frozen=True)
class LoseAnswer:
    """A connection that breaks after the server has done what was asked."""


@dataclass(frozen=True)
class Reset:
    """A connection that breaks while the server answers."""

    after_bytes: int = 0


@dataclass(frozen=True)
class Truncate:
    """A connection that ends in good order before the answer does."""

    after_bytes: int = 0


@dataclass(frozen=True)
class Pace:
    """A slow line."""

    bytes_per_second: float = float("inf")
    delay_seconds: float = 0.0
    """Time before the first byte goes on."""


@dataclass(frozen=True)
class GarbleUpload:
    """A line that changes what the client sends."""


@dataclass(frozen=True)
class GarbleAnswer:
    """A line that changes what the server answers."""


Fault = Answer | Hang | CutUpload | LoseAnswer | GarbleUpload | GarbleAnswer | Reset | Truncate | Pace
